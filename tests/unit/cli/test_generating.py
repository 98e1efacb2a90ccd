import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import Result

from fauxchange.cli import generating
from fauxchange.cli.generating import GeneratingProgress
from fauxchange.cli.progress import PROGRESS_AFTER_S
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_S
from fauxchange.realism.generating import History
from fauxchange.realism.simulating import START_NS
from fauxchange.services.market_data.clients.recordings import read_recording
from fauxchange.services.market_data.core.parameters import default_table

Run = Callable[..., Result]

HOUR = ("--weeks", "0.006", "--step", "10s")
"""An hour, nearly: 60 minutes at 360 steps."""


def test_files_are_written_and_told_of(run: Run, tmp_path: Path) -> None:
    result = run("generate", "--out", "history", "--symbols", "btc-usd,ETH/USD", "--seed", "7", *HOUR)

    names = [f"{symbol}_usd_model_1m_seed7_2026-01-01.csv.gz" for symbol in ("btc", "eth")]
    assert result.exit_code == 0
    assert all(name in result.stdout for name in names)
    assert f"fauxchange up --replay BTC-USD=history/{names[0]}" in result.stderr
    assert sorted(path.name for path in (tmp_path / "history").iterdir()) == names
    assert [read_recording(tmp_path / "history" / name).instrument.symbol for name in names] == ["BTC/USD", "ETH/USD"]


def test_json_tells_how_the_files_can_be_made_again(run: Run) -> None:
    arguments = ("--symbols", "BTC-USD", "--start", "2025-03-01T06:00:00Z", "--interval", "5m", *HOUR)

    first = json.loads(run("generate", "--out", "one", *arguments, "--json").stdout)
    second = json.loads(run("generate", "--out", "two", *arguments, "--json").stdout)

    [file], [again] = first["files"], second["files"]
    assert {name: first[name] for name in ("seed", "start", "end", "step", "interval")} == {
        "seed": 1,
        "start": "2025-03-01T06:00:00.000000Z",
        "end": "2025-03-01T07:00:00.000000Z",
        "step": "10s",
        "interval": "5m",
    }
    assert (file["symbol"], file["rows"], file["first"]) == ("BTC/USD", 12, "2025-03-01T06:00:00.000000Z")
    assert file["file"] == "one/btc_usd_model_5m_seed1_2025-03-01t060000.csv.gz"
    assert file["sha256"] == again["sha256"]


def test_settings_shape_what_is_generated(run: Run, tmp_path: Path) -> None:
    settings = {
        "DEFAULT_SYMBOLS": "XRP/EUR",
        "INITIAL_PRICES": "XRP/EUR=2",
        "TICK_SIZES": "XRP/EUR=0.0005",
        "SEED": "9",
    }

    result = run("generate", "--out", "history", *HOUR, env=settings)

    [file] = (tmp_path / "history").iterdir()
    recorded = read_recording(file)
    assert result.exit_code == 0
    assert file.name == "xrp_eur_model_1m_seed9_2026-01-01.csv.gz"
    assert recorded.instrument.tick_size == Decimal("0.0001")
    assert not (recorded.rows[:, 1:5] % 5).any()
    assert 15_000 < recorded.rows[0, 1] < 25_000


def test_ticks_are_two_files_per_symbol(run: Run, tmp_path: Path) -> None:
    result = run("generate", "--out", "ticks", "--symbols", "BTC-USD", "--ticks", *HOUR, "--format", "parquet")

    assert result.exit_code == 0
    assert sorted(read_recording(path).kind.value for path in (tmp_path / "ticks").iterdir()) == ["quotes", "trades"]


def test_scenarios_of_a_file_are_placed_at_the_start(run: Run, tmp_path: Path) -> None:
    (tmp_path / "rally.yaml").write_text("scenarios:\n  - {kind: rally, magnitude: 50%, duration: 20m}\n")
    arguments = ("--symbols", "BTC-USD", *HOUR)

    run("generate", "--out", "plain", *arguments)
    run("generate", "--out", "bent", *arguments, "--scenario", "rally.yaml")

    plain, bent = (read_recording(next((tmp_path / name).iterdir())).rows[:, 4] for name in ("plain", "bent"))
    assert bent[-1] > 1.4 * plain[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--weeks", "0"), "above 0"),
        (("--weeks", "nan"), "above 0"),
        (("--weeks", "1e6"), "below 10000"),
        (("--weeks", "9999", "--start", "2190-01-01"), "2116"),
        (("--start", "1500-01-01"), "1970"),
        (("--interval", "soon"), "not a duration"),
        (("--interval", "5m", "--ticks"), "leave one of them out"),
        (("--interval", "0s"), "above 0"),
        (("--interval", "90s", "--step", "7s"), "not made of whole steps"),
        (("--interval", "500ms", "--step", "100ms"), "--ticks"),
        (("--step", "0.1ms", "--interval", "1s"), "1ms"),
        (("--start", "yesterday"), "is not a time"),
        (("--start", "2026-01-01T00:00:30Z"), "the one before began at 2026-01-01T00:00:00"),
        (("--symbols", "BTCUSD"), "DEFAULT_SYMBOLS"),
        (("--symbols", "BTC-USD,btc/usd"), "DEFAULT_SYMBOLS"),
        (("--seed", "-1"), "SEED"),
        (("--model", "nowhere.toml"), "nowhere.toml"),
        (("--scenario", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = run("generate", "--out", "history", *arguments)

    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "history").exists()


def test_a_scenario_of_a_symbol_that_is_not_generated_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "crash.yaml").write_text(
        "scenarios:\n  - {kind: crash, symbols: [ETH-USD], magnitude: 5%, duration: 1m}\n"
    )

    result = run("generate", "--out", "history", "--symbols", "BTC-USD", "--scenario", "crash.yaml", *HOUR)

    assert result.exit_code == 2
    assert "ETH/USD, which is not generated; those are BTC/USD" in result.stderr


def test_files_that_are_there_are_kept_without_force(run: Run) -> None:
    arguments = ("generate", "--out", "history", "--symbols", "BTC-USD", *HOUR)
    run(*arguments)

    again, forced = run(*arguments), run(*arguments, "--force")

    assert (again.exit_code, forced.exit_code) == (2, 0)
    assert "--force" in again.stderr


def test_progress_is_shown_where_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(
        instruments=(),
        table=default_table(),
        seed=1,
        start_ns=START_NS,
        end_ns=START_NS + NS_PER_MINUTE,
        step_ns=NS_PER_S,
        bar_ns=NS_PER_MINUTE,
        initial_prices={},
        spread_bps={},
    )
    screen = io.StringIO()
    monkeypatch.setattr(generating, "messages", lambda: Console(file=screen, force_terminal=True, width=80))
    times = iter([0.0, PROGRESS_AFTER_S, PROGRESS_AFTER_S])

    with GeneratingProgress(history, shown=True, now_s=lambda: next(times)) as progress:
        progress(0)
        progress(30)

    assert "Generating" in screen.getvalue()
