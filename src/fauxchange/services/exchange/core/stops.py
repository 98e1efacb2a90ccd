"""Stops: orders that wait until the last trade's price reaches theirs."""

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import book_at, instrument_at, link
from fauxchange.services.exchange.core.book import leave
from fauxchange.services.exchange.core.events import standing, tell_order
from fauxchange.services.exchange.core.heaps import pop_triggered, push_triggered
from fauxchange.services.exchange.core.layout import (
    BOOK_FALLING,
    BOOK_RISING,
    H_STAGE,
    H_TRIGGER_INSTRUMENT,
    H_TRIGGERS,
    I_LAST,
    K_HIGHEST,
    K_LOWEST,
    L_HEAD,
    L_PRICE,
    O_INSTRUMENT,
    O_SIDE,
    O_STOP,
    O_TYPE,
    STAGE_IDLE,
    Memory,
)
from fauxchange.services.exchange.core.matching import enter
from fauxchange.services.exchange.core.orders import rest_order
from fauxchange.services.exchange.core.vocabulary import (
    EVENT_ORDER_TRIGGERED,
    REASON_NONE,
    SIDE_BUY,
    TYPE_LIMIT,
    TYPE_STOP,
    TYPE_STOP_LIMIT,
)


@lean_kernel
def waits_for(m: Memory, order: int) -> int:
    """Return the book that a stop waits in: for a rising price, or for a falling one."""
    stops = m[order + O_TYPE] in (TYPE_STOP, TYPE_STOP_LIMIT)
    buys = m[order + O_SIDE] == SIDE_BUY
    if stops == buys:
        return BOOK_RISING
    return BOOK_FALLING


@lean_kernel
def is_stop(order_type: int) -> bool:
    """Say whether orders of this type wait for a price at first."""
    return order_type > TYPE_LIMIT


@lean_kernel
def wait_or_enter(m: Memory, order: int) -> None:
    """Let a new stop wait, unless the last price has reached it already."""
    which = waits_for(m, order)
    last = m[instrument_at(m, m[order + O_INSTRUMENT]) + I_LAST]
    stop = m[order + O_STOP]
    reached = last != 0 and ((which == BOOK_RISING and last >= stop) or (which == BOOK_FALLING and last <= stop))
    if not reached:
        rest_order(m, order, which)
        return
    tell_order(m, EVENT_ORDER_TRIGGERED, REASON_NONE, order, standing(m, order))
    enter(m, order)


@lean_kernel
def collect_triggered(m: Memory, number: int) -> None:
    """Take out all stops of an instrument that its last price has reached."""
    instrument = instrument_at(m, number)
    last = m[instrument + I_LAST]
    if last == 0:
        return
    rising = book_at(instrument, BOOK_RISING)
    while m[rising + K_LOWEST] != 0 and m[link(m, rising + K_LOWEST) + L_PRICE] <= last:
        order = link(m, link(m, rising + K_LOWEST) + L_HEAD)
        leave(m, order)
        push_triggered(m, order)
    falling = book_at(instrument, BOOK_FALLING)
    while m[falling + K_HIGHEST] != 0 and m[link(m, falling + K_HIGHEST) + L_PRICE] >= last:
        order = link(m, link(m, falling + K_HIGHEST) + L_HEAD)
        leave(m, order)
        push_triggered(m, order)


@lean_kernel
def trigger_next(m: Memory) -> None:
    """Let the next triggered stop enter; a new round begins when all of the last one have, and none ends the command.

    The orders of a round enter in the order of their ids, whatever the price does meanwhile.
    """
    if m[H_TRIGGERS] == 0:
        collect_triggered(m, m[H_TRIGGER_INSTRUMENT])
        if m[H_TRIGGERS] == 0:
            m[H_STAGE] = STAGE_IDLE
            return
    order = pop_triggered(m)
    tell_order(m, EVENT_ORDER_TRIGGERED, REASON_NONE, order, standing(m, order))
    enter(m, order)
