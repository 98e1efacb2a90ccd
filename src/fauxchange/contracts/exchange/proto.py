"""The exchange as protobuf: the messages of `messages` one by one, words as enums, times as timestamps."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from fauxchange.contracts.exchange.messages import (
    AccountMessage,
    BalanceMessage,
    BookMessage,
    FillMessage,
    InstrumentMessage,
    KeyMessage,
    LedgerEntryMessage,
    OrderMessage,
    RefusalMessage,
    ReportMessage,
    TradeMessage,
    TransferMessage,
)
from fauxchange.contracts.exchange.render import order_message, time_text
from fauxchange.contracts.exchange.v1 import exchange_pb2 as pb
from fauxchange.domain.listings import Listing
from fauxchange.domain.order_columns import (
    O_ACCOUNT,
    O_ORDER_ID,
    O_ORDER_LOTS,
    O_PRICE_TICKS,
    O_SELF_TRADE_PREVENTION,
    O_TS_NS,
    RestingOrders,
)
from fauxchange.domain.orders import (
    ACCOUNT_STATUSES,
    INSTRUMENT_STATUSES,
    LEDGER_CAUSES,
    ORDER_STATUSES,
    ORDER_TYPES,
    SELF_TRADE_PREVENTIONS,
    SIDES,
    TIMES_IN_FORCE,
)
from fauxchange.domain.times import NS_PER_S, parse_time

EXEC_TYPES: Final = ("new", "rejected", "trade", "triggered", "amended", "replaced", "canceled", "expired")


def _by_word(enum: Any, prefix: str, words: Iterable[str]) -> dict[str, Any]:
    """Return an enum's numbers by the words of `messages`."""
    return {word: enum.Value(f"{prefix}_{word.upper()}") for word in words}


SIDE_NUMBERS: Final = _by_word(pb.Side, "SIDE", SIDES)
TYPE_NUMBERS: Final = _by_word(pb.OrderType, "ORDER_TYPE", ORDER_TYPES)
TIME_IN_FORCE_NUMBERS: Final = _by_word(pb.TimeInForce, "TIME_IN_FORCE", TIMES_IN_FORCE)
PREVENTION_NUMBERS: Final = _by_word(pb.SelfTradePrevention, "SELF_TRADE_PREVENTION", SELF_TRADE_PREVENTIONS)
STATUS_NUMBERS: Final = _by_word(pb.OrderStatus, "ORDER_STATUS", ORDER_STATUSES)
EXEC_TYPE_NUMBERS: Final = _by_word(pb.ExecType, "EXEC_TYPE", EXEC_TYPES)
LIQUIDITY_NUMBERS: Final = _by_word(pb.Liquidity, "LIQUIDITY", ("maker", "taker"))
ACCOUNT_STATUS_NUMBERS: Final = _by_word(pb.AccountStatus, "ACCOUNT_STATUS", ACCOUNT_STATUSES)
INSTRUMENT_STATUS_NUMBERS: Final = _by_word(pb.InstrumentStatus, "INSTRUMENT_STATUS", INSTRUMENT_STATUSES)
CAUSE_NUMBERS: Final = _by_word(pb.LedgerCause, "LEDGER_CAUSE", LEDGER_CAUSES[1:])
MESSAGE_TYPE_NUMBERS: Final = _by_word(pb.MessageType, "MESSAGE_TYPE", ("snapshot", "delta", "event"))

_SECOND_CHARS: Final = len("2026-01-31T12:00:00")


@lru_cache(maxsize=256)
def _seconds(text: str) -> int:
    return parse_time(text + "Z") // NS_PER_S


def timestamp(text: str) -> Timestamp:
    """Return a time that `domain.times.format_time` has written; a second is read once."""
    return Timestamp(seconds=_seconds(text[:_SECOND_CHARS]), nanos=int(text[_SECOND_CHARS + 1 : -1]) * 1_000)


def _timestamp_or_none(text: str | None) -> Timestamp | None:
    return None if text is None else timestamp(text)


# Messages. ----------------------------------------------------------------------------------------------------------


