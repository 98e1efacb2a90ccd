"""The exchange with its journal in a real PostgreSQL: what is acknowledged stays, whatever happens to the server."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from exchange_kit import ORIGIN, Exchange, order
from postgres_kit import patient
from redis_kit import eventually

from fauxchange.client import Client, order_request
from fauxchange.data.ports import OrderQuery, Projection
from fauxchange.data.postgres.adapter import PostgresDataAdapter
from fauxchange.data.postgres.connections import PostgresConfig
from fauxchange.data.postgres.roles import grant_statements
from fauxchange.domain.errors import NotFound, Unavailable
from fauxchange.services.exchange.app.offline import rebuild_read_models, verify_stores
from fauxchange.services.exchange.core.engine import interpreted
from fauxchange.services.exchange.service.snapshots import SnapshotKeeper
from fauxchange.testing import running, started
from fauxchange.testing.processes import START_TIMEOUT_S, clean_environment, launched
from fauxchange.testing.servers import Database, PostgresServer

TOLD_S = 1.0
"""Within it every order is answered, with a refusal if need be."""
RETURN_S = 10.0
"""Within it orders are taken again once the server is back."""
SLACK_S = 0.5
"""For a machine that is busy with other tests."""
TRADERS = 4
ROLE = "exchange_adapter"


@pytest.fixture
def database(own_database: Database) -> Database:
    return own_database


@asynccontextmanager
async def stores(config: PostgresConfig) -> AsyncIterator[PostgresDataAdapter]:
    data = PostgresDataAdapter(config)
    await data.connect()
    try:
        yield data
    finally:
        await data.disconnect()


@dataclass
class Trading:
    """Traders who place orders one after another until told to stop, and what they were told."""

    exchange: Exchange
    account: int
    acknowledged: dict[str, int] = field(default_factory=dict)
    refused: dict[str, Unavailable] = field(default_factory=dict)
    slowest_s: float = 0.0
    stopping: bool = False
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def begin(self) -> None:
        self.tasks = [asyncio.create_task(self._trade(trader)) for trader in range(TRADERS)]

    async def end(self) -> None:
        self.stopping = True
        await asyncio.gather(*self.tasks)

    async def _trade(self, trader: int) -> None:
        number = 0
        while not self.stopping:
            number += 1
            name = f"order-{trader}-{number}"
            request = order("buy", "0.001", str(50_000 + trader), client_order_id=name)
            begun = time.monotonic()
            try:
                placed = await self.exchange.service.place_order(self.account, request, ORIGIN)
            except Unavailable as exc:
                self.refused[name] = exc
                self.slowest_s = max(self.slowest_s, time.monotonic() - begun)
                # A client that is refused comes back after a while.
                await asyncio.sleep(0.01)
            else:
                self.acknowledged[name] = placed.order.order_id


async def examine(url: str, trading: Trading, live_hash: str) -> None:
    """Start the exchange again on what is stored, and look for everything that was told."""
    async with stores(patient(url)) as data:
        exchange = await Exchange(data).start()
        assert exchange.hash() == live_hash
        found: dict[str, int] = {}
        cursor: str | None = None
        while True:
            page = await exchange.service.orders(OrderQuery(account=trading.account, limit=1_000, cursor=cursor))
            found |= {str(record.client_order_id): record.order_id for record in page.items}
            cursor = page.next_cursor
            if cursor is None:
                break
        assert found.items() >= trading.acknowledged.items()
        assert set(found) <= {*trading.acknowledged, *trading.refused}
        for name, failure in trading.refused.items():
            if failure.code == "journal_unavailable":
                assert name not in found
        await exchange.stop()
        assert (await verify_stores(data, compiler=interpreted)).state_hash == live_hash


@pytest.mark.parametrize("trouble", ["freeze", "kill", "stop"])
async def test_lost_server_costs_no_acknowledged_order_and_trading_comes_back(
    own_server: PostgresServer, database: Database, trouble: str
) -> None:
    tasks_before = asyncio.all_tasks()
    async with stores(PostgresConfig(url=database.url)) as data:
        exchange = await Exchange(data).start()
        trading = Trading(exchange, await exchange.account(USD="1000000000"))
        projecting = asyncio.create_task(exchange.projector.run())
        trading.begin()
        await eventually(lambda: len(trading.acknowledged) > 50)

        await asyncio.to_thread(getattr(own_server, trouble))
        # Every trader has been refused, by whatever was under way or waiting.
        await eventually(lambda: len(trading.refused) >= 2 * TRADERS)
        assert exchange.sequencer.health().status == "down"
        acknowledged = len(trading.acknowledged)
        await asyncio.to_thread(own_server.ensure_running)
        back_s = await eventually(lambda: len(trading.acknowledged) > acknowledged + 50)

        assert back_s < RETURN_S + SLACK_S
        assert trading.slowest_s < TOLD_S + SLACK_S
        assert {failure.code for failure in trading.refused.values()} <= {"journal_unavailable", "outcome_unknown"}
        assert all(failure.retry_after_s for failure in trading.refused.values())
        await trading.end()
        await eventually(lambda: exchange.projector.health().status == "ok")
        assert exchange.sequencer.health().status == "ok"
        assert {name: health.status for name, health in data.health().items()}["journal"] == "ok"
        await exchange.stop()
        projecting.cancel()
        await asyncio.wait([projecting])
        live_hash = exchange.hash()
        question = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database.name}'"
        assert int(own_server.execute(question)[0]) <= data_connections(data)
    assert {task for task in asyncio.all_tasks() if not task.done()} <= tasks_before
    await eventually(lambda: own_server.execute(question) == ["0"])
    await examine(database.url, trading, live_hash)


def data_connections(data: PostgresDataAdapter) -> int:
    """How many connections an adapter may have open: the pool's idle ones, the watcher's, the journal's."""
    return PostgresConfig(url="").max_idle_connections + 2


