"""Responses that are rendered already, for routes where each microsecond counts."""

from collections.abc import Iterable
from typing import Any, Generic, TypeVar, cast

from litestar import Response
from litestar.response.base import ASGIResponse

from fauxchange.platform.http.asgi import Receive, Scope, Send

Content = TypeVar("Content")

_JSON = b"application/json"


class Rendered(Response[Content], Generic[Content]):
    """A body as it goes out; the type says what is in it, for the document.

    It answers as it is: none of what the framework does for contents of all kinds is done for it.
    """

    __slots__ = ("_body", "_headers", "_status")

    def __init__(
        self,
        body: bytes,
        *,
        status: int = 200,
        headers: Iterable[tuple[bytes, bytes]] = (),
        media_type: bytes = _JSON,
    ) -> None:
        self._body = body
        self._status = status
        self._headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(body)), *headers]

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:
        """Return itself: it is an ASGI application."""
        return cast("ASGIResponse", self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Answer."""
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body, "more_body": False})
