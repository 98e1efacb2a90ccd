"""Calibration of all recorded symbols of a user: each by itself, then how they move together, then the model file."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fauxchange import __version__
from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.instruments import path_symbol
from fauxchange.domain.times import NS_PER_MINUTE, format_duration, format_time
from fauxchange.realism.bars import Bars
from fauxchange.realism.calibration.calibrating import (
    SIMULATED_DAYS,
    Progress,
    SymbolCalibration,
    calibrate_symbol,
)
from fauxchange.realism.calibration.loadings import ROUNDS as LOADING_ROUNDS
from fauxchange.realism.calibration.loadings import WEEKS, Loadings, fit_loadings
from fauxchange.realism.recorded import bars_of_file
from fauxchange.services.market_data.clients.tables import Progress as ReadingProgress
from fauxchange.services.market_data.core.model_files import ModelFile, SymbolModel
from fauxchange.services.market_data.core.parameters import LmvTable, default_table

TOGETHER = "correlations"
LEAST_TOGETHER = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The bars of one symbol and the file that they come from."""

    bars: Bars
    file: str
    sha256: str


def read_recorded(path: Path, symbol: str | None = None, progress: ReadingProgress | None = None) -> Recorded:
    """Read a recorded file; its name tells the symbol unless it is given.

    Raises: ConfigurationError naming file, line and column of what is wrong; InvalidRequest if it makes no bars
    """
    bars = bars_of_file(path, symbol, progress=progress)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Recorded(bars=bars, file=path.name, sha256=digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What came of calibrating: each symbol's, how they move together (None where that was kept), and why if so."""

    symbols: Mapping[str, SymbolCalibration]
    loadings: Loadings | None
    loadings_kept: str
    model: ModelFile


def calibrate(
    recorded: Sequence[Recorded],
    *,
    seed: int = 1,
    table: LmvTable | None = None,
    simulated_days: float = SIMULATED_DAYS,
    progress: Progress | None = None,
) -> Calibration:
    """Fit the model to recorded bars of one symbol or more.

    Raises: InvalidRequest if a symbol is there twice; UnfitData if bars cannot be fitted, naming why
    """
    table = table or default_table()
    by_symbol: dict[str, Recorded] = {}
    for each in recorded:
        symbol = each.bars.symbol
        if symbol in by_symbol:
            raise InvalidRequest(
                f"{each.file} and {by_symbol[symbol].file} both hold {symbol}; name another symbol as in "
                f"BTC-EUR={each.file}",
                code="duplicate_symbol",
                field="files",
            )
        by_symbol[symbol] = each
    found = {
        symbol: calibrate_symbol(
            each.bars, seed=seed, table=table, file=each.file, simulated_days=simulated_days, progress=progress
        )
        for symbol, each in by_symbol.items()
    }
    weeks = min(WEEKS, simulated_days / 7.0)
    bars = {symbol: each.bars for symbol, each in by_symbol.items()}
    loadings, kept = _loadings(bars, found, table, seed, weeks, progress)
    sections = {}
    bases = [symbol.partition("/")[0] for symbol in found]
    for symbol, calibration in found.items():
        parameters = calibration.parameters
        if loadings is not None:
            parameters = replace(
                parameters,
                market_loading=loadings.market[symbol],
                volatility_loading=loadings.volatility[symbol],
            )
        base = symbol.partition("/")[0]
        sections[base if bases.count(base) == 1 else symbol] = SymbolModel(
            parameters=parameters,
            initial_price=calibration.series.last_price,
            source=_source(by_symbol[symbol], calibration),
        )
    model = ModelFile(table=table, sections=sections, made_by={"fauxchange": __version__, "seed": seed})
    return Calibration(symbols=found, loadings=loadings, loadings_kept=kept, model=model)


def _loadings(
    bars: Mapping[str, Bars],
    found: Mapping[str, SymbolCalibration],
    table: LmvTable,
    seed: int,
    weeks: float,
    progress: Progress | None,
) -> tuple[Loadings | None, str]:
    if len(bars) < LEAST_TOGETHER:
        return None, "one symbol alone does not say how it moves with others"
    if any(each.interval_ns != NS_PER_MINUTE for each in bars.values()):
        return None, "correlations are fitted on bars of one minute"
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(TOGETHER, done, LOADING_ROUNDS)

    parameters = {symbol: each.parameters for symbol, each in found.items()}
    try:
        return fit_loadings(bars, parameters, table, seed=seed, weeks=weeks, advance=advance), ""
    except InvalidRequest as exc:
        # Each symbol by itself is fitted nonetheless.
        return None, exc.message


def _source(recorded: Recorded, calibration: SymbolCalibration) -> dict[str, object]:
    series = calibration.series
    return {
        "symbol": path_symbol(series.symbol),
        "quote": series.symbol.partition("/")[2],
        "file": recorded.file,
        "sha256": recorded.sha256,
        "first": format_time(series.first_ns),
        "last": format_time(series.last_ns),
        "bars": series.rows,
        "bar": format_duration(series.interval_ns),
        "days": round(series.days, 2),
        "tick": series.tick,
        "kept": list(calibration.kept),
    }


def acf_distance(calibration: SymbolCalibration) -> float:
    """Return the mean difference of recorded and simulated autocorrelations of the size of returns."""
    return float(np.mean(np.abs(calibration.fit.wanted.sizes - calibration.fit.reached.sizes)))
