"""Replay recorded prices in venue time.

The recorded times are shifted as a whole, so that the first row falls on the moment at which the source is opened; a
virtual clock that starts at `first_time_ns` of the recordings therefore repeats the recorded times themselves. Bars are
shifted by whole bars, so that the venue's candles are those of the file, and the first is joined where it stands.
Speed is the clock's affair: the source only says when its rows are due.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from fauxchange.domain.instruments import Instrument
from fauxchange.domain.market_data import FeedSource, Metadata
from fauxchange.services.market_data.clients.bridges import CORNERS, BarTicks, CornerTicks
from fauxchange.services.market_data.clients.layouts import RecordingKind
from fauxchange.services.market_data.clients.recordings import Recording
from fauxchange.services.market_data.clients.stepping import Rows, next_steps
from fauxchange.services.market_data.core.batches import NO_LAST, SPREAD_BY_POLICY, Int64Array, PriceBatch

_EARLIER_TICKS: Metadata = {"per_bar": CORNERS, "name": CornerTicks.name}
"""What bars were shown as by a run whose state does not say so."""


def first_time_ns(recordings: Iterable[Recording]) -> int:
    """Return the earliest recorded time: where a virtual clock starts to repeat the recordings in their own time."""
    return min(recording.first_ns for recording in recordings)


class ReplaySource:
    """Hand on the rows of one recording.

    A quote becomes bid and ask as recorded. A trade becomes a price with a volume, and the spread policy puts bid
    and ask around it. A bar becomes several such prices, as `bar_ticks` makes them: its four corners unless told
    otherwise. A candle made of them is the bar again.

    With `loop` the rows start over when they are through, one median step (one bar) after the last.
    With several recordings, give all the same `anchor_ns`, the recorded time that falls on the opening, and the same
    `grid_ns`, whose whole multiples times are shifted by, to keep them as far apart as they were.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        loop: bool = False,
        anchor_ns: int | None = None,
        grid_ns: int = 1,
        bar_ticks: BarTicks | None = None,
    ) -> None:
        self._recording = recording
        self._loop = loop
        self._anchor_ns = recording.first_ns if anchor_ns is None else anchor_ns
        self._grid_ns = grid_ns
        self._bars = _BarRows(recording, bar_ticks or CornerTicks()) if recording.kind is RecordingKind.BARS else None
        self._total = len(recording.rows) * self._per_recorded
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
        """Let the first row fall on `start_ns`, or less than the grid before: what would have been due is left out.

        A restored source goes on in the time it had, unless that lies in the past: then its next row falls on
        `start_ns`.
        """
        if not self._restored:
            self._shift_ns = (start_ns - self._anchor_ns) // self._grid_ns * self._grid_ns
            self._row = self._row_from(start_ns - self._shift_ns)
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

    def recorded_ns(self, ts_ns: int) -> int:
        """Return the recorded time that falls on a moment of venue time, once the source is open."""
        passed_ns = ts_ns - self._shift_ns - self._recording.first_ns
        return self._recording.first_ns + (passed_ns % self._cycle_ns if self._loop else passed_ns)

    async def close(self) -> None:
        """Do nothing: the file was closed when it had been read."""

    def state(self) -> Metadata | None:
        """Return the position: the next row, how often the file has been through, and how far times are shifted."""
        return {
            "fingerprint": self._recording.fingerprint,
            "row": self._row,
            "ticks": self._ticks,
            "loops": self._loops,
            "shift_ns": self._shift_ns,
        }

    def restore(self, state: Metadata) -> bool:
        """Go on from a position in the same file and span; return False if it is another's or makes no sense.

        Where bars were shown as other ticks, it goes on with the bar after the one that was begun.
        """
        row, loops, shift_ns = (state.get(name) for name in ("row", "loops", "shift_ns"))
        if not (isinstance(row, int) and isinstance(loops, int) and isinstance(shift_ns, int)):
            return False
        ticks = state.get("ticks", dict(_EARLIER_TICKS) if self._bars is not None else None)
        if ticks != self._ticks:
            per_bar = ticks.get("per_bar") if isinstance(ticks, dict) else None
            if self._bars is None or not isinstance(per_bar, int) or per_bar < 1:
                return False
            row = -(-row // per_bar) * self._per_recorded
        if state.get("fingerprint") != self._recording.fingerprint or not 0 <= row <= self._total or loops < 0:
            return False
        self._row, self._loops, self._shift_ns = row, loops, shift_ns
        self._restored = True
        return True

    def report(self) -> Metadata:
        """Return the recording's report, and how far the replay is."""
        ticks = {} if self._bars is None else {"ticks_per_bar": self._per_recorded}
        return {**self._recording.report(), **ticks, "given": self._given, "loops": self._loops}

    def summary(self) -> str:
        """Return the recording in one line."""
        return self._recording.summary()

    @property
    def _cycle_ns(self) -> int:
        """The time from one pass through the file to the next."""
        return self._recording.last_ns - self._recording.first_ns + self._recording.step_ns

    @property
    def _per_recorded(self) -> int:
        """How many rows are given for each recorded one."""
        return 1 if self._bars is None else self._bars.ticks.per_bar

    @property
    def _ticks(self) -> Metadata | None:
        """What the rows of a bar are counted by, None where there are no bars."""
        return None if self._bars is None else {"per_bar": self._bars.ticks.per_bar, "name": self._bars.ticks.name}

    def _row_from(self, recorded_ns: int) -> int:
        """Return the first row that is not before a recorded time."""
        if recorded_ns <= self._recording.first_ns:
            return 0
        times_ns, per_recorded = self._recording.rows[:, 0], self._per_recorded
        if self._bars is None:
            return int(np.searchsorted(times_ns, recorded_ns))
        begun = (int(np.searchsorted(times_ns, recorded_ns, side="right")) - 1) * per_recorded
        return begun + int(np.searchsorted(self._rows(begun, begun + per_recorded).ts_ns, recorded_ns))

    def _rows(self, start: int, stop: int) -> Rows:
        if self._bars is not None:
            return self._bars.part(start, stop)
        return _tick_rows(self._recording.rows[start:stop], self._recording.kind)


class _BarRows:
    """The ticks of all bars of a recording as one sequence of rows; the bars made last are kept."""

    def __init__(self, recording: Recording, ticks: BarTicks) -> None:
        self.ticks = ticks
        self._recorded = recording.rows
        self._step_ns = recording.step_ns
        self._kept: tuple[int, int, Rows] | None = None

    def part(self, start: int, stop: int) -> Rows:
        """Return the rows from `start` up to `stop`."""
        per_bar = self.ticks.per_bar
        first, last = start // per_bar, -(-stop // per_bar)
        kept = self._kept
        if kept is None or not kept[0] <= first <= last <= kept[1]:
            kept = self._kept = first, last, self._made(first, last)
        return kept[2].part(start - kept[0] * per_bar, stop - kept[0] * per_bar)

    def _made(self, first: int, last: int) -> Rows:
        recorded = self._recorded
        opens_ns = np.append(recorded[first : last + 1, 0], recorded[last - 1, 0] + self._step_ns)
        # A bar that overlaps the next one is over when the next one opens, so that time never goes back.
        lengths_ns = np.minimum(np.diff(opens_ns)[: last - first], self._step_ns)
        return self.ticks.rows(recorded[first:last], lengths_ns)


def _tick_rows(recorded: Int64Array, kind: RecordingKind) -> Rows:
    count = len(recorded)
    index = np.zeros(count, dtype=np.int64)
    if kind is RecordingKind.QUOTES:
        bid, ask = recorded[:, 1], recorded[:, 2]
        return Rows(
            recorded[:, 0], index, bid + ask, ask - bid, np.full(count, NO_LAST), np.zeros(count, dtype=np.int64)
        )
    if kind is RecordingKind.BOOK:
        bid, ask = recorded[:, 1], recorded[:, 2]
        return Rows(recorded[:, 0], index, bid + ask, ask - bid, recorded[:, 3], recorded[:, 4])
    price, lots = recorded[:, 1], recorded[:, 2]
    return Rows(recorded[:, 0], index, 2 * price, np.full(count, SPREAD_BY_POLICY), price, lots)
