import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from exchange_fake import TIME, FakeExchange
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from rich.console import Console
from typer.testing import Result

from fauxchange.cli.services import Changes, drawn

Run = Callable[..., Result]
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def entry(name: str, grpc_port: int, **other: Any) -> dict[str, Any]:
    return {
        "name": name,
        "instance": "host:1:abc",
        "version": "1.2.3",
        "host": "127.0.0.1",
        "http_port": 8083,
        "grpc_port": grpc_port,
        "registered_at": TIME,
        "heartbeat_at": TIME,
        "heartbeat_age_s": 4.25,
        "metadata": {},
        **other,
    }


@pytest.fixture
def health_port() -> Iterator[int]:
    """Return the port of a server on which market-data serves and the exchange does not."""
    servicer = health.HealthServicer()
    servicer.set("market-data", SERVING)
    servicer.set("exchange", NOT_SERVING)
    server = grpc.server(ThreadPoolExecutor(2))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait()


def test_each_service_is_asked_for_its_own_health(run: Run, exchange: FakeExchange, health_port: int) -> None:
    known = [
        entry("market-data-simulator", health_port),
        entry("exchange-simulator", health_port),
        entry("risk-monitor", 1),
    ]
    exchange.answers["GET /api/v1/services"] = (200, {"services": known})

    document = json.loads(run("services", "--once", "--json").stdout)
    text = run("services", "--once").stdout

    assert [each["health"] for each in document["services"]] == ["serving", "not serving", "no answer"]
    assert document["services"][0]["heartbeat_age_s"] == 4.25
    assert [
        "market-data-simulator",
        "host:1:abc",
        "1.2.3",
        "127.0.0.1",
        "8083",
        str(health_port),
        "4.2",
        "s",
        "serving",
    ] in [row.split() for row in text.splitlines()]


def test_a_service_that_has_gone_and_left_its_port_to_another_does_not_serve(
    run: Run, exchange: FakeExchange, health_port: int
) -> None:
    exchange.answers["GET /api/v1/services"] = (200, {"services": [entry("configuration-service", health_port)]})

    document = json.loads(run("services", "--once", "--json").stdout)

    assert document["services"][0]["health"] == "not serving"


def test_an_empty_registry_is_no_error(run: Run, exchange: FakeExchange) -> None:
    exchange.answers["GET /api/v1/services"] = (200, {"services": []})

    result = run("services", "--once")

    assert result.exit_code == 0
    assert "no service is registered" in result.stdout


def test_without_a_server_or_a_registry_it_says_what_to_do(run: Run) -> None:
    result = run("services", "--once")

    assert result.exit_code == 1
    assert "fauxchange up" in result.stderr


def test_a_registry_that_is_away_is_named(run: Run) -> None:
    result = run("services", "--once", env={"REDIS_URL": "redis://127.0.0.1:1/0"})

    assert result.exit_code == 1
    assert "127.0.0.1:1" in result.stderr
    assert "REDIS_URL" in result.stderr


def test_lines_tell_what_came_changed_and_went_and_nothing_else() -> None:
    told: list[str] = []
    changes = Changes(told.append)
    here = {**entry("market-data-simulator", 9093), "health": "serving"}

    changes([here])
    changes([{**here, "heartbeat_age_s": 5.0}])
    changes([{**here, "health": "no answer"}])
    changes([])
    changes([])

    assert [text.split()[-1] for text in told] == ["serving", "answer", "gone"]


def test_what_does_not_answer_stands_out() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=120, force_terminal=True)

    console.print(drawn([{**entry("market-data-simulator", 9093), "health": "no answer"}], "asking"))

    text = screen.getvalue()
    assert "\x1b[1;31mno answer" in text
    assert "asking" in text
