import asyncio
import math

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from fauxchange.domain.errors import InvariantViolation
from fauxchange.platform.metrics import RED_BUCKETS_S, EventLoopLag, NullMetrics, PrometheusMetrics, RedMetrics


@pytest.fixture
def captured_log():
    with capture_logs() as log:
        yield log


CONSTANT = {"service": "fauxchange", "instance": "i-1", "version": "1.2.3"}


@pytest.fixture
def metrics():
    return PrometheusMetrics("fauxchange", "i-1", "1.2.3")


def _samples(metrics):
    text, _ = metrics.expose()
    return [sample for family in text_string_to_metric_families(text.decode()) for sample in family.samples]


def _value(metrics, name, **labels):
    found = [
        sample.value for sample in _samples(metrics) if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, f"{name} {labels}: {found}"
    return found[0]


def test_the_text_is_plain_text_of_prometheus(metrics):
    text, content_type = metrics.expose()

    assert content_type.startswith("text/plain; version=0.0.4")
    assert text.startswith(b"# HELP ")


def test_every_metric_carries_the_constant_labels(metrics):
    metrics.counter("seen_total", "Seen", ("symbol",)).inc(1, "BTC/USD")
    metrics.gauge("open_things", "Open").set(3)
    metrics.histogram("wait_seconds", "Waited").observe(0.1)

    samples = _samples(metrics)

    assert {"seen_total", "open_things", "wait_seconds_bucket", "process_cpu_seconds_total"} <= {
        s.name for s in samples
    }
    assert [sample for sample in samples if not sample.labels.items() >= CONSTANT.items()] == []


@pytest.mark.parametrize(
    "name",
    [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_threads",
        "python_threads",
        "asyncio_tasks",
        "python_info",
    ],
)
def test_the_runtime_is_measured(metrics, name):
    assert _value(metrics, name) >= 0


def test_garbage_collection_is_measured_by_generation(metrics):
    generations = {s.labels["generation"] for s in _samples(metrics) if s.name == "python_gc_collections_total"}

    assert generations == {"0", "1", "2"}


async def test_tasks_of_the_running_loop_are_counted(metrics):
    sleeper = asyncio.create_task(asyncio.Event().wait())

    counted = _value(metrics, "asyncio_tasks")
    sleeper.cancel()

    assert counted == len(asyncio.all_tasks())


def test_series_are_kept_apart_by_label_values(metrics):
    counter = metrics.counter("seen_total", "Seen", ("symbol", "kind"))

    counter.inc(1, "BTC/USD", "trade")
    counter.inc(2, "BTC/USD", "trade")
    counter.inc(1, "ETH/USD", "trade")

    assert _value(metrics, "seen_total", symbol="BTC/USD") == 3
    assert _value(metrics, "seen_total", symbol="ETH/USD") == 1


def test_asking_twice_gives_the_same_metric(metrics):
    metrics.counter("seen_total", "Seen").inc()
    metrics.counter("seen_total", "Seen").inc()

    assert _value(metrics, "seen_total") == 2


def test_asking_with_other_labels_or_for_another_kind_is_a_bug(metrics):
    metrics.gauge("open_things", "Open", ("symbol",))

    with pytest.raises(InvariantViolation):
        metrics.gauge("open_things", "Open", ("kind",))
    with pytest.raises(InvariantViolation):
        metrics.histogram("open_things", "Open", ("symbol",))


def test_a_label_too_few_is_a_bug(metrics):
    counter = metrics.counter("seen_total", "Seen", ("symbol",))

    with pytest.raises(InvariantViolation):
        counter.inc(1)


def test_constant_labels_and_counter_names_are_guarded(metrics):
    with pytest.raises(InvariantViolation):
        metrics.counter("seen_total", "Seen", ("service",))
    with pytest.raises(InvariantViolation):
        metrics.counter("seen", "Seen")


def test_a_histogram_has_the_red_buckets_unless_told_otherwise(metrics):
    metrics.histogram("wait_seconds", "Waited").observe(0.02)
    metrics.histogram("size_bytes", "Size", buckets=(1, 10)).observe(5)

    bounds = {s.name: [] for s in _samples(metrics) if s.name.endswith("_bucket")}
    for sample in _samples(metrics):
        if sample.name.endswith("_bucket"):
            bounds[sample.name].append(float(sample.labels["le"]))

    assert bounds == {"wait_seconds_bucket": [*RED_BUCKETS_S, math.inf], "size_bytes_bucket": [1, 10, math.inf]}


def test_a_gauge_function_is_read_when_exposed(metrics):
    values = [1.0]
    metrics.gauge_function("depth", "Depth", lambda: values[0])

    values[0] = 7.0

    assert _value(metrics, "depth") == 7.0


def test_a_gauge_function_that_fails_spoils_no_other_metric(metrics, captured_log):
    metrics.gauge_function("depth", "Depth", lambda: 1 / 0)

    assert math.isnan(_value(metrics, "depth"))
    assert _value(metrics, "python_threads") >= 1
    assert {entry["metric"] for entry in captured_log} == {"depth"}


def test_two_adapters_share_nothing(metrics):
    other = PrometheusMetrics("other", "i-2", "1")

    metrics.counter("seen_total", "Seen").inc()

    assert not [sample for sample in _samples(other) if sample.name == "seen_total"]


def test_creation_times_are_not_exposed(metrics):
    metrics.counter("seen_total", "Seen").inc()

    assert not [sample for sample in _samples(metrics) if sample.name.endswith("_created")]


def test_red_metrics_count_requests_errors_and_durations(metrics):
    red = RedMetrics(metrics, "http", ("method",))

    red.record(0.03, "GET", failed=False)
    red.record(3.0, "GET", failed=True)

    assert _value(metrics, "http_requests_total", method="GET") == 2
    assert _value(metrics, "http_request_errors_total", method="GET") == 1
    assert _value(metrics, "http_request_duration_seconds_bucket", method="GET", le="0.05") == 1
    assert _value(metrics, "http_request_duration_seconds_sum", method="GET") == pytest.approx(3.03)


async def test_the_lag_of_the_event_loop_is_observed_while_measured(metrics):
    lag = EventLoopLag(metrics, interval_s=0.0)

    await lag.start()
    for _ in range(5):
        await asyncio.sleep(0)
    await lag.stop()
    measured = _value(metrics, "asyncio_event_loop_lag_seconds_count")
    await asyncio.sleep(0)

    assert measured > 0
    assert _value(metrics, "asyncio_event_loop_lag_seconds_count") == measured


def test_null_metrics_take_everything_and_show_nothing():
    metrics = NullMetrics()

    metrics.counter("seen_total", "Seen", ("symbol",)).inc(1, "BTC/USD")
    metrics.gauge("open_things", "Open").set(1)
    metrics.histogram("wait_seconds", "Waited").observe(1)
    metrics.gauge_function("depth", "Depth", lambda: 1)

    assert metrics.expose()[0] == b""
