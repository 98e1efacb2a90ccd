"""The tables of the SQL stores, defined once.

A table's columns have the names of its record's fields. Schemas are those of PostgreSQL; SQLite has none and keeps all
tables side by side. Prices and quantities are exact decimals (NUMERIC; text in SQLite, whose numbers are 64-bit
floats), times are nanoseconds since 1970, documents are JSON as it was written (not JSONB, which would reorder keys).
"""

from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Index,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine

METADATA = MetaData()

SCHEMA_VERSION = 3
"""The version of everything on this page; it grows with each change of it."""

MARKET_DATA = "market_data"
AUDIT = "audit"
EXCHANGE = "exchange"
CONFIGURATION = "configuration"

ONLY_POSTGRESQL = {"only": "postgresql"}
"""Says in a table's `info` that SQLite keeps this in a file of its own, with a schema of its own."""

OPEN_ORDERS = "status IN (0, 1)"
"""The condition of the index of open orders; a query uses it by the same words."""

KEY_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
"""Keys are in the order of their characters, as in Python and SQLite, whatever the database's language is."""
EXACT: Numeric[Decimal] = Numeric().with_variant(Text(), "sqlite")
DOCUMENT = JSON().with_variant(Text(), "sqlite")


def _key(name: str, kind: type[Text | BigInteger | Boolean]) -> Column[Any]:
    return Column(name, KEY_TEXT if kind is Text else kind(), primary_key=True, autoincrement=False)


def _value(name: str, kind: TypeEngine[Any], *, nullable: bool = False) -> Column[Any]:
    return Column(name, kind, nullable=nullable)


def _partial(name: str, *columns: str, where: str) -> Index:
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


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

exchange_accounts = Table(
    "exchange_accounts",
    METADATA,
    _key("account", BigInteger),
    _value("name", Text()),
    _value("tier", BigInteger()),
    _value("status", BigInteger()),
    _value("created_ns", BigInteger()),
    _value("updated_ns", BigInteger()),
    schema=EXCHANGE,
    sqlite_with_rowid=False,
)

exchange_keys = Table(
    "exchange_keys",
    METADATA,
    _key("api_key", Text),
    _value("account", BigInteger()),
    _value("label", Text()),
    _value("encrypted_secret", Text()),
    _value("created_ns", BigInteger()),
    _value("revoked_ns", BigInteger()),
    schema=EXCHANGE,
    sqlite_with_rowid=False,
)

# An order takes in a few changes, most of them soon after it came; so the table is in the order of its key, at whose
# end these are. The open orders are few among the finished ones and have an index of their own.
exchange_orders = Table(
    "exchange_orders",
    METADATA,
    _key("order_id", BigInteger),
    _value("account", BigInteger()),
    _value("symbol", Text()),
    _value("client_order_id", Text(), nullable=True),
    _value("side", BigInteger()),
    _value("order_type", BigInteger()),
    _value("time_in_force", BigInteger()),
    _value("post_only", Boolean()),
    _value("self_trade_prevention", BigInteger()),
    _value("price_ticks", BigInteger()),
    _value("stop_ticks", BigInteger()),
    _value("order_lots", BigInteger()),
    _value("display_lots", BigInteger()),
    _value("amount", BigInteger()),
    _value("expires_ns", BigInteger()),
    _value("status", BigInteger()),
    _value("reason", BigInteger()),
    _value("cum_lots", BigInteger()),
    _value("leaves_lots", BigInteger()),
    _value("cum_quote", BigInteger()),
    _value("fee", BigInteger()),
    _value("triggered", Boolean()),
    _value("replaces", BigInteger()),
    _value("created_ns", BigInteger()),
    _value("updated_ns", BigInteger()),
    _value("event_sequence", BigInteger()),
    _value("fingerprint", BigInteger()),
    _value("verdict", Text(), nullable=True),
    Index("exchange_orders_account", "account", "order_id"),
    _partial("exchange_orders_named", "account", "client_order_id", "order_id", where="client_order_id IS NOT NULL"),
    _partial("exchange_orders_open", "account", "order_id", where=OPEN_ORDERS),
    _partial("exchange_orders_updated", "updated_ns", "order_id", where="client_order_id IS NOT NULL"),
    schema=EXCHANGE,
    sqlite_with_rowid=False,
)

