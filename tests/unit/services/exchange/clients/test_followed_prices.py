"""Prices from the price streams, as the exchange hears them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from structlog.testing import capture_logs

from fauxchange.data.memory.price_streams import MemoryPriceStreams
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.market_data import FeedSource, PriceFeed
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.platform.ports import DependencyHealth, DependencyStatus
from fauxchange.services.exchange.clients.followed_prices import FollowedPrices
from fauxchange.services.exchange.ports import FeedPrice

BTC, ETH = "BTC/USD", "ETH/USD"
FEEDS = {
    symbol: Instrument(symbol=symbol, tick_size=Decimal("0.01"), lot_size=Decimal("0.001")) for symbol in (BTC, ETH)
}
EPOCH = 7


class SetClock:
    """A clock that stands where it is set."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        return self.ns


class Following:
    """The prices that are followed, what was heard of them, and what they depend on."""

    def __init__(self) -> None:
        self.streams = MemoryPriceStreams()
        self.store = DependencyHealth(DependencyStatus.OK)
        self.clock = SetClock()
        self.heard: list[Sequence[FeedPrice]] = []
        self._metrics = PrometheusMetrics("test", "i-1", "1")
        self.prices = FollowedPrices(
            self.streams,
            FEEDS,
            store_health=lambda: self.store,
            clock=self.clock,  # type: ignore[arg-type]  # all that is used of a clock
            spawn=lambda coroutine, name: asyncio.get_running_loop().create_task(coroutine, name=name),
            metrics=self._metrics,
            stale_after_ns=5 * NS_PER_S,
            first_look_s=0.0,
        )
        self.prices.subscribe(self.heard.append)

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 - what a task has done by now is looked at, nobody tells of it
                await asyncio.sleep(0.001)

    def shown(self, name: str) -> float:
        lines = self._metrics.expose()[0].decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))


@asynccontextmanager
async def following() -> AsyncIterator[Following]:
    f = Following()
    await f.prices.start()
    try:
        yield f
    finally:
        await f.prices.stop()


def price(sequence: int, bid: str = "100.00", *, symbol: str = BTC, epoch: int = EPOCH, ts_ns: int = 0) -> PriceFeed:
    return PriceFeed(
        symbol=symbol,
        epoch=epoch,
        sequence=sequence,
        ts_ns=ts_ns,
        bid=Decimal(bid),
        ask=Decimal("101.00"),
        last=None,
        volume=Decimal(0),
        source=FeedSource.SIMULATOR,
    )


async def test_prices_are_heard_in_ticks_and_the_newest_of_what_comes_together_counts() -> None:
    async with following() as f:
        assert f.prices.latest(BTC) is None
        f.streams.publish([price(1), price(1, symbol=ETH, ts_ns=3)])
        await f.until(lambda: len(f.heard) == 2)
        f.streams.publish([price(2, "100.05", ts_ns=4), price(3, "100.10", ts_ns=5)])
        await f.until(lambda: len(f.heard) == 3)

        assert f.heard[2] == [FeedPrice(BTC, 5, 10_010, 10_100)]
        assert f.prices.latest(BTC) == FeedPrice(BTC, 5, 10_010, 10_100)
        assert f.prices.latest(ETH) == FeedPrice(ETH, 3, 10_000, 10_100)
        assert f.prices.health().status is DependencyStatus.OK
        assert f.shown("exchange_price_stream_up") == 1


async def test_following_begins_with_the_newest_price_that_is_kept() -> None:
    f = Following()
    f.streams.publish([price(1), price(2, "100.05")])

    await f.prices.start()
    await f.until(lambda: f.heard)
    await f.prices.stop()

    assert f.heard == [[FeedPrice(BTC, 0, 10_005, 10_100)]]
    assert f.shown("exchange_prices_missed_total") == 0


async def test_a_gap_in_the_numbers_is_counted_and_named_and_another_epoch_is_no_gap() -> None:
    async with following() as f:
        f.streams.publish([price(1), price(1, symbol=ETH)])
        await f.until(lambda: len(f.heard) == 2)

        with capture_logs() as logs:
            f.streams.publish([price(5, "100.05")])
            await f.until(lambda: len(f.heard) == 3)
            f.streams.publish([price(9, "100.10", epoch=EPOCH + 1)])
            await f.until(lambda: len(f.heard) == 4)

        assert f.shown("exchange_prices_missed_total") == 3
        assert [(each["event"], each.get("missed")) for each in logs] == [
            ("prices_missed", 3),
            ("prices_begin_anew", None),
        ]
        assert f.prices.latest(BTC) == FeedPrice(BTC, 0, 10_010, 10_100)


async def test_prices_that_cease_are_told_once_by_their_age_and_once_more_when_they_are_back() -> None:
    with capture_logs() as logs:
        async with following() as f:
            f.streams.publish([price(1), price(1, symbol=ETH)])
            await f.until(lambda: len(f.heard) == 2 and f.shown("exchange_price_stream_up") == 1)
            begun = len(logs)

            f.clock.ns = 6 * NS_PER_S
            await f.until(lambda: f.shown("exchange_price_stream_up") == 0)
            told = f.prices.health()
            f.streams.publish([price(2, "100.05", ts_ns=f.clock.ns)])
            await f.until(lambda: f.shown("exchange_price_stream_up") == 1)

            assert (told.status, told.detail) == (
                DependencyStatus.DEGRADED,
                "no prices through the price streams: the newest is 6.0 s old",
            )
            assert f.prices.health().status is DependencyStatus.OK
            assert f.shown("exchange_price_stream_breaks_total") == 1
    assert [entry["event"] for entry in logs[begun:]] == ["price_stream_lost", "price_stream_back"]


async def test_a_store_that_is_away_is_told_with_its_reason() -> None:
    async with following() as f:
        f.streams.publish([price(1), price(1, symbol=ETH)])
        await f.until(lambda: f.shown("exchange_price_stream_up") == 1)

        f.store = DependencyHealth(DependencyStatus.DOWN, "127.0.0.1:6379: connection refused")
        await f.until(lambda: f.shown("exchange_price_stream_up") == 0)

        assert "127.0.0.1:6379: connection refused" in f.prices.health().detail


async def test_nothing_published_and_symbols_left_out_are_told_apart() -> None:
    async with following() as f:
        nothing = f.prices.health()
        f.streams.publish([price(1)])
        await f.until(lambda: f.heard)

        assert "REDIS_URL is set alike" in nothing.detail
        assert (
            f.prices.health().detail == "market-data does not price ETH/USD; set DEFAULT_SYMBOLS alike in both services"
        )


async def test_a_price_off_the_grid_is_left_out_and_named_once() -> None:
    with capture_logs() as logs:
        async with following() as f:
            f.streams.publish([price(1, "100.001")])
            f.streams.publish([price(2, "100.002")])
            f.streams.publish([price(1, symbol=ETH)])
            await f.until(lambda: f.heard)

            assert f.heard == [[FeedPrice(ETH, 0, 10_000, 10_100)]]
            assert "multiple of 0.01; set TICK_SIZES alike" in f.prices.health().detail
    assert [entry["symbol"] for entry in logs if entry["event"] == "prices_do_not_fit"] == [BTC]


async def test_stopping_twice_is_allowed() -> None:
    async with following() as f:
        await f.prices.stop()
