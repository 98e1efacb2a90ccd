"""Read a recorded file whole, check every row of it, and keep its prices in exact ticks.

The rules of a good file:

* every cell that is read is a number or a time, every price positive, no quantity negative;
* time never goes back; ticks may share a moment, of bars with one open time the first is kept;
* no bid above its ask, no bar whose high lies below its low, or far from its open and close.

The first row that breaks a rule refuses the file, by name, line and column, before anything starts. Gaps, repeated
bars, rounded quantities, and bars widened a little to take in their open and close, are counted, not refused.
"""

import hashlib
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np

from fauxchange.domain.instruments import Grid, Instrument
from fauxchange.domain.market_data import Metadata
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_S, format_duration, format_time
from fauxchange.platform.recorded_books import RecordedBook
from fauxchange.services.market_data.clients.layouts import RecordingKind, recognise, symbol_of
from fauxchange.services.market_data.clients.row_checks import MAX_QUANTITY_DECIMALS, RowChecker, Scale
from fauxchange.services.market_data.clients.tables import OpenTable, Progress
from fauxchange.services.market_data.core.batches import Int64Array

SILENCE_NS = 10 * NS_PER_S
"""From how long on a silence between two ticks counts as a gap."""

_STEPS_LOOKED_AT = 1_000_000
_BLOCK_ROWS = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A checked recording in ticks and lots.

    Shapes: rows (n, columns), int64: the recorded time, then bid and ask of quotes; price and lots of trades;
            open, high, low, close and lots of bars; bid, ask, price (or NO_LAST) and lots of a book
    Units:  times in nanoseconds since 1970, as recorded; `gaps` counts places, `missing_bars` bars
    """

    path: Path
    kind: RecordingKind
    instrument: Instrument
    rows: Int64Array = field(repr=False)
    step_ns: int
    """The length of a bar; of ticks the median time from one to the next."""
    gaps: int
    missing_bars: int
    longest_gap_ns: int
    duplicates: int
    rounded: int
    widened: int
    fingerprint: str
    book: RecordedBook | None = field(default=None, repr=False)
    """The whole book, where that was recorded."""

    @property
    def first_ns(self) -> int:
        """The recorded time of the first row."""
        return int(self.rows[0, 0])

    @property
    def last_ns(self) -> int:
        """The recorded time of the last row."""
        return int(self.rows[-1, 0])

    def report(self) -> Metadata:
        """Return what an operator may want to know about the recording."""
        return {
            "file": str(self.path),
            "kind": self.kind.value,
            "symbol": self.instrument.symbol,
            "tick_size": f"{self.instrument.tick_size:f}",
            "lot_size": f"{self.instrument.lot_size:f}",
            "rows": len(self.rows),
            "first": format_time(self.first_ns),
            "last": format_time(self.last_ns),
            "span": format_duration(self.last_ns - self.first_ns),
            "gaps": self.gaps,
            "missing_bars": self.missing_bars,
            "longest_gap": format_duration(self.longest_gap_ns),
            "duplicates": self.duplicates,
            "rounded_quantities": self.rounded,
            "widened_bars": self.widened,
        }

    def summary(self) -> str:
        """Return the report in one line."""
        whole_s = (self.last_ns - self.first_ns) // NS_PER_S * NS_PER_S
        gaps = f"{self.gaps} gaps"
        if self.gaps:
            missing = f"{self.missing_bars} bars missing, " if self.kind is RecordingKind.BARS else ""
            gaps += f" ({missing}longest {format_duration(self.longest_gap_ns)})"
        return (
            f"{self.path.name}: {len(self.rows):,} {self.kind.value} of {self.instrument.symbol} "
            f"over {format_duration(whole_s)} from {format_time(self.first_ns)}, {gaps}, "
            f"{self.duplicates} duplicates dropped"
        )


def read_recording(
    path: Path,
    *,
    symbol: str | None = None,
    instrument: Instrument | None = None,
    start_ns: int | None = None,
    end_ns: int | None = None,
    silence_ns: int = SILENCE_NS,
    progress: Progress | None = None,
) -> Recording:
    """Read and check all of a file; keep the rows recorded in `start_ns <= t < end_ns`.

    The symbol is that of `instrument`, else `symbol`, else told by the file's name. The grids are the finest decimals
    found in the file, or those of `instrument` where they are finer. Memory is bounded: rows beyond 64 MiB lie in an
    unnamed temporary file.

    Raises: ConfigurationError naming file, line and column of what is wrong
    """
    name = instrument.symbol if instrument is not None else symbol or symbol_of(path)
    with OpenTable(path, progress) as opened:
        layout = recognise(path, opened.table)
        with closing(RowChecker(path, opened.table, layout, start_ns, end_ns)) as checker:
            for chunk in opened.table.chunks(layout.columns):
                checker.take(chunk)
            rows = checker.finish()
    priced = Instrument(
        symbol=name,
        tick_size=_finer(checker.prices, instrument.prices if instrument else None),
        lot_size=_finer(checker.quantities, instrument.quantities if instrument else None),
    )
    first_quantity = 1 + len(layout.prices)
    _to_grid(rows[:, 1:first_quantity], priced.prices, checker.prices)
    _to_grid(rows[:, first_quantity:], priced.quantities, checker.quantities)
    rows.setflags(write=False)
    step_ns = _step_ns(rows[:_STEPS_LOOKED_AT, 0], layout.kind)
    gaps, missing, longest_ns = _gaps(rows[:, 0], layout.kind, step_ns, silence_ns)
    return Recording(
        path=path,
        kind=layout.kind,
        instrument=priced,
        rows=rows,
        step_ns=step_ns,
        gaps=gaps,
        missing_bars=missing,
        longest_gap_ns=longest_ns,
        duplicates=checker.duplicates,
        rounded=checker.rounded,
        widened=checker.widened,
        fingerprint=_fingerprint(path, start_ns, end_ns),
    )


def _finer(scale: Scale, known: Grid | None) -> Decimal:
    """Return the step on which both the file's values and the steps of a known grid lie."""
    if not scale.seen:
        return known.step if known is not None else Decimal(1).scaleb(-MAX_QUANTITY_DECIMALS)
    step = Decimal(1).scaleb(-scale.decimals)
    if known is None:
        return step
    return known.step if step % known.step == 0 else Decimal(1).scaleb(-max(scale.decimals, known.decimals))


