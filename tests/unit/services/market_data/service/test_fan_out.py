"""Prices on their way to other processes."""

from collections.abc import Sequence
from decimal import Decimal

from fauxchange.domain.instruments import Instrument
from fauxchange.domain.market_data import FeedSource, PriceFeed
from fauxchange.platform.streams.hub import Hub
from fauxchange.services.market_data.core.quotes import FixedSpread
from fauxchange.services.market_data.service.fan_out import fan_out_prices
from fauxchange.services.market_data.service.market import Market, Sequences


class Published:
    """Keeps what is handed on, step by step."""

    def __init__(self) -> None:
        self.steps: list[Sequence[PriceFeed]] = []

    def publish(self, feeds: Sequence[PriceFeed]) -> None:
        self.steps.append(feeds)


def market(symbol: str) -> Market:
    instrument = Instrument(symbol=symbol, tick_size=Decimal("0.01"), lot_size=Decimal("0.001"))
    return Market(
        instrument, FeedSource.SIMULATOR, FixedSpread(1.0), epoch=4, keep=8, keep_candles=8, sequences=Sequences()
    )


def test_a_step_is_handed_on_at_once_with_each_price_under_its_own_number_and_no_candles() -> None:
    hub, published = Hub(), Published()
    markets = [market("BTC/USD"), market("ETH/USD")]
    for topic in markets[0].candle_topics.values():
        topic.subscribers += 1
    fan_out_prices(hub, markets, published)

    for ts_ns, mids in ((5, (2_000, 4_000)), (6, (2_002, 4_000))):
        messages = []
        for one, mid in zip(markets, mids, strict=True):
            messages.append(one.prices.publish(one.make_quote(ts_ns, mid, 2, None, 0)))
            messages += one.touch_candles(one.quote)  # type: ignore[arg-type]  # it was made just now
        hub.publish(messages)

    told = [
        [(feed.symbol, feed.epoch, feed.sequence, feed.ts_ns, feed.bid) for feed in step] for step in published.steps
    ]
    assert told == [
        [("BTC/USD", 4, 1, 5, Decimal("9.99")), ("ETH/USD", 4, 1, 5, Decimal("19.99"))],
        [("BTC/USD", 4, 2, 6, Decimal("10.00")), ("ETH/USD", 4, 2, 6, Decimal("19.99"))],
    ]
