"""Check the rows of a recording chunk by chunk, and keep them as integers at the finest scale met so far."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from fauxchange.domain.times import format_time
from fauxchange.services.market_data.clients.cells import (
    BoolArray,
    Numbers,
    parse_numbers,
    parse_times,
    powers_of_ten,
    time_unit,
)
from fauxchange.services.market_data.clients.layouts import Layout, RecordingKind
from fauxchange.services.market_data.clients.stepping import MAX_COUNT
from fauxchange.services.market_data.clients.tables import Chunk, Table, refuse
from fauxchange.services.market_data.core.batches import Int64Array

MAX_PRICE_DECIMALS = 12
MAX_QUANTITY_DECIMALS = 8
"""The minor units of assets; quantities written with more are rounded half-even to this, and counted."""
MAX_ROWS = 100_000_000
MAX_BAR_EXCESS = 100
"""Open and close may lie outside high and low by one part in so many: indices computed from several venues do so."""

_SPILL_BYTES = 64 << 20


@dataclass(slots=True)
class Scale:
    """The common number of decimals of a group of columns, which grows as finer values come."""

    path: Path
    decimals: int = 0
    segments: list[tuple[int, int]] = field(default_factory=list)
    """From which kept row on values are counted with how many decimals."""
    largest: int = 0
    largest_place: str = ""
    largest_column: str = ""

    @property
    def seen(self) -> bool:
        """Whether any value was counted."""
        return bool(self.segments)

    def fit(
        self, numbers: Mapping[str, Numbers], places: Int64Array, place_name: str, kept_rows: int
    ) -> list[Int64Array]:
        """Return the columns as whole numbers of one scale, widened to their finest decimals.

        Raises: ConfigurationError if a value becomes too large to count at that scale
        """
        finest = max((int(column.decimals.max()) for column in numbers.values()), default=0)
        if numbers and (not self.segments or finest > self.decimals):
            self.largest *= 10 ** max(0, finest - self.decimals)
            self.decimals = max(self.decimals, finest)
            self.segments.append((kept_rows, self.decimals))
        result = []
        for name, column in numbers.items():
            powers = powers_of_ten(self.decimals - column.decimals)
            row = int(np.argmax(column.mantissa.astype(np.float64) * powers))
            largest = int(column.mantissa[row]) * int(powers[row])
            if largest > self.largest:
                self.largest, self.largest_place, self.largest_column = largest, f"{place_name} {places[row]}", name
            self.check_count(self.largest)
            result.append(column.mantissa * powers)
        return result

    def check_count(self, count: int) -> None:
        """Refuse the file if its largest value, counted as `count` steps, is beyond what can be counted."""
        if count > MAX_COUNT:
            reason = f"the value is absurdly large beside the {self.decimals} decimals that the file needs"
            refuse(self.path, reason, place=self.largest_place, column=self.largest_column)


class RowChecker:
    """Take a table's chunks in order; refuse the first bad row; keep those recorded in `start_ns <= t < end_ns`."""

    def __init__(self, path: Path, table: Table, layout: Layout, start_ns: int | None, end_ns: int | None) -> None:
        self.prices = Scale(path)
        self.quantities = Scale(path)
        self.duplicates = 0
        self.rounded = 0
        self.widened = 0
        self._path = path
        self._layout = layout
        self._place_name = table.place_name
        self._written_unit = table.time_units().get(layout.time)
        self._unit_known = self._written_unit is not None
        self._start_ns = -1 if start_ns is None else start_ns
        self._end_ns = 2**63 - 1 if end_ns is None else end_ns
        # The sizes of a quote are checked, but no row of a price batch has room for them.
        self._kept_quantities = 0 if layout.kind is RecordingKind.QUOTES else 1
        self._store = RowStore(1 + len(layout.prices) + self._kept_quantities)
        self._first_ns: int | None = None
        self._last_ns = 0

    def take(self, chunk: Chunk) -> None:
        """Check one chunk and keep its rows. Raises: ConfigurationError naming the first bad cell."""
        if not len(chunk.places):
            return
        problems = _Problems(self._path, self._place_name, chunk)
        times_ns, repeated = self._times(chunk, problems)
        prices = {name: problems.numbers(name, "a positive price") for name in self._layout.prices}
        quantities = {name: problems.numbers(name, "a quantity") for name in self._layout.quantities}
        for name, price in prices.items():
            problems.add(name, price.mantissa <= 0, "is not a positive price")
            problems.add(name, price.decimals > MAX_PRICE_DECIMALS, f"has more than {MAX_PRICE_DECIMALS} decimals")
        for name, quantity in quantities.items():
            problems.add(name, quantity.mantissa < 0, "is negative; expected a quantity of zero or more")
        # The rows before the first bad one may still contradict themselves, and that would come first.
        sound = problems.first_row(len(chunk.places))
        if sound == 0:
            problems.refuse_first()
        prices = {name: price.head(sound) for name, price in prices.items()}
        quantities = {name: quantity.head(sound) for name, quantity in quantities.items()}
        self.rounded += sum(_round(quantity) for quantity in quantities.values())
        columns = self.prices.fit(prices, chunk.places, self._place_name, self._store.rows)
        lots = self.quantities.fit(quantities, chunk.places, self._place_name, self._store.rows)
        _check_shape(self._layout, columns, problems)
        problems.refuse_first()
        if self._layout.kind is RecordingKind.BARS:
            self.widened += _widen(columns)
        kept_lots = (lots or [np.zeros_like(times_ns)])[: self._kept_quantities]
        kept = ~repeated & (times_ns >= self._start_ns) & (times_ns < self._end_ns)
        self._store.append(np.column_stack((times_ns, *columns, *kept_lots))[kept])
        if self._store.rows > MAX_ROWS:
            refuse(self._path, f"has more than {MAX_ROWS:,} rows; replay a part of it, split into several files")

    def finish(self) -> Int64Array:
        """Return the kept rows. Raises: ConfigurationError if there are none."""
        if self._first_ns is None:
            refuse(self._path, "has a header and no rows below it; nothing can be replayed from it")
        if self._store.rows == 0:
            span = f"{format_time(self._first_ns)} to {format_time(self._last_ns)}"
            refuse(self._path, f"was recorded from {span}, and has no row in the span asked for")
        return self._store.freeze()

    def close(self) -> None:
        """Give back what holds the rows until `finish`; safe to call after it."""
        self._store.close()

    def _times(self, chunk: Chunk, problems: "_Problems") -> tuple[Int64Array, BoolArray]:
        """Return the times, and which rows are repeated bars."""
        name = self._layout.time
        if not self._unit_known:
            self._written_unit = time_unit(name.lower(), chunk.columns[name].text(0))
            self._unit_known = True
        times_ns, invalid = parse_times(chunk.columns[name], self._written_unit)
        problems.add_rows(name, invalid, "a time, as 2026-01-31T12:00:00Z or a number since 1970")
        before_ns = np.concatenate((np.array([self._last_ns], dtype=np.int64), times_ns[:-1]))
        problems.add(name, times_ns < before_ns, "goes back in time; rows must be in the order of their time")
        repeated = times_ns == before_ns
        if self._layout.kind is RecordingKind.BARS:
            self.duplicates += int(repeated.sum())
        else:
            repeated[:] = False
        if self._first_ns is None:
            self._first_ns = int(times_ns[0])
        self._last_ns = int(times_ns[-1])
        return times_ns, repeated


