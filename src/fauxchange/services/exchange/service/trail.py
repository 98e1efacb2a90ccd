"""The exchange's audit trail: one record for each command, with all that it led to, in a hash chain.

A record is the command's row, its note and its events, as bytes; its hash is the SHA-256 over the hash before it and
these bytes, so that nothing can be changed, left out or swapped unnoticed. Records are kept in blocks, which carry the
hash before their first record and that of their last. All of it follows from the journal: a rebuilt trail has the same
hashes.

A slice of the background order flow is one record, with digests of its rows and of all its events in their place, and
with those events at length that concern anybody else: what the others were is in the journal, and carrying it out anew
proves it.
"""

import hashlib
import zlib
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from fauxchange.domain.errors import DamagedJournal
from fauxchange.domain.orders import TrailBlock
from fauxchange.domain.times import format_time
from fauxchange.domain.trail import OpenBlock, PackedRecords, Records, Slice
from fauxchange.services.exchange.core.layout import (
    C_ACCOUNT,
    C_INSTRUMENT,
    C_KIND,
    C_ORDER_ID,
    C_SEQUENCE,
    C_TS_NS,
    COMMAND_WIDTH,
    E_ACCOUNT,
    E_KIND,
    E_MAKER_ACCOUNT,
    E_REASON,
    EVENT_COLUMNS,
    EVENT_WIDTH,
    Int64Array,
)
from fauxchange.services.exchange.core.vocabulary import CommandKind, EventKind, RejectReason
from fauxchange.services.exchange.service.entries import Block, Note

SOURCE = "exchange"

_decode = msgspec.msgpack.Decoder(PackedRecords).decode
_decode_note = msgspec.msgpack.Decoder(Note).decode


class TrailWriter:
    """Gather the records of commands behind `sequence`; they are chained where they are stored."""

    def __init__(self, sequence: int = 0) -> None:
        self.sequence = sequence
        self._begin()

    def _begin(self) -> None:
        self._parts: list[Records | Slice] = []
        self._first = self.sequence + 1
        self._first_ns = 0
        self._last_ns = 0

    def add(self, row: bytes, note: bytes, events: bytes, count: int, ts_ns: int) -> None:
        """Add the record of the next command; `events` are its `count` rows of events."""
        self.add_batch(row, (note,), events, (0, count), ts_ns)

    def add_batch(self, rows: bytes, notes: Sequence[bytes], events: bytes, bounds: Sequence[int], ts_ns: int) -> None:
        """Add the records of the next commands, which are of one moment; see `Records`. What is given is kept."""
        if self.sequence < self._first:
            self._first_ns = ts_ns
        self._last_ns = ts_ns
        self.sequence += len(notes)
        self._parts.append(Records(rows, notes, events, bounds))

    def add_slice(self, block: Block, events: Int64Array, told: Int64Array) -> None:
        """Add the record of a block of commands, of all of whose events `told` concern others."""
        record = Slice(
            first_sequence=self.sequence + 1,
            last_sequence=self.sequence + len(block.matrix),
            first_ns=int(block.matrix[0, C_TS_NS]),
            last_ns=block.ts_ns,
            note=msgspec.Raw(block.packed),
            rows_digest=hashlib.sha256(block.columns).digest(),
            event_count=len(events),
            events_digest=hashlib.sha256(np.ascontiguousarray(events).data).digest(),
            told=told.tobytes(),
        )
        if self.sequence < self._first:
            self._first_ns = record.first_ns
        self._last_ns = record.last_ns
        self.sequence = record.last_sequence
        self._parts.append(record)

    def take(self) -> OpenBlock | None:
        """Return what was added since the last call; None if that is nothing."""
        if self.sequence < self._first:
            return None
        block = OpenBlock(
            width=COMMAND_WIDTH,
            event_width=EVENT_WIDTH,
            first_sequence=self._first,
            last_sequence=self.sequence,
            first_ns=self._first_ns,
            last_ns=self._last_ns,
            parts=tuple(self._parts),
        )
        self._begin()
        return block


