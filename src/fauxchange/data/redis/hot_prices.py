"""The newest prices of each symbol in Redis, in front of the store that keeps them all.

Rules of this module:

* The store decides: a price is written there first, and into Redis when it is stored. What Redis answers is what the
  store would answer; where that is not certain, the store is asked.
* A symbol's prices are a sorted set whose members sort by (ts_ns, epoch, sequence). They are bounded in number and age.
* Beside them stands a claim: `all` says that every price of the symbol is here, `window` that every price is here from
  the oldest one on. Taking away the oldest keeps the latter true. No claim, no answer.
* A claim lives for a few seconds unless it is renewed, and can only be renewed, never made, by a write. It is made when
  the prices are read from the store anew, under the one who writes them. So it ends by itself if the writer loses
  Redis, and it is gone if Redis comes back empty. While the writer cannot reach a Redis that others still reach, they
  may miss prices for as long as a claim lives.
* One process writes a symbol. Any number may read.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from fauxchange.data.ports import MAX_PAGE, Page, PriceFeedQuery, PriceFeedRepository
from fauxchange.data.queries import MAX_INT64, MIN_INT64, Position, Span, position_of, price_span
from fauxchange.data.redis.metrics import RedisMetrics
from fauxchange.data.redis.names import claim_key, hot_key
from fauxchange.data.redis.prices import POSITION_BYTES, DamagedRecord, decode_price, encode_position, encode_price
from fauxchange.data.redis.server import Command, RedisServer
from fauxchange.domain.errors import Conflict, InvalidRequest, Unavailable
from fauxchange.domain.market_data import PriceFeed
from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.platform.logging import get_logger

_log = get_logger(__name__)

HOT_ROWS = 5_000
HOT_AGE_NS = 60 * NS_PER_MINUTE
CLAIM_MS = 5_000
UNUSED_MS = 86_400_000
"""When prices that nobody writes any more are forgotten."""
ALL, WINDOW = b"all", b"window"
_ADD_ROWS = 1_000
_BEFORE_ALL = (MIN_INT64, MIN_INT64, MIN_INT64)
_BEHIND_ALL = (MAX_INT64, MAX_INT64, MAX_INT64)
_position = position_of("ts_ns", "epoch", "sequence")


@dataclass(slots=True)
class _Window:
    """What its writer knows of a symbol's prices in Redis; `rows` and `oldest_ns` err on the side of too many."""

    rows: int
    oldest_ns: int
    newest_ns: int
    is_all: bool


