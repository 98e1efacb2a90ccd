import pytest

from fauxchange.domain.orders import FillRecord


async def test_instruments_are_listed_with_the_fees_of_the_basic_tier(client):
    response = await client.plain("GET", "/instruments")

    bitcoin, ether = response.json()["instruments"]
    assert response.status_code == 200
    assert (bitcoin["symbol"], bitcoin["tick_size"], bitcoin["lot_size"]) == ("BTC/USD", "0.01", "0.0001")
    assert (ether["symbol"], ether["maker_fee"], ether["taker_fee"]) == ("ETH/USD", "0.000100", "0.000500")


@pytest.mark.parametrize("symbol", ["BTC-USD", "btc-usd", "BTC%2FUSD"])
async def test_an_instrument_is_found_however_its_symbol_is_written(client, symbol):
    response = await client.plain("GET", f"/instruments/{symbol}")

    assert (response.status_code, response.json()["symbol"]) == (200, "BTC/USD")


async def test_the_book_is_read_to_a_depth(client, check_problem):
    response = await client.plain("GET", "/book/BTC-USD?depth=1")

    assert response.json() == {
        "symbol": "BTC/USD",
        "bids": [["60000.00", "1.0000"]],
        "asks": [],
        "sequence": 7,
        "timestamp": "2026-01-31T12:00:00.000000Z",
        "checksum": 1,
    }
    for depth in ("0", "1001", "x"):
        check_problem(await client.plain("GET", f"/book/BTC-USD?depth={depth}"), 400, "invalid_request", "depth")


async def test_trades_are_the_takers_fills_without_those_who_made_them(client, exchange):
    exchange.fills_of[1] = [
        FillRecord(
            trade_id=9, order_id=1, account=3, symbol="BTC/USD", client_order_id="a", side=1, is_maker=False,
            last_ticks=6_000_000, last_lots=5, fee=1, ts_ns=1_769_860_800_000_000_000, sequence=1,
        )
    ]  # fmt: skip

    response = await client.plain("GET", "/trades/btc-usd?limit=3&start=2026-01-31")

    assert response.json() == {
        "trades": [
            {
                "trade_id": "9",
                "symbol": "BTC/USD",
                "side": "sell",
                "price": "60000.00",
                "quantity": "0.0005",
                "timestamp": "2026-01-31T12:00:00.000000Z",
            }
        ],
        "next_cursor": None,
    }
    (query,) = exchange.queries
    assert (query.symbol, query.taker_only, query.account, query.limit) == ("BTC/USD", True, None, 3)
    assert query.oldest_first


@pytest.mark.parametrize("path", ["/instruments", "/book", "/trades"])
@pytest.mark.parametrize(
    ("symbol", "status", "code"), [("XXX-USD", 404, "unknown_symbol"), ("BTCUSD", 400, "invalid_request")]
)
async def test_a_symbol_that_is_not_traded_is_told_from_one_that_cannot_be(
    client, check_problem, path, symbol, status, code
):
    check_problem(await client.plain("GET", f"{path}/{symbol}"), status, code, "symbol")
