"""What administrators ask: accounts, their money and their keys, and the status of instruments."""

from litestar import Router, delete, get, patch, post
from litestar.params import JSONBody
from litestar.types import ControllerRouterHandler

from fauxchange.contracts.exchange import render
from fauxchange.contracts.exchange.messages import (
    AccountChange,
    AccountMessage,
    AccountRequest,
    AccountsResponse,
    BalancesResponse,
    FillsResponse,
    InstrumentChange,
    InstrumentMessage,
    KeyCreated,
    KeyMessage,
    KeyRequest,
    KeysResponse,
    LedgerResponse,
    OrdersResponse,
    TransferMessage,
    TransferRequest,
)
from fauxchange.data.ports import AccountQuery, FillQuery, LedgerQuery, OrderQuery
from fauxchange.domain.errors import NotFound
from fauxchange.domain.orders import ACCOUNT_STATUSES, INSTRUMENT_STATUSES
from fauxchange.platform.http.bodies import strict_body
from fauxchange.platform.http.openapi import ADMIN_SECURITY
from fauxchange.platform.http.problems import problem_responses
from fauxchange.services.exchange.rest.callers import REJECTED, Callers, CallersRequest, origin_of, refusals
from fauxchange.services.exchange.rest.markets import BASIC_TIER
from fauxchange.services.exchange.rest.parameters import (
    PAGE,
    AccountPath,
    AccountStatusQuery,
    AssetQuery,
    CauseQuery,
    CursorQuery,
    DirectionQuery,
    EndQuery,
    IdempotencyHeader,
    KeyPath,
    LimitQuery,
    OrderIdQuery,
    OrderStatusQuery,
    StartQuery,
    SymbolPath,
    SymbolQuery,
    account_status,
    causes,
    number,
    oldest_first,
    order_statuses,
    time_ns,
)
from fauxchange.services.exchange.rest.records import (
    balances_response,
    fills_response,
    ledger_response,
    orders_response,
)
from fauxchange.services.exchange.service.api import ExchangeApi

TAGS = ["administration"]


def account_routes(service: ExchangeApi, callers: Callers) -> ControllerRouterHandler:
    """Return the routes that want the admin key."""
    return Router(
        "/",
        route_handlers=[*_accounts(service), *_money(service), *_records(service), *_keys(service), *_markets(service)],
        before_request=callers.admin,
        exception_handlers=refusals(service),
        security=ADMIN_SECURITY,
        tags=TAGS,
    )


def _accounts(service: ExchangeApi) -> list[ControllerRouterHandler]:
    @post("/accounts", dto=strict_body(AccountRequest), responses=problem_responses(409))
    async def create_account(
        request: CallersRequest, data: JSONBody[AccountRequest], idempotency_key: IdempotencyHeader = None
    ) -> AccountMessage:
        """Create an account."""
        return render.account_message(await service.create_account(data, origin_of(request), idempotency_key))

    @get("/accounts")
    async def accounts(
        status: AccountStatusQuery = None, limit: LimitQuery = PAGE, cursor: CursorQuery = None
    ) -> AccountsResponse:
        """List the accounts, page by page, the venue's own included."""
        page = await service.accounts(AccountQuery(status=account_status(status), limit=limit, cursor=cursor))
        return AccountsResponse([render.account_message(record) for record in page.items], page.next_cursor)

    @get("/accounts/{account_id:str}", sync_to_thread=False)
    def account(account_id: AccountPath) -> AccountMessage:
        """Return one account."""
        return render.account_message(service.account(account_id))

    @patch("/accounts/{account_id:str}", dto=strict_body(AccountChange), responses=REJECTED)
    async def change_account(
        request: CallersRequest, account_id: AccountPath, data: JSONBody[AccountChange]
    ) -> AccountMessage:
        """Suspend, activate or close an account; only an empty one can be closed, and it stays closed."""
        status = ACCOUNT_STATUSES.index(data.status)
        return render.account_message(await service.set_account_status(account_id, status, origin_of(request)))

    return [create_account, accounts, account, change_account]


def _money(service: ExchangeApi) -> list[ControllerRouterHandler]:
    @post(
        "/accounts/{account_id:str}/deposits",
        dto=strict_body(TransferRequest),
        responses={**problem_responses(409), **REJECTED},
    )
    async def deposit(
        request: CallersRequest,
        account_id: AccountPath,
        data: JSONBody[TransferRequest],
        idempotency_key: IdempotencyHeader = None,
    ) -> TransferMessage:
        """Credit an account."""
        transfer = await service.deposit(account_id, data, origin_of(request), idempotency_key)
        return render.transfer_message(transfer, service.asset(transfer.asset))

    @post(
        "/accounts/{account_id:str}/withdrawals",
        dto=strict_body(TransferRequest),
        responses={**problem_responses(409), **REJECTED},
    )
    async def withdraw(
        request: CallersRequest,
        account_id: AccountPath,
        data: JSONBody[TransferRequest],
        idempotency_key: IdempotencyHeader = None,
    ) -> TransferMessage:
        """Debit what an account has free."""
        transfer = await service.withdraw(account_id, data, origin_of(request), idempotency_key)
        return render.transfer_message(transfer, service.asset(transfer.asset))

    return [deposit, withdraw]