async def test_read_models_of_an_exchange_that_was_succeeded_are_not_stored_over_newer_ones(database: Database) -> None:
    async with stores(patient(database.url)) as data:
        exchange = await Exchange(data).start()
        account = await exchange.account(USD="1000000")
        placed = await exchange.place(account, "buy", "0.001", "50000")
        async with stores(patient(database.url)) as theirs:
            # What its successor has stored of the same journal, and of what came behind it.
            canceled = msgspec.structs.replace(placed.order, status=3)
            ahead = Projection(sequence=exchange.venue.sequence + 1, document={}, orders=[canceled])
            await theirs.exchange.store(ahead)

            with pytest.raises(Unavailable) as told:
                await exchange.projector.flush()

            assert told.value.code == "journal_taken_over"
            assert "another exchange" in exchange.projector.health().detail
            assert (await theirs.exchange.position())[0] == ahead.sequence
            assert await theirs.exchange.order(canceled.order_id) == canceled


async def test_restart_goes_on_from_snapshot_read_models_and_journal(database: Database) -> None:
    async with stores(patient(database.url)) as data:
        exchange = await Exchange(data).start()
        account = await exchange.account(USD="1000000", BTC="10")
        other = await exchange.account(USD="1000000", BTC="10")
        for number in range(10):
            await exchange.place(account, "buy", "0.1", str(50_000 + number))
        await SnapshotKeeper(exchange.venue, exchange.projector, data.kernel_snapshots, every=1).make()
        snapshot_at = exchange.venue.sequence
        await exchange.place(other, "sell", "0.55", "50000")
        await exchange.projector.flush()
        position = exchange.venue.sequence
        await exchange.place(other, "buy", "0.1", "49000", client_order_id="last-word")
        live = exchange.hash()
        # Nothing is stopped: the read models do not hear of the last order.

    async with stores(patient(database.url)) as data:
        again = await Exchange(data).start()

        assert again.hash() == live
        assert again.recovered is not None
        assert (again.recovered.snapshot, again.recovered.replayed) == (snapshot_at, position - snapshot_at)
        assert again.recovered.followed == 1
        assert (await again.service.order(other, "client:last-word")).order.price_ticks == 4_900_000
        await again.place(other, "sell", "0.1", "49000")
        await again.stop()


async def test_rebuilt_read_models_are_what_they_were(database: Database) -> None:
    async with stores(patient(database.url)) as data:
        exchange = await Exchange(data).start()
        account = await exchange.account(USD="1000000", BTC="10")
        for number in range(20):
            await exchange.place(account, "sell" if number % 2 else "buy", "0.1", "50000")
        await exchange.stop()
        orders = (await data.exchange.orders(OrderQuery(account=account))).items
        verified = await verify_stores(data, compiler=interpreted)

        rebuilt = await rebuild_read_models(data, compiler=interpreted)

        assert rebuilt.followed == exchange.venue.sequence
        assert (await data.exchange.orders(OrderQuery(account=account))).items == orders
        assert await verify_stores(data, compiler=interpreted) == verified
        assert verified.state_hash == exchange.hash()


