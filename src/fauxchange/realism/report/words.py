"""The words of the report: what numbers mean for somebody who has to decide whether to trust a simulated market."""

import math
from collections.abc import Iterable
from typing import Literal

from fauxchange.realism.judging import KEY_FACTS, LEAST_COVERAGE, Row, Verdict
from fauxchange.realism.reference import REFERENCES
from fauxchange.realism.report.comparing import Comparison, Correlations, Similarity

Level = Literal["alike", "undecided", "near", "different"]

LEAST_NEAR = 18 / 27
"""What the worst of nine real series reached."""
REAL_COVERAGE = (0.83, 0.93)
CORRELATION_MISS = 0.05
FEW_WEEKS = 12

HEADLINES: dict[Level, str] = {
    "alike": "Not distinguishable from a real market by these facts",
    "undecided": "Like a real market so far, from few weeks",
    "near": "Near a real market, with differences that show",
    "different": "Distinguishable from a real market",
}

MARKS = {"inside": "✓", "below": "▼", "above": "▲", "unknown": "?", "set by the scenario": "·"}
"""What stands beside a word, so that nothing is told by colour alone."""

HOW_TO_READ = (
    "Each fact is computed for every week of one-minute bars by itself; its value is the median over the weeks. It is "
    "inside if it lies between the 5 % and the 95 % quantile of the same fact over real weeks. Coverage is the share "
    "of single weeks inside: of real markets it is 83 to 93 %, not 100. Nobody passes everything: real series that "
    "were judged by the weeks of others passed 18 to 27 facts of 27, 25 in the median. Pure noise passes about ten."
)
LIMITS = (
    "What is judged are weeks of one-minute bars. Nothing here speaks of seconds, of the order book, of weekdays, or "
    "of days more extreme than the real weeks held; and 33 real weeks give 5 and 95 % quantiles that are uncertain "
    "themselves."
)


def level_of(verdict: Verdict) -> Level:
    """Return how far a verdict reaches: accepted (of weeks enough), what single real series reach, or less."""
    if verdict.is_accepted:
        return "alike" if verdict.weeks >= FEW_WEEKS else "undecided"
    return "near" if verdict.passed >= LEAST_NEAR * verdict.of else "different"


def missed_keys(verdict: Verdict) -> list[Row]:
    """Return the facts that lie outside and must not."""
    return [row for row in outside(verdict) if row.fact.name in KEY_FACTS]


def outside(verdict: Verdict) -> list[Row]:
    """Return the judged facts that lie outside."""
    return [row for row in verdict.judged if not row.is_inside]


def verdict_text(comparison: Comparison) -> str:
    """Return the verdict on one symbol in a paragraph that says what passes, what does not, and what that means."""
    verdict = comparison.verdict
    level = level_of(verdict)
    shipped = is_shipped(comparison)
    weeks = f"{comparison.against.weeks} real weeks ({comparison.against.name})"
    whose = weeks if shipped else "weeks that are drawn from the recording's own days"
    counted = f"{verdict.passed} of {verdict.of} facts of {comparison.symbol} lie in the range of {whose}"
    sentences = [f"{counted}; {percent(verdict.coverage)} of the single weeks' values do."]
    sentences += [_meaning(level, shipped=shipped), *_misses(verdict, shipped=shipped)]
    if verdict.coverage < LEAST_COVERAGE and shipped:
        sentences.append(
            f"Its weeks stray more than real ones, which lie inside in {percent(REAL_COVERAGE[0])} to "
            f"{percent(REAL_COVERAGE[1])} of all values."
        )
    sentences += [*_distance_words(comparison), *_caveats(comparison)]
    return " ".join(sentences)


def _meaning(level: Level, *, shipped: bool) -> str:
    if level == "different":
        return "No real series did so badly (the worst of nine passed 18 of 27): it is easily told apart."
    if level == "near" and shipped:
        return (
            "That is within what single real series reach (18 to 27 of 27, 25 in the median), but somebody who looks "
            "for the differences below finds them."
        )
    if level == "undecided":
        return "That is as good as real series are (25 of 27 in the median), as far as so few weeks can say."
    if level == "near":
        return "More facts, or more of the single weeks, lie outside than those of a market of the same season would."
    return (
        "A real series judged in this way does no better in the median (25 of 27): by these measures, on weeks of "
        "one-minute bars, it cannot be told apart."
    )


