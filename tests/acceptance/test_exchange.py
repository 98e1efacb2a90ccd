"""What the exchange was accepted by: one story, told over each way into the venue."""

import asyncio
import hashlib
import hmac
import json
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx

from fauxchange.client import AsyncClient, order_request
from fauxchange.contracts.exchange.v1 import exchange_pb2 as pb
from fauxchange.contracts.exchange.v1 import exchange_pb2_grpc
from fauxchange.testing import RunningVenue, running

PATIENCE_S = 60
SERVICE = "/fauxchange.exchange.v1.ExchangeService/"


async def _feed_price(http: httpx.AsyncClient) -> dict[str, Any]:
    """Wait for the feed's price, and for the house to quote around it."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            book = (await http.get("/api/v1/book/BTC-USD")).json()
            if book["bids"] and book["asks"]:
                return dict((await http.get("/api/v1/prices/BTC-USD")).json())
            await asyncio.sleep(0.02)


def _signed(key: dict[str, str], method: str, path: str, body: bytes = b"") -> dict[str, str]:
    timestamp = str(time.time_ns() // 1_000_000)
    message = timestamp.encode() + method.encode() + path.encode() + body
    signature = hmac.new(key["api_secret"].encode(), message, hashlib.sha256).hexdigest()
    return {"FX-Key": key["api_key"], "FX-Timestamp": timestamp, "FX-Signature": signature}


def _admin(venue: RunningVenue) -> str:
    return str(venue.process.admin_key)


async def test_an_account_is_opened_funded_and_trades_at_the_market_price_over_rest(tmp_path: Path) -> None:
    # Given a venue with prices
    async with running(tmp_path) as venue, httpx.AsyncClient(base_url=venue.venue.http) as http:
        admin = {"Authorization": f"Bearer {_admin(venue)}"}

        async def ask(method: str, path: str, body: Any = None) -> Any:
            content = b"" if body is None else json.dumps(body).encode()
            headers = {**_signed(key, method, path, content), "content-type": "application/json"}
            answer = await http.request(method, path, content=content, headers=headers)
            assert answer.is_success, answer.text
            return answer.json()

        # When an account is created and funded, and buys at the market
        account = (await http.post("/api/v1/accounts", json={"name": "trader"}, headers=admin)).json()
        accounts = f"/api/v1/accounts/{account['account_id']}"
        deposit = {"asset": "USD", "amount": "10000"}
        (await http.post(f"{accounts}/deposits", json=deposit, headers=admin)).raise_for_status()
        key = (await http.post(f"{accounts}/keys", json={"label": "bot"}, headers=admin)).json()
        before = (await ask("GET", "/api/v1/account/balances"))["balances"]
        await _feed_price(http)
        order = await ask(
            "POST",
            "/api/v1/orders",
            {"symbol": "BTC/USD", "side": "buy", "type": "market", "quantity": "0.01", "client_order_id": "first"},
        )

        # Then it has filled at once, completely, at the feed's ask of that moment
        assert before == [{"asset": "USD", "free": "10000.00000000", "held": "0.00000000"}]
        assert (order["status"], order["filled_quantity"]) == ("FILLED", "0.01000")
        history = (await http.get("/api/v1/prices/BTC-USD/history?limit=20")).json()["prices"]
        assert Decimal(order["average_price"]) in {Decimal(price["ask"]) for price in history}
        # And status, fills, ledger entries, balances and audit trail show it
        found = await ask("GET", "/api/v1/orders/client:first")
        assert found["order_id"] == order["order_id"]
        (fill,) = (await ask("GET", f"/api/v1/fills?order_id={order['order_id']}"))["fills"]
        assert fill["liquidity"] == "taker"
        entries = (await ask("GET", f"/api/v1/account/ledger?order_id={order['order_id']}"))["entries"]
        assert {entry["cause"] for entry in entries} == {"reserve", "trade", "fee"}
        balances = {one["asset"]: one for one in (await ask("GET", "/api/v1/account/balances"))["balances"]}
        assert balances["BTC"]["free"] == "0.01000000"
        paid = Decimal(fill["price"]) * Decimal(fill["quantity"]) + Decimal(fill["fee"])
        assert Decimal(balances["USD"]["free"]) == Decimal(10_000) - paid
        trail = await http.get(
            f"{venue.venue.audit}/audit/v1/exchange/trail",
            params={"account": account["account_id"], "format": "jsonl"},
            headers=venue.venue.audit_headers,
        )
        events = [json.loads(line) for line in trail.text.splitlines()]
        placed = next(event for event in events if event["type"] == "fauxchange.exchange.place")
        assert placed["actor"] == f"key:{key['api_key']}"
        assert placed["data"]["command"]["client_order_id"] == "first"
        assert "trade" in {event["kind"] for event in placed["data"]["events"]}


async def test_the_same_over_grpc(tmp_path: Path) -> None:
    # Given a venue with prices
    async with (
        running(tmp_path) as venue,
        httpx.AsyncClient(base_url=venue.venue.http) as http,
        grpc.aio.insecure_channel(venue.venue.grpc) as channel,
    ):
        stub = exchange_pb2_grpc.ExchangeServiceStub(channel)
        admin = (("authorization", f"Bearer {_admin(venue)}"),)
        await _feed_price(http)

        # When an account is created and funded, and buys at the market
        account = await stub.CreateAccount(pb.CreateAccountRequest(name="trader"), metadata=admin)
        await stub.Deposit(
            pb.TransferRequest(account_id=account.account_id, asset="USD", amount="10000"), metadata=admin
        )
        key = await stub.CreateKey(pb.CreateKeyRequest(account_id=account.account_id), metadata=admin)

        def signed(method: str) -> tuple[tuple[str, str], ...]:
            timestamp = str(time.time_ns() // 1_000_000)
            message = f"{timestamp}GRPC{SERVICE}{method}".encode()
            signature = hmac.new(key.api_secret.encode(), message, hashlib.sha256).hexdigest()
            return (("fx-key", key.key.api_key), ("fx-timestamp", timestamp), ("fx-signature", signature))

        order = await stub.PlaceOrder(
            pb.PlaceOrderRequest(
                symbol="BTC/USD", side=pb.SIDE_BUY, type=pb.ORDER_TYPE_MARKET, quantity="0.01", client_order_id="first"
            ),
            metadata=signed("PlaceOrder"),
        )

        # Then it has filled, and everything shows it
        assert order.order.status == pb.ORDER_STATUS_FILLED
        found = await stub.GetOrder(pb.GetOrderRequest(client_order_id="first"), metadata=signed("GetOrder"))
        fills = await stub.ListFills(pb.ListFillsRequest(), metadata=signed("ListFills"))
        ledger = await stub.ListLedger(pb.ListLedgerRequest(), metadata=signed("ListLedger"))
        balances = await stub.GetBalances(pb.GetBalancesRequest(), metadata=signed("GetBalances"))
        assert found.order_id == order.order.order_id
        assert [fill.order_id for fill in fills.fills] == [order.order.order_id]
        assert len(ledger.entries) >= 4
        assert {balance.asset for balance in balances.balances} == {"BTC", "USD"}


async def test_the_same_with_the_python_client(tmp_path: Path) -> None:
    # Given a venue with prices
    async with running(tmp_path) as venue, httpx.AsyncClient(base_url=venue.venue.http) as http:
        await _feed_price(http)
        async with AsyncClient.from_ready(tmp_path) as office:
            # When an account is created and funded, and buys at the market
            account = await office.admin.create_account("trader")
            await office.admin.deposit(account.account_id, "USD", "10000")
            key = await office.admin.create_key(account.account_id)
        async with AsyncClient(venue.venue.http, api_key=key.api_key, api_secret=key.api_secret) as client:
            order = await client.place_order(order_request("buy", "BTC-USD", "0.01"))

            # Then it has filled, and everything shows it
            assert order.status == "FILLED"
            assert (await client.get_order(order.order_id)).filled_quantity == "0.01000"
            assert [fill.order_id for fill in (await client.list_fills()).fills] == [order.order_id]
            assert {balance.asset for balance in (await client.get_balances()).balances} == {"BTC", "USD"}


async def test_the_same_with_the_command_line(tmp_path: Path) -> None:
    # Given a venue with prices
    async with running(tmp_path) as venue, httpx.AsyncClient(base_url=venue.venue.http) as http:
        await _feed_price(http)

        async def run(*words: str) -> Any:
            command = [sys.executable, "-m", "fauxchange.cli", *words, "--data-dir", str(tmp_path), "--json"]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        # When an account is created and funded, and the demo account buys at the market
        account = await run("accounts", "create", "trader")
        await run("accounts", "deposit", account["account_id"], "USD", "10000")
        order = await run("order", "buy", "BTC-USD", "0.01")

        # Then it has filled, and everything shows it
        assert order["status"] == "FILLED"
        assert (await run("order", "show", order["order_id"]))["status"] == "FILLED"
        fills = await run("fills")
        assert [fill["order_id"] for fill in fills["fills"]] == [order["order_id"]]
        balances = {one["asset"]: one["free"] for one in (await run("balances"))["balances"]}
        assert balances["BTC"] == "2.01000000"
