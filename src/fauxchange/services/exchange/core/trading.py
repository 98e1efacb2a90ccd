"""The commands of traders: place, cancel, amend, replace."""

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import balance_at, instrument_at, link
from fauxchange.services.exchange.core.arithmetic import TOO_LARGE
from fauxchange.services.exchange.core.book import leave, put_back
from fauxchange.services.exchange.core.events import (
    new_event,
    refuse,
    standing,
    tell_level,
    tell_order,
    tell_price,
)
from fauxchange.services.exchange.core.layout import (
    B_FREE,
    BOOK_RISING,
    C_ACCOUNT,
    C_AMOUNT,
    C_DISPLAY_LOTS,
    C_EXPIRES_NS,
    C_INSTRUMENT,
    C_KIND,
    C_ORDER_ID,
    C_ORDER_LOTS,
    C_ORDER_TYPE,
    C_POST_ONLY,
    C_PRICE_TICKS,
    C_SELF_TRADE_PREVENTION,
    C_SIDE,
    C_STOP_TICKS,
    C_TIME_IN_FORCE,
    E_KIND,
    E_LEAVES_LOTS,
    E_LOTS,
    E_ORDER_ID,
    E_ORDER_STATUS,
    E_PRICE_TICKS,
    E_REASON,
    E_REPLACED_ORDER_ID,
    E_SIDE,
    H_ACCOUNTS,
    H_LAST_ORDER_ID,
    I_UNFUNDED,
    L_HIDDEN,
    L_SHOWN,
    O_ACCOUNT,
    O_AMOUNT,
    O_BOOK,
    O_DISPLAY,
    O_EXPIRES,
    O_HEAP_AT,
    O_ID,
    O_INSTRUMENT,
    O_LEAVES,
    O_LEVEL,
    O_LOTS,
    O_OPEN,
    O_POST_ONLY,
    O_PRICE,
    O_QUOTE_LEFT,
    O_RATE,
    O_RESERVED,
    O_SHOWN,
    O_SIDE,
    O_STOP,
    O_STP,
    O_TIME_IN_FORCE,
    O_TYPE,
    Memory,
)
from fauxchange.services.exchange.core.ledger import held_asset, hold, reservation, taker_rate
from fauxchange.services.exchange.core.liquidity import reachable, sellable_for
from fauxchange.services.exchange.core.matching import enter
from fauxchange.services.exchange.core.orders import finish, owned_order
from fauxchange.services.exchange.core.pool import new_order
from fauxchange.services.exchange.core.risk import (
    check_limits,
    check_new_order,
    check_standing,
    price_fits,
    would_trade,
)
from fauxchange.services.exchange.core.stops import is_stop, wait_or_enter
from fauxchange.services.exchange.core.vocabulary import (
    COMMAND_AMEND,
    COMMAND_REPLACE_IN_PLACE,
    EVENT_ORDER_ACCEPTED,
    EVENT_ORDER_AMENDED,
    EVENT_ORDER_CANCELED,
    EVENT_ORDER_REJECTED,
    EVENT_ORDER_REPLACED,
    MAX_LOTS,
    ORDER_CANCELED,
    ORDER_NEW,
    ORDER_REJECTED,
    REASON_AMEND_BELOW_FILLED,
    REASON_BAD_COMBINATION,
    REASON_BAD_PRICE,
    REASON_BAD_QUANTITY,
    REASON_CANCELED_BY_USER,
    REASON_INSUFFICIENT_FUNDS,
    REASON_NONE,
    REASON_OVERFLOW,
    REASON_POST_ONLY_WOULD_TRADE,
    REASON_REPLACED,
    REASON_UNKNOWN_ACCOUNT,
    SIDE_BUY,
)


@lean_kernel
def funds_of(m: Memory, old: int, asset: int) -> int:
    """Return what the account has free of an asset, with what `old` (0: none) would give back."""
    free = m[balance_at(m, m[C_ACCOUNT], asset) + B_FREE]
    if old != 0:
        instrument = instrument_at(m, m[old + O_INSTRUMENT])
        if m[held_asset(instrument, m[old + O_SIDE])] == asset:
            free += m[old + O_RESERVED]
    return free