def correlation_text(correlations: Iterable[Correlations]) -> str:
    """Return what correlations come to in a sentence or two; nothing where none were measured."""
    known = [(each.minutes, each.largest_miss) for each in correlations if each.largest_miss is not None]
    if not known:
        return ""
    told = ", ".join(f"{miss:.3f} at {minutes} min" for minutes, miss in known)
    good = all(miss <= CORRELATION_MISS for _, miss in known)
    meaning = (
        f"every pair within {CORRELATION_MISS} of the real one"
        if good
        else f"not every pair is within {CORRELATION_MISS} of the real one"
    )
    return f"Correlations between symbols: {meaning} (largest difference {told})."


def headline(similarity: Similarity) -> str:
    """Return the report in a line: the worst symbol decides."""
    levels = {level_of(comparison.verdict) for comparison in similarity.comparisons}
    order: tuple[Level, ...] = ("different", "near", "undecided", "alike")
    return HEADLINES[next(level for level in order if level in levels)]


def is_shipped(comparison: Comparison) -> bool:
    """Say whether real weeks of several years were the measure, not one recording's own days."""
    return comparison.against.name in REFERENCES


def percent(share: float) -> str:
    """Return a share as text."""
    return "-" if math.isnan(share) else f"{100.0 * share:.0f} %"


def number(value: float | None) -> str:
    """Return a statistic with three digits."""
    if value is None or math.isnan(value):
        return "-"
    if value == 0.0:
        return "0"
    return f"{value:.0f}" if abs(value) >= 1_000 else f"{value:.4g}" if abs(value) >= 100 else f"{value:.3g}"


def state_of(row: Row) -> str:
    """Return how a fact came out in a word."""
    if row.is_set_by_scenario:
        return "set by the scenario"
    if math.isnan(row.value):
        return "unknown"
    return "inside" if row.is_inside else "below" if row.value < row.interval.low else "above"


def _misses(verdict: Verdict, *, shipped: bool) -> list[str]:
    missed = outside(verdict)
    if not missed:
        return ["No fact lies outside."]
    named = ", ".join(f"{row.fact.title} ({number(row.value)}, {state_of(row)})" for row in missed[:8])
    more = f" and {len(missed) - 8} more" if len(missed) > 8 else ""
    sentences = [f"Outside: {named}{more}."]
    vital = missed_keys(verdict)
    if vital:
        titles = _and([row.fact.title for row in vital])
        are = "is among" if len(vital) == 1 else "are" if len(vital) == len(KEY_FACTS) else "are among"
        # One recording's own ranges are too narrow to reject a model by.
        what = "that no acceptable model may miss" if shipped else "that matter most"
        sentences.append(f"Of these, {titles} {are} the five {what}.")
    return sentences


def _distance_words(comparison: Comparison) -> list[str]:
    known = {name: value for name, value in comparison.distances.items() if not math.isnan(value)}
    judged = {name: limits for name in known if (limits := comparison.limits(name)) is not None}
    if not judged:
        return []
    if not any(known.values()):
        return ["Every distance to the recording is 0: it is the same series."]
    what = "the recorded month" if comparison.real_week is None else "the recording"
    near = [name for name in judged if known[name] <= judged[name][1]]
    beyond = [name for name in judged if name not in near]
    which = f" (beyond: {_and(beyond)})" if beyond else ""
    counted = f"{len(near)} of {len(judged)} distances to {what}"
    return [f"{counted} are no larger than those between nine in ten pairs of real months{which}."]


def _caveats(comparison: Comparison) -> list[str]:
    caveats = []
    if comparison.verdict.weeks < FEW_WEEKS:
        caveats.append(
            f"{comparison.verdict.weeks} week{'s are' if comparison.verdict.weeks != 1 else ' is'} few: take at least "
            f"{FEW_WEEKS} before believing a point more or less."
        )
    if not is_shipped(comparison):
        caveats.append(
            "The ranges come from one recording: one season, narrower than several years (--reference has those), and "
            "with little of what outlasts a day."
        )
    if any(row.is_set_by_scenario for row in comparison.verdict.rows):
        caveats.append("Facts that a scenario sets by moving the price are shown and not counted.")
    return caveats


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
