"""`generate`: synthetic history as files, as much of it as is wanted, in seconds."""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from fauxchange.cli.console import messages, name_column, number_column, output, print_json, table
from fauxchange.cli.options import Json, examples
from fauxchange.cli.progress import LateProgress
from fauxchange.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from fauxchange.platform.settings import Settings
    from fauxchange.realism.generating import History
    from fauxchange.realism.history_files import Written
    from fauxchange.services.market_data.core.scenarios import Timeline

ENV_FILE = Path(".env")
START = "2026-01-01T00:00:00Z"
INTERVAL = "1m"
NS_PER_WEEK = 7 * 24 * 3600 * 10**9

EXAMPLES = examples(
    "fauxchange generate --out history",
    "fauxchange generate --symbols BTC-USD,ETH-USD --interval 1m --weeks 52 --seed 7 --out history --format parquet",
    "fauxchange generate --symbols BTC-USD --ticks --step 100ms --weeks 0.1 --out ticks",
    "fauxchange up --replay history/btc_usd_model_1m_seed1_2026-01-01.csv.gz --speed 60",
)


def generate(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the files; made if it is not there.")],
    *,
    symbols: Annotated[
        str | None, typer.Option("--symbols", metavar="BTC-USD,...", help="Symbols (default: DEFAULT_SYMBOLS).")
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option(
            "--interval", metavar="DURATION", help="Length of a candle: whole seconds, such as 1h (default: 1m)."
        ),
    ] = None,
    ticks: Annotated[
        bool, typer.Option("--ticks", help="Quotes and trades instead of candles, two files per symbol.")
    ] = False,
    weeks: Annotated[float, typer.Option("--weeks", metavar="NUMBER", help="How much; parts of weeks too.")] = 16.0,
    start: Annotated[
        str, typer.Option("--start", metavar="TIME", help="Where it begins, such as 2026-01-31T12:00:00Z.")
    ] = START,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="NUMBER", help="Seed of every random stream (default: SEED).")
    ] = None,
    step: Annotated[
        str,
        typer.Option(
            "--step",
            metavar="DURATION",
            help="Time between two prices of the model. Longer is quicker, and sees less of highs and lows.",
        ),
    ] = "1s",
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="FILE", help="Parameters from `fauxchange calibrate` (default: MODEL)."),
    ] = None,
    scenario: Annotated[
        Path | None,
        typer.Option("--scenario", metavar="FILE", help="Scenarios on the way (YAML or TOML), from the start on."),
    ] = None,
    format_: Annotated[Literal["csv.gz", "parquet"], typer.Option("--format", help="How it is written.")] = "csv.gz",
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there already.")] = False,
    as_json: Json = False,
) -> None:
    """Write synthetic history of the model: candles or ticks of several symbols, correlated as in the feed.

    The candles are those of a feed with this seed, step and start, and the files have the columns of recorded ones:
    `up --replay`, `calibrate` and `similarity` read them. The same seed gives the same bytes.
    """
    from fauxchange.platform.settings import load_settings
    from fauxchange.realism.generating import generate as write

    if ticks and interval is not None:
        raise InvalidRequest("--interval is about candles, and --ticks writes none: leave one of them out")
    given: dict[str, object] = {"default_symbols": symbols, "seed": seed, "model": model}
    overrides = {name: value for name, value in given.items() if value is not None}
    settings = load_settings(overrides, env_file=ENV_FILE)
    history = _history(
        settings,
        format_=format_,
        start=start,
        weeks=weeks,
        step=step,
        interval=None if ticks else interval or INTERVAL,
        scenario=scenario,
    )
    with _ended_like_an_interrupt(), GeneratingProgress(history) as progress:
        begun_s = time.monotonic()
        files = write(history, out, force=force, progress=progress)
        seconds = time.monotonic() - begun_s
    if as_json:
        print_json(_as_document(history, files))
        return
    _show(files, seconds)


