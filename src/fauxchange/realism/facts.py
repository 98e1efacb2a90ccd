"""The 27 facts of a week of one-minute prices, each with its one definition.

A fact is a number that is computed from the log returns of the closes (and, for two, from the volumes); where those of
real weeks lie is data (`reference`). What "minute" means below is one bar: facts are compared between bars of one
minute, and of windows of one length.

Source: Cont (2001), Empirical properties of asset returns; Zumbach and Lynch (2001), Heterogeneous volatility cascade,
for the coarse-to-fine asymmetry; Di Matteo (2007), Multi-scaling in finance, for the Hurst exponents
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from fauxchange.domain.times import NS_PER_HOUR
from fauxchange.realism import measures
from fauxchange.realism.bars import Bars, FloatArray

HOUR_BARS = 60
LONGEST_LAG = 240
LONGEST_GAP_BARS = 1_440
"""A longer gap is kept as one of this length, which is more than the longest memory that is measured."""
FIRST_PASSAGE_SIGMAS = 10.0
CONDITIONAL_HALF_LIFE = 30.0
CONDITIONAL_WARM_UP = 60
ARCH_LAGS = 10
ARCH_CAP = 0.999
HURST_SCALES = (1, 2, 4, 8, 16, 32, 64)
DECAY_BINS = 15


class Sample:
    """The returns of a window, and what several facts need of them, computed once.

    Shapes: returns, hours and volumes (n,): one per bar after the first; returns and volumes are NaN in gaps
    Units:  hours in UTC, of the bar that a return leads to
    """

    def __init__(self, bars: Bars) -> None:
        steps = np.clip(np.rint(np.diff(bars.open_ns) / bars.interval_ns), 1, LONGEST_GAP_BARS + 1).astype(np.int64)
        places = np.cumsum(steps) - 1
        count = int(places[-1]) + 1 if len(places) else 0
        # No return across a gap: what happened in it is not known.
        known = steps == 1
        self.returns = np.full(count, np.nan)
        self.returns[places[known]] = np.diff(np.log(bars.close))[known]
        self.hours = np.zeros(count, np.int64)
        self.hours[places] = bars.open_ns[1:] // NS_PER_HOUR % 24
        self.volumes: FloatArray | None = None
        if bars.volume is not None and bool((bars.volume > 0.0).any()):
            self.volumes = np.full(count, np.nan)
            self.volumes[places] = bars.volume[1:]

    @cached_property
    def sizes(self) -> FloatArray:
        """The absolute returns."""
        return np.asarray(np.abs(self.returns), np.float64)

    @cached_property
    def size_memory(self) -> FloatArray:
        """The autocorrelations of absolute returns."""
        return measures.autocorrelation(self.sizes, LONGEST_LAG)

    @cached_property
    def return_memory(self) -> FloatArray:
        """The autocorrelations of returns."""
        return measures.autocorrelation(self.returns, 20)

    @cached_property
    def hourly_log_volatility(self) -> FloatArray:
        """The logarithm of realised volatility, hour by hour from the start of the window."""
        variances = measures.block_sums(self.returns * self.returns, HOUR_BARS)
        result = np.full(len(variances), np.nan)
        moved = np.isfinite(variances) & (variances > 0.0)
        result[moved] = 0.5 * np.log(variances[moved])
        return result

    @cached_property
    def conditional(self) -> FloatArray:
        """Returns over the usual size of those before them."""
        usual = measures.mean_before(self.sizes, CONDITIONAL_HALF_LIFE)[CONDITIONAL_WARM_UP:]
        result = np.full(len(usual), np.nan)
        moved = np.isfinite(usual) & (usual > 0.0)
        result[moved] = self.returns[CONDITIONAL_WARM_UP:][moved] / usual[moved]
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact. `structural` ones are those that noise without memory or tails fails.

    `is_set_by_direction` marks what a scenario that moves the price sets by itself.
    """

    name: str
    title: str
    meaning: str
    measure: Callable[[Sample], float]
    structural: bool = True
    needs_volume: bool = False
    is_set_by_direction: bool = False


def facts_of(bars: Bars) -> dict[str, float]:
    """Return every fact of one window, NaN where it cannot be computed."""
    sample = Sample(bars)
    return {fact.name: fact.measure(sample) for fact in FACTS}


def hourly_sizes(sample: Sample) -> FloatArray:
    """Return the mean absolute return of each UTC hour, NaN of hours without any. Shapes: (24,)."""
    known = np.isfinite(sample.returns)
    counts = np.bincount(sample.hours[known], minlength=24)
    sums = np.bincount(sample.hours[known], sample.sizes[known], minlength=24)
    result = np.full(24, np.nan)
    result[counts > 0] = sums[counts > 0] / counts[counts > 0]
    return result


