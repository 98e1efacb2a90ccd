"""Read a recorded order book: the raw messages of an exchange's stream, one line each, joined into one book.

A line is the receiver's time in nanoseconds, a blank, and the exchange's JSON message (Binance's shapes): a snapshot of
the book, differences of its depth, best bid and offer, trades. The rules of joining them:

* A difference counts from the first one that reaches beyond the snapshot's update id; each must follow on the one
  before it. After one that does not, the book is unknown until the next snapshot, and nothing is told of it.
* Best bid and offer come at once, differences a tenth of a second late. So the newest best bid and offer lie over the
  depth until a difference with a later update id has come.
* The grids are the finest decimals of best bid, best offer and trades (prices: of all levels). Quantities deeper in the
  book that are finer are rounded down, to one lot at least.
* Messages of other kinds are counted and left out. A line that is no message refuses the file, by its number.

Both sides of the product read the same book here: market data its best bid and offer, the exchange its levels.
"""

import gzip
import hashlib
import json
import zlib
from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from fauxchange.domain.errors import ConfigurationError
from fauxchange.domain.instruments import Grid, Instrument
from fauxchange.domain.times import NS_PER_S, format_duration, format_time

Int64Array = NDArray[np.int64]
Progress = Callable[[int, int], None]
"""Told bytes read and bytes in all, now and then, while a file is read."""

BID: Final = 0
ASK: Final = 1
SNAPSHOT: Final = 0
DEPTH: Final = 1
BEST: Final = 2
"""What an update of the book came from."""

DECIMALS: Final = 8
"""The most decimals of a price or quantity in a message."""
MAX_LINE_BYTES: Final = 1 << 24
GZIP: Final = b"\x1f\x8b"
REPORT_EVERY: Final = 4_096


