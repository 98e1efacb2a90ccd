"""The exchange's journal and the kernel's snapshots in memory: they last as long as the process."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Sequence
from operator import attrgetter

from fauxchange.data.journal import GENESIS, READ_BYTES, SNAPSHOTS_KEPT, Head, check_batch, ends_elsewhere, next_batch
from fauxchange.data.ports import JournalBatch, KernelSnapshot
from fauxchange.domain.errors import Conflict, DamagedJournal

_NAME = "in memory"


MAX_BYTES = 64 * 1024 * 1024
"""How much payload is kept: nobody goes on from what another process had in memory, so a run may forget its start."""


class MemoryJournal:
    """Append-only batches; of those that are too many the oldest are forgotten, and reading them is refused.

    Units: max_bytes of payload
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._batches: list[JournalBatch] = []
        self._head = GENESIS
        self._max_bytes = max_bytes
        self._bytes = 0
        self._tail = GENESIS

    async def append(self, first_sequence: int, last_sequence: int, payload: bytes) -> None:
        """Keep a batch behind the last one."""
        self._keep(first_sequence, last_sequence, payload)

    def append_soon(
        self, first_sequence: int, last_sequence: int, payload: bytes, done: Callable[[Exception | None], None]
    ) -> None:
        """Keep a batch behind the last one, and call `done` on the event loop with the outcome."""
        failure: Exception | None = None
        try:
            self._keep(first_sequence, last_sequence, payload)
        except Conflict as exc:
            failure = exc
        asyncio.get_running_loop().call_soon(done, failure)

    async def last_sequence(self) -> int:
        """Return the sequence of the last command kept, 0 if there is none."""
        return self._head.sequence

    async def read(self, after_sequence: int = 0) -> AsyncIterator[Sequence[JournalBatch]]:
        """Yield the batches after a sequence, oldest first, some at a time."""
        index, head = 0, GENESIS
        if after_sequence < self._tail.sequence:
            raise DamagedJournal(f"the journal {_NAME} has forgotten its commands up to {self._tail.sequence}")
        if after_sequence == self._tail.sequence:
            head = self._tail
        elif after_sequence:
            index = bisect_right(self._batches, after_sequence, key=attrgetter("first_sequence"))
            head = Head(self._batches[index - 1].last_sequence, self._batches[index - 1].hash) if index else GENESIS
            if head.sequence != after_sequence:
                raise ends_elsewhere(_NAME, head.sequence, after_sequence)
        while index < len(self._batches):
            chunk: list[JournalBatch] = []
            size = 0
            while index < len(self._batches) and size < READ_BYTES:
                batch = self._batches[index]
                head = check_batch(_NAME, head, batch)
                chunk.append(batch)
                size += len(batch.payload)
                index += 1
            yield chunk

    def _keep(self, first_sequence: int, last_sequence: int, payload: bytes) -> None:
        batch = next_batch(self._head, first_sequence, last_sequence, payload)
        self._batches.append(batch)
        self._head = Head(batch.last_sequence, batch.hash)
        self._bytes += len(payload)
        if self._bytes > self._max_bytes:
            self._forget_half()

    def _forget_half(self) -> None:
        kept = len(self._batches) // 2
        for batch in self._batches[:kept]:
            self._bytes -= len(batch.payload)
            self._tail = Head(batch.last_sequence, batch.hash)
        del self._batches[:kept]


class MemoryKernelSnapshots:
    """The newest few snapshots of the kernel's state."""

    def __init__(self) -> None:
        self._snapshots: dict[int, KernelSnapshot] = {}

    async def save(self, snapshot: KernelSnapshot) -> None:
        """Keep a snapshot and forget those that are too old."""
        self._snapshots[snapshot.sequence] = snapshot
        for sequence in sorted(self._snapshots)[:-SNAPSHOTS_KEPT]:
            del self._snapshots[sequence]

    async def newest(self, at_most: int | None = None) -> KernelSnapshot | None:
        """Return the snapshot of the highest sequence, or the highest one up to `at_most`."""
        fitting = [sequence for sequence in self._snapshots if at_most is None or sequence <= at_most]
        return self._snapshots[max(fitting)] if fitting else None

    async def all(self) -> Sequence[tuple[int, str]]:
        """Return sequence and state hash of every snapshot kept, oldest first."""
        return [(sequence, self._snapshots[sequence].state_hash) for sequence in sorted(self._snapshots)]
