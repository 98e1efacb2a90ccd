"""Cut rows that exist already into steps: rows of one time belong together and are handed on together."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fauxchange.services.market_data.core.batches import Int64Array, PriceBatch

MAX_COUNT = 2**60
"""The most ticks or lots that one value may have: half ticks, and a few values added up, still fit 64 bits."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns of prices as in `PriceBatch`, at the times at which they were recorded or written down."""

    ts_ns: Int64Array
    symbol_index: Int64Array
    mid_half_ticks: Int64Array
    spread_ticks: Int64Array
    last_ticks: Int64Array
    volume_lots: Int64Array

    def part(self, start: int, stop: int) -> "Rows":
        """Return the rows from `start` up to `stop`."""
        return Rows(
            ts_ns=self.ts_ns[start:stop],
            symbol_index=self.symbol_index[start:stop],
            mid_half_ticks=self.mid_half_ticks[start:stop],
            spread_ticks=self.spread_ticks[start:stop],
            last_ticks=self.last_ticks[start:stop],
            volume_lots=self.volume_lots[start:stop],
        )

    def batch(self, count: int, shift_ns: int) -> PriceBatch:
        """Return the first `count` rows, `shift_ns` later."""
        return PriceBatch(
            ts_ns=self.ts_ns[:count] + shift_ns,
            symbol_index=self.symbol_index[:count],
            mid_half_ticks=self.mid_half_ticks[:count],
            spread_ticks=self.spread_ticks[:count],
            last_ticks=self.last_ticks[:count],
            volume_lots=self.volume_lots[:count],
        )


def next_steps(block: Callable[[int, int], Rows], start: int, total: int, max_steps: int) -> tuple[Rows, int]:
    """Return rows from `start` on, and how many of them make up the next steps, at most `max_steps`.

    `block(start, stop)` gives a range of the `total` rows; `start` is below `total`.
    """
    size = max_steps + 1
    while True:
        rows = block(start, min(start + size, total))
        changes = np.flatnonzero(np.diff(rows.ts_ns))
        if len(changes) >= max_steps:
            return rows, int(changes[max_steps - 1]) + 1
        if start + size >= total:
            return rows, len(rows.ts_ns)
        # Many rows of one moment: look further, so that the last step is whole.
        size *= 2
