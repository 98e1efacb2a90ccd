"""Market data's prices for the exchange, in the same process: a reader of the hub like any other."""

import asyncio
from collections.abc import Callable, Sequence

from fauxchange.domain.market_data import Quote
from fauxchange.platform.streams.hub import Delivery
from fauxchange.services.exchange.ports import FeedPrice
from fauxchange.services.market_data.service.channels import PRICES
from fauxchange.services.market_data.service.feed import MarketDataService


class EmbeddedPrices:
    """The prices of a market-data service as the exchange's port wants them."""

    def __init__(self, market_data: MarketDataService) -> None:
        self._market_data = market_data

    def latest(self, symbol: str) -> FeedPrice | None:
        """Return the newest price of a symbol, None if there is none (yet) or no such symbol."""
        market = self._market_data.markets.get(symbol)
        return None if market is None or market.quote is None else _feed_price(market.quote)

    def subscribe(self, heard: Callable[[Sequence[FeedPrice]], None]) -> None:
        """Call `heard` with the prices of each step, from now on."""
        reader = _Reader(heard)
        for market in self._market_data.markets.values():
            self._market_data.hub.subscribe(reader, market.prices)


class _Reader:
    """One reader of all prices."""

    readers = 1

    def __init__(self, heard: Callable[[Sequence[FeedPrice]], None]) -> None:
        self._heard = heard

    def deliver(self, delivery: Delivery) -> None:
        """Hand the prices of a step on, when all readers have them and before venue time moves."""
        prices = [_feed_price(message.data) for message in delivery.messages if message.topic.channel == PRICES]
        asyncio.get_running_loop().call_soon(self._heard, prices)


def _feed_price(quote: Quote) -> FeedPrice:
    return FeedPrice(quote.instrument.symbol, quote.ts_ns, quote.bid_ticks, quote.ask_ticks)
