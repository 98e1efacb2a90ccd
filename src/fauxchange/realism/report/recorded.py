"""What is shipped of recorded months: their curves and their shape, and none of their prices.

So a report shows a real market, and how far a generated one is from it, where no recording is at hand.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from fauxchange.realism.bars import Bars, FloatArray
from fauxchange.realism.distances import Shape, shape_from, shape_of
from fauxchange.realism.report.curves import Band, Curves, curves_of

SHIPPED = "recorded-months.json"
DIGITS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedMonth:
    """A recorded month as far as it is shipped. `bars` is how long it was."""

    curves: Curves
    shape: Shape
    bars: int


def recorded_month(base: str) -> RecordedMonth | None:
    """Return what is shipped of a base asset (`BTC`, `ETH`, `SOL`, `ADA`), None of any other."""
    entry = _shipped().get(base)
    if entry is None:
        return None
    return RecordedMonth(curves=curves_from(entry["curves"]), shape=shape_from(entry["shape"]), bars=int(entry["bars"]))


def month_document(label: str, bars: Bars) -> dict[str, Any]:
    """Return what is shipped of a recorded month, as JSON."""
    return {
        "bars": len(bars),
        "curves": curves_document(curves_of(label, [bars])),
        "shape": shape_of(bars).document(),
    }


def curves_document(curves: Curves) -> dict[str, Any]:
    """Return curves as JSON, with five digits."""
    document: dict[str, Any] = {}
    for each in fields(curves):
        value = getattr(curves, each.name)
        if isinstance(value, Band):
            document[each.name] = {part.name: _numbers(getattr(value, part.name)) for part in fields(value)}
        else:
            document[each.name] = _numbers(value) if isinstance(value, np.ndarray) else value
    return document


def curves_from(document: Mapping[str, Any]) -> Curves:
    """Return the curves in a document of `curves_document`."""
    values: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, Mapping):
            values[name] = Band(**{part: _floats(numbers) for part, numbers in value.items()})
        else:
            values[name] = _floats(value) if isinstance(value, list) else value
    return Curves(**values)


@cache
def _shipped() -> Mapping[str, Any]:
    place = files("fauxchange.realism") / "data" / SHIPPED
    documents: Mapping[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return documents


def _numbers(values: FloatArray) -> list[float | None]:
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values.tolist()]


def _floats(values: Sequence[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], np.float64)
