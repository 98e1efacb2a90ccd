"""The best levels of a book as the law sees them: read from the kernel's memory, then kept up with what the law does.

The commands of a slice are made before any of them is carried out, so each must see what those before it will do.
"""

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import book_at, instrument_at
from fauxchange.services.exchange.core.book import best_of, next_of
from fauxchange.services.exchange.core.flow.layout import DEPTH, W_LEVELS, W_LOTS, W_PRICES
from fauxchange.services.exchange.core.layout import L_HIDDEN, L_PRICE, L_SHOWN, Memory


@lean_kernel
def read_ladder(m: Memory, w: Memory, number: int) -> None:
    """Read the best levels of both sides of an instrument's book."""
    for side in range(2):
        level = best_of(m, book_at(instrument_at(m, number), side), side)
        count = 0
        while level != 0 and count < DEPTH:
            w[W_PRICES + side * DEPTH + count] = m[level + L_PRICE]
            w[W_LOTS + side * DEPTH + count] = m[level + L_SHOWN] + m[level + L_HIDDEN]
            count += 1
            level = next_of(m, level, side)
        w[W_LEVELS + side] = count


@lean_kernel
def best_price(w: Memory, side: int) -> int:
    """Return the best price of a side; 0 if nothing is there."""
    if w[W_LEVELS + side] == 0:
        return 0
    return w[W_PRICES + side * DEPTH]


@lean_kernel
def is_better(side: int, price: int, other: int) -> bool:
    """Say whether a price of a side comes before another one."""
    if side == 0:
        return price > other
    return price < other


@lean_kernel
def add_lots(w: Memory, side: int, price: int, lots: int) -> None:
    """Take note of an order that will rest at a price; what lies beyond the last level is not looked at."""
    count = w[W_LEVELS + side]
    prices = W_PRICES + side * DEPTH
    shown = W_LOTS + side * DEPTH
    at = 0
    while at < count and is_better(side, w[prices + at], price):
        at += 1
    if at < count and w[prices + at] == price:
        w[shown + at] += lots
        return
    if at == DEPTH:
        return
    if count < DEPTH:
        count += 1
        w[W_LEVELS + side] = count
    for to in range(count - 1, at, -1):
        w[prices + to] = w[prices + to - 1]
        w[shown + to] = w[shown + to - 1]
    w[prices + at] = price
    w[shown + at] = lots


@lean_kernel
def drop_levels(w: Memory, side: int, first: int, gone: int) -> None:
    """Take out so many levels from `first` on."""
    count = w[W_LEVELS + side] - gone
    prices = W_PRICES + side * DEPTH
    shown = W_LOTS + side * DEPTH
    for to in range(first, count):
        w[prices + to] = w[prices + to + gone]
        w[shown + to] = w[shown + to + gone]
    w[W_LEVELS + side] = count


@lean_kernel
def remove_lots(w: Memory, side: int, price: int, lots: int) -> None:
    """Take note of an order that will be canceled; a part of it may have traded."""
    count = w[W_LEVELS + side]
    prices = W_PRICES + side * DEPTH
    at = 0
    while at < count and is_better(side, w[prices + at], price):
        at += 1
    if at == count or w[prices + at] != price:
        return
    shown = W_LOTS + side * DEPTH + at
    w[shown] -= lots
    if w[shown] <= 0:
        drop_levels(w, side, at, 1)


@lean_kernel
def reachable_lots(w: Memory, side: int, limit: int) -> int:
    """Return the lots of a side at `limit` and better prices."""
    total = 0
    at = 0
    while at < w[W_LEVELS + side] and not is_better(side, limit, w[W_PRICES + side * DEPTH + at]):
        total += w[W_LOTS + side * DEPTH + at]
        at += 1
    return total


@lean_kernel
def take_lots(w: Memory, side: int, limit: int, lots: int) -> None:
    """Take note of an order that will take so many lots of a side, up to a limit."""
    gone = 0
    shown = W_LOTS + side * DEPTH
    while gone < w[W_LEVELS + side] and lots > 0:
        if is_better(side, limit, w[W_PRICES + side * DEPTH + gone]):
            break
        if w[shown + gone] > lots:
            w[shown + gone] -= lots
            break
        lots -= w[shown + gone]
        gone += 1
    if gone > 0:
        drop_levels(w, side, 0, gone)
