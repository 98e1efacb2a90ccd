"""A book: levels in the order of their prices, and at each level the orders in the order of their arrival.

Four books belong to an instrument: bids, asks, and the stops that wait for the price to rise or to fall. Levels are
linked to their neighbours, so the next best price is one step away; orders are linked to theirs, so one that leaves
from the middle of a queue costs no more than one that leaves from its head.
"""

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import book_at, instrument_at, link
from fauxchange.services.exchange.core.layout import (
    BOOK_BIDS,
    BOOK_RISING,
    H_PRIORITY,
    K_HIGHEST,
    K_LOWEST,
    L_ABOVE,
    L_BELOW,
    L_HEAD,
    L_HIDDEN,
    L_PRICE,
    L_SHOWN,
    L_TAIL,
    O_BOOK,
    O_DISPLAY,
    O_INSTRUMENT,
    O_LEAVES,
    O_LEVEL,
    O_NEXT,
    O_PREV,
    O_PRICE,
    O_PRIORITY,
    O_SHOWN,
    O_STOP,
    Memory,
)
from fauxchange.services.exchange.core.pool import free_level, new_level
from fauxchange.services.exchange.core.tree import find_level, insert_level, remove_level


@lean_kernel
def best_of(m: Memory, book: int, side: int) -> int:
    """Return the best level of the bids (side 0) or the asks (side 1); 0 if there is none."""
    if side == BOOK_BIDS:
        return link(m, book + K_HIGHEST)
    return link(m, book + K_LOWEST)


@lean_kernel
def next_of(m: Memory, level: int, side: int) -> int:
    """Return the level that is next best after `level`."""
    if side == BOOK_BIDS:
        return link(m, level + L_BELOW)
    return link(m, level + L_ABOVE)


@lean_kernel
def crosses(side: int, price: int, limit: int) -> bool:
    """Say whether an order of `side` with this limit (0: none) trades at `price`."""
    if limit == 0:
        return True
    if side == BOOK_BIDS:
        return price <= limit
    return price >= limit


@lean_kernel
def rest(m: Memory, order: int, which: int) -> None:
    """Put an order at the back of the queue at its price (a stop: at its stop price), showing what it shows."""
    book = book_at(instrument_at(m, m[order + O_INSTRUMENT]), which)
    price = m[order + O_PRICE]
    if which >= BOOK_RISING:
        price = m[order + O_STOP]
    shown = m[order + O_LEAVES]
    if which < BOOK_RISING and m[order + O_DISPLAY] != 0:
        shown = min(shown, m[order + O_DISPLAY])
    m[order + O_SHOWN] = shown
    level = level_for(m, book, price)
    m[order + O_BOOK] = which
    append(m, level, order)
    m[level + L_SHOWN] += shown
    m[level + L_HIDDEN] += m[order + O_LEAVES] - shown


@lean_kernel
def append(m: Memory, level: int, order: int) -> None:
    """Link an order to the back of a level's queue."""
    m[H_PRIORITY] += 1
    m[order + O_PRIORITY] = m[H_PRIORITY]
    m[order + O_LEVEL] = level
    tail = link(m, level + L_TAIL)
    m[order + O_PREV] = tail
    m[order + O_NEXT] = 0
    m[level + L_TAIL] = order
    if tail == 0:
        m[level + L_HEAD] = order
    else:
        m[tail + O_NEXT] = order


@lean_kernel
def level_for(m: Memory, book: int, price: int) -> int:
    """Return the level at `price`, a new and empty one if there is none yet."""
    level = link(m, book + K_LOWEST)
    if level != 0 and m[level + L_PRICE] == price:
        return level
    level = link(m, book + K_HIGHEST)
    if level != 0 and m[level + L_PRICE] == price:
        return level
    level = find_level(m, book, price)
    if level != 0:
        return level
    level = new_level(m)
    m[level + L_PRICE] = price
    m[level + L_HEAD] = 0
    m[level + L_TAIL] = 0
    m[level + L_SHOWN] = 0
    m[level + L_HIDDEN] = 0
    above = insert_level(m, book, level)
    below = link(m, book + K_HIGHEST)
    if above != 0:
        below = link(m, above + L_BELOW)
        m[above + L_BELOW] = level
    else:
        m[book + K_HIGHEST] = level
    m[level + L_ABOVE] = above
    m[level + L_BELOW] = below
    if below != 0:
        m[below + L_ABOVE] = level
    else:
        m[book + K_LOWEST] = level
    return level


@lean_kernel
def unlink(m: Memory, order: int) -> None:
    """Take an order out of its level's queue, leaving the level."""
    level = link(m, order + O_LEVEL)
    before = link(m, order + O_PREV)
    after = link(m, order + O_NEXT)
    if before == 0:
        m[level + L_HEAD] = after
    else:
        m[before + O_NEXT] = after
    if after == 0:
        m[level + L_TAIL] = before
    else:
        m[after + O_PREV] = before


@lean_kernel
def leave(m: Memory, order: int) -> int:
    """Take an order out of the book, with its level if it was the last there; return what its price shows now."""
    level = link(m, order + O_LEVEL)
    unlink(m, order)
    shown = m[order + O_SHOWN]
    m[level + L_SHOWN] -= shown
    m[level + L_HIDDEN] -= m[order + O_LEAVES] - shown
    m[order + O_LEVEL] = 0
    left = m[level + L_SHOWN]
    if m[level + L_HEAD] == 0:
        drop_level(m, book_at(instrument_at(m, m[order + O_INSTRUMENT]), m[order + O_BOOK]), level)
    return left


@lean_kernel
def drop_level(m: Memory, book: int, level: int) -> None:
    """Remove a level without orders."""
    below = link(m, level + L_BELOW)
    above = link(m, level + L_ABOVE)
    if below == 0:
        m[book + K_LOWEST] = above
    else:
        m[below + L_ABOVE] = above
    if above == 0:
        m[book + K_HIGHEST] = below
    else:
        m[above + L_BELOW] = below
    remove_level(m, book, level)
    free_level(m, level)


@lean_kernel
def put_back(m: Memory, order: int) -> None:
    """Undo `leave`: nothing else may have changed in the book since, so the order's neighbours are where they were."""
    which = m[order + O_BOOK]
    book = book_at(instrument_at(m, m[order + O_INSTRUMENT]), which)
    price = m[order + O_PRICE]
    if which >= BOOK_RISING:
        price = m[order + O_STOP]
    level = level_for(m, book, price)
    before = link(m, order + O_PREV)
    after = link(m, order + O_NEXT)
    if before == 0:
        m[level + L_HEAD] = order
    else:
        m[before + O_NEXT] = order
    if after == 0:
        m[level + L_TAIL] = order
    else:
        m[after + O_PREV] = order
    m[order + O_LEVEL] = level
    m[level + L_SHOWN] += m[order + O_SHOWN]
    m[level + L_HIDDEN] += m[order + O_LEAVES] - m[order + O_SHOWN]


@lean_kernel
def to_the_back(m: Memory, order: int) -> None:
    """Move an iceberg whose shown part is used up to the back of its level's queue, with its next part shown."""
    level = link(m, order + O_LEVEL)
    unlink(m, order)
    shown = min(m[order + O_LEAVES], m[order + O_DISPLAY])
    m[order + O_SHOWN] = shown
    m[level + L_SHOWN] += shown
    m[level + L_HIDDEN] -= shown
    append(m, level, order)
