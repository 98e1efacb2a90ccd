"""The plan's eight scenarios of metrics: what anybody who scrapes a service finds."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from fauxchange import __version__
from fauxchange.testing import StreamClient, running

SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')

Sample = tuple[str, dict[str, str], float]


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        running(
            tmp_path,
            {"START_TIME": "2026-01-01T00:00:00Z", "MODEL_ENGINE": "python"},
            services=("market-data",),
            paused=True,
        ) as venue,
        httpx.AsyncClient(base_url=venue.venue.http) as client,
    ):
        yield client


async def _samples(http: httpx.AsyncClient) -> list[Sample]:
    samples = []
    for line in (await http.get("/metrics")).text.splitlines():
        if line and not line.startswith("#"):
            match = SAMPLE.match(line)
            assert match is not None, line
            samples.append((match["name"], dict(LABEL.findall(match["labels"] or "")), float(match["value"])))
    return samples


async def _count(http: httpx.AsyncClient, metric: str, **labels: str) -> float:
    return sum(
        value for name, found, value in await _samples(http) if name == metric and labels.items() <= found.items()
    )


async def test_metrics_are_exposed_through_the_port(http: httpx.AsyncClient) -> None:
    # Given a running service, when its metrics are asked for on its HTTP port
    answer = await http.get("/metrics")

    # Then they are there, RED metrics among them
    assert answer.status_code == 200
    for name in ("http_requests_total", "http_request_duration_seconds", "http_request_errors_total"):
        assert f"# TYPE {name}" in answer.text


async def test_metrics_are_plain_text(http: httpx.AsyncClient) -> None:
    # Given a running service, when its metrics are asked for
    answer = await http.get("/metrics")

    # Then the content type is the one of the text format
    assert answer.headers["content-type"].startswith("text/plain")
    assert "version=0.0.4" in answer.headers["content-type"]


async def test_runtime_metrics_are_present(http: httpx.AsyncClient) -> None:
    # Given a running service, when its metrics are asked for
    values = {name: value for name, _, value in await _samples(http)}

    # Then the process itself is measured
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_threads", "asyncio_tasks"):
        assert values[name] > 0, name
    assert "python_gc_collections_total" in values


async def test_every_metric_carries_the_constant_labels(http: httpx.AsyncClient) -> None:
    # Given a running service that has answered requests
    await http.get("/api/v1/prices")

    # When its metrics are asked for
    samples = await _samples(http)

    # Then every sample says which service, instance and version it is of
    assert len(samples) > 50
    assert {labels.get("service") for _, labels, _ in samples} == {"fauxchange"}
    assert {labels.get("version") for _, labels, _ in samples} == {__version__}
    assert len({labels.get("instance") for _, labels, _ in samples}) == 1
    assert all(labels.get("instance") for _, labels, _ in samples)


async def test_successful_requests_are_instrumented(http: httpx.AsyncClient) -> None:
    # Given a running service
    labels = {"method": "GET", "route": "/api/v1/prices", "code": "200"}
    before = await _count(http, "http_requests_total", **labels)

    # When three requests succeed
    for _ in range(3):
        await http.get("/api/v1/prices")

    # Then they are counted and timed, and no error is counted
    assert await _count(http, "http_requests_total", **labels) == before + 3
    assert await _count(http, "http_request_duration_seconds_count", **labels) == before + 3
    assert await _count(http, "http_request_duration_seconds_sum", **labels) > 0
    assert await _count(http, "http_request_errors_total", **labels) == 0


async def test_errors_are_counted(http: httpx.AsyncClient) -> None:
    # Given a running service, when a caller errs
    await http.get("/api/v1/prices/XYZ-USD")
    await http.get("/api/v1/candles/BTC-USD", params={"interval": "2m"})

    # Then each error is counted under its status
    assert await _count(http, "http_request_errors_total", code="404") == 1
    assert await _count(http, "http_request_errors_total", code="400") == 1


async def test_server_errors_are_counted(tmp_path: Path) -> None:
    # Given a service that is not ready any more
    async with (
        running(
            tmp_path,
            {"START_TIME": "2026-01-01T00:00:00Z", "MODEL_ENGINE": "python"},
            services=("market-data",),
            paused=True,
        ) as venue,
        httpx.AsyncClient(base_url=venue.venue.http) as http,
    ):
        venue.process.health.set_ready(False)

        # When it is asked whether it is ready
        answer = await http.get("/api/v1/ready")

        # Then the 503 is an error too
        assert answer.status_code == 503
        assert await _count(http, "http_request_errors_total", code="503", route="/api/v1/ready") == 1


async def test_the_route_pattern_is_the_label_not_the_path(http: httpx.AsyncClient) -> None:
    # Given a running service, when prices of different symbols are asked for, known or not
    for symbol in ("BTC-USD", "ETH-USD", "btc-usd", "XYZ-USD"):
        await http.get(f"/api/v1/prices/{symbol}")

    # Then one route has them all
    routes = {labels["route"] for name, labels, _ in await _samples(http) if name == "http_requests_total"}
    assert {route for route in routes if "prices" in route} == {"/api/v1/prices/{symbol}"}


async def test_unknown_routes_do_not_multiply_metrics(http: httpx.AsyncClient) -> None:
    # Given a running service that has been asked for everything once
    await http.get("/nowhere")
    await http.get("/metrics")
    series = len(await _samples(http))

    # When many paths that do not exist are asked for, with methods that do not exist
    for number in range(50):
        await http.get(f"/nowhere/{number}")
        await http.get(f"/api/v1/rumours/{number}?x={number}")

    # Then they are one unknown route
    assert await _count(http, "http_requests_total", route="unknown", code="404") == 101
    assert len(await _samples(http)) == series


async def test_the_feed_is_measured(tmp_path: Path) -> None:
    # Given a service with a reader of one symbol
    async with (
        running(
            tmp_path,
            {"START_TIME": "2026-01-01T00:00:00Z", "MODEL_ENGINE": "python"},
            services=("market-data",),
            paused=True,
        ) as venue,
        httpx.AsyncClient(base_url=venue.venue.http) as http,
        StreamClient.connect(venue.venue.websocket) as client,
    ):
        await client.subscribe("prices", "BTC-USD")
        await client.ask("subscribe", channel="prices", symbol="XYZ-USD")
        await client.subscribe("candles:1m", "ETH-USD")

        # When ten steps are made and read
        await venue.clock.step(10_000_000_000)
        await client.take(11, "prices", "BTC/USD")

        # Then what was made, delivered and subscribed is told by symbol, and of no symbol that there is not
        async with asyncio.timeout(5):
            # Subscriptions are counted once a second.
            while await _count(http, "feed_subscribers", symbol="BTC/USD") != 1:  # noqa: ASYNC110 - over the network there is no event
                await asyncio.sleep(0.05)
        samples = await _samples(http)
        by_symbol = {
            (name, labels["symbol"]): value
            for name, labels, value in samples
            if name.startswith("feed_") and "symbol" in labels
        }
        assert by_symbol["feed_ticks_generated_total", "BTC/USD"] == 11
        assert by_symbol["feed_ticks_delivered_total", "BTC/USD"] == 10
        assert by_symbol["feed_subscribers", "BTC/USD"] == 1
        assert by_symbol["feed_subscribers", "ETH/USD"] == 0
        assert {symbol for _, symbol in by_symbol} == {"BTC/USD", "ETH/USD", "ADA/USD", "SOL/USD", "DOT/USD"}
        values = {name: value for name, _, value in samples}
        assert values["feed_generation_lag_seconds_count"] == 11
        assert values["feed_delivery_latency_seconds_count"] == 11
        assert values["stream_subscribers"] >= 0
        text = (await http.get("/metrics")).text
        for name in ("feed_gaps_total", "feed_ticks_dropped_total"):
            assert f"# TYPE {name} counter" in text
