import hmac

import msgspec
import pytest

from fauxchange.domain.errors import FauxchangeError, Rejected, Unavailable
from fauxchange.domain.orders import FillRecord, LedgerEntry
from fauxchange.platform.errors import NEUTRAL_DETAIL
from fauxchange.services.exchange.service.requests import Outcome

T0_NS = 1_769_860_800_000_000_000
NOW_MS = str(T0_NS // 1_000_000)


def fill_of(order_id=1):
    return FillRecord(
        trade_id=9, order_id=order_id, account=3, symbol="BTC/USD", client_order_id=None, side=0, is_maker=False,
        last_ticks=5_999_950, last_lots=40, fee=1_200_000, ts_ns=T0_NS, sequence=77,
    )  # fmt: skip


# Placing


async def test_a_new_order_is_answered_with_201_and_the_order(client, order, exchange):
    response = await client.signed("POST", "/orders", order(client_order_id="my-1"))

    document = response.json()
    assert (response.status_code, response.headers["content-type"]) == (201, "application/json")
    assert (document["order_id"], document["client_order_id"], document["account_id"]) == ("1", "my-1", "3")
    assert (document["status"], document["price"], document["quantity"]) == ("NEW", "60000.00", "0.0100")


async def test_the_same_order_again_is_answered_with_200_and_the_first_one(client, order):
    first = await client.signed("POST", "/orders", order(client_order_id="my-1"))
    again = await client.signed("POST", "/orders", order(client_order_id="my-1"))

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()


async def test_the_same_client_order_id_for_another_order_is_a_conflict(client, order, check_problem):
    await client.signed("POST", "/orders", order(client_order_id="my-1"))
    other = await client.signed("POST", "/orders", order(client_order_id="my-1", price="60001.00"))

    check_problem(other, 409, "duplicate_client_order_id", "client_order_id")


async def test_fills_come_with_the_order(client, order, exchange):
    exchange.fills_of[1] = [fill_of()]

    document = (await client.signed("POST", "/orders", order())).json()

    assert [(fill["price"], fill["quantity"], fill["liquidity"]) for fill in document["fills"]] == [
        ("59999.50", "0.0040", "taker")
    ]


async def test_a_rejected_order_is_422_with_reason_and_order(client, order, exchange, check_problem):
    exchange.refuse_with = 401

    response = await client.signed("POST", "/orders", order(client_order_id="my-1"))

    document = check_problem(response, 422, "insufficient_funds")
    assert document["reason"] == 401
    assert (document["order"]["status"], document["order"]["client_order_id"]) == ("REJECTED", "my-1")
    assert document["order"]["reason"] == "insufficient_funds"
    assert document["instance"] == "/api/v1/orders"
    assert "ratelimit-remaining" in response.headers


async def test_a_rejected_order_is_rejected_again_when_it_is_repeated(client, order, exchange, check_problem):
    exchange.refuse_with = 301
    await client.signed("POST", "/orders", order(client_order_id="my-1"))

    again = await client.signed("POST", "/orders", order(client_order_id="my-1"))

    assert check_problem(again, 422, "post_only_would_trade")["order"]["order_id"] == "1"


async def test_where_an_order_came_from_is_handed_on(client, order, exchange):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"X-Request-Id": "my-request", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}

    await client.signed("POST", "/orders", order(), headers=headers)

    (origin,) = exchange.origins
    assert (origin.actor, origin.source) == ("key:fxk_alice", "10.1.2.3")
    assert (origin.request_id, origin.trace_id) == ("my-request", trace)


async def test_a_failure_of_the_service_is_told_as_it_is(client, order, exchange, check_problem):
    exchange.failure = Unavailable("the journal is full", code="journal_unavailable", retry_after_s=2)

    response = await client.signed("POST", "/orders", order())

    check_problem(response, 503, "journal_unavailable")
    assert response.headers["retry-after"] == "2"


