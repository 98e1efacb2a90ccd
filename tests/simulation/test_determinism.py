"""The same seed, symbols and scenarios: the same prices and candles, however the run is cut into pieces."""

import random
from pathlib import Path

import httpx
import pytest

from fauxchange.domain.times import NS_PER_S
from fauxchange.testing import running

SECONDS = 90
CRASH = {"id": "drop", "kind": "crash", "symbols": ["BTC-USD"], "magnitude": "10%", "duration": "20s", "start": "15s"}


async def _told(folder: Path, *, pieces: int, **settings: object) -> tuple[bytes, bytes, bytes]:
    """Return prices, candles and the newest audit hash of a run that is cut at random into so many pieces."""
    cuts = sorted(random.Random(pieces).sample(range(1, SECONDS * 1_000), pieces - 1))
    base = {"START_TIME": "2026-01-01T00:00:00Z", "MODEL_ENGINE": "python", "SEED": 5}
    async with (
        running(folder, {**base, **settings}, services=("market-data",), paused=True) as venue,
        httpx.AsyncClient(base_url=venue.venue.http) as http,
        httpx.AsyncClient(base_url=venue.venue.audit, headers=venue.venue.audit_headers) as audit,
    ):
        (await audit.post("/audit/v1/scenarios", json=CRASH)).raise_for_status()
        start_ns = venue.clock.now_ns()
        for cut_ms in [*cuts, SECONDS * 1_000]:
            await venue.clock.run_until(start_ns + cut_ms * NS_PER_S // 1_000)
        params = {"order": "asc"}
        prices = (await http.get("/api/v1/prices/BTC-USD/history", params=params)).content
        candles = (await http.get("/api/v1/candles/BTC-USD", params=params | {"interval": "1s"})).content
        scenario = (await audit.get("/audit/v1/scenarios/drop")).content
    return prices, candles, scenario


@pytest.mark.parametrize("pieces", [2, 17, 60])
async def test_a_run_in_pieces_is_the_run_in_one(tmp_path: Path, pieces: int) -> None:
    whole = await _told(tmp_path / "whole", pieces=1)
    cut = await _told(tmp_path / "cut", pieces=pieces)

    assert whole == cut


async def test_other_symbols_change_nothing(tmp_path: Path) -> None:
    among_five = await _told(tmp_path / "five", pieces=3)
    among_two = await _told(tmp_path / "two", pieces=5, DEFAULT_SYMBOLS="XRP/USD,BTC/USD")

    assert among_five == among_two


async def test_another_seed_is_another_market(tmp_path: Path) -> None:
    one = await _told(tmp_path / "one", pieces=1)
    other = await _told(tmp_path / "other", pieces=1, SEED=6)

    assert one[0] != other[0]
    assert one[1] != other[1]
