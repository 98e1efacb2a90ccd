"""The exchange as the edges of a gateway ask it: from the replica what is known, from the kernel process the rest.

What a gateway answers from its replica has been told before the kernel process let the request in, so that whoever was
answered by one gateway finds what was done with every other.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import msgspec

from fauxchange.contracts.exchange.messages import (
    AccountRequest,
    AmendRequest,
    BookMessage,
    KeyRequest,
    OrderRequest,
    TransferRequest,
)
from fauxchange.data.ports import AccountQuery, FillQuery, LedgerQuery, OrderQuery, Page
from fauxchange.domain.errors import FauxchangeError, Unavailable
from fauxchange.domain.listings import Asset, Listing
from fauxchange.domain.orders import AccountRecord, FillRecord, KeyRecord, LedgerEntry, OrderRecord
from fauxchange.platform.administration import AdminKey
from fauxchange.platform.credentials import SecretBox
from fauxchange.platform.streams.hub import Hub
from fauxchange.platform.streams.topics import Topic
from fauxchange.services.exchange.clients.connection import Connection
from fauxchange.services.exchange.clients.replica import Replica, Watched
from fauxchange.services.exchange.service import links
from fauxchange.services.exchange.service.access import Access
from fauxchange.services.exchange.service.channels import resolve_topics
from fauxchange.services.exchange.service.exchange import book_message
from fauxchange.services.exchange.service.leftovers import LeavesNothing
from fauxchange.services.exchange.service.limits import UNLIMITED, RateState
from fauxchange.services.exchange.service.order_lists import OrderSink
from fauxchange.services.exchange.service.requests import Balance, Caller, Origin, Outcome, Placement, Transfer
from fauxchange.services.exchange.service.use_cases import Spawn

Done = Callable[[Outcome], None]

MAX_FILLS_OF_REFUSED: Final = 1_000
METHODS: Final = links.METHODS


class SessionOrigin(Origin, frozen=True, array_like=True, gc=False):
    """Where the commands of a session come from that the kernel process cancels when it ends."""

    session: int = 0


@dataclass(slots=True)
class Ticket:
    """A signature that is right, to be accepted once over all gateways."""

    key: str
    stamp_ms: int
    signature: str


@dataclass(frozen=True, slots=True)
class SignedCaller(Caller):
    """A caller whose signature the kernel process has not seen yet."""

    ticket: Ticket = field(default_factory=lambda: Ticket("", 0, ""))


class GatewayAccess(Access):
    """Check credentials against the replica; whether a signature was used before the kernel process says."""

    def __init__(self, replica: Replica, box: SecretBox, *, wall_ns: Callable[[], int]) -> None:
        super().__init__(replica, box, admin_key="", wall_ns=wall_ns, not_before_ns=0)
        self._replica = replica

    def learn_admin_key(self, key: str) -> None:
        """Let administrators in with this key."""
        self._admin_key = AdminKey(key)

    def signed(
        self,
        *,
        key: str,
        timestamp: str,
        signature: str,
        message: bytes,
        window: str | None = None,
        nonce: str | None = None,
    ) -> Caller:
        """Return who has signed a request. Raises: Unauthenticated, InvalidRequest, Unavailable."""
        self._replica.check_live()
        caller = super().signed(
            key=key, timestamp=timestamp, signature=signature, message=message, window=window, nonce=nonce
        )
        return SignedCaller(caller.role, caller.account, caller.actor, Ticket(key, int(timestamp), signature))

    def admin(self, authorization: str | None) -> Caller:
        """Return the administrator who presents `Bearer <admin key>`.

        Raises: Unauthenticated, Forbidden, Unavailable
        """
        self._replica.check_live()
        return super().admin(authorization)


class GatewayAllowances:
    """Allowances are one for all gateways: the kernel process keeps them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.charges: dict[int, int] = {}
        """The newest charge of each account that has a session here."""

    async def admit(self, caller: Caller, cost: int) -> RateState:
        """Ask the kernel process whether a request may go on. Raises: Unauthenticated, RateLimited, Unavailable."""
        if not isinstance(caller, SignedCaller):
            return await self._connection.admit(caller.account, cost)
        ticket = caller.ticket
        signature, ticket.signature = ticket.signature, ""
        return await self._connection.admit(
            caller.account, cost, key=ticket.key, stamp_ms=ticket.stamp_ms, signature=signature
        )

    def is_certain(self, caller: Caller) -> bool:  # noqa: ARG002 - as `Allowances` has it
        """Say that the kernel process has the last word."""
        return False

    def take(self, account: int, cost: int = 1) -> RateState:
        """Have an operation of a session charged; whether it was too much is its answer. Raises: Unavailable."""
        number = self.charges[account] = self._connection.next_id()
        self._connection.send(links.Charge(number, account, cost))
        return UNLIMITED

    def peek(self, account: int) -> RateState:
        """Return what was left of an account's allowance when it was last asked for."""
        return self._connection.rates.get(account, UNLIMITED)


