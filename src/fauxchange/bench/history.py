"""How much faster than life a day goes through the whole pipeline and into SQLite.

The service is put together as `fauxchange up` puts it together, on a virtual clock that is run ahead by one day: model,
quotes, candles of every interval, snapshots, history, and a hub that nobody listens to. The time counts from the first
step until everything is stored and the file is closed. The rows it stored are then put into a second file of the same
schema by nothing but `executemany`, 5,000 rows to a transaction, in the order in which they came about: the baseline.
"""

import os
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from fauxchange.bench.children import own_cpu_s, run_child, tell
from fauxchange.bench.figures import Figure, Report, figure
from fauxchange.bench.processes import memory_of, own_child, scratch
from fauxchange.data.sqlite.adapter import SqliteDataAdapter
from fauxchange.data.sqlite.database import open_connection
from fauxchange.data.tables import candles, price_feeds
from fauxchange.domain.errors import check
from fauxchange.domain.times import NS_PER_S, format_time
from fauxchange.platform.clock import MAX_SPEED, VirtualClock
from fauxchange.platform.garbage import settle_garbage_collector
from fauxchange.platform.lifecycle import Supervisor
from fauxchange.platform.logging import configure_logging
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.platform.settings import load_settings
from fauxchange.services.market_data.app import build_market_data, read_config, read_sources

DAY_S = 86_400
START_NS = 1_767_225_600 * NS_PER_S
ROWS_PER_TRANSACTION = 5_000
PATIENCE_S = 900.0

TARGETS = {"speed": "at least 2000 times real time"}


def run(report: Report, *, seconds: int = DAY_S, model_engine: str = "auto") -> dict[str, object]:
    """Simulate `seconds` of venue time of the default symbols at one update a second."""
    report(f"{seconds} s of the default feed, as fast as it goes, into SQLite; then the same rows alone")
    with own_child("history", {"seconds": seconds, "model_engine": model_engine}) as process:
        measured = process.hear(PATIENCE_S)
    speed, rows = seconds / measured["elapsed_s"], measured["rows"]
    figures: dict[str, Figure] = {
        "speed": figure(speed, "times real time", seconds / measured["bare_s"], decimals=0),
        "rows": figure(rows / measured["elapsed_s"], "rows/s", rows / measured["bare_s"], decimals=0),
        "elapsed": figure(measured["elapsed_s"], "s", measured["bare_s"], decimals=2),
        "cpu": figure(measured["cpu_s"], "s", decimals=2),
        "peak_memory": figure(measured["peak_bytes"] / 1e6, "MB"),
    }
    return {
        "benchmark": "history",
        "simulated_seconds": seconds,
        "rows": rows,
        "model_engine": model_engine,
        "figures": figures,
    }


async def simulate(path: Path, seconds: int, model_engine: str) -> Mapping[str, float]:
    """Run the service over a new file. Units: the wall time it took in seconds, and its processor time."""
    settings = load_settings(
        {"START_TIME": format_time(START_NS), "SPEED": "max", "MODEL_ENGINE": model_engine}, environ={}
    )
    data = SqliteDataAdapter(path)
    await data.connect()
    clock = VirtualClock(START_NS, MAX_SPEED)
    config = read_config(settings)
    market_data = await build_market_data(
        config,
        read_sources(config),
        data=data,
        clock=clock,
        wall_ns=time.time_ns,
        metrics=PrometheusMetrics("bench", "bench", "0"),
        supervisor=Supervisor(stop_timeout_ns=NS_PER_S),
    )
    await market_data.start()
    # As `fauxchange up` does when it is ready.
    settle_garbage_collector()
    cpu_s, begun = own_cpu_s(), time.perf_counter()
    await clock.run_until(START_NS + seconds * NS_PER_S)
    await market_data.stop()
    await data.disconnect()
    return {"elapsed_s": time.perf_counter() - begun, "cpu_s": own_cpu_s() - cpu_s}


async def insert_bare(stored: Path, path: Path) -> tuple[int, float]:
    """Insert the rows of one file into another; return how many there are and the seconds that the inserting took."""
    schema = SqliteDataAdapter(path)
    await schema.connect()
    await schema.disconnect()
    with closing(open_connection(stored)) as source, closing(open_connection(path)) as target:
        target.execute("PRAGMA synchronous=NORMAL")
        count, elapsed_s = 0, 0.0
        for table, order in ((price_feeds, "ts_ns"), (candles, "open_ns + interval_ns")):
            marks = ",".join("?" * len(table.c))
            insert = f"INSERT INTO {table.name} VALUES ({marks})"
            cursor = source.execute(f"SELECT * FROM {table.name} ORDER BY {order}")
            while rows := cursor.fetchmany(ROWS_PER_TRANSACTION):
                begun = time.perf_counter()
                target.execute("BEGIN")
                target.executemany(insert, rows)
                target.execute("COMMIT")
                elapsed_s += time.perf_counter() - begun
                count += len(rows)
        begun = time.perf_counter()
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return count, elapsed_s + time.perf_counter() - begun


async def main(options: dict[str, Any]) -> None:
    """Measure, and tell the parent."""
    configure_logging(level="warning", service="bench", version="0")
    with scratch() as folder:
        stored = folder / "stored.sqlite"
        measured = await simulate(stored, options["seconds"], options["model_engine"])
        peak_bytes = memory_of(os.getpid()).peak_bytes
        rows, bare_s = await insert_bare(stored, folder / "bare.sqlite")
    least = options["seconds"] * 2 * len(load_settings(environ={}).default_symbols)
    check(rows >= least, f"{rows} rows are stored where at least {least} were made")
    tell({**measured, "rows": rows, "bare_s": bare_s, "peak_bytes": peak_bytes})


if __name__ == "__main__":
    run_child(main)
