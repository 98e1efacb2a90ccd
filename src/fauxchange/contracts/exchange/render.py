"""Render the exchange's records as messages.

Orders and fills are rendered for each acknowledgement: what is the same for many of them (a moment's text) is kept, and
numbers become text without passing through `Decimal`. Where an order itself is the answer, `order_json` writes the text
that its message would be encoded to, without the message.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring as _quoted
from typing import Any, Final, Literal, Protocol, cast

import msgspec

from fauxchange.contracts.exchange.messages import (
    AccountMessage,
    AccountStatusName,
    BalanceMessage,
    FeeMessage,
    FillMessage,
    InstrumentMessage,
    InstrumentStatusName,
    KeyCreated,
    KeyMessage,
    LedgerEntryMessage,
    OrderMessage,
    OrderStatusName,
    OrderTypeName,
    RefusalMessage,
    ReportMessage,
    SelfTradePreventionName,
    SideName,
    TimeInForceName,
    TradeMessage,
    TransferMessage,
)
from fauxchange.contracts.exchange.refusals import REFUSALS, refusal
from fauxchange.domain.errors import FauxchangeError, Rejected
from fauxchange.domain.instruments import Grid
from fauxchange.domain.listings import Asset, Listing
from fauxchange.domain.order_columns import RestingOrders
from fauxchange.domain.orders import (
    ACCOUNT_STATUSES,
    INSTRUMENT_STATUSES,
    LEDGER_CAUSES,
    ORDER_STATUSES,
    ORDER_TYPES,
    SELF_TRADE_PREVENTIONS,
    SIDES,
    TIMES_IN_FORCE,
    AccountRecord,
    FillRecord,
    KeyRecord,
    LedgerEntry,
    OrderRecord,
    TradeRecord,
)
from fauxchange.domain.times import NS_PER_S, NS_PER_US, format_time

AVERAGE_DECIMALS: Final = 8
"""How many decimals more than a price an average price may have."""
FEE_RATES: Final = Grid(step=Decimal("0.000001"))
PRICE_BANDS: Final = Grid(step=Decimal("0.0001"))

# The tables of `domain.orders` as what the messages declare.
_SIDES = cast("tuple[SideName, ...]", SIDES)
_TYPES = cast("tuple[OrderTypeName, ...]", ORDER_TYPES)
_TIMES_IN_FORCE = cast("tuple[TimeInForceName, ...]", TIMES_IN_FORCE)
_PREVENTIONS = cast("tuple[SelfTradePreventionName, ...]", SELF_TRADE_PREVENTIONS)
_ORDER_STATUSES = cast("tuple[OrderStatusName, ...]", ORDER_STATUSES)
_ACCOUNT_STATUSES = cast("tuple[AccountStatusName, ...]", ACCOUNT_STATUSES)
_INSTRUMENT_STATUSES = cast("tuple[InstrumentStatusName, ...]", INSTRUMENT_STATUSES)
_Cause = Literal["deposit", "withdrawal", "reserve", "release", "trade", "fee"]
_CAUSES = cast("tuple[_Cause, ...]", LEDGER_CAUSES)

_encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
_TRUTHS: Final = ("false", "true")


class BalanceLike(Protocol):
    """What an account has of an asset. Units: minor units of the asset."""

    @property
    def asset(self) -> str:
        """The asset's name."""
        ...

    @property
    def free(self) -> int:
        """What can be used."""
        ...

    @property
    def held(self) -> int:
        """What open orders hold."""
        ...


class TransferLike(BalanceLike, Protocol):
    """A deposit or withdrawal, and the balance after it. Units: minor units of the asset, ns of venue time."""

    @property
    def transfer_id(self) -> int:
        """The transfer's number."""
        ...

    @property
    def account(self) -> int:
        """The account's number."""
        ...

    @property
    def amount(self) -> int:
        """What was moved."""
        ...

    @property
    def ts_ns(self) -> int:
        """When it was moved."""
        ...


