"""`calibrate`: a price model from somebody's own recorded prices."""

import hashlib
import importlib.util
import math
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from fauxchange.cli.console import facts, messages, name_column, number_column, output, print_json, table
from fauxchange.cli.options import Json, examples
from fauxchange.cli.progress import LateProgress
from fauxchange.cli.remote import ENV_FILE
from fauxchange.cli.serving import ReadingProgress
from fauxchange.domain.errors import ConfigurationError
from fauxchange.domain.instruments import path_symbol
from fauxchange.domain.times import NS_PER_MINUTE

if TYPE_CHECKING:
    from fauxchange.realism.calibration.calibrating import SymbolCalibration
    from fauxchange.realism.calibration.together import Calibration, Recorded

MINUTES_A_YEAR = 365 * 24 * 60
COARSE_TICK = 2e-4
"""A tick of this share of the price shows in the returns of minutes."""
EXAMPLES = examples(
    "fauxchange calibrate btc_usdt_1m.csv.gz",
    "fauxchange calibrate --symbol BTC-USD --out btc.toml prices.parquet",
    "fauxchange calibrate BTC-USD=btc.csv ETH-USD=eth.csv --out two.toml",
    "fauxchange up --model model.toml",
)

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="[SYMBOL=]FILE...",
        help="Recorded candles, trades or quotes (CSV or Parquet, plain or gzip), a file for each symbol.",
        show_default=False,
    ),
]
Symbol = Annotated[
    str | None,
    typer.Option("--symbol", metavar="BTC-USD", help="Whose prices the file holds, where its name does not say so."),
]
Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="The model file to write.")]
Seed = Annotated[int, typer.Option("--seed", min=0, metavar="NUMBER", help="Seed of the simulations that are fitted.")]
Force = Annotated[bool, typer.Option("--force", help="Write over a model file that is there.")]


