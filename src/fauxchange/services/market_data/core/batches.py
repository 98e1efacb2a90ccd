"""Columns of prices, as every source of prices hands them on.

A batch holds rows in the order of their time; rows of one time belong to one step and are published together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fauxchange.domain.errors import check

Int64Array = NDArray[np.int64]

SPREAD_BY_POLICY = -1
"""In `spread_ticks`: the source knows only a price; the pipeline's spread policy puts bid and ask around it."""
NO_LAST = -1
"""In `last_ticks`: nothing traded at this row."""


@dataclass(frozen=True, slots=True)
class PriceBatch:
    """Rows of prices, oldest first; `symbol_index` counts into the source's `instruments`.

    Shapes: every column (n,), int64
    Units:  ts_ns in nanoseconds of venue time; mid in half ticks; spread and last in ticks (with the sentinels
            SPREAD_BY_POLICY and NO_LAST); volume in lots traded since the row of the same symbol before
    """

    ts_ns: Int64Array
    symbol_index: Int64Array
    mid_half_ticks: Int64Array
    spread_ticks: Int64Array
    last_ticks: Int64Array
    volume_lots: Int64Array

    def __post_init__(self) -> None:
        rows = len(self.ts_ns)
        columns = (self.symbol_index, self.mid_half_ticks, self.spread_ticks, self.last_ticks, self.volume_lots)
        check(all(len(column) == rows for column in columns), "columns of a batch have one length")

    def part(self, first: int, end: int) -> "PriceBatch":
        """Return a view of the rows from `first` up to `end`."""
        return PriceBatch(
            self.ts_ns[first:end],
            self.symbol_index[first:end],
            self.mid_half_ticks[first:end],
            self.spread_ticks[first:end],
            self.last_ticks[first:end],
            self.volume_lots[first:end],
        )

    def __len__(self) -> int:
        return len(self.ts_ns)
