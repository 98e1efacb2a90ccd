import pytest

from fauxchange.domain.errors import Forbidden, Rejected
from fauxchange.domain.orders import FillRecord

T0_NS = 1_769_860_800_000_000_000

ADMINISTRATION = [
    ("POST", "/accounts"),
    ("GET", "/accounts"),
    ("GET", "/accounts/3"),
    ("PATCH", "/accounts/3"),
    ("GET", "/accounts/3/balances"),
    ("GET", "/accounts/3/orders"),
    ("GET", "/accounts/3/fills"),
    ("GET", "/accounts/3/ledger"),
    ("POST", "/accounts/3/deposits"),
    ("POST", "/accounts/3/withdrawals"),
    ("POST", "/accounts/3/keys"),
    ("GET", "/accounts/3/keys"),
    ("GET", "/accounts/3/keys/key-1"),
    ("DELETE", "/accounts/3/keys/key-1"),
    ("POST", "/instruments/BTC-USD/status"),
]


@pytest.fixture
async def alice(client):
    """Make an account."""
    return (await client.admin("POST", "/accounts", {"name": "alice", "tier": 2})).json()


@pytest.mark.parametrize(("method", "path"), ADMINISTRATION)
async def test_administration_wants_the_admin_key(client, exchange, check_problem, method, path):
    nobody = await client.plain(method, path)
    wrong = await client.plain(method, path, headers={"Authorization": "Bearer guessed"})

    check_problem(nobody, 401, "admin_key_required")
    check_problem(wrong, 401, "wrong_admin_key")
    assert exchange.people == {}


@pytest.mark.parametrize(("method", "path"), ADMINISTRATION)
async def test_a_trader_may_not_administer(client, exchange, check_problem, method, path):
    signed = await client.signed(method, path)
    presented = await client.plain(method, path, headers={"Authorization": "Bearer fxk_alice"})

    check_problem(signed, 403, "forbidden")
    check_problem(presented, 403, "forbidden")
    assert exchange.people == {}


async def test_an_account_is_created(client, exchange):
    response = await client.admin(
        "POST", "/accounts", {"name": "alice", "tier": 2}, headers={"Idempotency-Key": "key 1"}
    )

    assert response.status_code == 201
    assert response.json() == {
        "account_id": "3",
        "name": "alice",
        "tier": 2,
        "status": "active",
        "created_at": "2026-01-31T12:00:00.000000Z",
        "updated_at": "2026-01-31T12:00:00.000000Z",
    }
    assert exchange.idempotency_keys == ["key 1"]
    assert (exchange.origins[0].actor, exchange.origins[0].source) == ("admin", "10.1.2.3")


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "missing_field", "name"),
        ({"name": ""}, "invalid_request", "name"),
        ({"name": "x" * 65}, "invalid_request", "name"),
        ({"name": 5}, "invalid_request", "name"),
        ({"name": "a", "tier": "1"}, "invalid_request", "tier"),
        ({"name": "a", "tier": 16}, "invalid_request", "tier"),
        ({"name": "a", "tier": -1}, "invalid_request", "tier"),
        ({"name": "a", "tier": True}, "invalid_request", "tier"),
        ({"name": "a", "admin": True}, "unknown_field", "admin"),
    ],
)
async def test_an_account_of_another_shape_is_refused(client, exchange, check_problem, body, code, field):
    check_problem(await client.admin("POST", "/accounts", body), 400, code, field)
    assert exchange.people == {}


async def test_accounts_are_listed_by_status(client, alice, exchange):
    response = await client.admin("GET", "/accounts?status=suspended&limit=2&cursor=c")

    assert response.json() == {"accounts": [alice], "next_cursor": None}
    (query,) = exchange.queries
    assert (query.status, query.limit, query.cursor) == (1, 2, "c")


async def test_one_account_is_read(client, alice):
    assert (await client.admin("GET", "/accounts/3")).json() == alice


@pytest.mark.parametrize(("path", "status"), [("77", 404), ("x", 400), ("-1", 400), ("03", 400), ("9" * 19, 400)])
async def test_an_account_that_does_not_exist_is_told_from_one_that_cannot(client, path, status):
    assert (await client.admin("GET", f"/accounts/{path}")).status_code == status


async def test_an_account_is_suspended(client, alice):
    response = await client.admin("PATCH", "/accounts/3", {"status": "suspended"})

    assert (response.status_code, response.json()["status"]) == (200, "suspended")


async def test_an_account_that_is_not_empty_is_not_closed(client, alice, exchange, check_problem):
    exchange.failure = Rejected("it is not empty", code="account_not_empty", reason=211)

    document = check_problem(await client.admin("PATCH", "/accounts/3", {"status": "closed"}), 422, "account_not_empty")

    assert (document["reason"], "order" in document) == (211, False)


async def test_the_venues_own_accounts_are_left_alone(client, exchange, check_problem):
    exchange.failure = Forbidden("it is the venue's own", code="venue_account")

    check_problem(await client.admin("PATCH", "/accounts/1", {"status": "closed"}), 403, "venue_account")


