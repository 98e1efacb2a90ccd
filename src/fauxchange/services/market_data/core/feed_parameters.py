"""What of the feed may be changed while it runs: spreads, volatilities, the interval between prices.

A parameter of a symbol goes before the one of all symbols, and that before the setting that the feed was started with.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fauxchange.domain.configuration import SYMBOL, Declaration, ServiceSchema, ValueType
from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.instruments import path_symbol
from fauxchange.domain.times import parse_duration

SPREAD = "spread_bps"
VOLATILITY = "volatility"
INTERVAL = "price_update_interval"

FEED_SCHEMA = ServiceSchema(
    "market-data",
    (
        Declaration(
            SPREAD,
            ValueType.DECIMAL,
            "Distance of bid and ask in basis points, all symbols",
            minimum="0",
            maximum="1000",
        ),
        Declaration(
            f"{SPREAD}.*",
            ValueType.DECIMAL,
            "Distance of bid and ask of a symbol in basis points",
            minimum="0",
            maximum="1000",
            about=SYMBOL,
        ),
        Declaration(
            VOLATILITY,
            ValueType.DECIMAL,
            "Volatility of the model as a multiple of the calibrated one, all symbols",
            minimum="0.01",
            maximum="20",
        ),
        Declaration(
            f"{VOLATILITY}.*",
            ValueType.DECIMAL,
            "Volatility of the model as a multiple of the calibrated one, of a symbol",
            minimum="0.01",
            maximum="20",
            about=SYMBOL,
        ),
        Declaration(
            INTERVAL, ValueType.DURATION, "Time between two prices of a modelled symbol", minimum="1ms", maximum="1h"
        ),
    ),
)
"""The keys that market data has at the configuration service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedParameters:
    """What holds of each symbol. Units: spreads in basis points, volatilities as multiples of the calibrated ones."""

    spread_bps: Mapping[str, float]
    volatility: Mapping[str, float]
    interval_ns: int

    def items(self) -> Iterator[tuple[str, float | int]]:
        """Yield each parameter under the name that its key has."""
        for symbol, spread_bps in self.spread_bps.items():
            yield f"{SPREAD}.{path_symbol(symbol)}", spread_bps
        for symbol, volatility in self.volatility.items():
            yield f"{VOLATILITY}.{path_symbol(symbol)}", volatility
        yield INTERVAL, self.interval_ns


@dataclass(frozen=True, slots=True)
class Ignored:
    """A value that is set and means nothing here."""

    key: str
    value: Any
    reason: str


def read_parameters(
    values: Mapping[str, Any], symbols: Sequence[str], defaults: FeedParameters
) -> tuple[FeedParameters, list[Ignored]]:
    """Return the parameters that values make of the defaults, and which values were left out and why."""
    kept: dict[str, Any] = {}
    ignored: list[Ignored] = []
    known = {path_symbol(symbol) for symbol in symbols}
    for key, value in sorted(values.items()):
        _, _, about = key.partition(".")
        try:
            declaration = FEED_SCHEMA.declaration_of(key)
            if declaration is not None and about and about not in known:
                ignored.append(Ignored(key, value, "the symbol is not priced here"))
            elif declaration is not None:
                kept[key] = declaration.checked(key, value)
        except InvalidRequest as exc:
            ignored.append(Ignored(key, value, exc.message))
    interval = kept.get(INTERVAL)
    return FeedParameters(
        spread_bps=_by_symbol(SPREAD, kept, defaults.spread_bps),
        volatility=_by_symbol(VOLATILITY, kept, defaults.volatility),
        interval_ns=defaults.interval_ns if interval is None else parse_duration(interval),
    ), ignored


def _by_symbol(name: str, kept: Mapping[str, str], defaults: Mapping[str, float]) -> dict[str, float]:
    return {
        symbol: float(Decimal(kept.get(f"{name}.{path_symbol(symbol)}", kept.get(name, repr(default)))))
        for symbol, default in defaults.items()
    }
