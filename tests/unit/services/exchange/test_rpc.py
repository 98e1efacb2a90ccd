"""The exchange over gRPC: the real service behind a real server, and callers who sign as the documentation says."""

import asyncio
import hmac
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import grpc.aio
import msgspec
import pytest
from exchange_kit import ORIGIN, START_NS, Exchange, FaultyJournal
from gateway_kit import Gateway, Kernel, until
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.contracts.exchange.messages import AccountRequest, KeyRequest, TransferRequest
from fauxchange.contracts.exchange.proto import element, timestamp
from fauxchange.contracts.exchange.v1 import exchange_pb2 as pb
from fauxchange.contracts.exchange.v1 import exchange_pb2_grpc
from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.data.ports import OrderQuery
from fauxchange.domain.errors import InvalidRequest, Unavailable
from fauxchange.domain.times import NS_PER_MS, NS_PER_S
from fauxchange.platform.credentials import SecretBox, new_credentials
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.listening import Listener
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.platform.rpc.server import GrpcServer
from fauxchange.platform.streams.endpoint import Heartbeat, StreamLimits, StreamMetrics
from fauxchange.platform.streams.hub import Delivery
from fauxchange.platform.streams.topics import StreamMessage, Topic
from fauxchange.services.exchange.rpc import SERVICE_NAME, ExchangeRpc, parsing, sessions
from fauxchange.services.exchange.rpc.callers import source_of
from fauxchange.services.exchange.service.access import Access
from fauxchange.services.exchange.service.limits import RateLimits
from fauxchange.services.exchange.service.sequencer import FEW_ORDERS

ADMIN_KEY = "the-admin-key"
ADMIN = (("authorization", f"Bearer {ADMIN_KEY}"),)
BUY, SELL = pb.SIDE_BUY, pb.SIDE_SELL
LIMIT, MARKET = pb.ORDER_TYPE_LIMIT, pb.ORDER_TYPE_MARKET


class Trader:
    """An account with a key, that signs."""

    def __init__(self, account: int, key: str, secret: str) -> None:
        self.account = account
        self.key = key
        self._secret = secret.encode()
        self._nonces = itertools.count(1)

    def signed(self, method: str, *, secret: bytes | None = None) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a call, as the documentation says."""
        timestamp, nonce = str(START_NS // NS_PER_MS), str(next(self._nonces))
        text = f"{timestamp}{nonce}GRPC/{SERVICE_NAME}/{method}".encode()
        signature = hmac.digest(secret or self._secret, text, "sha256").hex()
        return (("fx-key", self.key), ("fx-timestamp", timestamp), ("fx-nonce", nonce), ("fx-signature", signature))


class Venue:
    """A running exchange with its gRPC edge, and a client."""

    def __init__(self, exchange: Exchange, rpc: ExchangeRpc, server: GrpcServer, channel: grpc.aio.Channel) -> None:
        self.exchange = exchange
        self.service = exchange.service
        self.rpc = rpc
        self.server = server
        self.stub = exchange_pb2_grpc.ExchangeServiceStub(channel)
        self.heartbeat: Heartbeat
        self.gateway: Gateway | None = None

    async def trader(self, **funds: str) -> Trader:
        account = str((await self.service.create_account(AccountRequest(name="somebody"), ORIGIN)).account)
        for asset, amount in funds.items():
            await self.service.deposit(account, TransferRequest(asset=asset, amount=amount), ORIGIN)
        key, secret = await self.service.create_key(account, KeyRequest(), ORIGIN)
        gateway = self.gateway
        if gateway is not None:
            # What is not done by way of the gateway reaches it in its own time.
            await until(lambda: gateway.replica.find(key.api_key))
        return Trader(int(account), key.api_key, secret)

    def call(self, trader: Trader, method: str, request: Any) -> Any:
        return getattr(self.stub, method)(request, metadata=trader.signed(method))

    async def session(self, trader: Trader, **options: Any) -> "Session":
        session = Session(self.stub.OrderStream(metadata=trader.signed("OrderStream")))
        await session.call.write(pb.OrderStreamRequest(options=pb.OrderStreamOptions(**options)))
        session.begun = (await session.response()).begun
        return session

    def open_orders(self, trader: Trader) -> list[int]:
        return [record.order_id for record in self.exchange.venue.orders.open_orders(trader.account)]

    async def until_open(self, trader: Trader, orders: list[int]) -> None:
        """Wait until the venue has heard of the end of a session."""
        async with asyncio.timeout(5):
            while self.open_orders(trader) != orders:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0)


class Session:
    """The client's end of an OrderStream."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.begun: Any = None
        self.updates: list[Any] = []
        self.results: list[Any] = []
        self.responses = 0

    async def response(self) -> Any:
        async with asyncio.timeout(5):
            response = await self.call.read()
        assert response is not grpc.aio.EOF
        self.responses += 1
        self.updates += response.updates
        self.results += response.results
        return response

    async def send(self, *commands: pb.OrderStreamCommand) -> None:
        await self.call.write(pb.OrderStreamRequest(commands=commands))

    async def answers(self, count: int) -> list[Any]:
        while len(self.results) < count:
            await self.response()
        taken, self.results = self.results[:count], self.results[count:]
        return taken

    async def ask(self, *commands: pb.OrderStreamCommand) -> list[Any]:
        await self.send(*commands)
        return await self.answers(len(commands))

    async def reports(self, count: int) -> list[Any]:
        while len(self.updates) < count:
            await self.response()
        taken, self.updates = self.updates[:count], self.updates[count:]
        return taken


def limit(side: Any, quantity: str, price: str, **more: Any) -> pb.PlaceOrderRequest:
    return pb.PlaceOrderRequest(symbol="BTC-USD", side=side, type=LIMIT, quantity=quantity, price=price, **more)


def place(command_id: str, side: Any, quantity: str, price: str, **more: Any) -> pb.OrderStreamCommand:
    return pb.OrderStreamCommand(id=command_id, place=limit(side, quantity, price, **more))


def cancel(command_id: str, **reference: str) -> pb.OrderStreamCommand:
    return pb.OrderStreamCommand(id=command_id, cancel=pb.CancelOrderRequest(**reference))


