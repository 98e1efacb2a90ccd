"""Prices for other processes: a reader of the hub that hands on each step under its own numbers."""

from collections.abc import Iterable

from fauxchange.domain.market_data import price_feed
from fauxchange.platform.streams.hub import Delivery, Hub
from fauxchange.services.market_data.ports import PriceFanOut
from fauxchange.services.market_data.service.channels import PRICES
from fauxchange.services.market_data.service.market import Market


def fan_out_prices(hub: Hub, markets: Iterable[Market], fan_out: PriceFanOut) -> None:
    """Hand the prices of these markets on, from the next step on."""
    reader = _Reader(fan_out)
    for market in markets:
        hub.subscribe(reader, market.prices)


class _Reader:
    """One reader of all prices."""

    readers = 1

    def __init__(self, fan_out: PriceFanOut) -> None:
        self._fan_out = fan_out

    def deliver(self, delivery: Delivery) -> None:
        """Hand on the prices of a step; it is a queue that takes them, so the feed does not wait."""
        self._fan_out.publish(
            [
                price_feed(message.data, epoch=message.topic.epoch)
                for message in delivery.messages
                if message.topic.channel == PRICES
            ]
        )
