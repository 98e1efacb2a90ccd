"""One connection that the event loop drives by callbacks: a prepared statement goes out, a callback gets its result.

psycopg's own connections cost a task, a future and several generators for each statement: 150 us of the event loop's
time for an append to the journal, where this takes 30 us, and about half as long again until it is answered.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg.pq import Format
from psycopg.pq.abc import PGresult

Answered = Callable[[PGresult], None]


class Wire:
    """A connection in autocommit mode that does one statement at a time.

    `lost` is called once, from the event loop, when the server has closed it or it cannot be used any more; whether the
    statement under way was carried out is not known then.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any], lost: Callable[[str], None]) -> None:
        # Kept, because the connection closes when nobody has it any more.
        self._connection = connection
        self._pgconn = connection.pgconn
        self._socket = self._pgconn.socket
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._answered: Answered | None = None
        self._result: PGresult | None = None
        self._is_open = True
        self._pgconn.nonblocking = 1
        self._loop.add_reader(self._socket, self.poll)

    def execute(
        self, statement: bytes, parameters: Sequence[bytes], formats: Sequence[Format], answered: Answered
    ) -> None:
        """Send a prepared statement; `answered` gets its result, which may be an error of the server's."""
        self._answered, self._result = answered, None
        try:
            self._pgconn.send_query_prepared(statement, parameters, formats)
            if self._pgconn.flush():
                self._loop.add_writer(self._socket, self._send_more)
        except psycopg.Error as exc:
            # Later, so that whoever executes need not expect to be told in the middle of it.
            self._loop.call_soon(self._fail, _reason(exc))

    def poll(self) -> None:
        """Take in what has arrived, and tell of the result if that is all of it."""
        if not self._is_open:
            return
        try:
            self._pgconn.consume_input()
            while not self._pgconn.is_busy():
                result = self._pgconn.get_result()
                if result is None:
                    break
                self._result = result
            else:
                return
        except psycopg.Error as exc:
            self._fail(_reason(exc))
            return
        answered, result = self._answered, self._result
        if answered is not None and result is not None:
            self._answered = self._result = None
            answered(result)

    def close(self) -> None:
        """Close the connection without waiting for anything; nobody is told. Safe to call twice."""
        if not self._is_open:
            return
        self._is_open = False
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._pgconn.finish()

    def _send_more(self) -> None:
        try:
            if not self._pgconn.flush():
                self._loop.remove_writer(self._socket)
        except psycopg.Error as exc:
            self._fail(_reason(exc))

    def _fail(self, reason: str) -> None:
        if self._is_open:
            self.close()
            self._lost(reason)


def _reason(failure: psycopg.Error) -> str:
    lines = str(failure).strip().splitlines()
    return lines[0] if lines else type(failure).__name__
