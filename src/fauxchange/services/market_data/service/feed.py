"""The market-data service: quote, candle, snapshot, history, subscribers, in that order, for every price.

Everything here runs on one event loop. Publishing never waits; what has to (stores) is written behind.
"""

import difflib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fauxchange.data.ports import (
    CandleQuery,
    CandleRepository,
    Page,
    PriceFeedQuery,
    PriceFeedRepository,
    StateRepository,
)
from fauxchange.domain.errors import InvalidRequest, NotFound
from fauxchange.domain.instruments import parse_symbol
from fauxchange.domain.market_data import Candle, CandleRecord, MarketSnapshot, PriceFeed, Quote
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_S
from fauxchange.platform.ports import Clock
from fauxchange.platform.streams.hub import Hub
from fauxchange.platform.streams.topics import StreamMessage, Topic
from fauxchange.services.market_data.core.batches import NO_LAST, PriceBatch
from fauxchange.services.market_data.service.channels import resolve_topics
from fauxchange.services.market_data.service.history import History
from fauxchange.services.market_data.service.market import DAY_NS, Market
from fauxchange.services.market_data.service.metrics import FeedMetrics

STATE_STREAMS = "market_data.streams"
LATE_NS = NS_PER_MINUTE
"""No price is published later than this after its moment."""
TAKEN_UP_AT_ONCE = 10_000


