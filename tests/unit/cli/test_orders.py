import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from exchange_fake import BALANCES, ORDER, TIME, FakeExchange
from typer.testing import Result

from fauxchange.cli import orders
from fauxchange.client import requests
from fauxchange.contracts.exchange import messages

Run = Callable[..., Result]


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


def test_words_repeated_for_quick_help_are_those_of_the_contract() -> None:
    assert get_args(orders.TimeInForce) == get_args(messages.TimeInForceName)
    assert get_args(orders.Prevention) == get_args(messages.SelfTradePreventionName)
    assert get_args(orders.Status) == get_args(messages.OrderStatusName)
    assert get_args(orders.Cause) == get_args(requests.LedgerCause)
