"""Make the memory of a state, and move it to a larger one when a table is full."""

import mmap
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np

from fauxchange.domain.errors import check
from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.layout import (
    ACCOUNT_WIDTH,
    ADDRESS,
    ASSET_WIDTH,
    BALANCE_WIDTH,
    BOOK_WIDTH,
    BOOKS,
    D_HEAD,
    D_TAIL,
    DESK_WIDTH,
    EVENT_MARGIN,
    EVENT_WIDTH,
    FEE_WIDTH,
    H_ACCOUNT_AT,
    H_ACCOUNT_ROOM,
    H_ACCOUNTS,
    H_ASSET_AT,
    H_ASSET_ROOM,
    H_ASSETS,
    H_BALANCE_AT,
    H_DESK_AT,
    H_EVENT_AT,
    H_EVENT_ROOM,
    H_EXPIRIES,
    H_EXPIRY_AT,
    H_FEE_AT,
    H_INDEX_AT,
    H_INDEX_BITS,
    H_INSTRUMENT_AT,
    H_INSTRUMENT_ROOM,
    H_INSTRUMENTS,
    H_LEVEL_AT,
    H_LEVEL_FREE,
    H_LEVEL_ROOM,
    H_LEVELS_OPEN,
    H_LEVELS_USED,
    H_NODE_AT,
    H_NODE_FREE,
    H_NODE_ROOM,
    H_NODES_OPEN,
    H_NODES_USED,
    H_OPEN_ORDERS,
    H_ORDER_AT,
    H_ORDER_FREE,
    H_ORDER_ROOM,
    H_ORDERS_USED,
    H_TAKER,
    H_TRIGGER_AT,
    H_TRIGGERS,
    H_WRITTEN,
    HEADER_WIDTH,
    I_BOOKS,
    INSTRUMENT_WIDTH,
    K_HIGHEST,
    K_LOWEST,
    K_ROOT,
    L_LEAF,
    LEVEL_LINKS_TO_LEVELS,
    LEVEL_LINKS_TO_ORDERS,
    LEVEL_WIDTH,
    LINE,
    MAX_TIERS,
    N_BITMAP,
    N_CHILDREN,
    N_PARENT,
    NODE_WIDTH,
    O_LEVEL,
    O_OPEN,
    ORDER_LINKS_TO_ORDERS,
    ORDER_WIDTH,
    SPARE_LEVELS,
    SPARE_NODES,
    SPARE_ORDERS,
    TREE_FAN,
    Int64Array,
    Memory,
)
from fauxchange.services.exchange.core.pool import index_order


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """How many records each table has room for."""

    assets: int = 8
    accounts: int = 64
    instruments: int = 8
    orders: int = 1024
    levels: int = 512
    nodes: int = 1024
    events: int = 4096


ROOMY: Final = Rooms(
    assets=16, accounts=1 << 12, instruments=16, orders=1 << 20, levels=1 << 16, nodes=1 << 16, events=1 << 18
)
"""The rooms of a venue that runs: to move a memory takes about a microsecond for each order, in which nobody is served.

Room that is not used takes addresses and next to no memory: these rooms are 350 MB of them.
"""


def new_memory(rooms: Rooms) -> Int64Array:
    """Return a memory whose tables are empty and have the rooms asked for."""
    index_bits = max(4, (rooms.orders - 1).bit_length())
    sizes = {
        H_ASSET_AT: rooms.assets * ASSET_WIDTH,
        H_ACCOUNT_AT: rooms.accounts * ACCOUNT_WIDTH,
        H_INSTRUMENT_AT: rooms.instruments * INSTRUMENT_WIDTH,
        H_FEE_AT: (rooms.instruments + 1) * MAX_TIERS * FEE_WIDTH,
        H_BALANCE_AT: rooms.accounts * rooms.assets * BALANCE_WIDTH,
        H_DESK_AT: rooms.accounts * rooms.instruments * DESK_WIDTH,
        H_INDEX_AT: 1 << index_bits,
        H_EXPIRY_AT: rooms.orders,
        H_TRIGGER_AT: rooms.orders,
        H_ORDER_AT: rooms.orders * ORDER_WIDTH,
        H_LEVEL_AT: rooms.levels * LEVEL_WIDTH,
        H_NODE_AT: rooms.nodes * NODE_WIDTH,
        H_EVENT_AT: rooms.events * EVENT_WIDTH,
    }
    places = np.cumsum([HEADER_WIDTH, *(_whole_lines(size) for size in sizes.values())])
    memory = _zeros(int(places[-1]))
    memory[list(sizes)] = places[:-1]
    memory[H_ASSET_ROOM] = rooms.assets
    memory[H_ACCOUNT_ROOM] = rooms.accounts
    memory[H_INSTRUMENT_ROOM] = rooms.instruments
    memory[H_ORDER_ROOM] = rooms.orders
    memory[H_LEVEL_ROOM] = rooms.levels
    memory[H_NODE_ROOM] = rooms.nodes
    memory[H_EVENT_ROOM] = rooms.events
    memory[H_INDEX_BITS] = index_bits
    return memory


