"""Parameters of the price model LMV-J, per symbol and for the market they share.

Defaults (`data/lmv-defaults.json`) are fitted by `fauxchange calibrate` to one public month of one-minute prices;
`docs/calibration.md` says what was changed by hand since. A symbol takes those of its base asset: `BTC/USDT` uses
BTC's. A base asset that was never calibrated takes the generic set, which is ETH's. Loadings are what enters the model:
a little above the correlations that come out.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from fauxchange.domain.errors import check

FACTORS = 7
HOURS = 24
GENERIC_BASE = "ETH"

COMMON_JUMP_SHARE = 0.7
"""Share of a symbol's jumps that come with the market's."""

INITIAL_PRICES_USD = {"BTC": 60_000.0, "ETH": 3_000.0, "SOL": 150.0, "DOT": 7.0, "ADA": 0.75}
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
    by_symbol: Mapping[str, LmvParameters] = field(default_factory=dict)
    """Sets of single symbols, which go before those of their base assets."""

    def of(self, symbol: str) -> LmvParameters:
        """Return the parameters of a symbol: its own, those of its base asset, or the generic set."""
        base = symbol.partition("/")[0]
        return self.by_symbol.get(symbol) or self.by_base.get(base) or self.by_base[GENERIC_BASE]

    def digest(self, parameters: LmvParameters) -> str:
        """Return a hash of everything that shapes the prices of a symbol with these parameters."""
        shared = (self.factor_minutes, self.trend_minutes, self.feedback, self.trend_cap, self.log_variance_cap)
        return hashlib.sha256(repr((shared, parameters)).encode()).hexdigest()[:16]


def initial_price(base: str, quote: str) -> float:
    """Return the default first price of `base` in `quote`."""
    return _dollars(base) / _dollars(quote)


@cache
def default_table() -> LmvTable:
    """Return the calibrated parameters that come with the package."""
    folder = files("fauxchange.services.market_data.core") / "data"
    return lmv_table(json.loads((folder / "lmv-defaults.json").read_text(encoding="utf-8")))


def lmv_table(document: Mapping[str, Any]) -> LmvTable:
    """Return the table held by a document in the form of `lmv-defaults.json`.

    Raises: InvariantViolation if its numbers are not a model's
    """
    return LmvTable(
        factor_minutes=_floats(document["factor_minutes"]),
        trend_minutes=float(document["trend_minutes"]),
        feedback=float(document["feedback"]),
        trend_cap=float(document["trend_cap"]),
        log_variance_cap=float(document["log_variance_cap"]),
        by_base={base: _parameters(entry) for base, entry in document["symbols"].items()},
    )


def _parameters(entry: Mapping[str, Any]) -> LmvParameters:
    volume = entry["volume"]
    return LmvParameters(
        weights=_floats(entry["weights"]),
        sigma=float(entry["sigma"]),
        season=_floats(entry["season"]),
        leverage=float(entry["leverage"]),
        jump_rate=float(entry["jump_rate"]),
        jump_scale=float(entry["jump_scale"]),
        market_loading=float(entry["market_loading"]),
        volatility_loading=float(entry["volatility_loading"]),
        volume=VolumeParameters(
            level=float(volume["level"]),
            volatility_power=float(volume["volatility_power"]),
            mean_log_volatility=float(volume["mean_log_volatility"]),
            return_effect=float(volume["return_effect"]),
            weights=_floats(volume["weights"]),
            noise=float(volume["noise"]),
            season=_floats(volume["season"]),
        ),
    )


def _floats(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _dollars(asset: str) -> float:
    return 1.0 if asset in DOLLARS else INITIAL_PRICES_USD.get(asset, UNKNOWN_PRICE_USD)
