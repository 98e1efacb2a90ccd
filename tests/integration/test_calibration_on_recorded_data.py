"""Calibration on recorded prices: what a month of minutes gives, and what other recordings do."""

from pathlib import Path

import numpy as np
import pytest

from fauxchange.realism.calibration.calibrating import calibrate_symbol
from fauxchange.realism.calibration.series import UnfitData
from fauxchange.realism.distances import distances
from fauxchange.realism.recorded import bars_of_file
from fauxchange.realism.simulating import default_instruments, simulate
from fauxchange.services.market_data.core.parameters import default_table

MONTH = "btc_usdt_perp_1m_2025-05.csv.gz"
HOURS = "btc_eur_1h_2021-03_2023-03.csv.gz"
MINUTES = "btc_usdt_spot_trades_2024-08-08.csv.gz"


@pytest.mark.data(MONTH)
def test_a_month_of_minutes_supports_every_part_of_the_model(recorded_data: Path) -> None:
    found = calibrate_symbol(bars_of_file(recorded_data / MONTH), simulated_days=60)

    assert found.kept == ()
    assert all(factor.is_fitted for factor in found.factors)
    assert np.abs(found.fit.wanted.sizes - found.fit.reached.sizes).mean() < 0.04
    assert found.fit.reached.tails.distance(found.fit.wanted.tails) < 6.0
    assert max(found.parameters.season) == found.parameters.season[14]


@pytest.mark.data(HOURS)
def test_years_of_hours_support_the_slow_parts(recorded_data: Path) -> None:
    found = calibrate_symbol(bars_of_file(recorded_data / HOURS), simulated_days=60)

    assert [factor.is_fitted for factor in found.factors] == [False] * 4 + [True] * 3
    assert found.parameters.season != default_table().of("BTC/USD").season


@pytest.mark.data(MINUTES)
def test_minutes_of_trades_are_too_short(recorded_data: Path) -> None:
    with pytest.raises(UnfitData, match="5 bars of 1m over 5m are too short"):
        calibrate_symbol(bars_of_file(recorded_data / MINUTES), file=MINUTES)


@pytest.mark.data(MONTH)
def test_the_shipped_model_is_as_near_to_the_month_as_other_real_months_are(recorded_data: Path) -> None:
    recorded = bars_of_file(recorded_data / MONTH)
    simulated = simulate(
        default_table(), default_instruments(["BTC/USD"]), weeks=30 / 7, seed=1, step_ns=5_000_000_000
    )["BTC/USD"]

    found = distances(recorded, simulated)

    # The 90 % column of real months against real months.
    assert found["acf_abs_l1"] < 0.086
    assert found["ks_r"] < 0.095
    assert found["wasserstein_logrv"] < 0.145
