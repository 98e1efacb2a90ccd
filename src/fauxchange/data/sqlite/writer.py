"""The one thread that writes to the file.

Rules of this module:

* A job is a function of the connection. It changes the file with one statement, its last; SQLite undoes a statement
  that fails, so a job happens as a whole or not at all, without a transaction around it. A job that needs several
  begins and ends a transaction itself, and is not durable, so that it is in no other.
* The sqlite3 module gives up the interpreter lock about four times for each statement, and beside a busy event loop a
  thread waits long to get it back: the loop gives the lock up and takes it again before the thread has woken. So a job
  is one statement of many rows, never many statements of one row (`executemany` is many), and only durable jobs, which
  wait for the disk, are put together into one transaction.
* `synchronous` is NORMAL: a power cut may take the newest prices with it, but never part of a job. Durable jobs commit
  with FULL, which puts the log, with all that was written to it before, on the disk ahead of the answer.
* After a failure the connection is opened anew for the next job. While the store fails and no job comes, the thread
  tries a small write every second, so that health tells when it works again.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar, cast

from fauxchange.domain.errors import Unavailable
from fauxchange.platform.logging import get_logger

_log = get_logger(__name__)

Result = TypeVar("Result")
Connect = Callable[[], sqlite3.Connection]

MAX_WAITING_ROWS = 50_000
"""How many rows may wait for the disk before callers wait too (about 35 MB of prices)."""
PROBE_INTERVAL_S = 1.0
_PROBE = "UPDATE schema_version SET version = version"


@dataclass(slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    rows: int
    durable: bool
    done: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


class SqliteWriter:
    """Run jobs one after another in a thread of its own, and say how the store is."""

    def __init__(
        self,
        name: str,
        connect: Connect,
        *,
        max_waiting_rows: int = MAX_WAITING_ROWS,
        probe_interval_s: float = PROBE_INTERVAL_S,
    ) -> None:
        self._name = name
        self._connect = connect
        self._max_waiting_rows = max_waiting_rows
        self._probe_interval_s = probe_interval_s
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._synchronous: str | None = None
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._room = asyncio.Event()
        self._stopped = asyncio.Event()
        self._closing = False
        self._waiting_rows = 0
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._run, name="fauxchange-sqlite-writer", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str | None:
        """Why the last transaction failed, or None if it did not."""
        return self._problem

    @property
    def waiting_rows(self) -> int:
        """How many rows are accepted and not yet stored."""
        return self._waiting_rows

    async def write(
        self, work: Callable[[sqlite3.Connection], Result], *, rows: int = 1, durable: bool = False
    ) -> Result:
        """Run `work` in the thread and return its result once that is committed.

        Waits while too many rows wait already (a larger job than that waits until it is alone), in order of arrival.
        Raises: Unavailable if the store fails or is closed; what `work` raises
        """
        async with self._turn:
            while self._waiting_rows and self._waiting_rows + rows > self._max_waiting_rows and not self._closing:
                self._room.clear()
                await self._room.wait()
            if self._closing:
                raise Unavailable(f"the database {self._name} is closed", retryable=False)
            job = _Job(work, rows, durable, self._loop.create_future())
            self._waiting_rows += rows
            self._jobs.put(job)
        return cast("Result", await job.done)

    async def close(self) -> None:
        """Finish the accepted jobs, empty the log into the file and close it; refuse what comes later."""
        if not self._closing:
            self._closing = True
            self._room.set()
            self._jobs.put(None)
        await self._stopped.wait()
        self._thread.join()

    def _run(self) -> None:
        closing = False
        while not closing:
            try:
                job = self._jobs.get(timeout=None if self._problem is None else self._probe_interval_s)
            except queue.Empty:
                self._transact([])
                continue
            waiting, closing = self._gather(job)
            for durable, jobs in groupby(waiting, key=lambda job: job.durable):
                for batch in [list(jobs)] if durable else ([job] for job in jobs):
                    self._transact(batch)
                    self._loop.call_soon_threadsafe(self._finished, batch)
        self._close_connection()
        self._loop.call_soon_threadsafe(self._stopped.set)

    def _gather(self, job: _Job | None) -> tuple[list[_Job], bool]:
        jobs: list[_Job] = []
        while job is not None:
            jobs.append(job)
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True

    def _transact(self, batch: list[_Job]) -> None:
        """Commit the jobs together, or try a small write if there is none."""
        try:
            if self._connection is None:
                self._synchronous = None
                self._connection = self._connect()
            self._synchronise(self._connection, "FULL" if any(job.durable for job in batch) else "NORMAL")
            _commit(self._connection, batch)
            problem = None
        except (sqlite3.Error, Unavailable) as exc:
            problem = str(exc)
            for job in batch:
                job.error = Unavailable(f"the database {self._name} cannot be written: {exc}")
                job.error.__cause__ = exc
            self._discard_connection()
        if (problem is None) != (self._problem is None):
            _announce(self._name, problem)
        self._problem = problem

    def _synchronise(self, connection: sqlite3.Connection, mode: str) -> None:
        if mode != self._synchronous:
            connection.execute(f"PRAGMA synchronous={mode}")
            self._synchronous = mode

    def _finished(self, batch: list[_Job]) -> None:
        for job in batch:
            self._waiting_rows -= job.rows
            if job.done.cancelled():
                continue
            if job.error is None:
                job.done.set_result(job.result)
            else:
                job.done.set_exception(job.error)
        self._room.set()

    def _discard_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error as exc:
                _log.warning("database cannot be closed", database=self._name, reason=str(exc))

    def _close_connection(self) -> None:
        if self._connection is not None:
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.Error as exc:
                # Nothing is lost: whoever opens the file next reads the log that stays beside it.
                _log.warning("write-ahead log stays beside the database", database=self._name, reason=str(exc))
        self._discard_connection()


def _announce(name: str, problem: str | None) -> None:
    if problem is None:
        _log.warning("database can be written again", database=name)
    else:
        _log.error("database cannot be written", database=name, reason=problem)


def _commit(connection: sqlite3.Connection, batch: list[_Job]) -> None:
    if not batch:
        connection.execute(_PROBE)
    if len(batch) > 1:
        connection.execute("BEGIN IMMEDIATE")
    for job in batch:
        try:
            job.result = job.work(connection)
        except sqlite3.Error:
            raise
        # Whatever else a job raises belongs to its caller, and must not stop the thread or the jobs beside it.
        except Exception as exc:
            job.error = exc
    if len(batch) > 1:
        connection.execute("COMMIT")
