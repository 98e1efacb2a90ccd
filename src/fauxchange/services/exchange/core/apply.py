"""The kernel's loop: carry out commands in steps, each so small that the room for it can be seen to beforehand.

A command that may take any number of steps (one that trades, cancels many orders or triggers stops) leaves what remains
of it in the header (`H_STAGE` and what belongs to it); when room is short the loop stops, and goes on there when called
again with more. What a step does is told at its function.
"""

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import desk_at, link
from fauxchange.services.exchange.core.admin import (
    change_instrument,
    create_account,
    create_asset,
    create_instrument,
    set_account_status,
    set_tier_fees,
    transfer,
)
from fauxchange.services.exchange.core.events import refuse
from fauxchange.services.exchange.core.layout import (
    AHEAD,
    C_ACCOUNT,
    C_INSTRUMENT,
    C_KIND,
    C_SEQUENCE,
    C_TS_NS,
    COMMAND_WIDTH,
    D_HEAD,
    EVENT_MARGIN,
    H_ACCOUNT_ROOM,
    H_ACCOUNTS,
    H_ASSET_ROOM,
    H_ASSETS,
    H_CURSOR,
    H_EVENT_ROOM,
    H_EXPIRIES,
    H_EXPIRY_AT,
    H_INSTRUMENT_ROOM,
    H_INSTRUMENTS,
    H_LAST_INSTRUMENT,
    H_LEVEL_ROOM,
    H_LEVELS_OPEN,
    H_NODE_ROOM,
    H_NODES_OPEN,
    H_OPEN_ORDERS,
    H_ORDER_ROOM,
    H_SEQUENCE,
    H_STAGE,
    H_TS_NS,
    H_WRITTEN,
    O_EXPIRES,
    SPARE_LEVELS,
    SPARE_NODES,
    SPARE_ORDERS,
    STAGE_CANCELING,
    STAGE_EXPIRING,
    STAGE_IDLE,
    STAGE_MATCHING,
    STAGE_TRIGGERING,
    STOP_CORRUPT,
    STOP_DONE,
    STOP_MEMORY,
    Memory,
)
from fauxchange.services.exchange.core.lookahead import look_ahead
from fauxchange.services.exchange.core.matching import match
from fauxchange.services.exchange.core.orders import finish
from fauxchange.services.exchange.core.stops import trigger_next
from fauxchange.services.exchange.core.trading import cancel, cancel_replace, change, place
from fauxchange.services.exchange.core.vocabulary import (
    COMMAND_AMEND,
    COMMAND_CANCEL,
    COMMAND_CANCEL_ALL,
    COMMAND_CANCEL_REPLACE,
    COMMAND_CREATE_ACCOUNT,
    COMMAND_CREATE_ASSET,
    COMMAND_CREATE_INSTRUMENT,
    COMMAND_DEPOSIT,
    COMMAND_EXPIRE,
    COMMAND_NOTE,
    COMMAND_PLACE,
    COMMAND_REPLACE_IN_PLACE,
    COMMAND_SET_ACCOUNT_STATUS,
    COMMAND_SET_INSTRUMENT_STATUS,
    COMMAND_SET_LIMITS,
    COMMAND_SET_TIER_FEES,
    COMMAND_WITHDRAW,
    EVENT_ORDER_CANCELED,
    EVENT_ORDER_EXPIRED,
    ORDER_CANCELED,
    ORDER_EXPIRED,
    REASON_BAD_TYPE,
    REASON_CANCELED_ALL,
    REASON_EXPIRED,
    REASON_UNKNOWN_ACCOUNT,
    REASON_UNKNOWN_INSTRUMENT,
)


@lean_kernel
def run_commands(m: Memory, c: Memory, first: int) -> tuple[int, int]:
    """Carry out the commands from row `first` on, writing events behind those that are there.

    Return why it stopped, and the row of the command that is next or under way.
    """
    row = first
    count = len(c) // COMMAND_WIDTH
    steps = 0
    while row < count:
        if steps == 0:
            steps = steps_in_room(m)
        if steps == 0 or m[H_WRITTEN] + EVENT_MARGIN > m[H_EVENT_ROOM]:
            return STOP_MEMORY, row
        steps -= 1
        if m[H_STAGE] == STAGE_IDLE:
            at = row * COMMAND_WIDTH
            if c[at + C_SEQUENCE] != m[H_SEQUENCE] + 1 or c[at + C_TS_NS] < m[H_TS_NS]:
                return STOP_CORRUPT, row
            # A command that comes alone has nothing to look ahead to.
            if row & (AHEAD - 1) == 0 and count > 1:
                look_ahead(m, c, row)
            for column in range(COMMAND_WIDTH):
                m[column] = c[at + column]
            m[H_SEQUENCE] = m[C_SEQUENCE]
            m[H_TS_NS] = m[C_TS_NS]
            begin(m)
        go_on(m)
        if m[H_STAGE] == STAGE_IDLE:
            row += 1
    return STOP_DONE, row


