"""How quickly orders are acknowledged, durably: over REST, WebSocket and gRPC, beside servers that only echo.

The venue is `fauxchange up` in a process of its own, with its journal on a real disk; another process places limit
orders that rest, 1, 32 or 256 of them in flight. The bare server answers the same requests with the venue's own answer
and does nothing else (see `echo`). Both run all the time and take turns, so that whatever else the machine does hits
both. Then each gets half the orders that it took, evenly spaced, which tells the latency. A bare commit is an append
of one order to a journal of the same kind, with nothing beside it.
"""

import asyncio
import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from statistics import median
from typing import Any, Final

from fauxchange.bench.figures import Figure, Report, figure, percentile
from fauxchange.bench.order_clients import ORDERS_PATH
from fauxchange.bench.processes import POLL_S, Child, Venue, own_child, scratch, venue
from fauxchange.client.signing import Credentials, Signer
from fauxchange.data.sqlite.journal import JournalFile
from fauxchange.domain.errors import Unavailable, check

TRANSPORTS: Final = ("rest", "websocket", "grpc")
IN_FLIGHT: Final = (1, 32, 256)
SYMBOL: Final = "BTC/USD"
QUANTITY: Final = "0.001"
AWAY: Final = Decimal("0.6")
"""The orders' price as a share of the market's: far enough never to trade, near enough for the price band."""
SETTINGS: Final = {
    "HOUSE_LIQUIDITY": "default=off",
    "ORDER_RATE_LIMIT": "0",
    "MAX_OPEN_ORDERS": "default=0",
    "DEMO_FUNDS": "USD=1000000000",
    "LOG_LEVEL": "warning",
}
RATIOS: Final = {"rest": 0.6, "websocket": 0.35, "grpc": 0.35}
START_S: Final = 60.0
WARM_UP_S: Final = 0.4
COMMITS: Final = 1_000
COMMIT_BYTES: Final = 400
"""What the journal stores of one order, about."""
SPARE: Final = 1.3
CAUGHT_UP_S: Final = 120.0
NOBODY: Final = {"api_key": "nobody", "api_secret": "nothing"}

TARGETS: Final = {
    f"{transport}_{in_flight}": f"at least {RATIOS[transport]} of the baseline"
    for transport in TRANSPORTS
    for in_flight in IN_FLIGHT[1:]
} | {
    f"{transport}_{in_flight}_half_load_excess": "at most 0 ms"
    for transport in TRANSPORTS
    for in_flight in IN_FLIGHT[1:]
}

Counts = Mapping[str, Any]


@dataclass(slots=True)
class Measured:
    """What a server did in one stretch of time."""

    counts: Counts
    server_cpu_s: float

    @property
    def rate(self) -> float:
        """Orders answered per second."""
        return float(self.counts["answers"]) / float(self.counts["elapsed_s"])

    @property
    def cpu_us(self) -> float:
        """The server's processor time per order. Units: microseconds."""
        return self.server_cpu_s * 1e6 / max(1.0, float(self.counts["answers"]))

    @property
    def client_cpu(self) -> float:
        """The share of one processor that the clients took."""
        return float(self.counts["client_cpu_s"]) / float(self.counts["elapsed_s"])


@dataclass(slots=True)
class Side:
    """A server and the clients that are connected to it."""

    server: Child
    clients: Child
    after: Callable[[], None] = lambda: None
    """What is done, untimed, after each stretch."""
    expected: float = 4_000.0
    """How many orders a second to have ready."""
    measured: list[Measured] = field(default_factory=list)

    def drive(self, seconds: float, *, rate: float = 0.0) -> Measured:
        """Send orders for a while, as many as are taken or `rate` a second. Raises: Unavailable if one is refused."""
        clients = self.clients
        prepare = int((rate or self.expected) * (seconds + WARM_UP_S) * SPARE)
        clients.say({"seconds": seconds, "rate": rate, "prepare": prepare, "warm_up_s": WARM_UP_S})
        clients.hear(START_S)
        before_s = self.server.cpu_s()
        clients.hear(seconds + START_S)
        server_cpu_s = self.server.cpu_s() - before_s
        self.server.check_alive()
        measured = Measured(clients.hear(START_S), server_cpu_s)
        if measured.counts["refused"]:
            answer = base64.b64decode(measured.counts["sample"])[:400]
            raise Unavailable(f"{measured.counts['refused']} orders were refused, such as {answer!r}")
        self.expected = max(self.expected, measured.rate)
        self.after()
        return measured


