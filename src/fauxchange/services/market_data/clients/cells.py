"""Read whole columns of text cells as exact numbers and times.

No float takes part: digits become integers, and each number keeps its count of decimals. The common spellings are
read by NumPy, one character position of all cells at a time; whatever is unusual (an exponent, a sign, a zone other
than UTC) is read cell by cell; what cannot be read is reported by its row, never raised, so that the caller can
name the first bad line of several columns.
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.times import parse_time
from fauxchange.services.market_data.core.batches import Int64Array

ByteArray = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]

PADDING = b"\0" * 40
"""Bytes that must follow the last cell in the buffer, because cells are read to a common width."""

LATEST_NS = 9_214_646_400_000_000_000
"""The first moment of the year 2262, the last whole one that 64 bits of nanoseconds reach."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?")
_PLAIN_WIDTH = 20
_POWERS = np.array([10**power for power in range(19)], dtype=np.int64)
_CEILINGS = (2**63 - 1) // _POWERS
_UNIT_BY_SUFFIX = {"ns": 9, "nanos": 9, "us": 6, "micros": 6, "ms": 3, "millis": 3, "s": 0, "sec": 0, "seconds": 0}
_ZERO, _DOT, _DASH, _COLON, _PLUS = b"0.-:+"
_DATE_WIDTH, _SECOND_WIDTH = 10, 19


@dataclass(frozen=True, slots=True)
class TextColumn:
    """The cells of one column: where each starts and ends in a buffer of text.

    Shapes: starts and ends (n,); the buffer ends with `PADDING`
    """

    buffer: ByteArray
    starts: Int64Array
    ends: Int64Array

    def __len__(self) -> int:
        return len(self.starts)

    def text(self, row: int) -> str:
        """Return one cell."""
        return self.buffer[self.starts[row] : self.ends[row]].tobytes().decode("utf-8", "replace")


@dataclass(slots=True)
class Numbers:
    """A column of exact decimals: `mantissa / 10**decimals`, trailing zeros removed; and what is wrong, by row.

    Shapes: mantissa and decimals (n,), int64; rows named in `invalid` hold 0
    """

    mantissa: Int64Array
    decimals: Int64Array
    invalid: dict[int, str] = field(default_factory=dict)

    def head(self, count: int) -> "Numbers":
        """Return the first `count` rows, which are valid."""
        return Numbers(self.mantissa[:count], self.decimals[:count])


def parse_numbers(column: TextColumn) -> Numbers:
    """Read decimals of at most 19 significant digits."""
    lengths = column.ends - column.starts
    mantissa = np.zeros(len(column), dtype=np.int64)
    decimals = np.zeros(len(column), dtype=np.int64)
    digits = np.zeros(len(column), dtype=np.int64)
    dotted = np.zeros(len(column), dtype=np.bool_)
    broken = np.zeros(len(column), dtype=np.bool_)
    for position in range(min(int(lengths.max(initial=0)), _PLAIN_WIDTH)):
        inside = lengths > position
        value = column.buffer[column.starts + position] - np.uint8(_ZERO)
        is_digit = inside & (value < 10)
        is_dot = inside & (value == np.uint8(_DOT - _ZERO + 256))
        mantissa = np.where(is_digit, mantissa * 10 + value, mantissa)
        digits += is_digit
        decimals += is_digit & dotted
        broken |= (inside & ~is_digit & ~is_dot) | (is_dot & dotted)
        dotted |= is_dot
    # Nineteen digits may overflow 64 bits; they wrap around once, and show it by their sign.
    plain = ~broken & (lengths <= _PLAIN_WIDTH) & (digits >= 1) & (digits <= 19) & (mantissa >= 0)
    numbers = Numbers(np.where(plain, mantissa, 0), np.where(plain, decimals, 0))
    for row in np.flatnonzero(~plain).tolist():
        _parse_unusual(column.text(row), row, numbers)
    _strip_zeros(numbers)
    return numbers


