"""Numbering, resumption and merging of stream messages."""

from hypothesis import given
from hypothesis import strategies as st

from fauxchange.platform.streams.topics import Mailbox, SnapshotTopic, StreamMessage, Topic


class PlainCodec:
    def json(self, message: StreamMessage) -> bytes:
        return f"{message.first_sequence}-{message.sequence}:{message.data}".encode()

    def proto(self, message: StreamMessage) -> bytes:
        return self.json(message)


def topic(keep: int = 8, sequence: int = 0, symbol: str = "BTC/USD") -> SnapshotTopic:
    return SnapshotTopic("prices", symbol, epoch=1, codec=PlainCodec(), keep=keep, sequence=sequence)


def publish(stream: Topic, data: object, *, key: str | None = "price") -> StreamMessage:
    message = stream.number("delta", data, key)
    stream.keep(message)
    return message


def assert_whole(messages: list[StreamMessage], first: int, last: int) -> None:
    """Check that the messages cover first..last without gap or overlap."""
    expected = first
    for message in messages:
        assert message.first_sequence == expected
        expected = message.sequence + 1
    assert expected == last + 1


@given(st.integers(0, 50), st.integers(1, 10), st.integers(-2, 60), st.integers(0, 20))
def test_a_resumption_is_whole_or_refused(published: int, keep: int, wanted: int, base: int) -> None:
    stream = topic(keep=keep, sequence=base)
    for number in range(published):
        publish(stream, number)

    messages = stream.resume(wanted)

    oldest_kept = base + max(0, published - keep) + 1
    if wanted == stream.sequence + 1:
        assert messages == ()
    elif oldest_kept <= wanted <= stream.sequence:
        assert messages is not None
        assert_whole(list(messages), wanted, stream.sequence)
    else:
        assert messages is None


def test_a_snapshot_carries_the_current_number() -> None:
    stream = topic()
    publish(stream, "old")
    publish(stream, "new")

    snapshot = stream.snapshot()

    assert snapshot is not None
    assert (snapshot.type, snapshot.sequence, snapshot.data) == ("snapshot", 2, "new")


def test_there_is_no_snapshot_before_the_first_message() -> None:
    assert topic().snapshot() is None


def test_a_message_is_encoded_once() -> None:
    message = publish(topic(), "x")

    assert message.json() is message.json()
    assert message.proto() is message.proto()


@given(st.lists(st.sampled_from(["BTC/USD", "ETH/USD", "ADA/USD"]), max_size=80), st.integers(3, 10))
def test_a_full_mailbox_merges_without_losing_a_number(order: list[str], limit: int) -> None:
    streams = {symbol: topic(symbol=symbol) for symbol in ("BTC/USD", "ETH/USD", "ADA/USD")}
    mailbox = Mailbox(limit)

    for number, symbol in enumerate(order):
        assert mailbox.add([publish(streams[symbol], number)])

    waiting = mailbox.drain()
    assert len(waiting) <= limit
    for symbol, stream in streams.items():
        assert_whole([message for message in waiting if message.topic.symbol == symbol], 1, stream.sequence)
    assert len(waiting) + mailbox.conflated == len(order)


def test_a_mailbox_keeps_the_newest_data_of_what_it_merges() -> None:
    stream = topic()
    mailbox = Mailbox(1)

    for number in range(5):
        mailbox.add([publish(stream, number)])

    (merged,) = mailbox.drain()
    assert (merged.first_sequence, merged.sequence, merged.data) == (1, 5, 4)


def test_events_are_never_merged_so_a_mailbox_of_events_overflows() -> None:
    stream = topic()
    mailbox = Mailbox(2)

    taken = [mailbox.add([publish(stream, number, key=None)]) for number in range(3)]

    assert taken == [True, True, False]


def test_a_strict_topic_is_never_merged() -> None:
    stream = topic()
    mailbox = Mailbox(2, strict={stream})

    taken = [mailbox.add([publish(stream, number)]) for number in range(3)]

    assert taken == [True, True, False]
