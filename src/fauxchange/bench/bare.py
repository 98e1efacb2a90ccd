"""The bare servers that the venue's streams are compared with: the same libraries, and nothing but sending.

    python -m fauxchange.bench.bare '{"transport": "websocket", "sample": "...", "interval_s": 0.01, "steps": 1}'

They send what the venue sent (a sample, numbered and dated anew), at the same rate, to everybody alike:

* `websocket`: uvicorn's upgrade, the handshake of `websockets`, then frames written to the transports;
* `asgi`: an ordinary ASGI application on uvicorn, a queue per client and `send`;
* `grpc`: a `grpc.aio` server whose streams wait for the same event and yield the same bytes.

With `interval_s` 0 they send as fast as the subscribers take it (but for `asgi`). They say `{"target": "host:port"}`
and end with their standard input.
"""

import asyncio
import base64
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Protocol, cast

import grpc
import grpc.aio
import msgspec
import uvicorn
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.server import ServerProtocol

from fauxchange.bench.children import heard, run_child, tell
from fauxchange.contracts.market_data.v1 import market_data_pb2 as pb
from fauxchange.domain.times import NS_PER_S, format_time
from fauxchange.platform.streams.frames import text_frame

HOST = "127.0.0.1"
STEPS_PER_TURN = 16
"""How many deliveries are written before the event loop turns, when sending as fast as possible."""
WRITE_BUFFER_BYTES = 1 << 20
REMEMBERED_DELIVERIES = 4_096

Message = MutableMapping[str, Any]


class Deliveries(Protocol):
    """The deliveries, by number."""

    def make(self, number: int, step_ns: int) -> bytes:
        """Return a delivery whose last step is of this time."""
        ...


class JsonDeliveries:
    """WebSocket payloads. Units: interval_ns lies between the steps of one delivery."""

    def __init__(self, sample: bytes, *, steps: int, interval_ns: int) -> None:
        self._messages = _last_step(msgspec.json.decode(sample))
        self._steps = steps
        self._interval_ns = interval_ns
        self._encoder = msgspec.json.Encoder()

    def make(self, number: int, step_ns: int) -> bytes:
        """Return the sample's messages, numbered and dated anew, once for each step."""
        parts = []
        for step in range(self._steps):
            sequence = number * self._steps + step + 1
            timestamp = format_time(step_ns - (self._steps - 1 - step) * self._interval_ns)
            for message in self._messages:
                message["first_sequence"] = message["sequence"] = message["data"]["sequence"] = sequence
                message["data"]["timestamp"] = timestamp
                parts.append(self._encoder.encode(message))
        return parts[0] if len(parts) == 1 else b"[" + b",".join(parts) + b"]"


class ProtoDeliveries:
    """gRPC payloads. Units: interval_ns lies between the steps of one delivery."""

    def __init__(self, sample: bytes, *, steps: int, interval_ns: int) -> None:
        updates = {update.price.symbol: update for update in pb.PriceBatch.FromString(sample).updates}
        self._updates = tuple(updates.values())
        self._steps = steps
        self._interval_ns = interval_ns

    def make(self, number: int, step_ns: int) -> bytes:
        """Return the sample's updates, numbered and dated anew, once for each step."""
        batch = pb.PriceBatch()
        for step in range(self._steps):
            sequence = number * self._steps + step + 1
            seconds, nanos = divmod(step_ns - (self._steps - 1 - step) * self._interval_ns, NS_PER_S)
            for update in self._updates:
                update.first_sequence = update.sequence = update.price.sequence = sequence
                update.price.timestamp.seconds = seconds
                update.price.timestamp.nanos = nanos
                batch.updates.append(update)
        return batch.SerializeToString()


def _last_step(document: Any) -> list[dict[str, Any]]:
    messages = document if isinstance(document, list) else [document]
    return list({message["symbol"]: message for message in messages}.values())


class BareWebSocket(asyncio.Protocol):
    """One client of the bare WebSocket server: it is sent everything from its first message on."""

    def __init__(self, clients: "dict[BareWebSocket, None]", drained: asyncio.Event) -> None:
        self._clients = clients
        self._drained = drained
        self._protocol = ServerProtocol()
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a connection that uvicorn has accepted."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES, low=WRITE_BUFFER_BYTES // 4)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it went does not matter
        """Forget the client."""
        self._clients.pop(self, None)
        self._drained.set()

    def pause_writing(self) -> None:
        """Hold everybody up until this client has caught up: nothing is dropped."""
        self.paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self.paused = False
        self._drained.set()

    def data_received(self, data: bytes) -> None:
        """Shake hands; take any message for a subscription."""
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._protocol.send_response(self._protocol.accept(event))
            elif isinstance(event, Frame):
                self._clients[self] = None
        for out in self._protocol.data_to_send():
            if out:
                self.transport.write(out)
            else:
                self.transport.close()

    def shutdown(self) -> None:
        """Close (uvicorn calls this)."""
        self.transport.close()


class WebSocketSender:
    """Write frames to every transport."""

    def __init__(self) -> None:
        self.clients: dict[BareWebSocket, None] = {}
        self._drained = asyncio.Event()

    def protocol(self, **_uvicorn: Any) -> asyncio.Protocol:
        """Return the protocol of one more connection."""
        return BareWebSocket(self.clients, self._drained)

    def send(self, payload: bytes) -> None:
        """Send one payload to all."""
        frame = text_frame(payload)
        for client in self.clients:
            client.transport.write(frame)

    async def room(self) -> None:
        """Wait until nobody is behind."""
        while any(client.paused for client in self.clients):
            self._drained.clear()
            await self._drained.wait()


