"""A market-data gateway over a generator that is written by hand: numbers, gaps, epochs, and what is asked of it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import pytest

from fauxchange.contracts.market_data.render import timestamp
from fauxchange.contracts.market_data.v1 import market_data_pb2 as pb
from fauxchange.domain.errors import FauxchangeError, InvalidRequest, NotFound, Unavailable
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.ports import DependencyStatus
from fauxchange.platform.streams.hub import Delivery
from fauxchange.services.market_data.clients.gateway import GatewayMarketData

AT_NS = 1_769_860_800 * NS_PER_S
MINUTE_NS = 60 * NS_PER_S
SYMBOLS = pb.ListSymbolsResponse(
    symbols=[
        pb.Symbol(symbol="BTC/USD", base="BTC", quote="USD", tick_size="0.01", lot_size="0.00001", source="simulator")
    ]
)


class Generator:
    """What a gateway's client of a generator can be asked; streams say what the test puts into them."""

    def __init__(self) -> None:
        self.symbols: pb.ListSymbolsResponse | FauxchangeError = SYMBOLS
        self.requests: list[tuple[str, Any]] = []
        self.open: dict[str, asyncio.Queue[Any]] = {}

    async def call(self, method: str, request: Any) -> Any:
        self.requests.append((method, request))
        if isinstance(self.symbols, FauxchangeError):
            raise self.symbols
        return self.symbols

    async def stream(self, method: str, request: Any, *, idle_timeout_s: float) -> AsyncGenerator[Any, None]:
        self.requests.append((method, request))
        queue = self.open[f"{method} {getattr(request, 'interval', '')}".strip()] = asyncio.Queue()
        # The first message says that the stream has begun.
        yield pb.PriceBatch()
        while True:
            said = await queue.get()
            if isinstance(said, FauxchangeError):
                raise said
            yield said

    def say(self, *updates: pb.PriceUpdate) -> None:
        self.open["StreamPrices"].put_nowait(pb.PriceBatch(updates=updates))

    def asked(self, method: str) -> list[Any]:
        return [request for name, request in self.requests if name == method]


class Owner:
    """Whoever sends readers away."""

    def __init__(self) -> None:
        self.losses: list[FauxchangeError] = []

    def lost(self, failure: FauxchangeError) -> None:
        self.losses.append(failure)


class Reader:
    """Somebody who reads prices."""

    readers = 1

    def __init__(self) -> None:
        self.read: list[tuple[int, int]] = []

    def deliver(self, delivery: Delivery) -> None:
        self.read += [(message.first_sequence, message.sequence) for message in delivery.messages]


class Running:
    """A gateway in front of a generator."""

    def __init__(self) -> None:
        self.generator = Generator()
        self.owner = Owner()
        self.tasks: list[asyncio.Task[Any]] = []
        self.gateway = GatewayMarketData(
            self.generator,  # type: ignore[arg-type]  # as far as a gateway asks
            self.owner,
            keep=lambda symbols: 100,
            default_interval_ns=MINUTE_NS,
            spawn=self.spawn,
            chance=lambda: 0.0,
            idle_timeout_s=10.0,
        )

    def spawn(self, coroutine: Any, name: str) -> "asyncio.Task[Any]":
        self.tasks.append(asyncio.get_running_loop().create_task(coroutine, name=name))
        return self.tasks[-1]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - it happens in the gateway's own tasks
                await asyncio.sleep(0)

    def is_live(self) -> bool:
        return self.gateway.health().status is DependencyStatus.OK


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    running = Running()
    await running.gateway.start()
    try:
        await running.until(running.is_live)
        yield running
    finally:
        await running.gateway.stop()


def price(sequence: int, bid: str = "100.00", *, first: int = 0, epoch: int = 5, kind: int = 2) -> pb.PriceUpdate:
    return pb.PriceUpdate(
        epoch=epoch,
        first_sequence=first or sequence,
        sequence=sequence,
        type=kind,  # type: ignore[arg-type]  # an enum of protobuf is a number
        price=pb.Price(
            symbol="BTC/USD", bid=bid, ask="101.00", mid="100.50", sequence=sequence, timestamp=timestamp(AT_NS)
        ),
    )


SNAPSHOT = int(pb.MESSAGE_TYPE_SNAPSHOT)


async def test_prices_are_told_on_with_the_numbers_that_they_came_with(running: Running) -> None:
    (topic,) = running.gateway.resolve_topics("prices", "btc-usd")
    reader = Reader()
    running.gateway.hub.subscribe(reader, topic)

    running.generator.say(price(40, kind=SNAPSHOT))
    running.generator.say(price(41), price(43, "100.10", first=42))
    await running.until(lambda: topic.sequence == 43)

    assert reader.read == [(40, 40), (41, 41), (42, 43)]
    assert (topic.epoch, running.gateway.price("BTC-USD").bid_ticks) == (5, 10_010)
    resumed = topic.resume(41)
    assert resumed is not None
    assert [(message.first_sequence, message.type) for message in resumed] == [(41, "delta"), (42, "delta")]
    snapshot = topic.snapshot()
    assert snapshot is not None
    assert (snapshot.sequence, snapshot.type) == (43, "snapshot")


