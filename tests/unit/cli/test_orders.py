"""Commands against a small exchange on a real port, which answers from a table and keeps what it was asked."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import Result

from fauxchange.cli import orders
from fauxchange.client import requests
from fauxchange.contracts.exchange import messages

Run = Callable[..., Result]
TIME = "2026-01-31T12:00:00.000000Z"

ORDER: dict[str, Any] = {
    "order_id": "17",
    "client_order_id": "my-1",
    "account_id": "3",
    "symbol": "BTC/USD",
    "side": "buy",
    "type": "limit",
    "time_in_force": "GTC",
    "status": "FILLED",
    "quantity": "0.01000",
    "filled_quantity": "0.01000",
    "remaining_quantity": "0.00000",
    "quote_quantity": None,
    "price": "60000.00",
    "stop_price": None,
    "display_quantity": None,
    "average_price": "59999.50",
    "post_only": False,
    "self_trade_prevention": "none",
    "triggered": False,
    "fee": "1.20",
    "fee_asset": "USD",
    "reason": None,
    "replaces": None,
    "expires_at": None,
    "created_at": TIME,
    "updated_at": TIME,
    "fills": [],
}
ACCOUNT = {
    "account_id": "5",
    "name": "my bot",
    "tier": 0,
    "status": "active",
    "created_at": TIME,
    "updated_at": TIME,
}
BALANCES = {"account_id": "3", "balances": [{"asset": "USD", "free": "12.30", "held": "0.70"}]}
TRANSFER = {
    "transfer_id": "1",
    "account_id": "5",
    "asset": "USD",
    "amount": "100.00",
    "free": "100.00",
    "held": "0.00",
    "timestamp": TIME,
}


class FakeExchange:
    """Answers by `METHOD path`; what is not in the table is not found."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        exchange = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("content-length", 0))
                body = json.loads(self.rfile.read(length)) if length else None
                headers = {name.lower(): value for name, value in self.headers.items()}
                exchange.asked.append((f"{self.command} {self.path}", headers, body))
                status, document = exchange.answers.get(
                    f"{self.command} {self.path.partition('?')[0]}", (404, {"code": "not_found", "detail": "nothing"})
                )
                payload = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - names that the library looks for

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def lines(self) -> list[str]:
        return [line.replace("/api/v1", "") for line, _, _ in self.asked]


@pytest.fixture
def exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeExchange]:
    """Return an exchange that runs on the default data folder, with a demo account and an admin key."""
    fake = FakeExchange()
    serving = threading.Thread(target=fake.server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    ready = {
        "http": fake.url,
        "grpc": "127.0.0.1:1",
        "audit": None,
        "pid": os.getpid(),
        "demo": {"account_id": "3", "api_key": "demo-key", "api_secret": "demo-secret"},
        "admin_key": "the-admin-key",
    }
    (tmp_path / "ready.json").write_text(json.dumps(ready))
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    yield fake
    fake.server.shutdown()
    serving.join()
    fake.server.server_close()


def test_an_order_is_placed_as_the_demo_account_of_the_running_venue(run: Run, exchange: FakeExchange) -> None:
    exchange.answers["POST /api/v1/orders"] = (201, ORDER)

    result = run("order", "buy", "BTC-USD", "0.01")

    (line, headers, body) = exchange.asked[0]
    assert result.exit_code == 0
    assert line == "POST /api/v1/orders"
    assert headers["fx-key"] == "demo-key"
    assert body.pop("client_order_id").startswith("fx-")
    assert body == {"symbol": "BTC-USD", "side": "buy", "type": "market", "quantity": "0.01"}
    assert "FILLED" in result.stdout
    assert "59999.50" in result.stdout


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (["1", "--limit", "61000", "--post-only"], {"quantity": "1", "price": "61000", "post_only": True}),
        (["--quote-amount", "500"], {"type": "market", "quote_quantity": "500"}),
        (["1", "--stop", "59000"], {"type": "stop", "quantity": "1", "stop_price": "59000"}),
        (
            ["1", "--take-profit", "65000", "--limit", "64990"],
            {"type": "take_profit_limit", "quantity": "1", "stop_price": "65000", "price": "64990"},
        ),
        (
            ["1", "--limit", "9", "--tif", "GTD", "--expires", "2030-01-01T00:00:00Z"],
            {"quantity": "1", "price": "9", "time_in_force": "GTD", "expires_at": "2030-01-01T00:00:00Z"},
        ),
        (["1", "--limit", "9", "--display", "0.1"], {"quantity": "1", "price": "9", "display_quantity": "0.1"}),
        (
            ["1", "--self-trade", "expire_maker"],
            {"type": "market", "quantity": "1", "self_trade_prevention": "expire_maker"},
        ),
    ],
)
def test_each_option_of_an_order_is_sent(
    run: Run, exchange: FakeExchange, options: list[str], sent: dict[str, Any]
) -> None:
    exchange.answers["POST /api/v1/orders"] = (201, ORDER)

    result = run("order", "sell", "BTC-USD", *options, "--client-order-id", "my-1")

    assert result.exit_code == 0
    assert exchange.asked[0][2] == {"symbol": "BTC-USD", "side": "sell", "client_order_id": "my-1", **sent}


