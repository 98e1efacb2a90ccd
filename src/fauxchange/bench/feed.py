"""What the streams carry and how quickly: prices over WebSocket and gRPC, beside bare servers that send the same bytes.

The venue is `fauxchange up` in a process of its own, the subscribers fill another, and the bare server stands where the
venue stood. A delivery is one frame or one batch to one subscriber. Its latency runs from the moment at which its
price was due (`timestamp`, on the machine's one clock) to the moment at which the subscriber's process was handed the
bytes: lateness of timers, making the price, and waiting for the batch's flush are all in it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from fauxchange.bench.figures import Figure, Report, figure
from fauxchange.bench.processes import Child, own_child, venue
from fauxchange.bench.subscribers import GRPC_METHOD

UPDATES_PER_S = 100
FLUSH_MS = 20
FLAT_OUT_INTERVAL_MS = 1
SERVICE_FLUSH_MS = 5
"""Shorter than the time between two updates: a service that follows prices has each of them at once."""
START_S = 30.0
WARM_UP_S = 1.0
TRANSPORTS = ("websocket", "grpc")
SYMBOLS = ("BTC/USD", "ETH/USD", "ADA/USD", "SOL/USD", "DOT/USD")

TARGETS = {
    "websocket_p99": "at most 20 ms",
    "websocket_gaps": "at most 0 gaps",
    "websocket_lost": "at most 0 connections",
    "websocket_per_cpu_second": "at least 0.7 of the baseline",
    "grpc_p99": "at most 50 ms",
    "grpc_gaps": "at most 0 gaps",
    "grpc_lost": "at most 0 connections",
    "grpc_per_cpu_second": "at least 0.7 of the baseline",
    "service_p99": "at most 10 ms",
    "service_gaps": "at most 0 gaps",
}


@dataclass(frozen=True, slots=True)
class Load:
    """How many subscribers read which transport, how often each is sent something, and what does not count yet."""

    transport: str
    clients: int
    deliveries_hz: float
    warm_up_s: float

    @property
    def steps(self) -> int:
        """How many steps of the feed are in one delivery."""
        return max(1, round(UPDATES_PER_S / self.deliveries_hz))


@dataclass(frozen=True, slots=True)
class Measured:
    """What a server did for its subscribers in one stretch of time."""

    counts: Mapping[str, Any]
    server_cpu_s: float

    def rate(self, what: str) -> float:
        """Return how many of something came per second."""
        return float(self.counts[what]) / float(self.counts["elapsed_s"])

    @property
    def prices_per_cpu_s(self) -> float:
        """Prices delivered per second of the server's processor time."""
        return float(self.counts["prices"]) / max(self.server_cpu_s, 1e-3)

    @property
    def server_cpu(self) -> float:
        """The share of one processor that the server took."""
        return self.server_cpu_s / float(self.counts["elapsed_s"])

    @property
    def subscriber_cpu(self) -> float:
        """The share of one processor that the subscribers took."""
        return float(self.counts["subscriber_cpu_s"]) / float(self.counts["elapsed_s"])

    @property
    def steps_per_delivery(self) -> int:
        """How many steps of the feed came in one delivery, on average."""
        return max(1, round(float(self.counts["steps"]) / max(1.0, float(self.counts["deliveries"]))))


@dataclass(frozen=True, slots=True)
class Pair:
    """The venue and the bare server under the same load."""

    venue: Measured
    bare: Measured