async def _failure(call: Any) -> tuple[grpc.StatusCode, dict[str, Any]]:
    """Return status and trailing metadata of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), dict(caught.value.trailing_metadata() or ())


async def _end(session: Session) -> tuple[grpc.StatusCode, str]:
    """Read a session to its end; return status and fx-code."""
    async with asyncio.timeout(5):
        with suppress(grpc.aio.AioRpcError):
            while await session.call.read() is not grpc.aio.EOF:
                pass
        trailing = dict(await session.call.trailing_metadata())
        return await session.call.code(), str(trailing.get("fx-code", ""))


@asynccontextmanager
async def _running(
    *,
    journal: bool = False,
    per_second: int = 0,
    limits: StreamLimits | None = None,
    max_streams: int = 100,
    by_gateway: bool = False,
) -> AsyncIterator[Venue]:
    adapter = MemoryDataAdapter()
    await adapter.connect()
    exchange = Exchange(adapter, journal=FaultyJournal(adapter.journal) if journal else None)
    await exchange.start()
    box = SecretBox("0" * 43 + "=")
    exchange.service.new_key = lambda: new_credentials(box)
    access = Access(exchange.venue.registry, box, admin_key=ADMIN_KEY, wall_ns=lambda: START_NS, not_before_ns=START_NS)
    metrics, health = PrometheusMetrics("fauxchange", "i-1", "1"), HealthRegistry()
    heartbeat = Heartbeat(epoch=1, interval_s=5.0, now_ns=exchange.clock.now_ns)
    rates = RateLimits(exchange.clock, per_second=per_second)
    kernel = Kernel(exchange, access=access, limits=rates, box=box, admin_key=ADMIN_KEY)
    gateway: Gateway | None = None
    if by_gateway:
        await kernel.open()
        gateway = Gateway(kernel.target)
        gateway.begin()
        await gateway.until_linked()
    rpc = ExchangeRpc(
        exchange.service if gateway is None else gateway.service,
        access=access if gateway is None else gateway.access,
        rates=rates if gateway is None else gateway.allowances,
        limits=limits or StreamLimits(),
        heartbeat=heartbeat,
        metrics=StreamMetrics(metrics),
        flush_interval_s=0.0,
        cancel_retry_s=0.0,
        max_streams=max_streams,
    )
    listener = Listener(host="127.0.0.1", port=0, setting="GRPC_PORT", option="--grpc-port")
    server = GrpcServer("grpc", listener, metrics=metrics, health=health)
    server.add(SERVICE_NAME, rpc.handler())
    await server.start()
    health.set_ready(True)
    try:
        async with grpc.aio.insecure_channel(server.target) as channel:
            venue = Venue(exchange, rpc, server, channel)
            venue.heartbeat = heartbeat
            venue.gateway = gateway
            yield venue
    finally:
        if journal:
            exchange.journal.let_go()
        rpc.end_streams()
        await server.stop()
        if gateway is not None:
            await gateway.stop()
        await kernel.shut()
        await exchange.stop()
        await adapter.disconnect()


@pytest.fixture(params=["in one process", "by way of a gateway"])
async def venue(request: pytest.FixtureRequest) -> AsyncIterator[Venue]:
    async with _running(by_gateway=request.param == "by way of a gateway") as running:
        yield running


# Orders. ------------------------------------------------------------------------------------------------------------


async def test_an_order_is_placed_filled_and_found_with_its_fills_and_ledger(venue: Venue) -> None:
    seller, buyer = await venue.trader(BTC="1"), await venue.trader(USD="100000")
    await venue.call(seller, "PlaceOrder", limit(SELL, "0.5", "60000"))

    answer = await venue.call(
        buyer,
        "PlaceOrder",
        pb.PlaceOrderRequest(symbol="btc/usd", side=BUY, type=MARKET, quantity="0.2", client_order_id="mine"),
    )

    bought = answer.order
    assert (bought.symbol, bought.side, bought.type, bought.status) == ("BTC/USD", BUY, MARKET, pb.ORDER_STATUS_FILLED)
    assert (bought.quantity, bought.filled_quantity, bought.average_price) == ("0.20000", "0.20000", "60000.00")
    assert (bought.fee, bought.fee_asset, bought.time_in_force) == ("24.00000000", "USD", pb.TIME_IN_FORCE_IOC)
    assert bought.created_at == Timestamp(seconds=START_NS // NS_PER_S)
    assert not bought.HasField("price")
    assert [(fill.price, fill.liquidity) for fill in bought.fills] == [("60000.00", pb.LIQUIDITY_TAKER)]
    assert await venue.call(buyer, "GetOrder", pb.GetOrderRequest(client_order_id="mine")) == bought
    fills = await venue.call(buyer, "ListFills", pb.ListFillsRequest(order_id=bought.order_id))
    assert list(fills.fills) == list(bought.fills)
    balances = await venue.call(buyer, "GetBalances", pb.GetBalancesRequest())
    assert {each.asset: (each.free, each.held) for each in balances.balances} == {
        "BTC": ("0.20000000", "0.00000000"),
        "USD": ("87976.00000000", "0.00000000"),
    }
    ledger = await venue.call(
        buyer, "ListLedger", pb.ListLedgerRequest(asset="USD", causes=[pb.LEDGER_CAUSE_DEPOSIT, pb.LEDGER_CAUSE_FEE])
    )
    assert [entry.cause for entry in ledger.entries] == [pb.LEDGER_CAUSE_FEE, pb.LEDGER_CAUSE_DEPOSIT]
    assert ledger.entries[1].delta_free == "100000.00000000"


async def test_every_field_of_an_order_reaches_the_venue(venue: Venue) -> None:
    trader = await venue.trader(USD="100000")
    expires = Timestamp(seconds=START_NS // NS_PER_S + 60)

    answer = await venue.call(
        trader,
        "PlaceOrder",
        limit(
            BUY,
            "0.5",
            "50000",
            display_quantity="0.1",
            post_only=True,
            time_in_force=pb.TIME_IN_FORCE_GTD,
            expires_at=expires,
            self_trade_prevention=pb.SELF_TRADE_PREVENTION_EXPIRE_MAKER,
        ),
    )

    placed = answer.order
    assert (placed.display_quantity, placed.post_only, placed.expires_at) == ("0.10000", True, expires)
    assert placed.time_in_force == pb.TIME_IN_FORCE_GTD
    assert placed.self_trade_prevention == pb.SELF_TRADE_PREVENTION_EXPIRE_MAKER
    assert not answer.repeated


async def test_the_same_order_twice_is_one_order(venue: Venue) -> None:
    trader = await venue.trader(USD="100000")
    request = limit(BUY, "0.1", "50000", client_order_id="once")

    first, second = await venue.call(trader, "PlaceOrder", request), await venue.call(trader, "PlaceOrder", request)

    assert (first.repeated, second.repeated) == (False, True)
    assert second.order == first.order
    status, trailing = await _failure(
        venue.call(trader, "PlaceOrder", limit(BUY, "0.2", "50000", client_order_id="once"))
    )
    assert (status, trailing["fx-code"]) == (grpc.StatusCode.ALREADY_EXISTS, "duplicate_client_order_id")


async def test_a_rejected_order_is_told_with_its_rule_and_can_be_looked_at(venue: Venue) -> None:
    trader = await venue.trader(USD="1")

    status, trailing = await _failure(venue.call(trader, "PlaceOrder", limit(BUY, "0.1", "50000")))

    assert (status, trailing["fx-code"]) == (grpc.StatusCode.FAILED_PRECONDITION, "insufficient_funds")
    assert trailing["fx-reason"] == "401"
    assert trailing["x-request-id"]
    stored = await venue.call(trader, "GetOrder", pb.GetOrderRequest(order_id=trailing["fx-order-id"]))
    assert (stored.status, stored.reason) == (pb.ORDER_STATUS_REJECTED, "insufficient_funds")


async def test_orders_are_amended_replaced_and_canceled(venue: Venue) -> None:
    trader = await venue.trader(USD="100000")
    placed = (await venue.call(trader, "PlaceOrder", limit(BUY, "0.5", "50000", client_order_id="first"))).order

    amended = await venue.call(
        trader, "AmendOrder", pb.AmendOrderRequest(client_order_id="first", price="49000", quantity="0.4")
    )
    replaced = await venue.call(
        trader, "ReplaceOrder", pb.ReplaceOrderRequest(order_id=placed.order_id, order=limit(BUY, "0.3", "48000"))
    )
    canceled = await venue.call(trader, "CancelOrder", pb.CancelOrderRequest(order_id=replaced.order.order_id))
    status, trailing = await _failure(
        venue.call(trader, "CancelOrder", pb.CancelOrderRequest(order_id=replaced.order.order_id))
    )

    assert (amended.order_id, amended.price, amended.quantity) == (placed.order_id, "49000.00", "0.40000")
    assert (replaced.order.replaces, replaced.order.price) == (placed.order_id, "48000.00")
    assert canceled.status == pb.ORDER_STATUS_CANCELED
    assert (status, trailing["fx-code"]) == (grpc.StatusCode.FAILED_PRECONDITION, "order_finished")
    assert trailing["fx-order-id"] == replaced.order.order_id


async def test_cancel_all_cancels_those_of_the_symbol(venue: Venue) -> None:
    trader = await venue.trader(USD="100000")
    ids = [(await venue.call(trader, "PlaceOrder", limit(BUY, "0.1", "50000"))).order.order_id for _ in range(2)]
    other = await venue.exchange.place(trader.account, "buy", "0.1", "100", symbol="ETH/USD")

    answer = await venue.call(trader, "CancelAll", pb.CancelAllRequest(symbol="BTC-USD"))

    assert sorted(answer.order_ids) == sorted(ids)
    assert venue.open_orders(trader) == [other.order.order_id]


async def test_batch_orders_stand_each_by_itself(venue: Venue) -> None:
    trader = await venue.trader(USD="10000")
    orders = [
        limit(BUY, "0.1", "50000"),
        limit(BUY, "0.1", "50000.001"),
        limit(BUY, "10", "50000"),
        limit(BUY, "all of it", "50000"),
        limit(BUY, "0.05", "50000"),
    ]

    answer = await venue.call(trader, "PlaceOrders", pb.PlaceOrdersRequest(orders=orders))

    results = answer.results
    assert [result.refusal.code for result in results] == [
        "",
        "off_grid",
        "insufficient_funds",
        "invalid_request",
        "",
    ]
    assert [result.HasField("order") for result in results] == [True, False, True, False, True]
    assert results[1].refusal.field == "price"
    assert results[2].refusal.reason == 401
    assert results[3].refusal.field == "quantity"
    assert len(venue.open_orders(trader)) == 2


@pytest.mark.parametrize("count", [0, 101])
async def test_a_batch_has_its_bounds(venue: Venue, count: int) -> None:
    trader = await venue.trader()
    request = pb.PlaceOrdersRequest(orders=[limit(BUY, "0.1", "50000")] * count)

    status, trailing = await _failure(venue.call(trader, "PlaceOrders", request))

    assert (status, trailing["fx-field"]) == (grpc.StatusCode.INVALID_ARGUMENT, "orders")


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"side": 0}, "missing_field", "side"),
        ({"side": 77}, "invalid_choice", "side"),
        ({"type": 77}, "invalid_choice", "type"),
        ({"quantity": ""}, "missing_field", "quantity"),
        ({"quantity": "-1"}, "invalid_request", "quantity"),
        ({"quantity": "1e3"}, "invalid_request", "quantity"),
        ({"quantity": "9" * 30}, "invalid_request", "quantity"),
        ({"price": "50000.001"}, "off_grid", "price"),
        ({"symbol": "BTC"}, "invalid_request", "symbol"),
        ({"client_order_id": "a b"}, "invalid_request", "client_order_id"),
        ({"client_order_id": "a" * 37}, "invalid_request", "client_order_id"),
        ({"expires_at": Timestamp(seconds=-(2**62))}, "invalid_time", "expires_at"),
    ],
)
async def test_rubbish_is_refused_by_its_field(venue: Venue, change: dict[str, Any], code: str, field: str) -> None:
    trader = await venue.trader(USD="100000")
    request = limit(BUY, "0.1", "50000")
    for name, value in change.items():
        request.ClearField(name)
        if value:
            getattr(request, name).CopyFrom(value) if name == "expires_at" else setattr(request, name, value)

    status, trailing = await _failure(venue.call(trader, "PlaceOrder", request))

    assert (status, trailing["fx-code"], trailing["fx-field"]) == (grpc.StatusCode.INVALID_ARGUMENT, code, field)


_texts = st.sampled_from(["", "1", "0.5", "60000.25", "x", "1" * 41]) | st.text(max_size=5)
_requests = st.builds(
    pb.PlaceOrderRequest,
    symbol=st.sampled_from(["BTC-USD", "btc/usd", "", "BTC", "A" * 17 + "/USD"]),
    side=st.integers(0, 3),
    type=st.integers(0, 8),
    quantity=_texts,
    quote_quantity=st.just("") | _texts,
    price=_texts,
    stop_price=st.just("") | _texts,
    display_quantity=st.just("") | _texts,
    time_in_force=st.integers(0, 5),
    post_only=st.booleans(),
    expires_at=st.none() | st.builds(Timestamp, seconds=st.integers(0, 10**12)),
    self_trade_prevention=st.integers(0, 5),
    client_order_id=st.sampled_from(["", "mine", "no spaces", "x" * 37]),
)


@given(_requests)
def test_usual_orders_are_read_as_all_orders_are(request: pb.PlaceOrderRequest) -> None:
    def read(reader: Any) -> Any:
        try:
            return msgspec.structs.asdict(reader(request))
        except InvalidRequest as exc:
            return exc.code, exc.message, exc.field

    assert read(parsing.order_request) == read(parsing._order_request)


def test_an_order_as_most_are_is_a_usual_one() -> None:
    usual = parsing._usual_order(limit(BUY, "0.5", "60000", post_only=True, client_order_id="mine"))

    assert usual is not None
    assert msgspec.structs.asdict(usual)["price"] == "60000"


@pytest.mark.parametrize(
    ("reference", "status", "code"),
    [
        ({}, grpc.StatusCode.INVALID_ARGUMENT, "missing_field"),
        ({"order_id": "client:x"}, grpc.StatusCode.INVALID_ARGUMENT, "invalid_number"),
        ({"order_id": "4711"}, grpc.StatusCode.NOT_FOUND, "unknown_order"),
        ({"client_order_id": "nobody"}, grpc.StatusCode.NOT_FOUND, "unknown_order"),
    ],
)
async def test_an_order_that_is_not_there_is_refused(
    venue: Venue, reference: dict[str, str], status: grpc.StatusCode, code: str
) -> None:
    trader = await venue.trader()

    told, trailing = await _failure(venue.call(trader, "GetOrder", pb.GetOrderRequest(**reference)))

    assert (told, trailing["fx-code"]) == (status, code)


async def test_orders_are_listed_page_by_page_and_by_status(venue: Venue) -> None:
    trader = await venue.trader(USD="100000")
    ids = [(await venue.call(trader, "PlaceOrder", limit(BUY, "0.1", "50000"))).order.order_id for _ in range(5)]
    await venue.call(trader, "CancelOrder", pb.CancelOrderRequest(order_id=ids[2]))
    listed, cursor = [], ""

    while True:
        page = await venue.call(
            trader,
            "ListOrders",
            pb.ListOrdersRequest(
                symbol="btc-usd", statuses=[pb.ORDER_STATUS_NEW], oldest_first=True, limit=2, cursor=cursor
            ),
        )
        listed += [each.order_id for each in page.orders]
        cursor = page.next_cursor
        if not cursor:
            break

    assert listed == [ids[0], ids[1], ids[3], ids[4]]


def test_times_keep_their_microseconds() -> None:
    assert timestamp("2026-01-31T12:00:00.123456Z") == Timestamp(seconds=START_NS // NS_PER_S, nanos=123_456_000)


# Markets. -----------------------------------------------------------------------------------------------------------


async def test_markets_are_open_to_everybody(venue: Venue) -> None:
    seller, buyer = await venue.trader(BTC="1"), await venue.trader(USD="100000")
    await venue.exchange.place(seller.account, "sell", "0.5", "60000")
    await venue.exchange.place(buyer.account, "buy", "0.2", "60000")

    instruments = (await venue.stub.ListInstruments(pb.ListInstrumentsRequest())).instruments
    book = await venue.stub.GetBook(pb.GetBookRequest(symbol="BTC-USD"))
    trades = (await venue.stub.ListTrades(pb.ListTradesRequest(symbol="BTC/USD"))).trades

    assert [(each.symbol, each.tick_size, each.maker_fee, each.taker_fee) for each in instruments] == [
        ("BTC/USD", "0.01", "0.001000", "0.002000"),
        ("ETH/USD", "0.01", "0.001000", "0.002000"),
    ]
    assert not instruments[0].HasField("max_quantity")
    assert [(level.price, level.quantity) for level in book.asks] == [("60000.00", "0.30000")]
    assert (list(book.bids), book.symbol) == ([], "BTC/USD")
    assert [(each.price, each.quantity, each.side) for each in trades] == [("60000.00", "0.20000", BUY)]


@pytest.mark.parametrize(
    ("method", "request_", "code"),
    [
        ("GetBook", pb.GetBookRequest(symbol="BTC-EUR"), "unknown_symbol"),
        ("GetBook", pb.GetBookRequest(symbol="BTC-USD", depth=-1), "limit_out_of_range"),
        ("ListTrades", pb.ListTradesRequest(symbol=""), "invalid_symbol"),
        ("ListTrades", pb.ListTradesRequest(symbol="BTC-USD", limit=99_999), "limit_out_of_range"),
        ("ListTrades", pb.ListTradesRequest(symbol="BTC-USD", start=Timestamp(seconds=2**60)), "invalid_time"),
    ],
)
async def test_questions_that_cannot_be_answered_are_refused(
    venue: Venue, method: str, request_: Any, code: str
) -> None:
    _, trailing = await _failure(getattr(venue.stub, method)(request_))

    assert trailing["fx-code"] == code


# Who asks. ----------------------------------------------------------------------------------------------------------


async def test_a_call_without_credentials_or_with_wrong_ones_is_refused(venue: Venue) -> None:
    trader = await venue.trader(USD="100000")
    request = limit(BUY, "0.1", "50000")
    signed = trader.signed("PlaceOrder")

    told = [
        await _failure(venue.stub.PlaceOrder(request)),
        await _failure(venue.stub.PlaceOrder(request, metadata=trader.signed("PlaceOrder", secret=b"another"))),
        await _failure(venue.stub.PlaceOrder(request, metadata=trader.signed("CancelOrder"))),
        await _failure(venue.stub.PlaceOrder(request, metadata=ADMIN)),
    ]
    await venue.stub.PlaceOrder(request, metadata=signed)
    told.append(await _failure(venue.stub.PlaceOrder(request, metadata=signed)))

    assert {status for status, _ in told} == {grpc.StatusCode.UNAUTHENTICATED}
    assert [trailing["fx-code"] for _, trailing in told] == [
        "unsigned_request",
        "invalid_signature",
        "invalid_signature",
        "unsigned_request",
        "replayed_request",
    ]
    assert len(venue.open_orders(trader)) == 1


async def test_what_is_left_of_the_allowance_is_told_and_kept_to() -> None:
    async with _running(per_second=3) as venue:
        trader = await venue.trader(USD="100000")
        batch = pb.PlaceOrdersRequest(orders=[limit(BUY, "0.1", "50000")] * 2)

        call = venue.call(trader, "PlaceOrders", batch)
        await call
        status, trailing = await _failure(venue.call(trader, "PlaceOrders", batch))

        told = dict(await call.trailing_metadata())
        assert (told["fx-ratelimit-limit"], told["fx-ratelimit-remaining"]) == ("3", "1")
        assert told["x-request-id"]
        assert (status, trailing["fx-code"]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "rate_limited")
        assert trailing["fx-retry-after-ms"] == "334"
        assert len(venue.open_orders(trader)) == 2


async def test_commands_are_journalled_with_who_asked_and_from_where(venue: Venue) -> None:
    trader = await venue.trader(USD="100000")
    metadata = (*trader.signed("PlaceOrder"), ("x-request-id", "request-7"))
    origins = []
    submit_order = venue.service.submit_order

    def noted(account: int, request: Any, origin: Any, done: Any) -> None:
        origins.append(origin)
        submit_order(account, request, origin, done)

    venue.service.submit_order = noted

    await venue.stub.PlaceOrder(limit(BUY, "0.1", "50000"), metadata=metadata)

    (origin,) = origins
    assert (origin.actor, origin.source, origin.request_id) == (f"key:{trader.key}", "127.0.0.1", "request-7")
    assert len(origin.trace_id) == 32


@pytest.mark.parametrize(
    ("peer", "source"),
    [("ipv4:127.0.0.1:5000", "127.0.0.1"), ("ipv6:%5B::1%5D:5000", "::1"), ("ipv6:[::1]:5000", "::1"), ("unix:/x", "")],
)
def test_the_source_is_the_address_without_its_port(peer: str, source: str) -> None:
    assert source_of(peer) == source


# Administration. ----------------------------------------------------------------------------------------------------


async def test_administrators_make_accounts_move_money_and_give_keys(venue: Venue) -> None:
    stub = venue.stub

    made = await stub.CreateAccount(pb.CreateAccountRequest(name="Ada", tier=0), metadata=ADMIN)
    paid = await stub.Deposit(pb.TransferRequest(account_id=made.account_id, asset="USD", amount="10"), metadata=ADMIN)
    taken = await stub.Withdraw(pb.TransferRequest(account_id=made.account_id, asset="USD", amount="4"), metadata=ADMIN)
    key = await stub.CreateKey(pb.CreateKeyRequest(account_id=made.account_id, label="bot"), metadata=ADMIN)

    assert (made.name, made.status) == ("Ada", pb.ACCOUNT_STATUS_ACTIVE)
    assert (paid.amount, paid.free, taken.free) == ("10.00000000", "10.00000000", "6.00000000")
    balances = await stub.GetAccountBalances(pb.GetAccountBalancesRequest(account_id=made.account_id), metadata=ADMIN)
    assert [(each.asset, each.free) for each in balances.balances] == [("USD", "6.00000000")]
    assert await stub.GetAccount(pb.GetAccountRequest(account_id=made.account_id), metadata=ADMIN) == made
    listed = (await stub.ListAccounts(pb.ListAccountsRequest(), metadata=ADMIN)).accounts
    assert made in listed
    keys = (await stub.ListKeys(pb.ListKeysRequest(account_id=made.account_id), metadata=ADMIN)).keys
    assert [(each.api_key, each.label) for each in keys] == [(key.key.api_key, "bot")]
    trader = Trader(int(made.account_id), key.key.api_key, key.api_secret)
    assert (await venue.call(trader, "GetBalances", pb.GetBalancesRequest())).account_id == made.account_id


async def test_the_same_deposit_twice_is_one_deposit(venue: Venue) -> None:
    trader = await venue.trader()
    request = pb.TransferRequest(account_id=str(trader.account), asset="USD", amount="10", idempotency_key="k-1")

    first = await venue.stub.Deposit(request, metadata=ADMIN)
    second = await venue.stub.Deposit(request, metadata=ADMIN)

    assert first == second
    assert second.free == "10.00000000"


async def test_a_withdrawal_of_more_than_is_free_is_refused_by_the_rule(venue: Venue) -> None:
    trader = await venue.trader(USD="1")

    status, trailing = await _failure(
        venue.stub.Withdraw(pb.TransferRequest(account_id=str(trader.account), asset="USD", amount="2"), metadata=ADMIN)
    )

    assert (status, trailing["fx-code"]) == (grpc.StatusCode.FAILED_PRECONDITION, "insufficient_funds")
    assert trailing["fx-reason"] == "401"
    assert "fx-order-id" not in trailing


async def test_a_suspended_account_and_a_halted_instrument_take_no_orders(venue: Venue) -> None:
    trader = await venue.trader(USD="100000")
    suspend = pb.SetAccountStatusRequest(account_id=str(trader.account), status=pb.ACCOUNT_STATUS_SUSPENDED)
    halt = pb.SetInstrumentStatusRequest(symbol="BTC-USD", status=pb.INSTRUMENT_STATUS_HALTED)

    halted = await venue.stub.SetInstrumentStatus(halt, metadata=ADMIN)
    _, by_instrument = await _failure(venue.call(trader, "PlaceOrder", limit(BUY, "0.1", "50000")))
    suspended = await venue.stub.SetAccountStatus(suspend, metadata=ADMIN)
    _, by_account = await _failure(venue.call(trader, "PlaceOrder", limit(BUY, "0.1", "50000")))

    assert (halted.status, suspended.status) == (pb.INSTRUMENT_STATUS_HALTED, pb.ACCOUNT_STATUS_SUSPENDED)
    assert (by_instrument["fx-code"], by_account["fx-code"]) == ("instrument_halted", "account_suspended")


async def test_traders_and_strangers_do_not_administrate(venue: Venue) -> None:
    trader = await venue.trader()
    request = pb.CreateAccountRequest(name="Mallory")

    by_trader, _ = await _failure(venue.stub.CreateAccount(request, metadata=trader.signed("CreateAccount")))
    by_stranger, _ = await _failure(venue.stub.CreateAccount(request))
    by_guess, _ = await _failure(venue.stub.CreateAccount(request, metadata=(("authorization", "Bearer guess"),)))

    assert by_trader == grpc.StatusCode.PERMISSION_DENIED
    assert {by_stranger, by_guess} == {grpc.StatusCode.UNAUTHENTICATED}


async def test_a_revoked_key_opens_nothing_any_more(venue: Venue) -> None:
    trader = await venue.trader(USD="100000")

    revoked = await venue.stub.RevokeKey(
        pb.RevokeKeyRequest(account_id=str(trader.account), api_key=trader.key), metadata=ADMIN
    )
    _, trailing = await _failure(venue.call(trader, "PlaceOrder", limit(BUY, "0.1", "50000")))

    assert revoked.HasField("revoked_at")
    assert trailing["fx-code"] == "key_revoked"


# Streams in batches. ------------------------------------------------------------------------------------------------


async def _updates(call: Any, count: int) -> list[Any]:
    updates: list[Any] = []
    async with asyncio.timeout(5):
        while len(updates) < count:
            updates += (await call.read()).updates
    return updates


async def test_a_book_kept_from_its_stream_is_the_venues(venue: Venue) -> None:
    trader = await venue.trader(USD="1000000", BTC="10")
    await venue.exchange.place(trader.account, "buy", "0.1", "50000")
    call = venue.stub.StreamBook(pb.StreamBookRequest(subscriptions=[pb.Subscription(symbol="BTC-USD")]))
    (snapshot,) = await _updates(call, 1)
    bids = {level.price: level.quantity for level in snapshot.book.bids}

    first = await venue.exchange.place(trader.account, "buy", "0.2", "50001")
    (delta,) = await _updates(call, 1)
    bids |= {level.price: level.quantity for level in delta.book.bids}
    await venue.exchange.service.cancel_order(trader.account, str(first.order.order_id), ORIGIN)
    (removal,) = await _updates(call, 1)

    assert (snapshot.type, delta.type) == (pb.MESSAGE_TYPE_SNAPSHOT, pb.MESSAGE_TYPE_DELTA)
    assert bids == {"50000.00": "0.10000", "50001.00": "0.20000"}
    assert [(level.price, level.quantity) for level in removal.book.bids] == [("50001.00", "0.00000")]
    assert [delta.first_sequence, removal.first_sequence] == [snapshot.sequence + 1, delta.sequence + 1]
    assert removal.book.checksum == venue.exchange.venue.books[0].book.checksum()
    call.cancel()


async def test_trades_are_streamed_after_the_newest_ones(venue: Venue) -> None:
    seller, buyer = await venue.trader(BTC="1"), await venue.trader(USD="100000")
    await venue.exchange.place(seller.account, "sell", "0.5", "60000")
    await venue.exchange.place(buyer.account, "buy", "0.1", "60000")
    call = venue.stub.StreamTrades(pb.StreamTradesRequest(subscriptions=[pb.Subscription(symbol="BTC-USD")]))

    (snapshot,) = await _updates(call, 1)
    await venue.exchange.place(buyer.account, "buy", "0.2", "60000")
    (event,) = await _updates(call, 1)

    assert [each.quantity for each in snapshot.trades] == ["0.10000"]
    assert [(each.quantity, each.side) for each in event.trades] == [("0.20000", BUY)]
    assert (snapshot.type, event.type) == (pb.MESSAGE_TYPE_SNAPSHOT, pb.MESSAGE_TYPE_EVENT)
    call.cancel()


async def test_private_streams_tell_the_caller_alone_and_resume(venue: Venue) -> None:
    trader, other = await venue.trader(USD="100000"), await venue.trader(USD="100000")
    await venue.exchange.place(trader.account, "buy", "0.1", "50000")
    orders = venue.call(trader, "StreamOrders", pb.StreamOrdersRequest())
    (snapshot,) = await _updates(orders, 1)
    balances = venue.call(trader, "StreamBalances", pb.StreamBalancesRequest())
    (funds,) = await _updates(balances, 1)

    await venue.exchange.place(other.account, "buy", "0.1", "50000")
    placed = await venue.exchange.place(trader.account, "buy", "0.2", "40000")
    (event,) = await _updates(orders, 1)
    (changed,) = await _updates(balances, 1)
    orders.cancel()
    await venue.exchange.service.cancel_order(trader.account, str(placed.order.order_id), ORIGIN)
    resumed = venue.call(
        trader, "StreamOrders", pb.StreamOrdersRequest(from_sequence=event.sequence + 1, epoch=event.epoch)
    )
    (missed,) = await _updates(resumed, 1)

    assert [each.price for each in snapshot.orders] == ["50000.00"]
    assert (event.report.exec_type, event.report.order.price) == (pb.EXEC_TYPE_NEW, "40000.00")
    assert (missed.report.exec_type, missed.first_sequence) == (pb.EXEC_TYPE_CANCELED, event.sequence + 1)
    assert [(each.asset, each.held) for each in funds.balances] == [("USD", "5010.00000000")]
    assert [(each.asset, each.held) for each in changed.balances] == [("USD", "13026.00000000")]
    balances.cancel()
    resumed.cancel()


async def test_what_cannot_be_resumed_begins_with_a_notice_and_a_snapshot(venue: Venue) -> None:
    trader = await venue.trader(USD="100000")
    placed = await venue.exchange.place(trader.account, "buy", "0.1", "50000")

    call = venue.call(trader, "StreamOrders", pb.StreamOrdersRequest(from_sequence=700, epoch=1))
    async with asyncio.timeout(5):
        batch = await call.read()

    (notice,) = batch.snapshots_required
    assert (notice.symbol, notice.from_sequence) == ("*", 700)
    assert [each.order_id for each in batch.updates[0].orders] == [str(placed.order.order_id)]
    call.cancel()


async def test_private_streams_want_credentials_and_end_when_the_key_is_revoked(venue: Venue) -> None:
    trader = await venue.trader(USD="100000")
    status, _ = await _failure(_read_to_end(venue.stub.StreamBalances(pb.StreamBalancesRequest())))
    call = venue.call(trader, "StreamOrders", pb.StreamOrdersRequest())
    await call.read()

    await venue.service.revoke_key(str(trader.account), trader.key, ORIGIN)
    gateway = venue.gateway
    if gateway is not None:
        await until(lambda: not gateway.access.stands(trader.key))
    venue.heartbeat.beat()
    _, trailing = await _failure(_read_to_end(call))

    assert status == grpc.StatusCode.UNAUTHENTICATED
    assert trailing["fx-code"] == "key_revoked"


async def _read_to_end(call: Any) -> None:
    async with asyncio.timeout(5):
        while await call.read() is not grpc.aio.EOF:
            pass


async def test_more_streams_than_allowed_are_refused() -> None:
    async with _running(max_streams=1) as venue:
        trader = await venue.trader()
        session = await venue.session(trader)

        _, trailing = await _failure(_read_to_end(venue.stub.StreamBook(pb.StreamBookRequest())))

        assert trailing["fx-code"] == "too_many_streams"
        session.call.cancel()


# Order entry over a stream. -----------------------------------------------------------------------------------------


async def test_commands_are_answered_by_their_ids_with_the_order_as_it_stands(venue: Venue) -> None:
    trader = await venue.trader(USD="100000")
    session = await venue.session(trader)

    (placed,) = await session.ask(place("1", BUY, "0.5", "50000", client_order_id="first"))
    amend = pb.AmendOrderRequest(order_id=placed.order.order_id, price="49000")
    (amended,) = await session.ask(pb.OrderStreamCommand(id="2", amend=amend))
    replace = pb.ReplaceOrderRequest(client_order_id="first", order=limit(BUY, "0.3", "48000"))
    (replaced,) = await session.ask(pb.OrderStreamCommand(id="3", replace=replace))
    (canceled,) = await session.ask(cancel("4", order_id=replaced.order.order_id))

    answers = [placed, amended, replaced, canceled]
    assert session.begun.account_id == str(trader.account)
    assert [answer.id for answer in answers] == ["1", "2", "3", "4"]
    assert [answer.order.price for answer in answers] == ["50000.00", "49000.00", "48000.00", "48000.00"]
    assert not any(answer.HasField("refusal") for answer in answers)
    assert replaced.order.replaces == placed.order.order_id
    assert canceled.order.status == pb.ORDER_STATUS_CANCELED
    session.call.cancel()


async def test_refused_commands_do_not_end_the_session(venue: Venue) -> None:
    trader = await venue.trader(USD="1000")
    session = await venue.session(trader)

    answers = await session.ask(
        place("off the grid", BUY, "0.1", "50000.001"),
        place("too dear", BUY, "0.1", "50000"),
        cancel("of nothing", order_id="4711"),
        pb.OrderStreamCommand(id="nothing"),
        place("x" * 65, BUY, "0.01", "50000"),
        place("good", BUY, "0.01", "50000"),
        place("bad", BUY, "0.01", "50000", client_order_id="a b"),
    )

    told = {answer.id: (answer.refusal.code, answer.HasField("order")) for answer in answers}
    assert told == {
        "off the grid": ("off_grid", False),
        "too dear": ("insufficient_funds", True),
        "of nothing": ("unknown_order", False),
        "nothing": ("missing_field", False),
        "x" * 64: ("invalid_request", False),
        "good": ("", True),
        "bad": ("invalid_request", False),
    }
    rejected = next(answer for answer in answers if answer.id == "too dear")
    assert (rejected.order.status, rejected.refusal.reason) == (pb.ORDER_STATUS_REJECTED, 401)
    assert len(venue.open_orders(trader)) == 1
    session.call.cancel()


async def test_commands_of_one_turn_are_answered_in_one_response(venue: Venue) -> None:
    trader = await venue.trader(USD="1000000")
    session = await venue.session(trader, answers_only=True)
    before = session.responses

    answers = await session.ask(*(place(str(number), BUY, "0.001", "50000") for number in range(200)))

    assert [answer.id for answer in answers] == [str(number) for number in range(200)]
    assert [int(answer.order.order_id) for answer in answers] == venue.open_orders(trader)
    assert session.responses - before == 1
    session.call.cancel()


async def test_more_commands_than_may_wait_are_all_answered_in_order(venue: Venue) -> None:
    trader = await venue.trader(USD="1000000")
    session = await venue.session(trader, answers_only=True)
    count = 2 * sessions.MAX_UNANSWERED + 500

    answers = await session.ask(*(place(str(number), BUY, "0.0001", "50000") for number in range(count)))

    assert [answer.id for answer in answers] == [str(number) for number in range(count)]
    assert len(venue.open_orders(trader)) == count
    session.call.cancel()


async def test_no_more_is_read_while_too_much_waits_for_its_answer() -> None:
    async with _running(journal=True) as venue:
        trader = await venue.trader(USD="1000000")
        session = await venue.session(trader, answers_only=True)
        venue.exchange.journal.hold()

        await session.send(*(place(str(number), BUY, "0.0001", "50000") for number in range(1_500)))
        async with asyncio.timeout(5):
            while venue.exchange.sequencer.waiting < sessions.MAX_UNANSWERED:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        waiting = venue.exchange.sequencer.waiting
        venue.exchange.journal.let_go()
        answers = await session.answers(1_500)

        assert waiting == sessions.MAX_UNANSWERED
        assert len({answer.order.order_id for answer in answers}) == 1_500
        session.call.cancel()


async def test_execution_reports_of_the_account_come_with_the_answers(venue: Venue) -> None:
    seller, buyer = await venue.trader(BTC="1"), await venue.trader(USD="100000")
    session = await venue.session(seller)
    (placed,) = await session.ask(place("1", SELL, "0.5", "60000"))

    await venue.exchange.place(buyer.account, "buy", "0.2", "60000")
    new, trade = await session.reports(2)

    assert [update.sequence for update in (new, trade)] == [session.begun.sequence + 1, session.begun.sequence + 2]
    assert (new.report.exec_type, trade.report.exec_type) == (pb.EXEC_TYPE_NEW, pb.EXEC_TYPE_TRADE)
    assert (trade.report.order.order_id, trade.report.fill.quantity) == (placed.order.order_id, "0.20000")
    assert trade.report.fill.liquidity == pb.LIQUIDITY_MAKER
    session.call.cancel()


async def test_reports_resume_where_an_earlier_session_ended(venue: Venue) -> None:
    trader = await venue.trader(USD="100000")
    first = await venue.session(trader)
    await first.ask(place("1", BUY, "0.1", "50000"))
    (seen,) = await first.reports(1)
    first.call.cancel()
    await venue.exchange.place(trader.account, "buy", "0.1", "40000")

    second = await venue.session(trader, from_sequence=seen.sequence + 1, epoch=seen.epoch)
    (missed,) = await second.reports(1)

    assert (missed.first_sequence, missed.report.order.price) == (seen.sequence + 1, "40000.00")
    second.call.cancel()


@pytest.mark.parametrize("options", [{}, {"answers_only": True}, {"cancel_on_disconnect": True}])
async def test_a_cancel_by_client_order_id_waits_for_an_order_on_its_way(venue: Venue, options: dict[str, Any]) -> None:
    trader = await venue.trader(USD="100000")
    session = await venue.session(trader, **options)

    placed, canceled, other = await session.ask(
        place("1", BUY, "0.1", "50000", client_order_id="mine"),
        cancel("2", client_order_id="mine"),
        # There is only enough for it once the first one is canceled.
        place("3", BUY, "1.95", "50000"),
    )

    assert canceled.order.order_id == placed.order.order_id
    assert canceled.order.status == pb.ORDER_STATUS_CANCELED
    assert other.order.status == pb.ORDER_STATUS_NEW
    session.call.cancel()


_RESTING = (
    place("rests", BUY, "0.5", "50000", client_order_id="mine"),
    place("posts", SELL, "0.25", "70000", post_only=True, self_trade_prevention=pb.SELF_TRADE_PREVENTION_EXPIRE_BOTH),
    place("", BUY, "0.5", "40000", time_in_force=pb.TIME_IN_FORCE_GTC),
    place("ß" * 64, SELL, "0.5", "80000.01"),
    # Fewer than that go each by itself too.
    *(place(f"lies {level} deep", BUY, "0.01", str(40_000 - level)) for level in range(FEW_ORDERS)),
)
_OTHERS = (
    place("fills", SELL, "0.2", "50000", self_trade_prevention=pb.SELF_TRADE_PREVENTION_NONE),
    place("is too dear", BUY, "1000", "50000"),
    place("hides", SELL, "0.2", "60000", display_quantity="0.1"),
    place("is off the grid", BUY, "0.2", "50000.001"),
)
_AGAIN = place("is the first again", BUY, "0.5", "50000", client_order_id="mine")


async def test_plain_orders_are_answered_as_any_others() -> None:
    answers, plain = [], []
    # Orders of a session that leaves nothing behind go each by itself, those of others side by side.
    for options in ({"answers_only": True}, {"answers_only": True, "cancel_on_disconnect": True}):
        async with _running() as venue:
            trader = await venue.trader(USD="1000000", BTC="10")
            session = await venue.session(trader, **options)
            rested = venue.rpc._rendering.resting_results
            venue.rpc._rendering.resting_results = lambda *rows, rested=rested: plain.append(rows[2]) or rested(*rows)
            answers.append([])
            for commands in (_RESTING, _OTHERS, (_AGAIN,)):
                answers[-1] += await session.ask(*commands)
            session.call.cancel()

    assert [command_id for ids in plain for command_id in ids] == [command.id for command in _RESTING]
    by_columns, by_records = ({answer.id: answer for answer in told} for told in answers)
    assert by_columns == by_records
    assert set(by_columns) == {command.id for command in (*_RESTING, *_OTHERS, _AGAIN)}
    assert by_columns["rests"].order.client_order_id == "mine"


async def test_answers_wait_for_those_of_commands_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    # Longer than the test, which is to find that it ends when nothing is under way any more.
    monkeypatch.setattr(sessions, "GATHER_S", 1_000.0)
    async with _running(journal=True) as venue:
        trader = await venue.trader(USD="1000000")
        session = await venue.session(trader, answers_only=True)
        before = session.responses
        await _place_in_two_batches(venue, session)
        venue.exchange.journal.let_go()

        answers = await session.answers(2)

        assert [answer.id for answer in answers] == ["1", "2"]
        assert session.responses - before == 1
        session.call.cancel()


async def test_an_answer_does_not_wait_long_for_others() -> None:
    async with _running(journal=True) as venue:
        trader = await venue.trader(USD="1000000")
        session = await venue.session(trader, answers_only=True)
        journal = venue.exchange.journal
        await _place_in_two_batches(venue, session)
        journal.let_go()
        journal.hold()

        (answer,) = await session.answers(1)

        assert answer.id == "1"
        journal.let_go()
        assert [each.id for each in await session.answers(1)] == ["2"]
        session.call.cancel()


async def _place_in_two_batches(venue: Venue, session: "Session") -> None:
    """Have two orders under way, of which the journal keeps the first one waiting."""
    venue.exchange.journal.hold()
    for waiting in (1, 2):
        await session.send(place(str(waiting), BUY, "0.001", "50000"))
        async with asyncio.timeout(5):
            while venue.exchange.sequencer.waiting < waiting:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0)
        while not venue.exchange.journal.held:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0)


class _Steps:
    """What a coroutine has done so far."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.awaited: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def go(self) -> str:
        self.done.append("begun")
        try:
            text = await self.awaited
            await asyncio.sleep(0)
        except BaseException as exc:
            self.done.append(type(exc).__name__)
            raise
        return text


