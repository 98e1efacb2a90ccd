"""Simulate bars with the model that the feed runs: the service's own source, compiled, without the service around it.

What a bar is made of is what the feed makes its candles of: the middle of the quote that is put around each price of
the model, rounded to the tick. So these bars equal the candles of a running service with the same seed, step and
settings, to the last bit (`tests/integration/test_live_feed_is_the_judged_feed.py`). Spreads are fixed here: one that
widens with volatility (`SPREAD_MODE=volatility`) may put the middle of a quote half a tick elsewhere.
"""

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar

import numpy as np

from fauxchange.domain.errors import InvalidRequest, InvariantViolation, check
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_S, format_duration
from fauxchange.platform.compiler import compile_kernel, numba_available
from fauxchange.platform.settings import Settings, load_settings
from fauxchange.realism.bars import Bars, Int64Array, values_of
from fauxchange.services.market_data.core.models import interpreted
from fauxchange.services.market_data.core.parameters import LmvTable
from fauxchange.services.market_data.core.scenarios import Timeline
from fauxchange.services.market_data.service.simulation import DEFAULT_MODEL, MOST_ROWS, ModelSource

Progress = Callable[[int, int], None]
"""Told how many steps are done, and how many there are."""

START_NS = 1_767_225_600 * NS_PER_S
"""2026-01-01T00:00:00Z, a Thursday: where a simulation begins unless told otherwise."""
NS_PER_WEEK = 7 * 24 * 60 * NS_PER_MINUTE
BPS = 10_000
BLOCK_STEPS = 4_096

Result = TypeVar("Result")


@cache
def default_settings() -> Settings:
    """Return the settings of the product as it is shipped, whatever this process was told."""
    return load_settings(environ={})


def default_instruments(symbols: Sequence[str] | None = None) -> tuple[Instrument, ...]:
    """Return the default instruments, or the named ones with their default grids."""
    settings = default_settings()
    return tuple(settings.instrument(symbol) for symbol in symbols or settings.default_symbols)


