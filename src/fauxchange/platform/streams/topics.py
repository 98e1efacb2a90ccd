"""Topics: the numbering of messages, what is kept of them for those who come back, and how they merge.

Rules of this module:

* a sequence belongs to one (channel, symbol) and is assigned here, where the message is made;
* a message spans `first_sequence..sequence`; one that was conflated spans more than one number, so a reader sees a gap
  exactly where `first_sequence != previous sequence + 1`;
* nothing is encoded until somebody is there to read it, and then once for all who read it.
"""

from collections import deque
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any, Literal, Protocol

from fauxchange.domain.errors import check

MessageType = Literal["snapshot", "delta", "event"]
ANY_SYMBOL = "*"


class Codec(Protocol):
    """Turn a message into bytes; what the bytes look like is the channel's business."""

    def json(self, message: "StreamMessage") -> bytes:
        """Return the message as one JSON object."""
        ...

    def proto(self, message: "StreamMessage") -> bytes:
        """Return the message as one length-delimited element of its protobuf batch."""
        ...


class StreamMessage:
    """One message of one topic, encoded at most once per form.

    `conflation_key` names what a newer message replaces: equal keys merge, None never merges.
    """

    __slots__ = ("_json", "_proto", "conflation_key", "data", "first_sequence", "sequence", "topic", "type")

    def __init__(
        self,
        topic: "Topic",
        first_sequence: int,
        sequence: int,
        type: MessageType,  # noqa: A002 - the wire's word
        data: Any,
        conflation_key: Hashable = None,
    ) -> None:
        self.topic = topic
        self.first_sequence = first_sequence
        self.sequence = sequence
        self.type = type
        self.data = data
        self.conflation_key = conflation_key
        self._json: bytes | None = None
        self._proto: bytes | None = None

    def json(self) -> bytes:
        """Return the message as JSON."""
        if self._json is None:
            self._json = self.topic.codec.json(self)
        return self._json

    def proto(self) -> bytes:
        """Return the message as a protobuf batch element."""
        if self._proto is None:
            self._proto = self.topic.codec.proto(self)
        return self._proto

    def after(self, older: "StreamMessage") -> "StreamMessage":
        """Return this message spanning also the numbers of an older one that it replaces."""
        return self.since(older.first_sequence)

    def since(self, first_sequence: int) -> "StreamMessage":
        """Return this message as one that spans the numbers from `first_sequence` on."""
        if first_sequence == self.first_sequence:
            return self
        return StreamMessage(self.topic, first_sequence, self.sequence, self.type, self.data, self.conflation_key)


class Topic:
    """One numbered stream, with the newest messages kept for resumption.

    Subclasses decide what a snapshot is. `subscribers` and `delivered` (messages times readers) are
    kept by the hub: while the former is 0 nobody hears the topic.
    """

    __slots__ = ("channel", "codec", "delivered", "epoch", "kept", "sequence", "subscribers", "symbol")

    def __init__(self, channel: str, symbol: str, *, epoch: int, codec: Codec, keep: int, sequence: int = 0) -> None:
        check(keep >= 1, "a topic keeps at least one message")
        self.channel = channel
        self.symbol = symbol
        self.epoch = epoch
        self.codec = codec
        self.sequence = sequence
        self.subscribers = 0
        self.delivered = 0
        self.kept: deque[StreamMessage] = deque(maxlen=keep)

    @property
    def key(self) -> str:
        """The topic's name among the topics of its service."""
        return f"{self.channel}|{self.symbol}"

    def number(self, type: MessageType, data: Any, conflation_key: Hashable = None) -> StreamMessage:  # noqa: A002
        """Return the next message, numbered, without keeping it."""
        self.sequence += 1
        return StreamMessage(self, self.sequence, self.sequence, type, data, conflation_key)

    def keep(self, message: StreamMessage) -> None:
        """Keep a message for those who resume; its numbers follow those of the one kept before."""
        self.kept.append(message)

    def snapshot(self) -> StreamMessage | None:
        """Return the present state as a message that carries the current sequence, or None if there is none yet."""
        raise NotImplementedError

    def resume(self, from_sequence: int) -> Sequence[StreamMessage] | None:
        """Return the messages from `from_sequence` on, or None if they are no longer (or not yet) known.

        Ensures: the first message starts at `from_sequence`; the numbers have no gap and end at `sequence`
        """
        if from_sequence == self.sequence + 1:
            return ()
        kept = self.kept
        if from_sequence < 1 or from_sequence > self.sequence or not kept or kept[0].first_sequence > from_sequence:
            return None
        messages = [message for message in kept if message.sequence >= from_sequence]
        if not messages:
            return None
        messages[0] = messages[0].since(from_sequence)
        return messages


class SnapshotTopic(Topic):
    """A topic whose snapshot is the newest message's data."""

    __slots__ = ()

    def snapshot(self) -> StreamMessage | None:
        """Return the newest message as a snapshot."""
        if not self.kept:
            return None
        newest = self.kept[-1]
        return StreamMessage(self, newest.sequence, newest.sequence, "snapshot", newest.data, newest.conflation_key)


class EventTopic(Topic):
    """A topic of events, each of which counts; the snapshot is what `state` returns now."""

    __slots__ = ("_state",)

    def __init__(
        self,
        channel: str,
        symbol: str,
        *,
        epoch: int,
        codec: Codec,
        keep: int,
        sequence: int = 0,
        state: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__(channel, symbol, epoch=epoch, codec=codec, keep=keep, sequence=sequence)
        self._state = state

    def snapshot(self) -> StreamMessage | None:
        """Return the present state, at the current sequence."""
        if self._state is None:
            return None
        return StreamMessage(self, self.sequence, self.sequence, "snapshot", self._state())


class Mailbox:
    """Messages that wait for a reader that is not keeping up, bounded by merging what may be merged.

    Messages of `strict` topics are never merged.

    Units: limit in messages
    """

    __slots__ = ("_limit", "_messages", "_strict", "conflated")

    def __init__(self, limit: int, *, strict: Collection[Topic] = ()) -> None:
        self._limit = limit
        self._strict = strict
        self._messages: list[StreamMessage] = []
        self.conflated = 0
        """How many messages have been merged into newer ones."""

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, messages: Sequence[StreamMessage]) -> bool:
        """Take messages in; return False if even merged they are more than the limit (the reader must go)."""
        self._messages.extend(messages)
        if len(self._messages) > self._limit:
            self._conflate()
        return len(self._messages) <= self._limit

    def take(self, count: int) -> list[StreamMessage]:
        """Return the oldest `count` that wait, or all if they are fewer; the rest goes on waiting."""
        taken = self._messages[:count]
        del self._messages[:count]
        return taken

    def drain(self) -> list[StreamMessage]:
        """Return what waits, oldest first, and wait for nothing more."""
        messages, self._messages = self._messages, []
        return messages

    def _conflate(self) -> None:
        merged: dict[Hashable, StreamMessage] = {}
        for message in self._messages:
            mergeable = message.conflation_key is not None and message.topic not in self._strict
            key: Hashable = (message.topic.key, message.conflation_key) if mergeable else id(message)
            older = merged.get(key)
            merged[key] = message if older is None else message.after(older)
        self.conflated += len(self._messages) - len(merged)
        self._messages = list(merged.values())