async def test_what_is_begun_goes_on_before_anybody_waits_for_it() -> None:
    steps = _Steps()

    begun = sessions.Begun(steps.go())

    assert steps.done == ["begun"]
    steps.awaited.set_result("over")
    assert await begun == "over"
    begun.close()
    assert steps.done == ["begun"]


async def test_a_failure_of_what_is_begun_reaches_whoever_waits() -> None:
    steps = _Steps()
    begun = sessions.Begun(steps.go())

    steps.awaited.set_exception(Unavailable("gone"))

    with pytest.raises(Unavailable, match="gone"):
        await begun
    assert steps.done == ["begun", "Unavailable"]


async def test_whoever_is_cancelled_cancels_what_is_begun() -> None:
    steps = _Steps()

    async def wait() -> str:
        return await sessions.Begun(steps.go())

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert steps.done == ["begun", "CancelledError"]
    assert steps.awaited.cancelled()


async def test_what_is_begun_can_be_given_up() -> None:
    steps = _Steps()

    sessions.Begun(steps.go()).close()

    assert steps.done == ["begun", "GeneratorExit"]
    assert steps.awaited.cancelled()


async def test_cancel_all_on_a_session_comes_between_what_is_before_and_after_it(venue: Venue) -> None:
    trader = await venue.trader(USD="100000")
    session = await venue.session(trader)

    before, canceled, after = await session.ask(
        place("1", BUY, "0.1", "50000"),
        pb.OrderStreamCommand(id="2", cancel_all=pb.CancelAllRequest()),
        place("3", BUY, "0.1", "50000"),
    )

    assert list(canceled.canceled_order_ids) == [before.order.order_id]
    assert venue.open_orders(trader) == [int(after.order.order_id)]
    session.call.cancel()


