import json

import numpy as np
import pytest
from realism_kit import autoregressive, bars_of_returns, noise, without_rows

from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.realism.distances import DISTANCES, correlations, distances, shape_from, shape_of

WEEK = 10_080


def test_a_series_has_no_distance_from_itself_whatever_its_unit() -> None:
    returns = 1e-3 * noise(WEEK)

    same = distances(bars_of_returns(returns), bars_of_returns(returns))
    scaled = distances(bars_of_returns(returns), bars_of_returns(3.0 * returns))

    assert list(same) == list(DISTANCES)
    assert all(value == 0.0 for value in same.values()), same
    # One step of the distribution of the hourly returns, where rounding parts what was equal.
    assert all(value == pytest.approx(0.0, abs=1.01 * 60 / WEEK) for value in scaled.values()), scaled


def test_distances_see_tails_memory_and_volatility() -> None:
    calm = bars_of_returns(1e-4 * noise(4 * WEEK))
    volatility = np.exp(0.1 * autoregressive(4 * WEEK, 0.98))
    clustered = bars_of_returns(1e-4 * volatility * noise(4 * WEEK, seed=2))
    alike = bars_of_returns(1e-4 * noise(4 * WEEK, seed=3))

    far, near = distances(calm, clustered), distances(calm, alike)

    for name in ("ks_r", "wasserstein_r", "acf_abs_l1", "hill_diff", "wasserstein_logrv"):
        assert far[name] > 3.0 * near[name], name
    assert near["acf_r_l1"] == pytest.approx(0.005, abs=0.005)


def test_returns_are_compared_in_units_of_their_mean_size() -> None:
    coin = np.array([1.0, -1.0] * 4 * 200)
    # As large in the mean, in one of four minutes.
    rare = np.array([4.0, 0.0, 0.0, 0.0, -4.0, 0.0, 0.0, 0.0] * 200)

    measured = distances(bars_of_returns(1e-4 * coin), bars_of_returns(5e-4 * rare))

    # A quarter of the mass goes from 1 to 4, the rest from 1 to 0.
    assert measured["wasserstein_r"] == pytest.approx(0.25 * 3.0 + 0.75 * 1.0)
    assert measured["ks_r"] == pytest.approx(0.5 - 0.125)


def test_distance_of_return_memory_is_the_mean_difference_over_100_lags() -> None:
    white = bars_of_returns(1e-4 * noise(20 * WEEK))
    trending = bars_of_returns(1e-4 * autoregressive(20 * WEEK, 0.9, seed=2))

    measured = distances(white, trending)["acf_r_l1"]

    assert measured == pytest.approx(sum(0.9**lag for lag in range(1, 101)) / 100, abs=0.01)


def test_a_shape_that_was_written_down_lies_as_far_away_as_its_series() -> None:
    bars = bars_of_returns(1e-4 * noise(4 * WEEK))
    other = bars_of_returns(1e-4 * np.exp(0.1 * autoregressive(4 * WEEK, 0.98)) * noise(4 * WEEK, seed=2))

    kept = shape_from(json.loads(json.dumps(shape_of(bars).document())))

    assert distances(kept, other) == pytest.approx(distances(bars, other), abs=0.01)
    assert all(value < 0.01 for value in distances(kept, bars).values())
    assert max(len(values) for values in kept.returns.values()) == 1_000


def test_correlations_are_those_of_common_minutes() -> None:
    market = noise(WEEK, "market")
    parts = {"A/USD": 0.6, "B/USD": 0.8}
    bars = {
        symbol: bars_of_returns(1e-4 * (share * market + np.sqrt(1 - share**2) * noise(WEEK, symbol)), symbol=symbol)
        for symbol, share in parts.items()
    }
    gapped = {**bars, "B/USD": without_rows(bars["B/USD"], 3_000, 5_000)}

    for minutes in (1, 5):
        whole, cut = correlations(bars, minutes), correlations(gapped, minutes)
        assert whole[0, 0] == whole[1, 1] == 1.0
        assert whole[0, 1] == whole[1, 0] == pytest.approx(0.48, abs=0.05)
        assert cut[0, 1] == pytest.approx(0.48, abs=0.06)


def test_correlations_match_minutes_not_rows() -> None:
    returns = 1e-4 * noise(600)
    bars = {
        "A/USD": bars_of_returns(returns, symbol="A/USD"),
        "B/USD": bars_of_returns(returns[100:], symbol="B/USD", start_ns=100 * NS_PER_MINUTE),
    }

    assert correlations(bars, 1)[0, 1] == pytest.approx(1.0)
    assert correlations(bars, 15)[0, 1] == pytest.approx(1.0)


def test_a_return_whose_first_price_is_missing_is_none() -> None:
    bars = {}
    for symbol in ("A/USD", "B/USD"):
        returns = 1e-4 * noise(2_000, symbol)
        # Both leap into minute 1,003; minute 999, which the five minutes around that begin with, is missing.
        returns[1_002] = 0.1
        bars[symbol] = without_rows(bars_of_returns(returns, symbol=symbol), 999, 1_002)

    assert correlations(bars, 1)[0, 1] > 0.9
    assert abs(correlations(bars, 5)[0, 1]) < 0.2


def test_series_that_share_no_time_and_bars_of_other_lengths_are_refused() -> None:
    first = bars_of_returns(1e-4 * noise(100), symbol="A/USD")
    later = bars_of_returns(1e-4 * noise(100), symbol="B/USD", start_ns=10_000 * NS_PER_MINUTE)
    hourly = bars_of_returns(1e-4 * noise(100), interval_ns=60 * NS_PER_MINUTE)

    with pytest.raises(InvalidRequest) as apart:
        correlations({"A/USD": first, "B/USD": later}, 5)
    with pytest.raises(InvalidRequest, match="bars of 1h") as unsuitable:
        distances(first, hourly)

    assert apart.value.code == "too_little_history"
    assert unsuitable.value.code == "unsuitable_bars"


def test_short_series_have_unknown_distances_and_no_error() -> None:
    short = bars_of_returns([1e-4, -1e-4, 2e-4])

    measured = distances(short, short)

    assert measured["ks_r"] == 0.0
    assert np.isnan(measured["ks_r60"])
    assert np.isnan(measured["hill_diff"])
