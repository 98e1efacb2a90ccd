"""The life of an order between its acceptance and its end: opened, held for, found again, finished."""

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import desk_at, link
from fauxchange.services.exchange.core.book import leave, rest
from fauxchange.services.exchange.core.events import tell_level, tell_order, tell_price
from fauxchange.services.exchange.core.heaps import forget_expiry, watch_expiry
from fauxchange.services.exchange.core.layout import (
    BOOK_RISING,
    D_COUNT,
    D_HEAD,
    D_TAIL,
    H_ACCOUNTS,
    H_LAST_ORDER_ID,
    O_ACCOUNT,
    O_BOOK,
    O_DESK_NEXT,
    O_DESK_PREV,
    O_EXPIRES,
    O_HEAP_AT,
    O_INSTRUMENT,
    O_LEVEL,
    O_OPEN,
    O_PRICE,
    O_RESERVED,
    O_SIDE,
    Memory,
)
from fauxchange.services.exchange.core.ledger import hold
from fauxchange.services.exchange.core.pool import find_order, free_order, index_order, unindex_order
from fauxchange.services.exchange.core.vocabulary import (
    REASON_NONE,
    REASON_ORDER_FINISHED,
    REASON_UNKNOWN_ACCOUNT,
    REASON_UNKNOWN_ORDER,
)


@lean_kernel
def open_order(m: Memory, order: int) -> None:
    """Enter an order that stays into all that finds it again: the index, its account's desk, the expiries."""
    m[order + O_OPEN] = 1
    index_order(m, order)
    desk = desk_at(m, m[order + O_ACCOUNT], m[order + O_INSTRUMENT])
    tail = link(m, desk + D_TAIL)
    m[order + O_DESK_PREV] = tail
    m[order + O_DESK_NEXT] = 0
    m[desk + D_TAIL] = order
    if tail == 0:
        m[desk + D_HEAD] = order
    else:
        m[tail + O_DESK_NEXT] = order
    m[desk + D_COUNT] += 1
    if m[order + O_EXPIRES] != 0:
        watch_expiry(m, order)


@lean_kernel
def close_order(m: Memory, order: int) -> None:
    """Forget an order that is finished, and give its record back."""
    if m[order + O_OPEN] != 0:
        m[order + O_OPEN] = 0
        unindex_order(m, order)
        desk = desk_at(m, m[order + O_ACCOUNT], m[order + O_INSTRUMENT])
        before = link(m, order + O_DESK_PREV)
        after = link(m, order + O_DESK_NEXT)
        if before == 0:
            m[desk + D_HEAD] = after
        else:
            m[before + O_DESK_NEXT] = after
        if after == 0:
            m[desk + D_TAIL] = before
        else:
            m[after + O_DESK_PREV] = before
        m[desk + D_COUNT] -= 1
        if m[order + O_HEAP_AT] != 0:
            forget_expiry(m, order)
    free_order(m, order)


@lean_kernel
def rest_order(m: Memory, order: int, which: int) -> None:
    """Let an order wait in a book."""
    rest(m, order, which)
    if m[order + O_OPEN] == 0:
        open_order(m, order)
    if which < BOOK_RISING:
        tell_level(m, m[order + O_INSTRUMENT], which, link(m, order + O_LEVEL))


@lean_kernel
def take_out(m: Memory, order: int) -> None:
    """Take an order out of its book, if it is in one, and say what its price shows now."""
    if m[order + O_LEVEL] == 0:
        return
    shown = leave(m, order)
    if m[order + O_BOOK] < BOOK_RISING:
        tell_price(m, m[order + O_INSTRUMENT], m[order + O_SIDE], m[order + O_PRICE], shown)


@lean_kernel
def finish(m: Memory, order: int, kind: int, reason: int, status: int) -> None:
    """End an order before it is filled: say so, take it out, release what it holds."""
    tell_order(m, kind, reason, order, status)
    take_out(m, order)
    if m[order + O_RESERVED] != 0:
        hold(m, order, 0)
    close_order(m, order)


@lean_kernel
def owned_order(m: Memory, account: int, order_id: int) -> tuple[int, int]:
    """Return REASON_NONE and the open order of an account, or why there is none, and 0."""
    if not 0 <= account < m[H_ACCOUNTS]:
        return REASON_UNKNOWN_ACCOUNT, 0
    if not 0 < order_id <= m[H_LAST_ORDER_ID]:
        return REASON_UNKNOWN_ORDER, 0
    order = find_order(m, order_id)
    if order == 0:
        return REASON_ORDER_FINISHED, 0
    if m[order + O_ACCOUNT] != account:
        return REASON_UNKNOWN_ORDER, 0
    return REASON_NONE, order
