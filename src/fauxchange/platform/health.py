"""Health: what each service of this process leans on, how it is, and whether the process is ready.

Checks are looked at when someone asks (`report`, `refresh`); listeners hear of a change then, at once. A service is
`down` only if something it cannot do without is down; anything else that is not well makes it `degraded`.
"""

from collections.abc import Callable, Iterable, Mapping

import msgspec
import structlog

from fauxchange.domain.errors import check
from fauxchange.platform.ports import DependencyHealth, DependencyStatus, HealthCheck

Listener = Callable[[], None]

_SEVERITY = {DependencyStatus.OK: 0, DependencyStatus.DEGRADED: 1, DependencyStatus.DOWN: 2}
_log = structlog.get_logger(__name__)


class DependencyReport(msgspec.Struct, frozen=True):
    """One dependency's state and, where it is not well, why."""

    status: DependencyStatus
    detail: str


class ServiceReport(msgspec.Struct, frozen=True):
    """One service's state and that of each thing it leans on."""

    status: DependencyStatus
    dependencies: dict[str, DependencyReport]


class HealthReport(msgspec.Struct, frozen=True):
    """The state of the process: that of its worst service."""

    status: DependencyStatus
    services: dict[str, ServiceReport]


class HealthRegistry:
    """The services of one process and their dependencies, by name."""

    def __init__(self) -> None:
        self._services: dict[str, dict[str, HealthCheck]] = {}
        self._listeners: list[Listener] = []
        self._ready = False
        self._seen: dict[str, DependencyStatus] = {}

    @property
    def ready(self) -> bool:
        """Whether the process has started and takes requests."""
        return self._ready

    def add_service(self, name: str, dependencies: Mapping[str, HealthCheck] | None = None) -> None:
        """Add a service with what it leans on."""
        check(name not in self._services, f"service {name} is in the health registry already")
        self._services[name] = dict(dependencies or {})
        self.refresh()

    def add_dependency(self, service: str, name: str, health_check: HealthCheck) -> None:
        """Add something that a service leans on."""
        check(name not in self._services[service], f"{service} has a dependency {name} already")
        self._services[service][name] = health_check
        self.refresh()

    def set_ready(self, ready: bool) -> None:
        """Say whether the process takes requests."""
        if ready != self._ready:
            self._ready = ready
            self._notify()

    def report(self) -> HealthReport:
        """Look at every dependency and return the state of all services."""
        services = {name: _service_report(checks) for name, checks in self._services.items()}
        self._note({name: service.status for name, service in services.items()})
        return HealthReport(status=_worst(service.status for service in services.values()), services=services)

    def refresh(self) -> None:
        """Look at every dependency, so that listeners hear of what changed since the last look."""
        self.report()

    def serving(self) -> dict[str, bool]:
        """Return, for each service, whether it takes requests and can do its job; looks at every dependency."""
        report = self.report()
        return {
            name: self._ready and service.status is not DependencyStatus.DOWN
            for name, service in report.services.items()
        }

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after every change of a service's state or of readiness; return how to stop that.

        A listener may ask for a report; it must not wait.
        """
        self._listeners.append(listener)

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return stop

    def _note(self, statuses: dict[str, DependencyStatus]) -> None:
        if statuses == self._seen:
            return
        before, self._seen = self._seen, statuses
        for name, status in statuses.items():
            if before.get(name, DependencyStatus.OK) is not status:
                _log.warning("service health changed", subject=name, health=status.value)
        self._notify()

    def _notify(self) -> None:
        for listener in tuple(self._listeners):
            listener()


def _service_report(checks: Mapping[str, HealthCheck]) -> ServiceReport:
    states = {name: _look(name, health_check) for name, health_check in checks.items()}
    return ServiceReport(
        status=_worst(_effect(state) for state in states.values()),
        dependencies={name: DependencyReport(state.status, state.detail) for name, state in states.items()},
    )


def _look(name: str, health_check: HealthCheck) -> DependencyHealth:
    # A check that fails to look is bad news about its dependency, never about the probe that asked.
    try:
        return health_check()
    except Exception as exc:
        _log.exception("health check failed", dependency=name)
        return DependencyHealth(DependencyStatus.DOWN, f"the check itself failed: {type(exc).__name__}")


def _effect(state: DependencyHealth) -> DependencyStatus:
    if state.status is DependencyStatus.DOWN and not state.required:
        return DependencyStatus.DEGRADED
    return state.status


def _worst(statuses: Iterable[DependencyStatus]) -> DependencyStatus:
    return max(statuses, key=_SEVERITY.__getitem__, default=DependencyStatus.OK)
