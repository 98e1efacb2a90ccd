"""Write events: each function writes one row behind those that are there, and numbers it."""

from typing import Final

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.layout import (
    ADDRESS,
    C_ACCOUNT,
    E_ACCOUNT,
    E_ASSET,
    E_CAUSE,
    E_CUM_LOTS,
    E_DELTA_FREE,
    E_DELTA_HELD,
    E_EVENT_SEQUENCE,
    E_INSTRUMENT,
    E_KIND,
    E_LEAVES_LOTS,
    E_LOTS,
    E_MAKER_ACCOUNT,
    E_MAKER_FEE,
    E_MAKER_LEAVES_LOTS,
    E_MAKER_ORDER_ID,
    E_ORDER_ID,
    E_ORDER_STATUS,
    E_PRICE_TICKS,
    E_REASON,
    E_SEQUENCE,
    E_SIDE,
    E_TAKER_FEE,
    E_TRADE_ID,
    E_TS_NS,
    EVENT_WIDTH,
    FLAG_BALANCE_EVENTS,
    FLAG_BOOK_EVENTS,
    H_EVENT_AT,
    H_EVENT_SEQUENCE,
    H_FLAGS,
    H_LAST_TRADE_ID,
    H_SEQUENCE,
    H_TS_NS,
    H_WRITTEN,
    L_PRICE,
    L_SHOWN,
    O_ACCOUNT,
    O_ID,
    O_INSTRUMENT,
    O_LEAVES,
    O_LOTS,
    O_PRICE,
    O_SIDE,
    Memory,
)
from fauxchange.services.exchange.core.vocabulary import (
    EVENT_BALANCE,
    EVENT_BOOK,
    EVENT_COMMAND_REJECTED,
    EVENT_TRADE,
    NO_INSTRUMENT,
    ORDER_FILLED,
    ORDER_NEW,
    ORDER_PARTIALLY_FILLED,
)

NO_ACCOUNT: Final = -1


@lean_kernel
def new_event(m: Memory, instrument: int, account: int) -> int:
    """Begin an event; return the address of its row. The rest of it is 0, but for the kind, which the caller writes.

    A constant among the arguments would have it compiled once for each.
    """
    at = (m[H_EVENT_AT] + m[H_WRITTEN] * EVENT_WIDTH) & ADDRESS
    m[H_WRITTEN] += 1
    m[H_EVENT_SEQUENCE] += 1
    m[at + E_EVENT_SEQUENCE] = m[H_EVENT_SEQUENCE]
    m[at + E_SEQUENCE] = m[H_SEQUENCE]
    m[at + E_TS_NS] = m[H_TS_NS]
    m[at + E_REASON] = 0
    m[at + E_INSTRUMENT] = instrument
    m[at + E_ACCOUNT] = account
    for column in range(E_ORDER_ID, EVENT_WIDTH):
        m[at + column] = 0
    return at


@lean_kernel
def tell(m: Memory, kind: int, instrument: int, account: int) -> int:
    """Write that an instrument, an account or all of them changed; return the address of the row."""
    at = new_event(m, instrument, account)
    m[at + E_KIND] = kind
    return at


@lean_kernel
def refuse(m: Memory, reason: int, order_id: int) -> None:
    """Write that the command under way was refused."""
    at = new_event(m, NO_INSTRUMENT, m[C_ACCOUNT])
    m[at + E_KIND] = EVENT_COMMAND_REJECTED
    m[at + E_REASON] = reason
    m[at + E_ORDER_ID] = order_id


@lean_kernel
def tell_order(m: Memory, kind: int, reason: int, order: int, status: int) -> int:
    """Write what happened to an order; return the address of the row."""
    at = new_event(m, m[order + O_INSTRUMENT], m[order + O_ACCOUNT])
    m[at + E_KIND] = kind
    m[at + E_REASON] = reason
    lots = m[order + O_LOTS]
    leaves = m[order + O_LEAVES]
    m[at + E_ORDER_ID] = m[order + O_ID]
    m[at + E_SIDE] = m[order + O_SIDE]
    m[at + E_PRICE_TICKS] = m[order + O_PRICE]
    m[at + E_LOTS] = lots
    m[at + E_CUM_LOTS] = lots - leaves
    m[at + E_LEAVES_LOTS] = leaves
    m[at + E_ORDER_STATUS] = status
    return at


