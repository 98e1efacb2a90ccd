"""Orders that travel side by side are answered over REST to the byte as those that travel alone."""

import asyncio

import pytest

from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.services.exchange.service.limits import RateLimits
from tests.exchange_kit import Exchange

ALICE = 3
MIXED = [
    {"client_order_id": "one"},
    {},
    {"price": "59999.99", "quantity": "0.00001", "client_order_id": "three"},
    {"client_order_id": "one"},
    {"client_order_id": "one", "price": "1.00"},
    {"post_only": True, "self_trade_prevention": "expire_both"},
    {"symbol": "ETH/USD", "price": "3000.00"},
    {"side": "sell", "price": "59999.00", "self_trade_prevention": "none", "client_order_id": "trades"},
    {"side": "sell", "price": "60000.00", "post_only": True, "client_order_id": "would-trade"},
    {"side": "sell", "quantity": "2", "client_order_id": "nothing-to-sell"},
    {"quantity": "9000", "client_order_id": "too-dear"},
    {"price": "60000.001"},
    {"symbol": "DOGE/USD"},
    {"time_in_force": "IOC"},
    {"type": "market", "price": None},
    {"colour": "red"},
]


class OneByOne:
    """An exchange that takes no orders side by side."""

    def __init__(self, service):
        self._service = service
        self.asked = 0

    def submit_plain(self, *_):
        return False

    def __getattr__(self, name):
        return getattr(self._service, name)


@pytest.fixture
def placed(client, fronts, clock, order):
    """Return a function that places orders at once, at an exchange of their own, and returns the answers."""

    async def place(changes, around):
        data = MemoryDataAdapter()
        await data.connect()
        exchange = await Exchange(data).start()
        while await exchange.account(USD="100000", BTC="1") != ALICE:
            pass
        fronts["exchange"].behind = around(exchange.service)
        fronts["limits"].behind = RateLimits(clock, per_second=1_000)
        orders = [{name: value for name, value in order(**each).items() if value is not None} for each in changes]
        sent = [
            client.signed("POST", "/orders", each, nonce=str(number), headers={"x-request-id": f"r-{number}"})
            for number, each in enumerate(orders)
        ]
        answers = await asyncio.gather(*sent)
        found = await client.signed("GET", "/orders")
        await exchange.stop()
        return [(answer.status_code, answer.headers.raw, answer.content) for answer in answers], found.content

    return place


async def test_orders_side_by_side_are_answered_as_those_one_by_one(placed):
    answers, orders = await placed(MIXED, lambda service: service)
    answers_alone, orders_alone = await placed(MIXED, OneByOne)

    assert answers == answers_alone
    assert orders == orders_alone
    assert b'"status":"FILLED"' in answers[7][2]
    assert [status for status, _, _ in answers] == [
        201, 201, 201, 200, 409, 201, 201, 201, 422, 422, 422, 400, 404, 201, 422, 400,
    ]  # fmt: skip


async def test_plain_orders_travel_side_by_side(placed):
    told = []

    class Listening(OneByOne):
        def submit_plain(self, account, request, origin, sink, token):
            taken = self._service.submit_plain(account, request, origin, sink, token)
            told.append((request.client_order_id, taken))
            return taken

    await placed([{"client_order_id": "a"}, {"time_in_force": "IOC", "client_order_id": "b"}], Listening)

    assert told == [("a", True), ("b", False)]


async def test_a_caller_who_has_gone_away_keeps_nobody_from_an_answer(client, fronts, order):
    both_taken = asyncio.Event()

    class Counting(OneByOne):
        def submit_plain(self, *asked):
            self.asked += 1
            if self.asked == 2:
                both_taken.set()
            return self._service.submit_plain(*asked)

    data = MemoryDataAdapter()
    await data.connect()
    exchange = await Exchange(data).start()
    while await exchange.account(USD="100000") != ALICE:
        pass
    fronts["exchange"].behind = Counting(exchange.service)

    first = asyncio.create_task(client.signed("POST", "/orders", order(), nonce="1"))
    second = asyncio.create_task(client.signed("POST", "/orders", order(), nonce="2"))
    await both_taken.wait()
    first.cancel()

    assert (await second).status_code == 201
    assert first.cancelled()
    assert len((await client.signed("GET", "/orders")).json()["orders"]) == 2
