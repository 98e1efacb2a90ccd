"""What traders ask, of their own account: orders, fills, balances, ledger, fees. Every request is signed."""

import asyncio
from collections.abc import Sequence

from litestar import Router, delete, get, patch, post
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ControllerRouterHandler

from fauxchange.contracts.exchange import render
from fauxchange.contracts.exchange.messages import (
    AccountMessage,
    AmendRequest,
    BalancesResponse,
    BatchRequest,
    BatchResponse,
    BatchResult,
    CancelAllResponse,
    FeesResponse,
    FillsResponse,
    LedgerResponse,
    OrderMessage,
    OrderRequest,
    OrdersResponse,
    QuickOrder,
)
from fauxchange.contracts.exchange.refusals import refusal
from fauxchange.data.ports import FillQuery, LedgerQuery, OrderQuery
from fauxchange.domain.errors import InvariantViolation, Rejected
from fauxchange.domain.order_columns import RestingOrders
from fauxchange.domain.orders import OrderRecord
from fauxchange.platform.errors import PROBLEM_JSON, answerable
from fauxchange.platform.http.bodies import strict_body
from fauxchange.platform.http.direct import DIRECT
from fauxchange.platform.http.openapi import SIGNED_SECURITY
from fauxchange.platform.http.problems import problem, problem_responses
from fauxchange.platform.http.rendered import Rendered
from fauxchange.services.exchange.rest.callers import (
    REJECTED,
    Callers,
    CallersRequest,
    answer,
    origin_of,
    refusals,
)
from fauxchange.services.exchange.rest.parameters import (
    PAGE,
    AssetQuery,
    CauseQuery,
    ClientOrderIdQuery,
    CursorQuery,
    DirectionQuery,
    EndQuery,
    LimitQuery,
    OrderIdQuery,
    OrderPath,
    OrderStatusQuery,
    StartQuery,
    SymbolQuery,
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
from fauxchange.services.exchange.service.requests import Outcome, Placement

TAGS = ["trading"]

_PLACED_BEFORE = {
    200: ResponseSpec(
        OrderMessage, description="The same order had been placed before: this is it.", generate_examples=False
    )
}


def trading_routes(service: ExchangeApi, callers: Callers) -> ControllerRouterHandler:
    """Return the routes that want to be signed."""
    orders = _Orders(service)
    return Router(
        "/",
        route_handlers=[
            *_placing(service, callers, orders),
            *_changing(service, orders),
            *_lists(service),
            *_account(service),
        ],
        before_request=callers.signed,
        exception_handlers=refusals(service),
        security=SIGNED_SECURITY,
        tags=TAGS,
    )


class _Orders:
    """Place orders, and render orders for the one who placed them."""

    def __init__(self, service: ExchangeApi) -> None:
        self._service = service

    async def place(self, request: CallersRequest, order: OrderRequest) -> Rendered[OrderMessage]:
        """Place an order; return the answer when it is durable."""
        account, origin = request.user.account, origin_of(request)
        answered: asyncio.Future[str | Outcome] = asyncio.get_running_loop().create_future()
        if not self._service.submit_plain(account, order, origin, self, answered):
            return self.placed(request, await self._service.place_order(account, order, origin))
        outcome = await answered
        if isinstance(outcome, str):
            return Rendered(outcome.encode(), status=201, headers=request.scope["auth"])
        if outcome.placement is None:
            raise outcome.failure or _neither()
        return self.placed(request, outcome.placement)

    def rested(self, orders: RestingOrders, begun: int, tokens: Sequence["asyncio.Future[str | Outcome]"]) -> None:
        """Answer for plain orders that rest as they were placed."""
        texts = render.resting_json(orders, begun, len(tokens), self._service.listing_of)
        for answered, text in zip(tokens, texts, strict=True):
            _set(answered, text)

    def told(self, token: "asyncio.Future[str | Outcome]", outcome: Outcome) -> None:
        """Answer for a plain order, whatever came of it."""
        _set(token, outcome)

    def message(self, placement: Placement) -> OrderMessage:
        """Return an order as a message."""
        order = placement.order
        return render.order_message(order, self._service.listing_of(order.symbol), placement.fills)

    def placed(self, request: CallersRequest, placement: Placement) -> Rendered[OrderMessage]:
        """Return the answer to a placed order: 201, 200 if it is an earlier one, 422 if nothing came of it."""
        record = placement.order
        if not placement.refused:
            body = render.order_json(record, self._service.listing_of(record.symbol), placement.fills)
            return Rendered(body, status=200 if placement.repeated else 201, headers=request.scope["auth"])
        code, detail = refusal(record.reason)
        rejected = Rejected(detail, code=code, reason=record.reason, order=self.message(placement))
        status, _, body = problem(rejected, instance=request.scope["raw_path"].decode("ascii", "replace"))
        return Rendered(body, status=status, headers=request.scope["auth"], media_type=PROBLEM_JSON.encode())

    def result(self, outcome: Outcome) -> BatchResult:
        """Return what came of one order of a batch."""
        if outcome.placement is not None:
            order = outcome.placement.order
            refused = render.rejection_message(order.reason) if outcome.placement.refused else None
            return BatchResult(order=self.message(outcome.placement), refusal=refused)
        failure = answerable(outcome.failure or _neither())
        stored = failure.order if isinstance(failure, Rejected) else None
        return BatchResult(
            order=self.message(Placement(stored)) if isinstance(stored, OrderRecord) else None,
            refusal=render.refusal_message(failure),
        )


def _set(answered: "asyncio.Future[str | Outcome]", outcome: str | Outcome) -> None:
    # The caller may have gone away meanwhile; the order is carried out all the same.
    if not answered.done():
        answered.set_result(outcome)


def _neither() -> InvariantViolation:
    return InvariantViolation("an outcome is a placement or a failure")


def _placing(service: ExchangeApi, callers: Callers, orders: _Orders) -> list[ControllerRouterHandler]:
    @post(
        "/orders",
        opt=DIRECT,
        dto=strict_body(OrderRequest, quick=QuickOrder),
        responses={**_PLACED_BEFORE, **problem_responses(404, 409, 429), **REJECTED},
    )
    async def place_order(request: CallersRequest, data: JSONBody[OrderRequest]) -> Rendered[OrderMessage]:
        """Place an order, and answer when it is durable and what could trade at once has traded.

        The same client order id with the same content answers with the original order, however often it is sent.
        """
        return await orders.place(request, data)

    @post(
        "/orders/batch",
        status_code=200,
        before_request=callers.identified,
        dto=strict_body(BatchRequest),
        responses=problem_responses(429),
    )
    async def place_orders(request: CallersRequest, data: JSONBody[BatchRequest]) -> Rendered[BatchResponse]:
        """Place several orders, in this order, each accepted or refused by itself; each counts as a request."""
        await callers.charge(request, len(data.orders))
        outcomes = await service.place_orders(request.user.account, data.orders, origin_of(request))
        return answer(request, BatchResponse([orders.result(outcome) for outcome in outcomes]))

    @post(
        "/orders/{order_id:str}/replace",
        dto=strict_body(OrderRequest, quick=QuickOrder),
        responses={**_PLACED_BEFORE, **problem_responses(409, 429), **REJECTED},
    )
    async def replace_order(
        request: CallersRequest, order_id: OrderPath, data: JSONBody[OrderRequest]
    ) -> Rendered[OrderMessage]:
        """Cancel an order and place another in its stead: both happen, or neither."""
        placement = await service.replace_order(request.user.account, order_id, data, origin_of(request))
        return orders.placed(request, placement)

    return [place_order, place_orders, replace_order]


def _changing(service: ExchangeApi, orders: _Orders) -> list[ControllerRouterHandler]:
    @get("/orders/{order_id:str}", responses=problem_responses(429))
    async def order(request: CallersRequest, order_id: OrderPath) -> Rendered[OrderMessage]:
        """Return an order as it stands."""
        return answer(request, orders.message(await service.order(request.user.account, order_id)))

    @patch("/orders/{order_id:str}", dto=strict_body(AmendRequest), responses={**problem_responses(429), **REJECTED})
    async def amend_order(
        request: CallersRequest, order_id: OrderPath, data: JSONBody[AmendRequest]
    ) -> Rendered[OrderMessage]:
        """Change price, quantity or both of an open order; less quantity at the same price keeps its place."""
        placement = await service.amend_order(request.user.account, order_id, data, origin_of(request))
        return answer(request, orders.message(placement))

    @delete("/orders/{order_id:str}", status_code=200, responses={**problem_responses(429), **REJECTED})
    async def cancel_order(request: CallersRequest, order_id: OrderPath) -> Rendered[OrderMessage]:
        """Cancel an open order."""
        placement = await service.cancel_order(request.user.account, order_id, origin_of(request))
        return answer(request, orders.message(placement))

    @delete("/orders", status_code=200, responses=problem_responses(404, 429))
    async def cancel_all(request: CallersRequest, symbol: SymbolQuery = None) -> Rendered[CancelAllResponse]:
        """Cancel all open orders, or those of one symbol, and return them."""
        canceled = await service.cancel_all(request.user.account, symbol, origin_of(request))
        return answer(request, CancelAllResponse([orders.message(Placement(record)) for record in canceled]))

    return [order, amend_order, cancel_order, cancel_all]


def _lists(service: ExchangeApi) -> list[ControllerRouterHandler]:
    @get("/orders", responses=problem_responses(404, 429))
    async def list_orders(
        request: CallersRequest,
        status: OrderStatusQuery = None,
        symbol: SymbolQuery = None,
        client_order_id: ClientOrderIdQuery = None,
        start: StartQuery = None,
        end: EndQuery = None,
        limit: LimitQuery = PAGE,
        cursor: CursorQuery = None,
        order: DirectionQuery = None,
    ) -> Rendered[OrdersResponse]:
        """List the account's orders, page by page."""
        query = OrderQuery(
            account=request.user.account,
            symbol=None if symbol is None else service.listing(symbol).symbol,
            statuses=order_statuses(status),
            client_order_id=client_order_id,
            start_ns=time_ns(start, "start"),
            end_ns=time_ns(end, "end"),
            oldest_first=oldest_first(order, start),
            limit=limit,
            cursor=cursor,
        )
        return answer(request, await orders_response(service, query))

    @get("/fills", responses=problem_responses(404, 429))
    async def fills(
        request: CallersRequest,
        symbol: SymbolQuery = None,
        order_id: OrderIdQuery = None,
        start: StartQuery = None,
        end: EndQuery = None,
        limit: LimitQuery = PAGE,
        cursor: CursorQuery = None,
        order: DirectionQuery = None,
    ) -> Rendered[FillsResponse]:
        """List the account's fills, page by page."""
        query = FillQuery(
            account=request.user.account,
            symbol=None if symbol is None else service.listing(symbol).symbol,
            order_id=number(order_id),
            start_ns=time_ns(start, "start"),
            end_ns=time_ns(end, "end"),
            oldest_first=oldest_first(order, start),
            limit=limit,
            cursor=cursor,
        )
        return answer(request, await fills_response(service, query))

    return [list_orders, fills]


def _account(service: ExchangeApi) -> list[ControllerRouterHandler]:
    @get("/account", responses=problem_responses(429), sync_to_thread=False)
    def account(request: CallersRequest) -> Rendered[AccountMessage]:
        """Return the caller's account."""
        return answer(request, render.account_message(service.account(str(request.user.account))))

    @get("/account/balances", responses=problem_responses(429))
    async def balances(request: CallersRequest) -> Rendered[BalancesResponse]:
        """Return the account's balances that are not zero."""
        return answer(request, await balances_response(service, request.user.account))

    @get("/account/ledger", responses=problem_responses(404, 429))
    async def ledger(
        request: CallersRequest,
        asset: AssetQuery = None,
        cause: CauseQuery = None,
        order_id: OrderIdQuery = None,
        start: StartQuery = None,
        end: EndQuery = None,
        limit: LimitQuery = PAGE,
        cursor: CursorQuery = None,
        order: DirectionQuery = None,
    ) -> Rendered[LedgerResponse]:
        """List what has moved on the account, with the balance after each movement, page by page."""
        query = LedgerQuery(
            account=request.user.account,
            asset=None if asset is None else service.asset(asset).name,
            causes=causes(cause),
            order_id=number(order_id),
            start_ns=time_ns(start, "start"),
            end_ns=time_ns(end, "end"),
            oldest_first=oldest_first(order, start),
            limit=limit,
            cursor=cursor,
        )
        return answer(request, await ledger_response(service, query))

    @get("/account/fees", responses=problem_responses(429), sync_to_thread=False)
    def fees(request: CallersRequest) -> Rendered[FeesResponse]:
        """Return the fees that the account pays in each instrument."""
        record = service.account(str(request.user.account))
        rates = [(listing, *service.fees(listing, record.tier)) for listing in service.listings()]
        return answer(
            request,
            FeesResponse(
                account_id=str(record.account),
                tier=record.tier,
                fees=[render.fee_message(listing, maker, taker) for listing, maker, taker in rates],
            ),
        )

    return [account, balances, ledger, fees]
