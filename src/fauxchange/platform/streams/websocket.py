"""Streams over WebSocket: the protocol class that uvicorn hands an upgraded connection to.

The handshake, incoming frames and closing are the `websockets` library's sans-I/O protocol. Outgoing stream frames
bypass it (see `frames`): made once by the hub, written to every transport. Nothing here awaits: a connection costs no
task, and a reader that falls behind costs a bounded mailbox.

Client frames: `subscribe`, `unsubscribe`, `ping`; each is answered with `{"op", "id", "ok", "code"?, "detail"?}`.
"""

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Literal, cast

import msgspec
import structlog
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from fauxchange.domain.errors import FauxchangeError, InvalidRequest, NotFound, Unavailable
from fauxchange.platform.errors import PROBLEM_JSON
from fauxchange.platform.http.problems import problem
from fauxchange.platform.streams.endpoint import (
    Heartbeat,
    SnapshotRequired,
    StreamLimits,
    StreamMetrics,
    TopicResolver,
    begin,
)
from fauxchange.platform.streams.hub import Delivery, Hub
from fauxchange.platform.streams.topics import Mailbox, StreamMessage, Topic
from fauxchange.platform.tracing import request_context, serving

CLOSE_GOING_AWAY = 1001
CLOSE_UNSUPPORTED_DATA = 1003
CLOSE_SLOW_CONSUMER = 4008

TRANSPORT = "websocket"
HARD_MESSAGE_BYTES = 1 << 20
"""Beyond this a message is not even read: the connection is closed with 1009."""
FRAME_MESSAGES = 1_000
"""One frame carries at most so many: many clients refuse frames beyond 1 MiB unless told otherwise."""
CLOSE_PATIENCE_S = 5.0
SILENT_BEATS = 12
"""A peer that answers none of so many heartbeats' pings is gone."""
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises, beside ValidationError: recursion where brackets are nested beyond any use."""

log = structlog.get_logger(__name__)


class ClientFrame(msgspec.Struct, forbid_unknown_fields=True):
    """What a client may send."""

    op: Literal["subscribe", "unsubscribe", "ping"]
    channel: str | None = None
    symbol: str | None = None
    from_sequence: int | None = None
    epoch: int | None = None
    policy: Literal["conflate", "disconnect"] = "conflate"
    id: str | int | None = None


class Reply(msgspec.Struct, omit_defaults=True):
    """The answer to a client frame."""

    op: str | None
    id: str | int | None
    ok: bool
    code: str | None = None
    detail: str | None = None
    field: str | None = None
    channel: str | None = None
    symbol: str | None = None


class StreamEndpoint:
    """One service's streams at one path."""

    def __init__(
        self,
        path: str,
        *,
        hub: Hub,
        resolve: TopicResolver,
        heartbeat: Heartbeat,
        limits: StreamLimits,
        metrics: StreamMetrics,
    ) -> None:
        self.path = path
        self.hub = hub
        self.resolve = resolve
        self.heartbeat = heartbeat
        self.limits = limits
        self.metrics = metrics
        self.connections: dict[WebSocketConnection, None] = {}

    def joined(self, connection: "WebSocketConnection") -> None:
        """Count a connection in."""
        self.connections[connection] = None
        self.heartbeat.join(connection)
        self.metrics.subscribers.set(len(self.connections), TRANSPORT)

    def left(self, connection: "WebSocketConnection") -> None:
        """Count a connection out."""
        self.hub.leave(connection)
        self.heartbeat.leave(connection)
        self.connections.pop(connection, None)
        self.metrics.subscribers.set(len(self.connections), TRANSPORT)


