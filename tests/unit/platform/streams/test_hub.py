"""Fan-out: everybody gets what they asked for, once, encoded once."""

import json

from hypothesis import given
from hypothesis import strategies as st

from fauxchange.platform.streams.frames import text_frame
from fauxchange.platform.streams.hub import Delivery, Hub
from fauxchange.platform.streams.topics import SnapshotTopic, StreamMessage


class CountingCodec:
    def __init__(self) -> None:
        self.calls = 0

    def json(self, message: StreamMessage) -> bytes:
        self.calls += 1
        return json.dumps({"symbol": message.topic.symbol, "sequence": message.sequence}).encode()

    def proto(self, message: StreamMessage) -> bytes:
        return b""


class Reader:
    readers = 1

    def __init__(self) -> None:
        self.read: list[tuple[str, int]] = []
        self.frames: list[bytes] = []

    def deliver(self, delivery: Delivery) -> None:
        self.read += [(message.topic.symbol, message.sequence) for message in delivery.messages]
        self.frames.append(delivery.frame)


def topics(count: int, codec: CountingCodec) -> list[SnapshotTopic]:
    return [SnapshotTopic("prices", f"S{number}/USD", epoch=1, codec=codec, keep=4) for number in range(count)]


def test_one_encoding_and_one_frame_serve_all_readers_of_the_same_topics() -> None:
    codec, hub = CountingCodec(), Hub()
    streams = topics(2, codec)
    readers = [Reader() for _ in range(50)]
    for reader in readers:
        for stream in streams:
            hub.subscribe(reader, stream)

    hub.publish([stream.number("delta", None) for stream in streams])

    assert codec.calls == 2
    assert len({id(reader.frames[0]) for reader in readers}) == 1
    assert all(reader.read == [("S0/USD", 1), ("S1/USD", 1)] for reader in readers)
    assert [stream.delivered for stream in streams] == [50, 50]


def test_several_messages_share_a_frame_as_a_list_and_one_is_an_object() -> None:
    codec, hub, reader = CountingCodec(), Hub(), Reader()
    first, second = topics(2, codec)
    hub.subscribe(reader, first)
    hub.publish([first.number("delta", None), second.number("delta", None)])
    hub.subscribe(reader, second)
    hub.publish([first.number("delta", None), second.number("delta", None)])

    payloads = [json.loads(frame[2:]) for frame in reader.frames]

    assert payloads[0] == {"symbol": "S0/USD", "sequence": 1}
    assert [item["sequence"] for item in payloads[1]] == [2, 2]


class Leaver(Reader):
    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self._hub = hub

    def deliver(self, delivery: Delivery) -> None:
        super().deliver(delivery)
        self._hub.leave(self)


def test_a_reader_may_leave_while_it_is_served() -> None:
    codec, hub = CountingCodec(), Hub()
    (stream,) = topics(1, codec)
    leaver, stayer = Leaver(hub), Reader()
    hub.subscribe(leaver, stream)
    hub.subscribe(stayer, stream)

    hub.publish([stream.number("delta", None)])
    hub.publish([stream.number("delta", None)])

    assert len(leaver.read) == 1
    assert len(stayer.read) == 2
    assert hub.subscribers == stream.subscribers == 1


actions = st.lists(
    st.tuples(st.sampled_from(["subscribe", "unsubscribe", "leave", "publish"]), st.integers(0, 4), st.integers(0, 3)),
    max_size=60,
)


@given(actions)
def test_every_reader_gets_exactly_what_it_was_subscribed_to(script: list[tuple[str, int, int]]) -> None:
    codec, hub = CountingCodec(), Hub()
    streams = topics(4, codec)
    readers = [Reader() for _ in range(5)]
    wanted: list[set[int]] = [set() for _ in readers]
    expected: list[list[tuple[str, int]]] = [[] for _ in readers]

    for action, who, what in script:
        if action == "subscribe":
            assert hub.subscribe(readers[who], streams[what]) == (what not in wanted[who])
            wanted[who].add(what)
        elif action == "unsubscribe":
            assert hub.unsubscribe(readers[who], streams[what]) == (what in wanted[who])
            wanted[who].discard(what)
        elif action == "leave":
            hub.leave(readers[who])
            wanted[who].clear()
        else:
            message = streams[what].number("delta", None)
            hub.publish([message])
            for reader, names in zip(expected, wanted, strict=True):
                if what in names:
                    reader.append((streams[what].symbol, message.sequence))

    assert [reader.read for reader in readers] == expected
    assert [stream.subscribers for stream in streams] == [
        sum(index in names for names in wanted) for index in range(len(streams))
    ]


@given(st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536]))
def test_a_frame_names_its_length_as_the_protocol_says(length: int) -> None:
    frame = text_frame(b"x" * length)

    assert frame[0] == 0x81
    header = {True: 2, False: 4}[length < 126] if length < 65_536 else 10
    assert len(frame) == header + length
    if header == 4:
        assert int.from_bytes(frame[2:4], "big") == length
    if header == 10:
        assert int.from_bytes(frame[2:10], "big") == length
