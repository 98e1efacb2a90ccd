"""The journal's file: failing disks, damage of every kind, killed processes."""

import hashlib
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fauxchange.data.connected_journal import ConnectedJournal
from fauxchange.data.journal import GENESIS
from fauxchange.data.ports import JournalBatch
from fauxchange.data.sqlite.files import open_connection
from fauxchange.data.sqlite.journal import JournalFile
from fauxchange.data.sqlite.journal_file import prepare_journal, read_head, read_some
from fauxchange.domain.errors import ConfigurationError, Conflict, DamagedJournal, FauxchangeError, Unavailable
from fauxchange.platform.ports import DependencyStatus

PAGE_BYTES = 512

APPENDING = """
import asyncio, sys
from pathlib import Path

from fauxchange.data.connected_journal import ConnectedJournal

from fauxchange.data.sqlite.journal import JournalFile


async def main():
    file = await JournalFile.open(Path(sys.argv[1]))
    journal = ConnectedJournal(lambda: file)
    last = await journal.last_sequence()

    def done(sequence, failure):
        assert failure is None, failure
        sys.stdout.write(f"{sequence}\\n")
        sys.stdout.flush()
        append(sequence + 36)

    def append(first):
        journal.append_soon(first, first + 4, b"%d" % first * 50, lambda failure: done(first + 4, failure))

    for first in range(last + 1, last + 41, 5):
        append(first)
    # `done` of one append hands over the one that follows the eight that wait.
    await asyncio.Event().wait()


asyncio.run(main())
"""


def payload(sequence: int) -> bytes:
    return hashlib.shake_256(b"%d" % sequence).digest(40 + sequence % 60)


def small_pages(path: Path) -> sqlite3.Connection:
    """Open the file with pages so small that a test can go through all of their bytes."""
    connection = open_connection(path)
    connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
    return connection


async def write(path: Path, count: int, opener: Callable[[Path], Any] = open_connection) -> list[JournalBatch]:
    """Return the batches of a journal that was written and closed: two commands each, the fourth 5,000 bytes long."""
    file = await JournalFile.open(path, opener=opener)
    journal = ConnectedJournal(lambda: file)
    for sequence in range(1, 2 * count, 2):
        await journal.append(sequence, sequence + 1, payload(sequence) if sequence != 7 else bytes(range(250)) * 20)
    batches = [batch async for some in journal.read() for batch in some]
    await file.close()
    return batches


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def read_all(path: Path, opener: Callable[[Path], Any] = open_connection) -> list[JournalBatch]:
    """Open a journal as a start does and return what can be read of it."""
    prepare_journal(path, opener=opener)
    found: list[JournalBatch] = []
    with closing(opener(path)) as connection:
        head = GENESIS
        while True:
            batches, head = read_some(path, connection, head)
            if not batches:
                assert read_head(path, connection) == head
                return found
            found += batches


def damage_of(path: Path) -> str | None:
    """Return what a start says of a journal, None if it is well."""
    try:
        read_all(path)
    except (DamagedJournal, ConfigurationError) as exc:
        return exc.message
    return None


