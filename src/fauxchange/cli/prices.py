"""`prices`: what a running server prices, once or live."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fauxchange.cli.console import messages, name_column, number_column, output, print_json, print_json_line, table
from fauxchange.cli.options import DataDir, Json, Url, examples
from fauxchange.cli.remote import Api, find_server, path_of
from fauxchange.cli.streams import Reader, follow

EXAMPLES = examples(
    "fauxchange prices",
    "fauxchange prices BTC-USD ETH-USD",
    "fauxchange prices --once --json",
    "fauxchange prices --json | jq -r .mid",
)
REFRESHES_PER_S = 8
RATE_WINDOW_S = 5
NO_PRICE = "-"


def prices(
    symbols: Annotated[
        list[str] | None, typer.Argument(metavar="SYMBOL", help="Symbols such as BTC-USD; all if none is named.")
    ] = None,
    *,
    once: Annotated[bool, typer.Option("--once", help="Print the prices as they are now, and exit.")] = False,
    as_json: Json = False,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Show the prices of a running server: a live table on a terminal, else a line for each price.

    With `--json` each price is one JSON object on a line; with `--once` there is one document.
    A connection that is lost is taken up again where it ended.
    """
    if once:
        _print_once(symbols or [], url, data_dir, as_json=as_json)
        return
    import asyncio

    reader = Reader("prices", symbols or ())
    find_url = lambda: find_server(url, data_dir).url  # noqa: E731 - bound here to what was asked for
    if as_json:
        asyncio.run(_stream(reader, find_url, print_json_line))
    elif sys.stdout.isatty():
        asyncio.run(_show_live(reader, find_url))
    else:
        asyncio.run(_stream(reader, find_url, lambda price: typer.echo(line(price))))


def line(price: dict[str, Any]) -> str:
    """Return a price as a line of text in columns."""
    last = price["last"] or NO_PRICE
    return (
        f"{price['timestamp']} {price['symbol']:<9} {price['bid']:>12} {price['ask']:>12} {price['mid']:>13} {last:>12}"
    )


@dataclass(slots=True)
class Row:
    """What is known of one symbol. Units: *_s in seconds of the clock that the board is told."""

    price: dict[str, Any]
    first_mid: Decimal
    updated_s: float
    arrivals: deque[float] = field(default_factory=deque)

    @property
    def change(self) -> Decimal:
        """The change of the mid since the first price seen, as a fraction."""
        return Decimal(self.price["mid"]) / self.first_mid - 1


class Board:
    """The latest price of each symbol, how it has moved since the board began, and how often it comes."""

    def __init__(self, now_s: float) -> None:
        self._begun_s = now_s
        self.rows: dict[str, Row] = {}

    def take(self, price: dict[str, Any], now_s: float, *, update: bool = True) -> None:
        """Put a price on the board; one that was there before we looked is no update."""
        row = self.rows.get(price["symbol"])
        if row is None:
            row = self.rows[price["symbol"]] = Row(price, Decimal(price["mid"]), now_s)
        row.price, row.updated_s = price, now_s
        if update:
            row.arrivals.append(now_s)

    def rate(self, row: Row, now_s: float) -> float:
        """Return how many updates a second came lately."""
        while row.arrivals and row.arrivals[0] <= now_s - RATE_WINDOW_S:
            row.arrivals.popleft()
        watched_s = min(RATE_WINDOW_S, now_s - self._begun_s)
        # The first moments say nothing about a rate.
        return len(row.arrivals) / watched_s if watched_s >= 1 else 0.0

    def render(self, now_s: float) -> Table:
        """Return the board as a table."""
        shown = table(
            name_column("Symbol"), *map(number_column, ("Bid", "Ask", "Mid", "Last", "Change", "Age", "Rate"))
        )
        for row in self.rows.values():
            price = row.price
            shown.add_row(
                Text(price["symbol"], style="bold"),
                price["bid"],
                price["ask"],
                price["mid"],
                price["last"] or NO_PRICE,
                Text(f"{row.change:+.3%}", style="green" if row.change > 0 else "red" if row.change < 0 else "dim"),
                f"{now_s - row.updated_s:.1f} s",
                f"{self.rate(row, now_s):.1f}/s",
            )
        return shown


def _print_once(symbols: Sequence[str], url: str | None, data_dir: Path | None, *, as_json: bool) -> None:
    with Api(find_server(url, data_dir)) as api:
        if symbols:
            found = [api.get("/api/v1" + path_of("prices", symbol)) for symbol in symbols]
        else:
            found = api.get("/api/v1/prices")["prices"]
    if as_json:
        print_json({"prices": found})
        return
    shown = table(name_column("Symbol"), *map(number_column, ("Bid", "Ask", "Mid", "Last")), "Time")
    for price in found:
        shown.add_row(
            price["symbol"], price["bid"], price["ask"], price["mid"], price["last"] or NO_PRICE, price["timestamp"]
        )
    output().print(shown)


async def _stream(reader: Reader, find_url: Callable[[], str], show: Callable[[dict[str, Any]], None]) -> None:
    async with aclosing(follow(reader, find_url, notice=_tell)) as batches:
        async for batch in batches:
            for message in batch:
                show(message.data)
            sys.stdout.flush()


async def _show_live(reader: Reader, find_url: Callable[[], str]) -> None:
    board = Board(time.monotonic())
    state = ""

    def notice(text: str) -> None:
        nonlocal state
        state = text

    def rendered() -> Table:
        shown = board.render(time.monotonic())
        gaps = f"{reader.gaps} gaps" if reader.gaps else ""
        shown.caption = "  ".join(_present([state, gaps, "Ctrl-C ends"]))
        shown.caption_justify = "left"
        return shown

    with Live(get_renderable=rendered, console=output(), refresh_per_second=REFRESHES_PER_S):
        async with aclosing(follow(reader, find_url, notice=notice)) as batches:
            async for batch in batches:
                state = ""
                now_s = time.monotonic()
                for message in batch:
                    board.take(message.data, now_s, update=message.type != "snapshot")


def _tell(text: str) -> None:
    messages().print(text, style="dim", markup=False, soft_wrap=True)


def _present(texts: Iterable[str]) -> list[str]:
    return [text for text in texts if text]
