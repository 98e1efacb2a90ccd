"""The HTTP server as a component: binds its socket first, then serves an application with uvicorn."""

import asyncio
import contextlib
import functools
import math
import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

import structlog
import uvicorn

from fauxchange.domain.errors import check
from fauxchange.platform.http.asgi import AsgiApp
from fauxchange.platform.http.middleware import OTHER_METHOD, UNKNOWN_ROUTE, http_red
from fauxchange.platform.http.protocol import BoundedHttpProtocol, ConnectionLimits
from fauxchange.platform.listening import Listener, bind, bound_address, url_host
from fauxchange.platform.ports import MetricsPort

_log = structlog.get_logger(__name__)

WebSocketProtocol = Callable[..., asyncio.Protocol]
"""Made by uvicorn with config, server_state and app_state when a connection asks for the upgrade."""


class HttpServer:
    """Serve an application on one socket from `start` to `stop`.

    Units: stop_timeout_s bounds how long requests in flight may take to end once `stop` is called
    """

    def __init__(
        self,
        name: str,
        app: AsgiApp,
        listener: Listener,
        *,
        metrics: MetricsPort,
        ws: WebSocketProtocol | None = None,
        limits: ConnectionLimits | None = None,
        stop_timeout_s: float = 5.0,
    ) -> None:
        self.name = name
        self._app = app
        self._listener = listener
        self._red = http_red(metrics)
        self._ws = ws
        self._limits = limits or ConnectionLimits()
        self._stop_timeout_s = stop_timeout_s
        self._address: tuple[str, int] | None = None
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """The host and port that are listened on, once started."""
        check(self._address is not None, f"{self.name} has not started")
        return cast("tuple[str, int]", self._address)

    @property
    def url(self) -> str:
        """The address as a URL without a path."""
        host, port = self.address
        return f"http://{url_host(host)}:{port}"

    async def start(self) -> None:
        """Bind, and return when connections are served.

        Raises: ConfigurationError if the address cannot be had
        """
        bound = bind(self._listener)
        self._address = bound_address(bound)
        self._server = _Server(self._config())
        self._serving = asyncio.create_task(self._serve(self._server, bound), name=self.name)
        ready = asyncio.create_task(self._server.ready.wait())
        try:
            await asyncio.wait({ready, self._serving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if self._serving.done():
            await self._serving
        _log.info("listening", server=self.name, url=self.url)

    async def stop(self) -> None:
        """Stop accepting, let requests in flight end within the bound, close every connection."""
        if self._server is None or self._serving is None:
            return
        self._server.should_exit = True
        await self._serving
        self._server = self._serving = None

    async def wait(self) -> None:
        """Return when the server has ended, by `stop` or by an error, which is raised."""
        if self._serving is not None:
            await asyncio.shield(self._serving)

    def _config(self) -> uvicorn.Config:
        protocol = functools.partial(BoundedHttpProtocol, limits=self._limits, refused=self._count_refusal)
        config = uvicorn.Config(
            cast("Any", self._app),
            http=cast("type[asyncio.Protocol]", protocol),
            ws=cast("type[asyncio.Protocol]", self._ws) if self._ws is not None else "none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=math.ceil(self._stop_timeout_s),
        )
        config.load()
        return config

    async def _serve(self, server: "_Server", bound: socket.socket) -> None:
        try:
            await server.serve(sockets=[bound])
        finally:
            bound.close()
            # Who has not gone by now is not waited for any longer.
            for connection in tuple(server.server_state.connections):
                if transport := getattr(connection, "transport", None):
                    transport.abort()

    def _count_refusal(self, status: int) -> None:
        self._red.record(0.0, OTHER_METHOD, UNKNOWN_ROUTE, str(status), failed=True)


class _Server(uvicorn.Server):
    """Uvicorn's server, which says when it serves and leaves signals to the process."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
