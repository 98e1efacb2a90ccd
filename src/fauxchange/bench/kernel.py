"""How many commands a second the whole kernel carries out: accounts, risk, fees, ledger postings and all events.

A fixed mix of commands from 10,000 accounts on 8 instruments goes through the compiled kernel: limit orders that rest
and that trade, market orders by lots and by amount, post-only, icebergs, stops, GTD, IOC and FOK, cancels, amendments
and replacements. The baseline copies as many bytes as the commands and their events have: what the memory alone needs.
"""

import time
from statistics import median
from typing import Final

import numpy as np

from fauxchange.bench.figures import Report, figure
from fauxchange.platform.compiler import compile_kernel
from fauxchange.services.exchange.core import commands as ask
from fauxchange.services.exchange.core.engine import Engine, join, load_state, stamp
from fauxchange.services.exchange.core.layout import COMMAND, Rows
from fauxchange.services.exchange.core.state import State, dump_state, open_orders
from fauxchange.services.exchange.core.vocabulary import (
    TRANSIT_ACCOUNT,
    CommandKind,
    EventKind,
    OrderType,
    SelfTradePrevention,
    Side,
    TimeInForce,
)

TARGETS = {"kernel": "at least 5000000 commands/s"}

INSTRUMENTS: Final = 8
FUNDS: Final = 10**15
MIDDLE: Final = 100_000
FIRST_ACCOUNT: Final = TRANSIT_ACCOUNT + 1
BATCH: Final = 4_096
"""As many commands as a sequencer may hand on at once; what one batch writes stays in the cache."""


def run(report: Report, *, accounts: int = 10_000, commands: int = 400_000, repetitions: int = 5) -> dict[str, object]:
    """Carry out the mix, several times from the same state, and return the median's commands per second."""
    ready = stamp(setting_up(accounts), first_sequence=1, ts_ns=0)
    mix = mixed_commands(accounts, commands, first_sequence=len(ready) + 1)
    report(f"{commands} commands of {accounts} accounts on {INSTRUMENTS} instruments, {repetitions} times")
    engine = Engine(compiler=compile_kernel)
    engine.run(ready)
    dumped = dump_state(engine.state)
    generator = np.random.default_rng(11)
    elapsed_s: list[float] = []
    events: dict[int, int] = {}
    # The first turn compiles, decides which orders are canceled and changed, and counts for nothing.
    for turn in range(repetitions + 1):
        engine.state = load_state(dumped, compiler=compile_kernel)
        taken_s, counted = 0.0, np.zeros(len(EventKind) + 1, dtype=np.int64)
        for first in range(0, commands, BATCH):
            if not turn:
                aim_at_open_orders(mix[first : first + BATCH], engine.state, generator)
            begun = time.perf_counter()
            count = engine.run(mix[first : first + BATCH])
            taken_s += time.perf_counter() - begun
            counted += np.bincount(engine.written(count)["kind"], minlength=len(counted))
        events = dict(enumerate(counted.tolist()))
        if turn:
            elapsed_s.append(taken_s)
    total = sum(events.values())
    copied_s = _copying_s(mix, total, engine)
    taken = median(elapsed_s)
    return {
        "benchmark": "kernel",
        "figures": {
            "kernel": figure(commands / taken, "commands/s", commands / copied_s, decimals=0),
            "events": figure(total / taken, "events/s", total / copied_s, decimals=0),
        },
        "commands": commands,
        "accounts": accounts,
        "instruments": INSTRUMENTS,
        "events_by_kind": {kind.name.lower(): events[kind] for kind in EventKind if events[kind]},
    }


def setting_up(accounts: int) -> list[Rows]:
    """Return the commands that make assets, instruments, fees and funded accounts."""
    rows = [ask.create_asset() for _ in range(INSTRUMENTS + 1)]
    rows.append(ask.set_tier_fees(0, maker=200, taker=500))
    for base in range(INSTRUMENTS):
        rows.append(ask.create_instrument(base, INSTRUMENTS))
        rows.append(ask.set_limits(base, max_lots=10**9, max_notional=10**15, price_band=5_000, max_open_orders=1_000))
    rows += [ask.set_reference_price(instrument, MIDDLE) for instrument in range(INSTRUMENTS)]
    rows += [ask.create_account() for _ in range(accounts)]
    deposits = np.zeros(accounts * (INSTRUMENTS + 1), dtype=COMMAND)
    deposits["kind"] = CommandKind.DEPOSIT
    deposits["account"] = FIRST_ACCOUNT + np.repeat(np.arange(accounts), INSTRUMENTS + 1)
    deposits["asset"] = np.tile(np.arange(INSTRUMENTS + 1), accounts)
    deposits["amount"] = FUNDS // accounts
    return [join(rows), deposits]


