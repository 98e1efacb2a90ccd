"""What subscribers read: a book that can be kept from deltas, trades, and one's own orders and balances."""

import random
import zlib
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from exchange_kit import ORIGIN, Exchange

from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.domain.errors import InvalidRequest, NotFound, Unauthenticated
from fauxchange.platform.streams.hub import Delivery
from fauxchange.services.exchange.service.requests import Caller, Role


class Reader:
    """A subscriber that decodes what it gets."""

    readers = 1

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def deliver(self, delivery: Delivery) -> None:
        self.messages += [msgspec.json.decode(message.json()) for message in delivery.messages]


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    adapter = MemoryDataAdapter()
    await adapter.connect()
    yield await Exchange(adapter).start()
    await adapter.disconnect()


def _caller(account: int) -> Caller:
    return Caller(Role.TRADER, account, "key:test")


def _subscribed(exchange: Exchange, channel: str, account: int | None = None) -> Reader:
    reader = Reader()
    symbol = "BTC/USD" if account is None else None
    for topic in exchange.service.resolve_topics(channel, symbol, None if account is None else _caller(account)):
        exchange.venue.hub.subscribe(reader, topic)
    return reader


async def test_a_book_kept_from_deltas_equals_the_venues_and_its_checksum(exchange: Exchange) -> None:
    accounts = [await exchange.account(USD="10000000", BTC="100") for _ in range(2)]
    reader = _subscribed(exchange, "book")
    chance = random.Random(7)
    for _ in range(200):
        side = chance.choice(["buy", "sell"])
        quantity, price = f"0.{chance.randrange(1, 9)}", f"{100 + chance.randrange(20)}"
        await exchange.place(chance.choice(accounts), side, quantity, price)
    bids: dict[str, str] = {}
    asks: dict[str, str] = {}

    for message in reader.messages:
        for side_levels, changes in ((bids, message["data"].get("bids", [])), (asks, message["data"].get("asks", []))):
            for price, quantity in changes:
                if float(quantity):
                    side_levels[price] = quantity
                else:
                    side_levels.pop(price, None)
        best_bids = sorted(bids, key=float, reverse=True)[:10]
        best_asks = sorted(asks, key=float)[:10]
        text = "|".join([f"{p}:{bids[p]}" for p in best_bids] + [f"{p}:{asks[p]}" for p in best_asks])
        assert message["data"]["checksum"] == zlib.crc32(text.encode())

    book = exchange.service.book("BTC/USD", 1_000)
    assert sorted(bids.items(), key=lambda level: -float(level[0])) == [tuple(level) for level in book.bids]
    assert sorted(asks.items(), key=lambda level: float(level[0])) == [tuple(level) for level in book.asks]
    sequences = [(message["first_sequence"], message["sequence"]) for message in reader.messages]
    assert all(first == before[1] + 1 for before, (first, _) in pairwise(sequences))


async def test_an_account_reads_its_own_orders_and_balances_alone(exchange: Exchange) -> None:
    seller, buyer = await exchange.account(BTC="1"), await exchange.account(USD="100000")
    orders, balances = _subscribed(exchange, "orders", seller), _subscribed(exchange, "balances", seller)
    placed = await exchange.place(seller, "sell", "0.5", "60000")
    await exchange.place(buyer, "buy", "0.2")
    await exchange.service.cancel_order(seller, str(placed.order.order_id), ORIGIN)

    reports = [(message["data"]["exec_type"], message["data"]["order"]["status"]) for message in orders.messages]
    assert reports == [("new", "NEW"), ("trade", "PARTIALLY_FILLED"), ("canceled", "CANCELED")]
    assert orders.messages[1]["data"]["fill"]["liquidity"] == "maker"
    assert orders.messages[1]["data"]["order"]["filled_quantity"] == "0.20000"
    assert balances.messages[0]["data"] == [{"asset": "BTC", "free": "0.50000000", "held": "0.50000000"}]
    assert {balance["asset"] for balance in balances.messages[1]["data"]} == {"BTC", "USD"}


async def test_trades_are_told_to_everybody_and_the_newest_to_newcomers(exchange: Exchange) -> None:
    seller, buyer = await exchange.account(BTC="1"), await exchange.account(USD="100000")
    reader = _subscribed(exchange, "trades")
    await exchange.place(seller, "sell", "0.5", "60000")
    await exchange.place(buyer, "buy", "0.2")

    (topic,) = exchange.service.resolve_topics("trades", "BTC-USD", None)
    snapshot = topic.snapshot()

    assert snapshot is not None
    trade = reader.messages[0]["data"]
    assert (trade["price"], trade["quantity"], trade["side"]) == ("60000.00", "0.20000", "buy")
    assert msgspec.json.decode(snapshot.json())["data"] == [trade]


async def test_channels_that_do_not_exist_or_are_private_are_refused(exchange: Exchange) -> None:
    with pytest.raises(Unauthenticated):
        exchange.service.resolve_topics("orders", None, None)
    with pytest.raises(InvalidRequest):
        exchange.service.resolve_topics("gossip", None, None)
    with pytest.raises(NotFound):
        exchange.service.resolve_topics("book", "DOGE/USD", None)
    with pytest.raises(InvalidRequest):
        exchange.service.resolve_topics("orders", "BTC/USD", _caller(3))
