"""The gRPC server on an ephemeral port, with a service of all four kinds of method."""

import asyncio
import contextlib

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, wrappers_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from fauxchange.domain.errors import ConfigurationError, InvariantViolation, NotFound, RateLimited
from fauxchange.platform.errors import NEUTRAL_DETAIL
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.listening import Listener
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.platform.ports import DependencyHealth, DependencyStatus
from fauxchange.platform.rpc.server import GrpcLimits, GrpcServer
from fauxchange.platform.tracing import current_request

SERVICE = "fauxchange.sample.v1.Sample"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

Text = wrappers_pb2.StringValue


def _register_descriptor():
    """Put the sample service where generated code would have put it."""
    file = descriptor_pb2.FileDescriptorProto(name="sample.proto", package="fauxchange.sample.v1", syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    service = file.service.add(name="Sample")
    for name, client, server in (
        ("Echo", False, False),
        ("Count", False, True),
        ("Join", True, False),
        ("Chat", True, True),
    ):
        service.method.add(
            name=name,
            input_type=".google.protobuf.StringValue",
            output_type=".google.protobuf.StringValue",
            client_streaming=client,
            server_streaming=server,
        )
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())


_register_descriptor()


class Sample:
    """What the tests let the methods do."""

    def __init__(self):
        self.closed = asyncio.Event()
        self.contexts = []

    async def echo(self, request, context):
        self.contexts.append(current_request())
        match request.value:
            case "missing":
                raise NotFound("no such thing", code="unknown_thing", field="name")
            case "busy":
                raise RateLimited("slow down", retry_after_s=0.5)
            case "boom":
                raise ZeroDivisionError("secret")
            case "bug":
                raise InvariantViolation("secret")
            case "abort":
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now")
            case "code":
                context.set_code(grpc.StatusCode.DATA_LOSS)
            case "slow":
                await asyncio.Event().wait()
        return Text(value=request.value.upper())

    async def count(self, request, context):
        try:
            if request.value == "boom":
                yield Text(value="0")
                raise NotFound("no more", code="unknown_thing")
            number = 0
            while request.value == "forever" or number < int(request.value):
                yield Text(value=str(number))
                number += 1
                if request.value == "forever":
                    await asyncio.Event().wait()
        finally:
            self.closed.set()

    async def join(self, requests, context):
        return Text(value="".join([request.value async for request in requests]))

    async def chat(self, requests, context):
        async for request in requests:
            await context.write(Text(value=request.value.upper()))

    def handler(self):
        kinds = {
            "Echo": (grpc.unary_unary_rpc_method_handler, self.echo),
            "Count": (grpc.unary_stream_rpc_method_handler, self.count),
            "Join": (grpc.stream_unary_rpc_method_handler, self.join),
            "Chat": (grpc.stream_stream_rpc_method_handler, self.chat),
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: make(function, request_deserializer=Text.FromString, response_serializer=Text.SerializeToString)
                for name, (make, function) in kinds.items()
            },
        )


class Venue:
    """A running server, what it is made of, and a channel to it."""

    def __init__(self, server, sample, health, metrics, channel):
        self.server, self.sample, self.health, self.metrics, self.channel = server, sample, health, metrics, channel

    def method(self, name, kind="unary_unary"):
        return getattr(self.channel, kind)(
            f"/{SERVICE}/{name}", request_serializer=Text.SerializeToString, response_deserializer=Text.FromString
        )

    def echo(self, text, **kwargs):
        return self.method("Echo")(Text(value=text), **kwargs)

    def count(self, text, **kwargs):
        return self.method("Count", "unary_stream")(Text(value=text), **kwargs)

    def watch(self, service):
        return health_pb2_grpc.HealthStub(self.channel).Watch(health_pb2.HealthCheckRequest(service=service))

    def counted(self, name):
        """Return the values of a metric by method, type and code."""
        families = text_string_to_metric_families(self.metrics.expose()[0].decode())
        return {
            (s.labels["method"].removeprefix(SERVICE + "/"), s.labels["type"], s.labels["code"]): s.value
            for family in families
            for s in family.samples
            if s.name == name
        }

    async def counted_soon(self, name, key):
        """Return the value of a series once the server has counted the call that the client saw end."""
        async with asyncio.timeout(30):
            while key not in self.counted(name):  # noqa: ASYNC110 - a counter tells no one that it was counted
                await asyncio.sleep(0)
        return self.counted(name)[key]


@contextlib.asynccontextmanager
async def _running(**options):
    health, metrics, sample = HealthRegistry(), PrometheusMetrics("fauxchange", "i-1", "1"), Sample()
    health.add_service("market-data")
    listener = Listener(host="127.0.0.1", port=0, setting="GRPC_PORT", option="--grpc-port")
    server = GrpcServer("grpc", listener, metrics=metrics, health=health, **options)
    server.add(SERVICE, sample.handler(), health_name="market-data")
    await server.start()
    health.set_ready(True)
    try:
        async with grpc.aio.insecure_channel(server.target) as channel:
            yield Venue(server, sample, health, metrics, channel)
    finally:
        await server.stop()


