from decimal import Decimal
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.contracts.exchange import render
from fauxchange.contracts.exchange.messages import OrderMessage
from fauxchange.contracts.exchange.refusals import REFUSALS, refusal
from fauxchange.domain.errors import NotFound, Rejected
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.listings import Asset, Listing
from fauxchange.domain.order_columns import ORDER_COLUMNS, RestingOrders
from fauxchange.domain.orders import (
    AccountRecord,
    FillRecord,
    KeyRecord,
    LedgerEntry,
    OrderRecord,
    TradeRecord,
)
from fauxchange.domain.times import format_time
from fauxchange.services.exchange.core.vocabulary import RejectReason
from fauxchange.services.exchange.service.requests import Balance, Transfer

T0_NS = 1_769_860_800_123_456_789
T0 = "2026-01-31T12:00:00.123456Z"
BTC = Asset(number=0, name="BTC")
USD = Asset(number=1, name="USD")


def listing(tick="0.01", lot="0.0001", **limits):
    instrument = Instrument(symbol="BTC/USD", tick_size=Decimal(tick), lot_size=Decimal(lot))
    return Listing(number=0, instrument=instrument, base=BTC, quote=USD, **limits)


def order(**changes):
    fields = {
        "order_id": 17,
        "account": 3,
        "symbol": "BTC/USD",
        "client_order_id": "my-1",
        "side": 0,
        "order_type": 1,
        "time_in_force": 0,
        "post_only": False,
        "self_trade_prevention": 1,
        "price_ticks": 6_000_000,
        "stop_ticks": 0,
        "order_lots": 100,
        "display_lots": 0,
        "amount": 0,
        "expires_ns": 0,
        "status": 0,
        "reason": 0,
        "cum_lots": 0,
        "leaves_lots": 100,
        "cum_quote": 0,
        "fee": 0,
        "triggered": False,
        "replaces": 0,
        "created_ns": T0_NS,
        "updated_ns": T0_NS,
        "event_sequence": 5,
        "fingerprint": 1,
    }
    return OrderRecord(**{**fields, **changes})


def fill(**changes):
    fields = {
        "trade_id": 9,
        "order_id": 17,
        "account": 3,
        "symbol": "BTC/USD",
        "client_order_id": "my-1",
        "side": 0,
        "is_maker": False,
        "last_ticks": 5_999_950,
        "last_lots": 40,
        "fee": 1_200_000,
        "ts_ns": T0_NS,
        "sequence": 77,
    }
    return FillRecord(**{**fields, **changes})


def test_a_resting_order_says_what_it_is_and_leaves_out_what_it_is_not():
    message = render.order_message(order(), listing())

    assert msgspec.to_builtins(message) == {
        "order_id": "17",
        "client_order_id": "my-1",
        "account_id": "3",
        "symbol": "BTC/USD",
        "side": "buy",
        "type": "limit",
        "time_in_force": "GTC",
        "status": "NEW",
        "quantity": "0.0100",
        "filled_quantity": "0.0000",
        "remaining_quantity": "0.0100",
        "quote_quantity": None,
        "price": "60000.00",
        "stop_price": None,
        "display_quantity": None,
        "average_price": None,
        "post_only": False,
        "self_trade_prevention": "expire_taker",
        "triggered": False,
        "fee": "0.00000000",
        "fee_asset": "USD",
        "reason": None,
        "verdict": None,
        "replaces": None,
        "expires_at": None,
        "created_at": T0,
        "updated_at": T0,
        "fills": [],
    }