async def test_the_same_order_on_another_session_is_told_as_repeated(venue: Venue) -> None:
    trader = await venue.trader(USD="100000")
    session = await venue.session(trader)
    command = place("1", BUY, "0.1", "50000", client_order_id="mine")
    (first,) = await session.ask(command)
    session.call.cancel()
    other = await venue.session(trader)

    (again,) = await other.ask(command)

    assert (first.repeated, again.repeated) == (False, True)
    assert again.order.order_id == first.order.order_id
    other.call.cancel()


async def test_after_the_caller_has_ended_its_side_everything_is_answered_and_the_stream_ends(venue: Venue) -> None:
    trader = await venue.trader(USD="100000")
    session = await venue.session(trader)
    await session.send(*(place(str(number), BUY, "0.01", "50000") for number in range(10)))
    await session.call.done_writing()

    answers = await session.answers(10)

    assert len(answers) == 10
    assert await _end(session) == (grpc.StatusCode.OK, "")
    assert len(venue.open_orders(trader)) == 10


async def test_a_stream_that_ends_before_it_began_is_no_error(venue: Venue) -> None:
    trader = await venue.trader()
    session = Session(venue.stub.OrderStream(metadata=trader.signed("OrderStream")))

    await session.call.done_writing()

    assert await _end(session) == (grpc.StatusCode.OK, "")


