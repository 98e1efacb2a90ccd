"""The real application over a service that is written by hand, and callers who sign as the documentation says."""

import copy
import hmac
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest

from fauxchange.contracts.exchange.messages import BookMessage
from fauxchange.data.ports import Page
from fauxchange.domain.errors import Conflict, NotFound, Rejected
from fauxchange.domain.instruments import Instrument, parse_symbol
from fauxchange.domain.listings import Asset, Listing
from fauxchange.domain.orders import AccountRecord, FillRecord, KeyRecord, LedgerEntry, OrderRecord
from fauxchange.platform.credentials import SecretBox
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.http.app import AuditAppConfig, HttpAppConfig, create_audit_app, create_http_app
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.services.exchange.rest import exchange_audit_routes, exchange_routes
from fauxchange.services.exchange.service.access import Access
from fauxchange.services.exchange.service.limits import RateLimits
from fauxchange.services.exchange.service.requests import Balance, Origin, Outcome, Placement, Transfer

T0_NS = 1_769_860_800_000_000_000
ADMIN_KEY = "the-admin-key"
AUDIT_KEY = "the-audit-key"
SECRETS = {"fxk_alice": (3, b"alice-secret"), "fxk_bob": (4, b"bob-secret")}


class SteppedClock:
    """Venue time that a test moves."""

    def __init__(self) -> None:
        self.ns = T0_NS

    def now_ns(self):
        return self.ns


class Keys:
    """The keys of alice and bob, and what was signed with them."""

    def __init__(self, box: SecretBox) -> None:
        self.records = {
            key: KeyRecord(
                api_key=key, account=account, label="", created_ns=T0_NS,
                encrypted_secret=box.encrypt(secret.decode(), key),
            )
            for key, (account, secret) in SECRETS.items()
        }  # fmt: skip

    def find(self, api_key):
        return self.records.get(api_key)


def listing(number, symbol):
    base, quote = symbol.split("/")
    return Listing(
        number=number,
        instrument=Instrument(symbol=symbol, tick_size=Decimal("0.01"), lot_size=Decimal("0.0001")),
        base=Asset(number=0, name=base),
        quote=Asset(number=1, name=quote),
    )


