"""Streams against a small venue over real sockets, which says what each test scripts."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from fauxchange.client import (
    AsyncClient,
    Book,
    Client,
    NotConnected,
    NotFound,
    OutOfStep,
    Patience,
    Stream,
    Unauthorized,
)
from fauxchange.client.streams import DISAGREEMENTS

TIME = "2026-01-31T12:00:00.000000Z"
PATIENCE = Patience(first_pause_s=0.0, timeout_s=5.0)

Handler = Callable[["Peer"], Awaitable[None]]
Levels = dict[str, str]


class Peer:
    """The venue's end of one connection."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket

    async def read(self) -> dict[str, Any]:
        frame = json.loads(await self.socket.recv())
        assert isinstance(frame, dict)
        return frame

    async def send(self, *items: dict[str, Any]) -> None:
        await self.socket.send(json.dumps(items[0] if len(items) == 1 else list(items)))

    async def accept(self) -> dict[str, Any]:
        """Read a frame and say yes to it."""
        frame = await self.read()
        await self.send({"op": frame["op"], "id": frame["id"], "ok": True})
        return frame

    async def refuse(self, code: str) -> dict[str, Any]:
        frame = await self.read()
        await self.send({"op": frame["op"], "id": frame.get("id"), "ok": False, "code": code, "detail": code})
        return frame

    async def stay(self) -> None:
        await self.socket.wait_closed()