async def test_what_was_read_already_is_told_once(running: Running) -> None:
    (topic,) = running.gateway.resolve_topics("prices", "BTC/USD")
    reader = Reader()
    running.gateway.hub.subscribe(reader, topic)

    running.generator.say(price(1, kind=SNAPSHOT), price(2), price(2), price(1), price(3))
    await running.until(lambda: topic.sequence == 3)

    assert reader.read == [(1, 1), (2, 2), (3, 3)]


async def test_a_gap_is_asked_for_again_and_readers_are_sent_away(running: Running) -> None:
    running.generator.say(price(1, kind=SNAPSHOT), price(2), price(5))
    await running.until(lambda: running.owner.losses)
    with pytest.raises(Unavailable) as refused:
        running.gateway.price("BTC-USD")
    await running.until(running.is_live)

    first, second = running.generator.asked("StreamPrices")
    assert refused.value.code == "generator_away"
    assert not first.subscriptions[0].HasField("from_sequence")
    assert (second.subscriptions[0].from_sequence, second.subscriptions[0].epoch) == (3, 5)


async def test_another_epoch_begins_everything_anew(running: Running) -> None:
    (topic,) = running.gateway.resolve_topics("prices", None)
    running.generator.say(price(7, kind=SNAPSHOT), price(8))
    await running.until(lambda: topic.sequence == 8)

    running.generator.open["StreamPrices"].put_nowait(Unavailable("it went away"))
    await running.until(lambda: running.owner.losses)
    await running.until(running.is_live)
    running.generator.say(price(1, "90.00", epoch=6, kind=SNAPSHOT), price(2, "91.00", epoch=6))
    await running.until(lambda: topic.epoch == 6)

    assert topic.resume(7) is None
    assert topic.resume(8) is None
    assert topic.sequence == 2
    assert running.gateway.latest_prices()[0].bid_ticks == 9_100


async def test_a_stream_that_breaks_takes_the_gateway_out_until_it_is_back(running: Running) -> None:
    running.generator.open["StreamCandles 1m"].put_nowait(Unavailable("cut"))
    await running.until(lambda: running.owner.losses)

    assert running.gateway.health().status is DependencyStatus.DOWN
    with pytest.raises(Unavailable):
        running.gateway.resolve_topics("prices", None)
    await running.until(running.is_live)
    assert running.gateway.resolve_topics("candles:1m", "BTC-USD")


async def test_what_there_is_not_is_refused_as_by_the_generator(running: Running) -> None:
    with pytest.raises(NotFound) as unknown:
        running.gateway.market("XRP-USD")
    with pytest.raises(NotFound) as without:
        running.gateway.price("BTC-USD")
    with pytest.raises(InvalidRequest) as channel:
        running.gateway.resolve_topics("nothing", None)

    assert (unknown.value.code, without.value.code, channel.value.code) == (
        "unknown_symbol",
        "no_price_yet",
        "unknown_channel",
    )


async def test_scenarios_that_are_over_are_in_no_snapshot(running: Running) -> None:
    (topic,) = running.gateway.resolve_topics("scenario", None)

    def told(sequence: int, event: str, status: str) -> pb.ScenarioBatch:
        scenario = pb.Scenario(
            scenario_id="drop",
            kind="crash",
            symbols=["BTC/USD"],
            status=status,
            start_time=timestamp(AT_NS),
            end_time=timestamp(AT_NS + NS_PER_S),
            magnitude="0.1",
            specification='{"kind":"crash"}',
        )
        update = pb.ScenarioUpdate(
            epoch=5,
            first_sequence=sequence,
            sequence=sequence,
            type=pb.MESSAGE_TYPE_EVENT,
            event=event,
            timestamp=timestamp(AT_NS),
            scenarios=[scenario],
        )
        return pb.ScenarioBatch(updates=[update])

    running.generator.open["StreamScenarios"].put_nowait(told(1, "started", "active"))
    await running.until(lambda: topic.sequence == 1)
    during = topic.snapshot()
    running.generator.open["StreamScenarios"].put_nowait(told(2, "ended", "ended"))
    await running.until(lambda: topic.sequence == 2)
    after = topic.snapshot()

    assert during is not None
    assert after is not None
    assert [(each.scenario_id, each.specification) for each in during.data] == [("drop", {"kind": "crash"})]
    assert after.data == []


async def test_a_generator_that_is_not_there_yet_is_waited_for() -> None:
    running = Running()
    running.generator.symbols = Unavailable("nobody listens")
    await running.gateway.start()
    await running.until(lambda: len(running.generator.asked("ListSymbols")) > 1)
    health = running.gateway.health()

    running.generator.symbols = SYMBOLS
    await running.until(running.is_live)

    assert health.status is DependencyStatus.DOWN
    assert "nobody listens" in health.detail
    await running.gateway.stop()
