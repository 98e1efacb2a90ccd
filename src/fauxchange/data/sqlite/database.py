"""One SQLite file: opened and checked, read by a few threads, written by one.

The file is in WAL mode, so readers and the writer do not wait for each other. Pages freed by deletions are used again
by later rows: the file grows to what the retention settings keep and stays there; it never shrinks by itself.
"""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from fauxchange.data.sqlite.files import BUSY_TIMEOUT_MS, Open, open_connection, preparing, use_log
from fauxchange.data.sqlite.lanes import hold
from fauxchange.data.sqlite.migrations import MIGRATIONS
from fauxchange.data.sqlite.statements import SqliteStatement, create
from fauxchange.data.sqlite.transactions import Executor, TransactionLane
from fauxchange.data.sqlite.writer import MAX_WAITING_ROWS, PROBE_INTERVAL_S, SqliteWriter
from fauxchange.data.tables import METADATA, ONLY_POSTGRESQL, SCHEMA_VERSION, schema_version
from fauxchange.domain.errors import ConfigurationError, Unavailable
from fauxchange.platform.ports import DependencyHealth, DependencyStatus

Result = TypeVar("Result")
__all__ = ["Open", "SqliteDatabase", "open_connection"]

READERS = 2
WRITER_CACHE_KIB = 32_768


class SqliteDatabase:
    """A connected file. Make one with `open`, in the event loop that will use it."""

    def __init__(
        self, path: Path, opener: Open, *, max_waiting_rows: int, probe_interval_s: float, lock: int | None
    ) -> None:
        self._path = path
        self._opener = opener
        self._local = threading.local()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="fauxchange-sqlite-reader")
        self._reading: set[sqlite3.Connection] = set()
        self._read_problem: str | None = None
        self._writer = SqliteWriter(
            str(path), self._open_writer, max_waiting_rows=max_waiting_rows, probe_interval_s=probe_interval_s
        )
        self._transactions = (
            None if lock is None else TransactionLane(path, lock=lock, probe_interval_s=probe_interval_s)
        )

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        opener: Open = open_connection,
        max_waiting_rows: int = MAX_WAITING_ROWS,
        probe_interval_s: float = PROBE_INTERVAL_S,
        own_process: bool = False,
    ) -> "SqliteDatabase":
        """Create the file or check that it is ours, then start the threads, and the process that transacts if wanted.

        Raises: ConfigurationError if it cannot be used as it is; Unavailable if another process keeps it locked
        """
        lock: int | None = None
        try:
            if own_process:
                lock = await hold(path)
            await asyncio.to_thread(_prepare, path)
            return cls(path, opener, max_waiting_rows=max_waiting_rows, probe_interval_s=probe_interval_s, lock=lock)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise

    async def read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run `work` on a reading connection in a thread.

        Raises: Unavailable if the store fails or is closed; what `work` raises
        """
        try:
            reading = asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)
        except RuntimeError as exc:
            raise Unavailable(f"the database {self._path} is closed", retryable=False) from exc
        return await reading

    async def write(
        self, work: Callable[[sqlite3.Connection], Result], *, rows: int = 1, durable: bool = False
    ) -> Result:
        """Run `work`, which changes the file with one statement, in the writing thread; see `SqliteWriter.write`."""
        return await self._writer.write(work, rows=rows, durable=durable)

    async def transact(self, work: Callable[[Executor], None], *, rows: int) -> None:
        """Carry out what `work` executes in one transaction: in the process for that, if there is one.

        Raises: Unavailable if the store fails or is closed; what `work` raises
        """
        if self._transactions is None:
            await self._writer.write(partial(_in_transaction, work), rows=rows)
            return
        await self._transactions.carry_out(work)

    @property
    def waiting_rows(self) -> int:
        """How many rows are accepted and not yet stored."""
        return self._writer.waiting_rows

    def health(self) -> DependencyHealth:
        """Return `down` while writes fail, `degraded` while only reads do."""
        if self._writer.problem is not None:
            return DependencyHealth(DependencyStatus.DOWN, f"{self._path}: {self._writer.problem}")
        if self._transactions is not None and self._transactions.problem is not None:
            return DependencyHealth(DependencyStatus.DOWN, f"{self._path}: {self._transactions.problem}")
        if self._read_problem is not None:
            return DependencyHealth(DependencyStatus.DEGRADED, f"{self._path}: {self._read_problem}")
        return DependencyHealth(DependencyStatus.OK)

    async def close(self) -> None:
        """Finish what was accepted, empty the log into the file and close it."""
        await asyncio.to_thread(self._readers.shutdown)
        for connection in self._reading:
            connection.close()
        self._reading.clear()
        if self._transactions is not None:
            await self._transactions.close()
        await self._writer.close()

    def _read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        try:
            if connection is None:
                connection = self._open_reader()
                self._local.connection = connection
            result = work(connection)
        except sqlite3.Error as exc:
            self._read_problem = str(exc)
            self._local.connection = None
            if connection is not None:
                self._reading.discard(connection)
                connection.close()
            raise Unavailable(f"the database {self._path} cannot be read: {exc}") from exc
        self._read_problem = None
        return result

    def _open_reader(self) -> sqlite3.Connection:
        connection = self._opener(self._path)
        self._reading.add(connection)
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA query_only=ON")
        return connection

    def _open_writer(self) -> sqlite3.Connection:
        connection = self._opener(self._path)
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        # The indexes of a million orders are larger than the usual 2 MB, and are written all over.
        connection.execute(f"PRAGMA cache_size=-{WRITER_CACHE_KIB}")
        # A log that a long reader has let grow is cut back once it is done with.
        connection.execute("PRAGMA journal_size_limit=67108864")
        return connection


def _in_transaction(work: Callable[[Executor], None], connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        work(connection)
        connection.execute("COMMIT")
    except BaseException:
        # A failing commit may have rolled back already; and the connection is needed by whoever comes next.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _prepare(path: Path) -> None:
    """Create the tables in a new file, or check that an old one is whole and bring it up to our version."""
    with preparing(path) as connection:
        use_log(path, connection)
        connection.execute("BEGIN IMMEDIATE")
        _prepare_schema(path, connection)
        connection.execute("COMMIT")


def _prepare_schema(path: Path, connection: sqlite3.Connection) -> None:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        for table in METADATA.sorted_tables:
            if table.info != ONLY_POSTGRESQL:
                create(connection, table)
        SqliteStatement(schema_version.insert().values(version=SCHEMA_VERSION)).execute(connection)
    elif schema_version.name not in tables:
        raise ConfigurationError(f"{path} is another program's database; choose another data folder")
    else:
        version = _checked_version(path, connection.execute("SELECT version FROM schema_version").fetchall())
        for step in MIGRATIONS[version - 1 :]:
            step(connection)
        if version < SCHEMA_VERSION:
            SqliteStatement(schema_version.update().values(version=SCHEMA_VERSION)).execute(connection)


def _checked_version(path: Path, rows: list[tuple[int]]) -> int:
    version = rows[0][0] if len(rows) == 1 else None
    if isinstance(version, int) and 1 <= version <= SCHEMA_VERSION:
        return version
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"{path} was written by a newer version (its schema is {version}, this program knows {SCHEMA_VERSION}); "
            "update the program or choose another data folder"
        )
    raise ConfigurationError(f"{path} has no known schema version ({version}); move it away or choose another folder")


Connected = Callable[[], SqliteDatabase]
"""Returns the open database. Raises: Unavailable while there is none."""
