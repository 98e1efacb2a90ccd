"""Calibration as a whole: what it finds of a model that is known, what it keeps, and that it repeats."""

import dataclasses

import numpy as np
import pytest
from calibration_kit import model_bars, noise_bars

from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.times import NS_PER_DAY, NS_PER_HOUR
from fauxchange.realism.bars import Bars
from fauxchange.realism.calibration.calibrating import calibrate_symbol
from fauxchange.realism.calibration.together import Recorded, calibrate
from fauxchange.services.market_data.core.model_files import dump_model, model_from_text
from fauxchange.services.market_data.core.parameters import default_table

TABLE = default_table()
WILD = dataclasses.replace(
    TABLE.of("ETH/USD"),
    sigma=0.002,
    weights=(0.0, 0.4, 0.0, 0.3, 0.0, 0.0, 0.0),
    season=tuple([0.5] * 12 + [1.5] * 12),
    jump_rate=0.0,
    volume=dataclasses.replace(TABLE.of("ETH/USD").volume, level=3.0),
)


def test_a_known_model_comes_back() -> None:
    bars = model_bars(dataclasses.replace(TABLE, by_symbol={"BTC/USD": WILD}), "BTC/USD", days=12)["BTC/USD"]

    found = calibrate_symbol(bars, simulated_days=36)

    parameters = found.parameters
    assert parameters.sigma == pytest.approx(WILD.sigma, rel=0.2)
    assert np.corrcoef(parameters.season, WILD.season)[0, 1] > 0.9
    assert sum(parameters.weights) == pytest.approx(0.7, abs=0.3)
    assert parameters.volume.level == pytest.approx(3.0, abs=0.5)
    assert np.abs(found.fit.wanted.sizes - found.fit.reached.sizes)[:20].mean() < 0.04
    assert found.fit.reached.spread == pytest.approx(found.fit.wanted.spread, rel=0.1)
    assert min(found.fit.losses) < 0.5 * found.fit.losses[0]


def test_the_same_bars_and_seed_give_the_same_file_and_another_seed_another() -> None:
    recorded = Recorded(bars=noise_bars(2_000), file="noise.csv", sha256="0" * 64)

    texts = [dump_model(calibrate([recorded], seed=seed, simulated_days=3).model) for seed in (1, 1, 2)]

    assert texts[0] == texts[1] != texts[2]
    assert model_from_text(texts[0], file_name="m").initial_price("BTC/USD") == recorded.bars.close[-1]


def test_a_short_history_keeps_the_slow_factors_and_says_so() -> None:
    found = calibrate_symbol(noise_bars(2_000), simulated_days=3)

    assert [factor.is_fitted for factor in found.factors] == [True, True, True, True, False, False, False]
    assert found.parameters.weights[4:] == TABLE.of("BTC/USD").weights[4:]
    assert found.parameters.season == TABLE.of("BTC/USD").season
    assert any("hourly profiles: 1.4 days are fewer than 3" in kept for kept in found.kept)
    assert any("volatility factor of 3d: 1.4 days are fewer than 7" in kept for kept in found.kept)


@pytest.mark.parametrize(
    ("interval_ns", "fitted"), [(NS_PER_HOUR, [False] * 4 + [True] * 3), (NS_PER_DAY, [False] * 7)]
)
def test_long_bars_say_something_about_slow_factors_only(interval_ns: int, fitted: list[bool]) -> None:
    found = calibrate_symbol(noise_bars(600, interval_ns=interval_ns, size=0.01), simulated_days=60)

    before = TABLE.of("BTC/USD")
    assert [factor.is_fitted for factor in found.factors] == fitted
    assert (found.parameters.jump_rate, found.parameters.jump_scale) == (before.jump_rate, before.jump_scale)
    assert any(kept.startswith("the jumps") for kept in found.kept)
    assert 0.2 < found.parameters.sigma / (0.01 / (interval_ns / 60e9) ** 0.5) < 2.0


def test_symbols_of_one_market_are_tied_to_each_other() -> None:
    pair = ("BTC/USD", "ETH/USD")
    tied = {each: dataclasses.replace(TABLE.of(each), market_loading=0.6, sigma=0.001) for each in pair}
    bars = model_bars(dataclasses.replace(TABLE, by_symbol=tied), *pair, days=3)
    recorded = [Recorded(bars=bars[each], file=f"{each[:3]}.csv", sha256="") for each in pair]

    found = calibrate(recorded, simulated_days=6)

    assert found.loadings is not None
    assert found.loadings.market["BTC/USD"] == pytest.approx(0.6, abs=0.15)
    assert found.loadings.largest_miss < 0.12
    assert set(found.model.sections) == {"BTC", "ETH"}
    assert found.model.sections["BTC"].parameters.market_loading == found.loadings.market["BTC/USD"]


def without_a_minute_of_each_hour(bars: Bars) -> Bars:
    kept = np.arange(len(bars)) % 60 != 30
    columns = {name: getattr(bars, name)[kept] for name in ("open_ns", "open", "high", "low", "close")}
    return dataclasses.replace(bars, **columns, volume=None)


def test_symbols_that_cannot_be_tied_to_each_other_are_fitted_nonetheless_and_it_is_said_why() -> None:
    whole = [noise_bars(2_000, symbol=symbol) for symbol in ("BTC/USD", "ETH/USD")]
    apart = [whole[0], dataclasses.replace(whole[1], open_ns=whole[1].open_ns + 30 * NS_PER_DAY)]
    gapped = [without_a_minute_of_each_hour(bars) for bars in whole]

    told = []
    for bars in (apart, gapped):
        found = calibrate([Recorded(bars=each, file="x.csv", sha256="") for each in bars], simulated_days=3)
        assert found.loadings is None
        assert found.model.sections["BTC"].parameters.market_loading == TABLE.of("BTC/USD").market_loading
        told.append(found.loadings_kept)

    assert "at the same times for 0.0 days only" in told[0]
    assert "only 0 whole hours" in told[1]


def test_a_symbol_by_itself_keeps_its_loadings() -> None:
    found = calibrate([Recorded(bars=noise_bars(2_000), file="a.csv", sha256="")], simulated_days=3)

    assert found.loadings is None
    assert "alone" in found.loadings_kept
    assert found.model.sections["BTC"].parameters.market_loading == TABLE.of("BTC/USD").market_loading


def test_two_markets_of_a_base_have_a_section_each() -> None:
    recorded = [
        Recorded(bars=noise_bars(2_000, symbol=symbol), file="x.csv", sha256="") for symbol in ("BTC/USD", "BTC/EUR")
    ]

    assert set(calibrate(recorded, simulated_days=3).model.sections) == {"BTC/USD", "BTC/EUR"}
    with pytest.raises(InvalidRequest, match="both hold BTC/USD"):
        calibrate([recorded[0], recorded[0]], simulated_days=3)
