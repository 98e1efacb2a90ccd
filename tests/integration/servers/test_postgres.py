"""PostgreSQL as tests get it: databases in milliseconds, and a server to be frozen, killed and started again."""

import asyncio
import os
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from fauxchange.domain.errors import ConfigurationError, InvalidRequest
from fauxchange.testing.servers import PostgresServer, ServerFailed, start_postgres, use_postgres
from fauxchange.testing.servers.process import GONE, descendants, state_of


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with start_postgres() as server:
        yield server


@pytest.fixture(autouse=True)
def running(server: PostgresServer) -> Iterator[None]:
    yield
    server.ensure_running()


def make_prices(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE prices (symbol text PRIMARY KEY)")


def symbols(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT symbol FROM prices ORDER BY symbol")]


def address(server: PostgresServer) -> tuple[str, int]:
    parts = urlsplit(server.url)
    return str(parts.hostname), int(parts.port or 0)


def test_each_database_is_empty_and_apart(server: PostgresServer) -> None:
    first, second = server.create_database(), server.create_database()
    make_prices(first.url)
    make_prices(second.url)

    with psycopg.connect(first.url) as connection:
        connection.execute("INSERT INTO prices VALUES ('BTC/USD')")

    assert symbols(first.url) == ["BTC/USD"]
    assert symbols(second.url) == []


def test_a_template_is_prepared_once_and_copied_for_each_test(server: PostgresServer) -> None:
    prepared: list[str] = []

    def prepare(url: str) -> None:
        prepared.append(url)
        make_prices(url)

    for _ in range(2):
        name = server.make_template("prices", prepare)
        database = server.create_database(name)
        with psycopg.connect(database.url) as connection:
            connection.execute("INSERT INTO prices VALUES ('BTC/USD')")

    assert symbols(database.url) == ["BTC/USD"]
    assert len(prepared) == 1


def test_a_template_is_copied_though_somebody_is_still_connected_to_it(server: PostgresServer) -> None:
    connections: list[psycopg.Connection] = []

    server.make_template("held", lambda url: connections.append(psycopg.connect(url)))
    database = server.create_database("held")
    connections[0].close()

    assert server.execute("SELECT 1", database=database.name) == ["1"]


def test_a_template_that_was_not_made_is_named(server: PostgresServer) -> None:
    with pytest.raises(InvalidRequest, match="no template 'unknown'"):
        server.create_database("unknown")


@pytest.mark.parametrize("name", ["", "Prices", 'a"b', "1st", "a-b"])
def test_names_of_templates_are_plain(name: str, server: PostgresServer) -> None:
    with pytest.raises(InvalidRequest, match="small letters"):
        server.make_template(name, make_prices)


def test_a_template_that_could_not_be_prepared_may_be_tried_again(server: PostgresServer) -> None:
    def fail(url: str) -> None:
        raise ValueError("no tables today")

    with pytest.raises(ValueError, match="no tables today"):
        server.make_template("second_try", fail)
    server.make_template("second_try", make_prices)

    assert symbols(server.create_database("second_try").url) == []


def test_a_dropped_database_is_gone_whoever_is_connected(server: PostgresServer) -> None:
    database = server.create_database()
    with psycopg.connect(database.url) as connection:
        server.drop_database(database)
        server.drop_database(database)

        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(database.url)


def test_passwords_are_asked_for(server: PostgresServer) -> None:
    database = server.create_database()
    server.execute("CREATE ROLE reader LOGIN PASSWORD 'right'")

    with psycopg.connect(server.url_of(database.name, "reader", "right")) as connection:
        who = connection.execute("SELECT current_user").fetchone()

    assert who == ("reader",)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url_of(database.name, "reader", "wrong"))


def test_what_the_server_says_about_a_wrong_statement_is_passed_on(server: PostgresServer) -> None:
    with pytest.raises(ServerFailed, match='relation "nothing" does not exist'):
        server.execute("SELECT * FROM nothing")


def test_commits_reach_the_disk_and_the_server_is_nobody_in_particular(server: PostgresServer) -> None:
    assert server.execute("SHOW fsync", "SHOW synchronous_commit") == ["on", "on"]
    assert os.stat(f"/proc/{server.process.pid}").st_uid != 0


def test_settings_may_be_added() -> None:
    with start_postgres({"max_connections": "7"}) as server:
        assert server.execute("SHOW max_connections", "SHOW fsync") == ["7", "on"]


async def test_a_frozen_server_takes_connections_and_answers_nobody_until_it_is_thawed(server: PostgresServer) -> None:
    connection = await psycopg.AsyncConnection.connect(server.url, autocommit=True)
    async with connection:
        server.freeze()

        asking = asyncio.create_task(connection.execute("SELECT 1"))
        done, _ = await asyncio.wait({asking}, timeout=0.3)
        with socket.create_connection(address(server), timeout=5):
            pass
        assert done == set()
        assert server.process.is_frozen
        assert descendants(server.process.pid) != []

        server.thaw()
        cursor = await asking
        assert await cursor.fetchone() == (1,)


def test_what_was_committed_survives_a_kill_and_connections_do_not(server: PostgresServer) -> None:
    database = server.create_database()
    make_prices(database.url)
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("INSERT INTO prices VALUES ('BTC/USD')")
        pids = [server.process.pid, *descendants(server.process.pid)]

        server.kill()

        assert [pid for pid in pids if state_of(pid) not in GONE] == []
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address(server), timeout=5)
    server.restart()
    assert symbols(database.url) == ["BTC/USD"]


