"""Market data over REST, as a client sees it."""

import httpx
import pytest

from fauxchange.domain.times import NS_PER_S
from fauxchange.testing import RunningVenue

SYMBOLS = ["BTC/USD", "ETH/USD", "ADA/USD", "SOL/USD", "DOT/USD"]


async def _pages(http: httpx.AsyncClient, path: str, key: str, **params: object) -> list[dict]:
    """Return the items of every page, following the cursor to the end."""
    items: list[dict] = []
    while True:
        page = (await http.get(path, params=params)).raise_for_status().json()
        assert len(page[key]) <= int(str(params["limit"]))
        items += page[key]
        if page["next_cursor"] is None:
            return items
        params["cursor"] = page["next_cursor"]


def _assert_problem(answer: httpx.Response, status: int, code: str, field: str | None) -> None:
    problem = answer.json()
    assert answer.status_code == status, problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["status"], problem["code"], problem.get("field")) == (status, code, field)
    assert problem["type"] == f"urn:fauxchange:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]


async def test_the_symbols_are_listed_with_their_grids(http: httpx.AsyncClient) -> None:
    symbols = (await http.get("/api/v1/symbols")).raise_for_status().json()["symbols"]

    assert [symbol["symbol"] for symbol in symbols] == SYMBOLS
    assert symbols[0] == {
        "symbol": "BTC/USD",
        "base": "BTC",
        "quote": "USD",
        "tick_size": "0.01",
        "lot_size": "0.00001",
        "source": "simulator",
    }


async def test_every_symbol_has_a_price_whose_middle_lies_between_bid_and_ask(http: httpx.AsyncClient) -> None:
    prices = (await http.get("/api/v1/prices")).raise_for_status().json()["prices"]

    assert [price["symbol"] for price in prices] == SYMBOLS
    assert all(float(price["bid"]) <= float(price["mid"]) <= float(price["ask"]) for price in prices)
    assert {price["sequence"] for price in prices} == {1}
    assert {price["timestamp"] for price in prices} == {"2026-01-01T00:00:00.000000Z"}


@pytest.mark.parametrize("spelling", ["BTC-USD", "btc-usd", "BTC%2FUSD", "btc%2fusd", "Btc-Usd"])
async def test_a_symbol_is_understood_in_every_spelling(http: httpx.AsyncClient, spelling: str) -> None:
    answers = [
        (await http.get(f"/api/v1/{route}")).raise_for_status().json()
        for route in (
            f"prices/{spelling}",
            f"prices/{spelling}/history",
            f"candles/{spelling}",
            f"snapshots/{spelling}",
        )
    ]

    assert [answer["symbol"] for answer in answers] == ["BTC/USD"] * 4


async def test_history_is_paged_to_its_end_without_gap_or_repetition(
    venue: RunningVenue, http: httpx.AsyncClient
) -> None:
    await venue.clock.step(24 * NS_PER_S)

    oldest_first = await _pages(http, "/api/v1/prices/BTC-USD/history", "prices", limit=7, order="asc")
    newest_first = await _pages(http, "/api/v1/prices/BTC-USD/history", "prices", limit=7)

    assert [price["sequence"] for price in oldest_first] == list(range(1, 26))
    assert newest_first == oldest_first[::-1]


async def test_history_of_a_range_begins_at_its_start_and_stops_before_its_end(
    venue: RunningVenue, http: httpx.AsyncClient
) -> None:
    await venue.clock.step(10 * NS_PER_S)
    params = {"start": "2026-01-01T00:00:03Z", "end": "2026-01-01T01:00:06+01:00"}

    answer = (await http.get("/api/v1/prices/ETH-USD/history", params=params)).raise_for_status().json()

    assert [price["timestamp"][17:19] for price in answer["prices"]] == ["03", "04", "05"]
    assert answer["next_cursor"] is None