class MarketDataService:
    """Publish prices and answer questions about them."""

    def __init__(
        self,
        markets: Sequence[Market],
        *,
        clock: Clock,
        hub: Hub,
        history: History,
        prices: PriceFeedRepository,
        candles: CandleRepository,
        state: StateRepository,
        metrics: FeedMetrics,
        scenario_topic: Topic,
        default_interval_ns: int,
        epoch: int,
    ) -> None:
        self._markets: Mapping[str, Market] = {market.instrument.symbol: market for market in markets}
        self._clock = clock
        self.hub = hub
        self._history = history
        self._prices = prices
        self._candles = candles
        self._state = state
        self._metrics = metrics
        self.scenario_topic = scenario_topic
        self.default_interval_ns = default_interval_ns
        self.epoch = epoch

    # Publishing

    def publish_rows(self, markets: Sequence[Market], batch: PriceBatch, first: int, end: int) -> None:
        """Publish the rows `first..end` of a batch, which are one step; `markets` is in the order of its symbols."""
        begun = time.perf_counter()
        ts_ns = int(batch.ts_ns[first])
        messages: list[StreamMessage] = []
        touched: list[Market] = []
        columns = zip(
            batch.symbol_index[first:end].tolist(),
            batch.mid_half_ticks[first:end].tolist(),
            batch.spread_ticks[first:end].tolist(),
            batch.last_ticks[first:end].tolist(),
            batch.volume_lots[first:end].tolist(),
            strict=True,
        )
        for index, mid_half_ticks, spread_ticks, last_ticks, volume_lots in columns:
            market = markets[index]
            self._close_candles(market, ts_ns, messages)
            quote = market.make_quote(
                ts_ns,
                mid_half_ticks,
                None if spread_ticks < 0 else spread_ticks,
                None if last_ticks == NO_LAST else last_ticks,
                volume_lots,
            )
            messages.append(market.prices.publish(quote))
            messages += market.touch_candles(quote)
            self._history.add_price(quote)
            touched.append(market)
        self.hub.publish(messages)
        lag_ns = self._clock.now_ns() - ts_ns
        self._metrics.step(touched, lag_s=max(0, lag_ns) / NS_PER_S, latency_s=time.perf_counter() - begun)

    def publish_price(
        self,
        symbol: str,
        *,
        mid_half_ticks: int,
        spread_ticks: int | None = None,
        last_ticks: int | None = None,
        volume_lots: int = 0,
    ) -> Quote:
        """Publish one price of a symbol now.

        Units:  mid in half ticks, spread (None: the symbol's spread policy) and last in ticks, volume in lots
        Raises: NotFound, InvalidRequest
        """
        market = self.market(symbol)
        if mid_half_ticks < 2 or (spread_ticks is not None and spread_ticks < 0) or volume_lots < 0:
            raise InvalidRequest("a price is at least one tick, a spread and a volume at least 0", code="out_of_range")
        ts_ns = self._clock.now_ns()
        messages: list[StreamMessage] = []
        self._close_candles(market, ts_ns, messages)
        quote = market.make_quote(ts_ns, mid_half_ticks, spread_ticks, last_ticks, volume_lots)
        messages.append(market.prices.publish(quote))
        messages += market.touch_candles(quote)
        self._history.add_price(quote)
        self.hub.publish(messages)
        return quote

    def publish_candle(self, candle: Candle) -> None:
        """Publish a closed candle: number it, keep it, store it, deliver it. Raises: NotFound."""
        self.hub.publish([self._publish_candle(self.market(candle.instrument.symbol), candle)])

    def close_candles(self, ts_ns: int) -> None:
        """Close and publish the candles that end at or before `ts_ns`, of all symbols."""
        messages: list[StreamMessage] = []
        for market in self._markets.values():
            self._close_candles(market, ts_ns, messages)
        if messages:
            self.hub.publish(messages)

    async def create_snapshot(self, symbol: str) -> MarketSnapshot:
        """Take a snapshot of a market and store it. Raises: NotFound, Unavailable."""
        snapshot = self.snapshot(symbol)
        await self._history.save_snapshot(snapshot)
        return snapshot

    def _close_candles(self, market: Market, ts_ns: int, messages: list[StreamMessage]) -> None:
        closed = market.candles.close_until(ts_ns)
        messages.extend(self._publish_candle(market, candle) for candle in closed)

    def _publish_candle(self, market: Market, candle: Candle) -> StreamMessage:
        if candle.interval_ns == NS_PER_MINUTE:
            market.remember_minute(candle)
        self._history.add_candle(candle)
        return market.candle_topics[candle.interval_ns].closed(candle)

    # Questions

    @property
    def markets(self) -> Mapping[str, Market]:
        """All markets by symbol."""
        return self._markets

    def market(self, symbol: str) -> Market:
        """Return a market by its symbol in any spelling. Raises: InvalidRequest, NotFound."""
        market = self._markets.get(symbol)
        if market is None:
            canonical = parse_symbol(symbol)
            market = self._markets.get(canonical)
            if market is None:
                raise unknown_symbol(canonical, self._markets)
        return market

    def get_active_symbols(self) -> list[Market]:
        """Return the markets that are served, in the order in which they were configured."""
        return list(self._markets.values())

    def price(self, symbol: str) -> Quote:
        """Return the latest quote. Raises: NotFound if the symbol is unknown or has no price yet."""
        market = self.market(symbol)
        if market.quote is None:
            raise NotFound(f"{market.instrument.symbol} has no price yet", code="no_price_yet", field="symbol")
        return market.quote

    def latest_prices(self, symbols: Sequence[str] = ()) -> list[Quote]:
        """Return the latest quotes of the named symbols, or of all, leaving out those without a price yet."""
        markets = [self.market(symbol) for symbol in symbols] or self.get_active_symbols()
        return [market.quote for market in markets if market.quote is not None]

    def snapshot(self, symbol: str) -> MarketSnapshot:
        """Return the present state of a market. Raises: NotFound."""
        self.price(symbol)
        snapshot = self.market(symbol).snapshot(self._clock.now_ns())
        if snapshot is None:
            raise NotFound(f"{symbol} has no price yet", code="no_price_yet", field="symbol")
        return snapshot

    async def current_snapshot(self, symbol: str) -> MarketSnapshot:
        """Return the present state of a market. Raises: NotFound."""
        return self.snapshot(symbol)

    async def price_history(self, query: PriceFeedQuery) -> Page[PriceFeed]:
        """Return a page of stored prices, up to the newest published one. Raises: NotFound, InvalidRequest."""
        self.market(query.symbol)
        _check_range(query.start_ns, query.end_ns)
        await self._history.flush()
        return await self._prices.history(query)

    async def candle_history(self, query: CandleQuery) -> Page[CandleRecord]:
        """Return a page of candles, the open one last as it stands now. Raises: NotFound, InvalidRequest."""
        market = self.market(query.symbol)
        _check_range(query.start_ns, query.end_ns)
        self.close_candles(self._clock.now_ns())
        current = market.candles.current(query.interval_ns)
        await self._history.flush(() if current is None else (current,))
        return await self._candles.query(query)

    def resolve_topics(self, channel: str, symbol: str | None) -> list[Topic]:
        """Return the topics of a channel, of one symbol or (None or `*`) of all. Raises: InvalidRequest, NotFound."""
        return resolve_topics(channel, symbol, self, self.scenario_topic)

    # Going on after a restart

    async def restore(self, saved: Mapping[str, Any]) -> None:
        """Take up the open candles and the day's statistics where an earlier run left them: `saved` is what it stored.

        A run that did not end gracefully stored prices after its last `save`: they are taken into the candles first.
        """
        now_ns = self._clock.now_ns()
        books: Mapping[str, Sequence[Sequence[int] | None]] = saved.get("books", {})
        for symbol, market in self._markets.items():
            book = books.get(symbol)
            # Ticks and lots of another grid are other prices.
            if book is not None and saved.get("grids", {}).get(symbol) == _grid(market):
                market.candles.restore(book)
                if not saved.get("clean"):
                    await self._take_up_prices(market, saved, now_ns)
            stored = await self._candles.query(
                CandleQuery(
                    symbol=symbol, interval_ns=NS_PER_MINUTE, start_ns=now_ns - DAY_NS, end_ns=now_ns, limit=1_441
                )
            )
            closed = (_live(record, market) for record in stored.items if record.closed)
            market.remember_minutes(candle for candle in closed if candle is not None)

    async def _take_up_prices(self, market: Market, saved: Mapping[str, Any], now_ns: int) -> None:
        """Take the prices up to now that were stored after `saved` into the candles, and store those that close."""
        start_ns = int(saved["venue_ns"]) - LATE_NS
        if start_ns >= now_ns:
            return
        seen = int(saved["sequences"].get(market.prices.key, 0))
        instrument, cursor = market.instrument, None
        while True:
            page = await self._prices.history(
                PriceFeedQuery(
                    symbol=instrument.symbol,
                    start_ns=start_ns,
                    # Virtual time may begin before them: then they are made once more.
                    end_ns=now_ns,
                    limit=TAKEN_UP_AT_ONCE,
                    cursor=cursor,
                )
            )
            for feed in page.items:
                if feed.epoch != saved["epoch"] or feed.sequence <= seen:
                    continue
                for candle in market.candles.close_until(feed.ts_ns):
                    self._history.add_candle(candle)
                mid_half_ticks = instrument.prices.count(feed.bid) + instrument.prices.count(feed.ask)
                market.candles.add(feed.ts_ns, mid_half_ticks, instrument.quantities.count(feed.volume))
            cursor = page.next_cursor
            if cursor is None:
                break
        await self._history.flush()

    async def save(self, *, clean: bool) -> None:
        """Store what a later run goes on from; `clean` says that nothing is published after this."""
        sequences = {
            topic.key: topic.sequence
            for market in self._markets.values()
            for topic in (market.prices, *market.candle_topics.values())
        }
        sequences[self.scenario_topic.key] = self.scenario_topic.sequence
        await self._state.save(
            STATE_STREAMS,
            {
                "epoch": self.epoch,
                "clean": clean,
                "venue_ns": self._clock.now_ns(),
                "sequences": sequences,
                "books": {symbol: market.candles.state() for symbol, market in self._markets.items()},
                "grids": {symbol: _grid(market) for symbol, market in self._markets.items()},
            },
        )


def unknown_symbol(symbol: str, known: Mapping[str, object]) -> NotFound:
    """Return the failure of an unknown symbol, with what was perhaps meant."""
    near = difflib.get_close_matches(symbol, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return NotFound(f"there is no symbol {symbol}; {hint}", code="unknown_symbol", field="symbol")


def _check_range(start_ns: int | None, end_ns: int | None) -> None:
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise InvalidRequest("start must be before end", code="invalid_range", field="start")


def _grid(market: Market) -> list[str]:
    return [str(market.instrument.tick_size), str(market.instrument.lot_size)]


def _live(record: CandleRecord, market: Market) -> Candle | None:
    """Return a stored candle as the market has it, or None if it was made on a grid that does not fit the present."""
    prices, quantities = market.instrument.prices, market.instrument.quantities
    try:
        return Candle(
            instrument=market.instrument,
            interval_ns=record.interval_ns,
            open_ns=record.open_ns,
            open_ticks=prices.count(record.open),
            high_ticks=prices.count(record.high),
            low_ticks=prices.count(record.low),
            close_ticks=prices.count(record.close),
            volume_lots=quantities.count(record.volume),
            closed=record.closed,
        )
    except InvalidRequest:
        return None