@dataclass
class FakeExchange:
    """An exchange without a market: orders rest, what is told to be refused is refused, and calls are noted."""

    markets: dict[str, Listing] = field(
        default_factory=lambda: {"BTC/USD": listing(0, "BTC/USD"), "ETH/USD": listing(1, "ETH/USD")}
    )
    placed: list[OrderRecord] = field(default_factory=list)
    fills_of: dict[int, list[FillRecord]] = field(default_factory=dict)
    people: dict[int, AccountRecord] = field(default_factory=dict)
    api_keys: list[KeyRecord] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
    queries: list[Any] = field(default_factory=list)
    idempotency_keys: list[str | None] = field(default_factory=list)
    entries: list[LedgerEntry] = field(default_factory=list)
    refuse_with: int = 0
    """A reason of the kernel with which the next orders are rejected."""
    failure: Exception | None = None
    """What the next call raises."""
    records: list["FakeRecord"] = field(default_factory=list)
    _ids: itertools.count = field(default_factory=lambda: itertools.count(1))

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    # Orders

    def _record(self, account, request):
        market = self.listing(request.symbol)
        rejected = self.refuse_with != 0
        lots = market.instrument.quantities.count(request.quantity, name="quantity")
        return OrderRecord(
            order_id=next(self._ids), account=account, symbol=market.symbol, client_order_id=request.client_order_id,
            side=("buy", "sell").index(request.side), order_type=1, time_in_force=0, post_only=request.post_only,
            self_trade_prevention=1, price_ticks=market.instrument.prices.count(request.price, name="price"),
            stop_ticks=0, order_lots=lots, display_lots=0, amount=0, expires_ns=0, status=4 if rejected else 0,
            reason=self.refuse_with, cum_lots=0, leaves_lots=0 if rejected else lots, cum_quote=0, fee=0,
            triggered=False, replaces=0, created_ns=T0_NS, updated_ns=T0_NS, event_sequence=1, fingerprint=0,
        )  # fmt: skip

    def submit_plain(self, account, request, origin, sink, token):
        return False

    async def place_order(self, account, request, origin):
        self.origins.append(origin)
        self._fail()
        for known in self.placed:
            if request.client_order_id and (known.account, known.client_order_id) == (account, request.client_order_id):
                if known.price_ticks != int(Decimal(request.price) * 100):
                    raise Conflict("taken", code="duplicate_client_order_id", field="client_order_id")
                return Placement(known, self.fills_of.get(known.order_id, ()), repeated=True)
        record = self._record(account, request)
        self.placed.append(record)
        return Placement(record, self.fills_of.get(record.order_id, ()))

    async def place_orders(self, account, requests, origin):
        outcomes = []
        for request in requests:
            try:
                outcomes.append(Outcome(await self.place_order(account, request, origin)))
            except (NotFound, Conflict, Rejected) as exc:
                outcomes.append(Outcome(failure=exc))
        return outcomes

    def _find(self, account, ref):
        self._fail()
        for record in self.placed:
            if record.account == account and ref in {str(record.order_id), f"client:{record.client_order_id}"}:
                return record
        raise NotFound(f"the account has no order {ref}", code="unknown_order", field="order_id")

    async def order(self, account, ref):
        record = self._find(account, ref)
        return Placement(record, self.fills_of.get(record.order_id, ()))

    async def cancel_order(self, account, ref, origin):
        record = self._find(account, ref)
        if record.status != 0:
            raise Rejected("it is not open any more", code="order_finished", reason=105, order=record)
        record.status, record.reason, record.leaves_lots = 3, 309, 0
        return Placement(record)

    async def cancel_all(self, account, symbol, origin):
        wanted = None if symbol is None else self.listing(symbol).symbol
        return [
            (await self.cancel_order(account, str(record.order_id), origin)).order
            for record in self.placed
            if record.account == account and record.status == 0 and wanted in {None, record.symbol}
        ]

    async def amend_order(self, account, ref, request, origin):
        record = self._find(account, ref)
        market = self.listing(record.symbol)
        record.price_ticks = market.instrument.prices.count(request.price, name="price")
        return Placement(record)

    async def replace_order(self, account, ref, request, origin):
        old = self._find(account, ref)
        new = (await self.place_order(account, request, origin)).order
        if new.status == 0:
            new.replaces, old.status, old.reason = old.order_id, 3, 311
        return Placement(new)

    def fills_in_memory(self, order_id):
        return self.fills_of.get(order_id, ())

    async def placements(self, query):
        self.queries.append(query)
        mine = [record for record in self.placed if record.account == query.account]
        return Page([Placement(record, self.fills_in_memory(record.order_id)) for record in mine], "more")

    async def fills(self, query):
        self.queries.append(query)
        return Page([fill for fills in self.fills_of.values() for fill in fills], None)

    trades = fills

    async def ledger(self, query):
        self.queries.append(query)
        return Page(self.entries, None)

    # Markets

    def listings(self):
        return list(self.markets.values())

    def listing(self, symbol):
        found = self.markets.get(parse_symbol(symbol))
        if found is None:
            raise NotFound(f"there is no instrument {symbol}", code="unknown_symbol", field="symbol")
        return found

    listing_of = listing

    def asset(self, name):
        for market in self.markets.values():
            for asset in (market.base, market.quote):
                if asset.name == name:
                    return asset
        raise NotFound(f"there is no asset {name}", code="unknown_asset", field="asset")

    def fees(self, market, tier):
        return (100 * market.number, 500 - 100 * tier)

    def book(self, symbol, depth):
        return BookMessage(
            symbol=self.listing(symbol).symbol,
            bids=[("60000.00", "1.0000")][:depth],
            asks=[],
            sequence=7,
            timestamp="2026-01-31T12:00:00.000000Z",
            checksum=1,
        )

    async def set_instrument_status(self, symbol, status, origin):
        self.origins.append(origin)
        market = self.listing(symbol)
        market.status = status
        return market

    # Accounts

    async def create_account(self, request, origin, idempotency_key=None):
        self._fail()
        self.origins.append(origin)
        self.idempotency_keys.append(idempotency_key)
        number = 3 + len(self.people)
        self.people[number] = AccountRecord(
            account=number, name=request.name, tier=request.tier, status=0, created_ns=T0_NS, updated_ns=T0_NS
        )
        return self.people[number]

    def account(self, account_id):
        found = self.people.get(int(account_id))
        if found is None:
            raise NotFound(f"there is no account {account_id}", code="unknown_account", field="account_id")
        return found

    async def accounts(self, query):
        self.queries.append(query)
        return Page(list(self.people.values()), None)

    async def set_account_status(self, account_id, status, origin):
        self._fail()
        record = self.account(account_id)
        record.status = status
        return record

    def _transfer(self, account_id, request, key):
        self._fail()
        self.idempotency_keys.append(key)
        asset = self.asset(request.asset)
        amount = asset.amounts.count(request.amount, name="amount")
        return Transfer(1, self.account(account_id).account, asset.name, amount, amount, 0, T0_NS)

    async def deposit(self, account_id, request, origin, idempotency_key=None):
        return self._transfer(account_id, request, idempotency_key)

    async def withdraw(self, account_id, request, origin, idempotency_key=None):
        return self._transfer(account_id, request, idempotency_key)

    async def current_balances(self, account):
        return [Balance("USD", 1_000_000_000, 50_000_000)]

    async def create_key(self, account_id, request, origin):
        key = KeyRecord(
            api_key=f"key-{len(self.api_keys) + 1}", account=self.account(account_id).account, label=request.label,
            encrypted_secret="sealed", created_ns=T0_NS,
        )  # fmt: skip
        self.api_keys.append(key)
        return key, "the-secret"

    def keys(self, account_id):
        account = self.account(account_id).account
        return [key for key in self.api_keys if key.account == account]

    async def revoke_key(self, account_id, api_key, origin):
        for key in self.keys(account_id):
            if key.api_key == api_key:
                key.revoked_ns = T0_NS
                return key
        raise NotFound("no such key", code="unknown_key", field="api_key")

    # Audit

    def state(self):
        return {"state_hash": "ab"}

    async def trail(self, query) -> AsyncIterator["FakeRecord"]:
        self.queries.append(query)
        self._fail()
        for record in self.records:
            if record.sequence >= query.from_sequence:
                yield record