class Levels:
    """One side of a book: lots by price, with its prices in order. Units: ticks and lots, or any whole numbers."""

    __slots__ = ("_lots", "_prices", "_side")

    def __init__(self, side: int) -> None:
        self._side = side
        self._lots: dict[int, int] = {}
        self._prices: list[int] = []

    def __len__(self) -> int:
        return len(self._prices)

    def set(self, price: int, lots: int) -> None:
        """Let a level have so many lots; none removes it."""
        known = price in self._lots
        if lots:
            if not known:
                insort(self._prices, price)
            self._lots[price] = lots
        elif known:
            del self._lots[price]
            del self._prices[bisect_left(self._prices, price)]

    def lots_at(self, price: int) -> int:
        """Return the lots at a price."""
        return self._lots.get(price, 0)

    def best(self) -> int | None:
        """Return the best price, None where there is none."""
        if not self._prices:
            return None
        return self._prices[-1] if self._side == BID else self._prices[0]

    def top(self, count: int) -> list[tuple[int, int]]:
        """Return the best levels, the best first."""
        prices = self._prices[: -count - 1 : -1] if self._side == BID else self._prices[:count]
        return [(price, self._lots[price]) for price in prices]

    def better_than(self, price: int) -> list[int]:
        """Return the prices that are better than `price`."""
        at = bisect_left(self._prices, price)
        if self._side == ASK:
            return self._prices[:at]
        return self._prices[at + (at < len(self._prices) and self._prices[at] == price) :]

    def between(self, low: float, high: float) -> list[tuple[int, int]]:
        """Return price and lots of the levels from `low` to `high`, lowest first."""
        prices = self._prices[bisect_left(self._prices, low) : bisect_right(self._prices, high)]
        return [(price, self._lots[price]) for price in prices]

    def prices(self) -> Sequence[int]:
        """Return all prices, lowest first."""
        return self._prices


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedBook:
    """A recorded book in ticks and lots: what it was at first, and every change since.

    Update i changes the levels `offsets[i] .. offsets[i + 1]`; the first one builds the book from nothing. Best bid
    and offer are those after it.

    Shapes: per update (n,), offsets (n + 1,), per change (m,), trades (k, 5)
    Units:  times in nanoseconds since 1970, as received; prices in ticks, quantities in lots; lots 0: the level is gone
    """

    path: Path
    instrument: Instrument
    ts_ns: Int64Array = field(repr=False)
    source: NDArray[np.int8] = field(repr=False)
    offsets: Int64Array = field(repr=False)
    side: NDArray[np.int8] = field(repr=False)
    ticks: Int64Array = field(repr=False)
    lots: Int64Array = field(repr=False)
    best: Int64Array = field(repr=False)
    """Bid, its lots, ask, its lots after each update: (n, 4)."""
    trades: Int64Array = field(repr=False)
    """Time, ticks, lots, 1 if a buyer took and -1 if a seller, and the exchange's own time of each print."""
    gaps: int
    """Places at which differences were missing."""
    ignored: int
    """Messages of kinds that a book does not need."""
    fingerprint: str

    @property
    def first_ns(self) -> int:
        """When the book is known first."""
        return int(self.ts_ns[0])

    @property
    def last_ns(self) -> int:
        """When the last update came."""
        return int(self.ts_ns[-1])

    def report(self) -> dict[str, Any]:
        """Return what an operator may want to know about the recording."""
        return {
            "file": str(self.path),
            "kind": "book",
            "symbol": self.instrument.symbol,
            "tick_size": f"{self.instrument.tick_size:f}",
            "lot_size": f"{self.instrument.lot_size:f}",
            "rows": len(self.ts_ns),
            "trades": len(self.trades),
            "first": format_time(self.first_ns),
            "last": format_time(self.last_ns),
            "span": format_duration(self.last_ns - self.first_ns),
            "gaps": self.gaps,
            "ignored_messages": self.ignored,
        }

    def summary(self) -> str:
        """Return the report in one line."""
        whole_s = (self.last_ns - self.first_ns) // NS_PER_S * NS_PER_S
        return (
            f"{self.path.name}: order book of {self.instrument.symbol}, {len(self.ts_ns):,} updates and "
            f"{len(self.trades):,} trades over {format_duration(whole_s)} from {format_time(self.first_ns)}, "
            f"{self.gaps} gaps"
        )

    def part(self, start_ns: int | None, end_ns: int | None) -> "RecordedBook":
        """Return the updates in `start_ns <= t < end_ns`; the first of them builds the book as it was then.

        Raises: ConfigurationError if there are none
        """
        first = 0 if start_ns is None else int(np.searchsorted(self.ts_ns, start_ns))
        end = len(self.ts_ns) if end_ns is None else int(np.searchsorted(self.ts_ns, end_ns))
        if first >= end:
            span = f"{format_time(self.first_ns)} to {format_time(self.last_ns)}"
            _refuse(self.path, f"has nothing in the time that was asked for; it holds {span}")
        cursor = BookCursor(self)
        cursor.go_to_update(first)
        built = [
            (side, price, levels.lots_at(price))
            for side, levels in ((BID, cursor.bids), (ASK, cursor.asks))
            for price in levels.prices()
        ]
        sides, ticks, lots = np.array(built, dtype=np.int64).T
        behind = slice(int(self.offsets[first + 1]), int(self.offsets[end]))
        offsets = self.offsets[first + 1 : end + 1] - self.offsets[first + 1] + len(built)
        from_ns, until_ns = int(self.ts_ns[first]), int(self.ts_ns[end - 1])
        taken = (self.trades[:, 0] >= from_ns) & (self.trades[:, 0] <= until_ns)
        digest = hashlib.sha256(f"{self.fingerprint}:{start_ns}:{end_ns}".encode()).hexdigest()
        return replace(
            self,
            ts_ns=self.ts_ns[first:end],
            source=self.source[first:end],
            offsets=np.concatenate(([0], offsets)),
            side=np.concatenate((sides.astype(np.int8), self.side[behind])),
            ticks=np.concatenate((ticks, self.ticks[behind])),
            lots=np.concatenate((lots, self.lots[behind])),
            best=self.best[first:end],
            trades=self.trades[taken],
            fingerprint=self.fingerprint if start_ns is None and end_ns is None else digest,
        )


class BookCursor:
    """The levels of a recorded book at a moment that moves on, or begins again."""

    def __init__(self, book: RecordedBook) -> None:
        self._book = book
        self._done = 0
        self.bids = Levels(BID)
        self.asks = Levels(ASK)

    @property
    def update(self) -> int:
        """The newest update that was taken in, -1 before the first."""
        return self._done - 1

    def go_to(self, recorded_ns: int) -> None:
        """Show the book as it was after all updates received until `recorded_ns`."""
        self.go_to_update(int(np.searchsorted(self._book.ts_ns, recorded_ns, side="right")) - 1)

    def go_to_update(self, update: int) -> None:
        """Show the book as it was after an update, counted from 0; -1 is the empty book before the first."""
        if update + 1 < self._done:
            self._done, self.bids, self.asks = 0, Levels(BID), Levels(ASK)
        book = self._book
        part = slice(int(book.offsets[self._done]), int(book.offsets[update + 1]))
        changes = zip(book.side[part].tolist(), book.ticks[part].tolist(), book.lots[part].tolist(), strict=True)
        for side, ticks, lots in changes:
            (self.bids if side == BID else self.asks).set(ticks, lots)
        self._done = update + 1


