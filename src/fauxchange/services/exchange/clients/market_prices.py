"""Market data's prices from another process: one gRPC stream that is opened again wherever it broke off.

The rules of this module:

* A stream that breaks goes on from the number after the last one that was taken. What market data keeps no more is made
  good by a snapshot: only the newest price counts for a quote.
* Whether prices are fresh is not decided here. While none come the last ones age, and whoever uses them sees to that.
* Market data is asked for its instruments before each stream. A symbol that it does not price, or prices on another
  grid than this exchange was set to, is left out and named; the others are read.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Any, Final

import structlog

from fauxchange.contracts.market_data.v1 import market_data_pb2 as pb
from fauxchange.domain.errors import FauxchangeError, InvalidRequest, Unavailable
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.ports import DependencyHealth, DependencyStatus, MetricsPort
from fauxchange.platform.rpc.backoff import Backoff, Chance
from fauxchange.platform.rpc.clients import PeerClient
from fauxchange.services.exchange.ports import FeedPrice

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0

log = structlog.get_logger(__name__)


class PriceStreamMetrics:
    """The measurements of the stream of prices."""

    def __init__(self, metrics: MetricsPort) -> None:
        self.up = metrics.gauge(
            "exchange_price_stream_up", "1 while prices are streamed from market data elsewhere, else 0"
        )
        self.breaks = metrics.counter(
            "exchange_price_stream_breaks_total", "Times that the stream of prices from market data elsewhere broke"
        )
        self.missed = metrics.counter(
            "exchange_prices_missed_total",
            "Prices of market data elsewhere that were kept no more when asked for again",
        )
        self.up.set(0)


class RemotePrices:
    """The prices of a market-data service elsewhere, as the exchange's port wants them; a lifecycle component.

    `feeds` are the instruments as this exchange is set to read them.
    Units: idle_timeout_s in seconds, after which a stream without any message counts as lost
    """

    name = "market prices"

    def __init__(
        self,
        client: PeerClient,
        feeds: Mapping[str, Instrument],
        *,
        spawn: Callable[[Any, str], "asyncio.Task[Any]"],
        chance: Chance,
        metrics: MetricsPort,
        idle_timeout_s: float,
    ) -> None:
        self._client = client
        self._feeds = feeds
        self._spawn = spawn
        self._backoff = Backoff(first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S, chance=chance)
        self._metrics = PriceStreamMetrics(metrics)
        self._idle_timeout_s = idle_timeout_s
        self._latest: dict[str, FeedPrice] = {}
        self._read: dict[str, tuple[int, int]] = {}
        """Epoch and number of the last message of each symbol."""
        self._readers: list[Callable[[Sequence[FeedPrice]], None]] = []
        self._task: asyncio.Task[Any] | None = None
        self._broken: str | None = "it has not begun"
        self._told = False
        self._misfits: dict[str, str] = {}

    # The port

    def latest(self, symbol: str) -> FeedPrice | None:
        """Return the newest price of a symbol, None if none has come yet."""
        return self._latest.get(symbol)

    def subscribe(self, heard: Callable[[Sequence[FeedPrice]], None]) -> None:
        """Call `heard` with the newest price of each symbol in what arrives together, from now on."""
        self._readers.append(heard)

    # The component

    async def start(self) -> None:
        """Begin to read; that market data is away is no failure."""
        self._task = self._spawn(self._follow(), "market prices")

    async def stop(self) -> None:
        """End the stream."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def health(self) -> DependencyHealth:
        """Say whether all prices that the exchange is set to are being streamed."""
        told = [] if self._broken is None else [f"no stream of prices from market-data: {self._broken}"]
        told += self._misfits.values()
        if told:
            return DependencyHealth(DependencyStatus.DEGRADED, "; ".join(told))
        return DependencyHealth(DependencyStatus.OK)

    # The stream

    async def _follow(self) -> None:
        while True:
            try:
                await self._stream(await self._subscribed())
                failure: FauxchangeError = Unavailable("market-data has ended it", code="stream_ended")
            except FauxchangeError as exc:
                failure = exc
            self._note_broken(failure.message)
            await asyncio.sleep(self._backoff.next_s())

    async def _subscribed(self) -> list[str]:
        """Return the symbols that market data prices as we expect it. Raises: FauxchangeError if none, or not told."""
        answer = await self._client.call("ListSymbols", pb.ListSymbolsRequest())
        offered = {one.symbol: one for one in answer.symbols}
        misfits = {}
        for symbol, instrument in self._feeds.items():
            misfit = _misfit(instrument, offered.get(symbol))
            if misfit is not None:
                misfits[symbol] = misfit
        self._note_misfits(misfits)
        symbols = [symbol for symbol in self._feeds if symbol not in misfits]
        if not symbols:
            raise Unavailable("market-data prices nothing that this exchange needs")
        return symbols

    async def _stream(self, symbols: Sequence[str]) -> None:
        """Read until the stream ends. Raises: FauxchangeError if it breaks, or leaves something out."""
        request = pb.StreamPricesRequest(subscriptions=[self._subscription(symbol) for symbol in symbols])
        stream = self._client.stream("StreamPrices", request, idle_timeout_s=self._idle_timeout_s)
        async with aclosing(stream) as batches:
            async for batch in batches:
                self._note_open()
                if not self._take(batch):
                    raise Unavailable("it left prices out, which are asked for again", code="stream_gap")

    def _subscription(self, symbol: str) -> pb.Subscription:
        read = self._read.get(symbol)
        if read is None:
            return pb.Subscription(symbol=symbol)
        epoch, sequence = read
        return pb.Subscription(symbol=symbol, from_sequence=sequence + 1, epoch=epoch)

    def _take(self, batch: Any) -> bool:
        """Take the prices of a batch and tell the newest of each symbol; return whether nothing was left out."""
        news: dict[str, FeedPrice] = {}
        whole = True
        for update in batch.updates:
            symbol = update.price.symbol
            epoch, last = self._read.get(symbol, (update.epoch, update.first_sequence - 1))
            if update.epoch == epoch:
                if update.sequence <= last:
                    continue
                skipped = update.first_sequence - 1 - last
                if skipped > 0 and update.type != pb.MESSAGE_TYPE_SNAPSHOT:
                    # Asked for once more, from where we are.
                    whole = False
                    break
                self._metrics.missed.inc(max(0, skipped))
            self._read[symbol] = (update.epoch, update.sequence)
            price = self._feed_price(update.price)
            if price is not None:
                news[symbol] = price
        if news:
            self._latest.update(news)
            prices = list(news.values())
            for heard in self._readers:
                heard(prices)
        return whole

    def _feed_price(self, price: Any) -> FeedPrice | None:
        instrument = self._feeds[price.symbol]
        try:
            bid_ticks = instrument.prices.count(price.bid, name="bid")
            ask_ticks = instrument.prices.count(price.ask, name="ask")
        except InvalidRequest as exc:
            self._note_misfits({**self._misfits, price.symbol: f"market-data's {price.symbol}: {exc.message}"})
            return None
        ts_ns = price.timestamp.seconds * NS_PER_S + price.timestamp.nanos
        return FeedPrice(price.symbol, ts_ns, bid_ticks, ask_ticks)

    # What is told

    def _note_open(self) -> None:
        if self._broken is None:
            return
        if self._told:
            log.info("price_stream_back")
        self._broken, self._told = None, False
        self._metrics.up.set(1)
        self._backoff.reset()

    def _note_broken(self, reason: str) -> None:
        if self._broken is None:
            self._metrics.breaks.inc(1)
            self._metrics.up.set(0)
        if not self._told:
            log.warning("price_stream_lost", reason=reason)
        self._broken, self._told = reason, True

    def _note_misfits(self, misfits: dict[str, str]) -> None:
        for symbol, misfit in misfits.items():
            if self._misfits.get(symbol) != misfit:
                log.error("prices_do_not_fit", symbol=symbol, reason=misfit)
        self._misfits = misfits


def _misfit(instrument: Instrument, offered: Any | None) -> str | None:
    """Return why market data's prices of an instrument cannot be used, None if they can."""
    symbol = instrument.symbol
    if offered is None:
        return f"market-data does not price {symbol}; set DEFAULT_SYMBOLS alike in both services"
    if Decimal(offered.tick_size) != instrument.tick_size:
        return (
            f"market-data prices {symbol} in ticks of {offered.tick_size} and this exchange expects "
            f"{instrument.tick_size:f}; set TICK_SIZES alike in both services"
        )
    return None
