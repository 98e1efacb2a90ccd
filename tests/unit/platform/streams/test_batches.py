"""Streams in batches: shared where readers wait for the same, whole for each of them."""

import asyncio

import pytest

from fauxchange.domain.errors import RateLimited
from fauxchange.platform.streams.batches import BatchStream, Flusher
from fauxchange.platform.streams.hub import Hub
from fauxchange.platform.streams.topics import SnapshotTopic, StreamMessage


class NumberCodec:
    def json(self, message: StreamMessage) -> bytes:
        return b""

    def proto(self, message: StreamMessage) -> bytes:
        return f"{message.topic.symbol}{message.first_sequence}-{message.sequence};".encode()


def topic(symbol: str = "A") -> SnapshotTopic:
    return SnapshotTopic("prices", symbol, epoch=1, codec=NumberCodec(), keep=8)


def stream(flusher: Flusher, limit: int = 100) -> BatchStream:
    return BatchStream(flusher, limit, lambda: b"beat;")


async def test_readers_of_the_same_share_one_batch() -> None:
    hub, flusher, prices = Hub(), Flusher(0.001), topic()
    readers = [stream(flusher) for _ in range(3)]
    for reader in readers:
        hub.subscribe(reader, prices)

    hub.publish([prices.number("delta", None, "p")])
    hub.publish([prices.number("delta", None, "p")])
    batches = [await reader.next_batch() for reader in readers]

    assert batches[0] == b"A1-1;A2-2;"
    assert batches[1] is batches[0]
    assert batches[2] is batches[0]


async def test_a_reader_that_joined_later_gets_only_what_came_after() -> None:
    hub, flusher, prices = Hub(), Flusher(0.001), topic()
    early, late = stream(flusher), stream(flusher)
    hub.subscribe(early, prices)

    hub.publish([prices.number("delta", None, "p")])
    hub.subscribe(late, prices)
    hub.publish([prices.number("delta", None, "p")])

    assert await early.next_batch() == b"A1-1;A2-2;"
    assert await late.next_batch() == b"A2-2;"


async def test_a_busy_reader_gets_everything_in_order_once_it_reads_again() -> None:
    flusher, hub, prices = Flusher(0.0), Hub(), topic()
    reader = stream(flusher)
    hub.subscribe(reader, prices)

    for _ in range(3):
        hub.publish([prices.number("delta", None, "p")])
        # Let the flush happen; nobody reads meanwhile.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert await reader.next_batch() == b"A1-1;A2-2;A3-3;"


async def test_a_reader_that_never_reads_is_conflated_within_its_limit() -> None:
    flusher, hub, prices = Flusher(0.0), Hub(), topic()
    reader = stream(flusher, limit=2)
    hub.subscribe(reader, prices)

    for _ in range(6):
        hub.publish([prices.number("delta", None, "p")])
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert await reader.next_batch() == b"A1-1;A2-6;"
    assert reader.conflated == 4


async def test_a_reader_of_events_that_never_reads_is_ended() -> None:
    flusher, hub, events = Flusher(0.0), Hub(), topic()
    reader = stream(flusher, limit=2)
    hub.subscribe(reader, events)

    for _ in range(5):
        hub.publish([events.number("event", None)])
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    with pytest.raises(RateLimited) as refused:
        await reader.next_batch()
    assert refused.value.code == "slow_consumer"
    assert reader.slow


async def test_a_heartbeat_does_not_wait_for_a_flush() -> None:
    reader = stream(Flusher(60.0))

    reader.beat(topic().number("event", None))

    assert await reader.next_batch() == b"beat;"
