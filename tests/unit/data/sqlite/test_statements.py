"""Tables fit their records, and queries use the keys."""

import dataclasses
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from fauxchange.data.sqlite.exchange import ExchangeStatements
from fauxchange.data.sqlite.statements import RecordPages, RecordTable, SqliteStatement, create
from fauxchange.data.tables import (
    METADATA,
    audit_events,
    candles,
    exchange_accounts,
    exchange_fills,
    exchange_keys,
    exchange_ledger,
    exchange_orders,
    exchange_trail,
    market_snapshots,
    price_feeds,
    symbols,
)
from fauxchange.domain.audit import AuditEvent
from fauxchange.domain.market_data import CandleRecord, MarketSnapshot, PriceFeed, SymbolRecord
from fauxchange.domain.orders import AccountRecord, FillRecord, KeyRecord, LedgerEntry, OrderRecord, TrailBlock


def plan(connection: sqlite3.Connection, statement: SqliteStatement) -> str:
    """Return how SQLite would carry out a statement."""
    parameters = statement.parameters()
    names = set(re.findall(r":(\w+)", statement.sql))
    rows = connection.execute(
        f"EXPLAIN QUERY PLAN {statement.sql}", {name: parameters.get(name) for name in names}
    ).fetchall()
    return str(rows)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        for table in METADATA.sorted_tables:
            create(connection, table)
        yield connection


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        (price_feeds, PriceFeed),
        (candles, CandleRecord),
        (market_snapshots, MarketSnapshot),
        (symbols, SymbolRecord),
        (audit_events, AuditEvent),
        (exchange_accounts, AccountRecord),
        (exchange_keys, KeyRecord),
        (exchange_orders, OrderRecord),
        (exchange_fills, FillRecord),
        (exchange_ledger, LedgerEntry),
        (exchange_trail, TrailBlock),
    ],
)
def test_columns_are_the_fields_of_the_record(table: Table, kind: type) -> None:
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else msgspec.structs.fields(kind)

    assert {column.name for column in table.c} == {field.name for field in fields}


@pytest.mark.parametrize(
    ("table", "kind", "fixed", "position"),
    [
        (price_feeds, PriceFeed, ["symbol"], ["ts_ns", "epoch", "sequence"]),
        (candles, CandleRecord, ["symbol", "interval_ns"], ["open_ns"]),
        (audit_events, AuditEvent, ["source"], ["sequence"]),
    ],
)
def test_pages_are_read_along_the_key_without_sorting(
    connection: sqlite3.Connection, table: Table, kind: type, fixed: list[str], position: list[str]
) -> None:
    pages = RecordPages(RecordTable(table, kind), fixed=fixed, position=position)

    for statement in (pages.oldest_first, pages.newest_first):
        text = plan(connection, statement)
        assert "SEARCH" in text
        assert f"{position[-1]}" in text.partition("<")[0]
        assert "TEMP B-TREE" not in text


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (((), None, ()), "PRIMARY KEY (order_id"),
        ((("account",), None, ()), "exchange_orders_account (account=? AND order_id"),
        ((("account",), (0, 1), ()), "exchange_orders_open (account=? AND order_id"),
        (
            (("account", "client_order_id"), None, ()),
            "exchange_orders_named (account=? AND client_order_id=? AND order_id",
        ),
    ],
    ids=str,
)
def test_orders_are_found_by_the_index_that_fits(connection: sqlite3.Connection, query: Any, index: str) -> None:
    pages = ExchangeStatements().order_pages(*query)

    for statement in (pages.oldest_first, pages.newest_first):
        assert index in plan(connection, statement)


@pytest.mark.parametrize(
    ("fixed", "index"),
    [
        ((), "PRIMARY KEY ((trade_id,is_maker)"),
        (("account",), "exchange_fills_account (account=? AND (trade_id,is_maker)"),
        (("symbol",), "exchange_fills_symbol (symbol=? AND (trade_id,is_maker)"),
        (("order_id",), "exchange_fills_order (order_id=? AND (trade_id,is_maker)"),
    ],
    ids=str,
)
def test_fills_are_found_by_the_index_that_fits(
    connection: sqlite3.Connection, fixed: tuple[str, ...], index: str
) -> None:
    pages = ExchangeStatements().fill_pages(fixed, False, ())

    for statement in (pages.oldest_first, pages.newest_first):
        text = plan(connection, statement)
        assert index in text
        assert "TEMP B-TREE" not in text


def test_ledger_is_read_along_its_key(connection: sqlite3.Connection) -> None:
    pages = ExchangeStatements().ledger_pages(("account", "asset"), (4,), ("start_ns",))

    for statement in (pages.oldest_first, pages.newest_first):
        text = plan(connection, statement)
        assert "PRIMARY KEY (account=? AND (event_sequence,asset)" in text
        assert "TEMP B-TREE" not in text


def test_restart_reads_only_open_and_lately_named_orders(connection: sqlite3.Connection) -> None:
    statements = ExchangeStatements()

    opened, named = (plan(connection, pages.oldest_first) for pages in (statements.open_orders, statements.named))

    assert "exchange_orders_open" in opened
    assert "exchange_orders_updated ((updated_ns,order_id)" in named
    assert "TEMP B-TREE" not in opened + named


@pytest.mark.parametrize("table", METADATA.sorted_tables, ids=str)
def test_tables_are_definable_in_postgresql(table: Table) -> None:
    text = str(CreateTable(table).compile(dialect=postgresql.dialect()))

    assert text.strip().startswith(f"CREATE TABLE {table.schema}.")
    assert "VARCHAR" not in text
