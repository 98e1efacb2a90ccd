"""The applications in process, without a socket: what they answer, and that it is what they document."""

import asyncio
import functools
from typing import Annotated

import httpx
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from litestar import Response, delete, get, post
from litestar.params import JSONBody, PathParameter, QueryParameter
from schemathesis import GenerationMode
from structlog.testing import capture_logs

from fauxchange.domain.errors import Conflict, NotFound, RateLimited
from fauxchange.platform.errors import NEUTRAL_DETAIL
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.http.app import AuditAppConfig, HttpAppConfig, create_audit_app, create_http_app
from fauxchange.platform.http.middleware import Errors, RequestLimits, RequestShape
from fauxchange.platform.http.problems import problem_responses
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.platform.ports import DependencyHealth, DependencyStatus
from fauxchange.platform.tracing import current_request

KEY = "an-audit-key"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class FixedClock:
    """Venue time that stands still; all that the application asks of a clock."""

    def now_ns(self):
        return 1_700_000_000_123_456_789


class Price(msgspec.Struct):
    symbol: str
    bid: str


class Order(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=8, pattern="^[a-z]*$")]
    size: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1


Symbol = Annotated[str, PathParameter(pattern="^[A-Z]{3}[-/][A-Z]{3}$")]


@get("/prices/{symbol:str}", sync_to_thread=False)
def read_price(
    symbol: Symbol,
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 10,
    since: Annotated[str | None, QueryParameter(name="from", max_length=20)] = None,
    tags: Annotated[list[str] | None, QueryParameter()] = None,
) -> Price:
    """Return one price."""
    if symbol.startswith("XXX"):
        raise NotFound("no such symbol", code="unknown_symbol", field="symbol")
    return Price(symbol=symbol, bid=f"{limit} {since} {tags}")


@post("/orders", sync_to_thread=False, responses=problem_responses(409))
def place_order(data: JSONBody[Order]) -> Order:
    """Place an order."""
    if data.name == "taken":
        raise Conflict("the name is taken", code="duplicate_name", field="name")
    return data


@delete("/orders/{name:str}", sync_to_thread=False, status_code=204)
def cancel_order(name: Annotated[str, PathParameter(min_length=1)]) -> None:
    """Cancel an order."""


def _app(*handlers, health=None, metrics=None, limits=None):
    return create_http_app(
        HttpAppConfig(
            title="Sample",
            version="1.2.3",
            health=health or HealthRegistry(),
            metrics=metrics or PrometheusMetrics("fauxchange", "i-1", "1.2.3"),
            clock=FixedClock(),
            handlers=handlers or (read_price, place_order, cancel_order),
            limits=limits or RequestLimits(),
            wall_ns=lambda: 1_800_000_000_000_000_000,
        )
    )


def _client(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://venue")


@functools.cache
def _plain_app():
    """Return the application that tests share which leave nothing behind in it."""
    return _app()


async def _request(method, url, *, app=None, **kwargs):
    async with _client(app or _plain_app()) as client:
        return await client.request(method, url, **kwargs)


def _assert_problem(response, status, code, field=None):
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert (response.status_code, document["status"], document["code"]) == (status, status, code)
    assert document.get("field") == field
    assert document["request_id"] == response.headers["x-request-id"]
    assert {"type", "title", "detail"} <= document.keys()


def _health(status, *, required):
    registry = HealthRegistry()
    registry.add_service("market-data", {"store": lambda: DependencyHealth(status, "why", required)})
    return registry


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("status", "required", "code"),
    [
        (DependencyStatus.OK, True, 200),
        (DependencyStatus.DEGRADED, True, 200),
        (DependencyStatus.DOWN, False, 200),
        (DependencyStatus.DOWN, True, 503),
    ],
)
async def test_health_fails_only_when_a_service_cannot_do_its_job(method, status, required, code):
    response = await _request(method, "/api/v1/health", app=_app(health=_health(status, required=required)))

    assert response.status_code == code
    assert response.headers["content-type"] == "application/json"


