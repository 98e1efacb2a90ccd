import bz2
import gzip
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from fauxchange.domain.errors import ConfigurationError
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.times import NS_PER_S, parse_time
from fauxchange.services.market_data.clients import row_checks, tables
from fauxchange.services.market_data.clients.layouts import RecordingKind, parse_replay_argument, symbol_of
from fauxchange.services.market_data.clients.recordings import Recording, read_recording

QUOTES = "time,bid,ask\n"
TRADES = "time,price,qty\n"
BARS = "time,open,high,low,close,volume\n"
T = 1_700_000_000


def recording(tmp_path: Path, text: str, name: str = "btc_usd_prices.csv", **options: object) -> Recording:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return read_recording(path, **options)  # type: ignore[arg-type]


def refusal(tmp_path: Path, content: str | bytes, name: str = "btc_usd_prices.csv") -> str:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigurationError) as caught:
        read_recording(path)
    assert str(path) in caught.value.message
    return caught.value.message.replace(str(path), "FILE")


def test_quotes_are_counted_in_ticks_of_the_finest_decimals(tmp_path: Path) -> None:
    read = recording(tmp_path, QUOTES + f"{T},100.5,101\n{T + 1},100.25,100.75\n")

    assert read.kind is RecordingKind.QUOTES
    assert read.instrument.tick_size == Decimal("0.01")
    assert read.rows.tolist() == [[T * NS_PER_S, 10050, 10100], [(T + 1) * NS_PER_S, 10025, 10075]]


def test_trades_keep_price_and_quantity(tmp_path: Path) -> None:
    read = recording(tmp_path, TRADES + f"{T},100.5,0.001\n{T},100,2\n")

    assert read.kind is RecordingKind.TRADES
    assert (read.instrument.tick_size, read.instrument.lot_size) == (Decimal("0.1"), Decimal("0.001"))
    assert read.rows[:, 1:].tolist() == [[1005, 1], [1000, 2000]]


def test_decimals_that_come_late_are_used_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "CHUNK_BYTES", 64)
    cells = [f"{price}.5" for price in range(100, 120)] + ["7.125", "8.5"]
    read = recording(tmp_path, TRADES + "".join(f"{T + i},{cell},1\n" for i, cell in enumerate(cells)))

    assert read.rows[:, 1].tolist() == [int(Decimal(cell) * 1000) for cell in cells]


def test_rows_beyond_the_memory_bound_go_through_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = QUOTES + "".join(f"{T + i},{100 + i}.5,{101 + i}.25\n" for i in range(50))
    in_memory = recording(tmp_path, text)
    monkeypatch.setattr(tables, "CHUNK_BYTES", 64)
    monkeypatch.setattr(row_checks, "_SPILL_BYTES", 100)

    read = recording(tmp_path, text)

    assert isinstance(read.rows, np.memmap)
    assert read.rows.tolist() == in_memory.rows.tolist()


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("timestamp,best_bid_price,best_ask_price", RecordingKind.QUOTES),
        ("Time,Bid Price,Ask Price", RecordingKind.QUOTES),
        ("recv_ns,bidPrice,askPrice", RecordingKind.QUOTES),
        ("ts,price,size", RecordingKind.TRADES),
        ("exch_ms,px,amount", RecordingKind.TRADES),
    ],
)
def test_columns_go_by_their_usual_names(tmp_path: Path, header: str, kind: RecordingKind) -> None:
    unit = {"recv_ns": 10**9, "exch_ms": 1000}.get(header.partition(",")[0], 1)
    read = recording(tmp_path, f"{header}\n{T * unit},1,2\n")

    assert read.kind is kind
    assert read.first_ns == T * NS_PER_S


@pytest.mark.parametrize(
    "dressed", ["\ufeff{}", "{}\n\n", "\n".join, "quoted", "crlf", "semicolon", "tab", "no newline"]
)
def test_the_dress_of_a_csv_file_changes_nothing(tmp_path: Path, dressed: str) -> None:
    plain = QUOTES + f"{T},1.5,2.5\n{T + 1},1.5,2.5\n"
    variants = {
        "quoted": plain.replace("1.5", '"1.5"').replace("2.5", ' "2.5" '),
        "crlf": plain.replace("\n", "\r\n"),
        "semicolon": plain.replace(",", ";"),
        "tab": plain.replace(",", "\t"),
        "no newline": plain.rstrip(),
    }
    text = variants.get(dressed) or (dressed.format(plain) if isinstance(dressed, str) else plain.replace("\n", "\n\n"))

    assert recording(tmp_path, text).rows.tolist() == recording(tmp_path, plain).rows.tolist()


