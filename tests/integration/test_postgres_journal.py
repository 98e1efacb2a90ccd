"""The journal on a real PostgreSQL: one writer, a final answer after each failure, and no damage that goes unseen."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from postgres_kit import patient
from redis_kit import eventually

from fauxchange.data.connected_journal import ConnectedJournal
from fauxchange.data.journal import batch_hash
from fauxchange.data.postgres.connections import PostgresConfig
from fauxchange.data.postgres.engine import PostgresDatabase
from fauxchange.data.postgres.journal import JournalTable
from fauxchange.data.postgres.journal_writer import PREPARE
from fauxchange.domain.errors import ConfigurationError, Conflict, DamagedJournal, Unavailable
from fauxchange.platform.ports import DependencyStatus
from fauxchange.testing.servers import Database, PostgresServer, TcpProxy

SILENCE_S = 1.0
"""What the settings come with: within it a caller hears that the server is silent."""
RETURN_S = 10.0
"""Within it everything works again once the server is back."""
SLACK_S = 0.5
"""For a machine that is busy with other tests."""


END_HOLDER_IF_AWAITED = """
    SELECT pg_terminate_backend(holder.pid) FROM pg_locks AS holder JOIN pg_locks AS waiting USING (database, objid)
    WHERE holder.locktype = 'advisory' AND holder.granted AND NOT waiting.granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture
def database(own_database: Database) -> Database:
    return own_database


class Journal:
    """A journal over a database of its own, as a process has it."""

    def __init__(self, database: PostgresDatabase) -> None:
        self.table = table = JournalTable(database)
        self._repository = ConnectedJournal(lambda: table)
        self.append = self._repository.append
        self.last_sequence = self._repository.last_sequence

    async def spans(self, after: int = 0) -> list[tuple[int, int]]:
        return [(b.first_sequence, b.last_sequence) async for some in self._repository.read(after) for b in some]

    async def fill(self, count: int, *, after: int = 0) -> None:
        for sequence in range(after + 1, after + count + 1):
            await self.append(sequence, sequence, f"batch {sequence}".encode())


@asynccontextmanager
async def journal_at(config: PostgresConfig) -> AsyncIterator[Journal]:
    database = await PostgresDatabase.open(config)
    journal = Journal(database)
    try:
        yield journal
    finally:
        await journal.table.close()
        await database.close()


async def told_within(seconds: float, call: Awaitable[Any]) -> Exception:
    begun = time.monotonic()
    with pytest.raises(Unavailable) as told:
        await call
    assert time.monotonic() - begun < seconds + SLACK_S
    return told.value


async def known_again(journal: Journal) -> int:
    """Ask for the last sequence until it is told, as the sequencer does; it must be within the promised time."""
    async with asyncio.timeout(RETURN_S + SLACK_S):
        while True:
            try:
                return await journal.last_sequence()
            except Unavailable:
                await asyncio.sleep(0.02)


def proxy_before(database: Database) -> TcpProxy:
    address = urlsplit(database.url)
    assert address.hostname is not None
    assert address.port is not None
    return TcpProxy(address.hostname, address.port)


def sessions(server: PostgresServer, database: Database) -> list[str]:
    question = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE '%journal%' AND datname = "
    return server.execute(f"{question}'{database.name}'")


async def test_second_writer_is_refused_and_told_who_the_first_is(database: Database) -> None:
    async with journal_at(patient(database.url)) as first, journal_at(patient(database.url)) as second:
        await first.fill(2)

        with pytest.raises(
            ConfigurationError, match=r"written by fauxchange journal on 127\.0\.0\.1 \(pid \d+"
        ) as told:
            await second.last_sequence()

        assert told.value.field == "POSTGRES_URL"
        await first.fill(1, after=2)
        await first.table.close()
        assert await second.last_sequence() == 3
        await second.fill(1, after=3)


async def test_reading_takes_no_journal_from_its_writer(database: Database) -> None:
    async with journal_at(patient(database.url)) as writer, journal_at(patient(database.url)) as reader:
        await writer.fill(3)

        assert await reader.spans() == [(1, 1), (2, 2), (3, 3)]

        await writer.fill(1, after=3)


