"""Market data over gRPC: questions, streams, resumption, refusals, and what reflection and health tell."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fauxchange.contracts.market_data.v1 import market_data_pb2 as pb
from fauxchange.contracts.market_data.v1 import market_data_pb2_grpc
from fauxchange.domain.times import NS_PER_S
from fauxchange.testing import ReflectedService, RunningVenue, Sequences

START_S = 1_767_225_600
SERVICE = "fauxchange.market_data.v1.MarketDataService"


class Reader:
    """Read a stream message by message, following its numbers."""

    def __init__(self, call, channel: str = "prices", sequences: Sequences | None = None) -> None:
        self.call = call
        self.channel = channel
        self.sequences = sequences or Sequences()
        self.notices: list = []
        self.batches: list = []
        self._waiting: list = []

    async def next(self):
        # Heartbeats do not count: what is waited for has to come in this time.
        async with asyncio.timeout(10):
            return await self._next()

    async def _next(self):
        while not self._waiting:
            batch = await self.call.read()
            assert batch is not grpc.aio.EOF
            self.batches.append(batch)
            self.notices += batch.snapshots_required
            for update in batch.updates:
                payload = update.price if self.channel == "prices" else update.candle
                self.sequences.take(
                    self.channel,
                    payload.symbol,
                    epoch=update.epoch,
                    first_sequence=update.first_sequence,
                    sequence=update.sequence,
                    is_snapshot=update.type == pb.MESSAGE_TYPE_SNAPSHOT,
                )
                self._waiting.append(update)
        return self._waiting.pop(0)

    async def take(self, count: int) -> list:
        return [await self.next() for _ in range(count)]


async def _failure(call) -> tuple[grpc.StatusCode, str, str]:
    """Return status, fx-code and details of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return _told(caught.value)


def _told(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str, str]:
    trailing = dict(error.trailing_metadata() or ())
    return error.code(), str(trailing.get("fx-code")), error.details() or ""


async def _stream_failure(call) -> tuple[grpc.StatusCode, str]:
    async def consume() -> None:
        while await call.read() is not grpc.aio.EOF:
            pass

    async with asyncio.timeout(10):
        code, fx_code, _ = await _failure(consume())
    return code, fx_code


async def test_the_symbols_are_those_over_rest(stub, http) -> None:
    answer = await stub.ListSymbols(pb.ListSymbolsRequest())

    rest = (await http.get("/api/v1/symbols")).json()["symbols"]
    names = ("symbol", "base", "quote", "tick_size", "lot_size", "source")
    assert [{name: getattr(symbol, name) for name in names} for symbol in answer.symbols] == rest


@pytest.mark.parametrize("spelling", ["BTC/USD", "btc-usd"])
async def test_a_price_is_the_one_over_rest_in_either_spelling(stub, http, spelling: str) -> None:
    price = await stub.GetPrice(pb.GetPriceRequest(symbol=spelling))

    rest = (await http.get("/api/v1/prices/BTC-USD")).json()
    assert (price.symbol, price.bid, price.ask, price.mid, price.last, price.sequence) == tuple(
        rest[name] for name in ("symbol", "bid", "ask", "mid", "last", "sequence")
    )
    assert price.timestamp == Timestamp(seconds=START_S)


async def test_prices_of_named_symbols_come_in_the_asked_order(stub) -> None:
    some = await stub.ListPrices(pb.ListPricesRequest(symbols=["SOL-USD", "BTC/USD"]))
    every = await stub.ListPrices(pb.ListPricesRequest())

    assert [price.symbol for price in some.prices] == ["SOL/USD", "BTC/USD"]
    assert len(every.prices) == 5


