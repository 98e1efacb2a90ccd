"""Words: the verdict says what the numbers say, and no more."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from fauxchange.realism.facts import FACTS
from fauxchange.realism.judging import KEY_FACTS, Row, Verdict
from fauxchange.realism.reference import Interval
from fauxchange.realism.report import words
from fauxchange.realism.report.comparing import Comparison, Correlations


def verdict(*outside: str, coverage: float = 0.9, weeks: int = 48, by_scenario: Sequence[str] = ()) -> Verdict:
    rows = [
        Row(
            fact=fact,
            value=2.0 if fact.name in outside else 0.5,
            interval=Interval(0.0, 1.0),
            is_inside=fact.name not in outside,
            coverage=coverage,
            is_set_by_scenario=fact.name in by_scenario,
        )
        for fact in FACTS
    ]
    return Verdict(rows=tuple(rows), weeks=weeks, reference="BTC")


def without(name: str) -> Verdict:
    """Return a verdict for which a fact could not be judged."""
    whole = verdict()
    return replace(whole, rows=tuple(row for row in whole.rows if row.fact.name != name))


def several(count: int, *, named: bool = False) -> list[str]:
    names = [fact.name for fact in FACTS if (fact.name in KEY_FACTS) == named]
    return names[:count]


@pytest.mark.parametrize(
    ("judged", "level"),
    [
        (verdict(), "alike"),
        (verdict(*several(2)), "alike"),
        (verdict(*several(3)), "near"),
        (verdict(*several(9)), "near"),
        (verdict(*several(10)), "different"),
        (without("hill"), "near"),
        (replace(verdict("vr_15"), rows=verdict("vr_15").rows[7:8]), "different"),
        (verdict("hill"), "near"),
        (verdict(coverage=0.8), "near"),
        (verdict(weeks=12), "alike"),
        (verdict(weeks=11), "undecided"),
        (verdict(*several(3), weeks=4), "near"),
    ],
)
def test_a_level_is_as_high_as_real_series_reach_and_no_higher(judged: Verdict, level: str) -> None:
    assert words.level_of(judged) == level


def test_only_what_passes_is_said_not_to_be_told_apart(comparison: Comparison) -> None:
    texts = {
        level: words.verdict_text(replace(comparison, verdict=judged, distances={}))
        for level, judged in (
            ("alike", verdict(*several(1))),
            ("near", verdict(*several(4))),
            ("different", verdict(*several(15))),
        )
    }

    assert "cannot be told apart" in texts["alike"]
    assert "cannot be told apart" not in texts["near"] + texts["different"]
    assert "easily told apart" in texts["different"]
    assert texts["alike"].startswith("26 of 27 facts of BTC/USD lie in the range of 33 real weeks (BTC); 90 %")


def test_ranges_of_one_recording_are_said_to_be_narrow(comparison: Comparison) -> None:
    own = replace(comparison.against, name="BTC/USD (own recording, 29 days)")

    text = words.verdict_text(replace(comparison, against=own, verdict=verdict(coverage=0.77)))

    assert text.startswith("27 of 27 facts of BTC/USD lie in the range of weeks that are drawn from the recording")
    assert "one season, narrower than several years" in text
    # What real weeks reach was measured with ranges of several years, and says nothing of these.
    assert "83 %" not in text
    assert "18 to 27" not in text


def test_ranges_of_one_recording_do_not_make_a_model_unacceptable(comparison: Comparison) -> None:
    own = replace(comparison.against, name="BTC/USD (own recording, 29 days)")

    text = words.verdict_text(replace(comparison, against=own, verdict=verdict("hill")))

    assert "tail index is among the five that matter most" in text
    assert "no acceptable model" not in text


def test_what_lies_outside_is_named_with_its_value_and_its_side(comparison: Comparison) -> None:
    text = words.verdict_text(replace(comparison, verdict=verdict("hill", "vr_15")))

    assert "Outside: tail index (2, above), variance ratio, 15 minutes (2, above)." in text
    assert "tail index is among the five that no acceptable model may miss" in text


def test_few_weeks_are_said_to_be_few(comparison: Comparison) -> None:
    few = words.verdict_text(replace(comparison, verdict=verdict(weeks=4)))
    many = words.verdict_text(replace(comparison, verdict=verdict(weeks=48)))

    assert "4 weeks are few" in few
    assert "cannot be told apart" not in few
    assert "few" not in many


def test_what_a_scenario_sets_is_not_counted(comparison: Comparison) -> None:
    judged = verdict("vr_15", "vr_60", by_scenario=("vr_15", "vr_60"))

    text = words.verdict_text(replace(comparison, verdict=judged))

    assert text.startswith("25 of 25 facts")
    assert "Facts that a scenario sets by moving the price are shown and not counted." in text
    assert words.state_of(judged.row("vr_15")) == "set by the scenario"


def test_a_series_compared_with_itself_is_told_to_be_the_same(comparison: Comparison) -> None:
    same = dict.fromkeys(comparison.distances, 0.0)

    assert "it is the same series" in words.verdict_text(replace(comparison, distances=same))


def test_distances_beyond_those_of_real_months_are_named(comparison: Comparison) -> None:
    far = {**dict.fromkeys(comparison.distances, 0.0001), "ks_r": 0.9}

    text = words.verdict_text(replace(comparison, distances=far))

    assert "9 of 10 distances to the recording are no larger" in text
    assert "(beyond: ks_r)" in text


def test_correlations_are_judged_by_the_pair_that_misses_most() -> None:
    def measured(miss: float) -> Correlations:
        target = np.array([[1.0, 0.7], [0.7, 1.0]])
        return Correlations(
            minutes=5, symbols=("BTC/USD", "ETH/USD"), generated=target + miss * (1.0 - np.eye(2)), targets=target
        )

    assert "every pair within 0.05" in words.correlation_text([measured(-0.049)])
    assert "not every pair" in words.correlation_text([measured(0.01), measured(-0.06)])
    assert "0.060 at 5 min" in words.correlation_text([measured(-0.06)])


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.012345, "0.0123"), (3.14159, "3.14"), (123.456, "123.5"), (12_345.6, "12346")]
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert words.number(value) == text


def test_what_is_not_known_is_a_dash() -> None:
    assert words.number(None) == words.number(float("nan")) == words.percent(float("nan")) == "-"