@pytest.fixture
async def venue():
    async with _running() as running:
        yield running


async def test_all_four_kinds_of_method_are_served(venue):
    echoed = await venue.echo("a")
    counted = [message.value async for message in venue.count("3")]
    joined = await venue.method("Join", "stream_unary")(iter([Text(value="a"), Text(value="b")]))
    chatted = [m.value async for m in venue.method("Chat", "stream_stream")(iter([Text(value="a"), Text(value="b")]))]

    assert (echoed.value, counted, joined.value, chatted) == ("A", ["0", "1", "2"], "ab", ["A", "B"])


async def test_calls_are_counted_by_method_kind_and_code(venue):
    await venue.echo("a")
    [_ async for _ in venue.count("3")]
    await venue.method("Join", "stream_unary")(iter([Text(value="a")]))
    [_ async for _ in venue.method("Chat", "stream_stream")(iter([Text(value="a")]))]

    await venue.counted_soon("grpc_requests_total", ("Chat", "bidi_stream", "OK"))
    assert venue.counted("grpc_requests_total") == {
        ("Echo", "unary", "OK"): 1,
        ("Count", "server_stream", "OK"): 1,
        ("Join", "client_stream", "OK"): 1,
        ("Chat", "bidi_stream", "OK"): 1,
    }
    assert venue.counted("grpc_request_duration_seconds_count") == venue.counted("grpc_requests_total")
    assert venue.counted("grpc_request_errors_total") == {}


@pytest.mark.parametrize(
    ("text", "code", "details", "metadata"),
    [
        ("missing", grpc.StatusCode.NOT_FOUND, "no such thing", {"fx-code": "unknown_thing", "fx-field": "name"}),
        (
            "busy",
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "slow down",
            {"fx-code": "rate_limited", "fx-retry-after-ms": "500"},
        ),
        ("abort", grpc.StatusCode.FAILED_PRECONDITION, "not now", {}),
    ],
)
async def test_a_failure_becomes_its_status_with_its_code_in_the_metadata(venue, text, code, details, metadata):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await venue.echo(text)

    assert (caught.value.code(), caught.value.details()) == (code, details)
    assert metadata.items() <= dict(caught.value.trailing_metadata()).items()
    assert await venue.counted_soon("grpc_request_errors_total", ("Echo", "unary", code.name)) == 1


@pytest.mark.parametrize("text", ["boom", "bug"])
async def test_an_accident_is_answered_neutrally_and_logged(venue, text):
    with capture_logs() as log, pytest.raises(grpc.aio.AioRpcError) as caught:
        await venue.echo(text, metadata=(("x-request-id", "mine-1"),))

    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INTERNAL, NEUTRAL_DETAIL)
    assert dict(caught.value.trailing_metadata()) == {"fx-code": "internal_error", "x-request-id": "mine-1"}
    assert [entry["log_level"] for entry in log] == ["error"]


async def test_a_stream_that_fails_gives_what_it_had_and_then_its_status(venue):
    stream = venue.count("boom")

    first = await stream.read()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream.read()

    assert (first.value, caught.value.code()) == ("0", grpc.StatusCode.NOT_FOUND)
    assert await venue.counted_soon("grpc_request_errors_total", ("Count", "server_stream", "NOT_FOUND")) == 1


async def test_a_status_that_a_method_sets_itself_is_counted(venue):
    with pytest.raises(grpc.aio.AioRpcError):
        await venue.echo("code")

    assert await venue.counted_soon("grpc_request_errors_total", ("Echo", "unary", "DATA_LOSS")) == 1


