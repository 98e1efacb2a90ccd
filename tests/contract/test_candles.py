"""What every store of candles promises."""

from decimal import Decimal
from typing import Any

import pytest

from fauxchange.data.ports import CandleQuery, DataAdapter
from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.market_data import CandleRecord

MINUTE = 60_000_000_000


def candle(minute: int, *, close: str = "101", symbol: str = "BTC/USD", **more: Any) -> CandleRecord:
    values = {"interval_ns": MINUTE, "closed": True, "open_ns": minute * MINUTE, **more}
    return CandleRecord(
        symbol=symbol,
        open=Decimal("100.5"),
        high=Decimal("102.50"),
        low=Decimal(99),
        close=Decimal(close),
        volume=Decimal("12.00000000"),
        **values,
    )


async def opens(adapter: DataAdapter, **query: Any) -> list[int]:
    page = await adapter.candles.query(CandleQuery(**({"symbol": "BTC/USD", "interval_ns": MINUTE} | query)))
    return [record.open_ns // MINUTE for record in page.items]


async def test_candle_comes_back_as_it_went_in(adapter: DataAdapter) -> None:
    record = candle(3, closed=False, metadata={"trades": 17})

    await adapter.candles.upsert(record)

    stored = await adapter.candles.get("BTC/USD", MINUTE, 3 * MINUTE)
    assert stored == record
    assert stored.closed is False


async def test_there_is_no_candle_where_none_was_stored(adapter: DataAdapter) -> None:
    await adapter.candles.upsert(candle(3))

    assert await adapter.candles.get("BTC/USD", MINUTE, 4 * MINUTE) is None
    assert await adapter.candles.get("BTC/USD", 5 * MINUTE, 3 * MINUTE) is None
    assert await adapter.candles.get("ETH/USD", MINUTE, 3 * MINUTE) is None


async def test_later_candle_of_one_key_replaces_the_earlier(adapter: DataAdapter) -> None:
    await adapter.candles.upsert(candle(3, close="1", closed=False, metadata={"draft": True}))

    await adapter.candles.upsert(candle(3, close="2"))

    assert await adapter.candles.get("BTC/USD", MINUTE, 3 * MINUTE) == candle(3, close="2")
    assert await opens(adapter) == [3]


async def test_of_two_in_one_call_the_later_stays(adapter: DataAdapter) -> None:
    await adapter.candles.upsert_many([candle(3, close="1"), candle(4), candle(3, close="2")])

    stored = await adapter.candles.get("BTC/USD", MINUTE, 3 * MINUTE)
    assert stored is not None
    assert stored.close == 2


async def test_refused_metadata_stores_nothing(adapter: DataAdapter) -> None:
    with pytest.raises(InvalidRequest):
        await adapter.candles.upsert_many([candle(1), candle(2, metadata={"when": {1: "not text"}})])

    assert await opens(adapter) == []


async def test_candles_of_other_symbols_and_intervals_stay_apart(adapter: DataAdapter) -> None:
    hour = {"interval_ns": 60 * MINUTE, "open_ns": 0}
    await adapter.candles.upsert_many([candle(1), candle(2, symbol="ETH/USD"), candle(0, **hour)])

    assert await opens(adapter) == [1]
    assert await opens(adapter, interval_ns=60 * MINUTE) == [0]
    assert await opens(adapter, symbol="ETH/USD") == [2]


async def test_range_includes_its_start_and_excludes_its_end(adapter: DataAdapter) -> None:
    await adapter.candles.upsert_many([candle(minute) for minute in (5, 1, 2, 4, 3)])

    assert await opens(adapter) == [1, 2, 3, 4, 5]
    assert await opens(adapter, start_ns=2 * MINUTE, end_ns=4 * MINUTE) == [2, 3]
    assert await opens(adapter, newest_first=True, limit=2) == [5, 4]


@pytest.mark.parametrize("newest_first", [False, True])
async def test_pages_together_are_the_whole(adapter: DataAdapter, newest_first: bool) -> None:
    await adapter.candles.upsert_many([candle(minute) for minute in range(10)])
    seen: list[int] = []
    cursor = None

    for _ in range(4):
        page = await adapter.candles.query(
            CandleQuery(symbol="BTC/USD", interval_ns=MINUTE, limit=3, cursor=cursor, newest_first=newest_first)
        )
        seen += [record.open_ns // MINUTE for record in page.items]
        cursor = page.next_cursor

    assert cursor is None
    assert seen == (list(range(9, -1, -1)) if newest_first else list(range(10)))


async def test_cursor_of_another_interval_is_refused(adapter: DataAdapter) -> None:
    await adapter.candles.upsert_many([candle(1), candle(2)])
    page = await adapter.candles.query(CandleQuery(symbol="BTC/USD", interval_ns=MINUTE, limit=1))

    with pytest.raises(InvalidRequest) as refused:
        await opens(adapter, interval_ns=5 * MINUTE, cursor=page.next_cursor)

    assert refused.value.code == "invalid_cursor"


async def test_limit_out_of_range_is_refused(adapter: DataAdapter) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await opens(adapter, limit=10_001)

    assert (refused.value.code, refused.value.field) == ("limit_out_of_range", "limit")


async def test_deletion_takes_the_older_ones_of_one_interval(adapter: DataAdapter) -> None:
    await adapter.candles.upsert_many(
        [
            *(candle(minute) for minute in range(5)),
            *(candle(minute, symbol="ETH/USD") for minute in range(5)),
            candle(0, interval_ns=5 * MINUTE, open_ns=0),
        ]
    )

    deleted = await adapter.candles.delete_before(3 * MINUTE, interval_ns=MINUTE)

    assert deleted == 6
    assert await opens(adapter) == [3, 4]
    assert await opens(adapter, interval_ns=5 * MINUTE) == [0]


async def test_many_candles_at_once_are_stored_and_replace_others(adapter: DataAdapter) -> None:
    await adapter.candles.upsert(candle(250, close="1"))

    # Some replace others from the start, all of them the second time; of two with one key the later stays.
    for close in ("101", "100", "102"):
        many = [candle(minute, close="99") for minute in range(20)] + [candle(n, close=close) for n in range(500)]
        await adapter.candles.upsert_many(many)

        page = await adapter.candles.query(CandleQuery(symbol="BTC/USD", interval_ns=MINUTE))
        assert page.items == [candle(minute, close=close) for minute in range(500)]


async def test_refused_metadata_among_many_candles_stores_nothing(adapter: DataAdapter) -> None:
    for _ in range(2):
        many = [candle(minute, metadata={"x": float("nan")} if minute == 400 else {}) for minute in range(500)]
        with pytest.raises(InvalidRequest):
            await adapter.candles.upsert_many(many)

        assert await opens(adapter) == []
