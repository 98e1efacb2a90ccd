"""Streams of numbered messages over gRPC: what has been missed or a snapshot, then batches until the caller goes.

Batches are joined from messages that were serialised once for all streams (`platform.streams.batches`). Every batch
message has the fields `snapshots_required` and `heartbeat`, and its elements in field 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc.aio

from fauxchange.domain.errors import FauxchangeError, InvalidRequest, Unavailable
from fauxchange.platform.streams.batches import BatchReaders, BatchStream
from fauxchange.platform.streams.endpoint import Heartbeat, SnapshotRequired, StreamLimits, StreamMetrics, begin
from fauxchange.platform.streams.hub import Hub
from fauxchange.platform.streams.topics import StreamMessage, Topic

TRANSPORT = "grpc"
BATCH_MESSAGES = 10_000
"""One batch of missed messages holds at most so many: gRPC clients refuse more than 4 MiB unless told otherwise."""

Context = grpc.aio.ServicerContext[Any, Any]
Resolve = Callable[[str | None], Sequence[Topic]]
"""Find the topics of one symbol, or of all. Raises: InvalidRequest, NotFound, Unauthenticated."""


class Batch(Protocol):
    """What the batches of all streams have in common."""

    snapshots_required: Any
    heartbeat: Any

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """Return the message's bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """A symbol to read, or all, and where to begin."""

    symbol: str | None = None
    from_sequence: int | None = None
    epoch: int | None = None

    @classmethod
    def of(cls, message: Any) -> "Wanted":
        """Return what a request asks for by its fields `symbol` (where it has one), `from_sequence` and `epoch`."""
        return cls(
            getattr(message, "symbol", None) or None,
            message.from_sequence if message.HasField("from_sequence") else None,
            message.epoch if message.HasField("epoch") else None,
        )


def begin_stream(topics: Sequence[Topic], wanted: Wanted, notices: Batch) -> tuple[list[StreamMessage], bool]:
    """Return what a reader of `topics` gets first, and whether that is what it asked for.

    What cannot be resumed is noted in `notices`, and a snapshot comes instead. Raises: InvalidRequest.
    """
    try:
        return begin(topics, from_sequence=wanted.from_sequence, epoch=wanted.epoch), True
    except SnapshotRequired:
        (topic,) = topics
        notices.snapshots_required.add(
            symbol=topic.symbol, from_sequence=wanted.from_sequence, epoch=topic.epoch, sequence=topic.sequence
        )
        return begin(topics, from_sequence=None, epoch=None), False


class BatchStreams:
    """All streams in batches of one hub.

    Units: flush_interval_s in seconds of wall time, the longest that a message waits for its batch
    """

    def __init__(
        self,
        hub: Hub,
        *,
        limits: StreamLimits,
        heartbeat: Heartbeat,
        metrics: StreamMetrics,
        flush_interval_s: float,
    ) -> None:
        self._limits = limits
        self._heartbeat = heartbeat
        self._metrics = metrics
        self._readers = BatchReaders(hub, flush_interval_s)

    def __len__(self) -> int:
        return len(self._readers)

    def end_all(self) -> None:
        """End all streams because the server stops."""
        self._readers.fail_all(
            lambda: Unavailable("the server is shutting down; resume with another", code="server_shutdown")
        )

    def fail_all(self, failure: FauxchangeError) -> None:
        """End all streams that there are with a failure."""
        self._readers.fail_all(lambda: failure)

    async def serve(
        self,
        context: Context,
        resolve: Resolve,
        wanted: Sequence[Wanted],
        batch_type: Callable[[], Batch],
        *,
        refuse: Callable[[], FauxchangeError | None] = lambda: None,
    ) -> None:
        """Write what is wanted, and then what comes, until the caller goes away or is too slow.

        With each heartbeat `refuse` is asked whether the stream must end, and why.
        """

        def beat() -> bytes:
            failure = refuse()
            if failure is not None:
                stream.fail(failure)
            batch = batch_type()
            batch.heartbeat.timestamp.GetCurrentTime()
            return batch.SerializeToString()

        stream = BatchStream(self._limits.queue_messages, beat)
        try:
            # Nothing awaits between the snapshot and the subscription, so no message falls between them.
            first = self._begin(stream, resolve, wanted or [Wanted()], batch_type)
            self._heartbeat.join(stream)
            self._metrics.readers(self, TRANSPORT, len(self._readers))
            for batch in first:
                await context.write(batch)
            while True:
                batch = await stream.next_batch()
                if batch:
                    await context.write(batch)
        except grpc.aio.InternalError:
            # The caller has gone while a batch was on its way.
            return
        finally:
            self._readers.leave(stream)
            self._heartbeat.leave(stream)
            self._metrics.readers(self, TRANSPORT, len(self._readers))
            self._metrics.conflated.inc(stream.conflated, TRANSPORT)
            if stream.slow:
                self._metrics.slow_consumers.inc(1, TRANSPORT)

    def _begin(
        self, stream: BatchStream, resolve: Resolve, wanted: Sequence[Wanted], batch_type: Callable[[], Batch]
    ) -> list[bytes]:
        """Subscribe the stream; return its first batches: what cannot be resumed, snapshots and missed messages."""
        first: list[StreamMessage] = []
        notices = batch_type()
        subscribed: list[Topic] = []
        for each in wanted:
            topics = resolve(each.symbol)
            if any(topic in subscribed for topic in topics):
                raise InvalidRequest("a symbol is subscribed twice", code="already_subscribed", field="subscriptions")
            subscribed += topics
            messages, as_asked = begin_stream(topics, each, notices)
            first += messages
            if not as_asked:
                self._metrics.snapshots_required.inc(1, TRANSPORT)
        if len(subscribed) > self._limits.subscriptions:
            raise InvalidRequest(
                f"a stream has at most {self._limits.subscriptions} subscriptions",
                code="too_many_subscriptions",
                field="subscriptions",
            )
        self._readers.join(stream, subscribed)
        elements = [message.proto() for message in first]
        batches = [elements[begun : begun + BATCH_MESSAGES] for begun in range(0, len(elements), BATCH_MESSAGES)]
        # The first one is sent even if it is empty: it tells the caller that the stream has begun.
        return [notices.SerializeToString() + b"".join(batches[0] if batches else ()), *map(b"".join, batches[1:])]
