"""The law: what an instrument's traders do in one slice of time.

Within a slice the law is a Markov chain in continuous time, drawn event by event: somebody takes, places or cancels an
order, quotes into a wide spread, or takes a quote that the fair price has left behind. The fair price is the anchor,
which is the newest price of market data, displaced by what other people have bought or sold lately.
"""

import math

from fauxchange.domain.arithmetic import FloatArray, exp, log
from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import instrument_at
from fauxchange.services.exchange.core.flow.cancels import cancel_one, choose_cancels, next_cancel
from fauxchange.services.exchange.core.flow.chance import draw, draw_from
from fauxchange.services.exchange.core.flow.habits import (
    BUSTLE_DEVIATION,
    BUSTLE_S,
    DEEP,
    MAKER_TAIL,
    MIDDLE,
    NEAR,
    PRESSED_FAST_S,
    PRESSED_SLOW_S,
    PUSHED_S,
    THINNING_POWER,
)
from fauxchange.services.exchange.core.flow.ladder import best_price, read_ladder
from fauxchange.services.exchange.core.flow.layout import (
    N_NUMBER,
    N_ROWS,
    P_CLOSED,
    P_COUNT,
    P_PATIENCE,
    P_PLACING,
    P_SIZE,
    P_TAKEN,
    P_TAKING,
    ROW_WIDTH,
    S_BUSTLE,
    S_PRESSED_FAST,
    S_PRESSED_SLOW,
    S_PUSHED,
    S_SLOW,
    W_OPEN,
)
from fauxchange.services.exchange.core.flow.parameters import CLASSES
from fauxchange.services.exchange.core.flow.prices import fair_price, jumped, overshoot, pushed, read_limits, volatility
from fauxchange.services.exchange.core.flow.traders import (
    draw_lots,
    place_order,
    somebody_closes,
    somebody_corrects,
    somebody_places,
    somebody_takes,
    write_row,
)
from fauxchange.services.exchange.core.layout import I_STATUS, Memory
from fauxchange.services.exchange.core.vocabulary import COMMAND_CANCEL_ALL, INSTRUMENT_OPEN


@lean_kernel
def make_slice(
    m: Memory,
    p: FloatArray,
    s: FloatArray,
    n: Memory,
    w: Memory,
    o: Memory,
    accounts: Memory,
    taker_sizes: FloatArray,
    maker_sizes: FloatArray,
    normal: FloatArray,
    from_ns: int,
    to_ns: int,
) -> int:
    """Make the rows of an instrument for the time after `from_ns` up to `to_ns`; return how many."""
    n[N_ROWS] = 0
    span = (to_ns - from_ns) * 1e-9
    calm_down(s, n, normal, span)
    fair = fair_price(p, s)
    band = p[P_PATIENCE] * math.sqrt(s[S_SLOW]) * fair
    fair += pushed(p, s, band)
    agitated = volatility(s)
    restless = exp(-THINNING_POWER * log(max(1.0, agitated)))
    number = n[N_NUMBER]
    if m[instrument_at(m, number) + I_STATUS] != INSTRUMENT_OPEN:
        return 0
    read_limits(m, w, accounts, number, int(fair))
    read_ladder(m, w, number)
    left = 0
    if w[W_OPEN] == 0:
        open_book(p, n, w, o, from_ns + 1, accounts, maker_sizes, fair, band, restless)
    elif jumped(p, s, fair):
        for which in range(CLASSES):
            write_row(n, o, to_ns, COMMAND_CANCEL_ALL, accounts[which], 0)
        return n[N_ROWS]
    else:
        left = choose_cancels(m, p, n, w, accounts, fair, band, agitated, from_ns, to_ns)
    go_through(p, s, n, w, o, accounts, taker_sizes, maker_sizes, from_ns, span, left, fair, band, restless, agitated)
    return n[N_ROWS]


@lean_kernel
def calm_down(s: FloatArray, n: Memory, normal: FloatArray, span: float) -> None:
    """Let time pass: activity comes and goes, and other people's trades are forgotten."""
    kept = exp(-span / BUSTLE_S)
    s[S_BUSTLE] = kept * s[S_BUSTLE] + math.sqrt(1.0 - kept * kept) * draw_from(n, normal)
    s[S_PUSHED] *= exp(-span / PUSHED_S)
    s[S_PRESSED_FAST] *= exp(-span / PRESSED_FAST_S)
    s[S_PRESSED_SLOW] *= exp(-span / PRESSED_SLOW_S)