async def test_health_names_services_and_dependencies():
    response = await _request("GET", "/api/v1/health", app=_app(health=_health(DependencyStatus.DOWN, required=False)))

    assert response.json() == {
        "status": "degraded",
        "services": {
            "market-data": {"status": "degraded", "dependencies": {"store": {"status": "down", "detail": "why"}}}
        },
    }


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_ready_is_refused_until_the_process_is_ready(method):
    registry = HealthRegistry()
    async with _client(_app(health=registry)) as client:
        before = await client.request(method, "/api/v1/ready")
        registry.set_ready(True)
        after = await client.request(method, "/api/v1/ready")

    assert (before.status_code, before.headers["retry-after"], after.status_code) == (503, "1", 200)


async def test_live_answers_at_once():
    assert (await _request("GET", "/api/v1/live")).json() == {"status": "alive"}


async def test_time_tells_venue_and_wall():
    assert (await _request("GET", "/api/v1/time")).json() == {
        "venue": "2023-11-14T22:13:20.123456Z",
        "wall": "2027-01-15T08:00:00.000000Z",
    }


async def test_head_is_get_without_a_body():
    async with _client(_app()) as client:
        got = await client.get("/api/v1/prices/BTC-USD")
        head = await client.head("/api/v1/prices/BTC-USD")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.content))


async def test_an_encoded_slash_belongs_to_its_segment():
    response = await _request("GET", "/api/v1/prices/BTC%2FUSD")

    assert response.json()["symbol"] == "BTC/USD"


async def test_the_request_id_is_taken_over_and_answered():
    response = await _request("GET", "/api/v1/live", headers={"X-Request-Id": "mine-1"})

    assert response.headers["x-request-id"] == "mine-1"


async def test_a_handler_sees_the_callers_trace():
    @get("/trace", sync_to_thread=False)
    def trace() -> list[str]:
        context = current_request()
        return [context.trace_id, context.parent_span_id]

    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    response = await _request("GET", "/api/v1/trace", app=_app(trace), headers=headers)

    assert response.json() == [TRACE, "00f067aa0ba902b7"]


@pytest.mark.parametrize(
    ("url", "code", "field"),
    [
        ("/api/v1/prices/BTC-USD?limit=x", "invalid_request", "limit"),
        ("/api/v1/prices/BTC-USD?limit=0", "invalid_request", "limit"),
        ("/api/v1/prices/BTC-USD?limit=null", "invalid_request", "limit"),
        ("/api/v1/prices/BTC-USD?from=" + "x" * 21, "invalid_request", "from"),
        ("/api/v1/prices/BTC-USD?limti=3", "unknown_parameter", "limti"),
        ("/api/v1/prices/BTC-USD?limit=3&limit=4", "repeated_parameter", "limit"),
        ("/api/v1/prices/nonsense", "invalid_request", "symbol"),
        ("/api/v1/live?x=1", "unknown_parameter", "x"),
        ("/api/v1/prices/%zz", "malformed_url", None),
        ("/api/v1/prices/%ff", "malformed_url", None),
        ("/api/v1/prices/BTC-USD?from=%f", "malformed_url", None),
    ],
)
async def test_a_bad_url_is_refused_by_name(url, code, field):
    # A transport normalises what it is given; the application must see the URL as it was written.
    path, _, query = url.partition("?")
    app = _plain_app()

    async def as_written(scope, receive, send):
        await app({**scope, "raw_path": path.encode(), "query_string": query.encode()}, receive, send)

    _assert_problem(await _request("GET", path.replace("%", "_"), app=as_written), 400, code, field)


async def test_an_unknown_parameter_is_refused_with_those_that_exist():
    response = await _request("GET", "/api/v1/prices/BTC-USD?limti=3")

    assert response.json()["detail"] == "'limti' is not a parameter of this route; those are from, limit, tags"


async def test_a_list_parameter_may_be_repeated():
    response = await _request("GET", "/api/v1/prices/BTC-USD?tags=a&tags=b")

    assert response.json()["bid"] == "10 None ['a', 'b']"


