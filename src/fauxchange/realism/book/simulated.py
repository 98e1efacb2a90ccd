"""Books that the background order flow makes: a tape of a run, and what a user's order does to it.

Prices come from the model that the feed runs, orders from the flow that the exchange runs, and both meet in the kernel;
only the venue around them is left out. Two runs of one seed differ in nothing but what a user did, so the difference of
their mids is that order's impact, without any noise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.listings import Asset, Listing
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.compiler import compile_kernel, numba_available
from fauxchange.realism.bars import FloatArray, Int64Array
from fauxchange.realism.book.tape import BookTape, walk
from fauxchange.realism.simulating import NS_PER_WEEK, START_NS, default_settings, simulate
from fauxchange.services.exchange.core.commands import place
from fauxchange.services.exchange.core.engine import interpreted, stamp
from fauxchange.services.exchange.core.flow import (
    INTENSITIES,
    SLICE_NS,
    FlowInstrument,
    Intensity,
    OrderFlow,
    flow_instrument,
)
from fauxchange.services.exchange.core.layout import (
    BOOK_ASKS,
    BOOK_BIDS,
    E_INSTRUMENT,
    E_KIND,
    E_LOTS,
    E_ORDER_ID,
    E_PRICE_TICKS,
    E_SEQUENCE,
    E_SIDE,
    E_TS_NS,
    H_SEQUENCE,
    words,
)
from fauxchange.services.exchange.core.state import levels
from fauxchange.services.exchange.core.vocabulary import EVENT_BOOK, EVENT_TRADE, SIDE_BUY, SIDE_SELL, TimeInForce
from fauxchange.services.exchange.service.headless import Anchors, headless_engine, run_headless
from fauxchange.services.market_data.core.parameters import LmvTable, default_table

Progress = Callable[[int, int], None]
"""Told how much is done, and how much there is in all."""

BURN_IN_S: Final = 7_200
"""So long the price model runs before anybody looks, so that its volatility is nowhere in particular."""
WARM_S: Final = 60
"""So long the flow runs before anybody looks, so that its books are full."""
MOST_MINUTES: Final = 24 * 60
BPS: Final = 10_000

SIZES: Final = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3)
"""The sizes of users' orders, as parts of a day's volume."""
AFTER_S: Final = (0.0, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 240.0)
"""When the impact is looked at."""
FITTED_AFTER: Final = 1
"""Which of these moments the law is fitted at: a second later, when the book has been filled again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookSimulation:
    """What is simulated. Units: seconds of venue time that the tape has; slices as the venue's."""

    instrument: Instrument
    seconds: int
    seed: int = 1
    intensity: str = "busy"
    slice_ns: int = SLICE_NS
    table: LmvTable | None = None

    def __post_init__(self) -> None:
        if self.intensity not in INTENSITIES:
            raise InvalidRequest(
                f"there is no intensity {self.intensity!r}; there are {', '.join(INTENSITIES)}",
                field="intensity",
            )
        if not 0 < self.seconds <= MOST_MINUTES * 60:
            raise InvalidRequest(f"a book is simulated for up to {MOST_MINUTES} minutes", code="out_of_range")

    @property
    def flow(self) -> Intensity:
        """How much happens."""
        return INTENSITIES[self.intensity]


