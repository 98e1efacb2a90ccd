"""Bars for tests of the calibration: of the model itself, or of nothing but noise."""

from decimal import Decimal

import numpy as np

from fauxchange.domain.arithmetic import normals
from fauxchange.domain.chance import WordStream
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_S
from fauxchange.realism.bars import Bars, FloatArray
from fauxchange.realism.simulating import START_NS, simulate
from fauxchange.services.market_data.core.parameters import LmvTable


def noise_bars(
    bars: int = 3_000, *, interval_ns: int = NS_PER_MINUTE, seed: int = 1, symbol: str = "BTC/USD", size: float = 1e-3
) -> Bars:
    """Return bars of a random walk on a grid of cents, with a volume that varies."""
    words = WordStream(seed, "noise", symbol)
    close = np.round(100.0 * np.exp(size * np.cumsum(normals(words.words(0, bars)))), 2)
    return bars_of_closes(
        close, interval_ns=interval_ns, symbol=symbol, volume=np.exp(normals(words.words(bars, bars)))
    )


def bars_of_closes(
    close: FloatArray, *, interval_ns: int = NS_PER_MINUTE, symbol: str = "BTC/USD", volume: FloatArray | None = None
) -> Bars:
    """Return bars that are nothing but their closes."""
    open_ns = START_NS + interval_ns * np.arange(len(close), dtype=np.int64)
    return Bars(
        symbol=symbol,
        interval_ns=interval_ns,
        open_ns=open_ns,
        open=close,
        high=close,
        low=close,
        close=close,
        volume=volume,
    )


def model_bars(table: LmvTable, *symbols: str, days: float, seed: int = 11) -> dict[str, Bars]:
    """Return bars of the model on a fine grid."""
    instruments = [
        Instrument(symbol=symbol, tick_size=Decimal("0.01"), lot_size=Decimal("0.0001")) for symbol in symbols
    ]
    return simulate(
        table,
        instruments,
        weeks=days / 7,
        seed=seed,
        step_ns=15 * NS_PER_S,
        initial_prices={symbol: Decimal(10_000) for symbol in symbols},
        spread_bps=dict.fromkeys(symbols, 0.0),
    )