async def test_the_newest_published_price_is_in_the_history_at_once(
    venue: RunningVenue, http: httpx.AsyncClient
) -> None:
    await venue.clock.step(3 * NS_PER_S)

    latest = (await http.get("/api/v1/prices/BTC-USD")).json()
    history = (await http.get("/api/v1/prices/BTC-USD/history", params={"limit": 1})).json()["prices"]

    assert history == [latest]


async def test_candles_are_paged_to_the_open_one(venue: RunningVenue, http: httpx.AsyncClient) -> None:
    await venue.clock.step(20 * NS_PER_S)

    candles = await _pages(http, "/api/v1/candles/BTC-USD", "candles", limit=6, interval="1s", order="asc")

    assert [candle["open_time"][17:19] for candle in candles] == [f"{second:02}" for second in range(21)]
    assert [candle["closed"] for candle in candles] == [True] * 20 + [False]
    assert all(candle["interval"] == "1s" for candle in candles)
    assert all(
        float(candle["low"]) <= float(candle["open"]) <= float(candle["high"])
        and float(candle["low"]) <= float(candle["close"]) <= float(candle["high"])
        for candle in candles
    )


async def test_a_longer_candle_joins_the_shorter_ones_within_it(venue: RunningVenue, http: httpx.AsyncClient) -> None:
    await venue.clock.step(60 * NS_PER_S)

    seconds = (await http.get("/api/v1/candles/SOL-USD", params={"interval": "1s", "order": "asc"})).json()["candles"]
    minutes = (await http.get("/api/v1/candles/SOL-USD", params={"interval": "1m", "order": "asc"})).json()["candles"]

    within, minute = seconds[:60], minutes[0]
    assert minute["closed"] is True
    assert (minute["open"], minute["close"]) == (within[0]["open"], within[-1]["close"])
    assert float(minute["high"]) == max(float(candle["high"]) for candle in within)
    assert float(minute["low"]) == min(float(candle["low"]) for candle in within)


async def test_a_caller_who_names_no_interval_gets_the_configured_one(http: httpx.AsyncClient) -> None:
    answer = (await http.get("/api/v1/candles/BTC-USD")).json()

    assert (answer["interval"], [candle["closed"] for candle in answer["candles"]]) == ("1m", [False])


async def test_a_snapshot_carries_the_price_and_the_day(venue: RunningVenue, http: httpx.AsyncClient) -> None:
    await venue.clock.step(90 * NS_PER_S)

    price = (await http.get("/api/v1/prices/BTC-USD")).json()
    snapshot = (await http.get("/api/v1/snapshots/BTC-USD")).json()

    assert (snapshot["bid"], snapshot["ask"], snapshot["last_price"], snapshot["sequence"]) == (
        price["bid"],
        price["ask"],
        price["last"],
        price["sequence"],
    )
    assert float(snapshot["low_24h"]) <= float(snapshot["open_24h"]) <= float(snapshot["high_24h"])
    assert snapshot["source"] == "simulator"


