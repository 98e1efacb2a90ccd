"""Curves: what they measure on series whose answer is known."""

import numpy as np
import pytest

from fauxchange.domain.arithmetic import normals
from fauxchange.domain.chance import WordStream
from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.realism.bars import Bars
from fauxchange.realism.report.curves import (
    HORIZONS,
    PROBABILITIES,
    TAIL_SIGMAS,
    WEEK_RETURNS,
    curves_of,
    stretches_of,
)


def bars_of_returns(returns: np.ndarray) -> Bars:
    close = np.exp(np.concatenate(([0.0], np.cumsum(returns))))
    return Bars(
        symbol="BTC/USD",
        interval_ns=NS_PER_MINUTE,
        open_ns=NS_PER_MINUTE * np.arange(len(close), dtype=np.int64),
        open=close,
        high=close,
        low=close,
        close=close,
    )


def noise(count: int, seed: int = 1) -> np.ndarray:
    return normals(WordStream(seed, "test").words(0, count))


def test_white_noise_has_the_tails_of_a_normal_distribution_no_memory_and_no_season() -> None:
    curves = curves_of("noise", [bars_of_returns(0.001 * noise(4 * WEEK_RETURNS))])

    at_two = int(np.argmin(np.abs(TAIL_SIGMAS - 2.0)))
    assert curves.weeks == 4
    assert curves.falls.median[at_two] == pytest.approx(0.0228, abs=0.002)
    assert curves.rises.median[at_two] == pytest.approx(0.0228, abs=0.002)
    assert np.abs(curves.acf_abs.median).max() < 0.05
    assert curves.season.median == pytest.approx(np.ones(24), abs=0.08)
    assert curves.tail_width.median[: HORIZONS.index(30)] == pytest.approx(np.zeros(4), abs=0.12)
    half = int(np.argmin(np.abs(PROBABILITIES - 0.5)))
    assert curves.quantiles_1[half] == pytest.approx(0.0, abs=0.03)


def test_an_hour_that_is_wilder_stands_out_by_as_much() -> None:
    returns = 0.001 * noise(2 * WEEK_RETURNS + 1)
    # The return number n leads to bar n + 1.
    hours = (np.arange(len(returns)) + 1) // 60 % 24
    returns[hours == 14] *= 3.0

    season = curves_of("x", [bars_of_returns(returns)]).season

    assert int(season.median.argmax()) == 14
    assert season.median[14] / np.delete(season.median, 14).mean() == pytest.approx(3.0, abs=0.2)


def test_bands_hold_the_median() -> None:
    curves = curves_of("x", [bars_of_returns(noise(5 * WEEK_RETURNS) * 0.001)])

    for band in (curves.falls, curves.acf_abs, curves.season, curves.tail_width):
        assert (band.low <= band.median).all()
        assert (band.median <= band.high).all()


def test_a_series_without_a_whole_week_is_drawn_as_it_is() -> None:
    short = bars_of_returns(0.001 * noise(3_000))

    assert [len(week) for week in stretches_of([short])] == [3_001]
    assert curves_of("short", [short]).weeks == 1