async def test_succeeded_writer_appends_nothing_and_is_told(database: Database) -> None:
    async with journal_at(patient(database.url)) as journal:
        await journal.fill(2)
        with psycopg.connect(database.url, autocommit=True) as successor:
            successor.execute("UPDATE exchange.exchange_journal_writer SET writer = writer + 1")

            with pytest.raises(Unavailable):
                await journal.append(3, 3, b"too late")

            assert await journal.spans() == [(1, 1), (2, 2)]
            # Nothing was appended by anybody else, so it is still this one that knows how to go on.
            assert await known_again(journal) == 2
            await journal.fill(1, after=2)


async def test_writer_whose_journal_went_on_without_it_never_appends_again(database: Database) -> None:
    async with journal_at(patient(database.url)) as journal:
        await journal.fill(2)
        async with journal_at(patient(database.url)) as successor:
            taking_over = asyncio.create_task(_take_over(successor, 3))
            with psycopg.connect(database.url, autocommit=True) as admin:
                # Not before the successor waits for the lock, or the first one may be quicker to get it back.
                await eventually(lambda: admin.execute(END_HOLDER_IF_AWAITED).fetchall())
            await taking_over

            with pytest.raises((Unavailable, Conflict)):
                await journal.append(3, 3, b"too late")
            with pytest.raises(Conflict, match="taken over by fauxchange journal") as told:
                await known_again(journal)

            assert told.value.code == "journal_taken_over"
            with pytest.raises(Conflict):
                await journal.append(3, 3, b"too late")
            assert journal.table.health().status is DependencyStatus.DOWN
            assert await successor.spans() == [(1, 1), (2, 2), (3, 3)]


async def _take_over(successor: Journal, sequence: int) -> None:
    """Append with a writer that has to wait for the lock."""
    async with asyncio.timeout(60):
        while True:
            try:
                await successor.append(sequence, sequence, b"from the successor")
            except (Unavailable, ConfigurationError):
                continue
            return


async def test_writer_after_whom_another_has_appended_and_left_never_appends_again(database: Database) -> None:
    async with journal_at(patient(database.url)) as journal:
        await journal.fill(2)
        with psycopg.connect(database.url, cursor_factory=psycopg.ClientCursor) as successor:
            successor.execute("UPDATE exchange.exchange_journal_writer SET writer = 2")
            assert _append(successor, 3, writer=2) == 1

        with pytest.raises(Unavailable):
            await journal.append(3, 3, b"too late")
        with pytest.raises(Conflict, match="another process has gone on") as told:
            await known_again(journal)

        assert told.value.code == "journal_taken_over"
        with pytest.raises(Conflict):
            await journal.append(4, 4, b"too late")


async def test_append_that_is_stuck_in_the_server_is_ended_by_the_next_claim(
    own_server: PostgresServer, database: Database
) -> None:
    async with journal_at(PostgresConfig(url=database.url, silence_s=SILENCE_S)) as journal:
        await journal.fill(2)
        (stuck,) = sessions(own_server, database)
        with psycopg.connect(database.url) as holder:
            holder.execute("SELECT FROM exchange.exchange_journal_writer FOR UPDATE")
            await told_within(SILENCE_S, journal.append(3, 3, b"stuck"))
            # Sooner than the server would give up by itself.
            await eventually(lambda: stuck not in sessions(own_server, database), within_s=2.0)

        assert await known_again(journal) == 2
        await journal.fill(1, after=2)


async def test_claim_that_broke_off_is_ended_by_the_next_one_and_not_taken_for_another_writer(
    database: Database,
) -> None:
    async with journal_at(patient(database.url)) as journal:
        broken_off = await psycopg.AsyncConnection.connect(database.url, autocommit=True)
        await journal.table.writer._lock(broken_off)

        await journal.fill(1)

        with pytest.raises(psycopg.OperationalError):
            await broken_off.execute("SELECT 1")
        await broken_off.close()


async def test_claim_waits_for_an_append_under_way_and_counts_it(database: Database) -> None:
    async with journal_at(patient(database.url)) as first:
        await first.fill(2)
    with psycopg.connect(database.url, cursor_factory=psycopg.ClientCursor) as zombie:
        # What a session of the writer before has sent and not yet committed.
        assert _append(zombie, 3, writer=1) == 1
        async with journal_at(patient(database.url)) as second:
            asking = asyncio.create_task(second.last_sequence())
            await eventually(lambda: _waits_for_lock(database))
            zombie.commit()

            assert await asking == 3
            await second.fill(1, after=3)


