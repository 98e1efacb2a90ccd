"""Streams over WebSocket: the protocol class that uvicorn hands an upgraded connection to.

The handshake, incoming frames and closing are the `websockets` library's sans-I/O protocol. Outgoing stream frames
bypass it (see `frames`): made once by the hub, written to every transport. Nothing here awaits: a connection costs no
task, and a reader that falls behind costs a bounded mailbox.

Client frames: `subscribe`, `unsubscribe`, `ping`, and what the endpoint's sessions know beyond that; each is answered
with `{"op", "id", "ok", "code"?, "detail"?}`. Frames are acted upon in their order. While the client does not read, or
too many answers are owed to it, frames wait where they are and nothing more is read from the socket.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from itertools import chain
from typing import Any, Literal, cast

import msgspec
import structlog
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from fauxchange.domain.errors import FauxchangeError, InvalidRequest, NotFound, Unavailable, check
from fauxchange.platform.errors import PROBLEM_JSON
from fauxchange.platform.http.problems import problem
from fauxchange.platform.streams.endpoint import (
    Heartbeat,
    Operation,
    Reading,
    Sessions,
    SnapshotRequired,
    StreamLimits,
    StreamMetrics,
    StreamSession,
    TopicResolver,
    begin,
)
from fauxchange.platform.streams.frames import text_frame, text_header
from fauxchange.platform.streams.hub import Delivery, Hub
from fauxchange.platform.streams.topics import Mailbox, StreamMessage, Topic
from fauxchange.platform.tracing import RequestContext, request_context, serving

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


_FIELD = re.compile(r" - at `\$\.([^`]*)`$")


class StreamOperation(Operation, kw_only=True):
    """What a client of any endpoint may send."""

    channel: str | None = None
    symbol: str | None = None
    from_sequence: int | None = None
    epoch: int | None = None
    policy: Literal["conflate", "disconnect"] = "conflate"


class Subscribe(StreamOperation, tag="subscribe", kw_only=True):
    """Read a channel."""


class Unsubscribe(StreamOperation, tag="unsubscribe", kw_only=True):
    """Read a channel no more."""


class Ping(StreamOperation, tag="ping", kw_only=True):
    """Be answered."""


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
    """One service's streams at one path: for everybody alike (`resolve`), or in sessions (`session`)."""

    def __init__(
        self,
        path: str,
        *,
        hub: Hub,
        heartbeat: Heartbeat,
        limits: StreamLimits,
        metrics: StreamMetrics,
        resolve: TopicResolver | None = None,
        session: Sessions | None = None,
    ) -> None:
        if session is None:
            check(resolve is not None, "topics are found by `resolve`, or by sessions")
            reading = Reading(cast("TopicResolver", resolve))
            session = Sessions(lambda peer: reading)  # noqa: ARG005 - who only reads is like everybody else
        self.path = path
        self.hub = hub
        self.open_session = session.open
        self.decode = session.decoder(Subscribe, Unsubscribe, Ping)
        self.heartbeat = heartbeat
        self.limits = limits
        self.metrics = metrics
        self.connections: dict[WebSocketConnection, None] = {}

    def joined(self, connection: "WebSocketConnection") -> None:
        """Count a connection in."""
        self.connections[connection] = None
        self.heartbeat.join(connection)
        self.metrics.readers(self, TRANSPORT, len(self.connections))

    def left(self, connection: "WebSocketConnection") -> None:
        """Count a connection out."""
        self.hub.leave(connection)
        self.heartbeat.leave(connection)
        self.connections.pop(connection, None)
        self.metrics.readers(self, TRANSPORT, len(self.connections))


