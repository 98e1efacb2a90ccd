"""The journal's file: its schema, and how what is in it is read and checked.

A row is a batch. `size` is the length of its payload, which is stored compressed if it is shorter than that. Nothing
that is read is trusted: what SQLite finds malformed, a row of other types and a batch that does not go on from the one
before it are all a `DamagedJournal` that says where.
"""

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

from fauxchange.data.journal import GENESIS, READ_BYTES, Head, check_batch, damaged, ends_elsewhere
from fauxchange.data.ports import JournalBatch
from fauxchange.data.sqlite.files import Open, error_code, preparing, use_log
from fauxchange.domain.errors import ConfigurationError, DamagedJournal, FauxchangeError, Unavailable

APPLICATION_ID = 0x46584A4C
"""Marks the file as a journal: FXJL."""
JOURNAL_VERSION = 1

FENCE = "UPDATE journal_end SET fences = fences + 1"
"""A write that changes nothing of the journal, and puts on the disk what the log holds before it."""

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
    # Where the journal ends is known apart from it, so that damage to SQLite's own pages cannot make it shorter unseen.
    "CREATE TABLE journal_end (last_sequence INTEGER NOT NULL, fences INTEGER NOT NULL)",
    "INSERT INTO journal_end VALUES (0, 0)",
    """
    CREATE TRIGGER journal_appended AFTER INSERT ON journal
    BEGIN UPDATE journal_end SET last_sequence = NEW.last_sequence; END
    """,
    f"PRAGMA application_id={APPLICATION_ID}",
    f"PRAGMA user_version={JOURNAL_VERSION}",
)
# Whatever a damaged row holds comes as numbers and bytes; what they are worth is checked below.
_AFTER = """
    SELECT first_sequence, CAST(last_sequence AS INTEGER), CAST(prev_hash AS BLOB), CAST(hash AS BLOB),
           CAST(size AS INTEGER), CAST(payload AS BLOB)
    FROM journal WHERE first_sequence > ? ORDER BY first_sequence
"""
_UP_TO = """
    SELECT first_sequence, CAST(last_sequence AS INTEGER), CAST(prev_hash AS BLOB), CAST(hash AS BLOB),
           CAST(size AS INTEGER), CAST(payload AS BLOB)
    FROM journal WHERE first_sequence <= ? ORDER BY first_sequence DESC LIMIT 1
"""
_END = "SELECT CAST(last_sequence AS INTEGER) FROM journal_end"

_SHORT_READ = sqlite3.SQLITE_IOERR_SHORT_READ
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
    end = _stored_end(path, connection)
    rows = _last_up_to(path, connection, 2**63 - 1, "the last batch")
    head = _own_head(path, rows[0]) if rows else GENESIS
    _check_end(path, head, end)
    return head


def read_place(path: Path, connection: sqlite3.Connection, after_sequence: int) -> Head:
    """Return the head that the batch ending with `after_sequence` led to; 0 is before the first one.

    Raises: DamagedJournal if no batch ends with it; Unavailable
    """
    if after_sequence == 0:
        return GENESIS
    rows = _last_up_to(path, connection, after_sequence, f"the batch that ends with sequence {after_sequence}")
    if not rows:
        raise ends_elsewhere(str(path), 0, after_sequence)
    head = _own_head(path, rows[0])
    if head.sequence != after_sequence:
        raise ends_elsewhere(str(path), head.sequence, after_sequence)
    return head


def read_some(path: Path, connection: sqlite3.Connection, head: Head) -> tuple[list[JournalBatch], Head]:
    """Return about `READ_BYTES` of batches that go on from `head`, checked, and the head they lead to.

    Raises: DamagedJournal, Unavailable
    """
    batches: list[JournalBatch] = []
    size = 0
    end = _stored_end(path, connection)
    try:
        with closing(connection.execute(_AFTER, (head.sequence,))) as rows:
            for row in rows:
                batch = _batch(path, row)
                head = check_batch(str(path), head, batch)
                batches.append(batch)
                size += len(batch.payload)
                if size >= READ_BYTES:
                    return batches, head
    except (sqlite3.Error, UnicodeDecodeError) as exc:
        raise _unreadable(path, f"what follows sequence {head.sequence}", exc) from exc
    # Batches may have been appended since the end was read, so the journal may go beyond it, but not end before it.
    _check_end(path, head, end)
    return batches, head


def _stored_end(path: Path, connection: sqlite3.Connection) -> int:
    try:
        rows = connection.execute(_END).fetchall()
    except (sqlite3.Error, UnicodeDecodeError) as exc:
        raise _unreadable(path, "its end", exc) from exc
    if len(rows) != 1 or rows[0][0] is None:
        raise DamagedJournal(
            f"the journal {path} is damaged: it does not say where it ends", details={"file": str(path)}
        )
    return int(rows[0][0])


def _check_end(path: Path, head: Head, end: int) -> None:
    if head.sequence < end:
        raise damaged(str(path), head.sequence + 1, f"is missing: the journal went on to {end}")


def _last_up_to(path: Path, connection: sqlite3.Connection, sequence: int, place: str) -> list[tuple[Any, ...]]:
    try:
        return connection.execute(_UP_TO, (sequence,)).fetchall()
    except (sqlite3.Error, UnicodeDecodeError) as exc:
        raise _unreadable(path, place, exc) from exc


def _own_head(path: Path, row: tuple[Any, ...]) -> Head:
    """Return the head that a row leads to, which is checked by itself."""
    batch = _batch(path, row)
    return check_batch(str(path), Head(batch.first_sequence - 1, batch.prev_hash), batch)


def _batch(path: Path, row: tuple[Any, ...]) -> JournalBatch:
    """Return the batch of a row. Raises: DamagedJournal if a column is missing or the payload unreadable."""
    first, last, prev_hash, own, size, stored = row
    if None in {last, prev_hash, own, size, stored}:
        raise damaged(str(path), first, "is not whole")
    if len(stored) < size:
        try:
            # No more than should come out, so that a damaged size or payload cannot fill the memory.
            stored = zlib.decompressobj().decompress(stored, size)
        except zlib.error as exc:
            raise damaged(str(path), first, "cannot be decompressed") from exc
    if len(stored) != size:
        raise damaged(str(path), first, f"has {len(stored)} bytes of payload instead of {size}")
    return JournalBatch(first, last, stored, prev_hash.decode("ascii", "replace"), own.decode("ascii", "replace"))


def _unreadable(path: Path, place: str, exc: sqlite3.Error | UnicodeDecodeError) -> FauxchangeError:
    """Return the failure that SQLite's complaint while reading `place` amounts to."""
    # A message of SQLite's that quotes what is damaged may be no text: then Python complains of that instead.
    if isinstance(exc, sqlite3.Error) and error_code(exc) in _AWAY and exc.sqlite_errorcode != _SHORT_READ:
        return Unavailable(f"the journal {path} cannot be read: {exc}")
    return DamagedJournal(f"the journal {path} is damaged: {place} cannot be read ({exc})", details={"file": str(path)})
