"""A disk on which any call of SQLite may be made to fail."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from fauxchange.data.sqlite.files import open_connection


class FaultyDisk:
    """Opens connections that count their calls; the one with the number `fails` raises.

    With `after`, the call is carried out before it raises: so a commit whose outcome nobody learns.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.fails = 0
        self.after = False
        self.synchronous = False

    def fail(self, call: int, *, after: bool) -> None:
        self.calls, self.fails, self.after = 0, call, after

    def mend(self) -> bool:
        """Stop failing; return whether a call has failed."""
        failed = 0 < self.fails <= self.calls
        self.fails = 0
        return failed

    def open(self, path: Path) -> Any:
        return FaultyConnection(self, self.run(open_connection, path))

    def run(self, call: Any, *arguments: Any) -> Any:
        self.calls += 1
        if self.calls == self.fails and not self.after:
            raise _disk_error()
        result = call(*arguments)
        if self.calls == self.fails:
            # A cursor that the error kept alive would keep the transaction alive.
            del result
            raise _disk_error()
        return result


def _disk_error() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    return error


class FaultyConnection:
    """Does what the connection does, through the disk."""

    def __init__(self, disk: FaultyDisk, connection: sqlite3.Connection) -> None:
        self._disk = disk
        self._connection = connection

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        # What a test counts are calls; waiting for the disk as well would make it last minutes.
        if sql == "PRAGMA synchronous=FULL" and not self._disk.synchronous:
            sql = "PRAGMA synchronous=OFF"
        return self._disk.run(self._connection.execute, sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any]) -> Any:
        return self._disk.run(self._connection.executemany, sql, parameters)

    def close(self) -> None:
        # It is closed in any case: a test that leaves connections open is told so as a warning.
        try:
            self._disk.run(lambda: None)
        finally:
            self._connection.close()


@pytest.fixture
def faulty() -> FaultyDisk:
    return FaultyDisk()
