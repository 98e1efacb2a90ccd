import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from fauxchange.cli import scenarios
from fauxchange.cli.scenarios import BAR_WIDTH, ROUTE, bar, events_of, line
from fauxchange.services.market_data.core.scenario_files import specs_from_mapping
from fauxchange.services.market_data.core.scenarios import Phase

Run = Callable[..., Result]
WORKED_EXAMPLES = sorted((Path(__file__).parents[3] / "scenarios/market").glob("*.yaml"))

SCENARIO = {
    "scenario_id": "crash-1",
    "kind": "crash",
    "symbols": ["BTC/USD", "ETH/USD"],
    "status": "active",
    "phase": "plunge",
    "start_time": "2026-01-31T12:00:00.000000Z",
    "end_time": "2026-01-31T13:00:00.000000Z",
    "magnitude": "0.2",
    "specification": {"id": "crash-1", "kind": "crash", "duration": "10m", "symbols": [], "jumps": 5},
}


class FakeApi:
    """Remembers what it is asked, and answers with the one scenario."""

    def __init__(self, *_: object) -> None:
        self.asked: list[tuple[str, str, Any]] = []

    def __call__(self, *_: object) -> "FakeApi":
        return self

    def __enter__(self) -> "FakeApi":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get(self, path: str) -> dict[str, Any]:
        return self._answer("GET", path)

    def post(self, path: str, body: Any) -> dict[str, Any]:
        return self._answer("POST", path, body)

    def delete(self, path: str) -> dict[str, Any]:
        return self._answer("DELETE", path)

    def _answer(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        self.asked.append((method, path, body))
        return {"scenarios": [SCENARIO]} if path == ROUTE else SCENARIO


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    fake = FakeApi()
    monkeypatch.setattr(scenarios, "Api", fake)
    monkeypatch.setattr(scenarios, "find_audit", lambda *_: None)
    return fake


def test_start_asks_for_a_crash_of_20_percent_in_10_minutes_by_default(run: Run, api: FakeApi) -> None:
    result = run("scenario", "start", "crash")

    body = {"kind": "crash", "magnitude": "20%", "duration": "10m", "start": "0s"}
    assert api.asked == [("POST", ROUTE, body)]
    assert "crash-1" in result.stdout
    assert "active, plunge" in result.stdout


def test_start_hands_over_everything_that_is_given_as_the_server_reads_it(run: Run, api: FakeApi) -> None:
    run(
        "scenario", "start", "divergence", "--symbols", "SOL-USD, btc-usd", "--magnitude", "0.12", "--duration", "1h",
        "--start", "5m", "--shape", "linear", "--id", "mine", "--option", "against=ADA-USD,DOT-USD",
        "--option", "rejoin=2h",
    )  # fmt: skip

    [(_, _, body)] = api.asked
    [spec] = specs_from_mapping(body)
    assert (spec.id, spec.symbols, spec.against) == ("mine", ("SOL/USD", "BTC/USD"), ("ADA/USD", "DOT/USD"))
    assert (spec.magnitude, spec.shape) == (0.12, "linear")


def test_a_reverting_scenario_keeps_the_magnitude_of_its_kind(run: Run, api: FakeApi) -> None:
    run("scenario", "start", "reverting")

    assert "magnitude" not in api.asked[0][2]


@pytest.mark.parametrize("option", ["buildup", "=5m", "buildup="])
def test_an_option_that_is_no_pair_is_refused(run: Run, api: FakeApi, option: str) -> None:
    result = run("scenario", "start", "crash", "--option", option)

    assert result.exit_code == 2
    assert "NAME=VALUE" in result.stderr
    assert not api.asked


def test_a_kind_that_does_not_exist_is_refused_with_those_that_do(run: Run, api: FakeApi) -> None:
    result = run("scenario", "start", "crsh")

    assert result.exit_code == 2
    assert "divergence" in result.stderr
    assert not api.asked


@pytest.mark.parametrize("file", WORKED_EXAMPLES, ids=lambda file: file.stem)
def test_run_sends_what_a_file_says(run: Run, api: FakeApi, file: Path) -> None:
    result = run("scenario", "run", file)

    [(_, _, body)] = api.asked
    assert result.exit_code == 0
    assert [spec.mapping() for spec in specs_from_mapping(body)] == body["scenarios"]


def test_list_and_show_and_stop_ask_for_what_they_say(run: Run, api: FakeApi) -> None:
    for arguments in (["list"], ["show", "crash-1"], ["stop", "crash-1"], ["stop", "--all"]):
        assert run("scenario", *arguments).exit_code == 0

    assert [(method, path) for method, path, _ in api.asked] == [
        ("GET", ROUTE),
        ("GET", f"{ROUTE}/crash-1"),
        ("DELETE", f"{ROUTE}/crash-1"),
        ("DELETE", ROUTE),
    ]


def test_json_is_the_servers_answer(run: Run, api: FakeApi) -> None:
    assert json.loads(run("scenario", "list", "--json").stdout) == {"scenarios": [SCENARIO]}
    assert json.loads(run("scenario", "stop", "crash-1", "--json").stdout) == {"scenarios": [SCENARIO]}
    assert json.loads(run("scenario", "show", "crash-1", "--json").stdout) == SCENARIO


@pytest.mark.parametrize("arguments", [[], ["crash-1", "--all"]])
def test_stop_wants_one_scenario_or_all(run: Run, api: FakeApi, arguments: list[str]) -> None:
    result = run("scenario", "stop", *arguments)

    assert result.exit_code == 2
    assert not api.asked


def test_check_prints_the_timeline_of_a_file(run: Run) -> None:
    crash = next(file for file in WORKED_EXAMPLES if file.stem == "crash")

    result = run("scenario", "check", crash)

    rows = [row.split() for row in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert ["plunge", "5m", "15m", "━━━━"] in rows
    assert rows[-1] == [str(crash), "is", "good"]


def test_check_prints_phases_as_json(run: Run) -> None:
    divergence = next(file for file in WORKED_EXAMPLES if file.stem == "divergence")

    [scenario] = json.loads(run("scenario", "check", divergence, "--json").stdout)["scenarios"]

    assert scenario["phases"] == [
        {"name": "apart", "from": "0s", "to": "1h"},
        {"name": "rejoin", "from": "1h", "to": "3h"},
    ]


def test_check_names_everything_that_is_wrong_with_its_line(run: Run, empty_folder: Path) -> None:
    file = empty_folder / "bad.yaml"
    file.write_text(
        "scenarios:\n  - kind: crsh\n    magnitude: 2\n    duration: 10m\n  - kind: rally\n    magnitude: 5%\n"
    )

    result = run("scenario", "check", file)

    assert result.exit_code == 2
    assert "line 2" in result.stderr
    assert "did you mean crash?" in result.stderr
    assert "duration: is missing" in result.stderr


def test_a_missing_file_is_named(run: Run) -> None:
    result = run("scenario", "check", "nowhere.yaml")

    assert result.exit_code == 2
    assert "nowhere.yaml cannot be read" in result.stderr


def test_an_event_is_a_line_and_a_snapshot_one_for_each_scenario() -> None:
    event = {"event": "phase", "timestamp": "2026-01-31T12:05:00.000000Z", "scenario": SCENARIO}

    told = [line(each) for data in (event, {"scenarios": [SCENARIO]}) for each in events_of(data)]

    assert told == [
        "2026-01-31T12:05:00.000000Z phase      crash-1 (crash) active, plunge: BTC/USD, ETH/USD",
        "2026-01-31T12:00:00.000000Z present    crash-1 (crash) active, plunge: BTC/USD, ETH/USD",
    ]


@pytest.mark.parametrize(
    ("start_ns", "end_ns", "expected"),
    [
        (0, 100, "━" * BAR_WIDTH),
        (50, 100, " " * (BAR_WIDTH // 2) + "━" * (BAR_WIDTH // 2)),
        (0, 1, "━"),
        (100, 100, " " * (BAR_WIDTH - 1) + "━"),
    ],
)
def test_a_phase_is_drawn_where_it_lies(start_ns: int, end_ns: int, expected: str) -> None:
    assert bar(Phase("plunge", start_ns, end_ns), 100) == expected


def test_picture_draws_a_kind_without_a_server(run: Run, tmp_path: Path) -> None:
    result = run("scenario", "picture", "crash", "--option", "buildup=5m", "--seed", "3")

    drawing = (tmp_path / "crash.svg").read_text()
    assert result.exit_code == 0
    assert result.stdout.strip() == "crash.svg: BTC/USD"
    assert "Crash of 20 % in 10m" in drawing
    assert "aftershock" in drawing


@pytest.mark.parametrize("file", WORKED_EXAMPLES, ids=lambda file: file.stem)
def test_picture_draws_every_worked_example(file: Path, run: Run, tmp_path: Path) -> None:
    result = run("scenario", "picture", file, "--out", "drawn.png")

    assert result.exit_code == 0
    assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("earthquake",), "'earthquake' is neither a kind (rally, crash, divergence, reverting) nor a file"),
        (("quake.yaml",), "scenario file quake.yaml cannot be read"),
        (("rally", "--symbols", "BTC-USD,ETH-USD,ADA-USD,SOL-USD,DOT-USD"), "at most 4 symbols, not 5"),
        (("rally", "--out", "rally.pdf"), "pictures are written as .svg or .png"),
        (("rally", "--magnitude", "5000%"), "magnitude"),
        (("rally", "--option", "jumps=3"), "a rally has no such option"),
        ((str(WORKED_EXAMPLES[0]), "--magnitude", "10%"), "belong to a KIND"),
        ((str(WORKED_EXAMPLES[0]), "--symbols", "DOT-USD"), "act on none of the symbols shown"),
        (("rally", "--symbols", "bitcoin"), "is not a symbol"),
    ],
)
def test_picture_refuses_what_cannot_be_drawn(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = run("scenario", "picture", *arguments)

    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []
