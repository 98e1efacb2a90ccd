"""Orders by id and by client order id: those that are open, and finished ones while anybody may need them."""

import hashlib
import struct
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from fauxchange.domain.orders import CLIENT_ORDER_ID_KEPT_NS, OPEN_STATUSES, ORDER_STATUSES, FillRecord, OrderRecord
from fauxchange.services.exchange.core.layout import C_KIND, COMMAND_WIDTH
from fauxchange.services.exchange.service.entries import Entry
from fauxchange.services.exchange.service.requests import Outcome

_CONTENT: Final = struct.Struct(f"<{COMMAND_WIDTH - C_KIND}q")
_MASK: Final = 2**63 - 1
REJECTED: Final = ORDER_STATUSES.index("REJECTED")
MAX_FILLS_KEPT = 1_000


class OnItsWay:
    """An entry that is to become the order of a client order id, and who else waits for it."""

    __slots__ = ("entry", "fingerprint", "waiting")

    def __init__(self, entry: Entry, fingerprint: int) -> None:
        self.entry = entry
        self.fingerprint = fingerprint
        self.waiting: list[Callable[[Outcome], None]] = []

    def tell(self, outcome: Outcome, done: Callable[[Outcome], None]) -> None:
        """Tell the first caller what came of the entry, and then those who asked for the same meanwhile."""
        done(outcome)
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            for each in waiting:
                each(outcome.again())


class Placed(NamedTuple):
    """The order of a client order id.

    There are as many of these as orders in 24 hours; a tuple of numbers is no work for the garbage collector.
    """

    order_id: int
    fingerprint: int


Named = OnItsWay | Placed
"""What a client order id stands for."""


def fingerprint_of(row: Sequence[int]) -> int:
    """Return a hash of what a command asks for, the same in every process."""
    digest = hashlib.blake2b(_CONTENT.pack(*row[C_KIND:]), digest_size=8).digest()
    return int.from_bytes(digest, "little") & _MASK


class LiveOrders:
    """The orders in memory.

    An open order is always here; a finished one until it has been stored, and by its client order id for 24 hours.
    """

    def __init__(self) -> None:
        self.by_id: dict[int, OrderRecord] = {}
        self.open_of: dict[int, dict[int, OrderRecord]] = {}
        """Open orders by account, in the order of their ids."""
        self._fills: dict[int, list[FillRecord]] = {}
        self._named: dict[tuple[int, str], Named] = {}
        self._finished: deque[tuple[int, int, str, int]] = deque()

    # Orders

    def add(self, record: OrderRecord) -> None:
        """Take in a new order."""
        order_id, account, name = record.order_id, record.account, record.client_order_id
        self.by_id[order_id] = record
        if record.status in OPEN_STATUSES:
            mine = self.open_of.get(account)
            if mine is None:
                mine = self.open_of[account] = {}
            mine[order_id] = record
        if name is not None:
            self._named[account, name] = Placed(order_id, record.fingerprint)

    def finish(self, record: OrderRecord) -> None:
        """Note that an order is open no more; twice is as good as once."""
        mine = self.open_of.get(record.account)
        was_open = mine is not None and mine.pop(record.order_id, None) is not None
        if record.client_order_id is not None and (was_open or record.status == REJECTED):
            self._finished.append((record.updated_ns, record.account, record.client_order_id, record.order_id))

    def forget_stored(self, order_ids: Iterable[int]) -> None:
        """Let go of the finished ones among orders that have been stored."""
        for order_id in order_ids:
            record = self.by_id.get(order_id)
            if record is not None and record.status not in OPEN_STATUSES:
                del self.by_id[order_id]
                self._fills.pop(order_id, None)

    def open_orders(self, account: int) -> list[OrderRecord]:
        """Return an account's open orders, oldest first."""
        return list(self.open_of.get(account, {}).values())

    # Fills

    def add_fill(self, fill: FillRecord) -> None:
        """Remember a fill with its order."""
        fills = self._fills.setdefault(fill.order_id, [])
        if len(fills) < MAX_FILLS_KEPT:
            fills.append(fill)

    def fills(self, order_id: int) -> Sequence[FillRecord]:
        """Return the fills that are remembered of an order."""
        known = self._fills.get(order_id)
        return tuple(known) if known else ()

    # Client order ids

    def named(self, account: int, client_order_id: str) -> Named | None:
        """Return what an account's client order id stands for."""
        return self._named.get((account, client_order_id))

    def reserve(self, account: int, client_order_id: str, named: OnItsWay) -> None:
        """Take a client order id for an entry on its way."""
        self._named[account, client_order_id] = named

    def release(self, account: int, client_order_id: str, entry: Entry) -> None:
        """Give a client order id back that an entry took which came to nothing."""
        named = self._named.get((account, client_order_id))
        if isinstance(named, OnItsWay) and named.entry is entry:
            del self._named[account, client_order_id]

    def forget_names(self, now_ns: Callable[[], int]) -> None:
        """Give back the client order ids of orders that finished more than 24 hours of venue time ago."""
        if not self._finished:
            return
        since_ns = now_ns() - CLIENT_ORDER_ID_KEPT_NS
        while self._finished and self._finished[0][0] <= since_ns:
            _, account, client_order_id, order_id = self._finished.popleft()
            named = self._named.get((account, client_order_id))
            # The id may have been taken anew since: then it stands for the newer order.
            if isinstance(named, Placed) and named.order_id == order_id:
                del self._named[account, client_order_id]

    def restore(self, records: Iterable[OrderRecord]) -> None:
        """Take up orders as they were stored: the open ones, and finished ones for their client order ids."""
        finished = []
        for record in records:
            self.add(record)
            if record.status not in OPEN_STATUSES:
                finished.append(record)
                del self.by_id[record.order_id]
        for record in sorted(finished, key=lambda record: (record.updated_ns, record.order_id)):
            if record.client_order_id is not None:
                self._finished.append((record.updated_ns, record.account, record.client_order_id, record.order_id))
