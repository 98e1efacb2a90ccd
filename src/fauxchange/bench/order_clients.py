r"""A process that places orders, as lean as it can be made, so that it is the server that is measured.

    python -m fauxchange.bench.order_clients \
        '{"transport": "rest", "target": "127.0.0.1:8080", "in_flight": 32, "symbol": "BTC/USD", "price": "60000.00",
          "quantity": "0.010", "api_key": "...", "api_secret": "..."}'

REST uses as many connections as orders are in flight, each with one request at a time; WebSocket and gRPC use one
connection, on which each order is a frame or a message of its own. All three are written by hand, HTTP/2 too: a gRPC
library in Python costs its user about as much as the server. Requests are made and signed before they are timed.

It says `connected`. Told `{"seconds": 3, "rate": 0, "prepare": 10000}` it makes and signs so many requests, says
`begin`, keeps as many orders in flight as it may (or sends `rate` a second), says `end`, waits for the last answers
and says what came of it. Latency runs from the moment at which an order was due to the one at which its answer was
here; with a rate, an order is due on a grid of one millisecond, even if all others are still unanswered.
"""

import asyncio
import base64
import os
import time
from array import array
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from fauxchange.bench.children import heard, own_cpu_s, run_child, tell
from fauxchange.bench.figures import percentile
from fauxchange.bench.subscribers import masked
from fauxchange.client.signing import Credentials, Signer
from fauxchange.contracts.exchange.v1 import exchange_pb2 as pb
from fauxchange.domain.errors import Unavailable

ORDERS_PATH: Final = "/api/v1/orders"
WEBSOCKET_PATH: Final = "/api/v1/exchange/ws"
GRPC_METHOD: Final = "/fauxchange.exchange.v1.ExchangeService/OrderStream"
WINDOW_MS: Final = 60_000
"""The widest there is: requests are signed a while before they are sent."""
CONNECT_TIMEOUT_S: Final = 30.0
DRAIN_TIMEOUT_S: Final = 30.0
TICK_S: Final = 0.001
TOP_UP: Final = 1_000

_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA


class Orders:
    """The orders to place, all alike but for their client order ids; `make` returns the next one as it is sent."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.symbol, self.price, self.quantity = options["symbol"], options["price"], options["quantity"]
        credentials = Credentials(api_key=options["api_key"], api_secret=options["api_secret"])
        self.run = os.urandom(4).hex()
        self.signer = Signer(credentials, now_ns=time.time_ns, nonce=self._nonce)
        self.host = options["target"]
        self._number = 0
        self._nonces = 0

    def next_id(self) -> str:
        """Return one more client order id."""
        self._number += 1
        return f"{self.run}-{self._number}"

    def document(self) -> dict[str, str]:
        """Return one more order as JSON has it."""
        return {
            "symbol": self.symbol,
            "side": "buy",
            "type": "limit",
            "quantity": self.quantity,
            "price": self.price,
            "client_order_id": self.next_id(),
        }

    def _nonce(self) -> str:
        self._nonces += 1
        return f"{self.run}{self._nonces}"


class Line(asyncio.Protocol):
    """One connection; `room` is how many orders are kept under way on it, `shared` whether it could carry more."""

    room = 1
    shared = True

    def __init__(self, orders: Orders, pump: "Pump") -> None:
        self.orders = orders
        self.pump = pump
        self.sent: deque[int] = deque()
        """When the orders under way were due, oldest first: answers come in the order of the orders."""
        self.rest = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce itself."""
        self.transport = cast("asyncio.Transport", transport)
        self.greet()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up, unless it was this end that left."""
        self.pump.failed(f"a connection was lost: {exc}")

    def greet(self) -> None:
        """Say what must be said first, and call `pump.joined` when orders may be sent."""
        raise NotImplementedError

    def make(self) -> bytes:
        """Return the next order as it is sent."""
        raise NotImplementedError

    def write(self, requests: list[bytes]) -> None:
        """Send orders."""
        self.transport.write(requests[0] if len(requests) == 1 else b"".join(requests))


class RestLine(Line):
    """One order at a time over HTTP/1.1; whoever answers says how long the answer is."""

    shared = False

    def greet(self) -> None:
        """Begin: there is nothing to say."""
        self.pump.joined(self)

    def make(self) -> bytes:
        """Return a signed request."""
        body = msgspec.json.encode(self.orders.document())
        signed = self.orders.signer.headers("POST", ORDERS_PATH.encode(), body)
        headers = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
        head = (
            f"POST {ORDERS_PATH} HTTP/1.1\r\nHost: {self.orders.host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nFX-Window: {WINDOW_MS}\r\n{headers}\r\n"
        )
        return head.encode() + body

    def data_received(self, data: bytes) -> None:
        """Take an answer that is complete."""
        if self.rest:
            data = self.rest + data
        end = data.find(b"\r\n\r\n")
        at = data.find(b"content-length: ", 0, end)
        size = int(data[at + 16 : data.index(b"\r", at)]) if end > 0 and at > 0 else 0
        if end < 0 or len(data) < end + 4 + size:
            self.rest = data
            return
        self.rest = b""
        self.pump.answered(self, 1, 0 if data.startswith(b"HTTP/1.1 201") else 1, data[end + 4 :])


class WebSocketLine(Line):
    """Orders in frames of their own; server frames are whole and unmasked (RFC 6455, section 5.2)."""

    _open = False
    _joined = False

    def greet(self) -> None:
        """Ask for the upgrade."""
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport.write(
            f"GET {WEBSOCKET_PATH} HTTP/1.1\r\nHost: {self.orders.host}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def make(self) -> bytes:
        """Return a frame that places an order."""
        order = self.orders.document()
        return masked(
            _TEXT,
            msgspec.json.encode({"op": "place", "id": order["client_order_id"].partition("-")[2], "order": order}),
        )

    def data_received(self, data: bytes) -> None:
        """Take the frames that are complete."""
        if self.rest:
            data = self.rest + data
        position = 0 if self._open else self._shake_hands(data)
        size, count, refused, payload = len(data), 0, 0, b""
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
            if opcode == _PING:
                self.transport.write(masked(_PONG, data[start:position]))
            elif opcode == _CLOSE:
                self.pump.failed(f"the server closed: {data[start:position]!r}")
            elif opcode == _TEXT and data.startswith(b'{"op":"place"', start):
                payload = data[start:position]
                count += 1
                refused += b'"ok":true' not in payload[:64]
            elif opcode == _TEXT and not self._joined:
                self._joined = True
                self.pump.joined(self)
        self.rest = data[position:]
        if count:
            self.pump.answered(self, count, refused, payload)

    def _shake_hands(self, data: bytes) -> int:
        head, end, _ = data.partition(b"\r\n\r\n")
        if not end:
            return 0
        if not head.startswith(b"HTTP/1.1 101"):
            self.pump.failed(f"no WebSocket: {head[:100]!r}")
            return len(data)
        self._open = True
        auth = {**self.orders.signer.auth_frame(WEBSOCKET_PATH), "window": WINDOW_MS}
        self.transport.write(masked(_TEXT, msgspec.json.encode(auth)))
        return len(head) + len(end)


_DATA, _HEADERS, _RESET, _SETTINGS, _HTTP2_PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_INITIAL_WINDOW: Final = 65_535
_LARGE_WINDOW: Final = (1 << 31) - 1
_STREAM: Final = 1
_RESULT_TAG: Final = pb.OrderStreamResponse.RESULTS_FIELD_NUMBER << 3 | 2
_BEGUN_TAG: Final = pb.OrderStreamResponse.BEGUN_FIELD_NUMBER << 3 | 2


class GrpcLine(Line):
    """Orders in messages of their own on one bidirectional stream.

    Source: RFC 9113 (HTTP/2), RFC 7541 section 6.2.2 (literal header fields), gRPC over HTTP/2
    """

    def greet(self) -> None:
        """Open the connection and the stream, and send the first message."""
        self._message = b""
        self._joined = False
        self._taken = 0
        self._credits = [_INITIAL_WINDOW, _INITIAL_WINDOW]
        """How many bytes the server will still take: on the connection, on the stream."""
        self._server_window = _INITIAL_WINDOW
        self._waiting: deque[bytes] = deque()
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": GRPC_METHOD,
            ":authority": self.orders.host,
            "content-type": "application/grpc",
            "te": "trailers",
            **{name.lower(): value for name, value in self._signed().items()},
        }
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in headers.items())
        settings = (4).to_bytes(2, "big") + _LARGE_WINDOW.to_bytes(4, "big")
        self.transport.write(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + _frame(_SETTINGS, 0, 0, settings)
            + _frame(_WINDOW_UPDATE, 0, 0, (_LARGE_WINDOW - _INITIAL_WINDOW).to_bytes(4, "big"))
            + _frame(_HEADERS, _END_HEADERS, _STREAM, block)
        )
        options = pb.OrderStreamOptions(answers_only=True)
        self.write([_message_frame(pb.OrderStreamRequest(options=options).SerializeToString())])

    def _signed(self) -> dict[str, str]:
        # The text that is signed is put together in the same way: method and target, the body empty.
        return {**self.orders.signer.headers("GRPC", GRPC_METHOD.encode(), b""), "FX-Window": str(WINDOW_MS)}

    def make(self) -> bytes:
        """Return a message that places an order."""
        orders = self.orders
        name = orders.next_id()
        place = pb.PlaceOrderRequest(
            symbol=orders.symbol,
            side=pb.SIDE_BUY,
            type=pb.ORDER_TYPE_LIMIT,
            quantity=orders.quantity,
            price=orders.price,
            client_order_id=name,
        )
        command = pb.OrderStreamCommand(id=name.partition("-")[2], place=place)
        return _message_frame(pb.OrderStreamRequest(commands=[command]).SerializeToString())

    def write(self, requests: list[bytes]) -> None:
        """Send orders as far as the server takes them now, the rest later."""
        self._waiting.extend(requests)
        self._flush()

    def _flush(self) -> None:
        ready: list[bytes] = []
        room, size = min(self._credits), 0
        while self._waiting and size + len(self._waiting[0]) - 9 <= room:
            frame = self._waiting.popleft()
            size += len(frame) - 9
            ready.append(frame)
        if ready:
            self._credits = [credit - size for credit in self._credits]
            self.transport.write(b"".join(ready))

    def data_received(self, data: bytes) -> None:
        """Take the frames that are complete."""
        if self.rest:
            data = self.rest + data
        position, size = 0, len(data)
        parts: list[bytes] = [self._message]
        while size - position >= 9:
            length = int.from_bytes(data[position : position + 3], "big")
            start = position + 9
            if start + length > size:
                break
            kind, flags = data[position + 3], data[position + 4]
            position = start + length
            if kind == _DATA:
                parts.append(data[start:position])
                self._taken += length
            else:
                self._control(kind, flags, data[start - 4 : start], data[start:position])
        self.rest = data[position:]
        if self._taken >= 1 << 20:
            more = self._taken.to_bytes(4, "big")
            self._taken = 0
            self.transport.write(_frame(_WINDOW_UPDATE, 0, 0, more) + _frame(_WINDOW_UPDATE, 0, _STREAM, more))
        if len(parts) > 1:
            self._read_messages(b"".join(parts))

    def _control(self, kind: int, flags: int, stream: bytes, payload: bytes) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            for at in range(0, len(payload), 6):
                if payload[at : at + 2] == b"\0\4":
                    window = int.from_bytes(payload[at + 2 : at + 6], "big")
                    self._credits[1] += window - self._server_window
                    self._server_window = window
            self.transport.write(_frame(_SETTINGS, _ACK, 0, b""))
            self._flush()
        elif kind == _HTTP2_PING and not flags & _ACK:
            self.transport.write(_frame(_HTTP2_PING, _ACK, 0, payload))
        elif kind == _WINDOW_UPDATE:
            self._credits[stream != bytes(4)] += int.from_bytes(payload, "big")
            self._flush()
        elif kind in {_RESET, _GOAWAY} or (kind == _HEADERS and flags & _END_STREAM):
            self.pump.failed(f"the server ended the stream: {payload!r}")

    def _read_messages(self, data: bytes) -> None:
        position, size, count, refused, last = 0, len(data), 0, 0, b""
        while size - position >= 5:
            end = position + 5 + int.from_bytes(data[position + 1 : position + 5], "big")
            if end > size:
                break
            answer = data[position + 5 : end]
            position = end
            if not self._joined:
                self._joined = True
                self.pump.joined(self)
            else:
                results, failed = _results(answer)
                if results:
                    last = results[-1]
                count += len(results)
                refused += failed
        self._message = data[position:]
        if count:
            # One answer, as a response of its own: the venue joins several, and an echo gives one for each message.
            self.pump.answered(self, count, refused, last)


def _results(response: bytes) -> tuple[list[bytes], int]:
    """Return the answers that a response holds, and how many of them are refusals (which have a field 3)."""
    position, size, refused = 0, len(response), 0
    results: list[bytes] = []
    while position < size:
        begun, tag = position, response[position]
        length, position = _varint(response, position + 1)
        if tag == _RESULT_TAG:
            results.append(response[begun : position + length])
            inner, end = position, position + length
            # An id and an order, each with its length; a refusal is what may follow.
            while inner < end and response[inner] in {0x0A, 0x12}:
                skipped, inner = _varint(response, inner + 1)
                inner += skipped
            refused += inner < end and response[inner] == 0x1A
        position += length
    return results, refused


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _message_frame(message: bytes) -> bytes:
    return _frame(_DATA, 0, _STREAM, b"\0" + len(message).to_bytes(4, "big") + message)


def _text(text: str) -> bytes:
    if len(text) > 126:
        raise ValueError(f"a header text is too long for one byte of length: {text}")
    return bytes((len(text),)) + text.encode()


LINES: Final[dict[str, type[Line]]] = {"rest": RestLine, "websocket": WebSocketLine, "grpc": GrpcLine}


class Pump:
    """Keep orders under way on some lines, and measure how they are answered. Units: latencies in nanoseconds."""

    def __init__(self, in_flight: int) -> None:
        self.in_flight = in_flight
        self.sample = b""
        self._lines: list[Line] = []
        self._free: deque[Line] = deque()
        """Each line as often as it has room."""
        self._ready: deque[bytes] = deque()
        self._due: deque[int] = deque()
        self._missing = 0
        self._under_way = 0
        self._flat_out = False
        self._measuring = False
        self._answers = 0
        self._refused = 0
        self._latencies_ns: array[int] = array("q")
        self._loop = asyncio.get_running_loop()
        self._complete: asyncio.Future[None] = self._loop.create_future()
        self._idle: asyncio.Future[None] = self._loop.create_future()
        self._failure: asyncio.Future[None] = self._loop.create_future()

    async def connect(self, transport: str, target: str, orders: Orders) -> None:
        """Connect, and wait until every line is ready."""
        make = LINES[transport]
        count = 1 if make.shared else self.in_flight
        host, _, port = target.rpartition(":")
        self._missing = count
        for _ in range(count):
            _, line = await self._loop.create_connection(lambda: make(orders, self), host, int(port))
            line.room = self.in_flight // count
            self._lines.append(line)
        await self._wait_for(self._complete, CONNECT_TIMEOUT_S)
        for line in self._lines:
            self._free.extend([line] * line.room)

    def joined(self, line: Line) -> None:  # noqa: ARG002 - lines are counted, not told apart
        """Count a line in."""
        self._missing -= 1
        if not self._missing:
            self._complete.set_result(None)

    def failed(self, reason: str) -> None:
        """Give up."""
        if not self._failure.done():
            self._failure.set_exception(Unavailable(reason))

    def answered(self, line: Line, count: int, refused: int, payload: bytes) -> None:
        """Take answers, and let as many orders follow."""
        now_ns = time.perf_counter_ns()
        sent = line.sent
        if self._measuring:
            self._answers += count
            for _ in range(count):
                self._latencies_ns.append(now_ns - sent.popleft())
        else:
            for _ in range(count):
                sent.popleft()
        self._refused += refused
        if refused or not self.sample:
            self.sample = payload
        self._under_way -= count
        if self._flat_out:
            self._send(line, [now_ns] * count)
        else:
            self._free.extend([line] * count)
            self._send_due()
        if not self._under_way and not self._idle.done():
            self._idle.set_result(None)

    async def drive(self, seconds: float, rate: float, prepare: int, warm_up_s: float) -> None:
        """Send for a while, say when it begins and ends, and what came of it."""
        line = self._lines[0]
        while len(self._ready) < prepare:
            self._ready.append(line.make())
        self._refused = 0
        stop = self._begin_paced(rate) if rate else self._begin_flat_out()
        await self._pass(warm_up_s)
        self._answers = 0
        self._latencies_ns = array("q")
        self._measuring = True
        tell({"event": "begin"})
        cpu_s, begun = own_cpu_s(), time.perf_counter()
        await self._pass(seconds)
        elapsed_s, cpu_s = time.perf_counter() - begun, own_cpu_s() - cpu_s
        tell({"event": "end"})
        answers = self._answers
        stop()
        if self._under_way:
            self._idle = self._loop.create_future()
            await self._wait_for(self._idle, DRAIN_TIMEOUT_S)
        self._measuring = False
        ordered = sorted(self._latencies_ns)
        tell(
            {
                "answers": answers,
                "elapsed_s": elapsed_s,
                "client_cpu_s": cpu_s,
                "refused": self._refused,
                "p50_ms": percentile(ordered, 0.50) / 1e6,
                "p99_ms": percentile(ordered, 0.99) / 1e6,
                "max_ms": (ordered[-1] if ordered else 0) / 1e6,
                "sample": base64.b64encode(self.sample).decode(),
            }
        )

    async def _pass(self, seconds: float) -> None:
        """Wait, but raise at once what has gone wrong."""
        done, _ = await asyncio.wait({self._failure}, timeout=seconds)
        if done:
            await self._failure

    async def _wait_for(self, awaited: "asyncio.Future[None]", timeout_s: float) -> None:
        await asyncio.wait({awaited, self._failure}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if self._failure.done():
            await self._failure
        if not awaited.done():
            raise Unavailable(f"the server said nothing for {timeout_s:g} s")

    def _begin_flat_out(self) -> Callable[[], None]:
        self._flat_out = True
        now_ns = time.perf_counter_ns()
        for line in self._lines:
            self._send(line, [now_ns] * line.room)
        self._free.clear()

        def stop() -> None:
            self._flat_out = False

        return stop

    def _begin_paced(self, rate: float) -> Callable[[], None]:
        begun = self._loop.time()
        sent = 0
        timer: asyncio.TimerHandle

        def tick() -> None:
            nonlocal sent, timer
            timer = self._loop.call_later(TICK_S, tick)
            due = int((self._loop.time() - begun) * rate)
            self._due.extend([time.perf_counter_ns()] * (due - sent))
            sent = due
            self._send_due()

        def stop() -> None:
            timer.cancel()
            self._due.clear()

        tick()
        return stop

    def _send_due(self) -> None:
        first = self._lines[0]
        if first.shared:
            if self._due:
                self._send(first, list(self._due))
                self._due.clear()
            return
        batches: dict[Line, list[int]] = {}
        while self._due and self._free:
            batches.setdefault(self._free.popleft(), []).append(self._due.popleft())
        for line, due in batches.items():
            self._send(line, due)

    def _send(self, line: Line, due: list[int]) -> None:
        ready = self._ready
        if len(ready) < len(due):
            ready.extend([line.make() for _ in range(max(TOP_UP, len(due)))])
        line.sent.extend(due)
        self._under_way += len(due)
        line.write([ready.popleft() for _ in due])


async def main(options: dict[str, Any]) -> None:
    """Connect, and do what the parent asks for."""
    pump = Pump(options["in_flight"])
    await pump.connect(options["transport"], options["target"], Orders(options))
    tell({"event": "connected"})
    async for command in heard():
        await pump.drive(command["seconds"], command["rate"], command["prepare"], command["warm_up_s"])


if __name__ == "__main__":
    run_child(main)