@lean_kernel
def quote_needed(m: Memory) -> int:
    """Return the most that a market order may spend of the quote asset, or TOO_LARGE; 0 if it has a price or sells."""
    if m[C_AMOUNT] != 0:
        return m[C_AMOUNT]
    if m[C_PRICE_TICKS] != 0 or m[C_SIDE] != SIDE_BUY:
        return 0
    number = m[C_INSTRUMENT]
    _, cost = reachable(
        m,
        instrument_at(m, number),
        number,
        SIDE_BUY,
        m[C_ACCOUNT],
        m[C_SELF_TRADE_PREVENTION],
        0,
        m[C_ORDER_LOTS],
    )
    return cost


@lean_kernel
def lots_needed(m: Memory) -> int:
    """Return the lots that a new order must be able to deliver if it sells."""
    if m[C_AMOUNT] == 0 or m[C_SIDE] == SIDE_BUY:
        return m[C_ORDER_LOTS]
    number = m[C_INSTRUMENT]
    return sellable_for(
        m,
        instrument_at(m, number),
        number,
        m[C_ACCOUNT],
        m[C_SELF_TRADE_PREVENTION],
        m[C_AMOUNT],
    )


@lean_kernel
def judge(m: Memory, old: int) -> tuple[int, int, int, int]:
    """Check a new order, with `old` (0: none) out of the book and about to make way.

    Return the reason of its refusal or REASON_NONE, what it must hold, what it may spend, and its fee rate.
    """
    reason = check_new_order(m, old)
    if reason != REASON_NONE:
        return reason, 0, 0, 0
    number = m[C_INSTRUMENT]
    instrument = instrument_at(m, number)
    side = m[C_SIDE]
    if m[C_POST_ONLY] != 0 and would_trade(m, instrument, side, m[C_PRICE_TICKS]):
        return REASON_POST_ONLY_WOULD_TRADE, 0, 0, 0
    if m[instrument + I_UNFUNDED] != 0:
        return REASON_NONE, 0, m[C_AMOUNT], 0
    rate = taker_rate(m, m[C_ACCOUNT], number)
    quote_left = quote_needed(m)
    needed = reservation(m, instrument, side, m[C_PRICE_TICKS], lots_needed(m), quote_left, rate)
    if needed == TOO_LARGE:
        return REASON_OVERFLOW, 0, 0, 0
    if needed > funds_of(m, old, m[held_asset(instrument, side)]):
        return REASON_INSUFFICIENT_FUNDS, 0, 0, 0
    return REASON_NONE, needed, quote_left, rate


@lean_kernel
def admit(m: Memory, quote_left: int, rate: int) -> int:
    """Make the order that was found good, under the id that was given out last; it holds nothing yet."""
    order = new_order(m)
    m[order + O_ID] = m[H_LAST_ORDER_ID]
    m[order + O_ACCOUNT] = m[C_ACCOUNT]
    m[order + O_INSTRUMENT] = m[C_INSTRUMENT]
    m[order + O_SIDE] = m[C_SIDE]
    m[order + O_TYPE] = m[C_ORDER_TYPE]
    m[order + O_TIME_IN_FORCE] = m[C_TIME_IN_FORCE]
    m[order + O_POST_ONLY] = m[C_POST_ONLY]
    m[order + O_STP] = m[C_SELF_TRADE_PREVENTION]
    m[order + O_PRICE] = m[C_PRICE_TICKS]
    m[order + O_STOP] = m[C_STOP_TICKS]
    m[order + O_LOTS] = m[C_ORDER_LOTS]
    m[order + O_LEAVES] = m[C_ORDER_LOTS]
    m[order + O_DISPLAY] = m[C_DISPLAY_LOTS]
    m[order + O_EXPIRES] = m[C_EXPIRES_NS]
    m[order + O_AMOUNT] = m[C_AMOUNT]
    m[order + O_QUOTE_LEFT] = quote_left
    m[order + O_RATE] = rate
    m[order + O_RESERVED] = 0
    m[order + O_LEVEL] = 0
    m[order + O_HEAP_AT] = 0
    m[order + O_OPEN] = 0
    return order