def test_gzip_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    path = tmp_path / "btc_usd.txt"
    path.write_bytes(gzip.compress((QUOTES + f"{T},1,2\n").encode()))

    assert len(read_recording(path).rows) == 1


@pytest.mark.parametrize("compressed", [False, True])
def test_parquet_is_read_exactly_whatever_its_types(tmp_path: Path, compressed: bool) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    times = pa.array([T * 1000, (T + 60) * 1000], type=pa.timestamp("ms", tz="UTC"))
    table = pa.table(
        {
            "time": times,
            "open": pa.array([1.1, 2.2]),
            "high": pa.array([3.3, 3.3]),
            "low": pa.array(["0.1", "0.2"]),
            "close": pa.array([Decimal("1.25"), Decimal("2.50")]),
            "volume": pa.array([1, 2], type=pa.uint32()),
        }
    )
    path = tmp_path / "eth_usd.bin"
    parquet.write_table(table, path)
    if compressed:
        path.write_bytes(gzip.compress(path.read_bytes()))

    read = read_recording(path)

    assert read.kind is RecordingKind.BARS
    assert read.rows.tolist() == [
        [T * NS_PER_S, 110, 330, 10, 125, 1],
        [(T + 60) * NS_PER_S, 220, 330, 20, 250, 2],
    ]


def test_a_bad_cell_of_parquet_is_named_by_row_and_column(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "eth_usd.parquet"
    parquet.write_table(pa.table({"time": [T, T + 1, T + 2], "price": [1.5, None, float("nan")]}), path)

    with pytest.raises(ConfigurationError, match=r"row 2, column 'price': is empty; expected a positive price"):
        read_recording(path)


def test_parquet_without_its_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    assert "pip install 'fauxchange[parquet]'" in refusal(tmp_path, b"PAR1 and so on")


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")

    assert "is not a whole Parquet file" in refusal(tmp_path, b"PAR1 and no end")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            QUOTES + f"{T},1,2\n{T},abc,2\n",
            "FILE, line 3, column 'bid': 'abc' is not a number; expected a positive price",
        ),
        (QUOTES + f"{T},1,nan\n", "line 2, column 'ask': 'nan' is not a number"),
        (QUOTES + f"{T},1,inf\n", "line 2, column 'ask': 'inf' is not a number"),
        (QUOTES + f"{T},,2\n", "line 2, column 'bid': is empty; expected a positive price"),
        (QUOTES + f"{T},0,2\n", "line 2, column 'bid': '0' is not a positive price"),
        (QUOTES + f"{T},-1,2\n", "line 2, column 'bid': '-1' is not a positive price"),
        (QUOTES + f"{T},3,2\n", "line 2, column 'bid': '3' is above the ask of its row: the quote is crossed"),
        (QUOTES + f"{T},1,2,3\n", "line 2: has 4 fields where the header names 3"),
        (QUOTES + f"{T},1,2\n\n{T}\n", "line 4: has 1 fields where the header names 3"),
        (QUOTES + f"{T},1,2\n{T - 1},1,2\n", f"line 3, column 'time': '{T - 1}' goes back in time"),
        (
            QUOTES + "soon,1,2\n",
            "line 2, column 'time': 'soon' is not a time; expected a time, as 2026-01-31T12:00:00Z",
        ),
        (QUOTES + f"{T},1,2\n2024-01-01,1,2\n", "line 3, column 'time': '2024-01-01' is not a time"),
        (QUOTES + f"{T},0.1234567890123,2\n", "has more than 12 decimals"),
        (QUOTES + f"{T},1,9999999999999999999999\n", "has more digits than can be kept exactly"),
        (QUOTES + f"{T},0.123456789012,900000000\n", "line 2, column 'ask': the value is absurdly large beside the 12"),
        (TRADES + f"{T},1,-2\n", "line 2, column 'qty': '-2' is negative; expected a quantity of zero or more"),
        ("time,bid,ask,bid_qty\n" + f"{T},1,2,-3\n", "line 2, column 'bid_qty': '-3' is negative"),
        (BARS + "2024-01-01,5,4,6,5,1\n", "line 2, column 'high': '4' is below the low of its bar"),
        (BARS + "2024-01-01,5,4,1,3,1\n", "line 2, column 'high': '4' is far below the open or close of its bar"),
        (BARS + "2024-01-01,5,9,6,6,1\n", "line 2, column 'low': '6' is far above the open or close of its bar"),
        (
            BARS + "2024-01-02,5,5,5,5,1\n2024-01-01,5,5,5,5,1\n",
            "line 3, column 'time': '2024-01-01' goes back in time",
        ),
        ("time,bid\n1,2\n", "column 'ask': the column is missing (also understood: ask_price"),
        ("bid,ask\n1,2\n", "column 'time': the column is missing"),
        ("time,open,close\n", "column 'high': the column is missing"),
        ("time,colour\n", "the header: names the columns time, colour; expected a time with open, high, low and close"),
        (QUOTES, "has a header and no rows below it"),
        ("", "line 1: is empty where a header line should be"),
        ("\n\n", "line 1: is empty where a header line should be"),
        ('1723161253937085768 {"stream":"btcusdt@depth"}\n', "this is a stream of JSON messages, no table"),
        ('{"e":"depthUpdate","b":[["1","2"]]}\n', "a recorded order book can be replayed"),
    ],
)
def test_a_bad_file_is_refused_by_line_and_column(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path, text)


