"""The order flow as a whole: the same words make the same commands, and it goes on from wherever the kernel stands."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from flow_kit import PRICE, SECOND, START_NS, Market

from fauxchange.domain.errors import InvariantViolation
from fauxchange.platform.compiler import compile_kernel, numba_available
from fauxchange.services.exchange.core import commands as ask
from fauxchange.services.exchange.core.engine import Engine, dump_state, load_state
from fauxchange.services.exchange.core.flow import (
    BUSY,
    CALM,
    FlowAccounts,
    FlowInstrument,
    Intensity,
    OrderFlow,
    flow_instrument,
)
from fauxchange.services.exchange.core.flow.generator import AHEAD, COUNTS
from fauxchange.services.exchange.core.flow.layout import S_FAST, S_SLOW
from fauxchange.services.exchange.core.layout import C_ACCOUNT, C_INSTRUMENT, C_KIND, C_ORDER_ID, C_SEQUENCE, Int64Array
from fauxchange.services.exchange.core.state import open_orders
from fauxchange.services.exchange.core.vocabulary import COMMAND_CANCEL, COMMAND_PLACE

WANDERING = [PRICE, PRICE + 40, PRICE - 90, PRICE + 170]


def said(market: Market) -> bytes:
    return bytes(market.said())


def test_the_same_seed_makes_the_same_commands_and_another_seed_others() -> None:
    first, second, other = (Market(seed=seed).run(3, WANDERING) for seed in (1, 1, 2))

    assert said(first) == said(second)
    assert first.engine.state_hash() == second.engine.state_hash()
    assert said(first) != said(other)


def test_a_symbol_has_the_same_flow_whatever_other_symbols_there_are() -> None:
    both = Market(symbols=("BTC/USD", "ETH/USD")).run(2, WANDERING).said()
    alone = Market(symbols=("BTC/USD", "ETH/USD"), flowing=("ETH/USD",)).run(2, WANDERING).said()

    def of_eth(rows: Int64Array) -> Int64Array:
        there = rows[(rows[:, C_KIND] == COMMAND_PLACE) & (rows[:, C_INSTRUMENT] == 1)].copy()
        there[:, [C_SEQUENCE, C_ORDER_ID]] = 0
        return np.asarray(there)

    assert len(of_eth(alone)) > 300
    assert (of_eth(both) == of_eth(alone)).all()


def test_skipped_slices_use_up_their_words() -> None:
    straight, later = Market(intensity=CALM), Market(intensity=CALM)
    straight.run(AHEAD * straight.flow.slice_ns / SECOND + 1.0)
    later.run(later.flow.slice_ns / SECOND)

    later.now_ns = straight.now_ns
    straight.flow._seed(straight.now_ns // straight.flow.slice_ns)
    later.flow._seed(later.now_ns // later.flow.slice_ns)

    assert (straight.flow._numbers[:, 4:10] == later.flow._numbers[:, 4:10]).all()


@pytest.mark.skipif(not numba_available(), reason="needs Numba")
def test_compiled_and_plain_make_the_same_commands_to_the_last_bit() -> None:
    plain = Market(symbols=("BTC/USD", "ETH/USD")).run(3, WANDERING)
    compiled = Market(symbols=("BTC/USD", "ETH/USD"), compiler=compile_kernel).run(3, WANDERING)

    for market in (plain, compiled):
        market.order(0, 20_000_000, PRICE + 10_000)
        market.run(1, [PRICE + 700])
    assert said(plain) == said(compiled)
    assert plain.engine.state_hash() == compiled.engine.state_hash()
    assert (plain.flow._states == compiled.flow._states).all()


def test_it_goes_on_with_the_orders_that_a_stored_state_has() -> None:
    market = Market().run(2)
    orders = len(open_orders(market.engine.state))
    stored = load_state(dump_state(market.engine.state))
    again = Market()
    again.engine, again.now_ns = Engine(state=stored), market.now_ns

    again.run(3)

    cancels = again.said()[again.said()[:, C_KIND] == COMMAND_CANCEL][:, C_ORDER_ID]
    known = {int(order_id) for order_id in open_orders(market.engine.state)["order_id"]}
    assert len(known & set(cancels.tolist())) > 0.2 * orders
    assert again.rejected < 10
    # Nothing was opened anew beside what was there.
    assert len(again.commands[0]) < 0.5 * orders


def test_pulling_leaves_nothing_of_the_flow_and_it_opens_again() -> None:
    market = Market(symbols=("BTC/USD", "ETH/USD")).run(2)

    market.cancel_all()
    pulled = len(open_orders(market.engine.state))
    market.run(1)

    assert pulled == 0
    assert len(open_orders(market.engine.state)) > sum(COUNTS)


def test_one_instrument_may_be_pulled_alone() -> None:
    market = Market(symbols=("BTC/USD", "ETH/USD")).run(1)

    rows = market.flow.pull(1)

    assert set(rows[:, C_INSTRUMENT].tolist()) == {1}
    assert rows[:, C_ACCOUNT].tolist() == list(market.accounts.makers)


def test_without_a_price_or_while_inactive_or_halted_nobody_acts() -> None:
    market = Market(symbols=("BTC/USD", "ETH/USD"))
    market.flow.take_up(market.engine.state)
    assert len(market.flow.commands(START_NS, START_NS + SECOND)) == 0

    market.run(1)
    market.flow.set_active(0, False)
    market.commands.clear()
    market.run(1)
    assert set(market.said()[:, C_INSTRUMENT].tolist()) <= {0, 1}
    placed = market.said()[market.said()[:, C_KIND] == COMMAND_PLACE]
    assert set(placed[:, C_INSTRUMENT].tolist()) == {1}

    market.carry_out(ask.set_instrument_status(1, 1))
    market.commands.clear()
    market.run(1)
    assert market.commands == []

    market.flow.set_active(0, True)
    market.run(1)
    assert len(market.said()) > 50


def test_orders_are_shared_out_among_the_accounts_of_the_flow() -> None:
    market = Market().run(3)

    accounts = Counter(market.said()[:, C_ACCOUNT].tolist())

    assert set(accounts) == set(market.accounts.all)
    assert market.stranger not in accounts


def test_a_price_that_is_older_than_the_newest_is_left_out() -> None:
    market = Market().run(1)

    market.flow.anchor(0, 2 * PRICE, 2 * PRICE + 1, START_NS - SECOND)
    market.run(1)

    assert abs(market.mid() - PRICE) < 1e-3 * PRICE


def test_a_price_that_stands_still_for_hours_leaves_the_law_whole() -> None:
    market = Market(intensity=CALM).run(1)
    for hour in range(1, 50):
        market.flow.anchor(0, PRICE, PRICE + 1, START_NS + hour * 3_600 * SECOND)

    market.now_ns = START_NS + 50 * 3_600 * SECOND
    market.run(5)

    assert market.flow._states[0, S_FAST] > 0
    assert market.flow._states[0, S_SLOW] > 0
    assert np.isfinite(market.flow._states).all()
    assert market.best()[0] < market.best()[1]


def test_calm_is_a_few_orders_a_second() -> None:
    market = Market(intensity=CALM).run(1)
    market.commands.clear()

    market.run(60, [PRICE + 60 * (second % 3) for second in range(60)])

    placed = (market.said()[:, C_KIND] == COMMAND_PLACE).sum()
    assert 2 < placed / 60 < 12


def test_a_coarse_grid_and_a_price_of_a_few_ticks_are_no_trouble() -> None:
    market = Market(intensity=replace(BUSY, orders_per_s=50))

    for price in (1, 2, 3, 2, 40, 1):
        market.run(0.3, [price])

    assert market.sums() == [0, 0]
    assert market.rejected < 20


def test_commands_want_a_state_and_a_slice_a_length() -> None:
    market = Market()

    with pytest.raises(InvariantViolation, match="takes up a state"):
        market.flow.commands(START_NS, START_NS + 1)
    market.flow.take_up(market.engine.state)
    with pytest.raises(InvariantViolation, match="has a length"):
        market.flow.commands(START_NS, START_NS)


def test_parameters_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvariantViolation, match="different ones"):
        FlowAccounts(makers=(3, 4, 5), takers=(5, 6))
    with pytest.raises(InvariantViolation, match="volume"):
        FlowInstrument(number=0, symbol="BTC/USD", day_lots=0.0)
    with pytest.raises(InvariantViolation, match="volatility"):
        FlowInstrument(number=0, symbol="BTC/USD", day_lots=1.0, day_volatility=1.5)
    for wrong in ({"orders_per_s": 0.0}, {"volume_share": 2.0}, {"closing_s": 0.0}, {"patience": -1.0}):
        with pytest.raises(InvariantViolation):
            replace(BUSY, **wrong)
    instrument = FlowInstrument(number=0, symbol="BTC/USD", day_lots=1.0)
    with pytest.raises(InvariantViolation, match="one flow"):
        OrderFlow([instrument, instrument], FlowAccounts(makers=(3, 4, 5), takers=(6, 7)), seed=1)


def test_a_listing_is_traded_as_much_as_its_notional_says() -> None:
    listing = Market().listings[0]

    instrument = flow_instrument(listing, PRICE, day_notional=6_000_000, day_volatility=0.02)

    assert instrument.day_lots == pytest.approx(100 / 0.00001)
    assert (instrument.number, instrument.symbol, instrument.day_volatility) == (0, "BTC/USD", 0.02)


def test_the_intensities_differ_in_how_much_happens() -> None:
    assert isinstance(CALM, Intensity)
    assert CALM.orders_per_s * 20 < BUSY.orders_per_s
