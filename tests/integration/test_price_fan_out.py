"""Prices from one process to others through Redis: market data publishes, an exchange and a bare follower read.

Everything is real: two services as processes of their own with a user each, and the server between them. The exchange
could not reach market data over gRPC if it tried, because it is told an address where nobody listens.
"""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from distributed_kit import (
    PASSWORD,
    QUICK,
    eventually,
    health_of,
    log_events,
    make_users,
    metric,
    service_settings,
    unwell,
)
from redis_kit import patient, stores

from fauxchange.data.ports import Continuity, StreamedPrices
from fauxchange.testing.distributed import DistributedVenue, distributed
from fauxchange.testing.processes import launched
from fauxchange.testing.servers import RedisServer, start_redis

SERVICES = ("market-data", "exchange")
SYMBOL = "BTC/USD"
NOWHERE = "127.0.0.1:1"
WAIT_S = 60.0


@dataclass
class System:
    """A generator, an exchange that follows it, and the server between them."""

    redis: RedisServer
    venue: DistributedVenue

    def url(self, service: str) -> str:
        return self.venue[service].venue.http

    def price(self) -> Any:
        return httpx.get(f"{self.url('market-data')}/api/v1/prices/BTC-USD", timeout=10).json()

    def history(self) -> dict[int, str]:
        """Return the bids that market data has stored, by number."""
        url = f"{self.url('market-data')}/api/v1/prices/BTC-USD/history?limit=1000&order=desc"
        return {each["sequence"]: each["bid"] for each in httpx.get(url, timeout=10).json()["prices"]}

    def listed(self) -> set[str]:
        """Return the names of the services that market data finds in the registry."""
        answer = httpx.get(f"{self.url('market-data')}/api/v1/services", timeout=10).json()
        return {each["name"] for each in answer["services"]}

    def bids(self) -> Any:
        return httpx.get(f"{self.url('exchange')}/api/v1/book/BTC-USD", timeout=10).json()["bids"]

    def unwell(self) -> dict[str, dict[str, str]]:
        return {name: found for name in SERVICES if (found := unwell(health_of(self.url(name))))}

    def is_streaming(self) -> bool:
        return metric(self.url("exchange"), "exchange_price_stream_up") == 1 and bool(self.bids())

    def events(self, name: str) -> int:
        return log_events(self.venue["exchange"].log).count(name)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with ExitStack() as stack:
        redis = stack.enter_context(start_redis())
        make_users(redis)
        settings = service_settings(
            None, lambda user: redis.user_url(user, PASSWORD), DEFAULT_SYMBOLS="BTC-USD,ETH-USD"
        )
        settings["market-data"]["SEED"] = "7"
        settings["exchange"] |= {"PRICES_FROM": "redis", "MARKET_DATA_GRPC": NOWHERE}
        venue = stack.enter_context(distributed(tmp_path_factory.mktemp("fan_out"), settings, SERVICES))
        yield System(redis, venue)


@pytest.fixture
def system(running: System) -> System:
    """Give out the system in full health."""
    running.redis.ensure_running()
    running.venue["exchange"].thaw()
    eventually(running.is_streaming, told=running.unwell)
    return running


async def followed(system: System, start: tuple[int, int] | None, wanted: int) -> list[StreamedPrices]:
    """Follow one symbol as the exchange's user until so many prices have come."""
    events: list[StreamedPrices] = []
    names = {"cache_namespace": "exchange", "discovery_namespace": "exchange"}
    redis = stores(patient(system.redis.user_url("exchange-adapter", PASSWORD)), **names)
    await redis.connect()
    try:
        async with asyncio.timeout(WAIT_S), aclosing(redis.price_streams.follow({SYMBOL: start})) as following:
            async for event in following:
                events.append(event)
                if sum(len(each.prices) for each in events) >= wanted:
                    break
    finally:
        await redis.disconnect()
    return events


def numbers(events: Sequence[StreamedPrices]) -> list[int]:
    return [price.sequence for event in events for price in event.prices]


