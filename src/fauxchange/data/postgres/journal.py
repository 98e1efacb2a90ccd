"""The exchange's journal in PostgreSQL: appended to over one connection, read over those of the pool."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from fauxchange.data.ports import JournalBatch
from fauxchange.data.postgres.engine import PostgresDatabase
from fauxchange.data.postgres.journal_rows import READ_ROWS, read_place, read_some
from fauxchange.data.postgres.journal_writer import JournalLimits, JournalWriter
from fauxchange.domain.errors import Unavailable
from fauxchange.platform.ports import DependencyHealth, DependencyStatus


class JournalTable:
    """A connected journal. Make one in the event loop that will use it; it is claimed when it is first used."""

    def __init__(self, database: PostgresDatabase, limits: JournalLimits | None = None) -> None:
        self._database = database
        self.writer = JournalWriter(database, limits or JournalLimits.within(database.config.silence_s))

    async def read(self, after_sequence: int) -> AsyncIterator[Sequence[JournalBatch]]:
        """Yield the batches after a sequence, oldest first, some at a time.

        Raises: DamagedJournal, Unavailable
        """
        name, run = self._database.name, self._database.run
        head = await run(lambda connection: read_place(name, connection, after_sequence))
        while True:
            batches, head = await run(partial(read_some, name, head=head), rows=READ_ROWS)
            if not batches:
                return
            yield batches

    def health(self) -> DependencyHealth:
        """Return `down` while appends fail."""
        if self.writer.problem is not None:
            return DependencyHealth(DependencyStatus.DOWN, f"{self._database.name}: {self.writer.problem}")
        return DependencyHealth(DependencyStatus.OK, self._database.name)

    async def close(self) -> None:
        """Finish what was accepted and give the journal back."""
        await self.writer.close()


class PostgresJournal:
    """The journal as a repository, over whichever database is connected."""

    def __init__(self, connected: Callable[[], JournalTable]) -> None:
        self._connected = connected

    async def append(self, first_sequence: int, last_sequence: int, payload: bytes) -> None:
        """Store a batch durably, behind the last one."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(failure: Exception | None) -> None:
            if stored.cancelled():
                return
            if failure is None:
                stored.set_result(None)
            else:
                stored.set_exception(failure)

        self._connected().writer.append_soon(first_sequence, last_sequence, payload, done)
        await stored

    def append_soon(
        self, first_sequence: int, last_sequence: int, payload: bytes, done: Callable[[Exception | None], None]
    ) -> None:
        """Do what `append` does, and call `done` on the event loop with the outcome."""
        try:
            writer = self._connected().writer
        except Unavailable as exc:
            asyncio.get_running_loop().call_soon(done, exc)
        else:
            writer.append_soon(first_sequence, last_sequence, payload, done)

    async def last_sequence(self) -> int:
        """Return the sequence of the last command stored, asked of the server anew."""
        return await self._connected().writer.last_sequence()

    async def read(self, after_sequence: int = 0) -> AsyncIterator[Sequence[JournalBatch]]:
        """Yield the batches after a sequence, oldest first, some at a time."""
        async for batches in self._connected().read(after_sequence):
            yield batches
