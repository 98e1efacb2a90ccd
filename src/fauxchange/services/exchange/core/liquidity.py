"""What an order could take from the book right now, without taking it."""

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import desk_at, link, opposite
from fauxchange.services.exchange.core.arithmetic import TOO_LARGE, product, total
from fauxchange.services.exchange.core.book import best_of, crosses, next_of
from fauxchange.services.exchange.core.layout import (
    D_COUNT,
    I_TICK_VALUE,
    L_HEAD,
    L_HIDDEN,
    L_PRICE,
    L_SHOWN,
    O_ACCOUNT,
    O_LEAVES,
    O_NEXT,
    O_SHOWN,
    Memory,
)
from fauxchange.services.exchange.core.vocabulary import (
    STP_EXPIRE_MAKER,
    STP_NONE,
)


@lean_kernel
def without_own(m: Memory, level: int, account: int, prevention: int) -> tuple[int, bool]:
    """Return the lots of a level that an account may take, and whether it stops there at an order of its own.

    Where it would stop, an iceberg before its own order counts with the shown part only: the next part is shown behind.
    """
    lots = m[level + L_SHOWN] + m[level + L_HIDDEN]
    ahead = 0
    order = link(m, level + L_HEAD)
    while order != 0:
        if m[order + O_ACCOUNT] == account:
            if prevention != STP_EXPIRE_MAKER:
                return ahead, True
            lots -= m[order + O_LEAVES]
        ahead += m[order + O_SHOWN]
        order = link(m, order + O_NEXT)
    return lots, False


@lean_kernel
def reachable(
    m: Memory, instrument: int, number: int, side: int, account: int, prevention: int, limit: int, lots: int
) -> tuple[int, int]:
    """Return how many of `lots` an order could take within its limit (0: none), and their price, or TOO_LARGE.

    Units: the price in minor units of the quote asset
    """
    has_own = prevention != STP_NONE and m[desk_at(m, account, number) + D_COUNT] != 0
    level = best_of(m, opposite(instrument, side), 1 - side)
    taken, cost = 0, 0
    while level != 0 and taken < lots:
        price = m[level + L_PRICE]
        if not crosses(side, price, limit):
            break
        there = m[level + L_SHOWN] + m[level + L_HIDDEN]
        stops = False
        if has_own:
            there, stops = without_own(m, level, account, prevention)
        there = min(there, lots - taken)
        taken += there
        cost = total(cost, product(product(there, price), m[instrument + I_TICK_VALUE]))
        if stops:
            break
        level = next_of(m, level, 1 - side)
    return taken, cost


@lean_kernel
def sellable_for(m: Memory, instrument: int, number: int, account: int, prevention: int, amount: int) -> int:
    """Return the most lots that the bids take for no more than `amount` of the quote asset."""
    has_own = prevention != STP_NONE and m[desk_at(m, account, number) + D_COUNT] != 0
    level = best_of(m, opposite(instrument, 1), 0)
    taken = 0
    while level != 0:
        unit = product(m[level + L_PRICE], m[instrument + I_TICK_VALUE])
        if unit == TOO_LARGE:
            break
        there = m[level + L_SHOWN] + m[level + L_HIDDEN]
        stops = False
        if has_own:
            there, stops = without_own(m, level, account, prevention)
        lots = min(there, amount // unit)
        taken += lots
        amount -= lots * unit
        if stops or lots < there:
            break
        level = next_of(m, level, 0)
    return taken
