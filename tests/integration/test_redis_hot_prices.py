"""Whatever is written, in whatever order: the hot prices answer what the store behind them answers."""

from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis_kit import patient, stores

from fauxchange.data.memory.market_data import MemoryPriceFeeds
from fauxchange.data.ports import Page, PriceFeedQuery
from fauxchange.data.redis.stores import RedisStores
from fauxchange.domain.market_data import FeedSource, PriceFeed

ROWS, AGE_NS = 6, 20
fresh = count(1)

writes = st.tuples(st.just("write"), st.lists(st.integers(0, 60), min_size=1, max_size=5))
deletions = st.tuples(st.just("delete"), st.integers(0, 60))
losses = st.tuples(st.just("lose"), st.just(0))


def price(symbol: str, sequence: int, ts_ns: int) -> PriceFeed:
    return PriceFeed(
        symbol=symbol,
        epoch=1,
        sequence=sequence,
        ts_ns=ts_ns,
        bid=Decimal(1),
        ask=Decimal(2),
        last=None,
        volume=Decimal(0),
        source=FeedSource.FIXED,
    )


class CountingStore(MemoryPriceFeeds):
    """A store that counts how often it is asked."""

    asked = 0

    async def history(self, query: PriceFeedQuery) -> Page[PriceFeed]:
        self.asked += 1
        return await super().history(query)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[RedisStores]:
    redis = stores(patient(redis_url), hot_rows=ROWS, hot_age_ns=AGE_NS)
    await redis.connect()
    yield redis
    await redis.disconnect()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.one_of(writes, writes, writes, deletions, losses), min_size=1, max_size=12),
    limit=st.integers(1, 9),
    start_ns=st.none() | st.integers(0, 60),
    end_ns=st.none() | st.integers(0, 60),
    newest_first=st.booleans(),
)
async def test_hot_prices_answer_as_the_store_does(
    redis: RedisStores,
    steps: list[tuple[str, list[int] | int]],
    limit: int,
    start_ns: int | None,
    end_ns: int | None,
    newest_first: bool,
) -> None:
    symbol, sequence = f"S{next(fresh)}/USD", count(1)
    store = MemoryPriceFeeds(10_000)
    hot = redis.hot_prices(store)
    query = PriceFeedQuery(symbol=symbol, start_ns=start_ns, end_ns=end_ns, limit=limit, newest_first=newest_first)

    for step, value in steps:
        if isinstance(value, list):
            await hot.create_many([price(symbol, next(sequence), ts_ns) for ts_ns in value])
        elif step == "delete":
            await hot.delete_before(value)
        else:
            hot.forget()

        assert await hot.latest(symbol) == await store.latest(symbol)
        assert await hot.history(query) == await store.history(query)


async def test_newest_prices_are_answered_without_the_store_and_older_ones_by_it(redis: RedisStores) -> None:
    store = CountingStore(10_000)
    hot = redis.hot_prices(store)
    for sequence in range(1, 101):
        await hot.create(price("BTC/USD", sequence, sequence))
    store.asked = 0

    newest = await hot.history(PriceFeedQuery(symbol="BTC/USD", limit=ROWS - 1, newest_first=True))
    recent = await hot.history(PriceFeedQuery(symbol="BTC/USD", start_ns=97))
    asked_for_newest = store.asked
    older = await hot.history(PriceFeedQuery(symbol="BTC/USD", start_ns=50, end_ns=53))

    assert [feed.sequence for feed in newest.items] == [100, 99, 98, 97, 96]
    assert [feed.sequence for feed in recent.items] == [97, 98, 99, 100]
    assert asked_for_newest == 0
    assert [feed.sequence for feed in older.items] == [50, 51, 52]
    assert store.asked == 1