async def test_an_accident_tells_nothing_of_the_inside(client, order, exchange, check_problem):
    exchange.failure = ZeroDivisionError("secret")

    assert (
        check_problem(await client.signed("POST", "/orders", order()), 500, "internal_error")["detail"]
        == NEUTRAL_DETAIL
    )


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"quantity": 1}, "invalid_request", "quantity"),
        ({"quantity": "-1"}, "invalid_request", "quantity"),
        ({"quantity": "1e5"}, "invalid_request", "quantity"),
        ({"quantity": "NaN"}, "invalid_request", "quantity"),
        ({"quantity": "9" * 41}, "invalid_request", "quantity"),
        ({"quantity": "99999999999999999999"}, "out_of_range", "quantity"),
        ({"price": "60000.001"}, "off_grid", "price"),
        ({"price": None, "side": None}, "invalid_request", "side"),
        ({"side": "BUY"}, "invalid_request", "side"),
        ({"side": 0}, "invalid_request", "side"),
        ({"type": "iceberg"}, "invalid_request", "type"),
        ({"post_only": "true"}, "invalid_request", "post_only"),
        ({"post_only": 1}, "invalid_request", "post_only"),
        ({"symbol": "BTCUSD"}, "invalid_request", "symbol"),
        ({"symbol": ["BTC-USD"]}, "invalid_request", "symbol"),
        ({"client_order_id": ""}, "invalid_request", "client_order_id"),
        ({"client_order_id": "x" * 37}, "invalid_request", "client_order_id"),
        ({"client_order_id": "a b"}, "invalid_request", "client_order_id"),
        ({"time_in_force": "DAY"}, "invalid_request", "time_in_force"),
        ({"leverage": "10"}, "unknown_field", "leverage"),
    ],
)
async def test_an_order_of_another_shape_is_refused_by_its_field(
    client, order, exchange, check_problem, changes, code, field
):
    response = await client.signed("POST", "/orders", order(**changes))

    check_problem(response, 400, code, field)
    assert exchange.placed == []


@pytest.mark.parametrize(
    ("raw", "code", "field"),
    [
        (b"", "missing_body", "body"),
        (b"{", "malformed_body", None),
        (b'{"symbol": "\xff"}', "malformed_body", None),
        (b"[]", "invalid_request", "body"),
        (b"null", "invalid_request", "body"),
        (b"{}", "missing_field", "symbol"),
        (b'{"symbol":' + b"[" * 30_000, "malformed_body", None),
    ],
)
async def test_a_body_that_is_no_order_is_refused(client, exchange, check_problem, raw, code, field):
    response = await client.signed("POST", "/orders", raw=raw)

    assert response.json()["code"] in {code, "invalid_request"}
    check_problem(response, 400, code, field) if response.json()["code"] == code else None
    assert exchange.placed == []


async def test_a_symbol_that_is_not_traded_is_404(client, order, check_problem):
    check_problem(await client.signed("POST", "/orders", order(symbol="XXX-USD")), 404, "unknown_symbol", "symbol")


async def test_a_body_of_64_kib_is_read_and_refused_by_its_field_and_a_larger_one_is_not_read(
    client, order, check_problem
):
    def padded(size):
        raw = msgspec.json.encode(order(padding=""))
        return msgspec.json.encode(order(padding="x" * (size - len(raw))))

    fits = await client.signed("POST", "/orders", raw=padded(64 * 1024))
    larger = await client.signed("POST", "/orders", raw=padded(64 * 1024 + 1))

    check_problem(fits, 400, "unknown_field", "padding")
    check_problem(larger, 413, "payload_too_large")


async def test_a_body_of_another_type_is_refused(client, order, check_problem):
    headers = {"Content-Type": "text/plain"}

    check_problem(
        await client.signed("POST", "/orders", order(), headers=headers), 415, "unsupported_media_type", "content-type"
    )


# Signatures


@pytest.mark.parametrize("missing", ["FX-Key", "FX-Timestamp", "FX-Signature"])
async def test_a_request_that_is_not_signed_is_401_whatever_else_is_wrong_with_it(client, check_problem, missing):
    headers = {"FX-Key": "fxk_alice", "FX-Timestamp": "1", "FX-Signature": "00"}
    del headers[missing]

    response = await client.plain("POST", "/orders", content=b"rubbish", headers=headers)

    check_problem(response, 401, "unsigned_request")
    assert "www-authenticate" in response.headers
    assert "ratelimit-limit" not in response.headers