def mixed_commands(accounts: int, count: int, *, first_sequence: int) -> Rows:
    """Return the mix: two thirds new orders of all types, the rest cancels, amendments and replacements."""
    generator = np.random.default_rng(7)
    rows = np.zeros(count, dtype=COMMAND)
    rows["sequence"] = np.arange(first_sequence, first_sequence + count)
    rows["ts_ns"] = np.arange(count) * 1_000
    rows["account"] = FIRST_ACCOUNT + generator.integers(accounts, size=count)
    rows["instrument"] = generator.integers(INSTRUMENTS, size=count)
    rows["side"] = generator.integers(2, size=count)
    rows["self_trade_prevention"] = generator.integers(len(SelfTradePrevention), size=count)
    away = np.minimum(generator.geometric(0.02, size=count), 5_000) - 10
    rows["price_ticks"] = MIDDLE + np.where(rows["side"] == Side.BUY, -away, away)
    rows["order_lots"] = generator.integers(1, 100, size=count)
    rows["order_type"] = OrderType.LIMIT
    draw = generator.random(count)
    rows["kind"] = np.select(
        [draw < 0.65, draw < 0.88, draw < 0.93, draw < 0.96, draw < 0.99],
        [
            CommandKind.PLACE,
            CommandKind.CANCEL,
            CommandKind.AMEND,
            CommandKind.REPLACE_IN_PLACE,
            CommandKind.CANCEL_REPLACE,
        ],
        CommandKind.EXPIRE,
    )
    _vary_types(rows, generator)
    return rows


def _vary_types(rows: Rows, generator: np.random.Generator) -> None:
    """Make some of the limit orders market orders, stops, icebergs, post-only, IOC, FOK or GTD."""
    draw = generator.random(len(rows))

    def between(low: float, high: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return (draw >= low) & (draw < high)

    by_lots, by_amount, stops = between(0.0, 0.04), between(0.04, 0.06), between(0.06, 0.10)
    market = by_lots | by_amount
    rows["order_type"][market] = OrderType.MARKET
    rows["price_ticks"][market] = 0
    rows["time_in_force"][market] = TimeInForce.IOC
    rows["amount"][by_amount] = rows["order_lots"][by_amount] * MIDDLE
    rows["order_lots"][by_amount] = 0
    rows["order_type"][stops] = OrderType.STOP_LIMIT
    rows["stop_ticks"][stops] = 2 * MIDDLE - rows["price_ticks"][stops]
    rows["time_in_force"][between(0.10, 0.14)] = TimeInForce.IOC
    rows["time_in_force"][between(0.14, 0.16)] = TimeInForce.FOK
    dated = between(0.16, 0.20)
    rows["time_in_force"][dated] = TimeInForce.GTD
    rows["expires_ns"][dated] = rows["ts_ns"][dated] + 5_000_000
    rows["post_only"][between(0.20, 0.30)] = 1
    iceberg = between(0.30, 0.35)
    rows["display_lots"][iceberg] = (rows["order_lots"][iceberg] + 3) // 4


def aim_at_open_orders(rows: Rows, state: State, generator: np.random.Generator) -> None:
    """Let the cancels and changes among `rows` name orders that are open now, each a different one."""
    there = open_orders(state)
    aimed = np.flatnonzero((rows["kind"] >= CommandKind.CANCEL) & (rows["kind"] <= CommandKind.CANCEL_REPLACE))
    aimed = aimed[: len(there)]
    chosen = there[generator.choice(len(there), size=len(aimed), replace=False)]
    for name in ("order_id", "account"):
        rows[name][aimed] = chosen[name]
    for kind in (CommandKind.AMEND, CommandKind.REPLACE_IN_PLACE):
        which = rows["kind"][aimed] == kind
        rows["price_ticks"][aimed[which]] = chosen["price_ticks"][which]
        rows["order_lots"][aimed[which]] = chosen["order_lots"][which] + 1


def _copying_s(commands: Rows, events: int, engine: Engine) -> float:
    """Return how long copying as many bytes takes, batch by batch into one buffer. Units: seconds."""
    size = (commands.nbytes + events * engine.written(1).nbytes) * BATCH // len(commands)
    source, target = np.ones(size, dtype=np.uint8), np.empty(size, dtype=np.uint8)
    begun = time.perf_counter()
    for _ in range(-(-len(commands) // BATCH)):
        np.copyto(target, source)
    return time.perf_counter() - begun
