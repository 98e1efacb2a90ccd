"""Which parameters a symbol gets."""

import dataclasses

import pytest

from fauxchange.domain.errors import InvariantViolation
from fauxchange.services.market_data.core.parameters import default_table, initial_price


def test_five_assets_are_calibrated_and_others_are_generic() -> None:
    table = default_table()

    assert set(table.by_base) == {"BTC", "ETH", "SOL", "ADA", "DOT"}
    assert table.of("DOGE") == table.of("ETH") != table.of("BTC")


def test_loadings_stay_correlations() -> None:
    for base, parameters in default_table().by_base.items():
        assert 0.85 < parameters.market_loading < 1.0
        # In the recorded month the hourly volatility of ADA goes its own way more often than that of the others.
        assert (0.85 if base == "ADA" else 0.95) < parameters.volatility_loading < 1.0


def test_the_digest_tells_parameters_apart() -> None:
    table = default_table()
    btc = table.of("BTC")

    assert table.digest(btc) == table.digest(dataclasses.replace(btc))
    assert table.digest(btc) != table.digest(dataclasses.replace(btc, sigma=btc.sigma * 1.0000001))
    assert table.digest(btc) != dataclasses.replace(table, feedback=0.5).digest(btc)


@pytest.mark.parametrize("change", [{"weights": (0.1,)}, {"sigma": 0.0}, {"leverage": 1.5}, {"season": (0.0,) * 24}])
def test_parameters_that_are_no_law_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvariantViolation):
        dataclasses.replace(default_table().of("BTC"), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("base", "quote", "price"),
    [
        ("BTC", "USD", 60_000.0),
        ("BTC", "USDT", 60_000.0),
        ("ETH", "BTC", 0.05),
        ("XYZ", "USD", 100.0),
        ("USDT", "USD", 1.0),
    ],
)
def test_initial_prices_follow_the_assets(base: str, quote: str, price: float) -> None:
    assert initial_price(base, quote) == price