@pytest.mark.parametrize("changes", [{"secret": b"guessed"}, {"key": "nobody", "secret": b"x"}])
async def test_a_wrong_signature_is_401_and_nothing_is_done(client, order, exchange, check_problem, changes):
    check_problem(await client.signed("POST", "/orders", order(), **changes), 401, "invalid_signature")
    assert exchange.placed == []


async def test_what_is_signed_is_the_path_as_it_was_sent(client, order):
    await client.signed("POST", "/orders", order(client_order_id="my-1"))

    encoded = await client.signed("GET", "/orders/client:my%2D1")
    query = await client.signed("GET", "/orders?symbol=BTC%2FUSD&limit=5")

    assert (encoded.status_code, query.status_code) == (200, 200)


@pytest.mark.parametrize("change", ["path", "query", "method", "body", "order of parameters"])
async def test_a_request_that_was_changed_on_its_way_is_refused(client, order, exchange, check_problem, change):
    await client.signed("POST", "/orders", order())
    signed = (await client.signed("GET", "/orders?limit=5&symbol=BTC-USD", timestamp=NOW_MS)).request
    method, path, content = "GET", "/orders?limit=5&symbol=BTC-USD", b""
    if change == "path":
        path = path.replace("orders", "fills")
    elif change == "query":
        path = path.replace("5", "6")
    elif change == "order of parameters":
        path = "/orders?symbol=BTC-USD&limit=5"
    elif change == "method":
        method, path = "DELETE", "/orders?symbol=BTC-USD"
    else:
        content = b" "

    response = await client.plain(method, path, content=content, headers=signed.headers)

    check_problem(response, 401, "invalid_signature")
    assert exchange.placed[0].status == 0


async def test_a_request_is_accepted_once(client, order, exchange, check_problem):
    first = await client.signed("POST", "/orders", order())
    again = await client.http.send(first.request)

    check_problem(again, 401, "replayed_request")
    assert len(exchange.placed) == 1


async def test_identical_requests_of_one_millisecond_are_kept_apart_by_a_nonce(client, order, exchange):
    answers = [
        await client.signed("POST", "/orders", order(), timestamp=NOW_MS, nonce=nonce) for nonce in ("n-1", "n-2")
    ]

    assert [answer.status_code for answer in answers] == [201, 201]


async def test_the_window_is_the_callers(client, check_problem):
    wide = await client.signed("GET", "/account/balances", timestamp=NOW_MS, headers={"FX-Window": "1000"})
    narrow = await client.signed("GET", "/account/balances", timestamp=NOW_MS, headers={"FX-Window": "999"})

    assert wide.status_code == 200
    check_problem(narrow, 401, "stale_timestamp", "timestamp")


async def test_a_revoked_key_is_refused_at_once(client, keys, check_problem):
    before = await client.signed("GET", "/account/balances")
    keys.records["fxk_alice"].revoked_ns = T0_NS

    assert before.status_code == 200
    check_problem(await client.signed("GET", "/account/balances"), 401, "key_revoked")


async def test_the_admin_key_does_not_sign(client, check_problem):
    check_problem(await client.admin("GET", "/orders"), 401, "unsigned_request")


async def test_a_head_request_is_signed_as_the_get_that_it_stands_for(client):
    text = f"{NOW_MS}GET/api/v1/account/balances".encode()
    signature = hmac.digest(b"alice-secret", text, "sha256").hex()
    headers = {"FX-Key": "fxk_alice", "FX-Timestamp": NOW_MS, "FX-Signature": signature}

    response = await client.plain("HEAD", "/account/balances", headers=headers)

    assert (response.status_code, response.content) == (200, b"")


# Allowances


