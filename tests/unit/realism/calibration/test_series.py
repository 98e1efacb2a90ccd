"""Which recordings are calibrated on, and which are refused."""

import dataclasses

import numpy as np
import pytest
from calibration_kit import bars_of_closes, noise_bars

from fauxchange.domain.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S
from fauxchange.realism.bars import Bars
from fauxchange.realism.calibration.fitting import season_of
from fauxchange.realism.calibration.series import UnfitData, series_of, tick_of

COLUMNS = ("open_ns", "open", "high", "low", "close", "volume")


def without(bars: Bars, first: int, end: int) -> Bars:
    kept = np.concatenate((np.arange(first), np.arange(end, len(bars))))
    columns = {name: getattr(bars, name)[kept] for name in COLUMNS}
    return dataclasses.replace(bars, **columns)


def test_a_gap_makes_no_return() -> None:
    bars = without(noise_bars(), 1_000, 1_010)

    series = series_of(bars)

    assert series.returns.shape == (1, 2_999)
    assert np.flatnonzero(np.isnan(series.returns[0])).tolist() == list(range(999, 1_010))
    assert series.log_volumes is not None
    assert np.count_nonzero(np.isnan(series.log_volumes)) == 10
    assert series.days == pytest.approx(2_990 / 1_440)


def test_a_month_that_is_missing_is_left_out() -> None:
    bars = without(noise_bars(90 * 24, interval_ns=NS_PER_HOUR), 700, 1_460)

    series = series_of(bars)

    assert series.returns.shape == (2, 719)
    assert np.isfinite(series.returns).mean() > 0.95


def test_an_hour_without_bars_is_as_volatile_as_usual() -> None:
    bars = noise_bars(10 * 1_440)
    minute_of_day = bars.open_ns // NS_PER_MINUTE % 1_440
    columns = {name: getattr(bars, name)[minute_of_day >= 300] for name in COLUMNS}

    season = season_of(series_of(dataclasses.replace(bars, **columns)))

    assert season == pytest.approx(np.ones(24), abs=0.15)


def test_a_long_recording_is_cut_into_months() -> None:
    assert series_of(noise_bars(90 * 24, interval_ns=NS_PER_HOUR)).returns.shape == (3, 719)


def test_bars_of_seconds_become_minutes() -> None:
    series = series_of(noise_bars(90_000, interval_ns=NS_PER_S, size=1e-4))

    assert (series.interval_ns, series.rows, series.returns.shape) == (NS_PER_MINUTE, 90_000, (1, 1_499))


@pytest.mark.parametrize(
    ("interval_ns", "slots"), [(NS_PER_MINUTE, 24), (NS_PER_HOUR, 24), (2 * NS_PER_HOUR, 12), (NS_PER_DAY, 1)]
)
def test_the_parts_of_a_day_follow_from_the_bars(interval_ns: int, slots: int) -> None:
    series = series_of(noise_bars(2_000, interval_ns=interval_ns))

    assert (series.slots_a_day, series.slots.max()) == (slots, slots - 1)


@pytest.mark.parametrize(
    ("closes", "tick"),
    [
        ([10.0, 10.5, 12.0], 0.5),
        ([100_000.1, 99_999.9], 0.1),
        ([3.0, 6.0, 9.0], 3.0),
        ([0.00001234, 0.00001236], 2e-8),
        ([7e-7, 9e-7], 1e-7),
    ],
)
def test_the_tick_is_the_coarsest_that_all_prices_lie_on(closes: list[float], tick: float) -> None:
    assert tick_of(bars_of_closes(np.array(closes))) == pytest.approx(tick)


def test_prices_on_no_grid_have_the_finest_tick() -> None:
    assert tick_of(bars_of_closes(np.array([np.pi, np.e]))) <= 1e-12


STEADY = noise_bars()


@pytest.mark.parametrize(
    ("bars", "told"),
    [
        (noise_bars(80), "80 bars of 1m over 1h20m are too short"),
        (noise_bars(1_000), "over 16h40m are too short"),
        (noise_bars(50, interval_ns=NS_PER_DAY), "50 bars of 1d over 50d are too short"),
        (bars_of_closes(np.full(3_000, 7.0)), "the price is 7 in every bar"),
        (bars_of_closes(100.0 * np.exp(1e-4 * np.arange(3_000))), "the price moves by 0.0001 in every bar"),
        (bars_of_closes(np.where(np.arange(3_000) // 290 % 2 == 0, 100.0, 101.0)), "different prices"),
        (dataclasses.replace(STEADY, close=np.where(np.arange(3_000) == 5, -1.0, STEADY.close)), "is not a positive"),
        (dataclasses.replace(STEADY, low=np.where(np.arange(3_000) == 5, np.nan, STEADY.low)), "T00:05:00"),
        (
            dataclasses.replace(STEADY, close=np.where(np.arange(3_000) > 7, 10 * STEADY.close, STEADY.close)),
            r"bar 9\)",
        ),
        (without(noise_bars(8_000), 1_000, 7_000), "6000 of 8000 bars of 1m are missing"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_its_reason(bars: Bars, told: str) -> None:
    with pytest.raises(UnfitData, match=told) as failure:
        series_of(bars, "prices.csv")

    assert failure.value.message.startswith("prices.csv: BTC/USD: ")
    assert failure.value.code == "unfit_recording"
