"""Look ahead: read what the next commands will need before the first of them begins.

What a command needs lies anywhere: an account's balances, an order, its neighbours in the queue. Commands that fetch it
one after the other wait for memory most of their time; reads that do not depend on each other are under way together.
Nothing is decided here: what is read may have changed by the time that it is needed, and then is read again.
"""

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import account_at, balance_at, book_at, desk_at, instrument_at, link
from fauxchange.services.exchange.core.layout import (
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
from fauxchange.services.exchange.core.vocabulary import COMMAND_CANCEL, COMMAND_CANCEL_REPLACE, COMMAND_PLACE


@lean_kernel
def look_ahead(m: Memory, c: Memory, first: int) -> None:
    """Read what the commands from row `first` on will need, AHEAD of them at most."""
    count = min(AHEAD, len(c) // COMMAND_WIDTH - first)
    seen = 0
    for place in range(count):
        seen += see_owner(m, c, (first + place) * COMMAND_WIDTH, place)
    for place in range(count):
        seen += see_place(m, c, (first + place) * COMMAND_WIDTH, place)
    for place in range(count):
        seen += see_neighbours(m, place)
    # Without a use, a compiler would leave out the reads.
    m[H_SEEN] = seen


@lean_kernel
def see_owner(m: Memory, c: Memory, at: int, place: int) -> int:
    """Read an account's records and the cell of the index that a command begins with."""
    account = c[at + C_ACCOUNT]
    number = c[at + C_INSTRUMENT]
    kind = c[at + C_KIND]
    seen = 0
    if kind < COMMAND_PLACE or not 0 <= account < m[H_ACCOUNTS]:
        return seen
    seen += m[account_at(m, account)]
    if kind in (COMMAND_PLACE, COMMAND_CANCEL_REPLACE) and 0 <= number < m[H_INSTRUMENTS]:
        instrument = instrument_at(m, number)
        seen += m[desk_at(m, account, number) + D_COUNT]
        seen += m[balance_at(m, account, m[held_asset(instrument, c[at + C_SIDE])]) + B_FREE]
        seen += m[link(m, H_INDEX_AT) + home_of(m, m[H_LAST_ORDER_ID] + 1 + place)]
    if kind >= COMMAND_CANCEL:
        seen += m[link(m, H_INDEX_AT) + home_of(m, c[at + C_ORDER_ID])]
    return seen


@lean_kernel
def see_place(m: Memory, c: Memory, at: int, place: int) -> int:
    """Read the order that a command names, or the level that a new one goes to."""
    kind = c[at + C_KIND]
    number = c[at + C_INSTRUMENT]
    side = c[at + C_SIDE]
    m[H_AHEAD + place] = 0
    if kind >= COMMAND_CANCEL:
        order = find_order(m, c[at + C_ORDER_ID])
        m[H_AHEAD + place] = order
        if order != 0:
            return link(m, order + O_DESK_NEXT) + link(m, order + O_LEVEL)
    elif kind == COMMAND_PLACE and 0 <= number < m[H_INSTRUMENTS] and 0 <= side <= 1 and c[at + C_PRICE_TICKS] > 0:
        level = find_level(m, book_at(instrument_at(m, number), side), c[at + C_PRICE_TICKS])
        if level != 0:
            return link(m, level + L_TAIL)
    return 0


@lean_kernel
def see_neighbours(m: Memory, place: int) -> int:
    """Read what lies around an order: its neighbours, its level, what its account has."""
    order = link(m, H_AHEAD + place)
    if order == 0:
        return 0
    seen = m[link(m, order + O_LEVEL)]
    seen += m[link(m, order + O_PREV) + O_NEXT]
    seen += m[link(m, order + O_NEXT) + O_PREV]
    seen += m[link(m, order + O_DESK_PREV) + O_DESK_NEXT]
    seen += m[link(m, order + O_DESK_NEXT) + O_DESK_PREV]
    instrument = instrument_at(m, m[order + O_INSTRUMENT])
    account = m[order + O_ACCOUNT]
    seen += m[desk_at(m, account, m[order + O_INSTRUMENT])]
    return seen + m[balance_at(m, account, m[held_asset(instrument, m[order + O_SIDE])]) + B_FREE]