def run(
    report: Report,
    *,
    seconds: float = 10.0,
    flat_out_seconds: float = 5.0,
    websocket_clients: int = 200,
    grpc_clients: int = 50,
    rounds: int = 1,
    warm_up_s: float = WARM_UP_S,
    asgi: bool = True,
    service: bool = True,
    transports: str | Sequence[str] = TRANSPORTS,
) -> dict[str, object]:
    """Measure the transports at a steady rate and flat out.

    `asgi` adds an ordinary ASGI server as a second reference for WebSocket; `service` adds market data in a process of
    its own with one reader, which is how the exchange follows its prices.

    Units: `seconds` and `flat_out_seconds` of each measurement (0 leaves the latter out), after `warm_up_s`
    """
    loads = {
        "websocket": Load("websocket", websocket_clients, UPDATES_PER_S, warm_up_s),
        "grpc": Load("grpc", grpc_clients, 1_000 / FLUSH_MS, warm_up_s),
    }
    figures: dict[str, Figure] = {}
    for load in (loads[name] for name in ((transports,) if isinstance(transports, str) else transports)):
        steady = [_steady(report, load, seconds) for _ in range(rounds)]
        figures |= _steady_figures(load.transport, steady)
        if flat_out_seconds:
            flat_out = [_flat_out(report, load, flat_out_seconds) for _ in range(rounds)]
            figures |= _flat_out_figures(load.transport, flat_out)
        if asgi and load.transport == "websocket":
            figures["asgi_per_cpu_second"] = _asgi(report, load, seconds, steady[0].venue.counts["sample"])
    if service:
        figures |= _service(report, seconds, rounds, warm_up_s)
    return {
        "benchmark": "feed",
        "symbols": len(SYMBOLS),
        "updates_per_second": UPDATES_PER_S,
        "websocket_clients": websocket_clients,
        "grpc_clients": grpc_clients,
        "seconds": seconds,
        "rounds": rounds,
        "figures": figures,
    }


def _steady(report: Report, load: Load, seconds: float) -> Pair:
    report(f"{load.transport}: {load.clients} subscribers, {UPDATES_PER_S} updates a second, {seconds:g} s")
    with _venue(load, 1_000 / UPDATES_PER_S, FLUSH_MS) as (process, address):
        ours = measure(process, address, load, seconds)
    report(f"{load.transport}: the same from a bare server")
    sample = ours.counts["sample"]
    with bare(load.transport, sample, interval_s=1 / load.deliveries_hz, steps=load.steps) as (process, address):
        return Pair(ours, measure(process, address, load, seconds))


def _service(report: Report, seconds: float, rounds: int, warm_up_s: float) -> dict[str, Figure]:
    """Measure what another service gets of `serve market-data`, and how quickly."""
    updates = UPDATES_PER_S * len(SYMBOLS)
    report(f"service: one reader of market data in a process of its own, {updates} updates a second, {seconds:g} s")
    load = Load("grpc", 1, UPDATES_PER_S, warm_up_s)
    pairs = []
    for _ in range(rounds):
        with _venue(load, 1_000 / UPDATES_PER_S, SERVICE_FLUSH_MS, service="market-data") as (process, address):
            ours = measure(process, address, load, seconds)
        with bare("grpc", ours.counts["sample"], interval_s=1 / UPDATES_PER_S, steps=1) as (process, address):
            pairs.append(Pair(ours, measure(process, address, load, seconds)))
    return {
        "service_p50": _counted(pairs, "p50_ms", "ms"),
        "service_p99": _counted(pairs, "p99_ms", "ms"),
        "service_max": _counted(pairs, "max_ms", "ms"),
        "service_gaps": figure(sum(pair.venue.counts["gaps"] for pair in pairs), "gaps", decimals=0),
    }


def _flat_out(report: Report, load: Load, seconds: float) -> Pair:
    report(f"{load.transport}: {load.clients} subscribers, as fast as it goes, {seconds:g} s")
    with _venue(load, FLAT_OUT_INTERVAL_MS, FLAT_OUT_INTERVAL_MS) as (process, address):
        ours = measure(process, address, load, seconds)
    report(f"{load.transport}: the same from a bare server")
    steps = ours.steps_per_delivery
    with bare(load.transport, ours.counts["sample"], interval_s=0.0, steps=steps) as (process, address):
        return Pair(ours, measure(process, address, load, seconds))


def _asgi(report: Report, load: Load, seconds: float, sample: str) -> Figure:
    report("websocket: the same from an ordinary ASGI application on uvicorn")
    with bare("asgi", sample, interval_s=1 / load.deliveries_hz, steps=load.steps) as (process, address):
        return figure(measure(process, address, load, seconds).prices_per_cpu_s, "prices/s of CPU", decimals=0)


