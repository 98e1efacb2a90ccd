"""`similarity --book`: how alike the order book that the background flow makes is to recorded ones."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from fauxchange.cli.console import facts, messages, number_column, output, print_json, table
from fauxchange.cli.progress import LateProgress
from fauxchange.cli.remote import ENV_FILE
from fauxchange.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fauxchange.realism.book.report import BookSimilarity
    from fauxchange.realism.book.targets import BookTargets

DEFAULT_MINUTES = 30
_WORDS = {"book": "Simulating the book", "impact": "Trying users' orders"}
_STYLES = {"inside": "green", "below": "bold red", "above": "bold red"}
_MARKS = {"inside": "✓", "below": "▼", "above": "▲", "told": "·", "unknown": "?"}


def show_book_similarity(
    *,
    symbol: str | None,
    minutes: float | None,
    intensity: str | None,
    seed: int,
    real_trades: Path | None,
    real_quotes: Path | None,
    real_book: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Simulate a book, hold it against recorded ones, and tell."""
    from fauxchange.domain.instruments import parse_symbol
    from fauxchange.platform.settings import load_settings
    from fauxchange.realism.book.report import book_similarity, document_of
    from fauxchange.realism.book.simulated import BookSimulation

    settings = load_settings(env_file=ENV_FILE)
    if symbol is not None and ("," in symbol or symbol.strip().lower() == "all"):
        raise InvalidRequest("--book measures one symbol at a time: --symbol BTC-USD", field="symbol")
    named = parse_symbol(symbol) if symbol is not None else settings.default_symbols[0]
    seconds = round((minutes or DEFAULT_MINUTES) * 60)
    simulation = BookSimulation(
        instrument=settings.instrument(named), seconds=seconds, seed=seed, intensity=intensity or "busy"
    )
    against = _targets(real_trades, real_quotes, real_book)
    with _Working(shown=sys.stderr.isatty()) as working:
        similarity = book_similarity(simulation, against=against, told=working)
    if html is not None:
        from fauxchange.realism.book.page import page
        from fauxchange.realism.files import write_whole

        with messages().status("Drawing the report"):
            write_whole(html, page(similarity).encode())
    if as_json:
        print_json(document_of(similarity))
        return
    console = output()
    for part in _parts(similarity):
        console.print(part)
    if html is not None:
        console.print(f"\nThe report with its plots: {html}", markup=False, soft_wrap=True)


class _Working(LateProgress):
    """Progress of simulating."""

    def __init__(self, *, shown: bool) -> None:
        super().__init__(_bar, shown=shown)

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show how far a piece of work is."""
        self.show(name, _WORDS[name], done, total)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=messages(), transient=True
    )


def _targets(trades: Path | None, quotes: Path | None, book: Path | None) -> "BookTargets | None":
    """Return what the user's own recording shows, None if there is none."""
    from fauxchange.realism.book.recorded import tape_of_files, tape_of_stream
    from fauxchange.realism.book.targets import own_targets

    if (trades is None) != (quotes is None):
        raise InvalidRequest("--real-trades and --real-quotes belong together: name both, or a whole --real-book")
    if trades is not None and quotes is not None:
        return own_targets(tape_of_files(trades, quotes, depth=book))
    return None if book is None else own_targets(tape_of_stream(book))


def _parts(similarity: "BookSimilarity") -> list["RenderableType"]:
    shown = table(
        "Statistic", *map(number_column, ("Value", "Recorded range")), "Inside?", number_column("Windows"), "Meaning"
    )
    for row in similarity.rows:
        span = "-" if row.range is None else f"{_text(row.range.low)} .. {_text(row.range.high)}"
        shown.add_row(
            row.statistic.name,
            _text(row.value),
            span,
            Text(f"{_MARKS[row.state]} {row.state}", style=_STYLES.get(row.state, "dim")),
            "-" if row.state == "told" else _percent(row.coverage),
            Text(row.statistic.meaning, style="dim"),
        )
    laws = table("Impact", *map(number_column, ("Value", "Known range")), "Inside?", "Meaning")
    for law in similarity.laws:
        laws.add_row(
            law.name,
            _text(law.value),
            f"{law.range.low} .. {law.range.high}",
            Text(f"{_MARKS[law.state]} {law.state}", style=_STYLES.get(law.state, "dim")),
            Text(law.meaning, style="dim"),
        )
    return [
        Text(similarity.name, style="bold"),
        Padding(Text(similarity.verdict), (0, 0, 1, 0)),
        shown,
        *([laws] if similarity.laws else []),
        facts({**similarity.origin, "against": similarity.against.name}),
    ]


def _text(value: float) -> str:
    from fauxchange.realism.report.words import number

    return number(value)


def _percent(share: float) -> str:
    from fauxchange.realism.report.words import percent

    return percent(share)
