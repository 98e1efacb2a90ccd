"""How alike a simulated book is to recorded ones: each statistic in its range, and what users' orders do."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from fauxchange import __version__
from fauxchange.realism.book.curves import BookCurves, curves_of
from fauxchange.realism.book.simulated import (
    AFTER_S,
    BPS,
    BookSimulation,
    Impact,
    measure_impact,
    simulate_book,
)
from fauxchange.realism.book.statistics import STATISTICS, WINDOW_NS, BookStatistic, windowed_statistics
from fauxchange.realism.book.tape import BookTape
from fauxchange.realism.book.targets import BookTargets, Range, shipped_targets

Told = Callable[[str, int, int], None]
"""Hear how far a piece of work is: its name, what is done, and how much there is in all."""
State = Literal["inside", "below", "above", "unknown", "told"]

FORMAT: Final = 1
IMPACT_SEEDS: Final = 3
BETWEEN: Final = 0.8
"""From which share of statistics inside on a book counts as alike; recordings held against the others reach it."""

LARGE_TICK_BPS: Final = 0.05
"""The recorded books have ticks of 0.002 to 0.04 basis points."""

EXPONENT: Final = Range(0.4, 0.7)
STRENGTH: Final = Range(0.2, 2.0)
LEFT: Final = Range(0.2, 0.8)
"""What is known of metaorders: exponents about one half, a factor of order one, and a decay over minutes.

Source: Toth et al. (2011), Anomalous price impact and the critical nature of liquidity; Bucci et al. (2019), Slow decay
of impact in equity markets
"""

LIMITS: Final = (
    "The ranges come from six minutes of one evening in three markets, whole and in halves (depth: of one, half to "
    "double). They tell what is usual from what is not, and nothing about other hours, other venues or stressed "
    "markets. How busy and how volatile a market is (orders a second, the mid's standard deviation) is a choice, so "
    "it is told and not judged. Instruments whose tick is large for their price have books of another kind; the "
    "recordings are of BTC and ETH."
)


@dataclass(frozen=True, slots=True)
class BookRow:
    """One statistic of a book. Coverage is the share of its windows that lie inside."""

    statistic: BookStatistic
    value: float
    range: Range | None
    recorded: Mapping[str, float]
    coverage: float

    @property
    def state(self) -> State:
        """Where the value lies."""
        if self.statistic.is_scale:
            return "told"
        if self.range is None or math.isnan(self.value):
            return "unknown"
        if self.range.holds(self.value):
            return "inside"
        return "below" if self.value < self.range.low else "above"


@dataclass(frozen=True, slots=True)
class LawRow:
    """One thing that is known of the impact of users' orders. `recorded` ranges are from the literature."""

    name: str
    title: str
    meaning: str
    value: float
    range: Range

    @property
    def state(self) -> State:
        """Where the value lies."""
        if math.isnan(self.value):
            return "unknown"
        if self.range.holds(self.value):
            return "inside"
        return "below" if self.value < self.range.low else "above"


@dataclass(frozen=True, slots=True, kw_only=True)
class BookSimilarity:
    """A book held against recorded ones."""

    name: str
    against: BookTargets
    rows: tuple[BookRow, ...]
    windows: int
    tick_bps: float
    """The tick as a part of the price."""
    curves: BookCurves | None
    impact: Impact | None
    origin: Mapping[str, str]

    @property
    def judged(self) -> tuple[BookRow, ...]:
        """The statistics that count."""
        return tuple(row for row in self.rows if row.state not in ("told", "unknown"))

    @property
    def passed(self) -> int:
        """How many statistics lie inside."""
        return sum(row.state == "inside" for row in self.judged)

    @property
    def laws(self) -> tuple[LawRow, ...]:
        """What is known of the impact of users' orders, and what this book does."""
        return () if self.impact is None else laws_of(self.impact)

    @property
    def verdict(self) -> str:
        """What an analyst should take from it."""
        return verdict_of(self)


def book_similarity(
    simulation: BookSimulation,
    *,
    against: BookTargets | None = None,
    with_impact: bool = True,
    told: Told | None = None,
) -> BookSimilarity:
    """Simulate a book and hold it against recorded ones; `told` hears how far it is.

    Raises: InvalidRequest if the simulation is none
    """
    tape = simulate_book(simulation, None if told is None else lambda done, total: told("book", done, total))
    impact = None
    if with_impact:
        seeds = range(simulation.seed, simulation.seed + IMPACT_SEEDS)
        impact = measure_impact(
            simulation, seeds=seeds, progress=None if told is None else lambda done, total: told("impact", done, total)
        )
    origin = {
        "book": f"{simulation.instrument.symbol}, order flow `{simulation.intensity}`, seed {simulation.seed}",
        "length": f"{simulation.seconds // 60} min of venue time, in {len(tape.windows(WINDOW_NS))} windows",
        "prices": "the model that the feed runs, one price a second",
    }
    return compare_book(tape, against or shipped_targets(), impact=impact, origin=origin)