@dataclass(frozen=True)
class FakeRecord:
    sequence: int

    def cloud_event(self):
        return {"specversion": "1.0", "sequence": self.sequence}


class Client:
    """Somebody who talks to the application, and signs if told to."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self._timestamps = itertools.count(T0_NS // 1_000_000)

    async def signed(
        self,
        method,
        path,
        body=None,
        *,
        key="fxk_alice",
        secret=None,
        nonce=None,
        raw=None,
        headers=(),
        timestamp=None,
    ):
        content = raw if raw is not None else b"" if body is None else msgspec.json.encode(body)
        timestamp = timestamp or str(next(self._timestamps))
        text = timestamp.encode() + (nonce or "").encode() + f"{method}/api/v1{path}".encode() + content
        sent = {
            "FX-Key": key,
            "FX-Timestamp": timestamp,
            "FX-Signature": hmac.digest(secret or SECRETS[key][1], text, "sha256").hex(),
            **({"FX-Nonce": nonce} if nonce else {}),
            **({"Content-Type": "application/json"} if content else {}),
            **dict(headers),
        }
        return await self.http.request(method, f"/api/v1{path}", content=content, headers=sent)

    async def admin(self, method, path, body=None, *, headers=()):
        sent = {"Authorization": f"Bearer {ADMIN_KEY}", **dict(headers)}
        return await self.http.request(method, f"/api/v1{path}", json=body, headers=sent)

    async def audit(self, path):
        return await self.http.request("GET", f"/audit/v1{path}", headers={"Authorization": f"Bearer {AUDIT_KEY}"})

    async def plain(self, method, path, **kwargs):
        return await self.http.request(method, f"/api/v1{path}", **kwargs)


@pytest.fixture
def exchange():
    return FakeExchange()


@pytest.fixture
def clock():
    return SteppedClock()


@pytest.fixture
def keys():
    return Keys(SecretBox("the box's key"))


@pytest.fixture
def access(keys):
    """Return who lets callers in, on a wall that stands a second after the first of their timestamps."""
    return Access(
        keys,
        SecretBox("the box's key"),
        admin_key=ADMIN_KEY,
        wall_ns=lambda: T0_NS + 1_000_000_000,
        not_before_ns=T0_NS,
    )


@pytest.fixture
def rate():
    """Return how many requests an account has, and how many more each second; tests that are about it say so."""
    return {"per_second": 1_000}


@pytest.fixture
def limits(clock, rate):
    return RateLimits(clock, **rate)


@asynccontextmanager
async def talking_to(app):
    transport = httpx.ASGITransport(app, client=("10.1.2.3", 4567))
    async with httpx.AsyncClient(transport=transport, base_url="http://venue") as http:
        yield Client(http)


class InFront:
    """Stand in front of what each test brings: an application takes a while to build, and one serves all tests."""

    def __getattr__(self, name):
        return getattr(self.__dict__["behind"], name)

    def __deepcopy__(self, memo):
        return self


@pytest.fixture(scope="session")
def fronts():
    return {name: InFront() for name in ("exchange", "access", "limits")}


@pytest.fixture(scope="session")
def make_app():
    """Return a function that makes the application."""

    def make(exchange, access, limits):
        return create_http_app(
            HttpAppConfig(
                title="Exchange",
                version="1.2.3",
                health=HealthRegistry(),
                metrics=PrometheusMetrics("exchange", "i-1", "1.2.3"),
                clock=SteppedClock(),
                handlers=exchange_routes(exchange, access, limits),
                wall_ns=lambda: T0_NS,
            )
        )

    return make


@pytest.fixture(scope="session")
def app(make_app, fronts):
    return make_app(fronts["exchange"], fronts["access"], fronts["limits"])


@pytest.fixture
def talk():
    """Return a function that opens a client of an application."""
    return talking_to


@pytest.fixture(scope="session")
def audit_app(fronts):
    return create_audit_app(
        AuditAppConfig(
            title="Audit",
            version="1.2.3",
            metrics=PrometheusMetrics("exchange", "i-1", "1.2.3"),
            key=AUDIT_KEY,
            handlers=exchange_audit_routes(fronts["exchange"]),
        )
    )


@pytest.fixture
async def client(app, fronts, exchange, access, limits):
    for name, behind in {"exchange": exchange, "access": access, "limits": limits}.items():
        fronts[name].behind = behind
    async with talking_to(app) as somebody:
        yield somebody


@pytest.fixture
async def auditor(audit_app, fronts, exchange):
    fronts["exchange"].behind = exchange
    async with talking_to(audit_app) as somebody:
        yield somebody


ORDER = {"symbol": "BTC-USD", "side": "buy", "type": "limit", "quantity": "0.0100", "price": "60000.00"}


@pytest.fixture
def order():
    """Return an order that is accepted, changed as asked for."""
    return lambda **changes: {**copy.deepcopy(ORDER), **changes}


@pytest.fixture
def check_problem():
    """Return a function that checks a refusal and returns its document."""

    def check(response, status, code, field=None):
        assert response.headers["content-type"] == "application/problem+json"
        document = response.json()
        assert (response.status_code, document["status"], document["code"]) == (status, status, code)
        assert document.get("field") == field
        assert document["request_id"] == response.headers["x-request-id"]
        return document

    return check


@pytest.fixture
def record():
    """Return a function that makes a record of the trail."""
    return FakeRecord