def test_an_order_waits_for_one_price_only(run: Run, exchange: FakeExchange) -> None:
    result = run("order", "buy", "BTC-USD", "1", "--stop", "2", "--take-profit", "3")

    assert result.exit_code == 2
    assert "not for both" in result.stderr
    assert exchange.asked == []


def test_a_rejected_order_ends_with_what_the_exchange_says(run: Run, exchange: FakeExchange) -> None:
    problem = {
        "code": "insufficient_funds",
        "detail": "the account has too little of it",
        "reason": 401,
        "order": {**ORDER, "status": "REJECTED", "reason": "insufficient_funds"},
    }
    exchange.answers["POST /api/v1/orders"] = (422, problem)

    result = run("order", "buy", "BTC-USD", "1000000")

    assert result.exit_code == 1
    assert result.stderr == "error: the account has too little of it\n"
    assert result.stdout == ""


def test_an_order_as_json_is_what_the_exchange_sent(run: Run, exchange: FakeExchange) -> None:
    exchange.answers["GET /api/v1/orders/client:my-1"] = (200, ORDER)

    result = run("order", "show", "client:my-1", "--json")

    assert json.loads(result.stdout) == ORDER


def test_orders_are_canceled_by_id_or_all_at_once(run: Run, exchange: FakeExchange) -> None:
    exchange.answers["DELETE /api/v1/orders/17"] = (200, {**ORDER, "status": "CANCELED"})
    exchange.answers["DELETE /api/v1/orders"] = (200, {"orders": []})

    one = run("order", "cancel", "17")
    every = run("order", "cancel", "--all", "--symbol", "BTC-USD")
    neither = run("order", "cancel")

    assert exchange.lines() == ["DELETE /orders/17", "DELETE /orders?symbol=BTC-USD"]
    assert "CANCELED" in one.stdout
    assert "there was no open order" in every.stderr
    assert neither.exit_code == 2


def test_an_order_is_amended(run: Run, exchange: FakeExchange) -> None:
    exchange.answers["PATCH /api/v1/orders/17"] = (200, ORDER)

    result = run("order", "amend", "17", "--limit", "59500")

    assert result.exit_code == 0
    assert exchange.asked[0][2] == {"price": "59500", "quantity": None}
    assert run("order", "amend", "17").exit_code == 2


def test_orders_are_listed_with_the_way_to_the_next_page(run: Run, exchange: FakeExchange) -> None:
    exchange.answers["GET /api/v1/orders"] = (200, {"orders": [ORDER], "next_cursor": "abc"})

    result = run("orders", "--open", "--symbol", "BTC-USD", "--count", "1")

    assert exchange.lines() == ["GET /orders?status=open&symbol=BTC-USD&limit=1"]
    assert "BTC/USD" in result.stdout
    assert "--cursor abc" in result.stderr


def test_another_accounts_records_are_looked_at_as_the_administrator(run: Run, exchange: FakeExchange) -> None:
    exchange.answers["GET /api/v1/accounts/5/balances"] = (200, {**BALANCES, "account_id": "5"})

    result = run("balances", "--account", "5")

    assert result.exit_code == 0
    assert exchange.asked[0][1]["authorization"] == "Bearer the-admin-key"


def test_balances_are_shown_with_their_totals(run: Run, exchange: FakeExchange) -> None:
    exchange.answers["GET /api/v1/account/balances"] = (200, BALANCES)

    result = run("balances")

    assert result.stdout.split()[-4:] == ["USD", "12.30", "0.70", "13.00"]


def test_the_ledger_shows_what_moved_with_its_sign(run: Run, exchange: FakeExchange) -> None:
    entry = {
        "entry_id": "9",
        "asset": "USD",
        "delta_free": "-600.00",
        "delta_held": "600.00",
        "free": "400.00",
        "held": "600.00",
        "cause": "reserve",
        "order_id": "17",
        "timestamp": TIME,
    }
    exchange.answers["GET /api/v1/account/ledger"] = (200, {"entries": [entry], "next_cursor": None})

    result = run("ledger", "--asset", "USD", "--cause", "reserve")

    assert exchange.lines() == ["GET /account/ledger?asset=USD&cause=reserve&limit=20"]
    assert "-600.00" in result.stdout
    assert "+600.00" in result.stdout


def test_fills_are_listed(run: Run, exchange: FakeExchange) -> None:
    fill = {
        "trade_id": "4",
        "order_id": "17",
        "client_order_id": None,
        "symbol": "BTC/USD",
        "side": "buy",
        "liquidity": "taker",
        "price": "59999.50",
        "quantity": "0.01000",
        "fee": "1.20",
        "fee_asset": "USD",
        "timestamp": TIME,
    }
    exchange.answers["GET /api/v1/fills"] = (200, {"fills": [fill], "next_cursor": None})

    result = run("fills", "--order", "17")

    assert exchange.lines() == ["GET /fills?order_id=17&limit=20"]
    assert "1.20 USD" in result.stdout


