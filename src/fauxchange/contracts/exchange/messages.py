"""The exchange as JSON, over REST and WebSocket alike: decimals and ids are strings, times RFC 3339 UTC."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import msgspec

from fauxchange.contracts.market_data.messages import DecimalText, SymbolText, TimeText

_AMOUNT: Final = r"[0-9]{1,20}(\.[0-9]{1,18})?"
_SYMBOL: Final = r"[A-Za-z0-9]{1,16}[-/][A-Za-z0-9]{1,16}"
_CLIENT_ORDER_ID: Final = r"[A-Za-z0-9._-]{1,36}"
MAX_TEXT: Final = 40
"""More characters has no amount and no symbol."""

AmountText = Annotated[
    str,
    msgspec.Meta(
        pattern=f"^{_AMOUNT}$",
        max_length=MAX_TEXT,
        description="A positive exact decimal.",
        examples=["0.010"],
    ),
]
SymbolName = Annotated[
    str,
    msgspec.Meta(pattern=f"^{_SYMBOL}$", description="A symbol.", examples=["BTC/USD", "BTC-USD"]),
]
ClientOrderId = Annotated[
    str,
    msgspec.Meta(
        pattern=f"^{_CLIENT_ORDER_ID}$",
        description="The caller's own id of the order, by which it is found and repeated safely.",
    ),
]
Name = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=64,
        pattern=r"^[^\u0000-\u001f\u007f]+$",
        description="A name for people, without control characters.",
    ),
]
AssetName = Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9]{1,16}$", description="An asset.", examples=["USD"])]

SideName = Literal["buy", "sell"]
OrderTypeName = Literal["market", "limit", "stop", "stop_limit", "take_profit", "take_profit_limit"]
TimeInForceName = Literal["GTC", "IOC", "FOK", "GTD"]
SelfTradePreventionName = Literal["none", "expire_taker", "expire_maker", "expire_both"]
OrderStatusName = Literal["NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "REJECTED", "EXPIRED"]
AccountStatusName = Literal["active", "suspended", "closed"]
InstrumentStatusName = Literal["open", "halted", "cancel_only"]

MAX_BATCH_ORDERS = 100


# What callers send. -------------------------------------------------------------------------------------------------


class OrderRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An order to place; `quantity` in the base asset, or for a market order `quote_quantity` in the quote asset.

    Unless `time_in_force` says otherwise a market order is IOC, one with `expires_at` GTD, and every other order GTC.
    """

    symbol: SymbolName
    side: SideName
    type: OrderTypeName = "limit"
    quantity: AmountText | None = None
    quote_quantity: AmountText | None = None
    price: AmountText | None = None
    stop_price: AmountText | None = None
    display_quantity: AmountText | None = None
    time_in_force: TimeInForceName | None = None
    post_only: bool = False
    expires_at: str | None = None
    self_trade_prevention: SelfTradePreventionName | None = None
    client_order_id: ClientOrderId | None = None


