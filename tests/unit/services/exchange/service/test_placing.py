import pytest
from exchange_kit import BTC_USD, order

from fauxchange.domain.errors import InvalidRequest
from fauxchange.services.exchange.core.layout import (
    C_AMOUNT,
    C_EXPIRES_NS,
    C_ORDER_LOTS,
    C_PRICE_TICKS,
    C_STOP_TICKS,
    C_TIME_IN_FORCE,
)
from fauxchange.services.exchange.core.vocabulary import TimeInForce
from fauxchange.services.exchange.service.placing import count_steps, place_row


@pytest.mark.parametrize(
    ("text", "steps"),
    [("1", 100), ("0.01", 1), ("60000.00", 6_000_000), ("60000.000000", 6_000_000), ("007.50", 750), ("1.5", 150)],
)
def test_text_becomes_steps(text: str, steps: int) -> None:
    assert count_steps(BTC_USD.instrument.prices, text, "price") == steps


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("0.001", "off_grid"),
        ("0", "out_of_range"),
        ("0.00", "out_of_range"),
        ("92233720368547758.08", "out_of_range"),
        ("9" * 39, "out_of_range"),
        ("9" * 41, "invalid_number"),
        ("-1", "invalid_number"),
        ("+1", "invalid_number"),
        ("1e5", "invalid_number"),
        ("1_000", "invalid_number"),
        (".5", "invalid_number"),
        ("", "invalid_number"),
        ("nan", "invalid_number"),
        (" 1", "invalid_number"),
        ("1.2.3", "invalid_number"),
        ("٣", "invalid_number"),
    ],
)
def test_text_that_is_no_number_of_steps_is_refused(text: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        count_steps(BTC_USD.instrument.prices, text, "price")

    assert (caught.value.code, caught.value.field) == (code, "price")


def test_largest_number_of_64_bits_is_taken() -> None:
    assert count_steps(BTC_USD.instrument.prices, "92233720368547758.07", "price") == 2**63 - 1


def test_a_market_order_is_ioc_and_others_gtc_or_gtd() -> None:
    market = place_row(3, BTC_USD, order("buy", "1"))
    limit = place_row(3, BTC_USD, order("buy", "1", "60000"))
    dated = place_row(3, BTC_USD, order("buy", "1", "60000", expires_at="2026-02-01T00:00:00Z"))

    assert [row[C_TIME_IN_FORCE] for row in (market, limit, dated)] == [
        TimeInForce.IOC,
        TimeInForce.GTC,
        TimeInForce.GTD,
    ]
    assert dated[C_EXPIRES_NS] == 1_769_904_000 * 10**9


def test_amounts_become_ticks_lots_and_minor_units() -> None:
    by_amount = place_row(3, BTC_USD, order("buy", None, quote_quantity="1000.5"))
    stop = place_row(3, BTC_USD, order("sell", "0.5", "59000.01", type="stop_limit", stop_price="59500"))

    assert by_amount[C_AMOUNT] == 100_050_000_000
    assert (stop[C_ORDER_LOTS], stop[C_PRICE_TICKS], stop[C_STOP_TICKS]) == (50_000, 5_900_001, 5_950_000)


@pytest.mark.parametrize(
    ("request_", "code", "field"),
    [
        (order("buy", None), "missing_field", "quantity"),
        (order("buy", "1", quote_quantity="5"), "missing_field", "quantity"),
        (order("buy", "1", "5", type="market"), "unexpected_field", "price"),
        (order("buy", "1", stop_price="5"), "unexpected_field", "stop_price"),
        (order("buy", None, "5"), "missing_field", "quantity"),
        (order("buy", "1", type="limit"), "missing_field", "price"),
        (order("buy", "1", "5", quote_quantity="5"), "unexpected_field", "quote_quantity"),
        (order("sell", "1", type="stop"), "missing_field", "stop_price"),
        (order("buy", "1", type="stop", stop_price="7"), "missing_field", "price"),
        (order("sell", "1", type="take_profit_limit", stop_price="7"), "missing_field", "price"),
        (order("buy", "0.000001", "5"), "off_grid", "quantity"),
        (order("buy", "1", "5.001"), "off_grid", "price"),
        (order("hold", "1"), "invalid_choice", "side"),
        (order("buy", "1", type="guess"), "invalid_choice", "type"),
        (order("buy", "1", "5", time_in_force="DAY"), "invalid_choice", "time_in_force"),
        (order("buy", "1", "5", self_trade_prevention="maybe"), "invalid_choice", "self_trade_prevention"),
        (order("buy", "1", "5", expires_at="tomorrow"), "invalid_time", "expires_at"),
        (order("buy", "1", "5", expires_at="9999-01-01T00:00:00Z"), "out_of_range", "expires_at"),
    ],
)
def test_an_order_that_cannot_be_meant_is_refused_by_its_field(request_: object, code: str, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        place_row(3, BTC_USD, request_)  # type: ignore[arg-type]

    assert (caught.value.code, caught.value.field) == (code, field)
