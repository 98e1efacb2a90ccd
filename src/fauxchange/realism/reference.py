"""What real weeks look like: for each fact the interval that holds 90 % of them.

Shipped references are measured on recorded prices of several years (`data/realism-intervals.json`); one can be made of
a user's own recording, by drawing weeks of whole days from it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from fauxchange.domain.arithmetic import units
from fauxchange.domain.chance import WordStream
from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.instruments import parse_symbol
from fauxchange.domain.times import NS_PER_MINUTE, format_duration
from fauxchange.realism.bars import Bars, FloatArray, Int64Array
from fauxchange.realism.facts import FACTS, facts_of

REFERENCES = ("BTC", "ETH", "ALT")
_BY_BASE = {"BTC": "BTC", "XBT": "BTC", "ETH": "ETH"}

LOW, HIGH = 0.05, 0.95
"""Which quantiles over weeks an interval ends at."""
DAY_BARS = 1_440
DAY_NS = DAY_BARS * NS_PER_MINUTE
WEEK_DAYS = 7
LEAST_DAYS = 7
BOOTSTRAP_WEEKS = 200
LEAST_KNOWN = 0.8
"""The share of facts that a recording must have ranges of; prices that stand still have few."""


@dataclass(frozen=True, slots=True)
class Interval:
    """From which value to which the middle 90 % of real weeks lie."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a simulated week is held against.

    `distances` holds, by name, the median and the 90 % quantile of the distances from one real month to another; it is
    empty where they were not measured. `weeks` says how many real (or drawn) weeks the intervals come from.
    """

    name: str
    intervals: Mapping[str, Interval]
    medians: Mapping[str, float]
    distances: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    weeks: int = 0


def reference(name: str) -> Reference:
    """Return a shipped reference: BTC, ETH, or ALT for all others. Raises: InvalidRequest."""
    key = name.strip().upper()
    if key not in REFERENCES:
        raise InvalidRequest(
            f"{name!r} is not a reference; there are {', '.join(REFERENCES)}",
            code="unknown_reference",
            field="reference",
        )
    return _shipped(key)


def reference_for(symbol: str) -> Reference:
    """Return the shipped reference that a symbol is held against. Raises: InvalidRequest."""
    base, _ = parse_symbol(symbol).split("/")
    return reference(_BY_BASE.get(base, "ALT"))


def full_month_facts(name: str) -> Mapping[str, float]:
    """Return the facts of the recorded month of BTC, ETH, SOL or ADA taken as one window."""
    return {fact.name: float(_document()["full_month_value"][name][fact.name]) for fact in FACTS}


def bootstrap_reference(bars: Bars, *, weeks: int = BOOTSTRAP_WEEKS, seed: int = 0) -> Reference:
    """Return a reference of somebody's own recording: weeks of whole days, drawn from it with replacement.

    A day is 24 hours from the time of day at which the recording begins. Drawing days cuts what reaches from one into
    the next, so facts of long memory come out a little low. The same bars and seed give the same reference.

    Raises: InvalidRequest if the bars are not of one minute, hold less than a week of days without a gap, or hardly
            ever move
    """
    if bars.interval_ns != NS_PER_MINUTE:
        raise InvalidRequest(
            f"ranges are made of bars of 1m, and the recording of {bars.symbol} has bars of "
            f"{format_duration(bars.interval_ns)}; give it bars of a minute, or ticks",
            code="unsuitable_bars",
            field="real",
        )
    days = _whole_days(bars)
    if len(days) < LEAST_DAYS:
        raise InvalidRequest(
            f"ranges need {LEAST_DAYS} days of 24 hours without a gap, and the recording of {bars.symbol} has "
            f"{len(days)}; --reference names shipped ones",
            code="too_little_history",
            field="real",
        )
    stream = WordStream(seed, "bootstrap", bars.symbol)
    drawn = (units(stream.words(0, weeks * WEEK_DAYS)) * len(days)).astype(np.int64).reshape(weeks, WEEK_DAYS)
    rows = [facts_of(_week_of(bars, days[picks])) for picks in drawn]
    columns = {fact.name: np.array([row[fact.name] for row in rows]) for fact in FACTS}
    known = {name: values[np.isfinite(values)] for name, values in columns.items()}
    unknown = sum(len(values) == 0 for values in known.values())
    if unknown > (1.0 - LEAST_KNOWN) * len(FACTS):
        raise InvalidRequest(
            f"the recorded prices of {bars.symbol} hardly ever move: {unknown} of {len(FACTS)} facts cannot be "
            "computed of them; --reference names shipped ranges",
            code="unsuitable_bars",
            field="real",
        )
    return Reference(
        name=f"{bars.symbol} (own recording, {len(days)} days)",
        intervals={name: _interval(values) for name, values in known.items() if len(values)},
        medians={name: float(np.median(values)) for name, values in known.items() if len(values)},
        weeks=weeks,
    )


def _interval(values: FloatArray) -> Interval:
    low, high = np.quantile(values, (LOW, HIGH)).tolist()
    return Interval(low, high)


def _whole_days(bars: Bars) -> Int64Array:
    """Return the index of the bar before the first of each day without a gap; all days begin at one time of day."""
    at_begin = (bars.open_ns - bars.open_ns[0]) % DAY_NS == 0
    firsts = np.flatnonzero(at_begin[: max(0, len(bars) - DAY_BARS)])
    return np.asarray(firsts[bars.open_ns[firsts + DAY_BARS] - bars.open_ns[firsts] == DAY_NS], np.int64)


def _week_of(bars: Bars, days: Int64Array) -> Bars:
    """Return days put one after the other; the first bar is there for the first return only."""
    rows = (days[:, None] + 1 + np.arange(DAY_BARS)).ravel()
    returns = np.log(bars.close[rows] / bars.close[rows - 1])
    close = np.exp(np.concatenate(([0.0], np.cumsum(returns))))
    volume = None if bars.volume is None else np.concatenate(([0.0], bars.volume[rows]))
    return Bars(
        symbol=bars.symbol,
        interval_ns=bars.interval_ns,
        open_ns=int(bars.open_ns[0]) + NS_PER_MINUTE * np.arange(len(close), dtype=np.int64),
        open=close,
        high=close,
        low=close,
        close=close,
        volume=volume,
    )


@cache
def _document() -> Mapping[str, Any]:
    path = files("fauxchange.realism") / "data" / "realism-intervals.json"
    document: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


@cache
def _shipped(name: str) -> Reference:
    document = _document()
    # The intervals of ALT are joined from two samples, which have no common median.
    medians = document["medians"]["ALT_2025" if name == "ALT" else name]
    measured: Mapping[str, Any] = document["real_vs_real_distance_median_p90"]
    counts: Mapping[str, int] = document["windows"]
    own = ("ETH", "SOL", "ADA", "DOT") if name == "ALT" else (name,)
    return Reference(
        name=name,
        intervals={fact.name: Interval(*map(float, document["intervals"][name][fact.name])) for fact in FACTS},
        medians={fact.name: float(medians[fact.name]) for fact in FACTS},
        distances={key: (float(median), float(high)) for key, (median, high) in measured.items()},
        weeks=sum(counts[key] for key in own),
    )
