"""Redis as tests get it: users with their rights, and a server to be frozen, killed and started again."""

import asyncio
import os
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import redis
import redis.asyncio

from fauxchange.domain.errors import ConfigurationError, InvalidRequest
from fauxchange.testing.servers import RedisServer, ServerFailed, start_redis, use_redis
from fauxchange.testing.servers.process import GONE, state_of

READER = "user price-reader on >let-me-in ~prices:* +get"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with start_redis() as server:
        yield server


@pytest.fixture(autouse=True)
def clean(server: RedisServer) -> Iterator[None]:
    yield
    server.ensure_running()
    server.flush()
    server.remove_users()


def address(server: RedisServer) -> tuple[str, int]:
    parts = urlsplit(server.url)
    return str(parts.hostname), int(parts.port or 0)


def ask(url: str, *words: str) -> object:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return client.execute_command(*words)


def test_nobody_comes_in_without_a_name(server: RedisServer) -> None:
    host, port = address(server)

    with pytest.raises(redis.AuthenticationError):
        ask(f"redis://{host}:{port}/0", "PING")


def test_a_user_may_do_what_its_line_says_and_no_more(server: RedisServer) -> None:
    server.load_acl(["# who reads prices", "", READER])
    server.command("SET", "prices:BTC/USD", "45000")
    url = server.user_url("price-reader", "let-me-in")

    price = ask(url, "GET", "prices:BTC/USD")

    assert price == "45000"
    for words in (("GET", "orders:1"), ("SET", "prices:BTC/USD", "1"), ("FLUSHALL",), ("KEYS", "*")):
        with pytest.raises(redis.exceptions.NoPermissionError):
            ask(url, *words)
    with pytest.raises(redis.AuthenticationError):
        ask(server.user_url("price-reader", "wrong"), "GET", "prices:BTC/USD")


def test_a_line_that_is_loaded_again_replaces_the_user(server: RedisServer) -> None:
    server.load_acl([READER])
    server.load_acl(["user price-reader on >let-me-in ~prices:* +set"])

    with pytest.raises(redis.exceptions.NoPermissionError):
        ask(server.user_url("price-reader", "let-me-in"), "GET", "prices:BTC/USD")


def test_users_are_there_after_a_restart_and_gone_when_they_are_removed(server: RedisServer) -> None:
    server.load_acl([READER])

    server.restart(empty=True)
    price = ask(server.user_url("price-reader", "let-me-in"), "GET", "prices:BTC/USD")
    server.remove_users()

    assert price is None
    with pytest.raises(redis.AuthenticationError):
        ask(server.user_url("price-reader", "let-me-in"), "GET", "prices:BTC/USD")


def test_names_and_passwords_may_hold_any_character(server: RedisServer) -> None:
    server.load_acl(["user a@b:c on >p/w@:?#x ~* +get"])

    assert ask(server.user_url("a@b:c", "p/w@:?#x"), "GET", "nothing") is None


@pytest.mark.parametrize("line", ["price-reader on", "user", "user admin off"])
def test_lines_of_another_form_and_the_admin_are_refused(line: str, server: RedisServer) -> None:
    with pytest.raises(InvalidRequest):
        server.load_acl([line])

    assert server.command("PING") == "PONG"


def test_a_rule_that_the_server_does_not_know_is_told_with_its_words(server: RedisServer) -> None:
    with pytest.raises(ServerFailed, match="nonsense"):
        server.load_acl(["user price-reader +nonsense"])


async def test_a_frozen_server_takes_connections_and_answers_nobody_until_it_is_thawed(server: RedisServer) -> None:
    async with redis.asyncio.Redis.from_url(server.url) as client:
        await client.ping()
        server.freeze()

        asking = asyncio.ensure_future(client.get("key"))
        done, _ = await asyncio.wait({asking}, timeout=0.3)
        with socket.create_connection(address(server), timeout=5):
            pass
        assert done == set()

        server.thaw()
        assert await asking is None


