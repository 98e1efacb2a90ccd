"""The house at work: the real kernel, a feed that says what it is told to, and venue time in the test's hands."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from house_kit import SECOND, START_NS, World, config_of
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from fauxchange.domain.errors import Unavailable
from fauxchange.domain.orders import OrderRecord
from fauxchange.platform.ports import DependencyStatus
from fauxchange.services.exchange.core import commands as ask
from fauxchange.services.exchange.core.layout import H_EVENT_SEQUENCE
from fauxchange.services.exchange.core.quoting import Level
from fauxchange.services.exchange.core.vocabulary import (
    HOUSE_ACCOUNT,
    CommandKind,
    InstrumentStatus,
    OrderStatus,
    RejectReason,
)
from fauxchange.services.exchange.service.entries import Entry, Note, row_of
from fauxchange.services.exchange.service.liquidity import RENEW_AT_QUOTE
from fauxchange.services.exchange.service.requests import Origin

BUY, SELL = 0, 1
BID, ASK = 6_000_000, 6_000_600
BEST_NOTIONAL = 250_000 * 10**8

MOVE, PLACE, CANCEL_ALL = CommandKind.REPLACE_IN_PLACE, CommandKind.PLACE, CommandKind.CANCEL_ALL


class Worlds:
    """Worlds for one test, which end with it."""

    def __init__(self) -> None:
        self.made: list[World] = []

    def new(self, **environ: str) -> World:
        self.made.append(World(config_of(**environ)))
        return self.made[-1]

    async def quoting(self, **environ: str) -> World:
        """Return a world in which the house quotes the first price."""
        world = self.new(**environ)
        world.feed(BID, ASK)
        return await world.start()


@pytest.fixture
async def worlds() -> AsyncIterator[Worlds]:
    worlds = Worlds()
    yield worlds
    for world in worlds.made:
        await world.crash()


def admin(world: World, command: object) -> None:
    world.do(Entry(row_of(command), Note(Origin("admin"))))  # type: ignore[arg-type]  # rows have no type of their own


# What it shows


async def test_the_house_quotes_what_it_wants_from_the_newest_price_on(worlds: Worlds) -> None:
    world = await worlds.quoting()

    assert world.quotes() == world.wanted(BID, ASK)
    assert len(world.quotes()) == 6


async def test_a_market_order_up_to_the_stated_notional_fills_completely_at_the_feeds_price(worlds: Worlds) -> None:
    world = await worlds.quoting()
    lots = BEST_NOTIONAL // (ASK * world.listing().tick_value)

    bought = world.trade(BUY, lots)

    assert (bought.status, bought.cum_lots) == (OrderStatus.FILLED, lots)
    assert bought.cum_quote == lots * ASK * world.listing().tick_value


async def test_a_larger_market_order_walks_the_book_and_pays_for_it(worlds: Worlds) -> None:
    world = await worlds.quoting()
    lots = 2 * BEST_NOTIONAL // (ASK * world.listing().tick_value)

    bought = world.trade(BUY, lots)

    assert bought.status == OrderStatus.FILLED
    assert bought.cum_quote > lots * ASK * world.listing().tick_value


async def test_flat_fills_any_size_at_the_feeds_price(worlds: Worlds) -> None:
    world = await worlds.quoting(HOUSE_LIQUIDITY="flat")
    lots = 1_000 * BEST_NOTIONAL // (BID * world.listing().tick_value)

    sold = world.trade(SELL, lots)

    assert (sold.status, sold.cum_quote) == (OrderStatus.FILLED, lots * BID * world.listing().tick_value)
    assert [level.price_ticks for level in world.quotes()] == [BID, ASK]


async def test_a_house_that_is_off_gives_a_reference_price_and_no_quotes(worlds: Worlds) -> None:
    world = await worlds.quoting(HOUSE_LIQUIDITY="off")

    assert world.quotes() == []
    assert world.submitted == [[CommandKind.SET_REFERENCE_PRICE]]
    await world.wait(60 * SECOND)
    assert world.house.health().status is DependencyStatus.OK


async def test_tether_instruments_follow_the_feed_in_dollars_and_the_rate(worlds: Worlds) -> None:
    world = worlds.new(EXCHANGE_SYMBOLS="BTC/USD,BTC/USDT,USDT/USD", USDT_USD="0.9995")
    world.feed(BID, ASK)
    await world.start()

    assert [level.price_ticks for level in world.quotes("BTC/USDT")][:1] == [6_003_001]
    assert min(level.price_ticks for level in world.quotes("BTC/USDT") if level.side == SELL) == 6_003_602
    tethers = [level.price_ticks for level in world.quotes("USDT/USD")]
    assert (tethers[0], tethers[3]) == (9_994, 9_996)


# When it moves


async def test_nothing_is_submitted_where_nothing_changes(worlds: Worlds) -> None:
    world = await worlds.quoting()
    submitted = len(world.submitted)

    await world.wait(SECOND)
    world.feed(BID, ASK)

    assert len(world.submitted) == submitted


async def test_a_new_price_moves_every_level_and_none_is_placed_anew(worlds: Worlds) -> None:
    world = await worlds.quoting()

    await world.wait(SECOND)
    world.feed(BID + 100, ASK + 100)
    world.settle()

    assert world.submitted[-1] == [MOVE] * 6
    assert world.quotes() == world.wanted(BID + 100, ASK + 100)


async def test_prices_within_the_refresh_interval_are_followed_at_its_end_and_only_the_last(worlds: Worlds) -> None:
    world = await worlds.quoting()
    submitted = len(world.submitted)
    for step in (1, 2, 3):
        await world.wait(SECOND // 4)
        world.feed(BID + step, ASK + step)
    assert len(world.submitted) == submitted

    await world.wait(SECOND // 4)
    world.settle()

    assert len(world.submitted) == submitted + 1
    assert world.quotes() == world.wanted(BID + 3, ASK + 3)


async def test_prices_with_the_rhythm_of_the_refreshes_are_followed_at_once_wherever_the_house_began(
    worlds: Worlds,
) -> None:
    world = worlds.new()
    world.feed(BID, ASK)
    await world.wait(SECOND * 8 // 10)
    await world.start()
    await world.wait(SECOND * 2 // 10)

    world.feed(BID + 1, ASK + 1)
    world.settle()

    assert world.quotes() == world.wanted(BID + 1, ASK + 1)


async def test_what_was_taken_is_shown_again_at_once(worlds: Worlds) -> None:
    world = await worlds.quoting()

    world.trade(BUY, 100)

    assert world.submitted[-1] == [MOVE]
    world.settle()
    assert world.quotes() == world.wanted(BID, ASK)


async def test_a_level_that_was_taken_completely_is_placed_anew_and_the_others_stay(worlds: Worlds) -> None:
    world = await worlds.quoting()

    world.trade(SELL, world.quotes()[0].lots)

    assert world.submitted[-1] == [PLACE]
    world.settle()
    assert world.quotes() == world.wanted(BID, ASK)


async def test_one_refresh_is_under_way_at_a_time_and_what_came_meanwhile_follows(worlds: Worlds) -> None:
    world = await worlds.quoting()
    await world.wait(SECOND)
    world.feed(BID + 1, ASK + 1)
    submitted = len(world.submitted)
    await world.wait(SECOND)
    world.feed(BID + 2, ASK + 2)
    assert len(world.submitted) == submitted

    world.settle()

    assert len(world.submitted) == submitted + 1
    assert world.quotes() == world.wanted(BID + 2, ASK + 2)


async def test_a_quote_that_somebody_else_cancels_comes_back(worlds: Worlds) -> None:
    world = await worlds.quoting()
    (first, *_) = world.venue.orders.open_orders(HOUSE_ACCOUNT)
    admin(world, ask.cancel(HOUSE_ACCOUNT, first.order_id))

    await world.wait(SECOND)
    world.settle()

    assert world.quotes() == world.wanted(BID, ASK)


async def test_an_order_that_rests_in_the_way_is_traded_with_at_its_own_price(worlds: Worlds) -> None:
    world = await worlds.quoting()
    resting = world.trade(BUY, 1_000, price_ticks=BID + 50)

    await world.wait(SECOND)
    world.feed(BID - 1_000, ASK - 1_000)
    world.settle()

    assert (resting.status, resting.cum_quote) == (
        OrderStatus.FILLED,
        1_000 * (BID + 50) * world.listing().tick_value,
    )
    assert world.quotes() == world.wanted(BID - 1_000, ASK - 1_000)


async def test_a_price_that_comes_after_a_newer_one_is_passed_over(worlds: Worlds) -> None:
    world = await worlds.quoting()
    await world.wait(2 * SECOND)
    world.feed(BID + 5, ASK + 5)
    world.settle()

    world.feed(BID, ASK, ts_ns=START_NS + SECOND)
    await world.wait(SECOND)
    world.settle()

    assert world.quotes() == world.wanted(BID + 5, ASK + 5)


async def test_a_price_from_the_future_does_not_keep_later_ones_out(worlds: Worlds) -> None:
    world = await worlds.quoting()
    await world.wait(SECOND)
    world.feed(BID + 5, ASK + 5, ts_ns=START_NS + 3_600 * SECOND)
    await world.wait(SECOND)
    world.feed(BID + 6, ASK + 6)
    world.settle()

    assert world.quotes() == world.wanted(BID + 6, ASK + 6)


# The reference price


async def test_the_reference_price_is_set_before_the_first_quote_and_follows_a_price_gone_far(
    worlds: Worlds,
) -> None:
    world = await worlds.quoting(PRICE_BAND_BPS="1000")
    assert world.submitted[0] == [CommandKind.SET_REFERENCE_PRICE, *[PLACE] * 6]

    for price in (BID + BID // 250, BID + BID // 100, BID * 3):
        await world.wait(SECOND)
        world.feed(price, price + 600)
        world.settle()

    assert [CommandKind.SET_REFERENCE_PRICE in group for group in world.submitted[1:]] == [False, True, True]
    assert world.quotes() == world.wanted(BID * 3, BID * 3 + 600)


async def test_a_look_that_changes_nothing_does_not_put_the_next_refresh_off(worlds: Worlds) -> None:
    world = await worlds.quoting()
    await world.wait(SECOND)
    world.trade(BUY, 1)
    world.feed(BID, ASK)
    world.settle()

    await world.wait(SECOND)
    world.feed(BID + 1, ASK + 1)
    world.settle()

    assert world.quotes() == world.wanted(BID + 1, ASK + 1)


# Stale prices


async def test_quotes_are_pulled_when_no_price_has_come_for_too_long(worlds: Worlds) -> None:
    world = await worlds.quoting()
    with capture_logs() as log:
        await world.wait(5 * SECOND - 1)
        assert world.quotes() == world.wanted(BID, ASK)
        await world.wait(1)
        world.settle()
        await world.wait(60 * SECOND)

    assert world.quotes() == []
    assert world.submitted[-1] == [CANCEL_ALL]
    assert [entry["event"] for entry in log] == ["house_quotes_pulled"]
    assert world.house.health().status is DependencyStatus.DEGRADED
    assert "BTC/USD" in world.house.health().detail
    assert world.metric("exchange_house_pulls_total") == 1
    assert world.metric("exchange_house_stale_instruments") == 1
    assert world.trade(BUY, 100).reason == RejectReason.NO_LIQUIDITY


async def test_quotes_come_back_by_themselves_with_the_next_price(worlds: Worlds) -> None:
    world = await worlds.quoting()
    await world.wait(6 * SECOND)
    world.settle()

    with capture_logs() as log:
        world.feed(BID, ASK)
        world.settle()

    assert world.quotes() == world.wanted(BID, ASK)
    assert [entry["event"] for entry in log] == ["house_quotes_back"]
    assert world.house.health().status is DependencyStatus.OK
    assert world.metric("exchange_house_stale_instruments") == 0


async def test_prices_that_come_too_late_are_as_good_as_none(worlds: Worlds) -> None:
    world = await worlds.quoting()
    for _ in range(6):
        await world.wait(SECOND)
        world.feed(BID, ASK, ts_ns=world.clock.now_ns() - 5 * SECOND)
    world.settle()

    assert world.quotes() == []


async def test_a_constant_price_never_gets_stale(worlds: Worlds) -> None:
    world = worlds.new(EXCHANGE_SYMBOLS="BTC/USD,USDT/USD")
    await world.start()

    await world.wait(60 * SECOND)
    world.settle()

    assert [level.price_ticks for level in world.quotes("USDT/USD")[::3]] == [9_999, 10_001]
    assert world.quotes("BTC/USD") == []


async def test_a_refresh_that_is_under_way_when_the_price_gets_stale_is_pulled_after_it(worlds: Worlds) -> None:
    world = await worlds.quoting()
    await world.wait(SECOND)
    world.feed(BID + 1, ASK + 1)

    await world.wait(5 * SECOND)
    world.settle()

    assert world.quotes() == []


# Restarts and failures


async def test_a_restart_goes_on_with_the_orders_that_are_there(worlds: Worlds) -> None:
    world = await worlds.quoting()
    before = [record.order_id for record in world.venue.orders.open_orders(HOUSE_ACCOUNT)]
    await world.crash()
    world.house = world.new_house()
    world.house.adopt(world.venue.orders.open_orders(HOUSE_ACCOUNT))
    await world.wait(SECOND)
    world.feed(BID + 7, ASK + 7)
    submitted = len(world.submitted)

    await world.start()

    assert world.quotes() == world.wanted(BID + 7, ASK + 7)
    assert [record.order_id for record in world.venue.orders.open_orders(HOUSE_ACCOUNT)] == before
    assert world.submitted[submitted:] == [[CommandKind.SET_REFERENCE_PRICE, *[MOVE] * 6]]


async def test_a_restart_with_fewer_levels_cancels_what_is_too_much(worlds: Worlds) -> None:
    world = await worlds.quoting()
    world.config = config_of(HOUSE_LEVELS="1")
    await world.crash()
    world.house = world.new_house()
    world.house.adopt(world.venue.orders.open_orders(HOUSE_ACCOUNT))

    await world.start()

    assert world.quotes() == world.wanted(BID, ASK)
    assert len(world.quotes()) == 2


async def test_a_restart_without_a_price_pulls_the_quotes_of_before(worlds: Worlds) -> None:
    world = await worlds.quoting()
    await world.crash()
    world.house = world.new_house()
    world.house.adopt(world.venue.orders.open_orders(HOUSE_ACCOUNT))
    world.prices.newest.clear()

    await world.start()

    assert world.quotes() == []


async def test_a_restart_cancels_what_is_quoted_no_longer(worlds: Worlds) -> None:
    world = await worlds.quoting(EXCHANGE_SYMBOLS="BTC/USD,BTC/USDT", HOUSE_LEVELS="1")
    await world.crash()
    world.config = config_of(HOUSE_LEVELS="1")
    world.house = world.new_house()
    world.house.adopt(world.venue.orders.open_orders(HOUSE_ACCOUNT))

    await world.start()

    assert world.quotes("BTC/USDT") == []
    assert world.quotes() == world.wanted(BID, ASK)


async def test_an_exchange_that_takes_no_commands_is_asked_again_after_the_interval(worlds: Worlds) -> None:
    world = await worlds.quoting()
    world.away = Unavailable("the disk is full")
    await world.wait(SECOND)
    world.feed(BID + 1, ASK + 1)
    assert world.quotes() == world.wanted(BID, ASK)

    world.away = None
    await world.wait(SECOND)
    world.settle()

    assert world.quotes() == world.wanted(BID + 1, ASK + 1)
    assert world.metric("exchange_house_refusals_total") == 1


async def test_commands_that_were_lost_are_made_up_for(worlds: Worlds) -> None:
    world = await worlds.quoting()
    await world.wait(SECOND)
    world.feed(BID + 1, ASK + 1)
    world.lose()

    await world.wait(SECOND)
    world.settle()

    assert world.quotes() == world.wanted(BID + 1, ASK + 1)


async def test_a_pull_that_is_refused_is_tried_again_without_a_price(worlds: Worlds) -> None:
    world = await worlds.quoting()
    world.away = Unavailable("the disk is full")
    await world.wait(6 * SECOND)

    world.away = None
    await world.wait(SECOND)
    world.settle()

    assert world.quotes() == []


async def test_refusals_are_logged_once_and_the_house_keeps_quiet_until_the_next_price(worlds: Worlds) -> None:
    world = worlds.new()
    admin(world, ask.withdraw(HOUSE_ACCOUNT, world.listing().base.number, world.config.house_funds))
    world.feed(BID, ASK)

    with capture_logs() as log:
        await world.start()
        for _ in range(3):
            await world.wait(SECOND)
            world.feed(BID, ASK)
            world.settle()

    assert [level.side for level in world.quotes()] == [BUY] * 3
    assert [(entry["event"], entry["reason"]) for entry in log] == [("house_refused", "insufficient_funds")]
    assert world.metric("exchange_house_refusals_total") == 12


async def test_nothing_is_submitted_while_an_instrument_is_halted(worlds: Worlds) -> None:
    world = await worlds.quoting()
    admin(world, ask.set_instrument_status(world.listing().number, InstrumentStatus.HALTED))
    submitted = len(world.submitted)

    await world.wait(SECOND)
    world.feed(BID + 1, ASK + 1)
    assert len(world.submitted) == submitted

    admin(world, ask.set_instrument_status(world.listing().number, InstrumentStatus.OPEN))
    world.house.hit("BTC/USD")
    world.settle()
    assert world.quotes() == world.wanted(BID + 1, ASK + 1)


async def test_an_order_whose_sums_grow_too_large_makes_way_for_a_new_one(worlds: Worlds) -> None:
    world = await worlds.quoting()
    (first, *_) = world.venue.orders.open_orders(HOUSE_ACCOUNT)
    first.cum_quote = RENEW_AT_QUOTE

    await world.wait(SECOND)
    world.feed(BID + 100, ASK + 100)
    world.settle()

    assert sorted(world.submitted[-1]) == [*[MOVE] * 5, CommandKind.CANCEL_REPLACE]
    assert first.status == OrderStatus.CANCELED
    assert world.quotes() == world.wanted(BID + 100, ASK + 100)


async def test_the_end_pulls_all_quotes_and_nothing_follows(worlds: Worlds) -> None:
    world = await worlds.quoting()

    await world.house.stop()
    world.settle()
    world.feed(BID + 1, ASK + 1)
    await world.wait(60 * SECOND)

    assert world.quotes() == []
    assert world.queue == []


# The law


PRICES = st.integers(1, 2_000)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("price"), PRICES, st.integers(0, 40)),
        st.tuples(st.just("taker"), st.integers(0, 1), st.integers(1, 3_000)),
        st.tuples(st.just("maker"), st.integers(0, 1), PRICES),
    ),
    max_size=30,
)


@pytest.mark.parametrize("style", ["levels", "flat"])
@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_whatever_happens_the_house_shows_what_it_wants_and_never_meets_itself(
    style: str, steps: list[tuple[str, int, int]]
) -> None:
    async def scenario() -> None:
        world = World(
            config_of(
                HOUSE_LIQUIDITY=style,
                HOUSE_LEVEL_SPACING_BPS="100",
                HOUSE_BEST_NOTIONAL="1",
                MIN_NOTIONAL="0",
                PRICE_BAND_BPS="0",
                TICK_SIZES="BTC/USD=0.01",
                LOT_SIZES="BTC/USD=0.01",
                EXCHANGE_ASSETS="BTC=2,USD=4",
            )
        )
        bid, offered = 1_000, 1_010
        world.feed(bid, offered)
        await world.start()
        for kind, first, second in steps:
            await world.wait(SECOND)
            if kind == "price":
                bid, offered = first, first + second
            elif kind == "taker":
                world.trade(first, second)
            else:
                world.trade(first, 500, price_ticks=second)
            world.feed(bid, offered)
            world.settle()

            bids, asks = world.book()
            assert not bids or not asks or bids[-1][0] < asks[0][0]
            assert world.quotes() == world.wanted(bid, offered)
        assert world.self_trades == 0
        assert all(record.status != OrderStatus.EXPIRED for record in _house_orders(world))
        await world.crash()

    asyncio.run(scenario())


def _house_orders(world: World) -> list[OrderRecord]:
    return [record for record in world.venue.orders.by_id.values() if record.account == HOUSE_ACCOUNT]


async def test_two_runs_of_the_same_story_are_the_same_to_the_last_event(worlds: Worlds) -> None:
    hashes = []
    for _ in range(2):
        world = await worlds.quoting()
        for step in range(20):
            await world.wait(SECOND // 3)
            world.feed(BID + step * 37 % 11, ASK + step * 37 % 11)
            world.settle()
            world.trade(step % 2, 1_000 + step)
            world.settle()
        state = world.venue.engine.state
        hashes.append((world.venue.engine.state_hash(), int(state.memory[H_EVENT_SEQUENCE])))

    assert hashes[0] == hashes[1]
    assert world.quotes()[0] == Level(BUY, *world.wanted(*_newest(world))[0][1:])


def _newest(world: World) -> tuple[int, int]:
    price = world.prices.newest["BTC/USD"]
    return price.bid_ticks, price.ask_ticks
