"""Realism from Python, in a few calls: for notebooks, and for whoever wants the numbers rather than a page.

    from fauxchange.realism import study

    real = study.read("btc_usdt_1m.csv.gz")
    model = study.calibrate("btc_usdt_1m.csv.gz")
    generated = study.simulate(model, ["BTC/USD"], weeks=4, seeds=[1, 2])
    compared = study.compare(generated, real=real, reference="BTC")
    print(study.verdict(compared))
    study.pictures(compared)["tails"]
    study.report(compared, "report.html")

The command line does the same: `fauxchange calibrate`, `fauxchange similarity`.
"""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from textwrap import fill
from typing import Any

from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.instruments import parse_symbol
from fauxchange.domain.times import parse_duration
from fauxchange.realism.bars import Bars
from fauxchange.realism.calibration.together import Calibration, Recorded, read_recorded
from fauxchange.realism.calibration.together import calibrate as fit
from fauxchange.realism.files import write_whole
from fauxchange.realism.recorded import bars_of_file
from fauxchange.realism.reference import bootstrap_reference, reference_for
from fauxchange.realism.reference import reference as shipped
from fauxchange.realism.report import document, words
from fauxchange.realism.report.comparing import Comparison, Similarity, correlate
from fauxchange.realism.report.comparing import compare as held_against
from fauxchange.realism.report.markets import Generated, Model, Simulation, model_named, simulated
from fauxchange.realism.report.page import page, pictures_of
from fauxchange.realism.report.pictures import Picture
from fauxchange.realism.simulating import default_instruments
from fauxchange.services.market_data.service.simulation import DEFAULT_MODEL

LINE = 100


def read(path: str | Path, symbol: str | None = None) -> Bars:
    """Return a recorded file as bars of one minute; its name tells the symbol unless it is given.

    Raises: ConfigurationError naming file, line and column of what is wrong
    """
    return bars_of_file(Path(path), None if symbol is None else parse_symbol(symbol))


def calibrate(*recorded: str | Path | Bars, seed: int = 1) -> Calibration:
    """Fit the model to recorded files or to bars, one symbol each.

    Raises: ConfigurationError or InvalidRequest naming what cannot be read or fitted
    """
    return fit([_recorded(each) for each in recorded], seed=seed)


def _recorded(given: str | Path | Bars) -> Recorded:
    if isinstance(given, Bars):
        return Recorded(bars=given, file="bars", sha256="")
    return read_recorded(Path(given))


def simulate(
    model: Calibration | str | Path | None = None,
    symbols: Sequence[str] = ("BTC/USD",),
    *,
    weeks: float = 16.0,
    seeds: Sequence[int] = (1, 2, 3),
    step: str = "1s",
) -> Generated:
    """Return generated weeks of a calibration, a model file, a model by its name (`gbm`), or the shipped one."""
    if isinstance(model, Calibration):
        chosen = Model(name=DEFAULT_MODEL, source="calibrated here", table=model.model.table, file=model.model)
    else:
        chosen = model_named(None if model is None else str(model))
    return simulated(
        Simulation(
            model=chosen,
            instruments=default_instruments([parse_symbol(symbol) for symbol in symbols]),
            weeks=weeks,
            seeds=tuple(seeds),
            step_ns=parse_duration(step),
        )
    )


def compare(
    generated: Generated | Bars, *, real: Bars | None = None, reference: str | None = None, symbol: str | None = None
) -> Comparison:
    """Hold generated prices of one symbol against real weeks, and against a recording where there is one.

    Ranges are those of `reference` (BTC, ETH or ALT), else those that the days of `real` give, else the symbol's.

    Raises: InvalidRequest if it is not said which of several symbols, or there is no whole week
    """
    runs = generated.runs if isinstance(generated, Generated) else {"series": {generated.symbol: generated}}
    known = tuple(next(iter(runs.values())))
    chosen = known[0] if symbol is None and len(known) == 1 else None if symbol is None else parse_symbol(symbol)
    if chosen not in known:
        raise InvalidRequest(f"say which symbol is compared; there are {', '.join(known)}", field="symbol")
    if reference is not None:
        against = shipped(reference)
    else:
        against = reference_for(chosen) if real is None else bootstrap_reference(real)
    return held_against(
        chosen,
        {name: series[chosen] for name, series in runs.items()},
        against=against,
        real=real,
        overlays=generated.overlays if isinstance(generated, Generated) else None,
    )


def verdict(comparison: Comparison) -> str:
    """Return the verdict in a paragraph, broken into lines for reading."""
    return fill(words.verdict_text(comparison), LINE)


class Rows(list[dict[str, Any]]):
    """Rows of a table; a notebook shows them as one."""

    def __init__(self, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
        super().__init__(rows)
        self.columns = tuple(columns)

    def _repr_html_(self) -> str:
        heads = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(_shown(row[name]))}</td>" for name in self.columns) + "</tr>" for row in self
        )
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def facts(comparison: Comparison) -> Rows:
    """Return the facts as rows: name, value, low, high, state and more."""
    rows = document.document_of(Similarity(comparisons=(comparison,)))["symbols"][0]["facts"]
    return Rows(rows, ("name", "value", "low", "high", "state", "coverage", "meaning"))


def distances(comparison: Comparison) -> Rows:
    """Return the distances to the recording as rows, beside those between real months."""
    rows = document.document_of(Similarity(comparisons=(comparison,)))["symbols"][0]["distances"]
    return Rows(rows, ("name", "value", "real_median", "real_p90", "within", "meaning"))


def pictures(comparison: Comparison) -> Mapping[str, Picture]:
    """Return the plots by name; a notebook shows each by itself."""
    return {picture.name: picture for picture in pictures_of(comparison)}


def report(compared: Comparison | Sequence[Comparison], target: str | Path, generated: Generated | None = None) -> Path:
    """Write the report as a page; `generated` adds correlations and how it was made. Raises: ConfigurationError."""
    comparisons = (compared,) if isinstance(compared, Comparison) else tuple(compared)
    similarity = Similarity(
        comparisons=comparisons,
        correlations=() if generated is None else correlate(list(generated.runs.values())),
        origin={} if generated is None else generated.origin,
    )
    write_whole(Path(target), page(similarity).encode())
    return Path(target)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return words.number(value) if isinstance(value, float) else "-" if value is None else str(value)
