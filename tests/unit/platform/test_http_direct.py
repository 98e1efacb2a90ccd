"""A route that is answered without the framework answers to the byte as the framework does."""

import asyncio
import functools

import msgspec
import pytest
from litestar import Litestar, Request, Router, get, post
from litestar.params import JSONBody

from fauxchange.domain.errors import Conflict, InvariantViolation, RateLimited, Unauthenticated
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.http.app import HttpAppConfig, create_http_app
from fauxchange.platform.http.bodies import strict_body
from fauxchange.platform.http.direct import DIRECT, DirectRoutes, WholeRequest
from fauxchange.platform.http.middleware import RequestLimits
from fauxchange.platform.http.problems import render_exception
from fauxchange.platform.http.rendered import Rendered
from fauxchange.platform.metrics import PrometheusMetrics

MAX_BYTES = 64
HEADERS = {"host": "venue:8080", "content-type": "application/json", "x-request-id": "r-1"}
GOOD = b'{"name":"a","count":2}'


class Parcel(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    count: int = 1


class QuickParcel(Parcel, forbid_unknown_fields=True):
    def __post_init__(self):
        if self.count > 8:
            raise ValueError("too many to be quick")


class StandingClock:
    def now_ns(self):
        return 0


async def check_caller(request):
    """Ask for the body before the function does, as whoever checks a signature."""
    request.scope["auth"] = ((b"x-left", b"9"),)
    if not (await request.body()).startswith((b"{", b"[")):
        raise Unauthenticated("somebody else wrote this", code="invalid_signature")


def refuse(request, exc):
    response = render_exception(request, exc)
    for name, value in request.scope.get("auth") or ():
        response.headers[name.decode()] = value.decode()
    return response


def make_app(opt, requests):
    @post("/parcels", opt=opt, dto=strict_body(Parcel, quick=QuickParcel))
    async def send_parcel(request: Request, data: JSONBody[Parcel]) -> Rendered[Parcel]:
        requests.append(request)
        if data.name == "taken":
            raise Conflict("the name is taken", code="duplicate_name", field="name")
        if data.name == "often":
            raise RateLimited("come back later", retry_after_s=1.5)
        if data.name == "bug":
            raise InvariantViolation("this cannot be")
        await asyncio.sleep(0)
        return Rendered(msgspec.json.encode(data), status=201, headers=request.scope["auth"])

    @get("/parcels")
    async def parcels(request: Request) -> Rendered[Parcel]:
        return Rendered(b"[]")

    metrics = PrometheusMetrics("fauxchange", "i-1", "1.2.3")
    app = create_http_app(
        HttpAppConfig(
            title="Sample",
            version="1.2.3",
            health=HealthRegistry(),
            metrics=metrics,
            clock=StandingClock(),
            handlers=[
                Router(
                    "/",
                    route_handlers=[send_parcel, parcels],
                    before_request=check_caller,
                    exception_handlers={Exception: refuse},
                )
            ],
            limits=RequestLimits(max_body_bytes=MAX_BYTES, body_timeout_s=0.01),
        )
    )
    return app, metrics


@functools.cache
def apps():
    """Return an application with the route answered directly and one without, and the requests that each has seen."""
    seen = {"direct": [], "framework": []}
    return {name: (*make_app(DIRECT if name == "direct" else None, seen[name]), seen[name]) for name in seen}


async def answers(
    which, pieces=(GOOD,), *, method="POST", path=b"/api/v1/parcels", query=b"", headers=(), ends="whole"
):
    """Return all that an application says to a request, and what it was that its function was called with."""
    app, _, seen = apps()[which]
    seen.clear()
    given = {**HEADERS, "content-length": str(sum(map(len, pieces))), **dict(headers)}
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "root_path": "", "state": {},
        "path": path.decode(), "raw_path": path, "query_string": query, "client": ("10.1.2.3", 4567),
        "server": ("venue", 8080), "asgi": {"version": "3.0", "spec_version": "2.3"},
        "headers": [(name.encode(), value.encode()) for name, value in given.items() if value is not None],
    }  # fmt: skip
    more = ends != "whole"
    messages = [
        {"type": "http.request", "body": piece, "more_body": more or number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ]
    if ends == "gone":
        messages.append({"type": "http.disconnect"})
    said = []

    async def receive():
        if messages:
            return messages.pop(0)
        return await asyncio.Future()

    async def send(message):
        said.append(message)

    await app(scope, receive, send)
    return said, [type(request) for request in seen]


PLAIN = [
    pytest.param({}, 201, id="good"),
    pytest.param({"pieces": (b'{"name":', b'"a","cou', b'nt":2}')}, 201, id="good, in pieces"),
    pytest.param({"pieces": (b'{"name":"a","count":9}',)}, 201, id="good, but not quick"),
    pytest.param({"headers": {"content-type": None}}, 201, id="without a media type"),
    pytest.param({"pieces": (b'{"name":"taken"}',)}, 409, id="a refusal of the service"),
    pytest.param({"pieces": (b'{"name":"often"}',)}, 429, id="a refusal with a header"),
    pytest.param({"pieces": (b'{"name":"bug"}',)}, 500, id="a bug"),
    pytest.param({"pieces": (b'{"name":',)}, 400, id="no JSON"),
    pytest.param({"pieces": (b'{"name":1}',)}, 400, id="a wrong type"),
    pytest.param({"pieces": (b'{"name":"a","colour":"red"}',)}, 400, id="an unknown field"),
    pytest.param({"pieces": (b"[" * 60,)}, 400, id="nested"),
    pytest.param({"pieces": (b"name=a",)}, 401, id="refused before it is read"),
    pytest.param({"pieces": (GOOD[:5],), "headers": {"content-length": "22"}, "ends": "gone"}, 400, id="half, gone"),
    pytest.param({"pieces": (GOOD[:5],), "headers": {"content-length": "22"}, "ends": "late"}, 408, id="half, late"),
]  # fmt: skip
STRANGE = [
    pytest.param({"pieces": (b"",)}, 401, id="empty"),
    pytest.param({"pieces": (b"{" * 65,)}, 413, id="too large"),
    pytest.param({"pieces": (b"{" * 65,), "headers": {"content-length": None}}, 413, id="too large, unannounced"),
    pytest.param({"headers": {"content-length": None}}, 201, id="good, unannounced"),
    pytest.param({"headers": {"content-type": "text/plain"}}, 415, id="not JSON"),
    pytest.param({"headers": {"content-type": "application/json; charset=utf-8"}}, 201, id="JSON with a charset"),
    pytest.param({"headers": {"host": "ven ue"}}, 400, id="no host"),
    pytest.param({"headers": {"host": "[::1]:8080"}}, 201, id="a host in brackets"),
    pytest.param({"query": b"colour=red"}, 400, id="an unknown parameter"),
    pytest.param({"path": b"/api/v1/parcels/"}, 201, id="a slash at the end"),
    pytest.param({"path": b"/api/v1/%70arcels"}, 201, id="an escape"),
    pytest.param({"method": "PUT"}, 405, id="another method"),
]


@pytest.mark.parametrize(("request_", "status"), [*PLAIN, *STRANGE])
async def test_a_direct_route_answers_as_the_framework_does(request_, status):
    said, _ = await answers("direct", **request_)
    framework_said, _ = await answers("framework", **request_)

    assert said == framework_said
    assert said[0]["status"] == status


async def test_plain_requests_are_answered_without_the_framework():
    assert (await answers("direct"))[1] == [WholeRequest]
    assert (await answers("framework"))[1] == [Request]


@pytest.mark.parametrize(("request_", "status"), [each for each in STRANGE if each.values[1] == 201])
async def test_requests_that_are_not_plain_are_left_to_the_framework(request_, status):
    assert (await answers("direct", **request_))[1] == [Request]


async def test_direct_routes_are_counted_under_their_pattern():
    await answers("direct")

    text, _ = apps()["direct"][1].expose()

    counted = [line for line in text.decode().splitlines() if line.startswith("http_requests_total")]
    assert any('route="/api/v1/parcels"' in line and 'code="201"' in line for line in counted)


async def test_a_function_that_cannot_be_called_directly_is_found_at_the_start():
    @post("/parcels", opt=DIRECT)
    async def send_parcel(request: Request, data: JSONBody[Parcel]) -> Rendered[Parcel]:
        return Rendered(b"")

    with pytest.raises(InvariantViolation, match="strictly"):
        DirectRoutes(Litestar([send_parcel], openapi_config=None, exception_handlers={Exception: refuse}))
