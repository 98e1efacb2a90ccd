"""How many commands a second the whole kernel carries out: accounts, risk, fees, ledger postings and all events.

A fixed mix of commands from 10,000 accounts on 8 instruments goes through the compiled kernel: orders of every type and
lifetime, cancels, amendments and replacements; what share each has is part of the answer, and so is what became of
them. The accounts of neighbouring commands have nothing to do with each other, which is the worst case for a cache.
Commands come in blocks as a sequencer hands them on, and the events of a block are read before the next. The tables
have room, as those of a service have; growing them is not part of the figure.

The baseline copies as many bytes as the commands and their events have: what the memory alone needs.
"""

import time
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fauxchange.bench.figures import Report, figure
from fauxchange.platform.compiler import compile_kernel
from fauxchange.services.exchange.core import commands as ask
from fauxchange.services.exchange.core.engine import Engine, join, new_state, stamp
from fauxchange.services.exchange.core.layout import COMMAND, Int64Array, Rows
from fauxchange.services.exchange.core.memory import Rooms
from fauxchange.services.exchange.core.state import State, open_orders
from fauxchange.services.exchange.core.vocabulary import (
    ALL_INSTRUMENTS,
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
BLOCK: Final = 1_024
"""As many commands as arrive in a fraction of a millisecond at the rate that is measured."""
AIMED: Final = 4_096
"""As many cancels and changes are aimed at what is open at the same moment; some come too late."""
STEP_NS: Final = 1_000

SHARES: Final[Mapping[CommandKind, float]] = {
    CommandKind.PLACE: 0.648,
    CommandKind.CANCEL: 0.23,
    CommandKind.AMEND: 0.05,
    CommandKind.REPLACE_IN_PLACE: 0.03,
    CommandKind.CANCEL_REPLACE: 0.03,
    CommandKind.CANCEL_ALL: 0.002,
    CommandKind.EXPIRE: 0.01,
}
VARIETIES: Final = {
    "market_by_lots": 0.04,
    "market_by_amount": 0.02,
    "stop": 0.01,
    "stop_limit": 0.015,
    "take_profit": 0.01,
    "take_profit_limit": 0.01,
    "ioc": 0.04,
    "fok": 0.02,
    "gtd": 0.04,
    "post_only": 0.10,
    "iceberg": 0.05,
}
"""What share of the new orders is no plain limit order; no order is two of these."""
STOPS: Final = {
    "stop": OrderType.STOP,
    "stop_limit": OrderType.STOP_LIMIT,
    "take_profit": OrderType.TAKE_PROFIT,
    "take_profit_limit": OrderType.TAKE_PROFIT_LIMIT,
}


def run(
    report: Report, *, accounts: int = 10_000, commands: int = 400_000, block: int = BLOCK, repetitions: int = 15
) -> dict[str, object]:
    """Carry out the mix, several times from the same state; the figure is that of the quickest repetition."""
    ready = stamp(setting_up(accounts), first_sequence=1, ts_ns=0)
    mix = mixed_commands(accounts, commands, first_sequence=len(ready) + 1)
    engine = Engine(state=new_state(rooms=_rooms(accounts, commands, block)), compiler=compile_kernel)
    report("compiling the kernel, or loading it")
    engine.run(ready)
    founded = engine.state.memory.copy()
    generator = np.random.default_rng(11)
    # The first turn decides which orders are canceled and changed, and counts for nothing.
    for first in range(0, commands, AIMED):
        aim_at_open_orders(mix[first : first + AIMED], engine.state, generator)
        engine.run(mix[first : first + AIMED])
    report(f"{commands} commands of {accounts} accounts on {INSTRUMENTS} instruments, {repetitions} times")
    elapsed_s: list[float] = []
    events = np.zeros(0, dtype=np.int64)
    for _ in range(repetitions):
        engine.state.memory[:] = founded
        taken_s, events = _carry_out(engine, mix, block)
        elapsed_s.append(taken_s)
    total = int(events.sum())
    copied_s = _copying_s(mix, total, engine, block)
    taken = min(elapsed_s)
    return {
        "benchmark": "kernel",
        "figures": {
            "kernel": figure(commands / taken, "commands/s", commands / copied_s, decimals=0),
            "events": figure(total / taken, "events/s", total / copied_s, decimals=0),
        },
        "commands": commands,
        "block": block,
        "accounts": accounts,
        "instruments": INSTRUMENTS,
        "open_orders_at_the_end": len(open_orders(engine.state)),
        "share_of_commands": {kind.name.lower(): _share(mix["kind"] == kind) for kind in SHARES},
        "share_of_new_orders": {"plain_limit": round(1 - sum(VARIETIES.values()), 3), **VARIETIES},
        "events_per_100_commands": {
            kind.name.lower(): round(100 * int(events[kind]) / commands, 1) for kind in EventKind if events[kind]
        },
    }


def _rooms(accounts: int, commands: int, block: int) -> Rooms:
    return Rooms(
        assets=INSTRUMENTS + 2,
        accounts=accounts + FIRST_ACCOUNT + 1,
        instruments=INSTRUMENTS + 1,
        orders=max(1 << 10, commands // 2),
        levels=1 << 16,
        nodes=1 << 16,
        events=max(1 << 12, 64 * max(block, AIMED)),
    )


def _carry_out(engine: Engine, mix: Rows, block: int) -> tuple[float, Int64Array]:
    """Carry out the mix block by block; return the time that the kernel took, and how many events of each kind came."""
    taken_s, counted = 0.0, np.zeros(len(EventKind) + 1, dtype=np.int64)
    for first in range(0, len(mix), block):
        rows = mix[first : first + block]
        begun = time.perf_counter()
        count = engine.run(rows)
        taken_s += time.perf_counter() - begun
        counted += np.bincount(engine.written(count)["kind"], minlength=len(counted))
    return taken_s, counted


def setting_up(accounts: int) -> list[Rows]:
    """Return the commands that make assets, instruments, fees and funded accounts."""
    rows = [ask.create_asset() for _ in range(INSTRUMENTS + 1)]
    rows.append(ask.set_tier_fees(0, maker=200, taker=500))
    for base in range(INSTRUMENTS):
        rows.append(ask.create_instrument(base, INSTRUMENTS))
        rows.append(ask.set_limits(base, max_lots=10**9, max_notional=10**15, price_band=5_000, max_open_orders=1_000))
    rows += [ask.set_reference_price(instrument, MIDDLE) for instrument in range(INSTRUMENTS)]
    made = np.zeros(accounts, dtype=COMMAND)
    made["kind"] = CommandKind.CREATE_ACCOUNT
    deposits = np.zeros(accounts * (INSTRUMENTS + 1), dtype=COMMAND)
    deposits["kind"] = CommandKind.DEPOSIT
    deposits["account"] = FIRST_ACCOUNT + np.repeat(np.arange(accounts), INSTRUMENTS + 1)
    deposits["asset"] = np.tile(np.arange(INSTRUMENTS + 1), accounts)
    deposits["amount"] = FUNDS // accounts
    return [join(rows), made, deposits]


def mixed_commands(accounts: int, count: int, *, first_sequence: int) -> Rows:
    """Return the mix: two thirds new orders of all types, the rest cancels, amendments and replacements."""
    generator = np.random.default_rng(7)
    rows = np.zeros(count, dtype=COMMAND)
    rows["sequence"] = np.arange(first_sequence, first_sequence + count)
    rows["ts_ns"] = np.arange(count) * STEP_NS
    rows["account"] = FIRST_ACCOUNT + generator.integers(accounts, size=count)
    rows["instrument"] = generator.integers(INSTRUMENTS, size=count)
    rows["side"] = generator.integers(2, size=count)
    rows["self_trade_prevention"] = generator.integers(len(SelfTradePrevention), size=count)
    away = np.minimum(generator.geometric(0.02, size=count), 5_000) - 10
    rows["price_ticks"] = MIDDLE + np.where(rows["side"] == Side.BUY, -away, away)
    rows["order_lots"] = generator.integers(1, 100, size=count)
    rows["order_type"] = OrderType.LIMIT
    rows["kind"] = generator.choice(np.array(list(SHARES), dtype=np.int64), size=count, p=list(SHARES.values()))
    rows["instrument"][rows["kind"] == CommandKind.CANCEL_ALL] = ALL_INSTRUMENTS
    _vary_types(rows, generator)
    return rows


def _vary_types(rows: Rows, generator: np.random.Generator) -> None:
    """Make some of the limit orders market orders, stops, icebergs, post-only, IOC, FOK or GTD."""
    plain = 1 - sum(VARIETIES.values())
    drawn = generator.choice(len(VARIETIES) + 1, size=len(rows), p=[*VARIETIES.values(), plain])
    which = {name: drawn == number for number, name in enumerate(VARIETIES)}
    market = which["market_by_lots"] | which["market_by_amount"]
    rows["order_type"][market] = OrderType.MARKET
    rows["price_ticks"][market] = 0
    rows["time_in_force"][market | which["ioc"]] = TimeInForce.IOC
    by_amount = which["market_by_amount"]
    rows["amount"][by_amount] = rows["order_lots"][by_amount] * MIDDLE
    rows["order_lots"][by_amount] = 0
    for name, order_type in STOPS.items():
        rows["order_type"][which[name]] = order_type
        # As far on the other side of the middle as the limit is on its own.
        rows["stop_ticks"][which[name]] = 2 * MIDDLE - rows["price_ticks"][which[name]]
    rows["time_in_force"][which["fok"]] = TimeInForce.FOK
    rows["time_in_force"][which["gtd"]] = TimeInForce.GTD
    rows["expires_ns"][which["gtd"]] = rows["ts_ns"][which["gtd"]] + 5_000 * STEP_NS
    rows["post_only"][which["post_only"]] = 1
    rows["display_lots"][which["iceberg"]] = (rows["order_lots"][which["iceberg"]] + 3) // 4


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


def _share(those: NDArray[np.bool_]) -> float:
    return round(float(those.mean()), 4)


def _copying_s(commands: Rows, events: int, engine: Engine, block: int) -> float:
    """Return how long copying as many bytes takes, block by block into one buffer. Units: seconds."""
    size = (commands.nbytes + events * engine.written(1).nbytes) * block // len(commands)
    source, target = np.ones(size, dtype=np.uint8), np.empty(size, dtype=np.uint8)
    begun = time.perf_counter()
    for _ in range(-(-len(commands) // block)):
        np.copyto(target, source)
    return time.perf_counter() - begun
