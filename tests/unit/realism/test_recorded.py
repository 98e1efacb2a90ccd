from pathlib import Path

import pytest

from fauxchange.domain.errors import ConfigurationError, InvalidRequest
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_S, parse_time
from fauxchange.realism.recorded import bars_of_file

DAY_NS = parse_time("2025-05-04")


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text("\n".join(line.strip() for line in text.strip().splitlines()) + "\n", encoding="utf-8")
    return path


def test_recorded_minutes_stay_as_they_are(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "btc_usd_1m.csv",
        """
        time,open,high,low,close,volume
        2025-05-04T00:00:00Z,100.1,100.4,100.0,100.3,1.25
        2025-05-04T00:01:00Z,100.3,100.3,99.95,99.99,0
        2025-05-04T00:04:00Z,99.9,100.2,99.8,100.0,3
        """,
    )

    bars = bars_of_file(path)

    assert (bars.symbol, bars.interval_ns) == ("BTC/USD", NS_PER_MINUTE)
    assert ((bars.open_ns - DAY_NS) // NS_PER_MINUTE).tolist() == [0, 1, 4]
    assert bars.open.tolist() == [100.1, 100.3, 99.9]
    assert bars.high.tolist() == [100.4, 100.3, 100.2]
    assert bars.low.tolist() == [100.0, 99.95, 99.8]
    assert bars.close.tolist() == [100.3, 99.99, 100.0]
    assert bars.volume is not None
    assert bars.volume.tolist() == [1.25, 0.0, 3.0]
    assert [len(run) for run in bars.runs()] == [2, 1]


def test_bars_without_volume_have_none_and_a_symbol_can_be_named(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "prices.csv",
        """
        time,open,high,low,close
        2025-05-04T00:00:00Z,1,1,1,1
        2025-05-04T00:01:00Z,1,1,1,1
        """,
    )

    assert bars_of_file(path, symbol="eth-eur").symbol == "ETH/EUR"
    with pytest.raises(InvalidRequest, match="not a symbol"):
        bars_of_file(path, symbol="what is this?")
    assert bars_of_file(path, symbol="ETH/EUR").volume is None


def test_trades_are_gathered_into_whole_minutes_and_a_quiet_one_stands_still(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "btc_usd_trades.csv",
        """
        time,price,qty
        2025-05-04T00:00:20Z,100,9
        2025-05-04T00:01:01Z,101,1
        2025-05-04T00:01:30Z,103,2
        2025-05-04T00:01:59Z,102,3
        2025-05-04T00:03:10Z,99,4
        2025-05-04T00:03:58Z,98,5
        2025-05-04T00:04:30Z,50,6
        """,
    )

    bars = bars_of_file(path)

    # The first and the last minute are not whole.
    assert ((bars.open_ns - DAY_NS) // NS_PER_MINUTE).tolist() == [1, 2, 3]
    assert bars.open.tolist() == [101.0, 102.0, 99.0]
    assert bars.high.tolist() == [103.0, 102.0, 99.0]
    assert bars.low.tolist() == [101.0, 102.0, 98.0]
    assert bars.close.tolist() == [102.0, 102.0, 98.0]
    assert bars.volume is not None
    assert bars.volume.tolist() == [6.0, 0.0, 9.0]


def test_quotes_are_gathered_by_their_middle(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "btc_usd_bbo.csv",
        """
        time,bid,bid_qty,ask,ask_qty
        2025-05-04T00:00:00Z,100,1,101,1
        2025-05-04T00:00:30Z,100,1,104,1
        2025-05-04T00:00:59Z,99,1,100,1
        """,
    )

    bars = bars_of_file(path)

    assert (bars.open[0], bars.high[0], bars.low[0], bars.close[0]) == (100.5, 102.0, 99.5, 99.5)
    assert bars.volume is None


def test_a_long_silence_is_a_gap(tmp_path: Path) -> None:
    seconds = [*range(0, 121, 59), *range(7_200, 7_320, 59)]
    rows = [f"{(DAY_NS // NS_PER_S + second) * 1000},100" for second in seconds]
    path = written(tmp_path, "btc_usd_trades.csv", "\n".join(["ts_ms,price", *rows]))

    assert len(list(bars_of_file(path).runs())) == 2


def test_shorter_bars_are_gathered_and_longer_ones_kept(tmp_path: Path) -> None:
    seconds = written(
        tmp_path,
        "btc_usd_20s.csv",
        """
        time,open,high,low,close,volume
        2025-05-04T00:00:00Z,1,4,1,2,1
        2025-05-04T00:00:20Z,2,5,2,3,1
        2025-05-04T00:00:40Z,3,3,0.5,3,1
        2025-05-04T00:01:00Z,3,3,3,3,1
        """,
    )
    hours = written(
        tmp_path,
        "btc_usd_1h.csv",
        """
        time,open,high,low,close,volume
        2025-05-04T00:00:00Z,1,4,1,2,1
        2025-05-04T01:00:00Z,2,5,2,3,1
        """,
    )

    minute = bars_of_file(seconds)
    hour = bars_of_file(hours)

    assert (minute.open[0], minute.high[0], minute.low[0], minute.close[0]) == (1.0, 5.0, 0.5, 3.0)
    assert hour.interval_ns == 60 * NS_PER_MINUTE
    with pytest.raises(InvalidRequest, match=r"bars of 20s do not fit into bars of 30s"):
        bars_of_file(seconds, interval_ns=30 * NS_PER_S)


def test_bars_that_overlap_are_refused_by_name_and_time(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "btc_usd_1m.csv",
        """
        time,open,high,low,close
        2025-05-04T00:00:00Z,1,1,1,1
        2025-05-04T00:01:00Z,1,1,1,1
        2025-05-04T00:01:30Z,1,1,1,1
        2025-05-04T00:02:30Z,1,1,1,1
        """,
    )

    with pytest.raises(InvalidRequest, match=r"btc_usd_1m.csv: most bars are 1m apart.*00:01:30.*after 30s") as refused:
        bars_of_file(path)
    assert refused.value.code == "unsuitable_bars"


def test_ticks_that_fill_no_minute_and_broken_files_are_refused(tmp_path: Path) -> None:
    few = written(tmp_path, "btc_usd_trades.csv", "time,price\n2025-05-04T00:00:20Z,100\n2025-05-04T00:00:40Z,100")
    broken = written(tmp_path, "btc_usd_broken.csv", "time,price\n2025-05-04T00:00:20Z,abc")

    with pytest.raises(InvalidRequest, match=r"20s of trades hold no whole bar of 1m"):
        bars_of_file(few)
    with pytest.raises(ConfigurationError, match=r"line 2"):
        bars_of_file(broken)


@pytest.mark.data("btc_usdt_spot_trades_2024-08-08.csv.gz", "btc_usdt_spot_bbo_2024-08-08.csv.gz")
def test_recorded_trades_and_quotes_of_the_same_minutes_make_the_same_bars(recorded_data: Path) -> None:
    trades, quotes = (
        bars_of_file(recorded_data / f"btc_usdt_spot_{kind}_2024-08-08.csv.gz") for kind in ("trades", "bbo")
    )

    assert trades.open_ns.tolist() == quotes.open_ns.tolist()
    assert trades.close.tolist() == pytest.approx(quotes.close.tolist(), rel=1e-4)
    assert trades.high.tolist() == pytest.approx(quotes.high.tolist(), rel=1e-4)