def run(
    report: Report,
    *,
    seconds: float = 3.0,
    rounds: int = 3,
    transports: str | Sequence[str] = TRANSPORTS,
    in_flight: int | Sequence[int] = IN_FLIGHT,
) -> dict[str, object]:
    """Measure each transport with so many orders in flight, in `rounds` of `seconds` each; figures are medians."""
    figures: dict[str, Figure] = {}
    report(f"{COMMITS} bare commits")
    commits_ms = bare_commits()
    figures["commit_p50"] = figure(commits_ms[0], "ms", decimals=3)
    figures["commit_p99"] = figure(commits_ms[1], "ms", decimals=3)
    for transport in (transports,) if isinstance(transports, str) else transports:
        with venue(SETTINGS) as running:
            desk = Desk(running)
            for count in (in_flight,) if isinstance(in_flight, int) else in_flight:
                report(f"{transport}: {count} orders in flight, {rounds} times {seconds:g} s")
                figures |= _measure(desk, transport, count, seconds, rounds, commits_ms[1])
    return {
        "benchmark": "orders",
        "seconds": seconds,
        "rounds": rounds,
        "filesystem": _filesystem(),
        "house_liquidity": "off",
        "figures": figures,
    }


def bare_commits(count: int = COMMITS) -> tuple[float, float]:
    """Append one order after another to a journal that nobody else uses; return p50 and p99. Units: milliseconds."""

    async def append(path: Path) -> list[int]:
        journal = await JournalFile.open(path)
        loop, taken_ns = asyncio.get_running_loop(), list[int]()
        for sequence in range(1, count + 1):
            done: asyncio.Future[None] = loop.create_future()

            def stored(failure: Exception | None, done: "asyncio.Future[None]" = done) -> None:
                check(failure is None, f"an append failed: {failure}")
                done.set_result(None)

            begun = time.perf_counter_ns()
            journal.writer.append_soon(sequence, sequence, bytes(COMMIT_BYTES), stored)
            await done
            taken_ns.append(time.perf_counter_ns() - begun)
        await journal.close()
        return sorted(taken_ns)

    with scratch() as folder:
        taken_ns = asyncio.run(append(folder / "journal.sqlite"))
    return percentile(taken_ns, 0.50) / 1e6, percentile(taken_ns, 0.99) / 1e6


