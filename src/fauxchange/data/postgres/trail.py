"""Audit trails and service state in PostgreSQL: durable when the call returns."""

from collections.abc import Sequence
from functools import partial

from sqlalchemy import BigInteger, Text, bindparam, func, or_, select
from sqlalchemy.dialects import postgresql

from fauxchange.data.documents import decode_document, encode_document
from fauxchange.data.ports import AuditQuery, Page
from fauxchange.data.postgres.engine import Connected
from fauxchange.data.postgres.statements import Connection, PostgresStatement, RecordPages, RecordTable
from fauxchange.data.queries import audit_span, check_chain
from fauxchange.data.tables import audit_events, service_state
from fauxchange.domain.audit import AuditEvent
from fauxchange.domain.market_data import Metadata


class PostgresAudit:
    """Audit trails, append-only."""

    def __init__(self, database: Connected) -> None:
        self._database = database
        self._records = RecordTable(audit_events, AuditEvent)
        columns = audit_events.c
        type_, start_ns, end_ns = (
            bindparam("type", type_=Text),
            *(bindparam(name, type_=BigInteger) for name in ("start_ns", "end_ns")),
        )
        optional = (
            or_(type_.is_(None), columns.type == type_),
            or_(start_ns.is_(None), columns.ts_ns >= start_ns),
            or_(end_ns.is_(None), columns.ts_ns < end_ns),
        )
        self._trail = RecordPages(self._records, fixed=["source"], position=["sequence"])
        self._pages = RecordPages(self._records, fixed=["source"], position=["sequence"], conditions=optional)
        last = select(func.max(columns.sequence)).where(columns.source == bindparam("source"))
        self._last_sequence = PostgresStatement(last)

    async def append(self, events: Sequence[AuditEvent]) -> None:
        """Store events, all or none."""
        if events:
            await self._database().run(partial(self._append, events=events), rows=len(events))

    async def last(self, source: str) -> AuditEvent | None:
        """Return the newest event of a source."""
        return await self._database().run(partial(self._trail.newest, source=source))

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
        return await self._database().run(page)

    async def _append(self, connection: Connection, events: Sequence[AuditEvent]) -> None:
        # Events are never deleted: what another writer stores between the look and the insert takes the same key, and
        # one of the two has a conflict.
        last = {
            source: await self._last_sequence.value(connection, source=source) or 0
            for source in sorted({event.source for event in events})
        }
        check_chain(events, last.__getitem__)
        await self._records.insert(connection, events)


class PostgresState:
    """Small named JSON documents."""

    def __init__(self, database: Connected) -> None:
        self._database = database
        insert = postgresql.insert(service_state).values(name=bindparam("name"), document=bindparam("document"))
        replaced = {"document": insert.excluded.document}
        self._save = PostgresStatement(insert.on_conflict_do_update(index_elements=["name"], set_=replaced))
        self._load = PostgresStatement(
            # As text, because the driver would otherwise read it.
            select(service_state.c.document.cast(Text)).where(service_state.c.name == bindparam("of"))
        )

    async def load(self, name: str) -> Metadata | None:
        """Return the document, or None if there is none."""
        found = await self._database().run(partial(self._load.value, of=name))
        return None if found is None else decode_document(found)

    async def save(self, name: str, document: Metadata) -> None:
        """Store or replace the document durably."""
        written = encode_document(document, field="document")
        await self._database().run(partial(self._save.execute, name=name, document=written))
