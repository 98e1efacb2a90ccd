"""What values of the configuration mean to the feed."""

import pytest

from fauxchange.domain.times import NS_PER_MS, NS_PER_S
from fauxchange.services.market_data.core.feed_parameters import FeedParameters, read_parameters

DEFAULTS = FeedParameters(
    spread_bps={"BTC/USD": 1.0, "ETH/USD": 5.0}, volatility={"BTC/USD": 1.0}, interval_ns=NS_PER_S
)
SYMBOLS = ("BTC/USD", "ETH/USD")


def test_without_values_the_settings_hold() -> None:
    assert read_parameters({}, SYMBOLS, DEFAULTS) == (DEFAULTS, [])


def test_a_symbol_s_own_value_goes_before_that_of_all() -> None:
    parameters, ignored = read_parameters(
        {
            "spread_bps": "10",
            "spread_bps.BTC-USD": "20",
            "volatility": "3",
            "price_update_interval": "250ms",
        },
        SYMBOLS,
        DEFAULTS,
    )

    assert parameters.spread_bps == {"BTC/USD": 20.0, "ETH/USD": 10.0}
    assert parameters.volatility == {"BTC/USD": 3.0}
    assert parameters.interval_ns == 250 * NS_PER_MS
    assert ignored == []


def test_a_model_is_that_of_its_symbol() -> None:
    parameters, ignored = read_parameters({"model.BTC-USD": '{"sigma": 0.002}'}, SYMBOLS, DEFAULTS)

    assert parameters.models == {"BTC/USD": {"sigma": 0.002}}
    assert ignored == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("spread_bps", "-1"),
        ("spread_bps.BTC-USD", "wide"),
        ("spread_bps.DOGE-USD", "5"),
        ("volatility", "0"),
        ("volatility.BTC-USD", 100),
        ("price_update_interval", "0s"),
        ("price_update_interval", "2h"),
        ("price_update_interval", 5),
        ("unheard_of", 1),
        ("model.BTC-USD", {"sigma": -1}),
        ("model.BTC-USD", {"sgma": 1}),
        ("model.BTC-USD", "calm"),
        ("model.ETH-USD", {"sigma": 0.001}),
        ("model.DOGE-USD", {"sigma": 0.001}),
        ("model", {"sigma": 0.001}),
    ],
)
def test_a_value_that_means_nothing_is_left_out_and_named(key: str, value: object) -> None:
    parameters, ignored = read_parameters({key: value}, SYMBOLS, DEFAULTS)

    assert parameters == DEFAULTS
    assert [(each.key, each.value) for each in ignored] == [(key, value)]
    assert ignored[0].reason
