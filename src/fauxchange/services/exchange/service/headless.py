"""The order flow and the kernel alone: slices of commands, their journal and the kernel, with no venue around them.

For statistics of the book that the flow makes, and to see what the flow costs. Each slice is one batch: made, packed as
the journal of the venue packs it and written, then carried out.
"""

import struct
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from fauxchange.domain.arithmetic import exp_each, normals
from fauxchange.domain.chance import WordStream
from fauxchange.domain.errors import InvalidRequest, check
from fauxchange.domain.listings import Listing
from fauxchange.services.exchange.core import commands as ask
from fauxchange.services.exchange.core.engine import Engine, interpreted, new_state, stamp
from fauxchange.services.exchange.core.flow import FlowAccounts, OrderFlow
from fauxchange.services.exchange.core.layout import (
    C_KIND,
    C_SEQUENCE,
    E_KIND,
    H_EVENT_SEQUENCE,
    H_SEQUENCE,
    Int64Array,
    words,
)
from fauxchange.services.exchange.core.memory import Rooms
from fauxchange.services.exchange.core.vocabulary import (
    COMMAND_PLACE,
    EVENT_ORDER_REJECTED,
    EVENT_TRADE,
    TRANSIT_ACCOUNT,
    EventKind,
)
from fauxchange.services.exchange.service.blocks import Pack, pack_columns
from fauxchange.services.exchange.service.entries import as_rows

