"""What single traders do: each function lets one of them act, and notes in the ladder what will come of it."""

import math

from fauxchange.domain.arithmetic import FloatArray, exp, log
from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.flow.chance import draw, draw_from
from fauxchange.services.exchange.core.flow.habits import (
    CORRECTING,
    HESITANT_SHARE,
    INFORMED,
    LEANING,
    MAKER_TAIL,
    MODEST_SHARE,
    NEAR,
    NEAR_SHARE,
    REFILL,
    RUN_EXPONENT,
    RUN_MOST,
    SPLIT_SHARE,
    TAIL_EXPONENT,
    TAIL_SHARE,
    TAKER_REACH,
    TAKER_TAIL,
)
from fauxchange.services.exchange.core.flow.ladder import add_lots, best_price, reachable_lots, take_lots
from fauxchange.services.exchange.core.flow.layout import (
    DEPTH,
    N_NUMBER,
    N_OPEN,
    N_ROWS,
    P_REACH,
    P_SIZE,
    P_TAKER_SIZE,
    R_ACCOUNT,
    R_INSTRUMENT,
    R_KIND,
    R_LOTS,
    R_ORDER_ID,
    R_PRICE,
    R_SIDE,
    R_TS_NS,
    ROW_WIDTH,
    S_PUSHED,
    S_RUN_LEFT,
    S_RUN_SIDE,
    W_LIMITS,
    W_LOTS,
    W_ROOM,
)
from fauxchange.services.exchange.core.flow.parameters import CLASSES
from fauxchange.services.exchange.core.flow.prices import leaning
from fauxchange.services.exchange.core.layout import Memory
from fauxchange.services.exchange.core.vocabulary import COMMAND_PLACE


@lean_kernel
def write_row(n: Memory, o: Memory, ts: int, kind: int, account: int, order_id: int) -> int:
    """Begin a row; return where it lies. The caller writes the rest of it."""
    at = n[N_ROWS] * ROW_WIDTH
    n[N_ROWS] += 1
    o[at + R_TS_NS] = ts
    o[at + R_KIND] = kind
    o[at + R_ACCOUNT] = account
    o[at + R_INSTRUMENT] = n[N_NUMBER]
    o[at + R_ORDER_ID] = order_id
    o[at + R_SIDE] = 0
    o[at + R_PRICE] = 0
    o[at + R_LOTS] = 0
    return at


