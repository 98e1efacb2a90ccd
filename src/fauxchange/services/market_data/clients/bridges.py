"""Ticks inside a recorded bar, so that a candle made of them is the bar again.

A bar says where the price began and ended and how far it went, and not how it got there. `CornerTicks` show exactly
what is known, four prices. `BridgeTicks` make up a way: a Brownian bridge from the open to the close, whose
excursions beyond them are scaled to end at the high and the low. Its clock runs unevenly, at a rate that is the bar's
volume over time too, so that moves have fat tails and volume comes where the price moves.

A path depends on seed, symbol, the bar and its open time and on nothing else, so blocks may be cut anywhere, and a
replay may begin anywhere, without changing a price.
"""

from typing import Protocol

import numpy as np

from fauxchange.domain.arithmetic import FloatArray, WordArray, centred_units, log_each, normals
from fauxchange.domain.chance import WordStream
from fauxchange.domain.times import NS_PER_MS
from fauxchange.services.market_data.clients.stepping import Rows
from fauxchange.services.market_data.core.batches import SPREAD_BY_POLICY, Int64Array

CORNERS = 4
FEWEST_TICKS = CORNERS
"""Open, high, low and close need a tick each."""
MOST_TICKS = 1 << 17
"""A path is made whole: a longer one would fill the memory. A day of prices each second has fewer."""

_GARMAN_KLASS = 2.0 * 0.6931471805599453 - 1.0
"""By how much of its square the rise of a bar lowers half the square of its range, to give its variance."""


class BarTicks(Protocol):
    """A way to show a bar as prices."""

    @property
    def per_bar(self) -> int:
        """How many ticks a bar becomes."""
        ...

    @property
    def name(self) -> str:
        """A text that differs wherever the ticks of a bar would."""
        ...

    def rows(self, bars: Int64Array, lengths_ns: Int64Array) -> Rows:
        """Return the ticks of some bars, all of them within the length of their bar.

        Shapes: bars (n, 6) as in `Recording.rows`, lengths_ns (n,)
        """
        ...


class CornerTicks:
    """Four prices: open, low, high, close if the bar closed no lower than it opened, else open, high, low, close.

    They come at the bar's start, one third, two thirds, and a millisecond before its end, with a quarter of the volume
    each.
    """

    per_bar = CORNERS
    name = "corners"

    def rows(self, bars: Int64Array, lengths_ns: Int64Array) -> Rows:
        """Return the ticks of some bars."""
        opens_ns, opened, high, low, close, lots = bars.T
        rises = close >= opened
        thirds_ns = lengths_ns // 3
        last_ns = np.maximum(2 * thirds_ns, lengths_ns - NS_PER_MS)
        times_ns = opens_ns[:, None] + np.column_stack((np.zeros_like(thirds_ns), thirds_ns, 2 * thirds_ns, last_ns))
        prices = np.column_stack((opened, np.where(rises, low, high), np.where(rises, high, low), close))
        quarter = lots // CORNERS
        return _as_rows(times_ns, prices, np.column_stack((quarter, quarter, quarter, lots - 3 * quarter)))


