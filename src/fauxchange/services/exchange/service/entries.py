"""Commands on their way: a row for the kernel, what only the service reads beside it, and who waits for the outcome.

What is journalled of a batch is `pack_batch`: the rows as the kernel takes them, and the notes in MessagePack. A batch
that is read back gives the same rows and notes, and so the same events.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from fauxchange.domain.errors import DamagedJournal, FauxchangeError
from fauxchange.services.exchange.core.layout import (
    C_ACCOUNT,
    C_KIND,
    C_SEQUENCE,
    C_TS_NS,
    COMMAND,
    COMMAND_WIDTH,
    Int64Array,
    Rows,
    words,
)
from fauxchange.services.exchange.service.requests import Origin

FORMAT: Final = 1
_HEAD: Final = struct.Struct("<HHIQ")
"""Format, words in a row, rows, bytes of the notes."""


class Note(msgspec.Struct, array_like=True, gc=False, omit_defaults=True):
    """What is journalled beside a row: where it came from, and what the kernel has no field for.

    `verdict` is the reason for which a user's own check refused the order; `fingerprint` is a hash of what was asked
    for under the client order id or idempotency key, 0 without one; `content` is a document of a command that the
    service reads (an account's name, a key).
    """

    origin: Origin
    client_order_id: str | None = None
    idempotency_key: str | None = None
    verdict: str | None = None
    fingerprint: int = 0
    content: dict[str, Any] | None = None


class Entry(msgspec.Struct, eq=False):
    """One command with its note; `done` is called once, on the event loop, when `events` or `failure` is known.

    `events` are rows of the kernel's events as lists, by `EVENT_COLUMNS`; `result` is for whoever handles the entry.
    """

    row: list[int]
    note: Note
    done: "Callable[[Entry], None] | None" = None
    packed: bytes = b""
    sequence: int = 0
    ts_ns: int = 0
    events: Sequence[list[int]] = ()
    failure: FauxchangeError | None = None
    result: Any = None

    @property
    def kind(self) -> int:
        """The command's kind."""
        return self.row[C_KIND]

    @property
    def account(self) -> int:
        """The command's account."""
        return self.row[C_ACCOUNT]


class Batch:
    """Commands that are made durable together, in their order."""

    __slots__ = ("entries", "first_sequence", "matrix", "ts_ns")

    def __init__(self, entries: Sequence[Entry], matrix: Int64Array, first_sequence: int, ts_ns: int) -> None:
        self.entries = entries
        self.matrix = matrix
        self.first_sequence = first_sequence
        self.ts_ns = ts_ns

    @property
    def last_sequence(self) -> int:
        """The sequence of the last command."""
        return self.first_sequence + len(self.entries) - 1

    @property
    def rows(self) -> Rows:
        """The commands as the kernel takes them."""
        return as_rows(self.matrix)


_encoder = msgspec.msgpack.Encoder()
_decode_notes = msgspec.msgpack.Decoder(list[Note]).decode


def row_of(command: Rows) -> list[int]:
    """Return the one row that a builder of `core.commands` has made, as a list."""
    row: list[int] = words(command)[0].tolist()
    return row


def as_rows(matrix: Int64Array) -> Rows:
    """Return a matrix of words as rows of the dtype COMMAND, over the same bytes."""
    return matrix.view(COMMAND).reshape(len(matrix))


def seal(entries: Sequence[Entry], first_sequence: int, ts_ns: int) -> Batch:
    """Give commands their sequences and their time; what comes out is what is journalled and carried out."""
    matrix = np.array([entry.row for entry in entries], dtype=np.int64)
    matrix[:, C_SEQUENCE] = np.arange(first_sequence, first_sequence + len(entries))
    matrix[:, C_TS_NS] = ts_ns
    for sequence, entry in enumerate(entries, first_sequence):
        entry.sequence = sequence
        entry.ts_ns = ts_ns
        entry.packed = _encoder.encode(entry.note)
    return Batch(entries, matrix, first_sequence, ts_ns)


def pack_batch(batch: Batch) -> bytes:
    """Return what is journalled of a batch."""
    notes = b"".join([entry.packed for entry in batch.entries])
    count = len(batch.entries)
    head = _HEAD.pack(FORMAT, COMMAND_WIDTH, count, len(notes) + 5)
    # An array of MessagePack is its length and then its elements, one behind the other.
    return b"".join((head, batch.matrix.tobytes(), b"\xdd", count.to_bytes(4, "big"), notes))


def unpack_rows(payload: bytes) -> Int64Array:
    """Return the rows of a packed batch, without looking at its notes. Raises: DamagedJournal."""
    form, width, count, _ = _head(payload)
    if form != FORMAT or width > COMMAND_WIDTH:
        raise DamagedJournal(
            f"a batch has format {form} with rows of {width} words; this version knows {FORMAT} with {COMMAND_WIDTH}"
        )
    stored = np.frombuffer(payload, dtype="<i8", count=count * width, offset=_HEAD.size).reshape(count, width)
    if width == COMMAND_WIDTH:
        return stored.astype(np.int64)
    # Written before the rows had further columns, which are 0 for what there was then.
    matrix = np.zeros((count, COMMAND_WIDTH), dtype=np.int64)
    matrix[:, :width] = stored
    return matrix


def unpack_batch(payload: bytes) -> Batch:
    """Return a packed batch. Raises: DamagedJournal if it is not one."""
    matrix = unpack_rows(payload)
    _, width, count, size = _head(payload)
    begun = _HEAD.size + count * width * 8
    try:
        notes = _decode_notes(payload[begun : begun + size])
    except msgspec.DecodeError as exc:
        raise DamagedJournal(f"the notes of a batch cannot be read: {exc}") from exc
    if len(notes) != count or count == 0:
        raise DamagedJournal(f"a batch has {count} commands and {len(notes)} notes")
    entries = [Entry(row, note) for row, note in zip(matrix.tolist(), notes, strict=True)]
    for entry in entries:
        entry.sequence, entry.ts_ns = entry.row[C_SEQUENCE], entry.row[C_TS_NS]
        entry.packed = _encoder.encode(entry.note)
    return Batch(entries, matrix, entries[0].sequence, entries[0].ts_ns)


def _head(payload: bytes) -> tuple[int, int, int, int]:
    if len(payload) < _HEAD.size:
        raise DamagedJournal("a batch ends within its head")
    form, width, count, size = _HEAD.unpack_from(payload)
    if len(payload) != _HEAD.size + count * width * 8 + size:
        raise DamagedJournal(f"a batch of {count} commands has {len(payload)} bytes")
    return form, width, count, size