class WebSocketConnection(asyncio.Protocol):
    """One client."""

    readers = 1

    def __init__(self, endpoints: Mapping[str, StreamEndpoint], open_connections: set[Any]) -> None:
        self._endpoints = endpoints
        self._open_connections = open_connections
        self._protocol = ServerProtocol(max_size=HARD_MESSAGE_BYTES)
        self._endpoint: StreamEndpoint | None = None
        self._fragments: list[bytes] = []
        self._silent_beats = 0
        self._paused = False
        self._mailbox: Mailbox | None = None
        self._strict: set[Topic] = set()

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with a transport that uvicorn has accepted."""
        self.transport = cast("asyncio.Transport", transport)
        self._open_connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it went does not matter
        """Forget the client."""
        self._open_connections.discard(self)
        if self._endpoint is not None:
            self._endpoint.left(self)

    def eof_received(self) -> bool:
        """Let the transport close when the peer has."""
        self._protocol.receive_eof()
        return False

    def data_received(self, data: bytes) -> None:
        """Read what the client sent."""
        self._silent_beats = 0
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._shake_hands(event)
            else:
                self._read_frame(cast("Frame", event))
        self._flush_protocol()

    def pause_writing(self) -> None:
        """Write no more for now, and read no more questions, which would be answered into the same full buffer."""
        self._paused = True
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Send what has waited."""
        self._paused = False
        if self.transport.is_closing():
            return
        self.transport.resume_reading()
        mailbox = self._mailbox
        # Frame by frame, because writing may fill the buffer anew, which calls `pause_writing` at once.
        while mailbox and not self._paused:
            self.transport.write(Delivery(mailbox.take(FRAME_MESSAGES)).frame)
        if mailbox is not None and not mailbox and self._endpoint is not None:
            self._endpoint.metrics.conflated.inc(mailbox.conflated, TRANSPORT)
            self._mailbox = None

    def shutdown(self) -> None:
        """Say goodbye because the server stops (uvicorn calls this)."""
        self.close(CLOSE_GOING_AWAY, "server_shutdown")

    # The hub's side

    def deliver(self, delivery: Delivery) -> None:
        """Write what was published, or keep it while the client is not reading."""
        if not self._paused:
            self.transport.write(delivery.frame)
            return
        endpoint = self._endpoint
        if endpoint is None or self.transport.is_closing():
            return
        if self._mailbox is None:
            self._mailbox = Mailbox(endpoint.limits.queue_messages, strict=self._strict)
        if not self._mailbox.add(delivery.messages):
            endpoint.metrics.slow_consumers.inc(1, TRANSPORT)
            log.warning("slow_consumer", waiting=len(self._mailbox), peer=self.transport.get_extra_info("peername"))
            self._mailbox = None
            self.close(CLOSE_SLOW_CONSUMER, "slow_consumer")

    def beat(self, message: StreamMessage) -> None:
        """Send a heartbeat and ask for a sign of life."""
        self._silent_beats += 1
        if self._silent_beats > SILENT_BEATS:
            self.transport.abort()
        elif not self._paused and self._protocol.state is State.OPEN:
            self.transport.write(Delivery((message,)).frame)
            self._protocol.send_ping(b"")
            self._flush_protocol()

    def close(self, code: int, reason: str) -> None:
        """Close with a code and a reason, or without them if the peer does not even read that."""
        if self._endpoint is not None:
            self._endpoint.left(self)
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._flush_protocol()
        loop = asyncio.get_running_loop()
        loop.call_later(CLOSE_PATIENCE_S, self.transport.abort)

    # The protocol

    def _flush_protocol(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self.transport.write(data)
            else:
                self.transport.close()
        if self._protocol.state is State.CLOSING and self._endpoint is not None:
            self._endpoint.left(self)

    def _shake_hands(self, request: Request) -> None:
        path = request.path.partition("?")[0]
        endpoint = self._endpoints.get(path)
        if endpoint is None:
            self._refuse(request, NotFound(f"there is no WebSocket at {path}"))
            return
        if len(endpoint.connections) >= endpoint.limits.connections:
            detail = f"{endpoint.limits.connections} clients are connected, which is the limit (WS_MAX_CONNECTIONS)"
            self._refuse(request, Unavailable(detail, code="too_many_connections", retry_after_s=1.0))
            return
        response = self._protocol.accept(request)
        self._protocol.send_response(response)
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self._endpoint = endpoint
            high = endpoint.limits.queue_bytes
            self.transport.set_write_buffer_limits(high=high, low=high // 4)
            self._flush_protocol()
            endpoint.joined(self)

    def _refuse(self, request: Request, failure: FauxchangeError) -> None:
        with serving(request_context({name.lower(): value for name, value in request.headers.raw_items()})):
            status, headers, body = problem(failure, instance=request.path.partition("?")[0])
        response: Response = self._protocol.reject(status, body.decode())
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = PROBLEM_JSON
        for name, value in headers.items():
            response.headers[name] = value
        self._protocol.send_response(response)

    def _read_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.BINARY:
            self.close(CLOSE_UNSUPPORTED_DATA, "text_frames_only")
        elif frame.opcode in {Opcode.TEXT, Opcode.CONT}:
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                message = b"".join(self._fragments)
                self._fragments.clear()
                self._answer(message)

    def _answer(self, message: bytes) -> None:
        endpoint = self._endpoint
        if endpoint is None or self._protocol.state is not State.OPEN:
            return
        if len(message) > endpoint.limits.message_bytes:
            self._reply(
                Reply(
                    None, None, ok=False, code="message_too_large", detail=f"over {endpoint.limits.message_bytes} bytes"
                )
            )
            return
        try:
            frame = msgspec.json.decode(message, type=ClientFrame)
        except msgspec.ValidationError as exc:
            op, frame_id = _op_and_id(message)
            self._reply(Reply(op, frame_id, ok=False, code="invalid_frame", detail=str(exc)))
            return
        except _NOT_JSON as exc:
            self._reply(Reply(None, None, ok=False, code="malformed_frame", detail=f"not JSON: {exc}"))
            return
        try:
            self._act(endpoint, frame)
        except FauxchangeError as exc:
            if isinstance(exc, SnapshotRequired):
                endpoint.metrics.snapshots_required.inc(1, TRANSPORT)
            self._reply(
                Reply(
                    frame.op,
                    frame.id,
                    ok=False,
                    code=exc.code,
                    detail=exc.message,
                    field=exc.field,
                    channel=frame.channel,
                    symbol=frame.symbol,
                )
            )

    def _act(self, endpoint: StreamEndpoint, frame: ClientFrame) -> None:
        if frame.op == "ping":
            self._reply(Reply("ping", frame.id, ok=True))
            return
        if frame.channel is None:
            raise InvalidRequest("name a channel", code="channel_required", field="channel")
        topics = endpoint.resolve(frame.channel, frame.symbol)
        if frame.op == "unsubscribe":
            ended = [topic for topic in topics if endpoint.hub.unsubscribe(self, topic)]
            if not ended:
                raise InvalidRequest("there is no such subscription", code="not_subscribed", field="channel")
            self._strict.difference_update(topics)
            self._reply(Reply("unsubscribe", frame.id, ok=True, channel=frame.channel, symbol=frame.symbol))
            return
        fresh = [topic for topic in topics if topic not in endpoint.hub.topics_of(self)]
        if not fresh and frame.from_sequence is None:
            raise InvalidRequest("already subscribed", code="already_subscribed", field="channel")
        if len(endpoint.hub.topics_of(self)) + len(fresh) > endpoint.limits.subscriptions:
            raise InvalidRequest(
                f"a connection has at most {endpoint.limits.subscriptions} subscriptions",
                code="too_many_subscriptions",
                field="channel",
            )
        first = begin(topics, from_sequence=frame.from_sequence, epoch=frame.epoch)
        if frame.policy == "disconnect":
            self._strict.update(topics)
        self._reply(Reply("subscribe", frame.id, ok=True, channel=frame.channel, symbol=frame.symbol))
        for topic in fresh:
            endpoint.hub.subscribe(self, topic)
        for begun in range(0, len(first), FRAME_MESSAGES):
            self.deliver(Delivery(first[begun : begun + FRAME_MESSAGES]))

    def _reply(self, reply: Reply) -> None:
        self._protocol.send_text(msgspec.json.encode(reply))
        # At once, because what the answer announces is written past the protocol.
        self._flush_protocol()


def websocket_factory(endpoints: Mapping[str, StreamEndpoint]) -> Callable[..., asyncio.Protocol]:
    """Return what uvicorn's `ws` setting wants: a protocol for each upgraded connection, by path."""

    def make(config: Any, server_state: Any, app_state: Any) -> asyncio.Protocol:  # noqa: ARG001 - uvicorn's signature
        return WebSocketConnection(endpoints, server_state.connections)

    return make


def _op_and_id(message: bytes) -> tuple[str | None, str | int | None]:
    # An answer to a frame that is not valid still says which frame it answers, where that can be read.
    try:
        loose = msgspec.json.decode(message)
    except _NOT_JSON:
        return None, None
    if not isinstance(loose, dict):
        return None, None
    op, frame_id = loose.get("op"), loose.get("id")
    return (
        op if isinstance(op, str) else None,
        frame_id if isinstance(frame_id, str | int) and not isinstance(frame_id, bool) else None,
    )
