"""The checks that an order must pass, in the order of their reasons' numbers; the first that fails wins."""

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import account_at, desk_at, instrument_at, opposite
from fauxchange.services.exchange.core.arithmetic import TOO_LARGE, product
from fauxchange.services.exchange.core.book import best_of, crosses
from fauxchange.services.exchange.core.layout import (
    A_STATUS,
    C_ACCOUNT,
    C_AMOUNT,
    C_DISPLAY_LOTS,
    C_EXPIRES_NS,
    C_INSTRUMENT,
    C_KIND,
    C_ORDER_LOTS,
    C_ORDER_TYPE,
    C_POST_ONLY,
    C_PRICE_TICKS,
    C_REFUSED,
    C_SELF_TRADE_PREVENTION,
    C_SIDE,
    C_STOP_TICKS,
    C_TIME_IN_FORCE,
    C_TS_NS,
    D_COUNT,
    H_ACCOUNTS,
    H_INSTRUMENTS,
    I_MAX_LOTS,
    I_MAX_NOTIONAL,
    I_MAX_OPEN_ORDERS,
    I_MIN_LOTS,
    I_MIN_NOTIONAL,
    I_PRICE_BAND,
    I_REFERENCE,
    I_STATUS,
    I_TICK_VALUE,
    I_UNFUNDED,
    L_PRICE,
    O_INSTRUMENT,
    Memory,
)
from fauxchange.services.exchange.core.vocabulary import (
    ACCOUNT_CLOSED,
    ACCOUNT_SUSPENDED,
    BAND_UNIT,
    COMMAND_PLACE,
    INSTRUMENT_CANCEL_ONLY,
    INSTRUMENT_HALTED,
    MAX_LOTS,
    MAX_PRICE_TICKS,
    REASON_ACCOUNT_CLOSED,
    REASON_ACCOUNT_SUSPENDED,
    REASON_BAD_AMOUNT,
    REASON_BAD_COMBINATION,
    REASON_BAD_DISPLAY,
    REASON_BAD_EXPIRY,
    REASON_BAD_PRICE,
    REASON_BAD_QUANTITY,
    REASON_BAD_SIDE,
    REASON_BAD_STOP_PRICE,
    REASON_BAD_TIME_IN_FORCE,
    REASON_BAD_TYPE,
    REASON_INSTRUMENT_CANCEL_ONLY,
    REASON_INSTRUMENT_HALTED,
    REASON_LOTS_ABOVE_MAX,
    REASON_LOTS_BELOW_MIN,
    REASON_NONE,
    REASON_NOTIONAL_ABOVE_MAX,
    REASON_NOTIONAL_BELOW_MIN,
    REASON_PRE_TRADE_REFUSED,
    REASON_PRICE_OUTSIDE_BAND,
    REASON_TOO_MANY_OPEN_ORDERS,
    REASON_UNKNOWN_ACCOUNT,
    REASON_UNKNOWN_INSTRUMENT,
    SIDE_BUY,
    STP_EXPIRE_BOTH,
    TIME_FOK,
    TIME_GTC,
    TIME_GTD,
    TIME_IOC,
    TYPE_LIMIT,
    TYPE_MARKET,
    TYPE_STOP,
    TYPE_TAKE_PROFIT,
    TYPE_TAKE_PROFIT_LIMIT,
)


@lean_kernel
def is_immediate(time_in_force: int) -> bool:
    """Say whether an order with this time in force never rests."""
    return time_in_force in (TIME_IOC, TIME_FOK)


@lean_kernel
def price_fits(order_type: int, side: int, price: int) -> bool:
    """Say whether an order may carry this price; 0 is none.

    A stop that becomes a market order needs a worst price if it buys, to know what to reserve, and may have one if not.
    """
    if order_type == TYPE_MARKET:
        return price == 0
    if price == 0 and side != SIDE_BUY:
        return order_type in (TYPE_STOP, TYPE_TAKE_PROFIT)
    return 0 < price <= MAX_PRICE_TICKS


@lean_kernel
def check_names(m: Memory) -> int:
    """Check that account and instrument exist."""
    if not 0 <= m[C_ACCOUNT] < m[H_ACCOUNTS]:
        return REASON_UNKNOWN_ACCOUNT
    if not 0 <= m[C_INSTRUMENT] < m[H_INSTRUMENTS]:
        return REASON_UNKNOWN_INSTRUMENT
    return REASON_NONE


@lean_kernel
def check_numbers(m: Memory) -> int:  # noqa: PLR0911, PLR0912 - one refusal for each check reads best
    """Check each number of a new order by itself, from its side to its expiry."""
    side = m[C_SIDE]
    order_type = m[C_ORDER_TYPE]
    time_in_force = m[C_TIME_IN_FORCE]
    lots = m[C_ORDER_LOTS]
    if not 0 <= side <= 1:
        return REASON_BAD_SIDE
    if not 0 <= order_type <= TYPE_TAKE_PROFIT_LIMIT:
        return REASON_BAD_TYPE
    if not TIME_GTC <= time_in_force <= TIME_GTD:
        return REASON_BAD_TIME_IN_FORCE
    if order_type == TYPE_MARKET and not is_immediate(time_in_force):
        return REASON_BAD_TIME_IN_FORCE
    by_amount = order_type == TYPE_MARKET and m[C_AMOUNT] != 0
    if not 0 <= lots <= MAX_LOTS or (lots == 0 and not by_amount):
        return REASON_BAD_QUANTITY
    if not price_fits(order_type, side, m[C_PRICE_TICKS]):
        return REASON_BAD_PRICE
    if order_type in (TYPE_MARKET, TYPE_LIMIT):
        if m[C_STOP_TICKS] != 0:
            return REASON_BAD_STOP_PRICE
    elif not 0 < m[C_STOP_TICKS] <= MAX_PRICE_TICKS:
        return REASON_BAD_STOP_PRICE
    if not 0 <= m[C_DISPLAY_LOTS] <= lots:
        return REASON_BAD_DISPLAY
    if time_in_force == TIME_GTD:
        if m[C_EXPIRES_NS] <= m[C_TS_NS]:
            return REASON_BAD_EXPIRY
    elif m[C_EXPIRES_NS] != 0:
        return REASON_BAD_EXPIRY
    return REASON_NONE


