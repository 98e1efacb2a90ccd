"""Replay recorded prices in venue time.

The recorded times are shifted as a whole, so that the first row falls on the moment at which the source is opened; a
virtual clock that starts at `first_time_ns` of the recordings therefore repeats the recorded times themselves.
Speed is the clock's affair: the source only says when its rows are due.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from fauxchange.domain.instruments import Instrument
from fauxchange.domain.market_data import FeedSource, Metadata
from fauxchange.domain.times import NS_PER_MS
from fauxchange.services.market_data.clients.layouts import RecordingKind
from fauxchange.services.market_data.clients.recordings import Recording
from fauxchange.services.market_data.clients.stepping import Rows, next_steps
from fauxchange.services.market_data.core.batches import NO_LAST, SPREAD_BY_POLICY, Int64Array, PriceBatch

ROWS_PER_BAR = 4


def first_time_ns(recordings: Iterable[Recording]) -> int:
    """Return the earliest recorded time: where a virtual clock starts to repeat the recordings in their own time."""
    return min(recording.first_ns for recording in recordings)


class ReplaySource:
    """Hand on the rows of one recording.

    A quote becomes bid and ask as recorded. A trade becomes a price with a volume, and the spread policy puts bid
    and ask around it. A bar becomes four such prices (open, low, high, close if it closed no lower than it opened,
    else open, high, low, close) at its start, one third, two thirds, and a millisecond before its end, with a
    quarter of the volume each, so that a candle made of them is the bar again.

    With `loop` the rows start over when they are through, one median step (one bar) after the last.
    With several recordings, give all the same `anchor_ns`, the recorded time that falls on the opening, to keep
    them as far apart as they were.
    """

    def __init__(self, recording: Recording, *, loop: bool = False, anchor_ns: int | None = None) -> None:
        self._recording = recording
        self._loop = loop
        self._anchor_ns = recording.first_ns if anchor_ns is None else anchor_ns
        self._is_bars = recording.kind is RecordingKind.BARS
        self._total = len(recording.rows) * (ROWS_PER_BAR if self._is_bars else 1)
        self._row = 0
        self._loops = 0
        self._given = 0
        self._shift_ns = 0
        self._restored = False

    @property
    def recording(self) -> Recording:
        """The recording that is replayed."""
        return self._recording

    @property
    def kind(self) -> FeedSource:
        """Recorded prices."""
        return FeedSource.REPLAY

    @property
    def instruments(self) -> Sequence[Instrument]:
        """The one instrument of the recording."""
        return (self._recording.instrument,)

    async def open(self, start_ns: int) -> None:
        """Let the first row fall on `start_ns`.

        A restored source goes on in the time it had, unless that lies in the past: then its next row falls on
        `start_ns`.
        """
        if not self._restored:
            self._shift_ns = start_ns - self._anchor_ns
            return
        if self._row < self._total or self._loop:
            row, loops = (self._row, self._loops) if self._row < self._total else (0, self._loops + 1)
            due_ns = int(self._rows(row, row + 1).ts_ns[0]) + self._shift_ns + loops * self._cycle_ns
            self._shift_ns += max(0, start_ns - due_ns)

    async def next(self, max_steps: int) -> PriceBatch | None:
        """Return the rows of the next steps; None after the last row, unless the source loops."""
        if self._row >= self._total:
            if not self._loop:
                return None
            self._row = 0
            self._loops += 1
        rows, count = next_steps(self._rows, self._row, self._total, max_steps)
        self._row += count
        self._given += count
        return rows.batch(count, self._shift_ns + self._loops * self._cycle_ns)

    async def close(self) -> None:
        """Do nothing: the file was closed when it had been read."""

    def state(self) -> Metadata | None:
        """Return the position: the next row, how often the file has been through, and how far times are shifted."""
        return {
            "fingerprint": self._recording.fingerprint,
            "row": self._row,
            "loops": self._loops,
            "shift_ns": self._shift_ns,
        }

    def restore(self, state: Metadata) -> bool:
        """Go on from a position in the same file and span; return False if it is another's or makes no sense."""
        row, loops, shift_ns = (state.get(name) for name in ("row", "loops", "shift_ns"))
        if not (isinstance(row, int) and isinstance(loops, int) and isinstance(shift_ns, int)):
            return False
        if state.get("fingerprint") != self._recording.fingerprint or not 0 <= row <= self._total or loops < 0:
            return False
        self._row, self._loops, self._shift_ns = row, loops, shift_ns
        self._restored = True
        return True

    def report(self) -> Metadata:
        """Return the recording's report, and how far the replay is."""
        return {**self._recording.report(), "given": self._given, "loops": self._loops}

    def summary(self) -> str:
        """Return the recording in one line."""
        return self._recording.summary()

    @property
    def _cycle_ns(self) -> int:
        """The time from one pass through the file to the next."""
        return self._recording.last_ns - self._recording.first_ns + self._recording.step_ns

    def _rows(self, start: int, stop: int) -> Rows:
        recorded = self._recording.rows
        if not self._is_bars:
            return _tick_rows(recorded[start:stop], self._recording.kind)
        first, last = start // ROWS_PER_BAR, -(-stop // ROWS_PER_BAR)
        opens_ns = np.append(recorded[first : last + 1, 0], recorded[last - 1, 0] + self._recording.step_ns)
        # A bar that overlaps the next one is over when the next one opens, so that time never goes back.
        lengths_ns = np.minimum(np.diff(opens_ns)[: last - first], self._recording.step_ns)
        return _bar_rows(
            recorded[first:last], lengths_ns, slice(start - first * ROWS_PER_BAR, stop - first * ROWS_PER_BAR)
        )


def _tick_rows(recorded: Int64Array, kind: RecordingKind) -> Rows:
    count = len(recorded)
    index = np.zeros(count, dtype=np.int64)
    if kind is RecordingKind.QUOTES:
        bid, ask = recorded[:, 1], recorded[:, 2]
        return Rows(
            recorded[:, 0], index, bid + ask, ask - bid, np.full(count, NO_LAST), np.zeros(count, dtype=np.int64)
        )
    price, lots = recorded[:, 1], recorded[:, 2]
    return Rows(recorded[:, 0], index, 2 * price, np.full(count, SPREAD_BY_POLICY), price, lots)


def _bar_rows(bars: Int64Array, lengths_ns: Int64Array, part: slice) -> Rows:
    """Return the given part of the bars' rows, four of each."""
    opens_ns, opened, high, low, close, lots = bars.T
    rises = close >= opened
    thirds_ns = lengths_ns // 3
    last_ns = np.maximum(2 * thirds_ns, lengths_ns - NS_PER_MS)
    times_ns = opens_ns[:, None] + np.column_stack((np.zeros_like(thirds_ns), thirds_ns, 2 * thirds_ns, last_ns))
    prices = np.column_stack((opened, np.where(rises, low, high), np.where(rises, high, low), close)).ravel()[part]
    quarter = lots // ROWS_PER_BAR
    volumes = np.column_stack((quarter, quarter, quarter, lots - 3 * quarter))
    count = len(prices)
    return Rows(
        ts_ns=times_ns.ravel()[part],
        symbol_index=np.zeros(count, dtype=np.int64),
        mid_half_ticks=2 * prices,
        spread_ticks=np.full(count, SPREAD_BY_POLICY),
        last_ticks=prices,
        volume_lots=volumes.ravel()[part],
    )
