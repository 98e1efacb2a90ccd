"""The asynchronous client."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Concatenate, ParamSpec, Protocol, Self, TypeVar

import httpx

from fauxchange.client import requests
from fauxchange.client.book import Book
from fauxchange.client.conversation import PATIENCE, Answer, Conversation, Patience, Pause, Send
from fauxchange.client.desk import Desk, World, answer_of, error_of_transport, real_world
from fauxchange.client.errors import ApiError, DeadlineExceeded
from fauxchange.client.requests import Call, Settling
from fauxchange.client.session import OrderSession, open_session
from fauxchange.client.streams import Stream
from fauxchange.client.venues import Venue, venue_at, venue_in
from fauxchange.client.views import BalancesUpdate, OrdersUpdate
from fauxchange.contracts.exchange.messages import OrderMessage, TradeMessage
from fauxchange.contracts.market_data.messages import PriceMessage

P = ParamSpec("P")
T = TypeVar("T")


class _Caller(Protocol):
    async def call(self, call: Call[T]) -> T: ...


def _asked(build: Callable[P, Call[T]]) -> Callable[Concatenate[_Caller, P], Awaitable[T]]:
    """Return a method that carries out what `build` returns."""

    @wraps(build)
    async def method(self: _Caller, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.call(build(*args, **kwargs))

    return method


class AsyncClient:
    """A venue's exchange, asked asynchronously; use it in an `async with`, or call `aclose`.

    Calls are the functions of `fauxchange.client.requests`, carried out. Streams are read with `async for`.
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
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if isinstance(venue, str):
            venue = venue_at(venue, api_key=api_key, api_secret=api_secret, admin_key=admin_key)
        self._desk = Desk(venue, patience=patience, world=world or real_world())
        self._http = httpx.AsyncClient(**self._desk.http_options(), transport=transport)
        self.admin = AsyncAdmin(self)

    @classmethod
    def from_ready(cls, data_dir: Path, *, patience: Patience = PATIENCE) -> Self:
        """Return a client of the venue that runs on a data folder, as its demo account and its administrator.

        Raises: NotFound with code `not_running` if there is none
        """
        return cls(venue_in(data_dir), patience=patience)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections of calls; streams and sessions are closed by themselves."""
        await self._http.aclose()

    async def call(self, call: Call[T]) -> T:
        """Carry out a call of `fauxchange.client.requests`. Raises: ApiError."""
        return await self._run(self._desk.conversations.hold(call))

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

    def book(self, symbol: str) -> Stream[Book]:
        """Return the book of a symbol after each change, kept and checked."""
        return self._desk.book(symbol)

    def trades(self, symbol: str) -> Stream[TradeMessage]:
        """Return the trades of a symbol from now on."""
        return self._desk.trades(symbol)

    def orders(self) -> Stream[OrdersUpdate]:
        """Return what happens to the caller's orders; the first update has those that are open."""
        return self._desk.orders()

    def balances(self) -> Stream[BalancesUpdate]:
        """Return the caller's balances, now and after each change."""
        return self._desk.balances()

    def prices(self, *symbols: str) -> Stream[PriceMessage]:
        """Return the prices of some symbols, or of all if none is named."""
        return self._desk.prices(symbols)

    def session(self, *, cancel_on_disconnect: bool = False) -> AbstractAsyncContextManager[OrderSession]:
        """Open a session of order entry, to be used in an `async with`."""
        return open_session(
            self._desk.line(private=True),
            settle=self._settle,
            timeout_s=self._desk.patience.timeout_s,
            cancel_on_disconnect=cancel_on_disconnect,
        )

    async def _settle(self, settling: Settling[OrderMessage]) -> OrderMessage | None:
        conversation = self._desk.conversations.settle(settling)
        return await self._run(conversation)

    async def _run(self, conversation: Conversation[T]) -> T:
        try:
            step = next(conversation)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = conversation.send(None)
                    continue
                try:
                    answer = await self._send(step)
                except ApiError as exc:
                    step = conversation.throw(exc)
                else:
                    step = conversation.send(answer)
        except StopIteration as end:
            answered: T = end.value
            return answered

    async def _send(self, send: Send) -> Answer:
        try:
            async with asyncio.timeout(send.timeout_s):
                return answer_of(await self._http.send(self._desk.request(self._http, send)))
        except TimeoutError as exc:
            raise DeadlineExceeded(f"{self._desk.venue.url} did not answer within {send.timeout_s:.3g} s") from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise error_of_transport(self._desk.venue.url, exc, timeout_s=send.timeout_s) from exc


class AsyncAdmin:
    """What the venue's administrator may do."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def call(self, call: Call[T]) -> T:
        """Carry out a call of `fauxchange.client.requests`. Raises: ApiError."""
        return await self._client.call(call)

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
