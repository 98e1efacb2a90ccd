"""The report as a page: whole, alone, escaped, and with everything in it."""

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from fauxchange.realism.bars import Bars
from fauxchange.realism.distances import DISTANCES
from fauxchange.realism.facts import FACTS
from fauxchange.realism.judging import WEEK_RETURNS, Row
from fauxchange.realism.reference import Interval, reference
from fauxchange.realism.report.comparing import Similarity, compare
from fauxchange.realism.report.page import gauge, page, pictures_of

VOID = {"meta", "br", "link", "img"}


class Outline(HTMLParser):
    """Notes what a page is made of, and fails where it is not well-formed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.tags: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in {"src", "href", "xlink:href", "data", "action", "srcset"}:
                self.targets.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def text(similarity: Similarity) -> str:
    return page(similarity)


@pytest.fixture(scope="module")
def outline(text: str) -> Outline:
    parsed = Outline()
    parsed.feed(text)
    parsed.close()
    return parsed


def test_the_page_is_well_formed_and_its_names_are_unique(outline: Outline, text: str) -> None:
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    # Stricter than HTML asks for, and quick to check.
    ET.fromstring(text.removeprefix("<!DOCTYPE html>\n"))


def test_the_page_needs_nothing_from_elsewhere(outline: Outline, text: str) -> None:
    assert outline.tags & {"script", "iframe", "object", "embed", "link", "img", "form"} == set()
    assert all(target.startswith("#") for target in outline.targets)
    assert {target[1:] for target in outline.targets} <= set(outline.ids)
    addresses = set(re.findall(r"https?://[^\"'\s<]+", text))
    # Names of XML vocabularies, which nobody fetches.
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert re.findall(r"url\((?!#)|@import", text) == []


def test_every_fact_and_every_distance_is_there(outline: Outline) -> None:
    told = "".join(outline.text)

    for fact in FACTS:
        assert f"btc-usd-{fact.name}" in outline.ids
        assert fact.meaning in told
    for name, meaning in DISTANCES.items():
        assert name in told
        assert meaning in told


def test_what_comes_from_outside_is_escaped(outline: Outline, text: str) -> None:
    assert "script" not in outline.tags
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "&lt;recorded&gt; &amp; " in text


def test_colours_follow_the_theme(text: str) -> None:
    assert "prefers-color-scheme: dark" in text
    drawings = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert "var(--made)" in drawings
    assert re.findall(r"#[0-9a-f]{6}\b", drawings) == []


def test_all_plots_are_drawn_with_a_caption_each(similarity: Similarity, text: str) -> None:
    [comparison] = similarity.comparisons

    pictures = pictures_of(comparison)

    assert [picture.name for picture in pictures] == ["tails", "memory", "seasons", "fading", "quantiles", "paths"]
    assert text.count("<figure>") == text.count("<figcaption>") == len(pictures) + 1  # and correlations


def test_a_single_week_without_a_recording_is_drawn_too(runs: Mapping[str, Mapping[str, Bars]]) -> None:
    week = runs["seed 1"]["BTC/USD"].part(0, WEEK_RETURNS + 1)

    drawn = pictures_of(compare("BTC/USD", {"seed 1": week}, against=reference("BTC")))

    assert "paths" in [picture.name for picture in drawn]


def test_the_same_report_is_the_same_page(similarity: Similarity, text: str) -> None:
    assert page(similarity) == text


@pytest.mark.parametrize(
    ("value", "state"), [(0.5, "inside"), (-9.0, "below"), (9.0, "above"), (float("nan"), "unknown")]
)
def test_a_gauge_says_in_words_what_it_shows(value: float, state: str) -> None:
    interval = Interval(0.0, 1.0)
    row = Row(fact=FACTS[0], value=value, interval=interval, is_inside=value in interval, coverage=0.5)

    drawing = ET.fromstring(gauge(row, 0.5))

    assert drawing.attrib["aria-label"].endswith(state)
    widths = [float(each) for each in re.findall(r"M([\d.]+)", "".join(part.attrib.get("d", "") for part in drawing))]
    assert all(0.0 <= width <= 168.0 for width in widths)
    assert len(widths) == np.isfinite(value)
