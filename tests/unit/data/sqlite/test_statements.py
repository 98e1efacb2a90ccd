"""Tables fit their records, and queries use the keys."""

import dataclasses
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from fauxchange.data.sqlite.statements import RecordPages, RecordTable, ddl
from fauxchange.data.tables import METADATA, audit_events, candles, market_snapshots, price_feeds, symbols
from fauxchange.domain.audit import AuditEvent
from fauxchange.domain.market_data import CandleRecord, MarketSnapshot, PriceFeed, SymbolRecord


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        for table in METADATA.sorted_tables:
            connection.execute(ddl(CreateTable(table)))
        yield connection


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        (price_feeds, PriceFeed),
        (candles, CandleRecord),
        (market_snapshots, MarketSnapshot),
        (symbols, SymbolRecord),
        (audit_events, AuditEvent),
    ],
)
def test_columns_are_the_fields_of_the_record(table: Table, kind: type) -> None:
    assert {column.name for column in table.c} == {field.name for field in dataclasses.fields(kind)}


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
        plan = str(connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", statement.parameters()).fetchall())
        assert "SEARCH" in plan
        assert f"{position[-1]}" in plan.partition("<")[0]
        assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("table", METADATA.sorted_tables, ids=str)
def test_tables_are_definable_in_postgresql(table: Table) -> None:
    text = str(CreateTable(table).compile(dialect=postgresql.dialect()))

    assert text.strip().startswith(f"CREATE TABLE {table.schema}.")
    assert "VARCHAR" not in text
