"""Books that the order flow makes, and the report of one."""

import json
from decimal import Decimal
from html.parser import HTMLParser

import numpy as np
import pytest

from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.instruments import Instrument
from fauxchange.realism.book.page import page
from fauxchange.realism.book.report import (
    BookSimilarity,
    book_similarity,
    compare_book,
    document_of,
    laws_of,
)
from fauxchange.realism.book.simulated import AFTER_S, SIZES, BookSimulation, Impact, simulate_book
from fauxchange.realism.book.statistics import STATISTICS
from fauxchange.realism.book.tape import BookTape
from fauxchange.realism.book.targets import shipped_targets

BTC = Instrument(symbol="BTC/USD", tick_size=Decimal("0.01"), lot_size=Decimal("0.00001"))


@pytest.fixture(scope="module")
def tape() -> BookTape:
    return simulate_book(BookSimulation(instrument=BTC, seconds=90))


@pytest.fixture
def impact() -> Impact:
    """Return an exact square-root law whose moves fade to a half."""
    fading = np.linspace(1.0, 0.5, len(AFTER_S))
    fading[1] = 1.0
    return Impact(np.array(SIZES), 0.7 * 0.03 * np.sqrt(np.array(SIZES))[:, None] * 10_000 * fading, 0.03, 6)


def test_a_simulated_book_lives_and_is_never_crossed(tape: BookTape) -> None:
    assert len(tape.orders().ns) > 100
    assert len(tape.quote_ns) > 1_000
    assert (tape.bid_ticks < tape.ask_ticks).all()
    assert (tape.ask_ticks - tape.bid_ticks == 1).mean() > 0.8
    assert tape.quote_ns[0] == tape.start_ns
    assert tape.depth is not None
    assert len(tape.depth) == 90


def test_the_same_seed_gives_the_same_book_and_another_gives_another(tape: BookTape) -> None:
    again = simulate_book(BookSimulation(instrument=BTC, seconds=90))
    other = simulate_book(BookSimulation(instrument=BTC, seconds=90, seed=2))

    assert np.array_equal(again.quote_ns, tape.quote_ns)
    assert np.array_equal(again.trade_lots, tape.trade_lots)
    assert not np.array_equal(other.trade_lots, tape.trade_lots)


def test_what_cannot_be_simulated_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="there are calm, busy"):
        BookSimulation(instrument=BTC, seconds=90, intensity="wild")
    with pytest.raises(InvalidRequest, match="up to 1440 minutes"):
        BookSimulation(instrument=BTC, seconds=10**6)


def test_a_square_root_law_is_found_in_impact(impact: Impact) -> None:
    exponent, strength, left = laws_of(impact)

    assert exponent.value == pytest.approx(0.5)
    assert strength.value == pytest.approx(0.7)
    assert left.value == pytest.approx(0.5)
    assert {exponent.state, strength.state, left.state} == {"inside"}


def test_a_move_that_grows_with_size_itself_is_outside() -> None:
    impact = Impact(np.array(SIZES), np.array(SIZES)[:, None] * np.full(len(AFTER_S), 1e5), 0.03, 6)

    exponent, _, left = laws_of(impact)

    assert (exponent.state, left.state) == ("above", "above")


def test_a_recorded_book_held_against_itself_is_inside_everywhere() -> None:
    targets = shipped_targets()

    for name in targets.values:
        for statistic in STATISTICS:
            value = targets.values[name].get(statistic.name)
            assert value is None or targets.ranges[statistic.name].holds(value)


def test_the_report_says_what_is_inside_in_words_numbers_and_json(tape: BookTape, impact: Impact) -> None:
    similarity = compare_book(tape, shipped_targets(), impact=impact)

    document = json.loads(json.dumps(document_of(similarity)))

    assert [row["name"] for row in document["statistics"]] == [statistic.name for statistic in STATISTICS]
    assert document["of"] == len(similarity.judged)
    assert document["inside"] == sum(row["state"] == "inside" for row in document["statistics"])
    assert f"{document['inside']} of {document['of']} statistics" in document["verdict"]
    assert "0.70 sigma sqrt(Q / V)" in document["verdict"]
    assert len(document["impact"]["moves_bps"]) == len(SIZES)


def test_an_empty_book_is_told_as_such() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    empty = BookTape(
        name="empty",
        tick_size=1.0,
        lot_size=1.0,
        start_ns=0,
        end_ns=10**9,
        trade_ns=nothing,
        trade_ticks=nothing,
        trade_lots=nothing,
        trade_sign=nothing,
        trade_order=nothing,
        quote_ns=nothing,
        bid_ticks=nothing,
        bid_lots=nothing,
        ask_ticks=nothing,
        ask_lots=nothing,
    )

    similarity = compare_book(empty, shipped_targets())

    assert "too little" in similarity.verdict
    assert "too little" in page(similarity)


class Links(HTMLParser):
    """Collect what a page refers to, and its open elements."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.pictures = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.pictures += tag == "figure"
        self.references += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(tape: BookTape, impact: Impact) -> None:
    pytest.importorskip("matplotlib")
    similarity = compare_book(tape, shipped_targets(), impact=impact, origin={"file": "<script>alert(1)</script>"})

    text = page(similarity)
    links = Links()
    links.feed(text)

    assert links.open == []
    assert all(reference.startswith("#") for reference in links.references)
    assert links.pictures == 6
    assert "<script" not in text
    assert all(statistic.name in text for statistic in STATISTICS)


def test_the_whole_way_tells_how_far_it_is() -> None:
    told: list[tuple[str, int, int]] = []

    similarity = book_similarity(
        BookSimulation(instrument=BTC, seconds=60, intensity="calm"),
        with_impact=False,
        told=lambda *progress: told.append(progress),
    )

    assert isinstance(similarity, BookSimilarity)
    assert {name for name, _, _ in told} == {"book"}
    assert all(0 <= done <= total for _, done, total in told)