async def test_options_belong_into_the_first_message(venue: Venue) -> None:
    trader = await venue.trader()
    session = await venue.session(trader)

    await session.call.write(pb.OrderStreamRequest(options=pb.OrderStreamOptions(cancel_on_disconnect=True)))

    assert await _end(session) == (grpc.StatusCode.INVALID_ARGUMENT, "options_too_late")


async def test_each_command_of_a_session_counts_against_the_allowance() -> None:
    async with _running(per_second=3) as venue:
        trader = await venue.trader(USD="100000")
        session = await venue.session(trader)

        answers = await session.ask(*(place(str(number), BUY, "0.01", "50000") for number in range(3)))

        assert [answer.refusal.code for answer in sorted(answers, key=lambda answer: answer.id)] == [
            "",
            "",
            "rate_limited",
        ]
        assert next(answer.refusal.retry_after_ms for answer in answers if answer.HasField("refusal")) == 334
        session.call.cancel()


async def test_a_session_ends_with_the_next_command_or_heartbeat_once_its_key_is_revoked(venue: Venue) -> None:
    trader = await venue.trader(USD="100000")
    busy, idle = await venue.session(trader), await venue.session(trader)

    await venue.service.revoke_key(str(trader.account), trader.key, ORIGIN)
    gateway = venue.gateway
    if gateway is not None:
        # Until then the kernel process refuses the command, and the session ends with the next one.
        await until(lambda: not gateway.access.stands(trader.key))
    await busy.send(place("1", BUY, "0.01", "50000"))
    ended = await _end(busy)
    venue.heartbeat.beat()

    assert ended == (grpc.StatusCode.UNAUTHENTICATED, "key_revoked")
    assert await _end(idle) == ended
    assert venue.open_orders(trader) == []


