"""Follow orders that came to rest by the batch: the numbers of their records, their postings, what the books show."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np

from fauxchange.domain.order_columns import L_FREE, L_HELD, LEDGER_COLUMNS, ORDER_COLUMNS
from fauxchange.services.exchange.core.layout import COMMAND_WIDTH, EVENT_WIDTH, Int64Array
from fauxchange.services.exchange.core.resting import (
    S_ACCOUNT,
    S_ASSET,
    S_FREE,
    S_HELD,
    SUM_WIDTH,
    find_resting,
    follow_resting,
)
from fauxchange.services.exchange.service.balances import Funds

_SUMS: Final = slice(L_FREE, L_HELD + 1)


Shown = Iterable[tuple[int, ...]]
"""Instrument, side, price and lots of all that the books have shown."""


class Resting:
    """Looks at the events of new orders, compiled."""

    def __init__(self, compiler: Callable[[Any], Any]) -> None:
        self._find = compiler(find_resting)
        self._follow = compiler(follow_resting)
        self._make_room(0)

    def _make_room(self, count: int) -> None:
        self._sums = np.zeros((count, SUM_WIDTH), dtype=np.int64)
        self._sum_of = np.zeros(count, dtype=np.int64)
        self._shown = np.zeros((4, count), dtype=np.int64)

    def find(self, events: Int64Array, first_sequence: int, count: int) -> tuple[Int64Array, Int64Array]:
        """Return where the events of each of `count` orders begin, and whether it rests: (count + 1,), (count,)."""
        bounds, rests = np.empty(count + 1, dtype=np.int64), np.empty(count, dtype=np.int64)
        self._find(events, first_sequence, bounds, rests)
        return bounds, rests

    def follow(
        self, commands: Int64Array, events: Int64Array, fingerprints: Int64Array, funds_of: Callable[[int, int], Funds]
    ) -> tuple[Int64Array, Int64Array, Shown]:
        """Return the numbers of orders that rest, their postings, and what the books show; change the balances."""
        if len(events) > len(self._sum_of):
            self._make_room(2 * len(events))
        orders = np.empty((len(commands), len(ORDER_COLUMNS)), dtype=np.int64)
        room = np.empty((len(events), len(LEDGER_COLUMNS)), dtype=np.int64)
        posted, sums, shown = self._follow(
            commands, events, fingerprints, orders, room, self._sums, self._sum_of, self._shown
        )
        # A copy, because whoever keeps it would keep the room for as many more with it.
        postings = room[:posted].copy()
        changed = [(funds_of(row[S_ACCOUNT], row[S_ASSET]), row) for row in self._sums[:sums].tolist()]
        if sums == 1:
            postings[:, _SUMS] += changed[0][0]
        elif sums:
            before = np.array([funds for funds, _ in changed], dtype=np.int64)
            postings[:, _SUMS] += before[self._sum_of[:posted]]
        for funds, row in changed:
            funds[0] += row[S_FREE]
            funds[1] += row[S_HELD]
        return orders, postings, zip(*self._shown[:, :shown].tolist(), strict=True)


def warm_up(compiler: Callable[[Any], Any]) -> None:
    """Compile what follows orders that rest, or load what was compiled, before anything waits for it."""
    resting = Resting(compiler)
    events = np.zeros((0, EVENT_WIDTH), dtype=np.int64)
    resting.find(events, 1, 0)
    nothing = np.zeros(0, dtype=np.int64)
    resting.follow(
        np.zeros((0, COMMAND_WIDTH), dtype=np.int64), events, nothing, lambda account, asset: [account, asset]
    )