@pytest.mark.parametrize(
    ("path", "status", "code", "field"),
    [
        ("/prices/XYZ-USD", 404, "unknown_symbol", "symbol"),
        ("/prices/XYZ-USD/history", 404, "unknown_symbol", "symbol"),
        ("/candles/XYZ-USD", 404, "unknown_symbol", "symbol"),
        ("/snapshots/XYZ-USD", 404, "unknown_symbol", "symbol"),
        ("/prices/nonsense", 400, "invalid_request", "symbol"),
        ("/prices/A-B-C", 400, "invalid_request", "symbol"),
        ("/candles/BTC-USD?interval=2m", 400, "invalid_interval", "interval"),
        ("/candles/BTC-USD?interval=", 400, "invalid_interval", "interval"),
        ("/candles/BTC-USD?limit=0", 400, "invalid_request", "limit"),
        ("/candles/BTC-USD?limit=10001", 400, "invalid_request", "limit"),
        ("/prices/BTC-USD/history?limit=0", 400, "invalid_request", "limit"),
        ("/prices/BTC-USD/history?limit=10001", 400, "invalid_request", "limit"),
        ("/prices/BTC-USD/history?limit=ten", 400, "invalid_request", "limit"),
        ("/prices/BTC-USD/history?start=yesterday", 400, "invalid_time", "start"),
        ("/prices/BTC-USD/history?end=2026-13-01T00:00:00Z", 400, "invalid_time", "end"),
        ("/prices/BTC-USD/history?start=2026-01-01&end=2026-01-01", 400, "invalid_range", "start"),
        ("/candles/BTC-USD?start=2026-01-02&end=2026-01-01", 400, "invalid_range", "start"),
        ("/prices/BTC-USD/history?order=sideways", 400, "invalid_request", "order"),
        ("/prices/BTC-USD/history?cursor=nonsense", 400, "invalid_cursor", "cursor"),
        ("/prices/BTC-USD/history?colour=red", 400, "unknown_parameter", "colour"),
        ("/prices?symbol=BTC-USD", 400, "unknown_parameter", "symbol"),
        ("/prices/BTC-USD/history?limit=1&limit=2", 400, "repeated_parameter", "limit"),
        ("/nowhere", 404, "not_found", None),
    ],
)
async def test_a_bad_request_is_refused_with_its_code_and_field(
    http: httpx.AsyncClient, path: str, status: int, code: str, field: str | None
) -> None:
    answer = await http.get(f"/api/v1{path}")

    _assert_problem(answer, status, code, field)


async def test_an_unknown_symbol_suggests_the_one_that_was_perhaps_meant(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/v1/prices/BTD-USD")

    assert "did you mean BTC/USD?" in answer.json()["detail"]


async def test_a_cursor_of_another_query_is_refused(venue: RunningVenue, http: httpx.AsyncClient) -> None:
    await venue.clock.step(5 * NS_PER_S)
    cursor = (await http.get("/api/v1/prices/BTC-USD/history", params={"limit": 2})).json()["next_cursor"]

    others = [
        await http.get("/api/v1/prices/ETH-USD/history", params={"cursor": cursor}),
        await http.get("/api/v1/prices/BTC-USD/history", params={"cursor": cursor, "order": "asc"}),
        await http.get("/api/v1/candles/BTC-USD", params={"cursor": cursor}),
    ]

    for answer in others:
        _assert_problem(answer, 400, "invalid_cursor", "cursor")


async def test_head_answers_as_get_does_without_the_body(http: httpx.AsyncClient) -> None:
    for path in ("/api/v1/prices", "/api/v1/health", "/api/v1/candles/BTC-USD", "/metrics", "/openapi.json"):
        got, head = await http.get(path), await http.head(path)

        assert (head.status_code, head.content) == (got.status_code, b"")
        assert head.headers["content-type"] == got.headers["content-type"]


async def test_a_method_that_a_route_lacks_is_named_with_those_it_has(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/v1/prices")

    _assert_problem(answer, 405, "method_not_allowed", None)
    assert "GET" in answer.headers["allow"]
    assert "HEAD" in answer.headers["allow"]


async def test_a_symbol_without_a_price_yet_is_told_apart_from_an_unknown_one(run_venue) -> None:
    # Between two whole hours, so the first price is due at the next one.
    async with (
        run_venue(START_TIME="2026-01-01T00:30:00Z", PRICE_UPDATE_INTERVAL="1h") as venue,
        httpx.AsyncClient(base_url=venue.venue.http) as http,
    ):
        price = await http.get("/api/v1/prices/BTC-USD")
        prices = await http.get("/api/v1/prices")
        history = await http.get("/api/v1/prices/BTC-USD/history")

    _assert_problem(price, 404, "no_price_yet", "symbol")
    assert prices.json() == {"prices": []}
    assert history.json() == {"symbol": "BTC/USD", "prices": [], "next_cursor": None}
