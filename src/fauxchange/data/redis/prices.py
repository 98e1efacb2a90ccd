"""Prices as bytes that sort like prices: their position first, in 24 bytes, then everything else."""

import struct
from decimal import Decimal

import msgspec

from fauxchange.data.documents import decode_document, encode_document
from fauxchange.data.queries import MIN_INT64, Position
from fauxchange.domain.market_data import FeedSource, PriceFeed

_POSITION = struct.Struct(">QQQ")
POSITION_BYTES = _POSITION.size


class DamagedRecord(Exception):
    """Bytes that `encode_price` did not write."""


class _Rest(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What is not in the position; the symbol is in the key."""

    bid: str
    ask: str
    last: str | None
    volume: str
    source: str
    metadata: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Rest)


def encode_position(position: Position) -> bytes:
    """Return (ts_ns, epoch, sequence) as bytes that sort as the numbers do."""
    return _POSITION.pack(*(int(part) - MIN_INT64 for part in position))


def encode_price(feed: PriceFeed) -> bytes:
    """Return a price without its symbol. Equal prices are equal bytes. Raises: InvalidRequest on bad metadata."""
    rest = _Rest(
        f"{feed.bid:f}",
        f"{feed.ask:f}",
        None if feed.last is None else f"{feed.last:f}",
        f"{feed.volume:f}",
        feed.source.value,
        encode_document(feed.metadata) if feed.metadata else "",
    )
    return encode_position((feed.ts_ns, feed.epoch, feed.sequence)) + _encoder.encode(rest)


def decode_price(symbol: str, record: bytes) -> PriceFeed:
    """Return the price that `encode_price` wrote. Raises: DamagedRecord."""
    try:
        ts_ns, epoch, sequence = _POSITION.unpack_from(record)
        rest = _decoder.decode(record[POSITION_BYTES:])
        return PriceFeed(
            symbol=symbol,
            epoch=epoch + MIN_INT64,
            sequence=sequence + MIN_INT64,
            ts_ns=ts_ns + MIN_INT64,
            bid=Decimal(rest.bid),
            ask=Decimal(rest.ask),
            last=None if rest.last is None else Decimal(rest.last),
            volume=Decimal(rest.volume),
            source=FeedSource(rest.source),
            metadata=decode_document(rest.metadata) if rest.metadata else {},
        )
    except (struct.error, ValueError, ArithmeticError, TypeError) as exc:
        # msgspec's errors are ValueErrors.
        raise DamagedRecord(f"a price of {symbol} cannot be read: {exc}") from exc
