"""`similarity --book`: what it tells and refuses. What the statistics mean is tested elsewhere."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from fauxchange.realism.book.statistics import STATISTICS

Run = Callable[..., Result]
QUICK = ("--book", "--minutes", "6", "--intensity", "calm")


def test_a_book_is_told_statistic_by_statistic(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "book.html"

    result = run("similarity", *QUICK, "--symbol", "eth-usd", "--html", str(target))

    assert result.exit_code == 0
    told = " ".join(result.stdout.split())
    for statistic in STATISTICS:
        assert statistic.name in told
    assert "ETH/USD, calm, seed 1" in told
    assert "aggressive orders a second and the recorded books 5.4 to 20" in told
    assert "impact_exponent" in told
    assert target.read_text().startswith("<!DOCTYPE html>")
    assert [path.name for path in tmp_path.iterdir()] == ["book.html"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--minutes", "10"), "--minutes is about order books: add --book"),
        (("--real-book", "l2.jsonl"), "--real-book is about order books: add --book"),
        (("--book", "--weeks", "4"), "--weeks is about weeks of prices"),
        (("--book", "--model", "gbm"), "--model is about weeks of prices"),
        (("--book", "--real-trades", "trades.csv"), "--real-trades and --real-quotes belong together"),
        (("--book", "--real-book", "absent.jsonl"), "cannot tell from the name"),
        (("--book", "--real-book", "btc_usdt_absent.jsonl"), "cannot be read"),
        (("--book", "--symbol", "nonsense"), "is not a symbol"),
        (("--book", "--symbol", "BTC-USD,ETH-USD"), "one symbol at a time"),
        (("--book", "--symbol", "all"), "one symbol at a time"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(run: Run, arguments: tuple[str, ...], reason: str) -> None:
    result = run("similarity", *arguments)

    assert result.exit_code != 0
    assert reason in " ".join(result.stderr.split())


@pytest.mark.data("btc_usdt_spot_l2_raw_2024-08-08.jsonl.gz")
def test_a_recording_of_ones_own_is_what_a_book_is_held_against(run: Run, recorded_data: Path) -> None:
    path = recorded_data / "btc_usdt_spot_l2_raw_2024-08-08.jsonl.gz"

    document = json.loads(run("similarity", *QUICK, "--real-book", str(path), "--json").stdout)

    assert document["against"] == path.name
    [interval] = [row for row in document["statistics"] if row["name"] == "interval_cv"]
    assert interval["recorded"] == {path.name: pytest.approx(1.684, abs=0.001)}
