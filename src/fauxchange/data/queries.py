"""Queries as every store understands them: spans, pages and cursors of ordered records, and the rules of appending.

A record's position is a tuple of 64-bit integers and texts by which its query is ordered. A page starts strictly after
the position of the record before it (keyset paging), so rows that arrive meanwhile neither repeat nor hide others.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, TypeVar, cast

from fauxchange.data.ports import (
    MAX_PAGE,
    AccountQuery,
    AuditQuery,
    CandleQuery,
    ConfigurationQuery,
    FillQuery,
    LedgerQuery,
    OrderQuery,
    Page,
    PriceFeedQuery,
    SymbolQuery,
)
from fauxchange.domain.audit import AuditEvent
from fauxchange.domain.configuration import ConfigurationChange
from fauxchange.domain.errors import Conflict, InvalidRequest
from fauxchange.domain.market_data import SymbolRecord

Record = TypeVar("Record")
Position = tuple[int | str, ...]
Paged = AccountQuery | AuditQuery | ConfigurationQuery | FillQuery | LedgerQuery | OrderQuery

MIN_INT64 = -(2**63)
MAX_INT64 = 2**63 - 1
MAX_TEXT = "\U0010ffff"
"""Behind every text that a position holds, which are ASCII."""

ORDER_KEY = ("order_id",)
FILL_KEY = ("trade_id", "is_maker")
LEDGER_KEY = ("event_sequence", "asset")


@dataclass(frozen=True, slots=True)
class Span:
    """What a query asks for: at most `limit` records of positions strictly between `low` and `high`, in its order.

    The scope names everything else that the query fixes; a cursor belongs to one scope.
    """

    scope: str
    low: Position
    high: Position
    limit: int
    newest_first: bool

    def page(self, records: Sequence[Record], position: Callable[[Record], Position]) -> Page[Record]:
        """Return the page made of the span's first `limit + 1` records; the last only says that more follow."""
        items = records[: self.limit]
        more = len(records) > self.limit
        return Page(items, _encode(self.scope, position(items[-1])) if more else None)


def position_of(*names: str) -> Callable[[Any], Position]:
    """Return the function that gives a record's position, made of these fields."""
    if len(names) == 1:
        (name,) = names
        return lambda record: (getattr(record, name),)
    return cast("Callable[[Any], Position]", attrgetter(*names))


def price_span(query: PriceFeedQuery) -> Span:
    """Return the span over positions (ts_ns, epoch, sequence). Raises: InvalidRequest on a bad limit or cursor."""
    return _span(f"price_feeds {query.symbol}", query, width=3)


def candle_span(query: CandleQuery) -> Span:
    """Return the span over positions (open_ns,). Raises: InvalidRequest on a bad limit or cursor."""
    return _span(f"candles {query.symbol} {query.interval_ns}", query, width=1)


def audit_span(query: AuditQuery) -> Span:
    """Return the span over positions (sequence,). Raises: InvalidRequest on a bad limit or cursor."""
    scope = f"audit {query.source} {query.type or ''}"
    return _whole_span(scope, query, int, newest_first=False)


def account_span(query: AccountQuery) -> Span:
    """Return the span over positions (account,). Raises: InvalidRequest on a bad limit or cursor."""
    return _whole_span(f"accounts {query.status}", query, int, newest_first=False)


def order_span(query: OrderQuery) -> Span:
    """Return the span over positions (order_id,). Raises: InvalidRequest on a bad limit or cursor."""
    return _whole_span(_scope("orders", query), query, int, newest_first=not query.oldest_first)


def fill_span(query: FillQuery) -> Span:
    """Return the span over positions (trade_id, is_maker). Raises: InvalidRequest on a bad limit or cursor."""
    return _whole_span(_scope("fills", query), query, int, int, newest_first=not query.oldest_first)


def ledger_span(query: LedgerQuery) -> Span:
    """Return the span over positions (event_sequence, asset). Raises: InvalidRequest on a bad limit or cursor."""
    return _whole_span(_scope("ledger", query), query, int, str, newest_first=not query.oldest_first)


def configuration_span(query: ConfigurationQuery) -> Span:
    """Return the span over positions (version,). Raises: InvalidRequest on a bad limit or cursor."""
    scope = f"configuration {replace(query, limit=0, cursor=None)}"
    span = _whole_span(scope, query, int, newest_first=not query.oldest_first)
    return replace(span, low=max(span.low, (_int64(query.after),)))


