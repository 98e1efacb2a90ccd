import pytest
from structlog.testing import capture_logs

from fauxchange.domain.errors import InvariantViolation
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.ports import DependencyHealth, DependencyStatus


@pytest.fixture
def captured_log():
    with capture_logs() as log:
        yield log


OK, DEGRADED, DOWN = DependencyStatus.OK, DependencyStatus.DEGRADED, DependencyStatus.DOWN


class Store:
    """A dependency whose state the test sets."""

    def __init__(self, status=OK, *, required=False):
        self.state = DependencyHealth(status, "", required)

    def __call__(self):
        return self.state


def _registry(**dependencies):
    registry = HealthRegistry()
    registry.add_service("market-data", dependencies)
    return registry


def test_a_process_without_services_is_well():
    assert HealthRegistry().report().status is OK


@pytest.mark.parametrize(
    ("status", "required", "expected"),
    [
        (OK, True, OK),
        (DEGRADED, True, DEGRADED),
        (DOWN, True, DOWN),
        (OK, False, OK),
        (DEGRADED, False, DEGRADED),
        (DOWN, False, DEGRADED),
    ],
)
def test_a_service_is_down_only_if_something_it_needs_is_down(status, required, expected):
    report = _registry(store=Store(status, required=required)).report()

    assert report.services["market-data"].status is expected
    assert report.services["market-data"].dependencies["store"].status is status


def test_the_process_is_as_well_as_its_worst_service():
    registry = _registry(store=Store())
    registry.add_service("exchange", {"journal": Store(DOWN, required=True)})

    report = registry.report()

    assert report.status is DOWN
    assert report.services["market-data"].status is OK


def test_a_check_that_fails_counts_as_down_and_does_not_fail_the_report(captured_log):
    def broken():
        raise OSError("secret path")

    report = _registry(store=broken).report()

    dependency = report.services["market-data"].dependencies["store"]
    assert (dependency.status, dependency.detail) == (DOWN, "the check itself failed: OSError")
    assert captured_log[0]["log_level"] == "error"


def test_a_service_serves_when_the_process_is_ready_and_it_is_not_down():
    store = Store(DEGRADED, required=True)
    registry = _registry(store=store)

    before = registry.serving()
    registry.set_ready(True)
    degraded = registry.serving()
    store.state = DependencyHealth(DOWN, "gone", required=True)

    assert (before, degraded, registry.serving()) == (
        {"market-data": False},
        {"market-data": True},
        {"market-data": False},
    )


def test_listeners_hear_of_each_change_once():
    store = Store()
    registry = _registry(store=store)
    heard = []
    registry.listen(lambda: heard.append(registry.ready))

    registry.refresh()
    registry.set_ready(True)
    registry.set_ready(True)
    store.state = DependencyHealth(DOWN)
    registry.refresh()
    registry.report()

    assert heard == [True, True]


def test_a_listener_that_has_stopped_hears_nothing():
    registry = _registry()
    heard = []
    stop = registry.listen(lambda: heard.append(1))

    stop()
    stop()
    registry.set_ready(True)

    assert heard == []


def test_a_change_is_logged_with_the_service_it_happened_to(captured_log):
    store = Store()
    registry = _registry(store=store)

    store.state = DependencyHealth(DOWN)
    registry.refresh()

    assert [(entry["subject"], entry["health"]) for entry in captured_log] == [("market-data", "degraded")]


def test_a_name_is_given_once():
    registry = _registry(store=Store())

    with pytest.raises(InvariantViolation):
        registry.add_service("market-data")
    with pytest.raises(InvariantViolation):
        registry.add_dependency("market-data", "store", Store())
