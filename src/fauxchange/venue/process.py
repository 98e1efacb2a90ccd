"""One process of the venue: its stores, its clock, its services, its listeners, from start to a graceful stop.

`up` runs every service there is in one process; `serve` runs one. Both are this module: which services are built, and
under which name and ports, is the only difference.
"""

import fcntl
import gc
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

import structlog
import uvloop

from fauxchange.data.adapter import open_data_adapter
from fauxchange.data.ports import DataAdapter
from fauxchange.domain.errors import ConfigurationError
from fauxchange.domain.times import NS_PER_S, format_time
from fauxchange.platform.clock import VirtualClock, WallClock
from fauxchange.platform.credentials import SecretBox
from fauxchange.platform.discovery import Registration
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.http.app import AuditAppConfig, HttpAppConfig, create_audit_app, create_http_app
from fauxchange.platform.http.server import HttpServer
from fauxchange.platform.keys import load_or_create_key
from fauxchange.platform.lifecycle import BackgroundComponent, Component, Supervisor
from fauxchange.platform.listening import Listener
from fauxchange.platform.logging import register_secret
from fauxchange.platform.metrics import EventLoopLag, PrometheusMetrics
from fauxchange.platform.ports import ServiceInstance
from fauxchange.platform.ready import Ready, remove_ready, write_ready
from fauxchange.platform.rpc.server import GrpcServer
from fauxchange.platform.settings import Settings
from fauxchange.platform.streams.endpoint import StreamMetrics
from fauxchange.platform.streams.websocket import websocket_factory
from fauxchange.services.exchange.app.config import ExchangeConfig
from fauxchange.services.exchange.app.config import read_config as read_exchange_config
from fauxchange.services.exchange.app.wiring import DemoCredentials, Exchange
from fauxchange.services.exchange.service.recovery import Progress as Recovering
from fauxchange.services.market_data.app import (
    MarketData,
    MarketDataConfig,
    Sources,
    build_market_data,
    check_scenarios,
    read_config,
    read_scenario_file,
    read_sources,
    stored_venue_ns,
)
from fauxchange.services.market_data.app.sources import Progress, served
from fauxchange.services.market_data.core.scenarios import ScenarioSpec
from fauxchange.services.market_data.ports import PriceSource
from fauxchange.venue.clock_routes import clock_routes
from fauxchange.venue.prices import EmbeddedPrices
from fauxchange.venue.services import SERVICES

DATABASE = "fauxchange.sqlite"
AUDIT_KEY_FILE = "audit.key"
ADMIN_KEY_FILE = "admin.key"
CREDENTIALS_KEY_FILE = "credentials.key"
LOCK_FILE = "lock"
LISTENER_SHARE = 0.4
"""Share of the time for a graceful stop that requests in flight may take on each listener."""

SWITCH_INTERVAL_S = 0.000_5
"""How long the event loop may keep the interpreter lock from a thread that waits for it: the journal's thread needs it
twice for each commit, and at the default of 5 ms a commit beside a busy loop took up to 1.7 s."""

