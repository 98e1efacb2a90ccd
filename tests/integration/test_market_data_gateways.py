"""Two market-data gateways behind one generator, all three real: the same prices under the same numbers."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from fauxchange.contracts.market_data.v1 import market_data_pb2 as pb
from fauxchange.contracts.market_data.v1.market_data_pb2_grpc import MarketDataServiceStub
from fauxchange.testing.processes import VenueProcess, launched

API = "/api/v1"
STREAM = f"{API}/market-data/ws"
WAIT_S = 60.0


class Gateways:
    """A generator, two gateways, and the files that they keep."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.generator: VenueProcess
        self.gateways: list[VenueProcess] = []
        self.port = 0

    def launch(self, name: str) -> contextlib.AbstractContextManager[VenueProcess]:
        settings = {"DEFAULT_SYMBOLS": "BTC-USD,ETH-USD", "PRICE_UPDATE_INTERVAL": "100ms", "SEED": "7"}
        if name == "generator":
            settings["GRPC_PORT"] = str(self.port)
            return launched(self.folder / name, settings, service="market-data")
        settings["MARKET_DATA_GRPC"] = self.generator.venue.grpc
        return launched(self.folder / name, settings, service="market-data-gateway")

    @property
    def urls(self) -> list[str]:
        return [each.venue.http for each in (self.generator, *self.gateways)]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    system = Gateways(tmp_path_factory.mktemp("market_data_gateways"))
    with contextlib.ExitStack() as stack:
        system.generator = stack.enter_context(system.launch("generator"))
        system.port = int(system.generator.venue.grpc.rpartition(":")[2])
        for name in ("first", "second"):
            system.gateways.append(stack.enter_context(system.launch(name)))
        for url in system.urls:
            wait_until_healthy(url)
        yield system


