"""How much memory a process takes that keeps many open orders in the kernel, compiler and libraries included.

The orders come from 10,000 accounts on 8 instruments, through a kernel that begins with the rooms of a venue's; its
events are made and dropped. The baseline is a process that has compiled the same kernel and keeps no order.
Run as a module it is that process: it says when the orders are there, and waits to be looked at.
"""

import json
import sys
from typing import Final

import numpy as np

from fauxchange.bench.figures import Report, figure
from fauxchange.bench.kernel import FIRST_ACCOUNT, INSTRUMENTS, MIDDLE, setting_up
from fauxchange.bench.processes import Memory, own_child
from fauxchange.domain.errors import check
from fauxchange.platform.compiler import compile_kernel
from fauxchange.services.exchange.core.engine import ROOMY, Engine, new_state, stamp
from fauxchange.services.exchange.core.layout import COMMAND, H_OPEN_ORDERS, Rows
from fauxchange.services.exchange.core.vocabulary import CommandKind, OrderType, Side

TARGETS = {"resident": "at most 500 MB"}

MEGABYTE: Final = 1_000_000
PATIENCE_S: Final = 600.0
BLOCK: Final = 4_096
DEPTH: Final = 4_000
"""Ticks from the middle over which the orders of one side lie."""


def run(report: Report, *, open_orders: int = 1_000_000, accounts: int = 10_000) -> dict[str, object]:
    """Let a child keep that many open orders, and look at what it takes."""
    report(f"{open_orders} open orders of {accounts} accounts")
    without, full = (_memory_with(count, accounts) for count in (0, open_orders))
    return {
        "benchmark": "orders_memory",
        "figures": {
            "resident": figure(full.resident_bytes / MEGABYTE, "MB", without.resident_bytes / MEGABYTE),
            "peak": figure(full.peak_bytes / MEGABYTE, "MB", without.peak_bytes / MEGABYTE),
        },
        "open_orders": open_orders,
        "bytes_per_order": round((full.resident_bytes - without.resident_bytes) / max(1, open_orders)),
    }


def fill(engine: Engine, accounts: int, count: int) -> None:
    """Found a venue and enter `count` orders that do not trade, as limit orders of both sides."""
    founding = stamp(setting_up(accounts), first_sequence=1, ts_ns=0)
    for first in range(0, len(founding), BLOCK):
        engine.run(founding[first : first + BLOCK])
    generator = np.random.default_rng(3)
    for first in range(0, count, BLOCK):
        rows = _resting(generator, accounts, min(BLOCK, count - first))
        rows["sequence"] = np.arange(len(founding) + first + 1, len(founding) + first + 1 + len(rows))
        engine.run(rows)
    check(engine.state.memory[H_OPEN_ORDERS] == count, "every order rests")


def _resting(generator: np.random.Generator, accounts: int, count: int) -> Rows:
    rows = np.zeros(count, dtype=COMMAND)
    rows["kind"] = CommandKind.PLACE
    rows["account"] = FIRST_ACCOUNT + generator.integers(accounts, size=count)
    rows["instrument"] = generator.integers(INSTRUMENTS, size=count)
    rows["side"] = generator.integers(2, size=count)
    away = generator.integers(1, DEPTH, size=count)
    rows["price_ticks"] = MIDDLE + np.where(rows["side"] == Side.BUY, -away, away)
    rows["order_type"] = OrderType.LIMIT
    rows["order_lots"] = generator.integers(1, 100, size=count)
    return rows


def _memory_with(open_orders: int, accounts: int) -> Memory:
    with own_child("orders_memory", {"open_orders": open_orders, "accounts": accounts}) as process:
        process.hear(PATIENCE_S)
        return process.memory()


def main() -> None:
    """Keep as many open orders as the parent asks for, until it is gone."""
    options = json.loads(sys.argv[1])
    engine = Engine(state=new_state(rooms=ROOMY), compiler=compile_kernel)
    fill(engine, options["accounts"], options["open_orders"])
    print("{}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
