"""Statistics against values worked out by hand, known in closed form, or computed the slow way."""

import math

import numpy as np
import pytest
from realism_kit import autoregressive, noise

from fauxchange.domain.arithmetic import FloatArray, normal_quantiles
from fauxchange.realism import measures

POINTS = (np.arange(100_000) + 0.5) / 100_000 - 0.5


def test_kurtosis_of_a_coin_is_minus_two_and_of_a_rare_jump_large() -> None:
    coin = np.array([1.0, -1.0] * 5)
    rare = np.array([3.0, *[0.0] * 8, -3.0])

    assert measures.excess_kurtosis(coin) == pytest.approx(-2.0)
    # Variance 2 * 9 / 10, fourth moment 2 * 81 / 10.
    assert measures.excess_kurtosis(rare) == pytest.approx(16.2 / 1.8**2 - 3.0)
    assert measures.excess_kurtosis(rare + 5.0) == pytest.approx(2.0)


def test_quantile_kurtosis_is_zero_for_the_normal_law_and_known_for_the_laplace_law() -> None:
    normal = normal_quantiles(POINTS)
    laplace = -np.sign(POINTS) * np.log(1.0 - 2.0 * np.abs(POINTS))

    assert measures.quantile_kurtosis(normal) == pytest.approx(0.0, abs=1e-3)
    # Quantiles at 97.5 % and 75 % of a Laplace law are ln 20 and ln 2.
    assert measures.quantile_kurtosis(laplace) == pytest.approx(math.log(20) / math.log(2) / 2.90585 - 1.0, abs=2e-3)


def test_quantile_kurtosis_does_not_see_a_single_outlier() -> None:
    values = noise(10_000)

    spiked = np.concatenate((values[:-1], [1e6]))

    assert measures.quantile_kurtosis(spiked) == pytest.approx(measures.quantile_kurtosis(values), abs=0.02)


@pytest.mark.parametrize("index", [1.5, 3.0, 5.0])
def test_hill_index_of_an_exact_pareto_sample(index: float) -> None:
    count = 100_000
    values = (np.arange(1, count + 1) / count) ** (-1.0 / index)

    measured = measures.hill_index(values)

    # The mean of ln((k + 1) / i) over i = 1 .. k, of which 1 is the limit.
    tails = [int(count * fraction) for fraction in measures.TAIL_FRACTIONS]
    exact = np.mean([index / np.mean(np.log((k + 1) / np.arange(1, k + 1))) for k in tails])
    assert measured == pytest.approx(exact)
    assert measured == pytest.approx(index, rel=0.02)


def test_hill_index_does_not_depend_on_the_unit_and_ignores_zeros() -> None:
    values = np.abs(noise(5_000)) + 0.1

    scaled = np.concatenate((values * 1e-4, np.zeros(700)))

    assert measures.hill_index(scaled) == pytest.approx(measures.hill_index(values))


@pytest.mark.parametrize("memory", [0.7, -0.4])
def test_autocorrelation_of_an_autoregressive_series(memory: float) -> None:
    values = autoregressive(100_000, memory)

    measured = measures.autocorrelation(values, 5)

    assert measured.tolist() == pytest.approx([memory**lag for lag in range(6)], abs=0.02)


def test_autocorrelation_of_an_alternating_series_is_one_in_size_at_every_lag() -> None:
    values = np.array([1.0, -1.0] * 50)

    assert measures.autocorrelation(values, 4).tolist() == pytest.approx([1.0, -1.0, 1.0, -1.0, 1.0])


def test_autocorrelation_uses_the_pairs_that_no_gap_touches() -> None:
    values = autoregressive(300, 0.6)
    values[[10, 57, 58, 59, 200]] = np.nan

    measured = measures.autocorrelation(values, 20)

    slow = slow_autocorrelation(values, 20)
    assert measured.tolist() == pytest.approx(slow.tolist())


def test_autocorrelation_beyond_the_series_and_of_a_constant_is_unknown() -> None:
    assert np.isnan(measures.autocorrelation(np.ones(50), 3)).all()
    assert np.isnan(measures.autocorrelation(np.zeros(0), 3)).all()
    short = measures.autocorrelation(np.array([1.0, 2.0, 4.0]), 5)
    assert np.isfinite(short[:3]).all()
    assert np.isnan(short[3:]).all()


def test_variance_ratio_of_a_random_walk_is_one_and_known_for_an_autoregressive_series() -> None:
    walk, trending = noise(200_000), autoregressive(200_000, 0.3)

    # 1 + 2 * sum of (1 - k / q) * memory**k
    known = 1.0 + 2.0 * sum((1.0 - k / 15) * 0.3**k for k in range(1, 15))
    assert measures.variance_ratio(walk, 15) == pytest.approx(1.0, abs=0.03)
    assert measures.variance_ratio(trending, 15) == pytest.approx(known, abs=0.05)


def test_sums_leave_out_what_a_gap_lies_in() -> None:
    values = np.array([1.0, 2.0, np.nan, 4.0, 5.0, 6.0])

    assert measures.rolling_sums(values, 2).tolist() == [3.0, 9.0, 11.0]
    assert measures.block_sums(values, 2).tolist()[0::2] == [3.0, 11.0]
    assert math.isnan(measures.block_sums(values, 2)[1])