GC_THRESHOLDS = (50_000, 20, 50)
"""Collections as seldom as suits a process that makes thousands of short-lived objects a second, none in cycles."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A process that can start: settings checked, files read."""

    settings: Settings
    market_data: MarketDataConfig
    sources: Sources
    exchange: ExchangeConfig | None = None
    scenarios: tuple[ScenarioSpec, ...] = ()
    extra_sources: tuple[PriceSource, ...] = ()
    announce: Callable[["Addresses"], None] | None = None
    recovering: Recovering | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a running process can be reached; `new_demo` is the demo account if it was made just now."""

    http: str
    grpc: str
    audit: str | None
    ready_file: Path
    new_demo: DemoCredentials | None = None


def prepare(
    settings: Settings,
    *,
    progress: Progress | None = None,
    services: Sequence[str] = tuple(SERVICES),
    extra_sources: Sequence[PriceSource] = (),
    announce: Callable[[Addresses], None] | None = None,
    recovering: Recovering | None = None,
) -> Plan:
    """Read and check everything that a process is started from; `recovering` is told how far a recovery is.

    Raises: ConfigurationError that names what is bad; nothing has started then
    """
    config = read_config(settings)
    sources = read_sources(config, progress)
    scenarios = () if config.scenario_file is None else read_scenario_file(config.scenario_file)
    check_scenarios(scenarios, sources)
    given = [source.instruments for source in extra_sources]
    priced = served([sources.instruments, *given], config.symbols)
    return Plan(
        settings=settings,
        market_data=config,
        sources=sources,
        exchange=read_exchange_config(settings, priced) if "exchange" in services else None,
        scenarios=scenarios,
        extra_sources=tuple(extra_sources),
        announce=announce,
        recovering=recovering,
    )


class Process:
    """A process of the venue, run once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.settings = plan.settings
        self.supervisor = Supervisor(stop_timeout_ns=plan.settings.shutdown_timeout_ns)
        self.clock: WallClock | VirtualClock = _clock(plan)
        self.health = HealthRegistry()
        self.addresses: Addresses | None = None
        self.market_data: MarketData | None = None
        self.exchange: Exchange | None = None
        self.audit_key: str | None = None
        self.admin_key: str | None = None
        self.before_ready: list[Callable[[], None]] = []
        """What is done when everything has started, just before the process says that it is ready."""

    async def run(self, *, handle_signals: bool = True) -> int:
        """Run until told to stop; return the exit code. Raises: ConfigurationError, Unavailable."""
        settings = self.settings
        with data_folder(settings.data_dir):
            data = await open_data_adapter(
                settings.data_dir / DATABASE if settings.store == "sqlite" else None,
                cache_namespace=settings.cache_namespace,
                cache_ttl_s=settings.cache_ttl_ns / NS_PER_S,
                service_ttl_s=settings.service_ttl_ns / NS_PER_S,
            )
            try:
                for component in await self._components(data):
                    self.supervisor.add(component)
                return await self.supervisor.run(handle_signals=handle_signals)
            finally:
                await data.disconnect()

    async def _components(self, data: DataAdapter) -> list[Component]:
        settings, plan = self.settings, self.plan
        instance = f"{socket.gethostname()}:{os.getpid()}"
        await self._go_on_in_time(data)
        metrics = PrometheusMetrics(settings.service_name, instance, settings.service_version)
        stream_metrics = StreamMetrics(metrics)
        market_data = await build_market_data(
            plan.market_data,
            plan.sources,
            data=data,
            clock=self.clock,
            wall_ns=time.time_ns,
            metrics=metrics,
            supervisor=self.supervisor,
            scenarios=plan.scenarios,
            extra_sources=plan.extra_sources,
            stream_metrics=stream_metrics,
        )
        self.market_data = market_data
        market_data.add_health(self.health)
        exchange = self.exchange = self._exchange(market_data, data, metrics, stream_metrics)
        services: list[MarketData | Exchange] = [market_data, *([exchange] if exchange is not None else [])]
        stop_s = settings.shutdown_timeout_ns / NS_PER_S * LISTENER_SHARE
        http = HttpServer(
            "http",
            create_http_app(
                HttpAppConfig(
                    title="Fauxchange",
                    version=settings.service_version,
                    health=self.health,
                    metrics=metrics,
                    clock=self.clock,
                    handlers=[route for service in services for route in service.rest_routes],
                )
            ),
            Listener(host=settings.http_host, port=settings.http_port, setting="HTTP_PORT", option="--http-port"),
            metrics=metrics,
            ws=websocket_factory({service.endpoint.path: service.endpoint for service in services}),
            stop_timeout_s=stop_s,
        )
        grpc_server = GrpcServer(
            "grpc",
            Listener(host=settings.grpc_host, port=settings.grpc_port, setting="GRPC_PORT", option="--grpc-port"),
            metrics=metrics,
            health=self.health,
            stop_timeout_s=stop_s,
        )
        for service in services:
            grpc_server.add(*service.grpc_service, health_name=service.name)
        audit = self._audit_server(services, metrics, stop_s)
        registrations = [
            Registration(
                partial(self._instance, entry.registered_name, instance, http, grpc_server),
                data.discovery,
                interval_s=settings.heartbeat_interval_ns / NS_PER_S,
            )
            for entry in (SERVICES[service.name] for service in services)
        ]
        clock = self.clock
        driver = [BackgroundComponent("clock", clock.drive, self.supervisor)] if isinstance(clock, VirtualClock) else []
        return [
            EventLoopLag(metrics),
            *services,
            http,
            grpc_server,
            *([audit] if audit is not None else []),
            *registrations,
            _Announcement(self, http, grpc_server, audit),
            # Virtual time begins when everybody can be reached.
            *driver,
        ]

    async def _go_on_in_time(self, data: DataAdapter) -> None:
        """Let a virtual clock go on from the time that the last run on these stores had reached.

        Raises: ConfigurationError if it was told to start before that: the histories of two runs would be mixed
        """
        clock = self.clock
        if not isinstance(clock, VirtualClock):
            return
        stored_ns = await stored_venue_ns(data)
        told = self.settings.start_time_ns is not None or bool(self.plan.sources.recordings)
        if told and stored_ns > clock.now_ns():
            raise ConfigurationError(
                f"data folder {self.settings.data_dir} holds a run up to {format_time(stored_ns)}, and this one would "
                f"start at {format_time(clock.now_ns())}; use --data-dir for another folder, or --store memory",
                field="DATA_DIR",
            )
        await clock.run_until(max(clock.now_ns(), stored_ns))

    def _exchange(
        self, market_data: MarketData, data: DataAdapter, metrics: PrometheusMetrics, stream_metrics: StreamMetrics
    ) -> Exchange | None:
        config, settings = self.plan.exchange, self.settings
        if config is None:
            return None
        if settings.admin_key is not None:
            self.admin_key = settings.admin_key.get_secret_value()
        else:
            self.admin_key = load_or_create_key(settings.data_dir / ADMIN_KEY_FILE)
        register_secret(self.admin_key)
        exchange = Exchange(
            config,
            data=data,
            prices=EmbeddedPrices(market_data.service),
            clock=self.clock,
            wall_ns=time.time_ns,
            metrics=metrics,
            supervisor=self.supervisor,
            secrets=SecretBox.from_file(settings.data_dir / CREDENTIALS_KEY_FILE),
            admin_key=self.admin_key,
            stream_metrics=stream_metrics,
            progress=self.plan.recovering,
        )
        exchange.add_health(self.health)
        return exchange

    def _audit_server(
        self, services: Sequence[MarketData | Exchange], metrics: PrometheusMetrics, stop_s: float
    ) -> HttpServer | None:
        settings = self.settings
        if not settings.audit_enabled:
            return None
        if settings.audit_key is not None:
            self.audit_key = settings.audit_key.get_secret_value()
        else:
            self.audit_key = load_or_create_key(settings.data_dir / AUDIT_KEY_FILE)
        register_secret(self.audit_key)
        app = create_audit_app(
            AuditAppConfig(
                title="Fauxchange audit and scenarios",
                version=settings.service_version,
                metrics=metrics,
                key=self.audit_key,
                handlers=[
                    *(route for service in services for route in service.audit_routes),
                    *clock_routes(self.clock),
                ],
            )
        )
        listener = Listener(host=settings.audit_host, port=settings.audit_port, setting="AUDIT_PORT")
        return HttpServer("audit", app, listener, metrics=metrics, stop_timeout_s=stop_s)

    def _instance(self, name: str, instance: str, http: HttpServer, grpc_server: GrpcServer) -> ServiceInstance:
        now_ns = time.time_ns()
        return ServiceInstance(
            name=name,
            instance=instance,
            version=self.settings.service_version,
            host=http.address[0],
            http_port=http.address[1],
            grpc_port=grpc_server.address[1],
            registered_ns=now_ns,
            heartbeat_ns=now_ns,
            metadata={"namespace": self.settings.service_discovery_namespace},
        )


