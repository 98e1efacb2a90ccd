"""Comparing: what a report holds, on series whose answer is known."""

import json
from collections.abc import Mapping

import numpy as np
import pytest

from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.realism.bars import Bars
from fauxchange.realism.distances import correlations
from fauxchange.realism.facts import FACTS
from fauxchange.realism.reference import bootstrap_reference, reference
from fauxchange.realism.report.comparing import Comparison, Overlay, Similarity, compare, correlate
from fauxchange.realism.report.document import document_of
from fauxchange.realism.report.targets import CORRELATION_MINUTES
from fauxchange.realism.simulating import START_NS
from fauxchange.services.market_data.core.scenarios import ScenarioKind, ScenarioSpec, Timeline, place

Runs = Mapping[str, Mapping[str, Bars]]


def test_all_weeks_of_all_runs_are_judged_together_and_each_run_by_itself(comparison: Comparison) -> None:
    assert comparison.verdict.weeks == 4
    assert {name: verdict.weeks for name, verdict in comparison.by_run.items()} == {"seed 1": 2, "seed 2": 2}
    assert comparison.made.weeks == 4
    assert len(comparison.made_weeks) == 2


def test_distances_are_medians_over_stretches_as_long_as_the_recording(runs: Runs) -> None:
    series = {name: run["BTC/USD"] for name, run in runs.items()}
    first = runs["seed 1"]["BTC/USD"]

    halves = compare("BTC/USD", series, against=reference("BTC"), real=first.part(0, 10_081))

    assert halves.stretches == 2 * (len(first) // 10_081)
    assert all(value >= 0.0 for value in halves.distances.values())


def test_a_series_has_distance_0_from_itself(runs: Runs) -> None:
    series = runs["seed 1"]["BTC/USD"]

    itself = compare("BTC/USD", {"file": series}, against=reference("BTC"), real=series)

    assert set(itself.distances.values()) == {0.0}
    assert itself.real_verdict is not None
    assert itself.real_verdict.passed == itself.verdict.passed


def test_without_a_recording_what_is_shipped_of_a_month_takes_its_place(runs: Runs) -> None:
    series = {"seed 1": runs["seed 1"]["BTC/USD"]}

    alone = compare("BTC/USD", series, against=reference("BTC"))
    unknown = compare("DOT/USD", series, against=reference("ALT"))

    assert alone.real is not None
    assert alone.real_name == alone.real.label == "real (BTC/USDT, May 2025)"
    assert alone.real_week is None
    assert 0.0 < alone.distances["ks_r"] < 0.1
    # A curve may stand in for another; a distance to another symbol would mean nothing.
    assert unknown.real is not None
    assert "SOL" in unknown.real.label
    assert unknown.distances == {}


def test_limits_of_distances_are_those_of_real_months_even_by_an_own_recording(runs: Runs) -> None:
    series = runs["seed 1"]["BTC/USD"]

    own = compare("BTC/USD", {"file": series}, against=bootstrap_reference(series, weeks=5), real=series)

    assert own.limits("ks_r") == reference("BTC").distances["ks_r"]


def test_a_scenario_s_drift_is_taken_out_before_facts_are_judged(runs: Runs) -> None:
    plain = runs["seed 1"]["BTC/USD"]
    spec = ScenarioSpec(
        id="r", kind=ScenarioKind.RALLY, magnitude=1.0, duration_ns=2_880 * NS_PER_MINUTE, start_offset_ns=NS_PER_MINUTE
    )
    timeline = Timeline(place([spec], origin_ns=START_NS, seed=1))
    ends_ns = plain.open_ns
    path = timeline.scenarios[0].displacement("BTC/USD", ends_ns)
    raised = Bars(
        symbol=plain.symbol,
        interval_ns=plain.interval_ns,
        open_ns=plain.open_ns,
        **{name: getattr(plain, name) * np.exp(path) for name in ("open", "high", "low", "close")},
        volume=plain.volume,
    )
    overlays = {"seed 1": Overlay(timeline=timeline, step_ns=NS_PER_MINUTE)}

    bent = compare("BTC/USD", {"seed 1": raised}, against=reference("BTC"), overlays=overlays)
    alone = compare("BTC/USD", {"seed 1": plain}, against=reference("BTC"))

    judged, usual = bent.verdict, alone.verdict
    assert judged.of < usual.of == len(FACTS)
    for row in judged.judged:
        assert row.value == pytest.approx(usual.row(row.fact.name).value, rel=0.02, abs=0.01)
    assert bent.distances == pytest.approx(alone.distances, abs=0.01)


def test_a_recording_that_nothing_can_be_measured_to_is_refused(runs: Runs) -> None:
    series = runs["seed 1"]["BTC/USD"]

    with pytest.raises(InvalidRequest, match="60 one-minute bars without a gap; comparing with it takes at least 240"):
        compare("BTC/USD", {"seed 1": series}, against=reference("BTC"), real=series.part(0, 60))
    with pytest.raises(InvalidRequest, match="has bars of 1h"):
        compare("BTC/USD", {"seed 1": series}, against=reference("BTC"), real=series.gathered(60 * NS_PER_MINUTE))


def test_correlations_are_means_over_runs_and_need_two_symbols(runs: Runs) -> None:
    both = correlate(list(runs.values()))

    assert [each.minutes for each in both] == list(CORRELATION_MINUTES)
    assert both[0].symbols == ("BTC/USD", "ETH/USD")
    assert 0.5 < both[0].generated[0, 1] < 0.95
    assert correlate([{"BTC/USD": runs["seed 1"]["BTC/USD"]}]) == ()


def test_correlations_are_held_against_recordings_where_every_symbol_has_one(runs: Runs) -> None:
    made, real = runs["seed 1"], runs["seed 2"]

    own = correlate([made], real)
    partly = correlate([made], {"BTC/USD": real["BTC/USD"]})

    for each, shipped in zip(own, partly, strict=True):
        assert each.targets is not None
        assert shipped.targets is not None
        assert each.targets.tolist() == correlations(real, each.minutes).tolist()
        assert shipped.targets.tolist() != each.targets.tolist()


def test_the_document_is_json_with_every_fact(similarity: Similarity) -> None:
    document = json.loads(json.dumps(document_of(similarity), allow_nan=False))

    [symbol] = document["symbols"]
    assert [fact["name"] for fact in symbol["facts"]] == [fact.name for fact in FACTS]
    assert symbol["verdict"]["passed"] == sum(fact["inside"] for fact in symbol["facts"])
    assert set(symbol["facts"][0]) == {
        "name", "title", "meaning", "value", "low", "high", "median", "recording", "inside", "state", "coverage",
        "structural", "counted",
    }  # fmt: skip
    assert len(symbol["distances"]) == 10
    assert {"name", "meaning", "value", "real_median", "real_p90", "within"} == set(symbol["distances"][0])
    assert [each["minutes"] for each in document["correlations"]] == [1, 5, 60]
    assert document["format"] == 1
