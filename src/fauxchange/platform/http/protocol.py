"""The HTTP/1.1 connection: uvicorn's, with bounds on its own patience and refusals in our form.

An application sees a request only when its head is complete. What can go wrong before that is handled here: heads
that are too large, too slow or no HTTP at all, and bodies that go on after they have been answered.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from fauxchange.domain.errors import FauxchangeError, InvalidRequest
from fauxchange.platform.errors import PROBLEM_JSON, HeadersTooLarge, RequestTimeout, UriTooLong
from fauxchange.platform.http.problems import problem
from fauxchange.platform.tracing import REQUEST_ID_HEADER, request_context, serving


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What one connection may cost before an application sees a request.

    Units: bytes and seconds
    """

    max_url_bytes: int = 16 * 1024
    max_head_bytes: int = 32 * 1024
    head_timeout_s: float = 10.0
    drain_timeout_s: float = 5.0
    """How long a request that has been answered may go on to arrive."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Serve one connection within `limits`; `refused` hears the status of what never became a request."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ConnectionLimits,
        refused: Callable[[int], None],
    ) -> None:
        super().__init__(config=config, server_state=server_state, app_state=app_state, _loop=_loop)
        self._limits = limits
        self._refused = refused
        self._refusal: FauxchangeError | None = None
        self._lingering = False
        self._timer: asyncio.TimerHandle | None = None
        self._upgraded = False
        self._head_bytes: int | None = None
        """How much of a head has come; None while none is being read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._arm(self._limits.head_timeout_s, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, and bound the head it may belong to."""
        if self._lingering:
            return
        super().data_received(data)
        if self.transport.is_closing() or not self._awaits_head():
            return
        if self._timer is None:
            self._arm(self._limits.head_timeout_s, self._head_is_late)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.max_head_bytes:
                self._refuse(self._head_too_large())

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Check the head's size, then let the request begin."""
        self._disarm()
        self._head_bytes = None
        # The parser turns what is raised here into a call of `send_400_response`.
        if len(self.url) > self._limits.max_url_bytes:
            self._refusal = UriTooLong(f"the URL is longer than {self._limits.max_url_bytes} bytes")
            raise self._refusal
        if sum(len(name) + len(value) for name, value in self.headers) > self._limits.max_head_bytes:
            self._refusal = self._head_too_large()
            raise self._refusal
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection on: from here it lives by the rules of another protocol."""
        self._disarm()
        self._upgraded = True
        super().handle_websocket_upgrade()

    def on_response_complete(self) -> None:
        """Wait for the next request; if this one's body still comes, not for ever."""
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body and not self.transport.is_closing():
            self._arm(self._limits.drain_timeout_s, self.transport.close)

    def on_message_complete(self) -> None:
        """Note that the body has come to its end."""
        if self._latest is not None and self._latest.response_complete:
            self._disarm()
            self._latest.more_body = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no request, or not one that the limits allow, and close."""
        failure = self._refusal or InvalidRequest(msg.rstrip("."), code="malformed_request")
        self._refuse(failure)

    @property
    def _latest(self) -> RequestResponseCycle | None:
        # Uvicorn annotates the attribute as if there were one from the start.
        return self.cycle

    def _awaits_head(self) -> bool:
        if self._upgraded:
            return False
        return self._latest is None or (self._latest.response_complete and not self._latest.more_body)

    def _arm(self, delay_s: float, callback: Callable[[], None]) -> None:
        self._disarm()
        self._timer = self.loop.call_later(delay_s, callback)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_is_late(self) -> None:
        if self._head_bytes is not None:
            self._refuse(RequestTimeout(f"the headers did not arrive in {self._limits.head_timeout_s:g} s"))
        else:
            self.transport.close()

    def _head_too_large(self) -> HeadersTooLarge:
        return HeadersTooLarge(f"the headers are larger than {self._limits.max_head_bytes} bytes")

    def _refuse(self, failure: FauxchangeError) -> None:
        self._disarm()
        if self.transport.is_closing() or self._lingering:
            return
        # Bytes in the middle of another answer would look like a part of it.
        if self._latest is not None and self._latest.response_started and not self._latest.response_complete:
            self.transport.close()
            return
        context = request_context({})
        with serving(context):
            status, _, body = problem(failure)
        self._refused(status)
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            f"content-type: {PROBLEM_JSON}",
            f"content-length: {len(body)}",
            f"{REQUEST_ID_HEADER}: {context.request_id}",
            "connection: close",
        ]
        self.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        # A close with unread bytes would reset the connection, and the caller might never see the answer: what is
        # still sent is taken and thrown away for a while.
        self._lingering = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._arm(self._limits.drain_timeout_s, self.transport.close)
