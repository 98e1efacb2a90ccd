"""What recorded books show: shipped as numbers, derived from the files, or from a user's own."""

import json
import math
from importlib.resources import files
from pathlib import Path

import pytest

from fauxchange.domain.errors import ConfigurationError
from fauxchange.realism.book.recorded import tape_of_files
from fauxchange.realism.book.statistics import JUDGED, book_statistics
from fauxchange.realism.book.targets import derive, own_targets, shipped_targets

FILES = [
    f"{stem}_{kind}_2024-08-08.csv.gz"
    for stem in ("btc_usdt_spot", "btc_usdt_perp", "eth_usdt_spot")
    for kind in ("trades", "bbo")
]


def test_every_judged_statistic_has_a_range_and_every_recording_lies_in_it() -> None:
    targets = shipped_targets()

    for statistic in JUDGED:
        span = targets.ranges[statistic.name]
        assert span.low < span.high
        for values in targets.values.values():
            assert statistic.name not in values or span.holds(values[statistic.name])


@pytest.mark.data(*FILES, "btc_usdt_spot_l2_raw_2024-08-08.jsonl.gz")
def test_the_shipped_numbers_are_those_of_the_recordings(recorded_data: Path) -> None:
    shipped = json.loads(files("fauxchange.realism.book").joinpath("data/book-targets.json").read_text("utf-8"))

    derived = json.loads(json.dumps(derive(recorded_data)))

    assert derived["name"] == shipped["name"]
    for name, bounds in shipped["ranges"].items():
        assert derived["ranges"][name] == pytest.approx(bounds, abs=2e-6)
    for name, values in shipped["values"].items():
        assert derived["values"][name] == pytest.approx(values, abs=2e-6)


@pytest.mark.data(FILES[0], FILES[1])
def test_a_short_recording_of_ones_own_widens_the_shipped_ranges(recorded_data: Path) -> None:
    tape = tape_of_files(recorded_data / FILES[0], recorded_data / FILES[1], name="mine")

    targets = own_targets(tape)

    assert targets.name == "mine"
    assert list(targets.values) == ["mine"]
    for name, value in book_statistics(tape).items():
        if name in targets.ranges and math.isfinite(value):
            assert targets.ranges[name].holds(value)
    assert targets.ranges["count_fano"].high >= shipped_targets().ranges["count_fano"].high


def test_trades_without_a_side_are_refused(tmp_path: Path) -> None:
    trades, quotes = tmp_path / "btc_usdt_trades.csv", tmp_path / "btc_usdt_bbo.csv"
    trades.write_text("recv_ns,price,qty\n1700000000000000000,10,1\n1700000001000000000,10,1\n")
    quotes.write_text("recv_ns,bid,bid_qty,ask,ask_qty\n1700000000000000000,9,1,10,1\n1700000001000000000,9,2,10,1\n")

    with pytest.raises(ConfigurationError, match="does not say who took"):
        tape_of_files(trades, quotes)
    with pytest.raises(ConfigurationError, match="holds quotes, not trades"):
        tape_of_files(quotes, trades)


def test_files_without_a_common_time_are_refused(tmp_path: Path) -> None:
    trades, quotes = tmp_path / "btc_usdt_trades.csv", tmp_path / "btc_usdt_bbo.csv"
    trades.write_text("recv_ns,price,qty,side\n1700000000000000000,10,1,buy\n1700000001000000000,10,1,sell\n")
    quotes.write_text("recv_ns,bid,bid_qty,ask,ask_qty\n1800000000000000000,9,1,10,1\n1800000001000000000,9,2,10,1\n")

    with pytest.raises(ConfigurationError, match="no time in common"):
        tape_of_files(trades, quotes)
