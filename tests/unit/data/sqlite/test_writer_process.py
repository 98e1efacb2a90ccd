"""Files written by processes of their own: what they store, what happens when they die, and when their masters do."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from fauxchange.data.connected_journal import ConnectedJournal
from fauxchange.data.ports import LedgerQuery, OrderQuery, Projection
from fauxchange.data.sqlite import lanes
from fauxchange.data.sqlite.adapter import SqliteDataAdapter
from fauxchange.data.sqlite.journal import JournalFile
from fauxchange.data.sqlite.lanes import KEPT_BYTES, READ_BYTES, Frames, ProcessLane, framed, hold
from fauxchange.domain.errors import Conflict, InvariantViolation, Unavailable
from fauxchange.domain.order_columns import LEDGER_COLUMNS, ORDER_COLUMNS, LedgerRows, RestingOrders
from fauxchange.domain.trail import GENESIS, OpenBlock, Records
from fauxchange.platform.ports import DependencyStatus

DEADLINE_S = 30.0

APPENDING = """
import asyncio, sys
from pathlib import Path

from fauxchange.data.sqlite.journal import JournalFile


async def main():
    file = await JournalFile.open(Path(sys.argv[1]), own_process=True)
    sys.stdout.write(f"writer {file.writer._lane.pid}\\n")

    def done(sequence, failure):
        assert failure is None, failure
        sys.stdout.write(f"{sequence}\\n")
        sys.stdout.flush()
        append(sequence + 8)

    def append(sequence):
        file.writer.append_soon(sequence, sequence, b"%d" % sequence * 50, lambda failure: done(sequence, failure))

    last = await file.writer.last_sequence()
    for sequence in range(last + 1, last + 9):
        append(sequence)
    await asyncio.Event().wait()


asyncio.run(main())
"""


async def until(condition: Callable[[], bool]) -> None:
    """Let others go on until something is so."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - another process changes it, which sets no event here
            await asyncio.sleep(0.005)


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[JournalFile]:
    file = await JournalFile.open(tmp_path / "journal.sqlite", own_process=True, probe_interval_s=0.02)
    yield file
    await file.close()


@pytest.fixture
def journal(file: JournalFile) -> ConnectedJournal:
    return ConnectedJournal(lambda: file)


def writer_of(file: JournalFile) -> int:
    lane = file.writer._lane
    assert isinstance(lane, ProcessLane)
    assert lane.pid is not None
    return lane.pid


async def sequences(journal: ConnectedJournal) -> list[int]:
    return [batch.last_sequence async for some in journal.read() for batch in some]


async def test_what_a_process_stores_is_read_here(journal: ConnectedJournal) -> None:
    await journal.append(1, 3, b"first")
    await asyncio.gather(*(journal.append(sequence, sequence, b"x" * 2_000) for sequence in range(4, 60)))

    with pytest.raises(Conflict):
        await journal.append(9, 9, b"not the next one")

    assert await journal.last_sequence() == 59
    assert await sequences(journal) == [3, *range(4, 60)]


async def test_jobs_larger_than_the_socket_takes_at_once_arrive_whole(journal: ConnectedJournal) -> None:
    payloads = [os.urandom(3_000_000) for _ in range(4)]

    await asyncio.gather(*(journal.append(index, index, payload) for index, payload in enumerate(payloads, 1)))

    assert [batch.payload async for some in journal.read() for batch in some] == payloads


async def test_a_dead_process_fails_what_waited_and_the_next_one_tells_what_is_stored(
    file: JournalFile, journal: ConnectedJournal
) -> None:
    await journal.append(1, 1, b"stored")
    dead = writer_of(file)
    os.kill(dead, signal.SIGSTOP)
    waiting = asyncio.ensure_future(journal.append(2, 2, b"handed over"))
    await asyncio.sleep(0)
    os.kill(dead, signal.SIGKILL)

    with pytest.raises(Unavailable):
        await waiting
    assert file.health().status is DependencyStatus.DOWN

    last = await journal.last_sequence()
    await journal.append(last + 1, last + 1, b"goes on")

    assert last == 1
    assert writer_of(file) != dead
    assert file.health().status is DependencyStatus.OK
    assert await sequences(journal) == [1, 2]