def compare_book(
    tape: BookTape, against: BookTargets, *, impact: Impact | None = None, origin: Mapping[str, str] | None = None
) -> BookSimilarity:
    """Hold a tape against targets: the median over its windows must lie in each range."""
    medians, each = windowed_statistics(tape)
    return BookSimilarity(
        name=tape.name,
        against=against,
        rows=tuple(_row(statistic, medians[statistic.name], each, against) for statistic in STATISTICS),
        windows=len(each),
        tick_bps=tick_bps_of(tape),
        curves=curves_of(tape) if len(tape.orders().ns) > 1 and len(tape.quote_ns) else None,
        impact=impact,
        origin=origin or {},
    )


def _row(statistic: BookStatistic, value: float, each: Sequence[Mapping[str, float]], against: BookTargets) -> BookRow:
    span = against.ranges.get(statistic.name)
    recorded = {name: values[statistic.name] for name, values in against.values.items() if statistic.name in values}
    known = [window[statistic.name] for window in each if math.isfinite(window[statistic.name])]
    inside = [span.holds(one) for one in known] if span is not None else []
    return BookRow(statistic, value, span, recorded, float(np.mean(inside)) if inside else float("nan"))


def laws_of(impact: Impact) -> tuple[LawRow, ...]:
    """Return what an impact shows beside what is known of impact."""
    return (
        LawRow(
            "impact_exponent",
            "exponent over sizes",
            "how the move a second after grows with size; one half is the square-root law",
            impact.exponent,
            EXPONENT,
        ),
        LawRow(
            "impact_strength",
            "factor Y",
            "of I(Q) = Y sigma sqrt(Q / V), with a day's volatility and volume",
            impact.strength,
            STRENGTH,
        ),
        LawRow(
            "impact_left",
            f"left after {AFTER_S[-1]:.0f} s",
            "part of the move of a second that is still there; impact decays over minutes",
            float(impact.left()[-1]),
            LEFT,
        ),
    )


def verdict_of(similarity: BookSimilarity) -> str:
    """Return the verdict in words."""
    of, passed = len(similarity.judged), similarity.passed
    if not of:
        return "There is too little in this book to measure: it needs a hundred aggressive orders and their quotes."
    outside = [f"{row.statistic.title} ({row.state})" for row in similarity.judged if row.state != "inside"]
    told = f"{passed} of {of} statistics of the book lie where recorded books do ({similarity.against.name})"
    parts = [f"{told}." if not outside else f"{told}; outside: {', '.join(outside)}."]
    if passed == of:
        parts.append("By these statistics it looks like one of them.")
    elif passed >= BETWEEN * of:
        parts.append("It behaves like them in most respects, and can be told apart by what is named.")
    else:
        parts.append("It can be told apart from them easily.")
    parts += _beyond(similarity)
    if similarity.laws:
        exponent, strength, left = (law.value for law in similarity.laws)
        parts.append(
            f"A user's order moves the mid by {strength:.2f} sigma sqrt(Q / V) a second after, with exponent "
            f"{exponent:.2f}, and {100 * left:.0f} % of that is left four minutes later."
        )
    return " ".join(parts)


def _beyond(similarity: BookSimilarity) -> list[str]:
    """Return what makes a book another kind than the recorded ones, whatever it does."""
    told = []
    if similarity.tick_bps > LARGE_TICK_BPS:
        told.append(
            f"A tick of it is {similarity.tick_bps:.2g} basis points, of the recorded books at most {LARGE_TICK_BPS}: "
            "queues at the best are longer and the mid rests more with a tick so large, in real markets too."
        )
    busy = next(row for row in similarity.rows if row.statistic.name == "orders_per_s")
    if busy.range is not None and not busy.range.holds(busy.value):
        told.append(
            f"It has {busy.value:.2g} aggressive orders a second and the recorded books {busy.range.low:.2g} to "
            f"{busy.range.high:.2g}: what depends on how much happens cannot be compared."
        )
    return told


def tick_bps_of(tape: BookTape) -> float:
    """Return the tick in basis points of the price."""
    return 2 * BPS / float(np.median(tape.mid_half_ticks)) if len(tape.quote_ns) else float("nan")


def document_of(similarity: BookSimilarity) -> dict[str, Any]:
    """Return everything that the report tells; what is not known is null."""
    impact = similarity.impact
    return {
        "format": FORMAT,
        "version": __version__,
        "book": similarity.name,
        "against": similarity.against.name,
        "verdict": similarity.verdict,
        "inside": similarity.passed,
        "of": len(similarity.judged),
        "windows": similarity.windows,
        "tick_bps": _number(similarity.tick_bps),
        "origin": dict(similarity.origin),
        "statistics": [
            {
                "name": row.statistic.name,
                "title": row.statistic.title,
                "value": _number(row.value),
                "low": None if row.range is None else _number(row.range.low),
                "high": None if row.range is None else _number(row.range.high),
                "state": row.state,
                "coverage": _number(row.coverage),
                "recorded": {name: _number(value) for name, value in row.recorded.items()},
                "meaning": row.statistic.meaning,
            }
            for row in similarity.rows
        ],
        "impact": None
        if impact is None
        else {
            "sizes_of_day_volume": impact.sizes.tolist(),
            "after_s": list(AFTER_S),
            "moves_bps": np.round(impact.moves, 4).tolist(),
            "runs": impact.runs,
            "laws": [
                {
                    "name": law.name,
                    "value": _number(law.value),
                    "low": law.range.low,
                    "high": law.range.high,
                    "state": law.state,
                }
                for law in similarity.laws
            ],
        },
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
