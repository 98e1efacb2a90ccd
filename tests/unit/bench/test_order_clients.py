import asyncio
from typing import Any

import msgspec
import pytest

from fauxchange.bench.order_clients import GrpcLine, Line, Orders, RestLine, WebSocketLine
from fauxchange.contracts.exchange.v1 import exchange_pb2 as pb
from fauxchange.platform.streams.frames import text_frame

OPTIONS = {
    "symbol": "BTC/USD",
    "price": "60000.00",
    "quantity": "0.010",
    "api_key": "fxk_1",
    "api_secret": "secret",
    "target": "127.0.0.1:1",
}
PLACED = b"HTTP/1.1 201 Created\r\ncontent-length: 12\r\n\r\n" + b'{"order": 1}'
REFUSED = b"HTTP/1.1 422 Unprocessable Entity\r\ncontent-length: 2\r\n\r\n{}"
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
AUTHENTICATED = text_frame(b'{"op":"auth","id":null,"ok":true}')
HEARTBEAT = text_frame(b'{"channel":"heartbeat"}')
SETTINGS = b"\0\0\6\4\0\0\0\0\0" + b"\0\4" + (50).to_bytes(4, "big")
PING = b"\0\0\x08\6\0\0\0\0\0" + b"12345678"


class Heard:
    """What a line tells its pump."""

    def __init__(self) -> None:
        self.joins = 0
        self.answers = 0
        self.refusals = 0
        self.failures: list[str] = []

    def joined(self, line: Line) -> None:
        self.joins += 1

    def answered(self, line: Line, count: int, refused: int, payload: bytes) -> None:
        self.answers += count
        self.refusals += refused

    def failed(self, reason: str) -> None:
        self.failures.append(reason)


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += bytes(data)


def connected(kind: type[Line]) -> tuple[Any, Heard, Transport]:
    heard, transport = Heard(), Transport()
    pump: Any = heard
    line = kind(Orders(OPTIONS), pump)
    line.connection_made(transport)
    return line, heard, transport


def feed(line: Any, stream: bytes, piece: int) -> None:
    for start in range(0, len(stream), piece):
        line.data_received(stream[start : start + piece])


def ws_answer(*, ok: bool) -> bytes:
    document = {"op": "place", "id": "1", "ok": ok, "order": {"padding": "x" * 300}}
    return text_frame(msgspec.json.encode(document))


def http2(kind: int, payload: bytes, stream: int = 1, flags: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def grpc_message(response: pb.OrderStreamResponse) -> bytes:
    message = response.SerializeToString()
    return b"\0" + len(message).to_bytes(4, "big") + message


def result(number: int, *, refused: bool = False) -> pb.OrderStreamResult:
    refusal = pb.Refusal(code="insufficient_funds") if refused else None
    return pb.OrderStreamResult(id=str(number), order=pb.Order(symbol="BTC/USD" * 40), refusal=refusal)


@pytest.mark.parametrize("piece", [1, 7, 1_000])
def test_http_answers_are_found_however_the_bytes_are_cut(piece: int) -> None:
    line, heard, _ = connected(RestLine)

    feed(line, PLACED, piece)
    feed(line, REFUSED, piece)

    assert (heard.answers, heard.refusals) == (2, 1)


def test_an_http_request_is_signed_and_each_order_has_an_id_of_its_own() -> None:
    line, _, _ = connected(RestLine)

    first, second = line.make(), line.make()

    head, _, body = first.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/v1/orders HTTP/1.1\r\n")
    assert b"FX-Signature: " in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert msgspec.json.decode(body)["client_order_id"] != msgspec.json.decode(second.rpartition(b"\n")[2])


@pytest.mark.parametrize("piece", [1, 7, 1_000, 100_000])
def test_websocket_answers_are_counted_and_nothing_else_is(piece: int) -> None:
    line, heard, transport = connected(WebSocketLine)

    feed(line, UPGRADED + AUTHENTICATED + ws_answer(ok=True) + HEARTBEAT + ws_answer(ok=False), piece)

    assert b'"op":"auth"' in transport.written
    assert (heard.joins, heard.answers, heard.refusals) == (1, 2, 1)


@pytest.mark.parametrize("piece", [1, 7, 1_000, 100_000])
def test_grpc_answers_are_counted_however_frames_and_messages_are_cut(piece: int) -> None:
    line, heard, _ = connected(GrpcLine)
    begun = grpc_message(pb.OrderStreamResponse(begun=pb.OrderStreamBegun(account_id="3")))
    messages = grpc_message(pb.OrderStreamResponse(results=[result(1), result(2, refused=True), result(3)]))
    halves = http2(0, messages[:200]) + PING + http2(0, messages[200:])

    feed(line, SETTINGS + http2(0, begun) + halves, piece)

    assert (heard.joins, heard.answers, heard.refusals) == (1, 3, 1)
    assert heard.failures == []


def test_grpc_settings_and_pings_are_acknowledged() -> None:
    line, _, transport = connected(GrpcLine)
    before = len(transport.written)

    line.data_received(SETTINGS + PING)

    assert transport.written[before:] == http2(4, b"", stream=0, flags=1) + http2(6, b"12345678", stream=0, flags=1)


def test_grpc_sends_no_more_than_the_server_takes() -> None:
    line, _, transport = connected(GrpcLine)
    line.data_received(SETTINGS)
    before = len(transport.written)

    line.write([line.make(), line.make()])
    held_back = len(transport.written) - before
    line.data_received(http2(8, (10_000).to_bytes(4, "big")))

    assert held_back == 0
    assert transport.written.count(b"0.010") == 2


def test_a_stream_that_the_server_ends_is_a_failure() -> None:
    line, heard, _ = connected(GrpcLine)

    line.data_received(http2(1, b"trailers", flags=5))

    assert len(heard.failures) == 1
