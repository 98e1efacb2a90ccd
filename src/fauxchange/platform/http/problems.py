"""Refusals over HTTP: whatever goes wrong becomes one problem+json answer."""

import re
from http import HTTPStatus
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, SerializationException
from litestar.openapi import ResponseSpec

from fauxchange.domain.errors import (
    FauxchangeError,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from fauxchange.platform.errors import (
    EDGE_STATUS,
    INTERNAL,
    PROBLEM_JSON,
    MethodNotAllowed,
    PayloadTooLarge,
    ProblemDocument,
    answerable,
    problem_bytes,
    problem_document,
    problem_headers,
)
from fauxchange.platform.http.asgi import Scope, Send
from fauxchange.platform.tracing import current_request

MAX_INSTANCE_CHARS = 256

_MISSING = re.compile(r"Missing required (\w+) parameter '([^']+)'")

_BY_STATUS: dict[int, type[FauxchangeError]] = {
    401: Unauthenticated,
    403: Forbidden,
    429: RateLimited,
    503: Unavailable,
}


def problem_responses(*statuses: int) -> dict[int, ResponseSpec]:
    """Return what a route passes as `responses=` for refusals beyond those that every route documents.

    Those are: 400, 405, 414, 431, 500, 503; with path parameters 404; with a body 408, 413, 415; secured 401, 403.
    """
    return {
        status: ResponseSpec(
            data_container=ProblemDocument,
            media_type=PROBLEM_JSON,
            description=problem_title(status),
            generate_examples=False,
        )
        for status in statuses
    }


def problem_title(status: int) -> str:
    """Return the title of the problems with this HTTP status."""
    for edge in (*EDGE_STATUS.values(), INTERNAL):
        if edge.http == status:
            return edge.title
    return HTTPStatus(status).phrase


def problem(failure: FauxchangeError, *, instance: str | None = None) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of the answer to a failure that `answerable` has let through."""
    context = current_request()
    document = problem_document(
        failure,
        request_id="unknown" if context is None else context.request_id,
        instance=instance and instance[:MAX_INSTANCE_CHARS],
    )
    return document.status, problem_headers(failure), problem_bytes(document)


def render_exception(request: Request[Any, Any, Any], exc: Exception) -> Response[bytes]:
    """Answer an exception that a route or the framework raised."""
    status, headers, body = problem(
        _failure_of(request, exc), instance=request.scope.get("raw_path", b"").decode("ascii", "replace")
    )
    return Response(body, status_code=status, headers=headers, media_type=PROBLEM_JSON)


async def send_problem(scope: Scope, send: Send, exc: BaseException) -> None:
    """Answer an exception that was raised outside of any route."""
    status, headers, body = problem(answerable(exc), instance=scope.get("raw_path", b"").decode("ascii", "replace"))
    pairs = [(name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    pairs += [(b"content-type", PROBLEM_JSON.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def with_head(allow: str) -> str:
    """Return a list of methods with HEAD, which is served wherever GET is."""
    methods = {method.strip() for method in allow.split(",")} - {""}
    if "GET" in methods:
        methods.add("HEAD")
    return ", ".join(sorted(methods))


def _failure_of(request: Request[Any, Any, Any], exc: Exception) -> FauxchangeError:
    if isinstance(exc, HTTPException) and exc.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return _framework_refusal(request, exc)
    if isinstance(exc, RecursionError) and "deserializing" in str(exc):
        return InvalidRequest("the body is nested too deeply", code="malformed_body", field="body")
    if isinstance(exc, HTTPException) and exc.status_code in _BY_STATUS:
        return _BY_STATUS[exc.status_code](exc.detail)
    return answerable(exc)


def _framework_refusal(request: Request[Any, Any, Any], exc: HTTPException) -> FauxchangeError:
    """Return the failure that says what the framework refused, in our words."""
    match exc.status_code:
        case HTTPStatus.NOT_FOUND:
            return NotFound("there is nothing at this path; /openapi.json lists what there is")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            allow = with_head((exc.headers or {}).get("allow", ""))
            return MethodNotAllowed(f"{request.scope['method']} is not among the methods here: {allow}", allow=allow)
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return PayloadTooLarge("the body is larger than this route reads")
        case HTTPStatus.BAD_REQUEST:
            return _bad_request(request, exc)
    return _BY_STATUS.get(exc.status_code, InvalidRequest)(exc.detail)


def _bad_request(request: Request[Any, Any, Any], exc: HTTPException) -> InvalidRequest:
    if isinstance(exc.__cause__, SerializationException):
        return InvalidRequest("the body is not valid JSON", code="malformed_body")
    if missing := _MISSING.match(exc.detail):
        kind, name = missing.groups()
        return InvalidRequest(f"the {kind} parameter {name} is required", code="missing_parameter", field=name)
    # The framework reports a body that is not there as the name of the argument that would have held it.
    if exc.extra == [{"message": "'data'", "key": "data", "source": "body"}]:
        return InvalidRequest("the body is required", code="missing_body", field="body")
    errors = [error for error in exc.extra if isinstance(error, dict)] if isinstance(exc.extra, list) else []
    if not errors:
        return InvalidRequest(exc.detail)
    named = [(_outer_name(request, str(error.get("key", "body"))), str(error.get("message", ""))) for error in errors]
    return InvalidRequest("; ".join(f"{name}: {message}" for name, message in named), field=named[0][0])


def _outer_name(request: Request[Any, Any, Any], key: str) -> str:
    """Return the name that the caller knows a parameter by: Litestar reports that of the Python argument."""
    if key == "data":
        return "body"
    definition = request.route_handler.parsed_fn_signature.parameters.get(key)
    return str(getattr(definition and definition.kwarg_definition, "name", None) or key)