class KernelSession:
    """A session that the kernel process ends properly, whatever becomes of this gateway."""

    def __init__(self, connection: Connection, account: int, origin: Origin) -> None:
        self._connection = connection
        self._session = connection.next_id()
        self.origin: Origin = SessionOrigin(
            origin.actor, origin.source, origin.request_id, origin.trace_id, session=self._session
        )
        connection.send(links.Leave(self._session, account, origin))

    def add(self, order: OrderRecord) -> None:
        """Do nothing: the kernel process has seen the order."""

    def cancel(self) -> None:
        """Say that the session is over; without a link the kernel process knows it already."""
        with suppress(Unavailable):
            self._connection.send(links.Left(self._session))


class GatewayExchange:
    """Everything that edges ask of the exchange, over the link to the kernel process."""

    def __init__(
        self, connection: Connection, replica: Replica, allowances: GatewayAllowances, *, spawn: Spawn
    ) -> None:
        self.spawn = spawn
        self._connection = connection
        self._replica = replica
        self._allowances = allowances
        self._fills_of_refused: OrderedDict[int, Sequence[FillRecord]] = OrderedDict()

    @property
    def hub(self) -> Hub:
        """Who reads which stream."""
        return self._replica.hub

    # Markets

    def listings(self) -> list[Listing]:
        """Return all instruments. Raises: Unavailable."""
        self._replica.check_live()
        return list(self._replica.registry.listings)

    def listing(self, symbol: str) -> Listing:
        """Return an instrument by its symbol in any spelling. Raises: InvalidRequest, NotFound, Unavailable."""
        self._replica.check_live()
        return self._replica.registry.listing(symbol)

    def listing_of(self, symbol: str) -> Listing:
        """Return the instrument of a record. Raises: NotFound."""
        return self._replica.registry.listing(symbol)

    def asset(self, name: str) -> Asset:
        """Return an asset. Raises: NotFound."""
        return self._replica.registry.asset(name)

    def fees(self, listing: Listing, tier: int) -> tuple[int, int]:
        """Return maker and taker rates. Units: 1/1,000,000 of the notional."""
        return self._replica.registry.fees_of(listing.number, tier)

    def book(self, symbol: str, depth: int) -> BookMessage:
        """Return the visible book to a depth. Raises: InvalidRequest, NotFound, Unavailable."""
        return book_message(self._replica.books[self.listing(symbol).number], depth)

    async def trades(self, query: FillQuery) -> Page[FillRecord]:
        """Return a page of trades, each as its taker's fill. Raises: InvalidRequest, Unavailable."""
        page: Page[FillRecord] = await self._ask("trades", query)
        return page

    # Streams

    def resolve_topics(self, channel: str, symbol: str | None, caller: Caller | None) -> list[Topic]:
        """Return the topics of a channel. Raises: InvalidRequest, NotFound, Unauthenticated, Unavailable."""
        self._replica.check_live()
        replica = self._replica
        return resolve_topics(
            channel,
            symbol,
            caller,
            registry=replica.registry,
            books=replica.books,
            trades=replica.trades,
            private=replica.private_topics,
        )

    async def watch(self, account: int) -> Callable[[], None]:
        """Have an account's private channels ready, until what is returned is called, once. Raises: Unavailable."""
        self._replica.check_live()
        watched = self._replica.watched.get(account)
        if watched is None:
            ready = self._connection.watch(account)
            watched = self._replica.watched[account] = Watched(self._replica.registry, self._replica.epoch, ready)
        watched.watchers += 1
        try:
            # One who gives up waiting must not end it for the others.
            await asyncio.shield(watched.ready)
        except BaseException:
            self._unwatch(account, watched)
            raise
        return partial(self._unwatch, account, watched)

    def _unwatch(self, account: int, watched: Watched) -> None:
        watched.watchers -= 1
        # After a link has broken there may be another one for the account.
        if watched.watchers == 0 and self._replica.watched.get(account) is watched:
            del self._replica.watched[account]
            with suppress(Unavailable):
                self._connection.send(links.Unwatch(account))

    def kernel_session(self, account: int, origin: Origin) -> LeavesNothing | None:
        """Let the kernel process see to it that a session leaves nothing, even if this gateway is killed."""
        return KernelSession(self._connection, account, origin)

    # Orders

    def submit_order(self, account: int, request: OrderRequest, origin: Origin, done: Done) -> None:
        """Place an order of a session; `done` hears once what came of it. Raises: Unavailable."""
        self._submit(links.PLACE, (account, request, origin), done)

    def submit_plain(self, account: int, request: OrderRequest, origin: Origin, sink: OrderSink, token: Any) -> bool:  # noqa: ARG002 - as `ExchangeApi` has it
        """Leave it to `submit_order`: what comes from gateways is carried out one by one."""
        return False

    def when_placed(self, account: int, client_order_id: str, then: Callable[[], None]) -> bool:  # noqa: ARG002 - as `ExchangeApi` has it
        """Know of nothing on its way: the kernel process does."""
        return False

    def submit_cancel(self, account: int, ref: str, origin: Origin, done: Done) -> None:
        """Cancel an order of a session; `done` hears once what came of it. Raises: Unavailable."""
        self._submit(links.CANCEL, (account, ref, origin), done)

    def submit_amend(self, account: int, ref: str, request: AmendRequest, origin: Origin, done: Done) -> None:
        """Amend an order of a session; `done` hears once what came of it. Raises: Unavailable."""
        self._submit(links.AMEND, (account, ref, request, origin), done)

    async def place_order(self, account: int, request: OrderRequest, origin: Origin) -> Placement:
        """Place an order and wait until it is durable. Raises: as the kernel process says; Unavailable."""
        placement: Placement = await self._ask("place_order", account, request, origin)
        return placement

    async def place_orders(self, account: int, requests: Sequence[OrderRequest], origin: Origin) -> list[Outcome]:
        """Place several orders in their order, each accepted or refused by itself. Raises: Unavailable."""
        outcomes: list[links.BatchOutcome] = await self._ask("place_orders", account, list(requests), origin)
        return [links.outcome_of(each) for each in outcomes]

    async def replace_order(self, account: int, ref: str, request: OrderRequest, origin: Origin) -> Placement:
        """Put a new order in the place of an open one. Raises: as the kernel process says; Unavailable."""
        placement: Placement = await self._ask("replace_order", account, ref, request, origin)
        return placement

    async def cancel_order(self, account: int, ref: str, origin: Origin) -> Placement:
        """Cancel an open order. Raises: as the kernel process says; Unavailable."""
        placement: Placement = await self._ask("cancel_order", account, ref, origin)
        return placement

    async def amend_order(self, account: int, ref: str, request: AmendRequest, origin: Origin) -> Placement:
        """Amend an open order. Raises: as the kernel process says; Unavailable."""
        placement: Placement = await self._ask("amend_order", account, ref, request, origin)
        return placement

    async def cancel_all(self, account: int, symbol: str | None, origin: Origin) -> list[OrderRecord]:
        """Cancel all open orders of an account, or those of one symbol. Raises: NotFound, Unavailable."""
        records: list[OrderRecord] = await self._ask("cancel_all", account, symbol, origin)
        return records

    async def order(self, account: int, ref: str) -> Placement:
        """Return an order of an account. Raises: NotFound, Unavailable."""
        placement: Placement = await self._ask("order", account, ref)
        return placement

    async def placements(self, query: OrderQuery) -> Page[Placement]:
        """Return a page of orders with their fills. Raises: InvalidRequest, Unavailable."""
        page: Page[Placement] = await self._ask("placements", query)
        return page

    async def fills(self, query: FillQuery) -> Page[FillRecord]:
        """Return a page of fills. Raises: InvalidRequest, Unavailable."""
        page: Page[FillRecord] = await self._ask("fills", query)
        return page

    async def ledger(self, query: LedgerQuery) -> Page[LedgerEntry]:
        """Return a page of ledger entries. Raises: InvalidRequest, Unavailable."""
        page: Page[LedgerEntry] = await self._ask("ledger", query)
        return page

    async def current_balances(self, account: int) -> list[Balance]:
        """Return an account's balances that are not zero. Raises: Unavailable."""
        balances: list[Balance] = await self._ask("current_balances", account)
        return balances

    def fills_in_memory(self, order_id: int) -> Sequence[FillRecord]:
        """Return the fills that a refusal lately told of its order."""
        return self._fills_of_refused.get(order_id, ())

    # Accounts

    async def create_account(
        self, request: AccountRequest, origin: Origin, idempotency_key: str | None = None
    ) -> AccountRecord:
        """Create an account. Raises: Conflict, Unavailable."""
        record: AccountRecord = await self._ask("create_account", request, origin, idempotency_key)
        return record

    def account(self, account_id: str) -> AccountRecord:
        """Return an account. Raises: NotFound, Unavailable."""
        self._replica.check_live()
        return self._replica.registry.account(account_id)

    async def accounts(self, query: AccountQuery) -> Page[AccountRecord]:
        """Return a page of accounts. Raises: InvalidRequest, Unavailable."""
        page: Page[AccountRecord] = await self._ask("accounts", query)
        return page

    async def set_account_status(self, account_id: str, status: int, origin: Origin) -> AccountRecord:
        """Activate, suspend or close an account. Raises: as the kernel process says; Unavailable."""
        record: AccountRecord = await self._ask("set_account_status", account_id, status, origin)
        return record

    async def deposit(
        self, account_id: str, request: TransferRequest, origin: Origin, idempotency_key: str | None = None
    ) -> Transfer:
        """Credit an account. Raises: as the kernel process says; Unavailable."""
        transfer: Transfer = await self._ask("deposit", account_id, request, origin, idempotency_key)
        return transfer

    async def withdraw(
        self, account_id: str, request: TransferRequest, origin: Origin, idempotency_key: str | None = None
    ) -> Transfer:
        """Debit what an account has free. Raises: as the kernel process says; Unavailable."""
        transfer: Transfer = await self._ask("withdraw", account_id, request, origin, idempotency_key)
        return transfer

    async def create_key(self, account_id: str, request: KeyRequest, origin: Origin) -> tuple[KeyRecord, str]:
        """Make an API key of an account; return it with its secret. Raises: as the kernel process says; Unavailable."""
        made: tuple[KeyRecord, str] = await self._ask("create_key", account_id, request, origin)
        return made

    def keys(self, account_id: str) -> list[KeyRecord]:
        """Return all API keys of an account, oldest first. Raises: NotFound, Unavailable."""
        return list(self._replica.registry.keys_of(self.account(account_id).account))

    async def revoke_key(self, account_id: str, api_key: str, origin: Origin) -> KeyRecord:
        """Revoke an API key, at once. Raises: NotFound, Unavailable."""
        record: KeyRecord = await self._ask("revoke_key", account_id, api_key, origin)
        return record

    async def set_instrument_status(self, symbol: str, status: int, origin: Origin) -> Listing:
        """Open or halt an instrument, or let it only cancel. Raises: as the kernel process says; Unavailable."""
        await self._ask("set_instrument_status", symbol, status, origin)
        return self.listing(symbol)

    # What is common

    async def _ask(self, name: str, *arguments: Any) -> Any:
        session = next((each.session for each in arguments if isinstance(each, SessionOrigin)), 0)
        try:
            return await self._connection.ask(METHODS[name], arguments, session=session)
        except FauxchangeError as exc:
            self._remember_fills(exc)
            raise

    def _submit(self, method: links.Method[Placement], arguments: tuple[Any, ...], done: Done) -> None:
        account, origin = arguments[0], arguments[-1]

        def then(result: msgspec.Raw | None, failure: FauxchangeError | None) -> None:
            if failure is not None:
                self._remember_fills(failure)
                done(Outcome(failure=failure))
            else:
                done(Outcome(method.read_result(msgspec.Raw(b"") if result is None else result)))

        session = origin.session if isinstance(origin, SessionOrigin) else 0
        charge = self._allowances.charges.get(account, 0)
        self._connection.call(method, arguments, then, session=session, charge=charge)

    def _remember_fills(self, failure: FauxchangeError) -> None:
        if isinstance(failure, links.RefusedByKernel) and isinstance(failure.order, OrderRecord) and failure.fills:
            self._fills_of_refused[failure.order.order_id] = failure.fills
            if len(self._fills_of_refused) > MAX_FILLS_OF_REFUSED:
                self._fills_of_refused.popitem(last=False)
