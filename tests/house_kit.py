"""A venue with the real kernel (plain Python), and the house at work in it; nothing is stored.

What is submitted waits until `World.settle`, so that a test says what comes before what.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.domain.errors import Unavailable
from fauxchange.domain.listings import Listing
from fauxchange.domain.orders import OrderRecord
from fauxchange.domain.times import NS_PER_S, parse_time
from fauxchange.platform.clock import VirtualClock
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.platform.settings import load_settings
from fauxchange.platform.streams.hub import Hub
from fauxchange.services.exchange.app.config import ExchangeConfig, read_config
from fauxchange.services.exchange.core import commands as ask
from fauxchange.services.exchange.core.engine import Engine
from fauxchange.services.exchange.core.layout import (
    BOOK_ASKS,
    BOOK_BIDS,
    E_ACCOUNT,
    E_KIND,
    E_MAKER_ACCOUNT,
    Rows,
    words,
)
from fauxchange.services.exchange.core.quoting import Level, desired_levels
from fauxchange.services.exchange.core.state import levels, open_orders
from fauxchange.services.exchange.core.vocabulary import EVENT_TRADE, HOUSE_ACCOUNT, SIDE_BUY, CommandKind, OrderType
from fauxchange.services.exchange.ports import FeedPrice, RecordedBooks
from fauxchange.services.exchange.service.entries import Entry, Note, row_of, seal
from fauxchange.services.exchange.service.genesis import configuration_entries
from fauxchange.services.exchange.service.liquidity import HouseLiquidity
from fauxchange.services.exchange.service.projections import Projector
from fauxchange.services.exchange.service.registry import Registry
from fauxchange.services.exchange.service.requests import Origin
from fauxchange.services.exchange.service.venue import Venue

START_NS = parse_time("2026-01-31T12:00:00Z")
SECOND = NS_PER_S
TRADER = 3
BTC_USD = {"DEFAULT_SYMBOLS": "BTC/USD", "EXCHANGE_SYMBOLS": "BTC/USD"}


def config_of(**environ: str) -> ExchangeConfig:
    """Return a configuration, of BTC/USD alone unless it says otherwise."""
    return read_config(load_settings(environ={**BTC_USD, **environ}))


class FakePrices:
    """Market data that says what it is told to."""

    def __init__(self) -> None:
        self.newest: dict[str, FeedPrice] = {}
        self.listeners: list[Callable[[Sequence[FeedPrice]], None]] = []

    def latest(self, symbol: str) -> FeedPrice | None:
        return self.newest.get(symbol)

    def subscribe(self, heard: Callable[[Sequence[FeedPrice]], None]) -> None:
        self.listeners.append(heard)

    def publish(self, *prices: FeedPrice) -> None:
        self.newest.update((price.symbol, price) for price in prices)
        for heard in self.listeners:
            heard(prices)


class World:
    """The venue's state, a trader with more than enough of everything, the house, and a feed."""

    def __init__(self, config: ExchangeConfig, books: RecordedBooks | None = None) -> None:
        self.config = config
        self.books = books
        self.clock = VirtualClock(START_NS)
        self.prices = FakePrices()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.queue: list[Entry] = []
        self.submitted: list[list[CommandKind]] = []
        self.away: Exception | None = None
        self.self_trades = 0
        self.sequence = 0
        projector = Projector(MemoryDataAdapter().exchange)
        self.venue = Venue(Engine(), Registry(), projector, hub=Hub(), epoch=1, keep=16)
        self.venue.live = True
        for entry in configuration_entries(
            self.venue.registry,
            assets=config.assets,
            listings=config.listings,
            fees=config.fees,
            house_funds=config.house_funds,
        ):
            self.do(entry)
        self.do(Entry(row_of(ask.create_account()), Note(Origin("test"))))
        for asset in self.venue.registry.assets:
            self.do(Entry(row_of(ask.deposit(TRADER, asset.number, 10**17)), Note(Origin("test"))))
        self.house = self.new_house()

    def new_house(self) -> HouseLiquidity:
        """Return another house over the same venue, as a restart makes it."""
        self.metrics = PrometheusMetrics("exchange", "test", "0")
        house = HouseLiquidity(
            self.submit,
            prices=self.prices,
            clock=self.clock,
            config=self.config,
            metrics=self.metrics,
            books=self.books,
        )
        house.listed(self.venue.registry.listings)

        def heard(records: Sequence[OrderRecord], hit: set[str]) -> None:
            house.orders_changed(records)
            for symbol in sorted(hit):
                house.hit(symbol)

        self.venue.house_heard = heard
        return house

    async def start(self) -> "World":
        await self.house.start(self)
        self.settle()
        return self

    def supervise(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self.tasks.add(task)
        return task

    async def crash(self) -> None:
        """Let the house end in the middle of its work; another may be made with `new_house`."""
        self.prices.listeners.clear()
        self.venue.house_heard = None
        self.queue.clear()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    # The way into the kernel

    def submit(self, rows: Rows, done: Callable[[Any], None]) -> None:
        if self.away is not None:
            raise self.away
        entries = [Entry(row, Note(Origin("house"))) for row in words(rows).tolist()]
        self.submitted.append([CommandKind(entry.kind) for entry in entries])

        def over(_last: Entry) -> None:
            failure = next((entry.failure for entry in entries if entry.failure is not None), None)
            done(failure or [event for entry in entries for event in entry.events])

        entries[-1].done = over
        self.queue.extend(entries)

    def settle(self, at_most: int = 100) -> None:
        """Carry out what waits, and what that leads to."""
        for _ in range(at_most):
            if not self.queue:
                return
            waiting, self.queue = self.queue, []
            self._carry_out(waiting)
        raise AssertionError("the house does not come to rest")

    def lose(self) -> None:
        """Let what waits come to nothing, as when the journal cannot be written."""
        waiting, self.queue = self.queue, []
        for entry in waiting:
            entry.failure = Unavailable("the disk is full", code="journal_unavailable")
            if entry.done is not None:
                entry.done(entry)

    def do(self, *entries: Entry) -> Entry:
        """Carry out commands at once, in one batch."""
        self._carry_out(list(entries))
        return entries[-1]

    def _carry_out(self, entries: list[Entry]) -> None:
        batch = seal(entries, self.sequence + 1, self.clock.now_ns())
        self.sequence += len(entries)
        self.venue.process(batch)
        for entry in entries:
            for event in entry.events:
                if event[E_KIND] == EVENT_TRADE and event[E_ACCOUNT] == event[E_MAKER_ACCOUNT] == HOUSE_ACCOUNT:
                    self.self_trades += 1
            done, entry.done = entry.done, None
            if done is not None:
                done(entry)

    # What happens in it

    def feed(self, bid_ticks: int, ask_ticks: int, symbol: str = "BTC/USD", ts_ns: int | None = None) -> None:
        """Publish a price, without carrying out what the house makes of it."""
        now_ns = self.clock.now_ns() if ts_ns is None else ts_ns
        self.prices.publish(FeedPrice(symbol, now_ns, bid_ticks, ask_ticks))

    def trade(self, side: int, lots: int, price_ticks: int = 0, symbol: str = "BTC/USD") -> OrderRecord:
        """Place an order of the trader (at the market without a price) and return it as it then stands."""
        kind, time_in_force = (OrderType.LIMIT, 0) if price_ticks else (OrderType.MARKET, 1)
        command = ask.place(
            TRADER,
            self.listing(symbol).number,
            side,
            price_ticks=price_ticks,
            order_lots=lots,
            order_type=kind,
            time_in_force=time_in_force,
        )
        record: OrderRecord = self.do(Entry(row_of(command), Note(Origin("test")))).result
        return record

    async def wait(self, ns: int) -> None:
        """Let venue time pass, after what is under way has gone to sleep."""
        await asyncio.sleep(0)
        await self.clock.run_until(self.clock.now_ns() + ns)

    # What can be seen of it

    def listing(self, symbol: str = "BTC/USD") -> Listing:
        return self.venue.registry.listing(symbol)

    def quotes(self, symbol: str = "BTC/USD") -> list[Level]:
        """Return what the house has in the kernel's book, the best of each side first, bids before asks."""
        rows = open_orders(self.venue.engine.state)
        mine = rows[(rows["account"] == HOUSE_ACCOUNT) & (rows["instrument"] == self.listing(symbol).number)]
        found = [Level(int(row["side"]), int(row["price_ticks"]), int(row["leaves_lots"])) for row in mine]
        return sorted(
            found, key=lambda level: (level.side, -level.price_ticks if level.side == SIDE_BUY else level.price_ticks)
        )

    def wanted(self, bid_ticks: int, ask_ticks: int, symbol: str = "BTC/USD") -> list[Level]:
        """Return what the house should have at a price of its feed."""
        bid, ask_price = self.config.pricing[symbol].bid_ask(bid_ticks, ask_ticks)
        return desired_levels(self.listing(symbol), self.config.house[symbol], bid, ask_price)

    def book(self, symbol: str = "BTC/USD") -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return prices and lots of all bids and asks."""
        bids, asks = (
            [(int(row["price_ticks"]), int(row["shown_lots"])) for row in levels(self.venue.engine.state, number, side)]
            for number in [self.listing(symbol).number]
            for side in (BOOK_BIDS, BOOK_ASKS)
        )
        return bids, asks

    def metric(self, name: str) -> float:
        """Return the sum of a metric's series."""
        text = self.metrics.expose()[0].decode()
        values = [line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(f"{name}{{")]
        return sum(float(value) for value in values)
