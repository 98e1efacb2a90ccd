"""Three services on real stores, and what becomes of orders while a store or a service is lost.

One system runs for the whole module, with a trader who never rests. Each test breaks one thing, looks at what a trader
is told and at what health, metrics and logs tell, mends it, and waits for full health; in the end every order that was
acknowledged is looked for. The numbers are those of row B6; `SLACK_S` is for a machine that is busy with other tests.
"""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from distributed_kit import (
    ADMIN_KEY,
    PASSWORD,
    PATIENCE_S,
    QUICK,
    eventually,
    health_of,
    log_events,
    make_roles,
    make_users,
    metric,
    service_settings,
    unwell,
)
from postgres_kit import make_tables

from fauxchange.client import ApiError, Client
from fauxchange.testing.distributed import DistributedVenue, distributed
from fauxchange.testing.processes import launched
from fauxchange.testing.servers import PostgresServer, RedisServer, TcpProxy, start_postgres, start_redis

TOLD_S = 1.0
"""Within it acknowledgements stop, and a breaker opens."""
ORDERS_BACK_S = 10.0
"""Within it orders are taken again once PostgreSQL is back."""
CLOSED_S = 5.0
"""Within it a breaker closes once its service is back."""
STALE_S = 2.0
"""HOUSE_STALE_AFTER of these services."""
SLACK_S = 1.5
PACE_S = 0.005
SERVICES = ("configuration", "market-data", "exchange")