def is_recorded_book(path: Path) -> bool:
    """Say whether a file looks like a recorded stream of raw messages; one that cannot be read does not."""
    try:
        with path.open("rb") as raw:
            start = _open(raw).read(256)
    except (OSError, EOFError, zlib.error):
        return False
    time, _, message = start.lstrip().partition(b" ")
    return time.isdigit() and message.lstrip().startswith(b"{")


def read_recorded_book(
    path: Path,
    *,
    symbol: str,
    instrument: Instrument | None = None,
    start_ns: int | None = None,
    end_ns: int | None = None,
    progress: Progress | None = None,
) -> RecordedBook:
    """Read and check all of a file; keep the updates received in `start_ns <= t < end_ns`.

    The grids are the finest decimals found in the file, or those of `instrument` where they are finer.

    Raises: ConfigurationError naming file and line of what is wrong
    """
    joining = _Joining(path)
    for line, data in enumerate(_lines(path, progress), 1):
        joining.take(line, data)
    book = joining.finish(symbol, instrument)
    return book if start_ns is None and end_ns is None else book.part(start_ns, end_ns)


def _refuse(path: Path, reason: str, *, line: int | None = None) -> NoReturn:
    place = {} if line is None else {"place": f"line {line}"}
    where = "" if line is None else f", line {line}"
    raise ConfigurationError(f"{path}{where}: {reason}", code="bad_recording", details={"file": str(path)} | place)


def _open(raw: BinaryIO) -> BinaryIO:
    packed = raw.read(2) == GZIP
    raw.seek(0)
    return cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if packed else raw


def _lines(path: Path, progress: Progress | None) -> Iterator[bytes]:
    """Yield the lines of a file, telling how far the reading is."""
    try:
        with path.open("rb") as raw:
            size = path.stat().st_size
            file = _open(raw)
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), 1):
                if len(line) >= MAX_LINE_BYTES:
                    _refuse(path, f"is longer than {MAX_LINE_BYTES} bytes; this is no stream of messages", line=number)
                if progress is not None and number % REPORT_EVERY == 0:
                    progress(min(raw.tell(), size), size)
                yield line
            if progress is not None:
                progress(size, size)
    except EOFError:
        _refuse(path, "the gzip stream ends too early: the file is truncated; fetch it again")
    except (OSError, zlib.error) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        _refuse(path, f"cannot be read ({reason}); check the path, its permissions, and whether the file is whole")