@pytest.mark.parametrize("kind", ["deposits", "withdrawals"])
async def test_money_is_moved(client, alice, exchange, kind):
    response = await client.admin(
        "POST", f"/accounts/3/{kind}", {"asset": "USD", "amount": "2.50"}, headers={"Idempotency-Key": "k"}
    )

    assert response.status_code == 201
    document = response.json()
    assert (document["account_id"], document["asset"], document["amount"]) == ("3", "USD", "2.50000000")
    assert exchange.idempotency_keys[-1] == "k"


@pytest.mark.parametrize("kind", ["deposits", "withdrawals"])
@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"asset": "USD", "amount": 5}, 400, "invalid_request", "amount"),
        ({"asset": "USD", "amount": "-5"}, 400, "invalid_request", "amount"),
        ({"asset": "USD", "amount": "1e9"}, 400, "invalid_request", "amount"),
        ({"asset": "USD", "amount": "0.000000001"}, 400, "off_grid", "amount"),
        ({"asset": "USD", "amount": "99999999999999999999"}, 400, "out_of_range", "amount"),
        ({"asset": "usd", "amount": "5"}, 400, "invalid_request", "asset"),
        ({"asset": "XXX", "amount": "5"}, 404, "unknown_asset", "asset"),
        ({"asset": "USD"}, 400, "missing_field", "amount"),
        ({"asset": "USD", "amount": "5", "to": "4"}, 400, "unknown_field", "to"),
    ],
)
async def test_money_of_another_shape_is_not_moved(client, alice, check_problem, kind, body, status, code, field):
    check_problem(await client.admin("POST", f"/accounts/3/{kind}", body), status, code, field)


async def test_an_accounts_balances_orders_fills_and_ledger_are_read(client, alice, exchange, order):
    exchange.fills_of[1] = [
        FillRecord(
            trade_id=9, order_id=1, account=3, symbol="BTC/USD", client_order_id=None, side=0, is_maker=True,
            last_ticks=1, last_lots=1, fee=0, ts_ns=T0_NS, sequence=1,
        )
    ]  # fmt: skip
    await client.signed("POST", "/orders", order())

    balances = await client.admin("GET", "/accounts/3/balances")
    orders = await client.admin("GET", "/accounts/3/orders?status=open&symbol=BTC-USD")
    fills = await client.admin("GET", "/accounts/3/fills?order_id=1")
    ledger = await client.admin("GET", "/accounts/3/ledger?cause=trade")

    assert balances.json()["balances"][0]["free"] == "10.00000000"
    assert [one["order_id"] for one in orders.json()["orders"]] == ["1"]
    assert [one["liquidity"] for one in fills.json()["fills"]] == ["maker"]
    assert ledger.json() == {"entries": [], "next_cursor": None}
    assert [query.account for query in exchange.queries] == [3, 3, 3]


@pytest.mark.parametrize("part", ["", "/balances", "/orders", "/fills", "/ledger", "/keys", "/keys/key-1"])
async def test_there_is_nothing_of_an_account_that_does_not_exist(client, check_problem, part):
    check_problem(await client.admin("GET", f"/accounts/77{part}"), 404, "unknown_account", "account_id")


async def test_the_secret_of_a_key_is_told_once(client, alice):
    created = await client.admin("POST", "/accounts/3/keys", {"label": "bot"})
    listed = await client.admin("GET", "/accounts/3/keys")
    one = await client.admin("GET", "/accounts/3/keys/key-1")

    assert created.status_code == 201
    assert (created.json()["api_key"], created.json()["api_secret"]) == ("key-1", "the-secret")
    assert listed.json() == {"keys": [one.json()]}
    assert (one.json()["label"], one.json()["revoked_at"]) == ("bot", None)
    assert "secret" not in listed.text + one.text
    assert "sealed" not in listed.text + one.text


async def test_a_key_is_revoked(client, alice, check_problem):
    await client.admin("POST", "/accounts/3/keys", {})

    revoked = await client.admin("DELETE", "/accounts/3/keys/key-1")
    unknown = await client.admin("DELETE", "/accounts/3/keys/key-2")

    assert (revoked.status_code, revoked.json()["revoked_at"]) == (200, "2026-01-31T12:00:00.000000Z")
    check_problem(unknown, 404, "unknown_key", "api_key")
    check_problem(await client.admin("GET", "/accounts/3/keys/key-2"), 404, "unknown_key", "api_key")


async def test_an_instrument_is_halted(client, exchange, check_problem):
    response = await client.admin("POST", "/instruments/BTC-USD/status", {"status": "halted"})
    unknown = await client.admin("POST", "/instruments/XXX-USD/status", {"status": "halted"})
    wrong = await client.admin("POST", "/instruments/BTC-USD/status", {"status": "closed"})

    assert (response.status_code, response.json()["status"]) == (200, "halted")
    assert exchange.origins[0].actor == "admin"
    check_problem(unknown, 404, "unknown_symbol", "symbol")
    check_problem(wrong, 400, "invalid_request", "status")
