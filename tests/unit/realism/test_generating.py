import gzip
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest

from fauxchange.domain.errors import Conflict, InvalidRequest, Unavailable
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_S
from fauxchange.realism import generating
from fauxchange.realism.generating import History, generate
from fauxchange.realism.history_files import Column, FileFormat, HistoryFile, Kind, Written
from fauxchange.realism.simulating import NS_PER_WEEK, START_NS, quotes_around, simulate
from fauxchange.services.market_data.clients.recordings import read_recording
from fauxchange.services.market_data.core.parameters import default_table
from fauxchange.services.market_data.core.quotes import FixedSpread, bid_ask
from fauxchange.services.market_data.core.scenario_files import specs_from_text
from fauxchange.services.market_data.core.scenarios import Timeline, place

BTC = Instrument(symbol="BTC/USD", tick_size=Decimal("0.01"), lot_size=Decimal("0.00001"))
ADA = Instrument(symbol="ADA/USD", tick_size=Decimal("0.0001"), lot_size=Decimal("0.1"))
PRICES = {"BTC/USD": Decimal(60_000), "ADA/USD": Decimal("0.45")}
SPREADS = {"BTC/USD": 1.0, "ADA/USD": 5.0}
HOURS_2 = 120 * NS_PER_MINUTE


def history(**changes: object) -> History:
    """Return two hours of minutes at steps of ten seconds, or what is asked for instead."""
    plain = History(
        instruments=(BTC, ADA),
        table=default_table(),
        seed=3,
        start_ns=START_NS,
        end_ns=START_NS + HOURS_2,
        step_ns=10 * NS_PER_S,
        bar_ns=NS_PER_MINUTE,
        initial_prices=PRICES,
        spread_bps=SPREADS,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def test_bars_are_those_of_the_model_in_the_columns_of_recorded_files(tmp_path: Path) -> None:
    files = generate(history(), tmp_path / "deep" / "er")

    simulated = simulate(
        default_table(),
        (BTC, ADA),
        weeks=(HOURS_2 - NS_PER_MINUTE) / NS_PER_WEEK,
        seed=3,
        step_ns=10 * NS_PER_S,
        initial_prices=PRICES,
        spread_bps=SPREADS,
    )
    btc = simulated["BTC/USD"]
    assert [file.path.name for file in files] == [
        "btc_usd_model_1m_seed3_2026-01-01.csv.gz",
        "ada_usd_model_1m_seed3_2026-01-01.csv.gz",
    ]
    assert sorted(path.name for path in (tmp_path / "deep" / "er").iterdir()) == sorted(f.path.name for f in files)
    head, first, *others = lines(files[0].path)
    assert head == "time,open,high,low,close,volume"
    assert first == (
        f"2026-01-01T00:00:00Z,{btc.open[0]:.2f},{btc.high[0]:.2f},{btc.low[0]:.2f},{btc.close[0]:.2f},"
        f"{btc.volume[0]:.5f}"  # type: ignore[index]
    )
    assert len(others) == 119
    for file in files:
        bars, read = simulated[file.symbol], read_recording(file.path)
        assert (file.rows, file.first_ns, file.last_ns) == (120, START_NS, START_NS + HOURS_2 - NS_PER_MINUTE)
        assert read.instrument == {"BTC/USD": BTC, "ADA/USD": ADA}[file.symbol]
        grid, lots = float(read.instrument.tick_size), float(read.instrument.lot_size)
        columns = (bars.open / grid, bars.high / grid, bars.low / grid, bars.close / grid, bars.volume / lots)
        assert read.rows[:, 0].tolist() == bars.open_ns.tolist()
        assert (read.rows[:, 1:] == np.rint(np.column_stack(columns))).all()


def test_the_same_seed_gives_the_same_bytes_whatever_else_is_generated(tmp_path: Path) -> None:
    both = generate(history(), tmp_path / "both")
    alone = generate(history(instruments=(ADA,)), tmp_path / "alone")
    other = generate(history(instruments=(ADA,), seed=4), tmp_path / "other")

    assert both[1].path.read_bytes() == alone[0].path.read_bytes()
    assert both[1].sha256 == alone[0].sha256 != other[0].sha256
    # Neither a time nor a name in the header of the gzip.
    assert alone[0].path.read_bytes()[3:8] == bytes(5)


@pytest.mark.parametrize("kind", [FileFormat.CSV_GZ, FileFormat.PARQUET])
def test_both_formats_are_read_back_as_the_same_recording(tmp_path: Path, kind: FileFormat) -> None:
    bars = generate(history(format=kind), tmp_path)[0]
    ticks = generate(history(format=kind, bar_ns=None), tmp_path)

    rows = [read_recording(file.path, instrument=BTC).rows for file in (bars, *ticks[:2])]
    wanted = [
        read_recording(file.path, instrument=BTC).rows
        for file in (
            generate(history(), tmp_path, force=True)[0],
            *generate(history(bar_ns=None), tmp_path, force=True)[:2],
        )
    ]
    assert bars.path.suffix == (".parquet" if kind is FileFormat.PARQUET else ".gz")
    assert all((one == other).all() for one, other in zip(rows, wanted, strict=True))


def test_parquet_has_the_same_bytes_however_its_rows_came(tmp_path: Path) -> None:
    columns = [Column("time", Kind.TIME), Column("price", Kind.DECIMAL, 2)]
    times_ns = START_NS + NS_PER_S * np.arange(200_000, dtype=np.int64)
    prices = np.round(np.sqrt(times_ns), 2)
    digests = []
    for block in (200_000, 65_536, 7_777):
        with HistoryFile("BTC/USD", tmp_path / f"{block}.parquet", columns, FileFormat.PARQUET) as file:
            for first in range(0, 200_000, block):
                file.write([times_ns[first : first + block], prices[first : first + block]])
            digests.append(file.finish().sha256)

    assert len(set(digests)) == 1


def test_ticks_are_the_quotes_that_the_feed_would_publish_and_its_prints(tmp_path: Path) -> None:
    files = generate(history(bar_ns=None), tmp_path)

    bbo, trades = files[0], files[1]
    assert [file.path.name.split("_")[3] for file in files] == ["bbo", "trades"] * 2
    assert lines(bbo.path)[0] == "recv_ns,bid,bid_qty,ask,ask_qty"
    assert lines(trades.path)[0] == "recv_ns,exch_ms,price,qty,side"
    quotes, prints = read_recording(bbo.path).rows, read_recording(trades.path).rows
    assert len(quotes) == 720
    assert (quotes[:, 2] - quotes[:, 1]).tolist() == [
        FixedSpread(1.0).spread_ticks(int(bid + ask), 0) for bid, ask in quotes[:, 1:3]
    ]
    sides = [line.rsplit(",", 1)[1] for line in lines(trades.path)[1:]]
    moves = np.diff(quotes[:, 1] + quotes[:, 2])
    assert set(sides) == {"buy", "sell"}
    assert [side == "buy" for side, move in zip(sides[1:], moves, strict=True) if move] == [m > 0 for m in moves if m]
    minutes = generate(history(), tmp_path)[0]
    assert prints[:, 2].sum() == read_recording(minutes.path).rows[:, 5].sum()
    sizes = [float(line.split(",")[2]) for line in lines(bbo.path)[1:]]
    assert min(sizes) > 0
    assert len(set(sizes)) > 700


@pytest.mark.parametrize("bps", [0.01, 1.0, 5.0, 1_000.0])
def test_a_column_of_quotes_is_as_the_feed_makes_them_one_by_one(bps: float) -> None:
    mids = np.concatenate((np.arange(2, 400), np.arange(11_999_990, 12_000_400)))

    bids, asks = quotes_around(mids, bps)

    one_by_one = [bid_ask(mid, FixedSpread(bps).spread_ticks(mid, 0)) for mid in mids.tolist()]
    assert list(zip(bids.tolist(), asks.tolist(), strict=True)) == one_by_one


def test_scenarios_bend_the_bars(tmp_path: Path) -> None:
    text = "scenarios:\n  - {kind: crash, symbols: [BTC-USD], magnitude: 20%, duration: 30m, start: 30m}\n"
    timeline = Timeline(place(specs_from_text(text, file_name="crash.yaml"), origin_ns=START_NS, seed=3))

    bent = generate(history(timeline=timeline), tmp_path / "bent")
    plain = generate(history(), tmp_path / "plain")

    crashed, usual = (read_recording(files[0].path).rows[:, 4] for files in (bent, plain))
    assert (crashed[:29] == usual[:29]).all()
    assert crashed[70] < 0.9 * usual[70]
    assert bent[1].sha256 == plain[1].sha256


def test_a_file_that_is_there_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    there = tmp_path / "ada_usd_model_1m_seed3_2026-01-01.csv.gz"
    there.write_text("mine")

    with pytest.raises(Conflict, match=r"is there already.*--force") as refused:
        generate(history(), tmp_path)

    assert refused.value.code == "history_exists"
    assert [path.name for path in tmp_path.iterdir()] == [there.name]
    assert there.read_text() == "mine"
    assert len(generate(history(), tmp_path, force=True)) == 2
    assert lines(there)[0].startswith("time,")


def test_what_ends_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    seen: Iterator[list[str]] = iter([])

    def interrupt(done: int) -> None:
        nonlocal seen
        seen = iter([[path.name for path in tmp_path.iterdir()]])
        if done > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(history(), tmp_path, progress=interrupt)

    assert all(name.startswith(".") for name in next(seen))
    assert list(tmp_path.iterdir()) == []


def test_what_a_worker_finished_and_could_not_tell_of_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(parts: Sequence[History], folder: Path, written: list[Written], progress: object) -> None:
        generating.write_part(parts[0], folder, [])
        raise Unavailable("the other one has gone")

    monkeypatch.setattr(generating, "_write_in_processes", gone)

    with pytest.raises(Unavailable, match="the other one"):
        generate(history(), tmp_path, processes=2)

    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_a_file_is_refused_before_any_file_is_written(tmp_path: Path) -> None:
    there = tmp_path / "ada_usd_model_1m_seed3_2026-01-01.csv.gz"
    there.mkdir()

    with pytest.raises(Conflict, match="is a folder"):
        generate(history(), tmp_path, force=True)

    assert list(tmp_path.iterdir()) == [there]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(Unavailable, match=r"file.*cannot be written") as refused:
        generate(history(), tmp_path / "file" / "folder")

    assert refused.value.code == "history_not_written"


def test_a_worker_that_has_gone_is_told_of() -> None:
    ours, theirs = Pipe()
    theirs.close()

    with pytest.raises(Unavailable, match="ended from outside"):
        generating._heard(ours)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"bar_ns": NS_PER_S // 2, "step_ns": NS_PER_S // 2}, "interval"),
        ({"step_ns": 7 * NS_PER_S}, "step"),
        ({"start_ns": START_NS + 1}, "start"),
        ({"end_ns": START_NS}, "start"),
        ({"end_ns": 2**62 + 1}, "weeks"),
    ],
)
def test_history_that_makes_no_sense_is_refused(tmp_path: Path, changes: dict[str, int], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        generate(history(**changes), tmp_path / "never")

    assert refused.value.field == field
    assert not (tmp_path / "never").exists()
