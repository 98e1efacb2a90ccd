"""The hub: every message once to each subscriber, encoded once for all who want the same.

Subscribers with the same set of topics form a group; what is published is picked and framed once per group. A hub
belongs to one event loop, never waits, and never drops: a subscriber that cannot take more decides what to do.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Protocol

from fauxchange.platform.streams.frames import text_frame
from fauxchange.platform.streams.topics import StreamMessage, Topic


class Delivery:
    """Messages on their way to one group."""

    def __init__(self, messages: Sequence[StreamMessage]) -> None:
        self.messages = messages

    @cached_property
    def frame(self) -> bytes:
        """The messages as one WebSocket frame: a JSON object, or a list of them if there are several."""
        return text_frame(json_payload(self.messages))


class Subscriber(Protocol):
    """Somebody who reads topics, perhaps for several readers."""

    @property
    def readers(self) -> int:
        """How many read what is delivered here."""
        ...

    def deliver(self, delivery: Delivery) -> None:
        """Take messages, without waiting and without raising."""
        ...


class _Group:
    __slots__ = ("members", "topics")

    def __init__(self, topics: frozenset[Topic]) -> None:
        self.topics = topics
        # A dict keeps the order of arrival: whoever subscribed first is served first, in every run.
        self.members: dict[Subscriber, None] = {}


class Hub:
    """Who reads what."""

    def __init__(self) -> None:
        self._groups: dict[frozenset[Topic], _Group] = {}
        self._topics_of: dict[Subscriber, frozenset[Topic]] = {}

    @property
    def subscribers(self) -> int:
        """How many subscribers have at least one subscription."""
        return len(self._topics_of)

    def topics_of(self, subscriber: Subscriber) -> frozenset[Topic]:
        """Return what a subscriber reads."""
        return self._topics_of.get(subscriber, frozenset())

    def subscribe(self, subscriber: Subscriber, topic: Topic) -> bool:
        """Let the subscriber read the topic from the next message on; return False if it does already."""
        topics = self.topics_of(subscriber)
        if topic in topics:
            return False
        self._move(subscriber, topics, topics | {topic})
        topic.subscribers += 1
        return True

    def unsubscribe(self, subscriber: Subscriber, topic: Topic) -> bool:
        """End one subscription; return False if there was none."""
        topics = self.topics_of(subscriber)
        if topic not in topics:
            return False
        self._move(subscriber, topics, topics - {topic})
        topic.subscribers -= 1
        return True

    def leave(self, subscriber: Subscriber) -> None:
        """End all subscriptions of a subscriber."""
        topics = self.topics_of(subscriber)
        self._move(subscriber, topics, frozenset())
        for topic in topics:
            topic.subscribers -= 1

    def count_readers(self, topics: Iterable[Topic], change: int) -> None:
        """Note that a subscriber of these topics has become more or fewer readers."""
        for topic in topics:
            topic.subscribers += change

    def publish(self, messages: Sequence[StreamMessage]) -> None:
        """Deliver messages to whoever reads their topics."""
        # Subscribers may leave while they are served, which changes the groups.
        for group in tuple(self._groups.values()):
            topics = group.topics
            wanted = [message for message in messages if message.topic in topics]
            if not wanted:
                continue
            delivery = Delivery(wanted)
            members = tuple(group.members)
            for member in members:
                member.deliver(delivery)
            readers = sum([member.readers for member in members])
            for message in wanted:
                message.topic.delivered += readers

    def _move(self, subscriber: Subscriber, old: frozenset[Topic], new: frozenset[Topic]) -> None:
        if old:
            group = self._groups[old]
            del group.members[subscriber]
            if not group.members:
                del self._groups[old]
        if new:
            self._groups.setdefault(new, _Group(new)).members[subscriber] = None
            self._topics_of[subscriber] = new
        else:
            self._topics_of.pop(subscriber, None)


def json_payload(messages: Sequence[StreamMessage]) -> bytes:
    """Return messages as JSON: an object, or a list of objects if there are several."""
    if len(messages) == 1:
        return messages[0].json()
    return b"[" + b",".join([message.json() for message in messages]) + b"]"
