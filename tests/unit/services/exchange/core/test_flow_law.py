"""The law of the order flow: what its book is like, and what becomes of it when prices move or others trade."""

from dataclasses import replace

import numpy as np
import pytest
from flow_kit import DAY_LOTS, PRICE, SECOND, START_NS, Market

from fauxchange.services.exchange.core.flow import BUSY
from fauxchange.services.exchange.core.flow.generator import TAKING_SHARE
from fauxchange.services.exchange.core.flow.layout import P_DAY_LOTS, P_DAY_VOLATILITY
from fauxchange.services.exchange.core.flow.prices import fair_price
from fauxchange.services.exchange.core.layout import (
    C_KIND,
    C_ORDER_LOTS,
    C_TIME_IN_FORCE,
    C_TS_NS,
    E_EVENT_SEQUENCE,
    E_KIND,
    E_LOTS,
    E_ORDER_ID,
    E_PRICE_TICKS,
    E_REASON,
    Int64Array,
)
from fauxchange.services.exchange.core.state import balances
from fauxchange.services.exchange.core.vocabulary import (
    COMMAND_CANCEL,
    COMMAND_CANCEL_ALL,
    COMMAND_PLACE,
    EVENT_ORDER_REJECTED,
    EVENT_TRADE,
    HOUSE_ACCOUNT,
    REASON_POST_ONLY_WOULD_TRADE,
    TIME_IOC,
    TRANSIT_ACCOUNT,
)

BUY, SELL = 0, 1


def wandering(seconds: int, step: float, seed: int = 1) -> list[int]:
    """Prices of one a second; a step's standard deviation is a part of the price."""
    moves = np.random.default_rng(seed).standard_normal(seconds) * step
    return [int(price) for price in PRICE * np.exp(np.cumsum(moves))]


def test_the_book_is_never_crossed_and_every_asset_is_conserved() -> None:
    market = Market()

    for second in range(15):
        market.run(1, [PRICE + (second * 37) % 400])

        bid, ask = market.best()
        assert bid < ask
        assert market.sums() == [0, 0]
        assert (np.delete(balances(market.engine.state), TRANSIT_ACCOUNT, axis=0) >= 0).all()


def test_as_many_new_orders_come_as_the_intensity_says_and_most_are_canceled() -> None:
    said = Market().run(30, wandering(30, 1e-4)).said()

    placed = said[said[:, C_KIND] == COMMAND_PLACE]
    aggressive = (placed[:, C_TIME_IN_FORCE] == TIME_IOC).sum()
    assert 120 < len(placed) / 30 < 320
    assert TAKING_SHARE / 3 < aggressive / len(placed) < TAKING_SHARE * 2
    assert (said[:, C_KIND] == COMMAND_CANCEL).sum() > 0.6 * (len(placed) - aggressive)


def test_the_times_of_commands_rise_and_lie_within_their_slice() -> None:
    market = Market(symbols=("BTC/USD", "ETH/USD")).run(2)

    for number, rows in enumerate(market.commands):
        begins_ns = int(market.now_ns) - 2 * SECOND + number * market.flow.slice_ns
        times = rows[:, C_TS_NS]
        assert (np.diff(times) >= 0).all()
        assert begins_ns < times[0]
        assert times[-1] <= begins_ns + market.flow.slice_ns


