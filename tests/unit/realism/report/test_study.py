"""Realism from Python: the few calls that a notebook makes."""

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from fauxchange.domain.errors import InvalidRequest
from fauxchange.realism import study
from fauxchange.realism.bars import Bars
from fauxchange.realism.facts import FACTS
from fauxchange.realism.report.comparing import Comparison
from fauxchange.realism.report.plots import overview

Runs = Mapping[str, Mapping[str, Bars]]


def test_weeks_are_simulated_and_judged_in_two_calls() -> None:
    generated = study.simulate(symbols=["btc-usd", "ETH/USD"], weeks=1, seeds=[4], step="1m")

    compared = study.compare(generated, symbol="ETH-USD")

    assert compared.symbol == "ETH/USD"
    assert compared.against.name == "ETH"
    assert compared.verdict.weeks == 1
    assert "facts of ETH/USD" in study.verdict(compared)
    assert max(len(line) for line in study.verdict(compared).splitlines()) <= study.LINE


def test_which_of_several_symbols_has_to_be_said(runs: Runs) -> None:
    generated = study.simulate(symbols=["BTC/USD", "ETH/USD"], weeks=1, seeds=[1], step="1m")

    with pytest.raises(InvalidRequest, match="say which symbol is compared; there are BTC/USD, ETH/USD"):
        study.compare(generated)
    with pytest.raises(InvalidRequest, match="say which symbol"):
        study.compare(runs["seed 1"]["BTC/USD"], symbol="SOL-USD")


def test_a_series_of_ones_own_is_its_own_measure_unless_told_otherwise(runs: Runs) -> None:
    series = runs["seed 1"]["BTC/USD"]

    assert study.compare(series, real=series).against.name.startswith("BTC/USD (own recording")
    assert study.compare(series, real=series, reference="ALT").against.name == "ALT"


def test_facts_and_distances_are_rows_that_a_notebook_shows_as_a_table(comparison: Comparison) -> None:
    facts, distances = study.facts(comparison), study.distances(comparison)

    assert [row["name"] for row in facts] == [fact.name for fact in FACTS]
    assert len(distances) == 10
    table = ET.fromstring(facts._repr_html_())
    assert len(table.findall("tbody/tr")) == len(FACTS)
    assert [cell.text for cell in table.findall("thead/tr/th")] == list(facts.columns)


def test_pictures_are_shown_by_name_and_as_pixels(comparison: Comparison) -> None:
    pictures = study.pictures(comparison)

    assert set(pictures) == {"tails", "memory", "seasons", "fading", "quantiles", "paths"}
    assert pictures["seasons"]._repr_png_().startswith(b"\x89PNG")


def test_the_report_is_written_as_a_page(comparison: Comparison, tmp_path: Path) -> None:
    target = study.report(comparison, tmp_path / "report.html")

    assert target.read_text().startswith("<!DOCTYPE html>")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_one_picture_has_the_essence(comparison: Comparison) -> None:
    assert comparison.real is not None
    intervals = {name: (each.low, each.high) for name, each in comparison.against.intervals.items()}
    weeks = comparison.made_weeks[0], comparison.made_weeks[1]

    drawing = overview("Essence", comparison.real, comparison.made, weeks, intervals).file()

    told = "".join(ET.fromstring(drawing.partition("?>")[2]).itertext())
    assert {"A real week", "A generated week", "Memory of volatility"} <= {line.strip() for line in told.split("\n")}
