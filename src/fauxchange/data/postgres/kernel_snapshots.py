"""Snapshots of the kernel's state in PostgreSQL.

A payload is stored in parts, because the server bounds the length of a value, and handles one in memory as a whole.
"""

import asyncio
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import psycopg
from psycopg import errors as pg

from fauxchange.data.journal import SNAPSHOTS_KEPT
from fauxchange.data.ports import KernelSnapshot
from fauxchange.data.postgres.engine import PostgresDatabase
from fauxchange.data.tables import exchange_snapshot_parts, exchange_snapshots
from fauxchange.platform.logging import get_logger

_log = get_logger(__name__)

PART_BYTES = 1024 * 1024
BYTES_PER_ROW = 512
"""So many bytes get as much time as a row of another table: the slowest network that this suits has some 1 MB/s."""

_SNAPSHOTS, _PARTS = exchange_snapshots.fullname, exchange_snapshot_parts.fullname
_FORGET_PARTS = f"DELETE FROM {_PARTS} WHERE sequence = %s"  # noqa: S608 - made of constants
_PUT = f"""
    INSERT INTO {_SNAPSHOTS} (sequence, ts_ns, state_hash, size, checksum) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (sequence) DO UPDATE
    SET ts_ns = excluded.ts_ns, state_hash = excluded.state_hash, size = excluded.size, checksum = excluded.checksum
"""  # noqa: S608 - made of constants
_PUT_PART = f"INSERT INTO {_PARTS} (sequence, part, payload) VALUES (%s, %s, %s)"  # noqa: S608 - made of constants
_FORGET = (
    f"""
    DELETE FROM {_SNAPSHOTS}
    WHERE sequence NOT IN (SELECT sequence FROM {_SNAPSHOTS} ORDER BY sequence DESC LIMIT {SNAPSHOTS_KEPT})
    """,  # noqa: S608 - made of constants
    f"DELETE FROM {_PARTS} WHERE sequence NOT IN (SELECT sequence FROM {_SNAPSHOTS})",  # noqa: S608 - as above
)
_CHOICE = f"""
    SELECT sequence, ts_ns, state_hash, size, checksum FROM {_SNAPSHOTS} WHERE sequence <= %s ORDER BY sequence DESC
"""  # noqa: S608 - made of constants
_PART = f"SELECT payload FROM {_PARTS} WHERE sequence = %s AND part = %s"  # noqa: S608 - made of constants
_ALL = f"SELECT sequence, state_hash FROM {_SNAPSHOTS} ORDER BY sequence"  # noqa: S608 - made of constants

Connection = psycopg.AsyncConnection[Any]


class PostgresKernelSnapshots:
    """The newest few snapshots of the kernel's state."""

    def __init__(self, connected: Callable[[], PostgresDatabase]) -> None:
        self._connected = connected

    async def save(self, snapshot: KernelSnapshot) -> None:
        """Store a snapshot durably and forget those that are too old."""
        checksum = await asyncio.to_thread(zlib.crc32, snapshot.payload)
        work = partial(_save, snapshot=snapshot, checksum=checksum)
        await self._connected().run(work, rows=len(snapshot.payload) // BYTES_PER_ROW)

    async def newest(self, at_most: int | None = None) -> KernelSnapshot | None:
        """Return the snapshot of the highest sequence, or the highest one up to `at_most`.

        One that is damaged is passed over: an older one, or the journal from its beginning, leads to the same state.
        """
        database = self._connected()
        highest = 2**63 - 1 if at_most is None else at_most
        for sequence, ts_ns, state_hash, size, checksum in await database.run(partial(_choice, at_most=highest)):
            payload = await database.run(partial(_payload, sequence=sequence, size=size), rows=size // BYTES_PER_ROW)
            if payload is not None and await asyncio.to_thread(zlib.crc32, payload) == checksum:
                return KernelSnapshot(sequence, ts_ns, state_hash, payload)
            _log.error("snapshot is damaged and is passed over", store=f"postgresql:{database.name}", sequence=sequence)
        return None

    async def all(self) -> Sequence[tuple[int, str]]:
        """Return sequence and state hash of every snapshot kept, oldest first."""
        return await self._connected().run(_all)


async def _save(connection: Connection, *, snapshot: KernelSnapshot, checksum: int) -> None:
    payload = memoryview(snapshot.payload)
    async with connection.transaction():
        await connection.execute("SET LOCAL synchronous_commit = on")
        await connection.execute(_FORGET_PARTS, (snapshot.sequence,))
        row = (snapshot.sequence, snapshot.ts_ns, snapshot.state_hash, len(payload), checksum)
        await connection.execute(_PUT, row)
        cursor = connection.cursor(binary=True)
        for part, start in enumerate(range(0, len(payload), PART_BYTES)):
            await cursor.execute(_PUT_PART, (snapshot.sequence, part, payload[start : start + PART_BYTES]), binary=True)
        for statement in _FORGET:
            await connection.execute(statement)


async def _choice(connection: Connection, *, at_most: int) -> list[Any]:
    return await (await connection.execute(_CHOICE, (at_most,))).fetchall()


async def _payload(connection: Connection, *, sequence: int, size: int) -> bytes | None:
    """Return the parts of a snapshot together, None if they are not whole or the server finds its own pages corrupt."""
    parts: list[bytes] = []
    cursor = connection.cursor(binary=True)
    for part in range(-(-size // PART_BYTES)):
        try:
            row = await (await cursor.execute(_PART, (sequence, part))).fetchone()
        except (pg.DataCorrupted, pg.IndexCorrupted):
            return None
        if row is None:
            return None
        parts.append(row[0])
    payload = b"".join(parts)
    return payload if len(payload) == size else None


async def _all(connection: Connection) -> list[tuple[int, str]]:
    return await (await connection.execute(_ALL)).fetchall()
