"""Calibration of one symbol or of several: what is fitted, what is kept, and how much history stands behind it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from fauxchange.domain.times import NS_PER_DAY, NS_PER_MINUTE, format_duration
from fauxchange.realism.bars import Bars
from fauxchange.realism.calibration.fitting import (
    Fit,
    Support,
    fit_returns,
    runs_of,
    season_used,
)
from fauxchange.realism.calibration.series import Series, series_of
from fauxchange.realism.calibration.volumes import ROUNDS as VOLUME_ROUNDS
from fauxchange.realism.calibration.volumes import fit_volume
from fauxchange.realism.calibration.windows import Plan, start_of
from fauxchange.services.market_data.core.parameters import LmvParameters, LmvTable, default_table

Progress = Callable[[str, int, int], None]
"""Hear how far the calibration of a symbol is: runs done, runs in all."""

SIMULATED_DAYS = 210
LENGTHS_NEEDED = 2.3
"""How many time constants of a factor the history must hold: seven days for the slowest, of three days."""
SLOW_MINUTES = 240.0
SLOW_DAYS = 7.0
LEVERAGE_DAYS = 7.0
SEASON_DAYS = 3.0
BARS_A_FACTOR = 4.0
"""How many bars the time constant of a factor must hold where bars are longer than a minute."""
MOST_JUMP_MINUTES = 5.0
VOLUME_LOTS = 1e6
"""Lots of a usual bar: so many that rounding to lots cannot be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorSupport:
    """What stands behind the weight of one volatility factor."""

    minutes: float
    weight: float
    days: float
    is_fitted: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolCalibration:
    """The parameters of a symbol and where they come from."""

    series: Series
    parameters: LmvParameters
    fit: Fit
    factors: tuple[FactorSupport, ...]
    kept: tuple[str, ...]
    """What was left as it is shipped, each with the reason."""


def calibrate_symbol(
    bars: Bars,
    *,
    seed: int = 1,
    start: LmvParameters | None = None,
    table: LmvTable | None = None,
    file: str = "",
    simulated_days: float = SIMULATED_DAYS,
    progress: Progress | None = None,
) -> SymbolCalibration:
    """Fit the model to the bars of one symbol.

    Units:  simulated_days of each simulated run: more of them make a fit less a matter of the seed
    Raises: UnfitData if the bars cannot be fitted, naming `file` and why
    """
    table = table or default_table()
    start = start or table.of(bars.symbol)
    series = series_of(bars, file)
    support, factors, kept = supported(series, table)
    plan = plan_of(series, table, start, seed, simulated_days)
    runs = runs_of(support) + (VOLUME_ROUNDS if series.log_volumes is not None else 0)
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(bars.symbol, min(done, runs), runs)

    fit = fit_returns(series, plan, start, support, advance)
    parameters = fit.parameters
    if series.log_volumes is not None:
        season = season_used(series, start, support)
        is_whole = support.jumps and support.season
        parameters = fit_volume(series, series.log_volumes, plan, parameters, season, advance, is_whole=is_whole)
    parameters = replace(parameters, sigma=float(f"{parameters.sigma:.5g}"))
    if progress is not None:
        progress(bars.symbol, runs, runs)
    told = tuple(replace(each, weight=weight) for each, weight in zip(factors, parameters.weights, strict=True))
    return SymbolCalibration(series=series, parameters=parameters, fit=fit, factors=told, kept=kept)


def supported(series: Series, table: LmvTable) -> tuple[Support, tuple[FactorSupport, ...], tuple[str, ...]]:
    """Return what a series is long and fine enough to say something about, factor by factor, and what it is not."""
    factors = tuple(_factor(series, minutes) for minutes in table.factor_minutes)
    season = series.hours_known and series.days >= SEASON_DAYS
    jumps = series.minutes <= MOST_JUMP_MINUTES
    leverage = series.days >= LEVERAGE_DAYS and any(each.is_fitted for each in factors)
    kept = [
        f"the weight of the volatility factor of {minutes_text(each.minutes)}: {each.reason}"
        for each in factors
        if not each.is_fitted
    ]
    days = f"{series.days:.1f} days"
    if not season:
        kept.append(
            f"the hourly profiles: {days} are fewer than {SEASON_DAYS:g}"
            if series.hours_known
            else "the hourly profiles: bars are longer than parts of a day"
        )
    if not jumps:
        kept.append("the jumps: bars are longer than jumps can be told from")
    if not leverage:
        kept.append(f"the leverage: {days} of such bars say too little about it")
    if series.log_volumes is None:
        kept.append("the volume: the file has none")
    elif not (jumps and season):
        kept.append("the volume but for its level: it needs bars of minutes over days")
    return (
        Support(factors=tuple(each.is_fitted for each in factors), season=season, jumps=jumps, leverage=leverage),
        factors,
        tuple(kept),
    )


def minutes_text(minutes: float) -> str:
    """Return a time constant as people say it: 4m, 1h, 3d."""
    return format_duration(round(minutes * NS_PER_MINUTE))


def plan_of(
    series: Series, table: LmvTable, start: LmvParameters, seed: int, simulated_days: float = SIMULATED_DAYS
) -> Plan:
    """Return what is simulated to calibrate a series."""
    returns = series.returns.shape[1]
    window_days = returns * series.interval_ns / NS_PER_DAY
    level = start.volume.level if series.log_volumes is None else float(np.nanmedian(series.log_volumes))
    return Plan(
        symbol=series.symbol,
        table=table,
        interval_ns=series.interval_ns,
        start_ns=start_of(series.first_ns),
        returns=returns,
        windows=max(2, round(simulated_days / window_days)),
        tick=series.tick,
        lot=math.exp(level) / VOLUME_LOTS,
        price=series.price,
        seed=seed,
    )


def _factor(series: Series, minutes: float) -> FactorSupport:
    days = minutes * NS_PER_MINUTE / NS_PER_DAY
    needed = SLOW_DAYS if minutes >= SLOW_MINUTES else max(1.0, LENGTHS_NEEDED * days)
    text = f"{series.days:.1f} days"
    if series.minutes > 1.0 and minutes < BARS_A_FACTOR * series.minutes:
        reason = f"bars of {format_duration(series.interval_ns)} are too long to see it"
        return FactorSupport(minutes=minutes, weight=0.0, days=series.days, is_fitted=False, reason=reason)
    if series.days < needed:
        reason = f"{text} are fewer than {needed:g}"
        return FactorSupport(minutes=minutes, weight=0.0, days=series.days, is_fitted=False, reason=reason)
    lengths = series.days / days
    return FactorSupport(
        minutes=minutes, weight=0.0, days=series.days, is_fitted=True, reason=f"{text}, {lengths:.0f} times its length"
    )
