import io
from typing import Any

import pytest
from rich.console import Console

from fauxchange.cli.prices import RATE_WINDOW_S, Board, line


def price(symbol: str, mid: str, *, last: str | None = "100.00") -> dict[str, Any]:
    return {
        "symbol": symbol,
        "bid": "99.99",
        "ask": "100.01",
        "mid": mid,
        "last": last,
        "sequence": 1,
        "timestamp": "2026-01-31T12:00:00.000000Z",
    }


def drawn(board: Board, now_s: float, *, colours: bool = False) -> str:
    screen = io.StringIO()
    Console(file=screen, width=120, force_terminal=colours, no_color=not colours).print(board.render(now_s))
    return screen.getvalue()


def test_the_change_is_counted_from_the_first_price_seen() -> None:
    board = Board(0.0)
    board.take(price("BTC/USD", "100.00"), 0.0)
    board.take(price("BTC/USD", "98.50"), 1.0)

    table = drawn(board, 3.5)

    assert "-1.500%" in table
    assert "2.5 s" in table


@pytest.mark.parametrize(("mid", "colour"), [("101.00", "\x1b[32m"), ("99.00", "\x1b[31m")])
def test_rises_are_green_and_falls_red(mid: str, colour: str) -> None:
    board = Board(0.0)
    board.take(price("BTC/USD", "100.00"), 0.0)
    board.take(price("BTC/USD", mid), 1.0)

    assert colour in drawn(board, 1.0, colours=True)


def test_the_rate_counts_updates_of_the_last_seconds_only() -> None:
    board = Board(0.0)
    board.take(price("BTC/USD", "100.00"), 0.0, update=False)
    for tenth in range(1, 101):
        board.take(price("BTC/USD", "100.00"), tenth / 10)
    row = board.rows["BTC/USD"]

    assert board.rate(row, 10.0) == pytest.approx(10.0)
    assert board.rate(row, 10.0 + RATE_WINDOW_S) == 0.0


def test_the_first_moments_tell_no_rate() -> None:
    board = Board(0.0)
    board.take(price("BTC/USD", "100.00"), 0.1)

    assert board.rate(board.rows["BTC/USD"], 0.2) == 0.0


def test_a_symbol_without_a_last_price_is_shown_with_a_dash() -> None:
    board = Board(0.0)
    board.take(price("SOL/USD", "100.00", last=None), 0.0)

    assert drawn(board, 0.0).split("SOL/USD")[1].split()[:4] == ["99.99", "100.01", "100.00", "-"]


def test_lines_stand_in_columns() -> None:
    first, second = line(price("BTC/USD", "100.00")), line(price("ADA/USDT", "0.45", last=None))

    assert first.startswith("2026-01-31T12:00:00.000000Z BTC/USD ")
    assert len(first) == len(second)
