"""The model as a source: on the grid of venue time, ahead of it, and never wrong for that."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fauxchange.domain.errors import ConfigurationError, InvariantViolation
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.market_data import FeedSource
from fauxchange.domain.times import NS_PER_MS, NS_PER_S
from fauxchange.services.market_data.core.batches import SPREAD_BY_POLICY, PriceBatch
from fauxchange.services.market_data.core.scenarios import ScenarioKind, ScenarioSpec, Timeline, place
from fauxchange.services.market_data.ports import PriceSource, Skipping
from fauxchange.services.market_data.service.simulation import ModelSource

START_NS = 1_767_225_600 * NS_PER_S + 300 * NS_PER_MS
FIRST_NS = 1_767_225_601 * NS_PER_S


def source(symbols: Sequence[str] = ("BTC/USD", "ETH/USD"), **options: Any) -> ModelSource:
    instruments = [
        Instrument(symbol=symbol, tick_size=Decimal("0.01"), lot_size=Decimal("0.0001")) for symbol in symbols
    ]
    return ModelSource(instruments, **{"seed": 1, "interval_ns": NS_PER_S, "ahead_steps": 8, **options})


async def opened(symbols: Sequence[str] = ("BTC/USD", "ETH/USD"), **options: Any) -> ModelSource:
    made = source(symbols, **options)
    await made.open(START_NS)
    return made


async def rows(made: ModelSource, *counts: int) -> list[tuple[int, ...]]:
    taken: list[tuple[int, ...]] = []
    for count in counts:
        batch = await made.next(count)
        assert isinstance(batch, PriceBatch)
        columns = (batch.ts_ns, batch.symbol_index, batch.mid_half_ticks, batch.last_ticks, batch.volume_lots)
        taken.extend(zip(*(column.tolist() for column in columns), strict=True))
    return taken


def crash(origin_ns: int) -> Timeline:
    spec = ScenarioSpec(id="c", kind=ScenarioKind.CRASH, magnitude=0.2, duration_ns=5 * NS_PER_S)
    return Timeline(place([spec], origin_ns=origin_ns, seed=1))


async def test_it_is_a_price_source_that_can_skip() -> None:
    made: PriceSource = await opened()

    assert made.kind is FeedSource.SIMULATOR
    assert isinstance(made, Skipping)


async def test_steps_lie_on_whole_multiples_of_the_interval() -> None:
    batch = await (await opened()).next(3)

    assert batch is not None
    assert batch.ts_ns.tolist() == [FIRST_NS + step * NS_PER_S for step in (0, 0, 1, 1, 2, 2)]
    assert batch.symbol_index.tolist() == [0, 1] * 3
    assert set(batch.spread_ticks.tolist()) == {SPREAD_BY_POLICY}
    assert batch.mid_half_ticks[0] == pytest.approx(2 * 6_000_000, rel=0.01)


async def test_a_start_on_the_grid_is_the_first_step() -> None:
    made = source()
    await made.open(FIRST_NS)

    assert (await rows(made, 1))[0][0] == FIRST_NS


async def test_initial_prices_can_be_given() -> None:
    made = await opened(("BTC/USD",), initial_prices={"BTC/USD": Decimal("123.45")})

    assert (await rows(made, 1))[0][2] == pytest.approx(24_690, rel=0.01)


@settings(max_examples=12, deadline=None)
@given(counts=st.lists(st.integers(1, 10), max_size=6), ahead=st.integers(1, 20))
async def test_how_steps_are_asked_for_changes_nothing(counts: list[int], ahead: int) -> None:
    whole = await rows(await opened(ahead_steps=1), *[1] * 60)

    taken = await rows(await opened(ahead_steps=ahead), *counts)

    assert taken == whole[: len(taken)]


@settings(max_examples=12, deadline=None)
@given(before=st.integers(0, 20), ahead=st.integers(1, 12))
async def test_a_scenario_bends_the_first_step_not_handed_out(before: int, ahead: int) -> None:
    timeline = crash(FIRST_NS + (before - 1) * NS_PER_S)
    planned = await opened(ahead_steps=1)
    planned.schedule(timeline)
    expected = await rows(planned, *[1] * 30)

    surprised = await opened(ahead_steps=ahead)
    taken = await rows(surprised, *[1] * before)
    surprised.schedule(timeline)
    taken += await rows(surprised, *[1] * (30 - before))

    assert taken == expected
    plain = await rows(await opened(), *[1] * 30)
    assert taken[: 2 * before] == plain[: 2 * before]
    assert taken[2 * before] != plain[2 * before]


async def test_a_scenario_that_is_taken_off_leaves_what_it_did() -> None:
    made = await opened(("BTC/USD",))
    made.schedule(crash(START_NS))
    fallen = await rows(made, 8)
    made.schedule(Timeline())

    after = await rows(made, 60)

    assert fallen[-1][2] == pytest.approx(0.8 * 12_000_000, rel=0.03)
    assert after[-1][2] == pytest.approx(fallen[-1][2], rel=0.03)


@pytest.mark.parametrize("taken", [0, 1, 5, 8, 11])
async def test_a_restored_source_goes_on_with_the_same_rows(taken: int) -> None:
    expected = await rows(await opened(), *[1] * 30)
    first = await opened()
    head = await rows(first, *[1] * taken)
    document = json.loads(json.dumps(first.state()))

    second = source()
    assert second.restore(document)
    await second.open(START_NS)

    assert head + await rows(second, *[1] * (30 - taken)) == expected


async def test_taking_a_state_disturbs_nothing() -> None:
    expected = await rows(await opened(), *[1] * 20)
    watched = await opened()

    taken = []
    for _ in range(20):
        taken += await rows(watched, 1)
        watched.state()

    assert taken == expected


async def test_a_state_keeps_the_level_that_a_pull_has_noted() -> None:
    pull = ScenarioSpec(id="m", kind=ScenarioKind.REVERTING, duration_ns=60 * NS_PER_S)
    timeline = Timeline(place([pull], origin_ns=START_NS, seed=1))
    whole = await opened()
    whole.schedule(timeline)
    expected = await rows(whole, *[1] * 20)
    first = await opened()
    first.schedule(timeline)
    head = await rows(first, *[1] * 10)

    second = source()
    second.restore(first.state())
    second.schedule(timeline)
    await second.open(START_NS)

    assert head + await rows(second, *[1] * 10) == expected


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 2},
        {"model": "gbm"},
        {"interval_ns": 2 * NS_PER_S},
        {"initial_prices": {"BTC/USD": Decimal("1.00")}},
    ],
)
async def test_a_state_of_another_source_is_refused(other: dict[str, Any]) -> None:
    document = (await opened(**other)).state()

    assert not source().restore(document)


@pytest.mark.parametrize(
    "damage",
    [
        {"symbols": {"BTC/USD": {"identity": "x"}}},
        {"symbols": None},
        {"position": "many"},
        {"version": 0},
        {"last_ns": "late"},
    ],
)
async def test_a_damaged_state_is_refused(damage: dict[str, Any]) -> None:
    made = await opened()
    await rows(made, 3)

    assert not source().restore({**made.state(), **damage})


async def test_a_new_symbol_joins_a_restored_source_without_a_trace() -> None:
    expected = await rows(await opened(("BTC/USD",)), *[1] * 20)
    first = await opened(("BTC/USD",))
    await rows(first, 10)

    second = source(("NEW/USD", "BTC/USD"))
    assert second.restore(first.state())
    await second.open(START_NS)
    joined = await rows(second, 10)

    btc = [(ts, *rest) for ts, index, *rest in joined if index == 1]
    assert btc == [(ts, *rest) for ts, _, *rest in expected[10:]]


async def test_overdue_steps_can_be_left_out() -> None:
    made, other = await opened(), await opened()
    await rows(made, *[1] * 3)
    whole = await rows(other, 6)

    skipped = made.skip_to(FIRST_NS + 10 * NS_PER_S - 1)

    assert skipped == 7
    taken = await rows(made, 3)
    assert [row[0] for row in taken[::2]] == [FIRST_NS + step * NS_PER_S for step in (10, 11, 12)]
    # The market stood still meanwhile: the same moves, later.
    assert [row[2] for row in taken] == [row[2] for row in whole[6:]]
    assert made.skip_to(FIRST_NS) == 0
    assert made.report()["skipped_steps"] == 7


async def test_a_scenario_goes_on_over_steps_left_out() -> None:
    made = await opened(("BTC/USD",))
    made.schedule(crash(START_NS))
    await rows(made, 2)

    made.skip_to(FIRST_NS + 30 * NS_PER_S)

    assert (await rows(made, 1))[0][2] == pytest.approx(0.8 * 12_000_000, rel=0.03)


async def test_a_restored_source_does_not_go_back_in_time() -> None:
    first = await opened()
    await rows(first, 5)
    second = source()
    second.restore(first.state())

    await second.open(START_NS - 60 * NS_PER_S)

    assert (await rows(second, 1))[0][0] == FIRST_NS + 5 * NS_PER_S


async def test_many_rows_come_in_bounded_batches() -> None:
    batch = await (await opened(model="gbm")).next(10**9)

    assert batch is not None
    assert len(batch) == 65_536


async def test_a_closed_source_has_ended() -> None:
    made = await opened()

    await made.close()
    await made.close()

    assert await made.next(1) is None


async def test_rows_are_not_given_before_opening() -> None:
    with pytest.raises(InvariantViolation):
        await source().next(1)


def test_a_price_below_its_tick_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"BTC/USD begins at 0\.009, .* tick of 0\.01.*BTC/USD=9e-07"):
        source(initial_prices={"BTC/USD": Decimal("0.009")})


@pytest.mark.parametrize("options", [{"model": "garch"}, {"interval_ns": 999_999}, {"interval_ns": 3_601 * NS_PER_S}])
def test_a_source_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        source(**options)


async def test_the_kernel_compiler_is_injected() -> None:
    asked: list[str] = []

    def compiler(function: Any) -> Any:
        asked.append(function.__name__)
        return function

    made = await opened(compiler=compiler)

    assert "step_symbol" in asked
    assert np.array_equal((await made.next(4)).mid_half_ticks, (await (await opened()).next(4)).mid_half_ticks)  # type: ignore[union-attr]


# What changes at run time


async def test_another_volatility_scales_each_step_and_leaves_the_rest_as_it_was() -> None:
    plain, tuned = await opened(), await opened()
    head = await rows(plain, *[1] * 10)
    assert await rows(tuned, *[1] * 10) == head
    plain_rest = await rows(plain, *[1] * 200)

    tuned.tune(interval_ns=NS_PER_S, volatility={"BTC/USD": 3.0}, now_ns=START_NS)
    tuned_rest = await rows(tuned, *[1] * 200)

    def log_moves(taken: list[tuple[int, ...]], symbol: int) -> np.ndarray:
        return np.diff(np.log([mid for _, index, mid, _, _ in head[-2:] + taken if index == symbol]))

    assert [row for row in tuned_rest if row[1] == 1] == [row for row in plain_rest if row[1] == 1]
    np.testing.assert_allclose(log_moves(tuned_rest, 0), 3.0 * log_moves(plain_rest, 0), atol=1e-6)


async def test_another_interval_goes_on_from_the_price_there_is_on_a_grid_of_its_own() -> None:
    made = await opened(("BTC/USD",))
    before = (await rows(made, 1, 1))[-1]

    made.tune(interval_ns=250 * NS_PER_MS, volatility={}, now_ns=before[0] + 100 * NS_PER_MS)
    taken = await rows(made, 1, 1, 1)

    assert [row[0] - before[0] for row in taken] == [250 * NS_PER_MS, 500 * NS_PER_MS, 750 * NS_PER_MS]
    assert taken[0][2] == pytest.approx(before[2], rel=0.01)
    made.tune(interval_ns=10 * NS_PER_S, volatility={}, now_ns=taken[-1][0])
    (late,) = await rows(made, 1)
    assert late[0] % (10 * NS_PER_S) == 0
    assert late[0] > taken[-1][0]


async def test_steps_made_ahead_are_taken_back_when_parameters_change() -> None:
    eager, patient = await opened(ahead_steps=64), await opened(ahead_steps=1)
    expected = []
    for made in (eager, patient):
        taken = await rows(made, 1, 1)
        made.tune(interval_ns=2 * NS_PER_S, volatility={"ETH/USD": 0.5}, now_ns=START_NS)
        expected.append(taken + await rows(made, 1, 1, 1))

    assert expected[0] == expected[1]


async def test_scenarios_act_on_after_a_change_of_parameters() -> None:
    plain, bent = await opened(("BTC/USD",)), await opened(("BTC/USD",))
    for made in (plain, bent):
        await rows(made, 1)
    bent.schedule(crash(FIRST_NS))

    for made in (plain, bent):
        made.tune(interval_ns=500 * NS_PER_MS, volatility={"BTC/USD": 0.01}, now_ns=FIRST_NS)
    ends = [(await rows(made, *[1] * 20))[-1][2] for made in (plain, bent)]

    assert ends[1] / ends[0] == pytest.approx(0.8, rel=0.01)


@pytest.mark.parametrize("model", ["lmv-j", "gbm"])
async def test_a_state_of_changed_parameters_fits_the_source_as_it_was_configured(model: str) -> None:
    first = await opened(model=model)
    await rows(first, *[1] * 5)
    first.tune(interval_ns=250 * NS_PER_MS, volatility={"BTC/USD": 4.0}, now_ns=START_NS)
    last = (await rows(first, *[1] * 5))[-1]

    second = source(model=model)
    assert second.restore(json.loads(json.dumps(first.state())))
    second.tune(interval_ns=250 * NS_PER_MS, volatility={"BTC/USD": 4.0}, now_ns=last[0])
    await second.open(last[0] + 1)

    assert await rows(second, *[1] * 5) == await rows(first, *[1] * 5)


SWAPPED = {"BTC/USD": {"sigma": 0.005, "weights": [0.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.4], "volume": {"level": 0.0}}}


async def test_another_model_of_a_symbol_goes_on_from_the_price_there_is_and_leaves_others_alone() -> None:
    plain, tuned = await opened(), await opened()
    head = await rows(plain, *[1] * 10)
    assert await rows(tuned, *[1] * 10) == head

    tuned.tune(interval_ns=NS_PER_S, volatility={}, models=SWAPPED, now_ns=START_NS)
    after, before = await rows(tuned, *[1] * 100), await rows(plain, *[1] * 100)

    assert [row for row in after if row[1] == 1] == [row for row in before if row[1] == 1]
    assert [row for row in after if row[1] == 0] != [row for row in before if row[1] == 0]
    assert after[0][2] == pytest.approx(head[-2][2], rel=0.02)


async def test_a_model_that_was_swapped_and_swapped_back_is_the_one_there_was() -> None:
    plain, tuned = await opened(("BTC/USD",)), await opened(("BTC/USD",))
    only = {"BTC/USD": {"sigma": 0.005, "jump_rate": 0.5}}

    tuned.tune(interval_ns=NS_PER_S, volatility={}, models=only, now_ns=START_NS)
    tuned.tune(interval_ns=NS_PER_S, volatility={}, models={}, now_ns=START_NS)

    assert await rows(tuned, *[1] * 50) == await rows(plain, *[1] * 50)


async def test_a_state_of_another_model_goes_on_with_it_and_fits_the_source_as_it_was_configured() -> None:
    first = await opened()
    await rows(first, *[1] * 5)
    first.tune(interval_ns=NS_PER_S, volatility={}, models=SWAPPED, now_ns=START_NS)
    last = (await rows(first, *[1] * 5))[-1]

    second = source()
    assert second.restore(json.loads(json.dumps(first.state())))
    assert second.models == SWAPPED
    second.tune(interval_ns=NS_PER_S, volatility={}, models=SWAPPED, now_ns=last[0])
    await second.open(last[0] + 1)

    assert await rows(second, *[1] * 5) == await rows(first, *[1] * 5)


async def test_a_state_with_a_model_that_cannot_be_is_refused() -> None:
    first = await opened()
    state = json.loads(json.dumps(first.state()))

    assert not source().restore({**state, "models": {"BTC/USD": {"sigma": -1}}})
    assert not source().restore({**state, "models": 3})
    assert source().restore({name: value for name, value in state.items() if name != "models"})
