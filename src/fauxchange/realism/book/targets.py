"""What recorded books show: a range for each statistic, and the recordings' own values and curves.

The recordings are minutes of one evening, so a range cannot be a quantile over weeks. It is what the recordings show
in all: whole and in halves, spot and perpetual, of two assets. Where only one of them knows a statistic (depth), its
range is from half of it to twice it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from fauxchange.realism.book.curves import BookCurves, curves_from, curves_of, document_of
from fauxchange.realism.book.recorded import tape_of_files
from fauxchange.realism.book.statistics import STATISTICS, WINDOW_NS, book_statistics
from fauxchange.realism.book.tape import BookTape

RECORDINGS: Final = (
    ("BTC spot", "btc_usdt_spot", True),
    ("BTC perpetual", "btc_usdt_perp", False),
    ("ETH spot", "eth_usdt_spot", False),
)
"""Name, beginning of the files' names, whether the whole stream was recorded with them."""
DAY: Final = "2024-08-08"
NOTED: Final[Mapping[str, Mapping[str, float]]] = {
    "ETH perpetual": {
        "spread_one_tick": 0.95,
        "interval_cv": 1.5,
        "count_fano": 9.0,
        "sign_acf_1": 0.32,
        "sign_acf_5": 0.17,
        "sign_acf_20": 0.0,
        "size_hill": 1.2,
        "size_p99_median": 170.0,
        "mid_zero_1s": 0.37,
        "mid_kurt_1s": 5.0,
    }
}
"""A fourth market of the same minutes, of which only these values were kept."""
ALONE: Final = 2.0
"""A range that one recording alone gives is so many times wider each way."""
ENOUGH_WINDOWS: Final = 6
DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Range:
    """From which value to which recorded books lie."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Say whether a value lies inside; nan does not."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class BookTargets:
    """What books are held against: ranges by statistic, and values and curves by recording."""

    name: str
    ranges: Mapping[str, Range]
    values: Mapping[str, Mapping[str, float]]
    curves: Mapping[str, BookCurves]


@cache
def shipped_targets() -> BookTargets:
    """Return what the recordings show that the product was measured against."""
    text = files("fauxchange.realism.book").joinpath("data/book-targets.json").read_text("utf-8")
    return targets_from(json.loads(text))


def targets_from(document: Mapping[str, Any]) -> BookTargets:
    """Return the targets of a document that `derive` made."""
    return BookTargets(
        name=document["name"],
        ranges={name: Range(*bounds) for name, bounds in document["ranges"].items()},
        values=document["values"],
        curves={name: curves_from(lines) for name, lines in document["curves"].items()},
    )


def derive(folder: Path) -> dict[str, Any]:
    """Return the shipped document, measured anew on the recorded files in a folder."""
    tapes = [
        tape_of_files(
            folder / f"{stem}_trades_{DAY}.csv.gz",
            folder / f"{stem}_bbo_{DAY}.csv.gz",
            depth=folder / f"{stem}_l2_raw_{DAY}.jsonl.gz" if is_whole else None,
            name=name,
        )
        for name, stem, is_whole in RECORDINGS
    ]
    return {
        "name": "Binance, six minutes of 2024-08-08",
        "ranges": {name: [_rounded(low), _rounded(high)] for name, (low, high) in _ranges(tapes).items()},
        "values": {tape.name: _finite(book_statistics(tape)) for tape in tapes},
        "curves": {tape.name: document_of(curves_of(tape)) for tape in tapes},
    }


def own_targets(tape: BookTape) -> BookTargets:
    """Return the targets that a user's recording gives.

    A long one gives ranges over its windows; a short one widens the shipped ranges by what it shows itself.
    """
    each = [book_statistics(window) for window in tape.windows(WINDOW_NS)]
    shipped = shipped_targets()
    ranges: dict[str, Range] = {}
    for statistic in STATISTICS:
        name = statistic.name
        known = [values[name] for values in each if math.isfinite(values[name])]
        if len(each) < ENOUGH_WINDOWS and name in shipped.ranges:
            known += [shipped.ranges[name].low, shipped.ranges[name].high]
        if known:
            ranges[name] = Range(min(known), max(known))
    return BookTargets(
        name=tape.name,
        ranges=ranges,
        values={tape.name: _finite(book_statistics(tape))},
        curves={tape.name: curves_of(tape)},
    )


def _ranges(tapes: Sequence[BookTape]) -> dict[str, tuple[float, float]]:
    known: dict[str, list[float]] = {statistic.name: [] for statistic in STATISTICS}
    recordings = {statistic.name: 0 for statistic in STATISTICS}
    for tape in tapes:
        halves = tape.windows((tape.end_ns - tape.start_ns) // 2)
        for part in (tape, *halves):
            for name, value in book_statistics(part).items():
                if math.isfinite(value):
                    known[name].append(value)
                    recordings[name] += part is tape
    for values in NOTED.values():
        for name, value in values.items():
            known[name].append(value)
    ranges = {}
    for name, each in known.items():
        wider = ALONE if recordings[name] == 1 else 1.0
        ranges[name] = (min(each) / wider, max(each) * wider)
    return ranges


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: _rounded(value) for name, value in values.items() if math.isfinite(value)}


def _rounded(value: float) -> float:
    return round(value, DIGITS)
