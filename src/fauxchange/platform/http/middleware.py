"""The layers around the application, outermost first: trace and request ids, RED metrics, errors, request shape.

`wrap` puts them in that order. Each is an ASGI application around another and knows nothing of its neighbours but
what lies in the scope: the innermost layers leave `path_template` there for the metrics.
"""

import asyncio
import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import unquote_to_bytes

from fauxchange.domain.errors import InvalidRequest, Unauthenticated
from fauxchange.platform.errors import RequestTimeout, UriTooLong
from fauxchange.platform.http.asgi import AsgiApp, Message, Receive, Scope, Send
from fauxchange.platform.http.problems import send_problem, with_head
from fauxchange.platform.metrics import RedMetrics
from fauxchange.platform.ports import MetricsPort
from fauxchange.platform.tracing import (
    REQUEST_ID_HEADER,
    TRACEPARENT_HEADER,
    TRACESTATE_HEADER,
    RequestContext,
    request_context,
    serving,
)

UNKNOWN_ROUTE = "unknown"
OTHER_METHOD = "OTHER"
CLIENT_CLOSED = 499
"""The code in metrics of a request that ended before its answer began."""

ENCODED_SLASH = "\udc2f"
"""Stands for `%2F` while routes are looked up: an encoded slash is part of a segment, not a separator.

It is half of a surrogate pair, which no URL can spell.
"""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_TRACE_HEADERS = frozenset(name.encode() for name in (REQUEST_ID_HEADER, TRACEPARENT_HEADER, TRACESTATE_HEADER))
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SLASH_ESCAPE = re.compile(rb"%2[Ff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """How large and how slow a request may be.

    Units: bytes and seconds
    """

    max_body_bytes: int = 64 * 1024
    max_url_bytes: int = 8 * 1024
    body_timeout_s: float = 20.0


def wrap(app: AsgiApp, *, metrics: MetricsPort, limits: RequestLimits, key: str | None = None) -> AsgiApp:
    """Return `app` within all layers; with a `key`, only callers who present it come through."""
    inner: AsgiApp = RequestShape(app, limits)
    if key is not None:
        inner = BearerAuth(inner, key)
    return Tracing(RedMiddleware(Errors(inner), metrics))


class Tracing:
    """Take over or make the request's ids, keep them while it is served, answer with the request id."""

    def __init__(
        self, app: AsgiApp, make_context: Callable[[dict[str, str]], RequestContext] = request_context
    ) -> None:
        self._app = app
        self._make_context = make_context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        given = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _TRACE_HEADERS}
        context = self._make_context(given)
        answered = (REQUEST_ID_HEADER.encode(), context.request_id.encode())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), answered]
            await send(message)

        with serving(context):
            await self._app(scope, receive, send_with_id)


class RedMiddleware:
    """Count each request and time it to the end of its answer, by method, route pattern and status code."""

    def __init__(self, app: AsgiApp, metrics: MetricsPort) -> None:
        self._app = app
        self._red = http_red(metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started_s = time.perf_counter()
        code = CLIENT_CLOSED

        async def send_noting_code(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noting_code)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else OTHER_METHOD
            route = scope.get("path_template") or UNKNOWN_ROUTE
            elapsed_s = time.perf_counter() - started_s
            self._red.record(elapsed_s, method, route, str(code), failed=code >= 400)


def http_red(metrics: MetricsPort) -> RedMetrics:
    """Return the RED metrics of HTTP."""
    return RedMetrics(metrics, "http", ("method", "route", "code"))


class Errors:
    """Answer what no route answered: the last resort behind the exception handlers of the application."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started = False

        async def send_noting_start(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, send_noting_start)
        except Exception as exc:
            # Half an answer cannot be taken back: the server closes the connection, so that the caller notices.
            if started:
                raise
            await send_problem(scope, send, exc)


class BearerAuth:
    """Let only callers through who present the key, whatever they ask for."""

    def __init__(self, app: AsgiApp, key: str) -> None:
        self._app = app
        self._digest = sha256(key.encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:
            raise Unauthenticated("this listener wants the header `Authorization: Bearer <audit key>`")
        kind, _, credentials = given[0].partition(b" ")
        # Digests have one length, so that the time the comparison takes says nothing about the key.
        if kind.lower() != b"bearer" or not hmac.compare_digest(sha256(credentials.strip()).digest(), self._digest):
            raise Unauthenticated("the credentials are not those of this listener")
        await self._app(scope, receive, send)


class RequestShape:
    """Refuse malformed and oversize URLs, bound the time a body may take, serve HEAD as GET without a body."""

    def __init__(self, app: AsgiApp, limits: RequestLimits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        self._check_url(raw_path, scope["query_string"])
        inner = dict(scope)
        if b"%" in raw_path:
            parts = (unquote_to_bytes(part).decode() for part in _SLASH_ESCAPE.split(raw_path))
            inner["path"] = ENCODED_SLASH.join(parts)
        if scope["method"] == "HEAD":
            inner["method"] = "GET"
            send = _without_body(send)
        try:
            await self._app(inner, self._in_time(receive), _with_head(send))
        finally:
            if template := inner.get("path_template"):
                scope["path_template"] = template

    def _check_url(self, raw_path: bytes, query: bytes) -> None:
        if len(raw_path) + len(query) > self._limits.max_url_bytes:
            raise UriTooLong(f"path and query may have {self._limits.max_url_bytes} bytes together")
        if not (_well_formed(raw_path) and _well_formed(query)):
            raise InvalidRequest("the URL has a malformed percent-encoding", code="malformed_url")

    def _in_time(self, receive: Receive) -> Receive:
        deadline_s: float | None = None
        complete = False

        async def receive_in_time() -> Message:
            nonlocal deadline_s, complete
            if complete:
                return await receive()
            if deadline_s is None:
                deadline_s = asyncio.get_running_loop().time() + self._limits.body_timeout_s
            try:
                async with asyncio.timeout_at(deadline_s):
                    message = await receive()
            except TimeoutError as exc:
                raise RequestTimeout(f"the body did not arrive in {self._limits.body_timeout_s:g} s") from exc
            if message["type"] == "http.disconnect":
                raise InvalidRequest("the caller went away before the body was complete", code="incomplete_body")
            complete = not message.get("more_body", False)
            return message

        return receive_in_time


def _well_formed(part: bytes) -> bool:
    """Say whether a part of a URL has whole percent-encodings, of UTF-8."""
    if _BAD_ESCAPE.search(part):
        return False
    try:
        unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        return False
    return True


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message["body"] = b""
        await send(message)

    return send_head


def _with_head(send: Send) -> Send:
    """Add HEAD to the methods that an answer says are allowed, wherever GET is among them."""

    async def send_allow(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                (name, with_head(value.decode()).encode() if name.lower() == b"allow" else value)
                for name, value in message["headers"]
            ]
        await send(message)

    return send_allow
