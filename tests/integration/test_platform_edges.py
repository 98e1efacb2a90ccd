"""Both servers on real sockets with real clients: what no in-process test can show."""

import asyncio
import contextlib
import socket

import grpc
import httpx
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from litestar import Request, get, post

from fauxchange.domain.errors import ConfigurationError
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.http.app import HttpAppConfig, create_http_app
from fauxchange.platform.http.protocol import ConnectionLimits
from fauxchange.platform.http.server import HttpServer
from fauxchange.platform.listening import Listener
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.platform.rpc.server import GrpcServer


class FixedClock:
    def now_ns(self):
        return 0


@contextlib.asynccontextmanager
async def _http(*handlers, metrics=None, health=None, **options):
    metrics = metrics or PrometheusMetrics("fauxchange", "i-1", "1")
    config = HttpAppConfig(
        title="Sample",
        version="1",
        health=health or HealthRegistry(),
        metrics=metrics,
        clock=FixedClock(),
        handlers=handlers,
    )
    listener = Listener(host="127.0.0.1", port=0, setting="HTTP_PORT", option="--http-port")
    server = HttpServer("http", create_http_app(config), listener, metrics=metrics, **options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def _exchange(server, *parts):
    """Send bytes as they are and return everything that comes back until the server closes."""
    reader, writer = await asyncio.open_connection(*server.address)
    for part in parts:
        writer.write(part)
        await writer.drain()
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def _assert_problem(answer, status, code):
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"content-type: application/problem+json" in head
    assert f'"code":"{code}"'.encode() in body


async def test_the_server_answers_on_the_port_it_was_given_by_the_system():
    async with _http() as server, httpx.AsyncClient(base_url=server.url) as client:
        got, head = await client.get("/api/v1/health"), await client.head("/api/v1/health")

    assert server.address[1] > 0
    assert (got.status_code, head.status_code, head.content) == (200, 200, b"")
    assert "server" not in got.headers


async def test_a_port_that_is_taken_is_named_with_what_to_change():
    async with _http() as server:
        port = server.address[1]
        listener = Listener(host="127.0.0.1", port=port, setting="HTTP_PORT", option="--http-port")
        second = HttpServer("second", None, listener, metrics=PrometheusMetrics("fauxchange", "i-2", "1"))

        with pytest.raises(ConfigurationError) as caught:
            await second.start()

    assert f"port {port}" in caught.value.message
    assert "--http-port" in caught.value.message
    assert caught.value.field == "HTTP_PORT"


async def test_a_host_that_is_not_ours_is_refused():
    server = HttpServer(
        "http",
        None,
        Listener(host="192.0.2.1", port=0, setting="HTTP_HOST"),
        metrics=PrometheusMetrics("fauxchange", "i-1", "1"),
    )

    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1 is not an address of this machine"):
        await server.start()


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"nonsense\r\n\r\n", 400, "malformed_request"),
        (b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n", 400, "malformed_request"),
        (b"FETCH / HTTP/1.1\r\nhost: x\r\n\r\n", 400, "malformed_request"),
        (b"GET /" + b"x" * 17_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx-big: " + b"x" * 33_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", 400, "malformed_request"),
    ],
)
async def test_what_is_no_request_is_refused_as_a_problem_and_counted(request_bytes, status, code):
    metrics = PrometheusMetrics("fauxchange", "i-1", "1")
    async with _http(metrics=metrics) as server:
        answer = await _exchange(server, request_bytes)

    _assert_problem(answer, status, code)
    counted = f'http_requests_total{{code="{status}",instance="i-1",method="OTHER",route="unknown"'
    assert counted in metrics.expose()[0].decode()


async def test_a_head_that_never_ends_is_cut_off():
    limits = ConnectionLimits(max_head_bytes=1_000)
    async with _http(limits=limits) as server:
        answer = await _exchange(server, b"GET / HTTP/1.1\r\n", *[b"x-header: " + b"x" * 200 + b"\r\n"] * 50)

    _assert_problem(answer, 431, "headers_too_large")


async def test_a_head_that_comes_too_slowly_is_refused():
    async with _http(limits=ConnectionLimits(head_timeout_s=0.05)) as server:
        answer = await _exchange(server, b"GET / HTTP/1.1\r\nhost:")

    _assert_problem(answer, 408, "request_timeout")


async def test_a_connection_that_says_nothing_is_closed():
    async with _http(limits=ConnectionLimits(head_timeout_s=0.05)) as server:
        assert await _exchange(server) == b""


async def test_a_body_that_goes_on_after_its_answer_is_not_read_for_ever():
    async with _http(limits=ConnectionLimits(drain_timeout_s=0.05)) as server:
        request = b"POST /api/v1/live HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nsome"
        answer = await _exchange(server, request)

    _assert_problem(answer, 405, "method_not_allowed")


