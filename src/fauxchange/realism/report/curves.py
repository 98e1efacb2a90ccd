"""Curves: what plots show of a market, each computed week by week, with its median and its spread over the weeks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fauxchange.domain.errors import check
from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.realism import measures
from fauxchange.realism.bars import Bars, FloatArray, Int64Array
from fauxchange.realism.facts import Sample, hourly_sizes
from fauxchange.realism.judging import WEEK_RETURNS

HOURS = 24
TAIL_SIGMAS = np.geomspace(0.25, 64.0, 65)
"""Where the tails are measured, in standard deviations of the week."""
HORIZONS = (1, 2, 5, 15, 30, 60, 120, 240)
"""Minutes over which returns are summed to see their tails fade."""
PROBABILITIES = np.concatenate(
    (np.geomspace(2e-4, 0.1, 24)[:-1], np.linspace(0.1, 0.9, 33), 1.0 - np.geomspace(2e-4, 0.1, 24)[-2::-1])
)
"""At which quantiles two distributions are held against each other."""
ACF_LAGS = np.unique(np.geomspace(1.0, 2_880.0, 60).round().astype(np.int64))
LAG_WIDTH = 1.08
"""A lag of the curve of memory is the mean over the lags that are so much shorter and longer."""


@dataclass(frozen=True, slots=True)
class Band:
    """A curve over several weeks: the median, and the 5 to 95 % range of the weeks. Shapes: (n,)."""

    x: FloatArray
    median: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """What plots show of one symbol.

    Units: tails as probabilities by standard deviations; acf by minutes of lag; season by UTC hour, 1 on average;
           tail_width by minutes of horizon (0 is normal); quantiles of one-minute and hourly returns over their
           standard deviation, at PROBABILITIES
    """

    label: str
    weeks: int
    falls: Band
    rises: Band
    acf_abs: Band
    season: Band
    tail_width: Band
    quantiles_1: FloatArray
    quantiles_60: FloatArray


def stretches_of(markets: Sequence[Bars]) -> list[Bars]:
    """Return the whole weeks of some series; where they have none, their longest stretch without a gap."""
    weeks = [week for bars in markets for week in bars.windows(WEEK_RETURNS)]
    if weeks:
        return weeks
    return [max((run for bars in markets for run in bars.runs()), key=len)]


def curves_of(label: str, markets: Sequence[Bars]) -> Curves:
    """Return the curves of one symbol, from one series or several (runs of a simulation).

    Units: bars of one minute
    """
    check(all(bars.interval_ns == NS_PER_MINUTE for bars in markets), "curves are drawn from bars of one minute")
    samples = [Sample(week) for week in stretches_of(markets)]
    returns = [sample.returns for sample in samples]
    scaled = [values / (measures.spread(values) or 1.0) for values in returns]
    lags = ACF_LAGS[max(2, min(map(len, returns)) // 3) > ACF_LAGS * LAG_WIDTH]
    return Curves(
        label=label,
        weeks=len(samples),
        falls=_band(TAIL_SIGMAS, [_survival(-values) for values in scaled]),
        rises=_band(TAIL_SIGMAS, [_survival(values) for values in scaled]),
        acf_abs=_band(lags.astype(np.float64), [_memory(sample.sizes, lags) for sample in samples]),
        season=_band(np.arange(HOURS, dtype=np.float64), [_season(sample) for sample in samples]),
        tail_width=_band(
            np.array(HORIZONS, np.float64),
            [
                np.array([measures.quantile_kurtosis(measures.block_sums(values, minutes)) for minutes in HORIZONS])
                for values in returns
            ],
        ),
        quantiles_1=_pooled(scaled, 1),
        quantiles_60=_pooled(scaled, 60),
    )


def _band(x: FloatArray, rows: Sequence[FloatArray]) -> Band:
    stacked = np.array(rows)
    # An hour that no week has stays empty; that is no reason to warn.
    known = np.where(np.isfinite(stacked).any(axis=0), stacked, 0.0)
    low, median, high = np.nanquantile(known, (0.05, 0.5, 0.95), axis=0)
    empty = ~np.isfinite(stacked).any(axis=0)
    return Band(x, *(np.where(empty, np.nan, part) for part in (median, low, high)))


def _survival(scaled: FloatArray) -> FloatArray:
    ordered = np.sort(scaled)
    return 1.0 - np.searchsorted(ordered, TAIL_SIGMAS, side="right") / len(ordered)


def _memory(sizes: FloatArray, lags: Int64Array) -> FloatArray:
    memory = measures.autocorrelation(sizes, int(lags[-1] * LAG_WIDTH) + 1)
    return np.array([memory[round(lag / LAG_WIDTH) : round(lag * LAG_WIDTH) + 1].mean() for lag in lags.tolist()])


def _season(sample: Sample) -> FloatArray:
    sizes = hourly_sizes(sample)
    known = np.isfinite(sizes)
    level = sizes[known].mean() if known.any() else 0.0
    return sizes / level if level > 0.0 else np.full(HOURS, np.nan)


def _pooled(scaled: Sequence[FloatArray], horizon: int) -> FloatArray:
    pooled = np.concatenate([measures.present(measures.block_sums(values, horizon)) for values in scaled])
    return np.quantile(pooled / (measures.spread(pooled) or 1.0), PROBABILITIES)