@dataclass(frozen=True, slots=True)
class TrailRecord:
    """One record as it is told: of a command, or (then `slice` is not None and there is no row) of a block of them."""

    sequence: int
    ts_ns: int
    prev_hash: str
    row: list[int]
    note: Note
    events: list[list[int]]
    slice: Slice | None = None

    @property
    def last_sequence(self) -> int:
        """The last command that it covers."""
        return self.sequence if self.slice is None else self.slice.last_sequence

    def concerns(self, account: int) -> bool:
        """Say whether an account asked for it or is touched by it."""
        if self.row and self.row[C_ACCOUNT] == account and self.row[C_KIND] not in _WITHOUT_ACCOUNT:
            return True
        trade = EventKind.TRADE
        return any(
            event[E_ACCOUNT] == account or (event[E_KIND] == trade and event[E_MAKER_ACCOUNT] == account)
            for event in self.events
        )

    @property
    def type(self) -> str:
        """What kind of thing happened, as a CloudEvents type."""
        if self.slice is not None:
            return f"fauxchange.{SOURCE}.order_flow"
        content = self.note.content or {}
        told = content.get("type") if self.row[C_KIND] == CommandKind.NOTE else None
        return f"fauxchange.{SOURCE}.{told or CommandKind(self.row[C_KIND]).name.lower()}"

    def cloud_event(self) -> dict[str, Any]:
        """Return the record as CloudEvents JSON."""
        origin = self.note.origin
        kind = None if self.slice is not None else CommandKind(self.row[C_KIND])
        has_account = kind is not None and kind not in _WITHOUT_ACCOUNT
        data = {
            "source_address": origin.source or None,
            "command": self._command() if self.slice is None else _slice_document(self.slice),
            "events": [_event_document(event) for event in self.events],
        }
        attributes = {
            "specversion": "1.0",
            "id": f"{SOURCE}:{self.sequence}",
            "source": f"/fauxchange/{SOURCE}",
            "type": self.type,
            "time": format_time(self.ts_ns),
            "datacontenttype": "application/json",
            "subject": f"account/{self.row[C_ACCOUNT]}" if has_account else None,
            "traceid": origin.trace_id or None,
            "causationid": origin.request_id or None,
            "actor": origin.actor,
            "sequence": self.sequence,
            "prev_hash": self.prev_hash,
            "data": data,
        }
        return {name: value for name, value in attributes.items() if value is not None}

    def _command(self) -> dict[str, Any]:
        kind = CommandKind(self.row[C_KIND])
        content = {name: value for name, value in (self.note.content or {}).items() if name not in _SECRET}
        command = {
            "kind": kind.name.lower(),
            "account": self.row[C_ACCOUNT] if kind not in _WITHOUT_ACCOUNT else None,
            "instrument": self.row[C_INSTRUMENT] if kind in _WITH_INSTRUMENT else None,
            "order_id": self.row[C_ORDER_ID] if kind in _WITH_ORDER else None,
            "row": self.row,
            "client_order_id": self.note.client_order_id,
            "idempotency_key": self.note.idempotency_key,
            "verdict": self.note.verdict,
            "content": content or None,
        }
        return {name: value for name, value in command.items() if value is not None}


def read_block(block: TrailBlock) -> Iterator[TrailRecord]:
    """Yield the records of a block, checking its chain. Raises: DamagedJournal that names the first bad record."""
    try:
        packed = _decode(zlib.decompress(block.payload))
        last_hash = bytes.fromhex(block.prev_hash)
    except (msgspec.DecodeError, zlib.error, ValueError) as exc:
        raise DamagedJournal(f"the audit trail's block of record {block.first_sequence} cannot be read: {exc}") from exc
    _check_whole(block, packed)
    last_hash = yield from _read_records(block, packed, last_hash)
    if last_hash.hex() != block.hash:
        raise DamagedJournal(
            f"the audit trail's records {block.first_sequence} to {block.last_sequence} do not have the hash that they "
            "had when they were written"
        )


def _check_whole(block: TrailBlock, packed: PackedRecords) -> None:
    row_bytes, event_bytes = packed.width * 8, packed.event_width * 8
    singles = len(packed.notes)
    covered = singles + sum(each.last_sequence - each.first_sequence + 1 for _, each in packed.slices)
    whole = len(packed.counts) == singles and len(packed.rows) == singles * row_bytes
    whole = whole and covered == block.last_sequence - block.first_sequence + 1
    whole = whole and all(len(each.told) % event_bytes == 0 for _, each in packed.slices)
    if not whole or len(packed.events) != sum(packed.counts) * event_bytes:
        raise DamagedJournal(f"the audit trail's block of record {block.first_sequence} lacks records")


def _read_records(block: TrailBlock, packed: PackedRecords, last_hash: bytes) -> Generator[TrailRecord, None, bytes]:
    row_bytes, event_bytes = packed.width * 8, packed.event_width * 8
    rows = np.frombuffer(packed.rows, dtype="<i8").reshape(-1, packed.width).tolist()
    events = np.frombuffer(packed.events, dtype="<i8").reshape(-1, packed.event_width).tolist()
    slices = deque(packed.slices)
    sequence, at = block.first_sequence, 0
    for index, (row, raw, event_count) in enumerate(zip(rows, packed.notes, packed.counts, strict=True)):
        while slices and slices[0][0] <= index:
            last_hash, sequence = yield from _read_slice(slices.popleft()[1], packed.event_width, last_hash, sequence)
        if row[C_SEQUENCE] != sequence:
            raise _misplaced(row[C_SEQUENCE], sequence)
        yield TrailRecord(
            sequence, row[C_TS_NS], last_hash.hex(), row, _note_of(raw, sequence), events[at : at + event_count]
        )
        last_hash = hashlib.sha256(
            b"".join(
                (
                    last_hash,
                    packed.rows[index * row_bytes : (index + 1) * row_bytes],
                    bytes(raw),
                    packed.events[at * event_bytes : (at + event_count) * event_bytes],
                )
            )
        ).digest()
        at += event_count
        sequence += 1
    for _, each in slices:
        last_hash, sequence = yield from _read_slice(each, packed.event_width, last_hash, sequence)
    return last_hash


