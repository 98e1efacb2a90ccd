"""Migrations and roles on a real PostgreSQL: upgrades, what they refuse, and how little a service's role may do."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import quote

import psycopg
import pytest
from postgres_kit import make_tables, patient, price
from typer.testing import CliRunner

from fauxchange.cli.app import app
from fauxchange.data.migrations import HEAD
from fauxchange.data.ports import (
    AccountQuery,
    AuditQuery,
    CandleQuery,
    ConfigurationQuery,
    KernelSnapshot,
    PriceFeedQuery,
    Projection,
)
from fauxchange.data.postgres.adapter import PostgresDataAdapter
from fauxchange.data.postgres.roles import OWNER, SCHEMAS_OF, bootstrap_sql, commands_on
from fauxchange.data.postgres.schema import differences, reached, upgrade
from fauxchange.data.tables import AUDIT, METADATA, schema_version
from fauxchange.domain.audit import GENESIS_HASH, AuditEvent
from fauxchange.domain.configuration import ConfigurationChange
from fauxchange.domain.errors import ConfigurationError
from fauxchange.domain.market_data import CandleRecord, FeedSource, MarketSnapshot, SymbolRecord
from fauxchange.testing.servers import Database, PostgresServer, start_postgres
from fauxchange.testing.servers.binaries import find_postgres, find_psql

DATABASE = "trading_ecosystem"
ONE = Decimal(1)
TABLES = [table for table in METADATA.sorted_tables if table is not schema_version]


@dataclass(frozen=True)
class Roles:
    """A server that the bootstrap has been run on, and the URL of each role."""

    server: PostgresServer
    urls: dict[str, str]


@pytest.fixture
def empty(postgres_server: PostgresServer) -> Iterator[Database]:
    database = postgres_server.create_database()
    yield database
    postgres_server.drop_database(database)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with start_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def roles(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Roles:
    """Run what `fauxchange db roles` prints twice, then upgrade as the owner."""
    names = [OWNER, *SCHEMAS_OF]
    script = tmp_path_factory.mktemp("roles") / "roles.sql"
    script.write_text(bootstrap_sql())
    passwords = {name: _password(name) for name in names}
    variables = [part for name in names for part in ("-v", f"{name}_password={passwords[name]}")]
    for _ in range(2):
        psql = [str(find_psql(find_postgres().path)), "-XqAt", "-d", server.url, *variables, "-f", str(script)]
        subprocess.run(psql, check=True, capture_output=True, timeout=60)
    urls = {name: server.url_of(DATABASE, name, quote(passwords[name])) for name in names}
    make_tables(urls[OWNER])
    return Roles(server, urls)


async def test_upgrade_makes_the_tables_that_the_code_declares(empty: Database) -> None:
    assert await reached(patient(empty.url)) is None

    assert await upgrade(patient(empty.url)) == (None, HEAD)

    assert await reached(patient(empty.url)) == HEAD
    assert await differences(patient(empty.url)) == []
    assert await upgrade(patient(empty.url)) == (HEAD, HEAD)


async def test_upgrades_at_the_same_time_follow_each_other(empty: Database) -> None:
    outcomes = await asyncio.gather(*(upgrade(patient(empty.url)) for _ in range(4)))

    assert sorted(outcomes, key=str) == [(HEAD, HEAD)] * 3 + [(None, HEAD)]
    assert await differences(patient(empty.url)) == []


async def test_interrupted_upgrade_leaves_nothing_behind(empty: Database, postgres_server: PostgresServer) -> None:
    # A table in the way of the last ones.
    postgres_server.execute(
        "CREATE SCHEMA market_data", "CREATE TABLE market_data.symbols (mine text)", database=empty.name
    )

    with pytest.raises(ConfigurationError, match=r"not ours .*already exists"):
        await upgrade(patient(empty.url))

    assert await reached(patient(empty.url)) is None
    assert postgres_server.execute(
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'audit'", database=empty.name
    ) == ["0"]


async def test_start_upgrades_what_it_may_create(empty: Database) -> None:
    adapter = PostgresDataAdapter(patient(empty.url))

    await adapter.connect()

    assert await reached(patient(empty.url)) == HEAD
    await adapter.disconnect()


async def test_tables_changed_by_hand_are_named(empty: Database, postgres_server: PostgresServer) -> None:
    make_tables(empty.url)
    postgres_server.execute(
        "ALTER TABLE market_data.symbols ADD COLUMN mine text",
        "ALTER TABLE market_data.candles DROP COLUMN metadata",
        "ALTER TABLE market_data.candles ALTER COLUMN open TYPE bigint",
        "DROP INDEX exchange.exchange_orders_account",
        "CREATE TABLE audit.more (it text)",
        database=empty.name,
    )

    found = await differences(patient(empty.url))

    assert sorted(found) == [
        "another type of market_data.candles.open: BIGINT instead of NUMERIC",
        "missing column: market_data.candles.metadata",
        "missing index: exchange_orders_account",
        "surplus column: market_data.symbols.mine",
        "surplus table: audit.more",
    ]


async def test_newer_schema_keeps_from_starting(empty: Database, postgres_server: PostgresServer) -> None:
    make_tables(empty.url)
    postgres_server.execute("UPDATE migrations.alembic_version SET version_num = '9999'", database=empty.name)

    with pytest.raises(ConfigurationError, match="9999, newer than this program"):
        await PostgresDataAdapter(patient(empty.url)).connect()
    with pytest.raises(ConfigurationError, match="9999, newer than this program"):
        await upgrade(patient(empty.url))


@pytest.mark.parametrize("state", ["empty", "older"])
async def test_role_that_may_not_upgrade_is_told_what_to_run(roles: Roles, server: PostgresServer, state: str) -> None:
    name = f"old_{state}"
    server.execute(f"CREATE DATABASE {name} OWNER {OWNER}")
    if state == "older":
        make_tables(server.url_of(name, OWNER, quote(_password(OWNER))))
        server.execute("UPDATE migrations.alembic_version SET version_num = '0000'", database=name)

    adapter = PostgresDataAdapter(
        patient(server.url_of(name, "market_data_adapter", quote(_password("market_data_adapter"))))
    )

    with pytest.raises(ConfigurationError, match="`fauxchange db upgrade`") as refusal:
        await adapter.connect()
    assert refusal.value.field == "POSTGRES_URL"


async def test_market_data_works_under_its_role(roles: Roles) -> None:
    adapter = PostgresDataAdapter(patient(roles.urls["market_data_adapter"]))
    await adapter.connect()
    try:
        feeds = [price(sequence) for sequence in range(1, 301)]
        await adapter.price_feeds.create_many(feeds)
        await adapter.price_feeds.create(price(301))
        assert len((await adapter.price_feeds.history(PriceFeedQuery(symbol="BTC/USD"))).items) == 301
        for _ in range(2):
            await adapter.candles.upsert_many([_candle(minute) for minute in range(300)])
        assert len((await adapter.candles.query(CandleQuery(symbol="BTC/USD", interval_ns=60))).items) == 300
        for _ in range(2):
            await adapter.snapshots.create(_snapshot())
            await adapter.symbols.upsert(SymbolRecord(symbol="BTC/USD", tick_size=ONE, lot_size=ONE))
            await adapter.state.save("it", {"n": 1})
        await adapter.symbols.update_metadata("BTC/USD", {"n": 1})
        await adapter.audit.append([_event("market-data")])
        assert (await adapter.audit.query(AuditQuery(source="market-data"))).items == [_event("market-data")]
        assert await adapter.price_feeds.delete_before(10_000) == 301
        assert await adapter.candles.delete_before(10_000_000, interval_ns=60) == 300
        assert await adapter.snapshots.delete_before(10_000) == 1
    finally:
        await adapter.disconnect()


async def test_exchange_works_under_its_role(roles: Roles) -> None:
    adapter = PostgresDataAdapter(patient(roles.urls["exchange_adapter"]))
    await adapter.connect()
    try:
        await adapter.journal.append(1, 2, b"two commands")
        assert await adapter.journal.last_sequence() == 2
        for sequence in range(1, 6):
            await adapter.kernel_snapshots.save(KernelSnapshot(sequence, 1, "hash", b"state"))
        assert len(await adapter.kernel_snapshots.all()) == 3
        for _ in range(2):
            await adapter.exchange.store(Projection(sequence=2, document={"n": 1}))
        assert (await adapter.exchange.accounts(AccountQuery())).items == []
        await adapter.exchange.clear()
        await adapter.audit.append([_event("exchange")])
    finally:
        await adapter.disconnect()


async def test_configuration_works_under_its_role(roles: Roles) -> None:
    adapter = PostgresDataAdapter(patient(roles.urls["configuration_adapter"]))
    await adapter.connect()
    try:
        await adapter.configuration.append([_change()])
        query = ConfigurationQuery(service="market-data", environment="development")
        assert (await adapter.configuration.history(query)).items == [_change()]
        await adapter.audit.append([_event("configuration")])
    finally:
        await adapter.disconnect()


@pytest.mark.parametrize("role", SCHEMAS_OF)
def test_role_may_do_nothing_that_its_code_does_not_do(roles: Roles, role: str) -> None:
    commands = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"]
    with psycopg.connect(roles.urls[role], autocommit=True) as connection:

        def may(question: str, *of: str) -> bool:
            row = connection.execute(f"SELECT {question}".encode(), of).fetchone()
            return row is not None and bool(row[0])

        for table in TABLES:
            schema = str(table.schema)
            if schema not in {SCHEMAS_OF[role], AUDIT}:
                assert not may("has_schema_privilege(%s, 'USAGE')", schema), schema
                continue
            found = {command for command in commands if may("has_table_privilege(%s, %s)", table.fullname, command)}
            assert found == set(commands_on(table)), table.fullname
            assert not may("has_schema_privilege(%s, 'CREATE')", schema)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE SCHEMA mine",
        "CREATE TABLE public.mine (it int)",
        "CREATE TABLE market_data.mine (it int)",
        "DROP TABLE market_data.symbols",
        "ALTER TABLE market_data.symbols ADD COLUMN mine int",
        "UPDATE audit.audit_events SET actor = 'somebody else'",
        "DELETE FROM audit.audit_events",
        "UPDATE market_data.price_feeds SET bid = 0",
        "SELECT * FROM exchange.exchange_accounts",
        "UPDATE migrations.alembic_version SET version_num = '0000'",
        "CREATE ROLE mine",
        "COPY market_data.symbols TO PROGRAM 'true'",
    ],
)
def test_market_data_is_refused(roles: Roles, statement: str) -> None:
    with (
        psycopg.connect(roles.urls["market_data_adapter"], autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


@pytest.mark.parametrize("table", ["audit.audit_events", "exchange.exchange_journal"])
def test_exchange_can_change_nothing_that_is_append_only(roles: Roles, table: str) -> None:
    with psycopg.connect(roles.urls["exchange_adapter"], autocommit=True) as connection:
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET prev_hash = ''", f"TRUNCATE {table}"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_strangers_may_not_connect(roles: Roles, server: PostgresServer) -> None:
    server.execute("CREATE ROLE stranger LOGIN PASSWORD 'x'")

    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(server.url_of(DATABASE, "stranger", "x"))


def test_command_line_upgrades_checks_and_tells(empty: Database, postgres_server: PostgresServer) -> None:
    name = empty.url.rpartition("@")[2]

    behind = f"error: {name} is at nothing and {HEAD} is needed; run `fauxchange db upgrade` as its owner\n"

    assert _run(empty, "check") == (1, "", behind)
    assert json.loads(_run(empty, "current", "--json")[1]) == {"database": name, "current": None, "needed": HEAD}
    assert _run(empty, "upgrade") == (0, f"{name} is upgraded from nothing to {HEAD}.\n", "")
    assert _run(empty, "upgrade") == (0, f"{name} is up to date ({HEAD}).\n", "")
    assert _run(empty, "check") == (0, f"{name} is as it should be ({HEAD}).\n", "")
    postgres_server.execute("ALTER TABLE market_data.symbols ADD COLUMN mine text", database=empty.name)
    code, out, said = _run(empty, "check")
    assert (code, out) == (1, "")
    assert "surplus column: market_data.symbols.mine" in said
    assert _run(empty, "roles")[1] == bootstrap_sql()


def _password(role: str) -> str:
    return f"it's {role}"


def _run(database: Database, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["db", *arguments], env={"POSTGRES_URL": database.url, "NO_COLOR": "1"})
    return done.exit_code, done.stdout, done.stderr


def _candle(minute: int) -> CandleRecord:
    return CandleRecord(
        symbol="BTC/USD",
        interval_ns=60,
        open_ns=minute * 60,
        open=ONE,
        high=ONE,
        low=ONE,
        close=ONE,
        volume=ONE,
        closed=True,
    )


def _snapshot() -> MarketSnapshot:
    return MarketSnapshot(
        symbol="BTC/USD",
        ts_ns=1,
        sequence=1,
        bid=ONE,
        ask=ONE,
        last_price=None,
        open_24h=ONE,
        high_24h=ONE,
        low_24h=ONE,
        volume_24h=ONE,
        change_24h=ONE,
        source=FeedSource.FIXED,
    )


def _event(source: str) -> AuditEvent:
    return AuditEvent(source=source, type="t", sequence=1, ts_ns=1, actor="x", prev_hash=GENESIS_HASH)


def _change() -> ConfigurationChange:
    return ConfigurationChange(
        version=1,
        service="market-data",
        environment="development",
        key="interval",
        type="json",
        content={"value": 1},
        ts_ns=1,
        actor="admin",
        trace_id="",
        comment="",
    )
