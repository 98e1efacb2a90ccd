"""The stochastic source of prices: a model on a grid of venue time.

Steps lie at whole multiples of the update interval. The source works some steps ahead, because a model is quicker in
blocks; when scenarios change, what has not been handed out is taken back and made anew, and since every random word
has its place this costs nothing but the time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any, Protocol

import numpy as np

from fauxchange.domain.arithmetic import FloatArray
from fauxchange.domain.errors import ConfigurationError, check
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.market_data import FeedSource, Metadata
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_MS, format_duration
from fauxchange.services.market_data.core.batches import SPREAD_BY_POLICY, Int64Array, PriceBatch
from fauxchange.services.market_data.core.gbm import Gbm
from fauxchange.services.market_data.core.lmvj import LmvJ
from fauxchange.services.market_data.core.model_files import InvalidModel, parameters_from_mapping
from fauxchange.services.market_data.core.models import (
    KernelCompiler,
    ModelColumns,
    ModelState,
    Priced,
    PriceModel,
    interpreted,
)
from fauxchange.services.market_data.core.parameters import LmvTable, default_table, initial_price
from fauxchange.services.market_data.core.scenarios import Timeline

DEFAULT_MODEL = "lmv-j"
STATE_VERSION = 1
MIN_INTERVAL_NS = NS_PER_MS
MAX_INTERVAL_NS = 60 * NS_PER_MINUTE

AHEAD_STEPS = 64
AHEAD_ROWS = 4_096
"""How far the source works ahead: so many steps, or fewer where there are many symbols."""
MOST_ROWS = 65_536
"""Rows of one batch at most, whatever is asked for."""


class ModelFactory(Protocol):
    """How a model is made."""

    def __call__(
        self, *, priced: Sequence[Priced], seed: int, interval_ns: int, table: LmvTable, compiler: KernelCompiler
    ) -> PriceModel:
        """Return the model of some symbols at one step length."""
        ...


MODELS: Mapping[str, ModelFactory] = {"lmv-j": LmvJ, "gbm": Gbm}
"""The models by name; another one is another entry."""


FINE_TICK = 1e-4
"""A tick of this share of the price is so fine that it hardly shows in minutes."""


def with_prices(instruments: Sequence[Instrument], initial_prices: Mapping[str, Decimal]) -> tuple[Priced, ...]:
    """Return instruments with their first prices: those given by symbol, or the defaults of their assets.

    Raises: ConfigurationError if a price is less than a tick
    """
    priced = []
    for each in instruments:
        price = float(initial_prices.get(each.symbol, initial_price(each.base, each.quote)))
        if price < float(each.tick_size):
            raise ConfigurationError(
                f"{each.symbol} begins at {price:g}, which is less than its tick of {float(each.tick_size):g}: give it "
                f"a finer one, such as TICK_SIZES={each.symbol}={price * FINE_TICK:.0e}",
                field="TICK_SIZES",
            )
        priced.append(Priced(instrument=each, initial_price=price))
    return tuple(priced)


@dataclass(slots=True)
class _Block:
    """Steps made ahead, how many of them were handed out, and where the model stood before."""

    before: ModelState
    ts_ns: Int64Array
    rows: PriceBatch
    given: int = 0

    @property
    def left(self) -> int:
        return len(self.ts_ns) - self.given


class ModelSource:
    """A price source that draws from a model and never ends.

    Units: interval_ns in nanoseconds of venue time, initial_prices in quote currency by symbol
    """

    kind = FeedSource.SIMULATOR

    def __init__(
        self,
        instruments: Sequence[Instrument],
        *,
        seed: int,
        interval_ns: int,
        model: str = DEFAULT_MODEL,
        initial_prices: Mapping[str, Decimal] | None = None,
        compiler: KernelCompiler = interpreted,
        table: LmvTable | None = None,
        ahead_steps: int = AHEAD_STEPS,
    ) -> None:
        if model not in MODELS:
            raise ConfigurationError(f"{model!r} is not a price model; there are {', '.join(sorted(MODELS))}")
        if not MIN_INTERVAL_NS <= interval_ns <= MAX_INTERVAL_NS:
            raise ConfigurationError(
                f"a price update interval is between {format_duration(MIN_INTERVAL_NS)} and "
                f"{format_duration(MAX_INTERVAL_NS)}, not {format_duration(interval_ns)}"
            )
        check(len(instruments) > 0, "a model prices at least one symbol")
        self.instruments = tuple(instruments)
        self.is_compiled = compiler is not interpreted
        self._seed = seed
        self._interval_ns = interval_ns
        self._configured_ns = interval_ns
        self._priced = with_prices(instruments, initial_prices or {})
        self._timeline = Timeline()
        self._table = table or default_table()
        self._make = partial(MODELS[model], seed=seed, compiler=compiler)
        self._model = self._make(priced=self._priced, interval_ns=interval_ns, table=self._table)
        # As it was configured: parameters that were changed at run time are stored beside the state.
        self._identities = {each.symbol: self._model.identity(each.symbol) for each in self.instruments}
        self.models: Mapping[str, Mapping[str, Any]] = {}
        """By symbol the parameters that are other than at the start."""
        self._ahead = max(1, min(ahead_steps, AHEAD_ROWS // len(instruments)))
        self._block: _Block | None = None
        self._due_ns: int | None = None
        self._skipped = 0
        self._remade = 0
        self._closed = False

    @property
    def due_ns(self) -> int | None:
        """Venue time of the next step, or None before the source is opened."""
        return self._due_ns

    async def open(self, start_ns: int) -> None:
        """Make ready to give rows from venue time `start_ns` on, or from after the last row of a restored state."""
        due_ns = self._on_grid(start_ns)
        last_ns = self._model.state().last_ns
        self._due_ns = due_ns if last_ns is None else max(due_ns, self._on_grid(last_ns + 1))
        self._closed = False

    async def next(self, max_steps: int) -> PriceBatch | None:
        """Return the rows of the next steps: at least one step, at most `max_steps`."""
        check(max_steps > 0, "at least one step is asked for")
        if self._closed:
            return None
        check(self._due_ns is not None, "a source is opened before it gives rows")
        block = self._block
        if block is None or block.left == 0:
            block = self._block = self._made(max_steps)
        first = block.given
        block.given += min(max_steps, block.left)
        self._due_ns = int(block.ts_ns[block.given - 1]) + self._interval_ns
        symbols = len(self.instruments)
        return block.rows.part(first * symbols, block.given * symbols)

    async def close(self) -> None:
        """End; safe to call twice."""
        self._settle()
        self._closed = True

    def schedule(self, timeline: Timeline) -> None:
        """Let these scenarios, and no others, act on every step that has not been handed out yet."""
        self._settle()
        self._timeline = timeline
        self._model.bend(timeline)

    def tune(
        self,
        *,
        interval_ns: int,
        volatility: Mapping[str, float],
        now_ns: int,
        models: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Change step length, volatilities and parameters of every step that has not been handed out yet.

        Prices go on from where they are, and volatility from how calm or wild it is by its new measure; the first step
        after a change may be shorter than the others.

        Units:  volatility by symbol as a multiple of the calibrated one, 1 where none is named; `models` by symbol the
                parameters that are other than at the start
        Raises: InvariantViolation if a step is too short or too long; InvalidModel if parameters are wrong
        """
        check(MIN_INTERVAL_NS <= interval_ns <= MAX_INTERVAL_NS, "a step takes from 1 ms to 1 h")
        models = models or {}
        before, after = self._tuned(self.models), self._tuned(models)
        self._settle()
        state = self._model.state()
        self._priced = tuple(
            replace(priced, volatility=volatility.get(priced.instrument.symbol, 1.0)) for priced in self._priced
        )
        self._model = self._make(priced=self._priced, interval_ns=interval_ns, table=after)
        self._model.bend(self._timeline)
        self._model.restore(
            replace(
                state,
                symbols={name: self._model.carried(name, values, before) for name, values in state.symbols.items()},
            )
        )
        self.models = models
        if interval_ns != self._interval_ns:
            self._interval_ns = interval_ns
            if self._due_ns is not None:
                self._due_ns = self._on_grid(max(now_ns, 0 if state.last_ns is None else state.last_ns + 1))

    def skip_to(self, ts_ns: int) -> int:
        """Leave out the steps before `ts_ns`; return how many were left out.

        The market stood still meanwhile: the next price follows the last one as if nothing lay between them, except
        that scenarios, which belong to venue time, have gone on.
        """
        check(self._due_ns is not None, "a source is opened before steps are left out")
        due_ns, target_ns = self._due_ns or 0, self._on_grid(ts_ns)
        if target_ns <= due_ns:
            return 0
        self._settle()
        skipped = (target_ns - due_ns) // self._interval_ns
        self._due_ns = target_ns
        self._skipped += skipped
        return skipped

    def state(self) -> Metadata:
        """Return a JSON document from which `restore` goes on after the last row given; floats are exact."""
        self._settle()
        state = self._model.state()
        return {
            **self._identity(),
            "position": state.position,
            "last_ns": state.last_ns,
            "models": dict(self.models),
            "symbols": {
                symbol: {
                    "identity": self._identities[symbol],
                    "values": [value.hex() for value in values.tolist()],
                    "anchors": {name: anchor.hex() for name, anchor in state.anchors.get(symbol, {}).items()},
                }
                for symbol, values in state.symbols.items()
            },
        }

    def restore(self, state: Metadata) -> bool:
        """Go on from a document of `state`, before `open`; return False if it does not fit.

        It fits if seed, model, interval and the parameters and grids of the symbols that it shares with this source
        are the same. Symbols that it lacks start afresh and change nothing for the others.
        """
        if {name: state.get(name) for name in self._identity()} != self._identity():
            return False
        try:
            restored = self._parsed(state)
            models = {name: each for name, each in state.get("models", {}).items() if name in self._identities}
            table = self._tuned(models)
        except (KeyError, TypeError, ValueError, AttributeError, InvalidModel):
            return False
        if restored is None:
            return False
        self._block = None
        self.models = models
        self._model = self._make(priced=self._priced, interval_ns=self._interval_ns, table=table)
        self._model.bend(self._timeline)
        self._model.restore(restored)
        return True

    def report(self) -> Metadata:
        """Return what an operator may want to know."""
        return {
            "model": self._model.name,
            "seed": self._seed,
            "interval": format_duration(self._interval_ns),
            "ahead_steps": self._block.left if self._block is not None else 0,
            "skipped_steps": self._skipped,
            "remade_steps": self._remade,
        }

    def _identity(self) -> dict[str, Any]:
        return {
            "version": STATE_VERSION,
            "model": self._model.name,
            "seed": self._seed,
            # As it was configured: one that was changed at run time is changed again after a restart.
            "interval_ns": self._configured_ns,
        }

    def _parsed(self, state: Metadata) -> ModelState | None:
        """Return the state in a document, or None if a symbol in it is not the one known here."""
        symbols: dict[str, FloatArray] = {}
        anchors: dict[str, dict[str, float]] = {}
        fresh = self._model.state().symbols
        for instrument in self.instruments:
            symbol = instrument.symbol
            entry = state["symbols"].get(symbol)
            if entry is None:
                continue
            values = np.array([float.fromhex(text) for text in entry["values"]])
            if entry["identity"] != self._identities[symbol] or values.shape != fresh[symbol].shape:
                return None
            symbols[symbol] = values
            anchors[symbol] = {str(name): float.fromhex(text) for name, text in entry["anchors"].items()}
        last_ns = state["last_ns"]
        return ModelState(
            position=int(state["position"]),
            last_ns=None if last_ns is None else int(last_ns),
            symbols=symbols,
            anchors=anchors,
        )

    def _tuned(self, models: Mapping[str, Mapping[str, Any]]) -> LmvTable:
        """Return the table with the parameters of some symbols changed. Raises: InvalidModel if they are wrong."""
        changed = {name: parameters_from_mapping(each, self._table.of(name)) for name, each in models.items()}
        return replace(self._table, by_symbol={**self._table.by_symbol, **changed})

    def _on_grid(self, ts_ns: int) -> int:
        return -(-ts_ns // self._interval_ns) * self._interval_ns

    def _made(self, max_steps: int) -> _Block:
        most = max(1, MOST_ROWS // len(self.instruments))
        steps = min(max(max_steps, self._ahead), most)
        before = self._model.state()
        ts_ns = (self._due_ns or 0) + self._interval_ns * np.arange(steps, dtype=np.int64)
        return _Block(before, ts_ns, self._batch(ts_ns, self._model.advance(ts_ns)))

    def _settle(self) -> None:
        """Take back the steps that were made and not handed out."""
        block, self._block = self._block, None
        if block is None or block.left == 0:
            return
        self._remade += block.left
        self._model.restore(block.before)
        if block.given:
            self._model.advance(block.ts_ns[: block.given])

    def _batch(self, ts_ns: Int64Array, columns: ModelColumns) -> PriceBatch:
        symbols, rows = len(self.instruments), len(self.instruments) * len(ts_ns)
        return PriceBatch(
            ts_ns=np.repeat(ts_ns, symbols),
            symbol_index=np.tile(np.arange(symbols, dtype=np.int64), len(ts_ns)),
            mid_half_ticks=columns.mids.T.ravel(),
            spread_ticks=np.full(rows, SPREAD_BY_POLICY, np.int64),
            last_ticks=columns.lasts.T.ravel(),
            volume_lots=columns.lots.T.ravel(),
        )
