"""Matching: an order takes what it can from the other side of the book, best price first, then oldest first."""

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import instrument_at, link, opposite
from fauxchange.services.exchange.core.book import best_of, crosses, leave, to_the_back
from fauxchange.services.exchange.core.events import tell_price, tell_trade
from fauxchange.services.exchange.core.layout import (
    E_MAKER_FEE,
    E_TAKER_FEE,
    EVENT_MARGIN,
    H_EVENT_ROOM,
    H_REASON,
    H_STAGE,
    H_TAKER,
    H_TRIGGER_INSTRUMENT,
    H_WRITTEN,
    I_LAST,
    I_TICK_VALUE,
    I_UNFUNDED,
    L_HEAD,
    L_PRICE,
    L_SHOWN,
    O_ACCOUNT,
    O_AMOUNT,
    O_INSTRUMENT,
    O_LEAVES,
    O_LEVEL,
    O_LOTS,
    O_PRICE,
    O_QUOTE_LEFT,
    O_RESERVED,
    O_SHOWN,
    O_SIDE,
    O_STP,
    O_TIME_IN_FORCE,
    O_TYPE,
    STAGE_MATCHING,
    STAGE_TRIGGERING,
    Memory,
)
from fauxchange.services.exchange.core.ledger import hold, settle_fill
from fauxchange.services.exchange.core.liquidity import reachable
from fauxchange.services.exchange.core.orders import close_order, finish, rest_order
from fauxchange.services.exchange.core.risk import is_immediate
from fauxchange.services.exchange.core.vocabulary import (
    EVENT_ORDER_CANCELED,
    EVENT_ORDER_EXPIRED,
    ORDER_CANCELED,
    ORDER_EXPIRED,
    REASON_AMOUNT_TOO_SMALL,
    REASON_FOK_UNFILLED,
    REASON_IOC_REST,
    REASON_NO_LIQUIDITY,
    REASON_NONE,
    REASON_SELF_TRADE,
    SIDE_BUY,
    STP_EXPIRE_MAKER,
    STP_EXPIRE_TAKER,
    STP_NONE,
    TIME_FOK,
    TYPE_MARKET,
    TYPE_STOP,
    TYPE_TAKE_PROFIT,
)


@lean_kernel
def enter(m: Memory, order: int) -> None:
    """Let an order that is in no book begin to trade; one that must fill at once and cannot ends here."""
    number = m[order + O_INSTRUMENT]
    m[H_TRIGGER_INSTRUMENT] = number
    if m[order + O_TIME_IN_FORCE] == TIME_FOK:
        lots, _ = reachable(
            m,
            instrument_at(m, number),
            number,
            m[order + O_SIDE],
            m[order + O_ACCOUNT],
            m[order + O_STP],
            m[order + O_PRICE],
            m[order + O_LEAVES],
        )
        if lots < m[order + O_LEAVES]:
            finish(m, order, EVENT_ORDER_EXPIRED, REASON_FOK_UNFILLED, ORDER_EXPIRED)
            m[H_STAGE] = STAGE_TRIGGERING
            return
    m[H_TAKER] = order
    m[H_REASON] = REASON_NONE
    m[H_STAGE] = STAGE_MATCHING


@lean_kernel
def match(m: Memory) -> None:
    """Let the taker trade until it is done, or until the events have no room; then what is left goes on later."""
    taker = link(m, H_TAKER)
    instrument = instrument_at(m, m[taker + O_INSTRUMENT])
    side = m[taker + O_SIDE]
    limit = m[taker + O_PRICE]
    prevention = m[taker + O_STP]
    by_amount = m[taker + O_AMOUNT] != 0
    book = opposite(instrument, side)
    last_written = m[H_EVENT_ROOM] - EVENT_MARGIN
    while m[taker + O_LEAVES] > 0 or by_amount:
        if by_amount and m[taker + O_QUOTE_LEFT] == 0:
            m[H_REASON] = REASON_AMOUNT_TOO_SMALL
            break
        level = best_of(m, book, 1 - side)
        if level == 0 or not crosses(side, m[level + L_PRICE], limit):
            m[H_REASON] = REASON_IOC_REST
            break
        if m[H_WRITTEN] > last_written:
            return
        maker = link(m, level + L_HEAD)
        if prevention != STP_NONE and m[maker + O_ACCOUNT] == m[taker + O_ACCOUNT]:
            if prevention != STP_EXPIRE_TAKER:
                finish(m, maker, EVENT_ORDER_EXPIRED, REASON_SELF_TRADE, ORDER_EXPIRED)
            if prevention != STP_EXPIRE_MAKER:
                m[H_REASON] = REASON_SELF_TRADE
                break
            continue
        lots = m[maker + O_SHOWN]
        if by_amount:
            lots = affordable(m, instrument, taker, lots, m[level + L_PRICE])
            if lots == 0:
                m[H_REASON] = REASON_AMOUNT_TOO_SMALL
                break
        else:
            lots = min(lots, m[taker + O_LEAVES])
        fill(m, instrument, taker, maker, lots)
    end_matching(m, taker)


