"""Every question that a client may ask a venue, as a value: what is sent, who may ask, and what the answer is.

Nothing here sends anything. A `Call` also says what may be done when its outcome is not known: a `repeatable` one may
be sent again as it is; for others `settling` says how to find out what became of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Generic, Literal, TypedDict, TypeVar, Unpack
from urllib.parse import quote, urlencode

import msgspec

from fauxchange.client.chance import new_client_order_id, new_idempotency_key
from fauxchange.client.errors import InvalidRequest, Rejected, error_of_rejected
from fauxchange.contracts.exchange.messages import (
    AccountChange,
    AccountMessage,
    AccountRequest,
    AccountsResponse,
    AccountStatusName,
    AmendRequest,
    BalancesResponse,
    BatchRequest,
    BatchResponse,
    BookMessage,
    CancelAllResponse,
    FeesResponse,
    FillsResponse,
    InstrumentChange,
    InstrumentMessage,
    InstrumentsResponse,
    InstrumentStatusName,
    KeyCreated,
    KeyMessage,
    KeyRequest,
    KeysResponse,
    LedgerResponse,
    OrderMessage,
    OrderRequest,
    OrdersResponse,
    OrderStatusName,
    OrderTypeName,
    SelfTradePreventionName,
    SideName,
    TimeInForceName,
    TradesResponse,
    TransferMessage,
    TransferRequest,
)
from fauxchange.contracts.exchange.refusals import REFUSALS
from fauxchange.contracts.market_data.messages import PriceMessage, PricesResponse

T = TypeVar("T")

API = "/api/v1"
EXCHANGE_STREAM = f"{API}/exchange/ws"
MARKET_DATA_STREAM = f"{API}/market-data/ws"
CLIENT_REF = "client:"
"""What comes before a client order id where an order's id is wanted."""
_ORDER_FINISHED = 105
ORDER_FINISHED = REFUSALS[_ORDER_FINISHED].code

Amount = str | int | Decimal
"""An exact number. A `float` is not one: 0.1 is not a tenth."""
Moment = str | datetime
"""A time as RFC 3339 text, or a datetime that knows its zone."""


class PageQuery(TypedDict, total=False):
    """Which page of a list: `start <= time < end`, at most `limit`, from the `next_cursor` of the page before.

    Newest first, but oldest first if there is a `start`; `order` says otherwise.
    """

    start: Moment | None
    end: Moment | None
    limit: int | None
    cursor: str | None
    order: Literal["asc", "desc"] | None


LedgerCause = Literal["deposit", "withdrawal", "reserve", "release", "trade", "fee"]
OrderFilter = Literal["open"] | OrderStatusName


