"""`similarity`: how alike a generated market is to a real one, fact by fact, with plots."""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from fauxchange.cli.book_similarity import show_book_similarity
from fauxchange.cli.console import facts, joined, messages, name_column, number_column, output, print_json, table
from fauxchange.cli.options import Json, examples
from fauxchange.cli.progress import LateProgress
from fauxchange.cli.remote import ENV_FILE
from fauxchange.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Column

    from fauxchange.platform.settings import Settings
    from fauxchange.realism.bars import Bars
    from fauxchange.realism.reference import Reference
    from fauxchange.realism.report.comparing import Comparison, Correlations, Similarity
    from fauxchange.realism.report.markets import Generated

EXIT_BELOW = 1
ALL = "all"
MOST_WEEKS = 520.0
MOST_SEEDS = 100
DEFAULT_SEEDS = 3
WIDE = 110
"""Columns from which what a row says stands in the row, and not below the table."""
_STYLES = {"inside": "green", "below": "bold red", "above": "bold red"}

EXAMPLES = examples(
    "fauxchange similarity",
    "fauxchange similarity --symbol all --html report.html",
    "fauxchange similarity --model model.toml --real btc_usdt_1m.csv.gz --html report.html",
    "fauxchange similarity --generated out/btc_usd_1m.csv.gz --reference BTC --json",
    "fauxchange similarity --model gbm",
    "fauxchange similarity --fail-below 25 --weeks 16 --seeds 3",
    "fauxchange similarity --book --minutes 30 --html book.html",
)


