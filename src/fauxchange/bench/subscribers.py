r"""A process full of subscribers, as lean as they can be made, so that it is the server that is measured.

    python -m fauxchange.bench.subscribers \
        '{"transport": "websocket", "target": "127.0.0.1:8080", "clients": 200, "warm_up_s": 1}'

It says `connected` once every subscriber has had its first prices. Told `{"measure": seconds}`, it says `begin`, and
`end` with the counts; told nothing more, it leaves.
"""

import asyncio
import base64
import os
import struct
import time
from collections.abc import Callable
from typing import Any, cast

import grpc.aio

from fauxchange.bench.children import heard, own_cpu_s, run_child, tell
from fauxchange.bench.readings import Reader, Subscriber, Tally, updates_of_json, updates_of_proto
from fauxchange.contracts.market_data.v1 import market_data_pb2 as pb
from fauxchange.domain.errors import Unavailable

WEBSOCKET_PATH = "/api/v1/market-data/ws"
GRPC_METHOD = "/fauxchange.market_data.v1.MarketDataService/StreamPrices"
CONNECT_TIMEOUT_S = 30.0
SOCKET_BUFFER_BYTES = 1 << 20

_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_SUBSCRIBE = b'{"op":"subscribe","channel":"prices"}'


class WebSocketSubscriber(asyncio.Protocol):
    """One WebSocket client, reading frames by hand (RFC 6455, section 5.2): servers send them whole and unmasked."""

    def __init__(self, host: str, subscriber: Subscriber, read: Reader, arrived: Callable[[bool], None]) -> None:
        self._host = host
        self._subscriber = subscriber
        self._read = read.read
        self._arrived = arrived
        self._rest = b""
        self._open = False
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET {WEBSOCKET_PATH} HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it went does not matter
        """Note that the server has closed the connection."""
        self.lost = True
        if not self._subscriber.has_begun:
            self._arrived(False)

    def close(self) -> None:
        """Leave."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take the frames that are complete."""
        now_ns = time.time_ns()
        if self._rest:
            data = self._rest + data
        position = 0 if self._open else self._shake_hands(data)
        size = len(data)
        while size - position >= 2:
            length, start = data[position + 1], position + 2
            if length == 126:
                start += 2
                length = int.from_bytes(data[position + 2 : start], "big")
            elif length == 127:
                start += 8
                length = int.from_bytes(data[position + 2 : start], "big")
            if start + length > size:
                break
            opcode = data[position] & 0x0F
            position = start + length
            if opcode == _TEXT:
                self._take(data[start:position], now_ns)
            elif opcode == _PING:
                self._transport.write(masked(_PONG, data[start:position]))
            elif opcode == _CLOSE:
                self.close()
        self._rest = data[position:]

    def _take(self, payload: bytes, now_ns: int) -> None:
        begun = self._subscriber.has_begun
        self._subscriber.take(self._read(payload), now_ns)
        if not begun and self._subscriber.has_begun:
            self._arrived(True)

    def _shake_hands(self, data: bytes) -> int:
        head, end, _ = data.partition(b"\r\n\r\n")
        if not end:
            return 0
        if not head.startswith(b"HTTP/1.1 101"):
            self.close()
            return len(data)
        self._open = True
        self._transport.write(masked(_TEXT, _SUBSCRIBE))
        return len(head) + len(end)


def masked(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame with the mask 0, which leaves the payload as it is."""
    length = len(payload)
    size = bytes((0x80 | length,)) if length < 126 else struct.pack("!BH", 0x80 | 126, length)
    return bytes((0x80 | opcode,)) + size + bytes(4) + payload


class Crowd:
    """Subscribers that connect, wait for each other, and are measured together."""

    def __init__(self, transport: str, target: str, clients: int) -> None:
        self.tally = Tally()
        self._transport = transport
        self._target = target
        self._clients = clients
        self._missing = clients
        self._complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader = Reader(updates_of_json if transport == "websocket" else updates_of_proto)
        self._websockets: list[WebSocketSubscriber] = []
        self._channels: list[grpc.aio.Channel] = []
        self._streams: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        """Connect everybody, and wait until each has had its first prices."""
        if self._transport == "websocket":
            host, _, port = self._target.rpartition(":")
            for _ in range(self._clients):
                await self._connect_websocket(host, int(port))
        else:
            self._streams = [asyncio.create_task(self._stream()) for _ in range(self._clients)]
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await self._complete

    async def measure(self, seconds: float) -> None:
        """Count for a while, and say when it begins and what came of it."""
        self.tally.begin()
        tell({"event": "begin"})
        cpu_s, begun = own_cpu_s(), time.perf_counter()
        await asyncio.sleep(seconds)
        elapsed_s, cpu_s = time.perf_counter() - begun, own_cpu_s() - cpu_s
        # The server is read when this line comes: what follows it costs the server nothing.
        tell({"event": "end"})
        lost = sum(client.lost for client in self._websockets) + sum(task.done() for task in self._streams)
        sample = base64.b64encode(self._reader.sample).decode()
        tell({**self.tally.end(), "elapsed_s": elapsed_s, "subscriber_cpu_s": cpu_s, "lost": lost, "sample": sample})

    async def leave(self) -> None:
        """Close every connection."""
        for client in self._websockets:
            client.close()
        for task in self._streams:
            task.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)
        for channel in self._channels:
            await channel.close()

    async def _connect_websocket(self, host: str, port: int) -> None:
        _, protocol = await asyncio.get_running_loop().create_connection(
            lambda: WebSocketSubscriber(self._target, Subscriber(self.tally), self._reader, self._arrived), host, port
        )
        self._websockets.append(protocol)

    async def _stream(self) -> None:
        try:
            await self._read_stream()
        except grpc.aio.AioRpcError:
            self._arrived(False)
            raise

    async def _read_stream(self) -> None:
        # Without a pool of its own, channels to the same address would share one connection.
        channel = grpc.aio.insecure_channel(self._target, options=(("grpc.use_local_subchannel_pool", 1),))
        self._channels.append(channel)
        subscriber, read = Subscriber(self.tally), self._reader.read
        # Without a deserialiser the bytes come as they are.
        method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(GRPC_METHOD)
        call = method(pb.StreamPricesRequest().SerializeToString())
        async for payload in call:
            begun = subscriber.has_begun
            subscriber.take(read(payload), time.time_ns())
            if not begun and subscriber.has_begun:
                self._arrived(True)

    def _arrived(self, well: bool) -> None:
        self._missing -= 1
        if self._complete.done():
            return
        if not well:
            self._complete.set_exception(Unavailable(f"{self._target} refused a subscriber"))
        elif not self._missing:
            self._complete.set_result(None)


async def main(options: dict[str, Any]) -> None:
    """Connect, and do what the parent asks for."""
    crowd = Crowd(options["transport"], options["target"], options["clients"])
    await crowd.connect()
    await asyncio.sleep(options["warm_up_s"])
    tell({"event": "connected"})
    async for command in heard():
        await crowd.measure(command["measure"])
    await crowd.leave()


if __name__ == "__main__":
    run_child(main)
