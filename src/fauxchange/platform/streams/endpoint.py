"""What the carriers of streams share: how topics are found, sessions, the limits, the heartbeat, the counts."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, Protocol

import msgspec

from fauxchange.domain.errors import FauxchangeError, InvalidRequest
from fauxchange.domain.times import format_time
from fauxchange.platform.ports import MetricsPort
from fauxchange.platform.streams.topics import ANY_SYMBOL, StreamMessage, Topic
from fauxchange.platform.tracing import RequestContext

HEARTBEAT_CHANNEL = "heartbeat"
_NOT_QUICK = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """Bounds of what one client may take.

    Units: heartbeat_s in seconds of wall time, *_bytes in bytes, queue_messages in messages
    """

    connections: int = 1_000
    subscriptions: int = 1_024
    message_bytes: int = 65_536
    queue_bytes: int = 65_536
    queue_messages: int = 10_000
    outstanding: int = 1_000
    """So many answers may be owed to one connection; until half of them are given, no more is read from it."""
    heartbeat_s: float = 5.0


class SnapshotRequired(FauxchangeError):
    """The messages from the asked number on are not kept (any more): begin with a snapshot."""

    code = "snapshot_required"


TopicResolver = Callable[[str, str | None], Sequence[Topic]]
"""Find the topics of a channel, of one symbol or of all. Raises: InvalidRequest, NotFound."""


class Operation(msgspec.Struct, tag_field="op", forbid_unknown_fields=True, kw_only=True, gc=False):
    """What a client may send: each kind is a struct of its own, told by its `op`."""

    id: str | int | None = None

    @property
    def op(self) -> str:
        """The name of the operation."""
        return str(self.__struct_config__.tag)


class Peer(Protocol):
    """A connection, as the session on it sees it."""

    @property
    def path(self) -> str:
        """The path that the client has connected to."""
        ...

    @property
    def source(self) -> str:
        """The client's address, without its port."""
        ...

    context: RequestContext
    """The ids of the request that opened the connection."""
    guard: Callable[[], bool] | None
    """Asked before each message of a topic; with False nothing is sent (the guard has closed the connection)."""

    def answer(self, payload: bytes) -> None:
        """Send an answer, together with the others of this turn of the event loop."""
        ...

    def owe(self) -> None:
        """Note that an answer will follow later; too many of them stop the reading."""
        ...

    def settle(self, payload: bytes) -> None:
        """Send an answer that was owed."""
        ...

    def settle_all(self, payloads: Sequence[bytes]) -> None:
        """Send answers that were owed, in this order."""
        ...

    def hold(self) -> None:
        """Look at no further operation until `release`: what comes next depends on how this one ends."""
        ...

    def release(self) -> None:
        """End a `hold`."""
        ...

    def close(self, code: int, reason: str) -> None:
        """End the connection."""
        ...


class StreamSession(Protocol):
    """What a service knows of one connection: whose it is, and what that one may do beyond reading."""

    def resolve(self, channel: str, symbol: str | None, /) -> Sequence[Topic]:
        """Return the topics of a channel for this client. Raises: FauxchangeError."""
        ...

    def act(self, operation: Operation) -> None:
        """Carry out one of the session's own operations; it answers by itself, and raises nothing."""
        ...

    def ended(self) -> None:
        """Take note, once, that the connection reads no more; what is still sent to it is lost."""
        ...


@dataclass(frozen=True, slots=True)
class Sessions:
    """How an endpoint begins sessions, and the operations that they know beyond those of every stream."""

    open: Callable[[Peer], StreamSession]
    operations: tuple[type[Operation], ...] = ()
    quick: tuple[type[Operation], ...] = ()
    """Kinds that stand for those of the same `op` and are decoded quicker; what they refuse, those have to judge."""

    def decoder(self, *others: type[Operation]) -> Callable[[bytes], Operation]:
        """Return what decodes these and other operations. It raises what a decoder of `msgspec` does."""
        exact = _decoder(*others, *self.operations)
        if not self.quick:
            return exact
        named = {kind.__struct_config__.tag: kind for kind in (*others, *self.operations, *self.quick)}
        quick = _decoder(*named.values())

        def decode(message: bytes) -> Operation:
            try:
                return quick(message)
            except _NOT_QUICK:
                return exact(message)

        return decode


def _decoder(*kinds: type[Operation]) -> Callable[[bytes], Operation]:
    union: Any = reduce(or_, kinds)
    decode: Callable[[bytes], Operation] = msgspec.json.Decoder(union).decode
    return decode


