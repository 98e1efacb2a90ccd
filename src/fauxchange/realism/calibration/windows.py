"""Windows of the model's own prices, as long as the recorded ones: the service's model, compiled, with a fixed seed.

Every window starts from the price of the recording, on its tick grid, with volatility drawn from where it usually is;
so windows are independent of each other, and the same random words serve every set of parameters.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from fauxchange.domain.instruments import Instrument
from fauxchange.domain.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S
from fauxchange.platform.compiler import compile_kernel
from fauxchange.realism.bars import FloatArray, Int64Array
from fauxchange.services.market_data.core.lmvj import FACTOR, TREND, LmvJ
from fauxchange.services.market_data.core.models import Priced
from fauxchange.services.market_data.core.parameters import FACTORS, LmvParameters, LmvTable

SHORT_STEP_NS = 15 * NS_PER_S
"""Step of minute bars: volatility moves within a minute, so steps of a minute would show too much of it."""
LONG_BARS_NS = 10 * NS_PER_MINUTE
"""Bars so long show nothing of what happens within a minute, and those of parts of a day nothing of ten minutes."""
DAY_PARTS_NS = 6 * NS_PER_HOUR
LONG_STEP_NS = 10 * NS_PER_MINUTE
BLOCK_STEPS = 4_096
SMALLEST_TICK_SHARE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is simulated.

    Units: tick, lot and price in the units of the recording; `returns` bars a window after its first one
    """

    symbol: str
    table: LmvTable
    interval_ns: int
    start_ns: int
    returns: int
    windows: int
    tick: float
    lot: float
    price: float
    seed: int

    @property
    def step_ns(self) -> int:
        """The step of the model, of which a bar has a whole number."""
        long_step = LONG_STEP_NS if self.interval_ns >= DAY_PARTS_NS else NS_PER_MINUTE
        steps = (*([long_step] if self.interval_ns >= LONG_BARS_NS else []), SHORT_STEP_NS, NS_PER_S)
        return next((step for step in steps if self.interval_ns % step == 0), self.interval_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Simulated windows. Shapes: returns and log_volumes (windows, n), opens_ns (n,)."""

    returns: FloatArray
    log_volumes: FloatArray
    opens_ns: Int64Array
    mean_log_volatility: float


def simulate_windows(plan: Plan, parameters: LmvParameters, windows: int | None = None) -> Sample:
    """Return windows of the model with these parameters."""
    count = plan.windows if windows is None else min(windows, plan.windows)
    table = replace(plan.table, by_symbol={plan.symbol: parameters})
    steps_a_bar = plan.interval_ns // plan.step_ns
    steps = steps_a_bar * (plan.returns + 1)
    # A step ends at its time, so a bar ends with the step at its end.
    ts_ns = plan.start_ns + plan.step_ns * np.arange(1, steps + 1, dtype=np.int64)
    returns = np.empty((count, plan.returns))
    volumes = np.empty((count, plan.returns))
    volatilities: list[float] = []
    for window in range(count):
        mids, lots = _window(plan, table, plan.seed * 1_000 + window, ts_ns, volatilities)
        closes = mids[steps_a_bar - 1 :: steps_a_bar]
        # As candles do: half ticks are rounded to ticks, halves to the even.
        ticks = np.rint(0.5 * closes)
        returns[window] = np.diff(np.log(ticks))
        volumes[window] = lots.reshape(-1, steps_a_bar).sum(axis=1)[1:]
    return Sample(
        returns=returns,
        log_volumes=np.log(np.maximum(volumes, 0.5) * plan.lot),
        opens_ns=plan.start_ns + plan.interval_ns * np.arange(1, plan.returns + 1, dtype=np.int64),
        mean_log_volatility=float(np.mean(volatilities)),
    )


def _window(
    plan: Plan, table: LmvTable, seed: int, ts_ns: Int64Array, volatilities: list[float]
) -> tuple[FloatArray, Int64Array]:
    model = LmvJ(priced=[_priced(plan)], seed=seed, interval_ns=plan.step_ns, table=table, compiler=compile_kernel)
    mids = np.empty(len(ts_ns))
    lots = np.empty(len(ts_ns), np.int64)
    for first in range(0, len(ts_ns), BLOCK_STEPS):
        part = slice(first, min(first + BLOCK_STEPS, len(ts_ns)))
        columns = model.advance(ts_ns[part])
        mids[part], lots[part] = columns.mids[0], columns.lots[0]
        state = model.state().symbols[plan.symbol]
        trend = min(float(state[TREND]) ** 2, table.trend_cap)
        log_variance = float(state[FACTOR : FACTOR + FACTORS].sum()) + table.feedback * np.log1p(trend)
        volatilities.append(0.5 * min(log_variance, table.log_variance_cap))
    return mids, lots


def _priced(plan: Plan) -> Priced:
    # A grid so fine that it cannot be seen is as good as none, and keeps ticks within 64 bits.
    tick = Decimal(repr(max(plan.tick, plan.price * SMALLEST_TICK_SHARE)))
    instrument = Instrument(symbol=plan.symbol, tick_size=_sensible(tick), lot_size=_sensible(Decimal(repr(plan.lot))))
    return Priced(instrument=instrument, initial_price=plan.price)


def _sensible(step: Decimal) -> Decimal:
    """Return a step with few digits and at most 18 decimals."""
    rounded = Decimal(f"{step:.4g}")
    return max(rounded, Decimal(1).scaleb(-18))


def start_of(first_ns: int) -> int:
    """Return the moment at which windows start: any day, at the time of day of the recording's first bar."""
    return 20_000 * NS_PER_DAY + first_ns % NS_PER_DAY
