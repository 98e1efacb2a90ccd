"""Each service's user of Redis may do what its repositories do, and nothing else. The server is real."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from decimal import Decimal

import pytest
from redis_kit import eventually, patient, stores

from fauxchange.data.memory.market_data import MemoryPriceFeeds
from fauxchange.data.ports import PriceFeedQuery
from fauxchange.data.redis.acl import USERS, RedisUser, acl_lines
from fauxchange.data.redis.stores import RedisStores
from fauxchange.domain.errors import Unavailable
from fauxchange.domain.market_data import FeedSource, PriceFeed
from fauxchange.platform.ports import DependencyStatus, ServiceInstance
from fauxchange.testing.servers import RedisServer

PASSWORDS = {user.name: f"secret-of-{user.name}" for user in USERS}
PRICE = PriceFeed(
    symbol="BTC/USD",
    epoch=1,
    sequence=1,
    ts_ns=10,
    bid=Decimal("99.50"),
    ask=Decimal("100.50"),
    last=None,
    volume=Decimal(0),
    source=FeedSource.SIMULATOR,
)
MARKET_DATA, EXCHANGE = USERS[0], USERS[1]
every_user = pytest.mark.parametrize("user", USERS, ids=lambda user: user.name)
every_user_that_caches = pytest.mark.parametrize(
    "user", [user for user in USERS if user.caches], ids=lambda user: user.name
)
every_gateway = pytest.mark.parametrize(
    "user", [user for user in USERS if "gateway" in user.name], ids=lambda user: user.name
)


@pytest.fixture
def guarded(redis_server: RedisServer, redis_url: str) -> RedisServer:
    """Give out an empty server that knows every service's user."""
    redis_server.load_acl(line for line in acl_lines(PASSWORDS) if not line.startswith("user default"))
    return redis_server


Opened = Callable[[RedisUser], Awaitable[RedisStores]]


@pytest.fixture
async def opened(guarded: RedisServer) -> AsyncIterator[Opened]:
    all_stores: list[RedisStores] = []

    async def open_(user: RedisUser) -> RedisStores:
        config = patient(guarded.user_url(user.name, PASSWORDS[user.name]))
        one = stores(config, cache_namespace=user.namespace, discovery_namespace=user.namespace)
        all_stores.append(one)
        await one.connect()
        return one

    yield open_
    for one in all_stores:
        await one.disconnect()


def instance(user: RedisUser) -> ServiceInstance:
    return ServiceInstance(
        name=user.registered_name,
        instance=f"of-{user.name}",
        version="1",
        host="127.0.0.1",
        http_port=1,
        grpc_port=2,
        registered_ns=1,
        heartbeat_ns=1,
        metadata={"namespace": user.namespace},
    )


@every_user_that_caches
async def test_the_cache_works_under_the_service_s_own_user(opened: Opened, user: RedisUser) -> None:
    redis = await opened(user)

    await redis.cache.set("a", b"1", ttl_s=60)
    await redis.cache.set("b", b"2")
    values = await redis.cache.get("a"), list(await redis.cache.keys()), await redis.cache.delete("a*")

    assert values == (b"1", ["a", "b"], 1)
    assert redis.health()["cache"].status is DependencyStatus.OK


@every_user
async def test_the_registry_works_under_the_service_s_own_user(opened: Opened, user: RedisUser) -> None:
    redis = await opened(user)

    await redis.discovery.register(instance(user))
    beaten = await redis.discovery.heartbeat(user.registered_name, f"of-{user.name}")
    cleaned = await redis.discovery.clean_up()
    await redis.discovery.refresh()
    (found,) = await redis.discovery.find(user.registered_name)
    await redis.discovery.deregister(user.registered_name, f"of-{user.name}")

    assert (beaten, cleaned) == (True, 0)
    assert found.metadata == {"namespace": user.namespace}
    assert list(await redis.discovery.all()) == []
    assert {name: health.status for name, health in redis.health().items() if name != "redis"} == dict.fromkeys(
        ("cache", "registry", "hot-history", "price-streams"), DependencyStatus.OK
    )


async def test_all_services_find_each_other(opened: Opened) -> None:
    all_stores = [await opened(user) for user in USERS]

    for user, redis in zip(USERS, all_stores, strict=True):
        await redis.discovery.register(instance(user))

    names = sorted(user.registered_name for user in USERS)
    for redis in all_stores:
        found = await redis.discovery.all()
        assert [entry.name for entry in found] == names
        assert all(entry.metadata for entry in found)