def calibrate(
    files: Files,
    *,
    symbol: Symbol = None,
    out: Out = Path("model.toml"),
    seed: Seed = 1,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Fit the price model to recorded prices, and write it as a model file for `up --model`.

    From about a month of one-minute candles everything is fitted; from less, or from longer candles, what they
    support, and the rest stays as it is shipped. The same files and seed give the same model to the byte.
    """
    from fauxchange.realism.files import need_target, write_whole

    need_target(out)
    if out.exists() and not force:
        raise ConfigurationError(
            f"{out} is there already; write over it with --force, or name another file with --out",
            field="out",
        )
    if importlib.util.find_spec("scipy") is None:
        raise ConfigurationError("calibration needs SciPy, which is not installed: pip install 'fauxchange[realism]'")
    from fauxchange.realism.calibration.together import calibrate as fit
    from fauxchange.services.market_data.core.model_files import dump_model

    interactive = sys.stderr.isatty()
    recorded = _read(files, symbol, shown=interactive)
    with CalibrationProgress(shown=interactive) as progress:
        calibration = fit(recorded, seed=seed, progress=progress)
    text = dump_model(calibration.model, heading=_heading(recorded))
    write_whole(out, text.encode())
    if as_json:
        print_json(_document(calibration, out, text))
        return
    output().print(Group(*_told(calibration)))
    messages().print(
        f"Wrote {out}. Try next:", *_next(calibration, files, out), sep="\n  ", markup=False, soft_wrap=True
    )


class CalibrationProgress(LateProgress):
    """Progress of the calibration of symbols."""

    def __init__(self, *, shown: bool, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__(_calibration_bar, shown=shown, now_s=now_s)

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show how far one symbol is. Units: simulated runs."""
        self.show(what, what, done, total)


def _calibration_bar() -> Progress:
    return Progress(
        TextColumn("Fitting {task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=messages(),
        transient=True,
    )


def _read(files: list[str], symbol: str | None, *, shown: bool) -> "list[Recorded]":
    from fauxchange.domain.instruments import parse_symbol
    from fauxchange.realism.calibration.together import read_recorded
    from fauxchange.services.market_data.clients.layouts import parse_replay_argument, symbol_of

    if symbol is not None and len(files) > 1:
        raise ConfigurationError(
            "--symbol is for one file; with several write SYMBOL=FILE, as in BTC-USD=prices.csv", field="symbol"
        )
    named = [parse_replay_argument(file) for file in files]
    if symbol is not None:
        named = [(parse_symbol(symbol), path) for _, path in named]
    # Names that say nothing are noticed before the first file is read.
    named = [(own or symbol_of(path), path) for own, path in named]
    recorded = []
    with ReadingProgress(shown=shown) as progress:
        for own, path in named:
            recorded.append(read_recorded(path, own, progress=_of_file(progress, path)))
    return recorded


def _of_file(progress: ReadingProgress, path: Path) -> Callable[[int, int], None]:
    return lambda done, total: progress(path, done, total)


def _heading(recorded: "list[Recorded]") -> str:
    files = ", ".join(each.file for each in recorded)
    return (
        f"A price model of Fauxchange, fitted to {files} by `fauxchange calibrate`.\n"
        "Every number may be edited, and any may be left out: it is then as shipped. docs/calibration.md tells more.\n"
        "Use it with `fauxchange up --model FILE`."
    )


def _told(calibration: "Calibration") -> list[RenderableType]:
    """Return what is said of a calibration on a terminal."""
    shown: list[RenderableType] = []
    for each in calibration.symbols.values():
        shown += [*_symbol_told(each), Text()]
    if calibration.loadings is None:
        shown.append(Text(f"Correlations: as shipped; {calibration.loadings_kept}."))
        return shown
    loadings = calibration.loadings
    grid = table(name_column("Together"), number_column("market loading"), number_column("volatility loading"))
    for symbol, loading in loadings.market.items():
        grid.add_row(symbol, f"{loading:.3f}", f"{loadings.volatility[symbol]:.3f}")
    shown += [grid, Text(f"Simulated correlations are within {loadings.largest_miss:.3f} of the recorded ones.")]
    return shown


def _symbol_told(each: "SymbolCalibration") -> list[RenderableType]:
    from fauxchange.domain.times import format_duration, format_time
    from fauxchange.realism.calibration.calibrating import minutes_text

    series, parameters = each.series, each.parameters
    yearly = float(each.fit.wanted.spread) / math.sqrt(series.minutes) * math.sqrt(MINUTES_A_YEAR)
    jumps = (
        f"one in {minutes_text(1.0 / parameters.jump_rate)}, of {parameters.jump_scale:g} times the volatility"
        if parameters.jump_rate > 0.0
        else "none"
    )
    grid = table(name_column("Factor"), number_column("weight"), "history behind it")
    for factor in each.factors:
        state = factor.reason if factor.is_fitted else f"kept as shipped: {factor.reason}"
        grid.add_row(minutes_text(factor.minutes), f"{factor.weight:.4f}", state)
    bars = f"{series.rows:,} bars of {format_duration(series.interval_ns)}, {series.days:.1f} days"
    rows: list[tuple[str, object]] = [
        (series.symbol, f"{bars} from {format_time(series.first_ns)}"),
        ("Volatility", f"{yearly:.0%} a year"),
        ("Jumps", jumps),
        ("Leverage", f"{parameters.leverage:+.3f}"),
        ("Hours", f"the wildest is {max(parameters.season) / min(parameters.season):.1f} times the calmest"),
    ]
    if any(factor.is_fitted for factor in each.factors):
        rows.append(("Fit", _nearness(each)))
    rows += [("Kept as shipped" if not number else "", what) for number, what in enumerate(each.kept)]
    return [facts(rows), grid]


def _nearness(each: "SymbolCalibration") -> str:
    from fauxchange.realism.calibration.together import acf_distance

    real, model = each.fit.wanted.tails, each.fit.reached.tails
    memory = f"memory of volatility {acf_distance(each):.3f} off on average"
    tails = f"; tail index {model.hill:.2f} (recorded {real.hill:.2f})"
    return memory + (
        tails if math.isfinite(model.hill) and not any(kept.startswith("the jumps") for kept in each.kept) else ""
    )


def _next(calibration: "Calibration", files: list[str], out: Path) -> list[str]:
    """Return the commands that follow a calibration."""
    from fauxchange.platform.settings import load_settings
    from fauxchange.realism.reference import LEAST_DAYS, reference_for

    settings = load_settings(env_file=ENV_FILE)
    series = [each.series for each in calibration.symbols.values()]
    ticks = [
        f"{each.symbol}={each.tick:.12f}".rstrip("0").rstrip(".")
        for each in series
        # The grid of a symbol that the settings do not know is made for prices of a hundred.
        if float(settings.instrument(each.symbol).tick_size) > max(COARSE_TICK * each.price, each.tick)
    ]
    before = f"TICK_SIZES={','.join(ticks)} " if ticks else ""
    served = {symbol.partition("/")[0] for symbol in settings.default_symbols}
    others = [path_symbol(each.symbol) for each in series if each.symbol.partition("/")[0] not in served]
    symbols = f" --symbols {','.join(others)}" if others else ""
    tries = [f"{before}fauxchange up --model {out}{symbols}"]
    if series[0].interval_ns == NS_PER_MINUTE:
        real = shlex.quote(_named(files[0], series[0].symbol))
        # Of fewer days no ranges are made.
        against = "" if series[0].days > LEAST_DAYS else f" --reference {reference_for(series[0].symbol).name}"
        tries.append(f"{before}fauxchange similarity --model {out} --real {real}{against} --html report.html")
    return tries


def _named(file: str, symbol: str) -> str:
    """Return a file as an argument from which its symbol is told."""
    from fauxchange.services.market_data.clients.layouts import parse_replay_argument, symbol_of

    _, path = parse_replay_argument(file)
    try:
        told = symbol_of(path)
    except ConfigurationError:
        told = ""
    return str(path) if told == symbol else f"{path_symbol(symbol)}={path}"


def _document(calibration: "Calibration", out: Path, text: str) -> dict[str, Any]:
    from fauxchange.realism.calibration.together import acf_distance
    from fauxchange.services.market_data.core.model_files import parameters_to_mapping

    symbols = {}
    sections = list(calibration.model.sections.items())
    for (symbol, each), (name, section) in zip(calibration.symbols.items(), sections, strict=True):
        symbols[symbol] = {
            "section": name,
            "parameters": parameters_to_mapping(section.parameters),
            "initial_price": section.initial_price,
            "source": dict(section.source),
            "factors": [
                {"minutes": f.minutes, "weight": f.weight, "days": f.days, "fitted": f.is_fitted, "reason": f.reason}
                for f in each.factors
            ],
            "kept": list(each.kept),
            "losses": list(each.fit.losses),
            "acf_abs_distance": acf_distance(each),
        }
    return {
        "model": str(out),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "symbols": symbols,
        "correlations": _loadings_document(calibration),
    }


def _loadings_document(calibration: "Calibration") -> dict[str, Any]:
    loadings = calibration.loadings
    if loadings is None:
        return {"fitted": False, "reason": calibration.loadings_kept}
    return {
        "fitted": True,
        "market_loadings": dict(loadings.market),
        "volatility_loadings": dict(loadings.volatility),
        "recorded": {str(minutes): matrix.tolist() for minutes, matrix in loadings.wanted.items()},
        "simulated": {str(minutes): matrix.tolist() for minutes, matrix in loadings.reached.items()},
    }
