"""What traders call: each method once for each call, the caller known."""

from fauxchange.contracts.exchange import proto, render
from fauxchange.contracts.exchange.refusals import refusal
from fauxchange.contracts.exchange.v1 import exchange_pb2 as pb
from fauxchange.data.ports import FillQuery, LedgerQuery, OrderQuery
from fauxchange.domain.errors import FauxchangeError, Rejected
from fauxchange.services.exchange.rpc.callers import Asker
from fauxchange.services.exchange.rpc.parsing import (
    amend_request,
    ledger_causes,
    order_number,
    order_ref,
    order_request,
    order_requests,
    order_statuses,
    page_of,
)
from fauxchange.services.exchange.rpc.rendering import Rendering
from fauxchange.services.exchange.service.api import ExchangeApi
from fauxchange.services.exchange.service.requests import Outcome, Placement


class TradingCalls:
    """The methods of a trader."""

    def __init__(self, service: ExchangeApi) -> None:
        self._service = service
        self._rendering = Rendering(service)

    # Orders

    async def place_order(self, request: pb.PlaceOrderRequest, asker: Asker) -> pb.PlaceOrderResponse:
        """Place an order. Raises: Rejected, with the order that was stored."""
        placement = await self._service.place_order(asker.account, order_request(request), asker.origin)
        return self._placed(placement)

    async def place_orders(self, request: pb.PlaceOrdersRequest, asker: Asker) -> pb.PlaceOrdersResponse:
        """Place several orders, each accepted or refused by itself."""
        orders = order_requests(request)
        readable = [order for order in orders if not isinstance(order, FauxchangeError)]
        outcomes = iter(await self._service.place_orders(asker.account, readable, asker.origin) if readable else ())
        response = pb.PlaceOrdersResponse()
        for order in orders:
            outcome = Outcome(failure=order) if isinstance(order, FauxchangeError) else next(outcomes)
            placed, refused, repeated = self._rendering.result(outcome)
            response.results.add(order=placed, refusal=refused, repeated=repeated)
        return response

    async def cancel_order(self, request: pb.CancelOrderRequest, asker: Asker) -> pb.Order:
        """Cancel an order."""
        return self._rendering.order(await self._service.cancel_order(asker.account, order_ref(request), asker.origin))

    async def cancel_all(self, request: pb.CancelAllRequest, asker: Asker) -> pb.CancelAllResponse:
        """Cancel all open orders, or those of one symbol."""
        canceled = await self._service.cancel_all(asker.account, request.symbol or None, asker.origin)
        return pb.CancelAllResponse(order_ids=[str(record.order_id) for record in canceled])

    async def amend_order(self, request: pb.AmendOrderRequest, asker: Asker) -> pb.Order:
        """Change price or quantity of an order."""
        return self._rendering.order(
            await self._service.amend_order(asker.account, order_ref(request), amend_request(request), asker.origin)
        )

    async def replace_order(self, request: pb.ReplaceOrderRequest, asker: Asker) -> pb.PlaceOrderResponse:
        """Put a new order in the place of another. Raises: Rejected, with the order that was stored."""
        placement = await self._service.replace_order(
            asker.account, order_ref(request), order_request(request.order), asker.origin
        )
        return self._placed(placement)

    async def get_order(self, request: pb.GetOrderRequest, asker: Asker) -> pb.Order:
        """Return an order."""
        return self._rendering.order(await self._service.order(asker.account, order_ref(request)))

    # Records

    async def list_orders(self, request: pb.ListOrdersRequest, asker: Asker) -> pb.ListOrdersResponse:
        """Return a page of orders."""
        page = await self._service.placements(
            OrderQuery(
                account=asker.account,
                symbol=self._symbol(request.symbol),
                statuses=order_statuses(request.statuses),
                client_order_id=request.client_order_id or None,
                **page_of(request),
            )
        )
        return pb.ListOrdersResponse(
            orders=[self._rendering.order(each) for each in page.items],
            next_cursor=page.next_cursor or "",
        )

    async def list_fills(self, request: pb.ListFillsRequest, asker: Asker) -> pb.ListFillsResponse:
        """Return a page of fills."""
        page = await self._service.fills(
            FillQuery(
                account=asker.account,
                symbol=self._symbol(request.symbol),
                order_id=order_number(request.order_id),
                **page_of(request),
            )
        )
        return pb.ListFillsResponse(
            fills=[self._rendering.fill(fill) for fill in page.items], next_cursor=page.next_cursor or ""
        )

    async def get_balances(self, request: pb.GetBalancesRequest, asker: Asker) -> pb.Balances:  # noqa: ARG002
        """Return the caller's balances."""
        return await self._rendering.balances(asker.account)

    async def list_ledger(self, request: pb.ListLedgerRequest, asker: Asker) -> pb.ListLedgerResponse:
        """Return a page of ledger entries."""
        asset = self._service.asset(request.asset).name if request.asset else None
        page = await self._service.ledger(
            LedgerQuery(
                account=asker.account,
                asset=asset,
                causes=ledger_causes(request.causes),
                order_id=order_number(request.order_id),
                **page_of(request),
            )
        )
        return pb.ListLedgerResponse(
            entries=[
                proto.ledger_entry(render.ledger_message(entry, self._service.asset(entry.asset)))
                for entry in page.items
            ],
            next_cursor=page.next_cursor or "",
        )

    def _symbol(self, text: str) -> str | None:
        return self._service.listing(text).symbol if text else None

    def _placed(self, placement: Placement) -> pb.PlaceOrderResponse:
        if placement.refused:
            code, detail = refusal(placement.order.reason)
            raise Rejected(detail, code=code, reason=placement.order.reason, order=placement.order)
        return pb.PlaceOrderResponse(order=self._rendering.order(placement), repeated=placement.repeated)