def test_a_killed_server_refuses_connections_and_comes_back_empty_at_its_address(server: RedisServer) -> None:
    before = server.url
    server.command("SET", "key", "value")
    pid = server.process.pid

    server.kill()

    assert state_of(pid) in GONE
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address(server), timeout=5)
    server.restart()
    assert server.url == before
    assert server.command("GET", "key") is None


def test_a_persistent_server_has_its_keys_after_a_kill_unless_told_otherwise() -> None:
    with start_redis(persistent=True) as server:
        server.command("SET", "key", "value")
        server.kill()
        server.restart()
        after_kill = server.command("GET", "key")
        server.restart()
        after_stop = server.command("GET", "key")
        server.restart(empty=True)
        after_loss = server.command("GET", "key")

    assert (after_kill, after_stop, after_loss) == ("value", "value", None)


def test_a_server_left_frozen_stopped_or_dead_by_a_test_is_brought_back(server: RedisServer) -> None:
    for deed in (server.freeze, server.stop, server.kill):
        deed()
        server.ensure_running()
        assert server.command("PING") == "PONG"


def test_the_server_is_nobody_in_particular(server: RedisServer) -> None:
    assert os.stat(f"/proc/{server.process.pid}").st_uid != 0


def test_an_end_of_the_block_leaves_neither_process_nor_folder_nor_port() -> None:
    with start_redis() as server:
        folder, pid, where = server.process.folder, server.process.pid, address(server)

    assert not folder.exists()
    assert state_of(pid) in GONE
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where, timeout=5)


# A server that is named


@pytest.fixture
def named_url(server: RedisServer, without_test_urls: None, monkeypatch: pytest.MonkeyPatch) -> str:
    url = server.url.removesuffix("/0") + "/2"
    monkeypatch.setenv("TEST_REDIS_URL", url)
    return url


def test_a_named_server_gives_a_database_of_our_own_and_is_left_as_it_was(server: RedisServer, named_url: str) -> None:
    server.command("SET", "somebody", "else")

    with use_redis(3) as named:
        named.flush()
        ask(named.url, "SET", "key", "value")
        assert named.url.endswith("/5")
        assert named.label.endswith("(TEST_REDIS_URL)")
        named.flush()
        assert ask(named.url, "GET", "key") is None

    assert ask(named_url.removesuffix("/2") + "/5", "DBSIZE") == 0
    assert server.command("GET", "somebody") == "else"


def test_a_database_that_holds_somebodys_keys_is_refused_and_not_touched(named_url: str) -> None:
    ask(named_url, "SET", "key", "value")

    with pytest.raises(ConfigurationError, match="holds keys that tests did not write"), use_redis():
        pass

    assert ask(named_url, "GET", "key") == "value"


def test_a_database_left_full_by_a_run_that_was_killed_is_taken_again(named_url: str) -> None:
    run = use_redis()
    killed = run.__enter__()
    killed.flush()
    ask(killed.url, "SET", "key", "value")

    with use_redis() as server:
        server.flush()
        assert ask(server.url, "GET", "key") is None


@pytest.mark.parametrize("deed", ["freeze", "thaw", "kill", "stop", "restart"])
def test_a_named_server_is_not_ours_to_stop(deed: str, named_url: str) -> None:
    with use_redis() as server, pytest.raises(InvalidRequest, match="not ours to stop"):
        getattr(server, deed)()


def test_users_of_a_named_server_are_left_alone(named_url: str) -> None:
    with use_redis() as server, pytest.raises(InvalidRequest, match="start one with `start_redis"):
        server.load_acl([READER])


def test_a_named_server_that_is_the_live_one_is_refused(named_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", named_url)

    with pytest.raises(ConfigurationError, match="REDIS_URL"), use_redis():
        pass


@pytest.mark.parametrize(
    ("url", "said"),
    [("rediss://127.0.0.1:1/0", "redis://"), ("redis://127.0.0.1:1/zero", "number"), ("redis://127.0.0.1:1", "away")],
)
def test_a_url_that_leads_nowhere_is_told(
    url: str, said: str, without_test_urls: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_REDIS_URL", url)

    with pytest.raises((ConfigurationError, ServerFailed), match=said), use_redis():
        pass