@pytest.mark.parametrize("rate", [{"per_second": 1, "burst": 4}])
async def test_the_headers_tell_what_is_left(client):
    await client.signed("GET", "/account/balances")
    second = await client.signed("GET", "/orders/77")

    assert second.status_code == 404
    assert {name: second.headers[f"ratelimit-{name}"] for name in ("limit", "remaining", "reset")} == {
        "limit": "4",
        "remaining": "2",
        "reset": "2",
    }


@pytest.mark.parametrize("rate", [{"per_second": 2, "burst": 1}])
async def test_who_asks_too_often_is_told_when_to_come_back(client, clock, order, exchange, check_problem):
    await client.signed("POST", "/orders", order())
    refused = await client.signed("POST", "/orders", order())
    other = await client.signed("POST", "/orders", order(), key="fxk_bob")
    clock.ns += 500_000_000
    later = await client.signed("POST", "/orders", order())

    check_problem(refused, 429, "rate_limited")
    assert (refused.headers["retry-after"], refused.headers["ratelimit-remaining"]) == ("1", "0")
    assert refused.headers["ratelimit-limit"] == "1"
    assert (other.status_code, later.status_code) == (201, 201)
    assert len(exchange.placed) == 3


@pytest.mark.parametrize("rate", [{"per_second": 1, "burst": 4}])
async def test_a_batch_costs_as_much_as_its_orders_and_is_refused_as_a_whole(client, order, exchange, check_problem):
    fits = await client.signed("POST", "/orders/batch", {"orders": [order()] * 3})
    refused = await client.signed("POST", "/orders/batch", {"orders": [order()] * 2})

    assert (fits.status_code, fits.headers["ratelimit-remaining"]) == (200, "1")
    check_problem(refused, 429, "rate_limited")
    assert refused.headers["ratelimit-remaining"] == "1"
    assert len(exchange.placed) == 3


@pytest.mark.parametrize("rate", [{"per_second": 1, "burst": 4}])
async def test_a_batch_of_more_than_the_allowance_is_let_through_when_nothing_of_it_was_used(client, order, exchange):
    response = await client.signed("POST", "/orders/batch", {"orders": [order()] * 6})

    assert (response.status_code, len(exchange.placed)) == (200, 6)


@pytest.mark.parametrize("rate", [{"per_second": 1, "burst": 2}])
async def test_all_routes_share_one_allowance(exchange, access, limits, make_app, talk):
    # The framework copies its routes with all that they hold: an application of its own, with nothing in front.
    async with talk(make_app(exchange, access, limits)) as client:
        answers = [await client.signed("GET", path) for path in ("/account/balances", "/orders", "/fills")]

    assert [answer.status_code for answer in answers] == [200, 200, 429]


@pytest.mark.parametrize("rate", [{"per_second": 0}])
async def test_without_a_limit_there_is_nothing_to_tell(client):
    response = await client.signed("GET", "/account/balances")

    assert response.status_code == 200
    assert [name for name in response.headers if name.startswith("ratelimit")] == []


# Batches


async def test_each_order_of_a_batch_is_accepted_or_refused_by_itself(client, order, exchange):
    exchange.fills_of[2] = [fill_of(2)]

    response = await client.signed(
        "POST", "/orders/batch", {"orders": [order(), order(symbol="XXX-USD"), order(side="sell")]}
    )

    first, second, third = response.json()["results"]
    assert response.status_code == 200
    assert (first["order"]["order_id"], first["refusal"]) == ("1", None)
    assert (second["order"], second["refusal"]["code"], second["refusal"]["field"]) == (
        None,
        "unknown_symbol",
        "symbol",
    )
    assert (third["order"]["side"], len(third["order"]["fills"])) == ("sell", 1)


async def test_a_rejected_order_of_a_batch_comes_with_its_refusal(client, order, exchange):
    exchange.refuse_with = 207

    (result,) = (await client.signed("POST", "/orders/batch", {"orders": [order()]})).json()["results"]

    assert (result["order"]["status"], result["refusal"]["code"]) == ("REJECTED", "price_outside_band")
    assert result["refusal"]["reason"] == 207


