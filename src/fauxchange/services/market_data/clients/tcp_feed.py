"""Reach a feed over a TCP socket: one JSON object per line.

    {"type": "quote", "sequence": 7, "symbol": "BTC/USD", "bid": "60000.00", "ask": "60000.10"}
    {"type": "trade", "sequence": 8, "symbol": "BTC/USD", "price": "60000.10", "quantity": "0.25"}
    {"type": "heartbeat", "sequence": 8}

We send one kind of line, `{"op": "subscribe", "symbols": ["BTC/USD"]}`, at first and whenever messages were lost;
a feed answers with the present quote of each symbol, or ignores it.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from fauxchange.domain.errors import ConfigurationError, InvalidRequest, Unavailable
from fauxchange.domain.instruments import parse_symbol
from fauxchange.services.market_data.clients.feeds import BadMessage, FeedHeartbeat, FeedMessage, FeedQuote, FeedTrade

MAX_LINE_BYTES = 1 << 16

_Sequence = Annotated[int, msgspec.Meta(ge=0)]


class _Line(msgspec.Struct, tag_field="type", frozen=True):
    """What all kinds of lines share: nothing but the field that tells them apart."""


class _QuoteLine(_Line, tag="quote", frozen=True):
    sequence: _Sequence
    bid: Decimal
    ask: Decimal
    symbol: str | None = None


class _TradeLine(_Line, tag="trade", frozen=True):
    sequence: _Sequence
    price: Decimal
    quantity: Decimal
    symbol: str | None = None


class _HeartbeatLine(_Line, tag="heartbeat", frozen=True):
    sequence: _Sequence | None = None


_DECODER = msgspec.json.Decoder(_QuoteLine | _TradeLine | _HeartbeatLine)


class TcpJsonTransport:
    """Connect to a feed of JSON lines. Units: connect_timeout_s in seconds of wall time."""

    def __init__(self, host: str, port: int, *, symbols: Sequence[str] = (), connect_timeout_s: float = 5.0) -> None:
        self._host = host
        self._port = port
        self._symbols = tuple(symbols)
        self._connect_timeout_s = connect_timeout_s

    @property
    def address(self) -> str:
        """The feed's URL."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"tcp://{host}:{self._port}"

    async def connect(self) -> "TcpJsonConnection":
        """Connect and subscribe. Raises: Unavailable."""
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                reader, writer = await asyncio.open_connection(self._host, self._port, limit=MAX_LINE_BYTES)
        except TimeoutError as exc:
            raise Unavailable(f"{self.address}: no connection within {self._connect_timeout_s:g} s") from exc
        except OSError as exc:
            raise Unavailable(f"{self.address}: {exc.strerror or exc}") from exc
        connection = TcpJsonConnection(self.address, reader, writer, self._symbols)
        await connection.resubscribe()
        return connection


class TcpJsonConnection:
    """One connection to a feed of JSON lines."""

    def __init__(
        self, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, symbols: Sequence[str]
    ) -> None:
        self._address = address
        self._reader = reader
        self._writer = writer
        self._subscribe = msgspec.json.encode({"op": "subscribe", "symbols": list(symbols)}) + b"\n"

    async def receive(self) -> FeedMessage | None:
        """Wait for the next line that is not blank; None at the end of the stream. Raises: Unavailable."""
        while True:
            try:
                line = await self._reader.readline()
            except ValueError:
                # The reader has thrown the line away already.
                return BadMessage(reason=f"a line longer than {MAX_LINE_BYTES} bytes")
            except OSError as exc:
                raise Unavailable(f"{self._address}: {exc.strerror or exc}") from exc
            if not line:
                return None
            if line.strip():
                return parse_line(line)

    async def resubscribe(self) -> bool:
        """Send the subscription again. Whether the feed listens, its answer will tell."""
        if self._writer.is_closing():
            return False
        # Not drained: a feed that reads nothing must not keep us from reading.
        self._writer.write(self._subscribe)
        return True

    async def close(self) -> None:
        """Hang up; `receive` then returns None."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


def parse_line(line: bytes) -> FeedMessage:
    """Return the message that a line holds, a `BadMessage` if it holds none."""
    try:
        content = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        return BadMessage(reason=f"not a message of the feed: {exc}")
    if isinstance(content, _HeartbeatLine):
        return FeedHeartbeat(sequence=content.sequence)
    if isinstance(content, _QuoteLine):
        return FeedQuote(sequence=content.sequence, symbol=content.symbol, bid=content.bid, ask=content.ask)
    return FeedTrade(sequence=content.sequence, symbol=content.symbol, price=content.price, quantity=content.quantity)


def parse_push_argument(text: str) -> tuple[str | None, str, int]:
    """Split `[SYMBOL=]tcp://HOST:PORT` into symbol, host and port. Raises: ConfigurationError."""
    before, equals, after = text.partition("=")
    symbol, url = (before, after) if equals else (None, text)
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
        canonical = None if symbol is None else parse_symbol(symbol)
    except (ValueError, InvalidRequest) as exc:
        raise ConfigurationError(f"{text!r} is not [SYMBOL=]tcp://HOST:PORT: {exc}") from exc
    if parts.scheme != "tcp" or not host or not port or parts.path not in {"", "/"}:
        raise ConfigurationError(f"{text!r} is not [SYMBOL=]tcp://HOST:PORT, such as BTC/USD=tcp://127.0.0.1:9500")
    return canonical, host, port
