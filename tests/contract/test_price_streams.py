"""What every form of the price streams promises."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import pytest
from redis_kit import eventually, patient, stores

from fauxchange.data.memory.price_streams import MemoryPriceStreams
from fauxchange.data.ports import Continuity, DataAdapter, PriceStreams, StreamedPrices
from fauxchange.data.redis.metrics import RedisMetrics
from fauxchange.data.redis.price_streams import RedisPriceStreams
from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.market_data import FeedSource, PriceFeed

KEEP = 200
EPOCH = 1_700_000_000_000
SNAPSHOT, DELTA, GAP, SNAPSHOT_REQUIRED = Continuity


def price(sequence: int, *, symbol: str = "BTC/USD", epoch: int = EPOCH, **more: Any) -> PriceFeed:
    values = {"bid": Decimal("99.50"), "ask": Decimal("100.50"), "last": None, "volume": Decimal(0), **more}
    return PriceFeed(
        symbol=symbol, epoch=epoch, sequence=sequence, ts_ns=sequence * 10, source=FeedSource.SIMULATOR, **values
    )


def prices(*sequences: int, **more: Any) -> list[PriceFeed]:
    return [price(sequence, **more) for sequence in sequences]


@pytest.fixture(params=["memory", "redis"])
async def streams(request: pytest.FixtureRequest) -> AsyncIterator[PriceStreams]:
    if request.param == "memory":
        yield MemoryPriceStreams(keep=KEEP)
        return
    redis = stores(patient(request.getfixturevalue("redis_url")), kept_prices=KEEP)
    await redis.connect()
    yield redis.price_streams
    await redis.disconnect()


async def heard(streams: PriceStreams, start: Any, wanted: int) -> list[StreamedPrices]:
    """Return what a follower is told until it has heard so many prices."""
    told: list[StreamedPrices] = []
    async with aclosing(streams.follow(start)) as following, asyncio.timeout(30):
        if wanted == 0:
            return told
        async for event in following:
            told.append(event)
            if sum(len(event.prices) for event in told) >= wanted:
                return told
    return told


async def arrived(streams: PriceStreams) -> None:
    """Wait until what was published is where others find it."""
    if isinstance(streams, RedisPriceStreams):
        await eventually(lambda: not streams.waiting)


def merged(told: list[StreamedPrices]) -> list[tuple[Continuity, list[int]]]:
    """Return continuity and numbers of what was told; deltas may come in any portions."""
    result: list[tuple[Continuity, list[int]]] = []
    for event in told:
        numbers = [feed.sequence for feed in event.prices]
        if event.continuity is DELTA and result and result[-1][0] is not SNAPSHOT_REQUIRED:
            result[-1][1].extend(numbers)
        else:
            result.append((event.continuity, numbers))
    return result


async def test_price_arrives_as_it_was_published(streams: PriceStreams) -> None:
    sent = price(1, bid=Decimal("0.10"), last=Decimal("1E-8"), metadata={"venue": "ü", "n": 2**80})
    streams.publish([sent])

    (event,) = await heard(streams, {"BTC/USD": None}, 1)

    assert list(event.prices) == [sent]
    assert f"{event.prices[0].bid:f}" == "0.10"


async def test_follower_without_a_number_begins_with_the_newest_price(streams: PriceStreams) -> None:
    streams.publish(prices(1, 2, 3))
    await arrived(streams)

    async with aclosing(streams.follow({"BTC/USD": None})) as following, asyncio.timeout(30):
        first = await anext(following)
        streams.publish(prices(4))
        second = await anext(following)

    assert merged([first]) == [(SNAPSHOT, [3])]
    assert merged([second]) == [(DELTA, [4])]


async def test_first_price_of_an_empty_stream_is_its_snapshot(streams: PriceStreams) -> None:
    following = streams.follow({"BTC/USD": None})
    async with aclosing(following), asyncio.timeout(30):
        waiting = asyncio.ensure_future(anext(following))
        await asyncio.sleep(0)
        streams.publish(prices(1))

        assert merged([await waiting]) == [(SNAPSHOT, [1])]


async def test_follower_resumes_with_the_number_that_it_asks_for(streams: PriceStreams) -> None:
    streams.publish(prices(*range(1, 11)))
    await arrived(streams)

    told = await heard(streams, {"BTC/USD": (EPOCH, 7)}, 4)

    assert merged(told) == [(DELTA, [7, 8, 9, 10])]


async def test_follower_that_has_everything_waits_for_the_next(streams: PriceStreams) -> None:
    streams.publish(prices(1, 2))
    await arrived(streams)

    async with aclosing(streams.follow({"BTC/USD": (EPOCH, 3)})) as following, asyncio.timeout(30):
        waiting = asyncio.ensure_future(anext(following))
        await asyncio.sleep(0)
        streams.publish(prices(3))

        assert merged([await waiting]) == [(DELTA, [3])]


@pytest.mark.parametrize("start", [(EPOCH, 1), (EPOCH, 4_000), (EPOCH - 1, 990), (EPOCH + 1, 1)])
async def test_number_that_is_not_kept_requires_a_snapshot_which_follows(
    streams: PriceStreams, start: tuple[int, int]
) -> None:
    # Redis removes whole blocks of old entries: more than a few hundred may be kept, never fewer than asked for.
    for first in range(1, 1_001, 100):
        streams.publish(prices(*range(first, first + 100)))
        await arrived(streams)

    told = await heard(streams, {"BTC/USD": start}, 1)

    assert merged(told) == [(SNAPSHOT_REQUIRED, []), (SNAPSHOT, [1_000])]


async def test_as_many_as_promised_are_kept(streams: PriceStreams) -> None:
    streams.publish(prices(*range(1, 1_001)))
    await arrived(streams)

    told = await heard(streams, {"BTC/USD": (EPOCH, 1_001 - KEEP)}, KEEP)

    assert merged(told) == [(DELTA, list(range(1_001 - KEEP, 1_001)))]


async def test_numbers_that_were_left_out_are_told_as_a_gap(streams: PriceStreams) -> None:
    streams.publish(prices(1, 2, 5, 6))
    await arrived(streams)

    told = await heard(streams, {"BTC/USD": (EPOCH, 1)}, 4)

    assert merged(told) == [(DELTA, [1, 2]), (GAP, [5, 6])]


async def test_new_epoch_is_told_as_a_gap(streams: PriceStreams) -> None:
    streams.publish([*prices(1, 2), *prices(1, 2, epoch=EPOCH + 5)])
    await arrived(streams)

    told = await heard(streams, {"BTC/USD": (EPOCH, 2)}, 3)

    assert merged(told) == [(DELTA, [2]), (GAP, [1, 2])]


async def test_symbols_are_numbered_and_followed_by_themselves(streams: PriceStreams) -> None:
    streams.publish(
        [price(1), price(7, symbol="ETH/USD"), price(2), price(8, symbol="ETH/USD"), price(1, symbol="X/Y")]
    )
    await arrived(streams)

    told = await heard(streams, {"BTC/USD": (EPOCH, 1), "ETH/USD": (EPOCH, 8)}, 3)

    by_symbol = {
        symbol: merged([event for event in told if event.symbol == symbol]) for symbol in ("BTC/USD", "ETH/USD")
    }
    assert by_symbol == {"BTC/USD": [(DELTA, [1, 2])], "ETH/USD": [(DELTA, [8])]}
    assert {event.symbol for event in told} == {"BTC/USD", "ETH/USD"}


async def test_many_followers_each_hear_everything(streams: PriceStreams) -> None:
    streams.publish(prices(*range(1, 101)))
    await arrived(streams)

    told = await asyncio.gather(*(heard(streams, {"BTC/USD": (EPOCH, first)}, 101 - first) for first in (1, 30, 100)))

    assert [merged(events) for events in told] == [[(DELTA, list(range(first, 101)))] for first in (1, 30, 100)]


async def test_stream_of_a_run_whose_clock_was_ahead_is_begun_anew(streams: PriceStreams) -> None:
    streams.publish(prices(1, 2, 3, epoch=EPOCH + 1_000))
    await arrived(streams)
    if isinstance(streams, RedisPriceStreams):
        streams._ours.clear()  # as in a process that has just begun

    async with aclosing(streams.follow({"BTC/USD": None})) as following, asyncio.timeout(30):
        first = await anext(following)
        streams.publish(prices(1, 2))
        told = [await anext(following)]
        while sum(len(event.prices) for event in told) < 2:
            told.append(await anext(following))

    assert merged([first]) == [(SNAPSHOT, [3])]
    assert merged(told) == [(GAP, [1, 2])]


async def test_number_below_the_first_is_refused(streams: PriceStreams) -> None:
    with pytest.raises(InvalidRequest):
        await heard(streams, {"BTC/USD": (EPOCH, 0)}, 1)


async def test_publishing_nothing_is_allowed(streams: PriceStreams) -> None:
    streams.publish([])
    streams.publish(prices(1))

    assert merged(await heard(streams, {"BTC/USD": None}, 1)) == [(SNAPSHOT, [1])]


def test_metrics_may_be_left_out() -> None:
    RedisMetrics(None).dropped(1, "overflow")


async def test_every_data_adapter_takes_prices_to_its_followers(adapter: DataAdapter) -> None:
    adapter.price_streams.publish(prices(1, 2))
    told = await heard(adapter.price_streams, {"BTC/USD": (EPOCH, 1)}, 2)

    assert [feed for event in told for feed in event.prices][-1] == price(2)
