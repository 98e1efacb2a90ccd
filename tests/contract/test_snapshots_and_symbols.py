"""What every store of snapshots and symbols promises."""

from decimal import Decimal
from typing import Any

import pytest

from fauxchange.data.ports import DataAdapter, SymbolQuery
from fauxchange.domain.errors import InvalidRequest, NotFound
from fauxchange.domain.market_data import FeedSource, MarketSnapshot, SymbolRecord


def snapshot(ts_ns: int, *, symbol: str = "BTC/USD", **more: Any) -> MarketSnapshot:
    values = {"sequence": ts_ns, "last_price": Decimal("100.25"), **more}
    return MarketSnapshot(
        symbol=symbol,
        ts_ns=ts_ns,
        bid=Decimal("100.00"),
        ask=Decimal("100.50"),
        open_24h=Decimal(90),
        high_24h=Decimal(110),
        low_24h=Decimal("80.5"),
        volume_24h=Decimal("1234.56780000"),
        change_24h=Decimal("0.1111"),
        source=FeedSource.REPLAY,
        **values,
    )


def symbol(text: str, *, active: bool = True, **more: Any) -> SymbolRecord:
    return SymbolRecord(symbol=text, tick_size=Decimal("0.01"), lot_size=Decimal("0.00000001"), active=active, **more)


async def store(adapter: DataAdapter, *records: SymbolRecord) -> None:
    for record in records:
        await adapter.symbols.upsert(record)


async def test_latest_snapshot_is_the_newest_of_its_symbol(adapter: DataAdapter) -> None:
    newest = snapshot(30, last_price=None, metadata={"halted": False})

    for record in (snapshot(20), newest, snapshot(10), snapshot(99, symbol="ETH/USD")):
        await adapter.snapshots.create(record)

    assert await adapter.snapshots.latest("BTC/USD") == newest
    assert await adapter.snapshots.latest("ADA/USD") is None


async def test_snapshot_of_the_same_moment_replaces_the_first(adapter: DataAdapter) -> None:
    await adapter.snapshots.create(snapshot(10, sequence=1))

    await adapter.snapshots.create(snapshot(10, sequence=2))

    assert await adapter.snapshots.latest("BTC/USD") == snapshot(10, sequence=2)
    assert await adapter.snapshots.delete_before(11) == 1


async def test_deletion_of_snapshots_keeps_the_moment_itself(adapter: DataAdapter) -> None:
    for ts_ns in (10, 20, 30):
        await adapter.snapshots.create(snapshot(ts_ns))

    assert await adapter.snapshots.delete_before(30) == 2
    assert await adapter.snapshots.latest("BTC/USD") == snapshot(30)


async def test_symbol_comes_back_as_it_went_in_and_is_replaced_by_the_next(adapter: DataAdapter) -> None:
    await store(adapter, symbol("BTC/USD"), symbol("BTC/USD", active=False, metadata={"name": "Bitcoin"}))

    stored = await adapter.symbols.get("BTC/USD")

    assert stored == symbol("BTC/USD", active=False, metadata={"name": "Bitcoin"})
    assert stored.active is False
    assert await adapter.symbols.get("ETH/USD") is None


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (SymbolQuery(), ["ADA/USD", "BTC/USD", "BTC/USDT", "ETH/USDT"]),
        (SymbolQuery(active=True), ["ADA/USD", "BTC/USD", "ETH/USDT"]),
        (SymbolQuery(active=False), ["BTC/USDT"]),
        (SymbolQuery(base="BTC"), ["BTC/USD", "BTC/USDT"]),
        (SymbolQuery(quote="USD"), ["ADA/USD", "BTC/USD"]),
        (SymbolQuery(base="BTC", quote="USDT", active=True), []),
        (SymbolQuery(base="B%"), []),
    ],
)
async def test_query_chooses_symbols_in_alphabetical_order(
    adapter: DataAdapter, query: SymbolQuery, wanted: list[str]
) -> None:
    await store(adapter, symbol("ETH/USDT"), symbol("BTC/USDT", active=False), symbol("BTC/USD"), symbol("ADA/USD"))

    found = await adapter.symbols.query(query)

    assert [record.symbol for record in found] == wanted


async def test_active_symbols_are_their_texts_in_alphabetical_order(adapter: DataAdapter) -> None:
    await store(adapter, symbol("ETH/USD"), symbol("BTC/USD"), symbol("ADA/USD", active=False))

    assert list(await adapter.symbols.active_symbols()) == ["BTC/USD", "ETH/USD"]


async def test_metadata_is_replaced_and_nothing_else(adapter: DataAdapter) -> None:
    await store(adapter, symbol("BTC/USD", metadata={"old": 1}), symbol("ETH/USD", metadata={"kept": 1}))

    await adapter.symbols.update_metadata("BTC/USD", {"new": {"deep": [1.0, None]}})

    assert await adapter.symbols.get("BTC/USD") == symbol("BTC/USD", metadata={"new": {"deep": [1.0, None]}})
    assert await adapter.symbols.get("ETH/USD") == symbol("ETH/USD", metadata={"kept": 1})


async def test_metadata_of_an_unknown_symbol_is_not_found(adapter: DataAdapter) -> None:
    with pytest.raises(NotFound) as missing:
        await adapter.symbols.update_metadata("BTC/USD", {})

    assert missing.value.code == "unknown_symbol"


async def test_refused_metadata_leaves_the_symbol_as_it_was(adapter: DataAdapter) -> None:
    await store(adapter, symbol("BTC/USD", metadata={"old": 1}))

    with pytest.raises(InvalidRequest):
        await adapter.symbols.update_metadata("BTC/USD", {"when": object()})

    assert await adapter.symbols.get("BTC/USD") == symbol("BTC/USD", metadata={"old": 1})