def test_the_first_bad_line_is_named_whichever_check_finds_it(tmp_path: Path) -> None:
    rows = [f"{T},1,2", f"{T},3,2", f"{T},x,2", f"{T - 9},1,2"]

    assert "line 3, column 'bid'" in refusal(tmp_path, QUOTES + "\n".join(rows))


def test_lines_are_counted_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "CHUNK_BYTES", 50)
    text = QUOTES + "".join(f"{T + i},1,2\n" for i in range(40)) + "\n" + f"{T},1,2\n"

    assert f"line 43, column 'time': '{T}' goes back" in refusal(tmp_path, text)


def test_bytes_that_are_not_utf8_are_named_by_line(tmp_path: Path) -> None:
    content = b"time,price,note\n1700000000,1,caf\xc3\xa9\n1700000001,1,caf\xe9\n"

    assert "line 3: the byte 0xe9 is not UTF-8 text" in refusal(tmp_path, content)


def test_a_truncated_gzip_file_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress((QUOTES + "".join(f"{T + i},{i + 1},{i + 2}\n" for i in range(5000))).encode())

    assert "the file is truncated" in refusal(tmp_path, whole[: len(whole) // 2])


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress((QUOTES + f"{T},1,2\n" * 1000).encode()))
    whole[-8] ^= 0xFF

    assert "the file is damaged" in refusal(tmp_path, bytes(whole))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (bz2.compress(b"x"), "this is bzip2"),
        (b"PK\x03\x04....", "this is a zip archive"),
        ("time,price\n".encode("utf-16"), "this is UTF-16 text"),
        (b"a" * 200_000, "is longer than 65536 bytes"),
        (gzip.compress(bytes(200_000)), "is longer than 65536 bytes"),
    ],
)
def test_other_formats_and_nonsense_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in refusal(tmp_path, content)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read \\(No such file"):
        read_recording(tmp_path / "btc_usd.csv")
    with pytest.raises(ConfigurationError, match="cannot be read \\(Is a directory"):
        read_recording(tmp_path, symbol="BTC/USD")


def test_gaps_and_repeated_bars_are_counted(tmp_path: Path) -> None:
    minutes = [0, 1, 2, 2, 5, 6, 8]
    rows = "".join(f"{T + 60 * minute},5,6,4,5,1\n" for minute in minutes)

    read = recording(tmp_path, BARS + rows)

    assert (len(read.rows), read.duplicates, read.gaps, read.missing_bars) == (6, 1, 2, 3)
    assert (read.step_ns, read.longest_gap_ns) == (60 * NS_PER_S, 180 * NS_PER_S)
    assert "2 gaps (3 bars missing, longest 3m), 1 duplicates dropped" in read.summary()


def test_silences_between_ticks_are_counted_and_shared_moments_kept(tmp_path: Path) -> None:
    seconds = [0, 1, 1, 2, 15, 16]

    read = recording(tmp_path, TRADES + "".join(f"{T + second},5,1\n" for second in seconds))

    assert (len(read.rows), read.duplicates, read.gaps, read.longest_gap_ns) == (6, 0, 1, 13 * NS_PER_S)
    assert read.report()["span"] == "16s"


def test_a_bar_a_little_too_narrow_is_widened_and_counted(tmp_path: Path) -> None:
    read = recording(tmp_path, BARS + "2024-01-01,1000,999,950,951,1\n2024-01-02,1000,1001,950,949,1\n")

    assert read.rows[:, 1:5].tolist() == [[1000, 1000, 950, 951], [1000, 1001, 949, 949]]
    assert read.widened == 2


def test_quantities_finer_than_minor_units_are_rounded_half_even_and_counted(tmp_path: Path) -> None:
    read = recording(tmp_path, TRADES + f"{T},1,0.1234567850\n{T},1,0.123456785\n{T},1,0.1234567851\n{T},1,0.5\n")

    assert read.rows[:, 2].tolist() == [12345678, 12345678, 12345679, 50000000]
    assert read.rounded == 3


def test_the_finer_of_two_grids_is_used(tmp_path: Path) -> None:
    coarse = Instrument(symbol="BTC/USD", tick_size=Decimal("0.5"), lot_size=Decimal("0.1"))
    text = TRADES + f"{T},100,0.25\n{T},101,1\n"

    whole = recording(tmp_path, text, instrument=coarse)
    finer = recording(tmp_path, text.replace("101", "101.25"), instrument=coarse)

    assert (whole.instrument.tick_size, whole.instrument.lot_size) == (Decimal("0.5"), Decimal("0.01"))
    assert whole.rows[:, 1:].tolist() == [[200, 25], [202, 100]]
    assert finer.instrument.tick_size == Decimal("0.01")


def test_only_the_span_asked_for_is_kept(tmp_path: Path) -> None:
    text = TRADES + "".join(f"2024-01-0{day},{day},1\n" for day in range(1, 8))
    span = {"start_ns": parse_time("2024-01-03"), "end_ns": parse_time("2024-01-05")}

    assert recording(tmp_path, text, **span).rows[:, 1].tolist() == [3, 4]
    with pytest.raises(ConfigurationError, match="has no row in the span asked for"):
        recording(tmp_path, text, start_ns=parse_time("2025-01-01"))


def test_progress_ends_at_the_size_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "CHUNK_BYTES", 1000)
    text = TRADES + "".join(f"{T + i},1,1\n" for i in range(500))
    seen: list[tuple[int, int]] = []

    recording(tmp_path, text, progress=lambda done, total: seen.append((done, total)))

    assert len(seen) > 5
    assert seen == sorted(seen)
    assert seen[-1] == (len(text), len(text))


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("btc_usdt_spot_bbo_2024-08-08.csv.gz", "BTC/USDT"),
        ("ETH-EUR.parquet", "ETH/EUR"),
        ("BTCUSDT-1m-2024.csv", "BTC/USDT"),
        ("solusd.csv", "SOL/USD"),
        ("eth_btc_1m.csv", "ETH/BTC"),
    ],
)
def test_the_symbol_is_told_by_the_files_name(name: str, symbol: str) -> None:
    assert symbol_of(Path(name)) == symbol


@pytest.mark.parametrize("name", ["trades.csv", "my_prices.csv", "2024.csv", ".csv", "mine_btc_usd.csv"])
def test_a_name_that_tells_no_symbol_is_refused_with_the_remedy(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"say so as in BTC/USD={name}"):
        symbol_of(Path(name))


def test_replay_arguments_are_split(tmp_path: Path) -> None:
    odd = tmp_path / "a=b.csv"
    odd.touch()

    assert parse_replay_argument("btc_usd.csv") == (None, Path("btc_usd.csv"))
    assert parse_replay_argument("btc-usd=x/y=z.csv") == ("BTC/USD", Path("x/y=z.csv"))
    assert parse_replay_argument(str(odd)) == (None, odd)


@pytest.mark.parametrize("text", ["", "BTC/USD=", "B T C=file.csv"])
def test_a_bad_replay_argument_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_replay_argument(text)
