import json
from collections.abc import Callable

import pytest
from exchange_fake import ACCOUNT, BALANCES, TIME, TRANSFER, FakeExchange
from typer.testing import Result

Run = Callable[..., Result]


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