@lru_cache(maxsize=256)
def _second_text(seconds: int) -> str:
    return format_time(seconds * NS_PER_S)[:-7]


@lru_cache(maxsize=256)
def time_text(ts_ns: int) -> str:
    """Return `format_time(ts_ns)`; the text of a second is made once, as is that of a moment that many orders share."""
    seconds, rest_ns = divmod(ts_ns, NS_PER_S)
    return f"{_second_text(seconds)}{rest_ns // NS_PER_US:06d}Z"


def average_price(cum_quote: int, cum_lots: int, listing: Listing) -> str | None:
    """Return the mean price of what was filled, None if nothing was.

    It has the decimals of a price, or as many more as it needs, up to eight, rounded half-even: a fill at one price
    says that price.
    """
    if cum_lots == 0:
        return None
    prices = listing.instrument.prices
    ticks, rest = divmod(cum_quote, cum_lots * listing.tick_value)
    if rest == 0:
        return prices.text(ticks)
    divisor = cum_lots * listing.tick_value
    scaled, rest = divmod(cum_quote * prices.units * 10**AVERAGE_DECIMALS, divisor)
    if 2 * rest > divisor or (2 * rest == divisor and scaled & 1):
        scaled += 1
    decimals = prices.decimals + AVERAGE_DECIMALS
    while decimals > prices.decimals and scaled % 10 == 0:
        scaled //= 10
        decimals -= 1
    whole, fraction = divmod(scaled, 10**decimals)
    return f"{whole}.{fraction:0{decimals}d}" if decimals else str(whole)


def fill_message(fill: FillRecord, listing: Listing) -> FillMessage:
    """Return one side of an execution as a message."""
    instrument = listing.instrument
    return FillMessage(
        trade_id=str(fill.trade_id),
        order_id=str(fill.order_id),
        client_order_id=fill.client_order_id,
        symbol=fill.symbol,
        side=_SIDES[fill.side],
        liquidity="maker" if fill.is_maker else "taker",
        price=instrument.prices.text(fill.last_ticks),
        quantity=instrument.quantities.text(fill.last_lots),
        fee=listing.quote.amounts.text(fill.fee),
        fee_asset=listing.quote.name,
        timestamp=time_text(fill.ts_ns),
    )


def order_message(record: OrderRecord, listing: Listing, fills: Sequence[FillRecord] = ()) -> OrderMessage:
    """Return an order, with those of its fills that are given, as a message."""
    price_text = listing.instrument.prices.text
    lots_text = listing.instrument.quantities.text
    amount_text = listing.quote.amounts.text
    created_at = time_text(record.created_ns)
    return OrderMessage(
        order_id=str(record.order_id),
        client_order_id=record.client_order_id,
        account_id=str(record.account),
        symbol=record.symbol,
        side=_SIDES[record.side],
        type=_TYPES[record.order_type],
        time_in_force=_TIMES_IN_FORCE[record.time_in_force],
        status=_ORDER_STATUSES[record.status],
        quantity=lots_text(record.order_lots),
        filled_quantity=lots_text(record.cum_lots),
        remaining_quantity=lots_text(record.leaves_lots),
        quote_quantity=amount_text(record.amount) if record.amount else None,
        price=price_text(record.price_ticks) if record.price_ticks else None,
        stop_price=price_text(record.stop_ticks) if record.stop_ticks else None,
        display_quantity=lots_text(record.display_lots) if record.display_lots else None,
        average_price=average_price(record.cum_quote, record.cum_lots, listing),
        post_only=record.post_only,
        self_trade_prevention=_PREVENTIONS[record.self_trade_prevention],
        triggered=record.triggered,
        fee=amount_text(record.fee),
        fee_asset=listing.quote.name,
        reason=REFUSALS[record.reason].code if record.reason else None,
        verdict=record.verdict,
        replaces=str(record.replaces) if record.replaces else None,
        expires_at=time_text(record.expires_ns) if record.expires_ns else None,
        created_at=created_at,
        updated_at=created_at if record.updated_ns == record.created_ns else time_text(record.updated_ns),
        fills=[fill_message(fill, listing) for fill in fills],
    )


