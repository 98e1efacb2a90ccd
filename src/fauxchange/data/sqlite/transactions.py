"""Transactions that are made elsewhere and carried out here: statements with their parameters, all of them or none."""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from fauxchange.data.sqlite.files import BUSY_TIMEOUT_MS, Open
from fauxchange.data.sqlite.lanes import ProcessLane, framed
from fauxchange.domain.errors import InvariantViolation, Unavailable

CACHE_KIB = 32_768
"""The indexes of a million orders are larger than the usual 2 MB, and are written all over."""

Rows = Iterable[Sequence[Any]]
Job = Callable[["Executor"], None]
Step = tuple[str, Mapping[str, Any]] | tuple[str, Rows] | Job
"""A statement with its parameters, or one that is executed for each of some rows, or what has to look first."""
Transaction = Sequence[Step]


class Executor(Protocol):
    """Where statements are executed: a connection, or a `Recorder`."""

    def execute(self, sql: str, parameters: Mapping[str, Any], /) -> Any:
        """Execute a statement."""
        ...

    def executemany(self, sql: str, rows: Rows, /) -> Any:
        """Execute a statement for each row."""
        ...


class Recorder:
    """Stand in for a connection, and note what it was told to execute."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def execute(self, sql: str, parameters: Mapping[str, Any], /) -> "Recorder":
        """Note a statement."""
        self.steps.append((sql, parameters))
        return self

    def executemany(self, sql: str, rows: Rows, /) -> "Recorder":
        """Note a statement and its rows, as they are: they are iterated over where they are written."""
        self.steps.append((sql, rows))
        return self

    @property
    def rowcount(self) -> int:
        """How many rows a statement has changed: nobody knows yet."""
        return -1


def do(executor: Executor, job: Job) -> None:
    """Do a job where the transaction is carried out: it reads what is stored there, and may have to cross to there."""
    if isinstance(executor, Recorder):
        executor.steps.append(job)
    else:
        job(executor)


class Transactions:
    """Carry out transactions. `problem` says why the last one failed, None if it did not."""

    def __init__(self, path: Path, opener: Open) -> None:
        self.problem: str | None = None
        self._path = path
        self._opener = opener
        self._connection: sqlite3.Connection | None = None

    def handle(self, jobs: Sequence[Transaction]) -> list[Exception | None]:
        """Carry out each transaction by itself; return why it failed, or None."""
        return [self._carry_out(job) for job in jobs]

    def probe(self) -> None:
        """Try whether the file can be opened."""
        try:
            self._connected()
        except sqlite3.Error as exc:
            self.problem = str(exc)
        else:
            self.problem = None

    def close(self) -> str | None:
        """Close the file."""
        self._discard_connection()
        return None

    def _carry_out(self, transaction: Transaction) -> Exception | None:
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            for step in transaction:
                _carry_out(step, connection)
            connection.execute("COMMIT")
        except sqlite3.IntegrityError as exc:
            self._discard_connection()
            return InvariantViolation(f"{self._path} refuses a record: {exc}")
        except sqlite3.Error as exc:
            self._discard_connection()
            self.problem = str(exc)
            return Unavailable(f"the database {self._path} cannot be written: {exc}")
        # Such as a number of more than 64 bits: the process must go on for those who come next.
        except Exception as exc:
            self._discard_connection()
            return InvariantViolation(f"{self._path} cannot take a record: {exc}")
        self.problem = None
        return None

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = self._opener(self._path)
            connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
            connection.execute("PRAGMA synchronous=NORMAL")
            self._connection = connection
        return self._connection

    def _discard_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # What is under way is undone with it.
            connection.close()


class TransactionLane:
    """Transactions as the event loop sees them, carried out by a process of its own; see `lanes.ProcessLane`."""

    def __init__(self, path: Path, *, lock: int, probe_interval_s: float) -> None:
        self.problem: str | None = None
        self._path = path
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._lane = ProcessLane(
            "transactions", path, self._answered, self._lost, lock=lock, probe_interval_s=probe_interval_s
        )

    async def carry_out(self, work: Job) -> None:
        """Carry out what `work` executes. Raises: Unavailable; InvariantViolation if a constraint refuses it."""
        # Making the statements of many records takes milliseconds, and copies of them some more.
        frame = await asyncio.to_thread(_framed, work)
        done: asyncio.Future[None] = self._loop.create_future()
        self._lane.send_frame(frame)
        self._waiting.append(done)
        await done

    async def close(self) -> None:
        """Finish what was accepted and end the process."""
        await self._lane.close()

    def _answered(self, answers: Sequence[Exception | None], problem: str | None) -> None:
        self.problem = problem
        for answer in answers:
            done = self._waiting.popleft()
            if done.cancelled():
                continue
            if answer is None:
                done.set_result(None)
            else:
                done.set_exception(answer)

    def _lost(self, reason: str) -> None:
        if self._waiting:
            self._answered([Unavailable(reason)] * len(self._waiting), reason)


def _carry_out(step: Step, connection: sqlite3.Connection) -> None:
    if not isinstance(step, tuple):
        step(connection)
        return
    sql, given = step
    if isinstance(given, Mapping):
        connection.execute(sql, given)
    else:
        connection.executemany(sql, given)


def _framed(work: Job) -> list[bytes]:
    recorder = Recorder()
    work(recorder)
    return framed(recorder.steps)
