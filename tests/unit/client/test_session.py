"""Order entry over a real WebSocket, against a small venue that answers as each test scripts."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve

from fauxchange.client import (
    AsyncClient,
    Conflict,
    ConnectionLost,
    OrderRejected,
    Patience,
    Unauthorized,
    UnknownOutcome,
    order_request,
)
from fauxchange.contracts.exchange.messages import OrderMessage

ORDER = order_request("buy", "BTC-USD", "0.01", price="60000", client_order_id="my-1")
MakeOrder = Callable[..., OrderMessage]
Handler = Callable[[ServerConnection], Awaitable[None]]


async def read(socket: ServerConnection) -> dict[str, Any]:
    frame = json.loads(await socket.recv())
    assert isinstance(frame, dict)
    return frame


async def answer(socket: ServerConnection, frame: dict[str, Any], **members: Any) -> None:
    await socket.send(json.dumps({"op": frame["op"], "id": frame.get("id"), "ok": "code" not in members, **members}))


async def authenticate(socket: ServerConnection) -> dict[str, Any]:
    frame = await read(socket)
    await answer(socket, frame)
    return frame


@asynccontextmanager
async def trading(
    handler: Handler, *, rest: Callable[[httpx.Request], httpx.Response] | None = None, timeout_s: float = 5.0
) -> AsyncIterator[AsyncClient]:
    """Yield a client of a venue whose WebSocket is `handler` and whose REST is `rest`."""
    nothing: Callable[[httpx.Request], httpx.Response] = lambda _: httpx.Response(404, json={"code": "unknown_order"})  # noqa: E731
    async with serve(handler, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        async with AsyncClient(
            url,
            api_key="key-1",
            api_secret="secret-1",
            patience=Patience(timeout_s=timeout_s, first_pause_s=0.0),
            transport=httpx.MockTransport(rest or nothing),
        ) as client:
            yield client


async def test_an_order_is_placed_and_answered(make_order: MakeOrder) -> None:
    seen = []

    async def handler(socket: ServerConnection) -> None:
        seen.append(await authenticate(socket))
        seen.append(await read(socket))
        await answer(socket, seen[-1], order=msgspec.to_builtins(make_order()))
        await socket.wait_closed()

    async with trading(handler) as client, client.session(cancel_on_disconnect=True) as session:
        order = await session.place(ORDER)

    assert order == make_order()
    assert seen[0]["cancel_on_disconnect"] is True
    assert seen[1]["order"] == {
        "symbol": "BTC-USD",
        "side": "buy",
        "quantity": "0.01",
        "price": "60000",
        "client_order_id": "my-1",
    }


async def test_many_orders_may_be_on_their_way_and_be_answered_in_any_order(make_order: MakeOrder) -> None:
    async def handler(socket: ServerConnection) -> None:
        await authenticate(socket)
        frames = [await read(socket) for _ in range(20)]
        for frame in reversed(frames):
            order = make_order(client_order_id=frame["order"]["client_order_id"])
            await answer(socket, frame, order=msgspec.to_builtins(order))
        await socket.wait_closed()

    async with trading(handler) as client, client.session() as session:
        requests = [order_request("buy", "BTC-USD", "1", client_order_id=f"o-{i}") for i in range(20)]
        placed = await asyncio.gather(*(session.place(request) for request in requests))

    assert [order.client_order_id for order in placed] == [f"o-{i}" for i in range(20)]


async def test_a_rejected_order_raises_with_the_order(make_order: MakeOrder) -> None:
    order = make_order(status="REJECTED", reason="insufficient_funds")

    async def handler(socket: ServerConnection) -> None:
        await authenticate(socket)
        frame = await read(socket)
        await answer(
            socket, frame, code="insufficient_funds", detail="no", reason=401, order=msgspec.to_builtins(order)
        )
        await socket.wait_closed()

    async with trading(handler) as client, client.session() as session:
        with pytest.raises(OrderRejected) as raised:
            await session.place(ORDER)

    assert (raised.value.code, raised.value.reason, raised.value.order) == ("insufficient_funds", 401, order)


async def test_refusals_are_what_they_are_over_rest() -> None:
    async def handler(socket: ServerConnection) -> None:
        await authenticate(socket)
        await answer(socket, await read(socket), code="duplicate_client_order_id", detail="taken")
        await socket.wait_closed()

    async with trading(handler) as client, client.session() as session:
        with pytest.raises(Conflict, match="taken"):
            await session.place(ORDER)


async def test_orders_are_named_by_either_id(make_order: MakeOrder) -> None:
    seen = []

    async def handler(socket: ServerConnection) -> None:
        await authenticate(socket)
        for _ in range(2):
            seen.append(await read(socket))
            await answer(socket, seen[-1], order=msgspec.to_builtins(make_order()))
        await socket.wait_closed()

    async with trading(handler) as client, client.session() as session:
        await session.cancel("17")
        await session.amend("client:my-1", price="59999.5")

    assert {**seen[0], "id": 0} == {"op": "cancel", "id": 0, "order_id": "17"}
    assert {**seen[1], "id": 0} == {"op": "amend", "id": 0, "client_order_id": "my-1", "price": "59999.5"}


async def test_an_order_on_its_way_when_the_connection_is_lost_is_asked_for(make_order: MakeOrder) -> None:
    async def handler(socket: ServerConnection) -> None:
        await authenticate(socket)
        await read(socket)
        socket.transport.abort()

    asked = []

    def rest(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json=msgspec.to_builtins(make_order(status="CANCELED")))

    async with trading(handler, rest=rest, timeout_s=60.0) as client, client.session() as session:
        async with asyncio.timeout(10):
            order = await session.place(ORDER)

    assert order.status == "CANCELED"
    assert asked == ["/api/v1/orders/client:my-1"]


async def test_an_order_that_nobody_knows_after_a_loss_is_an_unknown_outcome() -> None:
    async def handler(socket: ServerConnection) -> None:
        await authenticate(socket)
        await read(socket)
        socket.transport.abort()

    async with trading(handler) as client, client.session() as session:
        with pytest.raises(UnknownOutcome):
            await session.place(ORDER)


async def test_an_answer_that_does_not_come_in_time_is_asked_for(make_order: MakeOrder) -> None:
    async def handler(socket: ServerConnection) -> None:
        await authenticate(socket)
        await socket.wait_closed()

    def rest(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=msgspec.to_builtins(make_order(status="FILLED")))

    async with trading(handler, rest=rest, timeout_s=0.2) as client, client.session() as session:
        assert (await session.place(ORDER)).status == "FILLED"


async def test_a_session_that_has_ended_sends_nothing_more() -> None:
    async def handler(socket: ServerConnection) -> None:
        await authenticate(socket)
        await socket.close(1001, "server_shutdown")

    async with trading(handler) as client, client.session() as session:
        await session.ended()
        with pytest.raises(ConnectionLost, match="server_shutdown") as raised:
            await session.place(ORDER)

    assert raised.value.code == "session_ended"


async def test_refused_credentials_end_a_session_before_it_begins() -> None:
    async def handler(socket: ServerConnection) -> None:
        await answer(socket, await read(socket), code="bad_signature", detail="no")
        await socket.wait_closed()

    async with trading(handler) as client:
        with pytest.raises(Unauthorized):
            async with client.session():
                pass