@lean_kernel
def reject_order(m: Memory, reason: int) -> None:
    """Write that a new order was refused, as it was asked for; an account that exists spends an order id on it."""
    event = new_event(m, m[C_INSTRUMENT], m[C_ACCOUNT])
    m[event + E_KIND] = EVENT_ORDER_REJECTED
    m[event + E_REASON] = reason
    if reason != REASON_UNKNOWN_ACCOUNT:
        m[event + E_ORDER_ID] = m[H_LAST_ORDER_ID]
    m[event + E_SIDE] = m[C_SIDE]
    m[event + E_PRICE_TICKS] = m[C_PRICE_TICKS]
    m[event + E_LOTS] = m[C_ORDER_LOTS]
    m[event + E_LEAVES_LOTS] = m[C_ORDER_LOTS]
    m[event + E_ORDER_STATUS] = ORDER_REJECTED


@lean_kernel
def place(m: Memory, old: int) -> None:
    """Enter a new order if it passes all checks; `old` (0: none), out of the book, then makes way for it."""
    if 0 <= m[C_ACCOUNT] < m[H_ACCOUNTS]:
        m[H_LAST_ORDER_ID] += 1
    reason, needed, quote_left, rate = judge(m, old)
    if reason != REASON_NONE:
        if old != 0:
            put_back(m, old)
        reject_order(m, reason)
        return
    replaced = 0
    if old != 0:
        replaced = m[old + O_ID]
        put_back(m, old)
        finish(m, old, EVENT_ORDER_CANCELED, REASON_REPLACED, ORDER_CANCELED)
    order = admit(m, quote_left, rate)
    event = tell_order(m, EVENT_ORDER_ACCEPTED, REASON_NONE, order, ORDER_NEW)
    m[event + E_REPLACED_ORDER_ID] = replaced
    if needed != 0:
        hold(m, order, needed)
    if is_stop(m[order + O_TYPE]):
        wait_or_enter(m, order)
    else:
        enter(m, order)


@lean_kernel
def cancel_replace(m: Memory) -> None:
    """Enter a new order in the place of an old one: both or neither."""
    reason, old = owned_order(m, m[C_ACCOUNT], m[C_ORDER_ID])
    if reason != REASON_NONE:
        refuse(m, reason, m[C_ORDER_ID])
        return
    # The checks look at the book without the old order; it goes back to its place before anything is said.
    leave(m, old)
    place(m, old)


@lean_kernel
def cancel(m: Memory) -> None:
    """Cancel an order."""
    reason, order = owned_order(m, m[C_ACCOUNT], m[C_ORDER_ID])
    if reason != REASON_NONE:
        refuse(m, reason, m[C_ORDER_ID])
        return
    finish(m, order, EVENT_ORDER_CANCELED, REASON_CANCELED_BY_USER, ORDER_CANCELED)


@lean_kernel
def check_change(m: Memory, order: int, lots: int) -> int:  # noqa: PLR0911 - one refusal for each check reads best
    """Check the new price and the new total of lots of an order, without the money."""
    price = m[C_PRICE_TICKS]
    instrument = instrument_at(m, m[order + O_INSTRUMENT])
    side = m[order + O_SIDE]
    most = MAX_LOTS
    if m[C_KIND] == COMMAND_REPLACE_IN_PLACE:
        most -= m[order + O_LOTS] - m[order + O_LEAVES]
    if not 0 < lots <= most:
        return REASON_BAD_QUANTITY
    if not price_fits(m[order + O_TYPE], side, price):
        return REASON_BAD_PRICE
    waits = m[order + O_BOOK] >= BOOK_RISING
    if waits and m[C_KIND] == COMMAND_REPLACE_IN_PLACE:
        return REASON_BAD_COMBINATION
    reason = check_standing(m, m[order + O_ACCOUNT], instrument)
    if reason == REASON_NONE and m[instrument + I_UNFUNDED] == 0:
        reason = check_limits(m, instrument, price, lots, 0)
    if reason != REASON_NONE:
        return reason
    if m[order + O_POST_ONLY] != 0 and would_trade(m, instrument, side, price):
        return REASON_POST_ONLY_WOULD_TRADE
    if m[C_KIND] == COMMAND_AMEND and lots <= m[order + O_LOTS] - m[order + O_LEAVES]:
        return REASON_AMEND_BELOW_FILLED
    return REASON_NONE


