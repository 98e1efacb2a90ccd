"""The command line as a whole: every command under its name."""

import platform
from typing import Annotated

import typer

from fauxchange import __version__
from fauxchange.cli import (
    accounts,
    benchmarks,
    calibration,
    configuration,
    db,
    documentation,
    exchange,
    generating,
    orders,
    prices,
    scenarios,
    services,
    serving,
    similarity,
    stores,
    warming,
)
from fauxchange.cli.console import print_json
from fauxchange.cli.endings import Commands
from fauxchange.cli.options import Json, examples

app = typer.Typer(
    name="fauxchange",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    # Bugs are shown by `__main__`, with plain tracebacks that can be pasted into a report.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "fauxchange up",
        "fauxchange prices",
        "fauxchange order buy BTC-USD 0.01",
        "fauxchange scenario start crash --magnitude 20%",
    ),
)

_SERVERS = "Run"
_CLIENTS = "Use a running server"
_TOOLS = "Look up and measure"

app.command("up", rich_help_panel=_SERVERS, epilog=serving.UP_EXAMPLES)(serving.up)
app.command("serve", rich_help_panel=_SERVERS, epilog=serving.SERVE_EXAMPLES)(serving.serve)
app.command("prices", rich_help_panel=_CLIENTS, epilog=prices.EXAMPLES)(prices.prices)
app.add_typer(scenarios.commands, name="scenario", rich_help_panel=_CLIENTS)
app.add_typer(orders.commands, name="order", rich_help_panel=_CLIENTS)
app.command("orders", rich_help_panel=_CLIENTS, epilog=orders.ORDERS_EXAMPLES)(orders.orders)
app.command("fills", rich_help_panel=_CLIENTS, epilog=orders.FILLS_EXAMPLES)(orders.fills)
app.command("balances", rich_help_panel=_CLIENTS, epilog=orders.BALANCES_EXAMPLES)(orders.balances)
app.command("ledger", rich_help_panel=_CLIENTS, epilog=orders.LEDGER_EXAMPLES)(orders.ledger)
app.command("book", rich_help_panel=_CLIENTS, epilog=exchange.BOOK_EXAMPLES)(exchange.book)
app.command("trades", rich_help_panel=_CLIENTS, epilog=exchange.TRADES_EXAMPLES)(exchange.trades)
app.command("instruments", rich_help_panel=_CLIENTS, epilog=exchange.INSTRUMENTS_EXAMPLES)(exchange.instruments)
app.add_typer(accounts.commands, name="accounts", rich_help_panel=_CLIENTS)
app.command("services", rich_help_panel=_CLIENTS, epilog=services.EXAMPLES)(services.services)
app.add_typer(stores.commands, name="exchange", rich_help_panel=_TOOLS)
app.add_typer(db.commands, name="db", rich_help_panel=_TOOLS)
app.command("calibrate", rich_help_panel=_TOOLS, epilog=calibration.EXAMPLES)(calibration.calibrate)
app.command("similarity", rich_help_panel=_TOOLS, epilog=similarity.EXAMPLES)(similarity.similarity)
app.command("bench", rich_help_panel=_TOOLS, epilog=benchmarks.EXAMPLES)(benchmarks.bench)
app.add_typer(configuration.commands, name="config", rich_help_panel=_TOOLS)
app.command("generate", rich_help_panel=_TOOLS, epilog=generating.EXAMPLES)(generating.generate)
app.command("check-env", rich_help_panel=_TOOLS)(documentation.check_env)
app.command("warm-up", rich_help_panel=_TOOLS, epilog=warming.EXAMPLES)(warming.warm_up)


def _system() -> str:
    # Not `platform.platform()`: that reads the whole interpreter to learn the version of its libc.
    return f"{platform.system()} {platform.release()} {platform.machine()}"


def _tell_version(asked: bool) -> None:
    if asked:
        version()
        raise typer.Exit


@app.callback()
def _fauxchange(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_tell_version, is_eager=True),
    ] = False,
) -> None:
    """Run a trading ecosystem on a laptop: realistic market data, and an exchange that breaks on purpose."""


@app.command("version", rich_help_panel=_TOOLS)
def version(*, as_json: Json = False) -> None:
    """Print the version of Fauxchange, of Python and of the system: what a bug report should name."""
    if as_json:
        print_json({"version": __version__, "python": platform.python_version(), "platform": _system()})
        return
    typer.echo(f"fauxchange {__version__} (Python {platform.python_version()}, {_system()})")