def order_json(record: OrderRecord, listing: Listing, fills: Sequence[FillRecord] = ()) -> bytes:
    """Return `order_message` as JSON, byte for byte."""
    lots_text = listing.instrument.quantities.text
    name, lots, cum_lots, leaves = record.client_order_id, record.order_lots, record.cum_lots, record.leaves_lots
    quantity, created_at = lots_text(lots), time_text(record.created_ns)
    updated_at = created_at if record.updated_ns == record.created_ns else time_text(record.updated_ns)
    average = average_price(record.cum_quote, cum_lots, listing) if cum_lots else None
    told = _encode([fill_message(fill, listing) for fill in fills]).decode() if fills else "[]"
    return (
        f'{{"order_id":"{record.order_id}","client_order_id":{"null" if name is None else _quoted(name)},'
        f'"account_id":"{record.account}",'
        f"{_kind_json(record.symbol, record.side, record.order_type, record.time_in_force, record.status)}"
        f'"quantity":"{quantity}","filled_quantity":"{lots_text(cum_lots)}",'
        f'"remaining_quantity":"{quantity if leaves == lots else lots_text(leaves)}",'
        f"{_bounds_json(record, listing)}"
        f'"average_price":{"null" if average is None else _plain(average)},'
        f"{_flags_json(record.post_only, record.self_trade_prevention, record.triggered)}"
        f'"fee":"{listing.quote.amounts.text(record.fee)}","fee_asset":"{listing.quote.name}",'
        f'"reason":{_plain(REFUSALS[record.reason].code) if record.reason else "null"},'
        f'"verdict":{"null" if record.verdict is None else _quoted(record.verdict)},'
        f'"replaces":{_plain(str(record.replaces)) if record.replaces else "null"},'
        f'"expires_at":{_plain(time_text(record.expires_ns)) if record.expires_ns else "null"},'
        f'"created_at":"{created_at}","updated_at":"{updated_at}","fills":{told}}}'
    ).encode()


def resting_json(orders: RestingOrders, begun: int, count: int, listing_of: Callable[[str], Listing]) -> list[str]:
    """Return `count` orders from row `begun` on, each as the text that `order_json` makes of its record.

    They differ by id, quantity and price; what stands between these is made once for all that have it alike.
    """
    alike: dict[tuple[int, ...], _Alike] = {}
    texts: list[str] = []
    names = orders.names[begun : begun + count]
    for row, name in zip(orders.numbers[begun : begun + count].tolist(), names, strict=True):
        order_id, account, instrument, side, order_type, lives, post_only, prevention, ticks, lots, ts_ns, _, _ = row
        kind = (account, instrument, side, order_type, lives, post_only, prevention, ts_ns)
        if (shared := alike.get(kind)) is None:
            shared = alike[kind] = _alike(orders.record(order_id), listing_of(orders.symbols[instrument]))
        quantity_of, price_of, after_name, after_quantity, after_remaining, after_price = shared
        quantity = quantity_of(lots)
        texts.append(
            f'{{"order_id":"{order_id}","client_order_id":{"null" if name is None else _quoted(name)}{after_name}'
            f'"quantity":"{quantity}"{after_quantity}"remaining_quantity":"{quantity}"{after_remaining}'
            f'"price":"{price_of(ticks)}"{after_price}'
        )
    return texts


_Alike = tuple[Callable[[int], str], Callable[[int], str], str, str, str, str]


