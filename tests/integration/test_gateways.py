"""Two exchange gateways in front of one kernel process, all three real: what is done with one is so with the other."""

import asyncio
import contextlib
import itertools
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from fauxchange.client.signing import Credentials, Signer
from fauxchange.platform.ready import read_ready
from fauxchange.testing.processes import VenueProcess, launched

API = "/api/v1"
STREAM = f"{API}/exchange/ws"
KEY = "the key that gateways share"
WAIT_S = 60.0
_nonces = itertools.count(1)


class Gateways:
    """A kernel process, two gateways, and the files that they keep."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.settings = {
            "KERNEL_KEY": KEY,
            "KERNEL_PORT": str(port),
            "KERNEL_TARGET": f"127.0.0.1:{port}",
            "KERNEL_ENABLED": "true",
            "HOUSE_LIQUIDITY": "default=off",
            "DEMO_FUNDS": "USD=1000000,BTC=10",
        }
        self.kernel: VenueProcess
        self.first: VenueProcess
        self.second: VenueProcess

    def launch(self, name: str) -> contextlib.AbstractContextManager[VenueProcess]:
        service = None if name == "kernel" else "exchange-gateway"
        return launched(self.folder / name, self.settings, service=service)

    @property
    def urls(self) -> tuple[str, str]:
        return self.first.venue.http, self.second.venue.http

    @property
    def demo(self) -> dict[str, str]:
        return dict(read_ready(self.kernel.data_dir).secrets["demo"])

    @property
    def admin(self) -> dict[str, str]:
        return {"authorization": f"Bearer {read_ready(self.kernel.data_dir).secrets['admin_key']}"}

    def price(self) -> str:
        """A price far below the market's, and near enough for the price band."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            answer = httpx.get(f"{self.kernel.venue.http}{API}/prices/BTC-USD")
            if answer.status_code == 200:
                return str((Decimal(answer.json()["mid"]) * Decimal("0.6")).quantize(Decimal(1)))
        raise AssertionError("there is no price")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    system = Gateways(tmp_path_factory.mktemp("gateways"))
    with system.launch("kernel") as kernel, system.launch("first") as first, system.launch("second") as second:
        system.kernel, system.first, system.second = kernel, first, second
        _ = kernel.venue
        for url in system.urls:
            wait_until_healthy(url)
        yield system


def wait_until_healthy(url: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while httpx.get(f"{url}{API}/health").json()["status"] != "ok":
        assert time.monotonic() < deadline, "the gateway found no kernel process"


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not await condition():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.01)


class Trader:
    """Somebody with a key, who asks whichever gateway."""

    def __init__(self, http: httpx.AsyncClient, credentials: dict[str, str]) -> None:
        self.http = http
        self.account = credentials["account_id"]
        self.key = credentials["api_key"]
        self.signer = Signer(
            Credentials(api_key=self.key, api_secret=credentials["api_secret"]),
            now_ns=time.time_ns,
            nonce=lambda: f"n{next(_nonces)}",
        )

    async def ask(self, url: str, method: str, target: str, document: Any = None) -> httpx.Response:
        body = b"" if document is None else json.dumps(document).encode()
        headers = self.signer.headers(method, f"{API}{target}".encode(), body)
        return await self.send(url, method, target, headers, body)

    async def send(
        self, url: str, method: str, target: str, headers: dict[str, str], body: bytes = b""
    ) -> httpx.Response:
        return await self.http.request(
            method, f"{url}{API}{target}", content=body, headers={**headers, "content-type": "application/json"}
        )

    @contextlib.asynccontextmanager
    async def session(self, url: str, **fields: Any) -> AsyncIterator[ClientConnection]:
        async with connect(f"ws{url.removeprefix('http')}{STREAM}") as socket:
            reply = await say(socket, {**self.signer.auth_frame(STREAM), **fields})
            assert reply["ok"], reply
            yield socket


async def read(socket: ClientConnection) -> list[dict[str, Any]]:
    async with asyncio.timeout(WAIT_S):
        document = json.loads(await socket.recv())
    return document if isinstance(document, list) else [document]


async def say(socket: ClientConnection, frame: dict[str, Any]) -> dict[str, Any]:
    await socket.send(json.dumps(frame))
    while True:
        for each in await read(socket):
            if each.get("op") == frame["op"]:
                return each


async def told(socket: ClientConnection, channel: str) -> AsyncIterator[dict[str, Any]]:
    while True:
        for each in await read(socket):
            if each.get("channel") == channel and "op" not in each:
                yield each


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=WAIT_S) as client:
        yield client


@pytest.fixture
async def trader(system: Gateways, http: httpx.AsyncClient) -> Trader:
    """A new account with money and a key, made with one gateway and funded with the other."""
    first, second = system.urls
    made = await http.post(f"{first}{API}/accounts", json={"name": "somebody"}, headers=system.admin)
    account = made.json()["account_id"]
    paid = await http.post(
        f"{second}{API}/accounts/{account}/deposits", json={"asset": "USD", "amount": "100000"}, headers=system.admin
    )
    assert paid.status_code == 201, paid.text
    key = await http.post(f"{second}{API}/accounts/{account}/keys", json={"label": "a"}, headers=system.admin)
    assert key.status_code == 201, key.text
    return Trader(http, key.json())