class Desk:
    """A trader at a running venue: what orders look like there, and how they are taken back."""

    def __init__(self, running: Venue) -> None:
        self.venue = running
        demo = running.ready.secrets["demo"]
        self.credentials = {"api_key": demo["api_key"], "api_secret": demo["api_secret"]}
        self._nonces = 0
        self._signer = Signer(Credentials(**self.credentials), now_ns=time.time_ns, nonce=self._nonce)
        self.price = self._price()

    def order(self) -> dict[str, str]:
        """Return what the clients need to know of the orders."""
        return {"symbol": SYMBOL, "price": self.price, "quantity": QUANTITY}

    def cancel_all(self) -> None:
        """Cancel everything, and wait until the read models know."""
        self._ask("DELETE", ORDERS_PATH)
        # A list is read from the store, which is brought up to date for it.
        self._ask("GET", f"{ORDERS_PATH}?limit=1")

    def _price(self) -> str:
        deadline = time.monotonic() + START_S
        while True:
            try:
                prices = self._ask("GET", f"/api/v1/prices/{SYMBOL.replace('/', '-')}")
                break
            except urllib.error.HTTPError:
                # A venue may be ready a moment before its first price.
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)
        return str((Decimal(prices["mid"]) * AWAY).quantize(Decimal(1), rounding=ROUND_DOWN))

    def _ask(self, method: str, target: str) -> Any:
        headers = self._signer.headers(method, target.encode(), b"")
        request = urllib.request.Request(f"{self.venue.ready.http}{target}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=CAUGHT_UP_S) as answer:
            return json.loads(answer.read())

    def _nonce(self) -> str:
        self._nonces += 1
        return f"desk{self._nonces}"


def _measure(
    desk: Desk, transport: str, in_flight: int, seconds: float, rounds: int, commit_p99_ms: float
) -> dict[str, Figure]:
    with _sides(desk, transport, in_flight) as (ours, echo):
        for _ in range(rounds):
            for side in (ours, echo):
                side.measured.append(side.drive(seconds))
        name = f"{transport}_{in_flight}"
        figures = _rate_figures(name, ours.measured, echo.measured)
        if in_flight == 1:
            # One in flight is no load to halve: what it waits is told already.
            return figures
        halves = [
            [side.drive(seconds, rate=median(each.rate for each in side.measured) / 2) for side in (ours, echo)]
            for _ in range(rounds)
        ]
    p99_ms, echo_p99_ms = (median(float(half[at].counts["p99_ms"]) for half in halves) for at in (0, 1))
    allowed_ms = 3 * echo_p99_ms + 2 * commit_p99_ms
    return {
        **figures,
        f"{name}_half_load_p50": _both("p50_ms", halves),
        f"{name}_half_load_p99": _both("p99_ms", halves),
        f"{name}_half_load_excess": figure(max(0.0, p99_ms - allowed_ms), "ms", decimals=2),
    }


@contextmanager
def _sides(desk: Desk, transport: str, in_flight: int) -> Iterator[tuple[Side, Side]]:
    """Run clients at the venue, the echo that answers what the venue answered them, and clients there."""
    options = {"transport": transport, "in_flight": in_flight, **desk.order()}
    target = desk.venue.grpc if transport == "grpc" else desk.venue.http
    with ExitStack() as stack:
        clients = stack.enter_context(own_child("order_clients", {**options, "target": target, **desk.credentials}))
        clients.hear(START_S)
        ours = Side(desk.venue.process, clients, desk.cancel_all)
        sample = ours.drive(0.2).counts["sample"]
        server = stack.enter_context(own_child("echo", {"transport": transport, "sample": sample}))
        target = server.hear(START_S)["target"]
        others = stack.enter_context(own_child("order_clients", {**options, "target": target, **NOBODY}))
        others.hear(START_S)
        yield ours, Side(server, others)


def _rate_figures(name: str, ours: list[Measured], echo: list[Measured]) -> dict[str, Figure]:
    def both(unit: str, read: Callable[[Measured], float], decimals: int) -> Figure:
        return figure(median(map(read, ours)), unit, median(map(read, echo)), decimals=decimals)

    return {
        name: both("orders/s", lambda each: each.rate, 0),
        f"{name}_p50": both("ms", lambda each: each.counts["p50_ms"], 2),
        f"{name}_p99": both("ms", lambda each: each.counts["p99_ms"], 2),
        f"{name}_cpu_per_order": both("us", lambda each: each.cpu_us, 1),
        f"{name}_server_cpu": both("% of one CPU", lambda each: each.server_cpu_s / each.counts["elapsed_s"] * 100, 0),
        f"{name}_client_cpu": both("% of one CPU", lambda each: each.client_cpu * 100, 0),
    }


def _both(what: str, halves: Sequence[Sequence[Measured]]) -> Figure:
    ours, echo = (median(float(half[at].counts[what]) for half in halves) for at in (0, 1))
    return figure(ours, "ms", echo, decimals=2)


def _filesystem() -> str:
    """Return the kind of file system that the benchmark's folders are on."""
    with scratch() as folder:
        path = folder.resolve()
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    kinds = {Path(point): kind for point, kind in mounts}
    return next(kinds[place] for place in (path, *path.parents) if place in kinds)
