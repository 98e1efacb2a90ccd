"""Statistics of series with gaps: what facts, distances and plots are made of.

A gap is NaN. Every statistic uses the pairs, sums and values that no gap touches, and is NaN itself where nothing (or
nothing but one value again and again) is left.
"""

import math

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]

NORMAL_QUANTILE_RATIO = 2.0 * 1.959963984540054 / (2.0 * 0.6744897501960817)
"""The distance of the 2.5 % and 97.5 % quantiles over that of the quartiles, of a normal distribution."""
TAIL_FRACTIONS = (0.005, 0.01, 0.02)
FIRST_PASSAGE_STARTS = 2_000
_EWMA_BLOCK = 256


def present(x: FloatArray) -> FloatArray:
    """Return the values of a series without its gaps."""
    return x[np.isfinite(x)]


def ratio(above: float, below: float) -> float:
    """Return a quotient, NaN where there is none."""
    return above / below if below != 0.0 and math.isfinite(below) and math.isfinite(above) else math.nan


def centred(x: FloatArray) -> FloatArray:
    """Return a series less its mean."""
    values = present(x)
    return x - values.mean() if len(values) else x


def spread(x: FloatArray) -> float:
    """Return the standard deviation of a series."""
    values = present(x)
    return float(values.std()) if len(values) else math.nan


def autocorrelation(x: FloatArray, lags: int) -> FloatArray:
    """Return the autocorrelations at lags 0 to `lags`, each over the pairs that there are.

    Shapes: x (n,), result (lags + 1,), NaN beyond the length of the series
    """
    result = np.full(lags + 1, np.nan)
    there = np.isfinite(x)
    values = np.where(there, centred(x), 0.0)
    covariances = pair_sums(values, lags)
    counts = np.rint(pair_sums(there.astype(np.float64), lags))
    usable = counts > 0.0
    covariances[usable] /= counts[usable]
    covariances[~usable] = np.nan
    if len(covariances) and covariances[0] > 0.0:
        result[: len(covariances)] = covariances / covariances[0]
    return result


def pair_sums(x: FloatArray, lags: int) -> FloatArray:
    """Return the sums of x[t] * x[t + lag] at lags 0 to `lags`, or to the last lag that has a pair."""
    if len(x) == 0:
        return np.zeros(0)
    size = 1 << (2 * len(x) - 1).bit_length()
    transform = np.fft.rfft(x, size)
    sums: FloatArray = np.fft.irfft(transform * transform.conj(), size)
    return sums[: min(lags, len(x) - 1) + 1].copy()


def block_sums(x: FloatArray, length: int) -> FloatArray:
    """Return the sums of consecutive blocks of a length; the rest at the end is left out."""
    blocks = len(x) // length
    return np.asarray(x[: blocks * length].reshape(blocks, length).sum(axis=1), np.float64)


def rolling_sums(x: FloatArray, length: int) -> FloatArray:
    """Return the sums of all stretches of a length that no gap lies in."""
    there = np.isfinite(x)
    path = np.concatenate(([0.0], np.cumsum(np.where(there, x, 0.0))))
    gaps = np.concatenate(([0], np.cumsum(~there)))
    return np.asarray((path[length:] - path[:-length])[gaps[length:] == gaps[:-length]], np.float64)


def excess_kurtosis(x: FloatArray) -> float:
    """Return the fourth central moment over the squared variance, less 3."""
    values = present(centred(x))
    if not len(values):
        return math.nan
    variance = float((values**2).mean())
    return ratio(float((values**4).mean()), variance * variance) - 3.0


def quantile_kurtosis(x: FloatArray) -> float:
    """Return how much wider the tails are than those of a normal distribution with the same quartiles."""
    values = present(x)
    if not len(values):
        return math.nan
    low, lower, upper, high = np.quantile(values, (0.025, 0.25, 0.75, 0.975)).tolist()
    return ratio(high - low, upper - lower) / NORMAL_QUANTILE_RATIO - 1.0


def hill_index(x: FloatArray) -> float:
    """Return the tail index of the positive values: the mean Hill estimate over three tail fractions.

    Source: Hill (1975), A simple general approach to inference about the tail of a distribution
    """
    values = np.sort(x[np.isfinite(x) & (x > 0.0)])[::-1]
    estimates = []
    for fraction in TAIL_FRACTIONS:
        tail = int(len(values) * fraction)
        if tail < 1:
            return math.nan
        estimates.append(ratio(1.0, float(np.log(values[:tail] / values[tail]).mean())))
    return float(np.mean(estimates))


def variance_ratio(x: FloatArray, length: int) -> float:
    """Return the variance of overlapping sums over what it would be without any memory."""
    sums = rolling_sums(x, length) if len(x) > length else x[:0]
    return ratio(spread(sums) ** 2, spread(x) ** 2 * length)


def hurst_exponent(x: FloatArray, power: int, scales: tuple[int, ...]) -> float:
    """Return the generalised Hurst exponent of a path with increments `x`: how its `power`-th moments scale.

    Source: Di Matteo (2007), Multi-scaling in finance, section 3
    """
    moments = []
    for scale in scales:
        moves = rolling_sums(x, scale) if len(x) > scale else x[:0]
        moments.append(float((np.abs(moves) ** power).mean()) if len(moves) else math.nan)
    if not all(moment > 0.0 for moment in moments):
        return math.nan
    return slope(np.log(scales), np.log(moments)) / power


def slope(x: FloatArray, y: FloatArray) -> float:
    """Return the slope of the least-squares line through points."""
    x, y = x - x.mean(), y - y.mean()
    return ratio(float((x * y).sum()), float((x * x).sum()))


