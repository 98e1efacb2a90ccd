"""What a tape looks like in curves: the lines of the plots, as plain numbers that can be kept."""

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from fauxchange.domain.times import NS_PER_S
from fauxchange.realism.bars import FloatArray
from fauxchange.realism.book.statistics import (
    RESPONSE_NS,
    autocorrelation,
    mean_response,
    mid_statistics,
    responses_by_size,
)
from fauxchange.realism.book.tape import BookTape

LAGS: Final = tuple(range(1, 51))
WAITS: Final = tuple(float(value) for value in np.round(np.geomspace(0.01, 30.0, 25), 4))
"""Waiting times in mean waiting times."""
SIZES: Final = tuple(float(value) for value in np.round(np.geomspace(0.1, 10_000.0, 26), 3))
"""Sizes in median sizes."""
AFTER_S: Final = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
SPREADS: Final = 5
"""Spreads of so many ticks or more are counted together."""
DIGITS: Final = 5

Line = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class BookCurves:
    """The lines of a tape.

    Units: sign_memory by LAGS; waits and sizes are the shares beyond WAITS and SIZES; depth the share of the lots
           within DEPTH_BPS, empty where depth is not known; spreads the share of quotes by ticks; response_sizes in
           median orders, responses and decay (by AFTER_S) in standard deviations of the mid's second
    """

    sign_memory: Line
    waits: Line
    sizes: Line
    depth: Line
    spreads: Line
    response_sizes: Line
    responses: Line
    decay: Line


def curves_of(tape: BookTape) -> BookCurves:
    """Return the lines of a tape that has orders and quotes."""
    orders = tape.orders()
    waits = np.diff(orders.ns) / max(1.0, float(np.diff(orders.ns).mean()))
    sizes = orders.lots / float(np.median(orders.lots))
    spread = np.clip(tape.ask_ticks - tape.bid_ticks, 1, SPREADS)
    deviation = mid_statistics(tape).get("mid_sd_1s_bps", float("nan"))
    classes, responses = responses_by_size(tape, orders, RESPONSE_NS)
    depth: FloatArray = np.zeros(0)
    if tape.depth is not None and np.isfinite(tape.depth).all(axis=1).any():
        depth = np.nanmean(tape.depth, axis=0)
        depth = depth / depth[-1]
    decay = [mean_response(tape, orders, int(after * NS_PER_S)) / deviation for after in AFTER_S]
    return BookCurves(
        sign_memory=_line([autocorrelation(orders.sign, lag) for lag in LAGS if lag < len(orders.sign) // 2]),
        waits=_line([float((waits > limit).mean()) for limit in WAITS]),
        sizes=_line([float((sizes > limit).mean()) for limit in SIZES]),
        depth=_line(depth),
        spreads=_line([float((spread == ticks).mean()) for ticks in range(1, SPREADS + 1)]),
        response_sizes=_line(classes / float(np.median(orders.lots))),
        responses=_line(responses / deviation),
        decay=_line(decay),
    )


def document_of(curves: BookCurves) -> dict[str, Any]:
    """Return the lines as lists by name."""
    return {name: list(line) for name, line in asdict(curves).items()}


def curves_from(document: dict[str, Any]) -> BookCurves:
    """Return the lines that `document_of` wrote."""
    return BookCurves(**{name: tuple(line) for name, line in document.items()})


def _line(values: Any) -> Line:
    return tuple(round(float(value), DIGITS) for value in values)