class Reading:
    """The session of whoever only reads what everybody may read."""

    def __init__(self, resolve: TopicResolver) -> None:
        self.resolve = resolve

    def act(self, operation: Operation) -> None:
        """Do nothing: there is no operation of its own."""

    def ended(self) -> None:
        """Do nothing."""


class StreamMetrics:
    """Counts of the streams of one process, by transport (`websocket`, `grpc`)."""

    def __init__(self, metrics: MetricsPort) -> None:
        self._subscribers = metrics.gauge("stream_subscribers", "Connected readers of streams.", ("transport",))
        self._readers: dict[tuple[str, int], int] = {}
        self.conflated = metrics.counter(
            "stream_messages_conflated_total", "Messages merged into newer ones for slow readers.", ("transport",)
        )
        self.slow_consumers = metrics.counter(
            "stream_slow_consumers_total", "Readers disconnected because they were too slow.", ("transport",)
        )
        self.snapshots_required = metrics.counter(
            "stream_snapshot_required_total", "Resumptions refused because the messages are gone.", ("transport",)
        )

    def readers(self, owner: object, transport: str, count: int) -> None:
        """Say how many read an owner's streams; the metric is the sum over all owners of the process."""
        self._readers[transport, id(owner)] = count
        self._subscribers.set(sum(one for (of, _), one in self._readers.items() if of == transport), transport)


def begin(topics: Sequence[Topic], *, from_sequence: int | None, epoch: int | None) -> list[StreamMessage]:
    """Return what a new subscriber to `topics` reads first: snapshots, or the messages it missed.

    Raises: InvalidRequest if a number is given for several topics, SnapshotRequired if it cannot be served
    """
    if from_sequence is None:
        return [snapshot for topic in topics if (snapshot := topic.snapshot()) is not None]
    if len(topics) != 1:
        raise InvalidRequest(
            "from_sequence belongs to one symbol; name the symbol", code="symbol_required", field="symbol"
        )
    topic = topics[0]
    missed = None if epoch is not None and epoch != topic.epoch else topic.resume(from_sequence)
    if missed is None:
        raise SnapshotRequired(
            f"messages of {topic.channel} {topic.symbol} from {from_sequence} on are not kept; "
            "subscribe without from_sequence and begin with the snapshot",
            field="from_sequence",
            details={"epoch": str(topic.epoch), "sequence": str(topic.sequence)},
        )
    return list(missed)


class _HeartbeatCodec:
    def json(self, message: StreamMessage) -> bytes:
        return msgspec.json.encode(
            {
                "channel": message.topic.channel,
                "symbol": message.topic.symbol,
                "epoch": message.topic.epoch,
                "first_sequence": message.first_sequence,
                "sequence": message.sequence,
                "type": message.type,
                "data": message.data,
            }
        )

    def proto(self, message: StreamMessage) -> bytes:  # noqa: ARG002 - gRPC beats in its own message
        return b""


class Beating(Protocol):
    """A connection that wants to be told each heartbeat."""

    def beat(self, message: StreamMessage) -> None:
        """Send the heartbeat, and look whether the peer still lives."""
        ...


class Heartbeat:
    """A numbered message to every connection at a fixed interval of wall time."""

    def __init__(self, *, epoch: int, interval_s: float, now_ns: Callable[[], int]) -> None:
        self.interval_s = interval_s
        self._now_ns = now_ns
        self._topic = Topic(HEARTBEAT_CHANNEL, ANY_SYMBOL, epoch=epoch, codec=_HeartbeatCodec(), keep=1)
        self._connections: dict[Beating, None] = {}
        self._task: asyncio.Task[None] | None = None

    def begin_epoch(self, epoch: int) -> None:
        """Tell this epoch from now on: that of the streams, where they are made elsewhere."""
        self._topic.epoch = epoch

    def join(self, connection: Beating) -> None:
        """Beat for this connection from now on."""
        self._connections[connection] = None

    def leave(self, connection: Beating) -> None:
        """Stop beating for this connection."""
        self._connections.pop(connection, None)

    def start(self) -> None:
        """Begin to beat."""
        self._task = asyncio.get_running_loop().create_task(self._beat_for_ever(), name="heartbeat")

    async def stop(self) -> None:
        """Beat no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _beat_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.interval_s)
            self.beat()

    def beat(self) -> None:
        """Send one heartbeat to every connection."""
        message = self._topic.number("event", {"timestamp": format_time(self._now_ns())})
        for connection in tuple(self._connections):
            connection.beat(message)
