"""Streams in batches: shared where readers wait for the same, whole for each of them."""

import asyncio

import pytest

from fauxchange.domain.errors import RateLimited
from fauxchange.platform.streams.batches import BatchReaders, BatchStream
from fauxchange.platform.streams.hub import Hub
from fauxchange.platform.streams.topics import SnapshotTopic, StreamMessage


class NumberCodec:
    def json(self, message: StreamMessage) -> bytes:
        return b""

    def proto(self, message: StreamMessage) -> bytes:
        return f"{message.topic.symbol}{message.first_sequence}-{message.sequence};".encode()


def topic(symbol: str = "A") -> SnapshotTopic:
    return SnapshotTopic("prices", symbol, epoch=1, codec=NumberCodec(), keep=8)


def stream(limit: int = 100) -> BatchStream:
    return BatchStream(limit, lambda: b"beat;")


class Venue:
    """A hub and its readers; the interval is so long that only the first message is flushed by itself."""

    def __init__(self, interval_s: float = 60.0) -> None:
        self.hub = Hub()
        self.batches = BatchReaders(self.hub, interval_s)

    async def publish(self, *messages: StreamMessage) -> None:
        self.hub.publish(messages)
        # A timer that is due fires in the next turn of the loop.
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def price(prices: SnapshotTopic) -> StreamMessage:
    return prices.number("delta", None, "p")


async def test_readers_of_the_same_topics_share_one_batch() -> None:
    venue, prices = Venue(), topic()
    readers = [stream() for _ in range(3)]
    for reader in readers:
        venue.batches.join(reader, [prices])

    await venue.publish(price(prices), price(prices))
    batches = [await reader.next_batch() for reader in readers]

    assert batches[0] == b"A1-1;A2-2;"
    assert batches[1] is batches[0]
    assert batches[2] is batches[0]
    assert (prices.subscribers, prices.delivered) == (3, 6)


async def test_messages_of_one_interval_go_in_one_batch() -> None:
    venue, prices = Venue(interval_s=0.005), topic()
    reader = stream()
    venue.batches.join(reader, [prices])
    await venue.publish(price(prices))
    first = await reader.next_batch()

    venue.hub.publish([price(prices)])
    venue.hub.publish([price(prices)])

    assert first == b"A1-1;"
    assert await reader.next_batch() == b"A2-2;A3-3;"


async def test_a_reader_that_joins_later_gets_only_what_comes_after() -> None:
    venue, prices = Venue(), topic()
    early, late = stream(), stream()
    venue.batches.join(early, [prices])
    await venue.publish(price(prices))
    await early.next_batch()

    venue.hub.publish([price(prices)])
    venue.batches.join(late, [prices])
    venue.hub.publish([price(prices)])
    # Whoever joins makes the others' batch due.
    last = stream()
    venue.batches.join(last, [prices])

    assert await early.next_batch() == b"A2-2;A3-3;"
    assert await late.next_batch() == b"A3-3;"
    for reader in (early, late, last):
        venue.batches.leave(reader)
    assert prices.subscribers == 0
    assert len(venue.batches) == venue.hub.subscribers == 0


async def test_a_busy_reader_gets_everything_in_order_once_it_reads_again() -> None:
    venue, prices = Venue(interval_s=0.0), topic()
    reader = stream()
    venue.batches.join(reader, [prices])

    for _ in range(3):
        await venue.publish(price(prices))

    assert await reader.next_batch() == b"A1-1;A2-2;A3-3;"


async def test_a_reader_that_does_not_read_is_conflated_within_its_limit() -> None:
    venue, prices = Venue(interval_s=0.0), topic()
    reader = stream(limit=2)
    venue.batches.join(reader, [prices])

    for _ in range(6):
        await venue.publish(price(prices))

    assert await reader.next_batch() == b"A1-1;A2-6;"
    assert reader.conflated == 4


async def test_a_reader_of_events_that_does_not_read_is_ended_and_no_other() -> None:
    venue, events = Venue(interval_s=0.0), topic()
    sleeping, awake = stream(limit=2), stream(limit=2)
    venue.batches.join(sleeping, [events])
    venue.batches.join(awake, [events])

    for number in range(1, 6):
        await venue.publish(events.number("event", None))
        assert await awake.next_batch() == f"A{number}-{number};".encode()

    with pytest.raises(RateLimited) as refused:
        await sleeping.next_batch()
    assert refused.value.code == "slow_consumer"
    assert sleeping.slow
    assert not awake.slow


async def test_a_heartbeat_does_not_wait_for_a_flush() -> None:
    reader = stream()

    reader.beat(topic().number("event", None))

    assert await reader.next_batch() == b"beat;"
