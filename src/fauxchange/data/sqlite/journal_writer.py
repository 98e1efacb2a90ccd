"""The one thread that appends to the journal.

Rules of this module:

* An append is one row, and one statement outside of a transaction stores it: the connection is in WAL mode with
  `synchronous=FULL`, so the row is on the disk when the statement ends. Appends that wait together share a statement
  of many rows. One statement matters because the thread has to win the interpreter lock back from a busy event loop
  each time it has let go of it.
* The chain is checked and hashed here, not on the event loop.
* A connection begins with a small write of its own, the fence. A commit that failed, or that a killed process made, may
  have left its frames in the log without their being on the disk; once the fence is, what the file tells is final.
* After a failure the connection is discarded and the next job opens a new one, which reads the chain's head anew. While
  the store fails and no job comes, the thread tries every second, so that health tells when it works again.
"""

import asyncio
import queue
import sqlite3
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from fauxchange.data.journal import Head, next_batch
from fauxchange.data.ports import JournalBatch
from fauxchange.data.sqlite.files import BUSY_TIMEOUT_MS, Open
from fauxchange.data.sqlite.journal_file import FENCE, read_head
from fauxchange.domain.errors import Conflict, DamagedJournal, Unavailable
from fauxchange.platform.logging import get_logger

_log = get_logger(__name__)

Done = Callable[[Exception | None], None]

SHARED_ROWS = 32
"""How many appends may share a statement."""
COMPRESSED_BYTES = 1_024
"""Payloads above this are compressed where that makes them smaller; on a short one it would cost more than it saves."""
MAX_WAITING_BYTES = 64 * 1024 * 1024
"""How much payload may wait for the disk before appends are refused."""


@dataclass(slots=True)
class _Append:
    first_sequence: int
    last_sequence: int
    payload: bytes
    done: Done
    error: Exception | None = None


@dataclass(slots=True)
class _Question:
    """Asks for the last sequence stored, behind the appends before it."""

    answer: asyncio.Future[int]
    sequence: int = 0
    error: Exception | None = None