def _alike(record: OrderRecord, listing: Listing) -> _Alike:
    """Return what makes texts of quantities and prices, and what follows the four texts that orders differ by."""
    quantity_of, price_of = listing.instrument.quantities.text, listing.instrument.prices.text
    name = "null" if record.client_order_id is None else _quoted(record.client_order_id)
    quantity = quantity_of(record.order_lots)
    # A key in quotes is found where it is one: within a text quotes are escaped.
    _, _, after = order_json(record, listing).decode().partition(f'"client_order_id":{name}')
    after_name, _, after = after.partition(f'"quantity":"{quantity}"')
    after_quantity, _, after = after.partition(f'"remaining_quantity":"{quantity}"')
    after_remaining, _, after_price = after.partition(f'"price":"{price_of(record.price_ticks)}"')
    return quantity_of, price_of, after_name, after_quantity, after_remaining, after_price


@lru_cache(maxsize=1_024)
def _kind_json(symbol: str, side: int, order_type: int, time_in_force: int, status: int) -> str:
    return (
        f'"symbol":"{symbol}","side":"{_SIDES[side]}","type":"{_TYPES[order_type]}",'
        f'"time_in_force":"{_TIMES_IN_FORCE[time_in_force]}","status":"{_ORDER_STATUSES[status]}",'
    )


def _bounds_json(record: OrderRecord, listing: Listing) -> str:
    """Return what an order may cost, and at which prices it acts."""
    price = listing.instrument.prices.text(record.price_ticks) if record.price_ticks else None
    if price and not (record.amount or record.stop_ticks or record.display_lots):
        return f'"quote_quantity":null,"price":"{price}","stop_price":null,"display_quantity":null,'
    amount = _plain(listing.quote.amounts.text(record.amount)) if record.amount else "null"
    stop = _plain(listing.instrument.prices.text(record.stop_ticks)) if record.stop_ticks else "null"
    display = _plain(listing.instrument.quantities.text(record.display_lots)) if record.display_lots else "null"
    return (
        f'"quote_quantity":{amount},"price":{_plain(price) if price else "null"},'
        f'"stop_price":{stop},"display_quantity":{display},'
    )


@lru_cache(maxsize=64)
def _flags_json(post_only: bool, prevention: int, triggered: bool) -> str:
    return (
        f'"post_only":{_TRUTHS[post_only]},"self_trade_prevention":"{_PREVENTIONS[prevention]}",'
        f'"triggered":{_TRUTHS[triggered]},'
    )


def _plain(text: str) -> str:
    """Return a text in which nothing needs to be escaped, in quotes."""
    return f'"{text}"'


def report_message(
    exec_type: str,
    record: OrderRecord,
    listing: Listing,
    fill: FillRecord | None = None,
    origin_id: str | None = None,
) -> ReportMessage:
    """Return an execution report: what happened, the order after it, and the fill if it was one."""
    return ReportMessage(
        exec_type=exec_type,
        order=order_message(record, listing),
        fill=None if fill is None else fill_message(fill, listing),
        origin_id=origin_id,
    )


def refusal_message(failure: FauxchangeError) -> RefusalMessage:
    """Return why one of several orders was refused, with the kernel's number where it was the kernel."""
    return RefusalMessage(
        code=failure.code,
        detail=failure.message,
        field=failure.field,
        reason=failure.reason if isinstance(failure, Rejected) else None,
    )


def rejection_message(reason: int) -> RefusalMessage:
    """Return why the kernel rejected an order, by the kernel's number."""
    code, detail = refusal(reason)
    return RefusalMessage(code=code, detail=detail, reason=reason)


def trade_message(trade: TradeRecord, listing: Listing) -> TradeMessage:
    """Return a trade as a message."""
    return TradeMessage(
        trade_id=str(trade.trade_id),
        symbol=trade.symbol,
        side=_SIDES[trade.side],
        price=listing.instrument.prices.text(trade.price_ticks),
        quantity=listing.instrument.quantities.text(trade.lots),
        timestamp=time_text(trade.ts_ns),
    )


def taker_trade_message(fill: FillRecord, listing: Listing) -> TradeMessage:
    """Return the trade that a taker's fill is a side of; who took part is not told."""
    return TradeMessage(
        trade_id=str(fill.trade_id),
        symbol=fill.symbol,
        side=_SIDES[fill.side],
        price=listing.instrument.prices.text(fill.last_ticks),
        quantity=listing.instrument.quantities.text(fill.last_lots),
        timestamp=time_text(fill.ts_ns),
    )


