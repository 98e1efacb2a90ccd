"""The state of the kernel as a whole: made, read, hashed, dumped and loaded.

The canonical form holds what the state means and nothing of where it lies: no addresses, no rooms, no free records. Two
states with the same canonical form answer every further command alike. Its hash is the state's; a dump is its bytes,
compressed.
"""

import hashlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fauxchange.domain.errors import InvalidRequest, check
from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import book_at, instrument_at
from fauxchange.services.exchange.core.book import append, level_for
from fauxchange.services.exchange.core.layout import (
    A_TIER,
    ACCOUNT_WIDTH,
    B_FREE,
    B_HELD,
    BALANCE_WIDTH,
    BOOK_RISING,
    BOOK_WIDTH,
    BOOKS,
    FEE_WIDTH,
    FLAG_BALANCE_EVENTS,
    FLAG_BOOK_EVENTS,
    H_ACCOUNT_AT,
    H_ACCOUNT_ROOM,
    H_ACCOUNTS,
    H_ASSET_AT,
    H_ASSET_ROOM,
    H_ASSETS,
    H_BALANCE_AT,
    H_FEE_AT,
    H_FLAGS,
    H_INSTRUMENT_AT,
    H_INSTRUMENTS,
    H_LAST_TRADE_ID,
    H_OPEN_ORDERS,
    H_ORDER_AT,
    H_ORDERS_USED,
    H_STAGE,
    H_VERSION,
    I_BOOKS,
    INSTRUMENT_WIDTH,
    K_LOWEST,
    L_ABOVE,
    L_HEAD,
    L_HIDDEN,
    L_PRICE,
    L_SHOWN,
    MAX_TIERS,
    O_ACCOUNT,
    O_AMOUNT,
    O_BOOK,
    O_DISPLAY,
    O_EXPIRES,
    O_HEAP_AT,
    O_ID,
    O_INSTRUMENT,
    O_LEAVES,
    O_LOTS,
    O_NEXT,
    O_OPEN,
    O_POST_ONLY,
    O_PRICE,
    O_PRIORITY,
    O_QUOTE_LEFT,
    O_RATE,
    O_RESERVED,
    O_SHOWN,
    O_SIDE,
    O_STOP,
    O_STP,
    O_TIME_IN_FORCE,
    O_TYPE,
    ORDER_WIDTH,
    SPARE_LEVELS,
    SPARE_NODES,
    SPARE_ORDERS,
    STAGE_IDLE,
    TREE_BITS,
    TREE_MAX_HEIGHT,
    Int64Array,
    Memory,
    Rows,
)
from fauxchange.services.exchange.core.memory import Rooms, new_memory
from fauxchange.services.exchange.core.orders import open_order
from fauxchange.services.exchange.core.pool import new_order
from fauxchange.services.exchange.core.vocabulary import TRANSIT_ACCOUNT

VERSION: Final = 1
MAGIC: Final = b"FXKS"

ORDER_COLUMNS: Final = {
    "order_id": O_ID,
    "account": O_ACCOUNT,
    "instrument": O_INSTRUMENT,
    "book": O_BOOK,
    "side": O_SIDE,
    "order_type": O_TYPE,
    "time_in_force": O_TIME_IN_FORCE,
    "post_only": O_POST_ONLY,
    "self_trade_prevention": O_STP,
    "price_ticks": O_PRICE,
    "stop_ticks": O_STOP,
    "order_lots": O_LOTS,
    "leaves_lots": O_LEAVES,
    "display_lots": O_DISPLAY,
    "shown_lots": O_SHOWN,
    "expires_ns": O_EXPIRES,
    "amount": O_AMOUNT,
    "quote_left": O_QUOTE_LEFT,
    "fee_rate": O_RATE,
    "reserved": O_RESERVED,
}
ORDER: Final = np.dtype([(name, np.int64) for name in ORDER_COLUMNS])
LEVEL: Final = np.dtype([(name, np.int64) for name in ("price_ticks", "shown_lots", "hidden_lots", "orders")])


