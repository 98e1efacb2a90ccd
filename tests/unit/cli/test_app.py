import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import get_args

import pytest
from typer.testing import Result

from fauxchange import __version__
from fauxchange.cli import benchmarks, scenarios, serving, streams
from fauxchange.platform.settings.declaring import DECLARED
from fauxchange.services.market_data import ws
from fauxchange.services.market_data.core.scenarios import ScenarioKind, Shape

Run = Callable[..., Result]

HEAVY = (
    "asyncio",
    "grpc",
    "httpx",
    "litestar",
    "msgspec",
    "numba",
    "numpy",
    "sqlalchemy",
    "structlog",
    "uvicorn",
    "websockets",
    "yaml",
)
QUICK_COMMANDS = (
    ["--help"],
    ["version"],
    ["up", "--help"],
    ["serve", "--help"],
    ["prices", "--help"],
    ["scenario", "start", "--help"],
    ["bench", "--help"],
    ["config", "--help"],
    ["config", "set", "--help"],
)


def test_help_and_version_import_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from fauxchange.cli.app import app\n"
        f"for arguments in {QUICK_COMMANDS!r}:\n"
        "    app(arguments, prog_name='fauxchange', standalone_mode=False)\n"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_version_names_what_a_bug_report_needs(run: Run) -> None:
    told, document = run("version"), json.loads(run("version", "--json").stdout)

    assert told.stdout.startswith(f"fauxchange {__version__} (Python 3.")
    assert document["version"] == __version__
    assert set(document) == {"version", "python", "platform"}


def test_version_is_an_option_too(run: Run) -> None:
    result = run("--version")

    assert result.exit_code == 0
    assert result.stdout.startswith(f"fauxchange {__version__}")


def test_a_mistyped_command_is_answered_with_a_suggestion(run: Run) -> None:
    result = run("prcies")

    assert result.exit_code == 2
    assert "Did you mean 'prices'?" in result.stderr


@pytest.mark.parametrize("command", [["up"], ["serve"], ["prices"], ["scenario", "start"], ["bench"]])
def test_every_help_shows_examples(run: Run, command: list[str]) -> None:
    result = run(*command, "--help", env={"COLUMNS": "200"})

    lines = [line.strip() for line in result.stdout.partition("Examples")[2].splitlines()]
    assert result.exit_code == 0
    assert [line for line in lines if line.startswith(f"fauxchange {' '.join(command)}")]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("fauxchange scenario start ", {"rally", "crash", "divergence", "reverting"}),
        ("fauxchange serve ", {"market-data", "exchange", "configuration", "exchange-gateway", "market-data-gateway"}),
        ("fauxchange up --interval 1", {"10ms", "100ms", "1s", "1m", "15m", "1h", "1d"}),
        ("fauxchange bench h", {"history"}),
    ],
)
def test_completion_offers_kinds_services_and_intervals(run: Run, words: str, expected: set[str]) -> None:
    result = run(
        env={"_FAUXCHANGE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    )

    assert set(result.stdout.split()) == expected


def test_words_repeated_here_for_quick_help_are_those_of_the_code() -> None:
    shape = inspect.signature(scenarios.start).parameters["shape"].annotation

    assert get_args(scenarios.Kind) == tuple(ScenarioKind)
    assert set(get_args(get_args(get_args(shape)[0])[0])) == set(Shape)
    assert streams.STREAM_PATH == ws.PATH
    assert get_args(benchmarks.Name) == (*benchmarks.NAMES, *benchmarks.OF_FILES, "all")
    for alias, setting in (
        (serving.LogLevel, "LOG_LEVEL"),
        (serving.LogFormat, "LOG_FORMAT"),
        (serving.Store, "STORE"),
    ):
        assert "|".join(get_args(get_args(get_args(alias)[0])[0])) == DECLARED[setting].unit


@pytest.mark.parametrize("command", [serving.up, serving.serve])
def test_every_option_of_a_server_is_a_setting(command: Callable[..., None]) -> None:
    parameters = set(inspect.signature(command).parameters) - {"service", "host", "config"}

    assert {name.upper() for name in parameters} <= set(DECLARED)


@pytest.mark.parametrize("arguments", [["config", "--json"], ["config"]])
def test_a_reader_that_goes_away_ends_a_command_quietly(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        [sys.executable, "-m", "fauxchange.cli", *arguments],
        check=False,
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=30,
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (0, b"")


def test_a_bug_ends_with_its_trace_and_where_to_report_it() -> None:
    program = (
        "import sys\n"
        "from fauxchange.cli import __main__ as entry\n"
        "from fauxchange.domain.errors import InvariantViolation\n"
        "def broken(**options):\n"
        "    raise InvariantViolation('a crossed book')\n"
        "entry.app = broken\n"
        "entry.main()\n"
    )

    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=30)

    assert done.returncode == 1
    assert "InvariantViolation: a crossed book" in done.stderr
    assert "open an issue" in done.stderr
