"""The statistics that a calibration matches."""

import numpy as np
import pytest
from calibration_kit import noise_bars

from fauxchange.realism.calibration.fitting import smoothed
from fauxchange.realism.calibration.loadings import one_factor, volatility_correlations
from fauxchange.realism.calibration.moments import autocovariance, cross_covariance, leverage, log_lags, moments

NOISE = np.diff(np.log(noise_bars(4_001).close)).reshape(2, 2_000)


def test_lags_are_whole_and_evenly_spaced_on_a_log_scale() -> None:
    lags = log_lags(2_880)

    assert (lags[0], lags[-1]) == (1, 2_880)
    assert np.all(np.diff(lags) > 0)
    assert log_lags(1).tolist() == [1]


def test_covariance_is_that_of_the_pairs_that_are_there() -> None:
    early, late = NOISE.copy(), np.roll(NOISE, 3, axis=1)
    early[0, 100:150] = np.nan
    lag = np.array([3])

    found = cross_covariance(early, late, lag)

    by_hand = []
    for first, second in zip(early, late, strict=True):
        x, y = first - np.nanmean(first), second - np.nanmean(second)
        by_hand.append(np.nanmean(x[:-3] * y[3:]))
    assert found == pytest.approx(by_hand[0] / 2 + by_hand[1] / 2)
    assert found[0] == pytest.approx(float(np.var(NOISE)), rel=0.05)


def test_the_covariance_at_lag_0_is_the_variance() -> None:
    assert autocovariance(NOISE, np.array([1]), keep_first=True)[0] == pytest.approx(NOISE.var(axis=1).mean())


def test_noise_has_no_memory_and_its_tails_are_normal() -> None:
    found = moments(NOISE, log_lags(100), week=500)

    assert np.abs(found.sizes).max() < 0.1
    assert abs(found.leverage) < 0.03
    assert found.tails.qkurt == pytest.approx(0.0, abs=0.1)
    assert found.tails.distance(found.tails) == 0.0


def test_leverage_is_negative_where_falls_are_followed_by_large_moves() -> None:
    sizes = np.ones_like(NOISE)
    sizes[:, 1:] = np.where(NOISE[:, :-1] < 0.0, 2.0, 1.0)

    assert leverage(NOISE * sizes) < -0.02 < leverage(NOISE)


def test_a_single_wrong_price_is_no_leverage() -> None:
    whole = np.diff(np.log(noise_bars(20_001).close)).reshape(1, 20_000)
    broken = whole.copy()
    broken[0, 1_000:1_002] = [1.3, -1.3]

    assert leverage(broken) - leverage(whole) > 0.05
    assert moments(broken, log_lags(100)).leverage == pytest.approx(leverage(whole), abs=0.015)


def test_smoothing_keeps_the_mean() -> None:
    season = np.arange(1.0, 25.0)

    assert smoothed(season).mean() == pytest.approx(season.mean())
    assert smoothed(season)[5] == season[5]


def test_one_factor_gives_back_the_loadings_that_made_the_matrix() -> None:
    loadings = np.array([0.5, 0.8, 0.9, 0.7])
    matrix = np.outer(loadings, loadings)
    np.fill_diagonal(matrix, 1.0)

    assert one_factor(matrix) == pytest.approx(loadings, abs=1e-6)
    assert one_factor(matrix[:2, :2]).tolist() == pytest.approx([0.4**0.5] * 2)
    assert one_factor(np.array([[1.0, -0.3], [-0.3, 1.0]])).tolist() == [0.0, 0.0]


def test_volatility_moves_with_itself() -> None:
    one = noise_bars()

    matrix = volatility_correlations({"A": one, "B": one, "C": noise_bars(seed=2)})

    assert matrix[0, 1] == pytest.approx(1.0)
    assert abs(matrix[0, 2]) < 0.6
