"""What the exchange makes of the settings, and what it refuses to start with."""

from decimal import Decimal
from fractions import Fraction

import pytest

from fauxchange.domain.errors import ConfigurationError
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.settings import load_settings
from fauxchange.services.exchange.app.config import ExchangeConfig, read_config


def config_of(**environ: str) -> ExchangeConfig:
    return read_config(load_settings(environ=environ))


def test_by_default_the_five_symbols_and_three_with_tether_are_traded() -> None:
    config = config_of()

    assert [listing.symbol for listing in config.listings] == [
        "BTC/USD",
        "ETH/USD",
        "ADA/USD",
        "SOL/USD",
        "DOT/USD",
        "BTC/USDT",
        "ETH/USDT",
        "USDT/USD",
    ]
    assert [asset.name for asset in config.assets][:4] == ["BTC", "ETH", "USD", "USDT"]
    assert {plan.style for plan in config.house.values()} == {"levels"}
    assert set(config.pricing) == {listing.symbol for listing in config.listings}


def test_only_what_can_be_priced_is_traded_by_default() -> None:
    assert [listing.symbol for listing in config_of(DEFAULT_SYMBOLS="SOL/USD").listings] == ["SOL/USD"]
    assert [listing.symbol for listing in config_of(DEFAULT_SYMBOLS="ETH/USD,BTC/USDT").listings] == [
        "ETH/USD",
        "BTC/USDT",
        "ETH/USDT",
        "USDT/USD",
    ]


def test_a_feed_of_its_own_goes_before_a_rate_and_may_have_another_grid() -> None:
    feeds = [
        Instrument(symbol="BTC/USD", tick_size=Decimal("0.01"), lot_size=Decimal("0.00001")),
        Instrument(symbol="BTC/USDT", tick_size=Decimal("0.001"), lot_size=Decimal("0.00001")),
    ]

    config = read_config(load_settings(environ={"USDT_USD": "0.5"}), feeds)

    assert (config.pricing["BTC/USDT"].feed, config.pricing["BTC/USDT"].ratio) == ("BTC/USDT", Fraction(1, 10))


def test_tether_is_priced_by_the_rate() -> None:
    config = config_of(USDT_USD="0.5")

    assert (config.pricing["BTC/USDT"].feed, config.pricing["BTC/USDT"].ratio) == ("BTC/USD", Fraction(2))
    assert config.pricing["USDT/USD"].constant() == (4_999, 5_001)


def test_limits_are_counted_in_lots_and_minor_units_and_follow_the_base() -> None:
    config = config_of(
        MIN_NOTIONAL="10", MAX_NOTIONAL="BTC/USD=1000000", MAX_QUANTITY="BTC/USD=5", MAX_OPEN_ORDERS="BTC/USDT=20"
    )

    by_symbol = {listing.symbol: listing for listing in config.listings}
    btc, tether, ada = by_symbol["BTC/USD"], by_symbol["BTC/USDT"], by_symbol["ADA/USD"]
    assert (btc.min_notional, btc.max_notional, btc.max_lots) == (10 * 10**8, 10**6 * 10**8, 500_000)
    assert (tether.max_lots, tether.max_open_orders, ada.max_lots, ada.max_open_orders) == (500_000, 20, 0, 1_000)
    assert {listing.price_band for listing in config.listings} == {5_000}


def test_a_tier_that_is_not_named_has_the_fees_of_the_one_below_it() -> None:
    fees = config_of(MAKER_FEE_BPS="0=5,2=0", TAKER_FEE_BPS="7.5").fees

    assert [fees[tier] for tier in (0, 1, 2, 15)] == [(500, 750), (500, 750), (0, 750), (0, 750)]


def test_further_assets_are_known_with_their_decimals() -> None:
    config = config_of(EXCHANGE_ASSETS="EUR,JPY=0")

    assert [(asset.name, asset.decimals) for asset in config.assets][-2:] == [("EUR", 8), ("JPY", 0)]


def test_the_stale_age_follows_slow_prices() -> None:
    assert config_of().house_stale_after_ns == 5 * NS_PER_S
    assert config_of(PRICE_UPDATE_INTERVAL="10s").house_stale_after_ns == 30 * NS_PER_S