def parse_times(column: TextColumn, unit: int | None) -> tuple[Int64Array, dict[int, str]]:
    """Read times as nanoseconds since 1970: numbers since the epoch, dates, or RFC 3339 (no zone means UTC).

    Units: unit in decimals of a second (3 for milliseconds), None if times are written as text
    """
    if unit is None:
        return _parse_written_times(column)
    numbers = parse_numbers(column)
    power = 9 - unit - numbers.decimals
    up, down = np.clip(power, 0, 18), np.clip(-power, 0, 18)
    too_large = numbers.mantissa > _CEILINGS[up]
    times_ns = np.where(too_large, -1, numbers.mantissa) * _POWERS[up] // _POWERS[down]
    invalid = dict.fromkeys(numbers.invalid, "is not a time")
    for row in np.flatnonzero((times_ns <= 0) | (times_ns >= LATEST_NS)).tolist():
        invalid.setdefault(row, "is not a time between 1970 and 2262")
    return times_ns, invalid


def time_unit(name: str, first_cell: str) -> int | None:
    """Return in which unit the column `name` counts time, by its name's ending or else its first cell's size.

    Units: result in decimals of a second (0, 3, 6 or 9), None if its times are written as text
    """
    if _NUMBER.fullmatch(first_cell) is None:
        return None
    suffix = name.rpartition("_")[2]
    if suffix in _UNIT_BY_SUFFIX:
        return _UNIT_BY_SUFFIX[suffix]
    whole_digits = len(first_cell.partition(".")[0].lstrip("+-0"))
    # Ten digits of seconds last until 2286, thirteen of milliseconds as long, and so on.
    return next((unit for unit, most in ((0, 11), (3, 14), (6, 17)) if whole_digits <= most), 9)


def powers_of_ten(exponents: Int64Array) -> Int64Array:
    """Return 10 to the power of each exponent, which lies between 0 and 18."""
    return _POWERS[exponents]


def _parse_unusual(text: str, row: int, numbers: Numbers) -> None:
    """Read one number the long way into `numbers`, or note what is wrong with it."""
    if not text.strip():
        numbers.invalid[row] = "is empty"
        return
    if _NUMBER.fullmatch(text) is None or len(text) > 400:
        numbers.invalid[row] = "is not a number"
        return
    sign, raw_digits, exponent = Decimal(text).as_tuple()
    digits = "".join(map(str, raw_digits)).lstrip("0")
    significant = digits.rstrip("0")
    power = int(exponent) + len(digits) - len(significant)
    if not significant:
        return
    if len(significant) + max(power, 0) > 18 or power < -18:
        numbers.invalid[row] = "has more digits than can be kept exactly"
        return
    value = int(significant) * 10 ** max(power, 0)
    numbers.mantissa[row] = -value if sign else value
    numbers.decimals[row] = max(-power, 0)


def _strip_zeros(numbers: Numbers) -> None:
    """Remove trailing zeros behind the point, so that `decimals` counts what the number needs."""
    rows = np.flatnonzero(numbers.decimals > 0)
    while rows.size:
        quotient, rest = np.divmod(numbers.mantissa[rows], 10)
        round_rows = rest == 0
        rows = rows[round_rows]
        numbers.mantissa[rows] = quotient[round_rows]
        numbers.decimals[rows] -= 1
        rows = rows[numbers.decimals[rows] > 0]


