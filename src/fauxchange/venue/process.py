"""One process of the venue: its stores, its clock, its services, its listeners, from start to a graceful stop.

`up` runs every service there is in one process; `serve` runs one. Both are this module: which services there are, and
what each is given, is said by `plan` and `composition`.
"""

import fcntl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import uvloop

from fauxchange.data.ports import DataAdapter
from fauxchange.domain.errors import ConfigurationError
from fauxchange.domain.times import format_time
from fauxchange.platform.clock import VirtualClock, WallClock
from fauxchange.platform.discovery import instance_name
from fauxchange.platform.garbage import settle_garbage_collector
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.http.app import AuditAppConfig, create_audit_app
from fauxchange.platform.http.server import HttpServer
from fauxchange.platform.lifecycle import BackgroundComponent, Component, Supervisor
from fauxchange.platform.listening import Listener
from fauxchange.platform.logging import register_secret
from fauxchange.platform.metrics import EventLoopLag, PrometheusMetrics
from fauxchange.platform.ready import remove_ready
from fauxchange.platform.rpc.server import GrpcLimits, GrpcServer
from fauxchange.services.configuration.app import Configuration
from fauxchange.services.exchange.app.wiring import NAME as EXCHANGE
from fauxchange.services.exchange.app.wiring import Exchange
from fauxchange.services.exchange.rpc.kernel_link import LINK_SERVICE_NAME
from fauxchange.services.exchange.service.links import MAX_BATCH_BYTES
from fauxchange.services.market_data.app import MarketData, stored_venue_ns
from fauxchange.venue.clock_routes import clock_routes
from fauxchange.venue.composition import Composition, Service
from fauxchange.venue.keys import Keys
from fauxchange.venue.listeners import PublicListeners, listener_stop_s, public_listeners
from fauxchange.venue.plan import Addresses, Plan
from fauxchange.venue.services import SERVICES
from fauxchange.venue.stores import open_stores

LOCK_FILE = "lock"
SWITCH_INTERVAL_S = 0.000_5
"""How long the event loop may keep the interpreter lock from a thread that waits for it: those that write market data's
history and the configuration's. At the default of 5 ms a commit beside a busy loop took up to 1.7 s."""


