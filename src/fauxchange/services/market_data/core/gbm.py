"""Geometric Brownian motion: the null model, which lacks every fact that real prices show but the bell curve.

It has the standard deviation per minute that LMV-J is built around, no memory, no jumps, no volume and no market.
A statistic that it passes says nothing; that, and being the shortest example of a model, is what it is for.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fauxchange.domain.arithmetic import FloatArray, WordArray, exp, normals
from fauxchange.domain.chance import WordStream
from fauxchange.domain.kernels import kernel
from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.services.market_data.core.batches import NO_LAST, Int64Array
from fauxchange.services.market_data.core.models import (
    LOG_PRICE,
    Bend,
    KernelCompiler,
    Priced,
    SteppingModel,
    SymbolRows,
    interpreted,
    to_half_ticks,
)
from fauxchange.services.market_data.core.parameters import LmvTable


class GbmLaw(NamedTuple):
    """The numbers of one symbol at one step length."""

    scale: float
    initial_half_ticks: float


@kernel
def step_symbol(law: GbmLaw, state: FloatArray, words: WordArray, bend: Bend, rows: SymbolRows) -> None:
    """Take one symbol through a block of steps."""
    noise = normals(words)
    bent = len(bend.drift) > 0
    log_price = float(state[LOG_PRICE])
    for step in range(len(rows.mids)):
        move = law.scale * float(noise[step])
        if bent:
            move *= exp(0.5 * float(bend.log_variance[step]))
            move += float(bend.drift[step]) + float(bend.pull[step]) * (float(bend.anchor[step]) - log_price)
        log_price += move
        rows.mids[step] = to_half_ticks(exp(log_price) * law.initial_half_ticks)
        rows.lasts[step] = NO_LAST
        rows.lots[step] = 0
    state[LOG_PRICE] = log_price


class Gbm(SteppingModel):
    """Geometric Brownian motion for some symbols at one step length."""

    name = "gbm"

    def __init__(
        self,
        *,
        priced: Sequence[Priced],
        seed: int,
        interval_ns: int,
        table: LmvTable,
        compiler: KernelCompiler = interpreted,
    ) -> None:
        root_dt = math.sqrt(interval_ns / NS_PER_MINUTE)
        self._laws = {
            each.instrument.symbol: GbmLaw(
                table.of(each.instrument.symbol).sigma * each.volatility * root_dt, each.half_ticks
            )
            for each in priced
        }
        self._identities = {
            each.instrument.symbol: f"{table.of(each.instrument.symbol).sigma.hex()}:{each.half_ticks.hex()}"
            for each in priced
        }
        self._streams = [WordStream(seed, "symbol", each.instrument.symbol, "price") for each in priced]
        self._step = compiler(step_symbol)
        super().__init__(priced=priced, seed=seed, interval_ns=interval_ns)

    def identity(self, symbol: str) -> str:
        """Return what the law is made from, but for the step length and what was changed at run time."""
        return self._identities[symbol]

    def fresh_state(self, symbol: str) -> FloatArray:  # noqa: ARG002 - all start alike
        """Return a log price of 0."""
        return np.zeros(1)

    def market(self, ts_ns: Int64Array) -> None:
        """Share nothing."""

    def step_symbol(
        self,
        index: int,
        state: FloatArray,
        market: None,  # noqa: ARG002 - nothing is shared
        bend: Bend,
        rows: SymbolRows,
    ) -> None:
        """Step one symbol through the block."""
        steps = len(rows.mids)
        law = self._laws[self._priced[index].instrument.symbol]
        self._step(law, state, self._streams[index].words(self._position, steps), bend, rows)
