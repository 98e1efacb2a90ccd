"""Routes that are answered without the framework, where each microsecond counts.

The framework knows such a route, documents it, and answers each request for it that is not quite plain. What it does
between the application and the route's function (look the path up, ask for parameters of all kinds by their names,
validate, wrap what comes of it) is done here for the one kind there is: a function that takes the `request` and its
body as `data`, nothing else, and returns what is `Rendered`. A caller cannot tell who has answered.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, cast

from litestar import Litestar, Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from fauxchange.domain.errors import check
from fauxchange.platform.http.asgi import AsgiApp, Receive, Scope, Send
from fauxchange.platform.http.bodies import StrictBody
from fauxchange.platform.http.rendered import Rendered

DIRECT: Final[Mapping[str, Any]] = {"direct": True}
"""What a route passes as `opt=` that is to be answered so; its `dto=` is a strict body."""

MAX_DIGITS: Final = 20
_JSON = b"application/json"
_PLAIN_HOST = re.compile(rb"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?")

Refuse = Callable[[Request[Any, Any, Any], Exception], Response[Any]]


class WholeRequest(Request[Any, Any, Any]):
    """A request with a body whose announced length is within the limit, to which the server holds the caller."""

    __slots__ = ("_receive", "_whole")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(cast("Any", scope), cast("Any", receive), cast("Any", send))
        self._receive = receive
        self._whole: bytes | None = None

    async def body(self) -> bytes:
        """Return the body."""
        if self._whole is None:
            message = await self._receive()
            whole: bytes = message["body"]
            while message.get("more_body", False):
                message = await self._receive()
                whole += message["body"]
            self._whole = whole
        return self._whole


class DirectRoute:
    """One such route."""

    def __init__(self, handler: HTTPRouteHandler, path: str) -> None:
        kind = handler.resolve_data_dto()
        check(kind is not None and issubclass(kind, StrictBody), f"{handler} reads its body strictly")
        after = (handler.after_request, handler.resolve_after_response(), handler.middleware)
        around = (handler.resolve_guards(), handler.resolve_dependencies(), *after)
        check("{" not in path, f"{handler} has no parameters in its path")
        check(not any(around), f"{handler} has nothing around it but what comes before a request")
        self._read = cast("type[StrictBody]", kind).read
        self._function = handler.fn
        self._before_request = handler.resolve_before_request()
        self._refuse = cast("Refuse", handler.resolve_exception_handlers()[Exception])
        self._max_bytes = handler.resolve_request_max_body_size() or 0
        self._of_route = {"route_handler": handler, "path_template": path, "path_params": {}}

    def takes(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Say whether a request is plain: of JSON, with a length that may be, and from no strange host."""
        has_length = False
        for name, value in headers:
            if name == b"content-length":
                if not (value.isdigit() and len(value) < MAX_DIGITS and 0 < int(value) <= self._max_bytes):
                    return False
                has_length = True
            elif (name == b"content-type" and value != _JSON) or (name == b"host" and not _is_plain_host(value)):
                return False
        return has_length

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        scope.update(self._of_route)
        request = WholeRequest(scope, receive, send)
        try:
            if self._before_request is not None:
                await self._before_request(request)
            answer: Rendered[Any] = await self._function(request=request, data=self._read(await request.body()))
        except Exception as exc:
            refusal = self._refuse(request, exc).to_asgi_response(app=None, request=request)
            await refusal(cast("Any", scope), cast("Any", receive), cast("Any", send))
            return
        await answer(scope, receive, send)


class DirectRoutes:
    """Answer plain requests for a few routes of an application; the rest it answers itself."""

    def __init__(self, app: Litestar) -> None:
        self._app = cast("AsgiApp", app)
        self._routes = {
            (method, route.path.encode()): DirectRoute(handler, route.path)
            for route in app.routes
            if isinstance(route, HTTPRoute)
            for handler in route.route_handlers
            if handler.opt.get("direct")
            for method in handler.http_methods
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        route = self._routes.get((scope["method"], scope.get("raw_path", b"")))
        if route is None or scope["query_string"] or not route.takes(scope["headers"]):
            await self._app(scope, receive, send)
        else:
            await route(scope, receive, send)


@lru_cache(maxsize=64)
def _is_plain_host(host: bytes) -> bool:
    return _PLAIN_HOST.fullmatch(host) is not None
