"""Market data's prices as the exchange hears them."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from types import SimpleNamespace

import pytest

from fauxchange.domain.instruments import Instrument
from fauxchange.domain.market_data import FeedSource
from fauxchange.platform.clock import VirtualClock
from fauxchange.platform.streams.hub import Hub
from fauxchange.services.exchange.ports import FeedPrice
from fauxchange.services.market_data.core.quotes import FixedSpread
from fauxchange.services.market_data.service.market import Market, Sequences
from fauxchange.venue.prices import EmbeddedPrices


class Feed:
    """Two real markets and their hub, without what makes their prices."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.markets = {symbol: _market(symbol) for symbol in ("BTC/USD", "ETH/USD")}
        self.prices = EmbeddedPrices(SimpleNamespace(hub=self.hub, markets=self.markets))  # type: ignore[arg-type]  # all that is used

    def publish(self, ts_ns: int, **mids: int) -> None:
        """Publish one step of mids, in half ticks, with spreads of two ticks."""
        messages = []
        for base, mid in mids.items():
            market = self.markets[f"{base}/USD"]
            messages.append(market.prices.publish(market.make_quote(ts_ns, mid, 2, None, 0)))
            messages += market.touch_candles(market.quote)  # type: ignore[arg-type]  # it was made just now
        self.hub.publish(messages)


def _market(symbol: str) -> Market:
    instrument = Instrument(symbol=symbol, tick_size=Decimal("0.01"), lot_size=Decimal("0.001"))
    return Market(
        instrument,
        FeedSource.SIMULATOR,
        FixedSpread(1.0),
        epoch=1,
        keep=8,
        keep_candles=8,
        sequences=Sequences(),
    )


@pytest.fixture
def feed() -> Feed:
    return Feed()


def test_the_newest_price_is_told_in_ticks_and_none_before_there_is_one(feed: Feed) -> None:
    assert feed.prices.latest("BTC/USD") is None

    feed.publish(5, BTC=2_000)

    assert feed.prices.latest("BTC/USD") == FeedPrice("BTC/USD", 5, 999, 1_001)
    assert feed.prices.latest("DOGE/USD") is None


async def test_the_prices_of_a_step_are_heard_together_and_candles_are_not(feed: Feed) -> None:
    heard: list[Sequence[FeedPrice]] = []
    feed.prices.subscribe(heard.append)
    for topic in feed.markets["BTC/USD"].candle_topics.values():
        topic.subscribers += 1

    feed.publish(5, BTC=2_000, ETH=200)
    feed.publish(6, ETH=202)
    assert heard == []
    await asyncio.sleep(0)

    assert heard == [
        [FeedPrice("BTC/USD", 5, 999, 1_001), FeedPrice("ETH/USD", 5, 99, 101)],
        [FeedPrice("ETH/USD", 6, 100, 102)],
    ]


async def test_prices_are_heard_before_venue_time_moves_on(feed: Feed) -> None:
    clock = VirtualClock(0)
    heard: list[tuple[int, int]] = []
    feed.prices.subscribe(lambda prices: heard.extend((price.ts_ns, clock.now_ns()) for price in prices))

    async def publish_every_nanosecond() -> None:
        for ts_ns in (1, 2, 3):
            await clock.sleep_until(ts_ns)
            feed.publish(ts_ns, BTC=2_000 + 2 * ts_ns)

    publishing = asyncio.create_task(publish_every_nanosecond())
    await asyncio.sleep(0)
    await clock.run_until(10)
    await publishing

    assert heard == [(1, 1), (2, 2), (3, 3)]
