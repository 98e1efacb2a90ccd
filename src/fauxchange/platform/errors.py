"""The one mapping from failures to what callers see: problem+json over HTTP, a status over gRPC.

A `FauxchangeError` is answered as it says. Everything else is a bug or an accident: it is logged with its traceback
and answered with a neutral detail and the request id, so that nothing of the inside leaks out. A broken invariant is
answered that way too, but not forgiven: it goes on to the event loop's exception handler, where the supervisor stops
the process.
"""

import asyncio
import math
from dataclasses import dataclass
from typing import Any

import grpc
import msgspec
import structlog

from fauxchange.domain.errors import (
    Conflict,
    DeadlineExceeded,
    FauxchangeError,
    Forbidden,
    InvalidRequest,
    InvariantViolation,
    NotFound,
    RateLimited,
    Rejected,
    Unauthenticated,
    Unavailable,
)

PROBLEM_JSON = "application/problem+json"
PROBLEM_TYPE_PREFIX = "urn:fauxchange:problem:"
NEUTRAL_DETAIL = "the server failed to answer; please quote the request id when you report this"

_log = structlog.get_logger(__name__)


class MethodNotAllowed(InvalidRequest):
    """The route exists and does not take this method."""

    code = "method_not_allowed"

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class RequestTimeout(InvalidRequest):
    """The request did not arrive in time."""

    code = "request_timeout"


class PreconditionFailed(Conflict):
    """What the request was made conditional on (`If-Match`) is not so."""

    code = "precondition_failed"


class PayloadTooLarge(InvalidRequest):
    """The request's body is larger than the server reads."""

    code = "payload_too_large"


class UriTooLong(InvalidRequest):
    """The request's path and query are longer than the server reads."""

    code = "uri_too_long"


class UnsupportedMediaType(InvalidRequest):
    """The route does not read bodies of this type."""

    code = "unsupported_media_type"


class HeadersTooLarge(InvalidRequest):
    """The request's headers are larger than the server reads."""

    code = "headers_too_large"


@dataclass(frozen=True, slots=True)
class EdgeStatus:
    """How one kind of failure is called at the edges."""

    http: int
    grpc: grpc.StatusCode
    title: str


INTERNAL = EdgeStatus(500, grpc.StatusCode.INTERNAL, "Internal error")