async def test_a_full_disk_refuses_and_is_noticed_when_it_has_room_again(
    file: JournalFile, journal: ConnectedJournal
) -> None:
    await journal.append(1, 1, b"stored")
    writer = writer_of(file)
    # No file of the process may grow beyond 4 KiB, which its log has reached already.
    resource.prlimit(writer, resource.RLIMIT_FSIZE, (4_096, resource.RLIM_INFINITY))

    with pytest.raises(Unavailable):
        await journal.append(2, 2, b"no room" * 1_000)
    assert file.health().status is DependencyStatus.DOWN

    resource.prlimit(writer, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await until(lambda: file.health().status is DependencyStatus.OK)
    assert await journal.last_sequence() == 1
    await journal.append(2, 2, b"room")
    assert await sequences(journal) == [1, 2]


async def test_signals_to_the_group_are_for_the_master(file: JournalFile, journal: ConnectedJournal) -> None:
    await journal.append(1, 1, b"before")
    writer = writer_of(file)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(writer, number)
    await journal.append(2, 2, b"after")

    assert writer_of(file) == writer


async def test_closing_finishes_what_was_handed_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    file = await JournalFile.open(path, own_process=True)
    outcomes: list[Exception | None] = []
    for sequence in range(1, 101):
        file.writer.append_soon(sequence, sequence, b"y" * 50_000, outcomes.append)
    writer = writer_of(file)

    await file.close()

    assert outcomes == [None] * 100
    assert not _runs(writer)
    assert sorted(os.listdir(tmp_path)) == ["journal.sqlite", "journal.sqlite.lock"]
    again = await JournalFile.open(path)
    assert (await sequences(ConnectedJournal(lambda: again)))[-1] == 100
    await again.close()


async def test_closing_ends_a_process_that_does_not_end_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "CLOSE_TIMEOUT_S", 0.1)
    file = await JournalFile.open(tmp_path / "journal.sqlite", own_process=True)
    lane = file.writer._lane
    assert isinstance(lane, ProcessLane)
    pid = lane.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)

    async with asyncio.timeout(DEADLINE_S):
        await file.close()

    assert lane.pid is None
    os.close(await hold(tmp_path / "journal.sqlite"))


