"""Audit events: CloudEvents 1.0 in a hash chain, append-only.

Each event carries the hash of the one before it, so a changed, deleted, inserted or swapped record is found by
walking the chain. The hash covers the canonical JSON of the event (keys sorted, no spaces) with `prev_hash` in it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fauxchange.domain.times import format_time

GENESIS_HASH = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One thing that happened, who caused it, and its place in the chain.

    Units: ts_ns in nanoseconds of venue time
    Source: CloudEvents 1.0.2, with extension attributes traceid, causationid, actor, sequence, prev_hash
    """

    source: str
    type: str
    sequence: int
    ts_ns: int
    actor: str
    prev_hash: str
    subject: str | None = None
    traceid: str | None = None
    causationid: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def event_id(self) -> str:
        """The event's id, unique within its source."""
        return f"{self.source}:{self.sequence}"

    def cloud_event(self) -> dict[str, Any]:
        """Return the event as CloudEvents JSON (attributes that are None are left out)."""
        attributes = {
            "specversion": "1.0",
            "id": self.event_id,
            "source": f"/fauxchange/{self.source}",
            "type": self.type,
            "time": format_time(self.ts_ns),
            "datacontenttype": "application/json",
            "subject": self.subject,
            "traceid": self.traceid,
            "causationid": self.causationid,
            "actor": self.actor,
            "sequence": self.sequence,
            "prev_hash": self.prev_hash,
            "data": dict(self.data),
        }
        return {name: value for name, value in attributes.items() if value is not None}

    @property
    def hash(self) -> str:
        """The SHA-256 that the next event carries as `prev_hash`."""
        canonical = json.dumps(self.cloud_event(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


def first_broken(events: Iterable[AuditEvent]) -> AuditEvent | None:
    """Return the first event whose sequence or `prev_hash` does not follow from the one before it.

    Ensures: None if the chain, which starts at sequence 1 from the genesis hash, is whole
    """
    prev_hash, sequence = GENESIS_HASH, 0
    for event in events:
        if event.prev_hash != prev_hash or event.sequence != sequence + 1:
            return event
        prev_hash, sequence = event.hash, event.sequence
    return None
