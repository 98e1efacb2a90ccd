"""An exchange with the background order flow at work in it: the real use cases, kernel, journal and read models.

The law is a simple one unless a test takes another: every slice each maker cancels what it has and quotes one price of
each side anew, and every other slice a taker buys, then sells, one lot.
"""

import asyncio
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from exchange_kit import Exchange
from house_kit import FakePrices

from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.data.ports import DataAdapter, JournalRepository
from fauxchange.domain.times import NS_PER_MS, NS_PER_S
from fauxchange.platform.clock import VirtualClock
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.services.exchange.core.engine import interpreted
from fauxchange.services.exchange.core.flow import FlowAccounts, FlowInstrument
from fauxchange.services.exchange.core.layout import (
    C_ACCOUNT,
    C_INSTRUMENT,
    C_KIND,
    C_ORDER_ID,
    C_ORDER_LOTS,
    C_ORDER_TYPE,
    C_PRICE_TICKS,
    C_SIDE,
    C_TIME_IN_FORCE,
    C_TS_NS,
    COMMAND_WIDTH,
    Int64Array,
)
from fauxchange.services.exchange.core.quoting import Pricing
from fauxchange.services.exchange.core.state import State, open_orders
from fauxchange.services.exchange.core.vocabulary import (
    COMMAND_CANCEL,
    COMMAND_PLACE,
    SIDE_BUY,
    SIDE_SELL,
    TIME_GTC,
    TIME_IOC,
    TYPE_LIMIT,
)
from fauxchange.services.exchange.ports import FeedPrice, RecordedBooks
from fauxchange.services.exchange.service.flow import BackgroundFlow, FlowPlan
from fauxchange.services.exchange.service.genesis import background_entries

SLICE_NS = 100 * NS_PER_MS
BID, ASK = 6_000_000, 6_000_001
LOTS = 1_000


class SimpleLaw:
    """Quotes 1,000 lots at three prices of each side, and one lot taken every other slice."""

    def __init__(
        self, instruments: Sequence[FlowInstrument], accounts: FlowAccounts, *, slice_ns: int, **_rest: object
    ) -> None:
        self.instruments = instruments
        self.accounts = accounts
        self.slice_ns = slice_ns
        self.active = {instrument.number: True for instrument in instruments}
        self.anchors: dict[int, tuple[int, int]] = {}
        self.state: State | None = None
        self.foreign_batches = 0

    def take_up(self, state: State) -> None:
        self.state = state

    def set_active(self, instrument: int, is_active: bool) -> None:
        self.active[instrument] = is_active

    def anchor(self, instrument: int, bid_ticks: int, ask_ticks: int, ts_ns: int) -> None:
        self.anchors[instrument] = (bid_ticks, ask_ticks)

    def heard(self, commands: Int64Array, events: Int64Array) -> None:
        self.foreign_batches += not np.isin(commands[:, C_ACCOUNT], self.accounts.all).any()

    def commands(self, from_ns: int, to_ns: int) -> Int64Array:
        assert self.state is not None
        rows: list[list[int]] = []
        for number in (number for number, is_active in self.active.items() if is_active):
            bid, ask = self.anchors[number]
            rows += [
                row(COMMAND_CANCEL, int(order["account"]), number, order_id=int(order["order_id"]))
                for order in open_orders(self.state)
                if order["account"] in self.accounts.makers and order["instrument"] == number
            ]
            for away, account in enumerate(self.accounts.makers):
                rows.append(limit(account, number, SIDE_BUY, bid - away, LOTS))
                rows.append(limit(account, number, SIDE_SELL, ask + away, LOTS))
            turn = from_ns // self.slice_ns % 4
            if turn % 2 == 0:
                side, price = (SIDE_BUY, ask) if turn else (SIDE_SELL, bid)
                rows.append(limit(self.accounts.takers[0], number, side, price, 1, TIME_IOC))
        matrix = np.array(rows, dtype=np.int64).reshape(-1, COMMAND_WIDTH)
        if rows:
            matrix[:, C_TS_NS] = from_ns + 1 + np.arange(len(rows)) * (to_ns - from_ns - 1) // (len(rows) - 1)
        return matrix


