"""Scenarios: what they do as functions of venue time, and what is refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_S
from fauxchange.services.market_data.core.scenarios import (
    Direction,
    InvalidScenario,
    Scenario,
    ScenarioKind,
    ScenarioSpec,
    Shape,
    Timeline,
    place,
)

MINUTE = NS_PER_MINUTE
START_NS = 1_000 * MINUTE


def scenario(kind: ScenarioKind, *, seed: int = 1, **fields: Any) -> Scenario:
    fields.setdefault("id", "s")
    fields.setdefault("duration_ns", 10 * MINUTE)
    return Scenario(ScenarioSpec(kind=kind, **fields), START_NS, seed)


def at(*minutes: float) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array([START_NS + round(minute * MINUTE) for minute in minutes], np.int64)


@pytest.mark.parametrize("shape", list(Shape))
def test_every_shape_begins_at_nothing_rises_and_ends_at_the_magnitude(shape: Shape) -> None:
    rally = scenario(ScenarioKind.RALLY, magnitude=0.5, shape=shape)

    path = rally.displacement("BTC/USD", at(-1, 0, 2, 4, 6, 8, 10, 11))

    assert path[0] == path[1] == 0.0
    assert (np.diff(path[1:7]) > 0.0).all()
    assert path[6] == path[7] == pytest.approx(np.log(1.5), abs=1e-15)


def test_shapes_spread_the_way_as_they_say() -> None:
    halves = {
        shape: scenario(ScenarioKind.RALLY, magnitude=0.5, shape=shape).displacement("X/Y", at(5))[0] / np.log(1.5)
        for shape in Shape
    }

    assert halves[Shape.LINEAR] == pytest.approx(0.5)
    assert halves[Shape.SMOOTH] == pytest.approx(0.5)
    assert halves[Shape.EXPONENTIAL] > 0.8
    assert halves[Shape.ACCELERATING] < 0.2


@given(
    st.floats(0.001, 0.9),
    st.integers(0, 30),
    st.floats(0.0, 1.0),
    st.integers(0, 5),
)
def test_a_crash_reaches_its_magnitude_with_any_jumps(magnitude: float, jumps: int, share: float, seed: int) -> None:
    crash = scenario(
        ScenarioKind.CRASH, magnitude=magnitude, jumps=jumps, jump_share=share, buildup_ns=MINUTE, seed=seed
    )

    path = crash.displacement("BTC/USD", at(*np.linspace(0.0, 12.0, 60)))

    assert path[0] == 0.0
    assert (np.diff(path) <= 1e-15).all()
    assert path[-1] == pytest.approx(np.log(1.0 - magnitude), abs=1e-14)


def test_jumps_fall_at_other_moments_with_another_seed() -> None:
    times = at(*np.linspace(0.0, 10.0, 200))

    paths = [
        scenario(ScenarioKind.CRASH, magnitude=0.2, jump_share=1.0, seed=seed).displacement("BTC/USD", times)
        for seed in (1, 1, 2)
    ]

    assert paths[0].tobytes() == paths[1].tobytes() != paths[2].tobytes()
    assert len(set(paths[0].tolist())) <= 6  # five jumps


def test_volatility_of_a_crash_builds_up_peaks_and_decays_to_nothing() -> None:
    crash = scenario(ScenarioKind.CRASH, magnitude=0.2, volatility=4.0, buildup_ns=5 * MINUTE)

    raised = crash.log_variance(at(0, 2, 5, 10, 15, 20, 40, 75, 76))

    peak = 2.0 * np.log(4.0)
    assert raised[0] == 0.0
    assert 0.0 < raised[1] < raised[2] == pytest.approx(peak / 2)
    assert raised[3] == raised[4] == pytest.approx(peak)
    assert peak > raised[5] > raised[6] > 0.0
    assert raised[7] == raised[8] == pytest.approx(0.0, abs=1e-12)


def test_decay_after_a_crash_is_a_power_law() -> None:
    # Half the exponent takes the square root, once the small term that ends the decay is out of the way.
    long = {"magnitude": 0.2, "volatility": 2.0, "aftershock_ns": 40_000 * MINUTE}
    steep = scenario(ScenarioKind.CRASH, decay=2.0, **long).log_variance(at(10, 20, 50)) / (2.0 * np.log(2.0))

    assert steep[0] == pytest.approx(1.0)
    assert steep[1] == pytest.approx(1 / 4, abs=1e-5)
    assert steep[2] == pytest.approx(1 / 25, abs=1e-5)


def test_divergence_sends_symbols_apart_and_brings_them_back() -> None:
    apart = scenario(
        ScenarioKind.DIVERGENCE,
        magnitude=0.2,
        symbols=("SOL/USD",),
        against=("ADA/USD",),
        rejoin_ns=20 * MINUTE,
        decoupling=0.75,
    )

    leaving, opposite = (apart.displacement(symbol, at(0, 10, 30)) for symbol in ("SOL/USD", "ADA/USD"))

    assert leaving.tolist() == pytest.approx([0.0, np.log(1.2), 0.0])
    assert opposite.tolist() == pytest.approx([0.0, -np.log(1.2), 0.0])
    assert apart.coupling(at(0, 0.1, 30, 30.1)).tolist() == [1.0, 0.25, 0.25, 1.0]
    assert not apart.touches("BTC/USD")


def test_divergence_downward_loses_its_magnitude() -> None:
    apart = scenario(ScenarioKind.DIVERGENCE, magnitude=0.5, symbols=("A/B",), direction=Direction.DOWN)

    assert apart.displacement("A/B", at(10))[0] == pytest.approx(np.log(0.5))


@given(st.lists(st.floats(0.0, 10.0), max_size=6))
def test_a_pull_closes_the_same_share_of_a_gap_in_any_steps(cuts: list[float]) -> None:
    pull = scenario(ScenarioKind.REVERTING, magnitude=0.9).pull(at(0, *sorted(cuts), 10))

    left = float(np.prod(1.0 - pull))

    assert left == pytest.approx(0.1, abs=1e-12)


def test_phases_follow_each_other() -> None:
    crash = scenario(ScenarioKind.CRASH, magnitude=0.2, buildup_ns=MINUTE, aftershock_ns=5 * MINUTE)

    assert [(phase.name, phase.end_ns - phase.start_ns) for phase in crash.phases] == [
        ("buildup", MINUTE),
        ("plunge", 10 * MINUTE),
        ("aftershock", 5 * MINUTE),
    ]
    assert crash.phases[0].start_ns == START_NS
    assert crash.end_ns == START_NS + 16 * MINUTE
    names = [phase.name if (phase := crash.phase_at(int(ts))) else None for ts in at(0, 0.5, 1, 1.1, 16, 16.1)]
    assert names == [None, "buildup", "buildup", "plunge", "aftershock", None]


def test_phases_without_length_are_left_out() -> None:
    assert [phase.name for phase in scenario(ScenarioKind.CRASH, magnitude=0.2, aftershock_ns=0).phases] == ["plunge"]
    assert [p.name for p in scenario(ScenarioKind.DIVERGENCE, magnitude=0.2, symbols=("A/B",)).phases] == ["apart"]


def test_a_timeline_places_scenarios_and_finds_the_active_ones() -> None:
    specs = [
        ScenarioSpec(id="a", kind=ScenarioKind.RALLY, magnitude=0.1, duration_ns=MINUTE, start_offset_ns=MINUTE),
        ScenarioSpec(id="b", kind=ScenarioKind.CRASH, magnitude=0.1, duration_ns=MINUTE, symbols=("A/B",)),
    ]
    timeline = Timeline(place(specs, origin_ns=START_NS, seed=1))

    def active(symbol: str, first: float, last: float) -> list[str]:
        before_ns, until_ns = at(first, last).tolist()
        return [each.spec.id for each in timeline.active(symbol, before_ns, until_ns)]

    assert active("A/B", 0, 2) == ["a", "b"]
    assert active("C/D", 0, 2) == ["a"]
    assert active("A/B", 0, 1) == ["b"]
    assert active("A/B", 7, 8) == []
    assert active("A/B", -1, 0) == []


def test_a_block_is_cut_where_a_pull_begins() -> None:
    pull = scenario(ScenarioKind.REVERTING)

    assert Timeline((pull,)).cuts(at(-1, 0, 1, 2)) == [2]
    assert Timeline((pull,)).cuts(at(1, 2)) == []
    assert Timeline((scenario(ScenarioKind.RALLY, magnitude=0.1),)).cuts(at(-1, 0, 1)) == []


@pytest.mark.parametrize(
    ("kind", "fields", "field"),
    [
        (ScenarioKind.RALLY, {"magnitude": 11.0}, "magnitude"),
        (ScenarioKind.RALLY, {"magnitude": 0.0}, "magnitude"),
        (ScenarioKind.CRASH, {"magnitude": 1.0}, "magnitude"),
        (ScenarioKind.REVERTING, {"magnitude": 1.0}, "magnitude"),
        (ScenarioKind.DIVERGENCE, {"magnitude": 1.0, "direction": Direction.DOWN, "symbols": ("A/B",)}, "magnitude"),
        (ScenarioKind.DIVERGENCE, {"magnitude": 0.1}, "symbols"),
        (ScenarioKind.DIVERGENCE, {"magnitude": 0.1, "symbols": ("A/B",), "against": ("A/B",)}, "against"),
        (ScenarioKind.RALLY, {"magnitude": 0.1, "duration_ns": 0}, "duration"),
        (ScenarioKind.RALLY, {"magnitude": 0.1, "start_offset_ns": -1}, "start"),
        (ScenarioKind.RALLY, {"magnitude": 0.1, "symbols": ("btc",)}, "symbols[0]"),
        (ScenarioKind.RALLY, {"magnitude": 0.1, "symbols": ("A-B",)}, "symbols[0]"),
        (ScenarioKind.RALLY, {"magnitude": 0.1, "symbols": ("A/B", "A/B")}, "symbols[1]"),
        (ScenarioKind.RALLY, {"magnitude": 0.1, "id": "no spaces"}, "id"),
        (ScenarioKind.RALLY, {"magnitude": 0.1, "rejoin_ns": MINUTE}, "rejoin"),
        (ScenarioKind.CRASH, {"magnitude": 0.1, "volatility": 0.5}, "volatility"),
        (ScenarioKind.CRASH, {"magnitude": 0.1, "jumps": 101}, "jumps"),
        (ScenarioKind.REVERTING, {"level": -1.0}, "level"),
        (ScenarioKind.REVERTING, {"level": float("nan")}, "level"),
    ],
)
def test_what_is_out_of_bounds_is_refused_with_its_field(
    kind: ScenarioKind, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidScenario) as refused:
        scenario(kind, **fields)

    assert [problem.field for problem in refused.value.problems] == [field]
    assert refused.value.field == field


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidScenario) as refused:
        ScenarioSpec(id="", kind=ScenarioKind.RALLY, magnitude=-1.0, duration_ns=-NS_PER_S)

    assert [problem.field for problem in refused.value.problems] == ["id", "magnitude", "duration"]
