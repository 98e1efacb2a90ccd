"""Recorded bars as the calibration wants them: equal windows of returns on a grid of time, and what is wrong with them.

Bars shorter than a minute are put together to minutes first: the model's parameters are per minute, and what is
quicker than that it does not claim to know.
"""

import math
from dataclasses import dataclass

import numpy as np

from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, format_duration, format_time
from fauxchange.realism.bars import Bars, FloatArray, Int64Array

WINDOW_DAYS = 30
WINDOW_BARS = 480
"""Longer recordings are cut into windows of about so many days, or bars if these take longer, over which statistics
are averaged."""
FEWEST_RETURNS = 90
LEAST_SPAN_NS = NS_PER_DAY
MOST_MISSING = 0.5
FEWEST_VALUES = 20
"""Prices that differ: with fewer nothing can be said about a distribution."""
LARGEST_MOVE = math.log(4.0)
"""From one bar to the next; more is a broken file (a decimal point moved, another unit) rather than a market."""
MOST_SILENT = 0.9
SAME_RETURNS = 1e-6
"""By what share of their size returns differ at least, other than by rounding."""
FEWEST_SLOTS = 6
MOST_PRICE_DECIMALS = 12


class UnfitData(InvalidRequest):
    """The recorded prices cannot be calibrated on; the message says why and what would help."""

    code = "unfit_recording"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Returns and volumes of one symbol.

    Shapes: returns, log_volumes and slots (windows, n); returns and volumes are nan where bars are missing
    Units:  interval_ns of a bar; `slots` the part of the UTC day that a bar lies in, of `slots_a_day` equal ones;
            tick and price in quote currency; `days` of bars that are there
    """

    symbol: str
    interval_ns: int
    first_ns: int
    last_ns: int
    rows: int
    returns: FloatArray
    log_volumes: FloatArray | None
    slots: Int64Array
    slots_a_day: int
    tick: float
    price: float
    last_price: float
    days: float

    @property
    def minutes(self) -> float:
        """The length of a bar in minutes."""
        return self.interval_ns / NS_PER_MINUTE

    @property
    def hours_known(self) -> bool:
        """Whether bars are short enough to tell the hours of a day apart."""
        return self.slots_a_day >= FEWEST_SLOTS


def series_of(bars: Bars, file: str = "") -> Series:
    """Return the series of a symbol; `file` is where it comes from.

    Raises: UnfitData if the bars are too few, broken or constant
    """
    name = f"{file}: {bars.symbol}" if file else bars.symbol
    _refuse_broken(bars, name)
    rows = len(bars)
    if bars.interval_ns < NS_PER_MINUTE:
        bars = bars.gathered(NS_PER_MINUTE)
    step_ns = bars.interval_ns
    _refuse_short(bars, name)
    # Rounded, so that bars whose times are a little off fall into their places.
    places = np.asarray((bars.open_ns - bars.open_ns[0] + step_ns // 2) // step_ns)
    length = int(places[-1]) + 1
    if len(bars) < MOST_MISSING * length:
        raise UnfitData(
            f"{name}: {length - len(bars)} of {length} bars of {format_duration(step_ns)} are missing; take a part of "
            "the file without its gaps, or longer bars (of a market that closes at night, bars of a day)"
        )
    returns = np.diff(np.log(_on_grid(bars.close, places, length)))
    _refuse_constant(bars, returns, name)
    volumes = None
    if bars.volume is not None and np.count_nonzero(bars.volume) > MOST_MISSING * len(bars):
        volumes = _log_volumes(_on_grid(bars.volume, places, length)[1:])
    windows = max(1, round(length / max(WINDOW_DAYS * NS_PER_DAY / step_ns, WINDOW_BARS)))
    size = len(returns) // windows
    slot_ns = max(step_ns, NS_PER_HOUR)
    slots_a_day = NS_PER_DAY // slot_ns if NS_PER_DAY % slot_ns == 0 else 1
    opens = bars.open_ns[0] + step_ns * np.arange(1, length, dtype=np.int64)
    slots = opens // slot_ns % slots_a_day if slots_a_day >= FEWEST_SLOTS else np.zeros(length - 1, np.int64)

    whole = np.isfinite(returns[: windows * size]).reshape(windows, size).mean(axis=1) >= MOST_MISSING

    def cut(values: FloatArray) -> FloatArray:
        return np.asarray(values[: windows * size].reshape(windows, size)[whole])

    return Series(
        symbol=bars.symbol,
        interval_ns=step_ns,
        first_ns=int(bars.open_ns[0]),
        last_ns=int(bars.open_ns[-1]) + step_ns,
        rows=rows,
        returns=cut(returns),
        log_volumes=None if volumes is None else cut(volumes),
        slots=slots[: windows * size].reshape(windows, size)[whole],
        slots_a_day=slots_a_day if slots_a_day >= FEWEST_SLOTS else 1,
        tick=tick_of(bars),
        price=float(np.median(bars.close)),
        last_price=float(bars.close[-1]),
        days=len(bars) * step_ns / NS_PER_DAY,
    )


def tick_of(bars: Bars) -> float:
    """Return the coarsest step of which every price of the bars is a whole number. Units: quote currency."""
    prices = np.unique(np.concatenate((bars.open, bars.high, bars.low, bars.close)))
    for decimals in range(MOST_PRICE_DECIMALS + 1):
        scaled = prices * 10.0**decimals
        whole = np.rint(scaled)
        # A price below a step is none of it, however near it is to zero.
        on_grid = (whole >= 1.0) & (np.abs(scaled - whole) <= 1e-6 + 1e-15 * scaled)
        if scaled[-1] > 2.0**52 or np.all(on_grid):
            step = int(np.gcd.reduce(whole.astype(np.int64))) if scaled[-1] < 2.0**52 else 1
            return max(step, 1) / 10.0**decimals
    return 10.0**-MOST_PRICE_DECIMALS


def _refuse_broken(bars: Bars, name: str) -> None:
    prices = np.stack((bars.open, bars.high, bars.low, bars.close))
    bad = np.flatnonzero(~np.all(np.isfinite(prices) & (prices > 0.0), axis=0))
    if len(bad):
        raise UnfitData(f"{name}: a price of {format_time(int(bars.open_ns[bad[0]]))} is not a positive number")
    large = np.flatnonzero(np.abs(np.diff(np.log(bars.close))) > LARGEST_MOVE)
    if len(large):
        row = int(large[0]) + 1
        raise UnfitData(
            f"{name}: at {format_time(int(bars.open_ns[row]))} (bar {row + 1}) the close goes from "
            f"{bars.close[row - 1]:g} to {bars.close[row]:g}, which looks like an error in the data; mend it, or leave "
            "that part out"
        )


def _refuse_short(bars: Bars, name: str) -> None:
    step_ns = bars.interval_ns
    span_ns = int(bars.open_ns[-1] - bars.open_ns[0]) + step_ns if len(bars) else 0
    if len(bars) <= FEWEST_RETURNS or span_ns < LEAST_SPAN_NS:
        raise UnfitData(
            f"{name}: {len(bars)} bars of {format_duration(step_ns)} over {format_duration(span_ns)} are too short; "
            f"at least {FEWEST_RETURNS + 1} bars over {format_duration(LEAST_SPAN_NS)} are needed, a week is better"
        )


def _refuse_constant(bars: Bars, returns: FloatArray, name: str) -> None:
    known = returns[np.isfinite(returns)]
    if not np.any(known):
        raise UnfitData(f"{name}: the price is {bars.close[0]:g} in every bar; there is nothing to fit")
    if float(np.std(known)) <= SAME_RETURNS * float(np.mean(np.abs(known))):
        raise UnfitData(f"{name}: the price moves by {known[0]:.3g} in every bar; there is nothing to fit")
    still, values = float(np.mean(known == 0.0)), len(np.unique(bars.close))
    if still > MOST_SILENT or values < FEWEST_VALUES:
        raise UnfitData(
            f"{name}: {still:.0%} of the closes repeat the one before, and there are {values} different prices; too "
            "few to fit a model on, try longer bars"
        )


def _on_grid(values: FloatArray, places: Int64Array, length: int) -> FloatArray:
    grid = np.full(length, np.nan)
    grid[places] = values
    return grid


def _log_volumes(volumes: FloatArray) -> FloatArray:
    """Return the logarithms of volumes; bars without any count as the smallest there are."""
    positive = volumes[volumes > 0.0]
    return np.asarray(np.log(np.maximum(volumes, np.quantile(positive, 0.01))))