class WebSocketConnection(asyncio.Protocol):
    """One client."""

    readers = 1

    def __init__(self, endpoints: Mapping[str, StreamEndpoint], open_connections: set[Any]) -> None:
        self._endpoints = endpoints
        self._open_connections = open_connections
        self._protocol = ServerProtocol(max_size=HARD_MESSAGE_BYTES)
        self._endpoint: StreamEndpoint | None = None
        self._session: StreamSession | None = None
        self._fragments: list[bytes] = []
        self._silent_beats = 0
        self._mailbox: Mailbox | None = None
        self._strict: set[Topic] = set()
        self._unread: deque[Request | Response | Frame] = deque()
        self._reads = True
        # What keeps frames waiting: a full transport, too many answers owed, an operation of its session, the end.
        self._paused = False
        self._congested = False
        self._holds = 0
        self._stopping = False
        self._owed = 0
        self._answers: list[bytes] = []
        self._answering = False
        self.guard: Callable[[], bool] | None = None

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with a transport that uvicorn has accepted."""
        self._loop = asyncio.get_running_loop()
        self.transport = cast("asyncio.Transport", transport)
        self._open_connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it went does not matter
        """Forget the client."""
        self._open_connections.discard(self)
        self._unread.clear()
        self._leave()

    def eof_received(self) -> bool:
        """Let the transport close when the peer has."""
        self._protocol.receive_eof()
        return False

    def data_received(self, data: bytes) -> None:
        """Read what the client sent."""
        self._silent_beats = 0
        self._protocol.receive_data(data)
        self._unread.extend(self._protocol.events_received())
        self._read_on()

    def pause_writing(self) -> None:
        """Write no more for now, and read no more questions, which would be answered into the same full buffer."""
        self._paused = True
        self._regulate()

    def resume_writing(self) -> None:
        """Send what has waited."""
        self._paused = False
        if self.transport.is_closing():
            return
        mailbox = self._mailbox
        # Frame by frame, because writing may fill the buffer anew, which calls `pause_writing` at once.
        while mailbox and not self._paused:
            self.transport.write(Delivery(mailbox.take(FRAME_MESSAGES)).frame)
        if mailbox is not None and not mailbox and self._endpoint is not None:
            self._endpoint.metrics.conflated.inc(mailbox.conflated, TRANSPORT)
            self._mailbox = None
        self._read_on()

    def shutdown(self) -> None:
        """Give the answers that are owed, then say goodbye, because the server stops (uvicorn calls this)."""
        self._stopping = True
        self._regulate()
        if not self._owed:
            self.close(CLOSE_GOING_AWAY, "server_shutdown")

    # The session's side

    @property
    def path(self) -> str:
        """The path that the client has connected to."""
        return "" if self._endpoint is None else self._endpoint.path

    @property
    def source(self) -> str:
        """The client's address, without its port."""
        peer = self.transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) else ""

    def answer(self, payload: bytes) -> None:
        """Send an answer, together with the others of this turn of the loop."""
        self._answers.append(text_frame(payload))
        self._answer_soon()

    def _answer_soon(self) -> None:
        if not self._answering:
            self._answering = True
            self._loop.call_soon(self._give_answers)

    def owe(self) -> None:
        """Note that an answer will follow."""
        self._owed += 1
        if self._endpoint is not None and self._owed >= self._endpoint.limits.outstanding:
            self._congested = True

    def settle(self, payload: bytes) -> None:
        """Send an answer that was owed."""
        self._owed -= 1
        self.answer(payload)

    def settle_all(self, payloads: Sequence[bytes]) -> None:
        """Send answers that were owed, in this order."""
        self._owed -= len(payloads)
        # Headers and payloads are joined with everything else that is written.
        self._answers += chain.from_iterable(zip(map(text_header, map(len, payloads)), payloads, strict=True))
        self._answer_soon()

    def hold(self) -> None:
        """Act on no further frame until `release`."""
        self._holds += 1

    def release(self) -> None:
        """Act on further frames again."""
        self._holds -= 1
        # Not from within whatever ends the hold.
        self._loop.call_soon(self._read_on)

    def _give_answers(self) -> None:
        self._answering = False
        self._write_answers()
        if self._congested and self._endpoint is not None and self._owed <= self._endpoint.limits.outstanding // 2:
            self._congested = False
            self._read_on()
        if self._stopping and not self._owed:
            self.close(CLOSE_GOING_AWAY, "server_shutdown")

    def _write_answers(self) -> None:
        if self._answers:
            answers, self._answers = self._answers, []
            if self._protocol.state is State.OPEN and not self.transport.is_closing():
                self.transport.write(b"".join(answers))

    # The hub's side

    def deliver(self, delivery: Delivery) -> None:
        """Write what was published, or keep it while the client is not reading."""
        if self.guard is not None and not self.guard():
            return
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
        if self.guard is not None and not self.guard():
            return
        self._silent_beats += 1
        if self._silent_beats > SILENT_BEATS:
            self.transport.abort()
        elif not self._paused and self._protocol.state is State.OPEN:
            self.transport.write(Delivery((message,)).frame)
            self._protocol.send_ping(b"")
            self._flush_protocol()

    def close(self, code: int, reason: str) -> None:
        """Close with a code and a reason, or without them if the peer does not even read that."""
        self._write_answers()
        self._leave()
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._flush_protocol()
            # What is left to read is the peer's farewell.
            self._unread.clear()
            self._regulate()
        self._loop.call_later(CLOSE_PATIENCE_S, self.transport.abort)

    def _leave(self) -> None:
        if self._endpoint is not None:
            self._endpoint.left(self)
        session, self._session = self._session, None
        if session is not None:
            session.ended()

    # The protocol

    def _flush_protocol(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self.transport.write(data)
            else:
                self.transport.close()
        if self._protocol.state is State.CLOSING:
            self._leave()

    def _waits(self) -> bool:
        """Say whether frames wait; unless the connection is open nothing keeps them, and they are dropped."""
        waits = self._paused or self._congested or self._holds > 0 or self._stopping
        return waits and self._protocol.state is State.OPEN

    def _read_on(self) -> None:
        unread = self._unread
        while unread and not self._waits():
            event = unread.popleft()
            if isinstance(event, Request):
                self._shake_hands(event)
            else:
                self._read_frame(cast("Frame", event))
        self._flush_protocol()
        self._regulate()

    def _regulate(self) -> None:
        reads = not self._waits()
        if reads is not self._reads and not self.transport.is_closing():
            self._reads = reads
            if reads:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

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
            self.context: RequestContext = request_context(_lower(request))
            self._session = endpoint.open_session(self)
            endpoint.joined(self)

    def _refuse(self, request: Request, failure: FauxchangeError) -> None:
        with serving(request_context(_lower(request))):
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
        elif frame.opcode is Opcode.TEXT and frame.fin:
            self._read_message(bytes(frame.data))
        elif frame.opcode in {Opcode.TEXT, Opcode.CONT}:
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                message = b"".join(self._fragments)
                self._fragments.clear()
                self._read_message(message)

    def _read_message(self, message: bytes) -> None:
        endpoint, session = self._endpoint, self._session
        if endpoint is None or session is None or self._protocol.state is not State.OPEN:
            return
        if len(message) > endpoint.limits.message_bytes:
            self._reply(
                Reply(
                    None, None, ok=False, code="message_too_large", detail=f"over {endpoint.limits.message_bytes} bytes"
                )
            )
            return
        try:
            operation = endpoint.decode(message)
        except msgspec.ValidationError as exc:
            op, frame_id = _op_and_id(message)
            field = _FIELD.search(str(exc))
            self._reply(
                Reply(
                    op, frame_id, ok=False, code="invalid_frame", detail=str(exc), field=None if not field else field[1]
                )
            )
            return
        except _NOT_JSON as exc:
            self._reply(Reply(None, None, ok=False, code="malformed_frame", detail=f"not JSON: {exc}"))
            return
        if not isinstance(operation, StreamOperation):
            session.act(operation)
            return
        try:
            self._act(endpoint, session, operation)
        except FauxchangeError as exc:
            if isinstance(exc, SnapshotRequired):
                endpoint.metrics.snapshots_required.inc(1, TRANSPORT)
            self._reply(
                Reply(
                    operation.op,
                    operation.id,
                    ok=False,
                    code=exc.code,
                    detail=exc.message,
                    field=exc.field,
                    channel=operation.channel,
                    symbol=operation.symbol,
                )
            )

    def _act(self, endpoint: StreamEndpoint, session: StreamSession, operation: StreamOperation) -> None:
        if isinstance(operation, Ping):
            self._reply(Reply("ping", operation.id, ok=True))
            return
        if operation.channel is None:
            raise InvalidRequest("name a channel", code="channel_required", field="channel")
        topics = session.resolve(operation.channel, operation.symbol)
        if isinstance(operation, Unsubscribe):
            ended = [topic for topic in topics if endpoint.hub.unsubscribe(self, topic)]
            if not ended:
                raise InvalidRequest("there is no such subscription", code="not_subscribed", field="channel")
            self._strict.difference_update(topics)
            self._reply(Reply("unsubscribe", operation.id, ok=True, channel=operation.channel, symbol=operation.symbol))
            return
        fresh = [topic for topic in topics if topic not in endpoint.hub.topics_of(self)]
        if not fresh and operation.from_sequence is None:
            raise InvalidRequest("already subscribed", code="already_subscribed", field="channel")
        if len(endpoint.hub.topics_of(self)) + len(fresh) > endpoint.limits.subscriptions:
            raise InvalidRequest(
                f"a connection has at most {endpoint.limits.subscriptions} subscriptions",
                code="too_many_subscriptions",
                field="channel",
            )
        first = begin(topics, from_sequence=operation.from_sequence, epoch=operation.epoch)
        if operation.policy == "disconnect":
            self._strict.update(topics)
        self._reply(Reply("subscribe", operation.id, ok=True, channel=operation.channel, symbol=operation.symbol))
        for topic in fresh:
            endpoint.hub.subscribe(self, topic)
        for begun in range(0, len(first), FRAME_MESSAGES):
            self.deliver(Delivery(first[begun : begun + FRAME_MESSAGES]))

    def _reply(self, reply: Reply) -> None:
        self._write_answers()
        self._protocol.send_text(msgspec.json.encode(reply))
        # At once, because what the answer announces is written past the protocol.
        self._flush_protocol()


def websocket_factory(endpoints: Mapping[str, StreamEndpoint]) -> Callable[..., asyncio.Protocol]:
    """Return what uvicorn's `ws` setting wants: a protocol for each upgraded connection, by path."""

    def make(config: Any, server_state: Any, app_state: Any) -> asyncio.Protocol:  # noqa: ARG001 - uvicorn's signature
        return WebSocketConnection(endpoints, server_state.connections)

    return make


def _lower(request: Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.raw_items()}


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
