"""Transactions that are made elsewhere and carried out here: statements with their parameters, all of them or none."""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from fauxchange.data.sqlite.files import BUSY_TIMEOUT_MS, Open
from fauxchange.data.sqlite.lanes import ProcessLane
from fauxchange.domain.errors import InvariantViolation, Unavailable

CACHE_KIB = 32_768
"""The indexes of a million orders are larger than the usual 2 MB, and are written all over."""

Statement = tuple[str, Mapping[str, Any]]
Transaction = Sequence[Statement]


class Executor(Protocol):
    """Where statements are executed: a connection, or a `Recorder`."""

    def execute(self, sql: str, parameters: Mapping[str, Any], /) -> Any:
        """Execute a statement."""
        ...


class Recorder:
    """Stand in for a connection, and note what it was told to execute."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []

    def execute(self, sql: str, parameters: Mapping[str, Any], /) -> "Recorder":
        """Note a statement."""
        self.statements.append((sql, parameters))
        return self

    @property
    def rowcount(self) -> int:
        """How many rows a statement has changed: nobody knows yet."""
        return -1


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

    def _carry_out(self, statements: Transaction) -> Exception | None:
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            for sql, parameters in statements:
                connection.execute(sql, parameters)
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

    async def carry_out(self, transaction: Transaction) -> None:
        """Carry out a transaction. Raises: Unavailable; InvariantViolation if a constraint refuses it."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._lane.send(transaction)
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
