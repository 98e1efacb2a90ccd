"""Pictures of scenarios: what is drawn is the model with and without them."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from fauxchange.domain.errors import ConfigurationError, InvalidRequest
from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.realism.report.pictures import save
from fauxchange.realism.report.scenario_pictures import bending, picture_of, shown_symbols, title_of
from fauxchange.realism.simulating import default_instruments
from fauxchange.services.market_data.core.scenarios import ScenarioKind, ScenarioSpec


def spec(kind: ScenarioKind, **fields: Any) -> ScenarioSpec:
    fields.setdefault("magnitude", 0.2)
    return ScenarioSpec(**{"id": str(kind), "kind": kind, "duration_ns": 10 * NS_PER_MINUTE, **fields})


def test_prices_part_at_the_start_and_end_apart_by_the_magnitude() -> None:
    bent = bending([spec(ScenarioKind.RALLY)], default_instruments(["BTC/USD"]), seed=3)

    before = bent.since_ns <= 0
    assert bent.bent[0, before].tobytes() == bent.alone[0, before].tobytes()
    assert bent.bent[0, -1] / bent.alone[0, -1] == pytest.approx(1.2, abs=0.02)
    assert bent.since_ns[0] < 0 < 10 * NS_PER_MINUTE < bent.since_ns[-1]


def test_the_same_seed_draws_the_same_picture_and_another_another() -> None:
    def drawn(seed: int) -> str:
        bent = bending([spec(ScenarioKind.CRASH)], default_instruments(["BTC/USD"]), seed=seed)
        return picture_of(bent, title="crash").file()

    first = drawn(1)

    assert drawn(1) == first
    assert drawn(2) != first


@pytest.mark.parametrize("kind", list(ScenarioKind))
def test_every_kind_is_drawn_as_a_file_that_is_well_formed(kind: ScenarioKind, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"symbols": ("SOL/USD",)} if kind is ScenarioKind.DIVERGENCE else {}
    specs = [spec(kind, **fields)]
    symbols = shown_symbols(specs, ("BTC/USD", "ETH/USD"))

    save(picture_of(bending(specs, default_instruments(symbols), seed=1), title=title_of(specs)), tmp_path / "x.svg")

    root = ET.parse(tmp_path / "x.svg").getroot()
    told = "".join(root.itertext())
    assert root.tag.endswith("svg")
    assert symbols[0] in told
    assert "volatility" in told
    assert [path.name for path in tmp_path.iterdir()] == ["x.svg"]


def test_the_shortest_scenario_is_drawn_too(tmp_path: Path) -> None:
    specs = [spec(ScenarioKind.RALLY, duration_ns=1_000_000)]

    save(picture_of(bending(specs, default_instruments(("BTC/USD",)), seed=1), title="short"), tmp_path / "x.svg")

    assert (tmp_path / "x.svg").stat().st_size > 0


def test_a_picture_shows_who_is_named_or_else_the_first_symbol_of_the_market() -> None:
    known = ("BTC/USD", "ETH/USD", "SOL/USD")
    apart = spec(ScenarioKind.DIVERGENCE, symbols=("SOL/USD",), against=("ADA/USD",))

    assert shown_symbols([spec(ScenarioKind.RALLY)], known) == ("BTC/USD",)
    assert shown_symbols([spec(ScenarioKind.RALLY, symbols=("ETH/USD",))], known) == ("ETH/USD",)
    # Who leaves the market is drawn beside somebody who stays.
    assert shown_symbols([apart], known) == ("SOL/USD", "ADA/USD", "BTC/USD")


def test_scenarios_that_touch_nobody_shown_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="act on none of the symbols shown"):
        bending([spec(ScenarioKind.RALLY, symbols=("ETH/USD",))], default_instruments(["BTC/USD"]), seed=1)


def test_a_picture_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    picture = picture_of(bending([spec(ScenarioKind.RALLY)], default_instruments(["BTC/USD"]), seed=1), title="x")

    with pytest.raises(ConfigurationError, match=r"written as \.svg or \.png"):
        save(picture, tmp_path / "x.pdf")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        save(picture, tmp_path / "nowhere" / "x.svg")

    assert list(tmp_path.iterdir()) == []


def test_volatility_of_a_crash_stands_out_against_the_same_seed_left_alone() -> None:
    crash = spec(ScenarioKind.CRASH, volatility=4.0)
    bent = bending([crash], default_instruments(["BTC/USD"]), seed=5)

    after = (bent.since_ns > 10 * NS_PER_MINUTE) & (bent.since_ns < 20 * NS_PER_MINUTE)
    moved = [np.abs(np.diff(np.log(prices[0, after]))).mean() for prices in (bent.bent, bent.alone)]

    assert moved[0] > 1.8 * moved[1]
