"""What real markets' correlations are: measured on recorded months, and shipped as numbers."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from fauxchange.realism.bars import FloatArray

CORRELATION_MINUTES = (1, 5, 60)
SHIPPED = "correlation-targets.json"


def correlation_targets(symbols: Sequence[str], minutes: int) -> FloatArray | None:
    """Return the real correlations between symbols, nan of pairs that were not measured; None if all were not.

    Shapes: result (symbols, symbols)
    """
    pairs = _pairs(minutes)
    bases = [symbol.partition("/")[0] for symbol in symbols]
    result = np.array([[1.0 if a == b else pairs.get(frozenset((a, b)), np.nan) for b in bases] for a in bases])
    between = result[np.triu_indices(len(bases), 1)]
    return result if np.isfinite(between).any() else None


@cache
def _pairs(minutes: int) -> Mapping[frozenset[str], float]:
    place = files("fauxchange.realism") / "data" / SHIPPED
    if not place.is_file():
        return {}
    document: Mapping[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return {frozenset(pair.split("-")): float(value) for pair, value in document["pairs"][str(minutes)].items()}