class HotPrices:
    """Price history that is answered from Redis where it can be.

    Units: age_ns in nanoseconds of venue time, behind the newest price of a symbol
    """

    def __init__(
        self,
        inner: PriceFeedRepository,
        server: RedisServer,
        *,
        metrics: RedisMetrics,
        rows: int = HOT_ROWS,
        age_ns: int = HOT_AGE_NS,
    ) -> None:
        self._inner = inner
        self._server = server
        self._metrics = metrics
        self._rows = min(rows, MAX_PAGE)
        self._age_ns = age_ns
        self._windows: dict[str, _Window] = {}
        self._doubted: set[str] = set()
        """Symbols that this process has written, and whose prices in Redis may lack some."""
        self._withdrawn: set[str] = set()
        """Symbols whose claims are still to be removed."""
        self._losses = 0
        self._writing = asyncio.Lock()
        self.problem: str | None = None
        """Why questions go to the store, or None if they do not."""
        server.on_loss(self.forget)

    async def create(self, feed: PriceFeed) -> None:
        """Store one price. Raises: Conflict, Unavailable as the store."""
        await self.create_many((feed,))

    async def create_many(self, feeds: Sequence[PriceFeed]) -> None:
        """Store many prices at once, all or none. Raises: Conflict, Unavailable as the store."""
        by_symbol: dict[str, list[PriceFeed]] = {}
        for feed in feeds:
            by_symbol.setdefault(feed.symbol, []).append(feed)
        try:
            await self._inner.create_many(feeds)
        except (Conflict, InvalidRequest):
            raise
        except BaseException:
            # Nobody knows whether they are stored: only the store can tell from now on.
            self._doubt(by_symbol)
            raise
        try:
            async with self._writing:
                await self._add(by_symbol)
        except Unavailable as exc:
            # They are stored, and that is what counts.
            self._doubt(by_symbol)
            self.problem = exc.message
        except BaseException:
            self._doubt(by_symbol)
            raise

    async def latest(self, symbol: str) -> PriceFeed | None:
        """Return the newest price of a symbol."""
        newest = Span("", _BEFORE_ALL, _BEHIND_ALL, 1, newest_first=True)
        found = await self._read(symbol, newest, enough=1)
        if found is not None:
            return found[0] if found else None
        return await self._inner.latest(symbol)

    async def history(self, query: PriceFeedQuery) -> Page[PriceFeed]:
        """Return a page of a symbol's prices."""
        span = price_span(query)
        found = await self._read(query.symbol, span, enough=span.limit + 1)
        return span.page(found, _position) if found is not None else await self._inner.history(query)

    async def delete_before(self, ts_ns: int) -> int:
        """Delete prices older than `ts_ns`; return how many the store had."""
        try:
            deleted = await self._inner.delete_before(ts_ns)
            await self._cut(ts_ns)
        except BaseException:
            self.forget()
            raise
        return deleted

    def forget(self) -> None:
        """Claim nothing more until the prices have been read from the store anew."""
        self._losses += 1
        self._doubt(list(self._windows))

    async def renew(self) -> None:
        """Let the claims of this process live on; to be called several times within `CLAIM_MS`."""
        async with self._writing:
            symbols = list(self._windows)
            withdrawn = list(self._withdrawn)
            commands: list[Command] = [("UNLINK", claim_key(symbol)) for symbol in withdrawn]
            commands += [("PEXPIRE", claim_key(symbol), CLAIM_MS) for symbol in symbols]
            if not commands:
                return
            try:
                answers = await self._server.batch(commands)
            except Unavailable as exc:
                self.problem = exc.message
                return
            self.problem = None
            self._withdrawn.difference_update(withdrawn)
            renewed = answers[len(withdrawn) :]
            self._doubt([symbol for symbol, known in zip(symbols, renewed, strict=True) if not known])

    def _doubt(self, symbols: Sequence[str] | dict[str, list[PriceFeed]]) -> None:
        for symbol in symbols:
            self._windows.pop(symbol, None)
            self._doubted.add(symbol)
            self._withdrawn.add(symbol)

    async def _cut(self, ts_ns: int) -> None:
        below = b"(" + encode_position((max(MIN_INT64, min(ts_ns, MAX_INT64)), MIN_INT64, MIN_INT64))
        async with self._writing:
            commands: list[Command] = [("ZREMRANGEBYLEX", hot_key(symbol), "-", below) for symbol in self._windows]
            if not commands:
                return
            try:
                await self._server.batch(commands)
            except Unavailable as exc:
                self.forget()
                self.problem = exc.message

    async def _add(self, by_symbol: dict[str, list[PriceFeed]]) -> None:
        """Write stored prices into Redis. Raises: Unavailable."""
        if self._server.problem is not None:
            self._doubt(by_symbol)
            self.problem = self._server.problem
            return
        commands: list[Command] = []
        claims: dict[int, str] = {}
        for symbol, feeds in by_symbol.items():
            window = self._windows.get(symbol)
            if window is None:
                await self._load(symbol, max(map(_position, feeds)))
                continue
            self._grow(window, feeds)
            # A claim is renewed before the oldest prices go, so that it is never wider than what is there.
            claims[len(commands)] = symbol
            commands.append(_claim(symbol, window, "XX"))
            commands += _additions(symbol, [encode_price(feed) for feed in feeds])
            commands += self._trimming(symbol, window)
        if commands:
            # Each symbol is brought up to date at once; a pipeline of all of them is one round trip.
            answers = await self._server.batch(commands, atomic=True)
            self._doubt([symbol for index, symbol in claims.items() if not answers[index]])
        self.problem = None

    async def _load(self, symbol: str, stored: Position) -> None:
        """Put the store's newest prices into Redis and claim them. Raises: Unavailable."""
        losses = self._losses
        page = await self._inner.history(PriceFeedQuery(symbol=symbol, limit=self._rows, newest_first=True))
        feeds = page.items
        if stored not in map(_position, feeds):
            # The store has accepted more than it shows yet (or these are older than all that is hot).
            return
        newest_ns = feeds[0].ts_ns
        kept = [feed for feed in feeds if feed.ts_ns > newest_ns - self._age_ns]
        is_all = page.next_cursor is None and len(kept) == len(feeds)
        window = _Window(rows=len(kept), oldest_ns=kept[-1].ts_ns, newest_ns=newest_ns, is_all=is_all)
        await self._server.batch(
            [
                ("UNLINK", hot_key(symbol), claim_key(symbol)),
                *_additions(symbol, [encode_price(feed) for feed in kept]),
                ("PEXPIRE", hot_key(symbol), UNUSED_MS),
                _claim(symbol, window),
            ],
            atomic=True,
        )
        if losses == self._losses:
            self._windows[symbol] = window
            self._doubted.discard(symbol)
            self._withdrawn.discard(symbol)

    def _grow(self, window: _Window, feeds: Sequence[PriceFeed]) -> None:
        times = [feed.ts_ns for feed in feeds]
        window.rows += len(feeds)
        window.oldest_ns = min(window.oldest_ns, *times)
        window.newest_ns = max(window.newest_ns, *times)
        if window.rows > self._rows or window.oldest_ns <= window.newest_ns - self._age_ns:
            window.is_all = False

    def _trimming(self, symbol: str, window: _Window) -> list[Command]:
        commands: list[Command] = [("PEXPIRE", hot_key(symbol), UNUSED_MS)]
        if not window.is_all:
            cutoff_ns = max(MIN_INT64, window.newest_ns - self._age_ns)
            too_old = b"(" + encode_position((cutoff_ns, MAX_INT64, MAX_INT64)) + b"\xff"
            commands.append(("ZREMRANGEBYRANK", hot_key(symbol), 0, -self._rows - 1))
            commands.append(("ZREMRANGEBYLEX", hot_key(symbol), "-", too_old))
            window.rows = min(window.rows, self._rows)
            window.oldest_ns = max(window.oldest_ns, cutoff_ns)
        return commands

    async def _read(self, symbol: str, span: Span, *, enough: int) -> list[PriceFeed] | None:
        """Return the first `limit + 1` prices of a span, or None if only the store can tell."""
        if self._server.problem is not None or symbol in self._doubted:
            self._metrics.hot_read(is_hot=False)
            return None
        try:
            claim, oldest, members = await self._server.batch(
                [
                    ("GET", claim_key(symbol)),
                    ("ZRANGEBYLEX", hot_key(symbol), "-", "+", "LIMIT", 0, 1),
                    _question(symbol, span),
                ],
                atomic=True,
            )
            found = None
            if symbol not in self._doubted and _is_whole(claim, oldest, members, span, enough):
                found = [decode_price(symbol, member) for member in members]
            self.problem = None
        except (Unavailable, DamagedRecord) as exc:
            self.problem = str(exc)
            found = None
        self._metrics.hot_read(is_hot=found is not None)
        return found


