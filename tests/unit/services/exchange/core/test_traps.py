"""The mistakes that matching engines are known for, each with a test of its own."""

from collections.abc import Iterable

import pytest

from fauxchange.services.exchange.core import commands as ask
from fauxchange.services.exchange.core.engine import Engine, stamp
from fauxchange.services.exchange.core.layout import BOOK_ASKS, BOOK_BIDS, Rows
from fauxchange.services.exchange.core.state import balances, levels, open_orders
from fauxchange.services.exchange.core.vocabulary import (
    FEE_ACCOUNT,
    EventKind,
    OrderStatus,
    OrderType,
    RejectReason,
    SelfTradePrevention,
    Side,
    TimeInForce,
)

BASE, QUOTE = 0, 1
ALICE, BOB, CAROL = 3, 4, 5
BUY, SELL = Side.BUY, Side.SELL


class Venue:
    """One instrument, three accounts with 1,000 of the base asset and 100,000 of the quote asset each."""

    def __init__(self, *, maker: int = 0, taker: int = 0) -> None:
        self.engine = Engine()
        self._sequence = 0
        self.do(
            ask.create_asset(0),
            ask.create_asset(0),
            *(ask.create_account() for _ in range(3)),
            ask.set_tier_fees(0, maker=maker, taker=taker),
            ask.create_instrument(BASE, QUOTE),
        )
        for account in (ALICE, BOB, CAROL):
            self.do(ask.deposit(account, BASE, 1_000), ask.deposit(account, QUOTE, 100_000))

    def do(self, *commands: Rows, ts_ns: int | None = None) -> Rows:
        first = self._sequence + 1
        self._sequence += len(commands)
        return self.engine.apply(stamp(commands, first_sequence=first, ts_ns=first if ts_ns is None else ts_ns))

    def free(self, account: int, asset: int) -> int:
        return int(balances(self.engine.state)[account, asset, 0])

    def held(self, account: int, asset: int) -> int:
        return int(balances(self.engine.state)[account, asset, 1])

    def ids(self) -> list[int]:
        return [int(order) for order in open_orders(self.engine.state)["order_id"]]

    def shown(self, book: int) -> list[tuple[int, int]]:
        rows = levels(self.engine.state, 0, book)
        return [(int(row["price_ticks"]), int(row["shown_lots"])) for row in rows]


def of_kind(events: Rows, *kinds: EventKind) -> list[Rows]:
    return [event for event in events if event["kind"] in kinds]


def trades(events: Rows) -> list[tuple[int, int, int]]:
    """Maker, price and lots of each trade."""
    found = of_kind(events, EventKind.TRADE)
    return [(int(trade["maker_order_id"]), int(trade["price_ticks"]), int(trade["last_lots"])) for trade in found]


def reasons(events: Rows, *kinds: EventKind) -> list[RejectReason]:
    return [RejectReason(int(event["reason"])) for event in of_kind(events, *kinds)]


def buy(account: int, price: int, lots: int, **more: int) -> Rows:
    return ask.place(account, 0, BUY, price_ticks=price, order_lots=lots, **more)


def sell(account: int, price: int, lots: int, **more: int) -> Rows:
    return ask.place(account, 0, SELL, price_ticks=price, order_lots=lots, **more)


def market(account: int, side: Side, lots: int = 0, **more: int) -> Rows:
    more = {"time_in_force": TimeInForce.IOC, **more}
    return ask.place(account, 0, side, order_lots=lots, order_type=OrderType.MARKET, **more)


def test_a_trade_prints_at_the_makers_price() -> None:
    venue = Venue()

    events = venue.do(sell(ALICE, 90, 5), buy(BOB, 100, 5))

    assert trades(events) == [(1, 90, 5)]