@lean_kernel
def steps_in_room(m: Memory) -> int:
    """Return how many steps the tables have room for, however much each takes; events are counted apart."""
    return min(
        (m[H_ORDER_ROOM] - m[H_OPEN_ORDERS]) // SPARE_ORDERS,
        (m[H_LEVEL_ROOM] - m[H_LEVELS_OPEN]) // SPARE_LEVELS,
        (m[H_NODE_ROOM] - m[H_NODES_OPEN]) // SPARE_NODES,
        m[H_ACCOUNT_ROOM] - m[H_ACCOUNTS],
        m[H_ASSET_ROOM] - m[H_ASSETS],
        m[H_INSTRUMENT_ROOM] - m[H_INSTRUMENTS],
    )


@lean_kernel
def go_on(m: Memory) -> None:
    """Do the next step of the command that is under way, if there is more to it."""
    if m[H_STAGE] == STAGE_MATCHING:
        match(m)
    # Matching leads here, and most often there is nothing to trigger.
    if m[H_STAGE] == STAGE_TRIGGERING:
        trigger_next(m)
    elif m[H_STAGE] == STAGE_CANCELING:
        cancel_next(m)
    elif m[H_STAGE] == STAGE_EXPIRING:
        expire_next(m)


@lean_kernel
def begin(m: Memory) -> None:
    """Do the first step of a command, which is the only one of most."""
    kind = m[C_KIND]
    if kind == COMMAND_PLACE:
        place(m, 0)
    elif kind == COMMAND_CANCEL:
        cancel(m)
    elif kind in (COMMAND_AMEND, COMMAND_REPLACE_IN_PLACE):
        change(m)
    elif kind == COMMAND_CANCEL_REPLACE:
        cancel_replace(m)
    elif kind == COMMAND_CANCEL_ALL:
        begin_cancel_all(m)
    elif kind == COMMAND_EXPIRE:
        m[H_STAGE] = STAGE_EXPIRING
    else:
        administer(m, kind)


@lean_kernel
def administer(m: Memory, kind: int) -> None:
    """Carry out a command of the venue itself."""
    if kind in (COMMAND_DEPOSIT, COMMAND_WITHDRAW):
        transfer(m)
    elif kind == COMMAND_CREATE_ASSET:
        create_asset(m)
    elif kind == COMMAND_CREATE_ACCOUNT:
        create_account(m)
    elif kind == COMMAND_SET_ACCOUNT_STATUS:
        set_account_status(m)
    elif kind == COMMAND_SET_TIER_FEES:
        set_tier_fees(m)
    elif kind == COMMAND_CREATE_INSTRUMENT:
        create_instrument(m)
    elif COMMAND_SET_INSTRUMENT_STATUS <= kind <= COMMAND_SET_LIMITS:
        change_instrument(m)
    elif kind != COMMAND_NOTE:
        refuse(m, REASON_BAD_TYPE, 0)


@lean_kernel
def begin_cancel_all(m: Memory) -> None:
    """See whose orders to cancel, of which instruments."""
    number = m[C_INSTRUMENT]
    if not 0 <= m[C_ACCOUNT] < m[H_ACCOUNTS]:
        refuse(m, REASON_UNKNOWN_ACCOUNT, 0)
    elif not -1 <= number < m[H_INSTRUMENTS]:
        refuse(m, REASON_UNKNOWN_INSTRUMENT, 0)
    else:
        m[H_CURSOR] = max(0, number)
        m[H_LAST_INSTRUMENT] = number if number >= 0 else m[H_INSTRUMENTS] - 1
        m[H_STAGE] = STAGE_CANCELING


@lean_kernel
def cancel_next(m: Memory) -> None:
    """Cancel the oldest order of the instrument that CANCEL_ALL has come to, or go on to the next instrument."""
    number = m[H_CURSOR]
    if number > m[H_LAST_INSTRUMENT]:
        m[H_STAGE] = STAGE_IDLE
        return
    order = link(m, desk_at(m, m[C_ACCOUNT], number) + D_HEAD)
    if order == 0:
        m[H_CURSOR] += 1
    else:
        finish(m, order, EVENT_ORDER_CANCELED, REASON_CANCELED_ALL, ORDER_CANCELED)


@lean_kernel
def expire_next(m: Memory) -> None:
    """Expire the order that is due first, if one is."""
    if m[H_EXPIRIES] != 0:
        order = link(m, link(m, H_EXPIRY_AT))
        if m[order + O_EXPIRES] <= m[H_TS_NS]:
            finish(m, order, EVENT_ORDER_EXPIRED, REASON_EXPIRED, ORDER_EXPIRED)
            return
    m[H_STAGE] = STAGE_IDLE
