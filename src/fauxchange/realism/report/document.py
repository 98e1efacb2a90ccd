"""The report as one JSON document, whose names stay."""

import math
from typing import Any

from fauxchange import __version__
from fauxchange.realism.bars import FloatArray
from fauxchange.realism.distances import DISTANCES
from fauxchange.realism.judging import Row, Verdict
from fauxchange.realism.report import words
from fauxchange.realism.report.comparing import Comparison, Correlations, Similarity

FORMAT = 1


def document_of(similarity: Similarity) -> dict[str, Any]:
    """Return everything that the report tells; what is not known is null."""
    return {
        "format": FORMAT,
        "version": __version__,
        "headline": words.headline(similarity),
        "generated": dict(similarity.origin),
        "symbols": [_symbol(comparison) for comparison in similarity.comparisons],
        "correlations": [_correlations(each) for each in similarity.correlations],
    }


def _symbol(comparison: Comparison) -> dict[str, Any]:
    verdict = comparison.verdict
    return {
        "symbol": comparison.symbol,
        "reference": {
            "name": comparison.against.name,
            "weeks": comparison.against.weeks,
            "recording": comparison.real_name if comparison.distances else None,
        },
        "verdict": {"level": words.level_of(verdict), "text": words.verdict_text(comparison), **_score(verdict)},
        "runs": [{"name": name, **_score(each)} for name, each in comparison.by_run.items()],
        "recording": None if comparison.real_verdict is None else _score(comparison.real_verdict),
        "facts": [_fact(row, comparison) for row in verdict.rows],
        "distances": [_distance(name, comparison) for name in DISTANCES if name in comparison.distances],
        "stretches": comparison.stretches,
    }


def _score(verdict: Verdict) -> dict[str, Any]:
    return {
        "passed": verdict.passed,
        "of": verdict.of,
        "structural_passed": verdict.structural_passed,
        "structural_of": verdict.structural_of,
        "coverage": _number(verdict.coverage),
        "weeks": verdict.weeks,
        "key_facts_inside": not words.missed_keys(verdict),
    }


def _fact(row: Row, comparison: Comparison) -> dict[str, Any]:
    real = None
    if comparison.real_verdict is not None and any(
        row.fact.name == other.fact.name for other in comparison.real_verdict.rows
    ):
        real = _number(comparison.real_verdict.row(row.fact.name).value)
    return {
        "name": row.fact.name,
        "title": row.fact.title,
        "meaning": row.fact.meaning,
        "value": _number(row.value),
        "low": _number(row.interval.low),
        "high": _number(row.interval.high),
        "median": _number(comparison.against.medians.get(row.fact.name, math.nan)),
        "recording": real,
        "inside": row.is_inside,
        "state": words.state_of(row),
        "coverage": _number(row.coverage),
        "structural": row.fact.structural,
        "counted": not row.is_set_by_scenario,
    }


def _distance(name: str, comparison: Comparison) -> dict[str, Any]:
    limits = comparison.limits(name)
    value = comparison.distances[name]
    return {
        "name": name,
        "meaning": DISTANCES[name],
        "value": _number(value),
        "real_median": None if limits is None else limits[0],
        "real_p90": None if limits is None else limits[1],
        "within": None if limits is None or math.isnan(value) else value <= limits[1],
    }


def _correlations(each: Correlations) -> dict[str, Any]:
    return {
        "minutes": each.minutes,
        "symbols": list(each.symbols),
        "generated": _matrix(each.generated),
        "targets": None if each.targets is None else _matrix(each.targets),
        "largest_difference": each.largest_miss,
    }


def _matrix(values: FloatArray) -> list[list[float | None]]:
    return [[_number(value) for value in row] for row in values.tolist()]


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