def test_a_cancel_from_the_middle_keeps_the_order_of_the_queue() -> None:
    venue = Venue()
    venue.do(*(sell(ALICE, 90, 1) for _ in range(4)))
    venue.do(ask.cancel(ALICE, 2))

    events = venue.do(buy(BOB, 90, 3))

    assert [maker for maker, _, _ in trades(events)] == [1, 3, 4]


def test_a_partial_fill_keeps_the_place_in_the_queue() -> None:
    venue = Venue()
    venue.do(sell(ALICE, 90, 5), sell(CAROL, 90, 5), buy(BOB, 90, 2))

    events = venue.do(buy(BOB, 90, 4))

    assert trades(events) == [(1, 90, 3), (2, 90, 1)]


def test_the_best_price_is_fresh_after_a_cancel() -> None:
    venue = Venue()
    venue.do(sell(ALICE, 90, 1), sell(ALICE, 95, 1), ask.cancel(ALICE, 1))

    missed = venue.do(buy(BOB, 92, 1))
    hit = venue.do(buy(BOB, 95, 1))

    assert trades(missed) == []
    assert trades(hit) == [(2, 95, 1)]


def test_an_amendment_that_crosses_trades_instead_of_resting_crossed() -> None:
    venue = Venue()
    venue.do(sell(ALICE, 95, 2), buy(BOB, 90, 5))

    events = venue.do(ask.amend(BOB, 2, price_ticks=96, order_lots=5))

    assert trades(events) == [(1, 95, 2)]
    assert venue.shown(BOOK_ASKS) == []
    assert venue.shown(BOOK_BIDS) == [(96, 3)]


def test_a_post_only_order_amended_to_cross_is_refused_and_stays_as_it_was() -> None:
    venue = Venue()
    venue.do(sell(ALICE, 95, 2), buy(BOB, 90, 5, post_only=True))

    events = venue.do(ask.amend(BOB, 2, price_ticks=96, order_lots=5))

    assert reasons(events, EventKind.COMMAND_REJECTED) == [RejectReason.POST_ONLY_WOULD_TRADE]
    assert venue.shown(BOOK_BIDS) == [(90, 5)]


def test_a_decrease_keeps_the_place_and_an_increase_loses_it() -> None:
    venue = Venue()
    venue.do(sell(ALICE, 90, 5), sell(CAROL, 90, 5))

    venue.do(ask.amend(ALICE, 1, price_ticks=90, order_lots=4))
    decreased = venue.ids()
    venue.do(ask.amend(ALICE, 1, price_ticks=90, order_lots=6))
    increased = venue.ids()

    assert decreased == [1, 2]
    assert increased == [2, 1]


def test_the_rest_of_an_ioc_does_not_rest_and_holds_nothing() -> None:
    venue = Venue(taker=10_000)
    venue.do(sell(ALICE, 90, 2))

    events = venue.do(buy(BOB, 100, 5, time_in_force=TimeInForce.IOC))

    assert reasons(events, EventKind.ORDER_CANCELED) == [RejectReason.IOC_REST]
    assert venue.ids() == []
    assert venue.held(BOB, QUOTE) == 0
    assert venue.free(BOB, QUOTE) == 100_000 - 180 - 2


@pytest.mark.parametrize("again", [ask.cancel(ALICE, 1), ask.amend(ALICE, 1, price_ticks=90, order_lots=9)])
def test_a_finished_order_can_be_neither_canceled_nor_amended(again: Rows) -> None:
    venue = Venue()
    venue.do(sell(ALICE, 90, 1), buy(BOB, 90, 1))

    events = venue.do(again)

    assert reasons(events, EventKind.COMMAND_REJECTED) == [RejectReason.ORDER_FINISHED]


def test_an_order_of_another_account_is_unknown() -> None:
    venue = Venue()
    venue.do(sell(ALICE, 90, 1))

    events = venue.do(ask.cancel(BOB, 1))

    assert reasons(events, EventKind.COMMAND_REJECTED) == [RejectReason.UNKNOWN_ORDER]
    assert venue.ids() == [1]


