"""What tests of PostgreSQL share: a configuration that is patient with a busy machine, and databases with tables."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from fauxchange.data.postgres.connections import PostgresConfig
from fauxchange.data.postgres.schema import upgrade
from fauxchange.data.tables import METADATA, schema_version
from fauxchange.domain.market_data import FeedSource, PriceFeed
from fauxchange.testing.servers import Database, PostgresServer, start_postgres

TEMPLATE = "upgraded"


def patient(url: str, **limits: Any) -> PostgresConfig:
    """Return a configuration for tests that are not about time limits."""
    times = {"connect_timeout_s": 30.0, "deadline_s": 60.0, "silence_s": 30.0}
    return PostgresConfig(url=url, **{**times, **limits})


def make_tables(url: str) -> None:
    """Bring an empty database up to date, in a thread of its own: whoever asks may be on an event loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(upgrade(patient(url)))).result()


def empty_tables(url: str) -> None:
    """Delete every row: a hundred times as quick as another database."""
    tables = [table for table in METADATA.sorted_tables if table is not schema_version]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("; ".join(f"DELETE FROM {table.fullname}" for table in tables).encode())


def price(sequence: int) -> PriceFeed:
    """Return a price that is known by its number alone."""
    one = Decimal(1)
    return PriceFeed(
        symbol="BTC/USD",
        epoch=1,
        sequence=sequence,
        ts_ns=sequence,
        bid=one,
        ask=one,
        last=None,
        volume=one,
        source=FeedSource.FIXED,
    )


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """Name a template with all tables, for tests that want a database of their own."""
    return postgres_server.make_template(TEMPLATE, make_tables)


@pytest.fixture(scope="session")
def shared_database(postgres_server: PostgresServer) -> Iterator[Database]:
    database = postgres_server.create_database()
    make_tables(database.url)
    yield database
    postgres_server.ensure_running()
    postgres_server.drop_database(database)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, shared_database: Database) -> str:
    """Give out the URL of a database with empty tables, for tests that leave nothing connected to it."""
    postgres_server.ensure_running()
    empty_tables(shared_database.url)
    return postgres_server.url_of(shared_database.name)


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """Start a server that the tests of a module may break."""
    with start_postgres() as server:
        yield server


@pytest.fixture
def own_database(own_server: PostgresServer) -> Iterator[Database]:
    """Give out a new database with all tables on the module's own server."""
    own_server.ensure_running()
    database = own_server.create_database()
    make_tables(database.url)
    yield database
    own_server.ensure_running()
    own_server.drop_database(database)


@pytest.fixture(scope="module")
def upgraded_database(own_server: PostgresServer) -> Database:
    database = own_server.create_database()
    make_tables(database.url)
    return database


@pytest.fixture
def emptied_database(own_server: PostgresServer, upgraded_database: Database) -> Iterator[Database]:
    """Give out the same database with empty tables on the module's own server, to each of its tests."""
    own_server.ensure_running()
    empty_tables(upgraded_database.url)
    yield upgraded_database
    own_server.ensure_running()
