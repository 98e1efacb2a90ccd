"""Streams in batches: what gRPC readers get of the hub, joined once for all who read the same topics.

Elements of a repeated protobuf field simply follow each other on the wire, so joining serialised messages is making a
batch. Readers of the same topics form a group, which is one subscriber of the hub, collects for a moment, and hands
the same batch to every reader that is waiting; one that is busy with an earlier batch gets the messages later, from a
mailbox that is bounded by merging.
"""

import asyncio
from collections.abc import Callable, Sequence

from fauxchange.domain.errors import RateLimited
from fauxchange.platform.streams.hub import Delivery, Hub
from fauxchange.platform.streams.topics import Mailbox, StreamMessage, Topic

RenderBeat = Callable[[], bytes]


class BatchStream:
    """One reader. Units: limit in messages."""

    def __init__(self, limit: int, render_beat: RenderBeat) -> None:
        self._limit = limit
        self._render_beat = render_beat
        self._ready = b""
        self._beat = b""
        self._mailbox: Mailbox | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self.conflated = 0
        """How many messages have been merged for this reader."""
        self.slow = False
        """Whether the stream ended because it was not read quickly enough."""

    def offer(self, batch: bytes, messages: Sequence[StreamMessage]) -> None:
        """Take a batch, or its messages if an earlier batch has not been fetched yet."""
        if self._failure is not None:
            # It ends as soon as it is looked at; until then it must not go on collecting.
            return
        if not self._ready:
            self._ready = batch
            self._wake()
            return
        if self._mailbox is None:
            self._mailbox = Mailbox(self._limit)
        if not self._mailbox.add(messages):
            self.slow = True
            self.fail(RateLimited("the stream is not being read quickly enough", code="slow_consumer"))

    def beat(self, message: StreamMessage) -> None:  # noqa: ARG002 - a batch beats with a message of its own
        """Send a heartbeat with the next batch."""
        self._beat = self._render_beat()
        self._wake()

    def fail(self, failure: Exception) -> None:
        """End the stream with a failure; the first one counts."""
        self._failure = self._failure or failure
        self._wake()

    async def next_batch(self) -> bytes:
        """Wait for something to send, and return it.

        Raises: the failure that `fail` was told
        """
        if not (self._ready or self._beat or self._failure):
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._failure is not None:
            raise self._failure
        batch, self._ready = self._ready, b""
        if self._mailbox is not None:
            batch += b"".join([message.proto() for message in self._mailbox.drain()])
            self.conflated += self._mailbox.conflated
            self._mailbox = None
        if self._beat:
            batch, self._beat = batch + self._beat, b""
        return batch

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Group:
    """The readers of the same topics: one subscriber of the hub."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._messages: list[StreamMessage] = []
        self._timer: asyncio.TimerHandle | None = None
        self._flushed_s = 0.0
        self.members: dict[BatchStream, None] = {}

    @property
    def readers(self) -> int:
        """How many readers share what is delivered."""
        return len(self.members)

    def deliver(self, delivery: Delivery) -> None:
        """Collect: until now after a silence, else until an interval after the last flush."""
        self._messages += delivery.messages
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._flushed_s + self._interval_s), self.flush)

    def disarm(self) -> None:
        """Cancel the flush that is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def flush(self) -> None:
        """Hand what was collected to every reader."""
        self.disarm()
        if not self._messages:
            return
        self._flushed_s = asyncio.get_running_loop().time()
        messages, self._messages = self._messages, []
        batch = b"".join([message.proto() for message in messages])
        for member in tuple(self.members):
            member.offer(batch, messages)


class BatchReaders:
    """All readers in batches of one hub.

    Units: interval_s in seconds of wall time, the longest that a message waits for its batch
    """

    def __init__(self, hub: Hub, interval_s: float) -> None:
        self._hub = hub
        self._interval_s = interval_s
        self._groups: dict[frozenset[Topic], _Group] = {}
        self._topics_of: dict[BatchStream, frozenset[Topic]] = {}

    def __len__(self) -> int:
        return len(self._topics_of)

    def join(self, stream: BatchStream, topics: Sequence[Topic]) -> None:
        """Let the stream read these topics from the next message on."""
        wanted = frozenset(topics)
        group = self._groups.get(wanted)
        if group is None:
            group = self._groups[wanted] = _Group(self._interval_s)
            for topic in topics:
                self._hub.subscribe(group, topic)
        else:
            # What has been collected so far is older than the newcomer's snapshot.
            group.flush()
            self._hub.count_readers(wanted, 1)
        group.members[stream] = None
        self._topics_of[stream] = wanted

    def leave(self, stream: BatchStream) -> None:
        """End the stream's subscriptions; no error if it has none."""
        topics = self._topics_of.pop(stream, None)
        if topics is None:
            return
        group = self._groups[topics]
        del group.members[stream]
        if group.members:
            self._hub.count_readers(topics, -1)
        else:
            self._hub.leave(group)
            group.disarm()
            del self._groups[topics]

    def fail_all(self, make_failure: Callable[[], Exception]) -> None:
        """End every stream with a failure."""
        for stream in tuple(self._topics_of):
            stream.fail(make_failure())