@pytest.mark.parametrize(
    ("content", "media_type", "status", "code", "field"),
    [
        (b"{", "application/json", 400, "malformed_body", None),
        (b"\xff", "application/json", 400, "malformed_body", None),
        (b"", "application/json", 400, "missing_body", "body"),
        (b"[]", "application/json", 400, "invalid_request", "body"),
        (b'{"name": "a", "sise": 1}', "application/json", 400, "invalid_request", "body"),
        (b'{"name": "a", "size": 11}', "application/json", 400, "invalid_request", "size"),
        (b'{"name": "taken"}', "application/json", 409, "duplicate_name", "name"),
        (b"name=a", "application/x-www-form-urlencoded", 415, "unsupported_media_type", "content-type"),
        (b" " * 65537, "application/json", 413, "payload_too_large", None),
    ],
)
async def test_a_bad_body_is_refused_by_name(content, media_type, status, code, field):
    response = await _request("POST", "/api/v1/orders", content=content, headers={"content-type": media_type})

    _assert_problem(response, status, code, field)


async def test_a_body_that_announces_no_length_is_bounded_too():
    async def chunks():
        for _ in range(66):
            yield b" " * 1024

    response = await _request("POST", "/api/v1/orders", content=chunks(), headers={"content-type": "application/json"})

    _assert_problem(response, 413, "payload_too_large")


async def test_a_body_that_does_not_arrive_in_time_is_refused():
    app = _app(limits=RequestLimits(body_timeout_s=0.0))
    never = asyncio.Event()

    async def stalled(scope, receive, send):
        await app(scope, never.wait, send)

    _assert_problem(await _request("POST", "/api/v1/orders", app=stalled, json={}), 408, "request_timeout")


async def test_a_missing_parameter_is_refused_by_name():
    @get("/needs", sync_to_thread=False)
    def needs(start: Annotated[str, QueryParameter(name="from")]) -> str:
        return start

    _assert_problem(await _request("GET", "/api/v1/needs", app=_app(needs)), 400, "missing_parameter", "from")


async def test_an_unknown_route_is_refused():
    _assert_problem(await _request("GET", "/api/v1/nothing"), 404, "not_found")


@pytest.mark.parametrize("method", ["POST", "DELETE", "PROPFIND"])
async def test_a_wrong_method_is_refused_with_those_that_exist(method):
    response = await _request(method, "/api/v1/health")

    _assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_options_lists_the_methods():
    response = await _request("OPTIONS", "/api/v1/health")

    assert (response.status_code, response.headers["allow"]) == (204, "GET, HEAD, OPTIONS")


async def test_a_url_that_is_too_long_is_refused():
    response = await _request("GET", "/api/v1/" + "x" * 9000)

    _assert_problem(response, 414, "uri_too_long")
    assert len(response.content) < 1000


async def test_an_accident_is_answered_neutrally_and_logged():
    @get("/boom", sync_to_thread=False)
    def boom() -> None:
        raise ZeroDivisionError("secret")

    with capture_logs() as log:
        response = await _request("GET", "/api/v1/boom", app=_app(boom))

    _assert_problem(response, 500, "internal_error")
    assert response.json()["detail"] == NEUTRAL_DETAIL
    assert [entry["error"] for entry in log] == ["ZeroDivisionError"]


async def test_a_rate_limit_says_when_to_come_back():
    @get("/busy", sync_to_thread=False)
    def busy() -> None:
        raise RateLimited("slow down", retry_after_s=2)

    response = await _request("GET", "/api/v1/busy", app=_app(busy))

    _assert_problem(response, 429, "rate_limited")
    assert response.headers["retry-after"] == "2"


