"""Market data's prices from another process, through the price streams of a store that both reach.

The rules of this module:

* The streams go on by number by themselves, wherever they broke off. A gap in the numbers is counted and logged, and
  nothing more: only the newest price counts for a quote.
* Streams tell nothing while nobody publishes, so whether market data is there is judged by the newest price's age.
  That is told in health; whoever uses the prices sees for themselves to what has become stale.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

import structlog

from fauxchange.data.ports import Continuity, PriceStreams, StreamedPrices
from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.market_data import PriceFeed
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.ports import Clock, DependencyHealth, DependencyStatus, HealthCheck, MetricsPort
from fauxchange.services.exchange.clients.market_prices import PriceStreamMetrics
from fauxchange.services.exchange.ports import FeedPrice

FIRST_LOOK_S: Final = 2.0
"""As long nobody is told that prices have not come yet."""
LOOK_S: Final = 0.25

log = structlog.get_logger(__name__)


class FollowedPrices:
    """The prices of a market-data service elsewhere, as the exchange's port wants them; a lifecycle component.

    `feeds` are the instruments as this exchange is set to read them, `store_health` tells of the streams' store.
    Units: stale_after_ns in nanoseconds of venue time, the age at which the newest price counts as old;
           first_look_s in seconds
    """

    name = "market prices"

    def __init__(
        self,
        streams: PriceStreams,
        feeds: Mapping[str, Instrument],
        *,
        store_health: HealthCheck,
        clock: Clock,
        spawn: Callable[[Any, str], "asyncio.Task[Any]"],
        metrics: MetricsPort,
        stale_after_ns: int,
        first_look_s: float = FIRST_LOOK_S,
    ) -> None:
        self._streams = streams
        self._feeds = feeds
        self._store_health = store_health
        self._clock = clock
        self._spawn = spawn
        self._metrics = PriceStreamMetrics(metrics)
        self._stale_after_ns = stale_after_ns
        self._first_look_s = first_look_s
        self._latest: dict[str, FeedPrice] = {}
        self._newest_ns: int | None = None
        self._read: dict[str, tuple[int, int]] = {}
        """Epoch and number of the last price of each symbol."""
        self._readers: list[Callable[[Sequence[FeedPrice]], None]] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._broken: str | None = "it has not begun"
        self._told = False
        self._misfits: dict[str, str] = {}

    # The port

    def latest(self, symbol: str) -> FeedPrice | None:
        """Return the newest price of a symbol, None if none has come yet."""
        return self._latest.get(symbol)

    def subscribe(self, heard: Callable[[Sequence[FeedPrice]], None]) -> None:
        """Call `heard` with the newest price of a symbol in what arrives together, from now on."""
        self._readers.append(heard)

    # The component

    async def start(self) -> None:
        """Begin to follow; that the store or market data is away is no failure."""
        self._tasks = [self._spawn(self._follow(), "market prices"), self._spawn(self._watch(), "market prices' age")]

    async def stop(self) -> None:
        """End following."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def health(self) -> DependencyHealth:
        """Say whether all prices that the exchange is set to are coming."""
        told = list(self._misfits.values())
        problem = self._problem()
        if problem is not None:
            told.insert(0, f"no prices through the price streams: {problem}")
        elif missing := [symbol for symbol in self._feeds if symbol not in self._read]:
            told.append(f"market-data does not price {', '.join(missing)}; set DEFAULT_SYMBOLS alike in both services")
        if told:
            return DependencyHealth(DependencyStatus.DEGRADED, "; ".join(told))
        return DependencyHealth(DependencyStatus.OK)

    # The streams

    async def _follow(self) -> None:
        async with aclosing(self._streams.follow(dict.fromkeys(self._feeds))) as events:
            async for event in events:
                self._take(event)

    def _take(self, event: StreamedPrices) -> None:
        """Take the prices of a symbol and tell the newest that fits."""
        if not event.prices:
            return
        if event.continuity is Continuity.GAP:
            self._note_gap(event.prices[0])
        newest = event.prices[-1]
        self._read[event.symbol] = (newest.epoch, newest.sequence)
        price = self._feed_price(newest)
        if price is None:
            return
        self._latest[event.symbol] = price
        self._newest_ns = price.ts_ns if self._newest_ns is None else max(self._newest_ns, price.ts_ns)
        self._note(self._problem())
        for heard in self._readers:
            heard([price])

    def _feed_price(self, price: PriceFeed) -> FeedPrice | None:
        instrument = self._feeds[price.symbol]
        try:
            bid_ticks = instrument.prices.count(price.bid, name="bid")
            ask_ticks = instrument.prices.count(price.ask, name="ask")
        except InvalidRequest as exc:
            misfit = f"market-data's {price.symbol}: {exc.message}; set TICK_SIZES alike in both services"
            if price.symbol not in self._misfits:
                log.error("prices_do_not_fit", symbol=price.symbol, reason=misfit)
            self._misfits[price.symbol] = misfit
            return None
        return FeedPrice(price.symbol, price.ts_ns, bid_ticks, ask_ticks)

    # What is told

    async def _watch(self) -> None:
        await asyncio.sleep(self._first_look_s)
        while True:
            self._note(self._problem())
            await asyncio.sleep(LOOK_S)

    def _problem(self) -> str | None:
        """Return why no fresh prices come, None if they do."""
        store = self._store_health()
        if store.status is DependencyStatus.DOWN:
            return store.detail
        if self._newest_ns is None:
            return "none has come yet; market-data publishes them where REDIS_URL is set alike"
        age_ns = self._clock.now_ns() - self._newest_ns
        if age_ns >= self._stale_after_ns:
            return f"the newest is {age_ns / NS_PER_S:.1f} s old"
        return None

    def _note(self, problem: str | None) -> None:
        """Log and count that prices have ceased to come, or come again."""
        if problem is None and self._broken is not None:
            if self._told:
                log.info("price_stream_back")
            self._told = False
            self._metrics.up.set(1)
        elif problem is not None and not self._told:
            if self._broken is None:
                self._metrics.breaks.inc(1)
                self._metrics.up.set(0)
            log.warning("price_stream_lost", reason=problem)
            self._told = True
        self._broken = problem

    def _note_gap(self, first: PriceFeed) -> None:
        epoch, last = self._read.get(first.symbol, (first.epoch, first.sequence - 1))
        if first.epoch != epoch:
            # Market data was started anew; what its last run made after our last price is not known.
            log.info("prices_begin_anew", symbol=first.symbol, epoch=first.epoch, sequence=first.sequence)
            return
        missed = max(0, first.sequence - 1 - last)
        self._metrics.missed.inc(missed)
        log.warning("prices_missed", symbol=first.symbol, missed=missed, sequence=first.sequence)
