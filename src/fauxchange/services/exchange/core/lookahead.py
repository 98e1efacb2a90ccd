"""Look ahead: read what the next commands will need before the first of them begins.

What a command needs lies anywhere: an account's balances, an order, its neighbours in the queue. Commands that fetch it
one after the other wait for memory most of their time; reads that do not depend on each other are under way together.
Nothing is decided here: what is read may have changed by the time that it is needed, and then is read again.
"""

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import account_at, balance_at, book_at, desk_at, instrument_at, link
from fauxchange.services.exchange.core.layout import (
    A_TIER,
    AHEAD,
    B_FREE,
    C_ACCOUNT,
    C_INSTRUMENT,
    C_KIND,
    C_ORDER_ID,
    C_PRICE_TICKS,
    C_SIDE,
    COMMAND_WIDTH,
    D_COUNT,
    D_HEAD,
    H_ACCOUNTS,
    H_AHEAD,
    H_INDEX_AT,
    H_INSTRUMENTS,
    H_LAST_ORDER_ID,
    H_SEEN,
    L_TAIL,
    O_ACCOUNT,
    O_DESK_NEXT,
    O_DESK_PREV,
    O_INSTRUMENT,
    O_LEVEL,
    O_NEXT,
    O_PREV,
    O_SIDE,
    Memory,
)
from fauxchange.services.exchange.core.ledger import held_asset
from fauxchange.services.exchange.core.pool import find_order, home_of
from fauxchange.services.exchange.core.tree import find_level
from fauxchange.services.exchange.core.vocabulary import COMMAND_CANCEL, COMMAND_PLACE


@lean_kernel
def look_ahead(m: Memory, c: Memory, first: int) -> None:
    """Read what the commands from row `first` on will need, AHEAD of them at most."""
    count = min(AHEAD, len(c) // COMMAND_WIDTH - first)
    seen = 0
    at = first * COMMAND_WIDTH
    for place in range(count):
        if c[at + C_KIND] >= COMMAND_PLACE:
            seen ^= see_account(m, c[at + C_ACCOUNT], c[at + C_INSTRUMENT], c[at + C_SIDE])
            seen ^= m[link(m, H_INDEX_AT) + home_of(m, c[at + C_ORDER_ID])]
            seen ^= m[link(m, H_INDEX_AT) + home_of(m, m[H_LAST_ORDER_ID] + place)]
        at += COMMAND_WIDTH
    at = first * COMMAND_WIDTH
    for place in range(count):
        m[H_AHEAD + place] = 0
        if c[at + C_KIND] >= COMMAND_CANCEL:
            order = find_order(m, c[at + C_ORDER_ID])
            m[H_AHEAD + place] = order
            seen ^= m[order + O_LEVEL] ^ m[order + O_DESK_NEXT]
        elif c[at + C_KIND] == COMMAND_PLACE:
            seen ^= see_level(m, c[at + C_INSTRUMENT], c[at + C_SIDE], c[at + C_PRICE_TICKS])
        at += COMMAND_WIDTH
    for place in range(count):
        order = link(m, H_AHEAD + place)
        if order != 0:
            seen ^= see_neighbours(m, order)
    # Without a use of it, a compiler would leave out the reading. (Bits are mixed, because a sum could overflow.)
    m[H_SEEN] = seen


@lean_kernel
def see_account(m: Memory, account: int, number: int, side: int) -> int:
    """Read what the account of a new order has."""
    if not 0 <= account < m[H_ACCOUNTS] or not 0 <= number < m[H_INSTRUMENTS]:
        return 0
    asset = m[held_asset(instrument_at(m, number), side)]
    return (
        m[account_at(m, account) + A_TIER]
        ^ m[desk_at(m, account, number) + D_COUNT]
        ^ m[balance_at(m, account, asset) + B_FREE]
    )


@lean_kernel
def see_level(m: Memory, number: int, side: int, price: int) -> int:
    """Read the level that a new order goes to."""
    if not 0 <= number < m[H_INSTRUMENTS] or not 0 <= side <= 1 or price <= 0:
        return 0
    level = find_level(m, book_at(instrument_at(m, number), side), price)
    return m[level + L_TAIL]


@lean_kernel
def see_neighbours(m: Memory, order: int) -> int:
    """Read what lies around an order: its neighbours, its level, what its account has."""
    number = m[order + O_INSTRUMENT]
    account = m[order + O_ACCOUNT]
    asset = m[held_asset(instrument_at(m, number), m[order + O_SIDE])]
    return (
        m[link(m, order + O_LEVEL)]
        ^ m[link(m, order + O_PREV) + O_NEXT]
        ^ m[link(m, order + O_NEXT) + O_PREV]
        ^ m[link(m, order + O_DESK_PREV) + O_DESK_NEXT]
        ^ m[link(m, order + O_DESK_NEXT) + O_DESK_PREV]
        ^ m[desk_at(m, account, number) + D_HEAD]
        ^ m[balance_at(m, account, asset) + B_FREE]
    )
