import math
from pathlib import Path

import numpy as np
import pytest
from realism_kit import bars_of_returns, noise, without_rows

from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.realism.distances import DISTANCES
from fauxchange.realism.facts import FACTS
from fauxchange.realism.recorded import bars_of_file
from fauxchange.realism.reference import REFERENCES, Interval, bootstrap_reference, reference, reference_for

DAY = 1_440


@pytest.mark.parametrize("name", REFERENCES)
def test_shipped_references_have_every_fact_and_distance(name: str) -> None:
    shipped = reference(name)

    assert list(shipped.intervals) == [fact.name for fact in FACTS]
    assert all(interval.low < interval.high for interval in shipped.intervals.values())
    assert set(shipped.distances) == set(DISTANCES)
    assert all(0.0 < median < high for median, high in shipped.distances.values())
    assert shipped.medians["coarse_fine_asym"] in shipped.intervals["coarse_fine_asym"]


def test_references_hold_the_measured_weeks() -> None:
    assert reference("BTC").weeks == 33
    assert reference("ETH").weeks == 32
    # Of Ether, and of SOL, ADA and DOT of one season.
    assert reference("ALT").weeks == 49
    assert reference("btc").intervals["kurt_1"] == Interval(4.9684, 70.378)


@pytest.mark.parametrize(
    ("symbol", "name"), [("BTC/USD", "BTC"), ("xbt-eur", "BTC"), ("ETH/USDT", "ETH"), ("DOT/USD", "ALT")]
)
def test_a_symbol_is_held_against_the_reference_of_its_base(symbol: str, name: str) -> None:
    assert reference_for(symbol).name == name


def test_an_unknown_reference_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidRequest, match=r"DOGE.*BTC, ETH, ALT") as refused:
        reference("DOGE")

    assert refused.value.code == "unknown_reference"


def test_an_interval_holds_its_ends_and_no_unknown_value() -> None:
    interval, unknown = Interval(1.0, 2.0), math.nan

    assert 1.0 in interval
    assert 2.0 in interval
    assert 2.1 not in interval
    assert unknown not in interval


@pytest.mark.data("btc_usdt_perp_1m_2025-05.csv.gz")
def test_a_reference_of_a_month_is_near_the_one_that_was_measured_on_it(recorded_data: Path) -> None:
    bars = bars_of_file(recorded_data / "btc_usdt_perp_1m_2025-05.csv.gz")

    own = bootstrap_reference(bars, weeks=40)

    # Drawn by others, with other numbers.
    measured = {
        "kurt_1": (4.7422, 8.6147),
        "qkurt_1": (0.42882, 0.62473),
        "acf_abs_1": (0.2006, 0.28148),
        "sd_log_rv_1h": (0.34642, 0.4684),
        "vol_volume_spearman": (0.43544, 0.50901),
    }
    for name, (low, high) in measured.items():
        width = high - low
        assert own.intervals[name].low == pytest.approx(low, abs=0.3 * width), name
        assert own.intervals[name].high == pytest.approx(high, abs=0.3 * width), name
        assert own.medians[name] in own.intervals[name]
    assert "29 days" in own.name


def test_the_same_bars_and_seed_give_the_same_reference() -> None:
    bars = bars_of_returns(1e-3 * noise(9 * DAY))

    first, again, other = (bootstrap_reference(bars, weeks=3, seed=seed) for seed in (1, 1, 2))

    assert first == again
    assert first.intervals["kurt_1"] != other.intervals["kurt_1"]
    assert "acf_logvolume_60" not in first.intervals


def test_days_are_drawn_from_between_gaps_at_one_time_of_day() -> None:
    returns = np.tile(np.concatenate((np.full(720, 1e-4), np.full(720, 5e-4))) * np.tile([1.0, -1.0], 720), 12)
    bars = without_rows(bars_of_returns(returns, start_ns=7 * 60 * NS_PER_MINUTE), 3 * DAY + 5, 3 * DAY + 900)

    own = bootstrap_reference(bars, weeks=2)

    # Half of the day is five times as lively: only if all days begin at one time does this show undiluted.
    assert "11 days" in own.name
    assert own.medians["season_max_min"] == pytest.approx(5.0, rel=0.02)


def test_a_recording_that_stands_still_gives_no_ranges() -> None:
    returns = np.zeros(8 * DAY)
    returns[::3_000] = 1e-3

    with pytest.raises(InvalidRequest, match="hardly ever move") as refused:
        bootstrap_reference(bars_of_returns(returns))

    assert refused.value.code == "unsuitable_bars"


def test_too_little_and_unsuitable_history_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"7 days of 24 hours without a gap, .* has 6") as short:
        bootstrap_reference(bars_of_returns(1e-3 * noise(6 * DAY + 100)))
    with pytest.raises(InvalidRequest) as hourly:
        bootstrap_reference(bars_of_returns(1e-3 * noise(2_000), interval_ns=60 * NS_PER_MINUTE))

    assert short.value.code == "too_little_history"
    assert hourly.value.code == "unsuitable_bars"