def _parse_written_times(column: TextColumn) -> tuple[Int64Array, dict[int, str]]:
    buffer, starts, ends = column.buffer, column.starts, column.ends
    last = buffer[np.maximum(ends - 1, 0)] | np.uint8(0x20)
    body_ends = ends - (last == ord("z"))
    body_ends -= 6 * _ends_with_utc_offset(column)
    widths = body_ends - starts
    has_clock = widths >= _SECOND_WIDTH
    head = buffer[starts[:, None] + np.arange(_SECOND_WIDTH)]
    values = (head - np.uint8(_ZERO)).astype(np.int64)
    is_digit = values < 10
    usual = (head[:, 4] == _DASH) & (head[:, 7] == _DASH) & is_digit[:, [0, 1, 2, 3, 5, 6, 8, 9]].all(axis=1)
    clock_shape = (head[:, 13] == _COLON) & (head[:, 16] == _COLON) & is_digit[:, [11, 12, 14, 15, 17, 18]].all(axis=1)
    clock_shape &= np.isin(head[:, 10], np.frombuffer(b"Tt ", dtype=np.uint8))
    usual &= np.where(has_clock, clock_shape, (widths == _DATE_WIDTH) & (ends == body_ends))
    fraction_ns, fraction_usual = _fractions(buffer, starts + _SECOND_WIDTH, body_ends)
    usual &= ~has_clock | fraction_usual
    day, day_usual = _days(values)
    hour, minute, second = (values[:, at] * 10 + values[:, at + 1] for at in (11, 14, 17))
    usual &= day_usual & (~has_clock | ((hour < 24) & (minute < 60) & (second < 60)))
    clock_s = np.where(has_clock, hour * 3600 + minute * 60 + second, 0)
    times_ns = (day * 86_400 + clock_s) * 1_000_000_000 + np.where(has_clock, fraction_ns, 0)
    times_ns = np.where(usual, times_ns, 0)
    return times_ns, _parse_unusual_times(column, np.flatnonzero(~usual), times_ns)


def _ends_with_utc_offset(column: TextColumn) -> BoolArray:
    """Say which cells end with `+00:00`, as pandas writes UTC."""
    long_enough = column.ends - column.starts >= _SECOND_WIDTH + 6
    tails = column.buffer[np.maximum(column.ends - 6, 0)[:, None] + np.arange(6)]
    result: BoolArray = long_enough & (tails == np.frombuffer(b"+00:00", dtype=np.uint8)).all(axis=1)
    return result


def _fractions(buffer: ByteArray, starts: Int64Array, ends: Int64Array) -> tuple[Int64Array, BoolArray]:
    """Return the nanoseconds written as `.123` between the positions, and where that is empty or well formed."""
    widths = ends - starts
    usual = (widths <= 0) | ((widths >= 2) & (widths <= 10) & (buffer[starts] == _DOT))
    fraction_ns = np.zeros(len(starts), dtype=np.int64)
    for position in range(1, min(int(widths.max(initial=0)), 10)):
        inside = widths > position
        value = buffer[starts + position] - np.uint8(_ZERO)
        usual &= ~inside | (value < 10)
        fraction_ns += np.where(inside, value.astype(np.int64) * 10 ** (9 - position), 0)
    return fraction_ns, usual


def _days(values: Int64Array) -> tuple[Int64Array, BoolArray]:
    """Return the days since 1970 of `YYYY-MM-DD` digits, and which of them are in the calendar."""
    year = values[:, 0] * 1000 + values[:, 1] * 100 + values[:, 2] * 10 + values[:, 3]
    month = values[:, 5] * 10 + values[:, 6]
    day = values[:, 8] * 10 + values[:, 9]
    usual = (year >= 1970) & (year < 2262) & (month >= 1) & (month <= 12)
    months = np.where(usual, (year - 1970) * 12 + month - 1, 0)
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    following = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return first + day - 1, usual & (day >= 1) & (day <= following - first)


def _parse_unusual_times(column: TextColumn, rows: NDArray[np.intp], times_ns: Int64Array) -> dict[int, str]:
    """Read the given rows' times one by one into `times_ns`; return what is wrong, by row."""
    invalid: dict[int, str] = {}
    for row in rows.tolist():
        text = column.text(row)
        try:
            time_ns = parse_time(text)
        except InvalidRequest:
            invalid[row] = "is not a time" if text.strip() else "is empty"
            continue
        if 0 <= time_ns < LATEST_NS:
            times_ns[row] = time_ns
        else:
            invalid[row] = "is not a time between 1970 and 2262"
    return invalid