def order(system: Gateways, name: str, **more: Any) -> dict[str, Any]:
    return {
        "symbol": "BTC/USD",
        "side": "buy",
        "quantity": "0.01",
        "price": system.price(),
        "client_order_id": name,
        **more,
    }


def test_a_gateway_tells_the_health_of_its_link_and_of_the_registry(system: Gateways) -> None:
    told = httpx.get(f"{system.urls[0]}{API}/health").json()["services"]["exchange-gateway"]

    assert {name: one["status"] for name, one in told["dependencies"].items()} == {"kernel": "ok", "registry": "ok"}


async def test_what_is_done_with_one_gateway_is_seen_at_once_with_the_other(
    system: Gateways, http: httpx.AsyncClient, trader: Trader
) -> None:
    first, second = system.urls
    demo = Trader(http, system.demo)

    placed = await trader.ask(first, "POST", "/orders", order(system, "resting"))
    seen = await trader.ask(second, "GET", "/orders/client:resting")
    held = await trader.ask(second, "GET", "/account/balances")
    price = placed.json()["price"]
    sold = await demo.ask(second, "POST", "/orders", order(system, "taker", side="sell", price=price))
    filled = await trader.ask(first, "GET", "/orders/client:resting")
    fills = await trader.ask(second, "GET", "/fills")
    listed = await trader.ask(first, "GET", "/orders?status=FILLED")
    ledger = await trader.ask(first, "GET", "/account/ledger?cause=trade")
    late = await trader.ask(second, "DELETE", "/orders/client:resting")

    assert placed.status_code == 201
    assert "ratelimit-limit" in placed.headers
    assert seen.json() == placed.json()
    assert Decimal(held.json()["balances"][0]["held"]) > 0
    assert sold.json()["status"] == "FILLED"
    assert filled.json()["status"] == "FILLED"
    assert filled.json()["fills"] == fills.json()["fills"]
    assert [each["order_id"] for each in listed.json()["orders"]] == [placed.json()["order_id"]]
    assert ledger.json()["entries"]
    assert (late.status_code, late.json()["code"]) == (422, "order_finished")
    assert late.json()["order"]["order_id"] == placed.json()["order_id"]


async def test_one_client_order_id_through_both_gateways_at_once_is_one_order(system: Gateways, trader: Trader) -> None:
    wanted = order(system, "twice")

    answers = await asyncio.gather(*(trader.ask(url, "POST", "/orders", wanted) for url in system.urls))
    listed = await trader.ask(system.urls[0], "GET", "/orders")

    assert sorted(answer.status_code for answer in answers) == [200, 201]
    assert len({answer.json()["order_id"] for answer in answers}) == 1
    assert len(listed.json()["orders"]) == 1


async def test_a_request_that_one_gateway_has_taken_is_refused_by_the_other(system: Gateways, trader: Trader) -> None:
    first, second = system.urls
    body = json.dumps(order(system, "replayed")).encode()
    headers = trader.signer.headers("POST", f"{API}/orders".encode(), body)
    reading = trader.signer.headers("GET", f"{API}/account".encode(), b"")

    taken = await trader.send(first, "POST", "/orders", headers, body)
    replayed = await trader.send(second, "POST", "/orders", headers, body)
    read_once = await trader.send(first, "GET", "/account", reading)
    read_again = await trader.send(second, "GET", "/account", reading)

    assert (taken.status_code, read_once.status_code) == (201, 200)
    assert (replayed.status_code, replayed.json()["code"]) == (401, "replayed_request")
    assert (read_again.status_code, read_again.json()["code"]) == (401, "replayed_request")


async def test_a_session_is_not_opened_with_the_signature_of_another_gateways(system: Gateways, trader: Trader) -> None:
    first, second = system.urls
    frame = trader.signer.auth_frame(STREAM)

    async with connect(f"ws{first.removeprefix('http')}{STREAM}") as one:
        taken = await say(one, frame)
    async with connect(f"ws{second.removeprefix('http')}{STREAM}") as other:
        replayed = await say(other, frame)

    assert taken["ok"]
    assert (replayed["ok"], replayed["code"]) == (False, "replayed_request")


async def test_a_key_that_is_revoked_with_one_gateway_opens_neither_from_then_on(
    system: Gateways, http: httpx.AsyncClient, trader: Trader
) -> None:
    async with trader.session(system.urls[1]) as session:
        revoked = await http.delete(
            f"{system.urls[0]}{API}/accounts/{trader.account}/keys/{trader.key}", headers=system.admin
        )
        answers = [await trader.ask(url, "POST", "/orders", order(system, "late")) for url in system.urls]
        await session.send(json.dumps({"op": "place", "id": 1, "order": order(system, "later")}))
        refused = [each async for each in answers_of(session)]

    assert revoked.status_code == 200
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(401, "key_revoked")] * 2
    assert all(each["code"] == "key_revoked" for each in refused)
    assert session.close_code == 4001


