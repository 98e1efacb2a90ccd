import io
import json
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from calibration_kit import noise_bars
from rich.console import Console
from typer.testing import Result

from fauxchange.cli import calibration
from fauxchange.domain.times import NS_PER_HOUR, NS_PER_MINUTE, format_time
from fauxchange.realism.calibration import together
from fauxchange.services.market_data.core.model_files import read_model
from fauxchange.services.market_data.core.parameters import default_table

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _short_simulations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a few days where a user's calibration takes months: how good a fit is, other tests ask."""
    monkeypatch.setattr(together, "calibrate", partial(together.calibrate, simulated_days=3))


def write_bars(
    path: Path, *, bars: int = 2_000, interval_ns: int = NS_PER_MINUTE, seed: int = 1, cheaper: int = 0
) -> Path:
    """Write a random walk of prices around 100, or that many decimals below."""
    made = noise_bars(bars, interval_ns=interval_ns, seed=seed)
    assert made.volume is not None
    rows = [
        ",".join([format_time(int(open_ns)), *[f"{close / 10**cheaper:.{2 + cheaper}f}"] * 4, f"{volume:.3f}"])
        for open_ns, close, volume in zip(made.open_ns, made.close, made.volume, strict=True)
    ]
    path.write_text("\n".join(["time,open,high,low,close,volume", *rows]) + "\n")
    return path


def test_a_file_becomes_a_model_and_says_what_it_rests_on(run: Run, tmp_path: Path) -> None:
    write_bars(tmp_path / "btc_usdt_1m.csv")

    result = run("calibrate", "btc_usdt_1m.csv")

    model = read_model(tmp_path / "model.toml")
    assert result.exit_code == 0
    assert "BTC/USDT" in result.stdout
    assert "2,000 bars of 1m" in result.stdout
    assert "kept as shipped: 1.4 days are fewer than 7" in result.stdout
    assert "\n  fauxchange up --model model.toml\n" in result.stderr
    assert model.sections["BTC"].source["file"] == "btc_usdt_1m.csv"
    assert model.made_by["seed"] == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_cheap_coin_is_to_be_priced_on_its_own_tick(run: Run, tmp_path: Path) -> None:
    write_bars(tmp_path / "shib_usdt_1m.csv", cheaper=7)

    result = run("calibrate", "shib_usdt_1m.csv")

    assert result.exit_code == 0
    told = "TICK_SIZES=SHIB/USDT=0.000000001 fauxchange"
    assert f"{told} up --model model.toml --symbols SHIB-USDT\n" in result.stderr
    assert f"{told} similarity --model model.toml --real shib_usdt_1m.csv" in result.stderr
    refused = run("similarity", "--model", "model.toml", "--symbol", "SHIB-USDT", "--weeks", "1", "--seeds", "1")
    assert refused.exit_code == 2
    assert "SHIB/USDT begins at" in refused.stderr
    assert "TICK_SIZES=SHIB/USDT=1e-09" in refused.stderr


def test_what_to_try_next_is_a_command_that_works(run: Run, tmp_path: Path) -> None:
    write_bars(tmp_path / "my prices.csv")

    told = run("calibrate", "--symbol", "btc-usd", "my prices.csv").stderr
    line = next(line for line in told.splitlines() if " similarity " in line)
    tried = run(*shlex.split(line)[1:-2], "--weeks", "1", "--seeds", "1", "--step", "1m")

    assert line.endswith("--real 'BTC-USD=my prices.csv' --reference BTC --html report.html")
    assert tried.exit_code == 0


def test_the_same_file_and_seed_give_the_same_bytes(run: Run, tmp_path: Path) -> None:
    write_bars(tmp_path / "x.csv")

    documents = [
        json.loads(run("calibrate", "--symbol", "xyz-usd", "x.csv", "--out", out, "--json", "--seed", "7").stdout)
        for out in ("one.toml", "two.toml")
    ]

    assert (tmp_path / "one.toml").read_bytes() == (tmp_path / "two.toml").read_bytes()
    assert documents[0]["sha256"] == documents[1]["sha256"]
    assert list(documents[0]["symbols"]) == ["XYZ/USD"]
    assert documents[0]["symbols"]["XYZ/USD"]["section"] == "XYZ"
    assert documents[0]["correlations"] == {
        "fitted": False,
        "reason": "one symbol alone does not say how it moves with others",
    }


def test_several_files_are_tied_to_each_other(run: Run, tmp_path: Path) -> None:
    write_bars(tmp_path / "a.csv")
    write_bars(tmp_path / "b.csv", seed=2)

    result = run("calibrate", "BTC-USD=a.csv", "ETH-USD=b.csv", "--out", "two.toml")

    assert result.exit_code == 0
    assert "Simulated correlations are within" in result.stdout
    assert set(read_model(tmp_path / "two.toml").table.by_base) >= {"BTC", "ETH"}


def test_hourly_bars_are_fitted_as_far_as_they_go(run: Run, tmp_path: Path) -> None:
    write_bars(tmp_path / "btc_usd_1h.csv", bars=300, interval_ns=NS_PER_HOUR)

    result = run("calibrate", "btc_usd_1h.csv")

    assert result.exit_code == 0
    assert "bars of 1h are too long to see it" in result.stdout
    assert "fauxchange similarity" not in result.stderr


def test_a_model_that_is_there_is_kept_unless_it_is_said_otherwise(run: Run, tmp_path: Path) -> None:
    write_bars(tmp_path / "btc_usd.csv")
    (tmp_path / "model.toml").write_text("mine")

    refused = run("calibrate", "btc_usd.csv")

    assert (refused.exit_code, (tmp_path / "model.toml").read_text()) == (2, "mine")
    assert "--force" in refused.stderr
    assert run("calibrate", "btc_usd.csv", "--force").exit_code == 0
    assert read_model(tmp_path / "model.toml").table.of("BTC/USD") != default_table().of("BTC/USD")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["prices.csv"], "cannot tell from the name"),
        (["BTC-USD=missing.csv"], "missing.csv: cannot be read"),
        (["--symbol", "nonsense", "short.csv"], "is not a symbol"),
        (["--symbol", "BTC-USD", "short.csv", "other.csv"], "--symbol is for one file"),
        (["BTC-USD=short.csv"], "100 bars of 1m over 1h40m are too short"),
        (["BTC-USD=rubbish.csv"], "rubbish.csv"),
        (["BTC-USD=short.csv", "--out", "nowhere/model.toml"], "there is no folder nowhere"),
        (["BTC-USD=short.csv", "--out", "folder"], "folder is a folder"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_written(
    run: Run, tmp_path: Path, arguments: list[str], told: str
) -> None:
    write_bars(tmp_path / "short.csv", bars=100)
    (tmp_path / "rubbish.csv").write_bytes(b"\x00\x01\x02 no table")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))

    result = run("calibrate", *arguments)

    assert result.exit_code == 2
    assert told in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_progress_is_shown_by_symbol(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(calibration, "messages", lambda: Console(file=screen, force_terminal=True, width=80))
    times = iter([0.0, 1.0, 2.0])

    with calibration.CalibrationProgress(shown=True, now_s=lambda: next(times)) as progress:
        for done in (1, 2):
            progress("BTC/USD", done, 30)

    assert "Fitting BTC/USD" in screen.getvalue()
