"""How many orders a second the background flow makes and the kernel carries out, with nothing of the venue around them.

`bench flow --headless`: traders of five instruments make so many new orders a second of virtual time each, and their
cancels. Slice after slice is made, packed and written to a journal file, and carried out by the compiled kernel.
Prices wander as prices without memory do. The first seconds, in which the books are opened and kernels are compiled or
loaded, do not count.

The baseline is the kernel alone: it carries out the same commands, which are given to it, and nothing is written.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Final

import numpy as np

from fauxchange.bench.figures import Report, figure
from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.listings import Asset, Listing
from fauxchange.platform.compiler import compile_kernel
from fauxchange.services.exchange.core.engine import Engine
from fauxchange.services.exchange.core.flow import BUSY, OrderFlow, flow_instrument
from fauxchange.services.exchange.core.layout import Int64Array
from fauxchange.services.exchange.service.blocks import packer
from fauxchange.services.exchange.service.entries import as_rows
from fauxchange.services.exchange.service.headless import Anchors, headless_engine, run_headless, wandering_anchors

ORDERS_PER_S: Final = 2_000
SECONDS: Final = 60
TARGETS = {"orders": "at least 600000 orders/s", "hour": "at most 60 s"}
"""An hour of five instruments with 2,000 orders a second each, in a minute."""

MARKETS: Final = (
    ("BTC", "60000", "0.01", "0.00001"),
    ("ETH", "3000", "0.01", "0.0001"),
    ("SOL", "150", "0.01", "0.001"),
    ("ADA", "0.45", "0.0001", "0.1"),
    ("DOT", "6", "0.001", "0.01"),
)
"""Base asset, price, tick size, lot size."""
START_NS: Final = 1_767_225_600_000_000_000
WARM_S: Final = 5
KEPT_S: Final = 20
"""So many seconds of commands are kept for the baseline."""


def run(
    report: Report,
    *,
    seconds: int = SECONDS,
    orders_per_s: float = ORDERS_PER_S,
    slice_ms: int = 50,
    instruments: int = len(MARKETS),
    seed: int = 1,
) -> dict[str, object]:
    """Let the flow trade for `seconds` of virtual time; then have the kernel do some of the same alone."""
    if not (
        1 <= instruments <= len(MARKETS) and seconds >= 1 and 1 <= slice_ms <= 1_000 and 1 <= orders_per_s <= 20_000
    ):
        raise InvalidRequest(
            f"there are 1 to {len(MARKETS)} instruments, 1 to 20000 orders_per_s, slice_ms up to 1000, and seconds"
        )
    listings, prices_ticks = markets(instruments)
    anchors = wandering_anchors(prices_ticks, seed=seed, from_ns=START_NS, seconds=WARM_S + seconds)
    report("compiling the law and the kernel, or loading them")
    flow, engine = _traders(listings, prices_ticks, orders_per_s, slice_ms, seed)
    warmed_ns = START_NS + WARM_S * 10**9
    pack = packer(compile_kernel)
    with tempfile.TemporaryDirectory(prefix="fauxchange-bench-") as folder:
        journal = Path(folder) / "journal"
        run_headless(flow, engine, anchors, from_ns=START_NS, to_ns=warmed_ns, journal=journal, pack=pack)
        used_s = time.process_time()
        done = run_headless(
            flow,
            engine,
            anchors,
            from_ns=warmed_ns,
            to_ns=warmed_ns + seconds * 10**9,
            journal=journal,
            pack=pack,
            progress=_in_tenths(report),
        )
    used_s = time.process_time() - used_s
    report("the kernel alone")
    kernel_orders_s = _kernel_alone(listings, prices_ticks, anchors, orders_per_s, slice_ms, seed)
    orders_s = done.orders / done.seconds
    hour_s = done.seconds * 3_600 / seconds
    return {
        "benchmark": "flow_headless",
        "figures": {
            "orders": figure(orders_s, "orders/s", kernel_orders_s, decimals=0),
            "commands": figure(done.commands / done.seconds, "commands/s", decimals=0),
            "hour": figure(hour_s, "s", decimals=1),
            "hour_processor": figure(used_s * 3_600 / seconds, "s", decimals=1),
            "journal": figure(done.journal_bytes / done.commands, "bytes/command", decimals=1),
        },
        "instruments": instruments,
        "virtual_seconds": seconds,
        "orders_per_instrument_and_virtual_second": round(done.orders / seconds / instruments, 1),
        "orders": done.orders,
        "commands_in_all": done.commands,
        "trades": done.trades,
        "rejected": done.rejected,
        "seconds": round(done.seconds, 3),
        "state_hash": done.state_hash,
    }


def markets(count: int) -> tuple[list[Listing], list[int]]:
    """Return listings of the first of MARKETS, and their prices in ticks."""
    quote = Asset(number=count, name="USD")
    listings = [
        Listing(
            number=number,
            instrument=Instrument(symbol=f"{base}/USD", tick_size=Decimal(tick_size), lot_size=Decimal(lot_size)),
            base=Asset(number=number, name=base),
            quote=quote,
            min_notional=10**8,
            max_open_orders=1_000,
        )
        for number, (base, _, tick_size, lot_size) in enumerate(MARKETS[:count])
    ]
    return listings, [round(Decimal(price) / Decimal(tick_size)) for _, price, tick_size, _ in MARKETS[:count]]


def _traders(
    listings: list[Listing], prices_ticks: list[int], orders_per_s: float, slice_ms: int, seed: int
) -> tuple[OrderFlow, Engine]:
    engine, accounts = headless_engine(listings, compiler=compile_kernel)
    flow = OrderFlow(
        [flow_instrument(listing, price) for listing, price in zip(listings, prices_ticks, strict=True)],
        accounts,
        seed=seed,
        intensity=replace(BUSY, orders_per_s=orders_per_s),
        slice_ns=slice_ms * 1_000_000,
        compiler=compile_kernel,
    )
    return flow, engine


def _kernel_alone(
    listings: list[Listing],
    prices_ticks: list[int],
    anchors: Anchors,
    orders_per_s: float,
    slice_ms: int,
    seed: int,
) -> float:
    """Return how many orders a second the kernel carries out when the commands are there already."""
    flow, engine = _traders(listings, prices_ticks, orders_per_s, slice_ms, seed)
    kept: list[Int64Array] = []
    last_ns = int(anchors.ts_ns[-1])
    done = run_headless(
        flow,
        engine,
        anchors,
        from_ns=START_NS,
        to_ns=min(last_ns, START_NS + KEPT_S * 10**9),
        observer=lambda commands, _: kept.append(np.array(commands)),
    )
    again, _ = _traders(listings, prices_ticks, orders_per_s, slice_ms, seed)[::-1]
    batches = [as_rows(rows) for rows in kept]
    begun = time.perf_counter()
    for rows in batches:
        again.run(rows)
    return done.orders / (time.perf_counter() - begun)


def _in_tenths(report: Report) -> Callable[[float], None]:
    told = -1

    def tell(share: float) -> None:
        nonlocal told
        if int(share * 10) > told:
            told = int(share * 10)
            report(f"{told * 10} %")

    return tell