def balance_message(balance: BalanceLike, asset: Asset) -> BalanceMessage:
    """Return a balance as a message."""
    text = asset.amounts.text
    return BalanceMessage(asset=balance.asset, free=text(balance.free), held=text(balance.held))


def account_message(record: AccountRecord) -> AccountMessage:
    """Return an account as a message."""
    return AccountMessage(
        account_id=str(record.account),
        name=record.name,
        tier=record.tier,
        status=_ACCOUNT_STATUSES[record.status],
        created_at=time_text(record.created_ns),
        updated_at=time_text(record.updated_ns),
    )


def ledger_message(entry: LedgerEntry, asset: Asset) -> LedgerEntryMessage:
    """Return a ledger entry as a message."""
    text = asset.amounts.text
    return LedgerEntryMessage(
        entry_id=str(entry.event_sequence),
        asset=entry.asset,
        delta_free=text(entry.delta_free),
        delta_held=text(entry.delta_held),
        free=text(entry.free),
        held=text(entry.held),
        cause=_CAUSES[entry.cause],
        order_id=str(entry.order_id) if entry.order_id else None,
        timestamp=time_text(entry.ts_ns),
    )


def instrument_message(listing: Listing, maker: int, taker: int) -> InstrumentMessage:
    """Return an instrument with the fees of one tier as a message.

    Units: fees in 1/1,000,000 of the notional
    """
    instrument = listing.instrument
    lots_text = instrument.quantities.text
    amount_text = listing.quote.amounts.text
    return InstrumentMessage(
        symbol=instrument.symbol,
        base=instrument.base,
        quote=instrument.quote,
        status=_INSTRUMENT_STATUSES[listing.status],
        tick_size=instrument.prices.text(1),
        lot_size=lots_text(1),
        min_quantity=lots_text(listing.min_lots),
        max_quantity=lots_text(listing.max_lots) if listing.max_lots else None,
        min_notional=amount_text(listing.min_notional) if listing.min_notional else None,
        max_notional=amount_text(listing.max_notional) if listing.max_notional else None,
        price_band=PRICE_BANDS.text(listing.price_band) if listing.price_band else None,
        max_open_orders=listing.max_open_orders or None,
        maker_fee=FEE_RATES.text(maker),
        taker_fee=FEE_RATES.text(taker),
    )


def fee_message(listing: Listing, maker: int, taker: int) -> FeeMessage:
    """Return what one tier pays in an instrument. Units: fees in 1/1,000,000 of the notional."""
    return FeeMessage(symbol=listing.symbol, maker_fee=FEE_RATES.text(maker), taker_fee=FEE_RATES.text(taker))


def transfer_message(transfer: TransferLike, asset: Asset) -> TransferMessage:
    """Return a deposit or a withdrawal as a message."""
    text = asset.amounts.text
    return TransferMessage(
        transfer_id=str(transfer.transfer_id),
        account_id=str(transfer.account),
        asset=transfer.asset,
        amount=text(transfer.amount),
        free=text(transfer.free),
        held=text(transfer.held),
        timestamp=time_text(transfer.ts_ns),
    )


def key_message(key: KeyRecord) -> KeyMessage:
    """Return an API key as a message, without its secret."""
    return KeyMessage(
        api_key=key.api_key,
        account_id=str(key.account),
        label=key.label,
        created_at=time_text(key.created_ns),
        revoked_at=time_text(key.revoked_ns) if key.revoked_ns else None,
    )


def key_created(key: KeyRecord, secret: str) -> KeyCreated:
    """Return a new API key as a message, with its secret."""
    return KeyCreated(
        api_key=key.api_key,
        api_secret=secret,
        account_id=str(key.account),
        label=key.label,
        created_at=time_text(key.created_ns),
    )
