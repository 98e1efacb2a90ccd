"""What came of requests with an Idempotency-Key, for 24 hours of venue time."""

from collections import deque
from collections.abc import Iterable
from dataclasses import asdict
from operator import itemgetter
from typing import Any

from fauxchange.domain.orders import CLIENT_ORDER_ID_KEPT_NS, AccountRecord
from fauxchange.services.exchange.service.entries import Entry
from fauxchange.services.exchange.service.requests import Transfer

MAX_KEPT = 10_000
"""Beyond this the oldest are forgotten early."""


class IdempotencyIndex:
    """Outcomes by key; they follow from the journal, and a restart goes on from `document`."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, dict[str, Any]]] = {}
        self._order: deque[tuple[int, str]] = deque()
        self.under_way: set[str] = set()

    def find(self, key: str, now_ns: int) -> dict[str, Any] | None:
        """Return what came of the request with this key, None if there was none lately."""
        while self._order and self._order[0][0] <= now_ns - CLIENT_ORDER_ID_KEPT_NS:
            self._forget_oldest()
        found = self._known.get(key)
        return None if found is None else found[1]

    def remember(self, key: str, entry: Entry) -> None:
        """Remember what came of an entry that was carried out."""
        outcome: dict[str, Any] = {"fingerprint": entry.note.fingerprint}
        if isinstance(entry.result, Transfer):
            outcome["transfer"] = asdict(entry.result)
        elif isinstance(entry.result, AccountRecord):
            outcome["account"] = str(entry.result.account)
        else:
            # Nothing was done, so that the same may be asked for again.
            self.under_way.discard(key)
            return
        self.put(key, outcome, entry.ts_ns)

    def put(self, key: str, outcome: dict[str, Any], ts_ns: int) -> None:
        """Remember what came of a request."""
        self.under_way.discard(key)
        self._known[key] = (ts_ns, outcome)
        self._order.append((ts_ns, key))
        while len(self._order) > MAX_KEPT:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        ts_ns, key = self._order.popleft()
        # The key may have been used anew since: then the newer outcome stays.
        if key in self._known and self._known[key][0] == ts_ns:
            del self._known[key]

    def document(self) -> list[Any]:
        """Return everything as JSON."""
        return [[ts_ns, key, outcome] for key, (ts_ns, outcome) in self._known.items()]

    def restore(self, document: Iterable[Any]) -> None:
        """Take up what an earlier run has stored."""
        for ts_ns, key, outcome in sorted(document, key=itemgetter(0, 1)):
            self.put(key, outcome, ts_ns)