def test_hurst_exponents_of_brownian_motion_are_a_half_and_of_a_trend_one() -> None:
    scales = (1, 2, 4, 8, 16, 32, 64)
    steps = noise(200_000)

    assert measures.hurst_exponent(steps, 1, scales) == pytest.approx(0.5, abs=0.01)
    assert measures.hurst_exponent(steps, 3, scales) == pytest.approx(0.5, abs=0.02)
    assert measures.hurst_exponent(np.ones(1_000), 2, scales) == pytest.approx(1.0)


def test_rank_correlation_shares_ranks_of_equal_values() -> None:
    # Ranks 1 2 3 4 5 and 1 2 3.5 5 3.5: 1 - 6 * sum(d^2) / (n^3 - n) corrected for the tie.
    x, y = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([5.0, 6.0, 7.0, 8.0, 7.0])

    assert measures.ranks(y).tolist() == [1.0, 2.0, 3.5, 5.0, 3.5]
    assert measures.rank_correlation(x, y) == pytest.approx(0.8207826816681233)
    assert measures.rank_correlation(x, np.exp(x)) == pytest.approx(1.0)


def test_mean_before_weighs_by_half_lives_and_never_looks_ahead() -> None:
    values = np.abs(noise(1_000))
    values[300:310] = np.nan

    measured = measures.mean_before(values, 30.0)

    assert math.isnan(measured[0])
    assert measured[1] == pytest.approx(values[0])
    for at in (2, 31, 255, 256, 257, 305, 311, 999):
        ages = at - 1 - np.arange(at)
        there = np.isfinite(values[:at])
        weights = (0.5 ** (ages / 30.0))[there]
        assert measured[at] == pytest.approx((weights * values[:at][there]).sum() / weights.sum()), at


def test_share_that_the_past_explains_of_an_autoregressive_series_is_its_squared_memory() -> None:
    values = autoregressive(100_000, 0.7)

    assert measures.autoregression_r2(values, 10) == pytest.approx(0.49, abs=0.01)
    assert measures.autoregression_r2(noise(100_000), 10) == pytest.approx(0.0, abs=0.001)
    # Of any size: what is small is not taken for nothing.
    assert measures.autoregression_r2(values * 1e-9, 10) == pytest.approx(measures.autoregression_r2(values, 10))


def test_first_passages_are_those_that_a_slow_search_finds() -> None:
    moves = noise(3_000)
    path = np.concatenate(([0.0], np.cumsum(moves)))
    starts = np.linspace(0, len(moves) - 1, measures.FIRST_PASSAGE_STARTS).astype(np.int64)

    fall, rise = measures.first_passage_medians(moves, 10.0)

    def slow(direction: float) -> float:
        steps = []
        for start in starts.tolist():
            reached = np.flatnonzero(direction * (path[start + 1 :] - path[start]) >= 10.0)
            steps.append(reached[0] + 1.0 if len(reached) else math.inf)
        return float(np.median(steps))

    assert (fall, rise) == (slow(-1.0), slow(1.0))


def test_first_passage_of_a_straight_line() -> None:
    fall, rise = measures.first_passage_medians(np.ones(10_000), 10.0)

    assert (fall, rise) == (math.inf, 10.0)


def test_distances_of_distributions_of_a_few_points() -> None:
    x, y = np.array([0.0, 1.0, 3.0]), np.array([5.0, 6.0, 8.0])

    assert measures.wasserstein_distance(x, y) == pytest.approx(5.0)
    assert measures.kolmogorov_distance(x, y) == 1.0
    assert measures.kolmogorov_distance(np.array([1.0, 2.0]), np.array([1.0, 2.0, 3.0, 4.0])) == 0.5
    # A quarter of the mass moves by 1, from 3 to 4.
    assert measures.wasserstein_distance(np.array([1.0, 2.0, 3.0, 3.0]), np.array([1.0, 2.0, 3.0, 4.0])) == 0.25
    assert measures.wasserstein_distance(x, x) == measures.kolmogorov_distance(x, x) == 0.0


def test_nothing_is_known_of_nothing() -> None:
    empty = np.zeros(0)

    assert math.isnan(measures.excess_kurtosis(empty))
    assert math.isnan(measures.quantile_kurtosis(empty))
    assert math.isnan(measures.hill_index(empty))
    assert math.isnan(measures.variance_ratio(empty, 15))
    assert math.isnan(measures.hurst_exponent(empty, 1, (1, 2)))
    assert math.isnan(measures.correlation(empty, empty))
    assert math.isnan(measures.autoregression_r2(empty, 10))
    assert math.isnan(measures.wasserstein_distance(empty, empty))


def slow_autocorrelation(values: FloatArray, lags: int) -> FloatArray:
    centred = values - np.nanmean(values)
    variance = np.nanmean(centred**2)
    covariances = [np.nanmean(centred[: len(centred) - lag] * centred[lag:]) for lag in range(lags + 1)]
    return np.array([covariance / variance for covariance in covariances])