def _records(service: ExchangeApi) -> list[ControllerRouterHandler]:
    @get("/accounts/{account_id:str}/balances")
    async def balances(account_id: AccountPath) -> BalancesResponse:
        """Return an account's balances that are not zero."""
        return await balances_response(service, service.account(account_id).account)

    @get("/accounts/{account_id:str}/orders")
    async def orders(
        account_id: AccountPath,
        status: OrderStatusQuery = None,
        symbol: SymbolQuery = None,
        start: StartQuery = None,
        end: EndQuery = None,
        limit: LimitQuery = PAGE,
        cursor: CursorQuery = None,
        order: DirectionQuery = None,
    ) -> OrdersResponse:
        """List an account's orders, page by page."""
        query = OrderQuery(
            account=service.account(account_id).account,
            symbol=None if symbol is None else service.listing(symbol).symbol,
            statuses=order_statuses(status),
            start_ns=time_ns(start, "start"),
            end_ns=time_ns(end, "end"),
            oldest_first=oldest_first(order, start),
            limit=limit,
            cursor=cursor,
        )
        return await orders_response(service, query)

    @get("/accounts/{account_id:str}/fills")
    async def fills(
        account_id: AccountPath,
        symbol: SymbolQuery = None,
        order_id: OrderIdQuery = None,
        start: StartQuery = None,
        end: EndQuery = None,
        limit: LimitQuery = PAGE,
        cursor: CursorQuery = None,
        order: DirectionQuery = None,
    ) -> FillsResponse:
        """List an account's fills, page by page."""
        query = FillQuery(
            account=service.account(account_id).account,
            symbol=None if symbol is None else service.listing(symbol).symbol,
            order_id=number(order_id),
            start_ns=time_ns(start, "start"),
            end_ns=time_ns(end, "end"),
            oldest_first=oldest_first(order, start),
            limit=limit,
            cursor=cursor,
        )
        return await fills_response(service, query)

    @get("/accounts/{account_id:str}/ledger")
    async def ledger(
        account_id: AccountPath,
        asset: AssetQuery = None,
        cause: CauseQuery = None,
        order_id: OrderIdQuery = None,
        start: StartQuery = None,
        end: EndQuery = None,
        limit: LimitQuery = PAGE,
        cursor: CursorQuery = None,
        order: DirectionQuery = None,
    ) -> LedgerResponse:
        """List what has moved on an account, with the balance after each movement, page by page."""
        query = LedgerQuery(
            account=service.account(account_id).account,
            asset=None if asset is None else service.asset(asset).name,
            causes=causes(cause),
            order_id=number(order_id),
            start_ns=time_ns(start, "start"),
            end_ns=time_ns(end, "end"),
            oldest_first=oldest_first(order, start),
            limit=limit,
            cursor=cursor,
        )
        return await ledger_response(service, query)

    return [balances, orders, fills, ledger]


def _keys(service: ExchangeApi) -> list[ControllerRouterHandler]:
    @post("/accounts/{account_id:str}/keys", dto=strict_body(KeyRequest), responses=problem_responses(409))
    async def create_key(request: CallersRequest, account_id: AccountPath, data: JSONBody[KeyRequest]) -> KeyCreated:
        """Create an API key of an account; its secret is told in this answer and never again."""
        key, secret = await service.create_key(account_id, data, origin_of(request))
        return render.key_created(key, secret)

    @get("/accounts/{account_id:str}/keys", sync_to_thread=False)
    def keys(account_id: AccountPath) -> KeysResponse:
        """List an account's API keys, revoked ones included."""
        return KeysResponse([render.key_message(key) for key in service.keys(account_id)])

    @get("/accounts/{account_id:str}/keys/{api_key:str}", sync_to_thread=False)
    def key(account_id: AccountPath, api_key: KeyPath) -> KeyMessage:
        """Return one API key."""
        for one in service.keys(account_id):
            if one.api_key == api_key:
                return render.key_message(one)
        raise NotFound(f"account {account_id} has no key {api_key!r}", code="unknown_key", field="api_key")

    @delete("/accounts/{account_id:str}/keys/{api_key:str}", status_code=200)
    async def revoke_key(request: CallersRequest, account_id: AccountPath, api_key: KeyPath) -> KeyMessage:
        """Revoke an API key: from now on nothing that is signed with it is accepted."""
        return render.key_message(await service.revoke_key(account_id, api_key, origin_of(request)))

    return [create_key, keys, key, revoke_key]


def _markets(service: ExchangeApi) -> list[ControllerRouterHandler]:
    @post("/instruments/{symbol:str}/status", status_code=200, dto=strict_body(InstrumentChange), responses=REJECTED)
    async def set_instrument_status(
        request: CallersRequest, symbol: SymbolPath, data: JSONBody[InstrumentChange]
    ) -> InstrumentMessage:
        """Open an instrument, halt it, or let its orders only be canceled."""
        status = INSTRUMENT_STATUSES.index(data.status)
        listing = await service.set_instrument_status(symbol, status, origin_of(request))
        return render.instrument_message(listing, *service.fees(listing, BASIC_TIER))

    return [set_instrument_status]
