"""Snapshots of the kernel's state, made in the background: what a restart begins with."""

import asyncio
import time

import numpy as np
import structlog

from fauxchange.data.ports import KernelSnapshot, KernelSnapshotRepository
from fauxchange.domain.errors import Unavailable
from fauxchange.services.exchange.core.layout import Int64Array
from fauxchange.services.exchange.core.memory import essence, essence_size
from fauxchange.services.exchange.core.state import State, dump_and_hash
from fauxchange.services.exchange.service.projections import Projector
from fauxchange.services.exchange.service.venue import Venue

LOOK_S = 1.0
SPARE_WORDS = 1 << 18
"""Room for some 8,000 orders that may come before a copy is made."""

log = structlog.get_logger(__name__)


class SnapshotKeeper:
    """Make a snapshot every so many commands. Units: every in commands."""

    def __init__(self, venue: Venue, projector: Projector, store: KernelSnapshotRepository, *, every: int) -> None:
        self._venue = venue
        self._projector = projector
        self._store = store
        self._every = every
        self._last = 0
        self._making = asyncio.Lock()

    def go_on_after(self, sequence: int) -> None:
        """Say which commands the newest snapshot covers."""
        self._last = sequence

    async def run(self) -> None:
        """Make snapshots when they are due, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._venue.sequence - self._last >= self._every:
                try:
                    await self.make()
                except Unavailable as exc:
                    log.warning("snapshot_failed", error=exc.message)
                    # The next try is due after as many commands again: the journal alone is enough.
                    self._last = self._venue.sequence

    async def make(self) -> None:
        """Make a snapshot of now. Raises: Unavailable."""
        async with self._making:
            if self._venue.sequence == self._last:
                return
            begun = time.perf_counter()
            room = await asyncio.to_thread(_touched, essence_size(self._venue.engine.state.memory) + SPARE_WORDS)
            memory = self._venue.engine.state.memory
            if len(room) < essence_size(memory):
                room = np.empty(essence_size(memory), dtype=np.int64)
            # The state goes on changing; the copy is all that is done on the event loop.
            sequence, ts_ns = self._venue.sequence, self._venue.ts_ns
            state = State(essence(memory, room))
            del room
            # A snapshot beyond what the read models hold would be of no use: recovery begins at or before them.
            await self._projector.flush()
            payload, digest = await asyncio.to_thread(dump_and_hash, state)
            await self._store.save(KernelSnapshot(sequence, ts_ns, digest, payload))
            self._last = sequence
            log.info(
                "snapshot_made",
                sequence=sequence,
                bytes=len(payload),
                seconds=round(time.perf_counter() - begun, 3),
            )


def _touched(words: int) -> Int64Array:
    """Return words that the system has given: it does so page by page, which takes longer than to copy into them."""
    return np.ones(words, dtype=np.int64)
