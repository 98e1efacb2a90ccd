"""Snapshots of the kernel's state, made in the background: what a restart begins with."""

import asyncio
import time

import numpy as np
import structlog

from fauxchange.data.ports import KernelSnapshot, KernelSnapshotRepository
from fauxchange.domain.errors import Unavailable
from fauxchange.services.exchange.core.engine import State, dump_state, state_hash
from fauxchange.services.exchange.service.projections import Projector
from fauxchange.services.exchange.service.venue import Venue

LOOK_S = 1.0

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
            sequence, ts_ns = self._venue.sequence, self._venue.ts_ns
            if sequence == self._last:
                return
            begun = time.perf_counter()
            # The state goes on changing; a copy of its memory is quick, and all that is done on the event loop.
            state = State(np.copy(self._venue.engine.state.memory))
            # A snapshot beyond what the read models hold would be of no use: recovery begins at or before them.
            await self._projector.flush()
            payload, digest = await asyncio.to_thread(_dump, state)
            await self._store.save(KernelSnapshot(sequence, ts_ns, digest, payload))
            self._last = sequence
            log.info(
                "snapshot_made",
                sequence=sequence,
                bytes=len(payload),
                seconds=round(time.perf_counter() - begun, 3),
            )


def _dump(state: State) -> tuple[bytes, str]:
    return dump_state(state), state_hash(state)
