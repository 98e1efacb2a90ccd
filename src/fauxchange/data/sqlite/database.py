"""One SQLite file: opened and checked, read by a few threads, written by one.

The file is in WAL mode, so readers and the writer do not wait for each other. Pages freed by deletions are used again
by later rows: the file grows to what the retention settings keep and stays there; it never shrinks by itself.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

from sqlalchemy.schema import CreateTable

from fauxchange.data.sqlite.statements import SqliteStatement, ddl
from fauxchange.data.sqlite.writer import MAX_WAITING_ROWS, PROBE_INTERVAL_S, SqliteWriter
from fauxchange.data.tables import METADATA, SCHEMA_VERSION, schema_version
from fauxchange.domain.errors import ConfigurationError, Unavailable
from fauxchange.platform.ports import DependencyHealth, DependencyStatus

Result = TypeVar("Result")
Open = Callable[[Path], sqlite3.Connection]

READERS = 2
BUSY_TIMEOUT_MS = 5_000

_BROKEN = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})


def open_connection(path: Path) -> sqlite3.Connection:
    """Open the file, which must exist, for use by one thread at a time; transactions are begun by hand."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
    )


class SqliteDatabase:
    """A connected file. Make one with `open`, in the event loop that will use it."""

    def __init__(self, path: Path, opener: Open, *, max_waiting_rows: int, probe_interval_s: float) -> None:
        self._path = path
        self._opener = opener
        self._local = threading.local()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="fauxchange-sqlite-reader")
        self._reading: set[sqlite3.Connection] = set()
        self._read_problem: str | None = None
        self._writer = SqliteWriter(
            str(path), self._open_writer, max_waiting_rows=max_waiting_rows, probe_interval_s=probe_interval_s
        )

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        opener: Open = open_connection,
        max_waiting_rows: int = MAX_WAITING_ROWS,
        probe_interval_s: float = PROBE_INTERVAL_S,
    ) -> "SqliteDatabase":
        """Create the file or check that it is ours, then start the threads.

        Raises: ConfigurationError if it cannot be used as it is; Unavailable if another process keeps it locked
        """
        await asyncio.to_thread(_prepare, path)
        return cls(path, opener, max_waiting_rows=max_waiting_rows, probe_interval_s=probe_interval_s)

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

    @property
    def waiting_rows(self) -> int:
        """How many rows are accepted and not yet stored."""
        return self._writer.waiting_rows

    def health(self) -> DependencyHealth:
        """Return `down` while writes fail, `degraded` while only reads do."""
        if self._writer.problem is not None:
            return DependencyHealth(DependencyStatus.DOWN, f"{self._path}: {self._writer.problem}")
        if self._read_problem is not None:
            return DependencyHealth(DependencyStatus.DEGRADED, f"{self._path}: {self._read_problem}")
        return DependencyHealth(DependencyStatus.OK)

    async def close(self) -> None:
        """Finish what was accepted, empty the log into the file and close it."""
        await asyncio.to_thread(self._readers.shutdown)
        for connection in self._reading:
            connection.close()
        self._reading.clear()
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
        # A log that a long reader has let grow is cut back once it is done with.
        connection.execute("PRAGMA journal_size_limit=67108864")
        return connection


def _prepare(path: Path) -> None:
    """Create the tables in a new file, or check that an old one is whole and of our version."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.touch(mode=0o600, exist_ok=False)
        with closing(open_connection(path)) as connection:
            connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            _prepare_schema(path, connection)
    except OSError as exc:
        raise ConfigurationError(
            f"the data folder {path.parent} cannot be used: {exc.strerror}; choose another folder or its permissions"
        ) from exc
    except sqlite3.DatabaseError as exc:
        if exc.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise Unavailable(f"the database {path} is locked by another process") from exc
        reason = "is damaged or no SQLite database" if exc.sqlite_errorcode & 0xFF in _BROKEN else "cannot be opened"
        raise ConfigurationError(
            f"{path} {reason} ({exc}); move it away to start with an empty one, restore it from a copy, "
            "or choose another data folder"
        ) from exc


def _prepare_schema(path: Path, connection: sqlite3.Connection) -> None:
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise ConfigurationError(f"the file system of {path} has no shared memory; put the data folder on a local disk")
    connection.execute("BEGIN IMMEDIATE")
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        for table in METADATA.sorted_tables:
            connection.execute(ddl(CreateTable(table)))
        SqliteStatement(schema_version.insert().values(version=SCHEMA_VERSION)).execute(connection)
    elif schema_version.name not in tables:
        raise ConfigurationError(f"{path} is another program's database; choose another data folder")
    else:
        _check_version(path, connection.execute("SELECT version FROM schema_version").fetchall())
    connection.execute("COMMIT")


def _check_version(path: Path, rows: list[tuple[int]]) -> None:
    version = rows[0][0] if rows else None
    if version == SCHEMA_VERSION:
        return
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"{path} was written by a newer version (its schema is {version}, this program knows {SCHEMA_VERSION}); "
            "update the program or choose another data folder"
        )
    raise ConfigurationError(f"{path} has no known schema version ({version}); move it away or choose another folder")