@pytest.mark.parametrize(
    ("prevention", "expired", "traded"),
    [
        (SelfTradePrevention.NONE, [], [1, 2]),
        (SelfTradePrevention.EXPIRE_TAKER, [3], []),
        (SelfTradePrevention.EXPIRE_MAKER, [1], [2]),
        (SelfTradePrevention.EXPIRE_BOTH, [1, 3], []),
    ],
)
def test_self_trade_prevention_releases_what_it_expires(
    prevention: SelfTradePrevention, expired: list[int], traded: list[int]
) -> None:
    venue = Venue()
    venue.do(sell(ALICE, 90, 2), sell(BOB, 91, 2))

    events = venue.do(buy(ALICE, 95, 4, self_trade_prevention=prevention), ask.cancel_all(ALICE))

    assert [int(event["order_id"]) for event in of_kind(events, EventKind.ORDER_EXPIRED)] == expired
    assert [maker for maker, _, _ in trades(events)] == traded
    assert venue.held(ALICE, BASE) == venue.held(ALICE, QUOTE) == 0


def test_an_expired_order_releases_what_it_held() -> None:
    venue = Venue(taker=10_000)
    venue.do(buy(ALICE, 100, 3, time_in_force=TimeInForce.GTD, expires_ns=1_000))

    early = venue.do(ask.expire(), ts_ns=999)
    due = venue.do(ask.expire(), ts_ns=1_000)

    assert len(early) == 0
    assert reasons(due, EventKind.ORDER_EXPIRED) == [RejectReason.EXPIRED]
    assert (venue.free(ALICE, QUOTE), venue.held(ALICE, QUOTE)) == (100_000, 0)


def test_a_rejected_order_holds_nothing() -> None:
    venue = Venue(taker=10_000)

    events = venue.do(buy(ALICE, 1_000, 100))

    assert reasons(events, EventKind.ORDER_REJECTED) == [RejectReason.INSUFFICIENT_FUNDS]
    assert (venue.free(ALICE, QUOTE), venue.held(ALICE, QUOTE)) == (100_000, 0)


def test_a_better_price_releases_what_is_not_needed_while_the_rest_goes_on() -> None:
    venue = Venue()
    venue.do(sell(ALICE, 80, 2))

    venue.do(buy(BOB, 100, 5))

    assert venue.held(BOB, QUOTE) == 300
    assert venue.free(BOB, QUOTE) == 100_000 - 160 - 300


def test_a_resting_purchase_that_fills_holds_exactly_what_its_rest_needs() -> None:
    venue = Venue(maker=1_000, taker=10_000)
    venue.do(buy(BOB, 100, 5))

    venue.do(sell(ALICE, 90, 2))

    # The rest needs 300 and the taker's fee on it; the fill cost 200 and the maker's fee of 0.2, rounded up.
    assert venue.held(BOB, QUOTE) == 303
    assert venue.free(BOB, QUOTE) == 100_000 - 201 - 303


def test_fees_are_rounded_up_for_each_fill_and_reach_the_fee_account() -> None:
    venue = Venue(maker=1, taker=1)
    venue.do(sell(ALICE, 90, 1), sell(ALICE, 91, 1))

    events = venue.do(buy(BOB, 95, 2))

    fees = [(int(trade["maker_fee"]), int(trade["taker_fee"])) for trade in of_kind(events, EventKind.TRADE)]
    assert fees == [(1, 1), (1, 1)]
    assert venue.free(FEE_ACCOUNT, QUOTE) == 4


def test_a_fee_that_rose_is_capped_at_what_the_maker_has() -> None:
    venue = Venue()
    venue.do(buy(BOB, 1_000, 100))
    venue.do(ask.set_tier_fees(0, maker=100_000, taker=0))

    events = venue.do(sell(ALICE, 1_000, 100))

    assert [int(trade["maker_fee"]) for trade in of_kind(events, EventKind.TRADE)] == [0]
    assert (venue.free(BOB, QUOTE), venue.held(BOB, QUOTE)) == (0, 0)