def _to_grid(values: Int64Array, grid: Grid, scale: Scale) -> None:
    """Count the values, which are whole numbers of their segment's decimals, in steps of the grid; in place."""
    scale.check_count(scale.largest * 10 ** (grid.decimals - scale.decimals) // grid.units if scale.seen else 0)
    ends = [start for start, _ in scale.segments[1:]] + [len(values)]
    for (start, decimals), end in zip(scale.segments, ends, strict=True) if scale.seen else ():
        # Whole, because the grid's step divides the finest step of the file, and that divides this segment's.
        factor = 10 ** (grid.decimals - decimals) // grid.units
        for at in range(start, end, _BLOCK_ROWS) if factor != 1 else ():
            values[at : min(at + _BLOCK_ROWS, end)] *= factor


def _step_ns(times_ns: Int64Array, kind: RecordingKind) -> int:
    steps_ns = np.diff(times_ns)
    if kind is not RecordingKind.BARS:
        return max(1, int(np.median(steps_ns))) if len(steps_ns) else 1
    if not len(steps_ns):
        return NS_PER_MINUTE
    lengths, counts = np.unique(steps_ns, return_counts=True)
    return int(lengths[np.argmax(counts)])


def _gaps(times_ns: Int64Array, kind: RecordingKind, step_ns: int, silence_ns: int) -> tuple[int, int, int]:
    """Return places where rows are missing, how many bars, and the longest such time (of ticks: any silence)."""
    gaps = missing_bars = longest_ns = 0
    for start in range(0, len(times_ns) - 1, _BLOCK_ROWS):
        steps_ns = np.diff(times_ns[start : start + _BLOCK_ROWS + 1])
        if kind is RecordingKind.BARS:
            missing = (steps_ns + step_ns // 2) // step_ns - 1
            wide_ns = steps_ns[missing > 0]
            missing_bars += int(missing[missing > 0].sum())
        else:
            wide_ns = steps_ns[steps_ns > silence_ns]
            longest_ns = max(longest_ns, int(steps_ns.max()))
        gaps += len(wide_ns)
        longest_ns = max(longest_ns, int(wide_ns.max(initial=0)))
    return gaps, missing_bars, longest_ns


def _fingerprint(path: Path, start_ns: int | None, end_ns: int | None) -> str:
    """Return a hash of the file's bytes and of the span taken from it."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(f"{start_ns}:{end_ns}".encode())
    return digest.hexdigest()
