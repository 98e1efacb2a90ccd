"""Make records of the kernel's events: orders and their fills."""

from fauxchange.domain.listings import Listing
from fauxchange.domain.orders import OPEN_STATUSES, FillRecord, OrderRecord, copied
from fauxchange.services.exchange.core.layout import (
    C_AMOUNT,
    C_DISPLAY_LOTS,
    C_EXPIRES_NS,
    C_ORDER_LOTS,
    C_ORDER_TYPE,
    C_POST_ONLY,
    C_PRICE_TICKS,
    C_SELF_TRADE_PREVENTION,
    C_SIDE,
    C_STOP_TICKS,
    C_TIME_IN_FORCE,
    E_ACCOUNT,
    E_EVENT_SEQUENCE,
    E_LOTS,
    E_ORDER_ID,
    E_PRICE_TICKS,
    E_REASON,
    E_SEQUENCE,
    E_SIDE,
    E_TAKER_FEE,
    E_TRADE_ID,
    E_TS_NS,
)
from fauxchange.services.exchange.service.entries import Entry

_FRESH = OrderRecord(
    order_id=0, account=0, symbol="", client_order_id=None, side=0, order_type=0, time_in_force=0, post_only=False,
    self_trade_prevention=0, price_ticks=0, stop_ticks=0, order_lots=0, display_lots=0, amount=0, expires_ns=0,
    status=0, reason=0, cum_lots=0, leaves_lots=0, cum_quote=0, fee=0, triggered=False, replaces=0, created_ns=0,
    updated_ns=0, event_sequence=0, fingerprint=0,
)  # fmt: skip


def new_order(event: list[int], entry: Entry, listing: Listing, status: int) -> OrderRecord:
    """Return the record of an order that the kernel has accepted or rejected."""
    row, note = entry.row, entry.note
    # Most fields are most often what they are in a new order: a copy costs half of what naming them all does.
    record = copied(_FRESH)
    record.order_id = event[E_ORDER_ID]
    record.account = event[E_ACCOUNT]
    record.symbol = listing.instrument.symbol
    record.client_order_id = note.client_order_id
    record.side = row[C_SIDE]
    record.order_type = row[C_ORDER_TYPE]
    record.time_in_force = row[C_TIME_IN_FORCE]
    record.self_trade_prevention = row[C_SELF_TRADE_PREVENTION]
    record.price_ticks = row[C_PRICE_TICKS]
    record.order_lots = lots = row[C_ORDER_LOTS]
    if status in OPEN_STATUSES:
        record.leaves_lots = lots
    record.status = status
    record.created_ns = record.updated_ns = event[E_TS_NS]
    record.event_sequence = event[E_EVENT_SEQUENCE]
    record.fingerprint = note.fingerprint
    record.reason, record.verdict = event[E_REASON], note.verdict
    if row[C_POST_ONLY]:
        record.post_only = True
    record.stop_ticks, record.display_lots = row[C_STOP_TICKS], row[C_DISPLAY_LOTS]
    record.amount, record.expires_ns = row[C_AMOUNT], row[C_EXPIRES_NS]
    return record


def new_fill(event: list[int], record: OrderRecord, fee: int, *, is_maker: bool) -> FillRecord:
    """Return what a trade is to the order of one side."""
    return FillRecord(
        trade_id=event[E_TRADE_ID],
        order_id=record.order_id,
        account=record.account,
        symbol=record.symbol,
        client_order_id=record.client_order_id,
        side=record.side,
        is_maker=is_maker,
        last_ticks=event[E_PRICE_TICKS],
        last_lots=event[E_LOTS],
        fee=fee,
        ts_ns=event[E_TS_NS],
        sequence=event[E_SEQUENCE],
    )


def background_fill(event: list[int], listing: Listing) -> FillRecord:
    """Return a trade as the fill of a taker that has no record."""
    return FillRecord(
        trade_id=event[E_TRADE_ID],
        order_id=event[E_ORDER_ID],
        account=event[E_ACCOUNT],
        symbol=listing.symbol,
        client_order_id=None,
        side=event[E_SIDE],
        is_maker=False,
        last_ticks=event[E_PRICE_TICKS],
        last_lots=event[E_LOTS],
        fee=event[E_TAKER_FEE],
        ts_ns=event[E_TS_NS],
        sequence=event[E_SEQUENCE],
    )
