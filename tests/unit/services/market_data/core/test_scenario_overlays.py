"""Scenarios lie over the model as its specification says: they bend it, and leave its own law alone."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from numpy.typing import NDArray

from fauxchange.domain.instruments import Instrument
from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.platform.compiler import compile_kernel
from fauxchange.services.market_data.core.lmvj import LmvJ
from fauxchange.services.market_data.core.parameters import default_table
from fauxchange.services.market_data.core.scenarios import ScenarioKind, ScenarioSpec, Timeline, place
from fauxchange.services.market_data.service.simulation import with_prices

START_NS = 1_767_225_600_000_000_000
STEP_NS = NS_PER_MINUTE // 6
Floats = NDArray[np.float64]


def log_prices(
    specs: Sequence[ScenarioSpec], steps: int, *, seed: int, symbols: Sequence[str], feedback: float | None = None
) -> Floats:
    instruments = [Instrument(symbol=each, tick_size=Decimal("0.0001"), lot_size=Decimal("0.01")) for each in symbols]
    table = default_table()
    model = LmvJ(
        priced=with_prices(instruments, {}),
        seed=seed,
        interval_ns=STEP_NS,
        table=table if feedback is None else replace(table, feedback=feedback),
        compiler=compile_kernel,
    )
    model.bend(Timeline(place(specs, origin_ns=START_NS, seed=seed)))
    mids = model.advance(START_NS + STEP_NS * np.arange(1, steps + 1, dtype=np.int64)).mids
    return np.log(mids.astype(np.float64))


def test_after_a_crash_volatility_falls_as_the_power_law_that_was_asked_for() -> None:
    # A fall that is next to nothing, and no trend feedback, which would raise volatility by itself.
    crash = ScenarioSpec(
        id="c",
        kind=ScenarioKind.CRASH,
        magnitude=0.0001,
        jumps=0,
        duration_ns=10 * NS_PER_MINUTE,
        aftershock_ns=40_000 * NS_PER_MINUTE,
        volatility=8.0,
    )
    minutes_after = np.array([10, 30, 90])
    raised = []
    for seed in range(1, 9):
        moves = [
            np.abs(np.diff(log_prices(specs, 900, seed=seed, symbols=["BTC/USD"], feedback=0.0)[0])) + 1e-9
            for specs in ([crash], [])
        ]
        raised.append(
            [
                np.log(moves[0][at - 12 : at + 12].mean() / moves[1][at - 12 : at + 12].mean())
                for at in (60 + 6 * minutes_after).tolist()
            ]
        )

    # Log volatility goes with 1 / (1 + t), t counted in durations since the end of the plunge.
    expected = np.log(8.0) / (1.0 + minutes_after / 10.0)
    assert np.mean(raised, axis=0) == pytest.approx(expected, rel=0.03)


def test_divergence_leaves_the_law_of_each_symbol_alone() -> None:
    steps = 6 * 1_440
    apart = ScenarioSpec(
        id="d",
        kind=ScenarioKind.DIVERGENCE,
        symbols=("SOL/USD",),
        magnitude=0.0001,
        duration_ns=steps * STEP_NS,
        decoupling=1.0,
    )
    symbols = ("BTC/USD", "SOL/USD")
    bent, alone = (
        np.concatenate([np.diff(log_prices(specs, steps, seed=seed, symbols=symbols)) for seed in (1, 2, 3)], axis=1)
        for specs in ([apart], [])
    )

    # The other shocks are as large as those in whose place they are; who was not named is not touched at all.
    assert bent[1].std() == pytest.approx(alone[1].std(), rel=0.25)
    assert bent[0].tobytes() == alone[0].tobytes()
    assert abs(np.corrcoef(bent)[0, 1]) < 0.1
    assert np.corrcoef(alone)[0, 1] > 0.5


def test_a_rally_adds_its_path_and_nothing_once_it_is_over() -> None:
    steps = 6 * 60
    rally = ScenarioSpec(id="r", kind=ScenarioKind.RALLY, magnitude=0.01, duration_ns=600 * STEP_NS // 10)

    gap = np.subtract(*(log_prices(specs, steps, seed=4, symbols=["BTC/USD"])[0] for specs in ([rally], [])))

    assert gap[59] == pytest.approx(np.log(1.01), abs=0.002)
    assert np.diff(gap[:60]).mean() == pytest.approx(np.log(1.01) / 60, rel=0.2)