async def test_a_failure_in_a_batch_tells_nothing_of_the_inside_and_a_stored_order_where_there_is_one(
    client, order, exchange
):
    await client.signed("POST", "/orders", order())
    (stored,) = exchange.placed

    async def outcomes(account, requests, origin):
        refused = Rejected("it is not open any more", code="order_finished", reason=105, order=stored)
        return [Outcome(failure=FauxchangeError("secret")), Outcome(failure=refused)]

    exchange.place_orders = outcomes

    first, second = (await client.signed("POST", "/orders/batch", {"orders": [order(), order()]})).json()["results"]

    assert (first["refusal"]["code"], first["refusal"]["detail"]) == ("internal_error", NEUTRAL_DETAIL)
    assert (second["refusal"]["reason"], second["order"]["order_id"]) == (105, "1")


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"orders": []}, "invalid_request", "orders"),
        ({"orders": [{}]}, "missing_field", "orders[0].symbol"),
        ({}, "missing_field", "orders"),
    ],
)
async def test_a_batch_of_another_shape_is_refused(client, check_problem, body, code, field):
    check_problem(await client.signed("POST", "/orders/batch", body), 400, code, field)


async def test_a_batch_has_at_most_a_hundred_orders(client, order, exchange, check_problem):
    small = {"symbol": "BTC-USD", "side": "buy", "quantity": "1", "price": "1"}

    check_problem(
        await client.signed("POST", "/orders/batch", {"orders": [small] * 101}), 400, "invalid_request", "orders"
    )
    assert (await client.signed("POST", "/orders/batch", {"orders": [small] * 100})).status_code == 200


# Finding, changing, ending


async def test_an_order_is_found_by_both_of_its_ids(client, order):
    placed = (await client.signed("POST", "/orders", order(client_order_id="my-1"))).json()

    by_id = await client.signed("GET", "/orders/1")
    by_client_id = await client.signed("GET", "/orders/client:my-1")
    encoded = await client.signed("GET", "/orders/client%3Amy-1")

    assert [response.json() for response in (by_id, by_client_id, encoded)] == [placed] * 3
    assert by_id.status_code == 200


async def test_the_order_of_another_account_is_not_found(client, order, check_problem):
    await client.signed("POST", "/orders", order())

    check_problem(await client.signed("GET", "/orders/1", key="fxk_bob"), 404, "unknown_order", "order_id")


@pytest.mark.parametrize(
    "ref", ["abc", "0", "-1", "1.0", "client:", "client:a%20b", "9" * 19, "client:" + "x" * 37, "%F0%9F%92%A9"]
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_what_cannot_be_an_order_is_refused(client, check_problem, ref, method):
    check_problem(await client.signed(method, f"/orders/{ref}"), 400, "invalid_request", "order_id")


async def test_a_rejected_order_is_found_with_200(client, order, exchange):
    exchange.refuse_with = 401
    await client.signed("POST", "/orders", order(client_order_id="my-1"))

    found = await client.signed("GET", "/orders/client:my-1")

    assert (found.status_code, found.json()["status"]) == (200, "REJECTED")


async def test_a_canceled_order_is_answered_as_it_stands(client, order):
    await client.signed("POST", "/orders", order(client_order_id="my-1"))

    response = await client.signed("DELETE", "/orders/client:my-1")

    assert response.status_code == 200
    assert (response.json()["status"], response.json()["reason"]) == ("CANCELED", "canceled_by_user")


async def test_a_finished_order_cannot_be_canceled_and_is_told_as_it_stands(client, order, check_problem):
    await client.signed("POST", "/orders", order())
    await client.signed("DELETE", "/orders/1")

    document = check_problem(await client.signed("DELETE", "/orders/1"), 422, "order_finished")

    assert (document["reason"], document["order"]["order_id"], document["order"]["status"]) == (105, "1", "CANCELED")
    assert "fingerprint" not in document["order"]


async def test_all_orders_or_those_of_one_symbol_are_canceled(client, order):
    for symbol in ("BTC-USD", "ETH-USD", "BTC-USD"):
        await client.signed("POST", "/orders", order(symbol=symbol))

    some = await client.signed("DELETE", "/orders?symbol=ETH-USD")
    rest = await client.signed("DELETE", "/orders")

    assert [one["order_id"] for one in some.json()["orders"]] == ["2"]
    assert [one["order_id"] for one in rest.json()["orders"]] == ["1", "3"]


async def test_a_misspelt_filter_cancels_nothing(client, order, exchange, check_problem):
    await client.signed("POST", "/orders", order())

    check_problem(await client.signed("DELETE", "/orders?symbl=ETH-USD"), 400, "unknown_parameter", "symbl")
    assert exchange.placed[0].status == 0


async def test_null_is_no_symbol(client, order, exchange, check_problem):
    await client.signed("POST", "/orders", order())

    check_problem(await client.signed("DELETE", "/orders?symbol=null"), 400, "invalid_request", "symbol")
    assert exchange.placed[0].status == 0


async def test_an_order_is_amended(client, order):
    await client.signed("POST", "/orders", order())

    response = await client.signed("PATCH", "/orders/1", {"price": "60001.50"})

    assert (response.status_code, response.json()["price"]) == (200, "60001.50")


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"price": 1}, "invalid_request", "price"),
        ({"side": "sell"}, "unknown_field", "side"),
        ({"price": "1.001"}, "off_grid", "price"),
    ],
)
async def test_an_amendment_of_another_shape_is_refused(client, order, check_problem, body, code, field):
    await client.signed("POST", "/orders", order())

    check_problem(await client.signed("PATCH", "/orders/1", body), 400, code, field)


