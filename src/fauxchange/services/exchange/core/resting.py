"""Tell new orders that come to rest, and no more, from all others, and follow them in columns."""

from typing import Final

from fauxchange.domain.kernels import kernel
from fauxchange.domain.order_columns import (
    L_ACCOUNT,
    L_ASSET,
    L_CAUSE,
    L_DELTA_FREE,
    L_DELTA_HELD,
    L_EVENT_SEQUENCE,
    L_FREE,
    L_HELD,
    L_ORDER_ID,
    L_SEQUENCE,
    L_TS_NS,
    O_ACCOUNT,
    O_EVENT_SEQUENCE,
    O_FINGERPRINT,
    O_INSTRUMENT,
    O_ORDER_ID,
    O_ORDER_LOTS,
    O_ORDER_TYPE,
    O_POST_ONLY,
    O_PRICE_TICKS,
    O_SELF_TRADE_PREVENTION,
    O_SIDE,
    O_TIME_IN_FORCE,
    O_TS_NS,
)
from fauxchange.services.exchange.core.layout import (
    C_ACCOUNT,
    C_INSTRUMENT,
    C_ORDER_LOTS,
    C_ORDER_TYPE,
    C_POST_ONLY,
    C_PRICE_TICKS,
    C_SELF_TRADE_PREVENTION,
    C_SIDE,
    C_TIME_IN_FORCE,
    E_ACCOUNT,
    E_ASSET,
    E_CAUSE,
    E_DELTA_FREE,
    E_DELTA_HELD,
    E_EVENT_SEQUENCE,
    E_INSTRUMENT,
    E_KIND,
    E_LOTS,
    E_ORDER_ID,
    E_PRICE_TICKS,
    E_SEQUENCE,
    E_SIDE,
    E_TS_NS,
    Int64Array,
)
from fauxchange.services.exchange.core.vocabulary import (
    EVENT_BALANCE,
    EVENT_BOOK,
    EVENT_ORDER_ACCEPTED,
)

S_ACCOUNT: Final = 0
S_ASSET: Final = 1
S_FREE: Final = 2
S_HELD: Final = 3
SUM_WIDTH: Final = 4


@kernel
def find_resting(events: Int64Array, first_sequence: int, bounds: Int64Array, rests: Int64Array) -> None:
    """Find where the events of each order begin, and which orders were accepted and rest: nothing else happened.

    Shapes: events (m, EVENT_WIDTH), those of n commands from `first_sequence` on; bounds (n + 1,); rests (n,), 0 or 1
    """
    at, count = 0, len(events)
    bounds[0] = 0
    for number in range(len(rests)):
        is_resting = (
            at < count
            and events[at, E_KIND] == EVENT_ORDER_ACCEPTED
            and events[at, E_SEQUENCE] == first_sequence + number
        )
        account = events[at, E_ACCOUNT] if is_resting else -1
        at += is_resting
        while at < count and events[at, E_SEQUENCE] == first_sequence + number:
            kind = events[at, E_KIND]
            if kind != EVENT_BOOK and not (kind == EVENT_BALANCE and events[at, E_ACCOUNT] == account):
                is_resting = False
            at += 1
        bounds[number + 1] = at
        rests[number] = is_resting


@kernel
def write_order(command: Int64Array, event: Int64Array, fingerprint: int, order: Int64Array) -> None:
    """Write down an order that was accepted. Shapes: (COMMAND_WIDTH,), (EVENT_WIDTH,), (len(ORDER_COLUMNS),)."""
    order[O_ORDER_ID] = event[E_ORDER_ID]
    order[O_ACCOUNT] = command[C_ACCOUNT]
    order[O_INSTRUMENT] = command[C_INSTRUMENT]
    order[O_SIDE] = command[C_SIDE]
    order[O_ORDER_TYPE] = command[C_ORDER_TYPE]
    order[O_TIME_IN_FORCE] = command[C_TIME_IN_FORCE]
    order[O_POST_ONLY] = command[C_POST_ONLY]
    order[O_SELF_TRADE_PREVENTION] = command[C_SELF_TRADE_PREVENTION]
    order[O_PRICE_TICKS] = command[C_PRICE_TICKS]
    order[O_ORDER_LOTS] = command[C_ORDER_LOTS]
    order[O_TS_NS] = event[E_TS_NS]
    order[O_EVENT_SEQUENCE] = event[E_EVENT_SEQUENCE]
    order[O_FINGERPRINT] = fingerprint


