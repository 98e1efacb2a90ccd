"""What both clients do with HTTP: make and sign a request, read an answer, name what went wrong between them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from fauxchange.client import chance
from fauxchange.client.book import Book
from fauxchange.client.conversation import Answer, Conversations, Patience, Send
from fauxchange.client.errors import (
    ApiError,
    ConnectionLost,
    DeadlineExceeded,
    InvalidRequest,
    NotConnected,
    Unauthorized,
)
from fauxchange.client.requests import EXCHANGE_STREAM, MARKET_DATA_STREAM, Access, Call
from fauxchange.client.signing import Signer
from fauxchange.client.streams import Line, Stream
from fauxchange.client.subscription import Subscription
from fauxchange.client.venues import Venue
from fauxchange.client.views import (
    BalancesUpdate,
    BalancesView,
    BookView,
    OrdersUpdate,
    OrdersView,
    PricesView,
    TradesView,
)
from fauxchange.contracts.exchange.messages import TradeMessage
from fauxchange.contracts.market_data.messages import PriceMessage
from fauxchange.platform.clock import WallClock

CONTENT_TYPE = {"Content-Type": "application/json"}

_NEVER_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a client takes from its surroundings.

    Units: now_ns in nanoseconds of wall time since 1970, now_s in seconds of a clock that never goes back, jitter in
           [0, 1)
    """

    now_ns: Callable[[], int]
    now_s: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = chance.jitter


def real_world() -> World:
    """Return the system's clocks and its chance."""
    return World(now_ns=WallClock().now_ns)


class Desk:
    """One venue and one caller: what goes out is signed here, what comes back is named here."""

    def __init__(self, venue: Venue, *, patience: Patience, world: World) -> None:
        self.venue = venue
        self.world = world
        self.patience = patience
        self.conversations = Conversations(patience, now_s=world.now_s, jitter=world.jitter)
        self.signer = (
            None if venue.credentials is None else Signer(venue.credentials, now_ns=world.now_ns, nonce=chance.nonces())
        )

    def http_options(self) -> dict[str, Any]:
        """Return the options of the HTTP client."""
        # The venue is on this machine or named by hand: proxies of the environment are not meant for it.
        return {"base_url": self.venue.url, "trust_env": False}

    def request(self, client: httpx.Client | httpx.AsyncClient, send: Send) -> httpx.Request:
        """Return a request, signed over what its connection will carry. Raises: Unauthorized without credentials."""
        call = send.call
        headers = dict(call.headers) | (CONTENT_TYPE if call.body else {})
        request = client.build_request(
            call.method,
            call.target,
            content=call.body or None,
            headers=headers,
            timeout=send.timeout_s,
        )
        request.headers.update(self._proof(call, request.url.raw_path))
        return request

    def required_signer(self) -> Signer:
        """Return the signer. Raises: Unauthorized if the client has no API key."""
        if self.signer is None:
            raise Unauthorized("this wants an API key and its secret, which the client was not given")
        return self.signer

    def line(self, path: str = EXCHANGE_STREAM, *, private: bool = False) -> Line:
        """Return the way to an endpoint of streams. Raises: Unauthorized if it wants an API key and there is none."""
        signer = self.required_signer() if private else None
        return Line(
            venue=self.venue,
            path=path,
            jitter=self.world.jitter,
            signer=signer,
            first_pause_s=self.patience.first_pause_s,
        )

    def book(self, symbol: str) -> Stream[Book]:
        """Return the stream of a symbol's book."""
        return Stream(self.line(), Subscription("book", [symbol]), BookView())

    def trades(self, symbol: str) -> Stream[TradeMessage]:
        """Return the stream of a symbol's trades."""
        return Stream(self.line(), Subscription("trades", [symbol]), TradesView())

    def orders(self) -> Stream[OrdersUpdate]:
        """Return the stream of the caller's orders."""
        return Stream(self.line(private=True), Subscription("orders"), OrdersView())

    def balances(self) -> Stream[BalancesUpdate]:
        """Return the stream of the caller's balances."""
        return Stream(self.line(private=True), Subscription("balances"), BalancesView())

    def prices(self, symbols: Sequence[str]) -> Stream[PriceMessage]:
        """Return the stream of some symbols' prices, or of all."""
        return Stream(self.line(MARKET_DATA_STREAM), Subscription("prices", symbols), PricesView())

    def _proof(self, call: Call[Any], target: bytes) -> Mapping[str, str]:
        if call.access is Access.SIGNED:
            return self.required_signer().headers(call.method, target, call.body)
        if call.access is Access.ADMIN:
            if self.venue.admin_key is None:
                raise Unauthorized("this wants the venue's admin key, which the client was not given")
            return {"Authorization": f"Bearer {self.venue.admin_key}"}
        return {}


def answer_of(response: httpx.Response) -> Answer:
    """Return an answer that has been read."""
    return Answer(
        response.status_code, {name.lower(): value for name, value in response.headers.items()}, response.content
    )


def error_of_transport(url: str, failure: httpx.HTTPError | httpx.InvalidURL, *, timeout_s: float) -> ApiError:
    """Return the error of an answer that did not come."""
    reason = str(failure) or type(failure).__name__
    if isinstance(failure, httpx.InvalidURL):
        return InvalidRequest(f"{url} is not an address: {reason}")
    if isinstance(failure, _NEVER_CONNECTED):
        return NotConnected(f"nothing answers at {url} ({reason})")
    if isinstance(failure, httpx.TimeoutException):
        return DeadlineExceeded(f"{url} did not answer within {timeout_s:.3g} s")
    return ConnectionLost(f"the connection to {url} was lost ({reason})")
