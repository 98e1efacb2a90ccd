"""Price streams between processes, in Redis Streams.

Rules of this module:

* A symbol has one stream, and an entry's id is its price's `<epoch>-<sequence>`: our numbers are the server's, so that
  sending a batch again adds nothing twice, and coming back with a number is one range query.
* Publishing never waits. Prices stand in a queue of bounded length and are sent in batches, one on its way at a time.
  When the server is away or slow, the oldest are given up and counted; a follower sees the gap in the numbers.
* A stream whose numbers are ahead of ours is another run's (whose clock was ahead): it is removed before ours begins.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import ResponseError

from fauxchange.data.memory.price_streams import KEPT_PRICES
from fauxchange.data.ports import StreamedPrices
from fauxchange.data.price_following import Following, Number, number_of
from fauxchange.data.redis.metrics import RedisMetrics
from fauxchange.data.redis.names import stream_key
from fauxchange.data.redis.prices import DamagedRecord, decode_price, encode_price
from fauxchange.data.redis.server import Command, LoneConnection, RedisServer
from fauxchange.domain.errors import InvalidRequest, Unavailable
from fauxchange.domain.market_data import PriceFeed
from fauxchange.platform.logging import get_logger

_log = get_logger(__name__)

QUEUED_PRICES = 20_000
BATCH_PRICES = 1_000
READ_PRICES = 1_000
BLOCK_S = 0.5
LOOK_EVERY_S = 1.0
AGAIN_S = 0.25
LAST_WORDS_S = 1.0
FIELD = "price"
_SUPERSEDED = "equal or smaller"


class RedisPriceStreams:
    """Publish and follow the streams of one server. `keep` and `queue` are in prices, the former of one symbol."""

    def __init__(
        self,
        server: RedisServer,
        *,
        metrics: RedisMetrics,
        keep: int = KEPT_PRICES,
        queue: int = QUEUED_PRICES,
    ) -> None:
        self._server = server
        self._metrics = metrics
        self._keep = keep
        self._queue: deque[PriceFeed] = deque()
        self._room = queue
        self._on_way: list[PriceFeed] = []
        self._news = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._ours: set[str] = set()
        self._sender: asyncio.Task[None] | None = None
        self._followers: set[LoneConnection] = set()
        self.dropped = 0
        self.problem: str | None = None
        """Why prices wait or are given up, or None if they are not."""

    def start(self) -> None:
        """Begin to send what is published; safe to call twice."""
        if self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._send_for_ever(), name="price streams")

    async def stop(self) -> None:
        """Send what waits if the server takes it at once, and end the followers' connections."""
        sender, self._sender = self._sender, None
        if sender is not None:
            if self.waiting and self._server.problem is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LAST_WORDS_S):
                        await self._is_empty.wait()
            sender.cancel()
            await asyncio.wait([sender])
        for connection in tuple(self._followers):
            await connection.close()

    @property
    def waiting(self) -> int:
        """How many prices are on their way."""
        return len(self._queue) + len(self._on_way)

    def publish(self, feeds: Sequence[PriceFeed]) -> None:
        """Send prices on, soon and without waiting."""
        if not feeds:
            return
        self._queue.extend(feeds)
        excess = min(self.waiting - self._room, len(self._queue))
        if excess > 0:
            for _ in range(excess):
                self._queue.popleft()
            self._give_up(excess, "overflow")
        self._is_empty.clear()
        self._news.set()

    async def follow(self, start: Mapping[str, Number | None]) -> AsyncGenerator[StreamedPrices, None]:
        """Yield the prices of these symbols as they come."""
        reader = _Reader(self._server, {symbol: Following(symbol, number) for symbol, number in start.items()})
        try:
            while True:
                try:
                    for event in await reader.read(self._followers):
                        yield event
                except Unavailable as exc:
                    _log.debug("price streams are not followed", reason=exc.message)
                    await reader.close(self._followers)
                    await self._server.is_here.wait()
                    # A server that is here and refuses is not asked without a pause.
                    await asyncio.sleep(AGAIN_S)
        finally:
            await reader.close(self._followers)

    async def _send_for_ever(self) -> None:
        is_repeated = False
        while True:
            if not self._on_way:
                if not self._queue:
                    self._is_empty.set()
                    self._news.clear()
                    await self._news.wait()
                self._on_way = [self._queue.popleft() for _ in range(min(BATCH_PRICES, len(self._queue)))]
            await self._server.is_here.wait()
            try:
                await self._send(self._on_way, is_repeated=is_repeated)
            except Unavailable as exc:
                self.problem = exc.message
                is_repeated = True
                await asyncio.sleep(AGAIN_S)
            else:
                is_repeated = False
                self._on_way = []

    async def _send(self, batch: Sequence[PriceFeed], *, is_repeated: bool) -> None:
        """Add prices to their streams. Raises: Unavailable."""
        await self._begin({feed.symbol: feed for feed in reversed(batch) if feed.symbol not in self._ours}.values())
        commands, batch = self._additions(batch)
        if not commands:
            return
        # Not repeated there: what arrived the first time would be taken for another run's.
        answers = await self._server.batch(commands, keep_errors=True, repeatable=False)
        refused = [
            (feed, answer) for feed, answer in zip(batch, answers, strict=True) if isinstance(answer, ResponseError)
        ]
        superseded = [feed for feed, answer in refused if _SUPERSEDED in str(answer)]
        # One that was sent before has arrived after all.
        lost = [] if is_repeated else superseded
        self._metrics.published(len(batch) - len(refused))
        self.problem = None
        if lost:
            self._give_up(len(lost), "superseded")
            self._ours.difference_update(feed.symbol for feed in lost)
        if len(refused) > len(superseded):
            self.problem = next(str(answer) for _, answer in refused if _SUPERSEDED not in str(answer))
            self._give_up(len(refused) - len(superseded), "refused")

    def _additions(self, feeds: Sequence[PriceFeed]) -> tuple[list[Command], list[PriceFeed]]:
        """Return the commands that add prices to their streams, and those prices; one that has no bytes is given up."""
        commands: list[Command] = []
        added: list[PriceFeed] = []
        for feed in feeds:
            try:
                record = encode_price(feed)
            except InvalidRequest as exc:
                self.problem = exc.message
                self._give_up(1, "refused")
                continue
            id_ = _id(number_of(feed))
            commands.append(("XADD", stream_key(feed.symbol), "MAXLEN", "~", self._keep, id_, FIELD, record))
            added.append(feed)
        return commands, added

    async def _begin(self, firsts: Iterable[PriceFeed]) -> None:
        """Remove streams that stand before prices which are ours to begin with. Raises: Unavailable."""
        first_of = {feed.symbol: number_of(feed) for feed in firsts}
        if not first_of:
            return
        symbols = list(first_of)
        answers = await self._server.batch([_newest(symbol) for symbol in symbols])
        for symbol, answer in zip(symbols, answers, strict=True):
            newest = _last_number(answer)
            if newest is not None and newest >= first_of[symbol]:
                _log.warning("price stream begun anew", symbol=symbol, kept_up_to=_id(newest))
                await self._server.call("UNLINK", stream_key(symbol))
            self._ours.add(symbol)

    def _give_up(self, prices: int, reason: str) -> None:
        if self.dropped == 0:
            _log.error("streamed prices are given up", reason=reason, problem=self.problem or self._server.problem)
        self.dropped += prices
        self._metrics.dropped(prices, reason)