@lean_kernel
def change(m: Memory) -> None:
    """Amend an order, or replace it in place: give it a new price and a new total of lots, or leave all as it was."""
    reason, order = owned_order(m, m[C_ACCOUNT], m[C_ORDER_ID])
    if reason != REASON_NONE:
        refuse(m, reason, m[C_ORDER_ID])
        return
    price = m[C_PRICE_TICKS]
    lots = m[C_ORDER_LOTS]
    replaces = m[C_KIND] == COMMAND_REPLACE_IN_PLACE
    keeps = not replaces and price == m[order + O_PRICE] and lots <= m[order + O_LOTS]
    reason = check_change(m, order, lots)
    leaves = lots - (m[order + O_LOTS] - m[order + O_LEAVES])
    if replaces:
        # What is asked for is what shall be open; what has traded stays, on top of it.
        leaves = lots
        lots += m[order + O_LOTS] - m[order + O_LEAVES]
    needed, rate = 0, m[order + O_RATE]
    instrument = instrument_at(m, m[order + O_INSTRUMENT])
    if reason == REASON_NONE and m[instrument + I_UNFUNDED] == 0:
        if not keeps:
            rate = taker_rate(m, m[order + O_ACCOUNT], m[order + O_INSTRUMENT])
        side = m[order + O_SIDE]
        needed = reservation(m, instrument, side, price, leaves, 0, rate)
        if needed == TOO_LARGE:
            reason = REASON_OVERFLOW
        elif needed > funds_of(m, order, m[held_asset(instrument, side)]):
            reason = REASON_INSUFFICIENT_FUNDS
    if reason != REASON_NONE:
        refuse(m, reason, m[C_ORDER_ID])
        return
    m[order + O_RATE] = rate
    if keeps or m[order + O_BOOK] >= BOOK_RISING:
        change_there(m, order, price, lots, leaves, needed)
    else:
        change_anew(m, order, price, lots, leaves, needed, replaces)


@lean_kernel
def change_there(m: Memory, order: int, price: int, lots: int, leaves: int, needed: int) -> None:
    """Change an order that keeps its place in the queue."""
    level = link(m, order + O_LEVEL)
    waits = m[order + O_BOOK] >= BOOK_RISING
    before = m[order + O_SHOWN]
    shown = leaves if waits else min(before, leaves)
    m[level + L_SHOWN] += shown - before
    m[level + L_HIDDEN] += (leaves - shown) - (m[order + O_LEAVES] - before)
    m[order + O_SHOWN] = shown
    m[order + O_PRICE] = price
    m[order + O_LOTS] = lots
    m[order + O_LEAVES] = leaves
    tell_order(m, EVENT_ORDER_AMENDED, REASON_NONE, order, standing(m, order))
    if needed != m[order + O_RESERVED]:
        hold(m, order, needed)
    if shown != before and not waits:
        tell_level(m, m[order + O_INSTRUMENT], m[order + O_SIDE], level)


@lean_kernel
def change_anew(m: Memory, order: int, price: int, lots: int, leaves: int, needed: int, replaces: bool) -> None:
    """Change an order that loses its place: it comes out, and enters again as if it were new."""
    price_before = m[order + O_PRICE]
    shown = leave(m, order)
    m[order + O_PRICE] = price
    m[order + O_LOTS] = lots
    m[order + O_LEAVES] = leaves
    kind = EVENT_ORDER_REPLACED if replaces else EVENT_ORDER_AMENDED
    tell_order(m, kind, REASON_NONE, order, standing(m, order))
    tell_price(m, m[order + O_INSTRUMENT], m[order + O_SIDE], price_before, shown)
    if needed != m[order + O_RESERVED]:
        hold(m, order, needed)
    enter(m, order)