def row(kind: int, account: int, instrument: int, *, order_id: int = 0) -> list[int]:
    made = [0] * COMMAND_WIDTH
    made[C_KIND], made[C_ACCOUNT], made[C_INSTRUMENT], made[C_ORDER_ID] = kind, account, instrument, order_id
    return made


def limit(account: int, instrument: int, side: int, price: int, lots: int, until: int = TIME_GTC) -> list[int]:
    made = row(COMMAND_PLACE, account, instrument)
    made[C_SIDE], made[C_ORDER_TYPE], made[C_TIME_IN_FORCE] = side, TYPE_LIMIT, until
    made[C_PRICE_TICKS], made[C_ORDER_LOTS] = price, lots
    return made


class Settings:
    """What the flow is told in tests: background traders in BTC/USD."""

    def __init__(self) -> None:
        self.pricing = {"BTC/USD": Pricing(feed="BTC/USD", ratio=Fraction(1))}
        self.flow = {"BTC/USD": FlowPlan(intensity="calm", day_notional=5e8)}
        self.flow_slice_ns = SLICE_NS
        self.house_stale_after_ns = 5 * NS_PER_S
        self.seed = 1


class FlowWorld:
    """An exchange over stores, a feed that says what it is told to, and the flow."""

    def __init__(
        self,
        data: DataAdapter,
        *,
        clock: VirtualClock | None = None,
        journal: JournalRepository | None = None,
        law: Callable[..., Any] = SimpleLaw,
        settings: Settings | None = None,
        books: RecordedBooks | None = None,
    ) -> None:
        self.exchange = Exchange(data, clock=clock, journal=journal)
        self.clock = self.exchange.clock
        self.venue = self.exchange.venue
        self.prices = FakePrices()
        self.settings = settings or Settings()
        self.metrics = PrometheusMetrics("exchange", "test", "0")
        self.laws: list[Any] = []

        def new_law(*args: Any, **kwargs: Any) -> Any:
            self.laws.append(law(*args, **kwargs))
            return self.laws[-1]

        self.flow = BackgroundFlow(
            self.exchange.service,
            prices=self.prices,
            config=self.settings,
            metrics=self.metrics,
            compiler=interpreted,
            books=books,
            new_law=new_law,
        )
        self.venue.flow_heard = self.flow.carried_out

    async def start(self, bid: int = BID, ask: int = ASK) -> "FlowWorld":
        await self.exchange.start()
        if self.settings.flow and not self.venue.registry.background.numbers:
            self.exchange.service.submit(*background_entries())
        await self.exchange.sequencer.run_dry()
        if bid:
            self.feed(bid, ask)
        self.flow.listed(self.venue.registry.listings)
        self.flow.start(self)
        await self.exchange.sequencer.run_dry()
        return self

    def supervise(self, coroutine: Any, name: str) -> Any:
        return self.exchange._spawn(coroutine, name)

    async def stop(self) -> None:
        await self.flow.stop()
        await self.exchange.stop()
        await self.crash()

    async def crash(self) -> None:
        """Leave everything as it stands."""
        tasks = list(self.exchange.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def feed(self, bid: int, ask: int) -> None:
        self.prices.publish(FeedPrice("BTC/USD", self.clock.now_ns(), bid, ask))

    async def slices(self, count: int) -> None:
        """Let so many slices pass."""
        await self.clock.run_until(self.clock.now_ns() + count * SLICE_NS)

    def own_orders(self) -> list[tuple[int, int]]:
        """Return side and price of the flow's orders."""
        orders = open_orders(self.venue.engine.state)
        mine = orders[np.isin(orders["account"], list(self.venue.registry.background.numbers))]
        return sorted((int(row["side"]), int(row["price_ticks"])) for row in mine)

    def metric(self, name: str) -> float:
        """Return the sum of a metric's series."""
        lines = self.metrics.expose()[0].decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))


async def connected() -> MemoryDataAdapter:
    adapter = MemoryDataAdapter()
    await adapter.connect()
    return adapter
