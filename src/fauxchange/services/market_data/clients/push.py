"""Take prices from an asynchronous push, in the shape of a live venue's feed.

What a live feed does to its readers is met here: it goes away (reconnect, exponential backoff with full jitter), it
loses messages (gaps in its own sequence, counted, answered with a new subscription), it repeats or reorders them
(dropped, counted), it falls silent (stale, and after a while disconnected), it sends nonsense (counted, never
fatal), and it outruns us (the queue is bounded; the oldest rows go, counted).
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, Protocol

import numpy as np

from fauxchange.domain.errors import InvalidRequest, Unavailable
from fauxchange.domain.instruments import Instrument, parse_symbol
from fauxchange.domain.market_data import FeedSource, Metadata
from fauxchange.platform.ports import Clock
from fauxchange.services.market_data.clients.feeds import (
    BadMessage,
    FeedConnection,
    FeedHeartbeat,
    FeedMessage,
    FeedQuote,
    FeedTrade,
    FeedTransport,
)
from fauxchange.services.market_data.clients.stepping import MAX_COUNT
from fauxchange.services.market_data.core.batches import NO_LAST, SPREAD_BY_POLICY, PriceBatch

MAX_BEHIND = 100
"""After so many messages in a row with old numbers, the feed is taken to have started over."""


class WallTime(Protocol):
    """Wall time as a push needs it: silence and backoff have nothing to do with venue time."""

    def now_s(self) -> float:
        """Return seconds on a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class LoopTime:
    """The wall time of the running event loop."""

    def now_s(self) -> float:
        """Return the loop's monotonic time."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class FeedState(StrEnum):
    """How the feed is doing."""

    CLOSED = "closed"
    CONNECTING = "connecting"
    LIVE = "live"
    STALE = "stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSettings:
    """Bounds of a push source.

    Units: seconds of wall time; queue_rows in rows
    """

    stale_after_s: float = 5.0
    """A connection without messages for this long is stale; for three times as long, it is given up."""
    backoff_base_s: float = 0.25
    backoff_cap_s: float = 30.0
    resubscribe_interval_s: float = 1.0
    """The least time between two subscriptions, so that a lossy feed is not asked for ever more."""
    queue_rows: int = 65_536


@dataclass(slots=True)
class PushCounts:
    """What has happened on the feed since the source was opened."""

    messages: int = 0
    connects: int = 0
    failures: int = 0
    gaps: int = 0
    missed: int = 0
    out_of_order: int = 0
    restarts: int = 0
    resubscribes: int = 0
    stale: int = 0
    bad: int = 0
    dropped: int = 0


class _Row(NamedTuple):
    ts_ns: int
    symbol_index: int
    mid_half_ticks: int
    spread_ticks: int
    last_ticks: int
    volume_lots: int


@dataclass(slots=True)
class _Session:
    """One connection, when it last gave a sign of life, and when it was last asked for the present state."""

    connection: FeedConnection
    heard_s: float
    asked_s: float = -math.inf
    has_spoken: bool = False
    is_silent: bool = False
    has_lost: bool = False
    behind: int = 0
    """Messages in a row that came out of order."""


class PushSource:
    """Hand on what a feed pushes, stamped with the venue time of its arrival.

    A quote becomes bid and ask; a trade repeats the last quote of its symbol (before the first quote: its own price,
    with the policy's spread) with `last` and volume. `next` waits until something arrives, and ends with `close`.
    """

    def __init__(
        self,
        transport: FeedTransport,
        instruments: Sequence[Instrument],
        clock: Clock,
        *,
        random: Callable[[], float],
        wall: WallTime | None = None,
        settings: PushSettings | None = None,
    ) -> None:
        self._transport = transport
        self._instruments = tuple(instruments)
        self._indices = {instrument.symbol: index for index, instrument in enumerate(self._instruments)}
        self._clock = clock
        self._random = random
        self._wall = wall or LoopTime()
        self._settings = settings or PushSettings()
        self._counts = PushCounts()
        self._rows: deque[_Row] = deque()
        self._quotes: dict[int, tuple[int, int]] = {}
        self._arrived = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._session: _Session | None = None
        self._sequence: int | None = None
        self._last_ns = 0
        self._last_error = ""
        self._closed = False

    @property
    def kind(self) -> FeedSource:
        """Prices from outside."""
        return FeedSource.LIVE

    @property
    def instruments(self) -> Sequence[Instrument]:
        """The instruments that are taken from the feed."""
        return self._instruments

    @property
    def counts(self) -> PushCounts:
        """What has happened on the feed so far."""
        return self._counts

    @property
    def feed_state(self) -> FeedState:
        """How the feed is doing now."""
        if self._runner is None or self._closed:
            return FeedState.CLOSED
        if self._session is None or not self._session.has_spoken:
            return FeedState.CONNECTING
        return FeedState.STALE if self._session.is_silent else FeedState.LIVE

    async def open(self, start_ns: int) -> None:
        """Start to connect; that the feed is away now is no error, it is tried again and again."""
        self._last_ns = start_ns
        self._closed = False
        self._runner = asyncio.create_task(self._run(), name=f"push {self._transport.address}")
        self._runner.add_done_callback(lambda _: self._arrived.set())

    async def next(self, max_steps: int) -> PriceBatch | None:
        """Wait for rows and return those of at most `max_steps` moments; None once the source is closed."""
        while not self._rows:
            if self._runner is None or self._closed:
                return None
            if self._runner.done():
                # The runner ends by a bug alone, and that must not look like the end of the prices.
                self._runner.result()
                return None
            self._arrived.clear()
            await self._arrived.wait()
        return self._take(max_steps)

    async def close(self) -> None:
        """Hang up and let `next` end; rows not yet taken are dropped."""
        self._closed = True
        self._rows.clear()
        runner = self._runner
        if runner is not None and not runner.done():
            runner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await runner
        self._arrived.set()

    def state(self) -> Metadata | None:
        """Return None: what a live feed sends does not come back."""
        return None

    def restore(self, state: Metadata) -> bool:  # noqa: ARG002 - the port's signature
        """Return False, as nothing was saved."""
        return False

    def report(self) -> Metadata:
        """Return the feed's state and all counts."""
        counts = {name: getattr(self._counts, name) for name in PushCounts.__slots__}
        return {
            "kind": "push",
            "address": self._transport.address,
            "state": self.feed_state.value,
            "sequence": self._sequence,
            "queued": len(self._rows),
            "reconnects": max(0, self._counts.connects - 1),
            "last_error": self._last_error,
            **counts,
        }

    async def _run(self) -> None:
        """Keep connected, for ever."""
        attempt = 0
        while True:
            try:
                connection = await self._transport.connect()
            except Unavailable as exc:
                self._counts.failures += 1
                self._last_error = exc.message
            else:
                self._counts.connects += 1
                if await self._listen(connection):
                    attempt = 0
            await self._wall.sleep(self._backoff_s(attempt))
            attempt += 1

    def _backoff_s(self, attempt: int) -> float:
        """Return how long to wait before the next connection: anything up to twice the wait before (full jitter)."""
        most_s = min(self._settings.backoff_cap_s, self._settings.backoff_base_s * 2.0 ** min(attempt, 60))
        return most_s * self._random()

    async def _listen(self, connection: FeedConnection) -> bool:
        """Take messages until the connection ends; return whether it gave any."""
        session = _Session(connection, self._wall.now_s())
        self._session = session
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch(session))
                try:
                    while (message := await connection.receive()) is not None:
                        await self._handle(message, session)
                except Unavailable as exc:
                    self._last_error = exc.message
                finally:
                    watch.cancel()
        finally:
            self._session = None
            await connection.close()
        return session.has_spoken

    async def _watch(self, session: _Session) -> None:
        """Note when the connection has fallen silent, and hang up when it stays so."""
        stale_s = self._settings.stale_after_s
        while True:
            silence_s = self._wall.now_s() - session.heard_s
            if silence_s >= stale_s and not session.is_silent:
                session.is_silent = True
                self._counts.stale += 1
            if silence_s >= 3 * stale_s:
                self._last_error = f"no message for {silence_s:.1f} s"
                await session.connection.close()
                return
            due_s = 3 * stale_s if session.is_silent else stale_s
            # Never zero, lest rounding makes this a busy loop.
            await self._wall.sleep(max(due_s - silence_s, 0.001))

    async def _handle(self, message: FeedMessage, session: _Session) -> None:
        if isinstance(message, BadMessage):
            self._note_bad(message.reason)
            return
        self._counts.messages += 1
        session.heard_s = self._wall.now_s()
        session.is_silent = False
        takes_number = not isinstance(message, FeedHeartbeat)
        in_order = message.sequence is None or self._in_order(message.sequence, session, takes_number=takes_number)
        session.has_spoken = True
        if in_order and not isinstance(message, FeedHeartbeat):
            try:
                self._push(self._row(message))
            except InvalidRequest as exc:
                self._note_bad(exc.message)
        if session.has_lost and session.heard_s - session.asked_s >= self._settings.resubscribe_interval_s:
            session.has_lost = False
            session.asked_s = session.heard_s
            self._counts.resubscribes += await session.connection.resubscribe()

    def _in_order(self, sequence: int, session: _Session, *, takes_number: bool) -> bool:
        """Say whether a message is newer than all before it, and count what was lost in between."""
        last = self._sequence
        if last is None or (not session.has_spoken and sequence <= last):
            self._counts.restarts += last is not None and sequence < last
            self._sequence = sequence
            return True
        if sequence < last + takes_number and session.behind < MAX_BEHIND:
            session.behind += 1
            self._counts.out_of_order += 1
            return False
        if session.behind >= MAX_BEHIND:
            # It was the one high number that was wrong, not all those after it.
            last = sequence - takes_number
            self._counts.restarts += 1
        session.behind = 0
        missed = sequence - last - takes_number
        if missed:
            self._counts.gaps += 1
            self._counts.missed += missed
            session.has_lost = True
        self._sequence = sequence
        return True

    def _row(self, message: FeedQuote | FeedTrade) -> _Row:
        """Return the row of a message. Raises: InvalidRequest if it makes no sense."""
        index = self._index(message.symbol)
        instrument = self._instruments[index]
        if isinstance(message, FeedQuote):
            bid, ask = _ticks(instrument, message.bid, "bid"), _ticks(instrument, message.ask, "ask")
            if bid > ask:
                raise InvalidRequest(f"bid {message.bid} is above ask {message.ask}")
            self._quotes[index] = (bid + ask, ask - bid)
            return self._stamped(index, bid + ask, ask - bid, NO_LAST, 0)
        price = _ticks(instrument, message.price, "price")
        mid_half, spread = self._quotes.get(index, (2 * price, SPREAD_BY_POLICY))
        return self._stamped(index, mid_half, spread, price, _lots(instrument, message.quantity))

    def _index(self, symbol: str | None) -> int:
        if symbol is None:
            if len(self._instruments) != 1:
                raise InvalidRequest("a message without symbol, on a feed of several")
            return 0
        index = self._indices.get(symbol)
        if index is None:
            index = self._indices.get(parse_symbol(symbol))
        if index is None:
            raise InvalidRequest(f"{symbol} is none of the symbols taken from this feed")
        return index

    def _stamped(self, index: int, mid_half_ticks: int, spread_ticks: int, last_ticks: int, lots: int) -> _Row:
        self._last_ns = max(self._last_ns, self._clock.now_ns())
        return _Row(self._last_ns, index, mid_half_ticks, spread_ticks, last_ticks, lots)

    def _push(self, row: _Row) -> None:
        if len(self._rows) >= self._settings.queue_rows:
            self._rows.popleft()
            self._counts.dropped += 1
        self._rows.append(row)
        self._arrived.set()

    def _take(self, max_steps: int) -> PriceBatch:
        taken = [self._rows.popleft()]
        steps = 1
        while self._rows:
            steps += self._rows[0].ts_ns != taken[-1].ts_ns
            if steps > max_steps:
                break
            taken.append(self._rows.popleft())
        return PriceBatch(*np.array(taken, dtype=np.int64).T)

    def _note_bad(self, reason: str) -> None:
        self._counts.bad += 1
        self._last_error = reason


def _ticks(instrument: Instrument, price: Decimal, name: str) -> int:
    ticks = instrument.prices.count(price, name=name)
    if not 0 < ticks <= MAX_COUNT:
        raise InvalidRequest(f"{name} {price} is not a positive price")
    return ticks


def _lots(instrument: Instrument, quantity: Decimal) -> int:
    """Return a quantity in lots, rounded half-even: the feed's lots may be finer than the instrument's."""
    if not quantity.is_finite() or not 0 < quantity < Decimal("1e18"):
        raise InvalidRequest(f"quantity {quantity} is not a positive quantity")
    lots = round(quantity / instrument.lot_size)
    if lots > MAX_COUNT:
        raise InvalidRequest(f"quantity {quantity} is too large")
    return lots