@dataclass(slots=True)
class State:
    """All that the kernel knows; `memory` is replaced by a larger one when it is full."""

    memory: Int64Array


def new_state(*, balance_events: bool = True, book_events: bool = True, rooms: Rooms | None = None) -> State:
    """Return a state in which only the venue's own three accounts exist; the flags leave out BALANCE or BOOK events."""
    memory = new_memory(rooms or Rooms())
    memory[H_VERSION] = VERSION
    memory[H_FLAGS] = FLAG_BALANCE_EVENTS * balance_events + FLAG_BOOK_EVENTS * book_events
    memory[H_ACCOUNTS] = TRANSIT_ACCOUNT + 1
    return State(memory)


def open_orders(state: State) -> Rows:
    """Return all open orders by instrument, book, price (a stop's: its stop price) and place in the queue."""
    memory = state.memory
    used = int(memory[H_ORDERS_USED])
    records = memory[memory[H_ORDER_AT] :][: used * ORDER_WIDTH].reshape(used, ORDER_WIDTH)
    records = records[records[:, O_OPEN] == 1]
    price = np.where(records[:, O_BOOK] < BOOK_RISING, records[:, O_PRICE], records[:, O_STOP])
    order = np.lexsort((records[:, O_PRIORITY], price, records[:, O_BOOK], records[:, O_INSTRUMENT]))
    rows = np.ascontiguousarray(records[order][:, list(ORDER_COLUMNS.values())])
    return rows.view(ORDER).reshape(len(rows))


def balances(state: State) -> Int64Array:
    """Return free and held of all accounts. Shapes: (accounts, assets, 2)."""
    memory = state.memory
    room, assets = int(memory[H_ACCOUNT_ROOM]), int(memory[H_ASSET_ROOM])
    cells = memory[memory[H_BALANCE_AT] :][: room * assets * BALANCE_WIDTH].reshape(room, assets, BALANCE_WIDTH)
    return cells[: memory[H_ACCOUNTS], : memory[H_ASSETS]].copy()


def balance_of(state: State, account: int, asset: int) -> tuple[int, int]:
    """Return free and held of one account in one asset."""
    memory = state.memory
    at = memory[H_BALANCE_AT] + (account * memory[H_ASSET_ROOM] + asset) * BALANCE_WIDTH
    return int(memory[at + B_FREE]), int(memory[at + B_HELD])


def levels(state: State, instrument: int, book: int) -> Rows:
    """Return the levels of a book (BOOK_BIDS, BOOK_ASKS, BOOK_RISING or BOOK_FALLING), lowest price first."""
    memory = state.memory
    level = int(
        memory[memory[H_INSTRUMENT_AT] + instrument * INSTRUMENT_WIDTH + I_BOOKS + book * BOOK_WIDTH + K_LOWEST]
    )
    rows = []
    while level:
        count, order = 0, int(memory[level + L_HEAD])
        while order:
            count, order = count + 1, int(memory[order + O_NEXT])
        rows.append((memory[level + L_PRICE], memory[level + L_SHOWN], memory[level + L_HIDDEN], count))
        level = int(memory[level + L_ABOVE])
    return np.array(rows, dtype=LEVEL)


def state_hash(state: State) -> str:
    """Return the SHA-256 of the canonical form."""
    return _hash(_canonical(state))


def dump_state(state: State) -> bytes:
    """Return the state as bytes that `load_state` understands, in this version and later ones."""
    return _dump(_canonical(state))


def dump_and_hash(state: State) -> tuple[bytes, str]:
    """Return what `dump_state` and `state_hash` do, in half their time."""
    parts = _canonical(state)
    return _dump(parts), _hash(parts)