def matching_symbols(records: Iterable[SymbolRecord], query: SymbolQuery) -> list[SymbolRecord]:
    """Return the records that a query asks for, in alphabetical order."""

    def matches(record: SymbolRecord) -> bool:
        base, _, quote = record.symbol.partition("/")
        asked = ((query.active, record.active), (query.base, base), (query.quote, quote))
        return all(wanted is None or wanted == actual for wanted, actual in asked)

    return sorted(filter(matches, records), key=lambda record: record.symbol)


def check_chain(events: Iterable[AuditEvent], last_sequence: Callable[[str], int]) -> None:
    """Refuse events whose sequences do not go on from the last one of their source, which is 0 when it has none.

    Raises: Conflict
    """
    reached: dict[str, int] = {}
    for event in events:
        last = reached[event.source] if event.source in reached else last_sequence(event.source)
        if event.sequence != last + 1:
            raise Conflict(f"event {event.sequence} of {event.source} does not follow {last}", code="broken_chain")
        reached[event.source] = event.sequence


def check_versions(changes: Iterable[ConfigurationChange], last: int) -> None:
    """Refuse changes whose versions do not go on from the last one stored. Raises: Conflict."""
    for change in changes:
        if change.version != last + 1:
            raise Conflict(f"change {change.version} of the configuration does not follow {last}", code="broken_chain")
        last = change.version


def _scope(name: str, query: OrderQuery | FillQuery | LedgerQuery) -> str:
    """Return everything that a query fixes, beyond where its page starts and how long it is."""
    return f"{name} {replace(query, limit=0, cursor=None)}"


def _whole_span(scope: str, query: Paged, *kinds: type, newest_first: bool) -> Span:
    """Return the span over all positions made of these kinds, from the query's cursor on."""
    low: Position = tuple(MIN_INT64 if kind is int else "" for kind in kinds)
    high: Position = tuple(MAX_INT64 if kind is int else MAX_TEXT for kind in kinds)
    if query.cursor is not None:
        reached = _decode(query.cursor, scope, kinds)
        low, high = (low, reached) if newest_first else (reached, high)
    return Span(scope, low, high, _checked_limit(query.limit), newest_first)


def _span(scope: str, query: PriceFeedQuery | CandleQuery, *, width: int) -> Span:
    scope = f"{scope} {'newest' if query.newest_first else 'oldest'} first"
    # A position is a time and, within it, a tail. With the greatest tail, "after" the moment before the start is
    # "at the start or later"; with the least one, "before" the end leaves out all that happened at it.
    low: Position = (MIN_INT64,) * width
    high: Position = (MAX_INT64,) * width
    if query.start_ns is not None:
        low = (_int64(query.start_ns - 1), *(MAX_INT64,) * (width - 1))
    if query.end_ns is not None:
        high = (_int64(query.end_ns), *(MIN_INT64,) * (width - 1))
    if query.cursor is not None:
        reached = _decode(query.cursor, scope, (int,) * width)
        low, high = (low, min(high, reached)) if query.newest_first else (max(low, reached), high)
    return Span(scope, low, high, _checked_limit(query.limit), query.newest_first)


def _checked_limit(limit: int) -> int:
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidRequest(
            f"limit {limit} is out of range; ask for 1 to {MAX_PAGE}", code="limit_out_of_range", field="limit"
        )
    return limit


def _int64(value: int) -> int:
    return max(MIN_INT64, min(MAX_INT64, value))


def _encode(scope: str, position: Position) -> str:
    # A truth value in a position (`is_maker`) is the number that it is in the stores.
    parts = [int(part) if isinstance(part, bool) else part for part in position]
    document = json.dumps([_digest(scope), *parts], separators=(",", ":"))
    return base64.urlsafe_b64encode(document.encode()).decode().rstrip("=")


def _decode(cursor: str, scope: str, kinds: Sequence[type]) -> Position:
    try:
        document = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        digest, *position = document
    except (binascii.Error, ValueError, TypeError, RecursionError) as exc:
        raise _not_ours() from exc
    whole = len(position) == len(kinds) and all(map(_is_part, position, kinds))
    if digest != _digest(scope) or not whole:
        raise _not_ours()
    return tuple(position)


def _is_part(part: object, kind: type) -> bool:
    if kind is int:
        return type(part) is int and MIN_INT64 <= part <= MAX_INT64
    return isinstance(part, str) and part.isascii()


def _digest(scope: str) -> str:
    return hashlib.blake2b(scope.encode(), digest_size=6).hexdigest()


def _not_ours() -> InvalidRequest:
    return InvalidRequest(
        "the cursor is not one of this query; pass the next_cursor of the page before it, or none",
        code="invalid_cursor",
        field="cursor",
    )
