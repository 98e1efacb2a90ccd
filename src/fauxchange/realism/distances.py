"""How far two price series lie apart, in the terms in which real months were measured against each other.

Returns are put in units of their own mean size first, so that only shapes are compared: two markets that differ in how
much they move, and in nothing else, have distance 0. (The mean size rather than the standard deviation, because a few
large moves decide the latter.)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np

from fauxchange.domain.errors import InvalidRequest, check
from fauxchange.domain.times import NS_PER_MINUTE, format_duration
from fauxchange.realism import measures
from fauxchange.realism.bars import Bars, FloatArray, Int64Array
from fauxchange.realism.facts import Sample

MEMORY_LAGS = 100
RETURN_MINUTES = (1, 15, 60)
KEPT_POINTS = 1_000
"""As how many values of equal probability a distribution is written down: distances are off by less than 0.01."""

DISTANCES: Mapping[str, str] = {
    "ks_r": "Largest gap between the distributions of one-minute returns",
    "wasserstein_r": "Mean shift between the distributions of one-minute returns, in mean sizes",
    "ks_r15": "Largest gap between the distributions of 15-minute returns",
    "wasserstein_r15": "Mean shift between the distributions of 15-minute returns",
    "ks_r60": "Largest gap between the distributions of hourly returns",
    "wasserstein_r60": "Mean shift between the distributions of hourly returns",
    "acf_abs_l1": "Mean difference of the autocorrelations of absolute returns, lags 1 to 100",
    "acf_r_l1": "Mean difference of the autocorrelations of returns, lags 1 to 100",
    "hill_diff": "Difference of the tail indices",
    "wasserstein_logrv": "Mean shift between the distributions of the logarithm of hourly volatility",
}
"""All distances, with what each says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What distances compare of a series.

    Shapes: returns by minutes (n,); memories (MEMORY_LAGS,), from lag 1 on; log_volatility (hours,)
    Units:  returns and volatility in units of the mean size of the returns
    """

    returns: Mapping[int, FloatArray]
    size_memory: FloatArray
    return_memory: FloatArray
    hill: float
    log_volatility: FloatArray

    def document(self) -> dict[str, Any]:
        """Return the shape as JSON: distributions as values of equal probability, numbers with five digits."""
        return {
            "returns": {str(minutes): _numbers(_thinned(values)) for minutes, values in self.returns.items()},
            "size_memory": _numbers(self.size_memory),
            "return_memory": _numbers(self.return_memory),
            "hill": self.hill,
            "log_volatility": _numbers(_thinned(self.log_volatility)),
        }


def shape_from(document: Mapping[str, Any]) -> Shape:
    """Return the shape in a document of `Shape.document`."""
    return Shape(
        returns={int(minutes): np.array(values) for minutes, values in document["returns"].items()},
        size_memory=np.array(document["size_memory"]),
        return_memory=np.array(document["return_memory"]),
        hill=float(document["hill"]),
        log_volatility=np.array(document["log_volatility"]),
    )


def shape_of(bars: Bars) -> Shape:
    """Return the shape of a series. Raises: InvalidRequest if it is not of one-minute bars."""
    require_minutes(bars)
    sample = Sample(bars)
    # Not less their mean: that would part the minutes without a move of two series.
    scaled = _scaled(sample.returns)
    sums = {minutes: measures.block_sums(scaled, minutes) for minutes in RETURN_MINUTES}
    return Shape(
        returns={minutes: measures.present(_scaled(measures.present(each))) for minutes, each in sums.items()},
        size_memory=measures.autocorrelation(np.abs(scaled), MEMORY_LAGS)[1:],
        return_memory=measures.autocorrelation(scaled, MEMORY_LAGS)[1:],
        hill=measures.hill_index(np.abs(scaled)),
        log_volatility=measures.present(sample.hourly_log_volatility - np.log(_mean_size(sample.returns))),
    )


def distances(real: Bars | Shape, other: Bars | Shape) -> dict[str, float]:
    """Return how far two series lie apart; NaN where one is too short, and exactly 0 of a series from itself.

    Raises: InvalidRequest if a series is not of one-minute bars
    """
    first, second = (each if isinstance(each, Shape) else shape_of(each) for each in (real, other))
    result: dict[str, float] = {}
    for minutes in RETURN_MINUTES:
        suffix = "r" if minutes == 1 else f"r{minutes}"
        x, y = first.returns[minutes], second.returns[minutes]
        result[f"ks_{suffix}"] = measures.kolmogorov_distance(x, y)
        result[f"wasserstein_{suffix}"] = measures.wasserstein_distance(x, y)
    result["acf_abs_l1"] = float(np.abs(first.size_memory - second.size_memory).mean())
    result["acf_r_l1"] = float(np.abs(first.return_memory - second.return_memory).mean())
    result["hill_diff"] = abs(first.hill - second.hill)
    result["wasserstein_logrv"] = measures.wasserstein_distance(first.log_volatility, second.log_volatility)
    check(list(result) == list(DISTANCES), "every distance is described")
    return result


def correlations(bars: Mapping[str, Bars], minutes: int) -> FloatArray:
    """Return the correlation matrix of the returns over so many minutes, at the times that all symbols have.

    Shapes: result (symbols, symbols), in the order of the mapping
    Raises: InvalidRequest if bars are not of one minute, or share no such stretch of time
    """
    for each in bars.values():
        require_minutes(each)
    check(minutes >= 1, "a return takes time")
    common = common_times(bars)
    closes = np.vstack([each.close[np.searchsorted(each.open_ns, common)] for each in bars.values()])
    # Stretches end at whole multiples of their length, whatever the first common time.
    ends = common[(common // NS_PER_MINUTE + 1) % minutes == 0]
    begins = np.searchsorted(common, ends - minutes * NS_PER_MINUTE)
    stretch = common[begins] == ends - minutes * NS_PER_MINUTE
    if int(stretch.sum()) < 3:
        raise InvalidRequest(
            f"the symbols have no stretch of {minutes} minutes in common that repeats", code="too_little_history"
        )
    last = np.searchsorted(common, ends[stretch])
    returns = np.log(closes[:, last] / closes[:, begins[stretch]])
    result = np.eye(len(closes))
    for row in range(len(closes)):
        for column in range(row):
            value = measures.correlation(returns[row], returns[column])
            result[row, column] = result[column, row] = value
    return result


def common_times(bars: Mapping[str, Bars]) -> Int64Array:
    """Return when bars of all symbols open. Shapes: (n,). Units: nanoseconds."""
    return reduce(partial(np.intersect1d, assume_unique=True), [each.open_ns for each in bars.values()])


def require_minutes(bars: Bars) -> None:
    """Refuse bars of another length than one minute. Raises: InvalidRequest."""
    if bars.interval_ns != NS_PER_MINUTE:
        raise InvalidRequest(
            f"{bars.symbol} has bars of {format_duration(bars.interval_ns)}; facts are about bars of one minute: "
            "take a recording of one-minute bars, of trades or of quotes",
            code="unsuitable_bars",
        )


def _mean_size(x: FloatArray) -> float:
    """Return the mean absolute value, NaN where nothing moves."""
    values = np.abs(measures.present(x))
    return float(values.mean()) if len(values) and values.any() else math.nan


def _scaled(x: FloatArray) -> FloatArray:
    return np.asarray(x / _mean_size(x), np.float64)


def _thinned(values: FloatArray) -> FloatArray:
    count = min(KEPT_POINTS, len(values))
    return np.asarray(np.quantile(values, (np.arange(count) + 0.5) / count), np.float64) if count else values


def _numbers(values: FloatArray) -> list[float]:
    return [float(f"{value:.5g}") for value in values.tolist()]
