"""The command line against a real server in a process of its own, and how a server that cannot start says so."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from fauxchange.testing import VenueProcess, started
from fauxchange.testing.processes import clean_environment

Completed = subprocess.CompletedProcess[str]
Run = Callable[..., Completed]

COMMAND = [sys.executable, "-m", "fauxchange.cli"]
TIMEOUT_S = 60.0
QUICK = {"MODEL_ENGINE": "python", "PRICE_UPDATE_INTERVAL": "50ms"}
FREE_PORTS = ["--http-port", "0", "--grpc-port", "0", "--audit-port", "0"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VenueProcess]:
    with started(tmp_path_factory.mktemp("server"), QUICK) as process:
        yield process


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs a command to its end, in a folder and an environment without settings."""

    def run_command(*arguments: str | Path, **settings: str) -> Completed:
        return subprocess.run(
            [*COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            env=clean_environment(settings),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    return run_command


@pytest.fixture
def at(server: VenueProcess) -> list[str]:
    """Return the option that names the running server."""
    return ["--data-dir", str(server.data_dir)]


def assert_refused(done: Completed, *words: str, code: int = 2) -> None:
    told = done.stderr.splitlines()[-1] if done.stderr else ""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for word in ("error:", *words):
        assert word in told


def test_prices_once_prints_every_symbol_as_one_document(run: Run, at: list[str]) -> None:
    done = run("prices", "--once", "--json", *at)

    prices = json.loads(done.stdout)["prices"]
    assert done.returncode == 0, done.stderr
    assert [price["symbol"] for price in prices] == ["BTC/USD", "ETH/USD", "ADA/USD", "SOL/USD", "DOT/USD"]
    assert all(Decimal(price["bid"]) < Decimal(price["ask"]) for price in prices)


def test_prices_once_prints_the_symbols_named_through_an_address(run: Run, server: VenueProcess) -> None:
    done = run("prices", "eth-usd", "--once", "--url", server.venue.http)

    assert done.returncode == 0, done.stderr
    assert "ETH/USD" in done.stdout
    assert "BTC/USD" not in done.stdout


@pytest.mark.parametrize("once", [["--once"], []])
def test_an_unknown_symbol_is_refused_with_the_servers_hint(run: Run, at: list[str], once: list[str]) -> None:
    assert_refused(run("prices", "BTC-UDS", *once, *at), "there is no symbol BTC/UDS", "did you mean BTC/USD?")


def test_prices_stream_without_a_gap_until_they_are_interrupted(at: list[str]) -> None:
    with subprocess.Popen(
        [*COMMAND, "prices", "BTC-USD", "--json", *at], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        sequences = [json.loads(process.stdout.readline())["sequence"] for _ in range(5)]
        process.send_signal(signal.SIGINT)
        code = process.wait(TIMEOUT_S)
        complaints = process.stderr.read()

    assert sequences == list(range(sequences[0], sequences[0] + 5))
    assert (code, complaints) == (130, "")


def test_a_reader_that_has_seen_enough_ends_the_stream_quietly(at: list[str]) -> None:
    with subprocess.Popen(
        [*COMMAND, "prices", *at], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        process.stdout.close()
        code = process.wait(TIMEOUT_S)
        complaints = process.stderr.read()

    assert "/USD" in first
    assert (code, complaints) == (0, "")


def test_a_scenario_is_started_listed_shown_and_stopped(run: Run, at: list[str]) -> None:
    asked = ["--id", "dip", "--symbols", "BTC-USD", "--magnitude", "5%", "--duration", "1h", "--option", "buildup=1m"]

    begun = run("scenario", "start", "crash", *asked, "--json", *at)
    listed = run("scenario", "list", "--json", *at)
    shown = run("scenario", "show", "dip", "--json", *at)
    stopped = run("scenario", "stop", "dip", "--json", *at)

    assert json.loads(begun.stdout)["scenarios"][0]["scenario_id"] == "dip", begun.stderr
    assert "dip" in [each["scenario_id"] for each in json.loads(listed.stdout)["scenarios"]]
    assert json.loads(shown.stdout)["specification"]["buildup"] == "1m"
    assert json.loads(stopped.stdout)["scenarios"][0]["status"] == "cancelled"
    assert_refused(run("scenario", "stop", "dip", *at), "dip is over")


def test_a_file_of_scenarios_is_started_and_all_are_stopped(run: Run, at: list[str]) -> None:
    file = Path(__file__).parents[2] / "scenarios/market/crash.yaml"

    begun = run("scenario", "run", file, *at)
    stopped = run("scenario", "stop", "--all", "--json", *at)

    ids = [each["scenario_id"] for each in json.loads(stopped.stdout)["scenarios"]]
    assert begun.returncode == 0, begun.stderr
    assert {"flash-crash", "recovery"} <= set(ids)


def test_watch_tells_of_a_scenario_as_it_begins(run: Run, at: list[str]) -> None:
    with subprocess.Popen([*COMMAND, "scenario", "watch", "--json", *at], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # The first one is there when `watch` begins, or comes after it: either way it says that `watch` reads.
        run("scenario", "start", "rally", "--id", "first", *at)
        first = json.loads(process.stdout.readline())
        run("scenario", "stop", "first", *at)
        events = []
        while not events or events[-1][:2] != ("first", "cancelled"):
            event = json.loads(process.stdout.readline())
            events.append((event["scenario"]["scenario_id"], event["event"]))
        process.send_signal(signal.SIGINT)
        code = process.wait(TIMEOUT_S)

    assert first["scenario"]["scenario_id"] == "first"
    assert first["event"] in {"present", "scheduled"}
    assert code == 130


def test_what_a_scenario_cannot_be_is_told_by_the_server(run: Run, at: list[str]) -> None:
    assert_refused(run("scenario", "start", "crash", "--option", "jump=3", *at), "did you mean jumps?")
    assert_refused(run("scenario", "start", "crash", "--symbols", "BTC-UDS", *at), "did you mean BTC/USD?")
    assert_refused(run("scenario", "show", "nothing", *at), "there is no scenario nothing")


def test_a_wrong_audit_key_is_refused(run: Run, at: list[str]) -> None:
    done = run("scenario", "list", "--audit-key", "not-the-key-of-this-server", *at)

    assert_refused(done, "credentials", "--audit-key")


def test_a_data_folder_without_a_server_is_told(run: Run, tmp_path: Path) -> None:
    assert_refused(run("prices", "--data-dir", tmp_path), "nothing is running", "fauxchange up", code=1)


def test_a_taken_port_is_named_with_what_to_do(run: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("up", *FREE_PORTS, "--http-port", str(port), "--data-dir", tmp_path / "data", **QUICK)

    assert_refused(done, f"port {port} on 127.0.0.1 is taken", "--http-port")


def test_a_data_folder_in_use_is_named_with_what_to_do(run: Run, at: list[str]) -> None:
    assert_refused(run("up", *FREE_PORTS, *at, **QUICK), "is in use by another process", "--data-dir")


def test_a_data_folder_that_cannot_be_written_is_named_with_what_to_do(run: Run, tmp_path: Path) -> None:
    # A file in its place stops every user, root included, whom permissions would not.
    (tmp_path / "file").touch()

    done = run("up", *FREE_PORTS, "--data-dir", tmp_path / "file" / "data", **QUICK)

    assert_refused(done, "cannot be written", "--data-dir")


def test_a_bad_recording_is_refused_by_line_before_anything_starts(run: Run, tmp_path: Path) -> None:
    recording = tmp_path / "btc_usdt_quotes.csv"
    recording.write_text("timestamp,bid,ask\n1723075200000,60000,60001\n1723075200100,sixty,60001\n")

    done = run("up", *FREE_PORTS, "--replay", recording, "--data-dir", tmp_path / "data", **QUICK)

    assert_refused(done, "btc_usdt_quotes.csv", "line 3")
    assert not (tmp_path / "data").exists()


def test_a_scenario_of_an_unknown_symbol_is_refused_before_anything_starts(run: Run, tmp_path: Path) -> None:
    scenarios = tmp_path / "crash.yaml"
    scenarios.write_text("scenarios:\n  - {kind: crash, symbols: [XRP-USD], magnitude: 5%, duration: 1m}\n")

    done = run("up", *FREE_PORTS, "--scenario", scenarios, "--data-dir", tmp_path / "data", **QUICK)

    assert_refused(done, "XRP/USD")
    assert not (tmp_path / "data").exists()


def test_a_service_alone_runs_until_it_is_told_to_stop(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "serve", "market-data", *FREE_PORTS, "--data-dir", str(tmp_path / "data"), "--symbols", "BTC-USD"],
        env=clean_environment(QUICK),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        lines = (json.loads(line) for line in process.stderr)
        ready = next(line for line in lines if line["event"] == "ready")
        process.terminate()
        code = process.wait(TIMEOUT_S)

    assert ready["service"] == "market-data-simulator"
    assert code == 0
