"""The exchange's journal in PostgreSQL: appended to over one connection, read over those of the pool."""

from collections.abc import AsyncIterator, Sequence
from functools import partial

from fauxchange.data.ports import JournalBatch
from fauxchange.data.postgres.engine import PostgresDatabase
from fauxchange.data.postgres.journal_rows import READ_ROWS, read_place, read_some
from fauxchange.data.postgres.journal_writer import JournalLimits, JournalWriter
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
