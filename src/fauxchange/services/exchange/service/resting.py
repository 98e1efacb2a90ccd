"""Follow orders that came to rest by the batch: the numbers of their records, their postings, what the books show."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np

from fauxchange.domain.order_columns import L_FREE, L_HELD, LEDGER_COLUMNS, ORDER_COLUMNS
from fauxchange.services.exchange.core.layout import COMMAND_WIDTH, EVENT_WIDTH, Int64Array
from fauxchange.services.exchange.core.resting import (
    P_ACCOUNT,
    P_ASSET,
    P_FREE,
    P_HELD,
    PURSE_WIDTH,
    find_resting,
    follow_resting,
)
from fauxchange.services.exchange.service.purses import Purse

_SUMS: Final = slice(L_FREE, L_HELD + 1)


class Resting:
    """What orders that rest have led to; the arrays are the caller's to keep."""

    def __init__(self, compiler: Callable[[Any], Any]) -> None:
        self._find = compiler(find_resting)
        self._follow = compiler(follow_resting)
        self._make_room(0)
        self.orders: Int64Array = np.zeros((0, len(ORDER_COLUMNS)), dtype=np.int64)
        self.postings: Int64Array = np.zeros((0, len(LEDGER_COLUMNS)), dtype=np.int64)
        self.shown: Iterable[tuple[int, ...]] = ()
        """Instrument, side, price and lots of all that the books have shown."""

    def _make_room(self, count: int) -> None:
        self._purses = np.zeros((count, PURSE_WIDTH), dtype=np.int64)
        self._purse_of = np.zeros(count, dtype=np.int64)
        self._shown = np.zeros((4, count), dtype=np.int64)

    def find(self, events: Int64Array, first_sequence: int, count: int) -> tuple[Int64Array, Int64Array]:
        """Return where the events of each of `count` orders begin, and whether it rests: (count + 1,), (count,)."""
        bounds, rests = np.empty(count + 1, dtype=np.int64), np.empty(count, dtype=np.int64)
        self._find(events, first_sequence, bounds, rests)
        return bounds, rests

    def follow(
        self, commands: Int64Array, events: Int64Array, fingerprints: Int64Array, purse_of: Callable[[int, int], Purse]
    ) -> None:
        """Follow orders that rest, with their balances."""
        if len(events) > len(self._purse_of):
            self._make_room(2 * len(events))
        orders = np.empty((len(commands), len(ORDER_COLUMNS)), dtype=np.int64)
        postings = np.empty((len(events), len(LEDGER_COLUMNS)), dtype=np.int64)
        posted, purses, shown = self._follow(
            commands, events, fingerprints, orders, postings, self._purses, self._purse_of, self._shown
        )
        self.orders = orders
        # A copy, because whoever keeps it would keep the room for as many more with it.
        self.postings = postings = postings[:posted].copy()
        kept = [
            (purse_of(purse[P_ACCOUNT], purse[P_ASSET]), purse[P_FREE], purse[P_HELD])
            for purse in self._purses[:purses].tolist()
        ]
        if purses == 1:
            postings[:, _SUMS] += kept[0][0]
        elif purses:
            before = np.array([balance for balance, _, _ in kept], dtype=np.int64)
            postings[:, _SUMS] += before[self._purse_of[:posted]]
        for balance, free, held in kept:
            balance[0] += free
            balance[1] += held
        self.shown = zip(*self._shown[:, :shown].tolist(), strict=True)


def warm_up(compiler: Callable[[Any], Any]) -> None:
    """Compile what follows orders that rest, or load what was compiled, before anything waits for it."""
    resting = Resting(compiler)
    events = np.zeros((0, EVENT_WIDTH), dtype=np.int64)
    resting.find(events, 1, 0)
    nothing = np.zeros(0, dtype=np.int64)
    resting.follow(
        np.zeros((0, COMMAND_WIDTH), dtype=np.int64), events, nothing, lambda account, asset: [account, asset]
    )
