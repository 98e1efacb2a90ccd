"""Verify what is stored: journal, audit trail and snapshots against each other, by carrying everything out anew."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import cast

import numpy as np

from fauxchange.data.ports import ExchangeReadModels, JournalRepository, KernelSnapshotRepository
from fauxchange.domain.errors import DamagedJournal, InvalidRequest, InvariantViolation
from fauxchange.domain.orders import TrailBlock
from fauxchange.domain.trail import GENESIS
from fauxchange.services.exchange.core.engine import Engine, load_state, state_hash
from fauxchange.services.exchange.core.layout import E_SEQUENCE, words
from fauxchange.services.exchange.service.background import BackgroundAccounts, Survey
from fauxchange.services.exchange.service.entries import Batch, Block, Entry, unpack_batch
from fauxchange.services.exchange.service.recovery import Progress
from fauxchange.services.exchange.service.trail import TrailWriter, read_block

BLOCKS_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was verified. Units: commands, records, events, snapshots."""

    commands: int
    events: int
    records: int
    snapshots: int
    state_hash: str
    trail_hash: str


class Verifier:
    """Carry the journal out from the beginning and compare all that is stored with what comes of it."""

    def __init__(
        self,
        journal: JournalRepository,
        snapshots: KernelSnapshotRepository,
        read_models: ExchangeReadModels,
        *,
        compiler: Callable[..., object],
    ) -> None:
        self._journal = journal
        self._snapshots = snapshots
        self._read_models = read_models
        self._engine = Engine(compiler=compiler)
        self._writer = TrailWriter()
        self._last_hash = GENESIS
        self._background = BackgroundAccounts()
        self._survey = Survey(self._background, compiler)
        self._blocks: list[TrailBlock] = []
        self._expected: list[str] = []
        self._reached = 0
        self._records = 0
        self._events = 0

    async def verify(self, progress: Progress | None = None) -> Verified:
        """Verify everything.

        Raises: DamagedJournal that names the first bad record; Unavailable
        """
        end = await self._journal.last_sequence()
        position, _ = await self._read_models.position()
        if position > end:
            raise DamagedJournal(f"the journal ends with command {end}, but command {position} had been carried out")
        hashes = dict(await self._snapshots.all())
        for sequence in hashes:
            await self._check_snapshot(sequence)
        checked = 0
        await self._next_blocks()
        async for stored in self._journal.read():
            for batch in stored:
                await self._carry_out(unpack_batch(batch.payload))
                known = hashes.pop(batch.last_sequence, None)
                if known is not None:
                    checked += 1
                    if known != self._engine.state_hash():
                        raise DamagedJournal(
                            f"the snapshot after command {batch.last_sequence} is not what the journal leads to"
                        )
                if progress is not None:
                    progress("verifying", batch.last_sequence, end)
        if hashes:
            raise DamagedJournal(f"there is a snapshot after command {min(hashes)}, where no batch of the journal ends")
        if self._reached != position:
            raise DamagedJournal(
                f"the audit trail ends with record {self._reached}, and {position} commands were carried out"
            )
        return Verified(
            commands=end,
            events=self._events,
            records=self._records,
            snapshots=checked,
            state_hash=self._engine.state_hash(),
            trail_hash=self._last_hash.hex(),
        )

    async def _check_snapshot(self, sequence: int) -> None:
        """Load a snapshot as a start would. Raises: DamagedJournal if it is not what it says."""
        snapshot = await self._snapshots.newest(sequence)
        try:
            whole = snapshot is not None and snapshot.sequence == sequence
            if snapshot is None or not whole or state_hash(load_state(snapshot.payload)) != snapshot.state_hash:
                raise DamagedJournal(f"the snapshot after command {sequence} is damaged")
        except InvalidRequest as exc:
            raise DamagedJournal(f"the snapshot after command {sequence} cannot be loaded: {exc.message}") from exc

    async def _carry_out(self, batch: Batch) -> None:
        try:
            count = self._engine.run(batch.rows)
        except InvariantViolation as exc:
            # What was written by this program always follows; what another hand has written need not.
            raise DamagedJournal(f"the journal cannot be carried out: {exc}") from exc
        events = words(self._engine.written(count))
        self._events += count
        bounds = np.searchsorted(events[:, E_SEQUENCE], np.arange(batch.first_sequence, batch.last_sequence + 2))
        for part in batch.parts():
            if isinstance(part, Block):
                at = part.sequence - batch.first_sequence
                of_part = events[bounds[at] : bounds[at + len(part.matrix)]]
                self._expected.append(self._last_hash.hex())
                told = self._survey.of(of_part).told
                self._writer.add_slice(part, of_part, told)
                self._chain()
                await self._compare(part.sequence, part.last_sequence)
                continue
            # The journal has the orders of a list as entries.
            for entry in cast("list[Entry]", part):
                at = entry.sequence - batch.first_sequence
                of_entry = events[bounds[at] : bounds[at + 1]]
                self._background.follow(entry, of_entry.tolist())
                self._expected.append(self._last_hash.hex())
                row = batch.matrix[at].tobytes()
                self._writer.add(row, entry.packed, of_entry.tobytes(), len(of_entry), entry.ts_ns)
                self._chain()
                await self._compare(entry.sequence, entry.sequence)

    def _chain(self) -> None:
        """Chain the record that was added."""
        block = self._writer.take()
        if block is not None:
            self._last_hash = block.hash_after(self._last_hash)

    async def _compare(self, first_sequence: int, last_sequence: int) -> None:
        """Compare the trail, where a block of it ends with this record."""
        if not self._blocks:
            return
        block = self._blocks[0]
        if first_sequence == block.first_sequence and self._reached + 1 != first_sequence:
            raise DamagedJournal(f"the audit trail goes on with record {first_sequence} after {self._reached}")
        if last_sequence < block.last_sequence:
            return
        records = list(read_block(block))
        expected = self._expected[-len(records) :]
        for record, prev_hash in zip_longest(records, expected):
            # A record whose predecessor's hash differs tells that the one before it was changed.
            if record is None or record.prev_hash != prev_hash:
                raise DamagedJournal(
                    f"record {max(1, self._reached)} of the audit trail is not what the journal leads to"
                )
            self._reached = record.last_sequence
            self._records += 1
        self._expected.clear()
        if block.hash != self._last_hash.hex():
            raise DamagedJournal(f"record {block.last_sequence} of the audit trail is not what the journal leads to")
        del self._blocks[0]
        if not self._blocks:
            await self._next_blocks()

    async def _next_blocks(self) -> None:
        self._blocks = list(await self._read_models.trail(self._reached + 1, BLOCKS_AT_ONCE))
        if self._blocks and self._blocks[0].first_sequence != self._reached + 1:
            raise DamagedJournal(
                f"the audit trail goes on with record {self._blocks[0].first_sequence} after {self._reached}"
            )
        if self._blocks and self._reached == 0 and self._blocks[0].prev_hash != GENESIS.hex():
            raise DamagedJournal("the audit trail does not begin with its first record")