def _quantile_kurtosis_of_hours(sample: Sample) -> float:
    return measures.quantile_kurtosis(measures.block_sums(sample.returns, HOUR_BARS))


def _aggregation(sample: Sample) -> float:
    return measures.ratio(_quantile_kurtosis_of_hours(sample), measures.quantile_kurtosis(sample.returns))


def _decay(sample: Sample) -> float:
    edges = np.unique(np.ceil(np.geomspace(1, LONGEST_LAG + 1, DECAY_BINS + 1) - 1e-9).astype(np.int64))
    logs: list[float] = []
    memories: list[float] = []
    for first, end in pairwise(edges.tolist()):
        mean = float(sample.size_memory[first:end].mean())
        if mean > 0.0:
            logs.append(float(np.log(np.arange(first, end)).mean()))
            memories.append(math.log(mean))
    return -measures.slope(np.array(logs), np.array(memories)) if len(logs) > 2 else math.nan


def _arch(sample: Sample) -> float:
    squares = measures.centred(sample.returns) ** 2
    known = measures.present(squares)
    if not len(known):
        return math.nan
    return measures.autoregression_r2(np.minimum(squares, np.quantile(known, ARCH_CAP)), ARCH_LAGS)


def _leverage(sample: Sample) -> float:
    if len(sample.returns) <= 11:
        return math.nan
    return _mean(measures.lagged_correlation(sample.returns, sample.sizes, lag) for lag in range(1, 11))


def _tail_ratio(sample: Sample) -> float:
    known = measures.present(sample.returns)
    if not len(known):
        return math.nan
    low, high = np.quantile(known, (0.01, 0.99)).tolist()
    return measures.ratio(-low, high)


def _first_passage(sample: Sample) -> float:
    moves = measures.centred(sample.returns)
    return measures.ratio(*measures.first_passage_medians(moves, FIRST_PASSAGE_SIGMAS * measures.spread(moves)))


def _multifractality(sample: Sample) -> float:
    moves = measures.centred(sample.returns)
    first, third = (measures.hurst_exponent(moves, power, HURST_SCALES) for power in (1, 3))
    return first - third


def _coarse_to_fine(sample: Sample) -> float:
    coarse = np.abs(measures.block_sums(sample.returns, HOUR_BARS))
    fine = measures.block_sums(sample.sizes, HOUR_BARS)
    if len(coarse) <= 4:
        return math.nan
    return _mean(
        measures.lagged_correlation(coarse, fine, lag) - measures.lagged_correlation(fine, coarse, lag)
        for lag in (1, 2, 3)
    )


def _season(sample: Sample) -> float:
    hours = hourly_sizes(sample)
    return measures.ratio(float(hours.max()), float(hours.min()))


def _volume_and_size(sample: Sample) -> float:
    return math.nan if sample.volumes is None else measures.rank_correlation(sample.sizes, sample.volumes)


def _volume_memory(sample: Sample) -> float:
    if sample.volumes is None:
        return math.nan
    # The median is added so that a bar without any volume does no harm.
    known = measures.present(sample.volumes)
    median = float(np.median(known)) if len(known) else 0.0
    if not median > 0.0:
        return math.nan
    return float(measures.autocorrelation(np.log(sample.volumes + median), 60)[60])


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _memory(lag: int) -> Callable[[Sample], float]:
    return lambda sample: float(sample.size_memory[lag])