@dataclass(slots=True)
class _Announcement:
    """The last to start and the first to stop: the process is ready, and says where."""

    process: Process
    http: HttpServer
    grpc: GrpcServer
    audit: HttpServer | None
    name: str = field(default="announcement", init=False)

    async def start(self) -> None:
        process = self.process
        for action in process.before_ready:
            action()
        folder = process.settings.data_dir
        audit_url = None if self.audit is None else self.audit.url
        secrets: dict[str, Any] = {}
        if process.audit_key is not None:
            secrets["audit_key"] = process.audit_key
        if process.admin_key is not None:
            secrets["admin_key"] = process.admin_key
        demo = None if process.exchange is None else process.exchange.demo
        if demo is not None:
            register_secret(demo.api_secret)
            secrets["demo"] = {
                "account_id": demo.account_id,
                "api_key": demo.api_key,
                "api_secret": demo.api_secret,
            }
        path = write_ready(folder, Ready(http=self.http.url, grpc=self.grpc.target, audit=audit_url, secrets=secrets))
        process.addresses = Addresses(
            http=self.http.url,
            grpc=self.grpc.target,
            audit=audit_url,
            ready_file=path,
            new_demo=demo if demo is not None and demo.is_new else None,
        )
        process.health.set_ready(True)
        log.info(
            "ready",
            http=self.http.url,
            grpc=self.grpc.target,
            audit=audit_url,
            ready_file=str(path),
            venue_time=format_time(process.clock.now_ns()),
        )
        if process.plan.announce is not None:
            process.plan.announce(process.addresses)

    async def stop(self) -> None:
        self.process.health.set_ready(False)
        remove_ready(self.process.settings.data_dir)


@contextmanager
def data_folder(path: Path) -> Iterator[None]:
    """Hold the data folder for this process alone.

    Raises: ConfigurationError if it cannot be made or written, or another process holds it
    """
    lock: IO[str] | None = None
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (path / LOCK_FILE).open("a+", encoding="utf-8")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        if lock is not None:
            lock.close()
        raise ConfigurationError(
            f"data folder {path} is in use by another process; stop it, or use --data-dir or DATA_DIR for another",
            field="DATA_DIR",
        ) from exc
    except OSError as exc:
        raise ConfigurationError(
            f"data folder {path} cannot be written ({exc.strerror}); use --data-dir or DATA_DIR for another",
            field="DATA_DIR",
        ) from exc
    try:
        yield
    finally:
        lock.close()


def run_process(plan: Plan) -> int:
    """Run a process on an event loop of its own; return the exit code."""
    process = Process(plan)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    process.before_ready.append(settle_garbage_collector)
    return uvloop.run(process.run())


def settle_garbage_collector() -> None:
    """Leave what start-up has made out of every later collection.

    Most of it lives as long as the process, and going through it stops the event loop for about a tenth of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _clock(plan: Plan) -> WallClock | VirtualClock:
    settings = plan.settings
    if not settings.virtual_time:
        return WallClock()
    start_ns = settings.start_time_ns
    if start_ns is None:
        # A replay at a speed of its own is told in its own time.
        start_ns = plan.sources.first_recorded_ns
    return VirtualClock(time.time_ns() if start_ns is None else start_ns, settings.speed)