def test_a_purchase_by_quote_amount_gives_back_the_last_unit_that_buys_nothing() -> None:
    venue = Venue()
    venue.do(sell(ALICE, 90, 2), sell(ALICE, 100, 5))

    events = venue.do(market(BOB, BUY, amount=299))

    assert trades(events) == [(1, 90, 2), (2, 100, 1)]
    assert (venue.free(BOB, QUOTE), venue.held(BOB, QUOTE)) == (100_000 - 280, 0)


def test_an_amount_that_buys_no_lot_is_canceled() -> None:
    venue = Venue()
    venue.do(sell(ALICE, 90, 2))

    events = venue.do(market(BOB, BUY, amount=89))

    assert reasons(events, EventKind.ORDER_CANCELED) == [RejectReason.AMOUNT_TOO_SMALL]
    assert venue.held(BOB, QUOTE) == 0


def test_a_sale_by_quote_amount_earns_no_more_than_it() -> None:
    venue = Venue()
    venue.do(buy(ALICE, 100, 2), buy(ALICE, 90, 5))

    events = venue.do(market(BOB, SELL, amount=299))

    assert trades(events) == [(1, 100, 2), (2, 90, 1)]
    assert venue.held(BOB, BASE) == 0


def fok(account: int, lots: int, prevention: SelfTradePrevention = SelfTradePrevention.NONE) -> Rows:
    return buy(account, 95, lots, time_in_force=TimeInForce.FOK, self_trade_prevention=prevention)


@pytest.mark.parametrize(
    ("lots", "prevention", "fills"),
    [
        (4, SelfTradePrevention.NONE, True),
        (3, SelfTradePrevention.EXPIRE_MAKER, False),
        (2, SelfTradePrevention.EXPIRE_MAKER, True),
        (2, SelfTradePrevention.EXPIRE_TAKER, False),
        (1, SelfTradePrevention.EXPIRE_TAKER, True),
        (2, SelfTradePrevention.EXPIRE_BOTH, False),
    ],
)
def test_fok_counts_only_what_it_may_take(lots: int, prevention: SelfTradePrevention, fills: bool) -> None:
    venue = Venue()
    venue.do(sell(BOB, 90, 1), sell(ALICE, 90, 2), sell(BOB, 91, 1))

    events = venue.do(fok(ALICE, lots, prevention))

    assert (RejectReason.FOK_UNFILLED in reasons(events, EventKind.ORDER_EXPIRED)) is not fills
    assert sum(traded for _, _, traded in trades(events)) == (lots if fills else 0)


def test_fok_counts_the_hidden_part_of_an_iceberg() -> None:
    venue = Venue()
    venue.do(sell(ALICE, 90, 10, display_lots=2))

    short = venue.do(fok(BOB, 11))
    full = venue.do(fok(BOB, 10))

    assert trades(short) == []
    assert sum(lots for _, _, lots in trades(full)) == 10


def test_fok_does_not_count_what_an_iceberg_shows_only_behind_an_own_order() -> None:
    venue = Venue()
    venue.do(sell(BOB, 90, 10, display_lots=2), sell(ALICE, 90, 1))

    short = venue.do(fok(ALICE, 3, SelfTradePrevention.EXPIRE_TAKER))
    full = venue.do(fok(ALICE, 2, SelfTradePrevention.EXPIRE_TAKER))

    assert trades(short) == []
    assert trades(full) == [(1, 90, 2)]


def test_an_iceberg_shows_its_next_part_at_the_back_of_the_queue() -> None:
    venue = Venue()
    venue.do(sell(ALICE, 90, 6, display_lots=2), sell(CAROL, 90, 3))

    events = venue.do(buy(BOB, 90, 8))

    assert trades(events) == [(1, 90, 2), (2, 90, 3), (1, 90, 2), (1, 90, 1)]
    assert venue.shown(BOOK_ASKS) == [(90, 1)]


