"""The model as a source: plain Python for a gentle feed, compiled for a demanding one."""

import math
from collections.abc import Sequence
from decimal import Decimal

from fauxchange.domain.errors import ConfigurationError
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.compiler import compile_kernel, numba_available
from fauxchange.services.market_data.app.config import MarketDataConfig
from fauxchange.services.market_data.core.model_files import ModelFile
from fauxchange.services.market_data.core.models import KernelCompiler, interpreted
from fauxchange.services.market_data.service.simulation import ModelSource

COMPILED_FROM_PRICES_PER_S = 400
"""Prices a (wall) second from which compiling pays. Both forms give the same prices to the last bit; the compiled one
is a hundred times quicker, and loading the compiler costs 120 MB of memory."""


async def model_source(
    config: MarketDataConfig, instruments: Sequence[Instrument], model: ModelFile | None = None
) -> ModelSource | None:
    """Return the source of the modelled symbols, ready to go, or None if there are none.

    Raises: ConfigurationError if compiled code is asked for and cannot be had
    """
    if not instruments:
        return None
    compiler = _compiler(config, len(instruments))
    source = _source(config, instruments, compiler, model)
    if compiler is not interpreted:
        # Compiling (or loading what was compiled) happens at the first step. Have it now, before anybody waits.
        trial = _source(config, instruments[:1], compiler, model)
        await trial.open(0)
        await trial.next(1)
    return source


def first_price(config: MarketDataConfig, symbol: str, model: ModelFile | None) -> Decimal:
    """Return the first price of a symbol: the one stated in the settings, else the model file's, else the default."""
    stated = config.stated_price(symbol)
    of_file = None if model is None else model.initial_price(symbol)
    if stated is not None or of_file is None:
        return config.initial_price(symbol)
    return Decimal(repr(of_file))


def _source(
    config: MarketDataConfig, instruments: Sequence[Instrument], compiler: KernelCompiler, model: ModelFile | None
) -> ModelSource:
    return ModelSource(
        instruments,
        seed=config.seed,
        interval_ns=config.interval_ns,
        initial_prices={instrument.symbol: first_price(config, instrument.symbol, model) for instrument in instruments},
        compiler=compiler,
        table=None if model is None else model.table,
    )


def _compiler(config: MarketDataConfig, symbols: int) -> KernelCompiler:
    if config.model_engine == "python":
        return interpreted
    if config.model_engine == "compiled":
        if not numba_available():
            raise ConfigurationError(
                "MODEL_ENGINE=compiled needs Numba, which is not installed or switched off; use auto or python",
                field="MODEL_ENGINE",
            )
        return compile_kernel
    per_s = symbols * config.speed * NS_PER_S / config.interval_ns
    if numba_available() and (math.isinf(per_s) or per_s >= COMPILED_FROM_PRICES_PER_S):
        return compile_kernel
    return interpreted
