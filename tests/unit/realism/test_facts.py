"""Facts of made series whose facts are known, and of recorded months whose facts were measured before."""

import math
from pathlib import Path

import numpy as np
import pytest
from realism_kit import autoregressive, bars_of_returns, noise, without_rows

from fauxchange.domain.arithmetic import FloatArray
from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.realism.facts import FACTS, Sample, facts_of
from fauxchange.realism.recorded import bars_of_file
from fauxchange.realism.reference import full_month_facts

WEEK = 10_080


def feedback(count: int) -> FloatArray:
    """Return returns whose size follows the size of the sum over the hour before: time has a direction in them."""
    shocks, values = noise(count).tolist(), [0.0] * 60
    for shock in shocks:
        values.append(shock * (0.2 + 0.1 * abs(sum(values[-60:]))))
    return 1e-4 * np.array([min(max(value, -20.0), 20.0) for value in values[60:]])


def test_there_are_27_facts_of_which_noise_passes_seven() -> None:
    assert len(FACTS) == len({fact.name for fact in FACTS}) == 27
    assert sum(not fact.structural for fact in FACTS) == 7
    assert [fact.name for fact in FACTS if fact.needs_volume] == ["vol_volume_spearman", "acf_logvolume_60"]
    assert {fact.name for fact in FACTS if fact.is_set_by_direction} == {
        "acf_r_1",
        "acf_r_2_20_meanabs",
        "vr_15",
        "vr_60",
        "first_passage_down_up",
    }
    assert all(fact.title and fact.meaning and not fact.meaning.endswith(".") for fact in FACTS)


@pytest.mark.data("btc_usdt_perp_1m_2025-05.csv.gz")
@pytest.mark.parametrize("base", ["BTC", "ETH", "SOL", "ADA"])
def test_facts_of_the_recorded_months_are_those_that_the_reference_was_measured_with(
    base: str, recorded_data: Path
) -> None:
    bars = bars_of_file(recorded_data / f"{base.lower()}_usdt_perp_1m_2025-05.csv.gz")

    facts = facts_of(bars)

    assert facts == pytest.approx(full_month_facts(base), rel=2e-4)


def test_facts_of_white_noise_are_those_of_white_noise() -> None:
    facts = facts_of(bars_of_returns(1e-3 * noise(5 * WEEK)))

    assert facts["kurt_1"] == pytest.approx(0.0, abs=0.1)
    assert facts["qkurt_1"] == pytest.approx(0.0, abs=0.03)
    assert facts["hill"] > 6.0
    assert facts["vr_15"] == pytest.approx(1.0, abs=0.05)
    assert facts["vr_60"] == pytest.approx(1.0, abs=0.1)
    for name in ("acf_r_1", "acf_abs_1", "acf_abs_20", "acf_abs_60", "acf_abs_240", "arch_lm_r2", "leverage_1_10"):
        assert facts[name] == pytest.approx(0.0, abs=0.02), name
    assert facts["tail_ratio_down_up"] == pytest.approx(1.0, abs=0.05)
    assert facts["season_max_min"] == pytest.approx(1.0, abs=0.15)
    assert facts["ghe_1_minus_3"] == pytest.approx(0.0, abs=0.02)
    assert math.isnan(facts["vol_volume_spearman"])
    assert math.isnan(facts["acf_logvolume_60"])


def test_asymmetry_vanishes_where_time_is_reversible_and_turns_its_sign_with_time() -> None:
    forth = feedback(WEEK)
    palindrome = np.concatenate((forth, forth[::-1]))

    asymmetry = facts_of(bars_of_returns(forth))["coarse_fine_asym"]

    assert asymmetry > 0.05
    assert facts_of(bars_of_returns(forth[::-1]))["coarse_fine_asym"] == pytest.approx(-asymmetry)
    assert facts_of(bars_of_returns(palindrome))["coarse_fine_asym"] == pytest.approx(0.0, abs=1e-9)


def test_leverage_has_the_sign_of_the_return_that_volatility_follows() -> None:
    shocks = noise(WEEK)
    falls = np.concatenate(([0.0], np.minimum(shocks[:-1], 0.0)))
    returns = 1e-3 * shocks * (1.0 + 2.0 * np.abs(falls))

    assert facts_of(bars_of_returns(returns))["leverage_1_10"] < -0.02
    assert facts_of(bars_of_returns(-returns))["leverage_1_10"] > 0.02