class Access(Enum):
    """Who may ask."""

    PUBLIC = "public"
    SIGNED = "signed"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling(Generic[T]):
    """How to find out what became of a call whose answer did not come.

    `conclude` turns the answer to the question into the call's own, or None if the call has had no effect yet.
    Raises: Rejected if the call cannot have the effect any more
    """

    question: "Call[T]"
    conclude: Callable[[T], T | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request: `target` is its path with its query, exactly as it is sent and signed."""

    method: str
    target: str
    answer: type[T]
    access: Access = Access.PUBLIC
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = False
    settling: Settling[T] | None = None

    def parse(self, body: bytes) -> T:
        """Return the answer. Raises: msgspec.DecodeError (of which ValidationError is one) if it is another thing."""
        return msgspec.json.decode(body, type=self.answer)


# Orders -------------------------------------------------------------------------------------------------------------


def order_request(
    side: SideName,
    symbol: str,
    quantity: Amount | None = None,
    *,
    price: Amount | None = None,
    stop_price: Amount | None = None,
    quote_quantity: Amount | None = None,
    display_quantity: Amount | None = None,
    take_profit: bool = False,
    time_in_force: TimeInForceName | None = None,
    post_only: bool = False,
    expires_at: Moment | None = None,
    self_trade_prevention: SelfTradePreventionName | None = None,
    client_order_id: str | None = None,
) -> OrderRequest:
    """Return an order whose type follows from what is given: market without a price, limit with one.

    With a stop price it waits until the last trade reaches it: as a stop, or with `take_profit` as a take-profit order.
    """
    return OrderRequest(
        symbol=symbol,
        side=side,
        type=_order_type(priced=price is not None, triggered=stop_price is not None, take_profit=take_profit),
        quantity=_number(quantity),
        quote_quantity=_number(quote_quantity),
        price=_number(price),
        stop_price=_number(stop_price),
        display_quantity=_number(display_quantity),
        time_in_force=time_in_force,
        post_only=post_only,
        expires_at=_time(expires_at),
        self_trade_prevention=self_trade_prevention,
        client_order_id=client_order_id,
    )


def place_order(order: OrderRequest) -> Call[OrderMessage]:
    """Place an order; one without a client order id is given one, so that it can be repeated and found.

    Raises: OrderRejected with the order as the exchange keeps it
    """
    named = identified(order)
    return _post("/orders", named, OrderMessage, settling=settling_of(named))


def place_orders(orders: Sequence[OrderRequest]) -> Call[BatchResponse]:
    """Place several orders, each accepted or refused by itself."""
    batch = BatchRequest(orders=[identified(order) for order in orders])
    return _post("/orders/batch", batch, BatchResponse, repeatable=True)


def replace_order(ref: str, order: OrderRequest) -> Call[OrderMessage]:
    """Cancel one order and place another in its stead, both or neither."""
    named = identified(order)
    return _post(f"/orders/{order_path(ref)}/replace", named, OrderMessage, settling=settling_of(named))


def amend_order(ref: str, *, price: Amount | None = None, quantity: Amount | None = None) -> Call[OrderMessage]:
    """Change an order's price, its total quantity (filled part included), or both.

    Less quantity at the same price keeps the order's place in the queue; everything else sends it to the back.
    """
    change = AmendRequest(price=_number(price), quantity=_number(quantity))
    return Call(
        method="PATCH",
        target=f"{API}/orders/{order_path(ref)}",
        answer=OrderMessage,
        access=Access.SIGNED,
        body=msgspec.json.encode(change),
    )


def cancel_order(ref: str) -> Call[OrderMessage]:
    """Cancel an order."""
    return Call(
        method="DELETE",
        target=f"{API}/orders/{order_path(ref)}",
        answer=OrderMessage,
        access=Access.SIGNED,
        settling=Settling(question=get_order(ref), conclude=_canceled),
    )


def cancel_all(symbol: str | None = None) -> Call[CancelAllResponse]:
    """Cancel all open orders, or those of one symbol."""
    target = _with_query("/orders", {"symbol": symbol})
    return Call(method="DELETE", target=target, answer=CancelAllResponse, access=Access.SIGNED)


def get_order(ref: str) -> Call[OrderMessage]:
    """Return an order by its id, or by `client:` and its client order id."""
    return _get(f"/orders/{order_path(ref)}", {}, OrderMessage, Access.SIGNED)


def list_orders(
    *, status: OrderFilter | None = None, symbol: str | None = None, **page: Unpack[PageQuery]
) -> Call[OrdersResponse]:
    """Return a page of orders, of one status if it is given."""
    return _get("/orders", {"status": status, "symbol": symbol, **_page(page)}, OrdersResponse, Access.SIGNED)


def list_fills(
    *, symbol: str | None = None, order_id: str | None = None, **page: Unpack[PageQuery]
) -> Call[FillsResponse]:
    """Return a page of fills, of one order if it is given."""
    return _get("/fills", {"symbol": symbol, "order_id": order_id, **_page(page)}, FillsResponse, Access.SIGNED)


# The caller's account -----------------------------------------------------------------------------------------------


def get_account() -> Call[AccountMessage]:
    """Return the account that the key belongs to."""
    return _get("/account", {}, AccountMessage, Access.SIGNED)


def get_balances() -> Call[BalancesResponse]:
    """Return the account's balances that are not zero."""
    return _get("/account/balances", {}, BalancesResponse, Access.SIGNED)


def get_fees() -> Call[FeesResponse]:
    """Return the fees that the account pays in each instrument."""
    return _get("/account/fees", {}, FeesResponse, Access.SIGNED)


def list_ledger(
    *,
    asset: str | None = None,
    cause: LedgerCause | None = None,
    order_id: str | None = None,
    **page: Unpack[PageQuery],
) -> Call[LedgerResponse]:
    """Return a page of the account's ledger entries."""
    query = {"asset": asset, "cause": cause, "order_id": order_id, **_page(page)}
    return _get("/account/ledger", query, LedgerResponse, Access.SIGNED)


# Markets ------------------------------------------------------------------------------------------------------------


def list_instruments() -> Call[InstrumentsResponse]:
    """Return all instruments with their grids, limits and fees."""
    return _get("/instruments", {}, InstrumentsResponse)


def get_instrument(symbol: str) -> Call[InstrumentMessage]:
    """Return one instrument."""
    return _get(f"/instruments/{_symbol_part(symbol)}", {}, InstrumentMessage)


def get_book(symbol: str, *, depth: int | None = None) -> Call[BookMessage]:
    """Return the visible book as it stands, the best prices first."""
    return _get(f"/book/{_symbol_part(symbol)}", {"depth": depth}, BookMessage)


def list_trades(symbol: str, **page: Unpack[PageQuery]) -> Call[TradesResponse]:
    """Return a page of trades."""
    return _get(f"/trades/{_symbol_part(symbol)}", _page(page), TradesResponse)


def list_prices() -> Call[PricesResponse]:
    """Return the latest price of every symbol."""
    return _get("/prices", {}, PricesResponse)


def get_price(symbol: str) -> Call[PriceMessage]:
    """Return the latest price of a symbol."""
    return _get(f"/prices/{_symbol_part(symbol)}", {}, PriceMessage)


# Administration -----------------------------------------------------------------------------------------------------


def create_account(name: str, *, tier: int = 0, idempotency_key: str | None = None) -> Call[AccountMessage]:
    """Create an account."""
    return _made("/accounts", AccountRequest(name=name, tier=tier), AccountMessage, idempotency_key)


def get_any_account(account_id: str) -> Call[AccountMessage]:
    """Return an account."""
    return _get(f"/accounts/{_part(account_id)}", {}, AccountMessage, Access.ADMIN)


def list_accounts(
    *, status: AccountStatusName | None = None, limit: int | None = None, cursor: str | None = None
) -> Call[AccountsResponse]:
    """Return a page of accounts, of one status if it is given."""
    return _get("/accounts", {"status": status, "limit": limit, "cursor": cursor}, AccountsResponse, Access.ADMIN)


def set_account_status(account_id: str, status: AccountStatusName) -> Call[AccountMessage]:
    """Suspend, activate or close an account; a closed one stays closed."""
    return Call(
        method="PATCH",
        target=f"{API}/accounts/{_part(account_id)}",
        answer=AccountMessage,
        access=Access.ADMIN,
        body=msgspec.json.encode(AccountChange(status=status)),
        repeatable=True,
    )


def get_any_balances(account_id: str) -> Call[BalancesResponse]:
    """Return the balances of an account that are not zero."""
    return _get(f"/accounts/{_part(account_id)}/balances", {}, BalancesResponse, Access.ADMIN)


def list_any_orders(
    account_id: str, *, status: OrderFilter | None = None, symbol: str | None = None, **page: Unpack[PageQuery]
) -> Call[OrdersResponse]:
    """Return a page of an account's orders."""
    query = {"status": status, "symbol": symbol, **_page(page)}
    return _get(f"/accounts/{_part(account_id)}/orders", query, OrdersResponse, Access.ADMIN)


def list_any_fills(
    account_id: str, *, symbol: str | None = None, order_id: str | None = None, **page: Unpack[PageQuery]
) -> Call[FillsResponse]:
    """Return a page of an account's fills."""
    query = {"symbol": symbol, "order_id": order_id, **_page(page)}
    return _get(f"/accounts/{_part(account_id)}/fills", query, FillsResponse, Access.ADMIN)


def list_any_ledger(
    account_id: str, *, asset: str | None = None, cause: LedgerCause | None = None, **page: Unpack[PageQuery]
) -> Call[LedgerResponse]:
    """Return a page of an account's ledger entries."""
    query = {"asset": asset, "cause": cause, **_page(page)}
    return _get(f"/accounts/{_part(account_id)}/ledger", query, LedgerResponse, Access.ADMIN)


def deposit(
    account_id: str, asset: str, amount: Amount, *, idempotency_key: str | None = None
) -> Call[TransferMessage]:
    """Deposit an amount of an asset."""
    body = TransferRequest(asset=asset, amount=exact(amount))
    return _made(f"/accounts/{_part(account_id)}/deposits", body, TransferMessage, idempotency_key)


def withdraw(
    account_id: str, asset: str, amount: Amount, *, idempotency_key: str | None = None
) -> Call[TransferMessage]:
    """Withdraw an amount of an asset."""
    body = TransferRequest(asset=asset, amount=exact(amount))
    return _made(f"/accounts/{_part(account_id)}/withdrawals", body, TransferMessage, idempotency_key)


def create_key(account_id: str, *, label: str = "") -> Call[KeyCreated]:
    """Create an API key; its secret is in this answer and nowhere else."""
    return _post(f"/accounts/{_part(account_id)}/keys", KeyRequest(label=label), KeyCreated, access=Access.ADMIN)


def list_keys(account_id: str) -> Call[KeysResponse]:
    """Return the API keys of an account, without their secrets."""
    return _get(f"/accounts/{_part(account_id)}/keys", {}, KeysResponse, Access.ADMIN)


def revoke_key(account_id: str, api_key: str) -> Call[KeyMessage]:
    """Revoke an API key, effective at once."""
    target = f"{API}/accounts/{_part(account_id)}/keys/{_part(api_key)}"
    return Call(method="DELETE", target=target, answer=KeyMessage, access=Access.ADMIN)


def set_instrument_status(symbol: str, status: InstrumentStatusName) -> Call[InstrumentMessage]:
    """Open or halt an instrument, or let its orders only be canceled."""
    return _post(
        f"/instruments/{_symbol_part(symbol)}/status",
        InstrumentChange(status=status),
        InstrumentMessage,
        access=Access.ADMIN,
        repeatable=True,
    )


# What they are made with --------------------------------------------------------------------------------------------


def identified(order: OrderRequest) -> OrderRequest:
    """Return the order with a client order id."""
    if order.client_order_id is not None:
        return order
    return msgspec.structs.replace(order, client_order_id=new_client_order_id())


def settling_of(order: OrderRequest) -> Settling[OrderMessage]:
    """Return how to find out what became of an order that has a client order id."""
    return Settling(question=get_order(f"{CLIENT_REF}{order.client_order_id}"), conclude=_placed)


def is_finished(order: OrderMessage) -> bool:
    """Return whether nothing more can happen to an order."""
    return order.status not in {"NEW", "PARTIALLY_FILLED"}


def order_path(ref: str) -> str:
    """Return an order's id, or its `client:` id, as part of a path."""
    return quote(ref, safe=":")


def exact(value: Amount) -> str:
    """Return a number as text. Raises: InvalidRequest if it is a float."""
    if isinstance(value, float):
        raise InvalidRequest(f"{value} is a float, which is not exact: write it as text or as a Decimal")
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _order_type(*, priced: bool, triggered: bool, take_profit: bool) -> OrderTypeName:
    if take_profit and not triggered:
        raise InvalidRequest("a take-profit order wants a stop price", field="stop_price")
    if take_profit:
        return "take_profit_limit" if priced else "take_profit"
    if triggered:
        return "stop_limit" if priced else "stop"
    return "limit" if priced else "market"


def _placed(order: OrderMessage) -> OrderMessage:
    if order.status == "REJECTED":
        raise error_of_rejected(order)
    return order


def _canceled(order: OrderMessage) -> OrderMessage | None:
    if not is_finished(order):
        return None
    if order.status != "CANCELED":
        raise Rejected(REFUSALS[_ORDER_FINISHED].detail, code=ORDER_FINISHED, reason=_ORDER_FINISHED, order=order)
    return order


def _get(path: str, query: Mapping[str, object], answer: type[T], access: Access = Access.PUBLIC) -> Call[T]:
    target = _with_query(path, query)
    return Call(method="GET", target=target, answer=answer, access=access, repeatable=True)


def _post(
    path: str,
    body: msgspec.Struct,
    answer: type[T],
    *,
    access: Access = Access.SIGNED,
    repeatable: bool = False,
    settling: Settling[T] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Call[T]:
    return Call(
        method="POST",
        target=API + path,
        answer=answer,
        access=access,
        body=msgspec.json.encode(body),
        headers=headers or {},
        repeatable=repeatable,
        settling=settling,
    )


def _made(path: str, body: msgspec.Struct, answer: type[T], idempotency_key: str | None) -> Call[T]:
    headers = {"Idempotency-Key": idempotency_key or new_idempotency_key()}
    return _post(path, body, answer, access=Access.ADMIN, repeatable=True, headers=headers)


def _with_query(path: str, query: Mapping[str, object]) -> str:
    given = {name: str(value) for name, value in query.items() if value is not None}
    return API + path + ("?" + urlencode(given, safe=":/,", quote_via=quote) if given else "")


def _page(page: PageQuery) -> dict[str, object]:
    return {**page, "start": _time(page.get("start")), "end": _time(page.get("end"))}


def _part(text: str) -> str:
    return quote(text, safe="")


def _symbol_part(symbol: str) -> str:
    # The canonical spelling has a slash, which would end the part.
    return _part(symbol.replace("/", "-"))


def _number(value: Amount | None) -> str | None:
    return None if value is None else exact(value)


def _time(value: Moment | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if value.tzinfo is None:
        raise InvalidRequest(f"{value} has no time zone")
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