AMOUNTS = st.integers(0, 10**15)
MAYBE_TEXTS = st.none() | st.text(max_size=40)
ORDERS = st.builds(
    order,
    order_id=st.integers(1, 2**62),
    client_order_id=MAYBE_TEXTS,
    side=st.integers(0, 1),
    order_type=st.integers(0, 5),
    time_in_force=st.integers(0, 3),
    post_only=st.booleans(),
    self_trade_prevention=st.integers(0, 3),
    price_ticks=AMOUNTS,
    stop_ticks=AMOUNTS,
    order_lots=AMOUNTS,
    display_lots=AMOUNTS,
    amount=AMOUNTS,
    expires_ns=st.just(0) | st.integers(T0_NS, 2**62),
    status=st.integers(0, 5),
    reason=st.just(0) | st.sampled_from(sorted(REFUSALS)),
    cum_lots=AMOUNTS,
    leaves_lots=AMOUNTS,
    cum_quote=AMOUNTS,
    fee=st.integers(-(10**9), 10**9),
    triggered=st.booleans(),
    replaces=AMOUNTS,
    updated_ns=st.just(T0_NS) | st.integers(T0_NS, 2**62),
    verdict=MAYBE_TEXTS,
)


@given(ORDERS, st.lists(st.builds(fill, client_order_id=MAYBE_TEXTS, last_lots=AMOUNTS), max_size=2))
def test_an_order_written_at_once_is_byte_for_byte_its_encoded_message(record, fills):
    expected = msgspec.json.encode(render.order_message(record, listing(), fills))

    assert render.order_json(record, listing(), fills) == expected


RESTING_ROWS = st.fixed_dictionaries(
    {
        "account": st.integers(2, 4),
        "instrument": st.integers(0, 2),
        "side": st.integers(0, 1),
        "order_type": st.integers(0, 5),
        "time_in_force": st.integers(0, 3),
        "post_only": st.integers(0, 1),
        "self_trade_prevention": st.integers(0, 3),
        "price_ticks": st.integers(1, 2**62) | st.integers(1, 3),
        "order_lots": st.integers(1, 2**62) | st.integers(1, 3),
        "ts_ns": st.sampled_from([T0_NS, T0_NS + 1_000, 4_000_000_000 * 10**9]),
        "event_sequence": st.integers(1, 2**62),
        "fingerprint": st.integers(-(2**63), 2**63 - 1),
    }
)
RESTING_NAMES = st.none() | st.sampled_from(["client_order_id", "null", '"quantity":"1', "1"]) | st.text(max_size=5)


@given(st.lists(st.tuples(RESTING_ROWS, RESTING_NAMES), min_size=1, max_size=12), st.data())
def test_resting_orders_written_together_are_byte_for_byte_what_each_is_alone(rows, data):
    symbols = ("BTC/USD", "ETH/USD", "A/B")
    listings = dict(
        zip(symbols, (listing(), listing(tick="1", lot="0.25"), listing(tick="0.00005", lot="1")), strict=True)
    )
    numbers = [[17 + at, *(row[column] for column in ORDER_COLUMNS[1:])] for at, (row, _) in enumerate(rows)]
    orders = RestingOrders(np.array(numbers, np.int64), [name for _, name in rows], symbols)
    begun = data.draw(st.integers(0, len(rows)))
    count = data.draw(st.integers(0, len(rows) - begun))

    texts = render.resting_json(orders, begun, count, listings.__getitem__)

    records = [orders.record(17 + at) for at in range(begun, begun + count)]
    assert [text.encode() for text in texts] == [
        render.order_json(record, listings[record.symbol]) for record in records
    ]


def test_an_order_says_everything_that_it_has():
    record = order(
        side=1,
        order_type=3,
        time_in_force=3,
        post_only=True,
        self_trade_prevention=3,
        stop_ticks=6_000_100,
        display_lots=10,
        amount=123_456_789,
        expires_ns=T0_NS + 60_000_000_000,
        status=5,
        reason=308,
        cum_lots=40,
        leaves_lots=0,
        cum_quote=listing().notional(5_999_950, 40),
        fee=1_200_000,
        triggered=True,
        replaces=16,
        updated_ns=T0_NS + 1_000,
    )

    message = render.order_message(record, listing(), [fill(side=1)])

    assert (message.side, message.type, message.time_in_force, message.status) == (
        "sell",
        "stop_limit",
        "GTD",
        "EXPIRED",
    )
    assert (message.post_only, message.triggered, message.self_trade_prevention) == (True, True, "expire_both")
    assert (message.stop_price, message.display_quantity, message.quote_quantity) == (
        "60001.00",
        "0.0010",
        "1.23456789",
    )
    assert (message.average_price, message.filled_quantity, message.fee) == ("59999.50", "0.0040", "0.01200000")
    assert (message.reason, message.replaces) == ("expired", "16")
    assert (message.expires_at, message.updated_at) == ("2026-01-31T12:01:00.123456Z", "2026-01-31T12:00:00.123457Z")
    assert [one.trade_id for one in message.fills] == ["9"]


