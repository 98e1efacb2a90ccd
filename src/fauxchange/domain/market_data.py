"""Market data messages: quotes, candles and snapshots, in ticks and lots; and their stored records, in decimals.

A `Quote` or a `Candle` belongs to an `Instrument` and counts in its ticks and lots. A record (`PriceFeed`,
`CandleRecord`, `MarketSnapshot`, `SymbolRecord`) is what the data adapter keeps: exact decimals, so that a row can
be read without the instrument, and a free JSON `metadata`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from fauxchange.domain.instruments import Instrument
from fauxchange.domain.intervals import INTERVAL_NAMES


class FeedSource(StrEnum):
    """Where a price came from."""

    SIMULATOR = "simulator"
    REPLAY = "replay"
    FIXED = "fixed"
    LIVE = "live"


@dataclass(slots=True, eq=True)
class Quote:
    """The best bid and ask of one instrument at one moment, and the last traded price.

    Units: bid, ask and last in ticks (last is None until a trade or a model print exists), volume in lots traded
           since the quote before it, ts_ns in nanoseconds of venue time
    """

    instrument: Instrument
    sequence: int
    ts_ns: int
    bid_ticks: int
    ask_ticks: int
    last_ticks: int | None
    volume_lots: int
    source: FeedSource

    @property
    def mid_half_ticks(self) -> int:
        """The middle between bid and ask, in half ticks: it may lie between two ticks."""
        return self.bid_ticks + self.ask_ticks


@dataclass(slots=True, eq=True)
class Candle:
    """Open, high, low and close of the mid over one interval.

    Units: prices in ticks (mids rounded half-even), volume in lots, times in nanoseconds of venue time
    """

    instrument: Instrument
    interval_ns: int
    open_ns: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    volume_lots: int
    closed: bool

    @property
    def interval(self) -> str:
        """The interval's name, such as `1m`."""
        return INTERVAL_NAMES[self.interval_ns]

    @property
    def close_ns(self) -> int:
        """The first moment after the candle."""
        return self.open_ns + self.interval_ns


Metadata = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceFeed:
    """One stored price. Units: prices in quote currency, volume in base asset, ts_ns in nanoseconds of venue time."""

    symbol: str
    epoch: int
    sequence: int
    ts_ns: int
    bid: Decimal
    ask: Decimal
    last: Decimal | None
    volume: Decimal
    source: FeedSource
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleRecord:
    """One stored candle. Units: prices in quote currency, volume in base asset, open_ns in nanoseconds."""

    symbol: str
    interval_ns: int
    open_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    closed: bool
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketSnapshot:
    """The state of one market at one moment, with the statistics of the 24 hours before it.

    Units: prices in quote currency, volume in base asset, change as a fraction (0.01 is one per cent)
    """

    symbol: str
    ts_ns: int
    sequence: int
    bid: Decimal
    ask: Decimal
    last_price: Decimal | None
    open_24h: Decimal
    high_24h: Decimal
    low_24h: Decimal
    volume_24h: Decimal
    change_24h: Decimal
    source: FeedSource
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolRecord:
    """One stored symbol: its grids, whether it is served, and free metadata."""

    symbol: str
    tick_size: Decimal
    lot_size: Decimal
    active: bool = True
    metadata: Metadata = field(default_factory=dict)


def half_even(half_ticks: int) -> int:
    """Return `half_ticks` half ticks rounded to whole ticks, halves to the even tick."""
    ticks, odd = divmod(half_ticks, 2)
    return ticks + (ticks & odd)


def price_feed(quote: Quote, *, epoch: int, metadata: Metadata | None = None) -> PriceFeed:
    """Return the record that stores `quote`."""
    prices = quote.instrument.prices
    return PriceFeed(
        symbol=quote.instrument.symbol,
        epoch=epoch,
        sequence=quote.sequence,
        ts_ns=quote.ts_ns,
        bid=prices.decimal(quote.bid_ticks),
        ask=prices.decimal(quote.ask_ticks),
        last=None if quote.last_ticks is None else prices.decimal(quote.last_ticks),
        volume=quote.instrument.quantities.decimal(quote.volume_lots),
        source=quote.source,
        metadata=metadata or {},
    )


def candle_record(candle: Candle) -> CandleRecord:
    """Return the record that stores `candle`."""
    prices = candle.instrument.prices
    # Most candles of a second hold one price: it is made once.
    close = prices.decimal(candle.close_ticks)
    open_ticks, high_ticks, low_ticks = candle.open_ticks, candle.high_ticks, candle.low_ticks
    return CandleRecord(
        symbol=candle.instrument.symbol,
        interval_ns=candle.interval_ns,
        open_ns=candle.open_ns,
        open=close if open_ticks == candle.close_ticks else prices.decimal(open_ticks),
        high=close if high_ticks == candle.close_ticks else prices.decimal(high_ticks),
        low=close if low_ticks == candle.close_ticks else prices.decimal(low_ticks),
        close=close,
        volume=candle.instrument.quantities.decimal(candle.volume_lots),
        closed=candle.closed,
    )
