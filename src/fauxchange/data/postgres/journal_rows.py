"""The journal's rows in PostgreSQL, and how they are read and checked: nothing that is read is trusted."""

from typing import Any

import psycopg
from psycopg import errors as pg

from fauxchange.data.journal import GENESIS, READ_BYTES, Head, check_batch, ends_elsewhere
from fauxchange.data.ports import JournalBatch
from fauxchange.data.tables import exchange_journal
from fauxchange.domain.errors import DamagedJournal

JOURNAL = exchange_journal.fullname
READ_ROWS = 4_000
"""How many batches cross at a time at most."""

_COLUMNS = "first_sequence, last_sequence, payload, prev_hash, hash"
_AFTER = f"""
    SELECT {_COLUMNS} FROM (
        SELECT *, sum(octet_length(payload)) OVER (ORDER BY first_sequence) - octet_length(payload) AS bytes_before
        FROM (SELECT * FROM {JOURNAL} WHERE first_sequence > %s ORDER BY first_sequence LIMIT {READ_ROWS}) AS next
    ) AS counted
    WHERE bytes_before < {READ_BYTES} ORDER BY first_sequence
"""  # noqa: S608 - made of constants
_UP_TO = f"""
    SELECT {_COLUMNS} FROM {JOURNAL} WHERE first_sequence <= %s ORDER BY first_sequence DESC LIMIT 1
"""  # noqa: S608 - made of constants

Connection = psycopg.AsyncConnection[Any]


async def last_head(name: str, connection: Connection) -> tuple[Head, int]:
    """Return where the chain has got to, and where its last batch begins. Raises: DamagedJournal, psycopg.Error."""
    batch = await _last_up_to(name, connection, 2**63 - 1)
    return (GENESIS, 0) if batch is None else (_own_head(name, batch), batch.first_sequence)


async def read_place(name: str, connection: Connection, after_sequence: int) -> Head:
    """Return the head that the batch ending with `after_sequence` led to; 0 is before the first one.

    Raises: DamagedJournal if no batch ends with it; psycopg.Error
    """
    if after_sequence == 0:
        return GENESIS
    batch = await _last_up_to(name, connection, after_sequence)
    if batch is None:
        raise ends_elsewhere(name, 0, after_sequence)
    head = _own_head(name, batch)
    if head.sequence != after_sequence:
        raise ends_elsewhere(name, head.sequence, after_sequence)
    return head


async def read_some(name: str, connection: Connection, head: Head) -> tuple[list[JournalBatch], Head]:
    """Return about `READ_BYTES` of batches that go on from `head`, checked, and the head they lead to.

    Raises: DamagedJournal, psycopg.Error
    """
    batches: list[JournalBatch] = []
    for row in await _rows(name, connection, _AFTER, head.sequence):
        batch = JournalBatch(*row)
        head = check_batch(name, head, batch)
        batches.append(batch)
    return batches, head


async def _last_up_to(name: str, connection: Connection, sequence: int) -> JournalBatch | None:
    rows = await _rows(name, connection, _UP_TO, sequence)
    return JournalBatch(*rows[0]) if rows else None


async def _rows(name: str, connection: Connection, statement: str, sequence: int) -> list[Any]:
    try:
        cursor = connection.cursor(binary=True)
        return await (await cursor.execute(statement, (sequence,))).fetchall()
    except (pg.DataCorrupted, pg.IndexCorrupted) as exc:
        raise DamagedJournal(
            f"the journal {name} is damaged: what follows sequence {sequence} cannot be read ({exc})",
            details={"file": name},
        ) from exc


def _own_head(name: str, batch: JournalBatch) -> Head:
    """Return the head that a batch leads to, which is checked by itself."""
    return check_batch(name, Head(batch.first_sequence - 1, batch.prev_hash), batch)
