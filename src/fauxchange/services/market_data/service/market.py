"""One market: everything the service knows about one symbol, and the statistics of its last day."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from fauxchange.domain.instruments import Instrument
from fauxchange.domain.intervals import INTERVALS_NS
from fauxchange.domain.market_data import Candle, FeedSource, MarketSnapshot, Quote, half_even
from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.platform.streams.topics import StreamMessage
from fauxchange.services.market_data.core.candles import CandleBook
from fauxchange.services.market_data.core.quotes import SpreadPolicy, bid_ask
from fauxchange.services.market_data.service.channels import CandleTopic, PriceTopic

DAY_NS = INTERVALS_NS["1d"]
CHANGE_DECIMALS = Decimal("0.000001")


class Market:
    """The state of one symbol: its quote, its candles, its topics.

    The sequence of everything published about the symbol is assigned by the topics in here.
    """

    __slots__ = (
        "_candle_topics",
        "_minutes",
        "candle_topics",
        "candles",
        "instrument",
        "prices",
        "quote",
        "source",
        "spread",
    )

    def __init__(
        self,
        instrument: Instrument,
        source: FeedSource,
        spread: SpreadPolicy,
        *,
        epoch: int,
        keep: int,
        keep_candles: int,
        sequences: "Sequences",
    ) -> None:
        symbol = instrument.symbol
        self.instrument = instrument
        self.source = source
        self.spread = spread
        self.quote: Quote | None = None
        self.candles = CandleBook(instrument)
        self.prices = PriceTopic(symbol, epoch=epoch, keep=keep, sequence=sequences.of("prices", symbol))
        self.candle_topics = {
            interval_ns: CandleTopic(
                symbol,
                interval_ns,
                self.candles,
                epoch=epoch,
                keep=keep_candles,
                sequence=sequences.of(f"candles:{name}", symbol),
            )
            for name, interval_ns in INTERVALS_NS.items()
        }
        self._candle_topics = tuple(self.candle_topics.values())
        self._minutes: deque[Candle] = deque()

    def make_quote(
        self, ts_ns: int, mid_half_ticks: int, spread_ticks: int | None, last_ticks: int | None, volume_lots: int
    ) -> Quote:
        """Put bid and ask around a price and make it the market's quote (not yet numbered).

        A spread that the source gave is kept; otherwise the policy sets it. A price that was observed, not modelled,
        stays the exact middle: the policy's spread is then one tick wider where the grid wants that.
        """
        if spread_ticks is None:
            spread_ticks = self.spread.spread_ticks(mid_half_ticks, ts_ns)
            if self.source is not FeedSource.SIMULATOR:
                spread_ticks += (mid_half_ticks - spread_ticks) & 1
        bid_ticks, ask_ticks = bid_ask(mid_half_ticks, spread_ticks)
        if last_ticks is None and self.quote is not None:
            last_ticks = self.quote.last_ticks
        self.quote = Quote(self.instrument, 0, ts_ns, bid_ticks, ask_ticks, last_ticks, volume_lots, self.source)
        return self.quote

    def touch_candles(self, quote: Quote) -> list[StreamMessage]:
        """Take a quote into the open candles; return the updates that somebody listens to."""
        self.candles.add(quote.ts_ns, quote.mid_half_ticks, quote.volume_lots)
        updates = []
        for topic in self._candle_topics:
            # Each price is an update and takes a number; the message is made only if somebody listens.
            topic.sequence += 1
            if topic.subscribers and (message := topic.update()) is not None:
                updates.append(message)
        return updates

    def remember_minute(self, candle: Candle) -> None:
        """Take a closed one-minute candle into the statistics of the day."""
        self._minutes.append(candle)
        while self._minutes and self._minutes[0].open_ns < candle.close_ns - DAY_NS:
            self._minutes.popleft()

    def remember_minutes(self, candles: Iterable[Candle]) -> None:
        """Take closed one-minute candles of earlier, oldest first, into the statistics of the day."""
        for candle in candles:
            self.remember_minute(candle)

    def snapshot(self, ts_ns: int) -> MarketSnapshot | None:
        """Return the state of the market with its last 24 hours, or None if it has no price yet."""
        quote = self.quote
        if quote is None:
            return None
        minutes = [candle for candle in self._minutes if candle.open_ns >= ts_ns - DAY_NS]
        minute = self.candles.current(NS_PER_MINUTE)
        if minute is not None:
            minutes.append(minute)
        day = _day(minutes, quote)
        prices, quantities = self.instrument.prices, self.instrument.quantities
        open_24h, close = prices.decimal(day.open_ticks), prices.decimal(day.close_ticks)
        return MarketSnapshot(
            symbol=self.instrument.symbol,
            ts_ns=ts_ns,
            sequence=quote.sequence,
            bid=prices.decimal(quote.bid_ticks),
            ask=prices.decimal(quote.ask_ticks),
            last_price=None if quote.last_ticks is None else prices.decimal(quote.last_ticks),
            open_24h=open_24h,
            high_24h=prices.decimal(day.high_ticks),
            low_24h=prices.decimal(day.low_ticks),
            volume_24h=quantities.decimal(day.volume_lots),
            change_24h=((close - open_24h) / open_24h).quantize(CHANGE_DECIMALS),
            source=self.source,
        )


class Sequences:
    """The numbers that topics had reached when the service last stopped."""

    def __init__(self, reached: dict[str, int] | None = None) -> None:
        self._reached = reached or {}

    def of(self, channel: str, symbol: str) -> int:
        """Return the last number of a topic, 0 if it is new."""
        return self._reached.get(f"{channel}|{symbol}", 0)


@dataclass(frozen=True, slots=True)
class _Day:
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    volume_lots: int


def _day(minutes: Sequence[Candle], quote: Quote) -> _Day:
    if not minutes:
        # All minutes of the day have passed without a price: the last price stands.
        mid = half_even(quote.mid_half_ticks)
        return _Day(mid, mid, mid, mid, 0)
    return _Day(
        open_ticks=minutes[0].open_ticks,
        high_ticks=max(candle.high_ticks for candle in minutes),
        low_ticks=min(candle.low_ticks for candle in minutes),
        close_ticks=minutes[-1].close_ticks,
        volume_lots=sum(candle.volume_lots for candle in minutes),
    )
