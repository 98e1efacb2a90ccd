"""What the house shows of a recorded book."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.domain.instruments import Instrument
from fauxchange.domain.listings import Asset, Listing
from fauxchange.services.exchange.core.quoting import HousePlan, Level, recorded_levels

BUY, SELL = 0, 1
SAME = (Fraction(1), Fraction(1))


def listing(**limits: int) -> Listing:
    """Return an instrument in which one tick times one lot is one minor unit of the quote asset."""
    return Listing(
        number=0,
        instrument=Instrument(symbol="BTC/USDT", tick_size=Decimal("0.01"), lot_size=Decimal("0.01")),
        base=Asset(number=0, name="BTC", decimals=2),
        quote=Asset(number=1, name="USDT", decimals=4),
        **limits,
    )


@pytest.fixture
def plan() -> HousePlan:
    return HousePlan(
        style="levels",
        levels=3,
        spacing=Fraction(1, 100),
        growth=Fraction(2),
        best_notional=1,
        most_quote=10**12,
        most_base=10**9,
    )


def test_levels_are_shown_as_they_were_recorded(plan: HousePlan) -> None:
    found = recorded_levels(listing(), plan, SAME, [(999, 5), (997, 1)], [(1_000, 7), (1_010, 2)])

    assert found == [Level(BUY, 999, 5), Level(BUY, 997, 1), Level(SELL, 1_000, 7), Level(SELL, 1_010, 2)]


def test_on_a_coarser_grid_prices_go_outwards_and_levels_of_one_price_are_one(plan: HousePlan) -> None:
    coarser = (Fraction(1, 10), Fraction(1, 2))

    found = recorded_levels(listing(), plan, coarser, [(999, 6), (991, 4), (989, 2)], [(1_000, 8), (1_001, 2)])

    assert found == [Level(BUY, 99, 5), Level(BUY, 98, 1), Level(SELL, 100, 4), Level(SELL, 101, 1)]


def test_a_grid_too_coarse_for_the_spread_keeps_one_tick_between(plan: HousePlan) -> None:
    found = recorded_levels(listing(), plan, (Fraction(1, 10), Fraction(1)), [(1_000, 1)], [(1_000, 1)])

    assert found == [Level(BUY, 100, 1), Level(SELL, 101, 1)]


def test_a_level_below_the_least_order_is_as_large_as_that(plan: HousePlan) -> None:
    found = recorded_levels(listing(min_notional=10_000), plan, SAME, [(1_000, 1)], [(1_001, 50)])

    assert found == [Level(BUY, 1_000, 10), Level(SELL, 1_001, 50)]


def test_what_the_price_band_would_refuse_is_left_out(plan: HousePlan) -> None:
    bids, asks = [(999, 1), (950, 1), (890, 1)], [(1_001, 1), (1_095, 1)]

    found = recorded_levels(listing(price_band=1_000), plan, SAME, bids, asks)

    assert [level.price_ticks for level in found] == [999, 950, 1_001]


def test_a_book_with_one_side_shows_that_side(plan: HousePlan) -> None:
    assert recorded_levels(listing(), plan, SAME, [(10, 1)], []) == [Level(BUY, 10, 1)]
    assert recorded_levels(listing(), plan, SAME, [], []) == []


@given(
    st.dictionaries(st.integers(1, 2_000), st.integers(1, 10**6), max_size=8),
    st.integers(1, 50),
    st.dictionaries(st.integers(1, 2_000), st.integers(1, 10**6), max_size=8),
    st.fractions(Fraction(1, 50), Fraction(50)),
    st.fractions(Fraction(1, 50), Fraction(50)),
)
def test_whatever_was_recorded_the_house_never_crosses_itself(
    bids: dict[int, int], gap: int, asks: dict[int, int], price_ratio: Fraction, lot_ratio: Fraction
) -> None:
    plan = HousePlan(
        style="levels",
        levels=3,
        spacing=Fraction(1, 100),
        growth=Fraction(2),
        best_notional=1,
        most_quote=10**12,
        most_base=10**9,
    )
    above = max(bids, default=0) + gap

    found = recorded_levels(
        listing(min_notional=50),
        plan,
        (price_ratio, lot_ratio),
        sorted(bids.items(), reverse=True),
        sorted((above + price, lots) for price, lots in asks.items()),
    )

    bought = [level.price_ticks for level in found if level.side == BUY]
    sold = [level.price_ticks for level in found if level.side == SELL]
    assert bought == sorted(set(bought), reverse=True)
    assert sold == sorted(set(sold))
    assert not bought or not sold or bought[0] < sold[0]
    assert all(level.lots * level.price_ticks >= 50 for level in found)