async def test_an_order_is_replaced_by_a_new_one(client, order):
    await client.signed("POST", "/orders", order(client_order_id="my-1"))

    response = await client.signed("POST", "/orders/client:my-1/replace", order(price="60001.00"))

    assert response.status_code == 201
    assert (response.json()["order_id"], response.json()["replaces"]) == ("2", "1")


async def test_a_replacement_that_is_rejected_is_422_and_the_old_order_stays(client, order, exchange, check_problem):
    await client.signed("POST", "/orders", order())
    exchange.refuse_with = 401

    response = await client.signed("POST", "/orders/1/replace", order())

    assert check_problem(response, 422, "insufficient_funds")["order"]["order_id"] == "2"
    assert exchange.placed[0].status == 0


# Lists


async def test_orders_are_listed_by_page(client, order):
    await client.signed("POST", "/orders", order())

    response = await client.signed("GET", "/orders")

    assert [one["order_id"] for one in response.json()["orders"]] == ["1"]
    assert response.json()["next_cursor"] == "more"


async def test_every_filter_of_orders_is_handed_on(client, exchange):
    await client.signed(
        "GET",
        "/orders?status=FILLED&symbol=eth-usd&client_order_id=a&start=2026-01-31T12:00:00Z&end=2026-02-01&limit=7"
        "&cursor=c&order=desc",
    )

    (query,) = exchange.queries
    assert (query.account, query.statuses, query.symbol, query.client_order_id) == (3, (2,), "ETH/USD", "a")
    assert (query.start_ns, query.end_ns) == (T0_NS, T0_NS + 12 * 3600 * 10**9)
    assert (query.limit, query.cursor, query.oldest_first) == (7, "c", False)


@pytest.mark.parametrize(("status", "numbers"), [("open", (0, 1)), ("NEW", (0,)), ("EXPIRED", (5,))])
async def test_a_status_is_one_of_the_orders_or_open(client, exchange, status, numbers):
    await client.signed("GET", f"/orders?status={status}")

    assert exchange.queries[0].statuses == numbers


@pytest.mark.parametrize(("query", "oldest"), [("", False), ("?start=2026-01-31", True), ("?order=asc", True)])
async def test_lists_are_newest_first_unless_they_have_a_start(client, exchange, query, oldest):
    await client.signed("GET", f"/fills{query}")

    assert exchange.queries[0].oldest_first is oldest