class QuickOrder(OrderRequest, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An order as most are, decoded in half the time; what this refuses is to be decoded as an `OrderRequest`.

    Most of an order's decoding is patterns of its texts, and most amounts and symbols have been seen before.
    """

    symbol: str
    quantity: str | None = None
    quote_quantity: None = None
    price: str | None = None
    stop_price: None = None
    display_quantity: None = None
    client_order_id: str | None = None

    def __post_init__(self) -> None:
        name = self.client_order_id
        known = self.symbol in _symbols and self.quantity in _amounts and self.price in _amounts
        if not ((known or self._is_learned()) and (name is None or _client_order_id(name) is not None)):
            raise ValueError("an OrderRequest says what is wrong, if anything is")

    def _is_learned(self) -> bool:
        """Remember this order's symbol and amounts if they are such; say whether they all are."""
        return _learn(_symbols, _is_symbol, self.symbol) and all(
            amount is None or _learn(_amounts, _is_amount, amount) for amount in (self.quantity, self.price)
        )


_client_order_id: Final = re.compile(_CLIENT_ORDER_ID).fullmatch
_is_amount: Final = re.compile(_AMOUNT).fullmatch
_is_symbol: Final = re.compile(_SYMBOL).fullmatch
MAX_KNOWN: Final = 16_384
"""So many symbols, and so many amounts, are remembered; with one more it begins anew."""
_symbols: Final[set[str | None]] = {None}
_amounts: Final[set[str | None]] = {None}


def _learn(known: set[str | None], is_one: Callable[[str], object], text: str) -> bool:
    """Remember a text if it is what it should be, and so is short; say whether it is."""
    if is_one(text) is None:
        return False
    if len(known) >= MAX_KNOWN:
        known.clear()
        known.add(None)
    known.add(text)
    return True


class BatchRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Several orders, each accepted or refused by itself, in this order."""

    orders: Annotated[list[OrderRequest], msgspec.Meta(min_length=1, max_length=MAX_BATCH_ORDERS)]


class AmendRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A new price, a new total quantity (filled part included), or both.

    Less quantity at the same price keeps the order's place in the queue; everything else goes to its back.
    """

    price: AmountText | None = None
    quantity: AmountText | None = None


class AccountRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An account to create."""

    name: Name
    tier: Annotated[int, msgspec.Meta(ge=0, le=15, description="The fee tier.")] = 0


class AccountChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A new status of an account; a closed one stays closed."""

    status: AccountStatusName


class TransferRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A deposit or a withdrawal."""

    asset: AssetName
    amount: AmountText


class KeyRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An API key to create."""

    label: Annotated[str, msgspec.Meta(max_length=64)] = ""


class InstrumentChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A new status of an instrument."""

    status: InstrumentStatusName


# What the exchange tells. -------------------------------------------------------------------------------------------


class FillMessage(msgspec.Struct, kw_only=True):
    """One execution of an order."""

    trade_id: str
    order_id: str
    client_order_id: str | None
    symbol: SymbolText
    side: SideName
    liquidity: Literal["maker", "taker"]
    price: DecimalText
    quantity: DecimalText
    fee: DecimalText
    fee_asset: str
    timestamp: TimeText


class OrderMessage(msgspec.Struct, kw_only=True):
    """An order as it stands.

    `fills` are those that are known without asking the store: all of an order that was just placed or is open since the
    process started; `GET /fills?order_id=` has every one.
    """

    order_id: str
    client_order_id: str | None
    account_id: str
    symbol: SymbolText
    side: SideName
    type: OrderTypeName
    time_in_force: TimeInForceName
    status: OrderStatusName
    quantity: DecimalText
    filled_quantity: DecimalText
    remaining_quantity: DecimalText
    quote_quantity: DecimalText | None
    price: DecimalText | None
    stop_price: DecimalText | None
    display_quantity: DecimalText | None
    average_price: DecimalText | None
    post_only: bool
    self_trade_prevention: SelfTradePreventionName
    triggered: bool
    fee: DecimalText
    fee_asset: str
    reason: str | None
    verdict: str | None = None
    replaces: str | None
    expires_at: TimeText | None
    created_at: TimeText
    updated_at: TimeText
    fills: list[FillMessage]


class OrdersResponse(msgspec.Struct):
    """A page of orders."""

    orders: list[OrderMessage]
    next_cursor: str | None = None


class FillsResponse(msgspec.Struct):
    """A page of fills."""

    fills: list[FillMessage]
    next_cursor: str | None = None


class RefusalMessage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Why one order of a batch or of a stream was refused; `reason` is the kernel's number."""

    code: str
    detail: str
    field: str | None = None
    reason: int | None = None


class BatchResult(msgspec.Struct, kw_only=True):
    """The outcome of one order of a batch: the order, a refusal, or both where the refused order was stored."""

    order: OrderMessage | None
    refusal: RefusalMessage | None


class BatchResponse(msgspec.Struct):
    """The outcomes, in the order of the request."""

    results: list[BatchResult]


class CancelAllResponse(msgspec.Struct):
    """The orders that were canceled."""

    orders: list[OrderMessage]


class InstrumentMessage(msgspec.Struct, kw_only=True):
    """An instrument with its grids and limits; a limit that does not exist is null.

    `price_band` is how far from the reference price an order's price may lie, as a share of it.
    """

    symbol: SymbolText
    base: str
    quote: str
    status: InstrumentStatusName
    tick_size: DecimalText
    lot_size: DecimalText
    min_quantity: DecimalText
    max_quantity: DecimalText | None
    min_notional: DecimalText | None
    max_notional: DecimalText | None
    price_band: DecimalText | None
    max_open_orders: int | None
    maker_fee: DecimalText
    taker_fee: DecimalText


class InstrumentsResponse(msgspec.Struct):
    """All instruments."""

    instruments: list[InstrumentMessage]


class FeeMessage(msgspec.Struct, kw_only=True):
    """What an account pays in one instrument, as shares of the notional."""

    symbol: SymbolText
    maker_fee: DecimalText
    taker_fee: DecimalText


class FeesResponse(msgspec.Struct, kw_only=True):
    """The fees of an account, which follow from its tier."""

    account_id: str
    tier: int
    fees: list[FeeMessage]


class BookMessage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The visible book: `[price, quantity]` from the best price on; in a delta a quantity of 0 removes the price.

    `checksum` is the CRC-32 over the ten best bids and asks after the change (see the documentation of streams).
    """

    symbol: SymbolText
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    sequence: int
    timestamp: TimeText
    checksum: int | None = None


class TradeMessage(msgspec.Struct, kw_only=True):
    """A trade; `side` is the taker's."""

    trade_id: str
    symbol: SymbolText
    side: SideName
    price: DecimalText
    quantity: DecimalText
    timestamp: TimeText


class TradesResponse(msgspec.Struct):
    """A page of trades."""

    trades: list[TradeMessage]
    next_cursor: str | None = None


class BalanceMessage(msgspec.Struct, kw_only=True):
    """What an account has of an asset: free to use, and held for open orders."""

    asset: str
    free: DecimalText
    held: DecimalText


class BalancesResponse(msgspec.Struct):
    """All balances of an account that are not zero."""

    account_id: str
    balances: list[BalanceMessage]


class AccountMessage(msgspec.Struct, kw_only=True):
    """An account."""

    account_id: str
    name: str
    tier: int
    status: AccountStatusName
    created_at: TimeText
    updated_at: TimeText


class AccountsResponse(msgspec.Struct):
    """A page of accounts."""

    accounts: list[AccountMessage]
    next_cursor: str | None = None


class LedgerEntryMessage(msgspec.Struct, kw_only=True):
    """One posting, with the balance after it."""

    entry_id: str
    asset: str
    delta_free: DecimalText
    delta_held: DecimalText
    free: DecimalText
    held: DecimalText
    cause: Literal["deposit", "withdrawal", "reserve", "release", "trade", "fee"]
    order_id: str | None
    timestamp: TimeText


class LedgerResponse(msgspec.Struct):
    """A page of ledger entries."""

    entries: list[LedgerEntryMessage]
    next_cursor: str | None = None


class TransferMessage(msgspec.Struct, kw_only=True):
    """A deposit or withdrawal that was made, and the balance after it."""

    transfer_id: str
    account_id: str
    asset: str
    amount: DecimalText
    free: DecimalText
    held: DecimalText
    timestamp: TimeText


class KeyMessage(msgspec.Struct, kw_only=True):
    """An API key, without its secret."""

    api_key: str
    account_id: str
    label: str
    created_at: TimeText
    revoked_at: TimeText | None


class KeyCreated(msgspec.Struct, kw_only=True):
    """A new API key with its secret, which is told this once."""

    api_key: str
    api_secret: str
    account_id: str
    label: str
    created_at: TimeText


class KeysResponse(msgspec.Struct):
    """All API keys of an account."""

    keys: list[KeyMessage]


class ReportMessage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An execution report on the private `orders` channel: what happened, and the order after it.

    `exec_type` is one of new, rejected, trade, triggered, amended, replaced, canceled, expired.
    """

    exec_type: str
    order: OrderMessage
    fill: FillMessage | None = None
    origin_id: str | None = None


class StreamFrame(msgspec.Struct, kw_only=True):
    """One message of a stream as JSON."""

    channel: str
    symbol: str
    epoch: int
    first_sequence: int
    sequence: int
    type: str
    data: Any
