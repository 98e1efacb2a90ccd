"""How many orders a second several gateways take in front of one kernel process, beside one process that does it all.

Each gateway is a process of its own with clients of its own, who share the orders in flight. The baseline is
`fauxchange up`, whose one event loop parses, checks signatures, sequences, matches and renders. Both run all the time
and take turns. With PostgreSQL the kernel process keeps its journal there (`*_postgresql`); without it in SQLite, as
the embedded process does, so that the difference is that of the gateways alone.

Processor time tells what a machine with more cores could do: as long as clients, gateways and kernel process have to
share the cores that there are, more processes are more work and no more orders. `*_kernel_cpu_per_order` is what the
one process that cannot be multiplied spends on an order, beside what the embedded process spends: a million divided by
it is the most orders a second that the kernel process could take from any number of gateways.
"""

import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from fauxchange.bench.figures import Figure, Report, figure
from fauxchange.bench.orders import SETTINGS, SPARE, START_S, WARM_UP_S, Desk
from fauxchange.bench.processes import Child, Venue, environment, own_child, scratch, venue
from fauxchange.domain.errors import Unavailable

SERVERS: Final = ("postgres",)
IN_FLIGHT: Final = (32, 256)
GATEWAY: Final = "exchange-gateway"

TARGETS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Measured:
    """What a system did in one stretch of time. Units: latency in milliseconds, processor time in microseconds."""

    rate: float
    p50_ms: float
    p99_ms: float
    kernel_us: float
    all_us: float


@dataclass(slots=True)
class Side:
    """The processes of a system, the one that sequences first, and the clients of each process that takes orders."""

    processes: Sequence[Child]
    clients: Sequence[Child]
    after: Callable[[], None]
    expected: float = 4_000.0
    measured: list[Measured] = field(default_factory=list)

    def drive(self, seconds: float) -> Measured:
        """Send orders for a while, as many as are taken. Raises: Unavailable if one is refused."""
        prepare = int(self.expected / len(self.clients) * (seconds + WARM_UP_S) * SPARE)
        for each in self.clients:
            each.say({"seconds": seconds, "rate": 0.0, "prepare": prepare, "warm_up_s": WARM_UP_S})
        for each in self.clients:
            each.hear(START_S)
        before = [process.cpu_s() for process in self.processes]
        for each in self.clients:
            each.hear(seconds + START_S)
        spent = [process.cpu_s() - begun for process, begun in zip(self.processes, before, strict=True)]
        counts = [each.hear(START_S) for each in self.clients]
        for process in self.processes:
            process.check_alive()
        refused = sum(int(each["refused"]) for each in counts)
        if refused:
            raise Unavailable(f"{refused} orders were refused")
        answers = sum(float(each["answers"]) for each in counts)
        rate = sum(float(each["answers"]) / float(each["elapsed_s"]) for each in counts)
        self.expected = max(self.expected, rate)
        self.after()
        return Measured(
            rate,
            max(float(each["p50_ms"]) for each in counts),
            max(float(each["p99_ms"]) for each in counts),
            spent[0] * 1e6 / max(1.0, answers),
            sum(spent) * 1e6 / max(1.0, answers),
        )


def run(
    report: Report,
    *,
    seconds: float = 3.0,
    rounds: int = 3,
    gateways: int = 2,
    in_flight: int | Sequence[int] = IN_FLIGHT,
    postgres: str = "",
) -> dict[str, object]:
    """Measure `gateways` with so many orders in flight, in `rounds` of `seconds`; `postgres` is an empty database."""
    figures: dict[str, Figure] = {}
    counts = (in_flight,) if isinstance(in_flight, int) else in_flight
    stores: list[tuple[str, dict[str, str]]] = [("", {})]
    if postgres:
        _prepare(postgres)
        stores.append(("_postgresql", {"POSTGRES_URL": postgres}))
    for suffix, settings in stores:
        with venue(SETTINGS) as alone, _distributed(settings, gateways) as (kernel, fronts):
            for count in counts:
                name = f"rest_{count}{suffix}"
                report(f"{name}: {gateways} gateways beside one process, {rounds} times {seconds:g} s each")
                figures |= _measure(name, alone, kernel, fronts, count, seconds, rounds)
    return {"benchmark": "orders_distributed", "gateways": gateways, "seconds": seconds, "figures": figures}


def _measure(
    name: str, alone: Venue, kernel: Venue, fronts: Sequence[Venue], in_flight: int, seconds: float, rounds: int
) -> dict[str, Figure]:
    with ExitStack() as stack:
        embedded = _side(stack, alone, [alone], in_flight)
        distributed = _side(stack, kernel, fronts, in_flight)
        for side in (distributed, embedded):
            side.drive(0.2)
        for _ in range(rounds):
            for side in (distributed, embedded):
                side.measured.append(side.drive(seconds))

    def both(unit: str, read: Callable[[Measured], float], decimals: int) -> Figure:
        return figure(
            median(map(read, distributed.measured)), unit, median(map(read, embedded.measured)), decimals=decimals
        )

    return {
        name: both("orders/s", lambda each: each.rate, 0),
        f"{name}_p50": both("ms", lambda each: each.p50_ms, 2),
        f"{name}_p99": both("ms", lambda each: each.p99_ms, 2),
        f"{name}_kernel_cpu_per_order": both("us", lambda each: each.kernel_us, 1),
        f"{name}_cpu_per_order": both("us", lambda each: each.all_us, 1),
    }


def _side(stack: ExitStack, kernel: Venue, fronts: Sequence[Venue], in_flight: int) -> Side:
    desk = Desk(kernel)
    clients = []
    for front in fronts:
        options: dict[str, Any] = {
            "transport": "rest",
            "in_flight": max(1, in_flight // len(fronts)),
            "target": front.http,
            **desk.order(),
            **desk.credentials,
        }
        clients.append(stack.enter_context(own_child("order_clients", options)))
        clients[-1].hear(START_S)
    processes = [kernel.process, *(front.process for front in fronts if front is not kernel)]
    return Side(processes, clients, desk.cancel_all)


@contextmanager
def _distributed(settings: Mapping[str, str], gateways: int) -> Iterator[tuple[Venue, Sequence[Venue]]]:
    """Run a kernel process and gateways in front of it, for as long as the block lasts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    key = secrets.token_urlsafe(32)
    linked = {"KERNEL_KEY": key, "KERNEL_PORT": str(port), "KERNEL_TARGET": f"127.0.0.1:{port}"}
    with ExitStack() as stack:
        kernel = stack.enter_context(venue({**SETTINGS, **settings, **linked, "KERNEL_ENABLED": "true"}))
        fronts = [
            stack.enter_context(venue({"LOG_LEVEL": "warning", **linked}, service=GATEWAY)) for _ in range(gateways)
        ]
        yield kernel, fronts


def _prepare(url: str) -> None:
    """Make the tables. Raises: Unavailable if that fails."""
    command = (sys.executable, "-m", "fauxchange.cli", "db", "upgrade")
    with scratch() as folder:
        made = subprocess.run(
            command, cwd=folder, env=environment({"POSTGRES_URL": url}), capture_output=True, check=False
        )
    if made.returncode:
        raise Unavailable(f"the database could not be prepared: {made.stderr.decode(errors='replace')}")