def test_a_frozen_server_can_be_killed_and_stopped(server: PostgresServer) -> None:
    server.freeze()
    server.kill()
    server.restart()
    server.freeze()
    server.stop()
    server.stop()
    server.kill()

    assert not server.process.is_running
    server.ensure_running()
    assert server.execute("SELECT 1") == ["1"]


def test_a_restart_ends_connections_and_keeps_address_and_data(server: PostgresServer) -> None:
    before = server.url
    database = server.create_database()
    make_prices(database.url)

    server.restart()

    assert server.url == before
    assert symbols(database.url) == []


def test_a_server_left_frozen_by_a_test_is_brought_back(server: PostgresServer) -> None:
    server.freeze()

    server.ensure_running()

    assert server.execute("SELECT 1") == ["1"]


def test_the_socket_of_the_folder_leads_to_the_server(server: PostgresServer) -> None:
    parts = urlsplit(server.url)

    with psycopg.connect(
        host=str(server.socket_folder), port=parts.port, user=parts.username, password=parts.password, dbname="postgres"
    ) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_an_end_of_the_block_leaves_neither_process_nor_folder_nor_port() -> None:
    with start_postgres() as server:
        folder, pid, where = server.socket_folder, server.process.pid, address(server)
        children = descendants(pid)

    assert not folder.exists()
    assert [one for one in [pid, *children] if state_of(one) not in GONE] == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where, timeout=5)


def test_a_setting_that_does_not_exist_is_told_with_the_servers_words() -> None:
    with pytest.raises(ServerFailed, match="unrecognized configuration parameter"), start_postgres({"nonsense": "1"}):
        pass


# A server that is named


@pytest.fixture
def named_server(
    server: PostgresServer, without_test_urls: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PostgresServer]:
    monkeypatch.setenv("TEST_POSTGRES_URL", server.url)
    with use_postgres() as named:
        yield named


def databases(server: PostgresServer) -> set[str]:
    return set(server.execute("SELECT datname FROM pg_database"))


def test_a_named_server_gives_databases_of_our_own_and_is_left_as_it_was(
    server: PostgresServer, without_test_urls: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = databases(server)
    monkeypatch.setenv("TEST_POSTGRES_URL", server.url)

    with use_postgres() as named:
        named.make_template("prices", make_prices)
        database = named.create_database("prices")
        assert symbols(database.url) == []
        assert database.name.startswith("fauxchange_test_")
        assert named.label == server.label.replace("(wheel)", "(TEST_POSTGRES_URL)").replace(
            "(machine)", "(TEST_POSTGRES_URL)"
        )

    assert databases(server) == before


@pytest.mark.parametrize("deed", ["freeze", "thaw", "kill", "stop", "restart"])
def test_a_named_server_is_not_ours_to_stop(deed: str, named_server: PostgresServer) -> None:
    with pytest.raises(InvalidRequest, match="not ours to stop"):
        getattr(named_server, deed)()


def test_a_named_server_that_is_the_live_one_is_refused(
    server: PostgresServer, without_test_urls: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_POSTGRES_URL", server.url)
    monkeypatch.setenv("POSTGRES_URL", server.url.replace("postgresql://", "postgresql+psycopg://"))

    with pytest.raises(ConfigurationError, match="POSTGRES_URL"), use_postgres():
        pass


def test_a_named_server_that_is_away_is_told_without_its_password(
    without_test_urls: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_POSTGRES_URL", "postgresql://someone:hush-hush@127.0.0.1:1/tests")

    with pytest.raises(ServerFailed, match=r"127\.0\.0\.1:1") as failure, use_postgres():
        pass

    assert "hush-hush" not in str(failure.value)


def test_without_a_name_a_server_of_our_own_is_started(without_test_urls: None) -> None:
    with use_postgres() as server:
        assert server.is_own
        assert server.execute("SELECT 1") == ["1"]
