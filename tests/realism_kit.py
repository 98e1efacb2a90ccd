"""Series for tests of statistics: noise with a seed, and bars made of returns."""

from collections.abc import Sequence

import numpy as np

from fauxchange.domain.arithmetic import FloatArray, normals
from fauxchange.domain.chance import WordStream
from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.realism.bars import Bars


def noise(count: int, *names: str, seed: int = 1) -> FloatArray:
    """Return independent standard normal numbers."""
    return normals(WordStream(seed, "test", *names).words(0, count))


def autoregressive(count: int, memory: float, *, seed: int = 1) -> FloatArray:
    """Return a series in which each value keeps a share of the one before."""
    shocks, values, value = noise(count, seed=seed).tolist(), [], 0.0
    for shock in shocks:
        value = memory * value + shock
        values.append(value)
    return np.array(values)


def bars_of_returns(
    returns: Sequence[float] | FloatArray,
    *,
    volume: FloatArray | None = None,
    start_ns: int = 0,
    symbol: str = "BTC/USD",
    interval_ns: int = NS_PER_MINUTE,
) -> Bars:
    """Return bars whose closes have these log returns; there is one bar more than returns."""
    close = 100.0 * np.exp(np.concatenate(([0.0], np.cumsum(np.asarray(returns, np.float64)))))
    opens = np.concatenate((close[:1], close[:-1]))
    return Bars(
        symbol=symbol,
        interval_ns=interval_ns,
        open_ns=start_ns + interval_ns * np.arange(len(close), dtype=np.int64),
        open=opens,
        high=np.maximum(opens, close),
        low=np.minimum(opens, close),
        close=close,
        volume=volume,
    )


def without_rows(bars: Bars, first: int, end: int) -> Bars:
    """Return bars with a gap: the rows from `first` up to `end` are missing."""
    keep = np.concatenate((np.arange(first), np.arange(end, len(bars))))
    return Bars(
        symbol=bars.symbol,
        interval_ns=bars.interval_ns,
        open_ns=bars.open_ns[keep],
        open=bars.open[keep],
        high=bars.high[keep],
        low=bars.low[keep],
        close=bars.close[keep],
        volume=None if bars.volume is None else bars.volume[keep],
    )
