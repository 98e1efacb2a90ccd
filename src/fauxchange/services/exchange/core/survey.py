"""Sort the events of many commands of background traders by whom they concern."""

from fauxchange.domain.kernels import kernel
from fauxchange.services.exchange.core.layout import (
    E_ACCOUNT,
    E_INSTRUMENT,
    E_KIND,
    E_LOTS,
    E_MAKER_ACCOUNT,
    E_PRICE_TICKS,
    E_SIDE,
    Int64Array,
)
from fauxchange.services.exchange.core.vocabulary import EVENT_BALANCE, EVENT_BOOK, EVENT_TRADE, FEE_ACCOUNT


@kernel
def concerns_others(account: int, is_background: Int64Array) -> bool:
    """Say whether an account is somebody, and none of the background accounts."""
    if account < 0:
        return False
    return account >= len(is_background) or is_background[account] == 0


@kernel
def survey(
    events: Int64Array,
    is_background: Int64Array,
    told: Int64Array,
    followed: Int64Array,
    shown: Int64Array,
    fees: Int64Array,
) -> tuple[int, int, int, int]:
    """Find the events that concern others, those that the venue follows one by one, what the books show, and fees.

    Return how many there are of each. Concerning others is what happens to their orders and balances; the postings to
    the account that fees go to are not among it, since there is one with every fill. Followed are all trades as well.

    Shapes: events (n, EVENT_WIDTH); told, followed and fees (n,), filled with the events' places; shown (4, n), filled
            with instruments, sides, prices and lots
    """
    told_count = followed_count = shown_count = fee_count = 0
    for at in range(len(events)):
        kind = events[at, E_KIND]
        if kind == EVENT_BOOK:
            shown[0, shown_count] = events[at, E_INSTRUMENT]
            shown[1, shown_count] = events[at, E_SIDE]
            shown[2, shown_count] = events[at, E_PRICE_TICKS]
            shown[3, shown_count] = events[at, E_LOTS]
            shown_count += 1
            continue
        account = events[at, E_ACCOUNT]
        if kind == EVENT_BALANCE and account == FEE_ACCOUNT:
            fees[fee_count] = at
            fee_count += 1
            continue
        is_told = concerns_others(account, is_background)
        if kind == EVENT_TRADE and concerns_others(events[at, E_MAKER_ACCOUNT], is_background):
            is_told = True
        if is_told:
            told[told_count] = at
            told_count += 1
        if is_told or kind == EVENT_TRADE:
            followed[followed_count] = at
            followed_count += 1
    return told_count, followed_count, shown_count, fee_count