def fill(message: FillMessage) -> pb.Fill:
    """Return one side of an execution."""
    return pb.Fill(
        trade_id=message.trade_id,
        order_id=message.order_id,
        client_order_id=message.client_order_id,
        symbol=message.symbol,
        side=SIDE_NUMBERS[message.side],
        liquidity=LIQUIDITY_NUMBERS[message.liquidity],
        price=message.price,
        quantity=message.quantity,
        fee=message.fee,
        fee_asset=message.fee_asset,
        timestamp=timestamp(message.timestamp),
    )


def order(message: OrderMessage) -> pb.Order:
    """Return an order."""
    created_at = timestamp(message.created_at)
    return pb.Order(
        order_id=message.order_id,
        client_order_id=message.client_order_id,
        account_id=message.account_id,
        symbol=message.symbol,
        side=SIDE_NUMBERS[message.side],
        type=TYPE_NUMBERS[message.type],
        time_in_force=TIME_IN_FORCE_NUMBERS[message.time_in_force],
        status=STATUS_NUMBERS[message.status],
        quantity=message.quantity,
        filled_quantity=message.filled_quantity,
        remaining_quantity=message.remaining_quantity,
        quote_quantity=message.quote_quantity,
        price=message.price,
        stop_price=message.stop_price,
        display_quantity=message.display_quantity,
        average_price=message.average_price,
        post_only=message.post_only,
        self_trade_prevention=PREVENTION_NUMBERS[message.self_trade_prevention],
        triggered=message.triggered,
        fee=message.fee,
        fee_asset=message.fee_asset,
        reason=message.reason,
        verdict=message.verdict,
        replaces=message.replaces,
        expires_at=_timestamp_or_none(message.expires_at),
        created_at=created_at,
        updated_at=created_at if message.updated_at == message.created_at else timestamp(message.updated_at),
        fills=[fill(each) for each in message.fills],
    )


