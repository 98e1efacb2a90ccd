"""`db`: bring the schema of a PostgreSQL database up to date, look where it stands, and print its roles."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fauxchange.cli.console import facts, output, print_json
from fauxchange.cli.endings import EXIT_FAILED, tell_error
from fauxchange.cli.options import Json, examples
from fauxchange.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from fauxchange.data.postgres.connections import PostgresConfig

ENV_FILE = Path(".env")
CONNECT_TIMEOUT_S = 10.0

EXAMPLES = examples(
    "fauxchange db check",
    "POSTGRES_URL=postgresql://owner:secret@db/trading_ecosystem fauxchange db upgrade",
    "fauxchange db roles > roles.sql",
)

commands = typer.Typer(
    name="db",
    help="Look after the schema of a PostgreSQL database (POSTGRES_URL).",
    no_args_is_help=True,
    epilog=EXAMPLES,
)

DatabaseUrl = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="The database, instead of POSTGRES_URL.", show_default=False)
]


@commands.command("upgrade")
def upgrade(*, url: DatabaseUrl = None, as_json: Json = False) -> None:
    """Bring the schema up to date, and give the services' roles that exist their rights.

    Run it as the owner of the database. Upgrades at the same time wait for each other, and each happens as a whole or
    not at all.
    """
    import asyncio

    from fauxchange.data.postgres.connections import describe
    from fauxchange.data.postgres.schema import upgrade as upgrade_schema

    config = _config(url)
    before, now = asyncio.run(upgrade_schema(config))
    if as_json:
        print_json({"database": describe(config.url), "before": before, "now": now})
    elif before == now:
        typer.echo(f"{describe(config.url)} is up to date ({now}).")
    else:
        typer.echo(f"{describe(config.url)} is upgraded from {before or 'nothing'} to {now}.")


@commands.command("current")
def current(*, url: DatabaseUrl = None, as_json: Json = False) -> None:
    """Print the migration that the database has reached, and the one that this program needs."""
    import asyncio

    from fauxchange.data.migrations import HEAD
    from fauxchange.data.postgres.connections import describe
    from fauxchange.data.postgres.schema import reached

    config = _config(url)
    found = asyncio.run(reached(config))
    if as_json:
        print_json({"database": describe(config.url), "current": found, "needed": HEAD})
        return
    output().print(facts([("Database", describe(config.url)), ("Reached", found or "nothing"), ("Needed", HEAD)]))


@commands.command("check")
def check(*, url: DatabaseUrl = None, as_json: Json = False) -> None:
    """Compare the live schema with what this program needs; exit with 1 and say what to do if it is another."""
    import asyncio

    from fauxchange.data.migrations import HEAD
    from fauxchange.data.postgres.connections import describe
    from fauxchange.data.postgres.schema import differences, reached

    async def look() -> tuple[str | None, list[str]]:
        return await reached(config), await differences(config)

    config = _config(url)
    found, differing = asyncio.run(look())
    name = describe(config.url)
    if as_json:
        print_json({"database": name, "current": found, "needed": HEAD, "differences": differing})
    elif found is not None and found > HEAD:
        tell_error(f"{name} is at {found}, newer than this program, which needs {HEAD}; update the program")
    elif found != HEAD:
        tell_error(f"{name} is at {found or 'nothing'} and {HEAD} is needed; run `fauxchange db upgrade` as its owner")
    elif differing:
        for line in differing:
            tell_error(line)
        tell_error(f"{name} is at {HEAD}, but its tables were changed by hand; change them back")
    else:
        typer.echo(f"{name} is as it should be ({HEAD}).")
    if found != HEAD or differing:
        raise typer.Exit(EXIT_FAILED)


@commands.command("roles")
def roles(
    *,
    database: Annotated[
        str | None,
        typer.Option("--database", metavar="NAME", help="Name of the database (default: trading_ecosystem)."),
    ] = None,
) -> None:
    """Print the SQL that makes the database, its owner and a role for each service; psql runs it as a superuser.

    Passwords are variables of psql, `-v market_data_adapter_password=...` and so on. Rights on tables come with
    `fauxchange db upgrade`.
    """
    from fauxchange.data.postgres.roles import DATABASE, bootstrap_sql

    typer.echo(bootstrap_sql(database or DATABASE), nl=False)


def _config(url: str | None) -> "PostgresConfig":
    from fauxchange.data.postgres.connections import PostgresConfig

    if url is None:
        from fauxchange.platform.settings import load_settings

        secret = load_settings(env_file=ENV_FILE).postgres_url
        if secret is None:
            raise ConfigurationError("no database is named; set POSTGRES_URL or give --url", field="POSTGRES_URL")
        url = secret.get_secret_value()
    return PostgresConfig(url=url, connect_timeout_s=CONNECT_TIMEOUT_S, application_name="fauxchange db")
