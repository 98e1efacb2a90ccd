"""Both clients over a transport that is a function: what they send, how they sign, how they go on after failures."""

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest

from fauxchange.client import (
    AsyncClient,
    Client,
    ConnectionLost,
    DeadlineExceeded,
    NotConnected,
    OrderRequest,
    Patience,
    Unauthorized,
    order_request,
)
from fauxchange.contracts.exchange.messages import OrderMessage

PATIENCE = Patience(first_pause_s=0.0, tries=3)
ORDER = order_request("buy", "BTC-USD", "0.01", price="60000", client_order_id="my-1")
Answer = Callable[[httpx.Request], httpx.Response]
MakeOrder = Callable[..., OrderMessage]


class Wire:
    """Answers each request by the next of some functions, and keeps the requests."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answers.pop(0)(request)


def says(document: object, status: int = 200) -> Answer:
    return lambda _: httpx.Response(status, content=msgspec.json.encode(document))


def breaks(kind: type[httpx.TransportError]) -> Answer:
    def fail(request: httpx.Request) -> httpx.Response:
        raise kind("broken", request=request)

    return fail


BALANCES = {"account_id": "3", "balances": [{"asset": "USD", "free": "5.00", "held": "0.00"}]}
KEYS: dict[str, Any] = {"api_key": "key-1", "api_secret": "secret-1", "admin_key": "admin-1", "patience": PATIENCE}


def client_on(wire: Wire, **options: Any) -> Client:
    return Client("http://venue:1", transport=httpx.MockTransport(wire), **(KEYS | options))


def async_client_on(wire: Wire, **options: Any) -> AsyncClient:
    return AsyncClient("http://venue:1", transport=httpx.MockTransport(wire), **(KEYS | options))


def test_a_request_is_signed_over_exactly_what_is_sent(still: Any, make_order: MakeOrder) -> None:
    wire = Wire(says(make_order(), 201), says({"orders": [], "next_cursor": None}))

    with client_on(wire, world=still.world()) as client:
        client.place_order(ORDER)
        client.list_orders(symbol="BTC/USD", start="2026-01-31T12:00:00+01:00", cursor="a b&c=é")

    for request in wire.requests:
        signed = (
            request.headers["FX-Timestamp"].encode()
            + request.headers["FX-Nonce"].encode()
            + request.method.encode()
            + request.url.raw_path
            + request.content
        )
        assert request.headers["FX-Signature"] == hmac.digest(b"secret-1", signed, hashlib.sha256).hex()
        assert request.headers["FX-Timestamp"] == "1769860800123"
    assert msgspec.json.decode(wire.requests[0].content, type=OrderRequest) == ORDER
    assert wire.requests[1].url.params["cursor"] == "a b&c=é"
    assert wire.requests[1].url.params["start"] == "2026-01-31T12:00:00+01:00"


def test_public_calls_are_not_signed_and_administration_wants_its_key() -> None:
    wire = Wire(says({"instruments": []}), says({"accounts": [], "next_cursor": None}))

    with client_on(wire) as client:
        client.list_instruments()
        client.admin.list_accounts()

    public, admin = wire.requests
    assert "FX-Key" not in public.headers
    assert "Authorization" not in public.headers
    assert admin.headers["Authorization"] == "Bearer admin-1"
    assert "FX-Key" not in admin.headers


def test_a_client_without_keys_says_which_it_would_need() -> None:
    wire = Wire()

    with Client("http://venue:1", transport=httpx.MockTransport(wire)) as client:
        with pytest.raises(Unauthorized, match="API key"):
            client.get_balances()
        with pytest.raises(Unauthorized, match="admin key"):
            client.admin.list_accounts()

    assert wire.requests == []


def test_each_try_is_signed_anew() -> None:
    wire = Wire(breaks(httpx.ReadTimeout), says(BALANCES))

    with client_on(wire) as client:
        client.get_balances()

    first, second = wire.requests
    assert first.headers["FX-Signature"] != second.headers["FX-Signature"]


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (httpx.ConnectError, NotConnected),
        (httpx.ConnectTimeout, NotConnected),
        (httpx.ReadTimeout, DeadlineExceeded),
        (httpx.ReadError, ConnectionLost),
        (httpx.RemoteProtocolError, ConnectionLost),
    ],
)
def test_a_failure_of_the_connection_is_named_after_what_it_leaves_open(
    broken: type[httpx.TransportError], error: type[Exception]
) -> None:
    wire = Wire(*[breaks(broken)] * PATIENCE.tries)

    with client_on(wire) as client, pytest.raises(error) as raised:
        client.get_balances()

    assert type(raised.value) is error


def test_an_order_whose_answer_is_lost_is_placed_once(make_order: MakeOrder) -> None:
    wire = Wire(breaks(httpx.ReadError), says(make_order(status="FILLED")))

    with client_on(wire) as client:
        order = client.place_order(ORDER)

    assert order.status == "FILLED"
    assert [request.method for request in wire.requests] == ["POST", "GET"]


async def test_the_asynchronous_client_does_the_same(make_order: MakeOrder) -> None:
    wire = Wire(breaks(httpx.ReadError), says({"code": "unknown_order"}, 404), says(make_order(), 201), says(BALANCES))

    async with async_client_on(wire) as client:
        order = await client.place_order(ORDER)
        balances = await client.get_balances()

    assert order == make_order()
    assert balances.balances[0].free == "5.00"
    assert [request.method for request in wire.requests] == ["POST", "GET", "POST", "GET"]


async def test_the_asynchronous_administrator_deposits() -> None:
    made = {
        "transfer_id": "1",
        "account_id": "3",
        "asset": "USD",
        "amount": "5",
        "free": "5",
        "held": "0",
        "timestamp": "2026-01-31T12:00:00.000000Z",
    }
    wire = Wire(breaks(httpx.ReadTimeout), says(made, 201))

    async with async_client_on(wire) as client:
        await client.admin.deposit("3", "USD", "5")

    keys = {request.headers["Idempotency-Key"] for request in wire.requests}
    assert len(wire.requests) == 2
    assert len(keys) == 1


def test_both_clients_have_the_same_calls() -> None:
    def calls(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")} - {"close", "aclose", "session"}

    assert calls(Client) == calls(AsyncClient)
    assert len(calls(Client)) > 20
    assert Client.place_order.__doc__ == AsyncClient.place_order.__doc__ is not None
