"""The configuration service on a real PostgreSQL that is absent at the start, killed, and frozen."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from configuration_kit import until
from postgres_kit import make_tables

from fauxchange.platform.ready import read_ready
from fauxchange.testing import RunningVenue, running
from fauxchange.testing.servers import Database, PostgresServer, start_postgres

BOT = "/configuration/my-bot"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with start_postgres() as server:
        yield server


@pytest.fixture
def database(server: PostgresServer) -> Iterator[Database]:
    server.ensure_running()
    database = server.create_database()
    make_tables(database.url)
    yield database
    server.ensure_running()
    server.drop_database(database)


@pytest.fixture
async def callers() -> AsyncIterator[list[httpx.AsyncClient]]:
    opened: list[httpx.AsyncClient] = []
    yield opened
    for client in opened:
        await client.aclose()


def caller_of(venue: RunningVenue, folder: Path, callers: list[httpx.AsyncClient]) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {read_ready(folder).secrets['admin_key']}"}
    client = httpx.AsyncClient(base_url=f"{venue.venue.http}/api/v1", headers=headers, trust_env=False, timeout=60.0)
    callers.append(client)
    return client


async def put_until_it_is_taken(caller: httpx.AsyncClient, value: int) -> float:
    """Set a key again and again; return after how many seconds it was taken."""
    begun_s = time.monotonic()
    while (answer := await caller.put(f"{BOT}/it", json={"value": value})).status_code == 503:
        assert time.monotonic() - begun_s < 60
    assert answer.status_code == 200
    return time.monotonic() - begun_s


def settings(database: Database) -> dict[str, object]:
    return {"POSTGRES_URL": database.url, "SHUTDOWN_TIMEOUT": "30s"}


@pytest.mark.parametrize("trouble", ["killed", "frozen"])
async def test_values_are_read_and_changes_refused_while_postgres_is_away_and_all_is_well_after(
    server: PostgresServer, database: Database, tmp_path: Path, callers: list[httpx.AsyncClient], trouble: str
) -> None:
    async with running(tmp_path, settings(database), services=("configuration",)) as venue:
        caller = caller_of(venue, tmp_path, callers)
        assert (await caller.put(f"{BOT}/it", json={"value": 1})).status_code == 200

        (server.kill if trouble == "killed" else server.freeze)()
        try:
            begun_s = time.monotonic()
            refused = await caller.put(f"{BOT}/it", json={"value": 2})
            refused_s = time.monotonic() - begun_s
            read = await caller.get(f"{BOT}/it")
            health = (await caller.get("/health")).json()["services"]["configuration"]
        finally:
            (server.restart if trouble == "killed" else server.thaw)()
        back_s = await put_until_it_is_taken(caller, 3)
        configuration = venue.process.configuration
        assert configuration is not None
        await until(lambda: configuration.service.health().status == "ok")
        history = (await caller.get(f"{BOT}/it/history")).json()["changes"]
        trail = venue.venue.audit + "/audit/v1/configuration/trail"
        events = (await caller.get(trail, headers=venue.venue.audit_headers)).json()["events"]

    assert (refused.status_code, read.json()["value"]) == (503, 1)
    assert health["status"] == "degraded"
    # A second, and 10 s at most; the rest is for a busy machine.
    assert (refused_s < 10, back_s < 30) == (True, True)
    values = [change["value"] for change in history]
    assert (values[0], values[-1]) == (3, 1)
    assert [event["data"]["value"] for event in events][-1] == 3
    assert [change["version"] for change in reversed(history)] == list(range(1, len(history) + 1))


async def test_a_service_that_starts_without_its_postgres_answers_when_that_is_there(
    server: PostgresServer, database: Database, tmp_path: Path, callers: list[httpx.AsyncClient]
) -> None:
    async with running(tmp_path / "first", settings(database), services=("configuration",)) as venue:
        await put_until_it_is_taken(caller_of(venue, tmp_path / "first", callers), 1)
    server.kill()

    async with running(tmp_path / "second", settings(database), services=("configuration",)) as venue:
        caller = caller_of(venue, tmp_path / "second", callers)
        early = await caller.get(BOT)
        health = await caller.get("/health")
        server.restart()
        configuration = venue.process.configuration
        assert configuration is not None
        await until(lambda: configuration.service.health().status == "ok")
        late = await caller.get(f"{BOT}/it")

    assert (early.status_code, early.json()["code"]) == (503, "configuration_not_loaded")
    assert health.status_code == 503
    assert late.json()["value"] == 1
