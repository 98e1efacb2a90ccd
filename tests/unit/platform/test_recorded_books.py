"""A recorded stream of raw messages, joined into one book."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fauxchange.domain.errors import ConfigurationError
from fauxchange.platform.recorded_books import (
    BEST,
    DEPTH,
    SNAPSHOT,
    BookCursor,
    RecordedBook,
    is_recorded_book,
    read_recorded_book,
)

Levels = dict[str, str]


def snapshot(last: int, bids: Levels, asks: Levels) -> dict[str, Any]:
    return {"lastUpdateId": last, "bids": list(bids.items()), "asks": list(asks.items())}


def difference(first: int, last: int, bids: Levels | None = None, asks: Levels | None = None) -> dict[str, Any]:
    data = {"e": "depthUpdate", "U": first, "u": last, "b": list((bids or {}).items()), "a": list((asks or {}).items())}
    return {"stream": "btcusdt@depth@100ms", "data": data}


def best(update: int, bid: str, bid_quantity: str, ask: str, ask_quantity: str) -> dict[str, Any]:
    data = {"u": update, "s": "BTCUSDT", "b": bid, "B": bid_quantity, "a": ask, "A": ask_quantity}
    return {"stream": "btcusdt@bookTicker", "data": data}


def trade(price: str, quantity: str, *, sold: bool) -> dict[str, Any]:
    return {"stream": "btcusdt@trade", "data": {"e": "trade", "p": price, "q": quantity, "m": sold, "T": 7}}


def write(tmp_path: Path, *messages: dict[str, Any] | str) -> Path:
    """Write messages a second apart; a text is a line as it stands."""
    lines = [
        message if isinstance(message, str) else f"{second}000000000 {json.dumps(message)}"
        for second, message in enumerate(messages, 1)
    ]
    path = tmp_path / "btc_usdt_l2.jsonl.gz"
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    return path


def read(tmp_path: Path, *messages: dict[str, Any] | str) -> RecordedBook:
    return read_recorded_book(write(tmp_path, *messages), symbol="BTC/USDT")


def shown(book: RecordedBook, update: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    cursor = BookCursor(book)
    cursor.go_to_update(update)
    return cursor.bids.top(10), cursor.asks.top(10)


START = snapshot(10, {"99.5": "2", "99.0": "1.5"}, {"100.0": "1", "101.0": "3"})


def test_a_snapshot_is_the_first_update_on_the_grid_of_what_is_quoted(tmp_path: Path) -> None:
    book = read(tmp_path, START)

    assert (str(book.instrument.tick_size), str(book.instrument.lot_size)) == ("0.1", "1")
    assert shown(book, 0) == ([(995, 2), (990, 1)], [(1000, 1), (1010, 3)])
    assert book.best.tolist() == [[995, 2, 1000, 1]]
    assert book.source.tolist() == [SNAPSHOT]


def test_differences_count_from_the_one_that_reaches_beyond_the_snapshot(tmp_path: Path) -> None:
    book = read(
        tmp_path,
        difference(7, 9, bids={"99.5": "77"}),
        difference(10, 12, bids={"99.5": "5"}, asks={"100.0": "0"}),
        START,
        difference(8, 10, bids={"99.0": "55"}),
        difference(13, 13, asks={"100.5": "4"}),
    )

    assert shown(book, 0) == ([(995, 5), (990, 1)], [(1010, 3)])
    assert shown(book, 1) == ([(995, 5), (990, 1)], [(1005, 4), (1010, 3)])
    assert book.source.tolist() == [SNAPSHOT, DEPTH]
    assert book.gaps == 0


def test_after_a_missing_difference_nothing_is_told_until_the_next_snapshot(tmp_path: Path) -> None:
    book = read(
        tmp_path,
        START,
        difference(12, 13, bids={"99.9": "1"}),
        best(15, "99.9", "1", "100.0", "1"),
        difference(14, 14, bids={"99.8": "1"}),
        snapshot(13, {"99.0": "4"}, {"100.0": "6"}),
    )

    assert book.gaps == 1
    assert book.ts_ns.tolist() == [1_000_000_000, 5_000_000_000]
    assert shown(book, 1) == ([(999, 1), (998, 1), (990, 4)], [(1000, 1)])


def test_best_bid_and_offer_lie_over_the_depth_until_it_is_newer(tmp_path: Path) -> None:
    book = read(
        tmp_path,
        START,
        best(14, "99.0", "7", "99.4", "9"),
        difference(11, 12, bids={"98.0": "1"}),
        difference(13, 15, bids={"99.5": "6"}),
    )

    assert shown(book, 1) == ([(990, 7)], [(994, 9), (1000, 1), (1010, 3)])
    assert shown(book, 2) == ([(990, 7), (980, 1)], [(994, 9), (1000, 1), (1010, 3)])
    assert shown(book, 3) == ([(995, 6), (990, 1), (980, 1)], [(1000, 1), (1010, 3)])
    assert book.source.tolist() == [SNAPSHOT, BEST, DEPTH, DEPTH]
    assert book.best[:, 0].tolist() == [995, 990, 990, 995]


def test_a_best_offer_older_than_the_depth_changes_nothing(tmp_path: Path) -> None:
    book = read(tmp_path, START, best(9, "98.0", "7", "99.4", "9"))

    assert len(book.ts_ns) == 1


def test_trades_say_who_took(tmp_path: Path) -> None:
    book = read(tmp_path, START, trade("100.0", "0.25", sold=False), trade("99.5", "1", sold=True))

    assert book.trades.tolist() == [[2_000_000_000, 1000, 25, 1, 7], [3_000_000_000, 995, 100, -1, 7]]
    assert str(book.instrument.lot_size) == "0.01"


def test_quantities_may_be_numbers_too(tmp_path: Path) -> None:
    book = read(tmp_path, START, '2000000000 {"u": 11, "b": 99.5, "B": 1e-05, "a": 100, "A": 2.5}')

    assert book.best[1].tolist() == [995, 1, 1000, 250_000]


def test_messages_of_other_kinds_are_counted(tmp_path: Path) -> None:
    assert read(tmp_path, START, {"result": None, "id": 1}).ignored == 1


def test_a_part_begins_with_the_book_as_it_was_then(tmp_path: Path) -> None:
    book = read(tmp_path, START, difference(11, 11, bids={"99.0": "0"}), difference(12, 12, asks={"100.0": "8"}))

    part = book.part(2_500_000_000, None)

    assert part.ts_ns.tolist() == [3_000_000_000]
    assert shown(part, 0) == shown(book, 2)
    assert part.fingerprint != book.fingerprint


def test_a_part_that_holds_nothing_is_refused(tmp_path: Path) -> None:
    book = read(tmp_path, START)

    with pytest.raises(ConfigurationError, match="holds 1970-01-01T00:00:01"):
        book.part(9_000_000_000, None)


def test_a_cursor_goes_back_by_beginning_again(tmp_path: Path) -> None:
    book = read(tmp_path, START, difference(11, 11, bids={"99.0": "0"}))
    cursor = BookCursor(book)

    cursor.go_to(2_000_000_000)
    after = cursor.bids.top(9)
    cursor.go_to(1_500_000_000)

    assert (after, cursor.bids.top(9)) == ([(995, 2)], [(995, 2), (990, 1)])
    cursor.go_to(500_000_000)
    assert not len(cursor.bids)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([START, "rubbish"], "line 2: does not begin with a time"),
        ([START, "2000000000 {"], "line 2: is not a message that can be understood"),
        ([START, '2000000000 "text"'], "line 2: is not a message"),
        ([START, "2000000000 " + "[" * 100_000], "line 2: is not a message"),
        ([START, '2000000000 {"u": 11, "b": 9e999, "B": 1, "a": 100, "A": 2.5}'], "line 2: is not a message"),
        ([START, '2000000000 {"u": 11, "b": NaN, "B": 1, "a": 100, "A": 2.5}'], "line 2: is not a message"),
        ([START, "5 {}"], "line 2: its time lies before"),
        ([START, difference(11, 11, bids={"abc": "1"})], "line 2: is not a message"),
        ([START, difference(11, 11, bids={"99.1": "-1"})], "line 2: is not a message"),
        ([START, difference(11, 11, bids={"100.0": "1"})], "line 2: after it the book's best bid is not below"),
        ([START, difference(11, 11, bids={"99.5": "0", "99.0": "0"})], "line 2: no bid is left"),
        ([START, best(11, "100", "1", "100", "1")], "line 2: its bid is not below its ask"),
        ([START, trade("0", "1", sold=True)], "line 2: its price or quantity is not positive"),
        ([difference(1, 2, bids={"99.1": "1"})], "no snapshot"),
        ([], "has no line"),
    ],
)
def test_a_bad_file_is_refused_by_name_and_line(tmp_path: Path, lines: list[dict[str, Any] | str], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as refused:
        read(tmp_path, *lines)

    assert refused.value.code == "bad_recording"
    assert "btc_usdt_l2" in refused.value.message


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, *[START] * 50)
    path.write_bytes(path.read_bytes()[:-30])

    with pytest.raises(ConfigurationError, match="ends too early"):
        read_recorded_book(path, symbol="BTC/USDT")


def test_what_looks_like_a_recorded_book_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    table = tmp_path / "bars.csv"
    table.write_text("time,open\n1,2\n")

    assert is_recorded_book(write(tmp_path, START))
    assert not is_recorded_book(table)
    assert not is_recorded_book(tmp_path / "absent")


RECORDED = "btc_usdt_spot_l2_raw_2024-08-08.jsonl.gz"


@pytest.mark.data(RECORDED)
def test_the_recorded_stream_gives_a_whole_book_without_gaps(recorded_data: Path) -> None:
    book = read_recorded_book(recorded_data / RECORDED, symbol="BTC/USDT")

    cursor = BookCursor(book)
    at = np.linspace(0, len(book.ts_ns) - 1, 500).astype(int).tolist()
    tops = []
    for update in at:
        cursor.go_to_update(update)
        tops.append([*cursor.bids.top(1)[0], *cursor.asks.top(1)[0]])

    assert book.gaps == 0
    assert (str(book.instrument.tick_size), str(book.instrument.lot_size)) == ("0.01", "0.00001")
    assert tops == book.best[at].tolist()
    assert (book.best[:, 0] < book.best[:, 2]).all()
