"""A venue that goes on where an earlier run ended: after a crash, and on another grid."""

import shutil
from decimal import Decimal
from pathlib import Path

from fauxchange.data.ports import CandleQuery, PriceFeedQuery
from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.testing.inprocess import running

SQLITE = {"STORE": "sqlite", "START_TIME": "2026-01-31T12:00:00Z", "DEFAULT_SYMBOLS": "BTC/USD"}
LATER = {**SQLITE, "START_TIME": "2026-01-31T12:10:30Z"}
HOUR = CandleQuery(symbol="BTC/USD", interval_ns=60 * NS_PER_MINUTE)
PRICES = PriceFeedQuery(symbol="BTC/USD", limit=10_000)


async def test_candles_after_a_crash_hold_every_price_that_was_stored(tmp_path: Path) -> None:
    async with running(tmp_path / "crashed", SQLITE, services=("market-data",), paused=True) as live:
        await live.clock.step(10 * NS_PER_MINUTE)
        await live.market_data.service.price_history(PRICES)
        shutil.copytree(tmp_path / "crashed", tmp_path / "found")

    async with running(tmp_path / "found", LATER, services=("market-data",), paused=True) as live:
        await live.clock.step(NS_PER_MINUTE)
        prices = (await live.market_data.service.price_history(PRICES)).items
        (hour,) = (await live.market_data.service.candle_history(HOUR)).items

        assert len(prices) == 601 + 61
        assert hour.volume == sum(price.volume for price in prices)
        assert (hour.high - hour.low) > 0


async def test_candles_of_another_grid_are_not_gone_on_with(tmp_path: Path) -> None:
    async with running(tmp_path, SQLITE, services=("market-data",), paused=True) as live:
        await live.clock.step(10 * NS_PER_MINUTE)

    async with running(
        tmp_path, {**LATER, "TICK_SIZES": "BTC/USD=0.1"}, services=("market-data",), paused=True
    ) as live:
        await live.clock.step(NS_PER_MINUTE)
        (hour,) = (await live.market_data.service.candle_history(HOUR)).items
        snapshot = live.market_data.service.snapshot("BTC/USD")

        assert hour.high < Decimal(100_000)
        assert snapshot.high_24h < Decimal(100_000)
