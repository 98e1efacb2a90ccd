"""The tables of the SQL stores, defined once.

A table's columns have the names of its record's fields. Schemas are those of PostgreSQL; SQLite has none and keeps all
tables side by side. Prices and quantities are exact decimals (NUMERIC; text in SQLite, whose numbers are 64-bit
floats), times are nanoseconds since 1970, documents are JSON as it was written (not JSONB, which would reorder keys).
"""

from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, MetaData, Numeric, Table, Text, UniqueConstraint
from sqlalchemy.types import TypeEngine

METADATA = MetaData()

SCHEMA_VERSION = 1
"""The version of everything on this page; it grows with each change of it."""

MARKET_DATA = "market_data"
AUDIT = "audit"

EXACT: Numeric[Decimal] = Numeric().with_variant(Text(), "sqlite")
DOCUMENT = JSON().with_variant(Text(), "sqlite")


def _key(name: str, kind: type[Text | BigInteger]) -> Column[Any]:
    return Column(name, kind(), primary_key=True, autoincrement=False)


def _value(name: str, kind: TypeEngine[Any], *, nullable: bool = False) -> Column[Any]:
    return Column(name, kind, nullable=nullable)


# Clustered by time (SQLite keeps a table without row ids in the order of its key), because it is read and deleted by
# time; the second key is what makes a price unique.
price_feeds = Table(
    "price_feeds",
    METADATA,
    _key("symbol", Text),
    _key("ts_ns", BigInteger),
    _key("epoch", BigInteger),
    _key("sequence", BigInteger),
    _value("bid", EXACT),
    _value("ask", EXACT),
    _value("last", EXACT, nullable=True),
    _value("volume", EXACT),
    _value("source", Text()),
    _value("metadata", DOCUMENT),
    UniqueConstraint("symbol", "epoch", "sequence", name="price_feeds_sequence"),
    schema=MARKET_DATA,
    sqlite_with_rowid=False,
)

candles = Table(
    "candles",
    METADATA,
    _key("symbol", Text),
    _key("interval_ns", BigInteger),
    _key("open_ns", BigInteger),
    _value("open", EXACT),
    _value("high", EXACT),
    _value("low", EXACT),
    _value("close", EXACT),
    _value("volume", EXACT),
    _value("closed", Boolean()),
    _value("metadata", DOCUMENT),
    schema=MARKET_DATA,
    sqlite_with_rowid=False,
)

market_snapshots = Table(
    "market_snapshots",
    METADATA,
    _key("symbol", Text),
    _key("ts_ns", BigInteger),
    _value("sequence", BigInteger()),
    _value("bid", EXACT),
    _value("ask", EXACT),
    _value("last_price", EXACT, nullable=True),
    _value("open_24h", EXACT),
    _value("high_24h", EXACT),
    _value("low_24h", EXACT),
    _value("volume_24h", EXACT),
    _value("change_24h", EXACT),
    _value("source", Text()),
    _value("metadata", DOCUMENT),
    schema=MARKET_DATA,
    sqlite_with_rowid=False,
)

symbols = Table(
    "symbols",
    METADATA,
    _key("symbol", Text),
    _value("tick_size", EXACT),
    _value("lot_size", EXACT),
    _value("active", Boolean()),
    _value("metadata", DOCUMENT),
    schema=MARKET_DATA,
    sqlite_with_rowid=False,
)

service_state = Table(
    "service_state",
    METADATA,
    _key("name", Text),
    _value("document", DOCUMENT),
    schema=MARKET_DATA,
)

audit_events = Table(
    "audit_events",
    METADATA,
    _key("source", Text),
    _key("sequence", BigInteger),
    _value("type", Text()),
    _value("ts_ns", BigInteger()),
    _value("actor", Text()),
    _value("prev_hash", Text()),
    _value("subject", Text(), nullable=True),
    _value("traceid", Text(), nullable=True),
    _value("causationid", Text(), nullable=True),
    _value("data", DOCUMENT),
    schema=AUDIT,
)

schema_version = Table("schema_version", METADATA, _value("version", BigInteger()), schema=MARKET_DATA)
