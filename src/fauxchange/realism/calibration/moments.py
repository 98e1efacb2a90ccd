"""The statistics that a calibration matches: of recorded and of simulated windows by the same code.

All take windows of standardised returns, shapes (windows, n), nan where a bar is missing, and average over windows,
so that what depends on the length of a sample (autocorrelations do) depends on it in the same way on both sides.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from fauxchange.realism import measures
from fauxchange.realism.bars import FloatArray, Int64Array

SIZE_CAP = 0.9995
"""Sizes of returns are capped at this quantile of theirs: one jump must not decide an autocorrelation."""
SIZE_FLOOR = 0.02
WILDEST = 40.0
"""Standard deviations beyond which a return is taken for this one where a single wrong price would decide."""
LEVERAGE_LAGS = 10
CONDITIONAL_HALF_LIFE = 30.0
"""Half-life, in bars, of the mean size that returns are divided by for their conditional tails."""
LAGS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """What is matched of the returns.

    Shapes: sizes and log_sizes (lags,)
    """

    sizes: FloatArray
    """Autocorrelation of the size of returns."""
    log_sizes: FloatArray
    """Autocovariance of the logarithm of that size."""
    leverage: float
    spread: float
    """Standard deviation of the capped returns: a single break must not set the scale."""
    tails: "Tails"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tails:
    """How heavy the tails are, as they come and after dividing by recent volatility."""

    qkurt: float
    hill: float
    qkurt_cond: float
    hill_cond: float

    def distance(self, other: "Tails") -> float:
        """Return how far two sets of tails are apart, in units of what differs between two weeks of one market."""
        return (
            abs(self.qkurt - other.qkurt) / 0.10
            + abs(self.hill - other.hill) / 0.40
            + abs(self.qkurt_cond - other.qkurt_cond) / 0.05
            + abs(self.hill_cond - other.hill_cond) / 0.40
        )


def log_lags(most: int, count: int = LAGS) -> Int64Array:
    """Return about `count` whole lags from 1 to `most`, evenly spaced on a log scale."""
    return np.unique(np.rint(np.geomspace(1.0, max(most, 1), count)).astype(np.int64))


def moments(returns: FloatArray, lags: Int64Array, week: int = 0, *, plain: FloatArray | None = None) -> Moments:
    """Return the moments of windows of standardised returns; tails are those of the `plain` returns.

    Memory is that of windows and of weeks in equal parts: a month and its weeks say different things about hours and
    days, and a model should have both right.

    Units: `week` in bars; 0 looks at whole windows only
    """
    sizes = np.abs(returns)
    known = sizes[np.isfinite(sizes)]
    positive = known[known > 0.0]
    cap = float(np.quantile(known, SIZE_CAP))
    capped = np.minimum(sizes, cap)
    floor = max(float(np.quantile(known, SIZE_FLOOR)), 0.5 * float(positive.min()))
    logs = np.log(np.maximum(sizes, floor))
    memory, log_memory = _memory(capped, lags), autocovariance(logs, lags)
    if 0 < week <= returns.shape[1] // 2:
        memory = 0.5 * (memory + _memory(_cut(capped, week), lags))
        log_memory = 0.5 * (log_memory + autocovariance(_cut(logs, week), lags))
    spread = float(np.nanstd(np.clip(returns, -cap, cap)))
    return Moments(
        sizes=memory,
        log_sizes=log_memory,
        leverage=leverage(np.clip(returns, -WILDEST * spread, WILDEST * spread)),
        spread=spread,
        tails=tails(returns if plain is None else plain),
    )


def _memory(values: FloatArray, lags: Int64Array) -> FloatArray:
    covariance = autocovariance(values, lags, keep_first=True)
    return np.asarray(covariance[1:] / covariance[0])


def _cut(windows: FloatArray, size: int) -> FloatArray:
    pieces = windows.shape[1] // size
    return windows[:, : pieces * size].reshape(-1, size)


def autocovariance(values: FloatArray, lags: Int64Array, *, keep_first: bool = False) -> FloatArray:
    """Return the mean over windows of the autocovariance at the lags, before them that at lag 0 if it is kept."""
    return cross_covariance(values, values, np.concatenate(([0], lags)) if keep_first else lags)


def cross_covariance(early: FloatArray, late: FloatArray, lags: Int64Array) -> FloatArray:
    """Return the mean over windows of the covariance of `early` at t with `late` at t + lag."""
    # Twice as long, so that nothing wraps around, and then to a length that transforms are quick at.
    length = next_fast_len(2 * early.shape[1], real=True)
    first, first_known = _spectra(early, length)
    second, second_known = _spectra(late, length)
    sums = np.fft.irfft(np.conj(first) * second, length, axis=1)[:, lags]
    counts = np.rint(np.fft.irfft(np.conj(first_known) * second_known, length, axis=1)[:, lags])
    return np.asarray(np.mean(sums / np.maximum(counts, 1.0), axis=0))


def leverage(returns: FloatArray) -> float:
    """Return the mean correlation of a return with the sizes of the ten that follow."""
    sizes = np.abs(returns)
    lags = np.arange(1, LEVERAGE_LAGS + 1, dtype=np.int64)
    spread = float(np.nanstd(returns)) * float(np.nanstd(sizes))
    return float(np.mean(cross_covariance(returns, sizes, lags))) / spread


def tails(returns: FloatArray) -> Tails:
    """Return how heavy the tails of windows of returns are."""
    conditional = [_conditional(row) for row in returns]
    return Tails(
        qkurt=_mean(measures.quantile_kurtosis, returns),
        hill=_mean(measures.hill_index, np.abs(returns)),
        qkurt_cond=_mean(measures.quantile_kurtosis, conditional),
        hill_cond=_mean(measures.hill_index, [np.abs(row) for row in conditional]),
    )


def _conditional(returns: FloatArray) -> FloatArray:
    """Return returns over the mean size of those before them, nan where these did not move."""
    usual = measures.mean_before(np.abs(returns), CONDITIONAL_HALF_LIFE)
    return np.asarray(returns / np.where(usual > 0.0, usual, np.nan))


def _mean(measure: Callable[[FloatArray], float], rows: Iterable[FloatArray]) -> float:
    return float(np.mean([measure(row) for row in rows]))


def _spectra(values: FloatArray, length: int) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    known = np.isfinite(values)
    means = np.nanmean(values, axis=1, keepdims=True)
    filled = np.where(known, values - means, 0.0)
    return np.fft.rfft(filled, length, axis=1), np.fft.rfft(known.astype(np.float64), length, axis=1)
