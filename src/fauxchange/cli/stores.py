"""`exchange verify` and `exchange rebuild`: what is stored, checked and made anew while the venue does not run."""

import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fauxchange.cli.console import facts, messages, output, print_json
from fauxchange.cli.options import Json, examples
from fauxchange.cli.progress import LateProgress

ENV_FILE = Path(".env")

EXAMPLES = examples("fauxchange exchange verify", "fauxchange exchange rebuild --data-dir .fauxchange")

commands = typer.Typer(
    name="exchange",
    help="Check the exchange's stores, or make its read models anew, while the venue does not run.",
    no_args_is_help=True,
    epilog=EXAMPLES,
)

StoppedFolder = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Data folder of the venue, which is stopped (default: the database of POSTGRES_URL, else DATA_DIR).",
    ),
]


class CommandsProgress(LateProgress):
    """Progress over the commands of a journal."""

    def __init__(self, *, shown: bool, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__(_commands_bar, shown=shown, now_s=now_s)

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show how far it is. Units: commands."""
        self.show(what, what.capitalize(), done, total)


def _commands_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("commands"),
        TimeRemainingColumn(),
        console=messages(),
        transient=True,
    )


@commands.command("verify")
def verify(*, data_dir: StoppedFolder = None, as_json: Json = False) -> None:
    """Check journal, audit trail and snapshots: carry everything out anew and compare.

    Names the first bad record, and exits with 1, if something was lost or changed.
    """
    import asyncio

    from fauxchange.venue.offline import verify as verify_stores

    with CommandsProgress(shown=sys.stderr.isatty()) as progress:
        found = asyncio.run(verify_stores(*_place(data_dir), progress))
    if as_json:
        print_json(asdict(found))
        return
    output().print(
        facts(
            [
                ("Commands", f"{found.commands:,}, none missing, none changed"),
                ("Events", f"{found.events:,}"),
                ("Audit trail", f"{found.records:,} records, chained, ending in {found.trail_hash[:16]}…"),
                ("Snapshots", f"{found.snapshots}, each the state that the journal leads to"),
                ("State hash", found.state_hash),
            ]
        )
    )


@commands.command("rebuild")
def rebuild(*, data_dir: StoppedFolder = None, as_json: Json = False) -> None:
    """Make the read models (orders, fills, ledger, accounts, audit trail) anew from the journal."""
    import asyncio

    from fauxchange.venue.offline import rebuild as rebuild_stores

    with CommandsProgress(shown=sys.stderr.isatty()) as progress:
        done = asyncio.run(rebuild_stores(*_place(data_dir), progress))
    if as_json:
        print_json({"commands": done.followed})
        return
    output().print(f"Rebuilt from {done.followed:,} commands.")


def _place(given: Path | None) -> tuple[Path, str | None]:
    """Return the data folder, and the database in whose place it is not looked at."""
    if given is not None:
        return given, None
    from fauxchange.platform.settings import load_settings

    settings = load_settings(env_file=ENV_FILE)
    url = settings.postgres_url
    return settings.data_dir, None if url is None else url.get_secret_value()