def test_cancel_replace_leaves_the_old_order_in_its_place_if_the_new_one_is_refused() -> None:
    venue = Venue()
    venue.do(sell(ALICE, 90, 500), sell(CAROL, 90, 1))

    events = venue.do(ask.cancel_replace(1, sell(ALICE, 91, 1_001)))

    assert reasons(events, EventKind.ORDER_REJECTED) == [RejectReason.INSUFFICIENT_FUNDS]
    assert venue.ids() == [1, 2]
    assert venue.shown(BOOK_ASKS) == [(90, 501)]


def test_cancel_replace_counts_what_the_old_order_holds_as_free() -> None:
    venue = Venue()
    venue.do(sell(ALICE, 90, 900))

    events = venue.do(ask.cancel_replace(1, sell(ALICE, 91, 1_000)))

    assert [int(event["replaced_order_id"]) for event in of_kind(events, EventKind.ORDER_ACCEPTED)] == [1]
    assert venue.held(ALICE, BASE) == 1_000


def stop_buy(account: int, stop: int, lots: int) -> Rows:
    return buy(account, 200, lots, stop_ticks=stop, order_type=OrderType.STOP)


def test_triggered_stops_enter_by_order_id_and_may_cascade() -> None:
    venue = Venue()
    venue.do(stop_buy(CAROL, 110, 1), stop_buy(CAROL, 101, 1), stop_buy(CAROL, 100, 1))
    venue.do(sell(ALICE, 100, 1), sell(ALICE, 105, 1), sell(ALICE, 110, 1), sell(ALICE, 120, 1))

    events = venue.do(buy(BOB, 100, 1))

    # The first trade at 100 triggers order 3, whose trade at 105 triggers 2, whose trade at 110 triggers 1.
    assert [int(event["order_id"]) for event in of_kind(events, EventKind.ORDER_TRIGGERED)] == [3, 2, 1]
    assert trades(events) == [(4, 100, 1), (5, 105, 1), (6, 110, 1), (7, 120, 1)]


def test_stops_of_one_round_enter_in_the_order_of_their_ids() -> None:
    venue = Venue()
    venue.do(*(stop_buy(CAROL, stop, 1) for stop in (99, 97, 98)))
    venue.do(*(sell(ALICE, price, 1) for price in (100, 101, 102, 103)))

    events = venue.do(buy(BOB, 100, 1))

    assert [int(event["order_id"]) for event in of_kind(events, EventKind.ORDER_TRIGGERED)] == [1, 2, 3]
    assert [event["order_status"] for event in of_kind(events, EventKind.TRADE)] == [OrderStatus.FILLED] * 4


def sums(venue: Venue) -> Iterable[int]:
    return balances(venue.engine.state).sum(axis=(0, 2)).tolist()


def test_every_asset_sums_to_zero_over_all_accounts() -> None:
    venue = Venue(maker=777, taker=1_333)

    venue.do(sell(ALICE, 90, 7), buy(BOB, 95, 9), sell(CAROL, 93, 9), ask.withdraw(ALICE, QUOTE, 17))

    assert list(sums(venue)) == [0, 0]


def test_a_deposit_beyond_64_bits_is_refused() -> None:
    venue = Venue()

    events = venue.do(ask.deposit(ALICE, BASE, 2**63 - 1))

    assert reasons(events, EventKind.COMMAND_REJECTED) == [RejectReason.OVERFLOW]


def test_a_notional_beyond_64_bits_is_refused() -> None:
    venue = Venue()

    events = venue.do(buy(ALICE, 2**48 - 1, 2**62 - 1))

    assert reasons(events, EventKind.ORDER_REJECTED) == [RejectReason.OVERFLOW]
