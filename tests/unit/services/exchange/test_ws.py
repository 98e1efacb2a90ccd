"""Order entry over WebSocket: a real socket and server, real signatures, and a service that is written by hand."""

import asyncio
import contextlib
import hmac
import itertools
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from exchange_kit import Exchange, FaultyJournal
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from fauxchange.contracts.exchange.messages import AmendRequest, OrderRequest
from fauxchange.contracts.exchange.render import order_json
from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.domain.errors import (
    Conflict,
    FauxchangeError,
    InvalidRequest,
    NotFound,
    Rejected,
    Unauthenticated,
    Unavailable,
)
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.listings import Asset, Listing
from fauxchange.domain.order_columns import ORDER_COLUMNS, RestingOrders
from fauxchange.domain.orders import OPEN_STATUSES, KeyRecord, OrderRecord
from fauxchange.platform.clock import WallClock
from fauxchange.platform.credentials import SecretBox
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.http.app import HttpAppConfig, create_http_app
from fauxchange.platform.http.server import HttpServer
from fauxchange.platform.listening import Listener
from fauxchange.platform.metrics import NullMetrics
from fauxchange.platform.streams.endpoint import Heartbeat, StreamLimits, StreamMetrics
from fauxchange.platform.streams.hub import Hub
from fauxchange.platform.streams.topics import ANY_SYMBOL, EventTopic, StreamMessage
from fauxchange.platform.streams.websocket import websocket_factory
from fauxchange.services.exchange.core.vocabulary import RejectReason
from fauxchange.services.exchange.service.access import Access
from fauxchange.services.exchange.service.limits import RateLimits
from fauxchange.services.exchange.service.order_lists import OrderSink
from fauxchange.services.exchange.service.requests import Caller, Origin, Outcome, Placement
from fauxchange.services.exchange.ws import PATH, exchange_endpoint

NOW_MS = 1_769_860_800_000
NEW, FILLED, CANCELED, REJECTED = 0, 2, 3, 4
BTC_USD = Listing(
    number=0,
    instrument=Instrument(symbol="BTC/USD", tick_size=Decimal("0.01"), lot_size=Decimal("0.0001")),
    base=Asset(number=0, name="BTC"),
    quote=Asset(number=1, name="USD"),
)
ORDER = {"symbol": "BTC/USD", "side": "buy", "quantity": "0.5", "price": "60000.00"}
READ_TIMEOUT_S = 5.0


class Codec:
    """A topic's messages as plain JSON."""

    def json(self, message: StreamMessage) -> bytes:
        topic = message.topic
        return msgspec.json.encode(
            {"channel": topic.channel, "symbol": topic.symbol, "type": message.type, "sequence": message.sequence}
        )

    def proto(self, message: StreamMessage) -> bytes:
        return b""


class PlainOrder(NamedTuple):
    """A plain order that waits for the commit."""

    account: int
    request: OrderRequest
    origin: Origin
    sink: OrderSink
    token: Any