class BridgeTicks:
    """Evenly spaced prices along a Brownian bridge, the first at the bar's open time.

    Units: interval_ns is the time between two ticks; it becomes shorter where a bar would have fewer than
           `FEWEST_TICKS`, and longer where it would have more than `MOST_TICKS`
    """

    def __init__(self, symbol: str, bar_ns: int, *, interval_ns: int, seed: int) -> None:
        self.per_bar = min(max(bar_ns // interval_ns, FEWEST_TICKS), MOST_TICKS)
        self.name = f"bridge:{self.per_bar}:{seed}"
        self._symbol = symbol
        self._seed = seed

    def rows(self, bars: Int64Array, lengths_ns: Int64Array) -> Rows:
        """Return the ticks of some bars."""
        words = np.concatenate([self._words(opened_ns) for opened_ns in bars[:, 0].tolist()])
        activity = _exponentials(words[0::2]).reshape(len(bars), self.per_bar)
        noise = normals(words[1::2]).reshape(len(bars), self.per_bar)
        times_ns = bars[:, :1] + (lengths_ns // self.per_bar)[:, None] * np.arange(self.per_bar, dtype=np.int64)
        prices, activity = bridged(bars[:, 1:5], activity, noise)
        return _as_rows(times_ns, prices, spread_out(bars[:, 5], activity))

    def _words(self, opened_ns: int) -> WordArray:
        return WordStream(self._seed, "replay", self._symbol, str(opened_ns)).words(0, 2 * self.per_bar)


def bridged(bars: Int64Array, activity: FloatArray, noise: FloatArray) -> tuple[Int64Array, FloatArray]:
    """Return a path of each bar that begins at its open, ends at its close, and touches its high and low.

    The variance of a tick's move is in proportion to its activity, which is returned in the order that the path took.

    Shapes: bars (n, 4): open, high, low, close in ticks; all others (n, ticks), with at least 4 ticks
    Ensures: low <= path <= high
    """
    opened, high, low, close = bars.T
    # Measured from the low, so that prices of any size have all bits of a float for what lies inside the bar.
    start, top, end = ((prices - low).astype(np.float64)[:, None] for prices in (opened, high, close))
    moves, order = _begun_best(start, top, end, _moves(top, end - start, activity[:, 1:], noise[:, 1:]))
    inner = start + np.cumsum(moves, axis=1)[:, :-1]
    upper, lower = np.maximum(start, end), np.minimum(start, end)
    inner = top - _scaled(top - _scaled(inner, upper, top), top - lower, top)
    path = np.empty(activity.shape, dtype=np.int64)
    path[:, 1:-1] = np.rint(np.clip(inner, 0.0, top)).astype(np.int64)
    path += low[:, None]
    path[:, 0], path[:, -1] = opened, close
    _touch(path, inner, bars)
    return path, np.concatenate((activity[:, :1], np.take_along_axis(activity[:, 1:], order, axis=1)), axis=1)


def spread_out(lots: Int64Array, activity: FloatArray) -> Int64Array:
    """Return how many of each bar's lots each tick has, in proportion to its activity; they add up to the bar's.

    Shapes: lots (n,), activity and result (n, ticks)
    """
    until = np.cumsum(activity, axis=1)
    until *= lots[:, None] / until[:, -1:]
    whole = np.minimum(until.astype(np.int64), lots[:, None])
    whole[:, -1] = lots
    return np.diff(whole, axis=1, prepend=0)


def _moves(top: FloatArray, rise: FloatArray, activity: FloatArray, noise: FloatArray) -> FloatArray:
    """Return the moves of a bridge that rises by `rise`, with the range that a bar of these prices wants.

    The bridge without its rise has the variance that the bar's prices tell of, but for what its own range, which is
    known here, says more exactly.

    Shapes: top and rise (n, 1), the others (n, moves)
    Source: Garman and Klass (1980), On the Estimation of Security Price Volatilities from Historical Data, Journal of
            Business 53: the variance of a bar from its four prices
    """
    clock = activity / np.cumsum(activity, axis=1)[:, -1:]
    steps = np.sqrt(clock) * noise
    steps -= clock * np.cumsum(steps, axis=1)[:, -1:]
    bridge = np.cumsum(steps, axis=1)
    spanned = np.maximum(bridge.max(axis=1), 0.0) - np.minimum(bridge.min(axis=1), 0.0)
    sigma = np.sqrt(top * top - 2.0 * _GARMAN_KLASS * rise * rise) / np.where(spanned > 0.0, spanned, 1.0)[:, None]
    return clock * rise + sigma * steps


def _begun_best(
    start: FloatArray, top: FloatArray, end: FloatArray, moves: FloatArray
) -> tuple[FloatArray, Int64Array]:
    """Return the moves begun at the one from which they come nearest to the high and low, and their order.

    The moves of a bridge may be begun anywhere and continued with those left out: it stays a bridge.

    Shapes: moves and results (n, moves), the others (n, 1)
    Source: Vervaat (1979), A Relation between Brownian Bridge and Brownian Excursion, Annals of Probability 7
    """
    path = np.cumsum(moves, axis=1) - moves
    backwards = path[:, ::-1]
    # Beginning with a move, the path has those that come after it, and then the others, by the rise of the bar later.
    later = end - start
    highest = np.maximum(np.maximum.accumulate(backwards, axis=1)[:, ::-1], np.maximum.accumulate(path, axis=1) + later)
    lowest = np.minimum(np.minimum.accumulate(backwards, axis=1)[:, ::-1], np.minimum.accumulate(path, axis=1) + later)
    missed = np.abs(start + highest - path - top) + np.abs(start + lowest - path)
    first = missed.argmin(axis=1)[:, None]
    order = (first + np.arange(moves.shape[1])) % moves.shape[1]
    return np.take_along_axis(moves, order, axis=1), order


def _scaled(path: FloatArray, inside: FloatArray, limit: FloatArray) -> FloatArray:
    """Return the path with what lies above `inside` scaled, so that its highest point is at `limit`.

    Shapes: path (n, ticks), others (n, 1)
    """
    over = np.maximum(path - inside, 0.0)
    most = over.max(axis=1, keepdims=True)
    return np.minimum(path, inside) + over * ((limit - inside) / np.where(most > 0.0, most, 1.0))


def _touch(path: Int64Array, inner: FloatArray, bars: Int64Array) -> None:
    """Let the highest and the lowest inner tick of each path be the bar's high and low, if no end of it is."""
    opened, high, low, close = bars.T
    rows = np.arange(len(path))
    highest, lowest = inner.argmax(axis=1) + 1, inner.argmin(axis=1) + 1
    lowest = np.where(highest == lowest, highest % (path.shape[1] - 2) + 1, lowest)
    above, below = high > np.maximum(opened, close), low < np.minimum(opened, close)
    path[rows[above], highest[above]] = high[above]
    path[rows[below], lowest[below]] = low[below]


def _exponentials(words: WordArray) -> FloatArray:
    return -log_each(0.5 - centred_units(words))


def _as_rows(times_ns: Int64Array, prices: Int64Array, lots: Int64Array) -> Rows:
    flat = prices.ravel()
    return Rows(
        ts_ns=times_ns.ravel(),
        symbol_index=np.zeros(len(flat), dtype=np.int64),
        mid_half_ticks=2 * flat,
        spread_ticks=np.full(len(flat), SPREAD_BY_POLICY),
        last_ticks=flat,
        volume_lots=lots.ravel(),
    )
