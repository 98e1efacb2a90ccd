"""What the house wants to show at a price."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.domain.instruments import Instrument
from fauxchange.domain.listings import Asset, Listing
from fauxchange.services.exchange.core.quoting import (
    HousePlan,
    Level,
    Pricing,
    asks_move_first,
    desired_levels,
    reference_moved,
    still_stands_back,
)
from fauxchange.services.exchange.core.vocabulary import MAX_PRICE_TICKS

BUY, SELL = 0, 1


def listing(**limits: int) -> Listing:
    """Return an instrument in which one tick times one lot is one minor unit of the quote asset."""
    return Listing(
        number=0,
        instrument=Instrument(symbol="BTC/USD", tick_size=Decimal("0.01"), lot_size=Decimal("0.01")),
        base=Asset(number=0, name="BTC", decimals=2),
        quote=Asset(number=1, name="USD", decimals=4),
        **limits,
    )


def plan(**changes: object) -> HousePlan:
    standard: dict[str, object] = {
        "style": "levels",
        "levels": 3,
        "spacing": Fraction(1, 100),
        "growth": Fraction(2),
        "best_notional": 100_000,
        "most_quote": 10**12,
        "most_base": 10**9,
    }
    return HousePlan(**{**standard, **changes})  # type: ignore[arg-type]  # a test names what differs


def test_levels_begin_at_bid_and_ask_and_grow_outwards() -> None:
    found = desired_levels(listing(), plan(), 1_000, 1_010)

    assert found == [
        Level(BUY, 1_000, 100),
        Level(BUY, 990, 200),
        Level(BUY, 980, 400),
        Level(SELL, 1_010, 100),
        Level(SELL, 1_021, 200),
        Level(SELL, 1_031, 400),
    ]


def test_the_best_level_is_worth_the_stated_notional_even_where_lots_do_not_divide_it() -> None:
    best = desired_levels(listing(), plan(levels=1), 999, 1_001)

    assert [level.price_ticks * level.lots >= 100_000 for level in best] == [True, True]
    assert [level.price_ticks * (level.lots - 1) < 100_000 for level in best] == [True, True]


def test_levels_closer_than_a_tick_lie_a_tick_apart() -> None:
    found = desired_levels(listing(), plan(spacing=Fraction(1, 1_000_000)), 1_000, 1_001)

    assert [level.price_ticks for level in found] == [1_000, 999, 998, 1_001, 1_002, 1_003]


def test_levels_end_where_prices_end() -> None:
    found = desired_levels(listing(), plan(most_quote=10**18), 2, MAX_PRICE_TICKS)

    assert [level.price_ticks for level in found] == [2, 1, MAX_PRICE_TICKS]


def test_flat_shows_one_level_with_all_that_the_house_can_have() -> None:
    found = desired_levels(listing(), plan(style="flat", most_quote=10_000_000, most_base=9_000), 1_000, 1_250)

    assert found == [Level(BUY, 1_000, 9_000), Level(SELL, 1_250, 8_000)]


def test_a_house_that_is_off_wants_nothing() -> None:
    assert desired_levels(listing(), plan(style="off"), 1_000, 1_010) == []


@pytest.mark.parametrize(
    ("limits", "lots"),
    [
        ({"max_lots": 150}, [100, 150, 150]),
        ({"max_notional": 150_000}, [100, 151, 153]),
        ({"min_lots": 101}, [200, 400]),
    ],
)
def test_no_level_is_beyond_the_limits_of_the_instrument(limits: dict[str, int], lots: list[int]) -> None:
    found = desired_levels(listing(**limits), plan(), 1_000, 1_010)

    assert [level.lots for level in found if level.side == BUY] == lots


def test_a_feed_on_another_grid_is_rounded_outwards() -> None:
    pricing = Pricing(feed="BTC/USD", ratio=Fraction(1, 10))

    assert pricing.bid_ask(1_009, 1_011) == (100, 102)


def test_a_rate_turns_dollars_into_tethers_outwards() -> None:
    pricing = Pricing(feed="BTC/USD", ratio=1 / Fraction("0.9995"))

    assert pricing.bid_ask(6_000_000, 6_000_600) == (6_003_001, 6_003_602)


def test_a_feed_without_a_spread_keeps_its_bid() -> None:
    assert Pricing(feed="BTC/USD", ratio=Fraction(1)).bid_ask(500, 500) == (500, 501)


@pytest.mark.parametrize(
    ("price", "expected"), [("1.00", (99, 101)), ("0.995", (99, 100)), ("0.001", (1, 2)), ("1.0001", (100, 101))]
)
def test_a_constant_lies_between_its_bid_and_ask(price: str, expected: tuple[int, int]) -> None:
    assert Pricing(feed=None, ratio=Fraction(price) * 100).constant() == expected


@given(
    bid=st.integers(1, 10**9),
    spread=st.integers(0, 10**6),
    ratio=st.fractions(min_value=Fraction(1, 1_000), max_value=1_000),
)
def test_a_converted_price_is_never_crossed_and_never_better_than_the_feed(
    bid: int, spread: int, ratio: Fraction
) -> None:
    found_bid, found_ask = Pricing(feed="BTC/USD", ratio=ratio).bid_ask(bid, bid + spread)

    assert 1 <= found_bid < found_ask
    assert found_bid <= max(1, bid * ratio)
    assert found_ask >= (bid + spread) * ratio


@given(
    bid=st.integers(1, 10**9),
    spread=st.integers(1, 10**6),
    levels=st.integers(1, 10),
    spacing=st.fractions(min_value=0, max_value=Fraction(1, 10)),
    growth=st.fractions(min_value=Fraction(1, 4), max_value=4),
)
def test_prices_of_a_side_differ_and_the_sides_never_meet(
    bid: int, spread: int, levels: int, spacing: Fraction, growth: Fraction
) -> None:
    found = desired_levels(listing(), plan(levels=levels, spacing=spacing, growth=growth), bid, bid + spread)

    bids = [level.price_ticks for level in found if level.side == BUY]
    asks = [level.price_ticks for level in found if level.side == SELL]
    assert bids == sorted(set(bids), reverse=True)
    assert asks == sorted(set(asks))
    assert bids[0] == bid < asks[0] == bid + spread
    assert all(level.lots >= 1 for level in found)


def test_the_reference_follows_a_middle_that_moved_by_a_twentieth_of_the_band() -> None:
    banded = listing(price_band=1_000)

    # A tenth of 10,000, and a twentieth of that.
    assert [reference_moved(banded, 10_000, mid) for mid in (9_949, 9_950, 10_050, 10_051)] == [
        True,
        False,
        False,
        True,
    ]
    assert reference_moved(banded, None, 10_000)
    assert not reference_moved(listing(), None, 10_000)


def test_the_side_that_makes_room_moves_first() -> None:
    rising, falling = [Level(BUY, 110, 1), Level(SELL, 112, 1)], [Level(BUY, 90, 1), Level(SELL, 92, 1)]

    assert asks_move_first(rising, [100, 99])
    assert not asks_move_first(falling, [100, 99])
    assert asks_move_first(falling, [])
    assert asks_move_first([], [100])


def test_levels_that_stand_back_begin_behind_bid_and_ask() -> None:
    found = desired_levels(listing(), plan(distance=Fraction(1, 200), levels=1), 1_000, 1_010)

    assert [(level.side, level.price_ticks) for level in found] == [(BUY, 995), (SELL, 1_016)]


@pytest.mark.parametrize(
    ("price", "stays"),
    [((10_000, 10_001), True), ((10_005, 10_006), True), ((9_995, 9_996), True), ((10_006, 10_007), False)],
)
def test_levels_that_stand_back_follow_when_the_price_has_come_a_tenth_of_the_way(
    price: tuple[int, int], stays: bool
) -> None:
    assert still_stands_back(plan(distance=Fraction(1, 200)), (10_000, 10_001), price) is stays
