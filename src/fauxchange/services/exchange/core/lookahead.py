"""Look ahead: have the processor fetch what the next commands will need before they begin.

What a command needs lies anywhere: an account's balances, an order, its neighbours in the queue. Commands that fetch it
one after the other wait for memory most of their time. One thing leads to the next (an id to an order, an order to its
level), so each command is looked at three times, a batch of commands apart: by then, what the look before asked for is
there. Nothing is decided here: what is found may have changed by the time that it is needed, and then is fetched anew.
"""

from fauxchange.domain.kernels import lean_kernel, prefetch
from fauxchange.services.exchange.core.addresses import (
    account_at,
    balance_at,
    book_at,
    desk_at,
    instrument_at,
    link,
    opposite,
)
from fauxchange.services.exchange.core.book import best_of, crosses
from fauxchange.services.exchange.core.layout import (
    ADDRESS,
    AHEAD,
    C_ACCOUNT,
    C_INSTRUMENT,
    C_KIND,
    C_ORDER_ID,
    C_PRICE_TICKS,
    C_SIDE,
    COMMAND_WIDTH,
    D_TAIL,
    H_ACCOUNTS,
    H_AHEAD,
    H_INSTRUMENTS,
    H_LAST_ORDER_ID,
    I_BASE,
    I_QUOTE,
    L_HEAD,
    L_PRICE,
    L_TAIL,
    LINE,
    O_ACCOUNT,
    O_DESK_NEXT,
    O_DESK_PREV,
    O_ID,
    O_INSTRUMENT,
    O_LEVEL,
    O_NEXT,
    O_PREV,
    O_SIDE,
    ORDER_WIDTH,
    Memory,
)
from fauxchange.services.exchange.core.ledger import held_asset
from fauxchange.services.exchange.core.pool import cell_of
from fauxchange.services.exchange.core.tree import find_level
from fauxchange.services.exchange.core.vocabulary import COMMAND_CANCEL, COMMAND_PLACE


@lean_kernel
def look_ahead(m: Memory, c: Memory, first: int) -> None:
    """Look at the commands behind row `first`, which is a multiple of AHEAD."""
    if first == 0:
        see_commands(m, c, 0)
        see_commands(m, c, AHEAD)
        see_orders(m, c, 0)
    see_commands(m, c, first + 2 * AHEAD)
    see_orders(m, c, first + AHEAD)
    see_neighbours(m, c, first)


