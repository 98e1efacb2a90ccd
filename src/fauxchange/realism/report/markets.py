"""The markets that are compared: simulated with a model, or read from files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.times import NS_PER_S, format_duration
from fauxchange.realism.bars import Bars
from fauxchange.realism.recorded import bars_of_file
from fauxchange.realism.report.comparing import Overlay
from fauxchange.realism.simulating import START_NS, simulate
from fauxchange.services.market_data.clients.layouts import symbol_of
from fauxchange.services.market_data.core.model_files import ModelFile, read_model
from fauxchange.services.market_data.core.parameters import LmvTable, default_table
from fauxchange.services.market_data.core.scenarios import ScenarioSpec, Timeline, place
from fauxchange.services.market_data.service.simulation import DEFAULT_MODEL, MODELS

SHIPPED = "shipped"
DEFAULT_WEEKS = 16

Told = Callable[[str, int, int], None]
"""Hear how far a piece of work is: its name, what is done, and how much there is in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """Generated series by run and symbol, and how they came about."""

    runs: Mapping[str, Mapping[str, Bars]]
    origin: Mapping[str, str]
    overlays: Mapping[str, Overlay] = field(default_factory=dict)

    def of(self, symbol: str) -> dict[str, Bars]:
        """Return the runs of one symbol."""
        return {name: series[symbol] for name, series in self.runs.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model to simulate with: its name, where its parameters come from, and the first prices that it knows."""

    name: str
    source: str
    table: LmvTable
    file: ModelFile | None = None

    def initial_price(self, symbol: str) -> Decimal | None:
        """Return the first price that the model's file has for a symbol."""
        price = None if self.file is None else self.file.initial_price(symbol)
        return None if price is None else Decimal(repr(price))


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What is simulated. Units: step_ns in nanoseconds of venue time."""

    model: Model
    instruments: Sequence[Instrument]
    weeks: float = DEFAULT_WEEKS
    seeds: Sequence[int] = (1, 2, 3)
    step_ns: int = NS_PER_S
    initial_prices: Mapping[str, Decimal] = field(default_factory=dict)
    scenarios: Sequence[ScenarioSpec] = ()


def model_named(text: str | None) -> Model:
    """Return the model of a file, a model by its name with the shipped parameters, or the shipped one.

    Raises: ConfigurationError with everything that is wrong with a file
    """
    if text is None or text == SHIPPED:
        return Model(name=DEFAULT_MODEL, source="shipped parameters", table=default_table())
    if text in MODELS:
        return Model(name=text, source="shipped parameters", table=default_table())
    file = read_model(Path(text))
    return Model(name=DEFAULT_MODEL, source=Path(text).name, table=file.table, file=file)


def simulated(simulation: Simulation, told: Told | None = None) -> Generated:
    """Return the weeks of each seed, all symbols together in one market."""
    model = simulation.model
    prices = dict(simulation.initial_prices)
    for instrument in simulation.instruments:
        known = model.initial_price(instrument.symbol)
        if known is not None:
            prices[instrument.symbol] = known
    runs = {}
    overlays = {}
    for seed in simulation.seeds:
        name = f"seed {seed}"
        timeline = Timeline(place(simulation.scenarios, origin_ns=START_NS, seed=seed))
        if simulation.scenarios:
            overlays[name] = Overlay(timeline=timeline, step_ns=simulation.step_ns)
        runs[name] = simulate(
            model.table,
            simulation.instruments,
            weeks=simulation.weeks,
            seed=seed,
            step_ns=simulation.step_ns,
            model=model.name,
            timeline=timeline if simulation.scenarios else None,
            initial_prices=prices or None,
            progress=_counted(told, name),
        )
    return Generated(
        runs=runs,
        origin={
            "model": f"{model.name}, {model.source}",
            "weeks": f"{simulation.weeks:g} per seed",
            "seeds": ", ".join(str(seed) for seed in simulation.seeds),
            "step": format_duration(simulation.step_ns),
            **({"scenarios": ", ".join(spec.id for spec in simulation.scenarios)} if simulation.scenarios else {}),
        },
        overlays=overlays,
    )


def read(files: Sequence[tuple[str | None, Path]], told: Told | None = None) -> dict[str, Bars]:
    """Return recorded or generated files as bars of one minute by symbol.

    Raises: ConfigurationError naming file, line and column of what is wrong; InvalidRequest if a symbol comes twice
    """
    series: dict[str, Bars] = {}
    for named, path in files:
        symbol = named or symbol_of(path)
        if symbol in series:
            raise InvalidRequest(f"{symbol} comes from two files; {path} is the second")
        series[symbol] = bars_of_file(path, symbol=symbol, progress=_counted(told, f"Reading {path.name}"))
    return series


def matching(symbol: str, series: Mapping[str, Bars]) -> Bars | None:
    """Return the series of a symbol: its own, or the only one of its base asset (BTC/USDT for BTC/USD)."""
    if symbol in series:
        return series[symbol]
    base = symbol.partition("/")[0]
    same = [bars for name, bars in series.items() if name.partition("/")[0] == base]
    return same[0] if len(same) == 1 else None


def _counted(told: Told | None, name: str) -> Callable[[int, int], None] | None:
    if told is None:
        return None
    return lambda done, total: told(name, done, total)