def _read_slice(
    each: Slice, event_width: int, last_hash: bytes, sequence: int
) -> Generator[TrailRecord, None, tuple[bytes, int]]:
    if each.first_sequence != sequence:
        raise _misplaced(each.first_sequence, sequence)
    told = np.frombuffer(each.told, dtype="<i8").reshape(-1, event_width).tolist()
    yield TrailRecord(sequence, each.last_ns, last_hash.hex(), [], _note_of(each.note, sequence), told, each)
    return each.hash(last_hash), each.last_sequence + 1


def _note_of(raw: msgspec.Raw, sequence: int) -> Note:
    try:
        return _decode_note(raw)
    except (msgspec.DecodeError, ValueError) as exc:
        raise DamagedJournal(f"the note of record {sequence} of the audit trail cannot be read: {exc}") from exc


def _misplaced(found: int, sequence: int) -> DamagedJournal:
    return DamagedJournal(f"the audit trail has command {found} in the place of record {sequence}")


def check_chain(blocks: Sequence[TrailBlock], sequence: int, last_hash: str) -> tuple[int, str]:
    """Check that blocks go on after a record with that hash, and each by itself; return where they end.

    Raises: DamagedJournal that names the first bad record
    """
    for block in blocks:
        if block.first_sequence != sequence + 1:
            raise DamagedJournal(f"the audit trail goes on with record {block.first_sequence} after {sequence}")
        if block.prev_hash != last_hash:
            raise DamagedJournal(
                f"record {block.first_sequence} of the audit trail does not follow from the one before"
            )
        for _ in read_block(block):
            pass
        sequence, last_hash = block.last_sequence, block.hash
    return sequence, last_hash


_SECRET = frozenset({"encrypted_secret"})
_WITHOUT_ACCOUNT = frozenset(
    {
        CommandKind.CREATE_ASSET,
        CommandKind.CREATE_ACCOUNT,
        CommandKind.SET_TIER_FEES,
        CommandKind.CREATE_INSTRUMENT,
        CommandKind.SET_INSTRUMENT_STATUS,
        CommandKind.SET_REFERENCE_PRICE,
        CommandKind.SET_LIMITS,
        CommandKind.EXPIRE,
        CommandKind.NOTE,
    }
)
_WITH_ORDER = frozenset(
    {CommandKind.CANCEL, CommandKind.AMEND, CommandKind.REPLACE_IN_PLACE, CommandKind.CANCEL_REPLACE}
)
_WITH_INSTRUMENT = frozenset(
    {
        CommandKind.PLACE,
        CommandKind.CANCEL_ALL,
        CommandKind.CANCEL_REPLACE,
        CommandKind.SET_INSTRUMENT_STATUS,
        CommandKind.SET_REFERENCE_PRICE,
        CommandKind.SET_LIMITS,
        CommandKind.SET_TIER_FEES,
    }
)
_OF_TRADES = (
    "event_sequence", "instrument", "account", "order_id", "side", "price_ticks", "last_lots", "cum_lots",
    "leaves_lots", "order_status", "trade_id", "maker_order_id", "maker_account", "maker_fee", "taker_fee",
    "maker_leaves_lots",
)  # fmt: skip
_OF_BALANCES = ("event_sequence", "account", "asset", "delta_free", "delta_held", "cause", "order_id")
_OF_BOOKS = ("event_sequence", "instrument", "side", "price_ticks", "level_lots")
_OF_ORDERS = (
    "event_sequence", "instrument", "account", "order_id", "side", "price_ticks", "order_lots", "cum_lots",
    "leaves_lots", "order_status",
)  # fmt: skip
_OF_OTHERS = ("event_sequence", "instrument", "account", "order_id")
_FIELDS = {
    EventKind.TRADE: _OF_TRADES,
    EventKind.BALANCE: _OF_BALANCES,
    EventKind.BOOK: _OF_BOOKS,
    EventKind.ASSET_CREATED: ("event_sequence", "asset"),
    **dict.fromkeys(
        (
            EventKind.ORDER_ACCEPTED,
            EventKind.ORDER_REJECTED,
            EventKind.ORDER_TRIGGERED,
            EventKind.ORDER_AMENDED,
            EventKind.ORDER_REPLACED,
            EventKind.ORDER_CANCELED,
            EventKind.ORDER_EXPIRED,
        ),
        _OF_ORDERS,
    ),
}


def _slice_document(each: Slice) -> dict[str, Any]:
    return {
        "kind": "order_flow",
        "last_sequence": each.last_sequence,
        "commands": each.last_sequence - each.first_sequence + 1,
        "rows_digest": each.rows_digest.hex(),
        "event_count": each.event_count,
        "events_digest": each.events_digest.hex(),
    }


def _event_document(event: list[int]) -> dict[str, Any]:
    kind = EventKind(event[E_KIND])
    document: dict[str, Any] = {"kind": kind.name.lower()}
    for name in _FIELDS.get(kind, _OF_OTHERS):
        document[name] = event[EVENT_COLUMNS[name]]
    if event[E_REASON]:
        document["reason"] = RejectReason(event[E_REASON]).name.lower()
    return document
