"""Bars: what all statistics of prices are computed from, whether recorded or simulated."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fauxchange.domain.errors import check
from fauxchange.domain.instruments import Grid

FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]


def values_of(counts: Int64Array, grid: Grid) -> FloatArray:
    """Return ticks or lots as numbers, each the nearest one to its decimal, as a file that holds it would be read."""
    return np.asarray(counts * float(grid.units) / 10.0**grid.decimals, np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Bars of one symbol, oldest first; the close belongs to the end of the bar.

    Shapes: every column (n,)
    Units:  open_ns and interval_ns in nanoseconds; prices in quote currency; volume in the base asset, None where the
            source has none
    Ensures: open_ns rises in steps of at least interval_ns; a longer step is a gap
    """

    symbol: str
    interval_ns: int
    open_ns: Int64Array
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray | None = None

    def __post_init__(self) -> None:
        columns = [self.open, self.high, self.low, self.close, *([] if self.volume is None else [self.volume])]
        check(all(len(column) == len(self.open_ns) for column in columns), "columns of bars are equally long")

    def __len__(self) -> int:
        return len(self.open_ns)

    def part(self, first: int, end: int) -> "Bars":
        """Return the bars from `first` up to `end`."""
        return Bars(
            symbol=self.symbol,
            interval_ns=self.interval_ns,
            open_ns=self.open_ns[first:end],
            open=self.open[first:end],
            high=self.high[first:end],
            low=self.low[first:end],
            close=self.close[first:end],
            volume=None if self.volume is None else self.volume[first:end],
        )

    def runs(self) -> Iterator["Bars"]:
        """Return the stretches without a gap."""
        ends = np.flatnonzero(np.diff(self.open_ns) != self.interval_ns) + 1
        bounds = [0, *ends.tolist(), len(self)]
        for first, end in pairwise(bounds):
            if first < end:
                yield self.part(first, end)

    def windows(self, returns: int) -> Iterator["Bars"]:
        """Return stretches without a gap and without overlap, each of so many returns (and one bar more)."""
        for run in self.runs():
            for first in range(0, len(run) - returns, returns):
                yield run.part(first, first + returns + 1)

    def gathered(self, interval_ns: int) -> "Bars":
        """Return longer bars, each of the bars that begin in it; intervals in which none begins are left out."""
        opens = self.open_ns // interval_ns * interval_ns
        firsts = np.flatnonzero(np.concatenate(([True], opens[1:] != opens[:-1]))) if len(self) else np.zeros(0, int)
        lasts = np.concatenate((firsts[1:], [len(self)]))[: len(firsts)] - 1
        return Bars(
            symbol=self.symbol,
            interval_ns=interval_ns,
            open_ns=opens[firsts],
            open=self.open[firsts],
            high=np.maximum.reduceat(self.high, firsts) if len(self) else self.high,
            low=np.minimum.reduceat(self.low, firsts) if len(self) else self.low,
            close=self.close[lasts],
            volume=None if self.volume is None or not len(self) else np.add.reduceat(self.volume, firsts),
        )

    def carried(self, most: int) -> "Bars":
        """Return the bars with each gap of at most so many bars filled: the last close stands, and nothing trades."""
        missing = np.diff(self.open_ns) // self.interval_ns - 1
        repeats = np.concatenate((np.where((missing > 0) & (missing <= most), missing, 0), [0]))[: len(self)] + 1
        sources = np.repeat(np.arange(len(self)), repeats)
        ahead = np.arange(len(sources)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        is_filled = ahead > 0
        return Bars(
            symbol=self.symbol,
            interval_ns=self.interval_ns,
            open_ns=self.open_ns[sources] + ahead * self.interval_ns,
            open=np.where(is_filled, self.close[sources], self.open[sources]),
            high=np.where(is_filled, self.close[sources], self.high[sources]),
            low=np.where(is_filled, self.close[sources], self.low[sources]),
            close=self.close[sources],
            volume=None if self.volume is None else np.where(is_filled, 0.0, self.volume[sources]),
        )
