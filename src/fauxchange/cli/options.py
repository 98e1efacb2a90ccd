"""Options and arguments that mean the same in several commands, and the words that completion offers."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from fauxchange.domain.intervals import INTERVALS_NS
from fauxchange.venue.services import GATEWAYS, SERVICES

SERVER_PANEL = "Which server"


def examples(*commands: str) -> str:
    """Return an epilog of examples, each on a line of its own."""
    return "\n".join(("[bold]Examples[/bold]", *(f"  [cyan]{command}[/cyan]" for command in commands)))


def complete_service(incomplete: str) -> list[tuple[str, str]]:
    """Return the services that begin so, with their jobs."""
    return [(name, entry.job) for name, entry in {**SERVICES, **GATEWAYS}.items() if name.startswith(incomplete)]


def complete_interval(incomplete: str) -> list[str]:
    """Return usual intervals of prices that begin so."""
    return [name for name in ("10ms", "100ms", "250ms", *INTERVALS_NS) if name.startswith(incomplete)]


def closest(word: str, known: Iterable[str]) -> str:
    """Return a hint at what was perhaps meant, or at all there is."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Data folder of the running server, which says where it listens (default: DATA_DIR).",
        rich_help_panel=SERVER_PANEL,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="Address of the running server, such as http://127.0.0.1:8080, instead of a data folder.",
        rich_help_panel=SERVER_PANEL,
    ),
]
AuditUrl = Annotated[
    str | None,
    typer.Option(
        "--audit-url",
        metavar="URL",
        help="Address of the audit API, such as http://127.0.0.1:8180, instead of a data folder.",
        rich_help_panel=SERVER_PANEL,
    ),
]
AuditKey = Annotated[
    str | None,
    typer.Option(
        "--audit-key",
        metavar="KEY",
        help="Key of the audit API (default: AUDIT_KEY, or what the data folder says).",
        rich_help_panel=SERVER_PANEL,
    ),
]