@contextmanager
def _venue(
    load: Load, interval_ms: float, flush_ms: float, *, service: str | None = None
) -> Iterator[tuple[Child, str]]:
    settings = {
        "PRICE_UPDATE_INTERVAL": f"{interval_ms:g}ms",
        "GRPC_FLUSH_INTERVAL": f"{flush_ms:g}ms",
        "DEFAULT_SYMBOLS": ",".join(SYMBOLS),
        "LOG_LEVEL": "warning",
    }
    with venue(settings, service=service) as running:
        yield running.process, running.grpc if load.transport == "grpc" else running.http


@contextmanager
def bare(transport: str, sample: str, *, interval_s: float, steps: int) -> Iterator[tuple[Child, str]]:
    """Run a bare server that sends what the venue sent; give its process and its address."""
    options = {
        "transport": transport,
        "sample": sample,
        "interval_s": interval_s,
        "steps": steps,
        "method": GRPC_METHOD,
    }
    with own_child("bare", options) as process:
        yield process, process.hear(START_S)["target"]


def measure(server: Child, target: str, load: Load, seconds: float) -> Measured:
    """Let subscribers read from a server for a while, and read what both took."""
    transport = "grpc" if load.transport == "grpc" else "websocket"
    options = {"transport": transport, "target": target, "clients": load.clients, "warm_up_s": load.warm_up_s}
    with own_child("subscribers", options) as crowd:
        crowd.hear(START_S)
        crowd.say({"measure": seconds})
        crowd.hear(START_S)
        before_s = server.cpu_s()
        crowd.hear(seconds + START_S)
        server_cpu_s = server.cpu_s() - before_s
        server.check_alive()
        return Measured(crowd.hear(START_S), server_cpu_s)


def _steady_figures(name: str, pairs: list[Pair]) -> dict[str, Figure]:
    return {
        f"{name}_p50": _counted(pairs, "p50_ms", "ms"),
        f"{name}_p99": _counted(pairs, "p99_ms", "ms"),
        f"{name}_max": _counted(pairs, "max_ms", "ms"),
        f"{name}_gaps": figure(sum(pair.venue.counts["gaps"] for pair in pairs), "gaps", decimals=0),
        f"{name}_conflated": figure(sum(pair.venue.counts["conflated"] for pair in pairs), "messages", decimals=0),
        f"{name}_lost": figure(sum(pair.venue.counts["lost"] for pair in pairs), "connections", decimals=0),
        f"{name}_deliveries": _compared(pairs, "deliveries/s", lambda measured: measured.rate("deliveries")),
        f"{name}_prices": _compared(pairs, "prices/s", lambda measured: measured.rate("prices")),
        f"{name}_per_cpu_second": _compared(pairs, "prices/s of CPU", lambda measured: measured.prices_per_cpu_s),
        f"{name}_server_cpu": _compared(pairs, "% of one CPU", lambda measured: measured.server_cpu * 100),
        f"{name}_subscriber_cpu": _compared(pairs, "% of one CPU", lambda measured: measured.subscriber_cpu * 100),
    }


def _flat_out_figures(name: str, pairs: list[Pair]) -> dict[str, Figure]:
    return {
        f"{name}_flat_out": _compared(pairs, "deliveries/s", lambda measured: measured.rate("deliveries")),
        f"{name}_flat_out_prices": _compared(pairs, "prices/s", lambda measured: measured.rate("prices")),
        f"{name}_flat_out_server_cpu": _compared(pairs, "% of one CPU", lambda measured: measured.server_cpu * 100),
        f"{name}_flat_out_subscriber_cpu": _compared(
            pairs, "% of one CPU", lambda measured: measured.subscriber_cpu * 100
        ),
    }


def _counted(pairs: list[Pair], what: str, unit: str) -> Figure:
    return figure(
        median(pair.venue.counts[what] for pair in pairs),
        unit,
        median(pair.bare.counts[what] for pair in pairs),
        decimals=2,
    )


def _compared(pairs: list[Pair], unit: str, read: Callable[[Measured], float]) -> Figure:
    return figure(
        median(read(pair.venue) for pair in pairs), unit, median(read(pair.bare) for pair in pairs), decimals=0
    )