class RowStore:
    """Rows of integers: in memory, or in an unnamed temporary file once they exceed 64 MiB."""

    def __init__(self, columns: int) -> None:
        self.rows = 0
        self._columns = columns
        self._parts: list[Int64Array] = []
        self._bytes = 0
        self._file: IO[bytes] | None = None

    def append(self, rows: Int64Array) -> None:
        """Add rows at the end."""
        self.rows += len(rows)
        self._bytes += rows.nbytes
        self._parts.append(rows)
        if self._bytes > _SPILL_BYTES:
            self._spill()

    def freeze(self) -> Int64Array:
        """Return all rows as one array (mapped from the file if there is one), and take no more."""
        if self._file is None:
            rows: Int64Array = np.concatenate(self._parts)
            self._parts.clear()
            return rows
        self._spill()
        with self._file as file:
            file.flush()
            # The mapping outlives the closed file, and the file's space is given back with the mapping.
            return np.memmap(file, dtype=np.int64, mode="r+", shape=(self.rows, self._columns))

    def close(self) -> None:
        """Give back the temporary file; safe to call after `freeze`."""
        if self._file is not None:
            self._file.close()

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - `freeze` or `close` closes it
        for part in self._parts:
            self._file.write(np.ascontiguousarray(part).data)
        self._parts.clear()
        self._bytes = 0


