"""Bid and ask around a price."""

from hypothesis import given
from hypothesis import strategies as st

from fauxchange.domain.times import NS_PER_S
from fauxchange.services.market_data.core.quotes import FixedSpread, VolatilitySpread, bid_ask


@given(st.integers(2, 10**12), st.integers(1, 10**6))
def test_bid_and_ask_are_exactly_the_spread_apart_and_around_the_mid(mid_half_ticks: int, spread: int) -> None:
    bid, ask = bid_ask(mid_half_ticks, spread)

    assert ask - bid == spread
    assert bid >= 1
    if bid > 1:
        assert abs(bid + ask - mid_half_ticks) <= 1


@given(st.integers(1, 10**9), st.integers(0, 10**6))
def test_a_recorded_quote_comes_back_exactly(bid: int, spread: int) -> None:
    ask = bid + spread

    assert bid_ask(bid + ask, spread) == (bid, ask)


def test_a_fixed_spread_is_so_many_basis_points_and_at_least_a_tick() -> None:
    policy = FixedSpread(10.0)

    assert policy.spread_ticks(2 * 6_000_000, 0) == 6_000
    assert policy.spread_ticks(2 * 50, 0) == 1


def test_a_spread_widens_while_the_market_is_wild_and_narrows_again() -> None:
    policy = VolatilitySpread(10.0)
    ts_ns, mid = 0, 2_000_000

    def walk(steps: int, size: int) -> int:
        nonlocal ts_ns, mid
        spread = 0
        for step in range(steps):
            ts_ns += NS_PER_S
            mid += size if step % 2 else -size
            spread = policy.spread_ticks(mid, ts_ns)
        return spread

    calm = walk(600, 20)
    wild = walk(120, 400)
    calm_again = walk(3_600, 20)

    assert calm == 1_000
    assert wild > 3 * calm
    assert calm_again < 1.2 * calm


def test_a_spread_never_widens_beyond_its_bound() -> None:
    policy = VolatilitySpread(10.0, widest=4.0)
    ts_ns, mid = 0, 2_000_000
    for step in range(500):
        ts_ns += NS_PER_S
        mid += 10 if step % 2 else -10
        policy.spread_ticks(mid, ts_ns)

    for step in range(60):
        ts_ns += NS_PER_S
        mid += 20_000 if step % 2 else -20_000
        policy.spread_ticks(mid, ts_ns)

    assert policy.widening == 4.0