@lean_kernel
def open_book(
    p: FloatArray,
    n: Memory,
    w: Memory,
    o: Memory,
    ts: int,
    accounts: Memory,
    sizes: FloatArray,
    fair: float,
    band: float,
    restless: float,
) -> None:
    """Place a whole book at once, as it stands when it has been left to itself for a while."""
    if overshoot(w, fair) > 0.0:
        somebody_corrects(p, n, w, o, ts, accounts, sizes, fair)
    place_order(n, w, o, ts, accounts, NEAR, 0, int(fair), draw_lots(n, w, p[P_SIZE] * restless, sizes, MAKER_TAIL))
    place_order(n, w, o, ts, accounts, NEAR, 1, int(fair) + 1, draw_lots(n, w, p[P_SIZE] * restless, sizes, MAKER_TAIL))
    for kind in range(CLASSES):
        for _ in range(int(p[P_COUNT + kind])):
            somebody_places(p, n, w, o, ts, accounts, kind, sizes, fair, band, restless)


@lean_kernel
def go_through(
    p: FloatArray,
    s: FloatArray,
    n: Memory,
    w: Memory,
    o: Memory,
    accounts: Memory,
    taker_sizes: FloatArray,
    maker_sizes: FloatArray,
    from_ns: int,
    span: float,
    left: int,
    fair: float,
    band: float,
    restless: float,
    agitated: float,
) -> None:
    """Draw what happens, event by event, until the slice is over or its rows are full."""
    bustle = exp(BUSTLE_DEVIATION * s[S_BUSTLE] - 0.5 * BUSTLE_DEVIATION * BUSTLE_DEVIATION)
    taking = p[P_TAKING] * agitated * bustle
    near = p[P_PLACING] * agitated * math.sqrt(bustle)
    middle = p[P_PLACING + MIDDLE] * agitated
    usual = taking + near + middle + p[P_PLACING + DEEP] * agitated
    room = len(o) // ROW_WIDTH - left - 1
    passed = 0.0
    due = next_cancel(n, 0.0, span, left)
    while n[N_ROWS] < room:
        closing = closing_rate(p, w, restless)
        total = usual + closing + correcting_rate(p, w, fair, band)
        passed -= log(draw(n)) / total
        if due <= passed and due < span:
            passed = due
            cancel_one(n, w, o, moment(from_ns, span, passed), left)
            left -= 1
            room += 1
            due = next_cancel(n, passed, span, left)
            continue
        if passed >= span:
            break
        ts = moment(from_ns, span, passed)
        which = draw(n) * total
        if which < taking:
            somebody_takes(p, s, n, w, o, ts, accounts, taker_sizes, fair, band)
        elif which < taking + near:
            somebody_places(p, n, w, o, ts, accounts, NEAR, maker_sizes, fair, band, restless)
        elif which < taking + near + middle:
            somebody_places(p, n, w, o, ts, accounts, MIDDLE, maker_sizes, fair, band, restless)
        elif which < usual:
            somebody_places(p, n, w, o, ts, accounts, DEEP, maker_sizes, fair, band, restless)
        elif which < usual + closing:
            somebody_closes(p, n, w, o, ts, accounts, maker_sizes, fair, band, restless)
        else:
            somebody_corrects(p, n, w, o, ts, accounts, taker_sizes, fair)


@lean_kernel
def closing_rate(p: FloatArray, w: Memory, restless: float) -> float:
    """Return the rate at which somebody quotes into the spread, which is 0 where it is one tick."""
    bid = best_price(w, 0)
    ask = best_price(w, 1)
    if bid == 0 or ask == 0 or ask - bid > 1:
        return float(p[P_CLOSED] * restless)
    return 0.0


@lean_kernel
def correcting_rate(p: FloatArray, w: Memory, fair: float, band: float) -> float:
    """Return the rate at which somebody takes what the fair price has left behind, the higher the further."""
    beyond = overshoot(w, fair)
    if beyond <= band:
        return 0.0
    return float(p[P_TAKEN] * min(beyond / (band + 0.5), 10.0))


@lean_kernel
def moment(from_ns: int, span: float, passed: float) -> int:
    """Return the time of an event, after the slice's beginning and not after its end. Units: ns."""
    return from_ns + min(1 + int(passed * 1e9), int(span * 1e9 + 0.5))