def _history(
    settings: "Settings",
    *,
    format_: str,
    start: str,
    weeks: float,
    step: str,
    interval: str | None,
    scenario: Path | None,
) -> "History":
    from fauxchange.domain.times import parse_duration, parse_time
    from fauxchange.realism.generating import History
    from fauxchange.realism.history_files import FileFormat
    from fauxchange.services.market_data.app.config import read_config
    from fauxchange.services.market_data.app.model import first_price
    from fauxchange.services.market_data.core.model_files import read_model
    from fauxchange.services.market_data.core.parameters import default_table

    start_ns, step_ns = parse_time(start, field="start"), parse_duration(step)
    bar_ns = None if interval is None else parse_duration(interval)
    unit_ns = step_ns if bar_ns is None else bar_ns
    if not (unit_ns > 0 and step_ns > 0 and 0 < weeks < 10_000):
        raise InvalidRequest("--weeks, --interval and --step are above 0, and --weeks below 10000", field="weeks")
    config = read_config(settings)
    parameters = None if config.model_file is None else read_model(config.model_file)
    instruments = tuple(settings.instrument(symbol) for symbol in settings.default_symbols)
    return History(
        instruments=instruments,
        table=default_table() if parameters is None else parameters.table,
        seed=settings.seed,
        start_ns=start_ns,
        end_ns=start_ns + max(1, round(weeks * NS_PER_WEEK / unit_ns)) * unit_ns,
        step_ns=step_ns,
        bar_ns=bar_ns,
        initial_prices={each.symbol: first_price(config, each.symbol, parameters) for each in instruments},
        spread_bps={each.symbol: float(settings.spread_bps_of(each.symbol)) for each in instruments},
        format=FileFormat(format_),
        timeline=_timeline(scenario, settings.default_symbols, start_ns, settings.seed),
    )


def _timeline(path: Path | None, symbols: Sequence[str], start_ns: int, seed: int) -> "Timeline":
    from fauxchange.services.market_data.app.scenarios import read_scenario_file
    from fauxchange.services.market_data.core.scenarios import Timeline, place

    if path is None:
        return Timeline()
    specs = read_scenario_file(path)
    for spec in specs:
        for symbol in (*spec.symbols, *spec.against):
            if symbol not in symbols:
                raise InvalidRequest(
                    f"scenario {spec.id} names {symbol}, which is not generated; those are {', '.join(symbols)}",
                    field="scenario",
                )
    return Timeline(place(specs, origin_ns=start_ns, seed=seed))


@contextmanager
def _ended_like_an_interrupt() -> Iterator[None]:
    """Let SIGTERM end the work as Ctrl-C does: nothing unfinished stays behind."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class GeneratingProgress(LateProgress):
    """Progress of all symbols together. Units: steps."""

    def __init__(
        self, history: "History", *, shown: bool | None = None, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(_bar, shown=sys.stderr.isatty() if shown is None else shown, now_s=now_s)
        self._symbols = len(history.instruments)
        self._total = self._symbols * history.steps

    def __call__(self, done: int) -> None:
        """Show how far it is."""
        self.show("all", f"{self._symbols} symbols", done, self._total)


def _bar() -> Progress:
    return Progress(
        TextColumn("Generating {task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=messages(),
        transient=True,
    )


def _show(files: Sequence["Written"], seconds: float) -> None:
    from fauxchange.domain.instruments import path_symbol
    from fauxchange.domain.times import format_time

    rows = table(name_column("File"), number_column("Rows"), number_column("MB"), name_column("SHA-256"))
    for file in files:
        rows.add_row(file.path.name, f"{file.rows:,}", f"{file.size / 1e6:.1f}", file.sha256[:16])
    output().print(rows)
    first, last = (format_time(ts_ns)[:19] for ts_ns in (files[0].first_ns, files[0].last_ns))
    count = f"{len(files)} file{'s' if len(files) > 1 else ''}"
    messages().print(
        f"{count} in {files[0].path.parent}, from {first} to {last}, written in {seconds:.1f} s; "
        "whole hashes with --json.\n"
        f"Try next: fauxchange up --replay {path_symbol(files[0].symbol)}={files[0].path} --speed 60",
        soft_wrap=True,
    )


def _as_document(history: "History", files: Sequence["Written"]) -> dict[str, object]:
    from fauxchange import __version__
    from fauxchange.domain.times import format_duration, format_time

    return {
        "version": __version__,
        "seed": history.seed,
        "start": format_time(history.start_ns),
        "end": format_time(history.end_ns),
        "step": format_duration(history.step_ns),
        "interval": None if history.bar_ns is None else format_duration(history.bar_ns),
        "files": [
            {
                "file": str(file.path),
                "symbol": file.symbol,
                "rows": file.rows,
                "first": format_time(file.first_ns),
                "last": format_time(file.last_ns),
                "bytes": file.size,
                "sha256": file.sha256,
            }
            for file in files
        ],
    }