def test_losses_and_gains_change_places_when_prices_are_turned_upside_down() -> None:
    shocks = noise(WEEK)
    returns = 1e-3 * np.where(shocks < -2.0, 2.0 * shocks, shocks)

    down, up = (facts_of(bars_of_returns(sign * returns)) for sign in (1.0, -1.0))

    assert down["tail_ratio_down_up"] > 1.5
    assert up["tail_ratio_down_up"] == pytest.approx(1.0 / down["tail_ratio_down_up"])
    assert up["first_passage_down_up"] == pytest.approx(1.0 / down["first_passage_down_up"])


def test_memory_of_sizes_is_that_of_the_series_they_are_made_of() -> None:
    volatility = np.exp(0.25 * autoregressive(4 * WEEK, 0.98))
    facts = facts_of(bars_of_returns(1e-4 * volatility * noise(4 * WEEK, seed=2)))

    assert facts["acf_abs_1"] > facts["acf_abs_20"] > facts["acf_abs_60"] > facts["acf_abs_240"] - 0.02
    assert facts["kurt_1"] > 3.0
    assert facts["acf_abs_beta"] > 0.2
    # Of a log-normal volatility: the memory at a lag is in proportion to exp(variance * memory of the logarithm) - 1.
    variance = 0.25**2 / (1.0 - 0.98**2)
    known = math.expm1(variance * 0.98**20) / math.expm1(variance * 0.98)
    assert facts["acf_abs_20"] / facts["acf_abs_1"] == pytest.approx(known, abs=0.06)


def test_season_is_told_by_the_hour_in_which_a_return_ends() -> None:
    returns = np.tile(np.array([1e-4, -1e-4]), 10 * 720)
    start_ns = 0
    hours = (np.arange(1, len(returns) + 1) // 60) % 24
    returns = np.where(hours == 13, 3.0 * returns, returns)

    assert facts_of(bars_of_returns(returns, start_ns=start_ns))["season_max_min"] == pytest.approx(3.0)


def test_volume_facts_are_those_of_the_volumes() -> None:
    returns = 1e-3 * noise(WEEK)
    sizes = np.concatenate(([1.0], np.abs(returns) * 1e3))
    memory = np.exp(autoregressive(WEEK + 1, 0.99) * 0.2)

    followed = facts_of(bars_of_returns(returns, volume=sizes))
    remembered = facts_of(bars_of_returns(returns, volume=memory))

    assert followed["vol_volume_spearman"] == pytest.approx(1.0)
    assert remembered["vol_volume_spearman"] == pytest.approx(0.0, abs=0.05)
    assert remembered["acf_logvolume_60"] == pytest.approx(0.99**60, abs=0.15)


def test_no_return_is_taken_across_a_gap() -> None:
    whole = bars_of_returns([0.01, 0.02, 0.03, 0.04, 0.05])

    sample = Sample(without_rows(whole, 2, 4))

    # Bars 0, 1, 4, 5 are left: a return, three without, a return.
    assert sample.returns[[0, 4]].tolist() == pytest.approx([0.01, 0.05])
    assert np.isnan(sample.returns[1:4]).all()


def test_a_short_gap_changes_facts_little_and_a_long_one_costs_no_memory() -> None:
    bars = bars_of_returns(feedback(WEEK), volume=np.abs(noise(WEEK + 1)) + 0.1)
    gap = without_rows(bars, 4_000, 4_100)
    years = bars.open_ns.copy()
    years[5_000:] += 10 * 365 * 1_440 * NS_PER_MINUTE

    facts, with_gap = facts_of(bars), facts_of(gap)

    for name in ("acf_abs_1", "acf_abs_60", "sd_log_rv_1h", "qkurt_1", "arch_lm_r2"):
        assert with_gap[name] == pytest.approx(facts[name], rel=0.15), name
    assert len(Sample(gap).returns) == WEEK
    moved = bars_of_returns(feedback(WEEK))
    object.__setattr__(moved, "open_ns", years)
    assert len(Sample(moved).returns) < WEEK + 2_000


@pytest.mark.parametrize("count", [0, 1, 5, 61, 200])
def test_too_few_bars_have_unknown_facts_and_no_error(count: int) -> None:
    facts = facts_of(bars_of_returns(1e-3 * noise(count), volume=np.ones(count + 1)))

    assert len(facts) == 27
    assert math.isnan(facts["acf_abs_240"])
    assert math.isnan(facts["season_max_min"])


def test_a_price_that_never_moves_has_no_facts() -> None:
    bars = bars_of_returns(np.zeros(WEEK), volume=np.zeros(WEEK + 1))

    facts = facts_of(bars)

    assert all(math.isnan(value) for value in facts.values()), facts