def change(path: Path, sql: str, *parameters: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(sql, parameters).rowcount > 0


async def use(path: Path, disk: Any) -> FauxchangeError | None:
    """Open the journal, append 5 to 6, and close it; return how that failed."""
    try:
        file = await JournalFile.open(path, opener=disk.open, probe_interval_s=60)
    except (Unavailable, ConfigurationError) as exc:
        return exc
    try:
        await ConnectedJournal(lambda: file).append(5, 6, payload(5))
    except Unavailable as exc:
        return exc
    finally:
        await file.close()
    return None


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done and not told"])
async def test_write_error_at_any_call_leaves_the_batch_stored_or_not(
    tmp_path: Path, faulty: Any, *, after: bool
) -> None:
    path = tmp_path / "it-journal.sqlite"
    begun = await write(path, 2)
    kept = path.read_bytes()
    fates: set[tuple[bool, int]] = set()
    call = 0

    while True:
        call += 1
        path.write_bytes(kept)
        faulty.fail(call, after=after)
        failure = await use(path, faulty)
        if not faulty.mend():
            break
        file = await JournalFile.open(path, opener=faulty.open)
        journal = ConnectedJournal(lambda file=file: file)
        last = await journal.last_sequence()
        await journal.append(last + 1, last + 1, b"next")
        found = [batch async for some in journal.read() for batch in some]
        await file.close()

        assert found[:2] == begun
        assert [batch.first_sequence for batch in found[2:]] == ([5, 7] if last == 6 else [5])
        assert failure is not None or last == 6
        fates.add((failure is None, last))

    # A failing disk was met before, in and behind the append.
    assert fates >= ({(True, 6), (False, 4), (False, 6)} if after else {(True, 6), (False, 4)})


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done and not told"])
async def test_running_journal_tells_the_truth_after_a_write_error_and_goes_on(
    tmp_path: Path, faulty: Any, *, after: bool
) -> None:
    file = await JournalFile.open(tmp_path / "it-journal.sqlite", opener=faulty.open, probe_interval_s=60)
    journal = ConnectedJournal(lambda: file)
    last = 0
    outcomes: set[bool] = set()

    for call in [1, *range(1, 8)] * 2:
        faulty.fail(call, after=after)
        try:
            await journal.append(last + 1, last + 2, payload(last))
            told = last + 2
        except Unavailable:
            told = last
            assert file.health().status is DependencyStatus.DOWN
        failed = faulty.mend()
        last = await journal.last_sequence()

        assert last == told or (failed and last == told + 2)
        assert file.health().status is DependencyStatus.OK
        outcomes.add(last == told)

    assert True in outcomes
    batches = [batch async for some in journal.read() for batch in some]
    assert [batch.last_sequence for batch in batches] == list(range(2, last + 1, 2))
    await file.close()


async def test_appends_behind_a_failed_one_are_refused_and_leave_no_gap(tmp_path: Path, faulty: Any) -> None:
    file = await JournalFile.open(tmp_path / "it-journal.sqlite", opener=faulty.open, probe_interval_s=60)
    journal = ConnectedJournal(lambda: file)
    await journal.append(1, 1, b"x")
    outcomes: dict[int, Exception | None] = {}

    faulty.fail(1, after=False)
    for sequence in range(2, 200):
        journal.append_soon(sequence, sequence, b"x", lambda failure, own=sequence: outcomes.update({own: failure}))
    last = await journal.last_sequence()
    faulty.mend()

    stored = [sequence for sequence, failure in outcomes.items() if failure is None]
    assert len(outcomes) == 198
    assert isinstance(outcomes[2], Unavailable)
    assert {type(failure) for failure in outcomes.values()} <= {Unavailable, Conflict, type(None)}
    assert stored == []
    assert last == 1
    await file.close()


async def test_unwritable_journal_is_down_until_it_can_be_written(tmp_path: Path, faulty: Any) -> None:
    file = await JournalFile.open(tmp_path / "it-journal.sqlite", opener=faulty.open, probe_interval_s=60)
    journal = ConnectedJournal(lambda: file)
    faulty.fail(1, after=False)

    with pytest.raises(Unavailable, match="disk I/O error"):
        await journal.append(1, 1, b"x")

    assert file.health().status is DependencyStatus.DOWN
    assert "disk I/O error" in file.health().detail
    faulty.mend()
    await journal.append(1, 1, b"x")
    assert file.health().status is DependencyStatus.OK
    await file.close()


async def test_full_disk_refuses_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "it-journal.sqlite"
    full = False

    def opener(path: Path) -> sqlite3.Connection:
        connection = open_connection(path)
        if full:
            connection.execute("PRAGMA max_page_count=1")
        return connection

    file = await JournalFile.open(path, opener=opener, probe_interval_s=60)
    journal = ConnectedJournal(lambda: file)
    await journal.append(1, 1, b"x")
    await file.close()
    full = True
    file = await JournalFile.open(path, opener=opener, probe_interval_s=60)

    with pytest.raises(Unavailable, match="full"):
        await journal.append(2, 2, random.Random(1).randbytes(100_000))

    assert await journal.last_sequence() == 1
    full = False
    with pytest.raises(Unavailable):  # by it the thread opens the file anew
        await journal.append(2, 2, random.Random(1).randbytes(100_000))
    await journal.append(2, 2, b"y")
    assert await journal.last_sequence() == 2
    await file.close()


async def test_commits_wait_for_the_disk(tmp_path: Path, faulty: Any) -> None:
    said: list[str] = []

    class Listening:
        def open(self, path: Path) -> Any:
            connection = open_connection(path)
            connection.set_trace_callback(said.append)
            return connection

    file = await JournalFile.open(tmp_path / "it-journal.sqlite", opener=Listening().open)
    await ConnectedJournal(lambda: file).append(1, 1, b"x")
    await file.close()

    inserted = next(index for index, text in enumerate(said) if text.startswith("INSERT INTO journal VALUES"))
    assert "PRAGMA synchronous=FULL" in said[:inserted]
    assert not any(text.startswith("BEGIN") for text in said[said.index("COMMIT") :])


async def test_journal_is_private_and_beside_the_log_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "it-journal.sqlite"

    await write(path, 3)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == [path.name]


async def test_repetitive_payloads_are_stored_compressed(tmp_path: Path) -> None:
    path = tmp_path / "it-journal.sqlite"
    file = await JournalFile.open(path)
    journal = ConnectedJournal(lambda: file)

    await journal.append(1, 1, b"the same again " * 100_000)
    await file.close()

    assert path.stat().st_size < 100_000
    assert read_all(path)[0].payload == b"the same again " * 100_000


async def test_more_waiting_than_may_wait_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fauxchange.data.sqlite.journal_writer.MAX_WAITING_BYTES", 1_000)
    file = await JournalFile.open(tmp_path / "it-journal.sqlite")
    journal = ConnectedJournal(lambda: file)
    outcomes: list[Exception | None] = []

    for sequence in range(1, 11):
        journal.append_soon(sequence, sequence, bytes(600), outcomes.append)
    last = await journal.last_sequence()

    assert last == 2
    assert [type(outcome) for outcome in outcomes].count(Unavailable) == 8
    await journal.append(3, 3, b"x")
    await file.close()


async def test_log_cut_at_any_byte_gives_a_prefix_of_whole_batches(tmp_path: Path, faulty: Any) -> None:
    path, log = tmp_path / "it-journal.sqlite", tmp_path / "it-journal.sqlite-wal"
    await write(path, 3, small_pages)
    file = await JournalFile.open(path)
    journal = ConnectedJournal(lambda: file)
    sizes: list[int] = []
    for sequence in range(7, 11, 2):
        sizes.append(log.stat().st_size if log.exists() else 0)
        await journal.append(sequence, sequence + 1, payload(sequence))
    batches = [batch async for some in journal.read() for batch in some]
    whole, end = path.read_bytes(), log.read_bytes()
    await file.close()
    found: list[int] = []

    for cut in range(sizes[0], len(end) + 1):
        path.write_bytes(whole)
        log.write_bytes(end[:cut])
        kept = read_all(path, faulty.open)
        assert kept == batches[: len(kept)]
        found.append(len(kept))

    assert found == sorted(found)
    assert set(found) == {3, 4, 5}


async def test_file_cut_at_any_byte_of_its_last_records_is_named(tmp_path: Path, faulty: Any) -> None:
    path = tmp_path / "it-journal.sqlite"
    await write(path, 40, small_pages)
    whole = path.read_bytes()

    for cut in range(len(whole) - 2 * PAGE_BYTES, len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises((DamagedJournal, ConfigurationError), match=r"it-journal\.sqlite"):
            read_all(path, faulty.open)


async def test_file_cut_to_its_beginning_is_named(tmp_path: Path, faulty: Any) -> None:
    path = tmp_path / "it-journal.sqlite"
    await write(path, 4, small_pages)
    whole = path.read_bytes()

    for cut in [*range(2, PAGE_BYTES + 2), 2 * PAGE_BYTES, 3 * PAGE_BYTES - 1]:
        path.write_bytes(whole[:cut])
        with pytest.raises((DamagedJournal, ConfigurationError), match=r"it-journal\.sqlite"):
            read_all(path, faulty.open)


async def test_flipped_bit_anywhere_is_named_or_without_effect(tmp_path: Path, faulty: Any) -> None:
    path = tmp_path / "it-journal.sqlite"
    batches = await write(path, 12, small_pages)
    whole = path.read_bytes()
    chance = random.Random(5)
    named = 0

    for place in range(0, len(whole), 3):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            assert read_all(path, faulty.open) == batches
        except (DamagedJournal, ConfigurationError):
            named += 1

    assert named > len(whole) / 3 / 2


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE journal SET payload = CAST('x' || substr(payload, 2) AS BLOB) WHERE first_sequence = 5", "another"),
        (
            "UPDATE journal SET payload = CAST('no' || substr(payload, 3) AS BLOB) WHERE first_sequence = 7",
            "decompressed",
        ),
        ("UPDATE journal SET size = size - 1 WHERE first_sequence = 5", "bytes of payload"),
        ("UPDATE journal SET size = 4000000000 WHERE first_sequence = 7", "bytes of payload"),
        ("UPDATE journal SET last_sequence = 9 WHERE first_sequence = 5", "another"),
        ("UPDATE journal SET last_sequence = 4 WHERE first_sequence = 5", "before it begins"),
        ("UPDATE journal SET prev_hash = hash WHERE first_sequence = 5", "before it"),
        ("UPDATE journal SET hash = prev_hash WHERE first_sequence = 5", "another"),
        ("UPDATE journal SET payload = CAST(x'e1' AS TEXT) WHERE first_sequence = 5", "bytes of payload"),
        ("UPDATE journal SET size = CAST(x'e1' AS TEXT) WHERE first_sequence = 5", "bytes of payload"),
        ("UPDATE journal SET hash = CAST(x'e1' AS TEXT) WHERE first_sequence = 5", "another"),
        ("DELETE FROM journal WHERE first_sequence = 5", "missing"),
        ("DELETE FROM journal WHERE first_sequence >= 5", "missing"),
        ("UPDATE journal SET first_sequence = 6 WHERE first_sequence = 5", "missing"),
    ],
)
async def test_changed_batch_is_named(tmp_path: Path, sql: str, said: str) -> None:
    path = tmp_path / "it-journal.sqlite"
    await write(path, 6)

    change(path, sql)

    number = 7 if "= 7" in sql else 5
    message = damage_of(path)
    assert message is not None
    assert f"sequence {number} " in message
    assert said in message