@pytest.mark.parametrize("path", ["/orders", "/fills", "/account/ledger"])
@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("limit=0", "invalid_request", "limit"),
        ("limit=10001", "invalid_request", "limit"),
        ("limit=x", "invalid_request", "limit"),
        ("start=yesterday", "invalid_time", "start"),
        ("end=2026-13-01", "invalid_time", "end"),
        ("order=up", "invalid_request", "order"),
        ("order=null", "invalid_request", "order"),
        ("limit=null", "invalid_request", "limit"),
        ("colour=red", "unknown_parameter", "colour"),
        ("limit=1&limit=2", "repeated_parameter", "limit"),
    ],
)
async def test_a_list_is_not_asked_for_in_another_way(client, check_problem, path, query, code, field):
    check_problem(await client.signed("GET", f"{path}?{query}"), 400, code, field)


@pytest.mark.parametrize(("start", "end"), [("0001-01-01", "9999-12-31"), ("9999-12-31T23:59:59-12:00", "0001-01-01")])
async def test_a_time_that_no_record_can_have_is_still_one_that_can_be_stored(client, exchange, start, end):
    response = await client.signed("GET", f"/fills?start={start}&end={end}")

    (query,) = exchange.queries
    assert response.status_code == 200
    assert {abs(query.start_ns), abs(query.end_ns)} == {2**63 - 1}
    assert (query.start_ns < query.end_ns) == (start < end)


async def test_fills_are_listed_for_one_order(client, exchange):
    exchange.fills_of[1] = [fill_of()]

    response = await client.signed("GET", "/fills?order_id=1&symbol=BTC%2FUSD")

    assert [fill["trade_id"] for fill in response.json()["fills"]] == ["9"]
    assert (exchange.queries[0].account, exchange.queries[0].order_id, exchange.queries[0].symbol) == (3, 1, "BTC/USD")
    assert not exchange.queries[0].taker_only


# The account


async def test_an_account_reads_itself(client, exchange):
    for name in ("alice", "bob"):
        await client.admin("POST", "/accounts", {"name": name})

    alice, bob = [(await client.signed("GET", "/account", key=key)).json() for key in ("fxk_alice", "fxk_bob")]

    assert [(one["account_id"], one["name"], one["status"]) for one in (alice, bob)] == [
        ("3", "alice", "active"),
        ("4", "bob", "active"),
    ]


async def test_balances_are_in_whole_units(client):
    response = await client.signed("GET", "/account/balances")

    assert response.json() == {
        "account_id": "3",
        "balances": [{"asset": "USD", "free": "10.00000000", "held": "0.50000000"}],
    }


async def test_the_ledger_is_listed_with_its_filters(client, exchange):
    exchange.entries = [
        LedgerEntry(
            event_sequence=5, sequence=2, ts_ns=T0_NS, account=3, asset="USD", delta_free=-1, delta_held=1, cause=3,
            order_id=1, free=0, held=1,
        )
    ]  # fmt: skip

    response = await client.signed("GET", "/account/ledger?asset=USD&cause=reserve&order_id=1")

    assert [(entry["entry_id"], entry["delta_free"], entry["cause"]) for entry in response.json()["entries"]] == [
        ("5", "-0.00000001", "reserve")
    ]
    assert (exchange.queries[0].asset, exchange.queries[0].causes, exchange.queries[0].order_id) == ("USD", (3,), 1)


async def test_an_asset_that_does_not_exist_has_no_ledger(client, check_problem):
    check_problem(await client.signed("GET", "/account/ledger?asset=XXX"), 404, "unknown_asset", "asset")


async def test_fees_are_those_of_the_accounts_tier(client):
    await client.admin("POST", "/accounts", {"name": "alice", "tier": 2})

    response = await client.signed("GET", "/account/fees")

    assert response.json() == {
        "account_id": "3",
        "tier": 2,
        "fees": [
            {"symbol": "BTC/USD", "maker_fee": "0.000000", "taker_fee": "0.000300"},
            {"symbol": "ETH/USD", "maker_fee": "0.000100", "taker_fee": "0.000300"},
        ],
    }
