"""A venue in virtual time that is started again on its data folder."""

from pathlib import Path

import pytest

from fauxchange.domain.errors import ConfigurationError
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_S
from fauxchange.testing.inprocess import running

START = "2026-01-31T12:00:00Z"
SQLITE = {"STORE": "sqlite"}
HASTY = {**SQLITE, "SPEED": 1_000_000}


async def test_without_a_start_time_venue_time_goes_on_from_the_last_run(tmp_path: Path) -> None:
    async with running(tmp_path, HASTY, services=("market-data",), paused=True) as live:
        await live.clock.step(30 * 24 * 60 * NS_PER_MINUTE // 100)
        reached_ns = live.clock.now_ns()
        last = live.market_data.service.price("BTC/USD")

    async with running(tmp_path, HASTY, services=("market-data",), paused=True) as live:
        began_ns = live.clock.now_ns()
        await live.clock.step(5 * NS_PER_S)
        price = live.market_data.service.price("BTC/USD")

        assert began_ns >= reached_ns
        assert live.market_data.service.epoch > 0
        assert price.sequence > last.sequence
        assert price.ts_ns > last.ts_ns


async def test_a_start_time_before_the_last_run_is_refused_and_that_run_stays_as_it_was(tmp_path: Path) -> None:
    settings = {**SQLITE, "START_TIME": START}
    async with running(tmp_path, settings, services=("market-data",), paused=True) as live:
        await live.clock.step(10 * NS_PER_MINUTE)
        sequence = live.market_data.service.price("BTC/USD").sequence

    with pytest.raises(ConfigurationError, match=r"2026-01-31T12:10:00\.000000Z.*--data-dir"):
        async with running(tmp_path, settings, services=("market-data",), paused=True):
            pass

    async with running(
        tmp_path, {**settings, "START_TIME": "2026-01-31T12:10:00Z"}, services=("market-data",), paused=True
    ) as live:
        await live.clock.step(NS_PER_MINUTE)
        assert live.market_data.service.price("BTC/USD").sequence == sequence + 60
