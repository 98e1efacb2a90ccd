"""A real PostgreSQL that is absent, killed, frozen, slow, replaced: what the market-data repositories make of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

import psycopg
import pytest
from postgres_kit import make_tables, price
from redis_kit import eventually
from structlog.testing import capture_logs

from fauxchange.data.metrics import StoreMetrics
from fauxchange.data.ports import PriceFeedQuery
from fauxchange.data.postgres.adapter import PostgresDataAdapter
from fauxchange.data.postgres.connections import PostgresConfig
from fauxchange.data.postgres.engine import PostgresDatabase
from fauxchange.domain.errors import ConfigurationError, InvariantViolation, Unavailable
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.platform.ports import DependencyStatus
from fauxchange.testing.servers import Database, PostgresServer, TcpProxy

NOTICED_S = 4.0
"""Within it a loss shows (it takes about one second; the rest is for a busy machine)."""
BACK_S = 15.0
"""Within it everything works again once the server is back (it takes less than five seconds)."""
ONE = Decimal(1)


@pytest.fixture(scope="module")
def server(own_server: PostgresServer) -> PostgresServer:
    return own_server


@pytest.fixture
def database(emptied_database: Database) -> Database:
    return emptied_database


@dataclass
class Store:
    """A connected adapter, and what it told its metrics."""

    adapter: PostgresDataAdapter
    metrics: PrometheusMetrics = field(default_factory=lambda: PrometheusMetrics("test", "test", "0"))

    @property
    def status(self) -> DependencyStatus:
        return self.adapter.health()["postgresql"].status

    @property
    def is_up(self) -> bool:
        return self.status is DependencyStatus.OK

    async def sequences(self) -> list[int]:
        page = await self.adapter.price_feeds.history(PriceFeedQuery(symbol="BTC/USD"))
        return [feed.sequence for feed in page.items]

    def has_lost_more_than(self, losses: float) -> bool:
        return self.metric("store_losses_total{") > losses

    def metric(self, name: str) -> float:
        text = self.metrics.expose()[0].decode()
        # A series is there from its first event on.
        found = [line for line in text.splitlines() if line.startswith(name)]
        return float(found[0].rpartition(" ")[2]) if found else 0.0


@asynccontextmanager
async def connected(url: str, **limits: Any) -> AsyncIterator[Store]:
    tasks = asyncio.all_tasks()
    metrics = PrometheusMetrics("test", "test", "0")
    adapter = PostgresDataAdapter(PostgresConfig(url=url, **limits), metrics=StoreMetrics(metrics))
    await adapter.connect()
    try:
        yield Store(adapter, metrics)
    finally:
        await adapter.disconnect()
    assert asyncio.all_tasks() == tasks


async def refused(call: Awaitable[object]) -> float:
    """Return the seconds after which a call was told that the store is away."""
    begun = time.monotonic()
    with pytest.raises(Unavailable) as told:
        await call
    assert told.value.retryable
    assert told.value.retry_after_s is not None
    return time.monotonic() - begun


async def stored(call: Callable[[], Awaitable[object]]) -> None:
    """Wait until a write is taken again."""
    async with asyncio.timeout(BACK_S):
        while True:
            try:
                await call()
            except Unavailable:
                await asyncio.sleep(0.05)
            else:
                return


def backends(server: PostgresServer, database: Database) -> int:
    query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database.name}' AND pid <> pg_backend_pid()"
    return int(server.execute(query)[0])


async def test_server_that_is_absent_at_the_start_is_found_when_it_comes(
    server: PostgresServer, database: Database
) -> None:
    server.stop()
    with capture_logs() as logs:
        async with connected(database.url) as store:
            assert store.status is DependencyStatus.DOWN
            assert await refused(store.adapter.price_feeds.create(price(1))) < NOTICED_S
            assert store.metric("store_up{") == 0.0

            server.restart()

            await eventually(lambda: store.is_up, within_s=BACK_S)
            await store.adapter.price_feeds.create(price(1))
            assert await store.sequences() == [1]
            assert store.metric("store_up{") == 1.0

    told = [(line["event"], line["store"]) for line in logs if "store" in line]
    name = f"postgresql:{database.url.rpartition('@')[2]}"
    assert told == [("Running in stub mode", name), ("DataAdapter connected", name)]


async def test_killed_server_is_noticed_and_found_again_with_what_was_stored(
    server: PostgresServer, database: Database
) -> None:
    with capture_logs() as logs:
        async with connected(database.url) as store:
            await store.adapter.price_feeds.create(price(1))

            server.kill()

            await eventually(lambda: not store.is_up, within_s=NOTICED_S)
            assert await refused(store.sequences()) < 0.5
            assert store.metric("store_losses_total{") == 1.0

            server.restart()

            await stored(lambda: store.adapter.price_feeds.create(price(2)))
            assert await store.sequences() == [1, 2]
    assert [line["event"] for line in logs if "store" in line] == [
        "DataAdapter connected",
        "Running in stub mode",
        "DataAdapter connected",
    ]


async def test_frozen_server_ends_the_calls_under_way_and_refuses_later_ones_at_once(
    server: PostgresServer, database: Database
) -> None:
    async with connected(database.url, deadline_s=60.0) as store:
        await store.adapter.price_feeds.create(price(1))
        server.freeze()

        waits = await asyncio.gather(*(refused(store.sequences()) for _ in range(10)))

        assert max(waits) < NOTICED_S
        await eventually(lambda: not store.is_up, within_s=NOTICED_S)
        assert await refused(store.adapter.price_feeds.create(price(2))) < 0.5
        server.thaw()
        await eventually(lambda: store.is_up, within_s=BACK_S)
        assert await store.sequences() == [1]


async def test_server_that_answers_half_a_second_late_is_used_all_the_same(
    server: PostgresServer, database: Database
) -> None:
    address = database.url.rpartition("@")[2].partition("/")[0]
    host, _, port = address.partition(":")
    with TcpProxy(host, int(port)) as proxy:
        proxy.delay_s = 0.5
        async with connected(proxy.url_through(database.url)) as store:
            assert store.is_up

            await store.adapter.price_feeds.create_many([price(sequence) for sequence in range(1, 301)])

            assert await store.sequences() == list(range(1, 301))
            assert store.is_up


async def test_connections_that_are_reset_are_not_given_out_again(server: PostgresServer, database: Database) -> None:
    address = database.url.rpartition("@")[2].partition("/")[0]
    host, _, port = address.partition(":")
    with TcpProxy(host, int(port)) as proxy:
        async with connected(proxy.url_through(database.url)) as store:
            for disturb in (proxy.reset, proxy.half_close):
                await asyncio.gather(*(store.sequences() for _ in range(5)))
                losses = store.metric("store_losses_total{")

                disturb()

                await eventually(partial(store.has_lost_more_than, losses), within_s=NOTICED_S)
                await eventually(lambda: store.is_up, within_s=BACK_S)
                # Whatever the pool still held is gone: none of these meets a dead connection.
                for number in range(8):
                    await store.adapter.state.save("it", {"n": number})
                    assert await store.adapter.state.load("it") == {"n": number}


async def test_server_that_comes_back_empty_gets_its_tables_again(server: PostgresServer, database: Database) -> None:
    lost = server.create_database()
    make_tables(lost.url)
    async with connected(lost.url) as store:
        await store.adapter.price_feeds.create(price(1))
        schemas = server.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|^public$|^information_schema$'",
            database=lost.name,
        )

        server.execute(*(f"DROP SCHEMA {schema} CASCADE" for schema in schemas), database=lost.name)

        await stored(lambda: store.adapter.price_feeds.create(price(2)))
        assert await store.sequences() == [2]
    server.drop_database(lost)


async def test_call_that_is_not_answered_in_time_ends_while_others_go_on(
    server: PostgresServer, database: Database
) -> None:
    async with connected(database.url, deadline_s=1.0) as store:
        with psycopg.connect(database.url) as holder:
            holder.execute("LOCK TABLE market_data.symbols")

            assert await refused(store.adapter.symbols.active_symbols()) < NOTICED_S

            assert await store.sequences() == []
            assert store.is_up
        assert await store.adapter.symbols.active_symbols() == []


async def test_abandoned_calls_leave_neither_connections_nor_locks(server: PostgresServer, database: Database) -> None:
    async with connected(database.url, max_connections=6, max_idle_connections=2) as store:
        for _ in range(5):
            calls = [asyncio.create_task(store.sequences()) for _ in range(20)]
            await asyncio.sleep(0)
            for call in calls[::2]:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        await store.adapter.price_feeds.create(price(1))

        # Two that are idle, and the watcher's.
        await eventually(lambda: backends(server, database) <= 3, within_s=BACK_S)
        assert await store.sequences() == [1]
    await eventually(lambda: backends(server, database) == 0, within_s=BACK_S)


async def test_many_calls_share_the_connections_that_are_allowed(server: PostgresServer, database: Database) -> None:
    most = 0
    async with connected(database.url, max_connections=6, deadline_s=60.0) as store:
        for _ in range(3):
            calls = [asyncio.create_task(store.sequences()) for _ in range(100)]
            await asyncio.to_thread(lambda: None)
            most = max(most, backends(server, database))
            await asyncio.gather(*calls)

    assert 1 <= most <= 6


async def test_idle_connections_may_all_be_closed(server: PostgresServer, database: Database) -> None:
    async with connected(database.url, max_idle_connections=0) as store:
        await asyncio.gather(*(store.sequences() for _ in range(5)))

        await eventually(lambda: backends(server, database) == 1, within_s=BACK_S)


async def test_wrong_password_keeps_from_starting(server: PostgresServer, database: Database) -> None:
    server.execute("DROP ROLE IF EXISTS someone", "CREATE ROLE someone LOGIN PASSWORD 'theirs'")
    wrong = server.url_of(database.name, "someone", "not-theirs")

    with pytest.raises(ConfigurationError, match=r"refuses us.*authentication failed") as refusal:
        async with connected(wrong):
            pass

    assert refusal.value.field == "POSTGRES_URL"
    assert "not-theirs" not in refusal.value.message


async def test_missing_database_keeps_from_starting(server: PostgresServer, database: Database) -> None:
    with pytest.raises(ConfigurationError, match='database "nowhere" does not exist'):
        async with connected(server.url_of("nowhere")):
            pass


async def test_server_that_takes_no_writes_refuses_them_and_answers_questions(
    server: PostgresServer, database: Database
) -> None:
    async with connected(f"{database.url}?options=-cdefault_transaction_read_only%3Don") as store:
        with pytest.raises(Unavailable, match="read-only"):
            await store.adapter.price_feeds.create(price(1))

        assert await store.sequences() == []


async def test_loss_beside_a_call_that_takes_its_time_to_end_is_survived(
    server: PostgresServer, database: Database
) -> None:
    database_ = await PostgresDatabase.open(PostgresConfig(url=database.url, deadline_s=0.05))
    ending, may_end = asyncio.Event(), asyncio.Event()

    async def slow(_connection: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await may_end.wait()

    call = asyncio.create_task(database_.run(slow))
    await ending.wait()
    server.freeze()
    await eventually(lambda: database_.problem is not None)
    server.thaw()
    await eventually(lambda: database_.problem is None)
    may_end.set()

    with pytest.raises(Unavailable):
        await call
    await database_.close()


async def test_server_that_cannot_be_prepared_for_no_known_reason_is_told_of_and_not_waited_for(
    database: Database,
) -> None:
    async def prepare(_config: object, _connection: object) -> None:
        raise InvariantViolation("it does not know this statement")

    async with asyncio.timeout(BACK_S):
        with pytest.raises(InvariantViolation, match="this statement"):
            await PostgresDatabase.open(PostgresConfig(url=database.url), prepare=prepare)
