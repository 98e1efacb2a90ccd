"""Request and trace ids: taken over from the caller or made, kept beside the running task, bound into log lines.

One `RequestContext` belongs to one request, HTTP or gRPC. It is the child of what the caller sent in `traceparent`,
and what this process calls in turn becomes a child of it (`outgoing_metadata`, `outgoing_headers`).
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import structlog

REQUEST_ID_HEADER = "x-request-id"
TRACEPARENT_HEADER = "traceparent"
TRACESTATE_HEADER = "tracestate"

MAX_TRACESTATE_CHARS = 512

RandomBytes = Callable[[int], bytes]
"""Return so many random bytes; ids need no seed, because nothing that is replayed depends on them."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """The ids of one request.

    Source: W3C Trace Context (trace_id, span_id, parent_span_id, flags, tracestate)
    """

    request_id: str
    trace_id: str
    span_id: str
    parent_span_id: str | None = None
    flags: int = 1
    tracestate: str | None = None

    @property
    def traceparent(self) -> str:
        """The header by which what this request calls becomes its child."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


_current: ContextVar[RequestContext | None] = ContextVar("fauxchange_request", default=None)


def parse_traceparent(text: str) -> tuple[str, str, int] | None:
    """Return trace id, parent span id and flags, or None if the header is not a valid one.

    Source: W3C Trace Context, section 3.2; versions above 00 are read as far as 00 goes
    """
    match = _TRACEPARENT.fullmatch(text.strip())
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    # Only the sampled bit is defined in version 00; the others are not ours to hand on.
    return trace_id, span_id, int(flags, 16) & 1


def request_context(headers: Mapping[str, str], *, random_bytes: RandomBytes = os.urandom) -> RequestContext:
    """Return the context of a request from its headers or metadata (names in lower case).

    A request id that is not 1 to 128 of [A-Za-z0-9._-] and a `traceparent` that is not valid are replaced.
    """
    given_id = headers.get(REQUEST_ID_HEADER)
    request_id = given_id if given_id is not None and _REQUEST_ID.fullmatch(given_id) else random_bytes(16).hex()
    span_id = random_bytes(8).hex()
    parent = parse_traceparent(headers.get(TRACEPARENT_HEADER, ""))
    if parent is None:
        return RequestContext(request_id=request_id, trace_id=random_bytes(16).hex(), span_id=span_id)
    trace_id, parent_span_id, flags = parent
    tracestate = headers.get(TRACESTATE_HEADER)
    return RequestContext(
        request_id=request_id,
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=parent_span_id,
        flags=flags,
        tracestate=tracestate if tracestate and len(tracestate) <= MAX_TRACESTATE_CHARS else None,
    )


def current_request() -> RequestContext | None:
    """Return the context of the request that the running task serves, or None outside of one."""
    return _current.get()


@contextmanager
def serving(context: RequestContext) -> Iterator[RequestContext]:
    """Make `context` the current one, and its ids part of each log line, while the block runs."""
    token = _current.set(context)
    try:
        with structlog.contextvars.bound_contextvars(
            request_id=context.request_id, trace_id=context.trace_id, span_id=context.span_id
        ):
            yield context
    finally:
        _current.reset(token)


def outgoing_headers() -> dict[str, str]:
    """Return the headers that hand the current request's ids on; empty outside of a request."""
    context = _current.get()
    if context is None:
        return {}
    headers = {REQUEST_ID_HEADER: context.request_id, TRACEPARENT_HEADER: context.traceparent}
    if context.tracestate is not None:
        headers[TRACESTATE_HEADER] = context.tracestate
    return headers


def outgoing_metadata() -> tuple[tuple[str, str], ...]:
    """Return the gRPC metadata that hands the current request's ids on; empty outside of a request."""
    return tuple(outgoing_headers().items())