class FakeExchange:
    """An exchange whose orders rest; what it does is carried out, and told, when it commits.

    It commits in the next turn of the loop, or when the test says so if `commits` is False. Every order is a plain one,
    unless `takes_plain` is False.
    """

    def __init__(self) -> None:
        self.hub = Hub()
        self.commits = True
        self.away = False
        self.orders: dict[int, OrderRecord] = {}
        self.named: dict[str, int] = {}
        self.log: list[str] = []
        self.origins: list[Origin] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self.topics = {
            name: EventTopic(name, ANY_SYMBOL, epoch=1, codec=Codec(), keep=10) for name in ("trades", "orders")
        }
        self.waiting: list[Callable[[], None] | PlainOrder] = []
        self.takes_plain = True
        self.on_their_way: dict[str, list[Callable[[], None]]] = {}
        self.batches: list[int] = []

    # What the edge calls

    def kernel_session(self, account: int, origin: Origin) -> None:
        return None

    def submit_order(
        self, account: int, request: OrderRequest, origin: Origin, done: Callable[[Outcome], None]
    ) -> None:
        self.check_there()
        if request.client_order_id in self.named:
            raise Conflict("taken", code="duplicate_client_order_id", field="client_order_id")
        if request.quantity == "0.00001":
            raise InvalidRequest("off", code="off_grid", field="quantity")
        self.submit(lambda: done(Outcome(Placement(self.place(account, request, origin)))))

    def submit_plain(self, account: int, request: OrderRequest, origin: Origin, sink: OrderSink, token: Any) -> bool:
        if not self.takes_plain or request.client_order_id in {*self.named, *self.on_their_way}:
            return False
        self.check_there()
        if request.quantity == "0.00001":
            raise InvalidRequest("off", code="off_grid", field="quantity")
        if request.client_order_id is not None:
            self.on_their_way[request.client_order_id] = []
        self.submit(PlainOrder(account, request, origin, sink, token))
        return True

    def when_placed(self, account: int, client_order_id: str, then: Callable[[], None]) -> bool:
        if client_order_id not in self.on_their_way:
            return False
        self.on_their_way[client_order_id].append(then)
        return True

    def submit_cancel(self, account: int, ref: str, origin: Origin, done: Callable[[Outcome], None]) -> None:
        self.check_there()
        record = self.open_order(account, ref)
        self.submit(lambda: done(self.cancel(record)))

    def submit_amend(
        self, account: int, ref: str, request: AmendRequest, origin: Origin, done: Callable[[Outcome], None]
    ) -> None:
        self.check_there()
        record = self.open_order(account, ref)

        def carry_out() -> None:
            record.order_lots = record.leaves_lots = int(Decimal(request.quantity or "1") * 10_000)
            self.log.append(f"amend {record.order_id}")
            done(Outcome(Placement(record)))

        self.submit(carry_out)

    async def cancel_all(self, account: int, symbol: str | None, origin: Origin) -> list[OrderRecord]:
        if symbol is not None:
            self.listing_of(symbol)
        done: asyncio.Future[list[OrderRecord]] = asyncio.get_running_loop().create_future()

        def carry_out() -> None:
            mine = [each for each in self.orders.values() if each.account == account and each.status in OPEN_STATUSES]
            for record in mine:
                self.cancel(record)
            done.set_result(mine)

        self.submit(carry_out)
        return await done

    def listing_of(self, symbol: str) -> Listing:
        if symbol.replace("-", "/") != "BTC/USD":
            raise NotFound(f"{symbol} is not traded here", code="unknown_symbol", field="symbol")
        return BTC_USD

    def resolve_topics(self, channel: str, symbol: str | None, caller: Caller | None) -> list[EventTopic]:
        if channel == "orders" and caller is None:
            raise Unauthenticated("orders are private")
        if channel not in self.topics:
            raise InvalidRequest("no such channel", code="unknown_channel", field="channel")
        return [self.topics[channel]]

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # What it does

    def check_there(self) -> None:
        if self.away:
            raise Unavailable("the journal is away", code="journal_unavailable", retry_after_s=1.0)

    def submit(self, work: Callable[[], None] | PlainOrder) -> None:
        self.waiting.append(work)
        if self.commits and len(self.waiting) == 1:
            asyncio.get_running_loop().call_soon(self.commit)

    def commit(self) -> None:
        work, self.waiting = self.waiting, []
        self.batches.append(len(work))
        for is_plain, alike in itertools.groupby(work, lambda each: isinstance(each, PlainOrder)):
            if is_plain:
                self.place_plain(list(alike))  # type: ignore[arg-type]  # they all are
                continue
            for each in alike:
                each()  # type: ignore[operator]  # none of them is a plain order

    def place_plain(self, orders: list[PlainOrder]) -> None:
        records = [self.place(each.account, each.request, each.origin) for each in orders]
        numbers = [
            [0 if column == "instrument" else record.created_ns if column == "ts_ns" else getattr(record, column)
             for column in ORDER_COLUMNS]
            for record in records
        ]  # fmt: skip
        resting = RestingOrders(np.array(numbers), [record.client_order_id for record in records], ["BTC/USD"])
        begun = 0
        placed = list(zip(orders, records, strict=True))
        for (sink, rests), run in itertools.groupby(placed, lambda pair: (pair[0].sink, pair[1].status == NEW)):
            told = list(run)
            if rests:
                sink.rested(resting, begun, [each.token for each, _ in told])
            else:
                for each, record in told:
                    sink.told(each.token, Outcome(Placement(record)))
            begun += len(told)
        for record in records:
            for then in self.on_their_way.pop(record.client_order_id or "", ()):
                then()

    def place(self, account: int, request: OrderRequest, origin: Origin) -> OrderRecord:
        number = len(self.orders) + 1
        lots = int(Decimal(request.quantity or "0") * 10_000)
        rejected = request.quantity == "666"
        record = OrderRecord(
            order_id=number, account=account, symbol="BTC/USD", client_order_id=request.client_order_id, side=0,
            order_type=1, time_in_force=0, post_only=False, self_trade_prevention=0,
            price_ticks=int(Decimal(request.price or "0") * 100), stop_ticks=0, order_lots=lots, display_lots=0,
            amount=0, expires_ns=0, status=REJECTED if rejected else NEW,
            reason=RejectReason.INSUFFICIENT_FUNDS.value if rejected else 0, cum_lots=0, leaves_lots=lots, cum_quote=0,
            fee=0, triggered=False, replaces=0, created_ns=1, updated_ns=1, event_sequence=number, fingerprint=0,
        )  # fmt: skip
        self.orders[number] = record
        self.origins.append(origin)
        if request.client_order_id is not None:
            self.named[request.client_order_id] = number
        self.log.append(f"place {number}")
        return record

    def cancel(self, record: OrderRecord) -> Outcome:
        if record.status not in OPEN_STATUSES:
            return Outcome(failure=finished(record))
        record.status = CANCELED
        self.log.append(f"cancel {record.order_id}")
        return Outcome(Placement(record))

    def open_order(self, account: int, ref: str) -> OrderRecord:
        number = self.named.get(ref.removeprefix("client:"), 0) if ref.startswith("client:") else int(ref)
        record = self.orders.get(number)
        if record is None or record.account != account:
            raise NotFound(f"the account has no order {ref}", code="unknown_order", field="order_id")
        if record.status not in OPEN_STATUSES:
            raise finished(record)
        return record

    @property
    def open_orders(self) -> list[int]:
        return [number for number, record in self.orders.items() if record.status in OPEN_STATUSES]


def finished(record: OrderRecord) -> Rejected:
    return Rejected("it is over", code="order_finished", reason=RejectReason.ORDER_FINISHED, order=record)