class _Problems:
    """What is wrong with a chunk, so that the first bad row is the one named, whichever check found it."""

    def __init__(self, path: Path, place_name: str, chunk: Chunk) -> None:
        self._path = path
        self._place_name = place_name
        self._chunk = chunk
        self._first: tuple[int, str, str] | None = None

    def numbers(self, name: str, expected: str) -> Numbers:
        """Return a column as numbers, noting the cells that are none."""
        numbers = parse_numbers(self._chunk.columns[name])
        self.add_rows(name, numbers.invalid, expected)
        return numbers

    def add_rows(self, name: str, invalid: Mapping[int, str], expected: str) -> None:
        """Note the rows that could not be read."""
        if invalid:
            row = min(invalid)
            self._add(row, name, f"{invalid[row]}; expected {expected}")

    def add(self, name: str, wrong: BoolArray, reason: str) -> None:
        """Note the rows where `wrong` holds."""
        if wrong.any():
            self._add(int(np.argmax(wrong)), name, reason)

    def first_row(self, rows: int) -> int:
        """Return the first bad row, or `rows` if there is none."""
        return rows if self._first is None else self._first[0]

    def refuse_first(self) -> None:
        """Raise the ConfigurationError that names the first bad row, if there is one."""
        if self._first is None:
            return
        row, name, reason = self._first
        text = self._chunk.columns[name].text(row)
        shown = repr(text if len(text) <= 60 else text[:57] + "...") + " " if text.strip() else ""
        place = f"{self._place_name} {self._chunk.places[row]}"
        refuse(self._path, shown + reason, place=place, column=name)

    def _add(self, row: int, name: str, reason: str) -> None:
        if self._first is None or row < self._first[0]:
            self._first = (row, name, reason)


def _round(quantity: Numbers) -> int:
    """Round a column half-even to the most decimals of a quantity; return how many cells that changed."""
    rows = np.flatnonzero(quantity.decimals > MAX_QUANTITY_DECIMALS)
    if rows.size:
        units = powers_of_ten(quantity.decimals[rows] - MAX_QUANTITY_DECIMALS)
        whole, rest = np.divmod(quantity.mantissa[rows], units)
        halves = units // 2
        quantity.mantissa[rows] = whole + ((rest > halves) | ((rest == halves) & (whole % 2 == 1)))
        quantity.decimals[rows] = MAX_QUANTITY_DECIMALS
    return int(rows.size)


def _check_shape(layout: Layout, prices: Sequence[Int64Array], problems: _Problems) -> None:
    """Note rows whose prices contradict each other."""
    if layout.kind is RecordingKind.QUOTES:
        bid, ask = prices
        problems.add(layout.prices[0], bid > ask, "is above the ask of its row: the quote is crossed")
    if layout.kind is RecordingKind.BARS:
        opened, high, low, close = prices
        over = np.maximum(opened, close) - high
        under = low - np.minimum(opened, close)
        problems.add(layout.prices[1], high < low, "is below the low of its bar")
        problems.add(layout.prices[1], over > high // MAX_BAR_EXCESS, "is far below the open or close of its bar")
        problems.add(layout.prices[2], under > low // MAX_BAR_EXCESS, "is far above the open or close of its bar")


def _widen(bar: list[Int64Array]) -> int:
    """Let high and low take in open and close; return how many bars that changed."""
    opened, high, low, close = bar
    bar[1] = np.maximum(high, np.maximum(opened, close))
    bar[2] = np.minimum(low, np.minimum(opened, close))
    return int(np.count_nonzero((bar[1] != high) | (bar[2] != low)))