@asynccontextmanager
async def venue(*handlers: Handler) -> AsyncIterator[str]:
    """Serve each connection by the next handler; what goes wrong in one of them fails the test."""
    waiting, failures = list(handlers), list[BaseException]()

    async def handle(socket: ServerConnection) -> None:
        try:
            await waiting.pop(0)(Peer(socket))
        except (AssertionError, KeyError, IndexError) as exc:
            failures.append(exc)

    async with serve(handle, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
    if failures:
        raise failures[0]


def client_at(url: str) -> AsyncClient:
    return AsyncClient(url, api_key="key-1", api_secret="secret-1", patience=PATIENCE)


def crc(bids: Levels) -> int:
    best_first = sorted(bids.items(), key=lambda level: float(level[0]), reverse=True)
    return zlib.crc32("|".join(f"{price}:{quantity}" for price, quantity in best_first).encode())


def book_item(sequence: int, bids: Levels, after: Levels, *, kind: str = "delta", epoch: int = 1) -> dict[str, Any]:
    """A message that sets `bids`, with the checksum of the book `after` it."""
    return {
        "channel": "book",
        "symbol": "BTC/USD",
        "epoch": epoch,
        "first_sequence": sequence,
        "sequence": sequence,
        "type": kind,
        "data": {
            "symbol": "BTC/USD",
            "bids": list(bids.items()),
            "asks": [],
            "sequence": sequence,
            "timestamp": TIME,
            "checksum": crc(after),
        },
    }


def snapshot(sequence: int, bids: Levels, *, epoch: int = 1) -> dict[str, Any]:
    return book_item(sequence, bids, bids, kind="snapshot", epoch=epoch)


async def read(stream: Stream[Book], count: int) -> list[tuple[int, list[str]]]:
    """Return sequence and bids of the next books, each as it was when it was told."""
    told = []
    async with asyncio.timeout(10):
        for _ in range(count):
            book = await anext(stream)
            told.append((book.sequence, [str(level) for level in book.bids()]))
    return told


async def test_a_book_is_kept_from_snapshot_and_deltas() -> None:
    async def handler(peer: Peer) -> None:
        frame = await peer.accept()
        assert (frame["op"], frame["channel"], frame["symbol"]) == ("subscribe", "book", "BTC-USD")
        await peer.send(snapshot(4, {"99": "1"}))
        await peer.send(book_item(5, {"100": "2"}, {"100": "2", "99": "1"}), book_item(6, {"99": "0"}, {"100": "2"}))
        await peer.stay()

    async with venue(handler) as url, client_at(url) as client, client.book("BTC-USD") as stream:
        assert await read(stream, 3) == [(4, ["99:1"]), (5, ["100:2", "99:1"]), (6, ["100:2"])]


async def test_a_gap_is_filled_before_anything_behind_it_is_told() -> None:
    async def handler(peer: Peer) -> None:
        await peer.accept()
        await peer.send(snapshot(4, {"99": "1"}), book_item(6, {"97": "1"}, {"99": "1", "98": "1", "97": "1"}))
        frame = await peer.accept()
        assert (frame["epoch"], frame["from_sequence"]) == (1, 5)
        await peer.send(
            book_item(5, {"98": "1"}, {"99": "1", "98": "1"}),
            book_item(6, {"97": "1"}, {"99": "1", "98": "1", "97": "1"}),
        )
        await peer.stay()

    async with venue(handler) as url, client_at(url) as client, client.book("BTC-USD") as stream:
        assert [sequence for sequence, _ in await read(stream, 3)] == [4, 5, 6]
        assert stream.gaps == 1


async def test_a_book_with_another_checksum_begins_anew() -> None:
    async def handler(peer: Peer) -> None:
        await peer.accept()
        await peer.send(
            snapshot(4, {"99": "1"}),
            book_item(5, {"98": "1"}, {"99": "7", "98": "1"}),
            book_item(6, {"97": "1"}, {"99": "7", "98": "1", "97": "1"}),
        )
        assert (await peer.accept())["op"] == "unsubscribe"
        frame = await peer.accept()
        assert (frame["op"], frame.get("from_sequence")) == ("subscribe", None)
        await peer.send(snapshot(6, {"99": "7", "98": "1", "97": "1"}))
        await peer.stay()

    async with venue(handler) as url, client_at(url) as client, client.book("BTC-USD") as stream:
        assert await read(stream, 2) == [(4, ["99:1"]), (6, ["99:7", "98:1", "97:1"])]
        assert stream.restarts == 1


async def test_a_book_that_never_agrees_is_given_up() -> None:
    async def handler(peer: Peer) -> None:
        await peer.accept()
        for _ in range(DISAGREEMENTS):
            await peer.send(book_item(4, {"99": "1"}, {"99": "2"}, kind="snapshot"))
            await peer.accept()
            await peer.accept()
        await peer.send(book_item(4, {"99": "1"}, {"99": "2"}, kind="snapshot"))
        await peer.stay()

    async with venue(handler) as url, client_at(url) as client, client.book("BTC-USD") as stream:
        with pytest.raises(OutOfStep):
            await read(stream, 1)


async def test_a_lost_connection_is_taken_up_where_it_ended() -> None:
    async def first(peer: Peer) -> None:
        await peer.accept()
        await peer.send(snapshot(4, {"99": "1"}))
        peer.socket.transport.abort()

    async def second(peer: Peer) -> None:
        frame = await peer.accept()
        assert (frame["symbol"], frame["epoch"], frame["from_sequence"]) == ("BTC/USD", 1, 5)
        await peer.send(book_item(5, {"98": "1"}, {"99": "1", "98": "1"}))
        await peer.stay()

    async with venue(first, second) as url, client_at(url) as client, client.book("BTC-USD") as stream:
        assert await read(stream, 2) == [(4, ["99:1"]), (5, ["99:1", "98:1"])]
        assert (stream.connections, stream.gaps, stream.restarts) == (2, 0, 0)
        assert stream.last_failure is not None


async def test_a_venue_that_was_started_again_gives_a_snapshot() -> None:
    async def first(peer: Peer) -> None:
        await peer.accept()
        await peer.send(snapshot(4, {"99": "1"}))
        await peer.socket.close(1001, "server_shutdown")

    async def second(peer: Peer) -> None:
        assert (await peer.refuse("snapshot_required"))["from_sequence"] == 5
        assert (await peer.refuse("not_subscribed"))["op"] == "unsubscribe"
        await peer.accept()
        await peer.send(snapshot(1, {"50": "1"}, epoch=2))
        await peer.stay()

    async with venue(first, second) as url, client_at(url) as client, client.book("BTC-USD") as stream:
        assert await read(stream, 2) == [(4, ["99:1"]), (1, ["50:1"])]


async def test_a_first_connection_that_fails_is_told() -> None:
    async with venue() as url:
        pass

    async with client_at(url) as client, client.book("BTC-USD") as stream:
        with pytest.raises(NotConnected, match="nothing answers"):
            await anext(stream)


async def test_a_refused_subscription_is_raised() -> None:
    async def handler(peer: Peer) -> None:
        await peer.refuse("unknown_symbol")
        await peer.stay()

    async with venue(handler) as url, client_at(url) as client, client.book("BTC-USX") as stream:
        with pytest.raises(NotFound):
            await anext(stream)


async def test_the_callers_channels_are_authenticated_first() -> None:
    async def handler(peer: Peer) -> None:
        frame = await peer.read()
        assert (frame["op"], frame["key"]) == ("auth", "key-1")
        assert "secret-1" not in json.dumps(frame)
        await peer.send({"op": "auth", "id": None, "ok": True})
        subscription = await peer.accept()
        assert (subscription["channel"], "symbol" in subscription) == ("balances", False)
        await peer.send(
            {
                "channel": "balances",
                "symbol": "*",
                "epoch": 1,
                "first_sequence": 0,
                "sequence": 0,
                "type": "snapshot",
                "data": [{"asset": "USD", "free": "5.00", "held": "0.00"}],
            }
        )
        await peer.stay()

    async with venue(handler) as url, client_at(url) as client, client.balances() as stream:
        async with asyncio.timeout(10):
            update = await anext(stream)

    assert update.balances["USD"].free == "5.00"


async def test_refused_credentials_are_raised() -> None:
    async def handler(peer: Peer) -> None:
        await peer.refuse("bad_signature")
        await peer.stay()

    async with venue(handler) as url, client_at(url) as client, client.orders() as stream:
        with pytest.raises(Unauthorized, match="bad_signature"):
            await anext(stream)


async def test_credentials_that_a_fresh_venue_takes_for_a_replay_are_signed_anew() -> None:
    async def handler(peer: Peer) -> None:
        first = await peer.refuse("stale_timestamp")
        second = await peer.refuse("key_revoked")
        assert first["signature"] != second["signature"]
        await peer.stay()

    async with venue(handler) as url, client_at(url) as client, client.orders() as stream:
        with pytest.raises(Unauthorized, match="key_revoked"):
            await anext(stream)


def test_the_callers_channels_want_credentials() -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(Unauthorized, match="wants an API key"):
        client.orders()


async def test_a_stream_that_is_silent_for_long_is_taken_up_again() -> None:
    async def first(peer: Peer) -> None:
        await peer.accept()
        await peer.send(snapshot(4, {"99": "1"}))
        await peer.stay()

    async def second(peer: Peer) -> None:
        await peer.accept()
        await peer.send(book_item(5, {"98": "1"}, {"99": "1", "98": "1"}))
        await peer.stay()

    async with venue(first, second) as url, client_at(url) as client:
        stream = client.book("BTC-USD")
        stream.line = replace(stream.line, silence_s=0.3)
        async with stream:
            assert [sequence for sequence, _ in await read(stream, 2)] == [4, 5]
            assert stream.last_failure == "nothing has come for 0.3 s"


async def test_a_synchronous_stream_reads_the_same() -> None:
    async def first(peer: Peer) -> None:
        await peer.accept()
        await peer.send(snapshot(4, {"99": "1"}))
        peer.socket.transport.abort()

    async def second(peer: Peer) -> None:
        await peer.accept()
        await peer.send(book_item(5, {"98": "1"}, {"99": "1", "98": "1"}))
        await peer.stay()

    def read_two(url: str) -> list[int]:
        with Client(url, patience=PATIENCE) as client, client.book("BTC-USD") as stream:
            return [next(stream).sequence for _ in range(2)]

    async with venue(first, second) as url:
        assert await asyncio.to_thread(read_two, url) == [4, 5]