class Process:
    """A process of the venue, run once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.settings = plan.settings
        self.supervisor = Supervisor(stop_timeout_ns=plan.settings.shutdown_timeout_ns)
        self.clock: WallClock | VirtualClock = _clock(plan)
        self.health = HealthRegistry()
        self.keys = Keys(plan.settings)
        self.addresses: Addresses | None = None
        self.composition: Composition | None = None
        self.before_ready: list[Callable[[], None]] = []
        """What is done when everything has started, just before the process says that it is ready."""

    @property
    def configuration(self) -> Configuration | None:
        """The configuration service, where it is part of this process."""
        return None if self.composition is None else self.composition.configuration

    @property
    def market_data(self) -> MarketData | None:
        """Market data, where it is part of this process."""
        return None if self.composition is None else self.composition.market_data

    @property
    def exchange(self) -> Exchange | None:
        """The exchange, where it is part of this process."""
        return None if self.composition is None else self.composition.exchange

    @property
    def admin_key(self) -> str | None:
        """The administrators' key, where a service of this process asks for it."""
        return self.keys.used.get("admin_key")

    async def run(self, *, handle_signals: bool = True) -> int:
        """Run until told to stop; return the exit code. Raises: ConfigurationError, Unavailable."""
        settings = self.settings
        with data_folder(settings.data_dir):
            instance = instance_name()
            metrics = PrometheusMetrics(settings.service_name, instance, settings.service_version)
            data = await open_stores(settings, metrics=metrics, own_processes=self.plan.exchange is not None)
            try:
                for component in await self._components(data, metrics, instance):
                    self.supervisor.add(component)
                return await self.supervisor.run(handle_signals=handle_signals)
            finally:
                await data.disconnect()

    async def _components(self, data: DataAdapter, metrics: PrometheusMetrics, instance: str) -> list[Component]:
        settings = self.settings
        await self._go_on_in_time(data)
        composition = self.composition = Composition(
            self.plan,
            data=data,
            clock=self.clock,
            metrics=metrics,
            health=self.health,
            supervisor=self.supervisor,
            keys=self.keys,
        )
        await composition.build()
        listeners = public_listeners(
            settings,
            handlers=[route for service in composition.services for route in service.rest_routes],
            endpoints=[service.endpoint for service in composition.streaming],
            clock=self.clock,
            health=self.health,
            metrics=metrics,
            registry=data.discovery,
        )
        for service in composition.services:
            listeners.grpc.add(*service.grpc_service, health_name=service.name)
        stop_s = listener_stop_s(settings)
        audit = self._audit_server(composition.services, metrics, stop_s)
        registered = [SERVICES[service.name].registered_name for service in composition.services]
        clock = self.clock
        driver = [BackgroundComponent("clock", clock.drive, self.supervisor)] if isinstance(clock, VirtualClock) else []
        return [
            EventLoopLag(metrics),
            *composition.components,
            listeners.http,
            listeners.grpc,
            *self._kernel_listener(metrics, stop_s),
            *([audit] if audit is not None else []),
            *(listeners.registration(name, instance) for name in registered),
            _Announcement(self, listeners, audit),
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
        feed = self.plan.feed
        told = self.settings.start_time_ns is not None or (feed is not None and bool(feed.sources.recordings))
        if told and stored_ns > clock.now_ns():
            raise ConfigurationError(
                f"data folder {self.settings.data_dir} holds a run up to {format_time(stored_ns)}, and this one would "
                f"start at {format_time(clock.now_ns())}; use --data-dir for another folder, or --store memory",
                field="DATA_DIR",
            )
        await clock.run_until(max(clock.now_ns(), stored_ns))

    def _kernel_listener(self, metrics: PrometheusMetrics, stop_s: float) -> list[Component]:
        """Return the listener for gateways, if there is one."""
        settings, links = self.settings, None if self.exchange is None else self.exchange.links
        if links is None:
            return []
        server = GrpcServer(
            "kernel",
            Listener(host=settings.kernel_host, port=settings.kernel_port, setting="KERNEL_PORT"),
            metrics=metrics,
            health=self.health,
            limits=GrpcLimits(max_request_bytes=MAX_BATCH_BYTES, max_response_bytes=MAX_BATCH_BYTES),
            stop_timeout_s=stop_s,
        )
        server.add(LINK_SERVICE_NAME, links.handler(), health_name=EXCHANGE)
        return [server]

    def _audit_server(
        self, services: Sequence[Service], metrics: PrometheusMetrics, stop_s: float
    ) -> HttpServer | None:
        settings = self.settings
        if not settings.audit_enabled:
            return None
        app = create_audit_app(
            AuditAppConfig(
                title="Fauxchange audit and scenarios",
                version=settings.service_version,
                metrics=metrics,
                key=self.keys.audit,
                handlers=[
                    *(route for service in services for route in service.audit_routes),
                    *clock_routes(self.clock),
                ],
            )
        )
        listener = Listener(host=settings.audit_host, port=settings.audit_port, setting="AUDIT_PORT")
        return HttpServer("audit", app, listener, metrics=metrics, stop_timeout_s=stop_s)


@dataclass(slots=True)
class _Announcement:
    """The last to start and the first to stop: the process is ready, and says where."""

    process: Process
    listeners: PublicListeners
    audit: HttpServer | None
    name: str = field(default="announcement", init=False)

    async def start(self) -> None:
        process = self.process
        for action in process.before_ready:
            action()
        audit_url = None if self.audit is None else self.audit.url
        secrets: dict[str, Any] = {**process.keys.used}
        demo = None if process.exchange is None else process.exchange.demo
        if demo is not None:
            register_secret(demo.api_secret)
            secrets["demo"] = {
                "account_id": demo.account_id,
                "api_key": demo.api_key,
                "api_secret": demo.api_secret,
            }
        venue_time = format_time(process.clock.now_ns())
        path = self.listeners.announce(audit=audit_url, secrets=secrets, venue_time=venue_time)
        process.addresses = Addresses(
            http=self.listeners.http.url,
            grpc=self.listeners.grpc.target,
            audit=audit_url,
            ready_file=path,
            services=process.plan.services,
            new_demo=demo if demo is not None and demo.is_new else None,
        )
        process.health.set_ready(True)
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


def _clock(plan: Plan) -> WallClock | VirtualClock:
    settings = plan.settings
    if not settings.virtual_time:
        return WallClock()
    start_ns = settings.start_time_ns
    if start_ns is None and plan.feed is not None:
        # A replay at a speed of its own is told in its own time.
        start_ns = plan.feed.sources.first_recorded_ns
    return VirtualClock(time.time_ns() if start_ns is None else start_ns, settings.speed)
