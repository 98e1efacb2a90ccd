"""What the carriers of streams (WebSocket, gRPC) share: how topics are found, the limits, the heartbeat, the counts."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import msgspec

from fauxchange.domain.errors import FauxchangeError, InvalidRequest
from fauxchange.domain.times import format_time
from fauxchange.platform.ports import MetricsPort
from fauxchange.platform.streams.topics import ANY_SYMBOL, StreamMessage, Topic

HEARTBEAT_CHANNEL = "heartbeat"


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
    heartbeat_s: float = 5.0


class SnapshotRequired(FauxchangeError):
    """The messages from the asked number on are not kept (any more): begin with a snapshot."""

    code = "snapshot_required"


TopicResolver = Callable[[str, str | None], Sequence[Topic]]
"""Find the topics of a channel, of one symbol or of all. Raises: InvalidRequest, NotFound."""


class StreamMetrics:
    """Counts of the streams of one process, by transport (`websocket`, `grpc`)."""

    def __init__(self, metrics: MetricsPort) -> None:
        self.subscribers = metrics.gauge("stream_subscribers", "Connected readers of streams.", ("transport",))
        self.conflated = metrics.counter(
            "stream_messages_conflated_total", "Messages merged into newer ones for slow readers.", ("transport",)
        )
        self.slow_consumers = metrics.counter(
            "stream_slow_consumers_total", "Readers disconnected because they were too slow.", ("transport",)
        )
        self.snapshots_required = metrics.counter(
            "stream_snapshot_required_total", "Resumptions refused because the messages are gone.", ("transport",)
        )


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
