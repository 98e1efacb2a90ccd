"""The exchange's journal in a SQLite file of its own: appended to by one writer, read by a thread."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from fauxchange.data.ports import JournalBatch
from fauxchange.data.sqlite.files import BUSY_TIMEOUT_MS, Open, open_connection
from fauxchange.data.sqlite.journal_file import prepare_journal, read_place, read_some
from fauxchange.data.sqlite.journal_writer import JournalWriter
from fauxchange.data.sqlite.lanes import hold
from fauxchange.data.sqlite.writer import PROBE_INTERVAL_S
from fauxchange.domain.errors import Unavailable
from fauxchange.platform.ports import DependencyHealth, DependencyStatus

Result = TypeVar("Result")


class JournalFile:
    """A connected journal. Make one with `open`, in the event loop that will use it."""

    def __init__(self, path: Path, opener: Open, *, probe_interval_s: float, lock: int | None) -> None:
        self._path = path
        self._opener = opener
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="fauxchange-journal-reader")
        self.writer = JournalWriter(path, opener, probe_interval_s=probe_interval_s, lock=lock)

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        opener: Open = open_connection,
        probe_interval_s: float = PROBE_INTERVAL_S,
        own_process: bool = False,
    ) -> "JournalFile":
        """Create the file or check that it is a journal, then start its writer: a thread, or a process of its own.

        Raises: ConfigurationError if it cannot be used as it is; Unavailable if another process keeps it locked
        """
        lock = await hold(path) if own_process else None
        try:
            await asyncio.to_thread(prepare_journal, path, opener=opener)
            return cls(path, opener, probe_interval_s=probe_interval_s, lock=lock)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise

    async def read(self, after_sequence: int) -> AsyncIterator[Sequence[JournalBatch]]:
        """Yield the batches after a sequence, oldest first, some at a time.

        Raises: DamagedJournal, Unavailable
        """
        connection = await self._call(self._open_reader)
        try:
            head = await self._call(partial(read_place, self._path, connection, after_sequence))
            while True:
                batches, head = await self._call(partial(read_some, self._path, connection, head))
                if not batches:
                    return
                yield batches
        finally:
            # In its thread, behind a piece that may still be read there; nobody needs to wait for it.
            self._reader.submit(connection.close)

    def health(self) -> DependencyHealth:
        """Return `down` while appends fail."""
        if self.writer.problem is not None:
            return DependencyHealth(DependencyStatus.DOWN, f"{self._path}: {self.writer.problem}")
        return DependencyHealth(DependencyStatus.OK)

    async def close(self) -> None:
        """Finish what was accepted, empty the log into the file and close it."""
        await asyncio.to_thread(self._reader.shutdown)
        await self.writer.close()

    async def _call(self, work: Callable[[], Result]) -> Result:
        try:
            running = asyncio.get_running_loop().run_in_executor(self._reader, work)
        except RuntimeError as exc:
            raise Unavailable(f"the journal {self._path} is closed", retryable=False) from exc
        return await running

    def _open_reader(self) -> sqlite3.Connection:
        try:
            connection = self._opener(self._path)
            connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            connection.execute("PRAGMA query_only=ON")
        except sqlite3.Error as exc:
            raise Unavailable(f"the journal {self._path} cannot be read: {exc}") from exc
        return connection