async def test_swapped_batches_are_named(tmp_path: Path) -> None:
    path = tmp_path / "it-journal.sqlite"
    await write(path, 6)

    change(path, "UPDATE journal SET first_sequence = 1000 WHERE first_sequence = 3")
    change(path, "UPDATE journal SET first_sequence = 3, last_sequence = 4 WHERE first_sequence = 5")
    change(path, "UPDATE journal SET first_sequence = 5, last_sequence = 6 WHERE first_sequence = 1000")

    assert "sequence 3 does not carry the hash" in str(damage_of(path))


async def test_swapped_payloads_are_named(tmp_path: Path) -> None:
    path = tmp_path / "it-journal.sqlite"
    await write(path, 6)

    change(
        path,
        "UPDATE journal SET (payload, size) = (SELECT payload, size FROM journal AS other WHERE "
        "other.first_sequence = 8 - journal.first_sequence) WHERE first_sequence IN (3, 5)",
    )

    assert "sequence 3 is not what was written" in str(damage_of(path))


async def test_damaged_last_batch_is_told_by_those_who_go_on_from_it(tmp_path: Path) -> None:
    path = tmp_path / "it-journal.sqlite"
    await write(path, 3)
    change(path, "UPDATE journal SET hash = prev_hash WHERE first_sequence = 5")

    file = await JournalFile.open(path)
    journal = ConnectedJournal(lambda: file)

    with pytest.raises(DamagedJournal, match="sequence 5"):
        await journal.last_sequence()
    with pytest.raises(DamagedJournal, match="sequence 5"):
        await journal.append(7, 7, b"x")
    with pytest.raises(DamagedJournal, match="sequence 5"):
        _ = [batch async for some in journal.read(6) for batch in some]
    await file.close()


