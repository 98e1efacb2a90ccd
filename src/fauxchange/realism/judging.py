"""Judge simulated weeks by real ones: a fact passes if its median over weeks lies in the interval of real weeks.

The length of a window is part of the rule, because several facts depend on it: it is a week of one-minute returns.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fauxchange.domain.arithmetic import log
from fauxchange.domain.errors import InvalidRequest, check
from fauxchange.realism.bars import Bars, FloatArray, Int64Array
from fauxchange.realism.distances import require_minutes
from fauxchange.realism.facts import FACTS, Fact, facts_of
from fauxchange.realism.reference import Interval, Reference
from fauxchange.services.market_data.core.models import bend_of
from fauxchange.services.market_data.core.scenarios import Timeline

WEEK_RETURNS = 10_080
"""Returns of a window: seven days of one-minute bars."""
KEY_FACTS = ("acf_abs_60", "acf_logrv_6h", "hill", "kurt_1", "qkurt_cond")
"""Facts without which nothing is accepted: GARCH fails them on memory, geometric Brownian motion on everything."""
MOST_OUTSIDE = 2
LEAST_COVERAGE = 0.82
"""What real weeks outside of a reference reach is 0.83 to 0.93."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How one fact came out.

    `value` is the median over weeks, `coverage` the share of the weeks that lie inside by themselves. A fact that a
    scenario sets is shown and not counted.
    """

    fact: Fact
    value: float
    interval: Interval
    is_inside: bool
    coverage: float
    by_week: tuple[float, ...] = ()
    is_set_by_scenario: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of judging: `passed` of so many facts that could be judged.

    `coverage` is the share of all (week, fact) pairs that lie inside. Volume facts of a series without volume are no
    part of any of this.
    """

    rows: tuple[Row, ...]
    weeks: int
    reference: str

    @property
    def judged(self) -> tuple[Row, ...]:
        """The rows that count."""
        return tuple(row for row in self.rows if not row.is_set_by_scenario)

    @property
    def passed(self) -> int:
        """How many facts lie inside."""
        return sum(row.is_inside for row in self.judged)

    @property
    def of(self) -> int:
        """How many facts were judged."""
        return len(self.judged)

    @property
    def structural_passed(self) -> int:
        """How many of the facts that noise fails lie inside."""
        return sum(row.is_inside for row in self.judged if row.fact.structural)

    @property
    def structural_of(self) -> int:
        """How many of the facts that noise fails were judged."""
        return sum(row.fact.structural for row in self.judged)

    @property
    def coverage(self) -> float:
        """The share of (week, fact) pairs that lie inside."""
        return float(np.mean([row.coverage for row in self.judged])) if self.judged else math.nan

    @property
    def is_accepted(self) -> bool:
        """Whether this cannot be told from a market: at most two facts outside, the key facts inside, and coverage."""
        inside = {row.fact.name for row in self.judged if row.is_inside}
        few_outside = self.of - self.passed <= MOST_OUTSIDE
        return few_outside and inside.issuperset(KEY_FACTS) and self.coverage >= LEAST_COVERAGE

    def row(self, name: str) -> Row:
        """Return the row of a fact by its name."""
        return next(row for row in self.rows if row.fact.name == name)


def weeks_of(bars: Bars) -> list[Bars]:
    """Return the whole weeks without a gap.

    Raises: InvalidRequest if the bars are not of one minute, or there is no such week
    """
    require_minutes(bars)
    weeks = list(bars.windows(WEEK_RETURNS))
    if not weeks:
        longest = max((len(run) for run in bars.runs()), default=0)
        raise InvalidRequest(
            f"{bars.symbol} has {longest:,} one-minute bars without a gap; judging takes at least a week of them "
            f"({WEEK_RETURNS + 1:,})",
            code="too_little_history",
        )
    return weeks


def judge(windows: Sequence[Bars], against: Reference, *, under_scenario: bool = False) -> Verdict:
    """Hold the median over windows of every fact against the interval of real ones.

    With `under_scenario` the facts that a direction sets are shown but not counted.

    Raises: InvalidRequest if there is no window, or one is not of one-minute bars
    """
    if not windows:
        raise InvalidRequest("there is no week to judge", code="too_little_history")
    for window in windows:
        require_minutes(window)
    values = [facts_of(window) for window in windows]
    has_volume = any(window.volume is not None and bool((window.volume > 0.0).any()) for window in windows)
    facts = [fact for fact in FACTS if (has_volume or not fact.needs_volume) and fact.name in against.intervals]
    rows = [
        _row(fact, [each[fact.name] for each in values], against, under_scenario and fact.is_set_by_direction)
        for fact in facts
    ]
    return Verdict(rows=tuple(rows), weeks=len(windows), reference=against.name)


def without_drift(bars: Bars, timeline: Timeline, *, step_ns: int) -> Bars:
    """Return bars whose closes lack what scenarios forced; the other prices are moved along.

    Paths (of rally, crash and divergence) are taken out exactly. What a reverting scenario pulled is told from the
    closes themselves, bar by bar, where the model pulled step by step.

    Units: step_ns is how long before a bar's end its last price lies
    """
    before_ns = int(bars.open_ns[0]) - step_ns
    ends_ns = bars.open_ns + (bars.interval_ns - step_ns)
    prices = np.log(bars.close)
    check(bool(np.isfinite(prices).all()), "prices are positive")
    anchors = _anchors(prices, timeline, ends_ns)
    bend = bend_of(timeline, bars.symbol, before_ns, ends_ns, anchors)
    if not len(bend.drift):
        return bars
    previous = np.concatenate((prices[:1], prices[:-1]))
    forced = np.cumsum(bend.drift + bend.pull * (bend.anchor - previous))
    shrink: FloatArray = np.exp(-forced)
    return Bars(
        symbol=bars.symbol,
        interval_ns=bars.interval_ns,
        open_ns=bars.open_ns,
        open=bars.open * shrink,
        high=bars.high * shrink,
        low=bars.low * shrink,
        close=bars.close * shrink,
        volume=bars.volume,
    )


def _anchors(prices: FloatArray, timeline: Timeline, ends_ns: Int64Array) -> dict[str, float]:
    """Return the log price that each reverting scenario pulls to: its level, or the price at which it began."""
    anchors: dict[str, float] = {}
    for scenario in timeline.scenarios:
        level = scenario.spec.level
        begun = int(np.searchsorted(ends_ns, scenario.start_ns, side="right")) - 1
        anchors[scenario.spec.id] = log(level) if level is not None else float(prices[max(begun, 0)])
    return anchors


def _row(fact: Fact, values: Sequence[float], against: Reference, is_set_by_scenario: bool) -> Row:
    interval = against.intervals[fact.name]
    known = [value for value in values if not math.isnan(value)]
    value = float(np.median(known)) if known else math.nan
    return Row(
        fact=fact,
        value=value,
        interval=interval,
        is_inside=value in interval,
        coverage=sum(each in interval for each in values) / len(values),
        by_week=tuple(values),
        is_set_by_scenario=is_set_by_scenario,
    )