async def test_heartbeats_reach_a_session(venue: Venue) -> None:
    session = await venue.session(await venue.trader())

    venue.heartbeat.beat()

    assert (await session.response()).HasField("heartbeat")
    session.call.cancel()


async def test_a_session_that_does_not_keep_up_with_its_reports_is_ended() -> None:
    async with _running(journal=True, limits=StreamLimits(queue_messages=10)) as venue:
        trader = await venue.trader(USD="1000000")
        session = await venue.session(trader)

        # All of one batch, and so more reports in one turn than may wait.
        await asyncio.gather(*(venue.exchange.place(trader.account, "buy", "0.001", "50000") for _ in range(50)))

        assert await _end(session) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "slow_consumer")


class _Huge:
    """A codec whose messages are of the size of an order with thousands of fills."""

    def json(self, message: StreamMessage) -> bytes:
        raise NotImplementedError

    def proto(self, message: StreamMessage) -> bytes:
        return element(
            pb.OrderUpdate(sequence=message.sequence, orders=[pb.Order(symbol="x" * 300_000)]).SerializeToString()
        )


async def test_what_is_more_than_a_client_takes_at_once_comes_in_several_responses(venue: Venue) -> None:
    session = await venue.session(await venue.trader())
    (served,) = venue.rpc._sessions
    topic = Topic("orders", "*", epoch=1, codec=_Huge(), keep=1)

    served.deliver(Delivery([topic.number("event", None) for _ in range(20)]))

    assert [update.sequence for update in await session.reports(20)] == list(range(1, 21))
    assert session.responses > 5
    session.call.cancel()