@lean_kernel
def standing(m: Memory, order: int) -> int:
    """Return the status of an order that is still open."""
    if m[order + O_LEAVES] < m[order + O_LOTS]:
        return ORDER_PARTIALLY_FILLED
    return ORDER_NEW


@lean_kernel
def tell_trade(m: Memory, taker: int, maker: int, lots: int) -> int:
    """Write a trade, at the maker's price and as yet without fees; return the address of the row."""
    m[H_LAST_TRADE_ID] += 1
    at = (m[H_EVENT_AT] + m[H_WRITTEN] * EVENT_WIDTH) & ADDRESS
    m[H_WRITTEN] += 1
    m[H_EVENT_SEQUENCE] += 1
    m[at + E_EVENT_SEQUENCE] = m[H_EVENT_SEQUENCE]
    m[at + E_SEQUENCE] = m[H_SEQUENCE]
    m[at + E_TS_NS] = m[H_TS_NS]
    m[at + E_KIND] = EVENT_TRADE
    m[at + E_REASON] = 0
    m[at + E_INSTRUMENT] = m[taker + O_INSTRUMENT]
    m[at + E_ACCOUNT] = m[taker + O_ACCOUNT]
    m[at + E_ORDER_ID] = m[taker + O_ID]
    m[at + E_SIDE] = m[taker + O_SIDE]
    m[at + E_PRICE_TICKS] = m[maker + O_PRICE]
    m[at + E_LOTS] = lots
    m[at + E_CUM_LOTS] = m[taker + O_LOTS] - m[taker + O_LEAVES]
    m[at + E_LEAVES_LOTS] = m[taker + O_LEAVES]
    m[at + E_ORDER_STATUS] = ORDER_FILLED if m[taker + O_LEAVES] == 0 else ORDER_PARTIALLY_FILLED
    m[at + E_TRADE_ID] = m[H_LAST_TRADE_ID]
    m[at + E_MAKER_ORDER_ID] = m[maker + O_ID]
    m[at + E_MAKER_ACCOUNT] = m[maker + O_ACCOUNT]
    m[at + E_MAKER_FEE] = 0
    m[at + E_TAKER_FEE] = 0
    m[at + E_MAKER_LEAVES_LOTS] = m[maker + O_LEAVES]
    return at


@lean_kernel
def tell_balance(m: Memory, account: int, asset: int, delta_free: int, delta_held: int, cause: int, order: int) -> None:
    """Write a posting, if the state is told to; `order` is the order that it is for, 0 for none."""
    if m[H_FLAGS] & FLAG_BALANCE_EVENTS == 0:
        return
    instrument = -1
    order_id = 0
    if order != 0:
        instrument = m[order + O_INSTRUMENT]
        order_id = m[order + O_ID]
    at = new_event(m, instrument, account)
    m[at + E_KIND] = EVENT_BALANCE
    m[at + E_ORDER_ID] = order_id
    m[at + E_ASSET] = asset
    m[at + E_DELTA_FREE] = delta_free
    m[at + E_DELTA_HELD] = delta_held
    m[at + E_CAUSE] = cause


@lean_kernel
def tell_price(m: Memory, instrument: int, side: int, price: int, shown: int) -> None:
    """Write what a price of the book shows now, if the state is told to."""
    if m[H_FLAGS] & FLAG_BOOK_EVENTS == 0:
        return
    at = new_event(m, instrument, NO_ACCOUNT)
    m[at + E_KIND] = EVENT_BOOK
    m[at + E_SIDE] = side
    m[at + E_PRICE_TICKS] = price
    m[at + E_LOTS] = shown


@lean_kernel
def tell_level(m: Memory, instrument: int, side: int, level: int) -> None:
    """Write what a level shows now, if the state is told to."""
    tell_price(m, instrument, side, m[level + L_PRICE], m[level + L_SHOWN])