def _is_whole(claim: bytes | None, oldest: Sequence[bytes], members: Sequence[bytes], span: Span, enough: int) -> bool:
    """Return whether the members are all that the store has of the span, up to as many as were asked for."""
    if claim == ALL:
        return True
    if claim != WINDOW or not oldest:
        return False
    within = encode_position(span.low) >= oldest[0][:POSITION_BYTES]
    return within or (span.newest_first and len(members) >= enough)


def _question(symbol: str, span: Span) -> Command:
    # A member begins with its position: behind the position of `low` and whatever follows it, before that of `high`.
    low = b"(" + encode_position(span.low) + b"\xff"
    high = b"(" + encode_position(span.high)
    limit = ("LIMIT", 0, span.limit + 1)
    if span.newest_first:
        return ("ZREVRANGEBYLEX", hot_key(symbol), high, low, *limit)
    return ("ZRANGEBYLEX", hot_key(symbol), low, high, *limit)


def _claim(symbol: str, window: _Window, *condition: str) -> Command:
    return ("SET", claim_key(symbol), ALL if window.is_all else WINDOW, "PX", CLAIM_MS, *condition)


def _additions(symbol: str, members: Sequence[bytes]) -> list[Command]:
    commands: list[Command] = []
    for start in range(0, len(members), _ADD_ROWS):
        pairs: list[bytes] = []
        for member in members[start : start + _ADD_ROWS]:
            pairs += (b"0", member)
        commands.append(("ZADD", hot_key(symbol), *pairs))
    return commands