async def test_history_is_paged_to_its_end(venue: RunningVenue, stub) -> None:
    await venue.clock.step(9 * NS_PER_S)
    sequences, cursor = [], ""

    while True:
        page = await stub.GetPriceHistory(pb.GetPriceHistoryRequest(symbol="BTC-USD", limit=4, cursor=cursor))
        sequences += [price.sequence for price in page.prices]
        cursor = page.next_cursor
        if not cursor:
            break

    assert sequences == list(range(1, 11))


async def test_candles_of_a_range_are_those_over_rest(venue: RunningVenue, stub, http) -> None:
    await venue.clock.step(10 * NS_PER_S)
    span = {"start": Timestamp(seconds=START_S + 2), "end": Timestamp(seconds=START_S + 8)}

    answer = await stub.GetCandles(pb.GetCandlesRequest(symbol="BTC-USD", interval="1s", **span))

    params = {"interval": "1s", "start": "2026-01-01T00:00:02Z", "end": "2026-01-01T00:00:08Z"}
    rest = (await http.get("/api/v1/candles/BTC-USD", params=params)).json()["candles"]
    names = ("symbol", "interval", "open", "high", "low", "close", "volume", "closed")
    assert len(rest) == 6
    assert [[getattr(candle, name) for name in names] for candle in answer.candles] == [
        [candle[name] for name in names] for candle in rest
    ]


async def test_a_snapshot_is_the_one_over_rest(stub, http) -> None:
    snapshot = await stub.GetSnapshot(pb.GetSnapshotRequest(symbol="ETH/USD"))

    rest = (await http.get("/api/v1/snapshots/ETH-USD")).json()
    names = ("symbol", "sequence", "bid", "ask", "last_price", "open_24h", "high_24h", "low_24h", "change_24h")
    assert [getattr(snapshot, name) for name in names] == [rest[name] for name in names]


async def test_a_stream_of_all_symbols_begins_with_snapshots_and_has_no_gap(venue: RunningVenue, stub) -> None:
    reader = Reader(stub.StreamPrices(pb.StreamPricesRequest()))
    snapshots = await reader.take(5)
    await venue.clock.step(4 * NS_PER_S)
    updates = await reader.take(20)

    assert {update.type for update in snapshots} == {pb.MESSAGE_TYPE_SNAPSHOT}
    assert {update.type for update in updates} == {pb.MESSAGE_TYPE_DELTA}
    assert set(reader.sequences.last.values()) == {5}


async def test_what_is_made_between_two_batches_travels_together(venue: RunningVenue, stub) -> None:
    reader = Reader(stub.StreamPrices(pb.StreamPricesRequest()))
    await reader.take(5)
    for _ in range(100):
        venue.market_data.service.publish_price("BTC/USD", mid_half_ticks=12_000_000)

    await reader.take(100)

    assert len(reader.batches) <= 3


async def test_several_symbols_resume_each_from_its_own_number(venue: RunningVenue, stub) -> None:
    await venue.clock.step(9 * NS_PER_S)
    epoch = venue.market_data.service.epoch
    wanted = {"BTC/USD": 4, "SOL/USD": 8, "ETH/USD": 11}

    call = stub.StreamPrices(
        pb.StreamPricesRequest(
            subscriptions=[
                pb.Subscription(symbol=symbol, from_sequence=number, epoch=epoch) for symbol, number in wanted.items()
            ]
        )
    )
    reader = Reader(call)
    missed = await reader.take(7 + 3)
    await venue.clock.step(NS_PER_S)
    await reader.take(3)

    first = {}
    for update in missed:
        first.setdefault(update.price.symbol, update.first_sequence)
    assert first == {"BTC/USD": 4, "SOL/USD": 8}
    assert reader.sequences.last == {("prices", symbol): 11 for symbol in wanted}
    assert reader.notices == []