async def test_the_server_stops_sessions_and_says_so(venue: Venue) -> None:
    trader = await venue.trader(USD="100000")
    session = await venue.session(trader, cancel_on_disconnect=True)
    await session.ask(place("1", BUY, "0.01", "50000"))

    await venue.server.stop()

    assert await _end(session) == (grpc.StatusCode.UNAVAILABLE, "stopping")
    await venue.until_open(trader, [])


# Cancel on disconnect. ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["cancel", "half_close", "failure"])
async def test_orders_of_a_session_go_with_it_however_it_ends(venue: Venue, way: str) -> None:
    trader, other = await venue.trader(USD="100000", BTC="1"), await venue.trader(USD="100000")
    stays = await venue.exchange.place(trader.account, "buy", "0.1", "30000")
    session = await venue.session(trader, cancel_on_disconnect=True)
    await session.ask(
        place("1", BUY, "0.1", "50000"), place("2", SELL, "0.1", "60000"), place("3", BUY, "0.1", "40000")
    )
    await venue.exchange.place(other.account, "buy", "0.1", "60000")

    match way:
        case "cancel":
            session.call.cancel()
        case "half_close":
            await session.call.done_writing()
        case "failure":
            await session.call.write(pb.OrderStreamRequest(options=pb.OrderStreamOptions()))

    await venue.until_open(trader, [stays.order.order_id])
    page = await venue.service.orders(OrderQuery(account=trader.account, oldest_first=True))
    assert [record.status for record in page.items] == [0, 3, 2, 3]


