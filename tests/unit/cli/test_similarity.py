"""`similarity`: what it measures, tells and refuses. Runs are short; what facts mean is tested elsewhere."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.realism.facts import FACTS
from fauxchange.realism.simulating import default_instruments, simulate
from fauxchange.services.market_data.core.parameters import default_table

Run = Callable[..., Result]
QUICK = ("--weeks", "1", "--seeds", "1", "--step", "1m")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of eight days of one-minute bars of BTC/USD."""
    [bars] = simulate(
        default_table(), default_instruments(["BTC/USD"]), weeks=9 / 7, seed=5, step_ns=NS_PER_MINUTE
    ).values()
    assert bars.volume is not None
    lines = ["open_time,open,high,low,close,volume"]
    lines += [
        ",".join([str(int(row[0]) // 1_000_000), *(f"{value:.6f}" for value in row[1:])])
        for row in zip(bars.open_ns, bars.open, bars.high, bars.low, bars.close, bars.volume, strict=True)
    ]
    path = tmp_path_factory.mktemp("recorded") / "btc_usd_1m.csv.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def test_the_shipped_model_is_judged_by_real_weeks_fact_by_fact(run: Run) -> None:
    result = run("similarity", *QUICK)

    assert result.exit_code == 0
    for fact in FACTS:
        assert fact.name in result.stdout
        assert fact.meaning.split()[0] in result.stdout
    assert "✓ inside" in result.stdout
    assert "of 27 facts of BTC/USD lie in the range of 33 real weeks (BTC)" in " ".join(result.stdout.split())
    assert "lmv-j, shipped parameters" in result.stdout


def test_a_narrow_terminal_has_short_rows_and_what_they_say_below(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    lines = run("similarity", *QUICK).stdout.splitlines()

    assert max(map(len, lines)) <= 80
    for fact in FACTS:
        assert sum(line.split()[:1] == [fact.name] for line in lines) == 2  # its row, and what it says


def test_json_holds_the_same_with_stable_names(run: Run) -> None:
    document = json.loads(run("similarity", *QUICK, "--symbol", "btc-usd,ETH-USD", "--json").stdout)

    assert [each["symbol"] for each in document["symbols"]] == ["BTC/USD", "ETH/USD"]
    assert [each["reference"]["name"] for each in document["symbols"]] == ["BTC", "ETH"]
    assert document["correlations"][0]["symbols"] == ["BTC/USD", "ETH/USD"]
    assert document["generated"]["seeds"] == "1"


def test_noise_without_memory_and_tails_is_told_apart(run: Run) -> None:
    [symbol] = json.loads(run("similarity", "--model", "gbm", *QUICK, "--json").stdout)["symbols"]

    assert symbol["verdict"]["level"] == "different"
    assert symbol["verdict"]["passed"] <= 14


def test_a_file_is_measured_by_itself_with_distance_0(run: Run, recording: Path, tmp_path: Path) -> None:
    result = run("similarity", "--generated", recording, "--real", recording, "--html", tmp_path / "r.html", "--json")

    [symbol] = json.loads(result.stdout)["symbols"]
    assert {each["value"] for each in symbol["distances"]} == {0.0}
    assert symbol["reference"]["name"].startswith("BTC/USD (own recording")
    assert symbol["recording"]["weeks"] == 1
    page = (tmp_path / "r.html").read_text()
    assert "btc_usd_1m.csv.gz" in page
    assert page.count("<figure>") == 6


def test_a_recording_may_be_of_another_quote_currency(run: Run, recording: Path) -> None:
    result = run(
        "similarity", *QUICK, "--real", f"BTC-USDT={recording}", "--symbol", "BTC-USD", "--reference", "btc", "--json"
    )

    [symbol] = json.loads(result.stdout)["symbols"]
    assert symbol["reference"]["name"] == "BTC"
    assert len(symbol["distances"]) == 10


def test_too_few_facts_inside_end_it_with_1_where_that_is_asked(run: Run) -> None:
    enough = run("similarity", *QUICK, "--fail-below", "1")
    too_few = run("similarity", "--model", "gbm", *QUICK, "--fail-below", "25")

    assert enough.exit_code == 0
    assert too_few.exit_code == 1
    assert "BTC/USD: fewer than 25 facts inside" in too_few.stderr


def test_what_scenarios_set_is_shown_and_not_counted(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "crash.yaml"
    file.write_text("scenarios: [{kind: crash, magnitude: 20%, duration: 1h, start: 12h}]")

    [symbol] = json.loads(run("similarity", *QUICK, "--scenario", file, "--json").stdout)["symbols"]

    states = {fact["name"]: fact["state"] for fact in symbol["facts"]}
    assert states["vr_60"] == "set by the scenario"
    assert symbol["verdict"]["of"] == 27 - list(states.values()).count("set by the scenario")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--reference", "DOGE"), "'DOGE' is not a reference; there are BTC, ETH, ALT"),
        (("--generated", "{recording}", "--weeks", "4"), "--weeks is about simulating"),
        (("--generated", "{recording}", "--symbol", "ETH-USD"), "--generated has no ETH/USD; it has BTC/USD"),
        (("--real", "{recording}", "--symbol", "ETH-USD"), "--real has nothing of ETH/USD; it has BTC/USD"),
        (("--real", "{recording}", "--real", "{recording}"), "BTC/USD comes from two files"),
        (("--real", "nowhere_btc_usd.csv"), "nowhere_btc_usd.csv"),
        (("--model", "nowhere.toml"), "model file nowhere.toml cannot be read"),
        (("--html", "nowhere/r.html"), "there is no folder nowhere"),
        (("--html", "."), "is a folder"),
        (("--step", "7s"), "not made of whole steps"),
        (("--symbol", ","), "--symbol names no symbol"),
        (("--symbol", "bitcoin"), "is not a symbol"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_reason(
    run: Run, recording: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = run("similarity", *(text.format(recording=recording) for text in arguments))

    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_bars_of_an_hour_are_refused_because_facts_are_about_minutes(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "btc_usd_1h.csv"
    rows = [f"{1_700_000_000 // 3_600 * 3_600 + 3_600 * hour},10,11,9,10,1" for hour in range(400)]
    file.write_text("time,open,high,low,close,volume\n" + "\n".join(rows))

    result = run("similarity", "--generated", file)

    assert result.exit_code == 2
    assert "facts are about bars of one minute" in " ".join(result.stderr.split())


def test_days_are_refused_where_a_week_is_needed(run: Run, recording: Path, tmp_path: Path) -> None:
    lines = gzip.decompress(recording.read_bytes()).decode().splitlines()
    short = tmp_path / "btc_usd.csv"
    short.write_text("\n".join(lines[:5_000]))

    result = run("similarity", "--generated", short)

    assert result.exit_code == 2
    assert "BTC/USD has 4,999 one-minute bars without a gap" in " ".join(result.stderr.split())