EDGE_STATUS: dict[type[FauxchangeError], EdgeStatus] = {
    InvalidRequest: EdgeStatus(400, grpc.StatusCode.INVALID_ARGUMENT, "Invalid request"),
    Unauthenticated: EdgeStatus(401, grpc.StatusCode.UNAUTHENTICATED, "Not authenticated"),
    Forbidden: EdgeStatus(403, grpc.StatusCode.PERMISSION_DENIED, "Forbidden"),
    NotFound: EdgeStatus(404, grpc.StatusCode.NOT_FOUND, "Not found"),
    MethodNotAllowed: EdgeStatus(405, grpc.StatusCode.UNIMPLEMENTED, "Method not allowed"),
    RequestTimeout: EdgeStatus(408, grpc.StatusCode.DEADLINE_EXCEEDED, "Request timeout"),
    Conflict: EdgeStatus(409, grpc.StatusCode.ALREADY_EXISTS, "Conflict"),
    PreconditionFailed: EdgeStatus(412, grpc.StatusCode.ABORTED, "Precondition failed"),
    PayloadTooLarge: EdgeStatus(413, grpc.StatusCode.INVALID_ARGUMENT, "Payload too large"),
    UriTooLong: EdgeStatus(414, grpc.StatusCode.INVALID_ARGUMENT, "URI too long"),
    UnsupportedMediaType: EdgeStatus(415, grpc.StatusCode.INVALID_ARGUMENT, "Unsupported media type"),
    Rejected: EdgeStatus(422, grpc.StatusCode.FAILED_PRECONDITION, "Rejected"),
    RateLimited: EdgeStatus(429, grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many requests"),
    HeadersTooLarge: EdgeStatus(431, grpc.StatusCode.INVALID_ARGUMENT, "Headers too large"),
    Unavailable: EdgeStatus(503, grpc.StatusCode.UNAVAILABLE, "Unavailable"),
    DeadlineExceeded: EdgeStatus(504, grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline exceeded"),
}
"""By class; a subclass that is not listed is treated as the nearest class above it."""


class ProblemDocument(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What an HTTP caller is told about a failure.

    Source: RFC 9457, with extension members code, field, request_id and details
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    """Stable and in snake_case: clients may branch on it."""
    request_id: str
    field: str | None = None
    """The parameter or body field that is wrong, where there is one."""
    instance: str | None = None
    """The path that was asked for."""
    details: dict[str, str] | None = None
    """What else is known, such as the ids involved."""


class RejectionDocument(ProblemDocument, kw_only=True, frozen=True, omit_defaults=True):
    """What an HTTP caller is told when the venue's rules refuse a request: a problem with the rule that did it."""

    reason: int
    """The rule's number."""
    order: Any = None
    """The refused order as it is stored, or the order that the request was about, where there is one."""


def edge_status(failure: BaseException) -> EdgeStatus:
    """Return how `failure` is called at the edges; what no one foresaw is `INTERNAL`."""
    for kind in type(failure).__mro__:
        status = EDGE_STATUS.get(kind)
        if status is not None:
            return status
    return INTERNAL


def answerable(exc: BaseException) -> FauxchangeError:
    """Return what the caller may see of `exc`: itself if it is a mapped failure, else a neutral failure.

    Ensures: what is not a mapped failure has been logged with its traceback; the supervisor has heard of a bug
    """
    if isinstance(exc, FauxchangeError) and edge_status(exc) is not INTERNAL:
        return exc
    _log.error("request failed unexpectedly", exc_info=exc, error=type(exc).__name__)
    if isinstance(exc, InvariantViolation):
        _tell_supervisor(exc)
    return FauxchangeError(NEUTRAL_DETAIL)


def problem_document(failure: FauxchangeError, *, request_id: str, instance: str | None = None) -> ProblemDocument:
    """Return the problem document of a failure that `answerable` has let through."""
    status = edge_status(failure)
    members: dict[str, Any] = {
        "type": PROBLEM_TYPE_PREFIX + failure.code,
        "title": status.title,
        "status": status.http,
        "detail": failure.message,
        "code": failure.code,
        "request_id": request_id,
        "field": failure.field,
        "instance": instance,
        "details": failure.details or None,
    }
    if isinstance(failure, Rejected):
        return RejectionDocument(**members, reason=failure.reason, order=failure.order)
    return ProblemDocument(**members)


def problem_bytes(document: ProblemDocument) -> bytes:
    """Return the document as JSON."""
    return msgspec.json.encode(document)


def problem_headers(failure: FauxchangeError) -> dict[str, str]:
    """Return the headers that belong to the answer: when to come back, how to authenticate, what is allowed.

    Units: Retry-After in whole seconds, rounded up
    """
    headers = {}
    if failure.retry_after_s is not None:
        headers["retry-after"] = str(max(0, math.ceil(failure.retry_after_s)))
    if isinstance(failure, Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="fauxchange"'
    if isinstance(failure, MethodNotAllowed):
        headers["allow"] = failure.allow
    return headers


def trailing_metadata(failure: FauxchangeError) -> tuple[tuple[str, str], ...]:
    """Return the gRPC trailing metadata that belongs to the status: the code, the field or reason where there is one.

    Units: fx-retry-after-ms in whole milliseconds, rounded up
    """
    pairs = [("fx-code", failure.code)]
    if failure.field is not None and failure.field.isascii() and failure.field.isprintable():
        pairs.append(("fx-field", failure.field))
    if isinstance(failure, Rejected):
        pairs.append(("fx-reason", str(failure.reason)))
    if failure.retry_after_s is not None:
        pairs.append(("fx-retry-after-ms", str(max(0, math.ceil(failure.retry_after_s * 1_000)))))
    return tuple(pairs)


def _tell_supervisor(bug: InvariantViolation) -> None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # nothing runs that could be stopped
        return
    loop.call_exception_handler({"message": "an invariant broke while a request was served", "exception": bug})
