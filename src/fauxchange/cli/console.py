"""How output looks: data on standard output, everything said about it on standard error.

On a terminal there are colours (unless NO_COLOR is set) and live displays; anywhere else plain lines that can be
searched and cut.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

EXIT_OK = 0
PIPED_WIDTH = 160
"""Where nobody sees the edge of a screen, long cells stay whole."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """End quietly: whoever reads (`head`, a pager) has had enough."""
        self.quiet = True
        abandon_output()
        raise typer.Exit(EXIT_OK)


def output() -> Console:
    """Return the console of standard output."""
    return _Console(width=_width(interactive=sys.stdout.isatty()), highlight=False)


def messages() -> Console:
    """Return the console of standard error."""
    return _Console(stderr=True, width=_width(interactive=sys.stderr.isatty()), highlight=False)


def abandon_output() -> None:
    """Send what is still in standard output's buffer nowhere, so that closing it at exit cannot fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def print_json(document: object) -> None:
    """Print a document as JSON: indented on a terminal, in one line elsewhere."""
    typer.echo(json.dumps(document, indent=2 if sys.stdout.isatty() else None))


def print_json_line(document: object) -> None:
    """Print a document as one line of JSON, at once."""
    typer.echo(json.dumps(document, separators=(",", ":")))


def table(*columns: Column | str, title: str | None = None) -> Table:
    """Return an empty table in the style of all our tables."""
    return Table(*columns, box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, header_style="bold")


def number_column(header: str) -> Column:
    """Return a column of numbers, whose ends stand below each other and which are never cut."""
    return Column(header, justify="right", no_wrap=True)


def name_column(header: str) -> Column:
    """Return a column of names, which are never cut."""
    return Column(header, no_wrap=True)


def facts(pairs: Mapping[str, object] | Iterable[tuple[str, object]]) -> Table:
    """Return names and what they stand for, below each other."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for name, value in pairs.items() if isinstance(pairs, Mapping) else pairs:
        grid.add_row(name, value if isinstance(value, Text) else Text(str(value)))
    return grid


def joined(values: Sequence[str]) -> str:
    """Return values as a list for reading."""
    return ", ".join(values)


def _width(*, interactive: bool) -> int | None:
    # None lets rich ask the terminal, or the variable that overrides it.
    return None if interactive or "COLUMNS" in os.environ else PIPED_WIDTH
