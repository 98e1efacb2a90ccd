"""The books of recordings that are replayed in the same process, as the house's port wants them."""

from collections.abc import Callable, Mapping

from fauxchange.domain.instruments import Instrument
from fauxchange.platform.recorded_books import BookCursor, RecordedBook
from fauxchange.services.exchange.ports import BookLevels

RecordedTime = Callable[[int], int]
"""Return the recorded time that falls on a moment of venue time."""


class ReplayedBooks:
    """Recorded books by symbol, each with its place in venue time: that of the feed, so that both go in step."""

    def __init__(self, books: Mapping[str, tuple[RecordedBook, RecordedTime]]) -> None:
        self._books = {symbol: _Replayed(book, recorded_ns) for symbol, (book, recorded_ns) in books.items()}

    def has(self, symbol: str) -> bool:
        """Say whether a symbol's feed replays a recorded book."""
        return symbol in self._books

    def levels(self, symbol: str, ts_ns: int, count: int) -> BookLevels:
        """Return at most `count` levels of each side as they were recorded for this moment of venue time."""
        return self._books[symbol].levels(ts_ns, count)


class _Replayed:
    """One book. Moments are asked for in rising order; a loop begins it again."""

    def __init__(self, book: RecordedBook, recorded_ns: RecordedTime) -> None:
        self._instrument: Instrument = book.instrument
        self._cursor = BookCursor(book)
        self._recorded_ns = recorded_ns

    def levels(self, ts_ns: int, count: int) -> BookLevels:
        self._cursor.go_to(self._recorded_ns(ts_ns))
        return BookLevels(self._instrument, self._cursor.bids.top(count), self._cursor.asks.top(count))
