import pytest

from fauxchange.bench.figures import figure, percentile


def test_figure_stands_beside_its_baseline() -> None:
    shown = figure(70.04, "frames/s", 100.0)

    assert shown == {"value": 70.0, "unit": "frames/s", "baseline": 100.0, "ratio": 0.7}


def test_figure_without_a_baseline_has_no_ratio() -> None:
    assert figure(3, "gaps", decimals=0) == {"value": 3, "unit": "gaps"}


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_percentile_is_a_measured_value_by_nearest_rank(share: float, expected: int) -> None:
    assert percentile(range(1, 101), share) == expected


def test_percentile_of_nothing_is_zero() -> None:
    assert percentile([], 0.99) == 0
