"""Replay a recorded order book: its best bid and offer as quotes, its trades with their volume."""

from pathlib import Path

import numpy as np

from fauxchange.domain.instruments import Instrument
from fauxchange.platform.recorded_books import Progress, RecordedBook, read_recorded_book
from fauxchange.services.market_data.clients.layouts import RecordingKind, symbol_of
from fauxchange.services.market_data.clients.recordings import SILENCE_NS, Recording
from fauxchange.services.market_data.core.batches import NO_LAST, Int64Array


def read_book_recording(
    path: Path,
    *,
    symbol: str | None = None,
    instrument: Instrument | None = None,
    start_ns: int | None = None,
    end_ns: int | None = None,
    progress: Progress | None = None,
) -> Recording:
    """Read and check a recorded stream of raw messages; keep what was received in `start_ns <= t < end_ns`.

    Raises: ConfigurationError naming file and line of what is wrong
    """
    name = instrument.symbol if instrument is not None else symbol or symbol_of(path)
    book = read_recorded_book(
        path, symbol=name, instrument=instrument, start_ns=start_ns, end_ns=end_ns, progress=progress
    )
    rows = price_rows(book)
    rows.setflags(write=False)
    steps_ns = np.diff(rows[:, 0])
    silences_ns = steps_ns[steps_ns > SILENCE_NS]
    return Recording(
        path=path,
        kind=RecordingKind.BOOK,
        instrument=book.instrument,
        rows=rows,
        step_ns=max(1, int(np.median(steps_ns))) if len(steps_ns) else 1,
        gaps=book.gaps + len(silences_ns),
        missing_bars=0,
        longest_gap_ns=int(steps_ns.max(initial=0)),
        duplicates=0,
        rounded=0,
        widened=0,
        fingerprint=book.fingerprint,
        book=book,
    )


def price_rows(book: RecordedBook) -> Int64Array:
    """Return a row for each update and each trade of a book, in their order; what came at one time, updates first.

    Shapes: (n, 5), int64: time, bid, ask, the price of a trade or NO_LAST, its lots
    """
    trades = book.trades[(book.trades[:, 0] >= book.first_ns) & (book.trades[:, 0] <= book.last_ns)]
    standing = book.best[np.searchsorted(book.ts_ns, trades[:, 0], side="right") - 1]
    nothing = np.zeros_like(book.ts_ns)
    updates = np.column_stack((book.ts_ns, book.best[:, 0], book.best[:, 2], nothing + NO_LAST, nothing))
    traded = np.column_stack((trades[:, 0], standing[:, 0], standing[:, 2], trades[:, 1], trades[:, 2]))
    rows = np.concatenate((updates, traded))
    ordered: Int64Array = rows[np.argsort(rows[:, 0], kind="stable")]
    return ordered
