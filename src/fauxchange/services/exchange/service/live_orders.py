"""Orders by id and by client order id: those that are open, and finished ones while anybody may need them."""

import struct
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from fauxchange.domain.errors import FauxchangeError
from fauxchange.domain.order_columns import O_ACCOUNT, RestingOrders
from fauxchange.domain.orders import CLIENT_ORDER_ID_KEPT_NS, OPEN_STATUSES, ORDER_STATUSES, FillRecord, OrderRecord
from fauxchange.services.exchange.core.layout import C_KIND, COMMAND_WIDTH
from fauxchange.services.exchange.service.entries import Entry
from fauxchange.services.exchange.service.order_lists import OrderList, hash_of
from fauxchange.services.exchange.service.requests import Outcome

_CONTENT: Final = struct.Struct(f"<{COMMAND_WIDTH - C_KIND}q")
REJECTED: Final = ORDER_STATUSES.index("REJECTED")
MAX_FILLS_KEPT = 1_000
FEW_OF: Final = 8
"""Of orders that came to rest together one in so many is few."""


class OnItsWay:
    """An entry that is to become the order of a client order id, and who else waits for it."""

    __slots__ = ("entry", "fingerprint", "waiting")

    def __init__(self, entry: Entry, fingerprint: int) -> None:
        self.entry = entry
        self.fingerprint = fingerprint
        self.waiting: list[Callable[[Outcome], None]] = []

    @property
    def failure(self) -> FauxchangeError | None:
        """Why it is not known whether the order was stored."""
        return self.entry.failure

    def tell(self, outcome: Outcome, done: Callable[[Outcome], None]) -> None:
        """Tell the first caller what came of the entry, and then those who asked for the same meanwhile."""
        done(outcome)
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            for each in waiting:
                each(outcome.again())


class Listed:
    """An order on its way in a list, as `OnItsWay` has one."""

    __slots__ = ("_index", "_list")

    def __init__(self, orders: OrderList, index: int) -> None:
        self._list = orders
        self._index = index

    @property
    def failure(self) -> FauxchangeError | None:
        """Why it is not known whether the order was stored."""
        return self._list.failure

    @property
    def fingerprint(self) -> int:
        """A hash of what the order asks for."""
        return self._list.fingerprint(self._index)

    @property
    def waiting(self) -> list[Callable[[Outcome], None]]:
        """Who else waits for the order."""
        return self._list.waiting.setdefault(self._index, [])


class Placed(msgspec.Struct, frozen=True, gc=False):
    """The order of a client order id.

    There are as many of these as orders in 24 hours, and none is work for the garbage collector.
    """

    order_id: int
    fingerprint: int


Pending = OnItsWay | Listed
Named = Pending | Placed
"""What a client order id stands for."""


def fingerprint_of(row: Sequence[int]) -> int:
    """Return a hash of what a command asks for, the same in every process."""
    return hash_of(_CONTENT.pack(*row[C_KIND:]))


