"""The law of LMV-J: its size, its clustering, its tails, its correlations, at any step length.

Fixed seeds, so nothing here depends on luck; bounds are wide enough for another seed to pass too.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fauxchange.domain.instruments import Instrument
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_S
from fauxchange.platform.compiler import compile_kernel
from fauxchange.services.market_data.core.lmvj import LmvJ, jump_size
from fauxchange.services.market_data.core.parameters import default_table
from fauxchange.services.market_data.core.scenarios import ScenarioKind, ScenarioSpec, Timeline, place
from fauxchange.services.market_data.service.simulation import with_prices

START_NS = 1_767_225_600 * NS_PER_S
FIVE = ("BTC/USD", "ETH/USD", "SOL/USD", "ADA/USD", "DOT/USD")
MEASURED_LOADINGS = (0.837, 0.889, 0.886, 0.894, 0.887)
MINUTES_PER_WEEK = 10_080

Floats = NDArray[np.float64]


def lmv(symbols: Sequence[str], interval_ns: int, seed: int = 1) -> LmvJ:
    instruments = [
        Instrument(symbol=symbol, tick_size=Decimal("0.0001"), lot_size=Decimal("0.0001")) for symbol in symbols
    ]
    return LmvJ(
        priced=with_prices(instruments, {}),
        seed=seed,
        interval_ns=interval_ns,
        table=default_table(),
        compiler=compile_kernel,
    )


def minutes(symbols: Sequence[str], interval_ns: int, weeks: int) -> tuple[Floats, Floats]:
    """Return log returns and volumes (lots) per minute."""
    per_minute = NS_PER_MINUTE // interval_ns
    model, blocks = lmv(symbols, interval_ns), []
    for day in range(7 * weeks):
        first = day * 1_440 * per_minute
        steps = np.arange(first + 1, first + 1_440 * per_minute + 1, dtype=np.int64)
        blocks.append(model.advance(START_NS + interval_ns * steps))
    mids = np.concatenate([block.mids[:, per_minute - 1 :: per_minute] for block in blocks], axis=1)
    lots = np.concatenate([block.lots.reshape(len(symbols), -1, per_minute).sum(axis=2) for block in blocks], axis=1)
    return np.diff(np.log(mids.astype(np.float64)), axis=1), lots[:, 1:].astype(np.float64)


def autocorrelation(values: Floats, lag: int) -> float:
    centred = values - values.mean()
    return float((centred[:-lag] * centred[lag:]).mean() / centred.var())


@pytest.fixture(scope="module")
def by_minute() -> tuple[Floats, Floats]:
    return minutes(FIVE, NS_PER_MINUTE, 8)


def test_returns_are_as_large_as_calibrated(by_minute: tuple[Floats, Floats]) -> None:
    returns, _ = by_minute

    for row, symbol in zip(returns, FIVE, strict=True):
        # Volatility's own movement makes the whole larger than its scale: 1.5 to 2 times, more in wild weeks.
        ratio = row.std() / default_table().of(symbol[:3]).sigma
        assert 1.3 < ratio < 2.5


def test_returns_have_fat_tails_and_clusters_and_no_memory_of_sign(by_minute: tuple[Floats, Floats]) -> None:
    returns, _ = by_minute

    for row in returns:
        weeks = row[: MINUTES_PER_WEEK * 7].reshape(7, -1)
        kurtosis = np.median(((weeks - weeks.mean(axis=1, keepdims=True)) ** 4).mean(axis=1) / weeks.var(axis=1) ** 2)
        assert kurtosis - 3.0 > 2.5
        assert abs(autocorrelation(row, 1)) < 0.05
        assert autocorrelation(np.abs(row), 1) > autocorrelation(np.abs(row), 60) > 0.05


def test_symbols_are_tied_as_their_loadings_say(by_minute: tuple[Floats, Floats]) -> None:
    returns, _ = by_minute

    measured = np.corrcoef(returns)

    for i in range(5):
        for j in range(i):
            assert measured[i, j] == pytest.approx(MEASURED_LOADINGS[i] * MEASURED_LOADINGS[j], abs=0.08)


def test_volume_has_its_level_and_follows_volatility(by_minute: tuple[Floats, Floats]) -> None:
    returns, lots = by_minute

    for row, traded, symbol in zip(returns, lots, FIVE, strict=True):
        log_volume = np.log(traded)
        level = default_table().of(symbol[:3]).volume.level + np.log(10_000.0)
        assert log_volume.mean() == pytest.approx(level, abs=0.15)
        assert np.corrcoef(log_volume, np.abs(row))[0, 1] > 0.3
        assert autocorrelation(log_volume, 60) > 0.1


def test_short_steps_follow_the_law_of_long_ones(by_minute: tuple[Floats, Floats]) -> None:
    long_returns, long_lots = by_minute

    short_returns, short_lots = minutes(FIVE[:2], 5 * NS_PER_S, 6)

    for row in range(2):
        # A typical minute rather than the standard deviation, which one wild day decides.
        typical = np.median(np.abs(short_returns[row])) / np.median(np.abs(long_returns[row]))
        assert typical == pytest.approx(1.0, abs=0.2)
        traded = np.median(np.log(short_lots[row])) - np.median(np.log(long_lots[row]))
        assert traded == pytest.approx(0.0, abs=0.25)


@pytest.mark.parametrize("interval_ns", [1_000_000, 250_000_000, 10 * NS_PER_MINUTE])
def test_any_step_length_gives_sane_prices(interval_ns: int) -> None:
    model = lmv(["BTC/USD"], interval_ns)

    columns = model.advance(START_NS + interval_ns * np.arange(1, 2_001, dtype=np.int64))

    returns = np.diff(np.log(columns.mids[0].astype(np.float64)))
    expected = default_table().of("BTC").sigma * (interval_ns / NS_PER_MINUTE) ** 0.5
    assert 0.3 * expected < returns.std() < 4.0 * expected
    assert columns.lots.min() >= 0


def test_jumps_keep_their_law_whatever_the_loading() -> None:
    centred = np.random.default_rng(5).uniform(-0.5, 0.5, (40_000, 4)).tolist()

    for loading in (0.0, 0.5, 0.9):
        jumps = np.array([jump_size(0.5, 0.7, loading, *row) for row in centred])
        jumped = jumps[jumps != 0.0]
        assert len(jumped) / len(jumps) == pytest.approx(0.5, abs=0.01)
        assert np.abs(jumped).mean() == pytest.approx(1.0, abs=0.03)
        assert np.median(np.abs(jumped)) == pytest.approx(np.log(2.0), abs=0.03)
        assert np.mean(jumped > 0.0) == pytest.approx(0.5, abs=0.015)


def test_common_jumps_go_the_way_of_the_market() -> None:
    rows = np.random.default_rng(6).uniform(-0.5, 0.5, (20_000, 4))
    rows[:, 0] = -0.5  # the market jumps in every row

    jumps = np.array([jump_size(0.5, 0.7, 0.9, *row) for row in rows.tolist()])

    assert np.array_equal(jumps > 0.0, rows[:, 1] > 0.0)
    market = -np.log(1.0 - 2.0 * np.abs(rows[:, 1]))
    assert np.corrcoef(market, np.abs(jumps))[0, 1] == pytest.approx(0.9, abs=0.03)


def bent(spec: ScenarioSpec, steps: int, *, symbols: Sequence[str] = ("BTC/USD", "ETH/USD")) -> tuple[Any, Any]:
    """Return log prices with and without a scenario, at one step a second."""
    paths = []
    for specs in ([spec], []):
        model = lmv(symbols, NS_PER_S)
        model.bend(Timeline(place(specs, origin_ns=START_NS, seed=1)))
        columns = model.advance(START_NS + NS_PER_S * np.arange(1, steps + 1, dtype=np.int64))
        paths.append(np.log(columns.mids.astype(np.float64)))
    return paths[0], paths[1]


def test_a_crash_takes_the_price_down_by_its_magnitude() -> None:
    spec = ScenarioSpec(
        id="c", kind=ScenarioKind.CRASH, symbols=("BTC/USD",), magnitude=0.2, duration_ns=10 * NS_PER_MINUTE
    )

    with_crash, without = bent(spec, 600)

    # What is left over is the noise that runs at another volatility.
    fall = 1.0 - np.exp(with_crash[0, -1] - without[0, -1])
    assert fall == pytest.approx(0.2, abs=0.02)
    assert with_crash[1].tobytes() == without[1].tobytes()


def test_a_crash_leaves_volatility_that_fades() -> None:
    spec = ScenarioSpec(id="c", kind=ScenarioKind.CRASH, magnitude=0.2, duration_ns=NS_PER_MINUTE, volatility=5.0)

    with_crash, without = bent(spec, 3_600, symbols=("BTC/USD",))

    raised = np.abs(np.diff(with_crash[0])) + 1e-9
    usual = np.abs(np.diff(without[0])) + 1e-9
    soon = raised[60:120].mean() / usual[60:120].mean()
    later = raised[3_000:].mean() / usual[3_000:].mean()
    assert soon > 3.0
    assert 1.0 < later < soon


def test_divergence_takes_symbols_apart_and_loosens_their_ties() -> None:
    spec = ScenarioSpec(
        id="d",
        kind=ScenarioKind.DIVERGENCE,
        symbols=("BTC/USD",),
        against=("ETH/USD",),
        magnitude=0.1,
        duration_ns=3_600 * NS_PER_S,
        decoupling=1.0,
    )

    apart, together = bent(spec, 3_600)

    gap = (apart[0] - apart[1]) - (together[0] - together[1])
    assert gap[-1] == pytest.approx(2.0 * np.log(1.1), abs=0.03)
    noise = np.diff(apart) - np.diff(apart).mean(axis=1, keepdims=True)
    assert abs(np.corrcoef(noise)[0, 1]) < 0.2
    assert np.corrcoef(np.diff(together))[0, 1] > 0.5


def test_reverting_keeps_the_price_near_its_level() -> None:
    hour = 3_600
    spec = ScenarioSpec(
        id="m", kind=ScenarioKind.REVERTING, level=60_600.0, duration_ns=hour * NS_PER_S, magnitude=0.999999
    )

    pulled, free = bent(spec, hour, symbols=("BTC/USD",))

    level = np.log(60_600.0 * 2 / 0.0001)
    assert abs(free[0, 0] - level) > 0.008
    assert abs(pulled[0, hour // 2 :] - level).max() < 0.004
