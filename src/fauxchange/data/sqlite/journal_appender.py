"""What is appended to the journal, and how it gets onto the disk; run by one thread, or by a process of its own.

Rules of this module:

* An append is one row, and one statement outside of a transaction stores it: the connection is in WAL mode with
  `synchronous=FULL`, so the row is on the disk when the statement ends. Appends that wait together share a statement
  of many rows.
* The chain is checked and hashed here, not on the event loop.
* A connection begins with a small write of its own, the fence. A commit that failed, or that a killed process made, may
  have left its frames in the log without their being on the disk; once the fence is, what the file tells is final.
* After a failure the connection is discarded and the next job opens a new one, which reads the chain's head anew. While
  the store fails and no job comes, `probe` tries again, so that health tells when it works.
"""

import sqlite3
import zlib
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from fauxchange.data.journal import Head, next_batch
from fauxchange.data.ports import JournalBatch
from fauxchange.data.sqlite.files import BUSY_TIMEOUT_MS, Open
from fauxchange.data.sqlite.journal_file import FENCE, read_head
from fauxchange.domain.errors import Conflict, DamagedJournal, Unavailable

SHARED_ROWS = 32
"""How many appends may share a statement."""
COMPRESSED_BYTES = 1_024
"""Payloads above this are compressed where that makes them smaller; on a short one it would cost more than it saves."""


class Append(NamedTuple):
    """A batch to be stored."""

    first_sequence: int
    last_sequence: int
    payload: bytes


class AskLast(NamedTuple):
    """Ask for the last sequence stored, read from the file anew, behind the appends before it."""


Job = Append | AskLast
Answer = int | None | Exception
"""None for an append that is stored, the sequence that was asked for, or why it could not be done."""


class JournalAppender:
    """The one writer of a journal's file. `problem` says why the last job failed, None if it did not."""

    def __init__(self, path: Path, opener: Open) -> None:
        self.problem: str | None = None
        self._path = path
        self._opener = opener
        self._inserts = [_insert(count) for count in range(1, SHARED_ROWS + 1)]
        self._connection: sqlite3.Connection | None = None
        self._head = Head(0, "")

    def handle(self, jobs: Sequence[Job]) -> list[Answer]:
        """Do the jobs in their order and return an answer for each; what fails, fails by its answer."""
        answers: list[Answer] = []
        for kind, group in groupby(jobs, key=type):
            if kind is Append:
                appends = [job for job in group if isinstance(job, Append)]
                for start in range(0, len(appends), SHARED_ROWS):
                    answers += self._store(appends[start : start + SHARED_ROWS])
            else:
                answers += [self._last_sequence() for _ in group]
        return answers

    def probe(self) -> None:
        """Try whether the store works again."""
        try:
            self._connected()
        except (sqlite3.Error, Unavailable, DamagedJournal) as exc:
            self._failed(exc)
        else:
            self.problem = None

    def close(self) -> str | None:
        """Empty the log into the file and close it; return why it was not emptied, None if it was.

        Nothing is lost then: whoever opens the file next reads the log that stays beside it.
        """
        left: str | None = None
        if self._connection is not None:
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.Error as exc:
                left = str(exc)
        self._discard_connection()
        return left

    def _store(self, appends: Sequence[Append]) -> list[Answer]:
        answers: list[Answer] = [None] * len(appends)
        accepted: list[int] = []
        try:
            connection = self._connected()
            head, row = self._head, list[object]()
            for index, (first, last, payload) in enumerate(appends):
                try:
                    batch = next_batch(head, first, last, payload)
                except Conflict as exc:
                    answers[index] = exc
                    continue
                accepted.append(index)
                row += _fields(batch)
                head = Head(batch.last_sequence, batch.hash)
            if accepted:
                connection.execute(self._inserts[len(accepted) - 1], row)
            self._head = head
        # Whatever it is, none of these is stored for certain, and the writer must go on for those who come next.
        except Exception as exc:
            error = self._failed(exc)
            for index in accepted or range(len(appends)):
                answers[index] = error
        else:
            self.problem = None
        return answers

    def _last_sequence(self) -> Answer:
        try:
            head = read_head(self._path, self._connected())
        except Exception as exc:  # as in `_store`
            return self._failed(exc)
        self.problem = None
        return head.sequence

    def _connected(self) -> sqlite3.Connection:
        """Return the connection, opened and fenced if there is none."""
        if self._connection is None:
            connection = self._connection = self._opener(self._path)
            connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(FENCE)
            self._head = read_head(self._path, connection)
        return self._connection

    def _failed(self, exc: Exception) -> Exception:
        """Discard the connection and return the failure that callers are told."""
        self._discard_connection()
        self.problem = str(exc)
        if not isinstance(exc, sqlite3.Error):
            return exc
        error = Unavailable(f"the journal {self._path} cannot be written: {exc}")
        error.__cause__ = exc
        return error

    def _discard_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error as exc:
                self.problem = f"cannot be closed: {exc}"


def _insert(count: int) -> str:
    rows = ",".join(["(?, ?, ?, ?, ?, ?)"] * count)
    return f"INSERT INTO journal VALUES {rows}"  # noqa: S608 - the text is made of question marks


def _fields(batch: JournalBatch) -> tuple[int, int, str, str, int, bytes]:
    stored = batch.payload
    if len(stored) > COMPRESSED_BYTES:
        compressed = zlib.compress(stored, 1)
        stored = compressed if len(compressed) < len(stored) else stored
    return batch.first_sequence, batch.last_sequence, batch.prev_hash, batch.hash, len(batch.payload), stored
