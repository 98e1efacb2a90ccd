"""What the audit listener is asked: the audit trail, as pages or as JSON lines, and the internal state."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, OpenAPIType, Operation, Schema
from litestar.params import QueryParameter
from litestar.response import Stream
from litestar.types import ControllerRouterHandler

from fauxchange.contracts.market_data.messages import TrailResponse
from fauxchange.data.ports import MAX_PAGE
from fauxchange.domain.errors import InvalidRequest
from fauxchange.services.exchange.rest.parameters import (
    EndQuery,
    StartQuery,
    time_ns,
)
from fauxchange.services.exchange.service.exchange import ExchangeService, TrailQuery
from fauxchange.services.exchange.service.trail import TrailRecord

TAGS = ["exchange internals"]
JSON_LINES = "application/jsonl"
PAGE = 1_000
LINES_PER_CHUNK = 200
"""How many lines are made before others get their turn."""
MAX_CURSOR_DIGITS = 18

_encode = msgspec.json.Encoder().encode

FormatQuery = Annotated[
    Literal["json", "jsonl"],
    QueryParameter(
        name="format", description="`json`: a page; `jsonl`: one event on each line, to the end of the trail."
    ),
]
FromQuery = Annotated[
    int | None,
    QueryParameter(name="from_sequence", ge=1, le=10**18, description="The first record wanted; 1 if not given."),
]
AccountQuery = Annotated[
    str | None,
    QueryParameter(
        name="account", description="Only what an account asked for or was touched by.", pattern=r"^[0-9]{1,18}$"
    ),
]
TypeQuery = Annotated[str | None, QueryParameter(name="type", description="Only events of this type.", max_length=128)]
CursorQuery = Annotated[
    str | None,
    QueryParameter(
        name="cursor",
        description="`next_cursor` of the page before; the other parameters stay the same.",
        schema_extra={"pattern": r"^[1-9][0-9]{0,17}$"},
    ),
]
LimitQuery = Annotated[
    int | None,
    QueryParameter(
        name="limit", ge=1, le=MAX_PAGE, description="The size of a page (1000 if not given), or the most lines."
    ),
]


@dataclass
class _TrailOperation(Operation):
    """Say that there are two forms of the answer."""

    def __post_init__(self) -> None:
        answered = (self.responses or {}).get("200")
        if isinstance(answered, OpenAPIResponse) and answered.content is not None:
            answered.content[JSON_LINES] = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))


def exchange_audit_routes(service: ExchangeService) -> list[ControllerRouterHandler]:
    """Return the exchange's part of the audit API."""

    @get("/exchange/trail", tags=TAGS, operation_class=_TrailOperation)
    async def exchange_trail(
        output: FormatQuery = "json",
        from_sequence: FromQuery = None,
        account: AccountQuery = None,
        event_type: TypeQuery = None,
        start: StartQuery = None,
        end: EndQuery = None,
        limit: LimitQuery = None,
        cursor: CursorQuery = None,
    ) -> Response[TrailResponse]:
        """Return the audit trail as CloudEvents, oldest first: every command with all that it led to."""
        query = TrailQuery(
            from_sequence=(from_sequence or 1) if cursor is None else _sequence(cursor),
            account=None if account is None else int(account),
            type=event_type,
            start_ns=time_ns(start, "start"),
            end_ns=time_ns(end, "end"),
        )
        records = service.trail(query)
        if output == "jsonl":
            return _lines(await _begun(_chunks(records, limit)))
        return Response(await _page(records, limit or PAGE))

    @get("/exchange/state", tags=TAGS, sync_to_thread=False)
    def exchange_state() -> dict[str, Any]:
        """Return the internal state: sequences, queues, books, sums of the ledger, the kernel's hash."""
        return service.state()

    return [exchange_trail, exchange_state]


def _sequence(cursor: str) -> int:
    if cursor.isascii() and cursor.isdigit() and len(cursor) <= MAX_CURSOR_DIGITS:
        return int(cursor)
    raise InvalidRequest("this is not a cursor of the trail", code="invalid_cursor", field="cursor")


async def _page(records: AsyncIterator[TrailRecord], limit: int) -> TrailResponse:
    events: list[dict[str, Any]] = []
    async for record in records:
        if len(events) == limit:
            return TrailResponse(events, str(record.sequence))
        events.append(record.cloud_event())
    return TrailResponse(events, None)


async def _chunks(records: AsyncIterator[TrailRecord], limit: int | None) -> AsyncIterator[bytes]:
    lines: list[bytes] = []
    left = limit
    async for record in records:
        if left is not None:
            if left == 0:
                break
            left -= 1
        lines.append(_encode(record.cloud_event()))
        if len(lines) == LINES_PER_CHUNK:
            yield b"\n".join(lines) + b"\n"
            lines = []
            await asyncio.sleep(0)
    if lines:
        yield b"\n".join(lines) + b"\n"


async def _begun(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Return the chunks with the first of them made, so that a refusal comes before the answer has begun."""
    first = await anext(chunks, b"")

    async def all_of_them() -> AsyncIterator[bytes]:
        if first:
            yield first
        async for chunk in chunks:
            yield chunk

    return all_of_them()


def _lines(chunks: AsyncIterator[bytes]) -> Response[TrailResponse]:
    return Stream(chunks, media_type=JSON_LINES)  # type: ignore[return-value]  # the annotation is the document's