async def test_orders_that_have_finished_are_not_canceled_again(venue: Venue) -> None:
    trader, other = await venue.trader(USD="100000"), await venue.trader(BTC="1")
    session = await venue.session(trader, cancel_on_disconnect=True, answers_only=True)
    ended, filled, left = await session.ask(*(place(str(number), BUY, "0.1", "50000") for number in range(3)))
    await session.ask(cancel("3", order_id=ended.order.order_id))
    await venue.exchange.place(other.account, "sell", "0.1", "50000")
    commands = venue.exchange.sequencer.commands
    tried = []
    submit_cancel = venue.service.submit_cancel
    venue.service.submit_cancel = lambda account, ref, *rest: (tried.append(ref), submit_cancel(account, ref, *rest))

    await session.call.done_writing()
    await venue.until_open(trader, [])

    assert filled.order.order_id not in tried
    assert tried == [left.order.order_id]
    assert venue.exchange.sequencer.commands == commands + 1


async def test_without_the_option_orders_stay(venue: Venue) -> None:
    trader = await venue.trader(USD="100000")
    session = await venue.session(trader)
    (placed,) = await session.ask(place("1", BUY, "0.1", "50000"))

    await session.call.done_writing()
    await _end(session)

    assert venue.open_orders(trader) == [int(placed.order.order_id)]


async def test_an_order_on_its_way_when_the_session_ends_is_canceled_as_soon_as_it_is_open() -> None:
    async with _running(journal=True) as venue:
        trader = await venue.trader(USD="100000")
        session = await venue.session(trader, cancel_on_disconnect=True)
        venue.exchange.journal.hold()
        await session.send(place("1", BUY, "0.1", "50000"))
        async with asyncio.timeout(5):
            while not venue.exchange.sequencer.waiting:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0)

        session.call.cancel()
        async with asyncio.timeout(5):
            while venue.service.hub.subscribers:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0)
        venue.exchange.journal.let_go()
        await venue.exchange.sequencer.run_dry()
        await venue.until_open(trader, [])

        page = await venue.service.orders(OrderQuery(account=trader.account))
        assert [record.status for record in page.items] == [3]


async def test_cancels_that_cannot_be_stored_are_tried_until_they_are() -> None:
    async with _running(journal=True) as venue:
        trader = await venue.trader(USD="100000")
        session = await venue.session(trader, cancel_on_disconnect=True)
        await session.ask(*(place(str(number), BUY, "0.01", "50000") for number in range(3)))
        attempts = []
        submit_cancel = venue.service.submit_cancel

        def refused_at_first(account: int, ref: str, origin: Any, done: Any) -> None:
            attempts.append(ref)
            if len(attempts) < 4:
                raise Unavailable("the queue is full", code="queue_full")
            submit_cancel(account, ref, origin, done)

        venue.service.submit_cancel = refused_at_first
        venue.exchange.journal.fail_before = 1

        session.call.cancel()

        await venue.until_open(trader, [])
        assert len(attempts) > 6
