"""`order`, `orders`, `fills`, `balances`, `ledger`: trade on a running exchange, and look at what came of it."""

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from fauxchange.cli.clients import (
    AccountOption,
    AdminKey,
    ApiKey,
    ApiSecret,
    Count,
    Cursor,
    Symbol,
    SymbolFilter,
    document,
    find_venue,
    open_client,
    shown,
    tell_of_more,
)
from fauxchange.cli.console import facts, messages, name_column, number_column, output, print_json, table
from fauxchange.cli.options import DataDir, Json, Url, examples
from fauxchange.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from fauxchange.client.requests import OrderFilter
    from fauxchange.contracts.exchange.messages import OrderMessage

PAGE = 20
SIDE_STYLES = {"buy": "green", "sell": "red"}
STATUS_STYLES = {"FILLED": "green", "REJECTED": "red", "CANCELED": "dim", "EXPIRED": "dim"}

ORDERS_EXAMPLES = examples("fauxchange orders --open", "fauxchange orders --symbol BTC-USD --json | jq .orders[0]")
FILLS_EXAMPLES = examples("fauxchange fills", "fauxchange fills --order 17")
BALANCES_EXAMPLES = examples("fauxchange balances", "fauxchange balances --account 5")
LEDGER_EXAMPLES = examples("fauxchange ledger --asset USD --cause fee")

commands = typer.Typer(
    no_args_is_help=True,
    help="Place, look at, amend and cancel orders on a running exchange.",
    epilog=examples(
        "fauxchange order buy BTC-USD 0.01",
        "fauxchange order sell BTC-USD 0.01 --limit 61000 --post-only",
        "fauxchange order buy BTC-USD --quote-amount 500",
        "fauxchange order cancel 17",
    ),
)

OrderRef = Annotated[
    str, typer.Argument(metavar="ID", help="An order's id, or `client:` and its client order id, such as client:my-1.")
]
Price = Annotated[str | None, typer.Option("--limit", metavar="PRICE", help="The worst price to trade at.")]
Quantity = Annotated[str | None, typer.Option("--quantity", metavar="QUANTITY", help="The new total quantity.")]