class _Joining:
    """Join the messages of one file, in their order, into the changes of one book."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._line = 0
        self._now_ns = -1
        self._depth = {BID: Levels(BID), ASK: Levels(ASK)}
        self._over: dict[tuple[int, int], int] = {}
        """What the newest best bid and offer change of the depth."""
        self._newest: tuple[int, int, int, int, int] | None = None
        """Update id, bid, its quantity, ask, its quantity of the newest best bid and offer."""
        self._id: int | None = None
        """The last update id of the depth, None while the book is unknown."""
        self._waiting: list[tuple[int, int, Any]] = []
        """Differences that came before their snapshot."""
        self._times, self._sources, self._offsets = array("q"), array("b"), array("q", [0])
        self._sides, self._prices, self._quantities = array("b"), array("q"), array("q")
        self._best = array("q")
        self._trades = array("q")
        self.gaps = 0
        self.ignored = 0

    def take(self, line: int, data: bytes) -> None:
        """Take one line. Raises: ConfigurationError naming it if it is no message, or contradicts others."""
        if not data.strip():
            return
        self._line = line
        time, _, text = data.strip().partition(b" ")
        if not time.isdigit() or len(time) > 19:
            self._bad("does not begin with a time in nanoseconds; a line is that time, a blank, and a JSON message")
        if int(time) < self._now_ns:
            self._bad("its time lies before the one of the line before; sort the file by the time of receipt")
        self._now_ns = int(time)
        try:
            message = json.loads(text)
            message = message.get("data", message)
            self._message(message)
        except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError) as exc:
            self._bad(f"is not a message that can be understood ({type(exc).__name__}: {str(exc)[:80]})")

    def _bad(self, reason: str) -> NoReturn:
        _refuse(self._path, reason, line=self._line)

    def _message(self, message: Mapping[str, Any]) -> None:
        kind = message.get("e")
        if "lastUpdateId" in message:
            self._snapshot(message)
        elif kind == "depthUpdate":
            self._difference(message)
        elif kind in ("trade", "aggTrade"):
            self._trade(message)
        elif kind == "bookTicker" or {"u", "b", "B", "a", "A"} <= message.keys():
            self._best_offer(message)
        else:
            self.ignored += 1

    def _snapshot(self, message: Mapping[str, Any]) -> None:
        changed: dict[tuple[int, int], None] = dict.fromkeys(self._over)
        if len(self._times) or self._id is not None:
            changed.update(((side, price), None) for side in (BID, ASK) for price in self._depth[side].prices())
        before = {key: self._shown(*key) for key in changed}
        self._depth = {BID: Levels(BID), ASK: Levels(ASK)}
        for side, name in ((BID, "bids"), (ASK, "asks")):
            for price, quantity in message[name]:
                key = (side, _count(price))
                before.setdefault(key, 0)
                self._depth[side].set(key[1], _count(quantity))
        self._id = int(message["lastUpdateId"])
        self._lay_over(before)
        waiting, self._waiting = self._waiting, []
        for first, last, difference in waiting:
            if last > self._id and first <= self._id + 1:
                self._apply(last, difference, before)
        self._tell(before, SNAPSHOT)

    def _difference(self, message: Mapping[str, Any]) -> None:
        first, last = int(message["U"]), int(message["u"])
        if self._id is None:
            self._waiting.append((first, last, message))
            return
        if last <= self._id:
            return
        # Streams of futures skip ids, and say which update was the one before.
        follows = int(message["pu"]) <= self._id if "pu" in message else first <= self._id + 1
        if not follows:
            self.gaps += 1
            self._id = None
            self._waiting = [(first, last, message)]
            return
        before: dict[tuple[int, int], int] = {}
        self._apply(last, message, before)
        self._tell(before, DEPTH)

    def _apply(self, last: int, message: Mapping[str, Any], before: dict[tuple[int, int], int]) -> None:
        for side, name in ((BID, "b"), (ASK, "a")):
            levels = self._depth[side]
            for text, quantity in message[name]:
                price = _count(text)
                before.setdefault((side, price), self._shown(side, price))
                levels.set(price, _count(quantity))
        self._id = last
        self._lay_over(before)

    def _best_offer(self, message: Mapping[str, Any]) -> None:
        bid, bid_quantity, ask, ask_quantity = (_count(message[name]) for name in ("b", "B", "a", "A"))
        newest = (int(message["u"]), bid, bid_quantity, ask, ask_quantity)
        if newest[1] >= newest[3]:
            self._bad("its bid is not below its ask")
        if self._newest is not None and newest[0] < self._newest[0]:
            return
        self._newest = newest
        if self._id is None or newest[0] <= self._id:
            return
        before: dict[tuple[int, int], int] = {}
        self._lay_over(before)
        self._tell(before, BEST)

    def _lay_over(self, before: dict[tuple[int, int], int]) -> None:
        """Let the newest best bid and offer lie over the depth, if they are newer; note in `before` what was shown."""
        for key in self._over:
            before.setdefault(key, self._shown(*key))
        over: dict[tuple[int, int], int] = {}
        if self._newest is not None and self._id is not None and self._newest[0] > self._id:
            _, bid, bid_quantity, ask, ask_quantity = self._newest
            for side, price, quantity in ((BID, bid, bid_quantity), (ASK, ask, ask_quantity)):
                over.update(((side, better), 0) for better in self._depth[side].better_than(price))
                over[side, price] = quantity
        for key in over:
            before.setdefault(key, self._shown(*key))
        self._over = over

    def _shown(self, side: int, price: int) -> int:
        shown = self._over.get((side, price))
        return self._depth[side].lots_at(price) if shown is None else shown

    def _best_shown(self, side: int) -> tuple[int, int]:
        if self._over and self._newest is not None:
            return self._newest[1:3] if side == BID else self._newest[3:5]
        price = self._depth[side].best()
        if price is None:
            self._bad(f"no {'bid' if side == BID else 'ask'} is left in the book; is this the whole stream?")
        return price, self._depth[side].lots_at(price)

    def _tell(self, before: Mapping[tuple[int, int], int], source: int) -> None:
        """Note one update: what is shown otherwise than before."""
        for (side, price), quantity in before.items():
            shown = self._shown(side, price)
            if shown != quantity:
                self._sides.append(side)
                self._prices.append(price)
                self._quantities.append(shown)
        best = (*self._best_shown(BID), *self._best_shown(ASK))
        if best[0] >= best[2]:
            self._bad("after it the book's best bid is not below its best ask: differences must be missing")
        self._times.append(self._now_ns)
        self._sources.append(source)
        self._offsets.append(len(self._sides))
        self._best.extend(best)

    def _trade(self, message: Mapping[str, Any]) -> None:
        price, quantity = _count(message["p"]), _count(message["q"])
        if price <= 0 or quantity <= 0:
            self._bad("its price or quantity is not positive")
        moment = int(message.get("T", self._now_ns))
        self._trades.extend((self._now_ns, price, quantity, -1 if message["m"] else 1, moment))

    def finish(self, symbol: str, known: Instrument | None) -> RecordedBook:
        """Return the book, on the grids that it needs."""
        if not len(self._times):
            what = "no snapshot that the differences go on from" if self._line else "no line"
            _refuse(self._path, f"has {what}; record the stream together with a snapshot of the book")
        prices, quantities = np.array(self._prices), np.array(self._quantities)
        best = np.array(self._best).reshape(-1, 4)
        trades = np.array(self._trades, dtype=np.int64).reshape(-1, 5)
        tick_size = _grid([prices, trades[:, 1], best[:, 0], best[:, 2]], known.prices if known else None)
        # A few old orders far from the price are finer than what can be traded today: these are rounded down.
        lot_size = _grid([trades[:, 2], best[:, 1], best[:, 3]], known.quantities if known else None)
        priced = Instrument(symbol=symbol, tick_size=tick_size, lot_size=lot_size)
        return RecordedBook(
            path=self._path,
            instrument=priced,
            ts_ns=np.array(self._times),
            source=np.array(self._sources, dtype=np.int8),
            offsets=np.array(self._offsets),
            side=np.array(self._sides, dtype=np.int8),
            ticks=_on(prices, priced.prices),
            lots=np.maximum(_on(quantities, priced.quantities), quantities > 0),
            best=np.column_stack(
                [_on(column, grid) for column, grid in zip(best.T, 2 * (priced.prices, priced.quantities), strict=True)]
            ),
            trades=np.column_stack(
                (
                    trades[:, 0],
                    _on(trades[:, 1], priced.prices),
                    _on(trades[:, 2], priced.quantities),
                    trades[:, 3:],
                )
            ),
            gaps=self.gaps,
            ignored=self.ignored,
            fingerprint=_fingerprint(self._path),
        )


def _count(text: Any) -> int:
    """Return a decimal as a whole number of 10**-DECIMALS. Raises: ValueError, TypeError if it is none or finer."""
    written = str(text)
    if "e" in written.lower():
        # A number that was written as one, not as text.
        written = f"{Decimal(written):.{DECIMALS + 4}f}".rstrip("0")
    whole, _, part = written.partition(".")
    part = part.rstrip("0") if len(part) > DECIMALS else part
    if len(part) > DECIMALS or len(whole) > 10 or not (whole + part).isdigit():
        raise ValueError(f"{str(text)[:40]!r} is no decimal with up to {DECIMALS} decimals")
    return int(whole + part.ljust(DECIMALS, "0"))


def _grid(columns: Sequence[Int64Array], known: Grid | None) -> Decimal:
    """Return the finest decimals of all values, or the known step where those lie on it."""
    decimals = DECIMALS
    while decimals > 0 and all(not (column % 10 ** (DECIMALS - decimals + 1)).any() for column in columns):
        decimals -= 1
    step = Decimal(1).scaleb(-decimals)
    if known is None:
        return step
    return known.step if step % known.step == 0 else Decimal(1).scaleb(-max(decimals, min(known.decimals, DECIMALS)))


def _on(values: Int64Array, grid: Grid) -> Int64Array:
    counted: Int64Array = values * 10 ** max(0, grid.decimals - DECIMALS)
    steps: Int64Array = counted // (grid.units * 10 ** max(0, DECIMALS - grid.decimals))
    return steps


def _fingerprint(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
