"""Streams in batches: what gRPC readers get of the hub, joined once for all who wait for the same.

Elements of a repeated protobuf field simply follow each other on the wire, so joining serialised messages is making a
batch. All streams of a process are flushed together: those that were handed the same deliveries share one batch.
"""

import asyncio
from collections.abc import Callable, Hashable

from fauxchange.domain.errors import RateLimited
from fauxchange.platform.streams.hub import Delivery
from fauxchange.platform.streams.topics import Mailbox, StreamMessage

RenderBeat = Callable[[], bytes]


class Flusher:
    """One timer for all streams: it runs only while something waits.

    Units: interval_s in seconds of wall time, the longest a message waits for its batch
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._due: dict[BatchStream, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._flushed_s = 0.0

    def want(self, stream: "BatchStream") -> None:
        """Flush this stream with the next ones: at once after a silence, else an interval after the last flush."""
        self._due[stream] = None
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._flushed_s + self._interval_s), self._flush)

    def _flush(self) -> None:
        self._timer = None
        self._flushed_s = asyncio.get_running_loop().time()
        due, self._due = self._due, {}
        joined: dict[Hashable, bytes] = {}
        for stream in due:
            stream.flush(joined)


class BatchStream:
    """One reader.

    It holds one batch that is ready to be sent; what comes while the reader is busy with that waits in a mailbox,
    bounded by merging. Units: limit in messages
    """

    def __init__(self, flusher: Flusher, limit: int, render_beat: RenderBeat) -> None:
        self._flusher = flusher
        self._render_beat = render_beat
        self._mailbox = Mailbox(limit)
        self._deliveries: list[Delivery] = []
        self._ready = b""
        self._beat = b""
        self._wake = asyncio.Event()
        self._failure: Exception | None = None
        self.slow = False
        """Whether the stream ended because it was not read quickly enough."""

    @property
    def conflated(self) -> int:
        """How many messages have been merged for this reader."""
        return self._mailbox.conflated

    def deliver(self, delivery: Delivery) -> None:
        """Keep what was published until the next flush."""
        self._deliveries.append(delivery)
        self._flusher.want(self)

    def beat(self, message: StreamMessage) -> None:  # noqa: ARG002 - a batch beats with a message of its own
        """Send a heartbeat with the next batch."""
        self._beat = self._render_beat()
        self._wake.set()

    def fail(self, failure: Exception) -> None:
        """End the stream with a failure; the first one counts."""
        self._failure = self._failure or failure
        self._wake.set()

    def flush(self, joined: dict[Hashable, bytes]) -> None:
        """Make what was delivered ready to be sent; `joined` holds the batches of this flush."""
        deliveries, self._deliveries = self._deliveries, []
        if self._ready or len(self._mailbox):
            # The reader is still busy with an earlier batch.
            for delivery in deliveries:
                if not self._mailbox.add(delivery.messages):
                    self.slow = True
                    self.fail(RateLimited("the stream is not being read quickly enough", code="slow_consumer"))
        else:
            # All who were handed the same deliveries can share their batch.
            key = tuple(map(id, deliveries))
            batch = joined.get(key)
            if batch is None:
                messages = [message for delivery in deliveries for message in delivery.messages]
                batch = joined[key] = b"".join([message.proto() for message in messages])
            self._ready = batch
        self._wake.set()

    async def next_batch(self) -> bytes:
        """Wait for something to send, and return it.

        Raises: the failure that `fail` was told
        """
        await self._wake.wait()
        self._wake.clear()
        if self._failure is not None:
            raise self._failure
        batch, self._ready = self._ready, b""
        if len(self._mailbox) or self._beat:
            batch += b"".join([message.proto() for message in self._mailbox.drain()]) + self._beat
            self._beat = b""
        return batch