async def test_prices_arrive_in_another_process_under_their_numbers_and_go_on_after_a_break(system: System) -> None:
    before = await followed(system, None, 3)
    last = before[-1].prices[-1]
    # The follower is away while prices are made.
    await asyncio.to_thread(eventually, lambda: system.price()["sequence"] >= last.sequence + 5)
    after = await followed(system, (last.epoch, last.sequence + 1), 6)

    assert before[0].continuity is Continuity.SNAPSHOT
    assert {event.continuity for event in after} == {Continuity.DELTA}
    read = numbers(before) + numbers(after)
    assert all(later == earlier + 1 for earlier, later in itertools.pairwise(read))
    made = system.history()
    for price in (price for event in (*before, *after) for price in event.prices):
        assert f"{price.bid:f}" == made[price.sequence]


def test_the_house_quotes_prices_that_came_through_redis(system: System) -> None:
    report = health_of(system.url("exchange"))
    price = system.price()
    eventually(lambda: abs(float(system.bids()[0][0]) / float(system.price()["mid"]) - 1) < 0.01)

    assert "market-prices" in report["services"]["exchange"]["dependencies"]
    assert "market-data" not in report["services"]["exchange"]["dependencies"]
    assert metric(system.url("market-data"), "price_stream_published_total") > 0
    assert price["symbol"] == SYMBOL


def test_an_exchange_that_stood_still_goes_on_where_it_was_and_misses_nothing(system: System) -> None:
    url, missed = system.url("exchange"), "exchange_prices_missed_total"
    missed_before = metric(url, missed)
    begun = system.price()["sequence"]

    system.venue["exchange"].freeze()
    eventually(lambda: system.price()["sequence"] >= begun + 15)
    system.venue["exchange"].thaw()
    eventually(system.is_streaming, told=system.unwell)

    assert metric(url, missed) == missed_before


def test_without_redis_the_feed_goes_on_and_the_house_waits_and_both_recover(system: System) -> None:
    lost, back = system.events("price_stream_lost"), system.events("price_stream_back")
    begun = system.price()["sequence"]

    system.redis.kill()
    eventually(lambda: "exchange.market-prices" in unwell(health_of(system.url("exchange"))))
    eventually(lambda: not system.bids())
    # The feed notices nothing: its prices go on, and wait for Redis.
    eventually(lambda: system.price()["sequence"] >= begun + 15)
    told = health_of(system.url("exchange"))
    system.redis.restart()
    eventually(system.is_streaming, told=system.unwell)
    eventually(lambda: not system.unwell().get("exchange"), told=system.unwell)

    assert told["status"] == "degraded"
    assert system.events("price_stream_lost") > lost
    assert system.events("price_stream_back") > back
    assert metric(system.url("market-data"), "price_stream_dropped_total") == 0


def test_a_generator_that_is_killed_is_noticed_and_its_next_epoch_followed(system: System) -> None:
    before = asyncio.run(followed(system, None, 1))[-1].prices[-1]

    system.venue.kill("market-data")
    eventually(lambda: "exchange.market-prices" in unwell(health_of(system.url("exchange"))))
    eventually(lambda: not system.bids())
    _ = system.venue.launch("market-data").venue
    eventually(system.is_streaming, told=system.unwell)

    after = asyncio.run(followed(system, None, 1))[-1].prices[-1]
    assert after.epoch > before.epoch


def test_a_gateway_whose_user_reaches_the_registry_alone_finds_the_generator(system: System, tmp_path: Path) -> None:
    settings = {**QUICK, "REDIS_URL": system.redis.user_url("market-data-gateway-adapter", PASSWORD)}

    with launched(tmp_path, settings, service="market-data-gateway") as gateway:
        url = gateway.venue.http
        eventually(lambda: health_of(url)["status"] == "ok", told=lambda: unwell(health_of(url)))
        # The others hear of it, so its entry is in Redis and not in its own memory.
        eventually(lambda: "market-data-gateway" in system.listed(), told=system.listed)
