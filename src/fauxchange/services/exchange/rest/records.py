"""Lists of an account's records, for the account itself and for administrators."""

from fauxchange.contracts.exchange import render
from fauxchange.contracts.exchange.messages import (
    BalancesResponse,
    FillsResponse,
    LedgerResponse,
    OrdersResponse,
)
from fauxchange.data.ports import FillQuery, LedgerQuery, OrderQuery
from fauxchange.services.exchange.service.api import ExchangeApi


async def balances_response(service: ExchangeApi, account: int) -> BalancesResponse:
    """Return an account's balances."""
    return BalancesResponse(
        account_id=str(account),
        balances=[
            render.balance_message(balance, service.asset(balance.asset))
            for balance in await service.current_balances(account)
        ],
    )


async def orders_response(service: ExchangeApi, query: OrderQuery) -> OrdersResponse:
    """Return a page of orders."""
    page = await service.placements(query)
    return OrdersResponse(
        orders=[
            render.order_message(each.order, service.listing_of(each.order.symbol), each.fills) for each in page.items
        ],
        next_cursor=page.next_cursor,
    )


async def fills_response(service: ExchangeApi, query: FillQuery) -> FillsResponse:
    """Return a page of fills."""
    page = await service.fills(query)
    return FillsResponse(
        fills=[render.fill_message(fill, service.listing_of(fill.symbol)) for fill in page.items],
        next_cursor=page.next_cursor,
    )


async def ledger_response(service: ExchangeApi, query: LedgerQuery) -> LedgerResponse:
    """Return a page of ledger entries."""
    page = await service.ledger(query)
    return LedgerResponse(
        entries=[render.ledger_message(entry, service.asset(entry.asset)) for entry in page.items],
        next_cursor=page.next_cursor,
    )