FACTS: tuple[Fact, ...] = (
    Fact(
        name="kurt_1",
        title="heavy tails",
        meaning="Excess kurtosis of one-minute returns: 0 for a bell curve, large where big moves are not rare",
        measure=lambda sample: measures.excess_kurtosis(sample.returns),
    ),
    Fact(
        name="qkurt_1",
        title="heavy tails, robust",
        meaning="How much wider the outer 5 % of returns lie than a bell curve's; no single move decides it",
        measure=lambda sample: measures.quantile_kurtosis(sample.returns),
    ),
    Fact(
        name="hill",
        title="tail index",
        meaning="The power by which big moves become rarer: about 3 in markets, more than 10 for a bell curve",
        measure=lambda sample: measures.hill_index(sample.sizes),
    ),
    Fact(
        name="qkurt_60",
        title="tails at one hour",
        meaning="The robust width of the tails of hourly returns: they are still heavy",
        measure=_quantile_kurtosis_of_hours,
    ),
    Fact(
        name="qkurt_ratio_60_1",
        title="aggregational Gaussianity",
        meaning="Tails of hourly over those of one-minute returns: longer returns come nearer to a bell curve, slowly",
        measure=_aggregation,
    ),
    Fact(
        name="acf_r_1",
        title="no autocorrelation at lag 1",
        meaning="Correlation of a return with the next one: about 0, or there would be easy money",
        measure=lambda sample: float(sample.return_memory[1]),
        structural=False,
        is_set_by_direction=True,
    ),
    Fact(
        name="acf_r_2_20_meanabs",
        title="no autocorrelation, lags 2 to 20",
        meaning="Mean size of the correlation with later returns: no more than chance leaves",
        measure=lambda sample: float(np.abs(sample.return_memory[2:21]).mean()),
        structural=False,
        is_set_by_direction=True,
    ),
    Fact(
        name="vr_15",
        title="variance ratio, 15 minutes",
        meaning="Variance of 15-minute returns over 15 times that of one minute: 1 for a random walk",
        measure=lambda sample: measures.variance_ratio(sample.returns, 15),
        structural=False,
        is_set_by_direction=True,
    ),
    Fact(
        name="vr_60",
        title="variance ratio, 60 minutes",
        meaning="Variance of hourly returns over 60 times that of one minute",
        measure=lambda sample: measures.variance_ratio(sample.returns, 60),
        structural=False,
        is_set_by_direction=True,
    ),
    Fact(
        name="acf_abs_1",
        title="clustering at lag 1",
        meaning="Correlation of the sizes of neighbouring returns: big moves follow big moves",
        measure=_memory(1),
    ),
    Fact(
        name="acf_abs_20",
        title="clustering at lag 20",
        meaning="The same, 20 minutes apart",
        measure=_memory(20),
    ),
    Fact(
        name="acf_abs_60",
        title="clustering at lag 60",
        meaning="The same, an hour apart",
        measure=_memory(60),
    ),
    Fact(
        name="acf_abs_240",
        title="clustering at lag 240",
        meaning="The same, four hours apart",
        measure=_memory(LONGEST_LAG),
    ),
    Fact(
        name="acf_abs_beta",
        title="decay of clustering",
        meaning="The power by which the memory of sizes fades with the lag: slowly, 0.2 to 0.4",
        measure=_decay,
    ),
    Fact(
        name="arch_lm_r2",
        title="ARCH effect",
        meaning="Share of the squared returns' variance that the last ten explain",
        measure=_arch,
    ),
    Fact(
        name="sd_log_rv_1h",
        title="dispersion of hourly volatility",
        meaning="Standard deviation of the logarithm of realised hourly volatility: how calm and wild hours differ",
        measure=lambda sample: measures.spread(sample.hourly_log_volatility),
    ),
    Fact(
        name="acf_logrv_6h",
        title="memory of hourly volatility",
        meaning="Correlation of the logarithm of hourly volatility with that of six hours later",
        measure=lambda sample: float(measures.autocorrelation(sample.hourly_log_volatility, 6)[6]),
    ),
    Fact(
        name="qkurt_cond",
        title="conditional heavy tails",
        meaning="Robust width of the tails after dividing by recent volatility: surprises remain",
        measure=lambda sample: measures.quantile_kurtosis(sample.conditional),
    ),
    Fact(
        name="hill_cond",
        title="conditional tail index",
        meaning="Tail index after dividing by recent volatility",
        measure=lambda sample: measures.hill_index(np.abs(sample.conditional)),
    ),
    Fact(
        name="leverage_1_10",
        title="leverage",
        meaning="Correlation of a return with the sizes of the next ten: about 0, or a little negative",
        measure=_leverage,
        structural=False,
    ),
    Fact(
        name="tail_ratio_down_up",
        title="gain and loss asymmetry",
        meaning="The 1 % worst over the 1 % best return: 1 where losses and gains are alike",
        measure=_tail_ratio,
        structural=False,
    ),
    Fact(
        name="first_passage_down_up",
        title="waiting times of loss and gain",
        meaning="Median time until the price is 10 sigma lower over that until it is 10 sigma higher",
        measure=_first_passage,
        structural=False,
        is_set_by_direction=True,
    ),
    Fact(
        name="ghe_1_minus_3",
        title="multifractality",
        meaning="Hurst exponent of sizes less that of their cubes: 0 where all moments scale alike",
        measure=_multifractality,
    ),
    Fact(
        name="coarse_fine_asym",
        title="coarse-to-fine asymmetry",
        meaning="How much better hourly moves foretell later fine volatility than the other way round: 0 if time is "
        "reversible",
        measure=_coarse_to_fine,
    ),
    Fact(
        name="season_max_min",
        title="daily season",
        meaning="Mean size of returns in the liveliest hour of the day over that in the quietest",
        measure=_season,
    ),
    Fact(
        name="vol_volume_spearman",
        title="volume and volatility",
        meaning="Rank correlation of the size of a return and the volume of its minute",
        measure=_volume_and_size,
        needs_volume=True,
    ),
    Fact(
        name="acf_logvolume_60",
        title="volume memory",
        meaning="Correlation of the logarithm of volume with that of an hour later",
        measure=_volume_memory,
        needs_volume=True,
    ),
)
"""All facts, in the order of reports."""
