"""Commands on their way: a row for the kernel, what only the service reads beside it, and who waits for the outcome.

What is journalled of a batch is `pack_batch`: the rows as the kernel takes them, and the notes in MessagePack. A batch
that is read back gives the same rows and notes, and so the same events.

A *block* is how the background order flow hands over a slice of its commands: they have one note between them, nobody
waits for any one of them, and each has a time of its own within the slice. A batch with blocks in it has the second
format, in which their rows are packed by column; one without is written as it always was.

A *list* is how plain orders travel (`order_lists`): in columns, but each with a note of its own, and journalled as if
each were an entry.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, cast

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
from fauxchange.services.exchange.service.blocks import Pack, pack_columns, unpack_columns
from fauxchange.services.exchange.service.order_lists import OrderList
from fauxchange.services.exchange.service.requests import Origin

FORMAT: Final = 1
BLOCK_FORMAT: Final = 2
"""The format of a batch with blocks in it."""
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


class Block:
    """Many commands of one origin on their way; `done` is called once, when `events` or `failure` is known.

    Until they are sealed, the rows' times are those that the commands are meant to have. `events` are the kernel's, and
    valid only while `done` runs.
    """

    __slots__ = ("columns", "done", "events", "failure", "matrix", "note", "packed", "sequence", "ts_ns")

    def __init__(self, matrix: Int64Array, note: Note, done: "Callable[[Block], None] | None" = None) -> None:
        self.matrix = matrix
        self.note = note
        self.done = done
        self.packed = b""
        self.columns = b""
        self.sequence = 0
        self.ts_ns = 0
        self.events: Int64Array | None = None
        self.failure: FauxchangeError | None = None

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def last_sequence(self) -> int:
        """The sequence of the last command."""
        return self.sequence + len(self) - 1

    def stamp(self, first_sequence: int, after_ns: int, now_ns: int, pack: Pack = pack_columns) -> None:
        """Give the rows their sequences, and times between what comes before them and now; then pack them."""
        matrix = self.matrix
        matrix[:, C_SEQUENCE] = np.arange(first_sequence, first_sequence + len(matrix))
        times = np.minimum(np.maximum(matrix[:, C_TS_NS], after_ns), now_ns)
        # No row may be earlier than the one before it.
        matrix[:, C_TS_NS] = np.maximum.accumulate(times)
        self.sequence, self.ts_ns = first_sequence, int(matrix[-1, C_TS_NS])
        self.packed = _encoder.encode(self.note)
        self.columns = pack(matrix)


Item = Entry | Block | OrderList
"""What waits to be carried out: one command, or many."""


class Batch:
    """Commands that are made durable together, in their order."""

    __slots__ = ("entries", "first_sequence", "has_blocks", "is_mixed", "matrix", "ts_ns")

    def __init__(
        self,
        entries: Sequence[Item],
        matrix: Int64Array,
        first_sequence: int,
        ts_ns: int,
        *,
        has_blocks: bool = False,
        is_mixed: bool = False,
    ) -> None:
        self.entries = entries
        self.matrix = matrix
        self.first_sequence = first_sequence
        self.ts_ns = ts_ns
        self.has_blocks = has_blocks
        self.is_mixed = is_mixed or has_blocks
        """Whether there are others among the entries than single ones."""

    @property
    def last_sequence(self) -> int:
        """The sequence of the last command."""
        return self.first_sequence + len(self.matrix) - 1

    @property
    def rows(self) -> Rows:
        """The commands as the kernel takes them."""
        return as_rows(self.matrix)

    def parts(self) -> "Iterator[Block | OrderList | list[Entry]]":
        """Yield the blocks and lists, and what stands between them as lists of entries."""
        if not self.is_mixed:
            yield cast("list[Entry]", self.entries)
            return
        singles: list[Entry] = []
        for item in self.entries:
            if isinstance(item, Entry):
                singles.append(item)
                continue
            if singles:
                yield singles
                singles = []
            yield item
        if singles:
            yield singles


def entries_of(orders: OrderList, begun: int, end: int) -> list[Entry]:
    """Return orders of a sealed list as the entries that they would have been."""
    entries = []
    for index, row in enumerate(orders.matrix[begun:end].tolist(), begun):
        note = Note(
            orders.origins[index],
            client_order_id=orders.names[index],
            fingerprint=int(orders.fingerprints[index]),
        )
        entry = Entry(row, note, packed=orders.notes[index])
        entry.sequence, entry.ts_ns = row[C_SEQUENCE], orders.ts_ns
        entries.append(entry)
    return entries


def spread(orders: OrderList) -> list[Entry]:
    """Return the orders of a list as entries; the list is told with the last of them."""
    entries = [
        Entry(row, Note(orders.origins[index], client_order_id=name, fingerprint=orders.fingerprint(index)))
        for index, (row, name) in enumerate(zip(orders.close().tolist(), orders.names, strict=True))
    ]
    orders.entries = dict(enumerate(entries))
    entries[-1].done = partial(_tell_spread, orders)
    return entries


def _tell_spread(orders: OrderList, last: Entry) -> None:
    orders.failure = last.failure
    done, orders.done = orders.done, None
    if done is not None:
        done(orders)


def is_single(item: Item) -> bool:
    """Say whether an item is one command."""
    return type(item) is Entry


def size_of(item: Item) -> int:
    """Return how many commands an item is."""
    return 1 if isinstance(item, Entry) else len(item)


class _Singles(msgspec.Struct, array_like=True, tag=0):
    """Commands one by one, as the second format has them."""

    count: int
    rows: bytes
    notes: list[msgspec.Raw]


class _PackedBlock(msgspec.Struct, array_like=True, tag=1):
    """A block, as the second format has it."""

    first_sequence: int
    note: msgspec.Raw
    columns: bytes


_encoder = msgspec.msgpack.Encoder()
_decode_note = msgspec.msgpack.Decoder(Note).decode
_decode_notes = msgspec.msgpack.Decoder(list[Note]).decode
_decode_parts = msgspec.msgpack.Decoder(list[_Singles | _PackedBlock]).decode


_NOTHING: Final = np.empty((0, COMMAND_WIDTH), dtype=np.int64)


def row_of(command: Rows) -> list[int]:
    """Return the one row that a builder of `core.commands` has made, as a list."""
    row: list[int] = words(command)[0].tolist()
    return row


def as_rows(matrix: Int64Array) -> Rows:
    """Return a matrix of words as rows of the dtype COMMAND, over the same bytes."""
    return matrix.view(COMMAND).reshape(len(matrix))


def seal(
    entries: Sequence[Item],
    first_sequence: int,
    ts_ns: int,
    after_ns: int = 0,
    pack: Pack = pack_columns,
) -> Batch:
    """Give commands their sequences and their times; what comes out is what is journalled and carried out.

    Commands of a block keep the times that they are meant to have, as far as these lie between the last command before
    them, which was at `after_ns`, and `ts_ns`; others get this one.
    """
    if not all(map(is_single, entries)):
        return _seal_parts(entries, first_sequence, ts_ns, after_ns, pack)
    singles = cast("Sequence[Entry]", entries)
    return Batch(singles, _seal_singles(singles, first_sequence, ts_ns), first_sequence, ts_ns)


def _seal_singles(entries: Sequence[Entry], first_sequence: int, ts_ns: int) -> Int64Array:
    matrix = np.array([entry.row for entry in entries], dtype=np.int64)
    matrix[:, C_SEQUENCE] = np.arange(first_sequence, first_sequence + len(entries))
    matrix[:, C_TS_NS] = ts_ns
    for sequence, entry in enumerate(entries, first_sequence):
        entry.sequence = sequence
        entry.ts_ns = ts_ns
        entry.packed = _encoder.encode(entry.note)
    return matrix


def _seal_parts(entries: Sequence[Item], first_sequence: int, now_ns: int, after_ns: int, pack: Pack) -> Batch:
    sequence, last_ns = first_sequence, after_ns
    matrices: list[Int64Array] = []
    has_blocks = False
    for part in Batch(entries, _NOTHING, first_sequence, now_ns, is_mixed=True).parts():
        if isinstance(part, Block):
            has_blocks = True
            part.stamp(sequence, last_ns, now_ns, pack)
            matrices.append(part.matrix)
            last_ns = part.ts_ns
        elif isinstance(part, OrderList):
            part.seal(sequence, now_ns)
            matrices.append(part.matrix)
            last_ns = now_ns
        else:
            matrices.append(_seal_singles(part, sequence, now_ns))
            last_ns = now_ns
        sequence += len(matrices[-1])
    matrix = matrices[0] if len(matrices) == 1 else np.concatenate(matrices)
    return Batch(entries, matrix, first_sequence, last_ns, has_blocks=has_blocks, is_mixed=True)


def pack_batch(batch: Batch) -> bytes:
    """Return what is journalled of a batch."""
    count = len(batch.matrix)
    if batch.has_blocks:
        body = _encoder.encode([_packed(part, batch) for part in batch.parts()])
        return _HEAD.pack(BLOCK_FORMAT, COMMAND_WIDTH, count, len(body)) + body
    notes = b"".join([entry.packed for entry in batch.entries])
    head = _HEAD.pack(FORMAT, COMMAND_WIDTH, count, len(notes) + 5)
    # An array of MessagePack is its length and then its elements, one behind the other.
    return b"".join((head, batch.matrix.tobytes(), b"\xdd", count.to_bytes(4, "big"), notes))


def _packed(part: Block | OrderList | list[Entry], batch: Batch) -> _Singles | _PackedBlock:
    if isinstance(part, Block):
        return _PackedBlock(part.sequence, msgspec.Raw(part.packed), part.columns)
    if isinstance(part, OrderList):
        return _Singles(len(part), part.matrix.tobytes(), [msgspec.Raw(note) for note in part.notes])
    begun = part[0].sequence - batch.first_sequence
    rows = batch.matrix[begun : begun + len(part)].tobytes()
    return _Singles(len(part), rows, [msgspec.Raw(entry.packed) for entry in part])


def unpack_rows(payload: bytes) -> Int64Array:
    """Return the rows of a packed batch, without looking at its notes. Raises: DamagedJournal."""
    form, width, count, _ = _head(payload)
    if form == BLOCK_FORMAT:
        return _joined([_rows_of(part, width) for part in _parts_of(payload)], count)
    return _widened(payload, width, count, _HEAD.size)


def unpack_batch(payload: bytes) -> Batch:
    """Return a packed batch. Raises: DamagedJournal if it is not one."""
    form, width, count, size = _head(payload)
    try:
        if form == BLOCK_FORMAT:
            return _unpack_parts(payload, width, count)
        matrix = unpack_rows(payload)
        begun = _HEAD.size + count * width * 8
        notes = _decode_notes(payload[begun : begun + size])
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise DamagedJournal(f"the notes of a batch cannot be read: {exc}") from exc
    entries = _unpack_singles(matrix, notes)
    return Batch(entries, matrix, entries[0].sequence, entries[0].ts_ns)


def _unpack_parts(payload: bytes, width: int, count: int) -> Batch:
    entries: list[Entry | Block] = []
    matrices: list[Int64Array] = []
    for part in _parts_of(payload):
        rows = _rows_of(part, width)
        matrices.append(rows)
        if isinstance(part, _Singles):
            entries += _unpack_singles(rows, [_decode_note(note) for note in part.notes])
            continue
        block = Block(rows, _decode_note(part.note))
        block.sequence, block.ts_ns = part.first_sequence, int(rows[-1, C_TS_NS])
        block.packed, block.columns = bytes(part.note), part.columns
        entries.append(block)
    matrix = _joined(matrices, count)
    return Batch(entries, matrix, int(matrix[0, C_SEQUENCE]), int(matrix[-1, C_TS_NS]), has_blocks=True)


def _unpack_singles(matrix: Int64Array, notes: Sequence[Note]) -> list[Entry]:
    if len(notes) != len(matrix) or not notes:
        raise DamagedJournal(f"a batch has {len(matrix)} commands and {len(notes)} notes")
    entries = [Entry(row, note) for row, note in zip(matrix.tolist(), notes, strict=True)]
    for entry in entries:
        entry.sequence, entry.ts_ns = entry.row[C_SEQUENCE], entry.row[C_TS_NS]
        entry.packed = _encoder.encode(entry.note)
    return entries


def _parts_of(payload: bytes) -> list[_Singles | _PackedBlock]:
    try:
        return _decode_parts(payload[_HEAD.size :])
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise DamagedJournal(f"the parts of a batch cannot be read: {exc}") from exc


def _rows_of(part: _Singles | _PackedBlock, width: int) -> Int64Array:
    if isinstance(part, _PackedBlock):
        return unpack_columns(part.columns, part.first_sequence)
    if len(part.rows) != part.count * width * 8:
        raise DamagedJournal(f"{part.count} commands of a batch have {len(part.rows)} bytes")
    return _widened(part.rows, width, part.count, 0)


def _widened(stored: bytes, width: int, count: int, offset: int) -> Int64Array:
    rows = np.frombuffer(stored, dtype="<i8", count=count * width, offset=offset).reshape(count, width)
    if width == COMMAND_WIDTH:
        return rows.astype(np.int64)
    # Written before the rows had further columns, which are 0 for what there was then.
    matrix = np.zeros((count, COMMAND_WIDTH), dtype=np.int64)
    matrix[:, :width] = rows
    return matrix


def _joined(matrices: Sequence[Int64Array], count: int) -> Int64Array:
    if sum(map(len, matrices)) != count or not count:
        raise DamagedJournal(f"a batch of {count} commands has {sum(map(len, matrices))}")
    matrix = matrices[0] if len(matrices) == 1 else np.concatenate(matrices)
    first = int(matrix[0, C_SEQUENCE])
    if not np.array_equal(matrix[:, C_SEQUENCE], np.arange(first, first + count)):
        raise DamagedJournal(f"the parts of the batch that begins with command {first} do not follow on each other")
    return matrix


def _head(payload: bytes) -> tuple[int, int, int, int]:
    if len(payload) < _HEAD.size:
        raise DamagedJournal("a batch ends within its head")
    form, width, count, size = _HEAD.unpack_from(payload)
    if form not in (FORMAT, BLOCK_FORMAT) or width > COMMAND_WIDTH:
        raise DamagedJournal(
            f"a batch has format {form} with rows of {width} words; this version knows {FORMAT} and {BLOCK_FORMAT} "
            f"with {COMMAND_WIDTH}"
        )
    rows = count * width * 8 if form == FORMAT else 0
    if len(payload) != _HEAD.size + rows + size:
        raise DamagedJournal(f"a batch of {count} commands has {len(payload)} bytes")
    return form, width, count, size
