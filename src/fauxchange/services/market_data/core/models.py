"""What a price model is, and the part that every model stepping symbol by symbol shares.

A model turns the times of the next steps into prices. It owns its streams of randomness and its state, and knows
nothing of clocks, quotes or subscribers. To add one, derive from `SteppingModel`, say how one symbol steps through
a block (a `kernel` function), and name it in `service.simulation.MODELS`.

Bits: a block may be cut anywhere, and symbols may come in any number and order, without changing one bit of any
symbol's prices. So a model draws a fixed number of words per symbol and step, and never sums across a block.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from fauxchange.domain.arithmetic import FloatArray, log
from fauxchange.domain.errors import check
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.kernels import kernel
from fauxchange.services.market_data.core.batches import NO_LAST, Int64Array
from fauxchange.services.market_data.core.parameters import LmvTable
from fauxchange.services.market_data.core.scenarios import Timeline

MOST_HALF_TICKS = 4503599627370496.0
FEWEST_HALF_TICKS = 2
LOG_PRICE = 0
"""Where every model's state keeps the log of the price over the initial price."""

Function = TypeVar("Function", bound=Callable[..., Any])


class KernelCompiler(Protocol):
    """Whatever makes a kernel function quick without changing its results."""

    def __call__(self, function: Function, /) -> Function:
        """Return a function with the same results."""
        ...


def interpreted(function: Function, /) -> Function:
    """Leave a kernel function as it is: plain Python, no compiler to load."""
    return function


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """One symbol as a model sees it.

    Units: initial_price in quote currency; volatility as a multiple of the calibrated one
    """

    instrument: Instrument
    initial_price: float
    volatility: float = 1.0

    @property
    def half_ticks(self) -> float:
        """How many half ticks the initial price is."""
        return self.initial_price * 2.0 / float(self.instrument.tick_size)


class SymbolRows(NamedTuple):
    """The rows of one symbol. Shapes: (steps,). Units: half ticks, ticks (or NO_LAST) and lots."""

    mids: Int64Array
    lasts: Int64Array
    lots: Int64Array


@dataclass(frozen=True, slots=True)
class ModelColumns:
    """The rows of all symbols. Shapes: (symbols, steps). Units: half ticks, ticks (or NO_LAST) and lots."""

    mids: Int64Array
    lasts: Int64Array
    lots: Int64Array

    def part(self, first: int, end: int) -> "ModelColumns":
        """Return a view of the steps from `first` up to `end`."""
        return ModelColumns(self.mids[:, first:end], self.lasts[:, first:end], self.lots[:, first:end])


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """Everything a model needs to go on: the steps taken, the time of the last one, and each symbol's numbers.

    `anchors` holds, by symbol and scenario, the log price that a reverting scenario pulls to.
    """

    position: int = 0
    last_ns: int | None = None
    symbols: Mapping[str, FloatArray] = field(default_factory=dict)
    anchors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class PriceModel(Protocol):
    """A law of prices for some symbols at one step length."""

    @property
    def name(self) -> str:
        """What settings and reports call it."""
        ...

    def identity(self, symbol: str) -> str:
        """Return a text that differs wherever a symbol's state would mean something else."""
        ...

    def advance(self, ts_ns: Int64Array) -> ModelColumns:
        """Take one step to each of these times, which rise. Shapes: ts_ns (steps,)."""
        ...

    def bend(self, timeline: Timeline) -> None:
        """Put other scenarios in the place of those that bend the steps from here on."""
        ...

    def state(self) -> ModelState:
        """Return a copy of where the model stands."""
        ...

    def restore(self, state: ModelState) -> None:
        """Go on from a state; symbols that it lacks start afresh."""
        ...

    def carried(self, symbol: str, values: FloatArray, before: LmvTable) -> FloatArray:
        """Return what a symbol's numbers under the parameters of before are under those of this model."""
        ...