def wait_until_healthy(url: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while httpx.get(f"{url}{API}/health").json()["status"] != "ok":
        assert time.monotonic() < deadline, "the gateway found no generator"


@contextlib.asynccontextmanager
async def reading(url: str, **fields: Any) -> AsyncIterator[ClientConnection]:
    async with connect(f"ws{url.removeprefix('http')}{STREAM}") as socket:
        await socket.send(json.dumps({"op": "subscribe", "id": 1, **fields}))
        yield socket


async def told(socket: ClientConnection) -> AsyncIterator[dict[str, Any]]:
    async with asyncio.timeout(WAIT_S):
        while True:
            document = json.loads(await socket.recv())
            for each in document if isinstance(document, list) else [document]:
                assert each.get("ok", True), each
                if "op" not in each and each["channel"] != "heartbeat":
                    yield each


async def first(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    async for message in told(socket):
        messages.append(message)
        if len(messages) == count:
            break
    return messages


async def test_gateways_tell_the_messages_of_the_generator_byte_for_byte(system: Gateways) -> None:
    async with contextlib.AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(reading(url, channel="prices", symbol="BTC-USD")) for url in system.urls
        ]
        streams = await asyncio.gather(*(first(socket, 12) for socket in sockets))

    by_number = [{each["sequence"]: each for each in stream[1:]} for stream in streams]
    shared = set(by_number[0]) & set(by_number[1]) & set(by_number[2])
    assert len(shared) >= 5
    for number in shared:
        assert by_number[0][number] == by_number[1][number] == by_number[2][number]
    assert len({stream[0]["epoch"] for stream in streams}) == 1


async def test_a_reader_goes_on_with_another_gateway_at_the_next_number(system: Gateways) -> None:
    one, other = system.urls[1:]
    async with reading(one, channel="prices", symbol="ETH-USD") as socket:
        read = await first(socket, 3)
    last = read[-1]

    async with reading(
        other, channel="prices", symbol="ETH-USD", from_sequence=last["sequence"] + 1, epoch=last["epoch"]
    ) as socket:
        resumed = await first(socket, 3)

    assert [each["first_sequence"] for each in resumed] == [last["sequence"] + n for n in (1, 2, 3)]


async def test_candles_are_those_of_the_generator(system: Gateways) -> None:
    async with reading(system.urls[1], channel="candles:1s", symbol="BTC-USD") as socket:
        candles = await first(socket, 25)
    closed = [each["data"] for each in candles if each["data"]["closed"]]

    stored = httpx_get(f"{system.urls[2]}{API}/candles/BTC-USD?interval=1s")["candles"]

    assert closed
    assert closed[-1] in stored
    assert all(later["first_sequence"] == earlier["sequence"] + 1 for earlier, later in itertools.pairwise(candles))


def asked(url: str) -> httpx.Response:
    return httpx.get(url)


def httpx_get(url: str) -> Any:
    answer = asked(url)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_is_asked_of_a_gateway_is_answered_as_by_the_generator(system: Gateways) -> None:
    generator, gateway, _ = system.urls

    symbols = [httpx_get(f"{url}{API}/symbols") for url in (generator, gateway)]
    history = httpx_get(f"{generator}{API}/prices/BTC-USD/history?limit=3&order=asc")
    same = httpx_get(f"{gateway}{API}/prices/BTC-USD/history?limit=3&order=asc")
    page = httpx_get(f"{gateway}{API}/prices/BTC-USD/history?limit=3&order=asc&cursor={same['next_cursor']}")
    snapshot = httpx_get(f"{gateway}{API}/snapshots/BTC-USD")
    latest = httpx_get(f"{gateway}{API}/prices")
    unknown = httpx.get(f"{gateway}{API}/prices/XRP-USD")

    assert symbols[0] == symbols[1]
    assert history == same
    assert page["prices"][0]["sequence"] == same["prices"][-1]["sequence"] + 1
    assert snapshot["symbol"] == "BTC/USD"
    assert [price["symbol"] for price in latest["prices"]] == ["BTC/USD", "ETH/USD"]
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_symbol")


async def test_scenarios_are_told_with_what_they_were_started_with(system: Gateways) -> None:
    venue = system.generator.venue
    scenario = {"id": "told", "kind": "crash", "symbols": ["BTC-USD"], "magnitude": "10%", "duration": "30s"}

    async with (
        reading(system.urls[1], channel="scenario") as socket,
        reading(system.urls[0], channel="scenario") as direct,
    ):
        async with httpx.AsyncClient(headers=venue.audit_headers) as audit:
            started = await audit.post(f"{venue.audit}/audit/v1/scenarios", json=scenario)
        assert started.status_code in {200, 201}, started.text
        by_gateway, by_generator = await asyncio.gather(first(socket, 2), first(direct, 2))

    assert by_gateway == by_generator
    assert by_gateway[1]["data"]["scenario"]["specification"]


async def test_prices_stream_over_grpc_with_the_generators_numbers(system: Gateways) -> None:
    async with grpc.aio.insecure_channel(system.gateways[0].venue.grpc) as channel:
        stub: Any = MarketDataServiceStub(channel)  # type: ignore[no-untyped-call]  # generated code has no types
        call = stub.StreamPrices(pb.StreamPricesRequest(subscriptions=[pb.Subscription(symbol="BTC/USD")]))
        async with asyncio.timeout(WAIT_S):
            batch = await call.read()
        call.cancel()
        symbols = await stub.ListSymbols(pb.ListSymbolsRequest())

    page = httpx_get(f"{system.urls[0]}{API}/prices/BTC-USD/history?limit=1000")
    told_price = batch.updates[0].price
    assert (told_price.sequence, told_price.bid) in {(each["sequence"], each["bid"]) for each in page["prices"]}
    assert [each.symbol for each in symbols.symbols] == ["BTC/USD", "ETH/USD"]


async def test_gateways_refuse_while_the_generator_is_away_and_go_on_with_the_next(system: Gateways) -> None:
    gateway = system.urls[1]
    async with reading(gateway, channel="prices", symbol="BTC-USD") as socket:
        (before,) = await first(socket, 1)
        system.generator.kill()
        async with asyncio.timeout(WAIT_S):
            await socket.wait_closed()
        refused = asked(f"{gateway}{API}/prices/BTC-USD")
        health = asked(f"{gateway}{API}/health")
    with system.launch("generator") as generator:
        _ = generator.venue
        wait_until_healthy(gateway)
        async with reading(gateway, channel="prices", symbol="BTC-USD") as again:
            after = await first(again, 3)

    assert socket.close_code == 1013
    assert (refused.status_code, refused.json()["code"]) == (503, "generator_away")
    assert refused.headers["retry-after"] == "1"
    assert health.json()["status"] == "down"
    assert after[0]["epoch"] > before["epoch"]
    assert [each["sequence"] for each in after[1:]] == [after[0]["sequence"] + 1, after[0]["sequence"] + 2]