@lean_kernel
def see_commands(m: Memory, c: Memory, first: int) -> None:
    """Fetch what a batch of commands names: accounts' records, and the cells of order ids."""
    for row in range(first, min(first + AHEAD, len(c) // COMMAND_WIDTH)):
        at = (row * COMMAND_WIDTH) & ADDRESS
        prefetch(c, at + AHEAD * COMMAND_WIDTH)
        prefetch(c, at + AHEAD * COMMAND_WIDTH + LINE)
        if c[at + C_KIND] >= COMMAND_CANCEL:
            prefetch(m, cell_of(m, c[at + C_ORDER_ID]))
        if c[at + C_KIND] >= COMMAND_PLACE and names_exist(m, c, at):
            account = c[at + C_ACCOUNT]
            number = c[at + C_INSTRUMENT]
            prefetch(m, account_at(m, account))
            prefetch(m, desk_at(m, account, number))
            prefetch(m, balance_at(m, account, m[held_asset(instrument_at(m, number), c[at + C_SIDE])]))
    # The ids that new orders are about to get.
    for ahead in range(AHEAD, 3 * AHEAD, LINE):
        prefetch(m, cell_of(m, m[H_LAST_ORDER_ID] + ahead))


@lean_kernel
def see_orders(m: Memory, c: Memory, first: int) -> None:
    """Fetch the orders that a batch of commands is about, and the levels and makers that new orders go to."""
    for row in range(first, min(first + AHEAD, len(c) // COMMAND_WIDTH)):
        at = (row * COMMAND_WIDTH) & ADDRESS
        if c[at + C_KIND] >= COMMAND_CANCEL:
            fetch_order(m, link(m, cell_of(m, c[at + C_ORDER_ID])))
        elif c[at + C_KIND] == COMMAND_PLACE and names_exist(m, c, at):
            instrument = instrument_at(m, c[at + C_INSTRUMENT])
            tail = link(m, desk_at(m, c[at + C_ACCOUNT], c[at + C_INSTRUMENT]) + D_TAIL)
            prefetch(m, tail + O_DESK_NEXT)
            maker = met_by(m, c, at)
            if maker != 0:
                fetch_order(m, maker)
            else:
                level = find_level(m, book_at(instrument, c[at + C_SIDE]), c[at + C_PRICE_TICKS])
                prefetch(m, level)
                m[H_AHEAD + (row & (2 * AHEAD - 1))] = level


@lean_kernel
def see_neighbours(m: Memory, c: Memory, first: int) -> None:
    """Fetch what lies around the orders that a batch of commands is about."""
    for row in range(first, min(first + AHEAD, len(c) // COMMAND_WIDTH)):
        at = (row * COMMAND_WIDTH) & ADDRESS
        if c[at + C_KIND] >= COMMAND_CANCEL:
            fetch_neighbours(m, link(m, cell_of(m, c[at + C_ORDER_ID])))
        elif c[at + C_KIND] == COMMAND_PLACE and names_exist(m, c, at):
            maker = met_by(m, c, at)
            if maker != 0:
                fetch_fill(m, maker, c[at + C_ACCOUNT])
            else:
                level = link(m, H_AHEAD + (row & (2 * AHEAD - 1)))
                prefetch(m, link(m, level + L_TAIL) + O_NEXT)


@lean_kernel
def names_exist(m: Memory, c: Memory, at: int) -> bool:
    """Say whether the command there names an account, an instrument, a side and no impossible price."""
    return (
        0 <= c[at + C_ACCOUNT] < m[H_ACCOUNTS]
        and 0 <= c[at + C_INSTRUMENT] < m[H_INSTRUMENTS]
        and 0 <= c[at + C_SIDE] <= 1
        and c[at + C_PRICE_TICKS] >= 0
    )


@lean_kernel
def met_by(m: Memory, c: Memory, at: int) -> int:
    """Return the order that the new one there would trade with first; 0 if it would not trade."""
    side = c[at + C_SIDE]
    best = best_of(m, opposite(instrument_at(m, c[at + C_INSTRUMENT]), side), 1 - side)
    if best == 0 or not crosses(side, m[best + L_PRICE], c[at + C_PRICE_TICKS]):
        return 0
    return link(m, best + L_HEAD)


@lean_kernel
def fetch_order(m: Memory, order: int) -> None:
    """Fetch an order."""
    for line in range(0, ORDER_WIDTH, LINE):
        prefetch(m, order + line)


@lean_kernel
def fetch_neighbours(m: Memory, order: int) -> None:
    """Fetch what changes when an order goes: its neighbours, its level, what its account has."""
    number = m[order + O_INSTRUMENT]
    if order == 0 or not 0 <= number < m[H_INSTRUMENTS]:
        return
    account = m[order + O_ACCOUNT]
    asset = m[held_asset(instrument_at(m, number), m[order + O_SIDE])]
    prefetch(m, link(m, order + O_LEVEL))
    prefetch(m, link(m, order + O_PREV) + O_NEXT)
    prefetch(m, link(m, order + O_NEXT) + O_PREV)
    prefetch(m, link(m, order + O_DESK_PREV) + O_DESK_NEXT)
    prefetch(m, link(m, order + O_DESK_NEXT) + O_DESK_PREV)
    prefetch(m, desk_at(m, account, number))
    prefetch(m, balance_at(m, account, asset))


@lean_kernel
def fetch_fill(m: Memory, maker: int, taker_account: int) -> None:
    """Fetch what changes when an account trades with a maker."""
    fetch_neighbours(m, maker)
    prefetch(m, cell_of(m, m[maker + O_ID]))
    account = m[maker + O_ACCOUNT]
    prefetch(m, account_at(m, account))
    instrument = instrument_at(m, m[maker + O_INSTRUMENT])
    for asset in (m[instrument + I_BASE], m[instrument + I_QUOTE]):
        prefetch(m, balance_at(m, account, asset))
        prefetch(m, balance_at(m, taker_account, asset))
