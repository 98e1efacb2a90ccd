"""Read protobuf requests: into the messages that REST reads too, and under the same rules."""

import re
from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeVar

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from fauxchange.contracts.exchange import proto
from fauxchange.contracts.exchange.messages import MAX_BATCH_ORDERS, AmendRequest, OrderRequest, QuickOrder
from fauxchange.contracts.exchange.v1 import exchange_pb2 as pb
from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.instruments import MAX_INT64
from fauxchange.domain.orders import ACCOUNT_STATUSES, INSTRUMENT_STATUSES, LEDGER_CAUSES, ORDER_STATUSES
from fauxchange.domain.times import NS_PER_S, format_time
from fauxchange.services.exchange.service.trading import CLIENT_PREFIX, parse_order_id

Message = TypeVar("Message", bound=msgspec.Struct)

DEFAULT_LIMIT: Final = 100


def _words(numbers: Mapping[str, Any]) -> dict[int, Any]:
    return {int(number): word for word, number in numbers.items()}


_SIDES: Final = _words(proto.SIDE_NUMBERS)
_TYPES: Final = _words(proto.TYPE_NUMBERS)
_TIMES_IN_FORCE: Final = _words(proto.TIME_IN_FORCE_NUMBERS)
_PREVENTIONS: Final = _words(proto.PREVENTION_NUMBERS)
_STATUSES: Final = _words(proto.STATUS_NUMBERS)
_ACCOUNT_STATUSES: Final = _words(proto.ACCOUNT_STATUS_NUMBERS)
_INSTRUMENT_STATUSES: Final = _words(proto.INSTRUMENT_STATUS_NUMBERS)
_CAUSES: Final = _words(proto.CAUSE_NUMBERS)

# Unspecified is what an order is that does not say.
_TYPES_OR_LIMIT: Final[Mapping[int, Any]] = {0: "limit", **_TYPES}
_TIMES_IN_FORCE_OR_NONE: Final[Mapping[int, Any]] = {0: None, **_TIMES_IN_FORCE}
_PREVENTIONS_OR_NONE: Final[Mapping[int, Any]] = {0: None, **_PREVENTIONS}

_PLACE: Final = re.compile(r" - at `\$\.(\w+)`$")


class Referring(Protocol):
    """A request that names an order in the oneof `reference`."""

    order_id: str
    client_order_id: str


def order_request(request: pb.PlaceOrderRequest) -> OrderRequest:
    """Return the order that is asked for. Raises: InvalidRequest."""
    usual = _usual_order(request)
    return _order_request(request) if usual is None else usual


def _order_request(request: pb.PlaceOrderRequest) -> OrderRequest:
    if not request.side:
        raise InvalidRequest("the order has no side", code="missing_field", field="side")
    fields: dict[str, Any] = {"symbol": request.symbol, "side": _word(_SIDES, request.side, "side")}
    if request.type:
        fields["type"] = _word(_TYPES, request.type, "type")
    if request.quantity:
        fields["quantity"] = request.quantity
    if request.quote_quantity:
        fields["quote_quantity"] = request.quote_quantity
    if request.price:
        fields["price"] = request.price
    if request.stop_price:
        fields["stop_price"] = request.stop_price
    if request.display_quantity:
        fields["display_quantity"] = request.display_quantity
    if request.time_in_force:
        fields["time_in_force"] = _word(_TIMES_IN_FORCE, request.time_in_force, "time_in_force")
    if request.post_only:
        fields["post_only"] = True
    if request.HasField("expires_at"):
        fields["expires_at"] = _time_text(request.expires_at, "expires_at")
    if request.self_trade_prevention:
        fields["self_trade_prevention"] = _word(_PREVENTIONS, request.self_trade_prevention, "self_trade_prevention")
    if request.client_order_id:
        fields["client_order_id"] = request.client_order_id
    return checked(fields, OrderRequest)


def _usual_order(request: pb.PlaceOrderRequest) -> QuickOrder | None:
    """Return an order as most are, read in a third of the time; None if it is another one or has to be refused."""
    if request.quote_quantity or request.stop_price or request.display_quantity or request.HasField("expires_at"):
        return None
    try:
        return QuickOrder(
            symbol=request.symbol,
            side=_SIDES[request.side],
            type=_TYPES_OR_LIMIT[request.type],
            quantity=request.quantity or None,
            price=request.price or None,
            time_in_force=_TIMES_IN_FORCE_OR_NONE[request.time_in_force],
            post_only=request.post_only,
            self_trade_prevention=_PREVENTIONS_OR_NONE[request.self_trade_prevention],
            client_order_id=request.client_order_id or None,
        )
    except (KeyError, ValueError):
        return None


