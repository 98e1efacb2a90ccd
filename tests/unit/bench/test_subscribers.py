import asyncio
from typing import Any

import msgspec
import pytest

from fauxchange.bench.readings import Reader, Subscriber, Tally, updates_of_json
from fauxchange.bench.subscribers import WebSocketSubscriber, masked
from fauxchange.platform.streams.frames import text_frame

PING = b"\x89\x02hi"
ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.aborted = True


class Connected:
    """A subscriber on a transport that keeps what is written."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.arrivals: list[bool] = []
        self.transport = Transport()
        reader = Reader(updates_of_json)
        self.client = WebSocketSubscriber("127.0.0.1:1", Subscriber(self.tally), reader, self.arrivals.append)
        self.client.connection_made(self.transport)
        self.tally.begin()


def price(sequence: int, padding: int = 0) -> bytes:
    return text_frame(
        msgspec.json.encode(
            {
                "channel": "prices",
                "symbol": "BTC/USD",
                "first_sequence": sequence,
                "sequence": sequence,
                "type": "delta",
                "data": {"timestamp": "2026-01-01T00:00:00.000000Z", "padding": "x" * padding},
            }
        )
    )


def test_subscription_follows_the_handshake() -> None:
    connected = Connected()

    connected.client.data_received(ACCEPTED)

    assert connected.transport.written[0].startswith(b"GET /api/v1/market-data/ws HTTP/1.1\r\n")
    assert b'"op":"subscribe"' in connected.transport.written[1]


@pytest.mark.parametrize(
    ("piece", "padding"), [(1, 0), (1, 300), (7, 300), (997, 70_000), (1_000_000, 0), (1_000_000, 70_000)]
)
def test_frames_are_found_however_the_bytes_are_cut(piece: int, padding: int) -> None:
    connected = Connected()
    stream = ACCEPTED + price(1, padding) + PING + price(2, padding)

    for start in range(0, len(stream), piece):
        connected.client.data_received(stream[start : start + piece])

    assert (connected.tally.prices, connected.tally.gaps) == (2, 0)
    assert connected.arrivals == [True]


def test_a_ping_is_answered_with_its_own_payload() -> None:
    connected = Connected()

    connected.client.data_received(ACCEPTED + PING)

    assert connected.transport.written[-1] == masked(0xA, b"hi") == b"\x8a\x82\0\0\0\0hi"


def test_a_refused_upgrade_is_reported() -> None:
    connected = Connected()

    connected.client.data_received(b"HTTP/1.1 404 Not Found\r\n\r\n")
    connected.client.connection_lost(None)

    assert connected.transport.aborted
    assert connected.arrivals == [False]
    assert connected.client.lost
