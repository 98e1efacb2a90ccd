"""The markets that are compared: each seed its own, read under the right name, and told where it comes from."""

from pathlib import Path

import numpy as np
import pytest

from fauxchange.domain.errors import ConfigurationError, InvalidRequest
from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.realism.bars import Bars
from fauxchange.realism.report.markets import Simulation, matching, model_named, read, simulated
from fauxchange.realism.simulating import default_instruments, simulate
from fauxchange.services.market_data.core.parameters import default_table
from fauxchange.services.market_data.core.scenarios import ScenarioKind, ScenarioSpec

RALLY = ScenarioSpec(id="up", kind=ScenarioKind.RALLY, magnitude=0.5, duration_ns=600 * NS_PER_MINUTE)


def simulation(**fields: object) -> Simulation:
    return Simulation(
        **{
            "model": model_named(None),
            "instruments": default_instruments(["BTC/USD"]),
            "weeks": 1,
            "step_ns": NS_PER_MINUTE,
            "seeds": (1, 2),
            **fields,
        }
    )


def bars_of(symbol: str) -> Bars:
    one = np.ones(1)
    return Bars(
        symbol=symbol, interval_ns=NS_PER_MINUTE, open_ns=np.zeros(1, np.int64), open=one, high=one, low=one, close=one
    )


def test_every_seed_is_a_run_of_its_own_and_the_one_that_the_model_gives() -> None:
    told: list[tuple[str, int, int]] = []

    market = simulated(simulation(), lambda *step: told.append(step))

    first, second = (run["BTC/USD"].close for run in market.runs.values())
    alone = simulate(default_table(), default_instruments(["BTC/USD"]), weeks=1, seed=2, step_ns=NS_PER_MINUTE)[
        "BTC/USD"
    ]
    assert list(market.runs) == ["seed 1", "seed 2"]
    assert second.tobytes() == alone.close.tobytes() != first.tobytes()
    assert {name for name, _, _ in told} == {"seed 1", "seed 2"}
    assert all(done == total for name, done, total in told[-1:])
    assert market.origin["model"] == "lmv-j, shipped parameters"
    assert market.origin["step"] == "1m"
    assert market.overlays == {}


def test_scenarios_run_in_every_seed_and_are_kept_for_the_judge() -> None:
    plain, bent = simulated(simulation()), simulated(simulation(scenarios=(RALLY,)))

    for name in plain.runs:
        ratio = bent.runs[name]["BTC/USD"].close[-1] / plain.runs[name]["BTC/USD"].close[-1]
        assert ratio == pytest.approx(1.5, abs=0.15)
    assert set(bent.overlays) == set(bent.runs)
    assert bent.overlays["seed 2"].timeline.scenarios[0].seed == 2
    assert bent.origin["scenarios"] == "up"


def test_first_prices_of_a_model_file_go_before_those_of_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "model.toml"
    file.write_text("format = 1\n\n[symbols.BTC]\ninitial_price = 123.0\n")

    model = model_named(str(file))
    [run] = simulated(simulation(model=model, seeds=(1,))).runs.values()

    assert model.source == "model.toml"
    assert run["BTC/USD"].open[0] == pytest.approx(123.0, rel=0.01)


def test_a_model_that_is_no_file_and_no_name_is_refused() -> None:
    assert model_named("gbm").name == "gbm"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        model_named("heston")


def test_a_recording_is_found_by_its_symbol_or_else_by_its_base_asset() -> None:
    usdt, eur, usd = bars_of("BTC/USDT"), bars_of("BTC/EUR"), bars_of("BTC/USD")

    assert matching("BTC/USD", {"BTC/USD": usd, "BTC/USDT": usdt}) is usd
    assert matching("BTC/USD", {"BTC/USDT": usdt}) is usdt
    # Of two that would do, neither is chosen in silence.
    assert matching("BTC/USD", {"BTC/USDT": usdt, "BTC/EUR": eur}) is None
    assert matching("ETH/USD", {"BTC/USDT": usdt}) is None


def test_a_symbol_cannot_come_from_two_files(tmp_path: Path) -> None:
    rows = "\n".join(f"{60 * minute},10,11,9,10,1" for minute in range(1, 5))
    for name in ("btc_usd_a.csv", "btc_usd_b.csv"):
        (tmp_path / name).write_text(f"time,open,high,low,close,volume\n{rows}\n")

    with pytest.raises(InvalidRequest, match="BTC/USD comes from two files"):
        read([(None, tmp_path / "btc_usd_a.csv"), (None, tmp_path / "btc_usd_b.csv")])
