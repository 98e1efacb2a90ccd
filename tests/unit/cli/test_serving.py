import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import Result

from fauxchange.cli import serving
from fauxchange.cli.progress import PROGRESS_AFTER_S
from fauxchange.cli.serving import ReadingProgress
from fauxchange.venue.plan import Addresses

Run = Callable[..., Result]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Catch the settings that a command would start with, and what it gives as defaults."""
    caught: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def start(
        options: dict[str, Any], defaults: dict[str, Any] | None = None, *, services: tuple[str, ...] | None = None
    ) -> int:
        options.pop("config")
        caught.append((serving._overrides(options), defaults or {}))
        assert services == (None if defaults is None else ("market-data",))
        return 0

    monkeypatch.setattr(serving, "_run", start)
    return caught


def test_options_that_are_not_given_override_nothing(run: Run, given: list[Any]) -> None:
    run("up")

    assert given == [({}, {})]


def test_options_become_the_settings_they_are_named_after(run: Run, given: list[Any]) -> None:
    result = run(
        "up", "--http-port", "0", "--audit-port", "8200", "--symbols", "BTC-USD,ETH-USD", "--interval", "100ms",
        "--replay", "a,b.csv", "--replay", "ETH/USDT=c.csv", "--replay-loop", "--speed", "max", "--store", "memory",
        "--host", "0.0.0.0", "--replay-start", "2025-05-05", "--replay-end", "2025-05-06", "--replay-ticks", "corners",
    )  # fmt: skip

    [(overrides, _)] = given
    assert result.exit_code == 0
    assert overrides == {
        "http_port": 0,
        "audit_port": 8200,
        "default_symbols": "BTC-USD,ETH-USD",
        "price_update_interval": "100ms",
        "replay": ["a,b.csv", "ETH/USDT=c.csv"],
        "replay_loop": True,
        "replay_start": "2025-05-05",
        "replay_end": "2025-05-06",
        "replay_ticks": "corners",
        "speed": "max",
        "store": "memory",
        "http_host": "0.0.0.0",
        "grpc_host": "0.0.0.0",
    }


def test_a_service_alone_has_its_own_name_ports_folder_and_namespaces_by_default(run: Run, given: list[Any]) -> None:
    run("serve", "market-data")

    assert given == [
        (
            {},
            {
                "SERVICE_NAME": "market-data-simulator",
                "HTTP_PORT": 8083,
                "GRPC_PORT": 9093,
                "DATA_DIR": ".fauxchange/market-data",
                "CACHE_NAMESPACE": "market_data",
                "SERVICE_DISCOVERY_NAMESPACE": "market_data",
            },
        )
    ]


def test_an_exchange_alone_takes_no_virtual_clock(run: Run, tmp_path: Path) -> None:
    result = run("serve", "exchange", "--speed", "2", "--data-dir", str(tmp_path))

    assert result.exit_code == 2
    assert "runs on wall time" in " ".join(result.stderr.split())


def test_a_service_that_does_not_exist_is_refused_with_those_that_do(run: Run) -> None:
    result = run("serve", "markt-data")

    assert result.exit_code == 2
    assert "did you mean" in result.stderr
    assert "market-data" in result.stderr


def test_all_bad_settings_are_named_before_anything_starts(run: Run) -> None:
    result = run("up", "--speed", "fast", "--start-time", "noon", "--interval", "0s")

    assert result.exit_code == 2
    for name in ("SPEED='fast'", "START_TIME='noon'", "PRICE_UPDATE_INTERVAL='0s'"):
        assert name in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [["--http-port", "70000"], ["--log-level", "loud"], ["--sed", "1"]])
def test_wrong_usage_ends_with_2(run: Run, arguments: list[str]) -> None:
    assert run("up", *arguments).exit_code == 2


def test_a_missing_configuration_file_is_named(run: Run) -> None:
    result = run("up", "--config", "nowhere.yaml")

    assert result.exit_code == 2
    assert "nowhere.yaml cannot be read" in result.stderr


def progress_on(screen: io.StringIO, monkeypatch: pytest.MonkeyPatch, moments_s: list[float]) -> ReadingProgress:
    console = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr(serving, "messages", lambda: console)
    return ReadingProgress(shown=True, now_s=iter(moments_s).__next__)


def test_a_file_read_in_a_moment_shows_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()

    with progress_on(screen, monkeypatch, [0.0, PROGRESS_AFTER_S / 2]) as progress:
        progress(Path("quotes.csv.gz"), 10, 100)
        progress(Path("quotes.csv.gz"), 100, 100)

    assert not screen.getvalue()


def test_a_file_that_takes_long_shows_its_name_and_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()

    with progress_on(screen, monkeypatch, [0.0, 1.0]) as progress:
        progress(Path("quotes.csv.gz"), 10, 100)
        progress(Path("quotes.csv.gz"), 50, 100)

    assert "quotes.csv.gz" in screen.getvalue()
    assert "50/100 bytes" in screen.getvalue()


@pytest.mark.parametrize(
    ("service", "there", "absent"),
    [
        ("market-data", ["/api/v1/prices", "market-data/ws", "fauxchange prices"], ["/orders", "fauxchange order"]),
        ("exchange", ["/api/v1/orders", "exchange/ws", "fauxchange book"], ["/prices", "scenario start"]),
        ("configuration", ["/api/v1/health", "fauxchange services"], ["Streams", "/orders", "/prices"]),
    ],
)
def test_the_welcome_of_a_service_names_what_it_has(
    service: str, there: list[str], absent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(serving, "messages", lambda: Console(file=screen, width=200))
    addresses = Addresses(
        http="http://127.0.0.1:1",
        grpc="127.0.0.1:2",
        audit=None,
        ready_file=Path("data/ready.json"),
        services=(service,),
    )

    serving._welcome(addresses)

    shown = screen.getvalue()
    assert [text for text in there if text not in shown] == []
    assert [text for text in absent if text in shown] == []


def test_the_welcome_names_every_address_and_what_to_try_next(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(serving, "messages", lambda: Console(file=screen, width=120))
    addresses = Addresses(
        http="http://127.0.0.1:8080", grpc="127.0.0.1:9080", audit=None, ready_file=Path("/data/ready.json")
    )

    serving._welcome(addresses)

    told = screen.getvalue()
    for text in (
        "http://127.0.0.1:8080/api/v1/prices",
        "ws://127.0.0.1:8080/api/v1/market-data/ws",
        "127.0.0.1:9080",
        "http://127.0.0.1:8080/metrics",
        "fauxchange prices --data-dir /data",
    ):
        assert text in told
