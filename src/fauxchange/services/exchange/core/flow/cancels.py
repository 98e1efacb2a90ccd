"""Which open orders are canceled in a slice, and when."""

from fauxchange.domain.arithmetic import FloatArray, exp, log
from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import desk_at, link
from fauxchange.services.exchange.core.flow.chance import draw
from fauxchange.services.exchange.core.flow.habits import LEFT_BEHIND, LONGEST, SELDOM, WARY
from fauxchange.services.exchange.core.flow.ladder import remove_lots
from fauxchange.services.exchange.core.flow.layout import (
    CANCEL_WIDTH,
    N_NUMBER,
    N_OPEN,
    N_SEEN_NS,
    P_FLED,
    P_LIFE,
    P_REACH,
    W_CANCELS,
)
from fauxchange.services.exchange.core.flow.parameters import CLASSES
from fauxchange.services.exchange.core.flow.prices import overshoot
from fauxchange.services.exchange.core.flow.traders import write_row
from fauxchange.services.exchange.core.layout import D_HEAD, O_DESK_NEXT, O_ID, O_LEAVES, O_PRICE, O_SIDE, Memory
from fauxchange.services.exchange.core.vocabulary import COMMAND_CANCEL


@lean_kernel
def choose_cancels(
    m: Memory,
    p: FloatArray,
    n: Memory,
    w: Memory,
    accounts: Memory,
    fair: float,
    band: float,
    agitated: float,
    from_ns: int,
    to_ns: int,
) -> int:
    """Choose the open orders that will be canceled within a slice; return how many.

    Orders are canceled at a rate: that of their class, more if they have been left behind or see the price come, most
    if the fair price has gone past them. One number is drawn for each that is chosen, not for each that is looked at,
    and classes that live long are looked at now and then only, unless the price has run away.
    """
    chosen = 0
    turn = from_ns // (to_ns - from_ns) + n[N_NUMBER]
    runs = overshoot(w, fair) > band
    for kind in range(CLASSES):
        if runs or turn % (1 + kind * kind * SELDOM) == 0 or n[N_SEEN_NS + kind] == 0:
            seen_ns = n[N_SEEN_NS + kind]
            if seen_ns == 0 or to_ns - seen_ns > LONGEST * (to_ns - from_ns):
                seen_ns = from_ns
            n[N_SEEN_NS + kind] = to_ns
            desk = desk_at(m, accounts[kind], n[N_NUMBER])
            chosen = choose_of_class(
                m, p, n, w, kind, accounts[kind], desk, fair, band, (to_ns - seen_ns) * 1e-9, agitated, chosen
            )
    return chosen


@lean_kernel
def choose_of_class(
    m: Memory,
    p: FloatArray,
    n: Memory,
    w: Memory,
    kind: int,
    account: int,
    desk: int,
    fair: float,
    band: float,
    span: float,
    agitated: float,
    chosen: int,
) -> int:
    """Choose those of a class that have been canceled within `span` seconds; return how many are chosen by now."""
    room = (len(w) - W_CANCELS) // CANCEL_WIDTH
    reach = p[P_REACH + kind] * fair
    usual = p[P_LIFE + kind] * agitated * max(1.0, agitated) * span
    fleeing = p[P_FLED] * span
    wary = 0.5 * WARY / max(band, 1e-9)
    bids = 0
    asks = 0
    added = 0.0
    wanted = -log(draw(n))
    order = link(m, desk + D_HEAD)
    while order != 0:
        side = m[order + O_SIDE]
        away = fair - m[order + O_PRICE]
        if side == 1:
            away = -away
            asks += 1
        else:
            bids += 1
        if away >= band:
            added += usual
            if away > band + reach:
                added += usual * LEFT_BEHIND * (away - band - reach) / reach
        elif away < -band:
            added += fleeing
        else:
            # Who sees the price come towards him begins to leave.
            added += usual * (1.0 + wary * (band - away))
        if added > wanted:
            # The rate has no memory, so what is over of an order does not count for the next.
            wanted = added - log(draw(n))
            if chosen < room:
                at = W_CANCELS + chosen * CANCEL_WIDTH
                w[at] = m[order + O_ID]
                w[at + 1] = account
                w[at + 2] = side
                w[at + 3] = m[order + O_PRICE]
                w[at + 4] = m[order + O_LEAVES]
                chosen += 1
        order = link(m, order + O_DESK_NEXT)
    n[N_OPEN + 2 * kind] = bids
    n[N_OPEN + 2 * kind + 1] = asks
    return chosen


@lean_kernel
def cancel_one(n: Memory, w: Memory, o: Memory, ts: int, left: int) -> None:
    """Cancel one of the orders that were chosen and are left, whichever."""
    at = W_CANCELS + int(draw(n) * left) * CANCEL_WIDTH
    last = W_CANCELS + (left - 1) * CANCEL_WIDTH
    write_row(n, o, ts, COMMAND_CANCEL, w[at + 1], w[at])
    remove_lots(w, w[at + 2], w[at + 3], w[at + 4])
    for word in range(CANCEL_WIDTH):
        w[at + word] = w[last + word]


@lean_kernel
def next_cancel(n: Memory, passed: float, span: float, left: int) -> float:
    """Return when the next of the orders that are left is canceled, each at any moment of what is left of the slice."""
    if left == 0:
        return span
    return span - (span - passed) * exp(log(draw(n)) / left)