async def answers_of(session: ClientConnection) -> AsyncIterator[dict[str, Any]]:
    with contextlib.suppress(ConnectionClosed):
        while True:
            for each in await read(session):
                if "op" in each:
                    yield each


async def test_both_gateways_tell_the_numbers_of_the_kernel_process_so_that_a_reader_may_change_between_them(
    system: Gateways, trader: Trader
) -> None:
    first, second = system.urls
    messages: list[dict[str, Any]] = []
    async with trader.session(first) as one, trader.session(second) as other:
        for session in (one, other):
            await session.send(json.dumps({"op": "subscribe", "channel": "book", "symbol": "BTC/USD"}))
        streams = told(one, "book"), told(other, "book")
        snapshots = [await anext(stream) for stream in streams]
        for number in range(3):
            placed = await say(one, {"op": "place", "id": number, "order": order(system, f"level-{number}")})
            assert placed["ok"], placed
        while len(messages) < 3:
            messages.append(await anext(streams[1]))
    async with trader.session(first) as late:
        resumed = {"op": "subscribe", "channel": "book", "symbol": "BTC/USD"}
        begun = messages[0]["sequence"]
        await say(late, {**resumed, "from_sequence": begun, "epoch": messages[0]["epoch"]})
        again = told(late, "book")
        retold = [await anext(again) for _ in messages]
    book = (await trader.http.get(f"{second}{API}/book/BTC-USD")).json()

    assert snapshots[0] == snapshots[1]
    assert [each["sequence"] for each in messages] == [snapshots[0]["sequence"] + n for n in (1, 2, 3)]
    assert retold == messages
    assert book["checksum"] == messages[-1]["data"]["checksum"]


async def test_an_accounts_channels_are_told_with_whichever_gateway(system: Gateways, trader: Trader) -> None:
    first, second = system.urls
    async with trader.session(second) as session:
        await session.send(json.dumps({"op": "subscribe", "channel": "orders"}))
        await session.send(json.dumps({"op": "subscribe", "channel": "balances"}))
        orders = told(session, "orders")
        snapshot = await anext(orders)

        placed = await trader.ask(first, "POST", "/orders", order(system, "told"))
        report = await anext(orders)

    async with trader.session(first) as session:
        await session.send(json.dumps({"op": "subscribe", "channel": "orders"}))
        later = await anext(told(session, "orders"))

    assert snapshot["data"] == []
    assert report["data"]["order"]["order_id"] == placed.json()["order_id"]
    assert report["sequence"] == snapshot["sequence"] + 1
    assert (later["epoch"], later["sequence"]) == (report["epoch"], report["sequence"])
    assert [each["order_id"] for each in later["data"]] == [placed.json()["order_id"]]


async def test_a_killed_gateway_leaves_no_order_of_a_session_that_was_to_leave_none(
    system: Gateways, trader: Trader
) -> None:
    with system.launch("third") as third:
        wait_until_healthy(third.venue.http)
        async with trader.session(third.venue.http, cancel_on_disconnect=True) as session:
            placed = await say(session, {"op": "place", "id": 1, "order": order(system, "left")})
            kept = await trader.ask(system.urls[0], "POST", "/orders", order(system, "kept"))
            third.kill()

            async def canceled() -> bool:
                answer = await trader.ask(system.urls[0], "GET", "/orders/client:left")
                return bool(answer.json()["status"] == "CANCELED")

            await until(canceled)
    remaining = await trader.ask(system.urls[1], "GET", "/orders?status=open")

    assert placed["ok"]
    assert [each["order_id"] for each in remaining.json()["orders"]] == [kept.json()["order_id"]]


async def test_gateways_refuse_while_the_kernel_process_is_away_and_go_on_with_the_next(
    system: Gateways, http: httpx.AsyncClient, trader: Trader
) -> None:
    first, second = system.urls
    placed = await trader.ask(first, "POST", "/orders", order(system, "kept"))
    async with trader.session(second) as session:
        system.kernel.kill()

        async with asyncio.timeout(WAIT_S):
            await session.wait_closed()
        refused = [await trader.ask(url, "GET", "/orders") for url in system.urls]
        unknown = await http.get(f"{first}{API}/instruments")
        health = await http.get(f"{first}{API}/health")
    with system.launch("kernel") as kernel:
        _ = kernel.venue
        for url in system.urls:
            wait_until_healthy(url)

        # What was signed before the new process began is refused for a second, as everywhere.
        async def found() -> bool:
            answer = await trader.ask(second, "GET", "/orders/client:kept")
            return answer.status_code == 200 and answer.json()["order_id"] == placed.json()["order_id"]

        await until(found)
        canceled = await trader.ask(first, "DELETE", "/orders/client:kept")

    assert session.close_code == 1013
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(503, "kernel_away")}
    assert all(answer.headers["retry-after"] == "1" for answer in refused)
    assert unknown.status_code == 503
    assert health.json()["status"] == "down"
    assert canceled.json()["status"] == "CANCELED"