FUNDS: Final = 10**17
"""What each account gets of each asset, in minor units."""
_HEAD: Final = struct.Struct("<QII")
"""Of a batch in the journal's file: its first sequence, its rows, its bytes."""
Observer = Callable[[Int64Array, Int64Array], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """Market-data prices over time, which the flow follows.

    Shapes: ts_ns (n,), rising; bid_ticks and ask_ticks (n, instruments), in the order of the flow's instruments
    """

    ts_ns: Int64Array
    bid_ticks: Int64Array
    ask_ticks: Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadlessRun:
    """What came of a run. Units: seconds of wall time, journal_bytes as written."""

    commands: int
    orders: int
    trades: int
    rejected: int
    events: int
    journal_bytes: int
    state_hash: str
    seconds: float


def headless_engine(
    listings: Sequence[Listing],
    *,
    strangers: int = 0,
    balance_events: bool = False,
    compiler: Callable[[Any], Any] = interpreted,
) -> tuple[Engine, FlowAccounts]:
    """Return an engine that lists the instruments, and the flow's accounts in it, which are funded.

    As many accounts for `strangers`, funded alike, follow the flow's.
    """
    state = new_state(
        balance_events=balance_events, rooms=Rooms(orders=1 << 14, levels=1 << 13, nodes=1 << 14, events=1 << 16)
    )
    engine = Engine(state=state, compiler=compiler)
    first = TRANSIT_ACCOUNT + 1
    accounts = FlowAccounts(makers=(first, first + 1, first + 2), takers=(first + 3, first + 4))
    assets = {asset.number: asset for listing in listings for asset in (listing.base, listing.quote)}
    check(sorted(assets) == list(range(len(assets))), "assets are numbered from 0 on")
    check([each.number for each in listings] == list(range(len(listings))), "instruments are numbered from 0 on")
    rows = [ask.create_asset(assets[number].decimals) for number in sorted(assets)]
    rows += [
        ask.create_instrument(
            each.base.number,
            each.quote.number,
            tick_value=each.tick_value,
            lot_value=each.lot_value,
            min_lots=each.min_lots,
            max_lots=each.max_lots,
            min_notional=each.min_notional,
            max_notional=each.max_notional,
            price_band=each.price_band,
            max_open_orders=each.max_open_orders,
        )
        for each in listings
    ]
    count = len(accounts.all) + strangers
    rows += [ask.create_account() for _ in range(count)]
    rows += [ask.deposit(first + account, asset, FUNDS) for account in range(count) for asset in sorted(assets)]
    engine.run(stamp(rows, first_sequence=1, ts_ns=0))
    return engine, accounts


def run_headless(
    flow: OrderFlow,
    engine: Engine,
    anchors: Anchors,
    *,
    from_ns: int,
    to_ns: int,
    journal: Path | None = None,
    pack: Pack = pack_columns,
    observer: Observer | None = None,
    progress: Callable[[float], None] | None = None,
    now: Callable[[], float] = time.perf_counter,
) -> HeadlessRun:
    """Let the flow trade through the kernel; the observer sees each slice's commands and events, during the call only.

    `progress` is told the part that is done.

    Shapes: what the observer gets: commands (n, COMMAND_WIDTH), events (n, EVENT_WIDTH)
    Raises: InvalidRequest if there is no price at the beginning
    """
    if len(anchors.ts_ns) == 0 or int(anchors.ts_ns[0]) > from_ns:
        raise InvalidRequest("the order flow has no price to begin with")
    flow.take_up(engine.state)
    counts = np.zeros(5, dtype=np.int64)
    begun = now()
    with ExitStack() as stack:
        file = None if journal is None else stack.enter_context(journal.open("wb"))
        next_price = 0
        for begins_ns in range(from_ns, to_ns, flow.slice_ns):
            while next_price < len(anchors.ts_ns) and anchors.ts_ns[next_price] <= begins_ns:
                _show_prices(flow, anchors, next_price)
                next_price += 1
            rows = flow.commands(begins_ns, min(to_ns, begins_ns + flow.slice_ns))
            if len(rows):
                counts += _carry_out(flow, engine, rows, file, pack, observer)
            if progress is not None:
                progress((begins_ns - from_ns) / (to_ns - from_ns))
    return HeadlessRun(
        commands=int(counts[0]),
        orders=int(counts[1]),
        trades=int(counts[2]),
        rejected=int(counts[3]),
        events=int(engine.state.memory[H_EVENT_SEQUENCE]),
        journal_bytes=int(counts[4]),
        state_hash=engine.state_hash(),
        seconds=now() - begun,
    )


def _show_prices(flow: OrderFlow, anchors: Anchors, which: int) -> None:
    for column, instrument in enumerate(flow.instruments):
        flow.anchor(
            instrument.number,
            int(anchors.bid_ticks[which, column]),
            int(anchors.ask_ticks[which, column]),
            int(anchors.ts_ns[which]),
        )


def _carry_out(
    flow: OrderFlow, engine: Engine, rows: Int64Array, file: BinaryIO | None, pack: Pack, observer: Observer | None
) -> Int64Array:
    """Journal and carry out a slice; return its counts: commands, orders, trades, rejected orders, bytes."""
    first = int(engine.state.memory[H_SEQUENCE]) + 1
    rows[:, C_SEQUENCE] = np.arange(first, first + len(rows))
    written = 0
    if file is not None:
        packed = pack(rows)
        written = file.write(_HEAD.pack(first, len(rows), len(packed))) + file.write(packed)
    events = words(engine.written(engine.run(as_rows(rows))))
    flow.heard(rows, events)
    if observer is not None:
        observer(rows, events)
    kinds = np.bincount(events[:, E_KIND], minlength=len(EventKind) + 1)
    return np.array(
        [
            len(rows),
            np.count_nonzero(rows[:, C_KIND] == COMMAND_PLACE),
            kinds[EVENT_TRADE],
            kinds[EVENT_ORDER_REJECTED],
            written,
        ]
    )


def wandering_anchors(
    prices_ticks: Sequence[int],
    *,
    seed: int,
    from_ns: int,
    seconds: int,
    day_volatility: float = 0.03,
    spread_bps: float = 1.0,
    step_ns: int = 1_000_000_000,
) -> Anchors:
    """Return prices that wander without any memory, for those who have no market data: one price in a step."""
    steps = seconds * 1_000_000_000 // step_ns + 1
    columns: list[NDArray[np.float64]] = []
    deviation = day_volatility * (step_ns * 1e-9 / 86_400) ** 0.5
    for column, price in enumerate(prices_ticks):
        noise = normals(WordStream(seed, str(column), "wandering").words(0, steps)) * deviation
        noise[0] = 0.0
        columns.append(price * exp_each(np.cumsum(noise)))
    middle = np.stack(columns, axis=1)
    half = middle * (spread_bps / 2e4)
    bid = np.maximum(1, np.floor(middle - half)).astype(np.int64)
    ask = np.maximum(bid + 1, np.ceil(middle + half).astype(np.int64))
    return Anchors(ts_ns=from_ns + step_ns * np.arange(steps, dtype=np.int64), bid_ticks=bid, ask_ticks=ask)