class Keys:
    """The keys of accounts 3 and 4."""

    def __init__(self, box: SecretBox) -> None:
        self.records = {
            key: KeyRecord(
                api_key=key, account=account, label="", encrypted_secret=box.encrypt(f"{key} secret", key), created_ns=0
            )
            for key, account in (("fxk_alice", 3), ("fxk_bob", 4))
        }

    def find(self, api_key: str) -> KeyRecord | None:
        return self.records.get(api_key)

    def revoke(self, api_key: str) -> None:
        self.records[api_key] = msgspec.structs.replace(self.records[api_key], revoked_ns=1)


class SteppedClock:
    """Venue time that a test moves."""

    ns = NOW_MS * 1_000_000

    def now_ns(self) -> int:
        return self.ns


class Client:
    """A client that asks, and keeps apart what answers it and what it reads."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.ids = itertools.count(1)
        self.data: list[dict[str, Any]] = []

    async def send(self, op: str, **fields: Any) -> int:
        number = next(self.ids)
        await self.connection.send(json.dumps({"op": op, "id": number, **fields}))
        return number

    async def reply(self) -> dict[str, Any]:
        async with asyncio.timeout(READ_TIMEOUT_S):
            while True:
                document = json.loads(await self.connection.recv())
                if "op" in document:
                    return document
                self.data += document if isinstance(document, list) else [document]

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        number = await self.send(op, **fields)
        while (reply := await self.reply())["id"] != number:
            pass
        return reply

    async def auth(self, key: str = "fxk_alice", *, stamp_ms: int = NOW_MS, **fields: Any) -> dict[str, Any]:
        text = f"{stamp_ms}{fields.get('nonce', '')}WS{PATH}".encode()
        signature = hmac.new(f"{key} secret".encode(), text, "sha256").hexdigest()
        return await self.ask("auth", **{"key": key, "timestamp": str(stamp_ms), "signature": signature, **fields})

    async def closing(self) -> tuple[int | None, str | None]:
        async with asyncio.timeout(READ_TIMEOUT_S):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    self.data.append(json.loads(await self.connection.recv()))
        return self.connection.close_code, self.connection.close_reason


class Running:
    """The endpoint on a server."""

    def __init__(self, *, per_second: int = 0, outstanding: int = 1_000, service: Any = None) -> None:
        box = SecretBox("the box's key")
        self.keys = Keys(box)
        self.clock = SteppedClock()
        self.exchange = FakeExchange()
        self.heartbeat = Heartbeat(epoch=1, interval_s=3_600, now_ns=self.clock.now_ns)
        self.rates = RateLimits(self.clock, per_second=per_second)
        self.endpoint = exchange_endpoint(
            service or self.exchange,
            Access(self.keys, box, admin_key="a", wall_ns=lambda: NOW_MS * 1_000_000, not_before_ns=0),
            self.rates,
            heartbeat=self.heartbeat,
            limits=StreamLimits(outstanding=outstanding),
            metrics=StreamMetrics(NullMetrics()),
        )
        app = create_http_app(
            HttpAppConfig(title="t", version="1", health=HealthRegistry(), metrics=NullMetrics(), clock=WallClock())
        )
        self.server = HttpServer(
            "http",
            app,
            Listener(host="127.0.0.1", port=0, setting="HTTP_PORT"),
            metrics=NullMetrics(),
            ws=websocket_factory({PATH: self.endpoint}),
        )

    async def __aenter__(self) -> "Running":
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop()

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        async with connect(f"ws{self.server.url.removeprefix('http')}{PATH}", proxy=None) as connection:
            yield Client(connection)

    @contextlib.asynccontextmanager
    async def trader(self, **fields: Any) -> AsyncIterator[Client]:
        async with self.client() as client:
            assert (await client.auth(**fields))["ok"] is True
            yield client

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(READ_TIMEOUT_S):
            while not condition():  # noqa: ASYNC110 - what happens behind the socket has no event
                await asyncio.sleep(0.001)


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    async with Running() as server:
        yield server


@pytest.fixture(params=[True, False], ids=["in columns", "one by one"])
async def either(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    """A server whose orders are plain ones that come in columns, or of which each has an entry of its own."""
    async with Running() as server:
        server.exchange.takes_plain = request.param
        yield server


# Who it is


async def test_order_entry_wants_an_authenticated_session(running: Running) -> None:
    async with running.client() as client:
        replies = [
            await client.ask("place", order=ORDER),
            await client.ask("place_batch", orders=[ORDER]),
            await client.ask("cancel", order_id="1"),
            await client.ask("amend", order_id="1", price="1"),
            await client.ask("cancel_all"),
            await client.ask("subscribe", channel="orders"),
        ]
        public = await client.ask("subscribe", channel="trades")

    assert {(reply["ok"], reply["code"]) for reply in replies} == {(False, "unauthenticated")}
    assert public["ok"] is True
    assert running.exchange.log == []


async def test_a_signature_opens_orders_and_private_channels(running: Running) -> None:
    async with running.client() as client:
        auth = await client.auth()
        placed = await client.ask("place", order=ORDER)
        subscribed = await client.ask("subscribe", channel="orders")

    assert auth == {"op": "auth", "id": 1, "ok": True}
    assert placed["ok"] is True
    assert placed["order"]["account_id"] == "3"
    assert subscribed["ok"] is True
    (origin,) = running.exchange.origins
    assert (origin.actor, origin.source) == ("key:fxk_alice", "127.0.0.1")
    assert len(origin.request_id) == len(origin.trace_id) == 32


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"signature": "0" * 64}, "invalid_signature"),
        ({"key": "fxk_nobody"}, "invalid_signature"),
        ({"timestamp": str(NOW_MS + 1)}, "invalid_signature"),
        ({"stamp_ms": NOW_MS - 5_001}, "stale_timestamp"),
        ({"stamp_ms": NOW_MS + 1_001}, "future_timestamp"),
        ({"timestamp": -1}, "invalid_timestamp"),
        ({"window": 70_000}, "invalid_window"),
        ({"nonce": "a/b"}, "invalid_nonce"),
        ({"nonce": 5}, "invalid_frame"),
        ({"passphrase": "x"}, "invalid_frame"),
    ],
)
async def test_whoever_does_not_prove_who_they_are_stays_a_stranger(
    running: Running, fields: dict[str, Any], code: str
) -> None:
    async with running.client() as client:
        refused = await client.auth(**fields)
        order = await client.ask("place", order=ORDER)
        honest = await client.auth()

    assert (refused["op"], refused["ok"], refused["code"]) == ("auth", False, code)
    assert order["code"] == "unauthenticated"
    assert honest["ok"] is True


async def test_a_recorded_auth_opens_no_second_session_and_a_nonce_does(running: Running) -> None:
    async with running.trader(), running.client() as second, running.client() as third:
        replayed = await second.auth()
        with_nonce = await third.auth(nonce="2")

    assert replayed["code"] == "replayed_request"
    assert with_nonce["ok"] is True


async def test_a_timestamp_may_be_a_number(running: Running) -> None:
    async with running.client() as client:
        assert (await client.auth(timestamp=NOW_MS))["ok"] is True


async def test_a_session_is_one_account_s(running: Running) -> None:
    async with running.trader() as client:
        again = await client.auth("fxk_bob")
        placed = await client.ask("place", order=ORDER)

    assert again["code"] == "already_authenticated"
    assert placed["order"]["account_id"] == "3"


async def test_a_revoked_key_ends_the_session_at_its_next_operation(running: Running) -> None:
    async with running.trader() as client:
        running.keys.revoke("fxk_alice")
        refused = await client.ask("place", order=ORDER)
        closing = await client.closing()

    assert refused["code"] == "key_revoked"
    assert closing == (4001, "key_revoked")
    assert running.exchange.log == []


async def test_a_revoked_key_reads_nothing_private_any_more(running: Running) -> None:
    topic = running.exchange.topics["orders"]
    async with running.trader() as client:
        await client.ask("subscribe", channel="orders")
        running.exchange.hub.publish([topic.number("event", {})])
        running.keys.revoke("fxk_alice")
        running.exchange.hub.publish([topic.number("event", {}), topic.number("event", {})])
        closing = await client.closing()

    assert closing == (4001, "key_revoked")
    assert [message["sequence"] for message in client.data if message["channel"] == "orders"] == [1]


async def test_a_revoked_key_s_idle_session_ends_with_the_next_heartbeat(running: Running) -> None:
    async with running.trader() as client:
        running.keys.revoke("fxk_alice")
        running.heartbeat.beat()

        assert await client.closing() == (4001, "key_revoked")


# Orders


async def test_an_order_is_answered_when_it_is_durable_and_not_before(either: Running) -> None:
    either.exchange.commits = False
    async with either.trader() as client:
        await client.send("place", order=ORDER)
        pong = await client.ask("ping")
        either.exchange.commit()
        answer = await client.reply()

    assert pong["op"] == "ping"
    assert (answer["op"], answer["id"], answer["ok"]) == ("place", 2, True)
    assert (answer["order"]["order_id"], answer["order"]["status"]) == ("1", "NEW")
    assert answer["order"]["quantity"] == "0.5000"


async def test_a_rejected_order_is_told_with_its_reason_and_its_record(either: Running) -> None:
    async with either.trader() as client:
        answer = await client.ask("place", order=ORDER | {"quantity": "666"})

    assert (answer["ok"], answer["code"], answer["reason"]) == (False, "insufficient_funds", 401)
    assert answer["detail"]
    assert (answer["order"]["status"], answer["order"]["reason"]) == ("REJECTED", "insufficient_funds")


@pytest.mark.parametrize(
    ("order", "code", "field"),
    [
        (ORDER | {"quantity": "0.00001"}, "off_grid", "quantity"),
        (ORDER | {"quantity": 1}, "invalid_frame", "order.quantity"),
        (ORDER | {"quantity": "-1"}, "invalid_frame", "order.quantity"),
        (ORDER | {"side": "hold"}, "invalid_frame", "order.side"),
        (ORDER | {"colour": "red"}, "invalid_frame", "order"),
        ({"side": "buy"}, "invalid_frame", "order"),
        (None, "invalid_frame", "order"),
    ],
)
async def test_an_order_that_cannot_be_is_refused_by_name(
    running: Running, order: dict[str, Any], code: str, field: str
) -> None:
    async with running.trader() as client:
        answer = await client.ask("place", order=order)
        after = await client.ask("place", order=ORDER)

    assert (answer["op"], answer["ok"], answer["code"], answer["field"]) == ("place", False, code, field)
    assert after["ok"] is True


@pytest.mark.parametrize("fields", [{"order": ORDER, "price": "1"}, {}, {"order": ORDER, "id": 1.5}])
async def test_a_frame_of_another_shape_is_refused(running: Running, fields: dict[str, Any]) -> None:
    async with running.trader() as client:
        await client.send("place", **fields)
        answer = await client.reply()

    assert (answer["ok"], answer["code"]) == (False, "invalid_frame")
    assert running.exchange.log == []


async def test_a_batch_is_answered_as_one_in_its_order(running: Running) -> None:
    orders = [
        ORDER | {"client_order_id": "a"},
        ORDER | {"quantity": "0.00001"},
        ORDER | {"quantity": "666"},
        ORDER | {"client_order_id": "b"},
    ]
    async with running.trader() as client:
        answer = await client.ask("place_batch", orders=orders)
        too_many = await client.ask("place_batch", orders=[ORDER] * 101)
        none = await client.ask("place_batch", orders=[])

    assert answer["ok"] is True
    told = [(each["order"] and each["order"]["order_id"], each["refusal"] and each["refusal"]["code"])
            for each in answer["results"]]  # fmt: skip
    assert told == [("1", None), (None, "off_grid"), ("2", "insufficient_funds"), ("3", None)]
    assert {too_many["code"], none["code"]} == {"invalid_frame"}


async def test_a_batch_of_refusals_alone_is_answered_too(running: Running) -> None:
    async with running.trader() as client:
        answer = await client.ask("place_batch", orders=[ORDER | {"quantity": "0.00001"}] * 2)

    assert [each["refusal"]["code"] for each in answer["results"]] == ["off_grid", "off_grid"]


async def test_orders_are_changed_and_canceled_by_either_id(either: Running) -> None:
    async with either.trader() as client:
        await client.ask("place", order=ORDER | {"client_order_id": "mine"})
        amended = await client.ask("amend", client_order_id="mine", quantity="0.4")
        by_name = await client.ask("cancel", client_order_id="mine")
        await client.ask("place", order=ORDER)
        by_id = await client.ask("cancel", order_id="2")

    assert (amended["ok"], amended["order"]["quantity"]) == (True, "0.4000")
    assert (by_name["ok"], by_name["order"]["status"]) == (True, "CANCELED")
    assert (by_id["ok"], by_id["order"]["order_id"]) == (True, "2")


async def test_what_cannot_be_changed_is_told(running: Running) -> None:
    async with running.trader() as client:
        await client.ask("place", order=ORDER)
        await client.ask("cancel", order_id="1")
        over = await client.ask("cancel", order_id="1")
        unknown = await client.ask("amend", order_id="7", price="1.00")
        unnamed = await client.ask("cancel")
        twice_named = await client.ask("cancel", order_id="1", client_order_id="a")

    assert (over["code"], over["reason"], over["order"]["status"]) == ("order_finished", 105, "CANCELED")
    assert unknown["code"] == "unknown_order"
    assert (unnamed["code"], unnamed["field"]) == ("missing_field", "order_id")
    assert twice_named["code"] == "invalid_request"


async def test_another_s_order_is_not_there(running: Running) -> None:
    async with running.trader() as alice, running.trader(key="fxk_bob") as bob:
        await alice.ask("place", order=ORDER)
        answer = await bob.ask("cancel", order_id="1")

    assert answer["code"] == "unknown_order"
    assert running.exchange.open_orders == [1]


async def test_an_order_can_be_canceled_while_it_is_on_its_way(either: Running) -> None:
    either.exchange.commits = False
    async with either.trader() as client:
        await client.send("place", order=ORDER | {"client_order_id": "a"})
        await client.send("cancel", client_order_id="a")
        await client.send("place", order=ORDER | {"client_order_id": "b"})
        await either.until(lambda: len(either.exchange.waiting) == 1)
        either.exchange.commits = True
        either.exchange.commit()
        answers = [await client.reply() for _ in range(3)]

    assert [(answer["op"], answer["ok"]) for answer in answers] == [("place", True), ("cancel", True), ("place", True)]
    assert either.exchange.log == ["place 1", "cancel 1", "place 2"]


async def test_a_cancel_of_an_order_that_was_refused_is_answered_too(either: Running) -> None:
    async with either.trader() as client:
        await client.send("place", order=ORDER | {"client_order_id": "a", "quantity": "666"})
        await client.send("cancel", client_order_id="a")
        placed, canceled = await client.reply(), await client.reply()

    assert (placed["code"], canceled["code"]) == ("insufficient_funds", "order_finished")


async def test_all_orders_are_canceled_and_none_that_is_sent_after(either: Running) -> None:
    async with either.trader() as client:
        for op, fields in [
            ("place", {"order": ORDER}),
            ("place", {"order": ORDER}),
            ("cancel_all", {}),
            ("place", {"order": ORDER}),
        ]:
            await client.send(op, **fields)
        answers = [await client.reply() for _ in range(4)]
        unknown = await client.ask("cancel_all", symbol="XYZ-USD")
        symbol = await client.ask("cancel_all", symbol="BTC-USD")

    assert [answer["op"] for answer in answers] == ["place", "place", "cancel_all", "place"]
    assert [order["order_id"] for order in answers[2]["orders"]] == ["1", "2"]
    assert (unknown["code"], unknown["field"]) == ("unknown_symbol", "symbol")
    assert [order["order_id"] for order in symbol["orders"]] == ["3"]


async def test_a_venue_that_cannot_store_orders_says_when_to_come_back(either: Running) -> None:
    either.exchange.away = True
    async with either.trader() as client:
        answer = await client.ask("place", order=ORDER)

    assert (answer["code"], answer["retry_after_ms"]) == ("journal_unavailable", 1_000)


async def test_a_bug_is_not_told_to_the_client(running: Running) -> None:
    def fail(*_: object) -> None:
        raise FauxchangeError("table orders is locked by pid 7")

    running.exchange.submit_plain = fail  # type: ignore[assignment,method-assign]  # a failure that cannot be had otherwise
    async with running.trader() as client:
        answer = await client.ask("place", order=ORDER)

    assert answer["code"] == "internal_error"
    assert "pid 7" not in answer["detail"]


async def test_operations_are_limited_by_account_and_a_batch_counts_its_orders() -> None:
    async with Running(per_second=4) as running, running.trader() as client:
        batch = await client.ask("place_batch", orders=[ORDER] * 3)
        one_more = await client.ask("place", order=ORDER)
        refused = await client.ask("cancel", order_id="1")
        async with running.trader(key="fxk_bob") as other:
            others = await other.ask("place", order=ORDER)
        running.clock.ns += 250_000_000
        later = await client.ask("cancel", order_id="1")

    assert (batch["ok"], one_more["ok"], others["ok"], later["ok"]) == (True, True, True, True)
    assert (refused["code"], refused["retry_after_ms"]) == ("rate_limited", 250)


async def test_plain_orders_are_answered_byte_for_byte_as_others_are() -> None:
    ids: list[Any] = [1, "one", None, 'q"\\\n\u001f\u007f', "größer 💱", -(2**63), 2**63 - 1, ""]
    changes: list[dict[str, Any]] = [{"client_order_id": f"n-{at}"} if at % 2 else {} for at in range(len(ids))]
    changes[4]["quantity"] = "666"
    answers = []
    for takes_plain in (True, False):
        async with Running() as running, running.trader() as client:
            running.exchange.takes_plain, running.exchange.commits = takes_plain, False
            for frame_id, change in zip(ids, changes, strict=True):
                await client.connection.send(json.dumps({"op": "place", "id": frame_id, "order": ORDER | change}))
            await running.until(lambda running=running: len(running.exchange.waiting) == len(ids))
            running.exchange.commit()
            answers.append([await client.connection.recv(decode=False) for _ in ids])

    assert answers[0] == answers[1]
    assert [json.loads(answer)["id"] for answer in answers[0]] == ids
    assert [json.loads(answer)["ok"] for answer in answers[0]] == [*[True] * 4, False, *[True] * 3]


async def test_orders_of_several_sessions_are_answered_to_whoever_placed_them(running: Running) -> None:
    running.exchange.commits = False
    async with running.trader() as alice, running.trader(key="fxk_bob") as bob:
        for number in range(1, 7):
            await (alice if number % 3 else bob).send("place", order=ORDER)
            await running.until(lambda number=number: len(running.exchange.waiting) == number)
        running.exchange.commit()
        hers, his = [await alice.reply() for _ in range(4)], [await bob.reply() for _ in range(2)]

    assert [answer["order"]["order_id"] for answer in hers] == ["1", "2", "4", "5"]
    assert [answer["order"]["order_id"] for answer in his] == ["3", "6"]
    assert {answer["order"]["account_id"] for answer in hers} == {"3"}


async def test_a_session_that_leaves_nothing_knows_its_orders_by_their_records(running: Running) -> None:
    def refuse(*_: object) -> bool:
        raise AssertionError("its orders are not placed in columns")

    running.exchange.submit_plain = refuse  # type: ignore[assignment,method-assign]  # so that a call is seen
    async with running.trader(cancel_on_disconnect=True) as client:
        answer = await client.ask("place", order=ORDER)

    assert answer["ok"] is True


async def test_what_waits_for_an_order_is_not_done_once_the_session_is_over(running: Running) -> None:
    running.exchange.commits = False
    async with running.trader() as client:
        await client.send("place", order=ORDER | {"client_order_id": "a"})
        await client.send("cancel", client_order_id="a")
        await running.until(lambda: bool(running.exchange.on_their_way.get("a")))
        (connection,) = running.endpoint.connections
        connection.transport.abort()
        await running.until(lambda: not running.endpoint.connections)
    running.exchange.commit()
    running.exchange.commit()

    assert running.exchange.log == ["place 1"]


# Many at once


async def test_answers_of_one_turn_leave_together_and_each_has_its_id(either: Running) -> None:
    either.exchange.commits = False
    async with either.trader() as client:
        ids = [await client.send("place", order=ORDER) for _ in range(300)]
        await either.until(lambda: len(either.exchange.waiting) == 300)
        (connection,) = either.endpoint.connections
        writes = _count_writes(connection)
        either.exchange.commit()
        answers = [await client.reply() for _ in ids]
        written = writes()

    assert [answer["id"] for answer in answers] == ids
    assert written == 1


def _count_writes(connection: Any) -> Callable[[], int]:
    """Count what a connection writes to its transport from now on."""
    transport, count = connection.transport, 0

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(transport, name)

        def write(self, data: bytes) -> None:
            nonlocal count
            count += 1
            transport.write(data)

    connection.transport = Counting()
    return lambda: count


async def test_no_more_is_read_while_too_many_answers_are_owed() -> None:
    async with Running(outstanding=10) as running, running.trader() as client:
        running.exchange.commits = False
        ids = [await client.send("place", order=ORDER) for _ in range(100)]
        (connection,) = running.endpoint.connections
        await running.until(lambda: not connection._reads)
        most_waiting = len(running.exchange.waiting)
        running.exchange.commits = True
        running.exchange.commit()
        answers = [await client.reply() for _ in ids]

    assert most_waiting == 10
    assert [answer["id"] for answer in answers] == ids
    assert max(running.exchange.batches) <= 10


# The end


async def test_what_a_session_has_placed_is_canceled_when_it_ends_if_it_asked_for_that(running: Running) -> None:
    async with running.trader(key="fxk_bob", nonce="1") as staying, running.trader(nonce="2") as plain:
        await staying.ask("place", order=ORDER)
        await plain.ask("place", order=ORDER)
        async with running.trader(cancel_on_disconnect=True) as client:
            for _ in range(3):
                await client.ask("place", order=ORDER)
            await client.ask("place_batch", orders=[ORDER, ORDER])
            await client.ask("cancel", order_id="4")
        await running.until(lambda: len(running.exchange.open_orders) == 2)

    assert running.exchange.open_orders == [1, 2]
    assert running.exchange.log[-4:] == ["cancel 3", "cancel 5", "cancel 6", "cancel 7"]


async def test_a_torn_connection_ends_the_session_too(running: Running) -> None:
    async with running.trader(cancel_on_disconnect=True) as client:
        await client.ask("place", order=ORDER)
        client.connection.transport.abort()
        await running.until(lambda: running.exchange.open_orders == [])

    assert running.exchange.log == ["place 1", "cancel 1"]


async def test_an_order_on_its_way_when_the_connection_ends_is_canceled_once_it_is_placed(running: Running) -> None:
    running.exchange.commits = False
    async with running.trader(cancel_on_disconnect=True) as client:
        await client.send("place", order=ORDER)
        await running.until(lambda: len(running.exchange.waiting) == 1)
        client.connection.transport.abort()
        await running.until(lambda: not running.endpoint.connections)
    running.exchange.commit()
    running.exchange.commit()

    assert running.exchange.log == ["place 1", "cancel 1"]


async def test_a_repeated_order_belongs_to_the_session_that_placed_it(running: Running) -> None:
    async with running.trader(nonce="1") as first:
        await first.ask("place", order=ORDER)
        record = running.exchange.orders[1]

        def repeat(account: int, request: OrderRequest, origin: Origin, done: Callable[[Outcome], None]) -> None:
            asyncio.get_running_loop().call_soon(done, Outcome(Placement(record, repeated=True)))

        running.exchange.submit_order = repeat  # type: ignore[method-assign]
        async with running.trader(cancel_on_disconnect=True) as second:
            answer = await second.ask("place", order=ORDER)
        await running.until(lambda: len(running.endpoint.connections) == 1)

    assert (answer["ok"], answer["repeated"]) == (True, True)
    assert running.exchange.open_orders == [1]


async def test_canceling_what_was_left_is_tried_again_while_the_exchange_cannot(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fauxchange.services.exchange.service.leftovers.RETRY_S", 0.01)
    async with running.trader(cancel_on_disconnect=True) as client:
        await client.ask("place_batch", orders=[ORDER] * 3)
        running.exchange.away = True
    await running.until(lambda: not running.endpoint.connections)
    left = list(running.exchange.open_orders)

    running.exchange.away = False
    await running.until(lambda: running.exchange.open_orders == [])

    assert left == [1, 2, 3]


async def test_a_server_that_stops_gives_the_answers_it_owes_and_cancels_what_would_be_left(running: Running) -> None:
    running.exchange.commits = False
    async with running.trader(cancel_on_disconnect=True) as client:
        await client.send("place", order=ORDER)
        await running.until(lambda: len(running.exchange.waiting) == 1)
        (connection,) = running.endpoint.connections
        stopping = asyncio.create_task(running.server.stop())
        await running.until(lambda: connection._stopping)
        running.exchange.commits = True
        running.exchange.commit()
        closing = await client.closing()
        await stopping

    (answer,) = [message for message in client.data if message.get("op") == "place"]
    assert answer["ok"] is True
    assert closing == (1001, "server_shutdown")
    assert running.exchange.log == ["place 1", "cancel 1"]


async def test_a_server_that_stops_gives_the_answers_to_plain_orders_that_it_owes(running: Running) -> None:
    running.exchange.commits = False
    async with running.trader() as client:
        for _ in range(3):
            await client.send("place", order=ORDER)
        await running.until(lambda: len(running.exchange.waiting) == 3)
        (connection,) = running.endpoint.connections
        stopping = asyncio.create_task(running.server.stop())
        await running.until(lambda: connection._stopping)
        running.exchange.commit()
        closing = await client.closing()
        await stopping

    assert [message["ok"] for message in client.data if message.get("op") == "place"] == [True] * 3
    assert closing == (1001, "server_shutdown")


async def test_a_session_remembers_open_orders_alone(running: Running) -> None:
    async with running.trader(cancel_on_disconnect=True) as client:
        for _ in range(30):
            answer = await client.ask("place_batch", orders=[ORDER] * 100)
            for result in answer["results"]:
                running.exchange.orders[int(result["order"]["order_id"])].status = FILLED
        (connection,) = running.endpoint.connections
        remembered = connection._session._leftovers._orders

    assert len(remembered) < 3_000


# Over the real exchange


async def test_a_session_trades_on_the_real_exchange_and_reads_what_becomes_of_it() -> None:
    adapter = MemoryDataAdapter()
    await adapter.connect()
    exchange = await Exchange(adapter).start()
    assert (await exchange.account(USD="100000"), await exchange.account(BTC="1")) == (3, 4)
    async with Running(service=exchange.service) as running, running.trader(key="fxk_bob") as maker:
        async with running.trader(cancel_on_disconnect=True) as taker:
            await taker.ask("subscribe", channel="orders")
            await taker.ask("subscribe", channel="balances")
            await maker.ask("place", order=ORDER | {"side": "sell", "quantity": "0.01"})
            filled = await taker.ask("place", order=ORDER | {"quantity": "0.01", "client_order_id": "a"})
            repeated = await taker.ask("place", order=ORDER | {"quantity": "0.01", "client_order_id": "a"})
            await taker.send("place", order=ORDER | {"quantity": "0.02", "client_order_id": "b"})
            await taker.send("cancel", client_order_id="b")
            on_its_way = [await taker.reply(), await taker.reply()]
            resting = await taker.ask("place", order=ORDER | {"quantity": "0.03"})
            broke = await taker.ask("place", order=ORDER | {"quantity": "9"})
        record = exchange.venue.orders[int(resting["order"]["order_id"])]
        await running.until(lambda: record.status == CANCELED)
        all_of_it = await maker.ask("cancel_all")
    await exchange.stop()
    await adapter.disconnect()

    assert (filled["order"]["status"], filled["order"]["average_price"]) == ("FILLED", "60000.00")
    assert [fill["liquidity"] for fill in filled["order"]["fills"]] == ["taker"]
    assert (repeated["repeated"], repeated["order"]["order_id"]) == (True, filled["order"]["order_id"])
    assert [(answer["op"], answer["order"]["status"]) for answer in on_its_way] == [
        ("place", "NEW"),
        ("cancel", "CANCELED"),
    ]
    assert (broke["ok"], broke["code"], broke["reason"]) == (False, "insufficient_funds", 401)
    assert all_of_it["orders"] == []
    _, *reports = [message["data"] for message in taker.data if message["channel"] == "orders"]
    _, *balances = [message["data"] for message in taker.data if message["channel"] == "balances"]
    assert [report["exec_type"] for report in reports] == [
        *("new", "trade"),
        *("new", "canceled"),
        *("new", "rejected"),
    ]
    assert {balance["asset"] for changed in balances for balance in changed} == {"USD", "BTC"}
    assert exchange.sums()["USD"] == (0, 0)


async def test_orders_that_rest_on_the_real_exchange_are_told_as_it_knows_them() -> None:
    adapter = MemoryDataAdapter()
    await adapter.connect()
    exchange = await Exchange(adapter).start()
    assert await exchange.account(USD="1000000", BTC="10") == 3
    kinds: list[dict[str, Any]] = [
        {},
        {"client_order_id": "named"},
        {"side": "sell", "price": "61000.00", "post_only": True},
        {"symbol": "BTC-USD", "self_trade_prevention": "expire_both", "quantity": "0.0100"},
        {"time_in_force": "IOC"},
        {"side": "sell", "price": "61000.01", "client_order_id": "last"},
    ]
    async with Running(service=exchange.service) as running, running.trader() as client:
        ids = [await client.send("place", order=ORDER | kind) for kind in kinds]
        await client.send("cancel", client_order_id="last")
        answers = {answer["id"]: answer for answer in [await client.reply() for _ in [*kinds, None]]}
        told = [answers[frame_id]["order"] for frame_id in ids]
        known = [(await exchange.service.order(3, order["order_id"])).order for order in told]
    await exchange.stop()
    await adapter.disconnect()

    assert [order["status"] for order in told] == ["NEW"] * 4 + ["CANCELED", "NEW"]
    for order, record in zip(told[:-1], known[:-1], strict=True):
        assert order == json.loads(order_json(record, exchange.service.listing_of(record.symbol)))
    assert known[-1].status == CANCELED
    assert answers[ids[-1] + 1]["order"]["client_order_id"] == "last"


async def test_what_waits_for_an_order_that_was_not_stored_is_answered_and_the_session_goes_on() -> None:
    adapter = MemoryDataAdapter()
    await adapter.connect()
    journal = FaultyJournal(adapter.journal)
    exchange = await Exchange(adapter, journal=journal).start()
    assert await exchange.account(USD="1000000") == 3
    async with Running(service=exchange.service) as running, running.trader() as client:
        journal.hold()
        journal.fail_before = 1
        await client.send("place", order=ORDER | {"client_order_id": "a"})
        await client.send("cancel", client_order_id="a")
        (connection,) = running.endpoint.connections
        await running.until(lambda: connection._holds == 1)
        journal.let_go()
        placed, canceled = await client.reply(), await client.reply()
        pong = await client.ask("ping")
    await exchange.stop()
    await adapter.disconnect()

    assert [(answer["op"], answer["ok"]) for answer in (placed, canceled)] == [("place", False), ("cancel", False)]
    assert placed["code"] == "journal_unavailable"
    assert canceled["code"] in {"journal_unavailable", "unknown_order"}
    assert pong["ok"] is True