class SteppingModel(ABC):
    """A model whose symbols step one by one through a block, after the market they share.

    Units: interval_ns in nanoseconds of venue time
    """

    name: str

    def __init__(self, *, priced: Sequence[Priced], seed: int, interval_ns: int) -> None:
        check(interval_ns > 0, "a step takes time")
        self._priced = tuple(priced)
        self._seed = seed
        self._interval_ns = interval_ns
        self._timeline = Timeline()
        self._position = 0
        self._last_ns: int | None = None
        self._states: dict[str, FloatArray] = {}
        self._anchors: dict[str, dict[str, float]] = {}
        self.restore(ModelState())

    @abstractmethod
    def identity(self, symbol: str) -> str:
        """Return a text that differs wherever a symbol's state would mean something else."""

    @abstractmethod
    def fresh_state(self, symbol: str) -> FloatArray:
        """Return the numbers with which a symbol starts; the first of them is its log price, 0."""

    @abstractmethod
    def market(self, ts_ns: Int64Array) -> Any:
        """Return what all symbols share in a block: anything that `step_symbol` understands."""

    @abstractmethod
    def step_symbol(self, index: int, state: FloatArray, market: Any, bend: "Bend", rows: SymbolRows) -> None:
        """Step one symbol through the block: change its state in place and fill its rows."""

    def before_ns(self, ts_ns: Int64Array) -> int:
        """Return the time of the step before a block."""
        return int(ts_ns[0]) - self._interval_ns if self._last_ns is None else self._last_ns

    def advance(self, ts_ns: Int64Array) -> ModelColumns:
        """Take one step to each of these times, which rise."""
        shape = (len(self._priced), len(ts_ns))
        columns = ModelColumns(*(np.empty(shape, np.int64) for _ in range(3)))
        cuts = [0, *self._timeline.cuts(ts_ns), len(ts_ns)]
        for first, end in pairwise(cuts):
            if first < end:
                self._advance_block(ts_ns[first:end], columns.part(first, end))
        return columns

    def bend(self, timeline: Timeline) -> None:
        """Put other scenarios in the place of those that bend the steps from here on."""
        self._timeline = timeline
        kept = {scenario.spec.id for scenario in timeline.scenarios}
        self._anchors = {
            symbol: {name: anchor for name, anchor in anchors.items() if name in kept}
            for symbol, anchors in self._anchors.items()
        }

    def state(self) -> ModelState:
        """Return a copy of where the model stands."""
        return ModelState(
            position=self._position,
            last_ns=self._last_ns,
            symbols={symbol: state.copy() for symbol, state in self._states.items()},
            anchors={symbol: dict(anchors) for symbol, anchors in self._anchors.items() if anchors},
        )

    def restore(self, state: ModelState) -> None:
        """Go on from a state; symbols that it lacks start afresh."""
        self._position = state.position
        self._last_ns = state.last_ns
        self._states, self._anchors = {}, {}
        for priced in self._priced:
            symbol = priced.instrument.symbol
            kept = state.symbols.get(symbol)
            self._states[symbol] = self.fresh_state(symbol) if kept is None else kept.copy()
            self._anchors[symbol] = dict(state.anchors.get(symbol, {}))

    def carried(self, symbol: str, values: FloatArray, before: LmvTable) -> FloatArray:  # noqa: ARG002 - as in the port
        """Return what a symbol's numbers under the parameters of before are under those of this model."""
        return values

    def _advance_block(self, ts_ns: Int64Array, columns: ModelColumns) -> None:
        before_ns = self.before_ns(ts_ns)
        market = self.market(ts_ns)
        for index, priced in enumerate(self._priced):
            symbol = priced.instrument.symbol
            state = self._states[symbol]
            anchors = self._anchors[symbol]
            self._set_anchors(priced, int(ts_ns[0]), float(state[LOG_PRICE]), anchors)
            bend = bend_of(self._timeline, symbol, before_ns, ts_ns, anchors)
            rows = SymbolRows(columns.mids[index], columns.lasts[index], columns.lots[index])
            self.step_symbol(index, state, market, bend, rows)
        self._position += len(ts_ns)
        self._last_ns = int(ts_ns[-1])

    def _set_anchors(self, priced: Priced, ts_ns: int, log_price: float, anchors: dict[str, float]) -> None:
        for scenario in self._timeline.pulling(priced.instrument.symbol, ts_ns):
            if scenario.spec.id not in anchors:
                level = scenario.spec.level
                anchors[scenario.spec.id] = log_price if level is None else log(level / priced.initial_price)


class Bend(NamedTuple):
    """What scenarios do to one symbol, step by step; every array is empty where they do nothing.

    Shapes: (steps,) or (0,)
    Units:  drift in log price; log_variance added to that of the model; coupling multiplies the market loading;
            pull is the share of the way to `anchor` (log price) taken in the step
    """

    drift: FloatArray
    log_variance: FloatArray
    coupling: FloatArray
    pull: FloatArray
    anchor: FloatArray


_NOTHING = np.zeros(0)
UNBENT = Bend(_NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING)


def bend_of(timeline: Timeline, symbol: str, before_ns: int, ts_ns: Int64Array, anchors: Mapping[str, float]) -> Bend:
    """Return what the scenarios of a timeline together do to a symbol on the way from `before_ns` to each time.

    Drifts and log variances add up, couplings multiply, pulls add up and meet at their weighted anchor.
    """
    active = timeline.active(symbol, before_ns, int(ts_ns[-1]))
    if not active:
        return UNBENT
    steps = len(ts_ns)
    drift, log_variance, coupling = np.zeros(steps), np.zeros(steps), np.ones(steps)
    pull, pulled_to = np.zeros(steps), np.zeros(steps)
    times = np.concatenate((np.array([before_ns], np.int64), ts_ns))
    for scenario in active:
        path = scenario.displacement(symbol, times)
        drift += path[1:] - path[:-1]
        log_variance += scenario.log_variance(ts_ns)
        coupling *= scenario.coupling(ts_ns)
        share = scenario.pull(times)
        pull += share
        pulled_to += share * anchors.get(scenario.spec.id, 0.0)
    anchor = pulled_to / np.where(pull > 0.0, pull, 1.0)
    return Bend(drift, log_variance, coupling, np.minimum(pull, 1.0), anchor)


@kernel
def to_half_ticks(price: float) -> int:
    """Return a price in half ticks rounded to whole ones, halves to the even, at least one tick and at most 2**52.

    Units: price in half ticks
    """
    value = min(price, MOST_HALF_TICKS)
    whole = int(value)
    rest = value - whole
    if rest > 0.5 or (rest == 0.5 and whole & 1 == 1):
        whole += 1
    return max(whole, FEWEST_HALF_TICKS)


@kernel
def last_at(half_ticks: int, lots: int, moved: float) -> int:
    """Return the tick at which the last of `lots` printed: the nearest to the mid, on the side of the move."""
    if lots < 1:
        return NO_LAST
    if half_ticks & 1 == 0:
        return half_ticks >> 1
    return (half_ticks + 1 if moved >= 0.0 else half_ticks - 1) >> 1