async def test_requests_are_counted_by_route_pattern_and_code():
    metrics = PrometheusMetrics("fauxchange", "i-1", "1")
    async with _client(_app(metrics=metrics)) as client:
        for url in ("/prices/BTC-USD", "/prices/ETH-USD", "/prices/XXX-USD", "/nothing/1", "/nothing/2"):
            await client.get("/api/v1" + url)
        await client.request("PROPFIND", "/api/v1/health")
        text = (await client.get("/metrics")).text

    constant = 'instance="i-1"'
    counted = {line for line in text.splitlines() if line.startswith(("http_requests_total", "http_request_errors"))}
    tail = 'service="fauxchange",version="1"'
    price = f'method="GET",route="/api/v1/prices/{{symbol}}",{tail}'
    assert counted == {
        f'http_requests_total{{code="200",{constant},{price}}} 2.0',
        f'http_requests_total{{code="404",{constant},{price}}} 1.0',
        f'http_requests_total{{code="404",{constant},method="GET",route="unknown",{tail}}} 2.0',
        f'http_requests_total{{code="405",{constant},method="OTHER",route="unknown",{tail}}} 1.0',
        f'http_request_errors_total{{code="404",{constant},{price}}} 1.0',
        f'http_request_errors_total{{code="404",{constant},method="GET",route="unknown",{tail}}} 2.0',
        f'http_request_errors_total{{code="405",{constant},method="OTHER",route="unknown",{tail}}} 1.0',
    }


async def test_metrics_are_plain_text():
    assert (await _request("GET", "/metrics")).headers["content-type"].startswith("text/plain")


async def test_the_document_is_openapi_3_1_and_knows_every_refusal():
    document = (await _request("GET", "/openapi.json")).json()

    order = document["paths"]["/api/v1/orders"]["post"]["responses"]
    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"] == "1.2.3"
    assert {"201", "400", "405", "408", "409", "413", "414", "415", "431", "500", "503"} == order.keys()
    assert "ProblemDocument" in document["components"]["schemas"]


def _audit_app():
    @get("/scenarios", sync_to_thread=False)
    def scenarios() -> Response[list[str]]:
        return Response([])

    metrics = PrometheusMetrics("fauxchange", "i-1", "1")
    return create_audit_app(AuditAppConfig(title="Audit", version="1", metrics=metrics, key=KEY, handlers=[scenarios]))


@pytest.mark.parametrize("url", ["/audit/v1/scenarios", "/audit/v1/nothing", "/openapi.json", "/"])
@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", f"Bearer{KEY}"]
)
async def test_the_audit_listener_wants_its_key_whatever_is_asked(url, given):
    headers = {} if given is None else {"Authorization": given}

    response = await _request("GET", url, app=_audit_app(), headers=headers)

    _assert_problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert KEY not in response.text


@pytest.mark.parametrize("kind", ["Bearer", "bearer"])
async def test_the_audit_listener_answers_those_who_have_the_key(kind):
    headers = {"Authorization": f"{kind} {KEY}"}

    response = await _request("GET", "/audit/v1/scenarios", app=_audit_app(), headers=headers)

    assert response.json() == []


async def test_the_audit_document_says_that_a_key_is_wanted():
    headers = {"Authorization": f"Bearer {KEY}"}

    document = (await _request("GET", "/openapi.json", app=_audit_app(), headers=headers)).json()

    assert document["components"]["securitySchemes"] == {"auditKey": {"type": "http", "scheme": "bearer"}}
    assert document["security"] == [{"auditKey": []}]
    assert {"401", "403"} <= document["paths"]["/audit/v1/scenarios"]["get"]["responses"].keys()


async def test_an_answer_that_breaks_off_is_left_to_the_server():
    async def broken(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await _request("GET", "/", app=Errors(broken))


async def test_whoever_listens_for_the_end_of_the_connection_is_not_hurried():
    messages = asyncio.Queue()
    heard = []

    async def listening(scope, receive, send):
        heard.extend([await receive(), await receive()])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    messages.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    messages.put_nowait({"type": "http.disconnect"})
    shaped = RequestShape(listening, RequestLimits())

    async def app(scope, receive, send):
        await shaped(scope, messages.get, send)

    await _request("GET", "/", app=app)

    assert [message["type"] for message in heard] == ["http.request", "http.disconnect"]


def _schema():
    health = HealthRegistry()
    health.set_ready(True)
    schema = schemathesis.openapi.from_asgi("/openapi.json", _app(health=health))
    schema.config.generation.update(modes=list(GenerationMode))
    return schema


@_schema().parametrize()
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), database=None)
def test_every_route_answers_as_it_is_documented(case):
    case.call_and_validate()
