"""The bare servers that order entry is compared with: the venue's own servers, and nothing behind them.

    python -m fauxchange.bench.echo '{"transport": "rest", "sample": "..."}'

What arrives is answered with what the venue answered (`sample`), whatever it says: no signature, no order, no journal.

* `rest`: the venue's HTTP server with its middleware, and a handler that takes the body and answers, as directly as the
  venue's own;
* `websocket`: the same server and the venue's WebSocket protocol class; each frame is decoded as far as its `op`;
* `grpc`: a `grpc.aio` server with a bidirectional stream that reads a message and writes one.

They say `{"target": "host:port"}` and end with their standard input.
"""

import base64
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc
import grpc.aio
import msgspec
from litestar import Request, post

from fauxchange.bench.children import heard, run_child, tell
from fauxchange.bench.order_clients import GRPC_METHOD, WEBSOCKET_PATH
from fauxchange.domain.errors import InvalidRequest
from fauxchange.platform.clock import WallClock
from fauxchange.platform.garbage import settle_garbage_collector
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.http.app import HttpAppConfig, create_http_app
from fauxchange.platform.http.bodies import strict_body
from fauxchange.platform.http.direct import DIRECT
from fauxchange.platform.http.rendered import Rendered
from fauxchange.platform.http.server import HttpServer
from fauxchange.platform.listening import Listener
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.platform.streams.endpoint import Heartbeat, Operation, Peer, Sessions, StreamLimits, StreamMetrics
from fauxchange.platform.streams.hub import Hub
from fauxchange.platform.streams.topics import Topic
from fauxchange.platform.streams.websocket import StreamEndpoint, websocket_factory

HOST: Final = "127.0.0.1"
HEARTBEAT_S: Final = 5.0


class Place(Operation, tag="place", kw_only=True):
    """An order, of whatever kind."""

    order: msgspec.Raw


class Authenticate(Operation, tag="auth", forbid_unknown_fields=False, kw_only=True):
    """Whoever it is."""


class EchoSession:
    """A client who is answered the same each time."""

    def __init__(self, peer: Peer, sample: bytes) -> None:
        self._peer = peer
        self._sample = sample

    def resolve(self, channel: str, symbol: str | None, /) -> Sequence[Topic]:  # noqa: ARG002 - there are none
        """Refuse. Raises: InvalidRequest."""
        raise InvalidRequest("there are no channels")

    def act(self, operation: Operation) -> None:
        """Answer."""
        self._peer.answer(self._sample if isinstance(operation, Place) else b'{"op":"auth","ok":true}')

    def ended(self) -> None:
        """Do nothing."""


async def serve_http(sample: bytes) -> tuple[str, Callable[[], Any]]:
    """Serve REST and WebSocket; return where, and how to stop."""
    metrics = PrometheusMetrics("bench", "bench", "0")
    clock = WallClock()

    @post("/orders", opt=DIRECT, dto=strict_body(msgspec.Raw))
    async def echo(request: Request[Any, Any, Any], data: msgspec.Raw) -> Rendered[Any]:  # noqa: ARG001 - unread
        return Rendered(sample, status=201)

    app = create_http_app(
        HttpAppConfig(title="Echo", version="0", health=HealthRegistry(), metrics=metrics, clock=clock, handlers=[echo])
    )
    endpoint = StreamEndpoint(
        WEBSOCKET_PATH,
        hub=Hub(),
        heartbeat=Heartbeat(epoch=time.time_ns() // 1_000_000, interval_s=HEARTBEAT_S, now_ns=clock.now_ns),
        limits=StreamLimits(),
        metrics=StreamMetrics(metrics),
        session=Sessions(lambda peer: EchoSession(peer, sample), (Place, Authenticate)),
    )
    server = HttpServer(
        "echo",
        app,
        Listener(host=HOST, port=0, setting="HTTP_PORT"),
        metrics=metrics,
        ws=websocket_factory({WEBSOCKET_PATH: endpoint}),
        stop_timeout_s=0.1,
    )
    await server.start()
    host, port = server.address
    return f"{host}:{port}", server.stop


async def serve_grpc(sample: bytes) -> tuple[str, Callable[[], Any]]:
    """Serve the order stream; return where, and how to stop."""

    async def echo(requests: object, context: Any) -> None:  # noqa: ARG001 - gRPC's signature
        # Where the venue says that the stream has begun.
        await context.read()
        await context.write(b"")
        while await context.read() is not grpc.aio.EOF:
            await context.write(sample)

    service, _, name = GRPC_METHOD.lstrip("/").partition("/")
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {name: grpc.stream_stream_rpc_method_handler(echo)}),)
    )
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()

    async def stop() -> None:
        await server.stop(0.1)

    return f"{HOST}:{port}", stop


async def main(options: dict[str, Any]) -> None:
    """Serve until the parent leaves."""
    sample = base64.b64decode(options["sample"])
    target, stop = await (serve_grpc if options["transport"] == "grpc" else serve_http)(sample)
    settle_garbage_collector()
    tell({"target": target})
    async for _ in heard():
        pass
    await stop()


if __name__ == "__main__":
    run_child(main)