def test_an_order_as_json_is_its_message():
    record = order(status=1, cum_lots=40, leaves_lots=60, cum_quote=listing().notional(5_999_950, 40))

    decoded = msgspec.json.decode(render.order_json(record, listing(), [fill()]), type=OrderMessage)

    assert decoded == render.order_message(record, listing(), [fill()])


def test_a_fill_is_told_from_its_own_side():
    taker = render.fill_message(fill(), listing())
    maker = render.fill_message(fill(is_maker=True, side=1), listing())

    assert (taker.side, taker.liquidity, taker.price, taker.quantity) == ("buy", "taker", "59999.50", "0.0040")
    assert (taker.fee, taker.fee_asset, taker.timestamp) == ("0.01200000", "USD", T0)
    assert (maker.side, maker.liquidity) == ("sell", "maker")


def test_the_average_of_nothing_is_nothing():
    assert render.average_price(0, 0, listing()) is None


@pytest.mark.parametrize(
    ("tick", "fills", "text"),
    [
        ("0.01", [(6_000_000, 5)], "60000.00"),
        ("0.01", [(6_000_000, 1), (6_000_001, 1)], "60000.005"),
        ("0.01", [(6_000_000, 2), (6_000_001, 1)], "60000.0033333333"),
        ("0.01", [(6_000_000, 1), (6_000_001, 2)], "60000.0066666667"),
        ("5", [(12_000, 1)], "60000"),
        ("5", [(12_000, 2), (12_001, 1)], "60001.66666667"),
    ],
)
def test_an_average_price_has_the_decimals_that_it_needs_up_to_eight_more_than_a_price(tick, fills, text):
    market = listing(tick, "0.001")
    cum_quote = sum(market.notional(price, lots) for price, lots in fills)

    assert render.average_price(cum_quote, sum(lots for _, lots in fills), market) == text


def test_an_average_price_is_rounded_half_even():
    market = listing("0.01", "0.0001")
    # A price of 0.01 and (2k + 1) / 2 * 10^-10, which lies in the middle of two that can be told.
    for above, text in [(1, "0.01"), (3, "0.0100000002")]:
        lots = 2 * 10**8
        cum_quote = (lots + above) * market.tick_value

        assert render.average_price(cum_quote, lots, market) == text


@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.integers(1, 10**6)), min_size=1, max_size=6),
    st.sampled_from(["0.01", "0.0005", "1", "2.5"]),
)
def test_an_average_price_is_within_half_a_unit_of_its_last_decimal(fills, tick):
    market = listing(tick, "0.0001")
    lots = sum(one for _, one in fills)
    exact = sum(Fraction(tick) * price * one for price, one in fills) / lots

    text = render.average_price(sum(market.notional(price, one) for price, one in fills), lots, market)

    decimals = market.instrument.prices.decimals + render.AVERAGE_DECIMALS
    assert abs(Fraction(text) - exact) <= Fraction(1, 2 * 10**decimals)


@given(st.integers(0, 4_000_000_000 * 10**9))
def test_the_text_of_a_moment_is_that_of_every_other_place(ts_ns):
    assert render.time_text(ts_ns) == format_time(ts_ns)


def test_a_trade_is_told_alike_by_its_record_and_by_its_takers_fill():
    trade = TradeRecord(trade_id=9, symbol="BTC/USD", side=0, price_ticks=5_999_950, lots=40, ts_ns=T0_NS)

    assert render.trade_message(trade, listing()) == render.taker_trade_message(fill(), listing())
    assert not {"account_id", "order_id"} & set(msgspec.to_builtins(render.trade_message(trade, listing())))