async def test_append_that_arrives_after_a_claim_appends_nothing(database: Database) -> None:
    async with journal_at(patient(database.url)) as first:
        await first.fill(2)
    async with journal_at(patient(database.url)) as second:
        assert await second.last_sequence() == 2
        with psycopg.connect(database.url, cursor_factory=psycopg.ClientCursor) as zombie:
            assert _append(zombie, 3, writer=1) == 0
        assert await second.spans() == [(1, 1), (2, 2)]
        await second.fill(1, after=2)


def _append(connection: psycopg.Connection[Any], sequence: int, *, writer: int) -> int:
    """Append as the writer of that number would; return how many batches that were."""
    connection.execute(PREPARE[0].encode())
    last = connection.execute("SELECT hash FROM exchange.exchange_journal WHERE last_sequence = %s", (sequence - 1,))
    (prev_hash,) = last.fetchone() or ("",)
    own = batch_hash(prev_hash, sequence, sequence, b"late")
    row = (sequence, sequence, prev_hash, own, b"late", writer, sequence - 1)
    return connection.execute("EXECUTE fauxchange_append(%s, %s, %s, %s, %s, %s, %s)", row).rowcount


def _waits_for_lock(database: Database) -> bool:
    with psycopg.connect(database.url, autocommit=True) as admin:
        question = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')"
        row = admin.execute(question).fetchone()
    return row is not None and row[0] > 0


async def test_session_that_the_server_ends_is_claimed_again_without_traffic(
    own_server: PostgresServer, database: Database
) -> None:
    async with journal_at(patient(database.url)) as journal:
        await journal.fill(2)
        (before,) = sessions(own_server, database)

        own_server.execute(f"SELECT pg_terminate_backend({before})")

        await eventually(
            lambda: journal.table.writer.problem is None and sessions(own_server, database) not in ([], [before])
        )
        assert journal.table.health().status is DependencyStatus.OK
        await journal.fill(1, after=2)
        assert await journal.spans() == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize("trouble", ["freeze", "kill"])
async def test_lost_server_is_told_in_time_and_leaves_a_final_answer(
    own_server: PostgresServer, database: Database, trouble: str
) -> None:
    async with journal_at(PostgresConfig(url=database.url, silence_s=SILENCE_S)) as journal:
        await journal.fill(3)

        getattr(own_server, trouble)()
        begun = time.monotonic()
        await told_within(SILENCE_S, journal.append(4, 4, b"into the void"))
        await told_within(SILENCE_S, journal.last_sequence())
        assert time.monotonic() - begun < SILENCE_S + SLACK_S
        assert journal.table.health().status is DependencyStatus.DOWN
        own_server.ensure_running()

        last = await known_again(journal)
        assert last in {3, 4}
        await journal.fill(2, after=last)
        assert await journal.spans() == [(sequence, sequence) for sequence in range(1, last + 3)]
        assert journal.table.health().status is DependencyStatus.OK
        assert len(sessions(own_server, database)) == 1
    assert sessions(own_server, database) == []


async def test_commit_whose_answer_is_lost_is_found_to_be_stored(database: Database) -> None:
    with proxy_before(database) as proxy:
        url = proxy.url_through(database.url)
        async with journal_at(PostgresConfig(url=url, silence_s=SILENCE_S, connect_timeout_s=10)) as journal:
            await journal.fill(1)
            proxy.delay_s = 60.0

            await told_within(SILENCE_S, journal.append(2, 2, b"stored"))
            proxy.delay_s = 0.0

            assert await known_again(journal) == 2
            await journal.fill(1, after=2)


@pytest.mark.parametrize("break_it", ["reset", "half_close"])
async def test_broken_connection_is_opened_anew(database: Database, break_it: str) -> None:
    with proxy_before(database) as proxy:
        async with journal_at(patient(proxy.url_through(database.url))) as journal:
            await journal.fill(2)

            getattr(proxy, break_it)()

            assert await known_again(journal) == 2
            await journal.fill(2, after=2)
    async with journal_at(patient(database.url)) as journal:
        assert await journal.spans() == [(1, 1), (2, 2), (3, 3), (4, 4)]


