"""The exchange of a running server as the client commands see it: found, opened as a trader or as the administrator."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fauxchange.cli.console import messages
from fauxchange.cli.options import SERVER_PANEL
from fauxchange.cli.remote import ENV_FILE, find_server
from fauxchange.domain.errors import Unauthenticated, Unavailable

if TYPE_CHECKING:
    from fauxchange.client import AsyncClient, Client, Venue

NONE = "-"

ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        metavar="KEY",
        envvar="FX_API_KEY",
        help="API key to trade with (default: that of the demo account, as the data folder says).",
        rich_help_panel=SERVER_PANEL,
    ),
]
ApiSecret = Annotated[
    str | None,
    typer.Option(
        "--api-secret",
        metavar="SECRET",
        envvar="FX_API_SECRET",
        help="Secret of the API key; better in the environment, where the list of processes does not show it.",
        rich_help_panel=SERVER_PANEL,
    ),
]
AdminKey = Annotated[
    str | None,
    typer.Option(
        "--admin-key",
        metavar="KEY",
        help="Key of the administrator (default: ADMIN_KEY, or what the data folder says).",
        rich_help_panel=SERVER_PANEL,
    ),
]
AccountOption = Annotated[
    str | None,
    typer.Option("--account", metavar="ID", help="Another account, looked at as the administrator."),
]
Symbol = Annotated[str, typer.Argument(metavar="SYMBOL", help="A symbol, such as BTC-USD.")]
SymbolFilter = Annotated[str | None, typer.Option("--symbol", metavar="SYMBOL", help="Only this symbol.")]
Count = Annotated[int, typer.Option("--count", metavar="COUNT", min=1, help="How many to show.")]
Cursor = Annotated[
    str | None, typer.Option("--cursor", metavar="CURSOR", help="Go on after a page, as its last line says.")
]


def find_venue(
    url: str | None,
    data_dir: Path | None,
    *,
    api_key: str | None = None,
    api_secret: str | None = None,
    admin_key: str | None = None,
) -> "Venue":
    """Return where the exchange is and who asks, each as given or as the data folder says.

    Raises: ConfigurationError, NotFound if nothing is running there
    """
    from fauxchange.client import venue_at, venue_in
    from fauxchange.platform.settings import load_settings

    if url is not None:
        if admin_key is None:
            configured = load_settings(env_file=ENV_FILE).admin_key
            admin_key = None if configured is None else configured.get_secret_value()
        place = find_server(url, None)
        return venue_at(place.url, api_key=api_key, api_secret=api_secret, admin_key=admin_key)
    folder = load_settings(env_file=ENV_FILE).data_dir if data_dir is None else data_dir.expanduser()
    found = venue_in(folder)
    if admin_key is not None:
        found = replace(found, admin_key=admin_key)
    given = venue_at(found.url, api_key=api_key, api_secret=api_secret)
    return found if given.credentials is None else replace(found, credentials=given.credentials)


@contextmanager
def open_client(venue: "Venue") -> Iterator["Client"]:
    """Yield a client whose failures say what to do on the command line."""
    from fauxchange.client import Client

    with Client(venue) as client, _advised():
        yield client


@asynccontextmanager
async def open_async_client(venue: "Venue") -> AsyncIterator["AsyncClient"]:
    """Yield an asynchronous client whose failures say what to do on the command line."""
    from fauxchange.client import AsyncClient

    async with AsyncClient(venue) as client:
        with _advised():
            yield client


def document(message: Any) -> Any:
    """Return a message as what JSON is made of."""
    import msgspec

    return msgspec.to_builtins(message)


def shown(value: object | None) -> str:
    """Return a value for a cell of a table."""
    return NONE if value is None else str(value)


def tell_of_more(cursor: str | None) -> None:
    """Say how to see the next page, if there is one."""
    if cursor is not None:
        messages().print(f"there are more: --cursor {cursor}", style="dim", markup=False, soft_wrap=True)


@contextmanager
def _advised() -> Iterator[None]:
    from fauxchange.client import NotConnected, Unauthorized

    try:
        yield
    except NotConnected as exc:
        advice = "start it with `fauxchange up`, or name another address"
        raise Unavailable(f"{exc.message}; {advice}") from exc
    except Unauthorized as exc:
        advice = "give --api-key and --api-secret, or --admin-key for administration"
        raise Unauthenticated(f"{exc.message}; {advice}", code=exc.code) from exc
