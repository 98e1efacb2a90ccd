"""Audit trails and service state in SQLite: durable when the call returns."""

import sqlite3
from collections.abc import Sequence
from functools import partial

from sqlalchemy import bindparam, func, or_, select
from sqlalchemy.dialects import sqlite

from fauxchange.data.documents import decode_document, encode_document
from fauxchange.data.ports import AuditQuery, Page
from fauxchange.data.queries import audit_span, check_chain
from fauxchange.data.sqlite.database import Connected
from fauxchange.data.sqlite.statements import RecordPages, RecordTable, SqliteStatement
from fauxchange.data.tables import audit_events, service_state
from fauxchange.domain.audit import AuditEvent
from fauxchange.domain.market_data import Metadata


class SqliteAudit:
    """Audit trails, append-only."""

    def __init__(self, database: Connected) -> None:
        self._database = database
        self._records = RecordTable(audit_events, AuditEvent)
        columns = audit_events.c
        optional = (
            or_(bindparam("type").is_(None), columns.type == bindparam("type")),
            or_(bindparam("start_ns").is_(None), columns.ts_ns >= bindparam("start_ns")),
            or_(bindparam("end_ns").is_(None), columns.ts_ns < bindparam("end_ns")),
        )
        self._trail = RecordPages(self._records, fixed=["source"], position=["sequence"])
        self._pages = RecordPages(self._records, fixed=["source"], position=["sequence"], conditions=optional)
        last = select(func.max(columns.sequence)).where(columns.source == bindparam("source"))
        self._last_sequence = SqliteStatement(last)

    async def append(self, events: Sequence[AuditEvent]) -> None:
        """Store events, all or none."""
        if events:
            await self._database().write(partial(self._append, events=events), rows=len(events), durable=True)

    async def last(self, source: str) -> AuditEvent | None:
        """Return the newest event of a source."""
        return await self._database().read(partial(self._trail.newest, source=source))

    async def query(self, query: AuditQuery) -> Page[AuditEvent]:
        """Return a page of events."""
        page = partial(
            self._pages.read,
            span=audit_span(query),
            source=query.source,
            type=query.type,
            start_ns=query.start_ns,
            end_ns=query.end_ns,
        )
        return await self._database().read(page)

    def _append(self, connection: sqlite3.Connection, events: Sequence[AuditEvent]) -> None:
        check_chain(events, lambda source: self._last_sequence.value(connection, source=source) or 0)
        self._records.insert(connection, events)


class SqliteState:
    """Small named JSON documents."""

    def __init__(self, database: Connected) -> None:
        self._database = database
        insert = sqlite.insert(service_state).values(name=bindparam("name"), document=bindparam("document"))
        replaced = {"document": insert.excluded.document}
        self._save = SqliteStatement(insert.on_conflict_do_update(index_elements=["name"], set_=replaced))
        self._load = SqliteStatement(select(service_state.c.document).where(service_state.c.name == bindparam("of")))

    async def load(self, name: str) -> Metadata | None:
        """Return the document, or None if there is none."""
        text = await self._database().read(partial(self._load.value, of=name))
        return None if text is None else decode_document(text)

    async def save(self, name: str, document: Metadata) -> None:
        """Store or replace the document durably."""
        text = encode_document(document, field="document")
        await self._database().write(partial(self._save.execute, name=name, document=text), durable=True)
