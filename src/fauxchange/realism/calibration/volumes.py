"""Fit how much trades: its level and season, how it follows volatility and returns, and what memory is left."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from fauxchange.domain.times import NS_PER_DAY
from fauxchange.realism.bars import FloatArray, Int64Array
from fauxchange.realism.calibration.fitting import Advance, by_hour, smoothed, standardised
from fauxchange.realism.calibration.moments import autocovariance, cross_covariance, log_lags
from fauxchange.realism.calibration.series import Series
from fauxchange.realism.calibration.windows import Plan, simulate_windows
from fauxchange.services.market_data.core.parameters import HOURS, LmvParameters

ROUNDS = 4
AHEAD_LAGS = np.arange(1, 31, dtype=np.int64)
NO_LAG = np.zeros(1, np.int64)
RETURN_SLOPE = 0.45
"""How much the covariance of log volume and size of return grows with the return effect: that of abs N(0,1) itself."""
MOST_POWER = 3.0
MOST_EFFECT = 2.0
MOST_NOISE = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Volumes:
    """What is matched of volume. Shapes: memory (lags,)."""

    mean: float
    variance: float
    memory: FloatArray
    ahead: float
    """Covariance of log volume with the sizes of the returns that follow, over their mean."""
    at_once: float


def season_of_volume(series: Series, log_volumes: FloatArray) -> FloatArray:
    """Return the geometric mean of volume by part of the day, smoothed, with mean 1."""
    middle = float(np.nanmean(log_volumes))
    logs = [np.nanmean(each) if np.isfinite(each).any() else middle for each in _by_slot(log_volumes, series)]
    season = np.exp(np.array(logs) - middle)
    season = smoothed(season) if series.slots_a_day == HOURS else season
    return np.asarray(season / season.mean())


def _by_slot(values: FloatArray, series: Series) -> list[FloatArray]:
    return [values[series.slots == slot] for slot in range(series.slots_a_day)]


def fit_volume(
    series: Series,
    log_volumes: FloatArray,
    plan: Plan,
    parameters: LmvParameters,
    season: FloatArray,
    advance: Advance,
    *,
    is_whole: bool,
) -> LmvParameters:
    """Return parameters whose volume is that of the series.

    `season` is that of volatility by part of the day. Without `is_whole` only the level and the season are fitted.
    """
    own = season_of_volume(series, log_volumes) if is_whole else np.ones(series.slots_a_day)
    lags = log_lags(max(2, min(plan.returns // 8, int(2 * NS_PER_DAY // plan.interval_ns))))
    wanted = _volumes(log_volumes, series.returns, series.slots, own, season, lags)
    volume = replace(parameters.volume, level=wanted.mean - np.log(series.minutes))
    if is_whole:
        volume = replace(volume, season=by_hour(own))
    exponentials = np.exp(-np.outer(lags * series.minutes, 1.0 / np.array(plan.table.factor_minutes)))
    memory = wanted.memory.copy()
    for _ in range(ROUNDS):
        parameters = replace(parameters, volume=volume)
        sample = simulate_windows(plan, parameters)
        advance()
        slots = sample.opens_ns // (NS_PER_DAY // series.slots_a_day) % series.slots_a_day
        found = _volumes(sample.log_volumes, sample.returns, slots, own, season, lags)
        volume = replace(
            volume,
            level=volume.level + wanted.mean - found.mean,
            mean_log_volatility=sample.mean_log_volatility,
        )
        if is_whole:
            power = volume.volatility_power * min(max(wanted.ahead / max(found.ahead, 1e-6), 0.6), 1.6)
            effect = volume.return_effect + (wanted.at_once - found.at_once) / RETURN_SLOPE
            memory = memory + wanted.memory - found.memory
            before = sum(volume.weights)
            weights, _ = nnls(exponentials, memory)
            noise = volume.noise + wanted.variance - found.variance - float(weights.sum()) + before
            volume = replace(
                volume,
                volatility_power=round(min(max(power, 0.1), MOST_POWER), 4),
                return_effect=round(min(max(effect, 0.0), MOST_EFFECT), 4),
                weights=tuple(round(float(weight), 4) for weight in weights),
                noise=round(min(max(noise, 0.01), MOST_NOISE), 4),
            )
    level, mean = round(float(volume.level), 3), round(volume.mean_log_volatility, 4)
    return replace(parameters, volume=replace(volume, level=level, mean_log_volatility=mean))


def _volumes(
    logs: FloatArray, returns: FloatArray, slots: Int64Array, own: FloatArray, season: FloatArray, lags: Int64Array
) -> _Volumes:
    flat = logs - np.log(own)[slots]
    sizes = np.abs(standardised(returns, slots, season))
    mean_size = float(np.nanmean(sizes))
    covariance = autocovariance(flat, lags, keep_first=True)
    return _Volumes(
        mean=float(np.nanmean(flat)),
        variance=float(covariance[0]),
        memory=covariance[1:],
        ahead=float(np.mean(cross_covariance(flat, sizes, AHEAD_LAGS))) / mean_size,
        at_once=float(cross_covariance(flat, sizes, NO_LAG)[0]) / mean_size,
    )