def simulate(
    table: LmvTable,
    instruments: Sequence[Instrument],
    *,
    weeks: float,
    seed: int,
    start_ns: int = START_NS,
    step_ns: int = NS_PER_S,
    bar_ns: int = NS_PER_MINUTE,
    model: str = DEFAULT_MODEL,
    timeline: Timeline | None = None,
    initial_prices: Mapping[str, Decimal] | None = None,
    spread_bps: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> dict[str, Bars]:
    """Simulate so many weeks, and one bar more: as many returns as the weeks have bars.

    Prices and spreads that are not given are the shipped ones.

    Raises: InvalidRequest if times do not fit each other; ConfigurationError if there is no such model
    """
    end_ns = start_ns + (round(weeks * NS_PER_WEEK / bar_ns) + 1) * bar_ns
    blocks = simulated_blocks(
        table,
        instruments,
        seed=seed,
        start_ns=start_ns,
        end_ns=end_ns,
        step_ns=step_ns,
        bar_ns=bar_ns,
        model=model,
        timeline=timeline,
        initial_prices=initial_prices,
        spread_bps=spread_bps,
        progress=progress,
    )
    parts: dict[str, list[Bars]] = {instrument.symbol: [] for instrument in instruments}
    for block in blocks:
        for symbol, bars in block.items():
            parts[symbol].append(bars)
    return {symbol: joined(each) for symbol, each in parts.items()}


def simulated_blocks(
    table: LmvTable,
    instruments: Sequence[Instrument],
    *,
    seed: int,
    start_ns: int,
    end_ns: int,
    step_ns: int = NS_PER_S,
    bar_ns: int = NS_PER_MINUTE,
    model: str = DEFAULT_MODEL,
    timeline: Timeline | None = None,
    initial_prices: Mapping[str, Decimal] | None = None,
    spread_bps: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> Iterator[dict[str, Bars]]:
    """Simulate the bars of `start_ns <= t < end_ns`, some at a time: however long, it takes little memory.

    Raises: InvalidRequest if times do not fit each other; ConfigurationError if there is no such model
    """
    check_times(start_ns, end_ns, step_ns, bar_ns)
    settings = default_settings()
    spreads = np.array(
        [
            float(settings.spread_bps_of(each.symbol)) if spread_bps is None else float(spread_bps[each.symbol])
            for each in instruments
        ]
    )
    source = opened_source(
        table,
        instruments,
        seed=seed,
        start_ns=start_ns,
        step_ns=step_ns,
        model=model,
        timeline=timeline,
        initial_prices=initial_prices or {each.symbol: settings.initial_price(each.symbol) for each in instruments},
    )
    most_steps = min(BLOCK_STEPS, MOST_ROWS // len(instruments))
    steps_per_bar = bar_ns // step_ns
    bars_per_block = max(1, most_steps // steps_per_bar)
    total = (end_ns - start_ns) // step_ns
    for open_ns in range(start_ns, end_ns, bars_per_block * bar_ns):
        bars = min(bars_per_block, (end_ns - open_ns) // bar_ns)
        mids, lots = _steps(source, bars * steps_per_bar, most_steps)
        yield {
            instrument.symbol: _bars_of(instrument, open_ns, bar_ns, mids[index], lots[index], spreads[index], bars)
            for index, instrument in enumerate(instruments)
        }
        if progress is not None:
            progress((open_ns - start_ns) // step_ns + bars * steps_per_bar, total)


def opened_source(
    table: LmvTable,
    instruments: Sequence[Instrument],
    *,
    seed: int,
    start_ns: int,
    step_ns: int,
    initial_prices: Mapping[str, Decimal],
    model: str = DEFAULT_MODEL,
    timeline: Timeline | None = None,
) -> ModelSource:
    """Return the feed's own source, compiled where that can be had, open at `start_ns`.

    Raises: ConfigurationError if there is no such model
    """
    source = ModelSource(
        instruments,
        seed=seed,
        interval_ns=step_ns,
        model=model,
        initial_prices=initial_prices,
        compiler=compile_kernel if numba_available() else interpreted,
        table=table,
    )
    if timeline is not None:
        source.schedule(timeline)
    finished(source.open(start_ns))
    return source


def check_times(start_ns: int, end_ns: int, step_ns: int, bar_ns: int) -> None:
    """Refuse times that do not fit each other: bars of whole steps, and whole bars from start to end.

    Raises: InvalidRequest
    """
    if step_ns < 1 or bar_ns % step_ns:
        raise InvalidRequest(
            f"bars of {format_duration(bar_ns)} are not made of whole steps of {format_duration(step_ns)}",
            code="times_do_not_fit",
            field="step",
        )
    if start_ns % bar_ns or (end_ns - start_ns) % bar_ns or end_ns <= start_ns:
        raise InvalidRequest(
            f"a simulation covers whole bars of {format_duration(bar_ns)}, at least one",
            code="times_do_not_fit",
            field="start",
        )


def joined(parts: Sequence[Bars]) -> Bars:
    """Return bars that follow each other as one."""
    check(len(parts) > 0, "there is something to join")
    first = parts[0]
    volumes = [part.volume for part in parts if part.volume is not None]
    return Bars(
        symbol=first.symbol,
        interval_ns=first.interval_ns,
        open_ns=np.concatenate([part.open_ns for part in parts]),
        open=np.concatenate([part.open for part in parts]),
        high=np.concatenate([part.high for part in parts]),
        low=np.concatenate([part.low for part in parts]),
        close=np.concatenate([part.close for part in parts]),
        volume=np.concatenate(volumes) if len(volumes) == len(parts) else None,
    )


def finished(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of a coroutine that waits for nothing, inside an event loop or not."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    coroutine.close()
    raise InvariantViolation("a model waits for nothing")


def _steps(source: ModelSource, steps: int, most_steps: int) -> tuple[Int64Array, Int64Array]:
    """Return mids and lots of the next steps. Shapes: (symbols, steps)."""
    symbols = len(source.instruments)
    mids, lots = np.empty((symbols, steps), np.int64), np.empty((symbols, steps), np.int64)
    done = 0
    while done < steps:
        batch = finished(source.next(min(steps - done, most_steps)))
        if batch is None:
            raise InvariantViolation("a model never ends")
        taken = len(batch) // symbols
        mids[:, done : done + taken] = batch.mid_half_ticks.reshape(taken, symbols).T
        lots[:, done : done + taken] = batch.volume_lots.reshape(taken, symbols).T
        done += taken
    return mids, lots


def _bars_of(
    instrument: Instrument, open_ns: int, bar_ns: int, mids: Int64Array, lots: Int64Array, spread_bps: float, bars: int
) -> Bars:
    ticks = quoted_ticks(mids, spread_bps).reshape(bars, -1)
    prices, quantities = instrument.prices, instrument.quantities
    return Bars(
        symbol=instrument.symbol,
        interval_ns=bar_ns,
        open_ns=open_ns + bar_ns * np.arange(bars, dtype=np.int64),
        open=values_of(ticks[:, 0], prices),
        high=values_of(ticks.max(axis=1), prices),
        low=values_of(ticks.min(axis=1), prices),
        close=values_of(ticks[:, -1], prices),
        volume=values_of(lots.reshape(bars, -1).sum(axis=1), quantities),
    )


def quotes_around(mid_half_ticks: Int64Array, spread_bps: float) -> tuple[Int64Array, Int64Array]:
    """Return the bid and ask that the feed puts around each price of the model, in ticks.

    The same as `core.quotes.FixedSpread` and `bid_ask`, for a column.
    """
    spreads = np.maximum(1, np.rint(mid_half_ticks / 2 * spread_bps / BPS)).astype(np.int64)
    below = mid_half_ticks - spreads
    bids = below >> 1
    bids = np.maximum(1, bids + (bids & below & 1))
    return bids, bids + spreads


def quoted_ticks(mid_half_ticks: Int64Array, spread_bps: float) -> Int64Array:
    """Return the price that a candle takes from each price of the model: the middle of its quote, in ticks.

    Rounded half-even as `core.candles` does, for a column.
    """
    bids, asks = quotes_around(mid_half_ticks, spread_bps)
    middles = bids + asks
    ticks = middles >> 1
    return np.asarray(ticks + (ticks & middles & 1), np.int64)