class JournalWriter:
    """Append batches one after another in a thread of its own, and say how the store is."""

    def __init__(self, path: Path, opener: Open, *, probe_interval_s: float) -> None:
        self._path = path
        self._opener = opener
        self._probe_interval_s = probe_interval_s
        self._jobs: queue.SimpleQueue[_Append | _Question | None] = queue.SimpleQueue()
        self._inserts = [_insert(count) for count in range(1, SHARED_ROWS + 1)]
        self._connection: sqlite3.Connection | None = None
        self._head = Head(0, "")
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._closing = False
        self._waiting_bytes = 0
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._run, name="fauxchange-journal-writer", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str | None:
        """Why the last append failed, or None if it did not."""
        return self._problem

    def append_soon(self, first_sequence: int, last_sequence: int, payload: bytes, done: Done) -> None:
        """Hand a batch over to the thread; `done` gets the outcome on the event loop."""
        if self._closing or self._waiting_bytes > MAX_WAITING_BYTES:
            reason = "is closed" if self._closing else "is slower than its callers"
            self._loop.call_soon(done, Unavailable(f"the journal {self._path} {reason}", retryable=not self._closing))
            return
        self._waiting_bytes += len(payload)
        self._jobs.put(_Append(first_sequence, last_sequence, payload, done))

    async def last_sequence(self) -> int:
        """Return the last sequence stored, read from the file once everything handed over before is settled.

        Raises: Unavailable, DamagedJournal
        """
        if self._closing:
            raise Unavailable(f"the journal {self._path} is closed", retryable=False)
        question = _Question(self._loop.create_future())
        self._jobs.put(question)
        return await question.answer

    async def close(self) -> None:
        """Finish the accepted jobs, empty the log into the file and close it; refuse what comes later."""
        if not self._closing:
            self._closing = True
            self._jobs.put(None)
        await self._stopped.wait()
        self._thread.join()

    def _run(self) -> None:
        closing = False
        while not closing:
            try:
                job = self._jobs.get(timeout=None if self._problem is None else self._probe_interval_s)
            except queue.Empty:
                self._probe()
                continue
            waiting, closing = self._gather(job)
            for kind, jobs in groupby(waiting, key=type):
                if kind is _Append:
                    self._store_all([job for job in jobs if isinstance(job, _Append)])
                else:
                    self._answer_all([job for job in jobs if isinstance(job, _Question)])
        self._close_connection()
        self._loop.call_soon_threadsafe(self._stopped.set)

    def _gather(self, job: _Append | _Question | None) -> tuple[list[_Append | _Question], bool]:
        jobs: list[_Append | _Question] = []
        while job is not None:
            jobs.append(job)
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True

    def _store_all(self, jobs: list[_Append]) -> None:
        for start in range(0, len(jobs), SHARED_ROWS):
            piece = jobs[start : start + SHARED_ROWS]
            self._store(piece)
            self._loop.call_soon_threadsafe(self._stored, piece)

    def _store(self, jobs: list[_Append]) -> None:
        accepted: list[_Append] = []
        try:
            connection = self._connected()
            head, row = self._head, list[object]()
            for job in jobs:
                try:
                    batch = next_batch(head, job.first_sequence, job.last_sequence, job.payload)
                except Conflict as exc:
                    job.error = exc
                    continue
                accepted.append(job)
                row += _fields(batch)
                head = Head(batch.last_sequence, batch.hash)
            if accepted:
                connection.execute(self._inserts[len(accepted) - 1], row)
            self._head = head
        # Whatever it is, none of these is stored for certain, and the thread must go on for those who come next.
        except Exception as exc:
            error = self._failed(exc)
            for job in accepted or jobs:
                job.error = error
        else:
            self._note(None)

    def _answer_all(self, questions: list[_Question]) -> None:
        for question in questions:
            try:
                head = read_head(self._path, self._connected())
                question.sequence = head.sequence
            except Exception as exc:  # as in `_store`
                question.error = self._failed(exc)
            else:
                self._note(None)
        self._loop.call_soon_threadsafe(_tell, questions)

    def _probe(self) -> None:
        try:
            self._connected()
        except (sqlite3.Error, Unavailable, DamagedJournal) as exc:
            self._failed(exc)
        else:
            self._note(None)

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
        self._note(str(exc))
        if not isinstance(exc, sqlite3.Error):
            return exc
        error = Unavailable(f"the journal {self._path} cannot be written: {exc}")
        error.__cause__ = exc
        return error

    def _note(self, problem: str | None) -> None:
        if problem is not None and self._problem is None:
            _log.error("journal cannot be written", file=str(self._path), reason=problem)
        elif problem is None and self._problem is not None:
            _log.warning("journal can be written again", file=str(self._path))
        self._problem = problem

    def _stored(self, jobs: list[_Append]) -> None:
        for job in jobs:
            self._waiting_bytes -= len(job.payload)
        for job in jobs:
            try:
                job.done(job.error)
            # The event loop is told, as of any callback that raises; the callers behind this one must hear as well.
            except Exception as exc:
                self._loop.call_exception_handler({"message": "journal: a caller failed when told", "exception": exc})

    def _discard_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error as exc:
                _log.warning("journal cannot be closed", file=str(self._path), reason=str(exc))

    def _close_connection(self) -> None:
        if self._connection is not None:
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.Error as exc:
                # Nothing is lost: whoever opens the file next reads the log that stays beside it.
                _log.warning("write-ahead log stays beside the journal", file=str(self._path), reason=str(exc))
        self._discard_connection()


def _tell(questions: list[_Question]) -> None:
    for question in questions:
        if question.answer.cancelled():
            continue
        if question.error is None:
            question.answer.set_result(question.sequence)
        else:
            question.answer.set_exception(question.error)


def _insert(count: int) -> str:
    rows = ",".join(["(?, ?, ?, ?, ?, ?)"] * count)
    return f"INSERT INTO journal VALUES {rows}"  # noqa: S608 - the text is made of question marks


def _fields(batch: JournalBatch) -> tuple[int, int, str, str, int, bytes]:
    stored = batch.payload
    if len(stored) > COMPRESSED_BYTES:
        compressed = zlib.compress(stored, 1)
        stored = compressed if len(compressed) < len(stored) else stored
    return batch.first_sequence, batch.last_sequence, batch.prev_hash, batch.hash, len(batch.payload), stored
