"""The kernel's memory, read by code of our own: balances, open orders and queues as plain lists."""

from dataclasses import dataclass
from operator import itemgetter
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

BOOK_OF_SIDE = {"BUY": 0, "SELL": 1}


class Resting(NamedTuple):
    """An open order as the kernel keeps it."""

    order_id: int
    account: int
    instrument: int
    side: int
    price_ticks: int
    order_lots: int
    leaves_lots: int
    shown_lots: int
    display_lots: int
    reserved: int
    rate: int
    stop_ticks: int
    book: int
    expires_ns: int


@dataclass(frozen=True)
class Picture:
    """What the kernel holds after a command."""

    free: list[list[int]]
    held: list[list[int]]
    instruments: list[list[int]]
    orders: dict[int, Resting]
    queues: dict[tuple[int, str], list[tuple[int, int, int, int]]]
    """Price, order id, shown and leaves, best first, of each instrument and side."""

    def open_orders(self) -> dict[int, tuple[int, int, int, int, int]]:
        """Return what can be compared with the reference venue's open orders."""
        return {
            order.order_id: (order.account, order.instrument, order.price_ticks, order.order_lots, order.leaves_lots)
            for order in self.orders.values()
        }


class Reader:
    """Walks the records and links of the memory, whose layout it takes from the package under test."""

    def __init__(self, layout: ModuleType) -> None:
        self.at = at = layout
        # In the order of the fields of `Resting`.
        self.order = itemgetter(
            at.O_ID,
            at.O_ACCOUNT,
            at.O_INSTRUMENT,
            at.O_SIDE,
            at.O_PRICE,
            at.O_LOTS,
            at.O_LEAVES,
            at.O_SHOWN,
            at.O_DISPLAY,
            at.O_RESERVED,
            at.O_RATE,
            at.O_STOP,
            at.O_BOOK,
            at.O_EXPIRES,
        )

    def picture(self, memory: Any) -> Picture:
        """Return all that the memory says now."""
        at = self.at
        header = memory[: at.HEADER_WIDTH].tolist()
        free, held = self.balances(memory, header)
        instruments = self.table(memory, header[at.H_INSTRUMENT_AT], header[at.H_INSTRUMENTS], at.INSTRUMENT_WIDTH)
        orders: dict[int, Resting] = {}
        records = self.pool(memory, header[at.H_ORDER_AT], header[at.H_ORDERS_USED], at.ORDER_WIDTH)
        levels = self.pool(memory, header[at.H_LEVEL_AT], header[at.H_LEVELS_USED], at.LEVEL_WIDTH)
        for head in self.desk_heads(memory, header):
            address = head
            while address:
                record = records[address]
                order = Resting._make(self.order(record))
                assert order.order_id not in orders, f"order {order.order_id} is listed twice"
                orders[order.order_id] = order
                address = record[at.O_DESK_NEXT]
        assert len(orders) == header[at.H_OPEN_ORDERS], "the number of open orders is not the number of those listed"
        queues = {
            (number, side): self.queue(record, side, records, levels)
            for number, record in enumerate(instruments)
            for side in BOOK_OF_SIDE
        }
        return Picture(free, held, instruments, orders, queues)

    def table(self, memory: Any, begin: int, rows: int, width: int) -> list[list[int]]:
        """Return the records of a table."""
        table: list[list[int]] = memory[begin : begin + rows * width].reshape(rows, width).tolist()
        return table

    def pool(self, memory: Any, begin: int, used: int, width: int) -> dict[int, list[int]]:
        """Return the records of a pool by their addresses."""
        addresses = range(begin, begin + used * width, width)
        return dict(zip(addresses, self.table(memory, begin, used, width), strict=True))

    def balances(self, memory: Any, header: list[int]) -> tuple[list[list[int]], list[list[int]]]:
        """Return free and held of each account (rows) and asset."""
        at = self.at
        accounts, assets, room = header[at.H_ACCOUNTS], header[at.H_ASSETS], header[at.H_ASSET_ROOM]
        begin = header[at.H_BALANCE_AT]
        cells = memory[begin : begin + accounts * room * at.BALANCE_WIDTH]
        cells = cells.reshape(accounts, room, at.BALANCE_WIDTH)[:, :assets]
        return cells[:, :, at.B_FREE].tolist(), cells[:, :, at.B_HELD].tolist()

    def desk_heads(self, memory: Any, header: list[int]) -> list[int]:
        """Return the first open order of each account in each instrument, where there is one."""
        at = self.at
        begin, room = header[at.H_DESK_AT], header[at.H_INSTRUMENT_ROOM]
        cells = memory[begin : begin + header[at.H_ACCOUNTS] * room * at.DESK_WIDTH]
        heads = cells.reshape(-1, at.DESK_WIDTH)[:, at.D_HEAD]
        found: list[int] = heads[np.nonzero(heads)].tolist()
        return found

    def queue(
        self, instrument: list[int], side: str, orders: dict[int, list[int]], levels: dict[int, list[int]]
    ) -> list[tuple[int, int, int, int]]:
        """Return one side of a book, best level first, each level from its head."""
        at = self.at
        book = at.I_BOOKS + BOOK_OF_SIDE[side] * at.BOOK_WIDTH
        level = instrument[book + (at.K_HIGHEST if side == "BUY" else at.K_LOWEST)]
        found = []
        while level:
            record = levels[level]
            address, shown, hidden = record[at.L_HEAD], 0, 0
            assert address, f"level {record[at.L_PRICE]} is empty"
            while address:
                order = orders[address]
                assert order[at.O_PRICE] == record[at.L_PRICE], "an order lies at a level of another price"
                found.append((order[at.O_PRICE], order[at.O_ID], order[at.O_SHOWN], order[at.O_LEAVES]))
                shown += order[at.O_SHOWN]
                hidden += order[at.O_LEAVES] - order[at.O_SHOWN]
                address = order[at.O_NEXT]
            assert (shown, hidden) == (record[at.L_SHOWN], record[at.L_HIDDEN]), "a level's lots are not its orders'"
            level = record[at.L_BELOW if side == "BUY" else at.L_ABOVE]
        return found