def test_amounts_of_the_demo_are_written_out() -> None:
    assert str(config_of(DEMO_FUNDS="USD=1E+5").demo_funds["USD"]) == "100000"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"TICK_SIZES": "BTC/USD=0.00001"}, "TICK_SIZES, LOT_SIZES: a tick times a lot of BTC/USD"),
        ({"EXCHANGE_ASSETS": "BTC=4"}, "LOT_SIZES: a lot of BTC/USD is 0.00001 BTC"),
        ({"EXCHANGE_SYMBOLS": "DOGE/USD"}, "EXCHANGE_SYMBOLS: nothing prices DOGE/USD"),
        ({"EXCHANGE_SYMBOLS": "USD/USD"}, "EXCHANGE_SYMBOLS: USD/USD has the same asset"),
        ({"DEMO_FUNDS": "EUR=1"}, "DEMO_FUNDS: there is no asset EUR"),
        ({"DEMO_FUNDS": "USD=0.000000001"}, "DEMO_FUNDS: USD 1E-9 is not a multiple"),
        ({"MAX_QUANTITY": "0.000001"}, "MAX_QUANTITY of BTC/USD"),
        ({"MAX_NOTIONAL": "100000"}, "HOUSE_BEST_NOTIONAL of BTC/USD is more than its MAX_NOTIONAL"),
        ({"MIN_NOTIONAL": "300000"}, "HOUSE_BEST_NOTIONAL of BTC/USD is less than its MIN_NOTIONAL"),
        ({"HOUSE_BEST_NOTIONAL": "90000000000"}, "HOUSE_BEST_NOTIONAL of BTC/USD is more than the house"),
        ({"MAX_OPEN_ORDERS": "5"}, "HOUSE_LEVELS of BTC/USD"),
        ({"HOUSE_LEVEL_SPACING_BPS": "3000"}, "HOUSE_LEVEL_SPACING_BPS of BTC/USD"),
        ({"ORDER_FLOW": "frantic"}, "ORDER_FLOW"),
        ({"ORDER_FLOW": "busy", "ORDER_FLOW_HOUSE_DISTANCE_BPS": "4990"}, "ORDER_FLOW_HOUSE_DISTANCE_BPS of BTC/USD"),
        (
            {"EXCHANGE_SYMBOLS": "DOGE/USD", "HOUSE_LIQUIDITY": "off", "ORDER_FLOW": "DOGE/USD=calm"},
            "ORDER_FLOW: nothing prices DOGE/USD",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_by_the_variables_name(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        config_of(**environ)


def test_what_nothing_prices_can_be_traded_without_the_house() -> None:
    config = config_of(EXCHANGE_SYMBOLS="BTC/USD,DOGE/USD", HOUSE_LIQUIDITY="DOGE/USD=off")

    assert [listing.symbol for listing in config.listings] == ["BTC/USD", "DOGE/USD"]
    assert "DOGE/USD" not in config.pricing


def test_there_are_no_background_traders_unless_asked_for_and_the_house_stands_at_the_price() -> None:
    config = config_of()

    assert not config.flow
    assert {plan.distance for plan in config.house.values()} == {0}


def test_background_traders_are_in_what_a_feed_prices_and_the_house_stands_back_there() -> None:
    config = config_of(ORDER_FLOW="ETH/USD=busy,BTC/USD=calm", ORDER_FLOW_HOUSE_DISTANCE_BPS="BTC/USD=30")

    assert {symbol: plan.intensity for symbol, plan in config.flow.items()} == {
        "BTC/USD": "calm",
        "ETH/USD": "busy",
        "BTC/USDT": "calm",
        "ETH/USDT": "busy",
    }
    assert config.house["BTC/USD"].distance == Fraction(30, 10_000)
    assert config.house["ETH/USD"].distance == Fraction(50, 10_000)
    assert config.house["ADA/USD"].distance == 0


def test_a_price_that_never_moves_has_no_background_traders() -> None:
    assert "USDT/USD" not in config_of(ORDER_FLOW="busy").flow