def test_without_a_running_venue_the_command_says_how_to_start_one(run: Run, tmp_path: Path) -> None:
    result = run("balances", "--data-dir", tmp_path)

    assert result.exit_code == 1
    assert "fauxchange up" in result.stderr


def test_an_address_that_nobody_answers_at_is_told(run: Run, exchange: FakeExchange) -> None:
    exchange.server.server_close()
    keys = ["--api-key", "k", "--api-secret", "s"]

    result = run("balances", "--url", exchange.url, *keys)

    assert result.exit_code == 1
    assert "nothing answers at" in result.stderr
    assert "fauxchange up" in result.stderr


def test_an_address_without_keys_asks_for_them(run: Run, exchange: FakeExchange) -> None:
    result = run("balances", "--url", exchange.url)

    assert result.exit_code == 2
    assert "--api-key" in result.stderr


def test_keys_may_come_from_the_environment(run: Run, exchange: FakeExchange) -> None:
    exchange.answers["GET /api/v1/account/balances"] = (200, BALANCES)

    result = run("balances", env={"FX_API_KEY": "other", "FX_API_SECRET": "s"})

    assert result.stderr == ""

    assert exchange.asked[0][1]["fx-key"] == "other"


# Accounts


def test_an_account_is_created_funded_and_given_a_key(run: Run, exchange: FakeExchange) -> None:
    key = {"api_key": "k-5", "api_secret": "s-5", "account_id": "5", "label": "laptop", "created_at": TIME}
    exchange.answers["POST /api/v1/accounts"] = (201, ACCOUNT)
    exchange.answers["POST /api/v1/accounts/5/deposits"] = (201, TRANSFER)
    exchange.answers["POST /api/v1/accounts/5/keys"] = (201, key)

    created = run("accounts", "create", "my bot", "--json")
    funded = run("accounts", "deposit", "5", "usd", "100", "--idempotency-key", "once")
    keyed = run("accounts", "create-key", "5", "--label", "laptop")

    assert json.loads(created.stdout) == ACCOUNT
    assert "100.00 USD" in funded.stdout
    assert exchange.asked[1][1]["idempotency-key"] == "once"
    assert exchange.asked[1][2] == {"asset": "USD", "amount": "100"}
    assert "s-5" in keyed.stdout
    assert "not shown again" in keyed.stderr


@pytest.mark.parametrize(("command", "status"), [("suspend", "suspended"), ("activate", "active"), ("close", "closed")])
def test_an_accounts_status_is_changed(run: Run, exchange: FakeExchange, command: str, status: str) -> None:
    exchange.answers["PATCH /api/v1/accounts/5"] = (200, {**ACCOUNT, "status": status})

    result = run("accounts", command, "5")

    assert exchange.asked[0][2] == {"status": status}
    assert status in result.stdout


def test_an_account_is_shown_with_what_it_has(run: Run, exchange: FakeExchange) -> None:
    exchange.answers["GET /api/v1/accounts/5"] = (200, ACCOUNT)
    exchange.answers["GET /api/v1/accounts/5/balances"] = (200, BALANCES)

    text, document = run("accounts", "show", "5"), run("accounts", "show", "5", "--json")

    assert "12.30 free, 0.70 held" in text.stdout
    assert json.loads(document.stdout) == {**ACCOUNT, "balances": BALANCES["balances"]}


def test_keys_are_listed_and_revoked(run: Run, exchange: FakeExchange) -> None:
    key = {"api_key": "k-5", "account_id": "5", "label": "", "created_at": TIME, "revoked_at": None}
    exchange.answers["GET /api/v1/accounts/5/keys"] = (200, {"keys": [key]})
    exchange.answers["DELETE /api/v1/accounts/5/keys/k-5"] = (200, {**key, "revoked_at": TIME})

    listed, revoked = run("accounts", "keys", "5"), run("accounts", "revoke-key", "5", "k-5")

    assert "k-5" in listed.stdout
    assert TIME in revoked.stdout


def test_accounts_are_listed(run: Run, exchange: FakeExchange) -> None:
    exchange.answers["GET /api/v1/accounts"] = (200, {"accounts": [ACCOUNT], "next_cursor": None})

    result = run("accounts", "list", "--status", "active")

    assert exchange.lines() == ["GET /accounts?status=active&limit=50"]
    assert "my bot" in result.stdout


def test_withdrawals_that_are_refused_are_told(run: Run, exchange: FakeExchange) -> None:
    exchange.answers["POST /api/v1/accounts/5/withdrawals"] = (
        422,
        {"code": "insufficient_funds", "detail": "too little", "reason": 401},
    )

    result = run("accounts", "withdraw", "5", "USD", "100")

    assert (result.exit_code, result.stderr) == (1, "error: too little\n")


# Markets


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


def test_words_repeated_for_quick_help_are_those_of_the_contract() -> None:
    assert get_args(orders.TimeInForce) == get_args(messages.TimeInForceName)
    assert get_args(orders.Prevention) == get_args(messages.SelfTradePreventionName)
    assert get_args(orders.Status) == get_args(messages.OrderStatusName)
    assert get_args(orders.Cause) == get_args(requests.LedgerCause)
