"""History: what was taken from the backlog is written whoever asked, and a failing store holds up no feed."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.data.ports import CandleQuery
from fauxchange.domain.errors import Unavailable
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.market_data import Candle, FeedSource, PriceFeed, Quote
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.clock import VirtualClock
from fauxchange.services.market_data.service.history import BATCH_ROWS, History, Retention

START_NS = 1_767_225_600 * NS_PER_S
BTC = Instrument(symbol="BTC/USD", tick_size=Decimal("0.01"), lot_size=Decimal("0.00001"))


class SlowPrices:
    """Prices of a store that takes its time, or fails."""

    def __init__(self, *, failing: bool = False) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.failing = failing

    async def create_many(self, feeds: Sequence[PriceFeed]) -> None:
        if self.failing:
            raise Unavailable("the disk is full")
        self.begun.set()
        await self.go_on.wait()


def history(prices: Any, data: MemoryDataAdapter) -> History:
    return History(
        prices,
        data.candles,
        data.snapshots,
        clock=VirtualClock(START_NS),
        epoch=7,
        retention=Retention(prices_ns=None, second_candles_ns=None, candles_ns=None, snapshots_ns=None),
        open_candles=list,
    )


def quote(sequence: int) -> Quote:
    return Quote(BTC, sequence, START_NS + sequence, 100, 102, None, 0, FeedSource.FIXED)


async def test_a_caller_that_is_cancelled_while_history_is_written_loses_no_candle() -> None:
    data, prices = MemoryDataAdapter(), SlowPrices()
    written = history(prices, data)
    written.add_price(quote(1))
    written.add_candle(Candle(BTC, NS_PER_S, START_NS, 101, 101, 101, 101, 0, closed=True))
    caller = asyncio.create_task(written.flush())
    await prices.begun.wait()

    caller.cancel()
    await asyncio.wait({caller})
    prices.go_on.set()
    await written.flush()

    assert caller.cancelled()
    assert len((await data.candles.query(CandleQuery(symbol="BTC/USD", interval_ns=NS_PER_S))).items) == 1


async def test_the_feed_waits_for_a_store_that_is_behind_and_not_for_one_that_fails() -> None:
    prices = SlowPrices(failing=True)
    written = history(prices, MemoryDataAdapter())
    for sequence in range(1, BATCH_ROWS + 1):
        written.add_price(quote(sequence))
    overfull_before = written.overfull

    await written.flush()

    assert overfull_before
    assert written.backlog == BATCH_ROWS
    assert not written.overfull
