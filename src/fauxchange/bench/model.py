"""How quick the price model is alone: symbol-ticks per second, beside NumPy drawing as many random numbers.

The machine is shared, so model and baseline take turns and the medians are compared.
"""

import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from statistics import median
from typing import Any

import numpy as np

from fauxchange.domain.instruments import Instrument
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.compiler import compile_kernel
from fauxchange.services.market_data.core.lmvj import WORDS_PER_STEP, LmvJ
from fauxchange.services.market_data.core.models import Priced
from fauxchange.services.market_data.core.parameters import default_table

BLOCK_STEPS = 1_024
ROWS_PER_TURN = 262_144
START_NS = 1_767_225_600 * NS_PER_S


TARGETS = {"symbols_1000": "ratio >= 0.3"}


def run(symbol_counts: Sequence[int] = (5, 50, 1_000), *, repetitions: int = 5, seed: int = 1) -> dict[str, Any]:
    """Return symbol-ticks per second by number of symbols, each with the baseline and the ratio to it.

    The baseline draws as many standard normals as the model draws words, into one buffer that stays in the cache.
    """
    return {
        "benchmark": "model",
        "model": LmvJ.name,
        "words_per_symbol_tick": WORDS_PER_STEP,
        "repetitions": repetitions,
        "figures": {f"symbols_{count}": _figure(count, repetitions, seed) for count in symbol_counts},
    }


def _figure(count: int, repetitions: int, seed: int) -> dict[str, Any]:
    blocks = max(1, ROWS_PER_TURN // (count * BLOCK_STEPS))
    rows = count * BLOCK_STEPS * blocks
    advance, draw = _model(count, blocks, seed), _baseline(count * blocks, seed)
    # The first turn compiles and warms the caches, and counts for nothing.
    advance()
    draw()
    model_s, baseline_s = [], []
    for _ in range(repetitions):
        model_s.append(_timed(advance))
        baseline_s.append(_timed(draw))
    value, baseline = rows / median(model_s), rows / median(baseline_s)
    return {
        "value": round(value),
        "unit": "symbol-ticks/s",
        "baseline": round(baseline),
        "ratio": round(value / baseline, 3),
    }


def _model(count: int, blocks: int, seed: int) -> Callable[[], None]:
    instruments = (
        Instrument(symbol=f"S{number}/USD", tick_size=Decimal("0.01"), lot_size=Decimal("0.0001"))
        for number in range(count)
    )
    model = LmvJ(
        priced=[Priced(instrument=instrument, initial_price=100.0) for instrument in instruments],
        seed=seed,
        interval_ns=NS_PER_S,
        table=default_table(),
        compiler=compile_kernel,
    )
    next_ns = START_NS

    def advance() -> None:
        nonlocal next_ns
        for _ in range(blocks):
            model.advance(next_ns + NS_PER_S * np.arange(BLOCK_STEPS, dtype=np.int64))
            next_ns += NS_PER_S * BLOCK_STEPS

    return advance


def _baseline(turns: int, seed: int) -> Callable[[], None]:
    generator = np.random.default_rng(seed)
    buffer = np.empty(BLOCK_STEPS * WORDS_PER_STEP)

    def draw() -> None:
        for _ in range(turns):
            generator.standard_normal(out=buffer)

    return draw


def _timed(action: Callable[[], None]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun
