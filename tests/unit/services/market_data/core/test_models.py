"""What every price model promises: the same bits however it is cut, ordered, joined or compiled."""

import hashlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fauxchange.domain.instruments import Instrument
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.compiler import compile_kernel
from fauxchange.services.market_data.core.batches import NO_LAST
from fauxchange.services.market_data.core.gbm import Gbm
from fauxchange.services.market_data.core.lmvj import LmvJ
from fauxchange.services.market_data.core.models import (
    ModelColumns,
    Priced,
    SteppingModel,
    interpreted,
    last_at,
    to_half_ticks,
)
from fauxchange.services.market_data.core.parameters import default_table
from fauxchange.services.market_data.core.scenarios import ScenarioKind, ScenarioSpec, Timeline, place
from fauxchange.services.market_data.service.simulation import with_prices

START_NS = 1_767_225_600 * NS_PER_S - 40 * NS_PER_S
SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD")
STEPS = 90
CALM: dict[str, Any] = {"volatility": 1.0}
EVERYTHING = place(
    [
        ScenarioSpec(id="c", kind=ScenarioKind.CRASH, magnitude=0.1, duration_ns=20 * NS_PER_S, buildup_ns=NS_PER_S),
        ScenarioSpec(
            id="d",
            kind=ScenarioKind.DIVERGENCE,
            symbols=("ETH/USD",),
            against=("SOL/USD",),
            magnitude=0.1,
            duration_ns=30 * NS_PER_S,
            start_offset_ns=5 * NS_PER_S,
        ),
        ScenarioSpec(id="m", kind=ScenarioKind.REVERTING, duration_ns=40 * NS_PER_S, start_offset_ns=33 * NS_PER_S + 1),
    ],
    origin_ns=START_NS,
    seed=3,
)


def priced(symbols: Sequence[str]) -> tuple[Priced, ...]:
    return with_prices(
        [Instrument(symbol=symbol, tick_size=Decimal("0.01"), lot_size=Decimal("0.0001")) for symbol in symbols], {}
    )


def model(
    kind: Callable[..., Any] = LmvJ,
    symbols: Sequence[str] = SYMBOLS,
    *,
    seed: int = 1,
    compiler: Any = interpreted,
    bent: bool = True,
) -> SteppingModel:
    made: SteppingModel = kind(
        priced=priced(symbols), seed=seed, interval_ns=NS_PER_S, table=default_table(), compiler=compiler
    )
    if bent:
        made.bend(Timeline(EVERYTHING))
    return made


def times(first: int, end: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return START_NS + NS_PER_S * np.arange(first + 1, end + 1, dtype=np.int64)


def bits(columns: Sequence[ModelColumns], row: int) -> bytes:
    return b"".join(
        np.concatenate([part[row] for part in parts]).tobytes()
        for parts in (
            [each.mids for each in columns],
            [each.lasts for each in columns],
            [each.lots for each in columns],
        )
    )


WHOLE = {kind: model(kind).advance(times(0, STEPS)) for kind in (LmvJ, Gbm)}


@pytest.mark.parametrize("kind", [LmvJ, Gbm])
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, STEPS), max_size=5))
def test_block_size_changes_no_bit(kind: type[SteppingModel], cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), STEPS]
    cut = model(kind)

    parts = [cut.advance(times(first, end)) for first, end in pairwise(bounds) if first < end]

    for row in range(len(SYMBOLS)):
        assert bits(parts, row) == bits([WHOLE[kind]], row)


@pytest.mark.parametrize("kind", [LmvJ, Gbm])
def test_other_symbols_and_their_order_change_no_bit(kind: type[SteppingModel]) -> None:
    others = ("NEW/USD", "SOL/USD", "BTC/USD", "BTC/USDT")

    columns = model(kind, others).advance(times(0, STEPS))

    assert bits([columns], others.index("BTC/USD")) == bits([WHOLE[kind]], 0)
    assert bits([columns], others.index("SOL/USD")) == bits([WHOLE[kind]], 2)
    assert bits([columns], others.index("BTC/USDT")) != bits([WHOLE[kind]], 0)


