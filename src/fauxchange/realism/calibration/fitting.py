"""Fit the volatility, the jumps and the leverage of one symbol by matching the moments of simulated windows.

The autocovariance of ln abs r is linear in the weights of the volatility factors, so these come from a non-negative
least squares without start values. What that leaves out (jumps, trend feedback, ticks) is seen by simulation, and a
part of the mismatch is added to the targets before the next round. The seed is the same in every round, so rounds
differ by their parameters alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from fauxchange.domain.times import NS_PER_DAY
from fauxchange.realism.bars import FloatArray, Int64Array
from fauxchange.realism.calibration.moments import Moments, log_lags, moments, tails
from fauxchange.realism.calibration.series import Series
from fauxchange.realism.calibration.windows import Plan, Sample, simulate_windows
from fauxchange.services.market_data.core.parameters import HOURS, LmvParameters

ROUNDS = 6
STEP = 0.7
"""Share of the mismatch that is added to the targets."""
LONGEST_LAG_DAYS = 2.0
LONGEST_LAG_BARS = 48
LAG_SHARE = 8
"""No lag is longer than this part of a window."""
FEWEST_WEEK_BARS = 1_000
"""Memory is looked at in weeks as well as in whole windows where a week has so many bars."""
QUIETEST = 0.02
MOST_WEIGHT = 3.0
JUMP_ROUNDS = (0, 2, 4)
JUMP_RATES = (0.001, 0.003, 0.008, 0.02)
JUMP_SCALES = (1.5, 2.2, 3.2, 4.5)
JUMP_GRID = ((0.0, 0.0), *((rate, scale) for rate in JUMP_RATES for scale in JUMP_SCALES))
JUMP_WINDOWS = 2
LEVERAGE_ROUNDS = (1, 3)
LEVERAGE_SLOPE = 0.3
"""About how much the leverage of returns changes with the parameter, before two rounds have shown it."""
MOST_LEVERAGE = 0.6
LOG_SHARE = 0.4
"""How much the logarithms of sizes count beside the sizes, where the model cannot have both right."""
EVENNESS = 0.2
"""How much weights of neighbouring factors are drawn together: the factors are so alike that a month fits one or the
other about equally well, and a weight that is spread serves other months better."""
TAIL_WEIGHT = 0.003
"""What a unit of distance of the tails counts beside a unit of autocorrelation."""

Advance = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """What the recording is long and fine enough for."""

    factors: tuple[bool, ...]
    season: bool
    jumps: bool
    leverage: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A fit of the returns, and how it went: the loss of every round, the moments of both sides."""

    parameters: LmvParameters
    losses: tuple[float, ...]
    wanted: Moments
    reached: Moments


def standardised(returns: FloatArray, slots: Int64Array, season: FloatArray) -> FloatArray:
    """Return returns over the season of their part of the day."""
    return np.asarray(returns / season[slots])


def season_of(series: Series) -> FloatArray:
    """Return the mean size of returns by part of the day, lightly smoothed, with mean 1. Shapes: (slots a day,)."""
    sizes = np.abs(series.returns)
    return season_by_slot(sizes, series, float(np.nanmean(sizes)))


def season_by_slot(values: FloatArray, series: Series, usual: float) -> FloatArray:
    """Return the mean of values by part of the day over that of the whole day; where there are none, the usual."""
    means = np.full(series.slots_a_day, usual)
    for slot in range(series.slots_a_day):
        there = values[series.slots == slot]
        there = there[np.isfinite(there)]
        if len(there):
            # However quiet: nothing can be divided by an hour in which prices stand still.
            means[slot] = max(float(there.mean()), QUIETEST * usual)
    season = smoothed(means) if series.slots_a_day == HOURS else means
    return np.asarray(season / season.mean())


