"""The synchronous client. It starts no thread: a stream runs an event loop of its own while it is read."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar

import httpx

from fauxchange.client import requests
from fauxchange.client.book import Book
from fauxchange.client.conversation import PATIENCE, Answer, Conversation, Patience, Pause, Send
from fauxchange.client.desk import Desk, World, answer_of, error_of_transport, real_world
from fauxchange.client.errors import ApiError
from fauxchange.client.requests import Call
from fauxchange.client.streams import Stream
from fauxchange.client.venues import Venue, venue_at, venue_in
from fauxchange.client.views import BalancesUpdate, OrdersUpdate
from fauxchange.contracts.exchange.messages import TradeMessage
from fauxchange.contracts.market_data.messages import PriceMessage

P = ParamSpec("P")
T = TypeVar("T")


class _Caller(Protocol):
    def call(self, call: Call[T]) -> T: ...


def _asked(build: Callable[P, Call[T]]) -> Callable[Concatenate[_Caller, P], T]:
    """Return a method that carries out what `build` returns."""

    @wraps(build)
    def method(self: _Caller, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.call(build(*args, **kwargs))

    return method


class BlockingStream(Generic[T]):
    """A stream that is read with `for`; use it in a `with` where it ends before the program does.

    Its connection is served while the program waits for the next update. A program that takes longer than the venue's
    patience between two of them loses the connection, and the stream goes on where it was.
    """

    def __init__(self, stream: Stream[T]) -> None:
        self.stream = stream
        self._runner = asyncio.Runner()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return self._runner.run(self._next())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._runner.run(self.stream.aclose())
        self._runner.close()

    async def _next(self) -> T:
        return await anext(self.stream)


class Client:
    """A venue's exchange; use it in a `with`, or call `close`.

    Calls are the functions of `fauxchange.client.requests`, carried out. Streams are read with `for`.
    """

    def __init__(
        self,
        venue: Venue | str,
        *,
        api_key: str | None = None,
        api_secret: str | None = None,
        admin_key: str | None = None,
        patience: Patience = PATIENCE,
        world: World | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        if isinstance(venue, str):
            venue = venue_at(venue, api_key=api_key, api_secret=api_secret, admin_key=admin_key)
        self._desk = Desk(venue, patience=patience, world=world or real_world())
        self._http = httpx.Client(**self._desk.http_options(), transport=transport)
        self._closed = threading.Event()
        self.admin = Admin(self)

    @classmethod
    def from_ready(cls, data_dir: Path, *, patience: Patience = PATIENCE) -> Self:
        """Return a client of the venue that runs on a data folder, as its demo account and its administrator.

        Raises: NotFound with code `not_running` if there is none
        """
        return cls(venue_in(data_dir), patience=patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections of calls; streams are closed by themselves."""
        self._closed.set()
        self._http.close()

    def call(self, call: Call[T]) -> T:
        """Carry out a call of `fauxchange.client.requests`. Raises: ApiError."""
        return self._run(self._desk.conversations.hold(call))

    place_order = _asked(requests.place_order)
    place_orders = _asked(requests.place_orders)
    replace_order = _asked(requests.replace_order)
    amend_order = _asked(requests.amend_order)
    cancel_order = _asked(requests.cancel_order)
    cancel_all = _asked(requests.cancel_all)
    get_order = _asked(requests.get_order)
    list_orders = _asked(requests.list_orders)
    list_fills = _asked(requests.list_fills)
    get_account = _asked(requests.get_account)
    get_balances = _asked(requests.get_balances)
    get_fees = _asked(requests.get_fees)
    list_ledger = _asked(requests.list_ledger)
    list_instruments = _asked(requests.list_instruments)
    get_instrument = _asked(requests.get_instrument)
    get_book = _asked(requests.get_book)
    list_trades = _asked(requests.list_trades)
    list_prices = _asked(requests.list_prices)
    get_price = _asked(requests.get_price)

    def book(self, symbol: str) -> BlockingStream[Book]:
        """Return the book of a symbol after each change, kept and checked."""
        return BlockingStream(self._desk.book(symbol))

    def trades(self, symbol: str) -> BlockingStream[TradeMessage]:
        """Return the trades of a symbol from now on."""
        return BlockingStream(self._desk.trades(symbol))

    def orders(self) -> BlockingStream[OrdersUpdate]:
        """Return what happens to the caller's orders; the first update has those that are open."""
        return BlockingStream(self._desk.orders())

    def balances(self) -> BlockingStream[BalancesUpdate]:
        """Return the caller's balances, now and after each change."""
        return BlockingStream(self._desk.balances())

    def prices(self, *symbols: str) -> BlockingStream[PriceMessage]:
        """Return the prices of some symbols, or of all if none is named."""
        return BlockingStream(self._desk.prices(symbols))

    def _run(self, conversation: Conversation[T]) -> T:
        try:
            step = next(conversation)
            while True:
                if isinstance(step, Pause):
                    # Closing the client, from another thread, ends the pause.
                    self._closed.wait(step.seconds)
                    step = conversation.send(None)
                    continue
                try:
                    answer = self._send(step)
                except ApiError as exc:
                    step = conversation.throw(exc)
                else:
                    step = conversation.send(answer)
        except StopIteration as end:
            answered: T = end.value
            return answered

    def _send(self, send: Send) -> Answer:
        try:
            return answer_of(self._http.send(self._desk.request(self._http, send)))
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise error_of_transport(self._desk.venue.url, exc, timeout_s=send.timeout_s) from exc


class Admin:
    """What the venue's administrator may do."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def call(self, call: Call[T]) -> T:
        """Carry out a call of `fauxchange.client.requests`. Raises: ApiError."""
        return self._client.call(call)

    create_account = _asked(requests.create_account)
    get_account = _asked(requests.get_any_account)
    list_accounts = _asked(requests.list_accounts)
    set_account_status = _asked(requests.set_account_status)
    get_balances = _asked(requests.get_any_balances)
    list_orders = _asked(requests.list_any_orders)
    list_fills = _asked(requests.list_any_fills)
    list_ledger = _asked(requests.list_any_ledger)
    deposit = _asked(requests.deposit)
    withdraw = _asked(requests.withdraw)
    create_key = _asked(requests.create_key)
    list_keys = _asked(requests.list_keys)
    revoke_key = _asked(requests.revoke_key)
    set_instrument_status = _asked(requests.set_instrument_status)
