"""What subscribers find in the bytes they are sent: numbers without gaps, times, and how late they are.

The same bytes go to many subscribers, so each payload is decoded once and looked up for all others: every number of
every delivery is checked, at little more than the cost of a hash.
"""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fauxchange.bench.figures import percentile
from fauxchange.contracts.market_data.v1 import market_data_pb2 as pb
from fauxchange.domain.times import NS_PER_S, parse_time

REMEMBERED_PAYLOADS = 2_048
PRICES = "prices"


@dataclass(frozen=True, slots=True)
class Update:
    """One message about one symbol."""

    symbol: str
    first_sequence: int
    sequence: int
    snapshot: bool
    ts_ns: int


@dataclass(slots=True)
class Reading:
    """A payload, read.

    Units: steps_ns are the distinct times of the prices in it, oldest first, in nanoseconds since 1970
    """

    before: dict[str, int]
    """The numbers that must have come before, by symbol."""
    after: dict[str, int]
    """The numbers reached with it, by symbol."""
    steps_ns: tuple[int, ...]
    prices: int
    conflated: int
    """How many messages were merged into newer ones."""
    gaps: int
    """How many jumps of numbers are inside it."""
    snapshot: bool


def read_updates(updates: Sequence[Update]) -> Reading:
    """Return what a subscriber learns from these updates."""
    before: dict[str, int] = {}
    after: dict[str, int] = {}
    gaps = conflated = 0
    for update in updates:
        last = after.get(update.symbol)
        if last is None:
            before[update.symbol] = update.first_sequence - 1
        elif update.first_sequence != last + 1:
            gaps += 1
        after[update.symbol] = update.sequence
        conflated += update.sequence - update.first_sequence
    return Reading(
        before=before,
        after=after,
        steps_ns=tuple(dict.fromkeys(update.ts_ns for update in updates)),
        prices=len(updates),
        conflated=conflated,
        gaps=gaps,
        snapshot=any(update.snapshot for update in updates),
    )


def updates_of_json(payload: bytes) -> list[Update]:
    """Return the prices of one WebSocket message."""
    document = msgspec.json.decode(payload)
    messages: list[dict[str, Any]] = document if isinstance(document, list) else [document]
    return [
        Update(
            symbol=message["symbol"],
            first_sequence=message["first_sequence"],
            sequence=message["sequence"],
            snapshot=message["type"] == "snapshot",
            ts_ns=parse_time(message["data"]["timestamp"]),
        )
        for message in messages
        # Answers to the subscriber's own messages name the channel as well, but have no number.
        if message.get("channel") == PRICES and "sequence" in message
    ]


def updates_of_proto(payload: bytes) -> list[Update]:
    """Return the prices of one gRPC message."""
    return [
        Update(
            symbol=update.price.symbol,
            first_sequence=update.first_sequence,
            sequence=update.sequence,
            snapshot=update.type == pb.MESSAGE_TYPE_SNAPSHOT,
            ts_ns=update.price.timestamp.seconds * NS_PER_S + update.price.timestamp.nanos,
        )
        for update in pb.PriceBatch.FromString(payload).updates
    ]


class Reader:
    """Read payloads, each distinct one once."""

    def __init__(self, decode: Callable[[bytes], list[Update]]) -> None:
        self._decode = decode
        self._readings: dict[bytes, Reading] = {}
        self.sample = b""
        """A recent payload of prices that is no snapshot."""

    def read(self, payload: bytes) -> Reading:
        """Return what is in a payload."""
        reading = self._readings.get(payload)
        if reading is None:
            if len(self._readings) >= REMEMBERED_PAYLOADS:
                # The oldest half: slow subscribers may still get what the quick ones had a while ago.
                for old in list(self._readings)[: REMEMBERED_PAYLOADS // 2]:
                    del self._readings[old]
            reading = self._readings[payload] = read_updates(self._decode(payload))
            if reading.prices and not reading.snapshot:
                self.sample = payload
        return reading


@dataclass(slots=True)
class Tally:
    """What all subscribers together received while it was measured. Units: latencies in nanoseconds."""

    measuring: bool = False
    deliveries: int = 0
    steps: int = 0
    prices: int = 0
    conflated: int = 0
    gaps: int = 0
    latencies_ns: "array[int]" = field(default_factory=lambda: array("q"))

    def begin(self) -> None:
        """Count from nothing."""
        self.deliveries = self.steps = self.prices = self.conflated = self.gaps = 0
        self.latencies_ns = array("q")
        self.measuring = True

    def end(self) -> dict[str, Any]:
        """Stop counting and return what was counted. Units: latencies in milliseconds."""
        self.measuring = False
        ordered = sorted(self.latencies_ns)
        return {
            "deliveries": self.deliveries,
            "steps": self.steps,
            "prices": self.prices,
            "conflated": self.conflated,
            "gaps": self.gaps,
            "p50_ms": percentile(ordered, 0.50) / 1e6,
            "p99_ms": percentile(ordered, 0.99) / 1e6,
            "max_ms": (ordered[-1] if ordered else 0) / 1e6,
        }


class Subscriber:
    """One subscriber's memory of what it has seen."""

    __slots__ = ("_seen", "_tally")

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._seen: dict[str, int] = {}

    @property
    def has_begun(self) -> bool:
        """Whether it has received prices."""
        return bool(self._seen)

    def take(self, reading: Reading, now_ns: int) -> None:
        """Check a delivery against what came before, and count it."""
        gaps = reading.gaps
        if self._seen == reading.before:
            self._seen = reading.after
        elif reading.after:
            if not reading.snapshot:
                gaps += sum(
                    symbol in self._seen and self._seen[symbol] != last for symbol, last in reading.before.items()
                )
            self._seen = {**self._seen, **reading.after}
        tally = self._tally
        if not tally.measuring or not reading.prices:
            return
        tally.deliveries += 1
        tally.steps += len(reading.steps_ns)
        tally.prices += reading.prices
        tally.conflated += reading.conflated
        tally.gaps += gaps
        for ts_ns in reading.steps_ns:
            tally.latencies_ns.append(now_ns - ts_ns)