async def test_a_number_that_is_not_kept_is_answered_with_a_notice_and_a_snapshot(venue: RunningVenue, stub) -> None:
    epoch = venue.market_data.service.epoch
    subscriptions = [
        pb.Subscription(symbol="BTC/USD", from_sequence=1, epoch=epoch - 1),
        pb.Subscription(symbol="ETH/USD", from_sequence=500, epoch=epoch),
        pb.Subscription(symbol="SOL/USD", from_sequence=2, epoch=epoch),
    ]

    reader = Reader(stub.StreamPrices(pb.StreamPricesRequest(subscriptions=subscriptions)))
    snapshots = await reader.take(2)
    await venue.clock.step(NS_PER_S)
    await reader.take(3)

    assert [(notice.symbol, notice.from_sequence, notice.epoch, notice.sequence) for notice in reader.notices] == [
        ("BTC/USD", 1, epoch, 1),
        ("ETH/USD", 500, epoch, 1),
    ]
    assert [(update.price.symbol, update.type) for update in snapshots] == [
        ("BTC/USD", pb.MESSAGE_TYPE_SNAPSHOT),
        ("ETH/USD", pb.MESSAGE_TYPE_SNAPSHOT),
    ]


async def test_a_long_resumption_comes_in_batches_that_every_client_takes(run_venue) -> None:
    async with (
        run_venue(DEFAULT_SYMBOLS="BTC/USD", RESUME_BUFFER=60_000) as venue,
        grpc.aio.insecure_channel(venue.venue.grpc) as channel,
    ):
        for _ in range(50_000):
            venue.market_data.service.publish_price("BTC/USD", mid_half_ticks=12_000_000)
        stub = market_data_pb2_grpc.MarketDataServiceStub(channel)

        # A client takes messages of 4 MiB unless told otherwise.
        reader = Reader(
            stub.StreamPrices(
                pb.StreamPricesRequest(subscriptions=[pb.Subscription(symbol="BTC/USD", from_sequence=2)])
            )
        )
        updates = await reader.take(50_000)

    assert (updates[0].sequence, updates[-1].sequence) == (2, 50_001)


async def test_candles_stream_as_they_change_and_close(venue: RunningVenue, stub) -> None:
    request = pb.StreamCandlesRequest(interval="1s", subscriptions=[pb.Subscription(symbol="BTC-USD")])
    reader = Reader(stub.StreamCandles(request), "candles:1s")
    snapshot = await reader.next()
    await venue.clock.step(3 * NS_PER_S)
    updates = await reader.take(6)

    assert (snapshot.type, snapshot.candle.closed) == (pb.MESSAGE_TYPE_SNAPSHOT, False)
    assert [update.candle.closed for update in updates] == [True, False] * 3


async def test_candles_of_no_named_interval_are_of_the_configured_one(stub) -> None:
    reader = Reader(stub.StreamCandles(pb.StreamCandlesRequest()), "candles:1m")

    updates = await reader.take(5)

    assert {update.candle.interval for update in updates} == {"1m"}


async def test_scenarios_stream_as_they_happen(venue: RunningVenue, stub, audit) -> None:
    call = stub.StreamScenarios(pb.StreamScenariosRequest())
    snapshot = (await call.read()).updates[0]
    body = {"id": "drop", "kind": "crash", "symbols": ["BTC-USD"], "magnitude": "10%", "duration": "2s"}
    (await audit.post("/audit/v1/scenarios", json=body)).raise_for_status()

    scheduled = (await call.read()).updates[0]
    call.cancel()
    resumed = stub.StreamScenarios(pb.StreamScenariosRequest(from_sequence=scheduled.sequence, epoch=scheduled.epoch))
    again = (await resumed.read()).updates[0]

    assert (snapshot.event, list(snapshot.scenarios)) == ("snapshot", [])
    assert (scheduled.event, scheduled.scenarios[0].scenario_id, scheduled.scenarios[0].magnitude) == (
        "scheduled",
        "drop",
        "0.1",
    )
    assert again == scheduled


