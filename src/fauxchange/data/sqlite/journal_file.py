"""The journal's file: its schema, and how what is in it is read and checked.

A row is a batch. `size` is the length of its payload, which is stored compressed if it is shorter than that. Nothing
that is read is trusted: what SQLite finds malformed, a row of other types and a batch that does not go on from the one
before it are all a `DamagedJournal` that says where.
"""

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fauxchange.data.journal import GENESIS, READ_BYTES, Head, check_batch, damaged, ends_elsewhere
from fauxchange.data.ports import JournalBatch
from fauxchange.data.sqlite.files import Open, error_code, preparing, use_log
from fauxchange.domain.errors import ConfigurationError, DamagedJournal, Unavailable

APPLICATION_ID = 0x46584A4C
"""Marks the file as a journal: FXJL."""
JOURNAL_VERSION = 1

FENCE = "UPDATE journal_fence SET number = number + 1"

_SCHEMA = (
    """
    CREATE TABLE journal (
        first_sequence INTEGER PRIMARY KEY,
        last_sequence INTEGER NOT NULL,
        prev_hash TEXT NOT NULL,
        hash TEXT NOT NULL,
        size INTEGER NOT NULL,
        payload BLOB NOT NULL
    )
    """,
    "CREATE TABLE journal_fence (number INTEGER NOT NULL)",
    "INSERT INTO journal_fence VALUES (0)",
    f"PRAGMA application_id={APPLICATION_ID}",
    f"PRAGMA user_version={JOURNAL_VERSION}",
)
_AFTER = "SELECT * FROM journal WHERE first_sequence > ? ORDER BY first_sequence"
_UP_TO = "SELECT * FROM journal WHERE first_sequence <= ? ORDER BY first_sequence DESC LIMIT 1"

_AWAY = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
"""Results that say something of the disk or the moment, not of what is stored."""


def prepare_journal(path: Path, *, opener: Open) -> None:
    """Create the file, or check that it is a journal of our version, and put all that is in its log on the disk.

    Raises: ConfigurationError if it cannot be used as it is; Unavailable if another process keeps it locked
    """
    with preparing(path, opener=opener) as connection:
        use_log(path, connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        marked = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if empty and (marked, version) == (0, 0):
            for statement in _SCHEMA:
                connection.execute(statement)
        elif marked != APPLICATION_ID:
            raise ConfigurationError(f"{path} is not a journal of the exchange; choose another data folder")
        elif version != JOURNAL_VERSION:
            raise ConfigurationError(
                f"{path} is a journal of version {version}, and this program knows {JOURNAL_VERSION}; "
                "use the program that wrote it or choose another data folder"
            )
        else:
            connection.execute(FENCE)
        connection.execute("COMMIT")


def read_head(path: Path, connection: sqlite3.Connection) -> Head:
    """Return where the chain has got to. Raises: DamagedJournal, Unavailable."""
    with _reading(path, "the last batch"):
        rows = connection.execute(_UP_TO, (2**63 - 1,)).fetchall()
    if not rows:
        return GENESIS
    batch = _batch(path, GENESIS, rows[0])
    return check_batch(str(path), Head(batch.first_sequence - 1, batch.prev_hash), batch)


def read_place(path: Path, connection: sqlite3.Connection, after_sequence: int) -> Head:
    """Return the head that the batch ending with `after_sequence` led to; 0 is before the first one.

    Raises: DamagedJournal if no batch ends with it; Unavailable
    """
    if after_sequence == 0:
        return GENESIS
    with _reading(path, f"the batch that ends with sequence {after_sequence}"):
        rows = connection.execute(_UP_TO, (after_sequence,)).fetchall()
    if not rows:
        raise ends_elsewhere(str(path), 0, after_sequence)
    batch = _batch(path, GENESIS, rows[0])
    if batch.last_sequence != after_sequence:
        raise ends_elsewhere(str(path), batch.last_sequence, after_sequence)
    return check_batch(str(path), Head(batch.first_sequence - 1, batch.prev_hash), batch)


def read_some(path: Path, connection: sqlite3.Connection, head: Head) -> tuple[list[JournalBatch], Head]:
    """Return about `READ_BYTES` of batches that go on from `head`, checked, and the head they lead to.

    Raises: DamagedJournal, Unavailable
    """
    batches: list[JournalBatch] = []
    size = 0
    with _reading(path, f"what follows sequence {head.sequence}"):
        cursor = connection.execute(_AFTER, (head.sequence,))
        try:
            for row in cursor:
                batch = _batch(path, head, row)
                head = check_batch(str(path), head, batch)
                batches.append(batch)
                size += len(batch.payload)
                if size >= READ_BYTES:
                    break
        finally:
            # A cursor left open would keep its view of the file, and the log from being emptied.
            cursor.close()
    return batches, head


def _batch(path: Path, head: Head, row: tuple[object, ...]) -> JournalBatch:
    """Return the batch of a row. Raises: DamagedJournal if a column is of another type, or the payload unreadable."""
    first, last, prev_hash, own, size, stored = row
    begins = first if type(first) is int else head.sequence + 1
    if not (
        type(first) is int
        and type(last) is int
        and type(size) is int
        and isinstance(prev_hash, str)
        and isinstance(own, str)
        and isinstance(stored, bytes)
    ):
        raise damaged(str(path), begins, "has values of other types than were written")
    if len(stored) < size:
        try:
            inflate = zlib.decompressobj()
            # No more than should come out, so that a damaged size or payload cannot fill the memory.
            stored = inflate.decompress(stored, size)
        except zlib.error as exc:
            raise damaged(str(path), begins, "cannot be decompressed") from exc
    if len(stored) != size:
        raise damaged(str(path), begins, f"has {len(stored)} bytes of payload instead of {size}")
    return JournalBatch(first, last, stored, prev_hash, own)


@contextmanager
def _reading(path: Path, place: str) -> Iterator[None]:
    """Translate what SQLite says while `place` is read."""
    try:
        yield
    except sqlite3.Error as exc:
        short = getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_SHORT_READ
        if error_code(exc) in _AWAY and not short:
            raise Unavailable(f"the journal {path} cannot be read: {exc}") from exc
        raise DamagedJournal(
            f"the journal {path} is damaged: {place} cannot be read ({exc})", details={"file": str(path)}
        ) from exc