@lean_kernel
def draw_lots(n: Memory, w: Memory, scale: float, sizes: FloatArray, tail: float) -> int:
    """Draw the size of an order: log-normal, with a tail of a power law that is cut."""
    place = draw_from(n, sizes)
    if draw(n) < TAIL_SHARE:
        reached = min(exp(-log(draw(n)) / TAIL_EXPONENT), tail)
        place = sizes[len(sizes) - 1 - (len(sizes) - 1) // 20] * reached
    lots = int(scale * place) + 1
    return min(max(lots, w[W_LIMITS]), w[W_LIMITS + 1])


@lean_kernel
def place_order(
    n: Memory, w: Memory, o: Memory, ts: int, accounts: Memory, kind: int, side: int, price: int, lots: int
) -> None:
    """Let an order rest, unless it would trade or its price is not allowed."""
    other = best_price(w, 1 - side)
    if other != 0:
        price = min(price, other - 1) if side == 0 else max(price, other + 1)
    if not w[W_LIMITS + 2] <= price <= w[W_LIMITS + 3] or w[W_ROOM + kind] <= 0:
        return
    w[W_ROOM + kind] -= 1
    at = write_row(n, o, ts, COMMAND_PLACE, accounts[kind], 0)
    o[at + R_SIDE] = side
    o[at + R_PRICE] = price
    o[at + R_LOTS] = lots
    add_lots(w, side, price, lots)


@lean_kernel
def take_order(n: Memory, w: Memory, o: Memory, ts: int, account: int, side: int, limit: int, lots: int) -> None:
    """Take up to so many lots from the other side, up to a limit."""
    limit = min(max(limit, w[W_LIMITS + 2]), w[W_LIMITS + 3])
    lots = min(max(lots, w[W_LIMITS]), w[W_LIMITS + 1])
    at = write_row(n, o, ts, COMMAND_PLACE, account, 0)
    o[at + R_SIDE] = side
    o[at + R_PRICE] = limit
    o[at + R_LOTS] = lots
    take_lots(w, 1 - side, limit, lots)


@lean_kernel
def next_taker_side(n: Memory, s: FloatArray, tilt: float) -> int:
    """Return the side of the next aggressive order: of the run that is under way, or of nobody in particular."""
    if s[S_RUN_LEFT] <= 0.0:
        # Lengths of a power law, which the pieces of large orders have, give signs a memory of a power law.
        s[S_RUN_LEFT] = float(int(min(exp(-log(draw(n)) / RUN_EXPONENT), RUN_MOST)))
        s[S_RUN_SIDE] = 0.0 if draw(n) < 0.5 + INFORMED * tilt else 1.0
    if draw(n) < SPLIT_SHARE:
        s[S_RUN_LEFT] -= 1.0
        return int(s[S_RUN_SIDE])
    return 0 if draw(n) < 0.5 + INFORMED * tilt else 1


@lean_kernel
def somebody_takes(
    p: FloatArray,
    s: FloatArray,
    n: Memory,
    w: Memory,
    o: Memory,
    ts: int,
    accounts: Memory,
    sizes: FloatArray,
    fair: float,
    band: float,
) -> None:
    """Let an aggressive order come."""
    side = next_taker_side(n, s, leaning(w, fair, band))
    lots = draw_lots(n, w, p[P_TAKER_SIZE], sizes, TAKER_TAIL)
    best = best_price(w, 1 - side)
    modest = draw(n)
    if best == 0:
        return
    there = w[W_LOTS + (1 - side) * DEPTH]
    if lots > there and modest < MODEST_SHARE:
        lots = there
    reach = max(1, int(TAKER_REACH * fair))
    limit = best + reach if side == 0 else best - reach
    account = accounts[CLASSES] if draw(n) < 0.5 else accounts[CLASSES + 1]
    take_order(n, w, o, ts, account, side, limit, lots)
    s[S_PUSHED] += 1.0 - 2.0 * side


@lean_kernel
def somebody_places(
    p: FloatArray,
    n: Memory,
    w: Memory,
    o: Memory,
    ts: int,
    accounts: Memory,
    kind: int,
    sizes: FloatArray,
    fair: float,
    band: float,
    restless: float,
) -> None:
    """Let an order of a class come to rest."""
    bids = n[N_OPEN + 2 * kind]
    asks = n[N_OPEN + 2 * kind + 1]
    # The emptier side gets more, so that the book fills up again after a sweep.
    lean = REFILL * (asks - bids) / (asks + bids + 1.0)
    side = 0 if draw(n) < 0.5 + LEANING * leaning(w, fair, band) + lean else 1
    lots = draw_lots(n, w, p[P_SIZE + kind] * restless, sizes, MAKER_TAIL)
    away = 0
    if kind == NEAR:
        if draw(n) > 0.5:
            away = 1 + int(-log(draw(n)) * NEAR_SHARE * p[P_REACH] * fair / restless)
    else:
        # As many lots within a distance as its square: that is what makes the impact a root of the size.
        away = int(math.sqrt(draw(n)) * p[P_REACH + kind] * fair / restless)
    best = best_price(w, side)
    if side == 0:
        price = (min(int(fair + band), best) if best != 0 else int(fair)) - away
    else:
        price = (max(int(fair - band) + 1, best) if best != 0 else int(fair) + 1) + away
    place_order(n, w, o, ts, accounts, kind, side, price, lots)


@lean_kernel
def somebody_closes(
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
    """Let somebody quote into a spread of more than a tick: beside the other side's best, or at the fair price."""
    side = 0 if draw(n) < 0.5 else 1
    bid = best_price(w, 0)
    ask = best_price(w, 1)
    if bid == 0 or ask == 0:
        side = 0 if bid == 0 else 1
    lots = draw_lots(n, w, p[P_SIZE] * restless, sizes, MAKER_TAIL)
    part = draw(n)
    if bid != 0 and ask != 0 and part < HESITANT_SHARE:
        # Somewhere between: those after him go on from there.
        price = bid + 1 + int((ask - bid - 1) * part / HESITANT_SHARE)
    elif side == 0:
        price = int(fair)
        if ask != 0 and ask - 1 <= fair + band:
            price = ask - 1
    else:
        price = int(fair) + 1
        if bid != 0 and bid + 1 >= fair - band:
            price = bid + 1
    place_order(n, w, o, ts, accounts, NEAR, side, price, lots)


@lean_kernel
def somebody_corrects(
    p: FloatArray, n: Memory, w: Memory, o: Memory, ts: int, accounts: Memory, sizes: FloatArray, fair: float
) -> None:
    """Let somebody take the quotes that the fair price has left behind."""
    side = 0
    limit = int(fair)
    if best_price(w, 0) > fair:
        side = 1
        limit = int(fair) + 1
    lots = reachable_lots(w, 1 - side, limit)
    # Nobody corrects a price against any quantity: it gives way while he trades, and he looks again.
    most = draw_lots(n, w, p[P_TAKER_SIZE] * CORRECTING, sizes, TAKER_TAIL)
    if lots > 0:
        take_order(n, w, o, ts, accounts[CLASSES], side, limit, min(lots, most))
