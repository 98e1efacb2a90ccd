"""Render market data as messages: JSON structures and protobuf."""

from decimal import Decimal
from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp

from fauxchange.contracts.market_data.messages import CandleMessage, PriceMessage, SnapshotMessage, SymbolMessage
from fauxchange.contracts.market_data.v1 import market_data_pb2 as pb
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.intervals import INTERVAL_NAMES
from fauxchange.domain.market_data import Candle, CandleRecord, MarketSnapshot, PriceFeed, Quote
from fauxchange.domain.times import NS_PER_S, format_time

# All symbols of a step share their time, and all candles of an interval their open time.
time_text = lru_cache(maxsize=256)(format_time)


def timestamp(ts_ns: int) -> Timestamp:
    """Return a protobuf timestamp. Units: ts_ns in nanoseconds since 1970."""
    seconds, nanos = divmod(ts_ns, NS_PER_S)
    return Timestamp(seconds=seconds, nanos=nanos)


def price_message(quote: Quote) -> PriceMessage:
    """Return a live quote as a message."""
    prices = quote.instrument.prices
    return PriceMessage(
        symbol=quote.instrument.symbol,
        bid=prices.text(quote.bid_ticks),
        ask=prices.text(quote.ask_ticks),
        mid=prices.half_text(quote.bid_ticks + quote.ask_ticks),
        last=None if quote.last_ticks is None else prices.text(quote.last_ticks),
        sequence=quote.sequence,
        timestamp=time_text(quote.ts_ns),
    )


def stored_price_message(feed: PriceFeed, instrument: Instrument) -> PriceMessage:
    """Return a stored price as a message, with the decimals of its instrument."""
    decimals = instrument.prices.decimals
    mid = (feed.bid + feed.ask) / 2
    return PriceMessage(
        symbol=feed.symbol,
        bid=fixed_text(feed.bid, decimals),
        ask=fixed_text(feed.ask, decimals),
        mid=fixed_text(mid, decimals),
        last=None if feed.last is None else fixed_text(feed.last, decimals),
        sequence=feed.sequence,
        timestamp=time_text(feed.ts_ns),
    )


def candle_message(candle: Candle) -> CandleMessage:
    """Return a live candle as a message."""
    prices = candle.instrument.prices
    return CandleMessage(
        symbol=candle.instrument.symbol,
        interval=candle.interval,
        open_time=time_text(candle.open_ns),
        open=prices.text(candle.open_ticks),
        high=prices.text(candle.high_ticks),
        low=prices.text(candle.low_ticks),
        close=prices.text(candle.close_ticks),
        volume=candle.instrument.quantities.text(candle.volume_lots),
        closed=candle.closed,
    )


def stored_candle_message(candle: CandleRecord, instrument: Instrument) -> CandleMessage:
    """Return a stored candle as a message, with the decimals of its instrument."""
    decimals = instrument.prices.decimals
    return CandleMessage(
        symbol=candle.symbol,
        interval=INTERVAL_NAMES[candle.interval_ns],
        open_time=time_text(candle.open_ns),
        open=fixed_text(candle.open, decimals),
        high=fixed_text(candle.high, decimals),
        low=fixed_text(candle.low, decimals),
        close=fixed_text(candle.close, decimals),
        volume=fixed_text(candle.volume, instrument.quantities.decimals),
        closed=candle.closed,
    )


def snapshot_message(snapshot: MarketSnapshot, instrument: Instrument) -> SnapshotMessage:
    """Return a market snapshot as a message, with the decimals of its instrument."""
    decimals = instrument.prices.decimals
    last = snapshot.last_price
    return SnapshotMessage(
        symbol=snapshot.symbol,
        timestamp=time_text(snapshot.ts_ns),
        sequence=snapshot.sequence,
        bid=fixed_text(snapshot.bid, decimals),
        ask=fixed_text(snapshot.ask, decimals),
        last_price=None if last is None else fixed_text(last, decimals),
        open_24h=fixed_text(snapshot.open_24h, decimals),
        high_24h=fixed_text(snapshot.high_24h, decimals),
        low_24h=fixed_text(snapshot.low_24h, decimals),
        volume_24h=fixed_text(snapshot.volume_24h, instrument.quantities.decimals),
        change_24h=fixed_text(snapshot.change_24h, 6),
        source=snapshot.source.value,
    )


def symbol_message(instrument: Instrument, source: str) -> SymbolMessage:
    """Return an instrument as a message."""
    return SymbolMessage(
        symbol=instrument.symbol,
        base=instrument.base,
        quote=instrument.quote,
        tick_size=fixed_text(instrument.tick_size, instrument.prices.decimals),
        lot_size=fixed_text(instrument.lot_size, instrument.quantities.decimals),
        source=source,  # type: ignore[arg-type]  # a FeedSource's value is one of the literal's
    )


def fixed_text(value: Decimal, decimals: int) -> str:
    """Return plain decimal text with at least `decimals` decimals, more only where the value needs them."""
    exponent = value.normalize().as_tuple().exponent
    return f"{value:.{max(decimals, -int(exponent))}f}"


def price_proto(message: PriceMessage, ts_ns: int) -> pb.Price:
    """Return a price as protobuf."""
    return pb.Price(
        symbol=message.symbol,
        bid=message.bid,
        ask=message.ask,
        mid=message.mid,
        last=message.last,
        sequence=message.sequence,
        timestamp=timestamp(ts_ns),
    )


def candle_proto(message: CandleMessage, open_ns: int) -> pb.Candle:
    """Return a candle as protobuf."""
    return pb.Candle(
        symbol=message.symbol,
        interval=message.interval,
        open_time=timestamp(open_ns),
        open=message.open,
        high=message.high,
        low=message.low,
        close=message.close,
        volume=message.volume,
        closed=message.closed,
    )


def snapshot_proto(message: SnapshotMessage, ts_ns: int) -> pb.MarketSnapshot:
    """Return a market snapshot as protobuf."""
    return pb.MarketSnapshot(
        symbol=message.symbol,
        timestamp=timestamp(ts_ns),
        sequence=message.sequence,
        bid=message.bid,
        ask=message.ask,
        last_price=message.last_price,
        open_24h=message.open_24h,
        high_24h=message.high_24h,
        low_24h=message.low_24h,
        volume_24h=message.volume_24h,
        change_24h=message.change_24h,
        source=message.source,
    )


def batch_element(payload: bytes) -> bytes:
    """Return `payload` as one element of field 1 of a batch: elements of a repeated field simply follow each other.

    Source: Protocol Buffers encoding, "Length-Delimited Records"
    """
    return b"\x0a" + _varint(len(payload)) + payload


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
