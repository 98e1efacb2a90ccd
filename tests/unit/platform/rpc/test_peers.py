import pytest

from fauxchange.contracts.exchange.v1 import exchange_pb2
from fauxchange.contracts.market_data.v1 import market_data_pb2
from fauxchange.domain.errors import InvariantViolation
from fauxchange.platform.rpc.methods import peer_of
from fauxchange.platform.rpc.peers import EXCHANGE, MARKET_DATA
from fauxchange.platform.rpc.pool import address_setting
from fauxchange.platform.settings import documented_settings
from fauxchange.venue.services import SERVICES

ORDER = exchange_pb2.PlaceOrderRequest


def may_repeat(method: str, request: object) -> bool:
    return EXCHANGE.methods[method].repeatable(request)


def test_peers_are_called_as_the_table_of_services_calls_them() -> None:
    for peer in (MARKET_DATA, EXCHANGE):
        assert peer.registered_name == SERVICES[peer.name].registered_name


def test_who_is_called_by_a_fixed_address_has_the_setting_that_its_failures_name() -> None:
    assert address_setting(MARKET_DATA.name) in {setting.name for setting in documented_settings()}


def test_a_method_is_called_as_generated_code_calls_it() -> None:
    method = MARKET_DATA.method("GetPrice", answers_stream=False)
    request = market_data_pb2.GetPriceRequest(symbol="BTC/USD")

    assert method.path == "/fauxchange.market_data.v1.MarketDataService/GetPrice"
    assert method.serialize(request) == request.SerializeToString()
    assert isinstance(method.deserialize(b""), market_data_pb2.Price)


@pytest.mark.parametrize(
    ("method", "request_", "repeatable"),
    [
        ("GetOrder", exchange_pb2.GetOrderRequest(order_id="1"), True),
        ("PlaceOrder", ORDER(client_order_id="c-1"), True),
        ("PlaceOrder", ORDER(), False),
        ("PlaceOrders", exchange_pb2.PlaceOrdersRequest(orders=[ORDER(client_order_id="c-1"), ORDER()]), False),
        ("ReplaceOrder", exchange_pb2.ReplaceOrderRequest(client_order_id="c-1", order=ORDER()), False),
        ("ReplaceOrder", exchange_pb2.ReplaceOrderRequest(order_id="1", order=ORDER(client_order_id="c-2")), True),
        ("Deposit", exchange_pb2.TransferRequest(idempotency_key="k"), True),
        ("Deposit", exchange_pb2.TransferRequest(), False),
        ("CancelOrder", exchange_pb2.CancelOrderRequest(order_id="1"), False),
        ("CreateKey", exchange_pb2.CreateKeyRequest(), False),
    ],
)
def test_only_what_may_be_asked_twice_is_repeatable(method: str, request_: object, repeatable: bool) -> None:
    assert may_repeat(method, request_) is repeatable


def test_a_method_that_nobody_has_judged_is_a_bug() -> None:
    service = market_data_pb2.DESCRIPTOR.services_by_name["MarketDataService"]

    with pytest.raises(InvariantViolation, match="named once"):
        peer_of(service, name="x", registered_name="x", reads=("GetPrice",))


def test_methods_that_streams_of_requests_call_are_left_out() -> None:
    assert "OrderStream" not in EXCHANGE.methods