async def test_a_stream_beats_while_nothing_happens(run_venue) -> None:
    async with (
        run_venue(WS_HEARTBEAT="100ms") as venue,
        grpc.aio.insecure_channel(venue.venue.grpc) as channel,
    ):
        call = market_data_pb2_grpc.MarketDataServiceStub(channel).StreamPrices(pb.StreamPricesRequest())
        await call.read()
        batches = [await call.read() for _ in range(2)]

    assert all(batch.HasField("heartbeat") and not batch.updates for batch in batches)
    assert batches[0].heartbeat.timestamp.ToNanoseconds() < batches[1].heartbeat.timestamp.ToNanoseconds()


@pytest.mark.parametrize(
    ("method", "request_message", "status", "code"),
    [
        ("GetPrice", pb.GetPriceRequest(symbol="XYZ-USD"), grpc.StatusCode.NOT_FOUND, "unknown_symbol"),
        ("GetPrice", pb.GetPriceRequest(symbol="nonsense"), grpc.StatusCode.INVALID_ARGUMENT, "invalid_symbol"),
        ("GetPrice", pb.GetPriceRequest(), grpc.StatusCode.INVALID_ARGUMENT, "invalid_symbol"),
        ("ListPrices", pb.ListPricesRequest(symbols=["XYZ-USD"]), grpc.StatusCode.NOT_FOUND, "unknown_symbol"),
        (
            "GetCandles",
            pb.GetCandlesRequest(symbol="BTC-USD", interval="2m"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "invalid_interval",
        ),
        (
            "GetCandles",
            pb.GetCandlesRequest(symbol="BTC-USD", limit=10_001),
            grpc.StatusCode.INVALID_ARGUMENT,
            "limit_out_of_range",
        ),
        (
            "GetPriceHistory",
            pb.GetPriceHistoryRequest(symbol="BTC-USD", limit=-1),
            grpc.StatusCode.INVALID_ARGUMENT,
            "limit_out_of_range",
        ),
        (
            "GetPriceHistory",
            pb.GetPriceHistoryRequest(symbol="BTC-USD", cursor="nonsense"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "invalid_cursor",
        ),
        (
            "GetPriceHistory",
            pb.GetPriceHistoryRequest(symbol="BTC-USD", start=Timestamp(seconds=2), end=Timestamp(seconds=1)),
            grpc.StatusCode.INVALID_ARGUMENT,
            "invalid_range",
        ),
        ("GetSnapshot", pb.GetSnapshotRequest(symbol="XYZ-USD"), grpc.StatusCode.NOT_FOUND, "unknown_symbol"),
    ],
)
async def test_a_bad_question_is_refused_with_status_and_code(stub, method, request_message, status, code) -> None:
    refused = await _failure(getattr(stub, method)(request_message))

    assert refused[:2] == (status, code)
    assert refused[2]


@pytest.mark.parametrize(
    ("subscriptions", "status", "code"),
    [
        ([pb.Subscription(symbol="XYZ-USD")], grpc.StatusCode.NOT_FOUND, "unknown_symbol"),
        ([pb.Subscription(symbol="nonsense")], grpc.StatusCode.INVALID_ARGUMENT, "invalid_symbol"),
        (
            [pb.Subscription(symbol="BTC-USD"), pb.Subscription(symbol="BTC/USD")],
            grpc.StatusCode.INVALID_ARGUMENT,
            "already_subscribed",
        ),
        ([pb.Subscription(from_sequence=1)], grpc.StatusCode.INVALID_ARGUMENT, "symbol_required"),
    ],
)
async def test_a_bad_subscription_is_refused_and_leaves_nothing_behind(
    venue: RunningVenue, stub, subscriptions, status, code
) -> None:
    refused = await _stream_failure(stub.StreamPrices(pb.StreamPricesRequest(subscriptions=subscriptions)))

    assert refused == (status, code)
    assert venue.market_data.service.hub.subscribers == 0


async def test_a_stream_too_many_is_refused_and_the_others_go_on(run_venue) -> None:
    async with (
        run_venue(GRPC_MAX_STREAMS=1) as venue,
        grpc.aio.insecure_channel(venue.venue.grpc) as channel,
    ):
        stub = market_data_pb2_grpc.MarketDataServiceStub(channel)
        reader = Reader(stub.StreamPrices(pb.StreamPricesRequest()))
        await reader.take(5)

        refused = await _stream_failure(stub.StreamPrices(pb.StreamPricesRequest()))
        await venue.clock.step(NS_PER_S)
        await reader.take(5)

    assert refused == (grpc.StatusCode.RESOURCE_EXHAUSTED, "too_many_streams")


async def test_a_stream_with_too_many_subscriptions_is_refused(run_venue) -> None:
    async with (
        run_venue(WS_MAX_SUBSCRIPTIONS=4) as venue,
        grpc.aio.insecure_channel(venue.venue.grpc) as channel,
    ):
        stub = market_data_pb2_grpc.MarketDataServiceStub(channel)
        refused = await _stream_failure(stub.StreamPrices(pb.StreamPricesRequest()))

    assert refused == (grpc.StatusCode.INVALID_ARGUMENT, "too_many_subscriptions")


async def test_a_cancelled_stream_is_forgotten(venue: RunningVenue, stub) -> None:
    call = stub.StreamPrices(pb.StreamPricesRequest())
    await call.read()
    before = venue.market_data.service.hub.subscribers
    call.cancel()

    async with asyncio.timeout(5):
        # Nobody tells when a call has been forgotten.
        while venue.market_data.service.hub.subscribers:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert before == 1


async def test_a_client_that_knows_the_service_by_name_alone_asks_and_reads(venue: RunningVenue) -> None:
    async with grpc.aio.insecure_channel(venue.venue.grpc) as channel:
        service = await ReflectedService.discover(channel, "MarketDataService")
        symbols = await service.call("ListSymbols")
        call = service.call("StreamPrices", subscriptions=[{"symbol": "BTC/USD"}])
        batch = await call.read()
        call.cancel()

    assert service.methods[:3] == ["ListSymbols", "GetPrice", "ListPrices"]
    assert [symbol.symbol for symbol in symbols.symbols][:2] == ["BTC/USD", "ETH/USD"]
    assert batch.updates[0].price.symbol == "BTC/USD"


@pytest.fixture
async def health(venue: RunningVenue) -> AsyncIterator[health_pb2_grpc.HealthStub]:
    async with grpc.aio.insecure_channel(venue.venue.grpc) as channel:
        yield health_pb2_grpc.HealthStub(channel)


@pytest.mark.parametrize("name", ["", SERVICE, "market-data"])
async def test_who_watches_health_sees_it_serve_and_stop(venue: RunningVenue, health, name: str) -> None:
    watch = health.Watch(health_pb2.HealthCheckRequest(service=name))
    async with asyncio.timeout(10):
        first = await watch.read()
        stopping = asyncio.create_task(venue.stop())
        second = await watch.read()

    assert (first.status, second.status) == (
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    )
    assert await stopping == 0


async def test_health_of_an_unknown_service_is_not_found(health) -> None:
    code, fx_code, _ = await _failure(health.Check(health_pb2.HealthCheckRequest(service="rumours")))

    assert (code, fx_code) == (grpc.StatusCode.NOT_FOUND, "unknown_service")


async def test_a_stop_of_the_server_ends_streams_with_unavailable(venue: RunningVenue, stub) -> None:
    call = stub.StreamPrices(pb.StreamPricesRequest())
    await call.read()
    stopping = asyncio.create_task(venue.stop())

    code, fx_code = await _stream_failure(call)

    assert (code, fx_code) in {
        (grpc.StatusCode.UNAVAILABLE, "server_shutdown"),
        (grpc.StatusCode.UNAVAILABLE, "stopping"),
    }
    assert await stopping == 0
