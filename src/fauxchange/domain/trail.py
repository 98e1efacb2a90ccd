"""The records of the exchange's audit trail: how they are chained, and the block that some of them become.

A record's hash is the SHA-256 over the hash before it and the record's bytes. Records are gathered where orders are
carried out, and chained where they are stored, behind the block that is the last there: so nothing but the order of the
records is decided where time is short.
"""

import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from fauxchange.domain.orders import TrailBlock

GENESIS: Final = bytes(32)
"""The hash before the first record."""

_SLICE: Final = struct.Struct("<qqqqqq")


class Records(NamedTuple):
    """The records of consecutive commands: those of command `i` are its row, its note and its events.

    Those are rows `bounds[i]:bounds[i + 1]` of all events.
    """

    rows: bytes
    notes: Sequence[bytes]
    events: bytes
    bounds: Sequence[int]

    def hash(self, last_hash: bytes, event_bytes: int) -> bytes:
        """Return the hash of the last record."""
        sha256, rows, events = hashlib.sha256, self.rows, self.events
        width = len(rows) // len(self.notes)
        row_at, begun = 0, 0
        for note, bound in zip(self.notes, self.bounds[1:], strict=True):
            row_end, end = row_at + width, bound * event_bytes
            last_hash = sha256(b"".join((last_hash, rows[row_at:row_end], note, events[begun:end]))).digest()
            row_at, begun = row_end, end
        return last_hash


class Slice(msgspec.Struct, array_like=True, frozen=True):
    """The record of a block of commands; `told` are the events that concern others, as bytes."""

    first_sequence: int
    last_sequence: int
    first_ns: int
    last_ns: int
    note: msgspec.Raw
    rows_digest: bytes
    event_count: int
    events_digest: bytes
    told: bytes

    def hash(self, last_hash: bytes) -> bytes:
        """Return the record's hash."""
        head = _SLICE.pack(
            self.first_sequence, self.last_sequence, self.first_ns, self.last_ns, self.event_count, len(self.told)
        )
        digests = (self.rows_digest, self.events_digest)
        return hashlib.sha256(b"".join((last_hash, head, bytes(self.note), *digests, self.told))).digest()


class PackedRecords(msgspec.Struct, array_like=True):
    """The records of a block as its payload has them."""

    width: int
    event_width: int
    rows: bytes
    notes: list[msgspec.Raw]
    counts: list[int]
    events: bytes
    slices: list[tuple[int, Slice]] = []
    """Each with how many of the others come before it."""


_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBlock:
    """Consecutive records that are not yet chained. Units: widths in words of 8 bytes."""

    width: int
    event_width: int
    first_sequence: int
    last_sequence: int
    first_ns: int
    last_ns: int
    parts: Sequence[Records | Slice]

    def hash_after(self, last_hash: bytes) -> bytes:
        """Return the hash of the last record behind one with the hash given."""
        event_bytes = 8 * self.event_width
        for part in self.parts:
            last_hash = part.hash(last_hash) if isinstance(part, Slice) else part.hash(last_hash, event_bytes)
        return last_hash

    def pack(self, prev_hash: bytes) -> TrailBlock:
        """Return the block as it is stored behind a record with that hash."""
        return TrailBlock(
            first_sequence=self.first_sequence,
            last_sequence=self.last_sequence,
            first_ns=self.first_ns,
            last_ns=self.last_ns,
            prev_hash=prev_hash.hex(),
            hash=self.hash_after(prev_hash).hex(),
            payload=zlib.compress(_encode(self._packed()), 1),
        )

    def _packed(self) -> PackedRecords:
        records = [part for part in self.parts if not isinstance(part, Slice)]
        notes: list[msgspec.Raw] = []
        counts: list[int] = []
        slices: list[tuple[int, Slice]] = []
        for part in self.parts:
            if isinstance(part, Slice):
                slices.append((len(notes), part))
            else:
                notes += map(msgspec.Raw, part.notes)
                counts += [end - begun for begun, end in zip(part.bounds, part.bounds[1:], strict=False)]
        rows, events = (b"".join(column) for column in ([r.rows for r in records], [r.events for r in records]))
        return PackedRecords(self.width, self.event_width, rows, notes, counts, events, slices)
