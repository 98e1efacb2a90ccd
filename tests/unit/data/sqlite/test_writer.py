"""The writing thread: transactions, durability, backpressure, failing disks."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fauxchange.data.sqlite.database import SqliteDatabase, open_connection
from fauxchange.domain.errors import Conflict, Unavailable
from fauxchange.platform.ports import DependencyStatus

FULL, NORMAL = 2, 1


class Disk:
    """Opens connections on which the disk is full while `full` is set."""

    def __init__(self) -> None:
        self.full = False
        self.unreadable = False

    def open(self, path: Path) -> sqlite3.Connection:
        connection = open_connection(path)
        # The thread opens anew after each failure, so a changed flag takes effect then.
        if self.full:
            connection.execute("PRAGMA max_page_count=1")
        if self.unreadable:
            connection.close()
        return connection


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
async def database(tmp_path: Path, disk: Disk) -> AsyncIterator[SqliteDatabase]:
    path = tmp_path / "it.db"
    database = await SqliteDatabase.open(path, opener=disk.open, max_waiting_rows=100, probe_interval_s=0.01)
    await database.write(lambda connection: connection.execute("CREATE TABLE notes (text TEXT PRIMARY KEY)").rowcount)
    yield database
    await database.close()


def insert(text: str) -> Any:
    def work(connection: sqlite3.Connection) -> int:
        return connection.execute("INSERT INTO notes VALUES (?)", (text,)).rowcount

    return work


def insert_then_refuse(text: str) -> Any:
    def work(connection: sqlite3.Connection) -> None:
        raise Conflict(f"{text} is refused")

    return work


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def notes(database: SqliteDatabase) -> list[str]:
    rows = await database.read(lambda c: c.execute("SELECT text FROM notes ORDER BY text").fetchall())
    return [text for (text,) in rows]


async def wait_until_down(database: SqliteDatabase, *, down: bool) -> None:
    async with asyncio.timeout(5):
        while (database.health().status is DependencyStatus.DOWN) is not down:  # noqa: ASYNC110 - the thread under test tells nobody when it has recovered
            await asyncio.sleep(0.005)


async def test_result_of_a_job_is_returned_once_it_is_committed(database: SqliteDatabase) -> None:
    assert await database.write(insert("a")) == 1

    assert await notes(database) == ["a"]


async def test_durable_jobs_commit_with_full_and_others_with_normal(database: SqliteDatabase) -> None:
    def synchronous(number: int) -> Any:
        # A text of its own each time, because the answer is fixed when the statement is compiled.
        return lambda connection: connection.execute(f"PRAGMA synchronous -- {number}").fetchone()[0]

    modes = [await database.write(synchronous(n), durable=n % 2 == 1) for n in range(6)]

    assert modes == [NORMAL, FULL] * 3


async def test_durable_jobs_that_wait_together_share_one_transaction(database: SqliteDatabase) -> None:
    def in_transaction(connection: sqlite3.Connection) -> bool:
        return connection.in_transaction

    alone = await database.write(in_transaction, durable=True)
    together = await asyncio.gather(
        database.write(insert("a")), *(database.write(in_transaction, durable=True) for _ in range(3))
    )

    # The first of the waiting may have been taken before the others came.
    assert alone is False
    assert together[-1] is True


async def test_refused_job_among_durable_ones_leaves_the_others_unharmed(database: SqliteDatabase) -> None:
    outcomes = await asyncio.gather(
        database.write(insert("a"), durable=True),
        database.write(insert_then_refuse("b"), durable=True),
        database.write(insert("c"), durable=True),
        return_exceptions=True,
    )

    assert [type(outcome) for outcome in outcomes] == [int, Conflict, int]
    assert await notes(database) == ["a", "c"]


async def test_bug_in_a_job_reaches_its_caller_and_the_thread_goes_on(database: SqliteDatabase) -> None:
    with pytest.raises(ZeroDivisionError):
        await database.write(lambda _connection: 1 // 0)

    assert await database.write(insert("a")) == 1


async def test_full_disk_is_unavailable_stores_nothing_and_shows_in_health(
    database: SqliteDatabase, disk: Disk
) -> None:
    disk.full = True
    await fail_once(database)

    with pytest.raises(Unavailable, match="full"):
        await database.write(insert("x" * 100_000))

    health = database.health()
    assert health.status is DependencyStatus.DOWN
    assert "full" in health.detail
    assert await notes(database) == []


async def test_all_durable_jobs_of_a_failed_transaction_are_told(database: SqliteDatabase, disk: Disk) -> None:
    disk.full = True
    await fail_once(database)

    outcomes = await asyncio.gather(
        *(database.write(insert(letter * 100_000), durable=True) for letter in "abc"), return_exceptions=True
    )

    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
    assert await notes(database) == []


async def test_writes_go_on_when_the_disk_has_room_again(database: SqliteDatabase, disk: Disk) -> None:
    disk.full = True
    await fail_once(database)
    with pytest.raises(Unavailable):
        await database.write(insert("x" * 100_000))

    disk.full = False
    await wait_until_down(database, down=False)

    assert await database.write(insert("b")) == 1
    assert database.health().status is DependencyStatus.OK


async def test_health_recovers_though_nobody_writes(database: SqliteDatabase) -> None:
    await fail_once(database)

    await wait_until_down(database, down=False)

    assert database.health().detail == ""


async def test_failing_reads_degrade_until_one_succeeds(database: SqliteDatabase, disk: Disk) -> None:
    disk.unreadable = True
    with pytest.raises(Unavailable, match="cannot be read"):
        await database.read(lambda connection: connection.execute("SELECT 1").fetchall())
    assert database.health().status is DependencyStatus.DEGRADED

    disk.unreadable = False

    assert await notes(database) == []
    assert database.health().status is DependencyStatus.OK


async def test_callers_wait_while_the_disk_is_slower_than_they_are(database: SqliteDatabase, tmp_path: Path) -> None:
    with closing(open_connection(tmp_path / "it.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        writers = [asyncio.create_task(database.write(insert(str(n)), rows=40)) for n in range(10)]
        for _ in range(20):
            await asyncio.sleep(0)

        waiting_rows = database.waiting_rows

        other.execute("COMMIT")
    assert waiting_rows == 80
    assert await asyncio.gather(*writers) == [1] * 10
    assert database.waiting_rows == 0


async def test_job_larger_than_all_that_may_wait_runs_when_it_is_alone(database: SqliteDatabase) -> None:
    assert await database.write(insert("a"), rows=5_000) == 1


async def test_cancelled_caller_leaves_the_queue_in_order(database: SqliteDatabase, tmp_path: Path) -> None:
    with closing(open_connection(tmp_path / "it.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        writers = [asyncio.create_task(database.write(insert(letter), rows=60)) for letter in "abc"]
        await asyncio.sleep(0)
        for writer in writers[:2]:
            writer.cancel()
        other.execute("COMMIT")

    outcomes = await asyncio.gather(*writers, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, asyncio.CancelledError, int]
    assert "c" in await notes(database)
    assert database.waiting_rows == 0


async def test_closing_stores_what_was_accepted_and_empties_the_log(database: SqliteDatabase, tmp_path: Path) -> None:
    writers = [asyncio.create_task(database.write(insert(str(n)))) for n in range(5)]
    await asyncio.sleep(0)

    await database.close()

    assert await asyncio.gather(*writers) == [1] * 5
    assert names(tmp_path) == ["it.db"]
    with closing(open_connection(tmp_path / "it.db")) as connection:
        assert connection.execute("SELECT count(*) FROM notes").fetchone() == (5,)


async def test_closing_refuses_those_who_still_wait_for_room(database: SqliteDatabase, tmp_path: Path) -> None:
    with closing(open_connection(tmp_path / "it.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        accepted = asyncio.create_task(database.write(insert("a"), rows=100))
        refused = asyncio.create_task(database.write(insert("b")))
        await asyncio.sleep(0)
        closed = asyncio.create_task(database.close())
        with pytest.raises(Unavailable, match="closed"):
            await refused
        other.execute("COMMIT")

    await closed

    assert await accepted == 1


async def test_closed_database_refuses_reads_and_writes(database: SqliteDatabase) -> None:
    await database.close()

    with pytest.raises(Unavailable, match="closed"):
        await database.write(insert("a"))
    with pytest.raises(Unavailable, match="closed"):
        await notes(database)


async def fail_once(database: SqliteDatabase) -> None:
    """Make the thread open its connection anew."""
    with pytest.raises(Unavailable):
        await database.write(lambda connection: connection.execute("SELECT nothing FROM nowhere"))
