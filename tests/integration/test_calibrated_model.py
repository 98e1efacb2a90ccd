"""A model file in a running venue: its prices, what goes before it, and another model while the feed runs."""

import dataclasses
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from configuration_kit import until

from fauxchange.domain.errors import ConfigurationError
from fauxchange.platform.ready import read_ready
from fauxchange.services.market_data.core.model_files import ModelFile, SymbolModel, dump_model
from fauxchange.services.market_data.core.parameters import default_table
from fauxchange.testing import RunningVenue, running

SETTINGS = {
    "START_TIME": "2026-01-31T12:00:00Z",
    "DEFAULT_SYMBOLS": "BTC/USD,ETH/USD",
    "MODEL_ENGINE": "python",
    "PRICE_UPDATE_INTERVAL": "1s",
}
WILDNESS = 50.0


def model_text() -> str:
    """Return a model file with a wild BTC at 500 USDT."""
    table = default_table()
    btc = table.of("BTC/USD")
    wild = SymbolModel(
        parameters=dataclasses.replace(btc, sigma=WILDNESS * btc.sigma), initial_price=500.0, source={"quote": "USDT"}
    )
    return dump_model(ModelFile(table=table, sections={"BTC": wild}))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return the path of a good model file."""
    path = tmp_path / "model.toml"
    path.write_text(model_text())
    return path


@pytest.fixture
def misspelt(tmp_path: Path) -> Path:
    """Return the path of a model file with a field that is not one."""
    path = tmp_path / "misspelt.toml"
    path.write_text(model_text().replace("leverage = ", "levrage = "))
    return path


async def closes(venue: RunningVenue, symbol: str) -> np.ndarray:
    async with httpx.AsyncClient(base_url=f"{venue.venue.http}/api/v1", trust_env=False) as http:
        page = (await http.get(f"/prices/{symbol}/history?limit=1000&order=asc")).json()
    return np.array([float(Decimal(price["mid"])) for price in page["prices"]])


async def run(folder: Path, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
    async with running(folder, {**SETTINGS, **settings}, services=("market-data",), paused=True) as venue:
        await venue.clock.step(120_000_000_000)
        return await closes(venue, "BTC-USD"), await closes(venue, "ETH-USD")


async def test_a_model_file_prices_its_symbols_and_leaves_the_others_as_they_are(tmp_path: Path, model: Path) -> None:
    btc, eth = await run(tmp_path / "wild", MODEL=str(model))
    plain_btc, plain_eth = await run(tmp_path / "plain")

    assert btc[0] == pytest.approx(500, rel=0.02)
    assert plain_btc[0] == pytest.approx(60_000, rel=0.01)
    assert np.std(np.diff(np.log(btc))) == pytest.approx(WILDNESS * np.std(np.diff(np.log(plain_btc))), rel=0.05)
    assert eth.tolist() == plain_eth.tolist()


async def test_a_price_that_is_set_goes_before_that_of_the_file(tmp_path: Path, model: Path) -> None:
    btc, _ = await run(tmp_path / "venue", MODEL=str(model), INITIAL_PRICES="BTC/USD=70")

    assert btc[0] == pytest.approx(70, rel=0.02)


async def test_a_bad_model_file_is_refused_before_anything_starts(tmp_path: Path, misspelt: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"levrage: is not a known field \(did you mean leverage\?\)"):
        async with running(tmp_path / "venue", {**SETTINGS, "MODEL": str(misspelt)}, services=("market-data",)):
            pass

    assert not (tmp_path / "venue" / "ready.json").exists()


async def test_another_model_of_a_symbol_holds_from_the_next_price_on_and_after_a_restart(tmp_path: Path) -> None:
    folder, settings = tmp_path / "venue", {**SETTINGS, "STORE": "sqlite"}
    services = ("configuration", "market-data")
    async with running(folder, settings, services=services, paused=True) as venue:
        async with httpx.AsyncClient(
            base_url=f"{venue.venue.http}/api/v1/configuration/market-data",
            headers={"authorization": f"Bearer {read_ready(folder).secrets['admin_key']}"},
            trust_env=False,
        ) as http:
            refused = await http.put("/model.BTC-USD", json={"value": {"sigma": -1, "sgma": 2}})
            kept = await http.put("/model.BTC-USD", json={"value": {"sigma": 0.02}})
        await until(lambda: venue.market_data.tuner.version == kept.json()["version"])
        await venue.clock.step(60_000_000_000)
        before = await closes(venue, "BTC-USD")

    assert refused.status_code == 400
    assert refused.json()["code"] == "value_not_allowed"
    assert "sgma: is not a known field" in refused.json()["detail"]
    assert np.std(np.diff(np.log(before[1:]))) > 10 * default_table().of("BTC/USD").sigma / 60**0.5

    later = {**settings, "START_TIME": "2026-01-31T12:02:00Z"}
    async with running(folder, later, services=services, paused=True) as venue:
        assert venue.market_data.state()["parameters"]["model.BTC-USD"] == {"sigma": 0.02}
        await venue.clock.step(60_000_000_000)
        after = await closes(venue, "BTC-USD")

    assert after[len(before)] == pytest.approx(before[-1], rel=0.05)
    assert np.std(np.diff(np.log(after[len(before) :]))) > 10 * default_table().of("BTC/USD").sigma / 60**0.5