def season_used(series: Series, start: LmvParameters, support: Support) -> FloatArray:
    """Return the season that a fit uses: that of the series if it is supported, else the one there was."""
    if support.season:
        return season_of(series)
    season = np.array(start.season).reshape(series.slots_a_day, HOURS // series.slots_a_day).mean(axis=1)
    return np.asarray(season / season.mean())


def smoothed(season: FloatArray) -> FloatArray:
    """Return a season in which each hour leans a little on its neighbours."""
    return np.asarray(0.5 * season + 0.25 * (np.roll(season, 1) + np.roll(season, -1)))


def by_hour(season: FloatArray) -> tuple[float, ...]:
    """Return a season by UTC hour."""
    return tuple(round(float(season[hour * len(season) // HOURS]), 4) for hour in range(HOURS))


def fit_returns(series: Series, plan: Plan, start: LmvParameters, support: Support, advance: Advance) -> Fit:
    """Return the fit of a series, which keeps the numbers of `start` that nothing supports."""
    return _Fitting(series, plan, start, support, advance).run()


class _Fitting:
    """One fit as it goes on."""

    def __init__(self, series: Series, plan: Plan, start: LmvParameters, support: Support, advance: Advance) -> None:
        self._series = series
        self._plan = plan
        self._support = support
        self._advance = advance
        self._season = season_used(series, start, support)
        scale = float(np.nanstd(standardised(series.returns, series.slots, self._season)))
        self._at = replace(
            start,
            season=by_hour(self._season) if support.season else start.season,
            sigma=scale / math.sqrt(series.minutes),
        )
        longest = max(int(LONGEST_LAG_DAYS * NS_PER_DAY) // plan.interval_ns, LONGEST_LAG_BARS)
        self._lags = log_lags(min(longest, plan.returns // LAG_SHARE))
        real = standardised(series.returns, series.slots, self._season)
        week = 7 * NS_PER_DAY // series.interval_ns
        self._week = week if week >= FEWEST_WEEK_BARS else 0
        self._wanted = moments(real, self._lags, self._week, plain=series.returns)
        self._exponentials = _exponentials(
            np.asarray(self._lags * series.minutes), plan.table.factor_minutes, series.minutes
        )

    def run(self) -> Fit:
        """Go through all rounds and return the best."""
        if not any(self._support.factors):
            reached = self._moments(self._sample())
            self._rescale(reached)
            reached = self._moments(self._sample())
            self._rescale(reached)
            return Fit(parameters=self._at, losses=(), wanted=self._wanted, reached=reached)
        log_sizes = 4.0 * self._wanted.log_sizes
        sizes: FloatArray | None = None
        self._at = replace(self._at, weights=self._weights([log_sizes]))
        tried: list[tuple[LmvParameters, Moments]] = []
        losses: list[float] = []
        earlier: tuple[float, float] | None = None
        for number in range(ROUNDS):
            if self._support.jumps and number in JUMP_ROUNDS:
                self._choose_jumps(everywhere=number == 0)
            reached = self._moments(self._sample())
            losses.append(self._loss(reached))
            self._rescale(reached)
            tried.append((self._at, reached))
            fitted = self._exponentials @ np.array(self._at.weights)
            # Of sizes, too, the autocorrelation is about linear in the autocovariance of log variance.
            slope = max(float(reached.sizes @ fitted) / max(float(fitted @ fitted), 1e-12), 1e-3)
            log_sizes = log_sizes + STEP * 4.0 * (self._wanted.log_sizes - reached.log_sizes)
            sizes = (fitted if sizes is None else sizes) + STEP * (self._wanted.sizes - reached.sizes) / slope
            if self._support.leverage and number in LEVERAGE_ROUNDS:
                now = (self._at.leverage, reached.leverage)
                self._at = replace(self._at, leverage=self._leverage(now, earlier))
                earlier = now
            self._at = replace(self._at, weights=self._weights([sizes, log_sizes]))
        parameters, reached = tried[int(np.argmin(losses))]
        return Fit(parameters=parameters, losses=tuple(losses), wanted=self._wanted, reached=reached)

    def _weights(self, targets: list[FloatArray]) -> tuple[float, ...]:
        """Return the weights that come nearest to the targets; those without support stay as they are."""
        free = np.array(self._support.factors)
        kept = np.array(self._at.weights)
        rest = self._exponentials[:, ~free] @ kept[~free]
        shares = (1.0, LOG_SHARE)[-len(targets) :]
        even = EVENNESS * np.diff(np.eye(len(kept)), axis=0)
        matrix = np.vstack([*(share * self._exponentials[:, free] for share in shares), even[:, free]])
        wanted = [share * (target - rest) for share, target in zip(shares, targets, strict=True)]
        found, _ = nnls(matrix, np.concatenate([*wanted, -even[:, ~free] @ kept[~free]]))
        kept[free] = np.minimum(found, MOST_WEIGHT)
        return tuple(round(float(weight), 4) for weight in kept)

    def _choose_jumps(self, *, everywhere: bool) -> None:
        now = (self._at.jump_rate, self._at.jump_scale)
        choices = JUMP_GRID if everywhere else tuple(each for each in JUMP_GRID if _are_near(each, now))
        found = []
        for rate, scale in choices:
            sample = self._sample(replace(self._at, jump_rate=rate, jump_scale=scale), JUMP_WINDOWS)
            found.append((tails(sample.returns).distance(self._wanted.tails), rate, scale))
        _, rate, scale = min(found)
        self._at = replace(self._at, jump_rate=rate, jump_scale=scale)

    def _leverage(self, now: tuple[float, float], earlier: tuple[float, float] | None) -> float:
        slope = LEVERAGE_SLOPE
        if earlier is not None and abs(now[0] - earlier[0]) > 1e-3:
            slope = max((now[1] - earlier[1]) / (now[0] - earlier[0]), LEVERAGE_SLOPE / 3.0)
        value = now[0] + (self._wanted.leverage - now[1]) / slope
        return round(min(max(value, -MOST_LEVERAGE), MOST_LEVERAGE), 4)

    def _sample(self, parameters: LmvParameters | None = None, windows: int | None = None) -> Sample:
        sample = simulate_windows(self._plan, parameters or self._at, windows)
        self._advance()
        return sample

    def _moments(self, sample: Sample) -> Moments:
        slots = self._series.slots_a_day
        slot_ns = NS_PER_DAY // slots
        each = standardised(sample.returns, sample.opens_ns // slot_ns % slots, self._season)
        return moments(each, self._lags, self._week, plain=sample.returns)

    def _rescale(self, reached: Moments) -> None:
        self._at = replace(self._at, sigma=self._at.sigma * self._wanted.spread / reached.spread)

    def _loss(self, reached: Moments) -> float:
        sizes = float(np.mean(np.abs(reached.sizes - self._wanted.sizes)))
        logs = float(np.mean(np.abs(reached.log_sizes - self._wanted.log_sizes)))
        tail = reached.tails.distance(self._wanted.tails) if self._support.jumps else 0.0
        return sizes + LOG_SHARE**2 * logs + TAIL_WEIGHT * tail


def _exponentials(lag_minutes: FloatArray, factor_minutes: tuple[float, ...], bar_minutes: float) -> FloatArray:
    """Return the autocovariance of each factor's mean over a bar. Shapes: (lags, factors)."""
    columns = []
    for minutes in factor_minutes:
        half = 0.5 * bar_minutes / minutes
        # A factor much quicker than a bar averages out within it.
        blur = (math.sinh(half) / half) ** 2 if half < 20.0 else 0.0
        columns.append(blur * np.exp(-lag_minutes / minutes))
    return np.stack(columns, axis=1)


def _are_near(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Say whether two places of the jump grid are the same or neighbours."""
    places = [
        (JUMP_RATES.index(rate) if rate in JUMP_RATES else -1, JUMP_SCALES.index(scale) if scale in JUMP_SCALES else -1)
        for rate, scale in (one, other)
    ]
    if -1 in places[1]:
        return True
    return one == (0.0, 0.0) or all(abs(a - b) <= 1 for a, b in zip(*places, strict=True))


def runs_of(support: Support) -> int:
    """Return about how many simulated runs a fit takes."""
    if not any(support.factors):
        return 2
    return ROUNDS + (len(JUMP_GRID) + 2 * 8 if support.jumps else 0)