async def test_file_of_another_program_or_version_is_refused(tmp_path: Path) -> None:
    other, newer = tmp_path / "other.sqlite", tmp_path / "newer.sqlite"
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("CREATE TABLE theirs (x)")
    await write(newer, 1)
    with closing(sqlite3.connect(newer)) as connection, connection:
        connection.execute("PRAGMA user_version=2")

    with pytest.raises(ConfigurationError, match=r"other.sqlite is not a journal"):
        await JournalFile.open(other)
    with pytest.raises(ConfigurationError, match=r"newer.sqlite is a journal of version 2"):
        await JournalFile.open(newer)


def test_acknowledged_batches_are_there_after_the_process_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "it-journal.sqlite"
    reached = 0

    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", APPENDING, path], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            told = [process.stdout.readline() for _ in range(200)]
            process.kill()
            told += process.stdout.readlines()
        shutil.copytree(tmp_path, tmp_path / "copy", dirs_exist_ok=True)
        batches = read_all(tmp_path / "copy" / path.name)

        acknowledged = [int(line) for line in told if line.endswith("\n")]
        assert acknowledged == list(range(reached + 5, acknowledged[-1] + 1, 5))
        assert [batch.last_sequence for batch in batches] == list(range(5, batches[-1].last_sequence + 1, 5))
        # Up to eight batches were handed over and not acknowledged.
        assert acknowledged[-1] <= batches[-1].last_sequence <= acknowledged[-1] + 40
        reached = batches[-1].last_sequence
