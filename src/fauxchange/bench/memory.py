"""How much memory the venue keeps after an hour of the default feed, beside a process that only imports libraries.

The hour is simulated: venue time runs 360 times as fast as life. The interpreted model is the default of a feed this
gentle; the compiled one is measured too, because loading the compiler is what costs most.
"""

import time
import urllib.request
from collections.abc import Sequence

import msgspec

from fauxchange.bench.dependencies import COMPILER, import_command
from fauxchange.bench.figures import Figure, Report, figure
from fauxchange.bench.processes import Memory, Venue, child, memory_of, scratch, venue
from fauxchange.domain.errors import Unavailable
from fauxchange.domain.times import NS_PER_S, format_time, parse_time

HOUR_S = 3_600
START_NS = 1_767_225_600 * NS_PER_S
PATIENCE_S = 300.0
LOOK_S = 0.1
MEGABYTE = 1_000_000
ENGINES = ("python", "compiled")

TARGETS = {"resident_python": "at most 250 MB", "resident_compiled": "at most 250 MB"}


def run(
    report: Report, *, seconds: int = HOUR_S, speed: int = 360, engines: str | Sequence[str] = ENGINES
) -> dict[str, object]:
    """Run `seconds` of venue time at `speed` times real time with each engine of the model."""
    figures: dict[str, Figure] = {}
    for engine in (engines,) if isinstance(engines, str) else engines:
        report(f"{seconds} s of the default feed at {speed} times real time, model {engine}")
        baseline = _imports(*([COMPILER] if engine == "compiled" else []))
        after = _after(seconds, speed, engine)
        figures[f"resident_{engine}"] = _megabytes(after.resident_bytes, baseline.resident_bytes)
        figures[f"peak_{engine}"] = _megabytes(after.peak_bytes, baseline.peak_bytes)
    return {"benchmark": "memory", "simulated_seconds": seconds, "speed": speed, "figures": figures}


def _after(seconds: int, speed: int, engine: str) -> Memory:
    settings = {"SPEED": str(speed), "START_TIME": format_time(START_NS), "MODEL_ENGINE": engine}
    with venue(settings) as running:
        deadline = time.monotonic() + PATIENCE_S
        while _venue_ns(running) < START_NS + seconds * NS_PER_S:
            running.process.check_alive()
            if time.monotonic() > deadline:
                raise Unavailable(f"venue time did not get {seconds} s on in {PATIENCE_S:g} s")
            time.sleep(LOOK_S)
        return running.process.memory()


def _venue_ns(running: Venue) -> int:
    with urllib.request.urlopen(f"{running.ready.http}/api/v1/time", timeout=5.0) as answer:
        return parse_time(msgspec.json.decode(answer.read())["venue"])


def _imports(*more: str) -> Memory:
    # It waits for the end of its standard input, which comes when the block ends.
    command = import_command(*more, then="import sys; print({}, flush=True); sys.stdin.read()")
    with scratch() as folder, child(command, folder=folder, speaks=True) as process:
        process.hear(PATIENCE_S)
        return memory_of(process.pid)


def _megabytes(value: int, baseline: int) -> Figure:
    return figure(value / MEGABYTE, "MB", baseline / MEGABYTE)
