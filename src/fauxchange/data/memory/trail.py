"""Audit trails and service state in memory: they last as long as the process."""

from collections.abc import Sequence
from dataclasses import replace

from fauxchange.data.documents import copy_document, decode_document, encode_document
from fauxchange.data.ports import AuditQuery, Page
from fauxchange.data.queries import audit_span, check_chain, position_of
from fauxchange.domain.audit import AuditEvent
from fauxchange.domain.market_data import Metadata


class MemoryAudit:
    """Audit trails, append-only and whole: they are short enough, and a chain with its head cut off proves nothing."""

    def __init__(self) -> None:
        self._trails: dict[str, list[AuditEvent]] = {}

    async def append(self, events: Sequence[AuditEvent]) -> None:
        """Store events, all or none."""
        kept = [replace(event, data=copy_document(event.data, field="data")) for event in events]
        check_chain(kept, lambda source: len(self._trails.get(source, ())))
        for event in kept:
            self._trails.setdefault(event.source, []).append(event)

    async def last(self, source: str) -> AuditEvent | None:
        """Return the newest event of a source."""
        trail = self._trails.get(source)
        return trail[-1] if trail else None

    async def query(self, query: AuditQuery) -> Page[AuditEvent]:
        """Return a page of events."""
        span = audit_span(query)
        # The event of sequence n is at n - 1.
        trail = self._trails.get(query.source, [])
        found: list[AuditEvent] = []
        for index in range(max(0, int(span.low[0])), len(trail)):
            if _matches(trail[index], query):
                found.append(trail[index])
            if len(found) > span.limit:
                break
        return span.page(found, position_of("sequence"))


class MemoryState:
    """Small named JSON documents."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    async def load(self, name: str) -> Metadata | None:
        """Return the document, or None if there is none."""
        text = self._texts.get(name)
        return None if text is None else decode_document(text)

    async def save(self, name: str, document: Metadata) -> None:
        """Store or replace the document."""
        self._texts[name] = encode_document(document, field="document")


def _matches(event: AuditEvent, query: AuditQuery) -> bool:
    return (
        (query.type is None or event.type == query.type)
        and (query.start_ns is None or event.ts_ns >= query.start_ns)
        and (query.end_ns is None or event.ts_ns < query.end_ns)
    )