def test_the_spread_is_one_tick_most_of_the_time() -> None:
    market = Market()
    narrow = 0

    for second in range(100):
        market.run(0.2, [PRICE + 500 * (second // 5 % 3)])
        bid, ask = market.best()
        narrow += ask - bid == 1

    assert narrow >= 80


@pytest.mark.parametrize(("slice_ms", "most"), [(100, 0.005), (200, 0.01)])
def test_hardly_an_order_is_refused_and_none_for_anything_but_a_price_that_has_gone(slice_ms: int, most: float) -> None:
    # What the law believes of the book grows old within a slice, so a longer one has more of them.
    events = Market(slice_ns=slice_ms * 1_000_000).run(30, wandering(30, 2e-4)).happened()

    refused = events[events[:, E_KIND] == EVENT_ORDER_REJECTED]
    assert len(refused) < most * 30 * 200
    assert set(refused[:, E_REASON].tolist()) <= {REASON_POST_ONLY_WOULD_TRADE}


def test_the_book_follows_the_price() -> None:
    market = Market().run(5)

    for target in (PRICE + 1_500, PRICE + 600, PRICE - 3_000):
        market.run(2, [target])
        # Within what people let pass: not quite a standard deviation of a second.
        assert abs(market.mid() - target) < 1e-4 * PRICE


def test_a_leap_of_the_price_has_the_book_pulled_and_placed_anew() -> None:
    market = Market().run(3)
    market.commands.clear()
    market.events.clear()

    market.run(1, [round(PRICE * 1.05)])

    assert (market.said()[:, C_KIND] == COMMAND_CANCEL_ALL).sum() == 3
    traded = market.happened()
    traded = traded[traded[:, E_KIND] == EVENT_TRADE]
    assert (traded[:, E_PRICE_TICKS] > 1.04 * PRICE).all()
    assert abs(market.mid() / (PRICE * 1.05) - 1) < 2e-4
    assert min(market.depth(BUY), market.depth(SELL)) > 0


def test_the_book_thins_out_when_prices_become_restless() -> None:
    market = Market(intensity=replace(BUSY, orders_per_s=100))
    for second in range(-1_200, 0):
        price = PRICE + 200 * (second % 2)
        market.flow.anchor(0, price, price + 1, START_NS + second * SECOND)
    depth = []

    for second in range(50):
        swing = 200 if second < 25 else 2_000
        market.run(1, [PRICE + swing * (second % 2)])
        depth.append(market.depth(BUY, 40) + market.depth(SELL, 40))

    assert np.mean(depth[-10:]) < 0.6 * np.mean(depth[15:25])


def test_after_a_sweep_the_book_fills_up_again() -> None:
    market = Market(intensity=replace(BUSY, orders_per_s=60)).run(5)
    before = [market.run(1).depth(SELL, 6) for _ in range(15)]
    market.order(BUY, before[-1], market.best()[1] + round(6e-4 * PRICE))
    swept = market.best()[1]

    after = [market.run(1).depth(SELL, 6) for _ in range(45)]

    assert swept > PRICE + 1e-4 * PRICE
    assert market.best()[1] - market.best()[0] < 0.2 * (swept - PRICE)
    assert np.mean(after[-15:]) > 0.5 * np.mean(before)


def fair(market: Market) -> float:
    return fair_price(market.flow._parameters[0], market.flow._states[0]) / PRICE - 1


def trades(lots: int, side: int, account: int, maker: int) -> Int64Array:
    events = np.zeros((1, 20), dtype=np.int64)
    events[0, [E_EVENT_SEQUENCE, E_KIND, E_LOTS]] = 1, EVENT_TRADE, lots
    events[0, [6, 8, 16]] = account, side, maker
    return events


NOTHING = np.zeros((0, 17), dtype=np.int64)


def test_what_others_buy_moves_the_fair_price_as_a_root_of_its_size() -> None:
    moved = []

    for share in (1e-6, 1e-4, 1e-2):
        market = Market().run(0.1)
        maker = market.accounts.makers[0]
        market.flow.heard(NOTHING, trades(int(share * DAY_LOTS), BUY, market.stranger, maker))
        moved.append(fair(market))

    expected = market.flow._parameters[0][P_DAY_VOLATILITY] * np.sqrt(1e-2)
    assert moved[1] / moved[0] == pytest.approx(10, rel=0.02)
    assert moved[2] / moved[1] == pytest.approx(10, rel=0.02)
    assert 0.4 * expected < moved[2] < expected


def test_who_rests_and_is_hit_moves_it_as_much_as_who_comes_and_hits() -> None:
    bought, sold, own = Market().run(0.1), Market().run(0.1), Market().run(0.1)
    lots = int(1e-3 * bought.flow._parameters[0][P_DAY_LOTS])
    maker, taker = bought.accounts.makers[0], bought.accounts.takers[0]

    bought.flow.heard(NOTHING, trades(lots, SELL, taker, bought.stranger))
    sold.flow.heard(NOTHING, trades(lots, SELL, bought.stranger, maker))
    own.flow.heard(NOTHING, trades(lots, SELL, taker, maker))

    assert fair(bought) == pytest.approx(-fair(sold), abs=1e-6)
    assert fair(bought) > 0
    assert abs(fair(own)) < 1e-6


def test_trades_with_the_house_move_nobodys_mind() -> None:
    market = Market().run(0.1)
    maker, taker = market.accounts.makers[0], market.accounts.takers[0]

    for who in ((HOUSE_ACCOUNT, maker), (taker, HOUSE_ACCOUNT), (market.stranger, HOUSE_ACCOUNT)):
        market.flow.heard(NOTHING, trades(int(1e-3 * DAY_LOTS), BUY, *who))

    assert abs(fair(market)) < 1e-6


def test_the_impact_fades_over_minutes() -> None:
    market = Market(intensity=replace(BUSY, orders_per_s=20)).run(0.1)
    market.flow.heard(NOTHING, trades(int(1e-3 * DAY_LOTS), BUY, market.stranger, market.accounts.makers[0]))
    at_once = fair(market)

    market.run(20)
    soon = fair(market)
    market.run(60)
    later = fair(market)

    assert 0.7 * at_once < soon < at_once
    assert 0.4 * at_once < later < 0.95 * soon


def test_a_large_order_moves_the_book_against_the_same_run_without_it() -> None:
    with_it, without = Market(seed=5).run(5), Market(seed=5).run(5)

    with_it.order(BUY, int(3e-4 * DAY_LOTS), round(PRICE * 1.01))
    moved = [(with_it.run(1).mid() - without.run(1).mid()) / PRICE for _ in range(10)]

    law = 0.03 * np.sqrt(3e-4)
    assert 0.3 * law < np.mean(moved) < 1.5 * law


def test_limits_of_the_instrument_are_kept() -> None:
    market = Market(max_open_orders=60, min_notional=10**10, max_lots=300_000, price_band=5_000).run(5)

    placed = market.said()[market.said()[:, C_KIND] == COMMAND_PLACE]

    assert set(market.happened()[market.happened()[:, E_KIND] == EVENT_ORDER_REJECTED][:, E_REASON].tolist()) <= {
        REASON_POST_ONLY_WOULD_TRADE
    }
    # A lot at this price is worth 0.6 of a dollar, and 100 dollars are asked for.
    assert placed[:, C_ORDER_LOTS].min() >= 167
    assert placed[:, C_ORDER_LOTS].max() <= 300_000


def test_a_large_wall_of_somebody_is_taken_piece_by_piece() -> None:
    market = Market().run(5)
    accepted = market.order(SELL, 10**9, market.best()[0] + 1, time_in_force=0)
    wall_id = int(accepted[0, E_ORDER_ID])

    market.run(5, [PRICE + 3_000])

    taken = market.happened()
    taken = taken[(taken[:, E_KIND] == EVENT_TRADE) & (taken[:, 15] == wall_id)]
    assert 0 < taken[:, E_LOTS].sum() < 10**9
    # As long as it stands, nobody bids above it.
    assert market.best()[0] <= PRICE
    assert market.sums() == [0, 0]
