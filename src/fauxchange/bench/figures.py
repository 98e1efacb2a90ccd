"""What benchmarks report: figures, each beside what a bare program manages on the same machine at the same time."""

from collections.abc import Callable, Sequence
from typing import TypedDict

Report = Callable[[str], None]
"""Hear how far a benchmark has come."""


class Figure(TypedDict, total=False):
    """One measured figure; `ratio` is value over baseline, and both are left out where nothing can be compared."""

    value: float
    unit: str
    baseline: float
    ratio: float


def figure(value: float, unit: str, baseline: float | None = None, *, decimals: int = 1) -> Figure:
    """Return a figure, rounded to `decimals`."""
    if baseline is None:
        return Figure(value=_rounded(value, decimals), unit=unit)
    ratio = round(value / baseline, 3) if baseline else 0.0
    return Figure(value=_rounded(value, decimals), unit=unit, baseline=_rounded(baseline, decimals), ratio=ratio)


def percentile(values: Sequence[int], share: float) -> int:
    """Return the smallest value that at least `share` of the values, which are sorted, do not exceed; 0 of none.

    Source: the nearest-rank definition; no value is made up between two that were measured
    """
    if not values:
        return 0
    # Rounded away from what floats make of 0.99 * 100, which is a little more than 99.
    rank = -(-round(share * len(values) * 1_000_000) // 1_000_000)
    return values[max(0, min(rank, len(values)) - 1)]


def _rounded(value: float, decimals: int) -> float:
    return round(value, decimals) if decimals else round(value)