def refusal(message: RefusalMessage, retry_after_s: float | None = None) -> pb.Refusal:
    """Return why something was refused."""
    return pb.Refusal(
        code=message.code,
        detail=message.detail,
        field=message.field,
        reason=message.reason,
        retry_after_ms=None if retry_after_s is None else max(0, -int(-retry_after_s * 1_000 // 1)),
    )


def book(message: BookMessage) -> pb.Book:
    """Return the visible book, or what changed in it."""
    return pb.Book(
        symbol=message.symbol,
        bids=[pb.Level(price=price, quantity=quantity) for price, quantity in message.bids],
        asks=[pb.Level(price=price, quantity=quantity) for price, quantity in message.asks],
        sequence=message.sequence,
        timestamp=timestamp(message.timestamp),
        checksum=message.checksum,
    )


def trade(message: TradeMessage) -> pb.Trade:
    """Return a trade."""
    return pb.Trade(
        trade_id=message.trade_id,
        symbol=message.symbol,
        side=SIDE_NUMBERS[message.side],
        price=message.price,
        quantity=message.quantity,
        timestamp=timestamp(message.timestamp),
    )


def balance(message: BalanceMessage) -> pb.Balance:
    """Return a balance."""
    return pb.Balance(asset=message.asset, free=message.free, held=message.held)


def ledger_entry(message: LedgerEntryMessage) -> pb.LedgerEntry:
    """Return a ledger entry."""
    return pb.LedgerEntry(
        entry_id=message.entry_id,
        asset=message.asset,
        delta_free=message.delta_free,
        delta_held=message.delta_held,
        free=message.free,
        held=message.held,
        cause=CAUSE_NUMBERS[message.cause],
        order_id=message.order_id,
        timestamp=timestamp(message.timestamp),
    )


def instrument(message: InstrumentMessage) -> pb.Instrument:
    """Return an instrument."""
    return pb.Instrument(
        symbol=message.symbol,
        base=message.base,
        quote=message.quote,
        status=INSTRUMENT_STATUS_NUMBERS[message.status],
        tick_size=message.tick_size,
        lot_size=message.lot_size,
        min_quantity=message.min_quantity,
        max_quantity=message.max_quantity,
        min_notional=message.min_notional,
        max_notional=message.max_notional,
        price_band=message.price_band,
        max_open_orders=message.max_open_orders,
        maker_fee=message.maker_fee,
        taker_fee=message.taker_fee,
    )


def account(message: AccountMessage) -> pb.Account:
    """Return an account."""
    return pb.Account(
        account_id=message.account_id,
        name=message.name,
        tier=message.tier,
        status=ACCOUNT_STATUS_NUMBERS[message.status],
        created_at=timestamp(message.created_at),
        updated_at=timestamp(message.updated_at),
    )


def transfer(message: TransferMessage) -> pb.Transfer:
    """Return a deposit or a withdrawal."""
    return pb.Transfer(
        transfer_id=message.transfer_id,
        account_id=message.account_id,
        asset=message.asset,
        amount=message.amount,
        free=message.free,
        held=message.held,
        timestamp=timestamp(message.timestamp),
    )


def api_key(message: KeyMessage) -> pb.ApiKey:
    """Return an API key."""
    return pb.ApiKey(
        api_key=message.api_key,
        account_id=message.account_id,
        label=message.label,
        created_at=timestamp(message.created_at),
        revoked_at=_timestamp_or_none(message.revoked_at),
    )


# Elements of batches. -----------------------------------------------------------------------------------------------


def book_update(epoch: int, first_sequence: int, sequence: int, message_type: str, data: BookMessage) -> bytes:
    """Return a message of `book` as one element of a BookBatch."""
    return element(
        pb.BookUpdate(
            epoch=epoch,
            first_sequence=first_sequence,
            sequence=sequence,
            type=MESSAGE_TYPE_NUMBERS[message_type],
            book=book(data),
        ).SerializeToString()
    )


def trade_update(
    epoch: int, first_sequence: int, sequence: int, message_type: str, data: TradeMessage | list[TradeMessage]
) -> bytes:
    """Return a message of `trades` as one element of a TradeBatch: a trade, or the newest ones."""
    return element(
        pb.TradeUpdate(
            epoch=epoch,
            first_sequence=first_sequence,
            sequence=sequence,
            type=MESSAGE_TYPE_NUMBERS[message_type],
            trades=[trade(each) for each in (data if isinstance(data, list) else [data])],
        ).SerializeToString()
    )


def order_update(
    epoch: int, first_sequence: int, sequence: int, message_type: str, data: ReportMessage | list[OrderMessage]
) -> bytes:
    """Return a message of `orders` as one element of an OrderBatch: an execution report, or the open orders."""
    update = pb.OrderUpdate(
        epoch=epoch, first_sequence=first_sequence, sequence=sequence, type=MESSAGE_TYPE_NUMBERS[message_type]
    )
    if isinstance(data, list):
        update.orders.extend([order(each) for each in data])
    else:
        update.report.CopyFrom(report(data))
    return element(update.SerializeToString())


def balance_update(
    epoch: int, first_sequence: int, sequence: int, message_type: str, data: list[BalanceMessage]
) -> bytes:
    """Return a message of `balances` as one element of a BalanceBatch."""
    return element(
        pb.BalanceUpdate(
            epoch=epoch,
            first_sequence=first_sequence,
            sequence=sequence,
            type=MESSAGE_TYPE_NUMBERS[message_type],
            balances=[balance(each) for each in data],
        ).SerializeToString()
    )


def report(message: ReportMessage) -> pb.ExecutionReport:
    """Return an execution report."""
    return pb.ExecutionReport(
        exec_type=EXEC_TYPE_NUMBERS[message.exec_type],
        order=order(message.order),
        fill=None if message.fill is None else fill(message.fill),
    )


def element(payload: bytes, field: int = 1) -> bytes:
    """Return a serialised message as one element of a repeated field, numbered below 16: elements follow each other.

    Source: Protocol Buffers encoding, "Length-Delimited Records"
    """
    length = len(payload)
    # What nearly all are, as a whole.
    if length < 1 << 7:
        return b"%c%c%b" % (field << 3 | 2, length, payload)
    if length < 1 << 14:
        return b"%c%c%c%b" % (field << 3 | 2, length & 0x7F | 0x80, length >> 7, payload)
    out = bytearray((field << 3 | 2,))
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    out.append(length)
    out += payload
    return bytes(out)


# Orders that rest as they were placed. ------------------------------------------------------------------------------

MAX_KINDS: Final = 4_096
"""So many kinds of orders are remembered; with one more it begins anew."""
RESULTS_FIELD: Final = pb.OrderStreamResponse.RESULTS_FIELD_NUMBER
_ID_FIELD: Final = pb.OrderStreamResult.ID_FIELD_NUMBER
_ORDER_FIELD: Final = pb.OrderStreamResult.ORDER_FIELD_NUMBER
_NAME_FIELD: Final = pb.Order.CLIENT_ORDER_ID_FIELD_NUMBER
_KIND_COLUMNS: Final = slice(O_ACCOUNT, O_SELF_TRADE_PREVENTION + 1)
"""What orders of one kind have alike: account, instrument, side, type, time in force, post only, prevention."""
_OWN_FIELDS: Final = (
    "order_id",
    "client_order_id",
    "quantity",
    "remaining_quantity",
    "price",
    "created_at",
    "updated_at",
)
"""What an order does not have in common with others of its kind."""
_ORDER: Final = b"%c%%c%%b%%b%c%%c%%b%c%%c%%b%c%%c%%b%%b%%b" % tuple(
    field << 3 | 2
    for field in (
        pb.Order.ORDER_ID_FIELD_NUMBER,
        pb.Order.QUANTITY_FIELD_NUMBER,
        pb.Order.REMAINING_QUANTITY_FIELD_NUMBER,
        pb.Order.PRICE_FIELD_NUMBER,
    )
)
"""An order: its texts, each with tag and length, in their midst its client order id; its times; what its kind has."""


class _Kind(NamedTuple):
    """What makes texts of an order's quantity and price, and the fields that it has like all of its kind."""

    quantity_text: Callable[[int], str]
    price_text: Callable[[int], str]
    fields: bytes


class RestingResults:
    """The results of orders that rest as they were placed, as elements of an OrderStreamResponse.

    Each parses to what `order` makes of the order's record; its fields come in an order of their own.
    """

    def __init__(self, listing_of: Callable[[str], Listing]) -> None:
        self._listing_of = listing_of
        self._kinds: dict[tuple[int, ...], _Kind] = {}

    def elements(self, orders: RestingOrders, begun: int, ids: Sequence[str]) -> list[bytes]:
        """Return the results of the commands with these ids, whose orders are the rows from `begun` on."""
        kinds, end = self._kinds, begun + len(ids)
        results: list[bytes] = []
        for command_id, name, row in zip(ids, orders.names[begun:end], orders.numbers[begun:end].tolist(), strict=True):
            key = tuple(row[_KIND_COLUMNS])
            kind = kinds.get(key)
            if kind is None:
                kind = self._remember(key, orders, row[O_ORDER_ID])
            number = b"%d" % row[O_ORDER_ID]
            quantity = kind.quantity_text(row[O_ORDER_LOTS]).encode()
            price = kind.price_text(row[O_PRICE_TICKS]).encode()
            told = _ORDER % (
                len(number),
                number,
                b"" if name is None else element(name.encode(), _NAME_FIELD),
                len(quantity),
                quantity,
                len(quantity),
                quantity,
                len(price),
                price,
                _times(row[O_TS_NS]),
                kind.fields,
            )
            result = element(command_id.encode(), _ID_FIELD) + element(told, _ORDER_FIELD)
            results.append(element(result, RESULTS_FIELD))
        return results

    def _remember(self, key: tuple[int, ...], orders: RestingOrders, order_id: int) -> _Kind:
        record = orders.record(order_id)
        listing = self._listing_of(record.symbol)
        told = order(order_message(record, listing))
        for field in _OWN_FIELDS:
            told.ClearField(field)
        if len(self._kinds) >= MAX_KINDS:
            self._kinds.clear()
        instrument = listing.instrument
        kind = _Kind(instrument.quantities.text, instrument.prices.text, told.SerializeToString())
        self._kinds[key] = kind
        return kind


@lru_cache(maxsize=256)
def _times(ts_ns: int) -> bytes:
    moment = timestamp(time_text(ts_ns))
    return pb.Order(created_at=moment, updated_at=moment).SerializeToString()
