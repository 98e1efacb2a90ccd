"""The commands of traders: place, cancel, amend, replace."""

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.arithmetic import TOO_LARGE
from fauxchange.services.exchange.core.book import instrument_at, leave, put_back
from fauxchange.services.exchange.core.events import (
    new_event,
    standing,
    tell_level,
    tell_order,
    tell_price,
    tell_rejected,
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
    E_LEAVES_LOTS,
    E_LOTS,
    E_ORDER_ID,
    E_ORDER_STATUS,
    E_PRICE_TICKS,
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
from fauxchange.services.exchange.core.ledger import balance_at, held_asset, hold, reservation, taker_rate
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
    EVENT_COMMAND_REJECTED,
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
def refuse(m: Memory, e: Memory, c: Memory, at: int, reason: int, order_id: int) -> None:
    """Write that a command was refused."""
    tell_rejected(m, e, EVENT_COMMAND_REJECTED, reason, -1, c[at + C_ACCOUNT], order_id)


@lean_kernel
def funds_of(m: Memory, c: Memory, at: int, old: int, asset: int) -> int:
    """Return what the account has free of an asset, with what `old` (0: none) would give back."""
    free = m[balance_at(m, c[at + C_ACCOUNT], asset) + B_FREE]
    if old != 0:
        instrument = instrument_at(m, m[old + O_INSTRUMENT])
        if m[held_asset(instrument, m[old + O_SIDE])] == asset:
            free += m[old + O_RESERVED]
    return free


@lean_kernel
def quote_needed(m: Memory, c: Memory, at: int) -> int:
    """Return the most that a market order may spend of the quote asset, or TOO_LARGE; 0 if it has a price or sells."""
    if c[at + C_AMOUNT] != 0:
        return c[at + C_AMOUNT]
    if c[at + C_PRICE_TICKS] != 0 or c[at + C_SIDE] != SIDE_BUY:
        return 0
    number = c[at + C_INSTRUMENT]
    _, cost = reachable(
        m,
        instrument_at(m, number),
        number,
        SIDE_BUY,
        c[at + C_ACCOUNT],
        c[at + C_SELF_TRADE_PREVENTION],
        0,
        c[at + C_ORDER_LOTS],
    )
    return cost


@lean_kernel
def lots_needed(m: Memory, c: Memory, at: int) -> int:
    """Return the lots that a new order must be able to deliver if it sells."""
    if c[at + C_AMOUNT] == 0 or c[at + C_SIDE] == SIDE_BUY:
        return c[at + C_ORDER_LOTS]
    number = c[at + C_INSTRUMENT]
    return sellable_for(
        m,
        instrument_at(m, number),
        number,
        c[at + C_ACCOUNT],
        c[at + C_SELF_TRADE_PREVENTION],
        c[at + C_AMOUNT],
    )


@lean_kernel
def judge(m: Memory, c: Memory, at: int, old: int) -> tuple[int, int, int, int]:
    """Check a new order, with `old` (0: none) out of the book and about to make way.

    Return the reason of its refusal or REASON_NONE, what it must hold, what it may spend, and its fee rate.
    """
    reason = check_new_order(m, c, at, old)
    if reason != REASON_NONE:
        return reason, 0, 0, 0
    number = c[at + C_INSTRUMENT]
    instrument = instrument_at(m, number)
    side = c[at + C_SIDE]
    if c[at + C_POST_ONLY] != 0 and would_trade(m, instrument, side, c[at + C_PRICE_TICKS]):
        return REASON_POST_ONLY_WOULD_TRADE, 0, 0, 0
    if m[instrument + I_UNFUNDED] != 0:
        return REASON_NONE, 0, c[at + C_AMOUNT], 0
    rate = taker_rate(m, c[at + C_ACCOUNT], number)
    quote_left = quote_needed(m, c, at)
    needed = reservation(m, instrument, side, c[at + C_PRICE_TICKS], lots_needed(m, c, at), quote_left, rate)
    if needed == TOO_LARGE:
        return REASON_OVERFLOW, 0, 0, 0
    if needed > funds_of(m, c, at, old, m[held_asset(instrument, side)]):
        return REASON_INSUFFICIENT_FUNDS, 0, 0, 0
    return REASON_NONE, needed, quote_left, rate


@lean_kernel
def admit(m: Memory, c: Memory, at: int, quote_left: int, rate: int) -> int:
    """Make the order that was found good, under the id that was given out last; it holds nothing yet."""
    order = new_order(m)
    m[order + O_ID] = m[H_LAST_ORDER_ID]
    m[order + O_ACCOUNT] = c[at + C_ACCOUNT]
    m[order + O_INSTRUMENT] = c[at + C_INSTRUMENT]
    m[order + O_SIDE] = c[at + C_SIDE]
    m[order + O_TYPE] = c[at + C_ORDER_TYPE]
    m[order + O_TIME_IN_FORCE] = c[at + C_TIME_IN_FORCE]
    m[order + O_POST_ONLY] = c[at + C_POST_ONLY]
    m[order + O_STP] = c[at + C_SELF_TRADE_PREVENTION]
    m[order + O_PRICE] = c[at + C_PRICE_TICKS]
    m[order + O_STOP] = c[at + C_STOP_TICKS]
    m[order + O_LOTS] = c[at + C_ORDER_LOTS]
    m[order + O_LEAVES] = c[at + C_ORDER_LOTS]
    m[order + O_DISPLAY] = c[at + C_DISPLAY_LOTS]
    m[order + O_EXPIRES] = c[at + C_EXPIRES_NS]
    m[order + O_AMOUNT] = c[at + C_AMOUNT]
    m[order + O_QUOTE_LEFT] = quote_left
    m[order + O_RATE] = rate
    m[order + O_RESERVED] = 0
    m[order + O_LEVEL] = 0
    m[order + O_HEAP_AT] = 0
    m[order + O_OPEN] = 0
    return order


@lean_kernel
def reject_order(m: Memory, e: Memory, c: Memory, at: int, reason: int) -> None:
    """Write that a new order was refused, as it was asked for; an account that exists spends an order id on it."""
    event = new_event(m, e, EVENT_ORDER_REJECTED, reason, c[at + C_INSTRUMENT], c[at + C_ACCOUNT])
    if reason != REASON_UNKNOWN_ACCOUNT:
        e[event + E_ORDER_ID] = m[H_LAST_ORDER_ID]
    e[event + E_SIDE] = c[at + C_SIDE]
    e[event + E_PRICE_TICKS] = c[at + C_PRICE_TICKS]
    e[event + E_LOTS] = c[at + C_ORDER_LOTS]
    e[event + E_LEAVES_LOTS] = c[at + C_ORDER_LOTS]
    e[event + E_ORDER_STATUS] = ORDER_REJECTED


@lean_kernel
def place(m: Memory, e: Memory, c: Memory, at: int, old: int) -> None:
    """Enter a new order if it passes all checks; `old` (0: none), out of the book, then makes way for it."""
    if 0 <= c[at + C_ACCOUNT] < m[H_ACCOUNTS]:
        m[H_LAST_ORDER_ID] += 1
    reason, needed, quote_left, rate = judge(m, c, at, old)
    if reason != REASON_NONE:
        if old != 0:
            put_back(m, old)
        reject_order(m, e, c, at, reason)
        return
    replaced = 0
    if old != 0:
        replaced = m[old + O_ID]
        put_back(m, old)
        finish(m, e, old, EVENT_ORDER_CANCELED, REASON_REPLACED, ORDER_CANCELED)
    order = admit(m, c, at, quote_left, rate)
    event = tell_order(m, e, EVENT_ORDER_ACCEPTED, REASON_NONE, order, ORDER_NEW)
    e[event + E_REPLACED_ORDER_ID] = replaced
    if needed != 0:
        hold(m, e, order, needed)
    if is_stop(m[order + O_TYPE]):
        wait_or_enter(m, e, order)
    else:
        enter(m, e, order)


@lean_kernel
def cancel_replace(m: Memory, e: Memory, c: Memory, at: int) -> None:
    """Enter a new order in the place of an old one: both or neither."""
    reason, old = owned_order(m, c[at + C_ACCOUNT], c[at + C_ORDER_ID])
    if reason != REASON_NONE:
        refuse(m, e, c, at, reason, c[at + C_ORDER_ID])
        return
    # The checks look at the book without the old order; it goes back to its place before anything is said.
    leave(m, old)
    place(m, e, c, at, old)


@lean_kernel
def cancel(m: Memory, e: Memory, c: Memory, at: int) -> None:
    """Cancel an order."""
    reason, order = owned_order(m, c[at + C_ACCOUNT], c[at + C_ORDER_ID])
    if reason != REASON_NONE:
        refuse(m, e, c, at, reason, c[at + C_ORDER_ID])
        return
    finish(m, e, order, EVENT_ORDER_CANCELED, REASON_CANCELED_BY_USER, ORDER_CANCELED)


@lean_kernel
def check_change(m: Memory, c: Memory, at: int, order: int, lots: int) -> int:  # noqa: PLR0911 - one refusal for each check reads best
    """Check the new price and the new total of lots of an order, without the money."""
    price = c[at + C_PRICE_TICKS]
    instrument = instrument_at(m, m[order + O_INSTRUMENT])
    side = m[order + O_SIDE]
    most = MAX_LOTS
    if c[at + C_KIND] == COMMAND_REPLACE_IN_PLACE:
        most -= m[order + O_LOTS] - m[order + O_LEAVES]
    if not 0 < lots <= most:
        return REASON_BAD_QUANTITY
    if not price_fits(m[order + O_TYPE], side, price):
        return REASON_BAD_PRICE
    waits = m[order + O_BOOK] >= BOOK_RISING
    if waits and c[at + C_KIND] == COMMAND_REPLACE_IN_PLACE:
        return REASON_BAD_COMBINATION
    reason = check_standing(m, m[order + O_ACCOUNT], instrument)
    if reason == REASON_NONE and m[instrument + I_UNFUNDED] == 0:
        reason = check_limits(m, instrument, price, lots, 0)
    if reason != REASON_NONE:
        return reason
    if m[order + O_POST_ONLY] != 0 and would_trade(m, instrument, side, price):
        return REASON_POST_ONLY_WOULD_TRADE
    if c[at + C_KIND] == COMMAND_AMEND and lots <= m[order + O_LOTS] - m[order + O_LEAVES]:
        return REASON_AMEND_BELOW_FILLED
    return REASON_NONE


@lean_kernel
def change(m: Memory, e: Memory, c: Memory, at: int) -> None:
    """Amend an order, or replace it in place: give it a new price and a new total of lots, or leave all as it was."""
    reason, order = owned_order(m, c[at + C_ACCOUNT], c[at + C_ORDER_ID])
    if reason != REASON_NONE:
        refuse(m, e, c, at, reason, c[at + C_ORDER_ID])
        return
    price = c[at + C_PRICE_TICKS]
    lots = c[at + C_ORDER_LOTS]
    replaces = c[at + C_KIND] == COMMAND_REPLACE_IN_PLACE
    keeps = not replaces and price == m[order + O_PRICE] and lots <= m[order + O_LOTS]
    reason = check_change(m, c, at, order, lots)
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
        elif needed > funds_of(m, c, at, order, m[held_asset(instrument, side)]):
            reason = REASON_INSUFFICIENT_FUNDS
    if reason != REASON_NONE:
        refuse(m, e, c, at, reason, c[at + C_ORDER_ID])
        return
    m[order + O_RATE] = rate
    if keeps or m[order + O_BOOK] >= BOOK_RISING:
        change_there(m, e, order, price, lots, leaves, needed)
    else:
        change_anew(m, e, order, price, lots, leaves, needed, replaces)


@lean_kernel
def change_there(m: Memory, e: Memory, order: int, price: int, lots: int, leaves: int, needed: int) -> None:
    """Change an order that keeps its place in the queue."""
    level = m[order + O_LEVEL]
    waits = m[order + O_BOOK] >= BOOK_RISING
    before = m[order + O_SHOWN]
    shown = leaves if waits else min(before, leaves)
    m[level + L_SHOWN] += shown - before
    m[level + L_HIDDEN] += (leaves - shown) - (m[order + O_LEAVES] - before)
    m[order + O_SHOWN] = shown
    m[order + O_PRICE] = price
    m[order + O_LOTS] = lots
    m[order + O_LEAVES] = leaves
    tell_order(m, e, EVENT_ORDER_AMENDED, REASON_NONE, order, standing(m, order))
    if needed != m[order + O_RESERVED]:
        hold(m, e, order, needed)
    if shown != before and not waits:
        tell_level(m, e, m[order + O_INSTRUMENT], m[order + O_SIDE], level)


@lean_kernel
def change_anew(
    m: Memory, e: Memory, order: int, price: int, lots: int, leaves: int, needed: int, replaces: bool
) -> None:
    """Change an order that loses its place: it comes out, and enters again as if it were new."""
    price_before = m[order + O_PRICE]
    shown = leave(m, order)
    m[order + O_PRICE] = price
    m[order + O_LOTS] = lots
    m[order + O_LEAVES] = leaves
    kind = EVENT_ORDER_REPLACED if replaces else EVENT_ORDER_AMENDED
    tell_order(m, e, kind, REASON_NONE, order, standing(m, order))
    tell_price(m, e, m[order + O_INSTRUMENT], m[order + O_SIDE], price_before, shown)
    if needed != m[order + O_RESERVED]:
        hold(m, e, order, needed)
    enter(m, e, order)