@dataclass(frozen=True, slots=True)
class Impact:
    """What users' orders do to the mid.

    Shapes: sizes (m,), moves (m, len(AFTER_S)), by size and moment, mean over seeds and both sides
    Units:  sizes as parts of a day's volume; moves in basis points; volatility the day's, as the flow is told
    """

    sizes: FloatArray
    moves: FloatArray
    volatility: float
    runs: int

    @property
    def exponent(self) -> float:
        """The slope of log move on log size a second after; the square-root law says one half."""
        moves = self.moves[:, FITTED_AFTER]
        known = moves > 0
        if known.sum() < 2:
            return float("nan")
        return float(np.polyfit(np.log(self.sizes[known]), np.log(moves[known]), 1)[0])

    @property
    def strength(self) -> float:
        """The factor Y of the law I(Q) = Y sigma sqrt(Q / V), a second after."""
        law = self.volatility * np.sqrt(self.sizes) * BPS
        return float(np.exp(np.mean(np.log(np.maximum(self.moves[:, FITTED_AFTER], 1e-9) / law))))

    def left(self) -> FloatArray:
        """Return which part of the move of a second is left at each moment, mean over the larger half of sizes."""
        larger = self.moves[len(self.sizes) // 2 :]
        parts: FloatArray = larger.mean(axis=0) / larger[:, FITTED_AFTER].mean()
        return parts


class _Market:
    """One instrument with its flow, kernel and prices; runs on until it is asked."""

    def __init__(self, simulation: BookSimulation, anchors: Anchors) -> None:
        listing = _listing(simulation.instrument)
        compiler: Callable[[Any], Any] = compile_kernel if numba_available() else interpreted
        self.engine, accounts = headless_engine([listing], strangers=1, compiler=compiler)
        self.user = accounts.all[-1] + 1
        middle = int(anchors.bid_ticks[0, 0] + anchors.ask_ticks[0, 0]) // 2
        self.instrument: FlowInstrument = flow_instrument(listing, middle)
        self.flow = OrderFlow(
            [self.instrument],
            accounts,
            seed=simulation.seed,
            intensity=simulation.flow,
            slice_ns=simulation.slice_ns,
            compiler=compiler,
        )
        self.anchors = anchors
        self.now_ns = START_NS

    def run_until(self, to_ns: int, **options: Any) -> None:
        if to_ns > self.now_ns:
            run_headless(self.flow, self.engine, self.anchors, from_ns=self.now_ns, to_ns=to_ns, **options)
            self.now_ns = to_ns

    def take(self, side: int, lots: int) -> None:
        """Let the user take so many lots at once, at whatever price."""
        best = self.mid()
        limit = round(best * (2.0 if side == SIDE_BUY else 0.5))
        order = place(
            self.user, 0, side, order_lots=max(1, lots), price_ticks=limit, time_in_force=TimeInForce.IOC.value
        )
        sequence = int(self.engine.state.memory[H_SEQUENCE]) + 1
        commands = stamp([order], first_sequence=sequence, ts_ns=self.now_ns)
        events = self.engine.apply(commands)
        self.flow.heard(words(commands), words(events))

    def mid(self) -> float:
        """Return the middle of the book, in ticks."""
        bids, asks = (levels(self.engine.state, 0, side)["price_ticks"] for side in (BOOK_BIDS, BOOK_ASKS))
        if not len(bids) or not len(asks):
            return float("nan")
        return float(bids.max() + asks.min()) / 2


def simulate_book(simulation: BookSimulation, progress: Progress | None = None) -> BookTape:
    """Return the tape of a book that the flow makes around the model's prices.

    Raises: InvalidRequest if there is no such intensity, or it is to last too long
    """
    anchors = _anchors(simulation, simulation.seconds + WARM_S)
    market = _Market(simulation, anchors)
    kept: list[Int64Array] = []

    def observe(_commands: Int64Array, events: Int64Array) -> None:
        kinds = events[:, E_KIND]
        told = events[(events[:, E_INSTRUMENT] == 0) & ((kinds == EVENT_BOOK) | (kinds == EVENT_TRADE))]
        kept.append(told[:, [E_TS_NS, E_SIDE, E_PRICE_TICKS, E_LOTS, E_SEQUENCE, E_KIND, E_ORDER_ID]])

    total = simulation.seconds + WARM_S
    start_ns, end_ns = START_NS + WARM_S * NS_PER_S, START_NS + total * NS_PER_S
    told = None if progress is None else partial(_tell, progress, total)
    market.run_until(end_ns, observer=observe, progress=told)
    name = f"{simulation.instrument.symbol}, {simulation.intensity}, seed {simulation.seed}"
    return tape_of_events(np.concatenate(kept), simulation.instrument, name=name, start_ns=start_ns, end_ns=end_ns)


def tape_of_events(events: Int64Array, instrument: Instrument, *, name: str, start_ns: int, end_ns: int) -> BookTape:
    """Return the tape of a book's events (columns: time, side, price, lots, sequence, kind, order), from empty on."""
    changed, traded = (events[events[:, 5] == kind] for kind in (EVENT_BOOK, EVENT_TRADE))
    history = walk(tuple(changed[:, :4].T), changed[:, 4], start_ns=start_ns, end_ns=end_ns)
    traded = traded[(traded[:, 0] >= start_ns) & (traded[:, 0] < end_ns)]
    return BookTape(
        name=name,
        tick_size=float(instrument.tick_size),
        lot_size=float(instrument.lot_size),
        start_ns=start_ns,
        end_ns=end_ns,
        trade_ns=traded[:, 0],
        trade_ticks=traded[:, 2],
        trade_lots=traded[:, 3],
        trade_sign=np.where(traded[:, 1] == SIDE_BUY, 1, -1),
        trade_order=traded[:, 6],
        quote_ns=history.quotes[:, 0],
        bid_ticks=history.quotes[:, 1],
        bid_lots=history.quotes[:, 2],
        ask_ticks=history.quotes[:, 3],
        ask_lots=history.quotes[:, 4],
        depth=history.depth,
        level_changes=history.level_changes,
    )


def measure_impact(simulation: BookSimulation, *, seeds: Sequence[int], progress: Progress | None = None) -> Impact:
    """Return what a user's order of each of SIZES does to the mid, against the same run without it."""
    sides = (SIDE_BUY, SIDE_SELL)
    moves = np.zeros((len(SIZES), len(AFTER_S)))
    total = len(seeds) * (1 + len(SIZES) * len(sides))
    done = 0
    volatility = 0.0
    for seed in seeds:
        one = BookSimulation(
            instrument=simulation.instrument,
            seconds=int(AFTER_S[-1]) + 1,
            seed=seed,
            intensity=simulation.intensity,
            slice_ns=simulation.slice_ns,
            table=simulation.table,
        )
        anchors = _anchors(one, one.seconds + WARM_S)
        volatility = _Market(one, anchors).instrument.day_volatility
        untouched = _path(one, anchors, 0.0, SIDE_BUY)
        for row, size in enumerate(SIZES):
            for side in sides:
                sign = 1 if side == SIDE_BUY else -1
                touched = _path(one, anchors, size, side)
                moves[row] += sign * (touched - untouched) / untouched * BPS / (len(sides) * len(seeds))
                done += 1
                if progress is not None:
                    progress(done, total)
    return Impact(np.array(SIZES), moves, volatility, len(seeds) * len(sides))


def _path(simulation: BookSimulation, anchors: Anchors, size: float, side: int) -> FloatArray:
    """Return the mid at each moment after a user took a part of a day's volume, or nothing."""
    market = _Market(simulation, anchors)
    from_ns = START_NS + WARM_S * NS_PER_S
    market.run_until(from_ns)
    if size:
        market.take(side, round(size * market.instrument.day_lots))
    mids = []
    for after_s in AFTER_S:
        market.run_until(from_ns + int(after_s * NS_PER_S))
        mids.append(market.mid())
    return np.array(mids)


def _anchors(simulation: BookSimulation, seconds: int) -> Anchors:
    """Return the bids and asks that market data would tell, one each second, as the feed makes them."""
    symbol = simulation.instrument.symbol
    bars = simulate(
        simulation.table or default_table(),
        [simulation.instrument],
        weeks=(BURN_IN_S + seconds + 1) * NS_PER_S / NS_PER_WEEK,
        seed=simulation.seed,
        bar_ns=NS_PER_S,
    )[symbol]
    mids = bars.close[BURN_IN_S : BURN_IN_S + seconds + 1] / float(simulation.instrument.tick_size)
    half = float(default_settings().spread_bps_of(symbol)) / (2 * BPS)
    bids = np.maximum(1, np.floor(mids * (1 - half))).astype(np.int64)
    asks = np.maximum(bids + 1, np.ceil(mids * (1 + half)).astype(np.int64))
    times = START_NS + NS_PER_S * np.arange(len(mids), dtype=np.int64)
    return Anchors(ts_ns=times, bid_ticks=bids[:, None], ask_ticks=asks[:, None])


def _listing(instrument: Instrument) -> Listing:
    base, quote = Asset(number=0, name=instrument.base), Asset(number=1, name=instrument.quote)
    return Listing(
        number=0, instrument=instrument, base=base, quote=quote, min_notional=10**quote.decimals, max_open_orders=1_000
    )


def _tell(progress: Progress, total: int, share: float) -> None:
    progress(int(share * total), total)


__all__ = ["BookSimulation", "Impact", "measure_impact", "simulate_book", "tape_of_events"]
