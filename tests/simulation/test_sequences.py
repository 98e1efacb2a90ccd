"""Whatever a reader does, its numbers follow each other: subscriptions, drops and resumptions at random."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fauxchange.platform.streams.endpoint import SnapshotRequired, begin
from fauxchange.platform.streams.hub import Delivery, Hub
from fauxchange.platform.streams.topics import Mailbox, SnapshotTopic, StreamMessage
from fauxchange.testing import Sequences

KEPT = 6
QUEUED = 3


class _Codec:
    def json(self, message: StreamMessage) -> bytes:
        return b"{}"

    def proto(self, message: StreamMessage) -> bytes:
        return b""


class _Reader:
    """A connection that may be slow, and its client, who follows the numbers and keeps what is newest."""

    readers = 1

    def __init__(self) -> None:
        self.client = Sequences()
        self.newest: dict[str, int] = {}
        self.slow = False
        self.connected = True
        self.mailbox = Mailbox(QUEUED)

    def deliver(self, delivery: Delivery) -> None:
        if self.slow:
            assert self.mailbox.add(delivery.messages)
        else:
            self.read(delivery.messages)

    def read(self, messages: list[StreamMessage] | tuple[StreamMessage, ...]) -> None:
        for message in messages:
            self.client.take(
                message.topic.channel,
                message.topic.symbol,
                epoch=message.topic.epoch,
                first_sequence=message.first_sequence,
                sequence=message.sequence,
                is_snapshot=message.type == "snapshot",
            )
            self.newest[message.topic.symbol] = message.data

    def catch_up(self) -> None:
        self.slow = False
        self.read(self.mailbox.drain())


class Streams(RuleBasedStateMachine):
    """Two topics and three readers."""

    def __init__(self) -> None:
        super().__init__()
        self.hub = Hub()
        self.topics = [
            SnapshotTopic("prices", symbol, epoch=1, codec=_Codec(), keep=KEPT) for symbol in ("BTC/USD", "ETH/USD")
        ]
        self.readers = [_Reader() for _ in range(3)]

    @rule(numbers=st.lists(st.integers(0, 1), min_size=1, max_size=9))
    def publish(self, numbers: list[int]) -> None:
        messages = []
        for number in numbers:
            topic = self.topics[number]
            message = topic.number("delta", topic.sequence + 1, "prices")
            topic.kept.append(message)
            messages.append(message)
        self.hub.publish(messages)

    @rule(reader=st.integers(0, 2), topic=st.integers(0, 1), resume=st.booleans())
    def subscribe(self, reader: int, topic: int, resume: bool) -> None:
        who, what = self.readers[reader], self.topics[topic]
        if what in self.hub.topics_of(who):
            return
        from_sequence = None
        seen = who.client.last.get(("prices", what.symbol))
        if resume and seen is not None:
            from_sequence = seen + 1
        try:
            first = begin([what], from_sequence=from_sequence, epoch=1)
        except SnapshotRequired:
            # Only what is not kept any more may be refused.
            assert from_sequence is not None
            assert from_sequence <= what.sequence - KEPT
            first = begin([what], from_sequence=None, epoch=None)
        self.hub.subscribe(who, what)
        who.deliver(Delivery(first))

    @rule(reader=st.integers(0, 2), topic=st.integers(0, 1))
    def unsubscribe(self, reader: int, topic: int) -> None:
        # What still waits for it is read first, as on a socket.
        self.readers[reader].catch_up()
        self.hub.unsubscribe(self.readers[reader], self.topics[topic])

    @rule(reader=st.integers(0, 2))
    def drop(self, reader: int) -> None:
        # What was under way is lost with the connection.
        who = self.readers[reader]
        self.hub.leave(who)
        who.mailbox.drain()
        who.slow = False

    @rule(reader=st.integers(0, 2))
    def stall(self, reader: int) -> None:
        self.readers[reader].slow = True

    @precondition(lambda self: any(reader.slow for reader in self.readers))
    @rule(reader=st.integers(0, 2))
    def read_on(self, reader: int) -> None:
        self.readers[reader].catch_up()

    @invariant()
    def readers_who_keep_up_have_everything(self) -> None:
        for reader in self.readers:
            if reader.slow:
                assert len(reader.mailbox) <= QUEUED
                continue
            for topic in self.hub.topics_of(reader):
                if topic.sequence and ("prices", topic.symbol) in reader.client.last:
                    assert reader.client.last["prices", topic.symbol] == topic.sequence
                    assert reader.newest[topic.symbol] == topic.sequence


TestStreams = Streams.TestCase
TestStreams.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