async def test_exchange_needs_no_more_than_its_own_role_may(own_server: PostgresServer, database: Database) -> None:
    role = f"exchange_{database.name}"
    own_server.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    grants = [statement.replace(ROLE, role) for statement in grant_statements([ROLE])]
    own_server.execute(*grants, database=database.name)
    try:
        async with stores(patient(own_server.url_of(database.name, role, "secret"))) as data:
            exchange = await Exchange(data).start()
            account = await exchange.account(USD="1000000")
            await exchange.place(account, "buy", "0.1", "50000")
            await SnapshotKeeper(exchange.venue, exchange.projector, data.kernel_snapshots, every=1).make()
            await exchange.stop()
            live = exchange.hash()
            await rebuild_read_models(data, compiler=interpreted)
            assert (await verify_stores(data, compiler=interpreted)).state_hash == live
        with psycopg.connect(own_server.url_of(database.name, role, "secret"), autocommit=True) as connection:
            for change in ("DELETE FROM {}", "UPDATE {} SET payload = ''", "TRUNCATE {}"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(change.format("exchange.exchange_journal").encode())
    finally:
        own_server.execute(f"DROP OWNED BY {role}", database=database.name)
        own_server.execute(f"DROP ROLE {role}")


async def test_order_that_was_refused_is_not_known_later(own_server: PostgresServer, database: Database) -> None:
    async with stores(PostgresConfig(url=database.url)) as data:
        exchange = await Exchange(data).start()
        account = await exchange.account(USD="1000000")
        await asyncio.to_thread(own_server.kill)
        await eventually(lambda: data.health()["journal"].status == "down")

        with pytest.raises(Unavailable):
            await exchange.place(account, "buy", "0.1", "50000", client_order_id="refused")
        await asyncio.to_thread(own_server.ensure_running)
        await eventually(lambda: exchange.sequencer.health().status == "ok")

        with pytest.raises(NotFound):
            await exchange.service.order(account, "client:refused")
        await exchange.place(account, "buy", "0.1", "50000", client_order_id="taken")
        await exchange.stop()


async def test_venue_without_its_server_waits_for_it(
    tmp_path: Path, own_server: PostgresServer, database: Database
) -> None:
    await asyncio.to_thread(own_server.stop)
    settings = {"POSTGRES_URL": database.url, "MODEL_ENGINE": "python", "HOUSE_LIQUIDITY": "default=off"}
    restarting = asyncio.get_running_loop().call_later(2.0, own_server.ensure_running)

    async with running(tmp_path, settings) as venue:
        assert restarting.when() < asyncio.get_running_loop().time()
        assert venue.exchange.demo is not None


def test_killed_venue_comes_back_with_everything_that_it_acknowledged(tmp_path: Path, database: Database) -> None:
    settings = {"POSTGRES_URL": database.url, "MODEL_ENGINE": "python", "HOUSE_LIQUIDITY": "default=off"}
    names = [f"order-{number}" for number in range(30)]
    with started(tmp_path / "first", settings) as process, Client.from_ready(process.data_dir) as client:
        price = str(int(float(client.get_price("BTC-USD").bid) * 0.8))
        for name in names:
            client.place_order(order_request("buy", "BTC-USD", "0.001", price=price, client_order_id=name))
        balances = client.get_balances()
        with launched(tmp_path / "second", settings) as second:
            exit_code = second.wait(START_TIMEOUT_S)

        process.kill()

    assert exit_code == 2
    assert " journal on 127.0.0.1 (pid " in second.log.replace("\n", " ")
    with started(tmp_path / "first", settings) as process, Client.from_ready(process.data_dir) as client:
        assert {client.get_order(f"client:{name}").status for name in names} == {"NEW"}
        assert client.get_balances() == balances
        assert process.stop() == 0
    rebuilt = _exchange(tmp_path, database.url, "rebuild")
    verified = _exchange(tmp_path, database.url, "verify")
    assert rebuilt["commands"] == verified["commands"] == verified["records"] > len(names)


def test_stores_of_a_running_exchange_are_left_alone(tmp_path: Path, database: Database) -> None:
    asyncio.run(_hold_the_journal(tmp_path, database.url))


async def _hold_the_journal(folder: Path, url: str) -> None:
    async with stores(patient(url)) as data:
        await data.journal.append(1, 1, b"x")

        done = await asyncio.to_thread(_run, folder, url, "rebuild")

        assert done.returncode == 2
        assert "is written by fauxchange journal on 127.0.0.1" in done.stderr.replace("\n", " ")


def _exchange(folder: Path, url: str, command: str) -> dict[str, Any]:
    done = _run(folder, url, command)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def _run(folder: Path, url: str, command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "fauxchange.cli", "exchange", command, "--json"],
        cwd=folder,
        env=clean_environment({"POSTGRES_URL": url, "DATA_DIR": str(folder / "nothing-here")}),
        capture_output=True,
        text=True,
        check=False,
    )