async def test_network_that_stalls_is_told_in_time_and_overcome(database: Database) -> None:
    with proxy_before(database) as proxy:
        config = PostgresConfig(url=proxy.url_through(database.url), silence_s=SILENCE_S)
        async with journal_at(config) as journal:
            await journal.fill(2)
            proxy.stall()

            await told_within(SILENCE_S, journal.append(3, 3, b"into the void"))
            await told_within(SILENCE_S, journal.last_sequence())
            proxy.flow()

            last = await known_again(journal)
            assert last in {2, 3}
            await journal.fill(1, after=last)


async def test_server_slowed_by_half_a_second_is_slow_and_not_lost(database: Database) -> None:
    with proxy_before(database) as proxy:
        config = PostgresConfig(url=proxy.url_through(database.url), silence_s=SILENCE_S, connect_timeout_s=10)
        async with journal_at(config) as journal:
            await journal.fill(1)
            proxy.delay_s = 0.5

            await journal.fill(2, after=1)

            assert await journal.last_sequence() == 3
            proxy.reset()
            assert await known_again(journal) == 3


async def test_large_batches_pass_whole(database: Database) -> None:
    async with journal_at(patient(database.url)) as journal:
        for sequence in range(1, 4):
            await journal.append(sequence, sequence, bytes(range(256)) * 20_000)

        assert await journal.spans() == [(1, 1), (2, 2), (3, 3)]


async def test_closing_beside_a_frozen_server_ends(own_server: PostgresServer, database: Database) -> None:
    before = asyncio.all_tasks()
    async with journal_at(PostgresConfig(url=database.url, silence_s=SILENCE_S)) as journal:
        await journal.fill(1)
        own_server.freeze()
        under_way = asyncio.create_task(journal.append(2, 2, b"into the void"))
        await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await under_way
    assert {task for task in asyncio.all_tasks() if not task.done()} <= before


async def test_end_that_the_server_has_lost_is_never_appended_to(database: Database) -> None:
    async with journal_at(patient(database.url)) as journal:
        await journal.fill(3)
        with psycopg.connect(database.url, autocommit=True) as admin:
            admin.execute("DELETE FROM exchange.exchange_journal WHERE first_sequence = 3")

        with pytest.raises((Unavailable, DamagedJournal)):
            await journal.append(4, 4, b"x")

        with pytest.raises(DamagedJournal, match="ends with command 2, but 3 was acknowledged"):
            await known_again(journal)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE {} SET payload = 'changed' WHERE first_sequence = 3", "sequence 3 is not what was written"),
        ("UPDATE {} SET hash = repeat('0', 64) WHERE first_sequence = 2", "sequence 2 is not what was written"),
        ("DELETE FROM {} WHERE first_sequence = 3", "sequence 3 is missing: 4 follows 2"),
        ("UPDATE {} SET last_sequence = 9 WHERE first_sequence = 3", "sequence 3 is not what was written"),
        ("DELETE FROM {} WHERE first_sequence = 1", "sequence 1 is missing: 2 follows 0"),
    ],
)
async def test_damage_is_named(database: Database, damage: str, told: str) -> None:
    async with journal_at(patient(database.url)) as journal:
        await journal.fill(5)
        with psycopg.connect(database.url, autocommit=True) as admin:
            admin.execute(damage.format("exchange.exchange_journal").encode())

        with pytest.raises(DamagedJournal, match=told):
            await journal.spans()


async def test_writer_starts_from_no_damaged_end(database: Database) -> None:
    async with journal_at(patient(database.url)) as journal:
        await journal.fill(3)
    with psycopg.connect(database.url, autocommit=True) as admin:
        admin.execute("UPDATE exchange.exchange_journal SET payload = 'changed' WHERE first_sequence = 3")

    async with journal_at(patient(database.url)) as journal:
        with pytest.raises(DamagedJournal, match="sequence 3 is not what was written"):
            await journal.last_sequence()
        with pytest.raises(DamagedJournal):
            await journal.append(4, 4, b"x")


async def test_appends_hold_up_no_vacuum_and_make_no_dead_rows(own_server: PostgresServer, database: Database) -> None:
    async with journal_at(patient(database.url)) as journal:
        await journal.fill(300)

    size = own_server.execute("SELECT pg_relation_size('exchange.exchange_journal_writer')", database=database.name)
    assert int(size[0]) <= 8_192