@kernel
def find_sum(sums: Int64Array, count: int, account: int, asset: int) -> int:
    """Return the row of an account and asset, the first free one if it is none of the first `count`."""
    which = 0
    while which < count and (sums[which, S_ACCOUNT] != account or sums[which, S_ASSET] != asset):
        which += 1
    return which


@kernel
def write_posting(event: Int64Array, total: Int64Array, posting: Int64Array) -> None:
    """Write down a posting. Shapes: (EVENT_WIDTH,), (SUM_WIDTH,), (len(LEDGER_COLUMNS),)."""
    total[S_FREE] += event[E_DELTA_FREE]
    total[S_HELD] += event[E_DELTA_HELD]
    posting[L_EVENT_SEQUENCE] = event[E_EVENT_SEQUENCE]
    posting[L_SEQUENCE] = event[E_SEQUENCE]
    posting[L_TS_NS] = event[E_TS_NS]
    posting[L_ACCOUNT] = event[E_ACCOUNT]
    posting[L_ASSET] = event[E_ASSET]
    posting[L_DELTA_FREE] = event[E_DELTA_FREE]
    posting[L_DELTA_HELD] = event[E_DELTA_HELD]
    posting[L_CAUSE] = event[E_CAUSE]
    posting[L_ORDER_ID] = event[E_ORDER_ID]
    posting[L_FREE] = total[S_FREE]
    posting[L_HELD] = total[S_HELD]


@kernel
def show(event: Int64Array, shown: Int64Array, count: int) -> int:
    """Write down what a book shows; return how much it is now: of one price in a row only the last counts."""
    last = count - 1
    if count == 0 or not (
        shown[0, last] == event[E_INSTRUMENT]
        and shown[1, last] == event[E_SIDE]
        and shown[2, last] == event[E_PRICE_TICKS]
    ):
        last = count
        shown[0, last], shown[1, last] = event[E_INSTRUMENT], event[E_SIDE]
        shown[2, last] = event[E_PRICE_TICKS]
    shown[3, last] = event[E_LOTS]
    return last + 1


@kernel
def follow_resting(
    commands: Int64Array,
    events: Int64Array,
    fingerprints: Int64Array,
    orders: Int64Array,
    postings: Int64Array,
    sums: Int64Array,
    sum_of: Int64Array,
    shown: Int64Array,
) -> tuple[int, int, int]:
    """Write down orders that rest, what was posted for them, and what the books show.

    Return how many postings, sums and prices that are. There is a sum for each account and asset. Of a posting, free
    and held are what those to its account and asset add up to so far; the sum ends with all of them.

    Shapes: commands (n, COMMAND_WIDTH), events (m, EVENT_WIDTH), fingerprints (n,); written are orders
            (n, len(ORDER_COLUMNS)), postings (m, len(LEDGER_COLUMNS)), sums (m, SUM_WIDTH), sum_of (m,), by
            posting the row of its sum, and shown (4, m): instruments, sides, prices and lots
    """
    order = posting_count = sum_count = shown_count = 0
    for at in range(len(events)):
        kind = events[at, E_KIND]
        if kind == EVENT_ORDER_ACCEPTED:
            write_order(commands[order], events[at], fingerprints[order], orders[order])
            order += 1
        elif kind == EVENT_BOOK:
            shown_count = show(events[at], shown, shown_count)
        else:
            account, asset = events[at, E_ACCOUNT], events[at, E_ASSET]
            which = find_sum(sums, sum_count, account, asset)
            if which == sum_count:
                sums[which, S_ACCOUNT], sums[which, S_ASSET] = account, asset
                sums[which, S_FREE] = sums[which, S_HELD] = 0
                sum_count += 1
            sum_of[posting_count] = which
            write_posting(events[at], sums[which], postings[posting_count])
            posting_count += 1
    return posting_count, sum_count, shown_count
