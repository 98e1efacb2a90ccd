"""`config` and `check-env`: what can be set, and whether a `.env` sets it well."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column

from fauxchange.cli.console import output, print_json, table
from fauxchange.cli.endings import EXIT_FAILED, tell_error
from fauxchange.cli.options import Json, examples
from fauxchange.domain.errors import NotFound

CONFIG_EXAMPLES = examples(
    "fauxchange config", "fauxchange config retention", "fauxchange config --json", "fauxchange config --example > .env"
)


def config(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORD", help="Only settings whose name or meaning has all of these."),
    ] = None,
    *,
    as_json: Json = False,
    example: Annotated[bool, typer.Option("--example", help="Print a .env with every setting at its default.")] = False,
) -> None:
    """List every setting with its default, its unit and its meaning.

    They are taken from the environment, then from `.env`, then from the file that `--config` names.
    """
    from fauxchange.platform.settings import documented_settings, env_example

    if example:
        typer.echo(env_example(), nl=False)
        return
    wanted = [word.casefold() for word in words or ()]
    rows = [
        row
        for row in documented_settings()
        if all(word in f"{row.name} {row.description} {row.group}".casefold() for word in wanted)
    ]
    if not rows:
        raise NotFound(f"no setting has {' and '.join(words or ())} in its name or meaning; leave it out to see all")
    if as_json:
        print_json({"settings": [asdict(row) for row in rows]})
        return
    listed = table(Column("Setting", no_wrap=True), "Default", "Unit", "Meaning")
    group = ""
    for row in rows:
        if row.group != group:
            group = row.group
            listed.add_section()
        listed.add_row(row.name, row.default, row.unit, row.description)
    output().print(listed, markup=False)


def check_env(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The file to check.", show_default=True)] = Path(".env"),
) -> None:
    """Check a `.env`: exit with 1 and name everything that is wrong, if it is missing or has bad values."""
    from fauxchange.platform.settings import check_env_file

    problems = check_env_file(path)
    if problems:
        for problem in problems:
            tell_error(problem)
        if path.exists():
            tell_error(f"correct {path}, or copy .env.example to {path} and change what you need")
        raise typer.Exit(EXIT_FAILED)
    typer.echo(f"{path} is good")
