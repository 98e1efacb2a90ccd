"""Where the law sees the price: the fair one, how volatile it is, and which quotes it has left behind."""

import math

from fauxchange.domain.arithmetic import FloatArray
from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import desk_at, instrument_at
from fauxchange.services.exchange.core.flow.habits import (
    DEEP,
    IMPACT,
    KEPT,
    PUSHED_S,
    PUSHING,
    TOO_FAR,
    VOLATILITY_LEAST,
    VOLATILITY_MOST,
)
from fauxchange.services.exchange.core.flow.ladder import best_price
from fauxchange.services.exchange.core.flow.layout import (
    P_DAY_LOTS,
    P_DAY_VOLATILITY,
    P_REACH,
    P_TAKING,
    S_ANCHOR,
    S_FAIR,
    S_FAST,
    S_PRESSED_FAST,
    S_PRESSED_SLOW,
    S_PUSHED,
    S_SLOW,
    W_LIMITS,
    W_OPEN,
    W_ROOM,
)
from fauxchange.services.exchange.core.flow.parameters import CLASSES
from fauxchange.services.exchange.core.layout import (
    D_COUNT,
    I_MAX_LOTS,
    I_MAX_NOTIONAL,
    I_MAX_OPEN_ORDERS,
    I_MIN_LOTS,
    I_MIN_NOTIONAL,
    I_PRICE_BAND,
    I_REFERENCE,
    I_TICK_VALUE,
    Memory,
)
from fauxchange.services.exchange.core.vocabulary import BAND_UNIT, MAX_LOTS, MAX_PRICE_TICKS


@lean_kernel
def volatility(s: FloatArray) -> float:
    """Return how volatile the anchor is now, to its own last hour: 1 is as usual."""
    ratio = math.sqrt(s[S_FAST] / s[S_SLOW])
    return min(max(ratio, VOLATILITY_LEAST), VOLATILITY_MOST)


@lean_kernel
def concave(share: float) -> float:
    """Return the root of a share, with its sign; no share counts for more than a day."""
    if share < 0.0:
        return -math.sqrt(min(1.0, -share))
    return math.sqrt(min(1.0, share))


@lean_kernel
def fair_price(p: FloatArray, s: FloatArray) -> float:
    """Return the anchor, displaced by other people's trades. Units: ticks."""
    moved = concave(s[S_PRESSED_FAST] / p[P_DAY_LOTS]) + concave(s[S_PRESSED_SLOW] / p[P_DAY_LOTS])
    return float(s[S_ANCHOR] * (1.0 + 0.5 * KEPT * IMPACT * p[P_DAY_VOLATILITY] * moved))


@lean_kernel
def pushed(p: FloatArray, s: FloatArray, band: float) -> float:
    """Return how far the aggressive orders of the last moment have moved what the others believe. Units: ticks."""
    return float(PUSHING * band * min(max(s[S_PUSHED] / (p[P_TAKING] * PUSHED_S), -1.0), 1.0))


@lean_kernel
def overshoot(w: Memory, fair: float) -> float:
    """Return how far the best quotes lie on the wrong side of the fair price, 0 if they do not. Units: ticks."""
    bid = best_price(w, 0)
    ask = best_price(w, 1)
    beyond = 0.0
    if bid != 0:
        beyond = max(beyond, bid - fair)
    if ask != 0:
        beyond = max(beyond, fair - ask)
    return beyond


@lean_kernel
def leaning(w: Memory, fair: float, band: float) -> float:
    """Return where the fair price lies between what people let pass: -1 below the quotes, 1 above them, 0 between."""
    bid = best_price(w, 0)
    ask = best_price(w, 1)
    if bid == 0 or ask == 0:
        return 0.0
    return min(max((fair - 0.5 * (bid + ask)) / (band + 1.0), -1.0), 1.0)


@lean_kernel
def jumped(p: FloatArray, s: FloatArray, fair: float) -> bool:
    """Say whether the fair price has left the book at one leap, so that it is better pulled and placed anew."""
    before = s[S_FAIR]
    s[S_FAIR] = fair
    return bool(before != 0.0 and abs(fair - before) > TOO_FAR * p[P_REACH + DEEP] * fair)


@lean_kernel
def read_limits(m: Memory, w: Memory, accounts: Memory, number: int, middle: int) -> None:
    """Read what an instrument's orders may be: their lots, prices and numbers."""
    instrument = instrument_at(m, number)
    value = max(1, middle * m[instrument + I_TICK_VALUE])
    least = max(1, m[instrument + I_MIN_LOTS])
    if m[instrument + I_MIN_NOTIONAL] != 0:
        # With an eighth to spare, since prices below the middle need more lots.
        least = max(least, m[instrument + I_MIN_NOTIONAL] * 9 // 8 // value + 1)
    most = MAX_LOTS >> 20
    if m[instrument + I_MAX_LOTS] != 0:
        most = min(most, m[instrument + I_MAX_LOTS])
    if m[instrument + I_MAX_NOTIONAL] != 0:
        most = min(most, m[instrument + I_MAX_NOTIONAL] * 7 // 8 // value)
    w[W_LIMITS] = least
    w[W_LIMITS + 1] = most
    w[W_LIMITS + 2] = 1
    w[W_LIMITS + 3] = MAX_PRICE_TICKS
    band = m[instrument + I_PRICE_BAND]
    reference = m[instrument + I_REFERENCE]
    if band != 0 and reference != 0:
        away = reference * band // BAND_UNIT
        w[W_LIMITS + 2] = max(1, reference - away)
        w[W_LIMITS + 3] = reference + away
    w[W_OPEN] = 0
    for kind in range(CLASSES):
        count = m[desk_at(m, accounts[kind], number) + D_COUNT]
        w[W_OPEN] += count
        w[W_ROOM + kind] = MAX_LOTS
        if m[instrument + I_MAX_OPEN_ORDERS] != 0:
            w[W_ROOM + kind] = m[instrument + I_MAX_OPEN_ORDERS] - count
