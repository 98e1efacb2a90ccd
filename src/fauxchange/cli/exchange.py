"""`book`, `trades`, `instruments`: the markets of a running exchange, once or live."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fauxchange.cli.clients import Count, Symbol, document, find_venue, open_async_client, open_client, shown
from fauxchange.cli.console import messages, name_column, number_column, output, print_json, print_json_line, table
from fauxchange.cli.options import DataDir, Json, Url, examples
from fauxchange.cli.orders import SIDE_STYLES

if TYPE_CHECKING:
    from fauxchange.client import Book, Stream, Venue
    from fauxchange.contracts.exchange.messages import TradeMessage

DEPTH = 10
REFRESHES_PER_S = 8

BOOK_EXAMPLES = examples(
    "fauxchange book BTC-USD",
    "fauxchange book BTC-USD --once --depth 5",
    "fauxchange book BTC-USD --json | jq -r .bids[0][0]",
)
TRADES_EXAMPLES = examples("fauxchange trades BTC-USD", "fauxchange trades BTC-USD --follow --json")
INSTRUMENTS_EXAMPLES = examples("fauxchange instruments", "fauxchange instruments --json")

Levels = Sequence[tuple[str, str]]


def book(
    symbol: Symbol,
    *,
    depth: Annotated[
        int, typer.Option("--depth", metavar="COUNT", min=1, max=1_000, help="How many prices of each side.")
    ] = DEPTH,
    once: Annotated[bool, typer.Option("--once", help="Print the book as it is now, and exit.")] = False,
    as_json: Json = False,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Show the book of a symbol: live on a terminal, else a line for each change.

    The book is kept from the exchange's changes and checked against its checksums. With `--json` each state is one JSON
    object on a line; with `--once` there is one document.
    """
    venue = find_venue(url, data_dir)
    if once:
        with open_client(venue) as client:
            found = client.get_book(symbol, depth=depth)
        if as_json:
            print_json(document(found))
        else:
            output().print(ladder(found.symbol, found.bids, found.asks, f"{found.timestamp}  number {found.sequence}"))
        return
    import asyncio

    if as_json:
        asyncio.run(_print_book(venue, symbol, depth, as_json=True))
    elif sys.stdout.isatty():
        asyncio.run(_show_book(venue, symbol, depth))
    else:
        asyncio.run(_print_book(venue, symbol, depth, as_json=False))


def trades(
    symbol: Symbol,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Print trades as they happen, until Ctrl-C.")] = False,
    count: Count = 20,
    as_json: Json = False,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """List the newest trades of a symbol, or follow them.

    The list leaves out what background traders traded among themselves; `--follow` shows every trade.
    With `--follow` and `--json` each trade is one JSON object on a line.
    """
    venue = find_venue(url, data_dir)
    if follow:
        import asyncio

        asyncio.run(_follow_trades(venue, symbol, as_json=as_json))
        return
    with open_client(venue) as client:
        page = client.list_trades(symbol, limit=count)
    if as_json:
        print_json(document(page))
        return
    if not page.trades:
        messages().print("there has been no trade, unless among background traders: --follow shows theirs too")
        return
    listed = table(name_column("Trade"), "Side", *map(number_column, ("Price", "Quantity")), name_column("Time"))
    for trade in page.trades:
        side = Text(trade.side, style=SIDE_STYLES[trade.side])
        listed.add_row(trade.trade_id, side, trade.price, trade.quantity, trade.timestamp)
    output().print(listed)


def instruments(*, as_json: Json = False, url: Url = None, data_dir: DataDir = None) -> None:
    """List the instruments with their grids, limits and fees."""
    with open_client(find_venue(url, data_dir)) as client:
        found = client.list_instruments()
    if as_json:
        print_json(document(found))
        return
    columns = ("Tick", "Lot", "Min quantity", "Min notional", "Maker fee", "Taker fee")
    listed = table(name_column("Symbol"), "Status", *map(number_column, columns))
    for each in found.instruments:
        listed.add_row(
            Text(each.symbol, style="bold"),
            each.status,
            each.tick_size,
            each.lot_size,
            each.min_quantity,
            shown(each.min_notional),
            each.maker_fee,
            each.taker_fee,
        )
    output().print(listed)


def ladder(symbol: str, bids: Levels, asks: Levels, caption: str) -> Table:
    """Return a book as a table, the best prices of both sides on its first line."""
    drawn = table(*map(number_column, ("Bid quantity", "Bid", "Ask", "Ask quantity")), title=symbol)
    for position in range(max(len(bids), len(asks))):
        bid, bid_quantity = bids[position] if position < len(bids) else ("", "")
        ask, ask_quantity = asks[position] if position < len(asks) else ("", "")
        drawn.add_row(bid_quantity, Text(bid, style="green"), Text(ask, style="red"), ask_quantity)
    drawn.caption = caption
    drawn.caption_justify = "left"
    return drawn


def levels_of(book: "Book", depth: int) -> tuple[Levels, Levels]:
    """Return the best prices and quantities of both sides as text."""
    bids, asks = book.bids(depth), book.asks(depth)
    return (
        [(level.price_text, level.quantity_text) for level in bids],
        [(level.price_text, level.quantity_text) for level in asks],
    )


def line(trade: "TradeMessage") -> str:
    """Return a trade as a line of text in columns."""
    return f"{trade.timestamp} {trade.symbol:<9} {trade.side:<4} {trade.price:>12} {trade.quantity:>14}"


async def _show_book(venue: "Venue", symbol: str, depth: int) -> None:
    # The display draws from a thread of its own: it is handed what no longer changes.
    told: tuple[str, Levels, Levels, str] | None = None

    def rendered() -> Table | Text:
        return Text("waiting for the book", style="dim") if told is None else ladder(*told)

    async with open_async_client(venue) as client, client.book(symbol) as stream:
        with Live(get_renderable=rendered, console=output(), refresh_per_second=REFRESHES_PER_S):
            async for kept in stream:
                told = (kept.symbol, *levels_of(kept, depth), f"{kept.timestamp}  {_state(kept, stream)}  Ctrl-C ends")


async def _print_book(venue: "Venue", symbol: str, depth: int, *, as_json: bool) -> None:
    async with open_async_client(venue) as client, client.book(symbol) as stream:
        async for kept in stream:
            bids, asks = levels_of(kept, depth if as_json else 1)
            if as_json:
                state = {"symbol": kept.symbol, "sequence": kept.sequence, "timestamp": kept.timestamp}
                print_json_line({**state, "bids": bids, "asks": asks})
            else:
                (bid, bid_quantity), (ask, ask_quantity) = _best(bids), _best(asks)
                typer.echo(
                    f"{kept.timestamp} {kept.symbol:<9} {bid_quantity:>14} {bid:>12} {ask:>12} {ask_quantity:>14}"
                )
            sys.stdout.flush()


async def _follow_trades(venue: "Venue", symbol: str, *, as_json: bool) -> None:
    async with open_async_client(venue) as client, client.trades(symbol) as stream:
        async for trade in stream:
            if as_json:
                print_json_line(document(trade))
            else:
                typer.echo(line(trade))
            sys.stdout.flush()


def _best(levels: Levels) -> tuple[str, str]:
    return levels[0] if levels else ("-", "-")


def _state(kept: "Book", stream: "Stream[Any]") -> str:
    checked = "checked" if kept.is_checked else "not checked"
    again = f", connected {stream.connections} times" if stream.connections > 1 else ""
    return f"number {kept.sequence}, {checked}{again}"