@lean_kernel
def affordable(m: Memory, instrument: int, taker: int, lots: int, price: int) -> int:
    """Return how many of `lots` at a price fit into what is left of the taker's quote amount."""
    # The reservation of the order that rests there shows that the product fits; a division avoids it all the same.
    return min(lots, m[taker + O_QUOTE_LEFT] // m[instrument + I_TICK_VALUE] // price)


@lean_kernel
def fill(m: Memory, instrument: int, taker: int, maker: int, lots: int) -> None:
    """Trade lots between the taker and a maker at the maker's price."""
    price = m[maker + O_PRICE]
    level = link(m, maker + O_LEVEL)
    m[maker + O_LEAVES] -= lots
    m[maker + O_SHOWN] -= lots
    m[level + L_SHOWN] -= lots
    funded = m[instrument + I_UNFUNDED] == 0
    if m[taker + O_AMOUNT] != 0:
        m[taker + O_LOTS] += lots
        m[taker + O_QUOTE_LEFT] -= lots * price * m[instrument + I_TICK_VALUE]
    else:
        m[taker + O_LEAVES] -= lots
        if funded and m[taker + O_PRICE] == 0 and m[taker + O_SIDE] == SIDE_BUY:
            m[taker + O_QUOTE_LEFT] -= lots * price * m[instrument + I_TICK_VALUE]
    m[instrument + I_LAST] = price
    at = tell_trade(m, taker, maker, lots)
    if funded:
        maker_fee, taker_fee = settle_fill(m, instrument, taker, maker, lots)
        m[at + E_MAKER_FEE] = maker_fee
        m[at + E_TAKER_FEE] = taker_fee
    shown = m[level + L_SHOWN]
    if m[maker + O_LEAVES] == 0:
        leave(m, maker)
        close_order(m, maker)
    elif m[maker + O_SHOWN] == 0:
        to_the_back(m, maker)
        shown = m[level + L_SHOWN]
    tell_price(m, m[taker + O_INSTRUMENT], 1 - m[taker + O_SIDE], price, shown)


@lean_kernel
def end_matching(m: Memory, taker: int) -> None:
    """Let the taker rest, or end it, as its instructions say; triggered stops come next."""
    reason = m[H_REASON]
    m[H_TAKER] = 0
    m[H_STAGE] = STAGE_TRIGGERING
    traded = m[taker + O_LOTS] > m[taker + O_LEAVES]
    complete = m[taker + O_LEAVES] == 0
    if m[taker + O_AMOUNT] != 0:
        complete = traded and reason == REASON_AMOUNT_TOO_SMALL
    kind = m[taker + O_TYPE]
    at_market = kind in (TYPE_MARKET, TYPE_STOP, TYPE_TAKE_PROFIT)
    if complete:
        if m[taker + O_RESERVED] != 0:
            hold(m, taker, 0)
        close_order(m, taker)
    elif reason == REASON_SELF_TRADE:
        finish(m, taker, EVENT_ORDER_EXPIRED, reason, ORDER_EXPIRED)
    elif at_market or is_immediate(m[taker + O_TIME_IN_FORCE]):
        if at_market and reason == REASON_IOC_REST and not traded:
            reason = REASON_NO_LIQUIDITY
        finish(m, taker, EVENT_ORDER_CANCELED, reason, ORDER_CANCELED)
    else:
        rest_order(m, taker, m[taker + O_SIDE])
