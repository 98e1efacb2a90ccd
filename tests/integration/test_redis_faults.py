"""What the stores in Redis do while the server is away, and after it has come back. The server is real."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import redis.exceptions
from redis_kit import asked_until, eventually, stores
from structlog.testing import capture_logs

from fauxchange.data.memory.market_data import MemoryPriceFeeds
from fauxchange.data.ports import Continuity, Page, PriceFeedQuery, StreamedPrices
from fauxchange.data.redis.hot_prices import HotPrices
from fauxchange.data.redis.metrics import RedisMetrics
from fauxchange.data.redis.price_streams import RedisPriceStreams
from fauxchange.data.redis.server import Command, RedisConfig
from fauxchange.data.redis.server import RedisServer as DataServer
from fauxchange.data.redis.stores import RedisStores
from fauxchange.domain.errors import ConfigurationError, Unavailable
from fauxchange.domain.market_data import FeedSource, PriceFeed
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.platform.ports import DependencyStatus, ServiceInstance
from fauxchange.testing.servers import RedisServer, TcpProxy, start_redis

EPOCH = 1_700_000_000_000
OUTAGE_SEEN_S = 10.0
"""Most that it may take to notice an outage, or its end: several times what it takes on a machine with time."""


def price(sequence: int) -> PriceFeed:
    return PriceFeed(
        symbol="BTC/USD",
        epoch=EPOCH,
        sequence=sequence,
        ts_ns=sequence * 10,
        bid=Decimal("99.50"),
        ask=Decimal("100.50"),
        last=None,
        volume=Decimal(0),
        source=FeedSource.SIMULATOR,
    )


def instance(name: str, number: str = "a") -> ServiceInstance:
    return ServiceInstance(
        name=name,
        instance=number,
        version="1",
        host="127.0.0.1",
        http_port=1,
        grpc_port=2,
        registered_ns=1,
        heartbeat_ns=1,
        metadata={"zone": "1"},
    )


class CountingStore(MemoryPriceFeeds):
    """The store behind the hot prices; it counts how often it is asked, and can be away."""

    def __init__(self) -> None:
        super().__init__(10_000)
        self.asked = 0
        self.is_away = False

    async def create_many(self, feeds: Sequence[PriceFeed]) -> None:
        await super().create_many(feeds)
        if self.is_away:
            raise Unavailable("stored, but nobody was told")

    async def history(self, query: PriceFeedQuery) -> Page[PriceFeed]:
        self.asked += 1
        return await super().history(query)

    async def latest(self, symbol: str) -> PriceFeed | None:
        self.asked += 1
        return await super().latest(symbol)


async def sequences(hot: HotPrices, **query: Any) -> list[int]:
    page = await hot.history(PriceFeedQuery(symbol="BTC/USD", **query))
    return [feed.sequence for feed in page.items]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with start_redis() as server:
        yield server


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[TcpProxy]:
    host, _, port = server.url.rpartition("@")[2].rpartition("/")[0].partition(":")
    with TcpProxy(host, int(port)) as proxy:
        yield proxy


Opened = Callable[..., Awaitable[RedisStores]]


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    """Return a function that connects stores; afterwards nothing that they have begun may be left."""
    before = asyncio.all_tasks()
    all_stores: list[RedisStores] = []

    async def open_(url: str, **more: Any) -> RedisStores:
        all_stores.append(stores(RedisConfig(url=url), **more))
        await all_stores[-1].connect()
        return all_stores[-1]

    yield open_
    for one in all_stores:
        await one.disconnect()
    await eventually(lambda: asyncio.all_tasks() - before <= {asyncio.current_task()}, within_s=5.0)


async def lost(*all_stores: RedisStores) -> None:
    await eventually(lambda: all(one.server.problem is not None for one in all_stores), within_s=OUTAGE_SEEN_S)


async def found(*all_stores: RedisStores) -> None:
    await eventually(lambda: all(one.server.problem is None for one in all_stores), within_s=OUTAGE_SEEN_S)


FAULTS: dict[str, tuple[Callable[[RedisServer, TcpProxy], None], Callable[[RedisServer, TcpProxy], None]]] = {
    "killed": (lambda server, _: server.kill(), lambda server, _: server.restart()),
    "frozen": (lambda server, _: server.freeze(), lambda server, _: server.thaw()),
    "stalled": (lambda _, proxy: proxy.stall(), lambda _, proxy: proxy.flow()),
}
faults = pytest.mark.parametrize(("begin", "end"), FAULTS.values(), ids=FAULTS)


@faults
async def test_cache_goes_on_in_memory_and_forgets_what_changed_meanwhile(
    server: RedisServer, proxy: TcpProxy, opened: Opened, begin: Any, end: Any
) -> None:
    redis = await opened(proxy.url_through(server.url))
    await redis.cache.set("changed", b"old")
    await redis.cache.set("deleted", b"old")
    await redis.cache.set("kept", b"old")

    begin(server, proxy)
    await redis.cache.set("changed", b"new")
    await redis.cache.delete("del*")
    meanwhile = [await redis.cache.get(key) for key in ("changed", "deleted")]
    await lost(redis)
    status = redis.health()["cache"].status
    end(server, proxy)
    await found(redis)
    afterwards = [await redis.cache.get(key) for key in ("changed", "deleted")]
    await redis.cache.set("changed", b"newest")

    assert meanwhile == [b"new", None]
    assert status is DependencyStatus.DEGRADED
    assert afterwards == [None, None]
    assert await redis.cache.get("changed") == b"newest"
    await eventually(lambda: redis.health()["cache"].status is DependencyStatus.OK, within_s=OUTAGE_SEEN_S)


@faults
async def test_calls_do_not_wait_while_the_server_is_known_to_be_away(
    server: RedisServer, proxy: TcpProxy, opened: Opened, begin: Any, end: Any
) -> None:
    redis = await opened(proxy.url_through(server.url))
    begin(server, proxy)
    await lost(redis)

    # A thousand calls of a second each would take a quarter of an hour.
    async with asyncio.timeout(20):
        for _ in range(1_000):
            await redis.cache.get("k")
    with pytest.raises(Unavailable) as away:
        await redis.server.call("PING")

    assert away.value.retryable
    assert "password" not in away.value.message


@faults
async def test_registry_remembers_the_others_and_registers_its_own_again(
    server: RedisServer, proxy: TcpProxy, opened: Opened, begin: Any, end: Any
) -> None:
    ours, theirs = await opened(proxy.url_through(server.url)), await opened(proxy.url_through(server.url))
    await ours.discovery.register(instance("market-data-simulator"))
    await theirs.discovery.register(instance("exchange-simulator"))
    await asked_until(lambda: ours.discovery.find("exchange-simulator"))

    begin(server, proxy)
    await lost(ours, theirs)
    meanwhile = [entry.name for entry in await ours.discovery.all()]
    beaten = await ours.discovery.heartbeat("market-data-simulator", "a")
    await ours.discovery.register(instance("market-data-simulator", "b"))
    end(server, proxy)

    # Far less than the half minute until the next heartbeat.
    async def all_found() -> bool:
        names = [(entry.name, entry.instance) for entry in await theirs.discovery.all()]
        ours_too = [(entry.name, entry.instance) for entry in await ours.discovery.all()]
        wanted = [("exchange-simulator", "a"), ("market-data-simulator", "a"), ("market-data-simulator", "b")]
        return names == ours_too == wanted and theirs.discovery.problem is None

    await asked_until(all_found)
    (entry,) = [entry for entry in await theirs.discovery.find("market-data-simulator") if entry.instance == "a"]
    assert meanwhile == ["exchange-simulator", "market-data-simulator"]
    assert beaten
    assert entry.metadata == {"zone": "1"}


@faults
async def test_hot_prices_answer_as_the_store_does_before_during_and_after(
    server: RedisServer, proxy: TcpProxy, opened: Opened, begin: Any, end: Any
) -> None:
    redis, store = await opened(proxy.url_through(server.url)), CountingStore()
    hot = redis.hot_prices(store)
    await hot.create_many([price(1), price(2)])
    store.asked = 0
    before = await sequences(hot)
    asked_before = store.asked

    begin(server, proxy)
    await hot.create(price(3))
    during = await sequences(hot)
    await lost(redis)
    await hot.create(price(4))
    latest = await hot.latest("BTC/USD")
    end(server, proxy)
    await found(redis)
    back = await sequences(hot)
    await hot.create(price(5))
    store.asked = 0
    after = await sequences(hot)

    assert (before, asked_before) == ([1, 2], 0)
    assert during == [1, 2, 3]
    assert latest == price(4)
    assert back == [1, 2, 3, 4]
    assert (after, store.asked) == ([1, 2, 3, 4, 5], 0)


@faults
async def test_streamed_prices_wait_for_the_server_and_arrive_in_order(
    server: RedisServer, proxy: TcpProxy, opened: Opened, begin: Any, end: Any
) -> None:
    ours, theirs = await opened(proxy.url_through(server.url)), await opened(proxy.url_through(server.url))
    ours.price_streams.publish([price(1)])
    await eventually(lambda: not ours.price_streams.waiting)
    told: list[StreamedPrices] = []
    note = told.append

    async def listen() -> None:
        async with aclosing(theirs.price_streams.follow({"BTC/USD": (EPOCH, 1)})) as following:
            async for event in following:
                note(event)

    listening = asyncio.create_task(listen())
    await eventually(lambda: [feed.sequence for event in told for feed in event.prices] == [1])

    begin(server, proxy)
    await lost(ours, theirs)
    ours.price_streams.publish([price(2), price(3)])
    end(server, proxy)
    await eventually(lambda: [feed.sequence for event in told for feed in event.prices] == [1, 2, 3])
    listening.cancel()
    await asyncio.wait([listening])

    assert {event.continuity for event in told} == {Continuity.DELTA}
    assert ours.price_streams.dropped == 0


async def test_absent_at_start_is_waited_for(server: RedisServer, opened: Opened) -> None:
    server.stop()

    with capture_logs() as logs:
        redis = await opened(server.url)
        store = CountingStore()
        hot = redis.hot_prices(store)
        await redis.cache.set("k", b"1")
        await redis.discovery.register(instance("market-data-simulator"))
        await hot.create(price(1))
        redis.price_streams.publish([price(1)])
        statuses = {name: health.status for name, health in redis.health().items()}
        in_memory = await redis.cache.get("k")
        server.restart()
        await found(redis)

    other = await opened(server.url)
    await asked_until(lambda: other.discovery.find("market-data-simulator"))
    await asked_until(lambda: asyncio.sleep(0, not redis.price_streams.waiting))
    assert in_memory == b"1"
    assert await sequences(hot) == [1]
    assert statuses.pop("redis") is DependencyStatus.DOWN
    assert set(statuses.values()) == {DependencyStatus.DEGRADED}
    story = [line["event"] for line in logs if line["event"] in {"Running in stub mode", "DataAdapter connected"}]
    assert story[:2] == ["Running in stub mode", "DataAdapter connected"]
    assert all(line["store"] == f"redis:{redis.server.name}" for line in logs if line["event"] in story)
    assert not any("admin" in str(line) for line in logs)


async def test_server_that_comes_back_empty_gets_entries_and_prices_again(server: RedisServer, opened: Opened) -> None:
    redis, other, store = await opened(server.url), await opened(server.url), CountingStore()
    hot = redis.hot_prices(store)
    await redis.discovery.register(instance("market-data-simulator"))
    await hot.create_many([price(1), price(2)])

    server.restart(empty=True)
    await asked_until(lambda: other.discovery.find("market-data-simulator"))
    await hot.create(price(3))
    first = await sequences(hot)
    await hot.create(price(4))

    assert first == [1, 2, 3]
    assert await sequences(hot) == [1, 2, 3, 4]


async def test_keys_that_vanish_under_a_living_server_are_noticed(server: RedisServer, opened: Opened) -> None:
    redis, other, store = await opened(server.url), await opened(server.url), CountingStore()
    hot = redis.hot_prices(store)
    await redis.discovery.register(instance("market-data-simulator"))
    await hot.create_many([price(1), price(2)])

    server.flush()
    await hot.create(price(3))
    after_flush = await sequences(hot), await hot.latest("BTC/USD")
    await asked_until(lambda: other.discovery.find("market-data-simulator"))
    await hot.create(price(4))
    store.asked = 0

    assert after_flush == ([1, 2, 3], price(3))
    assert (await sequences(hot), store.asked) == ([1, 2, 3, 4], 0)


async def test_server_that_is_slow_is_used_and_said_to_be_slow(
    server: RedisServer, proxy: TcpProxy, opened: Opened
) -> None:
    redis, store = await opened(proxy.url_through(server.url)), CountingStore()
    hot = redis.hot_prices(store)

    proxy.delay_s = 0.5
    await eventually(lambda: redis.server.health().status is not DependencyStatus.OK, within_s=OUTAGE_SEEN_S)
    begun_s = asyncio.get_running_loop().time()
    for sequence in range(1, 1_001):
        redis.price_streams.publish([price(sequence)])
    published_s = asyncio.get_running_loop().time() - begun_s
    await redis.cache.set("k", b"1")
    await redis.discovery.register(instance("market-data-simulator"))
    await hot.create_many([price(1), price(2)])
    answers = await redis.cache.get("k"), len(await redis.discovery.all()), await sequences(hot)
    proxy.delay_s = 0.0
    await eventually(lambda: redis.server.health().status is DependencyStatus.OK, within_s=OUTAGE_SEEN_S)

    assert published_s < 0.4, "publishing a price waits for nobody"
    assert answers == (b"1", 1, [1, 2])
    await eventually(lambda: not redis.price_streams.waiting)
    assert redis.price_streams.dropped == 0


async def test_prices_beyond_the_queue_are_given_up_counted_and_seen_as_a_gap(
    server: RedisServer, opened: Opened
) -> None:
    metrics = PrometheusMetrics("market-data", "i", "v")
    redis = await opened(server.url, metrics=metrics)
    redis.price_streams.publish([price(1)])
    await eventually(lambda: not redis.price_streams.waiting)
    server.freeze()
    await lost(redis)

    for sequence in range(2, 30_002):
        redis.price_streams.publish([price(sequence)])
    waiting, dropped = redis.price_streams.waiting, redis.price_streams.dropped
    server.thaw()
    await eventually(lambda: not redis.price_streams.waiting)

    # One batch may have been on its way, ahead of what was given up.
    assert (waiting, dropped) == (20_000, 10_000)
    told: list[StreamedPrices] = []
    async with aclosing(redis.price_streams.follow({"BTC/USD": (EPOCH, 30_001 - 9_000)})) as following:
        told.append(await anext(following))
    assert told[0].continuity is Continuity.DELTA
    text = metrics.expose()[0].decode()
    assert (
        'price_stream_dropped_total{instance="i",reason="overflow",service="market-data",version="v"} 10000.0' in text
    )
    assert 'store_up{instance="i",service="market-data",store="redis",version="v"} 1.0' in text


async def test_connections_are_closed_and_few(server: RedisServer, proxy: TcpProxy, opened: Opened) -> None:
    redis = await opened(proxy.url_through(server.url))
    await asyncio.gather(*(redis.cache.set(str(number), b"1") for number in range(500)))
    at_work = proxy.connections
    for _ in range(3):
        proxy.reset()
        await asyncio.gather(*(redis.cache.get(str(number)) for number in range(50)))
        await found(redis)

    assert at_work <= redis.server.config.pool_size + 1
    assert proxy.connections <= redis.server.config.pool_size + 1
    await redis.disconnect()
    await eventually(lambda: proxy.connections == 0)


async def test_connection_that_the_loop_has_closed_is_a_loss_like_any_other(
    server: RedisServer, opened: Opened
) -> None:
    redis = await opened(server.url)
    alone = await redis.server.open_alone()
    transport = alone._connection._writer.transport
    transport.abort()
    await eventually(lambda: "closed=True" in repr(transport))

    # uvloop raises a RuntimeError of its own here.
    with pytest.raises(Unavailable):
        await alone.call("PING")
    await alone.close()


async def test_connections_are_kept_for_callers(server: RedisServer, proxy: TcpProxy, opened: Opened) -> None:
    await opened(proxy.url_through(server.url))

    # Two that are kept, and the watcher's.
    await eventually(lambda: proxy.connections == 3)


async def test_caller_that_is_cancelled_leaves_no_connection_in_the_middle_of_an_answer(
    server: RedisServer, proxy: TcpProxy, opened: Opened
) -> None:
    redis = await opened(proxy.url_through(server.url))
    await redis.cache.set("a", b"of a")
    await redis.cache.set("b", b"of b")
    proxy.delay_s = 0.1

    for _ in range(5):
        asking = asyncio.ensure_future(redis.cache.get("a"))
        await asyncio.wait([asking], timeout=0.02)
        asking.cancel()
        await asyncio.wait([asking])

        assert await redis.cache.get("b") == b"of b"


async def test_write_of_unknown_outcome_leaves_no_hole_in_the_hot_prices(server: RedisServer, opened: Opened) -> None:
    redis, store = await opened(server.url), CountingStore()
    hot = redis.hot_prices(store)
    await hot.create(price(1))

    store.is_away = True
    with pytest.raises(Unavailable):
        await hot.create(price(2))
    store.is_away = False

    assert await sequences(hot) == [1, 2]
    await hot.create(price(3))
    assert await sequences(hot) == [1, 2, 3]


async def test_writer_that_is_gone_leaves_no_claim_behind(server: RedisServer, opened: Opened) -> None:
    store = CountingStore()
    writer, reader = await opened(server.url), await opened(server.url)
    await writer.hot_prices(store).create(price(1))
    hot = reader.hot_prices(store)
    store.asked = 0
    from_redis = await sequences(hot), store.asked

    await writer.disconnect()
    await store.create_many([price(2)])

    async def is_complete() -> bool:
        return await sequences(hot) == [1, 2]

    await asked_until(is_complete)
    assert from_redis == ([1], 0)


async def test_wrong_password_is_refused_at_start(server: RedisServer, opened: Opened) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await opened(server.user_url("admin", "wrong"))

    assert refused.value.field == "REDIS_URL"
    assert "wrong" not in refused.value.message.replace("WRONGPASS", "")


class ForgetfulServer(DataServer):
    """A server whose answer to the first batch of additions is lost with its connection, after it has done them."""

    forgotten = False

    async def _try(self, commands: Sequence[Command], *, atomic: bool, keep_errors: bool) -> list[Any]:
        answers = await super()._try(commands, atomic=atomic, keep_errors=keep_errors)
        if commands[0][0] == "XADD" and not self.forgotten:
            self.forgotten = True
            raise redis.exceptions.ConnectionError("reset by peer")
        return answers


async def test_prices_whose_answer_was_lost_are_not_said_to_be_given_up(server: RedisServer) -> None:
    forgetful = ForgetfulServer(RedisConfig(url=server.url))
    await forgetful.connect()
    streams = RedisPriceStreams(forgetful, metrics=RedisMetrics(None))
    streams.start()

    streams.publish([price(1), price(2)])
    await eventually(lambda: streams.waiting == 0)
    await streams.stop()
    kept = await forgetful.call("XLEN", "market_data:stream:BTC/USD")
    await forgetful.disconnect()

    assert forgetful.forgotten
    assert (kept, streams.dropped) == (2, 0)


async def test_price_that_cannot_be_written_is_given_up_and_the_next_ones_are_sent(
    server: RedisServer, opened: Opened
) -> None:
    redis = await opened(server.url)

    redis.price_streams.publish([replace(price(1), metadata={"share": math.nan})])
    await eventually(lambda: redis.price_streams.dropped == 1)
    redis.price_streams.publish([price(2)])
    await eventually(lambda: redis.price_streams.waiting == 0)

    assert await redis.server.call("XLEN", "market_data:stream:BTC/USD") == 1
    assert redis.price_streams.problem is None