@pytest.mark.parametrize("kind", [LmvJ, Gbm])
@pytest.mark.parametrize("bent", [True, False])
def test_compiled_model_gives_the_same_bits(kind: type[SteppingModel], bent: bool) -> None:
    plain, compiled = model(kind, bent=bent), model(kind, bent=bent, compiler=compile_kernel)

    for bounds in ((0, 60), (60, STEPS)):
        expected, columns = plain.advance(times(*bounds)), compiled.advance(times(*bounds))
        for row in range(len(SYMBOLS)):
            assert bits([columns], row) == bits([expected], row)
    for symbol, state in plain.state().symbols.items():
        assert compiled.state().symbols[symbol].tobytes() == state.tobytes()


@pytest.mark.parametrize("kind", [LmvJ, Gbm])
def test_another_seed_gives_other_prices(kind: type[SteppingModel]) -> None:
    columns = model(kind, seed=2).advance(times(0, STEPS))

    for row in range(len(SYMBOLS)):
        assert bits([columns], row) != bits([WHOLE[kind]], row)


@pytest.mark.parametrize("kind", [LmvJ, Gbm])
@pytest.mark.parametrize("at", [1, 20, 34, 50])
def test_restored_state_goes_on_with_the_same_bits(kind: type[SteppingModel], at: int) -> None:
    first, second = model(kind), model(kind)
    head = first.advance(times(0, at))
    second.restore(first.state())

    tail = second.advance(times(at, STEPS))

    for row in range(len(SYMBOLS)):
        assert bits([head, tail], row) == bits([WHOLE[kind]], row)


def test_a_state_is_a_copy() -> None:
    walking = model()
    state = walking.state()
    before = state.symbols["BTC/USD"].copy()

    walking.advance(times(0, 10))

    assert state.symbols["BTC/USD"].tobytes() == before.tobytes()


def test_another_process_gives_the_same_bits() -> None:
    program = """
import hashlib, sys
import numpy as np
from decimal import Decimal
from fauxchange.domain.instruments import Instrument
from fauxchange.services.market_data.core.lmvj import LmvJ
from fauxchange.services.market_data.core.parameters import default_table
from fauxchange.services.market_data.service.simulation import with_prices
instrument = Instrument(symbol="BTC/USD", tick_size=Decimal("0.01"), lot_size=Decimal("0.0001"))
model = LmvJ(priced=with_prices([instrument], {}), seed=1, interval_ns=10**9, table=default_table())
columns = model.advance(np.arange(1, 61, dtype=np.int64) * 10**9 + int(sys.argv[1]))
print(hashlib.sha256(columns.mids.tobytes() + columns.lots.tobytes()).hexdigest())
"""
    here = model(symbols=["BTC/USD"], bent=False).advance(times(0, 60))

    there = subprocess.run(
        [sys.executable, "-c", program, str(START_NS)], capture_output=True, text=True, check=True, timeout=60
    )

    assert there.stdout.strip() == hashlib.sha256(here.mids.tobytes() + here.lots.tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("kind", "magnitude", "end"),
    [(ScenarioKind.RALLY, 0.5, 1.5), (ScenarioKind.CRASH, 0.2, 0.8)],
)
@pytest.mark.parametrize("step_s", [1, 7])
def test_a_scenario_moves_the_price_by_exactly_its_magnitude(
    kind: ScenarioKind, magnitude: float, end: float, step_s: int
) -> None:
    # Without feedback and with calm volatility nothing but the path differs.
    spec = ScenarioSpec(
        id="s", kind=kind, magnitude=magnitude, duration_ns=60 * NS_PER_S, **CALM if kind is ScenarioKind.CRASH else {}
    )
    ends = []
    for timeline in (Timeline(), Timeline(place([spec], origin_ns=START_NS, seed=1))):
        walking = model(Gbm, ["BTC/USD"], bent=False)
        walking.bend(timeline)
        ends.append(walking.advance(START_NS + NS_PER_S * np.arange(1, 82 * step_s, step_s)).mids[0, -1])

    assert ends[1] / ends[0] == pytest.approx(end, abs=1e-6)


@pytest.mark.parametrize(
    ("price", "half_ticks"),
    [(2.5, 2), (3.5, 4), (3.499, 3), (3.501, 4), (0.1, 2), (1e300, 2**52)],
)
def test_prices_round_half_even_to_half_ticks_within_bounds(price: float, half_ticks: int) -> None:
    assert to_half_ticks(price) == half_ticks


def test_last_is_the_nearest_tick_on_the_side_of_the_move() -> None:
    assert last_at(8, 1, 0.0) == 4
    assert last_at(9, 1, 0.1) == 5
    assert last_at(9, 1, -0.1) == 4
    assert last_at(9, 0, 0.1) == NO_LAST