async def test_requests_on_one_connection_are_answered_in_order():
    async with _http() as server:
        one = b"GET /api/v1/live HTTP/1.1\r\nhost: x\r\n\r\n"
        last = b"GET /api/v1/nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        answer = await _exchange(server, one + one + last)

    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"404"]


async def test_a_connection_stays_open_between_requests_and_past_the_head_timeout():
    @get("/pause")
    async def pause() -> None:
        await asyncio.sleep(0.1)

    limits = ConnectionLimits(head_timeout_s=0.05)
    async with _http(pause, limits=limits) as server, httpx.AsyncClient(base_url=server.url) as client:
        codes = [(await client.get("/api/v1/pause")).status_code for _ in range(2)]

    assert codes == [200, 200]


async def test_stopping_lets_a_request_in_flight_end_and_takes_no_new_one():
    started, release = asyncio.Event(), asyncio.Event()

    @post("/slow", status_code=200)
    async def slow(request: Request) -> str:
        started.set()
        await release.wait()
        return "done"

    async with _http(slow) as server, httpx.AsyncClient(base_url=server.url) as client:
        answering = asyncio.create_task(client.post("/api/v1/slow"))
        await started.wait()
        stopping = asyncio.create_task(server.stop())
        async with asyncio.timeout(5):
            while await _accepts(server):  # noqa: ASYNC110 - a socket tells no one that it was closed
                await asyncio.sleep(0.01)
        release.set()
        answer = await answering
        await stopping

    assert (answer.status_code, answer.text) == (200, "done")


async def _accepts(server):
    try:
        _, writer = await asyncio.open_connection(*server.address)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


async def test_a_request_that_does_not_end_is_given_up_within_the_bound():
    started = asyncio.Event()

    @get("/stuck")
    async def stuck() -> None:
        started.set()
        await asyncio.Event().wait()

    async with _http(stuck, stop_timeout_s=0.1) as server, httpx.AsyncClient(base_url=server.url) as client:
        answering = asyncio.create_task(client.get("/api/v1/stuck"))
        await started.wait()

        async with asyncio.timeout(5):
            await server.stop()
        with pytest.raises(httpx.HTTPError):
            (await answering).raise_for_status()


async def test_an_upgrade_is_handed_to_the_websocket_protocol():
    class Refusing(asyncio.Protocol):
        """Answer every handshake with a status of its own."""

        def __init__(self, config, server_state, app_state):
            pass

        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(b"HTTP/1.1 418 Short and stout\r\ncontent-length: 0\r\n\r\n" + data)
            self.transport.close()

    async with _http(ws=Refusing) as server:
        head = b"GET /api/v1/market-data/ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
        answer = await _exchange(server, head)

    assert answer.startswith(b"HTTP/1.1 418")
    assert b"GET /api/v1/market-data/ws HTTP/1.1" in answer


async def test_the_port_is_free_again_after_the_stop():
    async with _http() as server:
        address = server.address

    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(address)


@contextlib.asynccontextmanager
async def _grpc():
    health, metrics = HealthRegistry(), PrometheusMetrics("fauxchange", "i-1", "1")
    health.add_service("market-data")
    listener = Listener(host="127.0.0.1", port=0, setting="GRPC_PORT")
    server = GrpcServer("grpc", listener, metrics=metrics, health=health)
    await server.start()
    try:
        yield server, health
    finally:
        await server.stop()


async def _reflect(channel, request):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    return await stub.ServerReflectionInfo(iter([request])).read()


async def test_a_client_that_knows_nothing_finds_the_health_service_and_watches_it():
    request = reflection_pb2.ServerReflectionRequest
    async with _grpc() as (server, health), grpc.aio.insecure_channel(server.target) as channel:
        listed = await _reflect(channel, request(list_services=""))
        names = {service.name for service in listed.list_services_response.service}
        described = await _reflect(channel, request(file_containing_symbol="grpc.health.v1.Health"))
        pool = descriptor_pool.DescriptorPool()
        for data in described.file_descriptor_response.file_descriptor_proto:
            pool.Add(descriptor_pb2.FileDescriptorProto.FromString(data))
        method = pool.FindServiceByName("grpc.health.v1.Health").FindMethodByName("Watch")
        ask = message_factory.GetMessageClass(method.input_type)
        answer = message_factory.GetMessageClass(method.output_type)
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=ask.SerializeToString,
            response_deserializer=answer.FromString,
        )(ask(service="market-data"))

        first = await watch.read()
        health.set_ready(True)
        second = await watch.read()
        watch.cancel()

    assert names == {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    expected = [health_pb2.HealthCheckResponse.NOT_SERVING, health_pb2.HealthCheckResponse.SERVING]
    assert [first.status, second.status] == expected