TimeInForce = Literal["GTC", "IOC", "FOK", "GTD"]
Prevention = Literal["none", "expire_taker", "expire_maker", "expire_both"]
Cause = Literal["deposit", "withdrawal", "reserve", "release", "trade", "fee"]
Status = Literal["NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "REJECTED", "EXPIRED"]


def _placing(side: Literal["buy", "sell"]) -> Callable[..., None]:
    """Return the command that places orders of one side."""

    def place(
        symbol: Symbol,
        quantity: Annotated[
            str | None, typer.Argument(metavar="QUANTITY", help="How much, in the base asset (BTC of BTC-USD).")
        ] = None,
        *,
        quote_amount: Annotated[
            str | None,
            typer.Option("--quote-amount", metavar="AMOUNT", help="How much, in the quote asset; market orders only."),
        ] = None,
        limit: Price = None,
        stop: Annotated[
            str | None, typer.Option("--stop", metavar="PRICE", help="Wait until the last trade is as bad as this.")
        ] = None,
        take_profit: Annotated[
            str | None,
            typer.Option("--take-profit", metavar="PRICE", help="Wait until the last trade is as good as this."),
        ] = None,
        time_in_force: Annotated[
            TimeInForce | None,
            typer.Option("--tif", help="Time in force (default: IOC of market orders, GTC of others)."),
        ] = None,
        expires: Annotated[
            str | None, typer.Option("--expires", metavar="TIME", help="When a GTD order ends, RFC 3339.")
        ] = None,
        display: Annotated[
            str | None, typer.Option("--display", metavar="QUANTITY", help="How much the book shows (iceberg).")
        ] = None,
        post_only: Annotated[bool, typer.Option("--post-only", help="Rest in the book, or be rejected.")] = False,
        self_trade: Annotated[
            Prevention | None, typer.Option("--self-trade", help="What happens where it meets an own order.")
        ] = None,
        client_order_id: Annotated[
            str | None,
            typer.Option("--client-order-id", metavar="ID", help="Your own id, by which repeating it is safe."),
        ] = None,
        as_json: Json = False,
        api_key: ApiKey = None,
        api_secret: ApiSecret = None,
        url: Url = None,
        data_dir: DataDir = None,
    ) -> None:
        from fauxchange.client import order_request

        if stop is not None and take_profit is not None:
            raise InvalidRequest("an order waits for --stop or for --take-profit, not for both")
        order = order_request(
            side,
            symbol,
            quantity,
            quote_quantity=quote_amount,
            price=limit,
            stop_price=stop if take_profit is None else take_profit,
            take_profit=take_profit is not None,
            time_in_force=time_in_force,
            expires_at=expires,
            display_quantity=display,
            post_only=post_only,
            self_trade_prevention=self_trade,
            client_order_id=client_order_id,
        )
        with open_client(find_venue(url, data_dir, api_key=api_key, api_secret=api_secret)) as client:
            _show(client.place_order(order), as_json=as_json)

    place.__doc__ = (
        f"{side.capitalize()} at the market's price, or with `--limit` at a price that is not worse.\n\n"
        "The order is answered when it is durable; what can trade at once has traded then."
    )
    return place


commands.command(
    "buy",
    epilog=examples(
        "fauxchange order buy BTC-USD 0.01",
        "fauxchange order buy BTC-USD --quote-amount 500",
        "fauxchange order buy BTC-USD 0.01 --limit 59000 --tif GTD --expires 2030-01-01T00:00:00Z",
        "fauxchange order buy BTC-USD 0.01 --stop 61000 --limit 61010",
    ),
)(_placing("buy"))
commands.command(
    "sell",
    epilog=examples(
        "fauxchange order sell BTC-USD 0.01",
        "fauxchange order sell BTC-USD 5 --limit 61000 --display 0.5 --client-order-id my-1",
        "fauxchange order sell BTC-USD 0.01 --take-profit 65000",
    ),
)(_placing("sell"))


@commands.command("show", epilog=examples("fauxchange order show 17", "fauxchange order show client:my-1"))
def show(
    ref: OrderRef,
    *,
    as_json: Json = False,
    api_key: ApiKey = None,
    api_secret: ApiSecret = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Show an order as it stands, with its fills."""
    with open_client(find_venue(url, data_dir, api_key=api_key, api_secret=api_secret)) as client:
        _show(client.get_order(ref), as_json=as_json)


@commands.command(
    "cancel",
    epilog=examples("fauxchange order cancel 17", "fauxchange order cancel --all --symbol BTC-USD"),
)
def cancel(
    ref: Annotated[str | None, typer.Argument(metavar="ID", help="An order's id, or `client:` and its own.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Cancel all open orders.")] = False,
    symbol: Annotated[
        str | None, typer.Option("--symbol", metavar="SYMBOL", help="With --all: only those of this symbol.")
    ] = None,
    as_json: Json = False,
    api_key: ApiKey = None,
    api_secret: ApiSecret = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Cancel an order, or all that are open."""
    if every is (ref is not None):
        raise InvalidRequest("name one order, or give --all")
    if symbol is not None and not every:
        raise InvalidRequest("--symbol belongs to --all: an order is named by its id alone")
    with open_client(find_venue(url, data_dir, api_key=api_key, api_secret=api_secret)) as client:
        if ref is not None:
            _show(client.cancel_order(ref), as_json=as_json)
            return
        canceled = client.cancel_all(symbol)
    if as_json:
        print_json(document(canceled))
    else:
        _list(canceled.orders, nothing="there was no open order")


@commands.command(
    "amend",
    epilog=examples("fauxchange order amend 17 --limit 59500", "fauxchange order amend client:my-1 --quantity 0.005"),
)
def amend(
    ref: OrderRef,
    *,
    limit: Price = None,
    quantity: Quantity = None,
    as_json: Json = False,
    api_key: ApiKey = None,
    api_secret: ApiSecret = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Change an order's price, its total quantity (the filled part included), or both.

    Less quantity at the same price keeps the order's place in the queue; everything else sends it to the back.
    """
    if limit is None and quantity is None:
        raise InvalidRequest("give --limit, --quantity or both")
    with open_client(find_venue(url, data_dir, api_key=api_key, api_secret=api_secret)) as client:
        _show(client.amend_order(ref, price=limit, quantity=quantity), as_json=as_json)


def orders(
    *,
    only_open: Annotated[bool, typer.Option("--open", help="Only those that are open.")] = False,
    status: Annotated[Status | None, typer.Option("--status", help="Only those with this status.")] = None,
    symbol: SymbolFilter = None,
    count: Count = PAGE,
    cursor: Cursor = None,
    account: AccountOption = None,
    as_json: Json = False,
    api_key: ApiKey = None,
    api_secret: ApiSecret = None,
    admin_key: AdminKey = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """List orders, the newest first."""
    if only_open and status is not None:
        raise InvalidRequest("give --open or --status, not both")
    wanted: OrderFilter | None = "open" if only_open else status
    venue = find_venue(url, data_dir, api_key=api_key, api_secret=api_secret, admin_key=admin_key)
    with open_client(venue) as client:
        if account is None:
            page = client.list_orders(status=wanted, symbol=symbol, limit=count, cursor=cursor)
        else:
            page = client.admin.list_orders(account, status=wanted, symbol=symbol, limit=count, cursor=cursor)
    if as_json:
        print_json(document(page))
        return
    _list(page.orders, nothing="there are no such orders")
    tell_of_more(page.next_cursor)


def fills(
    *,
    order: Annotated[str | None, typer.Option("--order", metavar="ID", help="Only those of this order.")] = None,
    symbol: SymbolFilter = None,
    count: Count = PAGE,
    cursor: Cursor = None,
    account: AccountOption = None,
    as_json: Json = False,
    api_key: ApiKey = None,
    api_secret: ApiSecret = None,
    admin_key: AdminKey = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """List fills, the newest first."""
    venue = find_venue(url, data_dir, api_key=api_key, api_secret=api_secret, admin_key=admin_key)
    with open_client(venue) as client:
        if account is None:
            page = client.list_fills(symbol=symbol, order_id=order, limit=count, cursor=cursor)
        else:
            page = client.admin.list_fills(account, symbol=symbol, order_id=order, limit=count, cursor=cursor)
    if as_json:
        print_json(document(page))
        return
    if not page.fills:
        messages().print("there are no such fills")
        return
    listed = table(
        name_column("Trade"), name_column("Order"), name_column("Symbol"), "Side", "As",
        *map(number_column, ("Price", "Quantity", "Fee")), name_column("Time"),
    )  # fmt: skip
    for fill in page.fills:
        listed.add_row(
            fill.trade_id,
            fill.order_id,
            fill.symbol,
            _side(fill.side),
            fill.liquidity,
            fill.price,
            fill.quantity,
            f"{fill.fee} {fill.fee_asset}",
            fill.timestamp,
        )
    output().print(listed)
    tell_of_more(page.next_cursor)


def balances(
    *,
    account: AccountOption = None,
    as_json: Json = False,
    api_key: ApiKey = None,
    api_secret: ApiSecret = None,
    admin_key: AdminKey = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Show what an account has: free to use, and held for open orders."""
    venue = find_venue(url, data_dir, api_key=api_key, api_secret=api_secret, admin_key=admin_key)
    with open_client(venue) as client:
        found = client.get_balances() if account is None else client.admin.get_balances(account)
    if as_json:
        print_json(document(found))
        return
    if not found.balances:
        messages().print(f"account {found.account_id} has nothing")
        return
    listed = table(
        name_column("Asset"),
        *map(number_column, ("Free", "Held", "Total")),
        title=f"account {found.account_id}",
    )
    for balance in found.balances:
        total = Decimal(balance.free) + Decimal(balance.held)
        listed.add_row(Text(balance.asset, style="bold"), balance.free, balance.held, format(total, "f"))
    output().print(listed)


def ledger(
    *,
    asset: Annotated[str | None, typer.Option("--asset", metavar="ASSET", help="Only this asset.")] = None,
    cause: Annotated[Cause | None, typer.Option("--cause", help="Only movements with this cause.")] = None,
    count: Count = PAGE,
    cursor: Cursor = None,
    account: AccountOption = None,
    as_json: Json = False,
    api_key: ApiKey = None,
    api_secret: ApiSecret = None,
    admin_key: AdminKey = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """List what has moved on an account, the newest first, with the balance after each movement."""
    venue = find_venue(url, data_dir, api_key=api_key, api_secret=api_secret, admin_key=admin_key)
    with open_client(venue) as client:
        if account is None:
            page = client.list_ledger(asset=asset, cause=cause, limit=count, cursor=cursor)
        else:
            page = client.admin.list_ledger(account, asset=asset, cause=cause, limit=count, cursor=cursor)
    if as_json:
        print_json(document(page))
        return
    if not page.entries:
        messages().print("there are no such entries")
        return
    columns = ("Free by", "Held by", "Free", "Held")
    listed = table(name_column("Time"), "Asset", "Cause", *map(number_column, columns), "Order")
    for entry in page.entries:
        listed.add_row(
            entry.timestamp,
            entry.asset,
            entry.cause,
            _signed(entry.delta_free),
            _signed(entry.delta_held),
            entry.free,
            entry.held,
            shown(entry.order_id),
        )
    output().print(listed)
    tell_of_more(page.next_cursor)


def _show(order: "OrderMessage", *, as_json: bool) -> None:
    if as_json:
        print_json(document(order))
        return
    price = "market" if order.price is None else order.price
    asked = f"{order.quote_quantity} {order.fee_asset}" if order.quote_quantity is not None else order.quantity
    told: dict[str, object | None] = {
        "order": order.order_id,
        "client order id": order.client_order_id,
        "status": _status(order.status),
        "what": f"{order.side} {asked} {order.symbol} at {price}",
        "type": f"{order.type} {order.time_in_force}{' post-only' if order.post_only else ''}",
        "waits for": None if order.triggered else order.stop_price,
        "filled": f"{order.filled_quantity} of {order.quantity}",
        "average price": order.average_price,
        "fee": f"{order.fee} {order.fee_asset}",
        "reason": order.reason,
        "verdict": order.verdict,
        "expires": order.expires_at,
        "placed": order.created_at,
        "changed": order.updated_at,
    }
    output().print(facts({name: value for name, value in told.items() if value is not None}))


def _list(found: "list[OrderMessage]", *, nothing: str) -> None:
    if not found:
        messages().print(nothing)
        return
    listed = table(
        name_column("Order"), name_column("Symbol"), "Side", name_column("Type"),
        *map(number_column, ("Price", "Stop", "Quantity", "Filled", "Average")),
        name_column("Status"), name_column("Client order id"), name_column("Placed"),
    )  # fmt: skip
    for order in found:
        listed.add_row(
            order.order_id,
            order.symbol,
            _side(order.side),
            f"{order.type} {order.time_in_force}",
            shown(order.price),
            shown(order.stop_price),
            order.quantity,
            order.filled_quantity,
            shown(order.average_price),
            _status(order.status),
            shown(order.client_order_id),
            order.created_at,
        )
    output().print(listed)


def _side(side: str) -> Text:
    return Text(side, style=SIDE_STYLES[side])


def _status(status: str) -> Text:
    return Text(status, style=STATUS_STYLES.get(status, ""))


def _signed(amount: str) -> Text:
    number = Decimal(amount)
    return Text(f"{number:+f}" if number else "0", style="green" if number > 0 else "red" if number < 0 else "dim")
