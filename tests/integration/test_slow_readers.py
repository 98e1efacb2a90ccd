"""Readers that do not read: what they cost, what they get in the end, and that nobody else notices."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from fauxchange.testing import RunningVenue, StreamClient

QUEUE_BYTES = 16_384
ROUNDS = 13_000
"""More messages than wait for one reader unmerged, and than the sockets' shrunken buffers hold."""


@contextlib.asynccontextmanager
async def _stalled_reader(venue: RunningVenue) -> AsyncIterator[StreamClient]:
    """Connect a client whose sockets buffer little, so that not reading is felt at the server soon."""
    address = urlsplit(venue.venue.websocket)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (address.hostname, address.port))
    known = set(venue.market_data.endpoint.connections)
    async with StreamClient.connect(venue.venue.websocket, sock=sock, max_queue=1, ping_interval=None) as client:
        (connection,) = set(venue.market_data.endpoint.connections) - known
        descriptor = connection.transport.get_extra_info("socket").fileno()
        with socket.socket(fileno=socket.dup(descriptor)) as server_side:
            server_side.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        yield client


async def _publish(venue: RunningVenue, rounds: int) -> int:
    """Publish so many prices of BTC/USD, in turn with whoever reads; return the most bytes that waited anywhere."""
    connections = venue.market_data.endpoint.connections
    most = 0
    for number in range(rounds):
        venue.market_data.service.publish_price("BTC/USD", mid_half_ticks=12_000_000 + 2 * number)
        if number % 20 == 0:
            await asyncio.sleep(0)
        most = max([most, *(connection.transport.get_write_buffer_size() for connection in connections)])
    return most


async def _read_until(client: StreamClient, sequence: int) -> dict:
    while True:
        message = await client.next("prices", "BTC/USD")
        if message["sequence"] >= sequence:
            return message


async def _metric(venue: RunningVenue, name: str) -> float:
    async with httpx.AsyncClient(base_url=venue.venue.http) as http:
        text = (await http.get("/metrics")).text
    pattern = rf'^{name}{{[^}}]*transport="websocket"[^}}]*}} (\S+)$'
    return sum(float(value) for value in re.findall(pattern, text, re.MULTILINE))


@pytest.fixture
async def narrow(run_venue) -> AsyncIterator[RunningVenue]:
    async with run_venue(WS_QUEUE_BYTES=QUEUE_BYTES, WS_HEARTBEAT="10m") as venue:
        yield venue


async def test_a_slow_reader_gets_merged_messages_without_a_gap_and_the_newest_price(narrow: RunningVenue) -> None:
    async with _stalled_reader(narrow) as slow, StreamClient.connect(narrow.venue.websocket) as healthy:
        await slow.subscribe("prices", "BTC-USD")
        await healthy.subscribe("prices", "BTC-USD")
        reading = asyncio.create_task(_read_until(healthy, ROUNDS + 1))

        most_waiting = await _publish(narrow, ROUNDS)
        await reading
        newest = await _read_until(slow, ROUNDS + 1)

        assert most_waiting <= QUEUE_BYTES + 1_024
        assert slow.sequences.conflated > 0
        assert slow.sequences.last["prices", "BTC/USD"] == ROUNDS + 1
        async with httpx.AsyncClient(base_url=narrow.venue.http) as http:
            assert newest["data"] == (await http.get("/api/v1/prices/BTC-USD")).json()
        assert healthy.sequences.conflated == 0
        assert await _metric(narrow, "stream_messages_conflated_total") == slow.sequences.conflated


async def test_a_slow_reader_that_asked_for_every_message_is_disconnected_and_others_are_not(
    narrow: RunningVenue,
) -> None:
    async with _stalled_reader(narrow) as slow, StreamClient.connect(narrow.venue.websocket) as healthy:
        await slow.subscribe("prices", "BTC-USD", policy="disconnect")
        await healthy.subscribe("prices", "BTC-USD", policy="disconnect")
        reading = asyncio.create_task(_read_until(healthy, ROUNDS + 1))

        most_waiting = await _publish(narrow, ROUNDS)
        with pytest.raises(ConnectionClosed) as closed:
            await _read_until(slow, ROUNDS + 1)
        await reading

        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4008, "slow_consumer")
        assert most_waiting <= QUEUE_BYTES + 1_024
        assert slow.sequences.conflated == healthy.sequences.conflated == 0
        assert await _metric(narrow, "stream_slow_consumers_total") == 1


async def test_a_disconnected_reader_resumes_where_it_stopped(narrow: RunningVenue) -> None:
    async with _stalled_reader(narrow) as slow:
        await slow.subscribe("prices", "BTC-USD", policy="disconnect")
        await _publish(narrow, ROUNDS)
        with pytest.raises(ConnectionClosed):
            await _read_until(slow, ROUNDS + 1)
    # What was lost is more than is kept, so this reader must begin anew; one that lost less need not.
    async with StreamClient.connect(narrow.venue.websocket, sequences=slow.sequences) as client:
        refused = await client.ask("subscribe", channel="prices", symbol="BTC-USD", from_sequence=ROUNDS // 2)
        client.sequences.last["prices", "BTC/USD"] = ROUNDS - 2_000
        await client.resume("prices", "BTC/USD")
        await _read_until(client, ROUNDS + 1)

    assert refused["code"] == "snapshot_required"
    assert client.sequences.conflated == 0


async def test_a_long_resumption_comes_in_frames_that_every_client_takes(run_venue) -> None:
    async with run_venue(RESUME_BUFFER=20_000) as venue:
        for number in range(15_000):
            venue.market_data.service.publish_price("BTC/USD", mid_half_ticks=12_000_000 + 2 * number)

        # `websockets` and many others refuse frames beyond 1 MiB unless told otherwise.
        async with StreamClient.connect(venue.venue.websocket) as client:
            await client.subscribe("prices", "BTC-USD", from_sequence=2)
            await _read_until(client, 15_001)

    assert client.sequences.conflated == 0


async def test_a_reader_that_never_answers_is_given_up(run_venue) -> None:
    async with run_venue(WS_HEARTBEAT="100ms") as venue:
        address = urlsplit(venue.venue.websocket)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(
            f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 101")

        async with asyncio.timeout(5):
            # Heartbeats and pings come until the server has had enough of the silence.
            with contextlib.suppress(ConnectionResetError):
                await reader.read()

        assert not venue.market_data.endpoint.connections
        writer.close()
