"""Parameters of the price model LMV-J, per symbol and for the market they share.

Defaults are calibrated on one public month of one-minute prices (`data/lmv-defaults.json`). A symbol takes those of
its base asset: `BTC/USDT` uses BTC's. A base asset that was never calibrated takes the generic set, which is ETH's.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fauxchange.domain.errors import check

FACTORS = 7
HOURS = 24
GENERIC_BASE = "ETH"

COMMON_JUMP_SHARE = 0.7
"""Share of a symbol's jumps that come with the market's."""

MARKET_LOADING_RISE = 1.05
VOLATILITY_LOADING_RISE = 1.02
"""What measured loadings are multiplied by, so that simulated correlations come out as the measured ones.

Loadings are measured on returns, whose volatilities move apart, and enter the model where that has not happened yet.
Found by simulation: with them pair correlations at one minute lie within 0.05 of the product of the loadings.
"""
MOST_LOADING = 0.99

INITIAL_PRICES_USD = {"BTC": 60_000.0, "ETH": 3_000.0, "SOL": 150.0, "DOT": 7.0, "ADA": 0.45}
"""Price of one unit of a base asset in US dollars where the operator states none; 100 for assets not listed."""

DOLLARS = frozenset({"USD", "USDT", "USDC"})
UNKNOWN_PRICE_USD = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeParameters:
    """How much trades.

    Units: level is ln of base asset per minute; weights and noise are variances of ln volume
    """

    level: float
    volatility_power: float
    mean_log_volatility: float
    return_effect: float
    weights: tuple[float, ...]
    noise: float
    season: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LmvParameters:
    """What makes one symbol's prices its own.

    Units: sigma is the standard deviation of a one-minute log return before volatility moves; jump_rate per minute;
           jump_scale in units of sigma; seasons by UTC hour with mean about 1; drift per minute
    """

    weights: tuple[float, ...]
    sigma: float
    season: tuple[float, ...]
    leverage: float
    jump_rate: float
    jump_scale: float
    market_loading: float
    volatility_loading: float
    volume: VolumeParameters
    drift: float = 0.0

    def __post_init__(self) -> None:
        for weights in (self.weights, self.volume.weights):
            check(len(weights) == FACTORS and min(weights) >= 0.0, f"a symbol has {FACTORS} weights, none negative")
        for season in (self.season, self.volume.season):
            check(len(season) == HOURS and min(season) > 0.0, f"a season has {HOURS} positive hours")
        check(self.sigma > 0.0 and self.jump_rate >= 0.0 and self.jump_scale >= 0.0, "scales are not negative")
        for loading in (self.leverage, self.market_loading, self.volatility_loading):
            check(-1.0 <= loading <= 1.0, "a loading is a correlation")


@dataclass(frozen=True, slots=True, kw_only=True)
class LmvTable:
    """The calibrated sets by base asset and what they have in common.

    Units: time constants in minutes
    """

    factor_minutes: tuple[float, ...]
    trend_minutes: float
    feedback: float
    trend_cap: float
    log_variance_cap: float
    by_base: Mapping[str, LmvParameters]

    def of(self, base: str) -> LmvParameters:
        """Return the parameters of a base asset, or the generic set."""
        return self.by_base.get(base, self.by_base[GENERIC_BASE])

    def digest(self, parameters: LmvParameters) -> str:
        """Return a hash of everything that shapes the prices of a symbol with these parameters."""
        shared = (self.factor_minutes, self.trend_minutes, self.feedback, self.trend_cap, self.log_variance_cap)
        return hashlib.sha256(repr((shared, parameters)).encode()).hexdigest()[:16]


def initial_price(base: str, quote: str) -> float:
    """Return the default first price of `base` in `quote`."""
    return _dollars(base) / _dollars(quote)


def lmv_table(document: Mapping[str, Any]) -> LmvTable:
    """Return the table held by a document in the form of `lmv-defaults.json`.

    Raises: InvariantViolation if its numbers are not a model's
    """
    loadings = document["market_loading_1min"]
    volatility_loading = min(float(document["volatility_loading"]) * VOLATILITY_LOADING_RISE, MOST_LOADING)
    return LmvTable(
        factor_minutes=_floats(document["tau_min"]),
        trend_minutes=float(document["tau_T_min"]),
        feedback=float(document["z"]),
        trend_cap=float(document["T2_cap"]),
        log_variance_cap=float(document["log_var_cap"]),
        by_base={
            base: _parameters(entry, min(float(loadings[base]) * MARKET_LOADING_RISE, MOST_LOADING), volatility_loading)
            for base, entry in document["symbols"].items()
        },
    )


def _parameters(entry: Mapping[str, Any], market_loading: float, volatility_loading: float) -> LmvParameters:
    volume = entry["volume"]
    return LmvParameters(
        weights=_floats(entry["w"]),
        sigma=float(entry["sigma_1min_scale"]),
        season=_floats(entry["season_hour_utc"]),
        leverage=float(entry["leverage"]),
        jump_rate=float(entry["jump_rate_per_min"]),
        jump_scale=float(entry["jump_scale_sigma"]),
        market_loading=market_loading,
        volatility_loading=volatility_loading,
        volume=VolumeParameters(
            level=float(volume["level_ln"]),
            volatility_power=float(volume["kappa"]),
            mean_log_volatility=float(volume["mean_ln_sigma"]),
            return_effect=float(volume["b"]),
            weights=_floats(volume["v"]),
            noise=float(volume["white"]),
            season=_floats(volume["season_hour_utc"]),
        ),
    )


def _floats(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _dollars(asset: str) -> float:
    return 1.0 if asset in DOLLARS else INITIAL_PRICES_USD.get(asset, UNKNOWN_PRICE_USD)
