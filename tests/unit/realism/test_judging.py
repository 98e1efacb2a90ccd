"""What the battery says of noise, of real months, and of the model, with and without scenarios."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from realism_kit import bars_of_returns, noise, without_rows

from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.realism.bars import Bars
from fauxchange.realism.facts import FACTS
from fauxchange.realism.judging import WEEK_RETURNS, Verdict, judge, weeks_of, without_drift
from fauxchange.realism.recorded import bars_of_file
from fauxchange.realism.reference import REFERENCES, Interval, Reference, reference
from fauxchange.realism.simulating import START_NS, default_instruments, simulate
from fauxchange.services.market_data.core.parameters import default_table
from fauxchange.services.market_data.core.scenarios import ScenarioKind, ScenarioSpec, Timeline, place

STEP_NS = NS_PER_MINUTE
"""The law is the same at longer steps, and these are quick."""
HOUR_NS = 60 * NS_PER_MINUTE
WEEK_NS = 7 * 24 * HOUR_NS
MOST_OF_NOISE = 14
LEAST_OF_REAL_MONTHS = 18


def model(name: str, weeks: int, timeline: Timeline | None = None) -> Mapping[str, Bars]:
    instruments = default_instruments(["BTC/USD", "ADA/USD"])
    return simulate(default_table(), instruments, weeks=weeks, seed=3, step_ns=STEP_NS, model=name, timeline=timeline)


def wide(**others: Interval) -> Reference:
    intervals = {fact.name: Interval(-math.inf, math.inf) for fact in FACTS}
    return Reference(name="wide", intervals={**intervals, **others}, medians={})


def test_value_is_the_median_over_weeks_and_coverage_the_share_of_weeks_inside() -> None:
    weeks = [bars_of_returns(1e-3 * noise(WEEK_RETURNS, seed=seed)) for seed in range(3)]
    alone = [judge([week], wide()).row("kurt_1").value for week in weeks]
    low, middle, high = sorted(alone)

    verdict = judge(weeks, wide(kurt_1=Interval(middle, high)))

    row = verdict.row("kurt_1")
    assert row.by_week == tuple(alone)
    assert row.value == middle
    assert row.is_inside
    assert row.coverage == pytest.approx(2 / 3)
    assert low < middle
    # All others lie inside: 24 and two thirds of 25, volume has none.
    assert (verdict.weeks, verdict.passed, verdict.of) == (3, 25, 25)
    assert verdict.coverage == pytest.approx((24 + 2 / 3) / 25)
    assert (verdict.structural_passed, verdict.structural_of) == (18, 18)
    assert verdict.reference == "wide"


@pytest.mark.parametrize(
    ("outside", "is_accepted"),
    [
        ((), True),
        (("vr_15", "arch_lm_r2"), True),
        (("vr_15", "arch_lm_r2", "qkurt_1"), False),
        (("hill",), False),
        (("qkurt_cond",), False),
    ],
)
def test_two_facts_may_be_outside_and_no_key_fact(outside: tuple[str, ...], is_accepted: bool) -> None:
    weeks = [bars_of_returns(1e-3 * noise(WEEK_RETURNS, seed=seed)) for seed in range(3)]
    never = {name: Interval(1e6, 2e6) for name in outside}

    verdict = judge(weeks, wide(**never))

    assert verdict.passed == 25 - len(outside)
    assert verdict.is_accepted == is_accepted


def test_a_verdict_with_too_many_weeks_outside_is_not_accepted() -> None:
    weeks = [bars_of_returns(1e-3 * noise(WEEK_RETURNS, seed=seed)) for seed in range(3)]
    single = judge(weeks[:1], wide())
    narrow = {row.fact.name: Interval(row.value - 1e-9, row.value + 1e-9) for row in single.rows}

    verdict = judge([weeks[0], weeks[0], *weeks[1:2]], wide(**narrow))

    assert verdict.passed == 25
    assert verdict.coverage == pytest.approx(2 / 3, abs=0.01)
    assert not verdict.is_accepted


def test_volume_facts_count_only_where_there_is_volume() -> None:
    returns = 1e-3 * noise(WEEK_RETURNS)
    silent, lively = np.zeros(WEEK_RETURNS + 1), np.abs(noise(WEEK_RETURNS + 1, "volume"))

    assert judge([bars_of_returns(returns)], wide()).of == 25
    assert judge([bars_of_returns(returns, volume=silent)], wide()).of == 25
    assert judge([bars_of_returns(returns, volume=lively)], wide()).of == 27


def test_a_fact_that_cannot_be_computed_is_outside() -> None:
    flat = judge([bars_of_returns(np.zeros(WEEK_RETURNS))], wide())

    assert (flat.passed, flat.of) == (0, 25)
    assert flat.coverage == 0.0


def test_weeks_are_whole_and_without_gaps() -> None:
    bars = bars_of_returns(1e-3 * noise(3 * WEEK_RETURNS))
    gapped = without_rows(bars, 15_000, 15_001)

    assert [len(week) for week in weeks_of(bars)] == [WEEK_RETURNS + 1] * 3
    # 15,000 bars before the gap, and 15,240 after it.
    assert len(weeks_of(gapped)) == 2
    with pytest.raises(InvalidRequest, match=r"10,080 one-minute bars without a gap.*10,081") as refused:
        weeks_of(bars.part(0, WEEK_RETURNS))
    assert refused.value.code == "too_little_history"
    with pytest.raises(InvalidRequest):
        judge([], wide())
    with pytest.raises(InvalidRequest):
        judge([bars_of_returns(1e-3 * noise(300), interval_ns=HOUR_NS)], wide())


@pytest.mark.parametrize("name", REFERENCES)
def test_white_noise_is_told_from_a_market(name: str) -> None:
    weeks = weeks_of(bars_of_returns(1e-3 * noise(4 * WEEK_RETURNS), volume=np.abs(noise(4 * WEEK_RETURNS + 1, "v"))))

    assert judge(weeks, reference(name)).passed <= MOST_OF_NOISE


@pytest.mark.parametrize("name", REFERENCES)
def test_geometric_brownian_motion_is_told_from_a_market_and_the_model_scores_far_above(name: str) -> None:
    symbol = "BTC/USD" if name == "BTC" else "ADA/USD"

    null, full = (judge(weeks_of(model(law, 6)[symbol]), reference(name)) for law in ("gbm", "lmv-j"))

    assert null.passed <= MOST_OF_NOISE
    assert null.structural_passed <= 7
    # Six weeks of one seed at one-minute steps: the full proof is a command.
    assert full.passed >= 22
    assert full.coverage > null.coverage + 0.3


OTHERS = [("BTC", "ETH"), ("ETH", "BTC"), ("SOL", "BTC"), ("SOL", "ETH"), ("ADA", "BTC"), ("ADA", "ETH")]
"""Months, and references that they are no part of."""


@pytest.mark.data("btc_usdt_perp_1m_2025-05.csv.gz")
@pytest.mark.parametrize(("base", "name"), OTHERS)
def test_real_months_that_a_reference_does_not_know_pass_it(base: str, name: str, recorded_data: Path) -> None:
    bars = bars_of_file(recorded_data / f"{base.lower()}_usdt_perp_1m_2025-05.csv.gz")

    verdict = judge(weeks_of(bars), reference(name))

    assert verdict.weeks == 4
    assert verdict.passed >= LEAST_OF_REAL_MONTHS


def each_week(weeks: int, **specification: object) -> Timeline:
    """Return a timeline with the same scenario in every week."""
    specs = [
        ScenarioSpec(id=f"week-{week}", start_offset_ns=week * WEEK_NS + 30 * HOUR_NS, **specification)  # type: ignore[arg-type]
        for week in range(weeks)
    ]
    return Timeline(place(specs, origin_ns=START_NS, seed=3))


SCENARIOS = {
    "rally": {"kind": ScenarioKind.RALLY, "magnitude": 0.25, "duration_ns": 60 * HOUR_NS},
    "crash": {"kind": ScenarioKind.CRASH, "magnitude": 0.2, "duration_ns": HOUR_NS},
    "divergence": {
        "kind": ScenarioKind.DIVERGENCE,
        "symbols": ("BTC/USD",),
        "against": ("ADA/USD",),
        "magnitude": 0.2,
        "duration_ns": 40 * HOUR_NS,
        "rejoin_ns": 20 * HOUR_NS,
    },
    "reverting": {"kind": ScenarioKind.REVERTING, "duration_ns": 100 * HOUR_NS},
}


@pytest.mark.parametrize("kind", SCENARIOS)
def test_scenarios_leave_the_facts_alone_that_their_direction_does_not_set(kind: str) -> None:
    timeline = each_week(6, **SCENARIOS[kind])
    bent = model("lmv-j", 6, timeline)

    verdicts: dict[str, Verdict] = {
        symbol: judge(weeks_of(without_drift(bars, timeline, step_ns=STEP_NS)), reference(name), under_scenario=True)
        for (symbol, bars), name in zip(bent.items(), ("BTC", "ALT"), strict=True)
    }

    for symbol, verdict in verdicts.items():
        shown = {row.fact.name for row in verdict.rows if row.is_set_by_scenario}
        assert shown == {fact.name for fact in FACTS if fact.is_set_by_direction}
        assert verdict.of == 22
        assert verdict.passed >= 18, (symbol, [row.fact.name for row in verdict.judged if not row.is_inside])


def test_a_crash_that_is_judged_as_if_it_were_the_market_fails_what_it_sets() -> None:
    timeline = each_week(6, **SCENARIOS["crash"])
    bars = model("lmv-j", 6, timeline)["BTC/USD"]

    raw = judge(weeks_of(bars), reference("BTC"))
    rest = judge(weeks_of(without_drift(bars, timeline, step_ns=STEP_NS)), reference("BTC"))

    assert not raw.row("first_passage_down_up").is_inside
    assert not raw.row("vr_60").is_inside
    assert rest.passed >= raw.passed + 4


def test_what_a_path_forced_is_taken_out_to_the_last_minute() -> None:
    timeline = each_week(1, **SCENARIOS["rally"])
    calm, bent = (simulate_flat(each) for each in (Timeline(), timeline))

    rest = without_drift(bent, timeline, step_ns=STEP_NS)

    assert bent.close[-1] / calm.close[-1] == pytest.approx(1.25, rel=1e-3)
    # The model without memory moves as it would have: only rounding to ticks is left.
    assert rest.close.tolist() == pytest.approx(calm.close.tolist(), rel=1e-5)
    assert without_drift(calm, Timeline(), step_ns=STEP_NS) is calm


def test_what_a_pull_forced_is_taken_out_as_well_as_bars_tell_it() -> None:
    timeline = each_week(1, **SCENARIOS["reverting"], level=70_000.0)
    calm, bent = (simulate_flat(each) for each in (Timeline(), timeline))

    rest = without_drift(bent, timeline, step_ns=STEP_NS)

    end = (30 + 100) * 60
    assert bent.close[end] == pytest.approx(70_000.0, rel=0.02)
    assert rest.close.tolist() == pytest.approx(calm.close.tolist(), rel=1e-5)


def simulate_flat(timeline: Timeline) -> Bars:
    instruments = default_instruments(["BTC/USD"])
    bars = simulate(default_table(), instruments, weeks=1, seed=3, step_ns=STEP_NS, model="gbm", timeline=timeline)
    return bars["BTC/USD"]
