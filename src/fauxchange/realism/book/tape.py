"""A tape: trades, best bid and offer, and depth of one book over time, whether recorded or simulated."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fauxchange.domain.errors import check
from fauxchange.domain.times import NS_PER_MS, NS_PER_S
from fauxchange.platform.recorded_books import BID, Levels
from fauxchange.realism.bars import FloatArray, Int64Array

DEPTH_BPS: Final = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Distances from the mid within which lots are summed. Units: basis points"""
LEVEL_SAMPLE_NS: Final = 100 * NS_PER_MS
"""A level that changes several times within so long counts once: recorded depth comes in such steps."""
NEAR_BPS: Final = DEPTH_BPS[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class BookTape:
    """What can be seen of one book, oldest first.

    An aggressive order is all prints of one moment and side (recorded), or of one taker (simulated): `trade_order`
    counts them, so that prints of one order have one number. Sign is 1 where a buyer took, else -1.

    Shapes: trades (k,), quotes (n,): each change of best price or lots; depth (s, len(DEPTH_BPS)), one row a second
    Units:  times in nanoseconds, prices in ticks, quantities in lots, sizes of tick and lot in quote and base units
    """

    name: str
    tick_size: float
    lot_size: float
    start_ns: int
    end_ns: int
    trade_ns: Int64Array
    trade_ticks: Int64Array
    trade_lots: Int64Array
    trade_sign: Int64Array
    trade_order: Int64Array
    quote_ns: Int64Array
    bid_ticks: Int64Array
    bid_lots: Int64Array
    ask_ticks: Int64Array
    ask_lots: Int64Array
    depth: FloatArray | None = None
    """Mean of both sides' lots within each of DEPTH_BPS from the mid, cumulative."""
    level_changes: int | None = None
    """How many levels within NEAR_BPS of the mid changed, each counted once in LEVEL_SAMPLE_NS."""

    def __post_init__(self) -> None:
        check(len(self.trade_ns) == len(self.trade_lots) == len(self.trade_order), "columns of trades are equally long")
        check(len(self.quote_ns) == len(self.bid_ticks) == len(self.ask_lots), "columns of quotes are equally long")

    @property
    def seconds(self) -> float:
        """How long the tape is."""
        return (self.end_ns - self.start_ns) / NS_PER_S

    @property
    def mid_half_ticks(self) -> Int64Array:
        """The mid after each change of a quote, in half ticks."""
        return self.bid_ticks + self.ask_ticks

    def mid_at(self, times_ns: Int64Array, *, before: bool = False) -> FloatArray:
        """Return the mid at times, in ticks; nan before the first quote. `before`: without what comes at that time."""
        at = np.searchsorted(self.quote_ns, times_ns, side="left" if before else "right") - 1
        mids: FloatArray = np.where(at >= 0, self.mid_half_ticks[np.maximum(at, 0)] / 2, np.nan)
        return mids

    def orders(self) -> "Orders":
        """Return the aggressive orders."""
        starts = np.flatnonzero(np.diff(self.trade_order, prepend=-1) != 0).astype(np.int64)
        lots = np.add.reduceat(self.trade_lots, starts) if len(starts) else np.zeros(0, dtype=np.int64)
        return Orders(self.trade_ns[starts], lots, self.trade_sign[starts])

    def part(self, start_ns: int, end_ns: int) -> "BookTape":
        """Return what happened in `start_ns <= t < end_ns`; the quote that stood at its start is its first."""
        trades = slice(*np.searchsorted(self.trade_ns, (start_ns, end_ns)))
        first, end = np.searchsorted(self.quote_ns, (start_ns, end_ns)).tolist()
        stands = first > 0 and (first == len(self.quote_ns) or self.quote_ns[first] > start_ns)
        quotes = slice(first - stands, end)
        times = self.quote_ns[quotes].copy()
        times[:1] = np.maximum(times[:1], start_ns)
        rows = slice(-(-(start_ns - self.start_ns) // NS_PER_S), max(0, -(-(end_ns - self.start_ns) // NS_PER_S)))
        share = (end_ns - start_ns) / max(1, self.end_ns - self.start_ns)
        return replace(
            self,
            start_ns=start_ns,
            end_ns=end_ns,
            trade_ns=self.trade_ns[trades],
            trade_ticks=self.trade_ticks[trades],
            trade_lots=self.trade_lots[trades],
            trade_sign=self.trade_sign[trades],
            trade_order=self.trade_order[trades],
            quote_ns=times,
            bid_ticks=self.bid_ticks[quotes],
            bid_lots=self.bid_lots[quotes],
            ask_ticks=self.ask_ticks[quotes],
            ask_lots=self.ask_lots[quotes],
            depth=None if self.depth is None else self.depth[rows],
            level_changes=None if self.level_changes is None else round(self.level_changes * share),
        )

    def windows(self, length_ns: int) -> list["BookTape"]:
        """Cut the tape into as many parts of equal length as whole lengths fit into it; at least one."""
        count = max(1, int((self.end_ns - self.start_ns) // length_ns))
        if count == 1:
            return [self]
        bounds = [self.start_ns + (self.end_ns - self.start_ns) * at // count for at in range(count + 1)]
        return [self.part(start_ns, end_ns) for start_ns, end_ns in pairwise(bounds)]


@dataclass(frozen=True, slots=True)
class Orders:
    """Aggressive orders, oldest first: when, how many lots, and 1 for buyers or -1 for sellers."""

    ns: Int64Array
    lots: Int64Array
    sign: Int64Array


@dataclass(frozen=True, slots=True)
class BookHistory:
    """What a walk over all changes of a book shows. Shapes and units as in `BookTape`; quotes (n, 5): time and best."""

    quotes: Int64Array
    depth: FloatArray
    level_changes: int
    bids: Levels
    asks: Levels


def walk(changes: Sequence[NDArray[np.integer]], groups: Int64Array, *, start_ns: int, end_ns: int) -> BookHistory:
    """Follow the changes of a book (columns: time, side, ticks, lots) and note quotes and depth.

    Changes of one group are one step: what is best is looked at after all of them. Before `start_ns` the book is only
    built, and nothing is noted until both sides are there.
    """
    times, sides, prices, quantities = (column.tolist() for column in changes)
    steps = [*np.flatnonzero(np.diff(groups, prepend=groups[:1] - 1)).tolist(), len(times)] if len(times) else [0]
    bids, asks = Levels(BID), Levels(1 - BID)
    watch = _Watch(bids, asks, start_ns)
    for first, end in pairwise(steps):
        ts_ns = times[first]
        if ts_ns >= end_ns:
            break
        watch.sample_until(ts_ns)
        for at in range(first, end):
            (bids if sides[at] == BID else asks).set(prices[at], quantities[at])
            watch.touch(ts_ns, sides[at], prices[at])
        watch.look(ts_ns)
    watch.sample_until(end_ns)
    return BookHistory(
        np.array(watch.quotes, dtype=np.int64).reshape(-1, 5),
        np.array(watch.depth, dtype=np.float64).reshape(-1, len(DEPTH_BPS)),
        watch.level_changes,
        bids,
        asks,
    )


class _Watch:
    """Note what a walk shows: every new best, the depth at each second, and how many levels changed."""

    def __init__(self, bids: Levels, asks: Levels, start_ns: int) -> None:
        self._bids, self._asks = bids, asks
        self._start_ns = self._next_ns = start_ns
        self._seen: set[tuple[int, int]] = set()
        self._sample = -1
        self._best = (0, 0, 0, 0)
        self.quotes: list[tuple[int, int, int, int, int]] = []
        self.depth: list[list[float]] = []
        self.level_changes = 0

    def touch(self, ts_ns: int, side: int, price: int) -> None:
        if ts_ns < self._start_ns:
            return
        sample = ts_ns // LEVEL_SAMPLE_NS
        if sample != self._sample:
            self._sample = sample
            self._seen.clear()
        mid = (self._best[0] + self._best[2]) / 2
        if mid and abs(price - mid) * 10_000 <= NEAR_BPS * mid and (side, price) not in self._seen:
            self._seen.add((side, price))
            self.level_changes += 1

    def look(self, ts_ns: int) -> None:
        bid, ask = self._bids.best(), self._asks.best()
        if bid is None or ask is None:
            return
        best = (bid, self._bids.lots_at(bid), ask, self._asks.lots_at(ask))
        if best == self._best:
            return
        self._best = best
        if ts_ns < self._start_ns:
            self.quotes = [(self._start_ns, *best)]
        else:
            self.quotes.append((ts_ns, *best))

    def sample_until(self, ts_ns: int) -> None:
        while self._next_ns < ts_ns:
            bid, ask = self._bids.best(), self._asks.best()
            if bid is None or ask is None:
                self.depth.append([np.nan] * len(DEPTH_BPS))
            else:
                self.depth.append(self._within((bid + ask) / 2))
            self._next_ns += NS_PER_S

    def _within(self, mid: float) -> list[float]:
        """Return the lots within each distance of the mid, mean of both sides."""
        prices: list[int] = []
        lots: list[int] = []
        for levels in (self._bids, self._asks):
            near = levels.between(mid * (1 - NEAR_BPS / 10_000), mid * (1 + NEAR_BPS / 10_000))
            prices += [price for price, _ in near]
            lots += [count for _, count in near]
        distances = np.abs(np.array(prices) - mid) / mid * 10_000
        counts = np.array(lots, dtype=np.float64)
        return [float(counts[distances <= within].sum()) / 2 for within in DEPTH_BPS]
