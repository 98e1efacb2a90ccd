"""What of the feed may be changed while it runs: spreads, volatilities, models, the interval between prices.

A parameter of a symbol goes before the one of all symbols, and that before the setting that the feed was started with.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from fauxchange.domain.configuration import SYMBOL, Declaration, ServiceSchema, ValueType
from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.instruments import path_symbol
from fauxchange.domain.times import parse_duration
from fauxchange.services.market_data.core.model_files import InvalidModel, parameters_from_mapping
from fauxchange.services.market_data.core.parameters import default_table

SPREAD = "spread_bps"
VOLATILITY = "volatility"
INTERVAL = "price_update_interval"
MODEL = "model"


def check_model(key: str, value: Any) -> None:
    """Look at the parameters of a model. Raises: InvalidRequest with everything that is wrong."""
    try:
        parameters_from_mapping(value, default_table().of(key.partition(".")[2].replace("-", "/")))
    except InvalidModel as exc:
        raise InvalidRequest(f"{key}: {exc.message}", code="value_not_allowed", field="value") from exc


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
            f"{MODEL}.*",
            ValueType.JSON,
            "Parameters of the model of a symbol, as in a model file; what is left out stays as it was at the start",
            about=SYMBOL,
            rule=check_model,
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
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By symbol the parameters of the model that are other than at the start."""

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield each parameter under the name that its key has."""
        for symbol, spread_bps in self.spread_bps.items():
            yield f"{SPREAD}.{path_symbol(symbol)}", spread_bps
        for symbol, volatility in self.volatility.items():
            yield f"{VOLATILITY}.{path_symbol(symbol)}", volatility
        for symbol in self.volatility:
            yield f"{MODEL}.{path_symbol(symbol)}", self.models.get(symbol)
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
    modelled = {path_symbol(symbol): symbol for symbol in defaults.volatility}
    for key, value in sorted(values.items()):
        stem, _, about = key.partition(".")
        try:
            declaration = FEED_SCHEMA.declaration_of(key)
            if declaration is not None and about and about not in known:
                ignored.append(Ignored(key, value, "the symbol is not priced here"))
            elif stem == MODEL and about not in modelled:
                ignored.append(Ignored(key, value, "the symbol is not modelled here"))
            elif declaration is not None:
                kept[key] = declaration.checked(key, value)
        except InvalidRequest as exc:
            ignored.append(Ignored(key, value, exc.message))
    interval = kept.get(INTERVAL)
    return FeedParameters(
        spread_bps=_by_symbol(SPREAD, kept, defaults.spread_bps),
        volatility=_by_symbol(VOLATILITY, kept, defaults.volatility),
        interval_ns=defaults.interval_ns if interval is None else parse_duration(interval),
        models={symbol: kept[f"{MODEL}.{name}"] for name, symbol in modelled.items() if f"{MODEL}.{name}" in kept},
    ), ignored


def _by_symbol(name: str, kept: Mapping[str, str], defaults: Mapping[str, float]) -> dict[str, float]:
    return {
        symbol: float(Decimal(kept.get(f"{name}.{path_symbol(symbol)}", kept.get(name, repr(default)))))
        for symbol, default in defaults.items()
    }
