"""Random numbers within a slice: a small generator that is seeded anew for each slice from the words of its stream.

How many numbers a slice takes depends on what happens in it, so the words of a stream cannot be handed out one by one
without the slices' depending on each other. The generator's products stay within 53 bits, which makes plain Python and
compiled code agree.
"""

from typing import Final

import numpy as np

from fauxchange.domain.arithmetic import FloatArray, WordArray, exp_each, normal_quantiles
from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.flow.layout import N_RANDOM
from fauxchange.services.exchange.core.layout import Int64Array, Memory

_M1: Final = 4294967087
_M2: Final = 4294944443
_A12: Final = 1403580
_A13: Final = 810728
_A21: Final = 527612
_A23: Final = 1370589
_UNIT: Final = 2.328306549295727688e-10
WORDS: Final = 3
"""Words that seed a slice."""
CELLS: Final = 1024
"""Cells of a table of quantiles."""


def seeds(words: WordArray) -> Int64Array:
    """Return the seeds that the words of slices make. Shapes: (n, WORDS) to (n, 6)."""
    halves = np.stack([words >> np.uint64(32), words & np.uint64(0xFFFFFFFF)], axis=-1).astype(np.int64)
    # The first three belong to one component and the others to the other; none of the components is all zeros.
    flat = halves.reshape(len(words), 2 * WORDS)
    return np.concatenate([flat[:, :3] % (_M1 - 1) + 1, flat[:, 3:] % (_M2 - 1) + 1], axis=1)


@lean_kernel
def draw(n: Memory) -> float:
    """Return the next number of an instrument's generator, uniform and strictly between 0 and 1.

    Source: L'Ecuyer (1999), Good parameters and implementations for combined multiple recursive random number
            generators, Operations Research 47, MRG32k3a
    """
    first = (_A12 * n[N_RANDOM + 1] - _A13 * n[N_RANDOM]) % _M1
    n[N_RANDOM] = n[N_RANDOM + 1]
    n[N_RANDOM + 1] = n[N_RANDOM + 2]
    n[N_RANDOM + 2] = first
    second = (_A21 * n[N_RANDOM + 5] - _A23 * n[N_RANDOM + 3]) % _M2
    n[N_RANDOM + 3] = n[N_RANDOM + 4]
    n[N_RANDOM + 4] = n[N_RANDOM + 5]
    n[N_RANDOM + 5] = second
    difference = first - second
    if difference <= 0:
        difference += _M1
    return difference * _UNIT


@lean_kernel
def draw_from(n: Memory, quantiles: FloatArray) -> float:
    """Return a number of the distribution that a table has the quantiles of, straight between its cells."""
    place = draw(n) * CELLS
    cell = int(place)
    return float(quantiles[cell] + (place - cell) * (quantiles[cell + 1] - quantiles[cell]))


def normal_table() -> FloatArray:
    """Return quantiles of the standard normal distribution, cut close to 0 and 1. Shapes: (CELLS + 1,)."""
    inner = np.arange(1, CELLS, dtype=np.float64) / CELLS - 0.5
    far = np.array([0.5 - 0.1 / CELLS])
    centred = np.concatenate([-far, inner, far])
    return normal_quantiles(centred)


def log_normal_table(deviation: float) -> FloatArray:
    """Return quantiles of a log-normal distribution of median 1. Shapes: (CELLS + 1,)."""
    return exp_each(deviation * normal_table())
