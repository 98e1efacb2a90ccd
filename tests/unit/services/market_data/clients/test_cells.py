from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.domain.times import format_time, parse_time
from fauxchange.services.market_data.clients.cells import PADDING, TextColumn, parse_numbers, parse_times, time_unit


def column(*cells: str) -> TextColumn:
    encoded = [cell.encode() for cell in cells]
    ends = np.cumsum([len(cell) for cell in encoded], dtype=np.int64)
    starts = ends - np.array([len(cell) for cell in encoded], dtype=np.int64)
    return TextColumn(np.frombuffer(b"".join(encoded) + PADDING, dtype=np.uint8), starts, ends)


@given(st.lists(st.decimals(min_value=0, max_value=10**9, places=8, allow_nan=False), min_size=1, max_size=20))
def test_numbers_are_read_exactly(values: list[Decimal]) -> None:
    numbers = parse_numbers(column(*(f"{value:f}" for value in values)))

    read = [Decimal(int(m)).scaleb(-int(d)) for m, d in zip(numbers.mantissa, numbers.decimals, strict=True)]
    assert numbers.invalid == {}
    assert read == values


@pytest.mark.parametrize(
    ("text", "mantissa", "decimals"),
    [
        ("61837.63000000", 6183763, 2),
        ("100", 100, 0),
        ("0.000", 0, 0),
        (".5", 5, 1),
        ("5.", 5, 0),
        ("1e-05", 1, 5),
        ("1.5E3", 1500, 0),
        ("+7", 7, 0),
        ("-2.50", -25, 1),
        ("1723161254087891268", 1723161254087891268, 0),
        ("00000000000000000000001.5", 15, 1),
    ],
)
def test_usual_and_unusual_spellings_of_numbers_mean_the_same(text: str, mantissa: int, decimals: int) -> None:
    numbers = parse_numbers(column("1", text))

    assert (int(numbers.mantissa[1]), int(numbers.decimals[1])) == (mantissa, decimals)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "abc",
        "nan",
        "inf",
        "-inf",
        "1.2.3",
        "1,5",
        "0x10",
        "1_000",
        ".",
        "1e",
        "9" * 19 + "9",
        "1e999",
        "1e-30",
    ],
)
def test_what_is_no_number_is_reported_by_its_row(text: str) -> None:
    numbers = parse_numbers(column("1", text, "2"))

    assert list(numbers.invalid) == [1]


@given(st.integers(0, 9_000_000_000_000_000_000 // 1000).map(lambda value: value * 1000))
def test_written_times_are_read_back(time_ns: int) -> None:
    times_ns, invalid = parse_times(column(format_time(time_ns), format_time(time_ns).replace("Z", "+00:00")), None)

    assert invalid == {}
    assert times_ns.tolist() == [time_ns, time_ns]


@pytest.mark.parametrize(
    "text", ["2015-01-01", "2021-03-02T16:00:00Z", "2021-03-02 16:00:00.123456789Z", "2024-02-29T23:59:59.5+02:00"]
)
def test_each_usual_form_of_a_time_is_understood(text: str) -> None:
    times_ns, invalid = parse_times(column(text), None)

    assert invalid == {}
    assert times_ns.tolist() == [parse_time(text)]


def test_a_time_without_zone_is_utc() -> None:
    times_ns, _ = parse_times(column("2021-03-02 16:00:00"), None)

    assert times_ns.tolist() == [parse_time("2021-03-02T16:00:00Z")]


@pytest.mark.parametrize(
    "text",
    [
        "", "2015-13-01", "2015-02-29", "2015-1-1", "2015-01-01T25:00:00Z", "2015-01-01T00:00Z", "3015-01-01",
        "1915-01-01", "2015-01-01T00:00:00.Z", "2015-01-01Z", "2015-01-01T00:00:00.1234567891Z", "yesterday",
        "2015/01/01",
    ],
)  # fmt: skip
def test_what_is_no_time_is_reported_by_its_row(text: str) -> None:
    _, invalid = parse_times(column("2015-01-01", text), None)

    assert list(invalid) == [1]


@pytest.mark.parametrize(
    ("name", "cell", "unit"),
    [
        ("time", "1723161254", 0),
        ("time", "1723161254.087", 0),
        ("time", "1723161254087", 3),
        ("time", "1723161254087891", 6),
        ("time", "1723161254087891268", 9),
        ("exch_ms", "1723", 3),
        ("time", "2024-08-08T23:54:14Z", None),
    ],
)
def test_the_unit_of_times_is_told_by_name_or_size(name: str, cell: str, unit: int | None) -> None:
    assert time_unit(name, cell) == unit


def test_fractional_epoch_seconds_lose_nothing() -> None:
    times_ns, invalid = parse_times(column("1723161254.087891268", "1723161254.0878912684"), 0)

    assert invalid == {1: "is not a time"}
    assert times_ns.tolist()[0] == 1723161254087891268


@pytest.mark.parametrize("text", ["0", "-5", "99999999999999999", "nan"])
def test_a_count_that_is_no_time_is_reported(text: str) -> None:
    _, invalid = parse_times(column("1723161254", text), 0)

    assert list(invalid) == [1]