@dataclass
class Trader:
    """Places orders one after another until told to stop, and keeps what was told, and when."""

    where: Callable[[], str]
    api_key: str
    api_secret: str
    acknowledged: dict[str, str] = field(default_factory=dict)
    refused: list[httpx.Response] = field(default_factory=list)
    unknown: int = 0
    slowest_s: float = 0.0
    last_s: float = 0.0
    _stopping: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> None:
        self._thread = threading.Thread(target=self._trade, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._stopping.set()
        self._thread.join(30)

    def note(self) -> int:
        """Forget what is counted, and return how many orders have been acknowledged so far."""
        self.refused.clear()
        self.unknown, self.slowest_s = 0, 0.0
        return len(self.acknowledged)

    def _trade(self) -> None:
        number = 0
        with httpx.Client(timeout=10) as http:
            while not self._stopping.wait(PACE_S):
                number += 1
                self._place(http, f"order-{number}")

    def _place(self, http: httpx.Client, name: str) -> None:
        order = {"symbol": "BTC/USD", "side": "buy", "type": "limit", "quantity": "0.001", "price": "40000"}
        body = json.dumps(order | {"client_order_id": name, "time_in_force": "IOC"}).encode()
        path = "/api/v1/orders"
        timestamp = str(time.time_ns() // 1_000_000)
        signed = timestamp.encode() + b"POST" + path.encode() + body
        headers = {
            "FX-Key": self.api_key,
            "FX-Timestamp": timestamp,
            "FX-Signature": hmac.new(self.api_secret.encode(), signed, hashlib.sha256).hexdigest(),
            "content-type": "application/json",
        }
        begun_s = time.monotonic()
        try:
            answer = http.post(self.where() + path, content=body, headers=headers)
        except httpx.TransportError:
            # The service itself is gone: whether the order was taken is not known.
            self.unknown += 1
            return
        self.slowest_s = max(self.slowest_s, time.monotonic() - begun_s)
        if answer.status_code == 201:
            self.acknowledged[name] = answer.json()["order_id"]
            self.last_s = time.monotonic()
        else:
            self.refused.append(answer)


@dataclass
class System:
    """What there is to break, and who looks at it."""

    postgres: PostgresServer
    redis: RedisServer
    to_postgres: TcpProxy
    to_redis: TcpProxy
    venue: DistributedVenue
    trader: Trader

    def url(self, service: str) -> str:
        return self.venue[service].venue.http

    def mend(self) -> None:
        for proxy in (self.to_postgres, self.to_redis):
            proxy.delay_s = 0.0
            proxy.flow()
            proxy.accept()
        self.postgres.ensure_running()
        self.redis.ensure_running()

    def unwell(self) -> dict[str, dict[str, str]]:
        return {service: found for service in SERVICES if (found := unwell(health_of(self.url(service))))}

    def is_well(self) -> bool:
        try:
            return not self.unwell()
        except (httpx.TransportError, KeyError):
            return False

    def await_health(self) -> float:
        return eventually(self.is_well, told=self.unwell)

    def await_orders(self, more: int = 20) -> float:
        """Wait until so many more orders have been acknowledged; return how long that took."""
        before = len(self.trader.acknowledged)
        return eventually(
            lambda: len(self.trader.acknowledged) >= before + more,
            told=lambda: (self.unwell(), [answer.text for answer in self.trader.refused[-3:]]),
        )

    def kept(self) -> dict[str, int]:
        """Return the descriptors and threads that each process has."""
        counts = {}
        for service in SERVICES:
            proc = Path(f"/proc/{self.venue[service].pid}")
            counts[service] = len(list((proc / "fd").iterdir())) + len(list((proc / "task").iterdir()))
        return counts


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with ExitStack() as stack:
        postgres = stack.enter_context(start_postgres(in_memory=True))
        redis = stack.enter_context(start_redis())
        database = postgres.create_database()
        make_tables(database.url)
        make_roles(postgres, database)
        make_users(redis)
        to_postgres = stack.enter_context(TcpProxy("127.0.0.1", int(urlsplit(postgres.url).port or 0)))
        to_redis = stack.enter_context(TcpProxy("127.0.0.1", int(urlsplit(redis.url).port or 0)))
        settings = service_settings(
            lambda role: to_postgres.url_through(postgres.url_of(database.name, role, PASSWORD)),
            lambda user: to_redis.url_through(redis.user_url(user, PASSWORD)),
            ORDER_RATE_LIMIT="0",
        )
        folder = tmp_path_factory.mktemp("services")
        with distributed(folder, settings) as venue:
            with Client(venue["exchange"].venue.http, admin_key=ADMIN_KEY) as client:
                account = client.admin.create_account("trader").account_id
                client.admin.deposit(account, "USD", "100000000")
                key = client.admin.create_key(account)
            trader = Trader(lambda: venue["exchange"].venue.http, key.api_key, key.api_secret)
            system = System(postgres, redis, to_postgres, to_redis, venue, trader)
            trader.begin()
            system.await_health()
            try:
                yield system
            finally:
                trader.end()
                system.mend()
            codes = venue.stop()
            assert codes == dict.fromkeys(SERVICES, 0)


@pytest.fixture(autouse=True)
def mended(system: System) -> Iterator[None]:
    """Begin and end in full health, with everything that was acknowledged."""
    system.mend()
    system.await_health()
    yield
    system.mend()
    system.await_health()
    system.await_orders()


# Redis


@pytest.mark.parametrize("trouble", ["kill", "freeze", "empty", "slow"])
def test_orders_do_not_depend_on_redis(system: System, trouble: str) -> None:
    losses = {service: metric(system.url(service), "store_losses_total", store="redis") for service in SERVICES}
    system.trader.note()

    if trouble == "slow":
        system.to_redis.delay_s = 0.5
    elif trouble == "empty":
        system.redis.kill()
    else:
        getattr(system.redis, trouble)()
    eventually(lambda: all("redis" in str(system.unwell().get(service)) for service in SERVICES), told=system.unwell)
    system.await_orders(100)

    assert system.trader.refused == []
    assert system.trader.unknown == 0
    assert system.trader.slowest_s < TOLD_S + SLACK_S
    if trouble != "slow":
        for service in SERVICES:
            assert metric(system.url(service), "store_up", store="redis") == 0
            assert metric(system.url(service), "store_losses_total", store="redis") == losses[service] + 1
        if trouble == "empty":
            system.redis.restart(empty=True)
    system.mend()
    assert system.await_health() < ORDERS_BACK_S + SLACK_S


# PostgreSQL


@pytest.mark.parametrize("trouble", ["kill", "freeze"])
def test_without_postgresql_nothing_is_acknowledged_and_nothing_is_lost(system: System, trouble: str) -> None:
    before = log_events(system.venue["exchange"].log).count("journal cannot be written")
    system.trader.note()

    broken_s = time.monotonic()
    getattr(system.postgres, trouble)()
    eventually(lambda: len(system.trader.refused) >= 10, told=system.unwell)
    refused = list(system.trader.refused)
    acknowledged = len(system.trader.acknowledged)

    assert system.trader.last_s < broken_s + TOLD_S + SLACK_S
    assert system.trader.slowest_s < TOLD_S + SLACK_S
    assert {answer.status_code for answer in refused} == {503}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert "journal" in str(system.unwell()["exchange"])
    eventually(lambda: metric(system.url("exchange"), "store_up", store="postgresql") == 0)
    assert len(system.trader.acknowledged) == acknowledged
    system.postgres.ensure_running()
    assert system.await_orders() < ORDERS_BACK_S + SLACK_S
    system.await_health()
    assert log_events(system.venue["exchange"].log).count("journal cannot be written") == before + 1


def test_a_postgresql_that_is_slow_slows_orders_and_loses_none(system: System) -> None:
    system.trader.note()

    system.to_postgres.delay_s = 0.5
    system.await_orders(5)

    assert {answer.status_code for answer in system.trader.refused} <= {503}


# Services


@pytest.mark.parametrize("trouble", ["kill", "freeze"])
def test_without_market_data_the_house_pulls_its_quotes_and_users_trade_on(system: System, trouble: str) -> None:
    exchange = system.url("exchange")
    lost = log_events(system.venue["exchange"].log).count("price_stream_lost")
    with Client(exchange) as client:
        eventually(lambda: client.get_book("BTC-USD").bids, told=system.unwell)
        system.trader.note()

        process = system.venue["market-data"]
        getattr(process, trouble)()
        opened_s = eventually(lambda: metric(exchange, "rpc_breaker_state", peer="market-data", address="all") == 2)
        pulled_s = eventually(lambda: not client.get_book("BTC-USD").bids)

        assert opened_s < TOLD_S + SLACK_S
        assert pulled_s < STALE_S + SLACK_S
        told = unwell(health_of(exchange))
        assert {"exchange.market-data", "exchange.house-liquidity"} <= told.keys()
        assert health_of(exchange)["status"] == "degraded"
        system.await_orders(50)
        assert system.trader.refused == []

        if trouble == "kill":
            process = system.venue.launch("market-data")
            _ = process.venue
        else:
            process.thaw()
        closed_s = eventually(lambda: metric(exchange, "rpc_breaker_state", peer="market-data", address="all") == 0)
        assert closed_s < CLOSED_S + SLACK_S
        eventually(lambda: client.get_book("BTC-USD").bids, told=system.unwell)
    if trouble == "kill":
        assert log_events(system.venue["exchange"].log).count("price_stream_lost") == lost + 1


def test_without_configuration_the_feed_goes_on_with_what_it_knows(system: System) -> None:
    system.venue.kill("configuration")

    eventually(lambda: "market-data.configuration" in unwell(health_of(system.url("market-data"))))
    prices = httpx.get(f"{system.url('market-data')}/api/v1/prices/BTC-USD").json()
    eventually(
        lambda: (
            httpx.get(f"{system.url('market-data')}/api/v1/prices/BTC-USD").json()["sequence"] > prices["sequence"] + 5
        )
    )

    _ = system.venue.launch("configuration").venue
    assert system.await_health() < ORDERS_BACK_S + SLACK_S


def test_a_killed_exchange_comes_back_with_every_order_that_it_acknowledged(system: System) -> None:
    system.await_orders(50)

    system.venue.restart("exchange")

    assert missing_orders(system) == {}


def missing_orders(system: System) -> dict[str, str]:
    """Return the orders that were acknowledged and that the exchange does not know."""
    missing = dict(system.trader.acknowledged)
    trader = system.trader
    with Client(system.url("exchange"), api_key=trader.api_key, api_secret=trader.api_secret) as client:
        cursor = None
        while True:
            page = client.list_orders(limit=1_000, cursor=cursor)
            for order in page.orders:
                if missing.get(str(order.client_order_id)) == order.order_id:
                    del missing[str(order.client_order_id)]
            cursor = page.next_cursor
            if cursor is None:
                return missing


def test_services_start_while_redis_is_absent_and_find_each_other_when_it_comes(system: System) -> None:
    system.redis.kill()
    for service in SERVICES:
        system.venue.kill(service)
    for service in SERVICES:
        system.venue.launch(service)

    for service in SERVICES:
        assert "redis" in str(unwell(health_of(system.url(service))))
    assert "market-data" in str(unwell(health_of(system.url("exchange"))))
    system.await_orders()
    system.redis.restart(empty=True)
    system.await_health()
    assert missing_orders(system) == {}


def test_an_exchange_waits_for_its_journal_before_it_serves(system: System) -> None:
    waited = log_events(system.venue["exchange"].log).count("exchange_waits_for_its_stores")
    system.postgres.stop()
    system.venue.kill("exchange")
    process = system.venue.launch("exchange")
    eventually(lambda: log_events(process.log).count("exchange_waits_for_its_stores") == waited + 1)

    system.postgres.ensure_running()

    system.await_orders()
    assert missing_orders(system) == {}


def test_an_exchange_whose_journal_comes_back_empty_stops_rather_than_go_on(system: System, tmp_path: Path) -> None:
    database = system.postgres.create_database()
    make_tables(database.url)
    settings = {**QUICK, "POSTGRES_URL": database.url}
    with launched(tmp_path, settings, service="exchange") as process:
        with Client(process.venue.http, admin_key=ADMIN_KEY) as client:
            client.admin.create_account("acknowledged")

            system.postgres.execute("TRUNCATE exchange.exchange_journal", database=database.name)
            system.postgres.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'"
            )
            with pytest.raises(ApiError):
                client.admin.create_account("too late")

        assert process.wait(PATIENCE_S) == 1
    assert "was acknowledged" in process.log
    system.postgres.drop_database(database)


def test_nothing_leaks_however_often_stores_are_lost(system: System) -> None:
    def lose_both() -> None:
        system.to_redis.refuse()
        system.to_redis.reset()
        system.to_postgres.refuse()
        system.to_postgres.reset()
        eventually(lambda: system.trader.refused, told=system.unwell)
        eventually(lambda: "redis" in str(system.unwell()))
        system.mend()
        system.await_health()
        system.await_orders()
        system.trader.note()

    lose_both()
    before = system.kept()
    for _ in range(3):
        lose_both()

    # Pools grow up to their bounds and no further: a leak would show each time in each process.
    eventually(lambda: all(now <= before[name] + 8 for name, now in system.kept().items()), told=system.kept)
