"""The journal's chain of batches, as every store keeps and checks it.

A batch's hash covers the hash of the batch before it, so that a batch which was changed, taken out, put in or moved
shows when the journal is read. The end of a journal proves nothing of itself: what else knows how far it went (kernel
snapshots, read models) tells whether it has lost its tail.
"""

import hashlib
from dataclasses import dataclass

from fauxchange.data.ports import JournalBatch
from fauxchange.domain.audit import GENESIS_HASH
from fauxchange.domain.errors import Conflict, DamagedJournal


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain has got to: the last sequence and hash of its newest batch."""

    sequence: int
    hash: str


GENESIS = Head(0, GENESIS_HASH)

READ_BYTES = 4 * 1024 * 1024
"""How much payload a reader of the journal gets at a time, about."""
SNAPSHOTS_KEPT = 3
"""How many snapshots of the kernel's state are kept."""


def batch_hash(prev_hash: str, first_sequence: int, last_sequence: int, payload: bytes) -> str:
    """Return the hash of a batch."""
    digest = hashlib.sha256(f"{prev_hash} {first_sequence} {last_sequence}\n".encode())
    digest.update(payload)
    return digest.hexdigest()


def next_batch(head: Head, first_sequence: int, last_sequence: int, payload: bytes) -> JournalBatch:
    """Return the batch that goes on from `head`. Raises: Conflict if its sequences do not."""
    if first_sequence != head.sequence + 1 or last_sequence < first_sequence:
        raise Conflict(
            f"the batch {first_sequence} to {last_sequence} does not follow {head.sequence}", code="broken_chain"
        )
    own = batch_hash(head.hash, first_sequence, last_sequence, payload)
    return JournalBatch(first_sequence, last_sequence, payload, head.hash, own)


def check_batch(file: str, head: Head, batch: JournalBatch) -> Head:
    """Return the head that a stored batch leads to. Raises: DamagedJournal if it does not go on from `head`."""
    if batch.first_sequence != head.sequence + 1:
        raise damaged(file, head.sequence + 1, f"is missing: {batch.first_sequence} follows {head.sequence}")
    if batch.last_sequence < batch.first_sequence:
        raise damaged(file, batch.first_sequence, f"ends with {batch.last_sequence}, before it begins")
    if batch.prev_hash != head.hash:
        raise damaged(file, batch.first_sequence, "does not carry the hash of the batch before it")
    if batch.hash != batch_hash(batch.prev_hash, batch.first_sequence, batch.last_sequence, batch.payload):
        raise damaged(file, batch.first_sequence, "is not what was written: its hash is another")
    return Head(batch.last_sequence, batch.hash)


def ends_elsewhere(file: str, last_sequence: int, wanted: int) -> DamagedJournal:
    """Return the failure of a journal in which no batch ends with the sequence `wanted`, but one with another."""
    return DamagedJournal(
        f"the journal {file} is damaged: no batch ends with sequence {wanted}, which was stored once; "
        f"the nearest ends with {last_sequence}",
        details={"file": file, "sequence": str(wanted)},
    )


def damaged(file: str, first_sequence: int, reason: str) -> DamagedJournal:
    """Return the failure that names the batch which begins with `first_sequence`."""
    return DamagedJournal(
        f"the journal {file} is damaged: the batch that begins with sequence {first_sequence} {reason}",
        details={"file": file, "sequence": str(first_sequence)},
    )
