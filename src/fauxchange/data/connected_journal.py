"""The journal as a repository, over whichever one is connected."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from fauxchange.data.ports import JournalBatch
from fauxchange.domain.errors import Unavailable

Done = Callable[[Exception | None], None]


class Writer(Protocol):
    """The one who appends."""

    def append_soon(self, first_sequence: int, last_sequence: int, payload: bytes, done: Done) -> None:
        """Append a batch behind those before it; `done` gets the outcome on the event loop."""
        ...

    async def last_sequence(self) -> int:
        """Return the last sequence stored, asked anew once all that came before is over."""
        ...


class Journal(Protocol):
    """A journal that is open: a file, or a table."""

    @property
    def writer(self) -> Writer:
        """The one who appends to it."""
        ...

    def read(self, after_sequence: int) -> AsyncIterator[Sequence[JournalBatch]]:
        """Yield the batches after a sequence, oldest first, some at a time."""
        ...


class ConnectedJournal:
    """A `JournalRepository`; `connected` raises `Unavailable` while there is no journal."""

    def __init__(self, connected: Callable[[], Journal]) -> None:
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

    def append_soon(self, first_sequence: int, last_sequence: int, payload: bytes, done: Done) -> None:
        """Do what `append` does, and call `done` on the event loop with the outcome."""
        try:
            writer = self._connected().writer
        except Unavailable as exc:
            asyncio.get_running_loop().call_soon(done, exc)
        else:
            writer.append_soon(first_sequence, last_sequence, payload, done)

    async def last_sequence(self) -> int:
        """Return the sequence of the last command stored, read from the store anew."""
        return await self._connected().writer.last_sequence()

    async def read(self, after_sequence: int = 0) -> AsyncIterator[Sequence[JournalBatch]]:
        """Yield the batches after a sequence, oldest first, some at a time."""
        async for batches in self._connected().read(after_sequence):
            yield batches
