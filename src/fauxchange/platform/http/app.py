"""The applications: the production API with health, time, metrics and its document; and the audit listener's."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
from litestar import Litestar, MediaType, Response, Router, get
from litestar.openapi import ResponseSpec
from litestar.types import ControllerRouterHandler

from fauxchange.domain.errors import Unavailable
from fauxchange.domain.times import format_time
from fauxchange.platform.health import HealthRegistry, HealthReport
from fauxchange.platform.http.asgi import AsgiApp
from fauxchange.platform.http.direct import DirectRoutes
from fauxchange.platform.http.middleware import RequestLimits, wrap
from fauxchange.platform.http.openapi import Document, DocumentedOnly, openapi_document
from fauxchange.platform.http.problems import render_exception
from fauxchange.platform.ports import Clock, DependencyStatus, MetricsPort

API_PATH = "/api/v1"
AUDIT_PATH = "/audit/v1"
AUDIT_SCHEME = "auditKey"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAppConfig:
    """What the production API is made of; `handlers` are routes, routers and controllers relative to `/api/v1`."""

    title: str
    version: str
    health: HealthRegistry
    metrics: MetricsPort
    clock: Clock
    handlers: Sequence[ControllerRouterHandler] = ()
    description: str = "Every refusal is application/problem+json with a stable `code`."
    limits: RequestLimits = field(default_factory=RequestLimits)
    wall_ns: Callable[[], int] = time.time_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditAppConfig:
    """What the audit API is made of; `handlers` are relative to `/audit/v1`, and every request wants `key`."""

    title: str
    version: str
    metrics: MetricsPort
    key: str
    handlers: Sequence[ControllerRouterHandler] = ()
    description: str = "For operators and tests: internal state and controlled disturbance."
    limits: RequestLimits = field(default_factory=RequestLimits)


class Liveness(msgspec.Struct, frozen=True):
    """The answer of a process that runs."""

    status: str


class VenueTime(msgspec.Struct, frozen=True):
    """Venue time, on which everything in the simulation runs, and wall time; RFC 3339."""

    venue: str
    wall: str


def create_http_app(config: HttpAppConfig) -> AsgiApp:
    """Return the production API: the services' routes and what every process answers."""
    api = Router(API_PATH, route_handlers=[*_common_routes(config), *config.handlers])
    handlers = [api, _metrics_route(config.metrics)]
    document = openapi_document(handlers, title=config.title, version=config.version, description=config.description)
    return wrap(_litestar(handlers, document, config.limits), metrics=config.metrics, limits=config.limits)


def create_audit_app(config: AuditAppConfig) -> AsgiApp:
    """Return the audit API, every route of which wants `Authorization: Bearer <key>`."""
    handlers = [Router(AUDIT_PATH, route_handlers=list(config.handlers))]
    document = openapi_document(
        handlers,
        title=config.title,
        version=config.version,
        description=config.description,
        bearer=AUDIT_SCHEME,
    )
    app = _litestar(handlers, document, config.limits)
    return wrap(app, metrics=config.metrics, limits=config.limits, key=config.key)


def _litestar(handlers: Sequence[ControllerRouterHandler], document: Document, limits: RequestLimits) -> AsgiApp:
    app = Litestar(
        [*handlers, _openapi_route(document)],
        exception_handlers={Exception: render_exception},
        middleware=[DocumentedOnly(document)],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=limits.max_body_bytes,
    )
    return DirectRoutes(app)


def _openapi_route(document: Document) -> ControllerRouterHandler:
    encoded = msgspec.json.encode(document)

    @get("/openapi.json", include_in_schema=False, sync_to_thread=False)
    def openapi() -> Response[bytes]:
        return Response(encoded, media_type=MediaType.JSON)

    return openapi


def _metrics_route(metrics: MetricsPort) -> ControllerRouterHandler:
    @get("/metrics", include_in_schema=False, sync_to_thread=False)
    def expose() -> Response[bytes]:
        text, content_type = metrics.expose()
        return Response(text, media_type=content_type)

    return expose


def _common_routes(config: HttpAppConfig) -> list[ControllerRouterHandler]:
    @get(
        "/health",
        tags=["operations"],
        sync_to_thread=False,
        responses={503: ResponseSpec(HealthReport, description="A service cannot do its job", generate_examples=False)},
    )
    def health() -> Response[HealthReport]:
        """Report the state of each service and of everything it leans on."""
        report = config.health.report()
        return Response(report, status_code=503 if report.status is DependencyStatus.DOWN else 200)

    @get("/live", tags=["operations"], sync_to_thread=False)
    def live() -> Liveness:
        """Say that the process runs."""
        return Liveness("alive")

    @get("/ready", tags=["operations"], sync_to_thread=False)
    def ready() -> Liveness:
        """Say whether the process takes requests: 503 until it does, and again while it stops."""
        if not config.health.ready:
            raise Unavailable("the process is starting or stopping", code="not_ready", retry_after_s=1)
        return Liveness("ready")

    @get("/time", tags=["operations"], sync_to_thread=False)
    def now() -> VenueTime:
        """Tell venue time and wall time."""
        return VenueTime(venue=format_time(config.clock.now_ns()), wall=format_time(config.wall_ns()))

    return [health, live, ready, now]
