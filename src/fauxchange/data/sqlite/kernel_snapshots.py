"""Snapshots of the kernel's state in a SQLite file of their own, so that a large one holds up nobody's commit.

A payload is stored in parts: SQLite bounds the length of a value, and a part is bound under the interpreter lock. The
file keeps a rollback journal rather than a log: what is added to it is then written once, not twice.
"""

import asyncio
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from fauxchange.data.journal import SNAPSHOTS_KEPT
from fauxchange.data.ports import KernelSnapshot
from fauxchange.data.sqlite.files import BUSY_TIMEOUT_MS, Open, error_code, open_connection, preparing
from fauxchange.domain.errors import ConfigurationError, Unavailable
from fauxchange.platform.logging import get_logger

_log = get_logger(__name__)

Result = TypeVar("Result")

APPLICATION_ID = 0x46585353
"""Marks the file as one of snapshots: FXSS."""
SNAPSHOTS_VERSION = 1
PART_BYTES = 256 * 1024

_SCHEMA = (
    """
    CREATE TABLE snapshots (
        sequence INTEGER PRIMARY KEY,
        ts_ns INTEGER NOT NULL,
        state_hash TEXT NOT NULL,
        size INTEGER NOT NULL,
        checksum INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE snapshot_parts (
        sequence INTEGER NOT NULL,
        part INTEGER NOT NULL,
        payload BLOB NOT NULL,
        PRIMARY KEY (sequence, part)
    )
    """,
    f"PRAGMA application_id={APPLICATION_ID}",
    f"PRAGMA user_version={SNAPSHOTS_VERSION}",
)

_FORGET = "DELETE FROM snapshots WHERE sequence NOT IN (SELECT sequence FROM snapshots ORDER BY sequence DESC LIMIT ?)"


class SnapshotFile:
    """A connected file of snapshots. Make one with `open`."""

    def __init__(self, path: Path, opener: Open) -> None:
        self._path = path
        self._opener = opener
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fauxchange-snapshots")

    @classmethod
    async def open(cls, path: Path, *, opener: Open = open_connection) -> "SnapshotFile":
        """Create the file or check that it is ours, then start the thread.

        Raises: ConfigurationError if it cannot be used as it is; Unavailable if another process keeps it locked
        """
        await asyncio.to_thread(_prepare, path, opener)
        return cls(path, opener)

    async def run(self, work: Callable[[Path, sqlite3.Connection], Result]) -> Result:
        """Run `work` on a connection of its own in the thread. Raises: Unavailable."""
        try:
            running = asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)
        except RuntimeError as exc:
            raise Unavailable(f"the database {self._path} is closed", retryable=False) from exc
        return await running

    async def close(self) -> None:
        """Finish what was accepted."""
        await asyncio.to_thread(self._thread.shutdown)

    def _run(self, work: Callable[[Path, sqlite3.Connection], Result]) -> Result:
        try:
            with closing(self._opener(self._path)) as connection:
                connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
                connection.execute("PRAGMA synchronous=FULL")
                return work(self._path, connection)
        except sqlite3.Error as exc:
            raise Unavailable(f"the database {self._path} cannot be used: {exc}") from exc


class SqliteKernelSnapshots:
    """The newest few snapshots of the kernel's state."""

    def __init__(self, connected: Callable[[], SnapshotFile]) -> None:
        self._connected = connected

    async def save(self, snapshot: KernelSnapshot) -> None:
        """Store a snapshot durably and forget those that are too old."""
        await self._connected().run(partial(_save, snapshot=snapshot))

    async def newest(self, at_most: int | None = None) -> KernelSnapshot | None:
        """Return the snapshot of the highest sequence, or the highest one up to `at_most`.

        One that is damaged is passed over: an older one, or the journal from its beginning, leads to the same state.
        """
        return await self._connected().run(partial(_newest, at_most=2**63 - 1 if at_most is None else at_most))

    async def all(self) -> Sequence[tuple[int, str]]:
        """Return sequence and state hash of every snapshot kept, oldest first."""
        return await self._connected().run(_all)


def _prepare(path: Path, opener: Open) -> None:
    with preparing(path, opener=opener) as connection:
        connection.execute("BEGIN IMMEDIATE")
        marked = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if empty and (marked, version) == (0, 0):
            for statement in _SCHEMA:
                connection.execute(statement)
        elif (marked, version) != (APPLICATION_ID, SNAPSHOTS_VERSION):
            raise ConfigurationError(f"{path} does not hold snapshots of our version; move it away: they are made anew")
        connection.execute("COMMIT")


def _save(_path: Path, connection: sqlite3.Connection, *, snapshot: KernelSnapshot) -> None:
    payload = memoryview(snapshot.payload)
    parts = ((snapshot.sequence, part, payload[start:end]) for part, start, end in _parts(len(payload)))
    row = (snapshot.sequence, snapshot.ts_ns, snapshot.state_hash, len(payload), zlib.crc32(payload))
    with _transaction(connection):
        connection.execute("DELETE FROM snapshot_parts WHERE sequence = ?", (snapshot.sequence,))
        connection.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?)", row)
        connection.executemany("INSERT INTO snapshot_parts VALUES (?, ?, ?)", parts)
        connection.execute(_FORGET, (SNAPSHOTS_KEPT,))
        connection.execute("DELETE FROM snapshot_parts WHERE sequence NOT IN (SELECT sequence FROM snapshots)")


def _newest(path: Path, connection: sqlite3.Connection, *, at_most: int) -> KernelSnapshot | None:
    choice = "SELECT sequence, ts_ns, state_hash, size, checksum FROM snapshots WHERE sequence <= ? ORDER BY 1 DESC"
    for sequence, ts_ns, state_hash, size, checksum in connection.execute(choice, (at_most,)).fetchall():
        payload = _payload(connection, sequence)
        if payload is not None and len(payload) == size and zlib.crc32(payload) == checksum:
            return KernelSnapshot(sequence, ts_ns, state_hash, payload)
        _log.error("snapshot is damaged and is passed over", file=str(path), sequence=sequence)
    return None


def _payload(connection: sqlite3.Connection, sequence: int) -> bytes | None:
    """Return the parts of a snapshot together, None if SQLite finds its own pages malformed."""
    parts = "SELECT CAST(payload AS BLOB) FROM snapshot_parts WHERE sequence = ? ORDER BY part"
    try:
        return b"".join(part for (part,) in connection.execute(parts, (sequence,)))
    except sqlite3.DatabaseError as exc:
        if error_code(exc) != sqlite3.SQLITE_CORRUPT:
            raise
        return None


def _all(_path: Path, connection: sqlite3.Connection) -> list[tuple[int, str]]:
    return connection.execute("SELECT sequence, state_hash FROM snapshots ORDER BY sequence").fetchall()


def _parts(size: int) -> Iterator[tuple[int, int, int]]:
    for part, start in enumerate(range(0, size, PART_BYTES)):
        yield part, start, start + PART_BYTES


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    # What is not committed is undone when the connection is closed, which follows every failure.
    yield
    connection.execute("COMMIT")
