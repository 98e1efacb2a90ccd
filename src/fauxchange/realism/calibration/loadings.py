"""Fit how symbols move together: one market factor for their returns, and one for their volatilities.

What is measured on prices (their volatilities move apart, ticks are rounded) enters the model where none of that has
happened yet, so loadings are found by simulating all symbols together and correcting what comes out too low or high.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S
from fauxchange.realism.bars import Bars, FloatArray
from fauxchange.realism.calibration.series import tick_of
from fauxchange.realism.distances import common_times, correlations
from fauxchange.realism.simulating import simulate
from fauxchange.services.market_data.core.parameters import LmvParameters, LmvTable

HORIZONS_MINUTES = (1, 5, 60)
ROUNDS = 4
WEEKS = 12.0
STEP_NS = 15 * NS_PER_S
LEAST_COMMON_DAYS = 1.0
FEWEST_HOURS = 12
MOST_LOADING = 0.985
LEAST_LOADING = 0.05
FACTOR_ROUNDS = 200
LEAST_TICK_SHARE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Loadings:
    """Loadings by symbol, and how the correlations that they make compare with the recorded ones.

    Shapes: wanted and reached (symbols, symbols) by horizon in minutes
    """

    market: Mapping[str, float]
    volatility: Mapping[str, float]
    wanted: Mapping[int, FloatArray]
    reached: Mapping[int, FloatArray]

    @property
    def largest_miss(self) -> float:
        """The largest difference of a pair at any horizon."""
        return max(float(np.abs(self.wanted[each] - self.reached[each]).max()) for each in self.wanted)


def common_days(bars: Mapping[str, Bars]) -> float:
    """Return for how many days all symbols have bars at the same times."""
    return len(common_times(bars)) * NS_PER_MINUTE / NS_PER_DAY


def fit_loadings(
    bars: Mapping[str, Bars],
    parameters: Mapping[str, LmvParameters],
    table: LmvTable,
    *,
    seed: int = 1,
    weeks: float = WEEKS,
    advance: Callable[[], None] = lambda: None,
) -> Loadings:
    """Return the loadings with which the model's correlations come out as those of one-minute bars.

    A pair's correlation is the same at every horizon in the model; in the recording it is not quite, so the middle of
    the horizons is aimed at.

    Raises: InvalidRequest if the bars have too little time in common
    """
    if common_days(bars) < LEAST_COMMON_DAYS:
        raise InvalidRequest(
            f"{', '.join(bars)} have bars at the same times for {common_days(bars):.1f} days only, and at least "
            f"{LEAST_COMMON_DAYS:g} is needed",
            code="unfit_recording",
        )
    wanted = {minutes: correlations(bars, minutes) for minutes in HORIZONS_MINUTES}
    symbols = list(bars)
    market_target = one_factor(_middle(wanted))
    volatility_target = one_factor(volatility_correlations(bars))
    market, volatility = np.minimum(market_target * 1.04, MOST_LOADING), np.minimum(volatility_target, MOST_LOADING)
    tried: list[Loadings] = []
    for _ in range(ROUNDS):
        market, volatility = _rounded(market), _rounded(volatility)
        simulated = _simulated(symbols, bars, parameters, table, market, volatility, seed, weeks)
        advance()
        reached = {minutes: correlations(simulated, minutes) for minutes in wanted}
        tried.append(
            Loadings(
                market=dict(zip(symbols, market.tolist(), strict=True)),
                volatility=dict(zip(symbols, volatility.tolist(), strict=True)),
                wanted=wanted,
                reached=reached,
            )
        )
        market = _corrected(market, market_target, one_factor(_middle(reached)))
        volatility = _corrected(volatility, volatility_target, one_factor(volatility_correlations(simulated)))
    return min(tried, key=lambda each: each.largest_miss)


def one_factor(matrix: FloatArray) -> FloatArray:
    """Return the loadings whose products come nearest to the correlations off the diagonal, none negative.

    Source: Harman and Jones (1966), Factor analysis by minimizing residuals
    """
    count = len(matrix)
    if count == 2:
        return np.full(2, np.sqrt(max(float(matrix[0, 1]), 0.0)))
    loadings = np.full(count, 0.7)
    for _ in range(FACTOR_ROUNDS):
        for index in range(count):
            others = np.arange(count) != index
            square = float((loadings[others] ** 2).sum())
            loadings[index] = float(matrix[index, others] @ loadings[others]) / max(square, 1e-9)
        loadings = np.clip(loadings, 1e-3, 1.0)
    return loadings


def volatility_correlations(bars: Mapping[str, Bars]) -> FloatArray:
    """Return the correlations of the logarithm of hourly volatility, over the hours that all symbols have whole.

    Raises: InvalidRequest if these are too few
    """
    by_hour: list[dict[int, float]] = []
    for each in bars.values():
        returns = np.diff(np.log(each.close))
        hours = each.open_ns[1:] // NS_PER_HOUR
        kept = np.diff(each.open_ns) == each.interval_ns
        names, places = np.unique(hours[kept], return_inverse=True)
        sums = np.bincount(places, weights=returns[kept] ** 2)
        counts = np.bincount(places)
        whole = (counts == NS_PER_HOUR // each.interval_ns) & (sums > 0.0)
        by_hour.append(dict(zip(names[whole].tolist(), (0.5 * np.log(sums[whole])).tolist(), strict=True)))
    common = sorted(set.intersection(*(set(each) for each in by_hour)))
    if len(common) < FEWEST_HOURS:
        raise InvalidRequest(
            f"{', '.join(bars)} have only {len(common)} whole hours without a missing minute in common, and at least "
            f"{FEWEST_HOURS} are needed",
            code="unfit_recording",
        )
    rows = np.array([[each[hour] for hour in common] for each in by_hour])
    return np.asarray(np.corrcoef(rows))


def _corrected(loadings: FloatArray, wanted: FloatArray, reached: FloatArray) -> FloatArray:
    return np.asarray(np.clip(loadings * wanted / np.maximum(reached, LEAST_LOADING), 0.0, MOST_LOADING), np.float64)


def _rounded(values: FloatArray) -> FloatArray:
    return np.asarray(np.round(values, 4), np.float64)


def _middle(by_horizon: Mapping[int, FloatArray]) -> FloatArray:
    matrices = np.stack(list(by_horizon.values()))
    return np.asarray(0.5 * (matrices.min(axis=0) + matrices.max(axis=0)))


def _simulated(
    symbols: list[str],
    bars: Mapping[str, Bars],
    parameters: Mapping[str, LmvParameters],
    table: LmvTable,
    market: FloatArray,
    volatility: FloatArray,
    seed: int,
    weeks: float,
) -> dict[str, Bars]:
    own = {
        symbol: replace(parameters[symbol], market_loading=float(beta), volatility_loading=float(gamma))
        for symbol, beta, gamma in zip(symbols, market, volatility, strict=True)
    }
    prices = {symbol: float(np.median(bars[symbol].close)) for symbol in symbols}
    instruments = []
    for symbol in symbols:
        tick = max(tick_of(bars[symbol]), prices[symbol] * LEAST_TICK_SHARE)
        instruments.append(Instrument(symbol=symbol, tick_size=Decimal(f"{tick:.4g}"), lot_size=Decimal("0.000001")))
    return simulate(
        replace(table, by_symbol=own),
        instruments,
        weeks=weeks,
        seed=seed,
        step_ns=STEP_NS,
        initial_prices={symbol: Decimal(repr(prices[symbol])) for symbol in symbols},
        spread_bps=dict.fromkeys(symbols, 0.0),
    )
