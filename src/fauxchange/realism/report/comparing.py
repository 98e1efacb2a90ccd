"""Comparing a generated market with a real one: everything that the report tells, as numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fauxchange.domain.errors import InvalidRequest
from fauxchange.realism.bars import Bars, FloatArray
from fauxchange.realism.distances import Shape, common_times, correlations, distances, require_minutes, shape_of
from fauxchange.realism.judging import WEEK_RETURNS, Verdict, judge, weeks_of, without_drift
from fauxchange.realism.reference import Reference, reference_for
from fauxchange.realism.report.curves import Curves, curves_of
from fauxchange.realism.report.recorded import recorded_month
from fauxchange.realism.report.targets import CORRELATION_MINUTES, correlation_targets
from fauxchange.services.market_data.core.scenarios import Timeline

LEAST_COMMON_MINUTES = 2_880
LEAST_STRETCH = 240
"""Bars without a gap that a recording needs for its curves and distances."""
STAND_IN = "SOL"
"""Whose recorded month is drawn for a symbol of which none is shipped."""
PATHS = 2
"""How many generated weeks are drawn beside the real one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One symbol, generated and real.

    `by_run` has a verdict for each series that was generated, such as one for each seed. `distances` are medians over
    `stretches` pieces as long as the real series; empty where no real one is at hand.
    """

    symbol: str
    against: Reference
    verdict: Verdict
    by_run: Mapping[str, Verdict]
    made: Curves
    made_weeks: tuple[Bars, ...]
    real_name: str = ""
    real: Curves | None = None
    real_week: Bars | None = None
    real_verdict: Verdict | None = None
    distances: Mapping[str, float] = field(default_factory=dict)
    stretches: int = 0

    def limits(self, name: str) -> tuple[float, float] | None:
        """Return the median and the 90 % quantile of a distance from one real month to another."""
        return (self.against.distances or reference_for(self.symbol).distances).get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlations:
    """Correlations of the returns of some symbols over so many minutes.

    Shapes: (symbols, symbols); targets is None where none are known
    """

    minutes: int
    symbols: tuple[str, ...]
    generated: FloatArray
    targets: FloatArray | None

    @property
    def largest_miss(self) -> float | None:
        """How far the pair that misses its target most lies from it."""
        if self.targets is None:
            return None
        pairs = np.triu_indices(len(self.symbols), 1)
        misses = np.abs(self.generated - self.targets)[pairs]
        known = misses[np.isfinite(misses)]
        return float(known.max()) if len(known) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """All that a report tells. `origin` says how the generated market came about, by name."""

    comparisons: tuple[Comparison, ...]
    correlations: tuple[Correlations, ...] = ()
    origin: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Scenarios that ran while the market was generated. Units: step_ns of the model's steps."""

    timeline: Timeline
    step_ns: int


def compare(
    symbol: str,
    runs: Mapping[str, Bars],
    *,
    against: Reference,
    real: Bars | None = None,
    real_name: str = "",
    overlays: Mapping[str, Overlay] | None = None,
) -> Comparison:
    """Hold the runs of one symbol against real weeks and, where there is one, against a real series.

    `overlays` are the scenarios of each run; what they force is taken out before facts are judged.

    Raises: InvalidRequest if a series is not of one-minute bars, there is no whole week without a gap, or the real
            series is too short to be measured to
    """
    if real is not None:
        require_measurable(real)
    rest = {name: _rest(bars, (overlays or {}).get(name)) for name, bars in runs.items()}
    judged = {name: weeks_of(bars) for name, bars in rest.items()}
    under = bool(overlays)
    weeks = [week for bars in judged.values() for week in bars]
    whole = [week for bars in runs.values() for week in weeks_of(bars)]
    if real is not None:
        shown: Curves | None = curves_of("real", [real])
        far, stretches = _distances(shape_of(real), len(real), list(rest.values()))
        name = real_name or real.symbol
    else:
        base = symbol.partition("/")[0]
        month = recorded_month(base)
        stand_in = month or recorded_month(STAND_IN)
        shown, name = (None, "") if stand_in is None else (stand_in.curves, stand_in.curves.label)
        far, stretches = ({}, 0) if month is None else _distances(month.shape, month.bars, list(rest.values()))
    return Comparison(
        symbol=symbol,
        against=against,
        verdict=judge(weeks, against, under_scenario=under),
        by_run={name: judge(each, against, under_scenario=under) for name, each in judged.items()},
        made=curves_of("generated", weeks),
        made_weeks=tuple(_spaced(whole, PATHS)),
        real_name=name,
        real=shown,
        real_week=None if real is None else next(iter(real.windows(WEEK_RETURNS)), real),
        real_verdict=None if real is None else _verdict_of(real, against),
        distances=far,
        stretches=stretches,
    )


def require_measurable(real: Bars) -> None:
    """Refuse a recording that nothing can be measured to. Raises: InvalidRequest."""
    require_minutes(real)
    longest = max(map(len, real.runs()), default=0)
    if longest < LEAST_STRETCH:
        raise InvalidRequest(
            f"the recording of {real.symbol} has {longest:,} one-minute bars without a gap; comparing with it takes at "
            f"least {LEAST_STRETCH}",
            code="too_little_history",
            field="real",
        )


def correlate(
    runs: Sequence[Mapping[str, Bars]], recordings: Mapping[str, Bars] | None = None
) -> tuple[Correlations, ...]:
    """Return the correlations between the symbols of some runs, the mean over runs.

    Targets are those of the recordings where each symbol has one and they have days in common, else the shipped ones.
    There are none of a single symbol, nor of files that have hardly a time in common.
    """
    symbols = tuple(runs[0])
    if len(symbols) < 2 or any(len(common_times(run)) < LEAST_COMMON_MINUTES for run in runs):
        return ()
    real = {symbol: recordings[symbol] for symbol in symbols if symbol in recordings} if recordings else {}
    is_recorded = len(real) == len(symbols) and len(common_times(real)) >= LEAST_COMMON_MINUTES
    return tuple(
        Correlations(
            minutes=minutes,
            symbols=symbols,
            generated=np.mean([correlations(run, minutes) for run in runs], axis=0),
            targets=correlations(real, minutes) if is_recorded else correlation_targets(symbols, minutes),
        )
        for minutes in CORRELATION_MINUTES
    )


def _rest(bars: Bars, overlay: Overlay | None) -> Bars:
    return bars if overlay is None else without_drift(bars, overlay.timeline, step_ns=overlay.step_ns)


def _verdict_of(real: Bars, against: Reference) -> Verdict | None:
    weeks = list(real.windows(WEEK_RETURNS))
    return judge(weeks, against) if weeks else None


def _distances(real: Shape, length: int, runs: Sequence[Bars]) -> tuple[dict[str, float], int]:
    # Statistics of a month scatter as those of a month: pieces as long as the real series are held against it.
    pieces = []
    for bars in runs:
        count = max(1, len(bars) // length)
        pieces += [bars.part(number * length, (number + 1) * length) for number in range(count)]
    rows = [distances(real, piece) for piece in pieces]
    medians = {name: [row[name] for row in rows if not math.isnan(row[name])] for name in rows[0]}
    return {name: float(np.median(values)) if values else math.nan for name, values in medians.items()}, len(pieces)


def _spaced(weeks: Sequence[Bars], count: int) -> list[Bars]:
    """Return weeks that lie apart: the first, and others spread over the rest."""
    places = np.unique(np.linspace(0, len(weeks) - 1, min(count, len(weeks))).astype(np.int64))
    return [weeks[place] for place in places.tolist()]