@lean_kernel
def check_combination(m: Memory) -> int:
    """Check that the instructions of a new order go together."""
    order_type = m[C_ORDER_TYPE]
    time_in_force = m[C_TIME_IN_FORCE]
    if not 0 <= m[C_POST_ONLY] <= 1 or not 0 <= m[C_SELF_TRADE_PREVENTION] <= STP_EXPIRE_BOTH:
        return REASON_BAD_COMBINATION
    if (m[C_POST_ONLY] != 0 or m[C_DISPLAY_LOTS] != 0) and (order_type != TYPE_LIMIT or is_immediate(time_in_force)):
        return REASON_BAD_COMBINATION
    amount = m[C_AMOUNT]
    if order_type == TYPE_MARKET and amount != 0:
        if m[C_ORDER_LOTS] != 0 or time_in_force == TIME_FOK:
            return REASON_BAD_COMBINATION
        if amount < 0:
            return REASON_BAD_AMOUNT
    elif amount != 0:
        return REASON_BAD_AMOUNT
    return REASON_NONE


@lean_kernel
def check_standing(m: Memory, account: int, instrument: int) -> int:
    """Check that the account may trade, and the instrument (a record) too."""
    status = m[account_at(m, account) + A_STATUS]
    if status == ACCOUNT_SUSPENDED:
        return REASON_ACCOUNT_SUSPENDED
    if status == ACCOUNT_CLOSED:
        return REASON_ACCOUNT_CLOSED
    if m[instrument + I_STATUS] == INSTRUMENT_HALTED:
        return REASON_INSTRUMENT_HALTED
    if m[instrument + I_STATUS] == INSTRUMENT_CANCEL_ONLY:
        return REASON_INSTRUMENT_CANCEL_ONLY
    return REASON_NONE


@lean_kernel
def check_limits(m: Memory, instrument: int, price: int, lots: int, amount: int) -> int:  # noqa: PLR0911 - one refusal for each check reads best
    """Check size, price and notional of an order against the limits; lots or amount is 0, and price may be."""
    if lots != 0 and lots < m[instrument + I_MIN_LOTS]:
        return REASON_LOTS_BELOW_MIN
    if lots != 0 and m[instrument + I_MAX_LOTS] != 0 and lots > m[instrument + I_MAX_LOTS]:
        return REASON_LOTS_ABOVE_MAX
    band = m[instrument + I_PRICE_BAND]
    reference = m[instrument + I_REFERENCE]
    if price != 0 and band != 0 and reference != 0 and abs(price - reference) * BAND_UNIT > band * reference:
        return REASON_PRICE_OUTSIDE_BAND
    if price == 0 and amount == 0:
        return REASON_NONE
    least = m[instrument + I_MIN_NOTIONAL]
    most = m[instrument + I_MAX_NOTIONAL]
    if least == 0 and most == 0:
        return REASON_NONE
    notional = amount
    if amount == 0:
        notional = product(product(lots, price), m[instrument + I_TICK_VALUE])
    if 0 <= notional < least:
        return REASON_NOTIONAL_BELOW_MIN
    if most != 0 and (notional == TOO_LARGE or notional > most):
        return REASON_NOTIONAL_ABOVE_MAX
    return REASON_NONE


@lean_kernel
def check_count(m: Memory, account: int, number: int, old: int) -> int:
    """Check how many open orders the account has; `old`, if not 0, is one that makes way."""
    most = m[instrument_at(m, number) + I_MAX_OPEN_ORDERS]
    if most == 0:
        return REASON_NONE
    count = m[desk_at(m, account, number) + D_COUNT]
    if old != 0 and m[old + O_INSTRUMENT] == number:
        count -= 1
    if count >= most:
        return REASON_TOO_MANY_OPEN_ORDERS
    return REASON_NONE


@lean_kernel
def would_trade(m: Memory, instrument: int, side: int, price: int) -> bool:
    """Say whether an order with this limit meets anything."""
    best = best_of(m, opposite(instrument, side), 1 - side)
    return best != 0 and crosses(side, m[best + L_PRICE], price)


@lean_kernel
def check_new_order(m: Memory, old: int) -> int:
    """Check a new order in all that needs neither the book nor money; `old`, if not 0, is one that makes way."""
    reason = check_names(m)
    if reason == REASON_NONE:
        reason = check_numbers(m)
    if reason == REASON_NONE:
        reason = check_combination(m)
    number = m[C_INSTRUMENT]
    if reason != REASON_NONE:
        return reason
    instrument = instrument_at(m, number)
    reason = check_standing(m, m[C_ACCOUNT], instrument)
    if reason == REASON_NONE and m[instrument + I_UNFUNDED] == 0:
        reason = check_limits(m, instrument, m[C_PRICE_TICKS], m[C_ORDER_LOTS], m[C_AMOUNT])
        if reason == REASON_NONE:
            reason = check_count(m, m[C_ACCOUNT], number, old)
    if reason == REASON_NONE and m[C_KIND] == COMMAND_PLACE and m[C_REFUSED] != 0:
        return REASON_PRE_TRADE_REFUSED
    return reason