class LiveOrders:
    """The orders in memory.

    An open order is always here; a finished one until it has been stored, and by its client order id for 24 hours.
    Those that came to rest with others stay in columns (`rest`) until somebody wants one of them.
    """

    def __init__(self) -> None:
        self.by_id: dict[int, OrderRecord] = {}
        """The records that there are; ask for an order by `get`, which makes its record if there is none yet."""
        self._open_of: dict[int, dict[int, OrderRecord]] = {}
        """Open orders by account."""
        self._resting: dict[int, RestingOrders] = {}
        """Where orders are that nobody has made a record of, by their ids."""
        self._resting_of: dict[int, dict[RestingOrders, None]] = {}
        self._fills: dict[int, list[FillRecord]] = {}
        self._named: dict[tuple[int, str], OnItsWay | Placed | OrderList] = {}
        self._finished: deque[tuple[int, int, str, int]] = deque()

    # Orders

    def __getitem__(self, order_id: int) -> OrderRecord:
        """Return an order that is in memory."""
        record = self.get(order_id)
        if record is None:
            raise KeyError(order_id)
        return record

    def __contains__(self, order_id: int) -> bool:
        """Say whether an order is in memory."""
        return order_id in self.by_id or order_id in self._resting

    def get(self, order_id: int) -> OrderRecord | None:
        """Return an order if it is in memory."""
        record = self.by_id.get(order_id)
        if record is None:
            resting = self._resting.get(order_id)
            if resting is not None:
                return self._made(order_id, resting)
        return record

    def add(self, record: OrderRecord) -> None:
        """Take in a new order."""
        order_id, account, name = record.order_id, record.account, record.client_order_id
        self.by_id[order_id] = record
        if record.status in OPEN_STATUSES:
            mine = self._open_of.get(account)
            if mine is None:
                mine = self._open_of[account] = {}
            mine[order_id] = record
        if name is not None:
            self._named[account, name] = Placed(order_id, record.fingerprint)

    def rest(self, orders: RestingOrders) -> None:
        """Take in new orders that rest; their client order ids stand for the list that they came in."""
        first = orders.first_order_id
        self._resting.update(dict.fromkeys(range(first, first + len(orders)), orders))
        for account in set(orders.numbers[:, O_ACCOUNT].tolist()):
            mine = self._resting_of.get(account)
            if mine is None:
                mine = self._resting_of[account] = {}
            mine[orders] = None

    def _made(self, order_id: int, resting: RestingOrders) -> OrderRecord:
        """Make the record of an order that rests; and of the others of its run when few of them still do."""
        record = self._make(order_id, resting)
        if resting.left * FEW_OF <= len(resting):
            # They would keep what is known of all that came with them.
            first = resting.first_order_id
            for other in range(first, first + len(resting)):
                if other in self._resting:
                    self._make(other, resting)
            for account in set(resting.numbers[:, O_ACCOUNT].tolist()):
                self._resting_of[account].pop(resting, None)
        return record

    def _make(self, order_id: int, resting: RestingOrders) -> OrderRecord:
        record = resting.record(order_id)
        del self._resting[order_id]
        resting.left -= 1
        self.add(record)
        return record

    def finish(self, record: OrderRecord) -> None:
        """Note that an order is open no more; twice is as good as once."""
        mine = self._open_of.get(record.account)
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
        for resting in tuple(self._resting_of.get(account, ())):
            first = resting.first_order_id
            for order_id, owner in enumerate(resting.numbers[:, O_ACCOUNT].tolist(), first):
                if owner == account and order_id in self._resting:
                    self._made(order_id, resting)
            # What is left of it is others'.
            self._resting_of[account].pop(resting, None)
        mine = self._open_of.get(account, {})
        return [mine[order_id] for order_id in sorted(mine)]

    def expiring(self) -> list[int]:
        """Return when orders expire that do. Units: ns of venue time."""
        every = [record.expires_ns for mine in self._open_of.values() for record in mine.values()]
        # What rests in columns is good till it is canceled.
        return [expires_ns for expires_ns in every if expires_ns]

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
        named = self._named.get((account, client_order_id))
        if not isinstance(named, OrderList):
            return named
        index = named.index_of(account, client_order_id)
        order_id = named.order_id(index)
        return Listed(named, index) if order_id is None else Placed(order_id, named.fingerprint(index))

    def is_taken(self, account: int, client_order_id: str) -> bool:
        """Say whether a client order id stands for anything."""
        return (account, client_order_id) in self._named

    def reserve(self, account: int, client_order_id: str, named: OnItsWay | OrderList) -> None:
        """Take a client order id for an entry on its way, or for a list that has it."""
        self._named[account, client_order_id] = named

    def release(self, account: int, client_order_id: str, entry: Entry | OrderList) -> None:
        """Give a client order id back that an entry took, or an order of a list, which came to nothing."""
        named = self._named.get((account, client_order_id))
        if isinstance(named, OnItsWay):
            is_its = named.entry is entry
        else:
            is_its = isinstance(named, OrderList) and (named is entry or entry in named.entries.values())
        if is_its:
            del self._named[account, client_order_id]

    def forget_names(self, now_ns: Callable[[], int]) -> None:
        """Give back the client order ids of orders that finished more than 24 hours of venue time ago."""
        if not self._finished:
            return
        since_ns = now_ns() - CLIENT_ORDER_ID_KEPT_NS
        while self._finished and self._finished[0][0] <= since_ns:
            _, account, client_order_id, order_id = self._finished.popleft()
            named = self.named(account, client_order_id)
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
