"""The metrics adapters: Prometheus for the venue, nothing for tests and benchmarks.

A `PrometheusMetrics` owns its registry, one per process. The constant labels service, instance and version are set
in one place, where metrics are exposed, so that no metric (those of the runtime included) can be without them.
"""

import asyncio
import math
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import prometheus_client
import structlog
from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fauxchange.domain.errors import InvariantViolation, check
from fauxchange.platform.ports import Counter, Gauge, Histogram, MetricsPort

RED_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

CONSTANT_LABELS = ("service", "instance", "version")

_log = structlog.get_logger(__name__)


class _Family:
    """One metric; its series are kept by label values, so that counting costs one look-up."""

    def __init__(self, metric: Any, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._metric = metric
        self._series: dict[tuple[str, ...], Any] = {} if labels else {(): metric}

    def series(self, values: tuple[str, ...]) -> Any:
        """Return the series with these label values."""
        try:
            return self._series[values]
        except KeyError:
            check(len(values) == len(self.labels), f"the labels are {self.labels}, the values {values}")
            return self._series.setdefault(values, self._metric.labels(*values))

    def forget(self, values: tuple[str, ...]) -> None:
        """Expose the series with these label values no more."""
        if self._series.pop(values, None) is not None:
            self._metric.remove(*values)


class _Counter(_Family):
    def inc(self, amount: float = 1.0, /, *labels: str) -> None:
        self.series(labels).inc(amount)


class _Gauge(_Family):
    def set(self, value: float, /, *labels: str) -> None:
        self.series(labels).set(value)

    def remove(self, *labels: str) -> None:
        self.forget(labels)


class _Histogram(_Family):
    def observe(self, value: float, /, *labels: str) -> None:
        self.series(labels).observe(value)


Family = TypeVar("Family", bound=_Family)


class _WithConstantLabels(Collector):
    """A registry as it is exposed: the constant labels added to every sample."""

    def __init__(self, registry: CollectorRegistry, labels: dict[str, str]) -> None:
        self._registry = registry
        self._labels = labels

    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            labelled = Metric(metric.name, metric.documentation, metric.type, metric.unit)
            # Creation times double the text and tell nothing that a counter's reset does not.
            labelled.samples = [
                sample._replace(labels={**sample.labels, **self._labels})
                for sample in metric.samples
                if not sample.name.endswith("_created")
            ]
            yield labelled


class PrometheusMetrics:
    """Implement `MetricsPort` on a Prometheus registry of its own."""

    def __init__(self, service: str, instance: str, version: str) -> None:
        self._registry = CollectorRegistry(auto_describe=True)
        self._families: dict[str, _Family] = {}
        constant = dict(zip(CONSTANT_LABELS, (service, instance, version), strict=True))
        self._exposed = _WithConstantLabels(self._registry, constant)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self.gauge_function("process_threads", "Threads of the process, native ones included", _process_threads)
        self.gauge_function("python_threads", "Threads that Python knows", threading.active_count)
        self.gauge_function("asyncio_tasks", "Tasks of the event loop that have not ended", _asyncio_tasks)

    def counter(self, name: str, description: str, labels: Sequence[str] = ()) -> Counter:
        """Return the counter `name` (which ends in `_total`)."""
        check(name.endswith("_total"), f"the name of a counter ends in _total, unlike {name}")
        return self._family(
            _Counter,
            name,
            labels,
            lambda: prometheus_client.Counter(name, description, labels, registry=self._registry),
        )

    def gauge(self, name: str, description: str, labels: Sequence[str] = ()) -> Gauge:
        """Return the gauge `name`."""
        return self._family(
            _Gauge,
            name,
            labels,
            lambda: prometheus_client.Gauge(name, description, labels, registry=self._registry),
        )

    def gauge_function(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Register a gauge without labels that is read when metrics are exposed."""
        check(name not in self._families, f"metric {name} is registered already")
        gauge = prometheus_client.Gauge(name, description, registry=self._registry)
        gauge.set_function(_never_raising(name, read))
        self._families[name] = _Gauge(gauge, ())

    def histogram(
        self, name: str, description: str, labels: Sequence[str] = (), *, buckets: Sequence[float] | None = None
    ) -> Histogram:
        """Return the histogram `name`, with the RED buckets unless others are given."""
        bounds = tuple(buckets or RED_BUCKETS_S)
        return self._family(
            _Histogram,
            name,
            labels,
            lambda: prometheus_client.Histogram(name, description, labels, registry=self._registry, buckets=bounds),
        )

    def expose(self) -> tuple[bytes, str]:
        """Return all metrics as text, and their content type."""
        return generate_latest(self._exposed), CONTENT_TYPE_PLAIN_0_0_4

    def _family(self, kind: type[Family], name: str, labels: Sequence[str], make: Callable[[], Any]) -> Family:
        family = self._families.get(name)
        if family is None:
            check(not set(labels) & set(CONSTANT_LABELS), f"{CONSTANT_LABELS} are set by the adapter, not by {name}")
            family = self._families[name] = kind(make(), labels)
        if isinstance(family, kind) and family.labels == tuple(labels):
            return family
        raise InvariantViolation(f"metric {name} is registered as another kind or with the labels {family.labels}")


class NullMetrics:
    """Implement `MetricsPort` by forgetting everything: for tests and benchmarks."""

    def counter(self, name: str, description: str, labels: Sequence[str] = ()) -> Counter:  # noqa: ARG002 - it forgets its arguments
        """Return a counter that counts nothing."""
        return _NULL

    def gauge(self, name: str, description: str, labels: Sequence[str] = ()) -> Gauge:  # noqa: ARG002 - it forgets its arguments
        """Return a gauge that shows nothing."""
        return _NULL

    def gauge_function(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Forget the function."""

    def histogram(
        self,
        name: str,  # noqa: ARG002 - it forgets its arguments
        description: str,  # noqa: ARG002
        labels: Sequence[str] = (),  # noqa: ARG002
        *,
        buckets: Sequence[float] | None = None,  # noqa: ARG002
    ) -> Histogram:
        """Return a histogram that observes nothing."""
        return _NULL

    def expose(self) -> tuple[bytes, str]:
        """Return no metrics."""
        return b"", CONTENT_TYPE_PLAIN_0_0_4


class _Null:
    def inc(self, amount: float = 1.0, /, *labels: str) -> None:
        pass

    def set(self, value: float, /, *labels: str) -> None:
        pass

    def remove(self, *labels: str) -> None:
        pass

    def observe(self, value: float, /, *labels: str) -> None:
        pass


_NULL = _Null()


class RedMetrics:
    """Rate, errors and duration of one kind of request: `<prefix>_requests_total` and its companions."""

    def __init__(self, metrics: MetricsPort, prefix: str, labels: Sequence[str]) -> None:
        kind = prefix.upper() if prefix == "http" else prefix.replace("grpc", "gRPC").replace("_", " ")
        self._requests = metrics.counter(f"{prefix}_requests_total", f"{kind} requests answered", labels)
        self._errors = metrics.counter(f"{prefix}_request_errors_total", f"{kind} requests that failed", labels)
        self._durations = metrics.histogram(
            f"{prefix}_request_duration_seconds", f"Seconds from {kind} request to the end of its answer", labels
        )

    def record(self, duration_s: float, *labels: str, failed: bool) -> None:
        """Count one request that has ended."""
        self._requests.inc(1.0, *labels)
        self._durations.observe(duration_s, *labels)
        if failed:
            self._errors.inc(1.0, *labels)


class EventLoopLag:
    """Measure how late the event loop runs what is due, four times a second, while it is started."""

    name = "event-loop-lag"

    def __init__(self, metrics: MetricsPort, *, interval_s: float = 0.25) -> None:
        self._lag = metrics.histogram(
            "asyncio_event_loop_lag_seconds", "Seconds by which a timer of the loop was late", buckets=LAG_BUCKETS_S
        )
        self._interval_s = interval_s
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Begin to measure."""
        self._arm(asyncio.get_running_loop())

    async def stop(self) -> None:
        """End measuring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_at(loop.time() + self._interval_s, self._measure, loop, loop.time() + self._interval_s)

    def _measure(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        self._lag.observe(max(0.0, loop.time() - due_s))
        self._arm(loop)


def _never_raising(name: str, read: Callable[[], float]) -> Callable[[], float]:
    def read_or_nan() -> float:
        try:
            return float(read())
        except Exception:
            # One broken gauge must not take all other metrics with it.
            _log.exception("metric cannot be read", metric=name)
            return math.nan

    return read_or_nan


def _process_threads() -> float:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:  # not Linux
        return threading.active_count()


def _asyncio_tasks() -> float:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # asked from outside of the loop
        return 0
    return len(asyncio.all_tasks(loop))