def test_a_ledger_entry_may_move_money_away():
    entry = LedgerEntry(
        event_sequence=12, sequence=4, ts_ns=T0_NS, account=3, asset="USD",
        delta_free=-150_000_000, delta_held=150_000_000, cause=3, order_id=17, free=0, held=150_000_000,
    )  # fmt: skip

    message = render.ledger_message(entry, USD)

    assert (message.delta_free, message.delta_held) == ("-1.50000000", "1.50000000")
    assert (message.free, message.held, message.cause, message.order_id) == (
        "0.00000000",
        "1.50000000",
        "reserve",
        "17",
    )


def test_an_instrument_without_limits_says_so():
    message = render.instrument_message(listing(), 200, 1_000)

    assert (message.tick_size, message.lot_size, message.min_quantity) == ("0.01", "0.0001", "0.0001")
    assert (message.maker_fee, message.taker_fee, message.status) == ("0.000200", "0.001000", "open")
    limits = (message.max_quantity, message.min_notional, message.max_notional, message.price_band)
    assert (*limits, message.max_open_orders) == (None,) * 5


def test_an_instrument_tells_its_limits_in_whole_units():
    market = listing(
        status=2, min_lots=10, max_lots=1_000_000, min_notional=10**9, max_notional=10**14, price_band=1_000,
        max_open_orders=200,
    )  # fmt: skip

    message = render.instrument_message(market, 0, 0)

    assert (message.min_quantity, message.max_quantity, message.price_band) == ("0.0010", "100.0000", "0.1000")
    assert (message.min_notional, message.max_notional) == ("10.00000000", "1000000.00000000")
    assert (message.max_open_orders, message.status) == (200, "cancel_only")


def test_balances_transfers_accounts_and_keys_are_told_in_words():
    account = AccountRecord(account=3, name="desk", tier=1, status=1, created_ns=T0_NS, updated_ns=T0_NS)
    key = KeyRecord(
        api_key="k1", account=3, label="bot", encrypted_secret="never told", created_ns=T0_NS, revoked_ns=T0_NS
    )
    transfer = Transfer(transfer_id=4, account=3, asset="BTC", amount=1, free=2, held=3, ts_ns=T0_NS)

    assert msgspec.to_builtins(render.balance_message(Balance("BTC", 150_000_000, 1), BTC)) == {
        "asset": "BTC",
        "free": "1.50000000",
        "held": "0.00000001",
    }
    assert (render.account_message(account).status, render.account_message(account).account_id) == ("suspended", "3")
    assert render.transfer_message(transfer, BTC).amount == "0.00000001"
    assert render.key_message(key).revoked_at == T0
    assert b"never told" not in msgspec.json.encode(render.key_message(key))
    assert render.key_created(key, "s3cret").api_secret == "s3cret"


def test_a_report_has_the_fill_that_it_is_about():
    report = render.report_message("trade", order(), listing(), fill())

    assert (report.exec_type, report.order.order_id, report.fill and report.fill.trade_id) == ("trade", "17", "9")
    assert b'"fill"' not in msgspec.json.encode(render.report_message("new", order(), listing()))


def test_every_reason_of_the_kernel_has_its_words_and_no_other():
    assert {reason: words.code for reason, words in REFUSALS.items()} == {
        reason.value: reason.name.lower() for reason in RejectReason if reason is not RejectReason.NONE
    }


def test_a_refusal_tells_the_kernels_number_only_where_it_was_the_kernel():
    code, detail = refusal(401)
    rejected = render.refusal_message(Rejected(detail, code=code, reason=401))
    missing = render.refusal_message(NotFound("no such symbol", code="unknown_symbol", field="symbol"))

    assert rejected == render.rejection_message(401)
    assert (rejected.code, rejected.reason) == ("insufficient_funds", 401)
    assert (missing.code, missing.field, missing.reason) == ("unknown_symbol", "symbol", None)
