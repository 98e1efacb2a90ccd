"""What the background order flow costs in a whole venue: how long an hour of five busy books takes.

The venue is `fauxchange up` in a process of its own, with SQLite in an empty folder and a virtual clock, which is told
to run ahead: market data, the flow's slices, the journal's durable commits, the kernel, the books and trades of the
streams, the read models and the audit trail. The house stands behind the flow. What is counted are new orders and
commands of any origin, once the books have filled.

The baseline is the same flow without a venue (`bench flow --headless` at the same intensity): law, kernel and a binary
journal, run just before.
"""

import json
import time
import urllib.request
from typing import Any, Final

from fauxchange.bench import flow_headless
from fauxchange.bench.figures import Report, figure
from fauxchange.bench.processes import Venue, venue
from fauxchange.domain.times import NS_PER_S, format_duration, format_time, parse_time
from fauxchange.services.exchange.core.flow import INTENSITIES

SECONDS: Final = 600
HOUR_S: Final = 3_600
START: Final = "2026-01-31T12:00:00Z"
SYMBOLS: Final = ("BTC/USD", "ETH/USD", "SOL/USD", "ADA/USD", "DOT/USD")
WARM_S: Final = 5
PIECE_S: Final = 60
BASELINE_S: Final = 120
ANSWER_S: Final = 600.0

TARGETS: Final = {"hour": "at most 60 s", "orders_per_symbol": "at least 200 orders/s"}


def run(
    report: Report, *, seconds: int = SECONDS, intensity: str = "busy", slice_ms: int = 200, seed: int = 1
) -> dict[str, object]:
    """Let a venue with background order flow run ahead for `seconds` of its time."""
    report("the flow without a venue")
    orders_per_s = INTENSITIES[intensity].orders_per_s
    bare = flow_headless.run(
        lambda _: None, seconds=min(seconds, BASELINE_S), orders_per_s=orders_per_s, slice_ms=slice_ms, seed=seed
    )
    settings = {
        "DEFAULT_SYMBOLS": ",".join(SYMBOLS),
        "EXCHANGE_SYMBOLS": ",".join(SYMBOLS),
        "ORDER_FLOW": f"default={intensity}",
        "ORDER_FLOW_SLICE": format_duration(slice_ms * NS_PER_S // 1_000),
        "START_TIME": START,
        "SEED": str(seed),
        "LOG_LEVEL": "warning",
    }
    report("starting the venue")
    with venue(settings) as running:
        now_ns = _run_until(running, parse_time(START) + WARM_S * NS_PER_S)
        before, cpu_before, begun_ns = _state(running), running.process.cpu_s(), now_ns
        begun = time.perf_counter()
        for piece_s in _pieces(seconds):
            now_ns = _run_until(running, now_ns + piece_s * NS_PER_S)
            report(f"{(now_ns - begun_ns) // NS_PER_S} of {seconds} s, after {time.perf_counter() - begun:.1f} s")
        elapsed_s = time.perf_counter() - begun
        cpu_s, after = running.process.cpu_s() - cpu_before, _state(running)
    done = {name: after[name] - before[name] for name in ("last_order_id", "sequence", "last_trade_id")}
    bare_figures: Any = bare["figures"]
    return {
        "benchmark": "flow",
        "figures": {
            "orders": figure(
                done["last_order_id"] / elapsed_s, "orders/s", bare_figures["orders"]["value"], decimals=0
            ),
            "commands": figure(done["sequence"] / elapsed_s, "commands/s", decimals=0),
            "orders_per_symbol": figure(done["last_order_id"] / seconds / len(SYMBOLS), "orders/s"),
            "hour": figure(elapsed_s * HOUR_S / seconds, "s"),
            "cpu_per_command": figure(cpu_s * 1e6 / max(1, done["sequence"]), "us", decimals=2),
        },
        "intensity": intensity,
        "symbols": len(SYMBOLS),
        "slice_ms": slice_ms,
        "virtual_seconds": seconds,
        "seconds": round(elapsed_s, 2),
        "orders": done["last_order_id"],
        "commands_in_all": done["sequence"],
        "trades": done["last_trade_id"],
        "state_hash": after["state_hash"],
    }


def _pieces(seconds: int) -> list[int]:
    """Return how far to run each time, so that progress can be told."""
    return [min(PIECE_S, seconds - done) for done in range(0, seconds, PIECE_S)]


def _run_until(running: Venue, until_ns: int) -> int:
    _ask(running, "/clock", {"action": "run_until", "until": format_time(until_ns)})
    return until_ns


def _state(running: Venue) -> dict[str, Any]:
    return _ask(running, "/exchange/state")


def _ask(running: Venue, path: str, document: dict[str, Any] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{running.ready.audit}/audit/v1{path}",
        data=None if document is None else json.dumps(document).encode(),
        headers={
            "authorization": f"Bearer {running.ready.secrets['audit_key']}",
            "content-type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
        answered: dict[str, Any] = json.load(answer)
    return answered