def load_state(dumped: bytes, *, compiler: Callable[[Any], Any] | None = None, least: Rooms | None = None) -> State:
    """Return the state that was dumped, with these rooms at least; a compiler makes many open orders load quickly.

    Raises: InvalidRequest if the bytes are no dump of a version that is known, or damaged
    """
    try:
        if dumped[: len(MAGIC)] != MAGIC:
            raise ValueError("it begins otherwise")
        words = np.frombuffer(zlib.decompress(dumped[len(MAGIC) :]), dtype="<i8").astype(np.int64)
        return _loaded(_Reader(words), compiler or (lambda function: function), least or Rooms())
    except (ValueError, zlib.error) as exc:
        raise InvalidRequest(f"this is no snapshot of the exchange's state: {exc}", code="damaged_snapshot") from exc


_SCALARS: Final = range(H_VERSION, H_LAST_TRADE_ID + 1)


def _hash(parts: Sequence[Int64Array]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(_bytes_of(part))
    return digest.hexdigest()


def _dump(parts: Sequence[Int64Array]) -> bytes:
    packer = zlib.compressobj(level=1)
    return b"".join((MAGIC, *(packer.compress(_bytes_of(part)) for part in parts), packer.flush()))


def _bytes_of(part: Int64Array) -> memoryview:
    # Without a copy, which would be made under the interpreter lock.
    return part.astype("<i8", copy=False).data.cast("B")


def _canonical(state: State) -> list[Int64Array]:
    """Return the canonical form, in parts: the header's scalars, the sizes, the tables, the orders column by column."""
    memory = state.memory
    check(memory[H_STAGE] == STAGE_IDLE, "a command is under way")
    orders = open_orders(state)
    assets, accounts, instruments = (int(memory[cell]) for cell in (H_ASSETS, H_ACCOUNTS, H_INSTRUMENTS))
    sizes = np.array([assets, accounts, instruments, len(orders)], dtype=np.int64)
    accounts_table = _table(memory, H_ACCOUNT_AT, accounts, ACCOUNT_WIDTH)[:, : A_TIER + 1]
    parts = [
        memory[_SCALARS.start : _SCALARS.stop],
        sizes,
        _table(memory, H_ASSET_AT, assets, 1),
        accounts_table,
        _table(memory, H_INSTRUMENT_AT, instruments, INSTRUMENT_WIDTH)[:, :I_BOOKS],
        _table(memory, H_FEE_AT, (instruments + 1) * MAX_TIERS, FEE_WIDTH),
        balances(state),
        orders.view(np.int64).reshape(len(orders), len(ORDER_COLUMNS)).T,
    ]
    return [np.ascontiguousarray(part).reshape(-1) for part in parts]


def _table(memory: Int64Array, cell: int, count: int, width: int) -> Int64Array:
    return memory[memory[cell] :][: count * width].reshape(count, width)


class _Reader:
    """Hands out the words of a canonical form from the front."""

    def __init__(self, words: NDArray[np.int64]) -> None:
        self._words = words
        self._at = 0

    def take(self, *shape: int) -> Int64Array:
        """Return the next words in this shape. Raises: ValueError if there are too few."""
        size = int(np.prod(shape))
        part = self._words[self._at : self._at + size]
        if size < 0 or len(part) != size:
            raise ValueError("it ends too early")
        self._at += size
        return part.reshape(shape)

    def finish(self) -> None:
        """Raise ValueError if there are words left."""
        if self._at != len(self._words):
            raise ValueError("it is too long")


def _loaded(reader: _Reader, compiler: Callable[[Any], Any], least: Rooms) -> State:
    scalars = reader.take(len(_SCALARS))
    if scalars[0] != VERSION:
        raise ValueError(f"its version is {scalars[0]}, known is {VERSION}")
    assets, accounts, instruments, count = reader.take(4).tolist()
    asset_rows, account_rows = reader.take(assets, 1), reader.take(accounts, A_TIER + 1)
    instrument_rows = reader.take(instruments, I_BOOKS)
    fee_rows = reader.take((instruments + 1) * MAX_TIERS, FEE_WIDTH)
    balance_rows = reader.take(accounts, assets, BALANCE_WIDTH)
    orders = np.ascontiguousarray(reader.take(len(ORDER_COLUMNS), count).T)
    reader.finish()
    memory = new_memory(_rooms_for(assets, accounts, instruments, orders, least))
    memory[_SCALARS.start : _SCALARS.stop] = scalars
    memory[H_ASSETS], memory[H_ACCOUNTS], memory[H_INSTRUMENTS] = assets, accounts, instruments
    _table(memory, H_ASSET_AT, assets, 1)[:] = asset_rows
    _table(memory, H_ACCOUNT_AT, accounts, ACCOUNT_WIDTH)[:, : A_TIER + 1] = account_rows
    _table(memory, H_INSTRUMENT_AT, instruments, INSTRUMENT_WIDTH)[:, :I_BOOKS] = instrument_rows
    _table(memory, H_FEE_AT, (instruments + 1) * MAX_TIERS, FEE_WIDTH)[:] = fee_rows
    room = int(memory[H_ACCOUNT_ROOM])
    cells = memory[memory[H_BALANCE_AT] :][: room * memory[H_ASSET_ROOM] * BALANCE_WIDTH]
    cells.reshape(room, memory[H_ASSET_ROOM], BALANCE_WIDTH)[:accounts, :assets] = balance_rows
    columns = np.array(list(ORDER_COLUMNS.values()), dtype=np.int64)
    compiler(restore_orders)(memory, orders.reshape(-1), columns, np.argsort(orders[:, 0], kind="stable"))
    # `new_order` counted them, and so does the dump.
    check(memory[H_OPEN_ORDERS] == count, "as many orders are open as were dumped")
    return State(memory)


def _rooms_for(assets: int, accounts: int, instruments: int, orders: Int64Array, least: Rooms) -> Rooms:
    """Return rooms that fit, each a power of two, so that a loaded state grows as one that never was dumped."""
    books = orders[:, 2] * BOOKS + orders[:, 3]
    prices = np.where(orders[:, 3] < BOOK_RISING, orders[:, 9], orders[:, 10])
    nodes, level_count = 0, 0
    for height in range(TREE_MAX_HEIGHT + 1):
        distinct = len(np.unique(np.stack([books, prices >> (height * TREE_BITS)]), axis=1).T)
        if height == 0:
            level_count = distinct
        else:
            nodes += distinct

    def room(needed: int, floor: int) -> int:
        return max(floor, 1 << max(0, needed - 1).bit_length())

    return Rooms(
        assets=room(assets + 1, least.assets),
        accounts=room(accounts + 1, least.accounts),
        instruments=room(instruments + 1, least.instruments),
        orders=room(len(orders) + SPARE_ORDERS, least.orders),
        levels=room(level_count + SPARE_LEVELS, least.levels),
        nodes=room(nodes + SPARE_NODES, least.nodes),
        events=least.events,
    )


@lean_kernel
def restore_orders(m: Memory, rows: Memory, columns: Memory, by_id: Memory) -> None:
    """Enter orders, given in the order of their books, into a memory that has none; `by_id` is their order by id."""
    width = len(columns)
    for row in range(len(by_id)):
        order = new_order(m)
        for column in range(width):
            m[order + columns[column]] = rows[row * width + column]
        m[order + O_HEAP_AT] = 0
        which = m[order + O_BOOK]
        book = book_at(instrument_at(m, m[order + O_INSTRUMENT]), which)
        price = m[order + O_PRICE]
        if which >= BOOK_RISING:
            price = m[order + O_STOP]
        level = level_for(m, book, price)
        append(m, level, order)
        m[level + L_SHOWN] += m[order + O_SHOWN]
        m[level + L_HIDDEN] += m[order + O_LEAVES] - m[order + O_SHOWN]
    for place in range(len(by_id)):
        open_order(m, m[H_ORDER_AT] + by_id[place] * ORDER_WIDTH)