class _Reader:
    """One follower: its places, and a connection of its own on which it waits."""

    def __init__(self, server: RedisServer, followings: dict[str, Following]) -> None:
        self._server = server
        self._followings = followings
        self._begun: set[str] = set()
        self._connection: LoneConnection | None = None
        self._looked_s = 0.0

    async def read(self, open_connections: set[LoneConnection]) -> list[StreamedPrices]:
        """Return what came within a short time. Raises: Unavailable."""
        if self._connection is None:
            self._connection = await self._server.open_alone()
            open_connections.add(self._connection)
        for symbol, following in self._followings.items():
            if symbol not in self._begun:
                events = await self._begin(self._connection, symbol, following)
                self._begun.add(symbol)
                if events:
                    return events
        now_s = asyncio.get_running_loop().time()
        if now_s - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = now_s
            await self._look(self._connection)
        return await self._read(self._connection)

    async def close(self, open_connections: set[LoneConnection]) -> None:
        """Close the connection; the places stay."""
        connection, self._connection = self._connection, None
        if connection is not None:
            open_connections.discard(connection)
            await connection.close()

    async def _begin(self, connection: LoneConnection, symbol: str, following: Following) -> list[StreamedPrices]:
        newest = await connection.call(*_newest(symbol))
        first: Any = []
        if following.start is not None:
            first = await connection.call("XRANGE", stream_key(symbol), _id(following.start), "+", "COUNT", 1)
        return following.begin(_only(symbol, first), _only(symbol, newest))

    async def _look(self, connection: LoneConnection) -> None:
        """Notice streams that were made anew: nothing would ever come behind the old place."""
        for symbol, following in self._followings.items():
            following.begin_anew_if(_last_number(await connection.call(*_newest(symbol))))

    async def _read(self, connection: LoneConnection) -> list[StreamedPrices]:
        keys = {stream_key(symbol).encode(): symbol for symbol in self._followings}
        places = (_id(following.read_from) for following in self._followings.values())
        block_ms = round(BLOCK_S * 1_000)
        command = ("XREAD", "COUNT", READ_PRICES, "BLOCK", block_ms, "STREAMS", *keys, *places)
        events: list[StreamedPrices] = []
        for key, entries in await connection.call(*command, waits_s=BLOCK_S) or ():
            symbol = keys[key]
            feeds = [feed for entry in entries if (feed := _price(symbol, entry)) is not None]
            events += self._followings[symbol].take(feeds)
        return events


def _newest(symbol: str) -> Command:
    return ("XREVRANGE", stream_key(symbol), "+", "-", "COUNT", 1)


def _id(number: Number) -> str:
    return f"{number[0]}-{number[1]}"


def _last_number(answer: Sequence[Any]) -> Number | None:
    if not answer:
        return None
    epoch, _, sequence = answer[0][0].partition(b"-")
    return int(epoch), int(sequence)


def _only(symbol: str, answer: Sequence[Any]) -> PriceFeed | None:
    return _price(symbol, answer[0]) if answer else None


def _price(symbol: str, entry: Any) -> PriceFeed | None:
    """Return an entry's price, or None if it cannot be read: its number is missing then, which a follower sees."""
    _, fields = entry
    record = fields[1] if isinstance(fields, list) else fields.get(FIELD.encode())
    try:
        return decode_price(symbol, record)
    except (DamagedRecord, TypeError) as exc:
        _log.warning("a streamed price cannot be read", symbol=symbol, reason=str(exc))
        return None
