"""One story told to a venue in one process, and to one of a process per service on real stores: both tell the same."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path

import httpx
import pytest
from distributed_kit import (
    ADMIN_KEY,
    AUDIT_KEY,
    PASSWORD,
    PATIENCE_S,
    QUICK,
    eventually,
    health_of,
    make_roles,
    make_users,
    service_settings,
    unwell,
)

from fauxchange.client import AsyncClient, Client, order_request
from fauxchange.contracts.exchange.messages import KeyCreated
from fauxchange.testing import Venue, started
from fauxchange.testing.distributed import distributed
from fauxchange.testing.servers import PostgresServer, RedisServer


@dataclass(frozen=True)
class Place:
    """Where each service of a venue is."""

    mode: str
    configuration: Venue
    market_data: Venue
    exchange: Venue


@contextmanager
def embedded(folder: Path) -> Iterator[Place]:
    with started(folder, QUICK) as process:
        yield Place("embedded", process.venue, process.venue, process.venue)


@contextmanager
def apart(folder: Path, postgres: PostgresServer, template: str, redis: RedisServer) -> Iterator[Place]:
    database = postgres.create_database(template)
    make_roles(postgres, database)
    make_users(redis)
    settings = service_settings(
        lambda role: postgres.url_of(database.name, role, PASSWORD), lambda user: redis.user_url(user, PASSWORD)
    )
    try:
        with distributed(folder, settings) as venue:
            names = ("configuration", "market-data", "exchange")
            yield Place("distributed", *(venue[name].venue for name in names))
            assert venue.stop() == dict.fromkeys(names, 0)
    finally:
        redis.remove_users()
        postgres.drop_database(database)


@pytest.fixture(scope="module", params=["embedded", "distributed"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "embedded":
        with embedded(folder) as each:
            yield each
        return
    servers = [request.getfixturevalue(name) for name in ("postgres_server", "postgres_template", "redis_server")]
    with apart(folder, *servers) as each:
        yield each


def trader(place: Place, name: str) -> KeyCreated:
    """Open and fund an account, and return its key."""
    with Client(place.exchange.http, admin_key=ADMIN_KEY) as client:
        account = client.admin.create_account(name).account_id
        client.admin.deposit(account, "USD", "10000")
        return client.admin.create_key(account)


def is_well(venue: Venue) -> bool:
    """Whether nothing that a process leans on is less than well."""
    return not unwell(health_of(venue.http))


def quoted(place: Place) -> None:
    """Wait until the house quotes."""
    with Client(place.exchange.http) as client:
        eventually(lambda: client.get_book("BTC-USD").asks, told=lambda: health_of(place.exchange.http))


def test_services_are_well_and_know_each_other(place: Place) -> None:
    for venue in (place.configuration, place.market_data, place.exchange):
        eventually(partial(is_well, venue), told=partial(health_of, venue.http))

        listed = httpx.get(f"{venue.http}/api/v1/services").json()["services"]
        assert {each["name"] for each in listed} == {
            "configuration-service",
            "market-data-simulator",
            "exchange-simulator",
        }


def test_an_order_is_filled_at_the_feeds_price_and_everything_shows_it(place: Place) -> None:
    key = trader(place, "story")
    quoted(place)

    with Client(place.exchange.http, api_key=key.api_key, api_secret=key.api_secret) as client:
        order = client.place_order(order_request("buy", "BTC-USD", "0.01", client_order_id="first"))

        assert (order.status, order.filled_quantity) == ("FILLED", "0.01000")
        history = httpx.get(f"{place.market_data.http}/api/v1/prices/BTC-USD/history?limit=1000").json()["prices"]
        assert Decimal(str(order.average_price)) in {Decimal(price["ask"]) for price in history}
        assert client.get_order("client:first").order_id == order.order_id
        (fill,) = client.list_fills().fills
        assert (fill.order_id, fill.liquidity) == (order.order_id, "taker")
        assert {entry.cause for entry in client.list_ledger().entries} >= {"deposit", "reserve", "trade", "fee"}
        free = {one.asset: Decimal(one.free) for one in client.get_balances().balances}
        paid = Decimal(fill.price) * Decimal(fill.quantity) + Decimal(fill.fee)
        assert free == {"BTC": Decimal("0.01"), "USD": Decimal(10_000) - paid}
    trail = httpx.get(
        f"{place.exchange.audit}/audit/v1/exchange/trail",
        params={"account": key.account_id, "format": "jsonl"},
        headers={"authorization": f"Bearer {AUDIT_KEY}"},
    )
    assert '"client_order_id":"first"' in trail.text.replace(": ", ":")


def test_prices_books_orders_and_balances_are_streamed(place: Place) -> None:
    key = trader(place, "streams")
    quoted(place)

    asyncio.run(read_streams(place, key))


async def read_streams(place: Place, key: KeyCreated) -> None:
    async with (
        asyncio.timeout(PATIENCE_S),
        AsyncClient(place.market_data.http) as feed,
        AsyncClient(place.exchange.http, api_key=key.api_key, api_secret=key.api_secret) as own,
    ):
        async with feed.prices("BTC-USD") as prices:
            sequences = [(await anext(prices)).sequence for _ in range(4)]
        async with own.book("BTC-USD") as books, own.orders() as orders, own.balances() as balances:
            assert (await anext(books)).asks()
            await anext(orders)
            await anext(balances)
            placed = await own.place_order(order_request("buy", "BTC-USD", "0.01"))
            update = await anext(orders)
            funds = await anext(balances)

    assert sequences == list(range(sequences[0], sequences[0] + 4))
    assert update.report is not None
    assert update.report.order.order_id == placed.order_id
    assert {"BTC", "USD"} & {each.asset for each in funds.changed}


def test_a_feed_parameter_that_is_changed_changes_the_feed(place: Place) -> None:
    answer = httpx.put(
        f"{place.configuration.http}/api/v1/configuration/market-data/spread_bps.BTC-USD",
        json={"value": "900"},
        headers={"Authorization": f"Bearer {ADMIN_KEY}"},
    )
    assert answer.is_success, answer.text

    def spread() -> Decimal:
        price = httpx.get(f"{place.market_data.http}/api/v1/prices/BTC-USD").json()
        return (Decimal(price["ask"]) - Decimal(price["bid"])) / Decimal(price["mid"])

    eventually(lambda: spread() > Decimal("0.08"), told=spread)