exchange_fills = Table(
    "exchange_fills",
    METADATA,
    _key("trade_id", BigInteger),
    _key("is_maker", Boolean),
    _value("order_id", BigInteger()),
    _value("account", BigInteger()),
    _value("symbol", Text()),
    _value("client_order_id", Text(), nullable=True),
    _value("side", BigInteger()),
    _value("last_ticks", BigInteger()),
    _value("last_lots", BigInteger()),
    _value("fee", BigInteger()),
    _value("ts_ns", BigInteger()),
    _value("sequence", BigInteger()),
    Index("exchange_fills_account", "account", "trade_id", "is_maker"),
    Index("exchange_fills_order", "order_id", "trade_id", "is_maker"),
    Index("exchange_fills_symbol", "symbol", "trade_id", "is_maker"),
    schema=EXCHANGE,
    sqlite_with_rowid=False,
)

# Clustered by account, because an account's statement is all that is read of it.
exchange_ledger = Table(
    "exchange_ledger",
    METADATA,
    _key("account", BigInteger),
    _key("event_sequence", BigInteger),
    _key("asset", Text),
    _value("sequence", BigInteger()),
    _value("ts_ns", BigInteger()),
    _value("delta_free", BigInteger()),
    _value("delta_held", BigInteger()),
    _value("cause", BigInteger()),
    _value("order_id", BigInteger()),
    _value("free", BigInteger()),
    _value("held", BigInteger()),
    schema=EXCHANGE,
    sqlite_with_rowid=False,
)

exchange_trail = Table(
    "exchange_trail",
    METADATA,
    _key("first_sequence", BigInteger),
    _value("last_sequence", BigInteger()),
    _value("first_ns", BigInteger()),
    _value("last_ns", BigInteger()),
    _value("prev_hash", Text()),
    _value("hash", Text()),
    _value("payload", LargeBinary()),
    schema=EXCHANGE,
)

exchange_position = Table(
    "exchange_position",
    METADATA,
    _key("name", Text),
    _value("sequence", BigInteger()),
    _value("document", DOCUMENT),
    schema=EXCHANGE,
)

# The exchange's journal. A row is a batch; it is never changed.
exchange_journal = Table(
    "exchange_journal",
    METADATA,
    _key("first_sequence", BigInteger),
    _value("last_sequence", BigInteger()),
    _value("prev_hash", Text()),
    _value("hash", Text()),
    _value("payload", LargeBinary()),
    schema=EXCHANGE,
    info=ONLY_POSTGRESQL,
)

# One row: the number of the writer that may append. An append locks it (without making a new version of it, of which a
# long transaction elsewhere would keep thousands), and the next writer counts it up: who was succeeded appends nothing.
exchange_journal_writer = Table(
    "exchange_journal_writer",
    METADATA,
    _key("name", Text),
    _value("writer", BigInteger()),
    schema=EXCHANGE,
    info=ONLY_POSTGRESQL,
)

exchange_snapshots = Table(
    "exchange_snapshots",
    METADATA,
    _key("sequence", BigInteger),
    _value("ts_ns", BigInteger()),
    _value("state_hash", Text()),
    _value("size", BigInteger()),
    _value("checksum", BigInteger()),
    schema=EXCHANGE,
    info=ONLY_POSTGRESQL,
)

exchange_snapshot_parts = Table(
    "exchange_snapshot_parts",
    METADATA,
    _key("sequence", BigInteger),
    _key("part", BigInteger),
    _value("payload", LargeBinary()),
    schema=EXCHANGE,
    info=ONLY_POSTGRESQL,
)

configuration_changes = Table(
    "configuration_changes",
    METADATA,
    _key("version", BigInteger),
    _value("service", Text()),
    _value("environment", Text()),
    _value("key", Text()),
    _value("type", Text()),
    _value("content", DOCUMENT),
    _value("ts_ns", BigInteger()),
    _value("actor", Text()),
    _value("trace_id", Text()),
    _value("comment", Text()),
    Index("configuration_changes_service", "service", "environment", "version"),
    Index("configuration_changes_key", "service", "environment", "key", "version"),
    schema=CONFIGURATION,
)
