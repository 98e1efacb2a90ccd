"""What edges ask of the exchange: of the use cases in the same process, or of a gateway's way to them."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from fauxchange.contracts.exchange.messages import (
    AccountRequest,
    AmendRequest,
    BookMessage,
    KeyRequest,
    OrderRequest,
    TransferRequest,
)
from fauxchange.data.ports import AccountQuery, FillQuery, LedgerQuery, OrderQuery, Page
from fauxchange.domain.listings import Asset, Listing
from fauxchange.domain.orders import AccountRecord, FillRecord, KeyRecord, LedgerEntry, OrderRecord
from fauxchange.platform.streams.hub import Hub
from fauxchange.platform.streams.topics import Topic
from fauxchange.services.exchange.service.leftovers import LeavesNothing
from fauxchange.services.exchange.service.order_lists import OrderSink
from fauxchange.services.exchange.service.requests import Balance, Caller, Origin, Outcome, Placement, Transfer
from fauxchange.services.exchange.service.use_cases import Spawn

Done = Callable[[Outcome], None]
Unwatch = Callable[[], None]


class Markets(Protocol):
    """What everybody may know."""

    @property
    def hub(self) -> Hub:
        """Who reads which stream."""
        ...

    def listings(self) -> list[Listing]:
        """Return all instruments."""
        ...

    def listing(self, symbol: str) -> Listing:
        """Return an instrument by its symbol in any spelling. Raises: InvalidRequest, NotFound."""
        ...

    def listing_of(self, symbol: str) -> Listing:
        """Return the instrument of a record. Raises: NotFound."""
        ...

    def asset(self, name: str) -> Asset:
        """Return an asset. Raises: NotFound."""
        ...

    def fees(self, listing: Listing, tier: int) -> tuple[int, int]:
        """Return maker and taker rates. Units: 1/1,000,000 of the notional."""
        ...

    def book(self, symbol: str, depth: int) -> BookMessage:
        """Return the visible book to a depth. Raises: InvalidRequest, NotFound."""
        ...

    async def trades(self, query: FillQuery) -> Page[FillRecord]:
        """Return a page of trades, each as its taker's fill."""
        ...


class Streams(Protocol):
    """What sessions and readers of streams need."""

    @property
    def spawn(self) -> Spawn:
        """Run a coroutine as a task of the service, under a name."""
        ...

    def resolve_topics(self, channel: str, symbol: str | None, caller: Caller | None) -> list[Topic]:
        """Return the topics of a channel. Raises: InvalidRequest, NotFound, Unauthenticated."""
        ...

    async def watch(self, account: int) -> Unwatch:
        """Have an account's private channels ready, until what is returned is called, once. Raises: Unavailable."""
        ...

    def kernel_session(self, account: int, origin: Origin) -> LeavesNothing | None:
        """Let the kernel process see to it that a session which begins now leaves nothing; None if that is this one."""
        ...


class Orders(Protocol):
    """What traders do and ask."""

    def submit_order(self, account: int, request: OrderRequest, origin: Origin, done: Done) -> None:
        """Place an order; `done` hears once what came of it, when that is durable."""
        ...

    def submit_plain(self, account: int, request: OrderRequest, origin: Origin, sink: OrderSink, token: Any) -> bool:
        """Place an order with others in columns; `sink` hears once what came of it. False: `submit_order` has to."""
        ...

    def when_placed(self, account: int, client_order_id: str, then: Callable[[], None]) -> bool:
        """Call `then` once the order of a client order id, which is on its way, has been placed or refused."""
        ...

    def submit_cancel(self, account: int, ref: str, origin: Origin, done: Done) -> None:
        """Cancel an open order; `done` hears once what came of it."""
        ...

    def submit_amend(self, account: int, ref: str, request: AmendRequest, origin: Origin, done: Done) -> None:
        """Amend an open order; `done` hears once what came of it."""
        ...

    async def place_order(self, account: int, request: OrderRequest, origin: Origin) -> Placement:
        """Place an order and wait until it is durable."""
        ...

    async def place_orders(self, account: int, requests: Sequence[OrderRequest], origin: Origin) -> list[Outcome]:
        """Place several orders in their order, each accepted or refused by itself."""
        ...

    async def replace_order(self, account: int, ref: str, request: OrderRequest, origin: Origin) -> Placement:
        """Put a new order in the place of an open one."""
        ...

    async def cancel_order(self, account: int, ref: str, origin: Origin) -> Placement:
        """Cancel an open order."""
        ...

    async def amend_order(self, account: int, ref: str, request: AmendRequest, origin: Origin) -> Placement:
        """Amend an open order."""
        ...

    async def cancel_all(self, account: int, symbol: str | None, origin: Origin) -> list[OrderRecord]:
        """Cancel all open orders of an account, or those of one symbol; return them."""
        ...

    async def order(self, account: int, ref: str) -> Placement:
        """Return an order of an account. Raises: NotFound."""
        ...

    async def placements(self, query: OrderQuery) -> Page[Placement]:
        """Return a page of orders, each with the fills that are known without asking the store."""
        ...

    async def fills(self, query: FillQuery) -> Page[FillRecord]:
        """Return a page of fills."""
        ...

    async def ledger(self, query: LedgerQuery) -> Page[LedgerEntry]:
        """Return a page of ledger entries."""
        ...

    async def current_balances(self, account: int) -> list[Balance]:
        """Return an account's balances that are not zero."""
        ...

    def fills_in_memory(self, order_id: int) -> Sequence[FillRecord]:
        """Return the fills of an order that are known without asking anybody."""
        ...


class Accounts(Protocol):
    """What administrators do and ask."""

    async def create_account(
        self, request: AccountRequest, origin: Origin, idempotency_key: str | None = None
    ) -> AccountRecord:
        """Create an account."""
        ...

    def account(self, account_id: str) -> AccountRecord:
        """Return an account. Raises: NotFound."""
        ...

    async def accounts(self, query: AccountQuery) -> Page[AccountRecord]:
        """Return a page of accounts."""
        ...

    async def set_account_status(self, account_id: str, status: int, origin: Origin) -> AccountRecord:
        """Activate, suspend or close an account."""
        ...

    async def deposit(
        self, account_id: str, request: TransferRequest, origin: Origin, idempotency_key: str | None = None
    ) -> Transfer:
        """Credit an account."""
        ...

    async def withdraw(
        self, account_id: str, request: TransferRequest, origin: Origin, idempotency_key: str | None = None
    ) -> Transfer:
        """Debit what an account has free."""
        ...

    async def create_key(self, account_id: str, request: KeyRequest, origin: Origin) -> tuple[KeyRecord, str]:
        """Make an API key of an account; return it with its secret."""
        ...

    def keys(self, account_id: str) -> list[KeyRecord]:
        """Return all API keys of an account, oldest first. Raises: NotFound."""
        ...

    async def revoke_key(self, account_id: str, api_key: str, origin: Origin) -> KeyRecord:
        """Revoke an API key, at once."""
        ...

    async def set_instrument_status(self, symbol: str, status: int, origin: Origin) -> Listing:
        """Open or halt an instrument, or let it only cancel."""
        ...


class ExchangeApi(Markets, Streams, Orders, Accounts, Protocol):
    """Everything that the edges of the public API ask."""