def correlation(x: FloatArray, y: FloatArray) -> float:
    """Return the correlation of two series where both are there."""
    both = np.isfinite(x) & np.isfinite(y)
    if not both.any():
        return math.nan
    x, y = x[both] - x[both].mean(), y[both] - y[both].mean()
    return ratio(float((x * y).sum()), math.sqrt(float((x * x).sum()) * float((y * y).sum())))


def lagged_correlation(x: FloatArray, y: FloatArray, lag: int) -> float:
    """Return the correlation of x[t] with y[t + lag], for a lag of at least 1."""
    return correlation(x[:-lag], y[lag:])


def rank_correlation(x: FloatArray, y: FloatArray) -> float:
    """Return Spearman's correlation; equal values share their mean rank."""
    both = np.isfinite(x) & np.isfinite(y)
    return correlation(ranks(x[both]), ranks(y[both]))


def ranks(x: FloatArray) -> FloatArray:
    """Return the rank of each value from 1 on, the mean one for equal values."""
    _, places, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2.0)[places], np.float64)


def mean_before(x: FloatArray, half_life: float) -> FloatArray:
    """Return, for each value, the exponentially weighted mean of the values before it; NaN where there are none."""
    keep = 0.5 ** (1.0 / half_life)
    there = np.isfinite(x)
    sums = _discounted(np.where(there, x, 0.0), keep)
    weights = _discounted(there.astype(np.float64), keep)
    result = np.full(len(x), np.nan)
    # Weights fade, but do not vanish within any gap that is kept.
    known = weights > 1e-200
    result[known] = sums[known] / weights[known]
    return result


def _discounted(x: FloatArray, keep: float) -> FloatArray:
    """Return the sums of the values before each, each value discounted by `keep` per step."""
    result = np.empty(len(x))
    growth = keep ** -np.arange(1.0, _EWMA_BLOCK + 1)
    carried = 0.0
    for first in range(0, len(x), _EWMA_BLOCK):
        block = x[first : first + _EWMA_BLOCK]
        grown = carried + np.cumsum(block * growth[: len(block)])
        after = grown / growth[: len(block)]
        result[first] = carried
        result[first + 1 : first + len(block)] = after[:-1]
        carried = float(after[-1])
    return result


def autoregression_r2(x: FloatArray, lags: int) -> float:
    """Return the share of a series' variance that its last values explain."""
    rows = len(x) - lags
    if rows <= lags + 1:
        return math.nan
    table = np.vstack([x[lags - lag : len(x) - lag] for lag in range(lags + 1)])
    table = table[:, np.isfinite(table).all(axis=0)]
    if table.shape[1] <= lags + 1:
        return math.nan
    table = table - table.mean(axis=1, keepdims=True)
    # Element by element: for so few columns a matrix library only gets its threads into each other's way.
    products = np.array([[float((row * column).mean()) for column in table] for row in table])
    variance, shared, past = products[0, 0], products[0, 1:], products[1:, 1:]
    if not variance > 0.0:
        return math.nan
    return float(shared @ np.linalg.lstsq(past / variance, shared / variance, rcond=None)[0] / variance)


def first_passage_medians(x: FloatArray, level: float) -> tuple[float, float]:
    """Return how many steps, in the median, a path with increments `x` takes to fall and to rise by `level`.

    Gaps are stepped over. A level that is not reached before the end counts as never.
    """
    moves = present(x)
    if len(moves) < 2 or not level > 0.0:
        return math.nan, math.nan
    path = np.concatenate(([0.0], np.cumsum(moves)))
    starts = np.linspace(0, len(moves) - 1, FIRST_PASSAGE_STARTS).astype(np.int64)
    return float(np.median(_passages(-path, starts, level))), float(np.median(_passages(path, starts, level)))


def _passages(path: FloatArray, starts: Int64Array, level: float) -> FloatArray:
    """Return how many steps after each start a path first lies higher by `level`; infinity where it never does."""
    # The highest point of every stretch whose length is a power of two: so a search takes as many looks as doublings.
    highest = [path]
    while (length := 1 << len(highest)) <= len(path):
        later = np.full(len(path), -np.inf)
        later[: -length // 2] = highest[-1][length // 2 :]
        highest.append(np.maximum(highest[-1], later))
    targets, places = path[starts] + level, starts + 1
    for power in reversed(range(len(highest))):
        inside = np.minimum(places, len(path) - 1)
        is_below = (places < len(path)) & (highest[power][inside] < targets)
        places = places + (is_below.astype(np.int64) << power)
    return np.where(places < len(path), (places - starts).astype(np.float64), np.inf)


def kolmogorov_distance(x: FloatArray, y: FloatArray) -> float:
    """Return the largest distance of two empirical distribution functions."""
    if not len(x) or not len(y):
        return math.nan
    points = np.concatenate((x, y))
    return float(np.abs(_shares(x, points) - _shares(y, points)).max())


def wasserstein_distance(x: FloatArray, y: FloatArray) -> float:
    """Return how far probability must be moved, on average, to turn one empirical distribution into the other."""
    if not len(x) or not len(y):
        return math.nan
    points = np.sort(np.concatenate((x, y)))
    return float((np.abs(_shares(x, points[:-1]) - _shares(y, points[:-1])) * np.diff(points)).sum())


def _shares(x: FloatArray, points: FloatArray) -> FloatArray:
    return np.searchsorted(np.sort(x), points, side="right") / len(x)