async def test_market_data_writes_prices_that_the_exchange_reads(opened: Opened) -> None:
    ours, theirs = await opened(MARKET_DATA), await opened(EXCHANGE)
    hot = ours.hot_prices(MemoryPriceFeeds(10))
    await hot.create(PRICE)
    await hot.renew()
    await hot.delete_before(1)
    ours.price_streams.publish([PRICE])
    await eventually(lambda: not ours.price_streams.waiting)

    # The exchange has no prices of its own behind the hot ones, so what it finds comes from Redis.
    read = theirs.hot_prices(MemoryPriceFeeds(10))
    async with aclosing(theirs.price_streams.follow({"BTC/USD": (1, 1)})) as following:
        streamed = await anext(following)

    assert await read.latest("BTC/USD") == PRICE
    assert (await read.history(PriceFeedQuery(symbol="BTC/USD"))).items == [PRICE]
    assert list(streamed.prices) == [PRICE]
    assert ours.price_streams.dropped == 0


async def test_exchange_cannot_publish_prices(opened: Opened) -> None:
    redis = await opened(EXCHANGE)

    redis.price_streams.publish([PRICE])
    await eventually(lambda: redis.price_streams.dropped)

    assert redis.health()["price-streams"].status is DependencyStatus.DEGRADED


@every_user
@pytest.mark.parametrize(
    "command",
    [
        ("FLUSHALL",),
        ("FLUSHDB",),
        ("KEYS", "*"),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
        ("SHUTDOWN",),
        ("INFO",),
        ("CLIENT", "LIST"),
        ("EVAL", "return 1", 0),
        ("RENAME", "a", "b"),
        ("SWAPDB", 0, 1),
        ("PUBLISH", "c", "m"),
        ("SET", "no-namespace", "1"),
        ("GET", "config:all"),
        ("SET", "registry:entry:somebody-else/1", "{}"),
        ("UNLINK", "registry:entry:somebody-else/1"),
    ],
    ids=lambda command: " ".join(map(str, command)),
)
async def test_everything_else_is_refused(opened: Opened, user: RedisUser, command: tuple[object, ...]) -> None:
    redis = await opened(user)

    with pytest.raises(Unavailable) as refused:
        await redis.server.call(*command)

    assert not refused.value.retryable
    assert "permission" in refused.value.message


@every_gateway
@pytest.mark.parametrize(
    "command",
    [
        ("GET", "own:cache:k"),
        ("SET", "own:cache:k", "1"),
        ("SCAN", "0"),
        ("XRANGE", "market_data:stream:BTC/USD", "-", "+"),
        ("XADD", "market_data:stream:BTC/USD", "*", "price", "1"),
        ("ZRANGEBYLEX", "market_data:hot:{BTC/USD}:prices", "-", "+"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
async def test_gateways_reach_the_registry_alone(opened: Opened, user: RedisUser, command: tuple[str, ...]) -> None:
    redis = await opened(user)

    with pytest.raises(Unavailable) as refused:
        await redis.server.call(*(word.replace("own:", f"{user.namespace}:") for word in command))

    assert "permission" in refused.value.message


@every_user
async def test_the_caches_of_others_are_out_of_reach(opened: Opened, user: RedisUser) -> None:
    redis = await opened(user)

    for other in USERS:
        if other is not user:
            for command in (("GET", f"{other.namespace}:cache:k"), ("SET", f"{other.namespace}:service:i", "1")):
                with pytest.raises(Unavailable):
                    await redis.server.call(*command)


async def test_cache_that_is_refused_goes_on_in_memory_and_says_why(opened: Opened, guarded: RedisServer) -> None:
    config = patient(guarded.user_url(EXCHANGE.name, PASSWORDS[EXCHANGE.name]))
    redis = stores(config, cache_namespace="market_data", discovery_namespace="exchange")
    await redis.connect()

    await redis.cache.set("k", b"1")
    value, health = await redis.cache.get("k"), redis.health()
    await redis.disconnect()

    assert value == b"1"
    assert health["cache"].status is DependencyStatus.DEGRADED
    assert "permission" in health["cache"].detail
    assert health["redis"].status is DependencyStatus.OK


async def test_an_entry_that_redis_refuses_is_told_and_stays_told(opened: Opened, guarded: RedisServer) -> None:
    config = patient(guarded.user_url(EXCHANGE.name, PASSWORDS[EXCHANGE.name]))
    redis = stores(config, cache_namespace="exchange", discovery_namespace="market_data")
    await redis.connect()

    with pytest.raises(Unavailable) as refused:
        await redis.discovery.register(instance(EXCHANGE))
    # Reading is allowed, and works; what was refused is refused all the same.
    entries, health = await redis.discovery.all(), redis.health()["registry"]
    await redis.disconnect()

    assert not refused.value.retryable
    assert list(entries) == []
    assert health.status is DependencyStatus.DEGRADED
    assert "permission" in health.detail