def _whole_lines(words: int) -> int:
    return -(-words // LINE) * LINE


def _zeros(words: int) -> Int64Array:
    """Return zeros that begin at a line of the cache."""
    check(words <= ADDRESS, "addresses reach the end of the memory")
    # Zeros come from the system page by page, so that room which is not used takes no memory.
    pages = mmap.mmap(-1, 8 * words, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # By small pages: a large one, 8,000 orders, is some milliseconds in which nobody is served. NumPy asks for those.
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        # A system that knows no large pages refuses to do without.
        with suppress(OSError):
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, dtype=np.int64)


def rooms_of(memory: Int64Array) -> Rooms:
    """Return the rooms of a memory."""
    return Rooms(
        assets=int(memory[H_ASSET_ROOM]),
        accounts=int(memory[H_ACCOUNT_ROOM]),
        instruments=int(memory[H_INSTRUMENT_ROOM]),
        orders=int(memory[H_ORDER_ROOM]),
        levels=int(memory[H_LEVEL_ROOM]),
        nodes=int(memory[H_NODE_ROOM]),
        events=int(memory[H_EVENT_ROOM]),
    )


def enlarged(memory: Int64Array) -> Rooms:
    """Return the rooms of a memory with those that are full doubled."""
    rooms = rooms_of(memory)
    full = {
        "assets": memory[H_ASSETS] >= rooms.assets,
        "accounts": memory[H_ACCOUNTS] >= rooms.accounts,
        "instruments": memory[H_INSTRUMENTS] >= rooms.instruments,
        "orders": memory[H_OPEN_ORDERS] + SPARE_ORDERS > rooms.orders,
        "levels": memory[H_LEVELS_OPEN] + SPARE_LEVELS > rooms.levels,
        "nodes": memory[H_NODES_OPEN] + SPARE_NODES > rooms.nodes,
        "events": memory[H_WRITTEN] + EVENT_MARGIN > rooms.events,
    }
    return replace(rooms, **{field.name: 2 * getattr(rooms, field.name) for field in fields(rooms) if full[field.name]})


def moved(old: Int64Array, rooms: Rooms, rebuild: Callable[[Int64Array], None]) -> Int64Array:
    """Return a memory with the same content and these rooms, none smaller than before; `rebuild` is `rebuild_index`."""
    before = rooms_of(old)
    new = new_memory(rooms)
    header_end = H_ASSET_AT
    new[:header_end] = old[:header_end]
    # Counters and links after the addresses and rooms.
    new[H_INDEX_BITS + 1 : HEADER_WIDTH] = old[H_INDEX_BITS + 1 : HEADER_WIDTH]
    _copy_cells(old, new, before, rooms)
    _copy_pools(old, new)
    _correct_links(old, new)
    rebuild(new)
    return new


def essence_size(memory: Int64Array) -> int:
    """Return how many words `essence` takes."""
    return HEADER_WIDTH + sum(map(_whole_lines, _essential(memory).values()))


def essence(memory: Int64Array, into: Int64Array) -> Int64Array:
    """Return a copy of what a state's canonical form is read from, at the front of `into`; no command runs on it."""
    tables = _essential(memory)
    into[:HEADER_WIDTH] = memory[:HEADER_WIDTH]
    into[H_ASSET_AT : H_EVENT_AT + 1] = 0
    into[H_ACCOUNT_ROOM] = memory[H_ACCOUNTS]
    at = HEADER_WIDTH
    for cell, size in tables.items():
        into[cell] = at
        into[at : at + size] = memory[memory[cell] :][:size]
        at += _whole_lines(size)
    return into[:at]


def _essential(memory: Int64Array) -> dict[int, int]:
    """Return how many words of which tables are in use and say what others only arrange."""
    return {
        H_ASSET_AT: int(memory[H_ASSETS]) * ASSET_WIDTH,
        H_ACCOUNT_AT: int(memory[H_ACCOUNTS]) * ACCOUNT_WIDTH,
        H_INSTRUMENT_AT: int(memory[H_INSTRUMENTS]) * INSTRUMENT_WIDTH,
        H_FEE_AT: int(memory[H_INSTRUMENTS] + 1) * MAX_TIERS * FEE_WIDTH,
        H_BALANCE_AT: int(memory[H_ACCOUNTS] * memory[H_ASSET_ROOM]) * BALANCE_WIDTH,
        H_ORDER_AT: int(memory[H_ORDERS_USED]) * ORDER_WIDTH,
    }


@lean_kernel
def rebuild_index(m: Memory) -> None:
    """Enter all open orders into an index that is empty."""
    order = m[H_ORDER_AT]
    for _ in range(m[H_ORDERS_USED]):
        if m[order + O_OPEN] != 0:
            index_order(m, order)
        order += ORDER_WIDTH


def _copy_cells(old: Int64Array, new: Int64Array, before: Rooms, rooms: Rooms) -> None:
    for cell, width in ((H_ASSET_AT, ASSET_WIDTH * before.assets), (H_ACCOUNT_AT, ACCOUNT_WIDTH * before.accounts)):
        new[new[cell] :][:width] = old[old[cell] :][:width]
    for cell, width in (
        (H_INSTRUMENT_AT, INSTRUMENT_WIDTH * before.instruments),
        (H_FEE_AT, (before.instruments + 1) * MAX_TIERS * FEE_WIDTH),
    ):
        new[new[cell] :][:width] = old[old[cell] :][:width]
    for cell, columns, more_columns, width in (
        (H_BALANCE_AT, before.assets, rooms.assets, BALANCE_WIDTH),
        (H_DESK_AT, before.instruments, rooms.instruments, DESK_WIDTH),
    ):
        source = old[old[cell] :][: before.accounts * columns * width].reshape(before.accounts, columns, width)
        target = new[new[cell] :][: rooms.accounts * more_columns * width].reshape(rooms.accounts, more_columns, width)
        target[: before.accounts, :columns] = source


def _copy_pools(old: Int64Array, new: Int64Array) -> None:
    for cell, used, width in (
        (H_ORDER_AT, H_ORDERS_USED, ORDER_WIDTH),
        (H_LEVEL_AT, H_LEVELS_USED, LEVEL_WIDTH),
        (H_NODE_AT, H_NODES_USED, NODE_WIDTH),
        (H_EVENT_AT, H_WRITTEN, EVENT_WIDTH),
        (H_EXPIRY_AT, H_EXPIRIES, 1),
        (H_TRIGGER_AT, H_TRIGGERS, 1),
    ):
        size = old[used] * width
        new[new[cell] :][:size] = old[old[cell] :][:size]


def _correct_links(old: Int64Array, new: Int64Array) -> None:
    to_orders, to_levels, to_nodes = (int(new[cell] - old[cell]) for cell in (H_ORDER_AT, H_LEVEL_AT, H_NODE_AT))

    def table(cell: int, used: int, width: int) -> Int64Array:
        return new[new[cell] :][: used * width].reshape(used, width)

    orders = table(H_ORDER_AT, new[H_ORDERS_USED], ORDER_WIDTH)
    for column in ORDER_LINKS_TO_ORDERS:
        _shift(orders[:, column], to_orders)
    _shift(orders[:, O_LEVEL], to_levels)
    levels = table(H_LEVEL_AT, new[H_LEVELS_USED], LEVEL_WIDTH)
    for column in LEVEL_LINKS_TO_ORDERS:
        _shift(levels[:, column], to_orders)
    for column in LEVEL_LINKS_TO_LEVELS:
        _shift(levels[:, column], to_levels)
    _shift(levels[:, L_LEAF], to_nodes)
    nodes = table(H_NODE_AT, new[H_NODES_USED], NODE_WIDTH)
    _correct_children(nodes, old, to_levels, to_nodes)
    _shift(nodes[:, N_PARENT], to_nodes)
    instruments = table(H_INSTRUMENT_AT, new[H_INSTRUMENTS], INSTRUMENT_WIDTH)
    for book in range(I_BOOKS, I_BOOKS + BOOKS * BOOK_WIDTH, BOOK_WIDTH):
        _shift(instruments[:, book + K_LOWEST], to_levels)
        _shift(instruments[:, book + K_HIGHEST], to_levels)
        _shift(instruments[:, book + K_ROOT], to_nodes)
    desks = table(H_DESK_AT, new[H_ACCOUNT_ROOM] * new[H_INSTRUMENT_ROOM], DESK_WIDTH)
    for column in (D_HEAD, D_TAIL):
        _shift(desks[:, column], to_orders)
    for cell, used in ((H_EXPIRY_AT, H_EXPIRIES), (H_TRIGGER_AT, H_TRIGGERS)):
        _shift(new[new[cell] :][: new[used]], to_orders)
    for cell, delta in (
        (H_TAKER, to_orders),
        (H_ORDER_FREE, to_orders),
        (H_LEVEL_FREE, to_levels),
        (H_NODE_FREE, to_nodes),
    ):
        _shift(new[cell : cell + 1], delta)


def _correct_children(nodes: Int64Array, old: Int64Array, to_levels: int, to_nodes: int) -> None:
    """Correct the children of the tree's nodes: levels below a leaf, nodes below all others.

    The table that an old address lies in tells which of the two it is.
    """
    children = nodes[:, N_CHILDREN : N_CHILDREN + TREE_FAN]
    is_node = children >= old[H_NODE_AT]
    is_level = (children != 0) & ~is_node
    children[is_node] += to_nodes
    children[is_level] += to_levels
    # A freed node has neither bits nor children.
    nodes[nodes[:, N_BITMAP] == 0, N_CHILDREN:] = 0


def _shift(links: Int64Array, delta: int) -> None:
    links[links != 0] += delta