def order_requests(request: pb.PlaceOrdersRequest) -> list[OrderRequest | InvalidRequest]:
    """Return the orders of a batch, in place of each that cannot be read why. Raises: InvalidRequest."""
    if not 1 <= len(request.orders) <= MAX_BATCH_ORDERS:
        raise InvalidRequest(f"a batch has 1 to {MAX_BATCH_ORDERS} orders", field="orders")
    orders: list[OrderRequest | InvalidRequest] = []
    for each in request.orders:
        try:
            orders.append(order_request(each))
        except InvalidRequest as exc:
            orders.append(exc)
    return orders


def amend_request(request: pb.AmendOrderRequest) -> AmendRequest:
    """Return what is to be changed. Raises: InvalidRequest."""
    fields = {name: text for name in ("price", "quantity") if (text := getattr(request, name))}
    return checked(fields, AmendRequest)


def order_ref(request: Referring) -> str:
    """Return the reference that the service finds an order by. Raises: InvalidRequest if there is none."""
    if request.order_id:
        if parse_order_id(request.order_id) is None:
            raise InvalidRequest("order_id is a whole positive number", code="invalid_number", field="order_id")
        return request.order_id
    if request.client_order_id:
        return CLIENT_PREFIX + request.client_order_id
    raise InvalidRequest("name the order: order_id or client_order_id", code="missing_field", field="order_id")


def checked(fields: dict[str, Any], message_type: type[Message]) -> Message:
    """Return a message of these fields, which keeps to its rules. Raises: InvalidRequest."""
    try:
        return msgspec.convert(fields, message_type)
    except msgspec.ValidationError as exc:
        text = str(exc)
        place = _PLACE.search(text)
        if place is None:
            raise InvalidRequest(text) from exc
        raise InvalidRequest(f"{place[1]}: {text[: place.start()]}", field=place[1]) from exc


def order_number(text: str) -> int | None:
    """Return the number of an order id in a filter, None if it is not given. Raises: InvalidRequest."""
    if not text:
        return None
    order_id = parse_order_id(text)
    if order_id is None:
        raise InvalidRequest("order_id is a whole positive number", code="invalid_number", field="order_id")
    return order_id


def order_statuses(numbers: Any) -> tuple[int, ...] | None:
    """Return the statuses that a filter lets through, None for all. Raises: InvalidRequest."""
    return tuple(ORDER_STATUSES.index(_word(_STATUSES, number, "statuses")) for number in numbers) or None


def ledger_causes(numbers: Any) -> tuple[int, ...] | None:
    """Return the causes that a filter lets through, None for all. Raises: InvalidRequest."""
    return tuple(LEDGER_CAUSES.index(_word(_CAUSES, number, "causes")) for number in numbers) or None


def account_status(number: int) -> int:
    """Return the status of an account. Raises: InvalidRequest if it is unspecified or unknown."""
    return ACCOUNT_STATUSES.index(_word(_ACCOUNT_STATUSES, number, "status"))


def instrument_status(number: int) -> int:
    """Return the status of an instrument. Raises: InvalidRequest if it is unspecified or unknown."""
    return INSTRUMENT_STATUSES.index(_word(_INSTRUMENT_STATUSES, number, "status"))


def time_ns(request: Any, field: str) -> int | None:
    """Return a time in nanoseconds since 1970, None for none. Raises: InvalidRequest if it is beyond 64 bits."""
    if not request.HasField(field):
        return None
    moment: Timestamp = getattr(request, field)
    ts_ns = moment.seconds * NS_PER_S + moment.nanos
    if abs(ts_ns) > MAX_INT64:
        raise InvalidRequest("the time is beyond what can be counted", code="invalid_time", field=field)
    return ts_ns


def page_of(request: Any) -> dict[str, Any]:
    """Return the part of a query that all pages have in common."""
    return {
        "start_ns": time_ns(request, "start"),
        "end_ns": time_ns(request, "end"),
        "oldest_first": request.oldest_first,
        "limit": request.limit or DEFAULT_LIMIT,
        "cursor": request.cursor or None,
    }


def _time_text(moment: Timestamp, field: str) -> str:
    try:
        return format_time(moment.seconds * NS_PER_S + moment.nanos)
    except (ValueError, OverflowError, OSError) as exc:
        raise InvalidRequest("the time is not within the years 1 to 9999", code="invalid_time", field=field) from exc


def _word(words: Mapping[int, str], number: int, field: str) -> str:
    word = words.get(number)
    if word is None:
        raise InvalidRequest(f"{field}: {number} is no value of this enum", code="invalid_choice", field=field)
    return word
