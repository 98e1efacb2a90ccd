"""What is kept in memory is bounded."""

from typing import Any

import msgspec
import pytest

from fauxchange.data.memory.cache import MemoryCache, MemoryKeyspace
from fauxchange.data.memory.exchange import MemoryExchange
from fauxchange.data.memory.journal import MemoryJournal
from fauxchange.data.memory.tables import MemoryTable
from fauxchange.data.ports import FillQuery, LedgerQuery, OrderQuery, Projection
from fauxchange.data.queries import MAX_INT64, MIN_INT64, Span
from fauxchange.domain.errors import DamagedJournal
from fauxchange.domain.orders import FillRecord, LedgerEntry, OrderRecord

NEW, FILLED = 0, 2


def record(kind: Any, **values: Any) -> Any:
    """Return a record whose other fields are 0, false or empty."""
    empty = {int: 0, bool: False, str: ""}
    blank = {field.name: empty.get(field.type) for field in msgspec.structs.fields(kind)}
    return kind(**(blank | values))


def order(order_id: int, *, status: int) -> OrderRecord:
    return record(OrderRecord, order_id=order_id, status=status)


def fill(trade_id: int) -> FillRecord:
    return record(FillRecord, trade_id=trade_id)


def entry(event_sequence: int, *, account: int) -> LedgerEntry:
    return record(LedgerEntry, event_sequence=event_sequence, account=account)


def everything(limit: int = 1_000) -> Span:
    return Span("", (MIN_INT64,), (MAX_INT64,), limit, newest_first=False)


def test_oldest_records_go_when_a_series_outgrows_its_share() -> None:
    table: MemoryTable[int] = MemoryTable(capacity=200)

    for key in ("a", "b"):
        for position in range(300):
            table.put(key, (position,), position)
            table.trim(key)

    for key in ("a", "b"):
        kept = table.read(key, everything())
        assert kept == list(range(300 - len(kept), 300))
    # The share of `a` was all of it until `b` came.
    assert len(table.read("b", everything())) <= 110


def test_series_shrinks_to_its_share_when_others_have_come() -> None:
    table: MemoryTable[int] = MemoryTable(capacity=100)
    for position in range(100):
        table.put("a", (position,), position)
    for key in "bcde":
        table.put(key, (0,), 0)

    table.put("a", (100,), 100)
    dropped = table.trim("a")

    assert dropped == list(range(81))
    assert table.read("a", everything()) == list(range(81, 101))


def test_late_record_is_put_in_its_place() -> None:
    table: MemoryTable[str] = MemoryTable(capacity=10)

    for position in (1, 3, 2, 3):
        table.put("a", (position,), f"{position}")

    assert table.read("a", everything()) == ["1", "2", "3"]
    assert table.read("a", everything(limit=1)) == ["1", "2"]


async def test_value_unused_for_longest_makes_room() -> None:
    cache = MemoryCache(MemoryKeyspace(wall_ns=lambda: 0, max_keys=2), namespace="it", ttl_s=1)
    await cache.set("old", b"1")
    await cache.set("used", b"2")
    await cache.get("old")

    await cache.set("new", b"3")

    assert list(await cache.keys()) == ["new", "old"]


async def test_namespaces_of_one_keyspace_do_not_see_each_other() -> None:
    keyspace = MemoryKeyspace(wall_ns=lambda: 0, max_keys=10)
    prices = MemoryCache(keyspace, namespace="market_data", ttl_s=1)
    config = MemoryCache(keyspace, namespace="config", ttl_s=1)
    await prices.set("key", b"1")
    await config.set("key", b"2")

    assert await prices.delete("*") == 1

    assert await prices.get("key") is None
    assert await config.get("key") == b"2"


async def test_finished_orders_fills_and_entries_are_bounded_and_open_orders_are_not() -> None:
    exchange = MemoryExchange(capacity=10)

    for number in range(1, 101):
        await exchange.store(
            Projection(
                sequence=number,
                document={},
                orders=[order(number, status=FILLED if number > 30 else NEW)],
                fills=[fill(number)],
                ledger=[entry(number, account=number % 3)],
            )
        )

    kept = [found.order_id for found in (await exchange.orders(OrderQuery(limit=1_000, oldest_first=True))).items]
    assert kept == [*range(1, 31), *range(91, 101)]
    assert len((await exchange.fills(FillQuery(limit=1_000))).items) <= 11
    entries = [
        found.event_sequence
        for account in range(3)
        for found in (await exchange.ledger(LedgerQuery(account=account))).items
    ]
    assert sorted(entries) == list(range(91, 101))


async def test_order_that_finishes_is_forgotten_in_its_turn_and_only_once() -> None:
    exchange = MemoryExchange(capacity=2)
    for status in (NEW, FILLED, FILLED):
        await exchange.store(Projection(sequence=1, document={}, orders=[order(1, status=status)]))

    await exchange.store(Projection(sequence=2, document={}, orders=[order(2, status=FILLED)]))
    both = await exchange.orders(OrderQuery())
    await exchange.store(Projection(sequence=3, document={}, orders=[order(3, status=FILLED)]))

    assert [found.order_id for found in both.items] == [2, 1]
    assert [found.order_id for found in (await exchange.orders(OrderQuery())).items] == [3, 2]


async def test_a_journal_that_grows_forgets_its_oldest_batches_and_says_so() -> None:
    journal = MemoryJournal(max_bytes=1_000)
    for sequence in range(1, 101):
        await journal.append(sequence, sequence, bytes(100))

    kept = [batch.first_sequence async for batches in journal.read(95) for batch in batches]
    with pytest.raises(DamagedJournal, match="has forgotten"):
        _ = [batches async for batches in journal.read()]

    assert kept == [96, 97, 98, 99, 100]
    assert await journal.last_sequence() == 100
    assert len(journal._batches) <= 11
