import json
from collections.abc import Callable

from exchange_fake import TIME, FakeExchange
from typer.testing import Result

Run = Callable[..., Result]


def test_a_book_is_drawn_with_its_best_prices_first(run: Run, exchange: FakeExchange) -> None:
    book = {
        "symbol": "BTC/USD",
        "bids": [["99.00", "1.0"], ["98.00", "2.0"]],
        "asks": [["101.00", "3.0"]],
        "sequence": 7,
        "timestamp": TIME,
    }
    exchange.answers["GET /api/v1/book/BTC-USD"] = (200, book)

    text = run("book", "BTC-USD", "--once", "--depth", "2")
    document = run("book", "BTC-USD", "--once", "--json")

    rows = [line.split() for line in text.stdout.splitlines() if "." in line and ":" not in line]
    assert rows == [["1.0", "99.00", "101.00", "3.0"], ["2.0", "98.00"]]
    assert exchange.lines()[0] == "GET /book/BTC-USD?depth=2"
    assert json.loads(document.stdout) == book


def test_trades_and_instruments_are_listed(run: Run, exchange: FakeExchange) -> None:
    trade = {
        "trade_id": "4",
        "symbol": "BTC/USD",
        "side": "sell",
        "price": "59999.50",
        "quantity": "0.01000",
        "timestamp": TIME,
    }
    instrument = {
        "symbol": "BTC/USD",
        "base": "BTC",
        "quote": "USD",
        "status": "open",
        "tick_size": "0.01",
        "lot_size": "0.00001",
        "min_quantity": "0.00001",
        "max_quantity": None,
        "min_notional": None,
        "max_notional": None,
        "price_band": None,
        "max_open_orders": None,
        "maker_fee": "0.001",
        "taker_fee": "0.002",
    }
    exchange.answers["GET /api/v1/trades/BTC-USD"] = (200, {"trades": [trade], "next_cursor": None})
    exchange.answers["GET /api/v1/instruments"] = (200, {"instruments": [instrument]})

    assert "59999.50" in run("trades", "BTC/USD").stdout
    assert "0.00001" in run("instruments").stdout


def test_who_finds_no_trades_is_told_where_those_of_background_traders_are(run: Run, exchange: FakeExchange) -> None:
    exchange.answers["GET /api/v1/trades/BTC-USD"] = (200, {"trades": [], "next_cursor": None})

    result = run("trades", "BTC-USD")

    assert result.exit_code == 0
    assert result.stdout == ""
    assert "--follow" in result.stderr