def similarity(
    *,
    symbol: Annotated[
        str | None,
        typer.Option(
            "--symbol",
            metavar="BTC-USD,...|all",
            help="Which symbols; `all` of DEFAULT_SYMBOLS (default: those of the files, else BTC-USD).",
        ),
    ] = None,
    real: Annotated[
        list[str] | None,
        typer.Option(
            "--real",
            metavar="[SYMBOL=]FILE",
            help="Real one-minute bars, trades or quotes to measure by; "
            "repeatable. Its own days give the ranges, unless --reference names others.",
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="BTC|ETH|ALT",
            help="Shipped ranges of real weeks of several years (default: those of the symbol).",
        ),
    ] = None,
    generated: Annotated[
        list[str] | None,
        typer.Option("--generated", metavar="[SYMBOL=]FILE", help="Generated bars or ticks to judge; repeatable."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="FILE|NAME",
            help="A model file to simulate with, or lmv-j or gbm (default: the shipped model).",
        ),
    ] = None,
    weeks: Annotated[
        float | None, typer.Option("--weeks", min=1.0, max=MOST_WEEKS, help="Weeks to simulate per seed (default: 16).")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, max=MOST_SEEDS, help="How many seeds, from 1 on (default: 3).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="NUMBER", help="The first seed.")] = 1,
    step: Annotated[
        str | None, typer.Option("--step", metavar="DURATION", help="Step of the model (default: 1s).")
    ] = None,
    scenario: Annotated[
        Path | None,
        typer.Option(
            "--scenario",
            metavar="FILE",
            help="Scenarios that run from the start of every seed: what they "
            "set is not counted, the rest is judged on what is left.",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report with its plots as one page.")
    ] = None,
    book: Annotated[
        bool,
        typer.Option("--book", help="Compare the book that the background flow makes with recorded books."),
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=6.0, max=1440.0, help="With --book: minutes to simulate (default: 30)."),
    ] = None,
    intensity: Annotated[
        Literal["calm", "busy"] | None, typer.Option("--intensity", help="With --book: how busy (default: busy).")
    ] = None,
    real_trades: Annotated[
        Path | None, typer.Option("--real-trades", metavar="FILE", help="With --book: your own recorded trades.")
    ] = None,
    real_quotes: Annotated[
        Path | None, typer.Option("--real-quotes", metavar="FILE", help="With --book: the quotes of the same time.")
    ] = None,
    real_book: Annotated[
        Path | None, typer.Option("--real-book", metavar="FILE", help="With --book: your recorded stream of a book.")
    ] = None,
    fail_below: Annotated[
        int | None,
        typer.Option("--fail-below", metavar="N", min=0, help="End with 1 if a symbol has fewer than N facts inside."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare a generated market with a real one: 27 facts of weeks of one-minute prices, distances, correlations.

    Without --generated, weeks are simulated with the model that the feed runs. A page written with --html opens in
    any browser and needs nothing else.
    """
    if html is not None:
        _check_target(html)
    if book:
        of_simulation = {"--weeks": weeks, "--seeds": seeds, "--step": step, "--scenario": scenario, "--model": model}
        of_prices = {"--real": real, "--reference": reference, "--generated": generated, "--fail-below": fail_below}
        _refuse_with_book({**of_simulation, **of_prices})
        show_book_similarity(
            symbol=symbol,
            minutes=minutes,
            intensity=intensity,
            seed=seed,
            real_trades=real_trades,
            real_quotes=real_quotes,
            real_book=real_book,
            html=html,
            as_json=as_json,
        )
        return
    of_tape = {"--real-trades": real_trades, "--real-quotes": real_quotes, "--real-book": real_book}
    _refuse_without_book({"--minutes": minutes, "--intensity": intensity, **of_tape})
    if generated:
        simulating = {"--model": model, "--weeks": weeks, "--seeds": seeds, "--step": step, "--scenario": scenario}
        _refuse(simulating, "--generated")
    compared = _of_prices(
        symbol=symbol,
        real=real or (),
        reference=reference,
        generated=generated or (),
        simulated=_Simulated(model, weeks, range(seed, seed + (seeds or DEFAULT_SEEDS)), step, scenario),
    )
    if html is not None:
        _write(compared, html)
    _tell(compared, html, as_json=as_json)
    _fail_below(compared, fail_below)


class _Simulated(NamedTuple):
    """What is simulated, as it was asked for."""

    model: str | None
    weeks: float | None
    seeds: range
    step: str | None
    scenario: Path | None


def _of_prices(
    *,
    symbol: str | None,
    real: Sequence[str],
    reference: str | None,
    generated: Sequence[str],
    simulated: _Simulated,
) -> "Similarity":
    from fauxchange.platform.settings import load_settings

    settings = load_settings(env_file=ENV_FILE)
    with _Working(shown=sys.stderr.isatty()) as working:
        recordings = _read(real, working)
        files = _read(generated, working)
        symbols = _symbols(symbol, files or recordings, files or settings.default_symbols)
        # Whatever can be refused is refused before minutes of work.
        measures = _measures(symbols, recordings, reference)
        if generated:
            market = _of_files(files, symbols, generated)
        else:
            market = _simulated(settings, symbols, simulated, working)
        return _compared(market, measures, joined([Path(text).name for text in real]), working)


class _Working(LateProgress):
    """Progress of simulating and reading."""

    def __init__(self, *, shown: bool) -> None:
        super().__init__(_bar, shown=shown)

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show how far a piece of work is."""
        self.show(name, name if name.startswith("Reading") else f"Simulating {name}", done, total)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=messages(), transient=True
    )


def _refuse(given: Mapping[str, object], with_option: str) -> None:
    for name, value in given.items():
        if value is not None:
            raise InvalidRequest(f"{name} is about simulating, which {with_option} does without: leave one of them out")


def _refuse_without_book(given: Mapping[str, object]) -> None:
    for name, value in given.items():
        if value is not None:
            raise InvalidRequest(f"{name} is about order books: add --book")


def _refuse_with_book(given: Mapping[str, object]) -> None:
    for name, value in given.items():
        if value is not None:
            raise InvalidRequest(f"{name} is about weeks of prices, and --book about minutes of a book: leave one out")


def _check_target(target: Path) -> None:
    # Before minutes of work, not after.
    from fauxchange.realism.files import need_target
    from fauxchange.realism.report.pictures import need_matplotlib

    need_matplotlib()
    need_target(target)


def _symbols(text: str | None, there: Iterable[str], every: Iterable[str]) -> tuple[str, ...]:
    """Return the symbols that are meant: those named, else those that are there, else the first of all."""
    from fauxchange.domain.instruments import parse_symbol

    if text is None:
        return tuple(there) or tuple(every)[:1]
    if text.strip().lower() == ALL:
        return tuple(every)
    named = dict.fromkeys(parse_symbol(part) for part in text.split(",") if part.strip())
    if not named:
        raise InvalidRequest("--symbol names no symbol; write it as BTC-USD,ETH-USD or all")
    return tuple(named)


def _read(given: Sequence[str], working: _Working) -> dict[str, "Bars"]:
    from fauxchange.realism.report.markets import read
    from fauxchange.services.market_data.clients.layouts import parse_replay_argument

    return read([parse_replay_argument(text) for text in given], working)


def _measures(
    symbols: Sequence[str], recordings: Mapping[str, "Bars"], reference: str | None
) -> dict[str, tuple["Reference", "Bars | None"]]:
    """Return what each symbol is held against, with its recording if there is one."""
    from fauxchange.realism.reference import bootstrap_reference, reference_for
    from fauxchange.realism.reference import reference as shipped
    from fauxchange.realism.report.comparing import require_measurable
    from fauxchange.realism.report.markets import matching

    measures = {}
    for symbol in symbols:
        real = matching(symbol, recordings)
        if recordings and real is None:
            raise InvalidRequest(f"--real has nothing of {symbol}; it has {joined(list(recordings))}")
        if real is not None:
            require_measurable(real)
        if reference is not None:
            against = shipped(reference)
        else:
            against = reference_for(symbol) if real is None else bootstrap_reference(real)
        measures[symbol] = against, real
    return measures


def _of_files(series: Mapping[str, "Bars"], symbols: Sequence[str], files: Sequence[str]) -> "Generated":
    from fauxchange.realism.report.markets import Generated

    missing = [each for each in symbols if each not in series]
    if missing:
        raise InvalidRequest(f"--generated has no {joined(missing)}; it has {joined(list(series))}")
    return Generated(
        runs={"file": {each: series[each] for each in symbols}},
        origin={"generated": joined([Path(text).name for text in files])},
    )


def _simulated(settings: "Settings", symbols: Sequence[str], asked: _Simulated, working: _Working) -> "Generated":
    from fauxchange.domain.times import NS_PER_S, parse_duration
    from fauxchange.realism.report.markets import DEFAULT_WEEKS, Simulation, model_named, simulated
    from fauxchange.services.market_data.app.scenarios import read_scenario_file

    simulation = Simulation(
        model=model_named(asked.model),
        instruments=[settings.instrument(each) for each in symbols],
        weeks=asked.weeks or DEFAULT_WEEKS,
        seeds=tuple(asked.seeds),
        step_ns=NS_PER_S if asked.step is None else parse_duration(asked.step),
        initial_prices={each: settings.initial_price(each) for each in symbols},
        scenarios=() if asked.scenario is None else read_scenario_file(asked.scenario),
    )
    return simulated(simulation, working)


def _compared(
    market: "Generated",
    measures: Mapping[str, tuple["Reference", "Bars | None"]],
    real_files: str,
    working: _Working,
) -> "Similarity":
    from fauxchange.realism.report.comparing import Similarity, compare, correlate

    comparisons = []
    for done, (symbol, (against, real)) in enumerate(measures.items()):
        working.show("judging", "Judging", done, len(measures))
        runs = market.of(symbol)
        comparisons.append(
            compare(symbol, runs, against=against, real=real, real_name=real_files, overlays=market.overlays)
        )
    return Similarity(
        comparisons=tuple(comparisons),
        correlations=correlate(
            list(market.runs.values()), {symbol: real for symbol, (_, real) in measures.items() if real is not None}
        ),
        origin={**market.origin, **({"real": real_files} if real_files else {})},
    )


def _write(compared: "Similarity", target: Path) -> None:
    from fauxchange.realism.files import write_whole
    from fauxchange.realism.report.page import page

    with messages().status("Drawing the report"):
        write_whole(target, page(compared).encode())


def _tell(compared: "Similarity", html: Path | None, *, as_json: bool) -> None:
    from fauxchange.realism.report import document, words

    if as_json:
        print_json(document.document_of(compared))
        return
    console = output()
    for comparison in compared.comparisons:
        for part in _sections(comparison, is_wide=console.width >= WIDE):
            console.print(part)
    if compared.correlations:
        console.print(_correlations(compared.correlations))
        console.print(words.correlation_text(compared.correlations), markup=False)
    console.print(facts(compared.origin))
    if html is not None:
        console.print(f"\nThe report with its plots: {html}", markup=False, soft_wrap=True)


def _sections(comparison: "Comparison", *, is_wide: bool) -> Iterator["RenderableType"]:
    from fauxchange.realism.report import words

    level = words.level_of(comparison.verdict)
    yield Text(f"{comparison.symbol}: {words.HEADLINES[level]}", style="bold")
    yield Padding(Text(words.verdict_text(comparison)), (0, 0, 1, 0))
    yield from _facts(comparison, is_wide=is_wide)
    if len(comparison.by_run) > 1:
        told = [f"{name} {each.passed}, {words.percent(each.coverage)}" for name, each in comparison.by_run.items()]
        yield Padding(Text(f"Facts inside and coverage by run: {'; '.join(told)}", style="dim"), (0, 0, 1, 0))
    if comparison.distances:
        yield from _distances(comparison, is_wide=is_wide)


def _facts(comparison: "Comparison", *, is_wide: bool) -> Iterator["RenderableType"]:
    from fauxchange.realism.report import words

    heads: list[Column | str] = [name_column("Fact"), number_column("Value"), number_column("Real range")]
    heads += ["Inside?", number_column("Weeks")]
    rows = []
    for row in comparison.verdict.rows:
        state = words.state_of(row)
        cells = (
            row.fact.name,
            words.number(row.value),
            f"{words.number(row.interval.low)} .. {words.number(row.interval.high)}",
            Text(f"{words.MARKS[state]} {state}", style=_STYLES.get(state, "dim")),
            words.percent(row.coverage),
        )
        rows.append((cells, row.fact.meaning))
    return _explained(heads, rows, is_wide=is_wide)


def _explained(
    heads: Sequence["Column | str"], rows: Sequence[tuple[Sequence[str | Text], str]], *, is_wide: bool
) -> Iterator["RenderableType"]:
    """Yield a table with what each row says as its last column, or below it where a narrow terminal would break it."""
    meanings = [Text(meaning, style="dim") for _, meaning in rows]
    shown = table(*heads, *(["What it says"] if is_wide else []))
    for (cells, _), meaning in zip(rows, meanings, strict=True):
        shown.add_row(*cells, *([meaning] if is_wide else []))
    yield shown
    if not is_wide:
        yield Padding(
            facts([(str(cells[0]), text) for (cells, _), text in zip(rows, meanings, strict=True)]), (0, 0, 1, 0)
        )


def _distances(comparison: "Comparison", *, is_wide: bool) -> Iterator["RenderableType"]:
    from fauxchange.realism.distances import DISTANCES
    from fauxchange.realism.report import words

    heads: list[Column | str] = [
        name_column("Distance"),
        *map(number_column, ("Generated", "Real months", "90 %")),
        "Near?",
    ]
    rows = []
    for name, value in comparison.distances.items():
        median, high = comparison.limits(name) or (None, None)
        is_known = high is not None and not math.isnan(value)
        near = is_known and high is not None and value <= high
        told = "" if not is_known else f"{words.MARKS['inside']} yes" if near else f"{words.MARKS['above']} no"
        cells = (
            name,
            words.number(value),
            words.number(median),
            words.number(high),
            Text(told, style="green" if near else "bold red"),
        )
        rows.append((cells, DISTANCES[name]))
    return _explained(heads, rows, is_wide=is_wide)


def _correlations(correlations: Sequence["Correlations"]) -> "RenderableType":
    from fauxchange.realism.report import words

    heads = [head for each in correlations for head in (f"{each.minutes} min", "real")]
    shown = table("Correlation", *map(number_column, heads))
    symbols = correlations[0].symbols
    for first, name in enumerate(symbols):
        for second in range(first + 1, len(symbols)):
            cells = []
            for each in correlations:
                goal = None if each.targets is None else float(each.targets[first, second])
                cells += [words.number(float(each.generated[first, second])), words.number(goal)]
            shown.add_row(f"{name} - {symbols[second]}", *cells)
    return shown


def _fail_below(compared: "Similarity", least: int | None) -> None:
    low = [each.symbol for each in compared.comparisons if each.verdict.passed < (least or 0)]
    if low:
        messages().print(f"{joined(low)}: fewer than {least} facts inside", markup=False)
        raise typer.Exit(EXIT_BELOW)