def test_a_killed_master_leaves_what_it_acknowledged_and_no_process(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    acknowledged = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", APPENDING, str(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            writer = int(process.stdout.readline().split()[1])
            told = [process.stdout.readline() for _ in range(100)]
            process.kill()
            told += process.stdout.readlines()
        acknowledged = max(int(line) for line in told if line.endswith("\n"))
        # Whoever holds the file knows that its writer is gone.
        os.close(asyncio.run(hold(path)))
        assert not _runs(writer)

        stored = asyncio.run(_stored(path))

        assert stored == list(range(1, len(stored) + 1))
        # Up to eight were handed over and not acknowledged.
        assert acknowledged <= len(stored) <= acknowledged + 8


def _runs(pid: int) -> bool:
    """Say whether a process runs; one that nobody has waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}


async def _stored(path: Path) -> list[int]:
    file = await JournalFile.open(path)
    stored = await sequences(ConnectedJournal(lambda: file))
    await file.close()
    return stored


async def test_a_file_has_one_holder_and_who_waits_too_long_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "LOCK_TIMEOUT_S", 0.02)
    lock = await hold(tmp_path / "journal.sqlite")

    with pytest.raises(Unavailable, match="another process writes"):
        await hold(tmp_path / "journal.sqlite")

    os.close(lock)
    os.close(await hold(tmp_path / "journal.sqlite"))


def block(first: int, last: int) -> OpenBlock:
    count = last - first + 1
    records = Records(bytes(8 * count), [b"z" * 400_000] * count, b"", [0] * (count + 1))
    return OpenBlock(
        width=1, event_width=1, first_sequence=first, last_sequence=last, first_ns=1, last_ns=2, parts=[records]
    )


async def test_read_models_are_stored_by_a_process_and_read_here(tmp_path: Path) -> None:
    data = SqliteDataAdapter(tmp_path / "fauxchange.sqlite", own_processes=True)
    await data.connect()

    await data.exchange.store(Projection(sequence=5, document={"a": 1}, trail=[block(1, 5)]))
    await data.exchange.store(Projection(sequence=9, document={"a": 2}, trail=[block(6, 9)]))

    assert await data.exchange.position() == (9, {"a": 2})
    first = block(1, 5).pack(GENESIS)
    assert await data.exchange.trail(1, 10) == [first, block(6, 9).pack(bytes.fromhex(first.hash))]
    await data.exchange.clear()
    assert await data.exchange.position() == (0, {})
    await data.disconnect()


async def test_a_read_model_process_that_dies_is_replaced(tmp_path: Path) -> None:
    data = SqliteDataAdapter(tmp_path / "fauxchange.sqlite", own_processes=True)
    await data.connect()
    assert data._database is not None
    transactions = data._database._transactions
    assert transactions is not None
    lane = transactions._lane
    assert lane.pid is not None
    os.kill(lane.pid, signal.SIGSTOP)
    storing = asyncio.ensure_future(data.exchange.store(Projection(sequence=5, document={})))
    await until(lambda: bool(transactions._waiting))
    os.kill(lane.pid, signal.SIGKILL)

    with pytest.raises(Unavailable):
        await storing
    assert data.health()["sqlite"].status is DependencyStatus.DOWN

    await data.exchange.store(Projection(sequence=5, document={}))
    assert data.health()["sqlite"].status is DependencyStatus.OK
    assert (await data.exchange.position())[0] == 5
    await data.disconnect()


async def test_a_number_that_no_column_holds_is_refused_and_the_process_goes_on(tmp_path: Path) -> None:
    data = SqliteDataAdapter(tmp_path / "fauxchange.sqlite", own_processes=True)
    await data.connect()
    assert data._database is not None
    transactions = data._database._transactions
    assert transactions is not None
    pid = transactions._lane.pid

    with pytest.raises(InvariantViolation, match="too large"):
        await transactions.carry_out(lambda executor: executor.execute("SELECT :number", {"number": 2**70}))
    await data.exchange.store(Projection(sequence=5, document={}))

    assert transactions._lane.pid == pid
    await data.disconnect()


async def test_columns_are_stored_by_a_process_as_the_records_that_they_stand_for(tmp_path: Path) -> None:
    data = SqliteDataAdapter(tmp_path / "fauxchange.sqlite", own_processes=True)
    await data.connect()
    numbers = np.arange(3 * len(ORDER_COLUMNS), dtype=np.int64).reshape(3, -1)
    numbers[:, ORDER_COLUMNS.index("order_id")] = (1, 2, 3)
    numbers[:, ORDER_COLUMNS.index("instrument")] = (0, 1, 0)
    numbers[:, ORDER_COLUMNS.index("post_only")] = (1, 0, 1)
    orders = RestingOrders(numbers, ["mine", None, "yours"], ["BTC/USD", "ETH/USD"])
    postings = np.arange(2 * len(LEDGER_COLUMNS), dtype=np.int64).reshape(2, -1)
    postings[:, LEDGER_COLUMNS.index("account")] = 1
    postings[:, LEDGER_COLUMNS.index("asset")] = (1, 0)
    rows = LedgerRows(postings, ["BTC", "USD"])

    await data.exchange.store(Projection(sequence=5, document={}, resting=[orders], postings=[rows]))

    assert (await data.exchange.orders(OrderQuery(oldest_first=True))).items == list(orders.records())
    assert (await data.exchange.ledger(LedgerQuery(account=1, oldest_first=True))).items == list(rows.entries())
    await data.disconnect()


async def test_columns_that_do_not_fit_together_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    data = SqliteDataAdapter(tmp_path / "fauxchange.sqlite", own_processes=True)
    await data.connect()
    numbers = np.zeros((2, len(ORDER_COLUMNS)), dtype=np.int64)
    numbers[:, ORDER_COLUMNS.index("order_id")] = (1, 2)

    with pytest.raises(InvariantViolation):
        await data.exchange.store(
            Projection(sequence=5, document={}, resting=[RestingOrders(numbers, ["mine"], ["BTC/USD"])])
        )

    assert (await data.exchange.orders(OrderQuery())).items == []
    assert (await data.exchange.position())[0] == 0
    await data.disconnect()


def came(frames: Frames, data: bytes) -> list[object]:
    """Return what the frames say that are whole with these bytes, which come in as many pieces as they have to."""
    told: list[object] = []
    while data:
        room = frames.room()
        taken = min(len(room), len(data))
        room[:taken] = data[:taken]
        room.release()
        told += frames.take(taken)
        data = data[taken:]
    return told


def test_frames_are_taken_when_they_are_whole() -> None:
    one, two = b"".join(framed("one")), b"".join(framed(None))
    frames = Frames()

    assert came(frames, one + two + one[:5]) == ["one", None]
    assert came(frames, one[5:]) == ["one"]
    assert came(frames, one[:1]) == []
    assert came(frames, one[1:6]) == []
    assert came(frames, one[6:] + two) == ["one", None]


def test_frames_larger_than_the_memory_for_them_are_taken_whole_and_it_is_given_back() -> None:
    large = bytes(range(256)) * (KEPT_BYTES // 256) + b"end"
    frames = Frames()

    assert came(frames, b"".join([*framed("before"), *framed(large), *framed("behind")])) == ["before", large, "behind"]
    assert came(frames, b"".join(framed("later"))) == ["later"]
    assert len(frames.room()) == READ_BYTES
