"""The background accounts, and what of the kernel's events concerns anybody but them.

Orders of these accounts come by the thousand and are followed in columns: the books and the trades that everybody sees,
what others have to do with, and no more. Their whole life is in the journal and in the audit trail's digests.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np

from fauxchange.services.exchange.core.layout import (
    E_ACCOUNT,
    E_ASSET,
    E_DELTA_FREE,
    E_KIND,
    EVENT_WIDTH,
    Int64Array,
)
from fauxchange.services.exchange.core.survey import survey
from fauxchange.services.exchange.core.vocabulary import EVENT_ACCOUNT_CREATED
from fauxchange.services.exchange.service.entries import Entry

BACKGROUND: Final = "background"
"""The member of a new account's document that makes it a background account."""
_FEE_COLUMNS: Final = [E_ASSET, E_DELTA_FREE]


class BackgroundAccounts:
    """Which accounts are those of the background order flow."""

    def __init__(self) -> None:
        self.numbers: dict[int, None] = {}
        """Their numbers, in the order of their creation."""
        self.flags: Int64Array = np.zeros(1, dtype=np.int64)
        """By account number whether it is one; later accounts are none."""

    def __contains__(self, account: object) -> bool:
        return account in self.numbers

    def restore(self, numbers: Iterable[int]) -> None:
        """Take up what an earlier run has stored."""
        for number in numbers:
            self.add(number)

    def add(self, account: int) -> None:
        """Take note of a background account."""
        self.numbers[account] = None
        self.flags = np.zeros(max(self.numbers) + 1, dtype=np.int64)
        self.flags[list(self.numbers)] = 1

    def follow(self, entry: Entry, events: Iterable[list[int]]) -> None:
        """Take note of the account that a command has created, if it is a background account."""
        content = entry.note.content
        if content is None or not content.get(BACKGROUND):
            return
        for event in events:
            if event[E_KIND] == EVENT_ACCOUNT_CREATED:
                self.add(event[E_ACCOUNT])


class Survey:
    """What the events of a block mean for anybody but the background accounts; the arrays are valid until the next."""

    def __init__(self, accounts: BackgroundAccounts, compiler: Callable[[Any], Any]) -> None:
        self._accounts = accounts
        self._survey = compiler(survey)
        self._make_room(0)
        self.told: Int64Array = np.zeros((0, EVENT_WIDTH), dtype=np.int64)
        """The events that concern others."""
        self.followed: list[list[int]] = []
        """The events that the venue follows one by one."""
        self.fees: list[list[int]] = []
        """Asset and amount of the fees that are followed by their sums, because nobody else has to do with any."""
        self.shown: Iterable[tuple[int, ...]] = ()
        """Instrument, side, price and lots of all that the books have shown."""

    def _make_room(self, count: int) -> None:
        self._told, self._followed, self._fees = (np.zeros(count, dtype=np.int64) for _ in range(3))
        self._shown = np.zeros((4, count), dtype=np.int64)

    def of(self, events: Int64Array) -> "Survey":
        """Look at the events of a block."""
        if len(events) > len(self._told):
            self._make_room(2 * len(events))
        told, followed, shown, fees = self._survey(
            events, self._accounts.flags, self._told, self._followed, self._shown, self._fees
        )
        self.told = events[self._told[:told]]
        # By column: a list for each of hundreds of rows would be most of what there is to collect.
        self.shown = zip(*self._shown[:, :shown].tolist(), strict=True)
        where, of_fees = self._followed[:followed], self._fees[:fees]
        if told:
            # A fee of somebody's order has a place of its own among the postings.
            where, of_fees = np.sort(np.concatenate((where, of_fees))), of_fees[:0]
        self.followed = events[where].tolist()
        self.fees = events[of_fees][:, _FEE_COLUMNS].tolist()
        return self
