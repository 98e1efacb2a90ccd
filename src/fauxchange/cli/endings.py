"""How a command ends: its exit code, and what it says on standard error when something is wrong.

* 0: done;
* 1: it failed while running (a server that is away, a stop that took too long, a bug);
* 2: it cannot be done as it was asked for (usage, settings, files, a symbol or a scenario that is not there);
* 130: interrupted with Ctrl-C (Typer sees to that one; a server stops gracefully instead, and exits with 0).
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.text import Text
from typer.core import TyperGroup

from fauxchange.cli.console import EXIT_OK, abandon_output, messages
from fauxchange.domain.errors import (
    ConfigurationError,
    Conflict,
    FauxchangeError,
    Forbidden,
    InvalidRequest,
    NotFound,
    Unauthenticated,
)

EXIT_FAILED = 1
EXIT_USAGE = 2

_ASKED_WRONGLY = (ConfigurationError, InvalidRequest, NotFound, Conflict, Unauthenticated, Forbidden)
_NOT_YET = frozenset({"not_running", "no_price_yet"})
"""Codes of what is only not there at present: asking the same again may succeed."""


class Commands(TyperGroup):
    """The commands, with one place in which their failures become messages and exit codes."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        with reported():
            return super().invoke(ctx)


@contextmanager
def reported() -> Iterator[None]:
    """Turn a failure into a message on standard error and an exit code; other exceptions pass."""
    try:
        yield
        # A reader that has gone is noticed here at the latest, not when the interpreter closes its files.
        sys.stdout.flush()
    except BrokenPipeError:
        abandon_output()
        raise typer.Exit(EXIT_OK) from None
    except FauxchangeError as exc:
        tell_error(exc.message)
        raise typer.Exit(exit_code(exc)) from exc


def exit_code(failure: FauxchangeError) -> int:
    """Return the exit code of a failure."""
    return EXIT_USAGE if isinstance(failure, _ASKED_WRONGLY) and failure.code not in _NOT_YET else EXIT_FAILED


def tell_error(message: str) -> None:
    """Say on standard error what is wrong."""
    messages().print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)


def tell_of_bug() -> None:
    """Say that what happened is a bug, and what to do about it."""
    tell_error(
        "this is a bug in Fauxchange, not your mistake. Please open an issue with the lines above, "
        "the command, and the output of `fauxchange version`."
    )
