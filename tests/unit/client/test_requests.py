from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from fauxchange.client import requests
from fauxchange.client.errors import InvalidRequest, OrderRejected, Rejected
from fauxchange.client.requests import Access, Call, order_request


def body(call: Call[Any]) -> dict[str, Any]:
    document = msgspec.json.decode(call.body)
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({}, "market"),
        ({"price": "60000"}, "limit"),
        ({"stop_price": "59000"}, "stop"),
        ({"stop_price": "59000", "price": "58990"}, "stop_limit"),
        ({"stop_price": "61000", "take_profit": True}, "take_profit"),
        ({"stop_price": "61000", "price": "61010", "take_profit": True}, "take_profit_limit"),
    ],
)
def test_an_orders_type_follows_from_what_is_given(given: dict[str, Any], kind: str) -> None:
    assert order_request("buy", "BTC-USD", "0.01", **given).type == kind


def test_a_take_profit_without_its_trigger_is_refused_before_it_is_sent() -> None:
    with pytest.raises(InvalidRequest) as refused:
        order_request("buy", "BTC-USD", "0.01", take_profit=True)

    assert refused.value.field == "stop_price"


def test_numbers_are_sent_as_exact_text() -> None:
    order = order_request("sell", "BTC-USD", Decimal("1E-8"), price=60000)

    assert (order.quantity, order.price) == ("0.00000001", "60000")


def test_a_float_is_refused_because_it_is_not_exact() -> None:
    with pytest.raises(InvalidRequest, match="not exact"):
        order_request("sell", "BTC-USD", 0.1)  # type: ignore[arg-type]


def test_every_order_is_sent_with_a_client_order_id_of_its_own() -> None:
    order = order_request("buy", "BTC-USD", "0.01")

    first, second = body(requests.place_order(order)), body(requests.place_order(order))

    assert first["client_order_id"] != second["client_order_id"]
    assert msgspec.convert(first, requests.OrderRequest).symbol == "BTC-USD"


def test_a_given_client_order_id_is_kept() -> None:
    order = order_request("buy", "BTC-USD", "0.01", client_order_id="my-1")

    assert body(requests.place_order(order))["client_order_id"] == "my-1"
    assert body(requests.place_orders([order]))["orders"][0]["client_order_id"] == "my-1"


def test_what_is_not_given_is_not_sent() -> None:
    call = requests.list_orders(status="open", symbol="BTC/USD", limit=5)

    assert call.target == "/api/v1/orders?status=open&symbol=BTC/USD&limit=5"
    assert requests.list_orders().target == "/api/v1/orders"


def test_orders_are_named_by_either_id_in_paths() -> None:
    assert requests.get_order("17").target == "/api/v1/orders/17"
    assert requests.cancel_order("client:a.b_c-1").target == "/api/v1/orders/client:a.b_c-1"
    assert requests.get_order("../x?y").target == "/api/v1/orders/..%2Fx%3Fy"


def test_a_symbol_in_a_path_is_written_with_a_dash() -> None:
    assert requests.get_book("BTC/USD", depth=5).target == "/api/v1/book/BTC-USD?depth=5"


def test_times_are_sent_in_utc() -> None:
    noon = datetime(2026, 1, 31, 13, tzinfo=timezone(timedelta(hours=1)))

    assert requests.list_fills(start=noon).target == "/api/v1/fills?start=2026-01-31T12:00:00.000000Z"
    assert noon.astimezone(UTC).hour == 12


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no time zone"):
        requests.list_fills(start=datetime(2026, 1, 31))  # noqa: DTZ001 - the very thing


def test_deposits_and_accounts_carry_an_idempotency_key_and_may_be_repeated() -> None:
    deposit = requests.deposit("3", "USD", "100")

    assert deposit.repeatable
    assert len(deposit.headers["Idempotency-Key"]) >= 16
    assert requests.create_account("me", idempotency_key="k").headers == {"Idempotency-Key": "k"}


def test_only_safe_calls_may_be_repeated_as_they_are() -> None:
    order = order_request("buy", "BTC-USD", "0.01")
    unsafe = [
        requests.place_order(order),
        requests.amend_order("1", price="1"),
        requests.cancel_order("1"),
        requests.cancel_all(),
        requests.replace_order("1", order),
        requests.create_key("3"),
    ]

    assert [call.target for call in unsafe if call.repeatable] == []
    assert requests.get_balances().repeatable


def test_each_call_says_who_may_make_it() -> None:
    assert requests.list_instruments().access is Access.PUBLIC
    assert requests.get_balances().access is Access.SIGNED
    assert requests.list_accounts().access is Access.ADMIN


def test_a_cancellation_is_settled_when_the_order_is_canceled(make_order: Any) -> None:
    settling = requests.cancel_order("17").settling
    assert settling is not None

    assert settling.conclude(make_order(status="NEW")) is None
    assert settling.conclude(make_order(status="PARTIALLY_FILLED")) is None
    assert settling.conclude(canceled := make_order(status="CANCELED")) is canceled
    with pytest.raises(Rejected) as refused:
        settling.conclude(make_order(status="FILLED"))
    assert (refused.value.code, refused.value.reason) == ("order_finished", 105)


def test_a_placed_order_that_was_rejected_is_told_as_such(make_order: Any) -> None:
    settling = requests.place_order(order_request("buy", "BTC-USD", "1", client_order_id="my-1")).settling
    assert settling is not None

    assert settling.question.target == "/api/v1/orders/client:my-1"
    assert settling.conclude(filled := make_order(status="FILLED")) is filled
    with pytest.raises(OrderRejected) as rejected:
        settling.conclude(make_order(status="REJECTED", reason="insufficient_funds"))
    assert (rejected.value.code, rejected.value.reason) == ("insufficient_funds", 401)
    assert rejected.value.order is not None
