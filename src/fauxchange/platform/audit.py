"""The audit trail of one service: events numbered, chained and stored in the order in which they happened.

Recording never waits; `flush` returns when everything recorded before it is durable. An event whose storing fails stays
first in line, so the chain never has a hole: while the store is away the trail grows in memory, up to a bound.

A store that fails may have stored what it was given. So after a failure the store is asked how far it has got, and what
it has is not given to it again. A trail that could not be opened begins all the same; its events get their places in
the chain when the store is back.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import structlog

from fauxchange.domain.audit import GENESIS_HASH, AuditEvent
from fauxchange.domain.errors import Conflict, Unavailable
from fauxchange.platform.ports import Clock, DependencyHealth, DependencyStatus
from fauxchange.platform.tracing import current_request

MAX_WAITING = 100_000
RETRY_S = 1.0
ATTEMPTS = 3

log = structlog.get_logger(__name__)


class AuditStore(Protocol):
    """Where a trail is kept (the data adapter's `AuditRepository`)."""

    async def append(self, events: Sequence[AuditEvent]) -> None:
        """Store events durably, all or none."""
        ...

    async def last(self, source: str) -> AuditEvent | None:
        """Return the newest event of a source."""
        ...


class AuditTrail:
    """Record what happens in one service."""

    def __init__(self, source: str, store: AuditStore, *, clock: Clock) -> None:
        self.source = source
        self._store = store
        self._clock = clock
        self._sequence = 0
        self._prev_hash = GENESIS_HASH
        self._waiting: list[AuditEvent] = []
        self._storing = asyncio.Lock()
        self._failure = ""
        self._is_open = False
        self._is_certain = True

    async def open(self) -> None:
        """Go on from the last event stored. Raises: Unavailable; `flush` then does this when it can."""
        self._go_on_from(await self._store.last(self.source))

    def record(
        self,
        type: str,  # noqa: A002 - CloudEvents' word
        *,
        actor: str,
        subject: str | None = None,
        data: Mapping[str, Any] | None = None,
        causation_id: str | None = None,
    ) -> AuditEvent:
        """Append an event to the trail; it is stored by the next `flush`.

        Raises: Unavailable if the store has been away so long that no more can be kept
        """
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("the audit trail cannot be stored", code="audit_unavailable", retry_after_s=RETRY_S)
        request = current_request()
        event = AuditEvent(
            source=self.source,
            type=f"fauxchange.{type}",
            sequence=self._sequence + 1,
            ts_ns=self._clock.now_ns(),
            actor=actor,
            prev_hash=self._prev_hash,
            subject=subject,
            traceid=None if request is None else request.trace_id,
            causationid=causation_id,
            data=dict(data or {}),
        )
        self._sequence, self._prev_hash = event.sequence, event.hash
        self._waiting.append(event)
        return event

    async def flush(self) -> None:
        """Store what was recorded. Raises: Unavailable (the events stay in line)."""
        async with self._storing:
            if not self._waiting:
                return
            try:
                await self._reconcile()
                stored = await self._append()
            except Unavailable as exc:
                if not self._failure:
                    log.error("audit_failed", error=exc.message, waiting=len(self._waiting))
                self._failure = exc.message
                raise
            del self._waiting[:stored]
            self._is_certain = True
            self._failure = ""

    async def flush_quietly(self) -> None:
        """Store what was recorded, or leave it for the next time."""
        try:
            await self.flush()
        except Unavailable:
            # Already logged, and visible in `health`.
            return

    def health(self) -> DependencyHealth:
        """Say whether the trail is being stored."""
        if self._failure:
            return DependencyHealth(DependencyStatus.DEGRADED, f"the audit trail waits: {self._failure}")
        return DependencyHealth(DependencyStatus.OK)

    async def _append(self) -> int:
        """Store what waits, and return how many events that were. Raises: Unavailable."""
        for _ in range(ATTEMPTS):
            waiting = self._waiting[:]
            if not waiting:
                return 0
            self._is_certain = False
            try:
                await self._store.append(waiting)
            except Conflict as exc:
                log.warning("audit_trail_shared", source=self.source, error=exc.message)
                self._go_on_from(await self._store.last(self.source))
            else:
                return len(waiting)
        raise Unavailable(f"others write to the audit trail of {self.source} at the same time", retry_after_s=RETRY_S)

    async def _reconcile(self) -> None:
        """Find out what the store has, where that is not known."""
        if not self._is_open:
            self._go_on_from(await self._store.last(self.source))
        elif not self._is_certain:
            last = await self._store.last(self.source)
            stored = 0
            if last is not None:
                hashes = [event.hash for event in self._waiting]
                stored = hashes.index(last.hash) + 1 if last.hash in hashes else 0
            del self._waiting[:stored]
        self._is_certain = True

    def _go_on_from(self, last: AuditEvent | None) -> None:
        """Give what waits its places behind the last event stored."""
        self._is_open = True
        self._sequence, self._prev_hash = (0, GENESIS_HASH) if last is None else (last.sequence, last.hash)
        for index, event in enumerate(self._waiting):
            placed = replace(event, sequence=self._sequence + 1, prev_hash=self._prev_hash)
            self._sequence, self._prev_hash = placed.sequence, placed.hash
            self._waiting[index] = placed