class AsgiSender:
    """Send through an ASGI application, as most servers do."""

    def __init__(self) -> None:
        self._queues: dict[asyncio.Queue[str], None] = {}

    async def application(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Serve one WebSocket."""
        if scope["type"] != "websocket":
            return
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._queues[queue] = None
        try:
            while True:
                await send({"type": "websocket.send", "text": await queue.get()})
        finally:
            del self._queues[queue]

    def send(self, payload: bytes) -> None:
        """Send one payload to all."""
        text = payload.decode()
        for queue in self._queues:
            queue.put_nowait(text)

    async def room(self) -> None:
        """Return at once: it is compared at a steady rate only."""


class Sender(Protocol):
    """Somewhere to send to."""

    def send(self, payload: bytes) -> None:
        """Send one payload to all."""
        ...

    async def room(self) -> None:
        """Wait until more may be sent."""
        ...


async def publish(sender: Sender, deliveries: Deliveries, interval_ns: int) -> None:
    """Send for ever: on the grid of `interval_ns`, or as fast as it is taken if that is 0."""
    number = 0
    due_ns = time.time_ns() // max(1, interval_ns) * interval_ns
    while True:
        if interval_ns:
            due_ns += interval_ns
            await asyncio.sleep(max(0.0, (due_ns - time.time_ns()) / NS_PER_S))
        else:
            due_ns = time.time_ns()
            if number % STEPS_PER_TURN == 0:
                await asyncio.sleep(0)
                await sender.room()
        sender.send(deliveries.make(number, due_ns))
        number += 1


class GrpcSender:
    """Streams that wait for the same event and yield the same bytes."""

    def __init__(self, deliveries: Deliveries, *, paced: bool) -> None:
        self._deliveries = deliveries
        self._paced = paced
        self._made: dict[int, bytes] = {}
        self._payload = b""
        self._next = asyncio.Event()

    def handler(self, method: str) -> grpc.GenericRpcHandler:
        """Return the handler of the one method."""
        service, _, name = method.lstrip("/").partition("/")
        return grpc.method_handlers_generic_handler(service, {name: grpc.unary_stream_rpc_method_handler(self.stream)})

    async def stream(self, request: bytes, context: object) -> AsyncIterator[bytes]:  # noqa: ARG002 - gRPC's signature
        """Serve one stream."""
        number = 0
        while True:
            if self._paced:
                await self._next.wait()
                yield self._payload
            else:
                yield self._delivery(number)
                number += 1

    def send(self, payload: bytes) -> None:
        """Wake every stream with one payload."""
        self._payload = payload
        self._next.set()
        self._next = asyncio.Event()

    async def room(self) -> None:
        """Return at once: each stream paces itself."""

    def _delivery(self, number: int) -> bytes:
        payload = self._made.get(number)
        if payload is None:
            payload = self._made[number] = self._deliveries.make(number, time.time_ns())
            self._made.pop(number - REMEMBERED_DELIVERIES, None)
        return payload


class WebSocketServer:
    """Uvicorn with one of the senders."""

    def __init__(self, sender: WebSocketSender | AsgiSender) -> None:
        self._listening = socket.create_server((HOST, 0), backlog=1_024)
        config = uvicorn.Config(
            cast("Any", _refuse if isinstance(sender, WebSocketSender) else sender.application),
            http="httptools",
            ws=cast("Any", sender.protocol if isinstance(sender, WebSocketSender) else "websockets-sansio"),
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            ws_per_message_deflate=False,
        )
        self._server = uvicorn.Server(config)

    @property
    def target(self) -> str:
        """Where it listens."""
        host, port = self._listening.getsockname()
        return f"{host}:{port}"

    async def serve(self) -> None:
        """Serve until cancelled."""
        await self._server.serve(sockets=[self._listening])


async def _refuse(scope: Message, receive: object, send: Callable[[Message], Awaitable[None]]) -> None:  # noqa: ARG001 - ASGI's signature
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def main(options: dict[str, Any]) -> None:
    """Serve and publish until the parent leaves."""
    transport, sample = options["transport"], base64.b64decode(options["sample"])
    interval_ns, steps = int(options["interval_s"] * NS_PER_S), options["steps"]
    work: list[asyncio.Task[None]] = []
    if transport == "grpc":
        batches = ProtoDeliveries(sample, steps=steps, interval_ns=interval_ns // steps)
        streams = GrpcSender(batches, paced=interval_ns > 0)
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        server.add_generic_rpc_handlers((streams.handler(options["method"]),))
        target = f"{HOST}:{server.add_insecure_port(f'{HOST}:0')}"
        await server.start()
        if interval_ns:
            work.append(asyncio.create_task(publish(streams, batches, interval_ns)))
    else:
        frames = JsonDeliveries(sample, steps=steps, interval_ns=interval_ns // steps)
        sender = WebSocketSender() if transport == "websocket" else AsgiSender()
        uvicorn_server = WebSocketServer(sender)
        target = uvicorn_server.target
        work.append(asyncio.create_task(uvicorn_server.serve()))
        work.append(asyncio.create_task(publish(sender, frames, interval_ns)))
    tell({"target": target})
    async for _ in heard():
        pass
    for task in work:
        task.cancel()


if __name__ == "__main__":
    run_child(main)