async def test_unknown_methods_share_one_series(venue):
    for name in ("Nothing", "NothingElse"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await venue.method(name)(Text(value="a"))
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    async with asyncio.timeout(30):
        while sum(venue.counted("grpc_requests_total").values()) < 2:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
    assert venue.counted("grpc_requests_total") == {("unknown", "unknown", "UNIMPLEMENTED"): 2}


async def test_a_caller_who_goes_away_closes_the_stream_and_is_no_error(venue):
    stream = venue.count("forever")
    await stream.read()

    stream.cancel()

    async with asyncio.timeout(30):
        await venue.sample.closed.wait()
    assert await venue.counted_soon("grpc_requests_total", ("Count", "server_stream", "CANCELLED")) == 1
    assert venue.counted("grpc_request_errors_total") == {}


async def test_a_deadline_that_passes_is_counted_as_such(venue):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await venue.echo("slow", timeout=0.05)

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert await venue.counted_soon("grpc_request_errors_total", ("Echo", "unary", "DEADLINE_EXCEEDED")) == 1


async def test_ids_are_taken_over_and_answered(venue):
    metadata = (("x-request-id", "mine-1"), ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"), ("raw-bin", b"\x00"))

    call = venue.echo("a", metadata=metadata)
    await call

    context = venue.sample.contexts[0]
    assert (context.trace_id, context.parent_span_id, context.request_id) == (TRACE, "00f067aa0ba902b7", "mine-1")
    assert dict(await call.trailing_metadata())["x-request-id"] == "mine-1"
    assert current_request() is None


@pytest.mark.parametrize(("name", "kind"), [("Echo", "unary_unary"), ("Count", "unary_stream")])
async def test_bytes_that_are_no_message_are_refused_and_counted_like_any_other_mistake(venue, name, kind):
    answer = getattr(venue.channel, kind)(f"/{SERVICE}/{name}")(b"\xff\xff")
    with capture_logs() as logs, pytest.raises(grpc.aio.AioRpcError) as refused:
        await (answer.read() if kind == "unary_stream" else answer)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert dict(refused.value.trailing_metadata())["fx-code"] == "malformed_body"
    assert not logs
    counted = {"Echo": "unary", "Count": "server_stream"}[name]
    assert await venue.counted_soon("grpc_requests_total", (name, counted, "INVALID_ARGUMENT")) == 1


async def test_a_message_that_is_too_large_is_refused():
    async with _running(limits=GrpcLimits(max_request_bytes=100)) as venue:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await venue.echo("x" * 200)

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("service", ["", "market-data", SERVICE])
async def test_health_follows_the_registry(venue, service):
    stub = health_pb2_grpc.HealthStub(venue.channel)
    request = health_pb2.HealthCheckRequest(service=service)

    before = await stub.Check(request)
    venue.health.set_ready(False)
    after = await stub.Check(request)

    assert (before.status, after.status) == (SERVING, NOT_SERVING)


async def test_health_of_an_unknown_service_is_not_found_but_may_be_watched(venue):
    stub = health_pb2_grpc.HealthStub(venue.channel)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(health_pb2.HealthCheckRequest(service="nothing"))
    watched = await venue.watch("nothing").read()

    assert (caught.value.code(), watched.status) == (grpc.StatusCode.NOT_FOUND, SERVICE_UNKNOWN)


async def test_health_lists_every_entry(venue):
    listed = await health_pb2_grpc.HealthStub(venue.channel).List(health_pb2.HealthListRequest())

    assert {name: entry.status for name, entry in listed.statuses.items()} == {
        "": SERVING,
        "market-data": SERVING,
        SERVICE: SERVING,
    }


async def test_a_watcher_hears_of_each_change():
    state = DependencyHealth(DependencyStatus.OK, "", required=True)
    async with _running(health_interval_s=0.01) as venue:
        venue.health.add_dependency("market-data", "store", lambda: state)
        watch = venue.watch(SERVICE)
        heard = [(await watch.read()).status]
        state = DependencyHealth(DependencyStatus.DOWN, "gone", required=True)
        heard.append((await watch.read()).status)
        state = DependencyHealth(DependencyStatus.DEGRADED, "slow", required=True)
        heard.append((await watch.read()).status)
        watch.cancel()

    assert heard == [SERVING, NOT_SERVING, SERVING]


async def test_stopping_tells_watchers_and_ends_streams_at_once():
    async with _running(stop_timeout_s=120.0) as venue:
        watch, stream = venue.watch(""), venue.count("forever")
        await stream.read()
        first = await watch.read()

        # Well within the time that calls in flight are given.
        async with asyncio.timeout(30):
            stopping = asyncio.create_task(venue.server.stop())
            last = await watch.read()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stream.read()
            await stopping

        assert (first.status, last.status) == (SERVING, NOT_SERVING)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert dict(caught.value.trailing_metadata())["fx-code"] == "stopping"
        assert venue.sample.closed.is_set()


async def test_stopping_lets_a_call_in_flight_end():
    started, release = asyncio.Event(), asyncio.Event()

    async def slowly(request, context):
        started.set()
        await release.wait()
        return Text(value="done")

    sample = Sample()
    sample.echo = slowly
    health, metrics = HealthRegistry(), PrometheusMetrics("fauxchange", "i-1", "1")
    server = GrpcServer("grpc", Listener(host="127.0.0.1", port=0, setting="GRPC_PORT"), metrics=metrics, health=health)
    server.add(SERVICE, sample.handler())
    await server.start()
    async with grpc.aio.insecure_channel(server.target) as channel:
        call = Venue(server, sample, health, metrics, channel).echo("a")
        waiting = asyncio.ensure_future(call)
        await started.wait()
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        release.set()
        answer = await waiting
        await stopping

    assert answer.value == "done"


async def test_a_port_that_is_taken_is_named_with_what_to_change(venue):
    _, port = venue.server.address
    listener = Listener(host="127.0.0.1", port=port, setting="GRPC_PORT", option="--grpc-port")
    second = GrpcServer("grpc", listener, metrics=venue.metrics, health=venue.health)

    with pytest.raises(ConfigurationError) as caught:
        await second.start()

    assert str(port) in caught.value.message
    assert "--grpc-port" in caught.value.message
    assert "GRPC_PORT" in caught.value.message


async def test_services_are_added_once_and_before_the_start(venue):
    with pytest.raises(InvariantViolation):
        venue.server.add("another", venue.sample.handler())


async def test_stopping_twice_is_no_error(venue):
    await venue.server.stop()
    await venue.server.stop()
