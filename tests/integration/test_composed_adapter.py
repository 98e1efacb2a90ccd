"""The adapter as a process opens it: PostgreSQL for what belongs into SQL, Redis for what is hot."""

from collections.abc import AsyncIterator
from decimal import Decimal

import psycopg
import pytest
from postgres_kit import patient, price
from redis_kit import patient as patient_redis

from fauxchange.data.adapter import open_data_adapter
from fauxchange.data.ports import DataAdapter, PriceFeedQuery
from fauxchange.domain.errors import ConfigurationError
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.platform.ports import DependencyStatus

ONE = Decimal(1)


@pytest.fixture
async def adapter(postgres_url: str, redis_url: str) -> AsyncIterator[DataAdapter]:
    adapter = await open_data_adapter(
        None,
        postgres=patient(postgres_url),
        redis=patient_redis(redis_url),
        metrics=PrometheusMetrics("test", "test", "0"),
    )
    yield adapter
    await adapter.disconnect()


async def test_each_store_has_its_own_health(adapter: DataAdapter) -> None:
    health = adapter.health()

    assert {"postgresql", "journal", "redis", "cache", "registry", "hot-history"} <= set(health)
    assert {each.status for each in health.values()} == {DependencyStatus.OK}
    assert health["cache"].detail != "in memory"


async def test_prices_are_in_postgresql_and_the_newest_are_hot(adapter: DataAdapter, postgres_url: str) -> None:
    feeds = [price(sequence) for sequence in range(1, 11)]

    await adapter.price_feeds.create_many(feeds)

    assert (await adapter.price_feeds.history(PriceFeedQuery(symbol="BTC/USD"))).items == feeds
    assert await adapter.price_feeds.latest("BTC/USD") == feeds[-1]
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM market_data.price_feeds").fetchone() == (10,)


async def test_cache_and_state_are_kept_apart(adapter: DataAdapter) -> None:
    await adapter.cache.set("it", b"hot")
    await adapter.state.save("it", {"n": 1})

    await adapter.disconnect()
    await adapter.connect()

    assert await adapter.cache.get("it") == b"hot"
    assert await adapter.state.load("it") == {"n": 1}


async def test_refused_part_leaves_the_other_closed(postgres_url: str, redis_url: str) -> None:
    user, _, place = redis_url.rpartition("@")
    wrong = f"{user}-wrong@{place}"

    with pytest.raises(ConfigurationError):
        await open_data_adapter(None, postgres=patient(postgres_url), redis=patient_redis(wrong))

    with psycopg.connect(postgres_url) as connection:
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        assert connection.execute(others).fetchone() == (0,)
