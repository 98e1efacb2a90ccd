"""What an order would meet in the book: the same walk as matching, over copies, changing nothing."""

from copy import copy
from dataclasses import dataclass

from oracle.records import Instrument, Order, other


@dataclass(frozen=True)
class Step:
    """One trade that would happen."""

    price_ticks: int
    lots: int


def crosses(side: str, limit_ticks: int, maker_ticks: int) -> bool:
    """Say whether a taker with this limit (0: none) trades at the maker's price."""
    if limit_ticks == 0:
        return True
    return maker_ticks <= limit_ticks if side == "BUY" else maker_ticks >= limit_ticks


def affordable(order: Order, instrument: Instrument, price_ticks: int, lots: int, spent: int) -> int:
    """Return how many of `lots` an order may take at a price: all, unless it is by quote amount."""
    if order.quote_amount == 0:
        return lots
    return min(lots, (order.quote_amount - spent) // instrument.notional(1, price_ticks))


def trades_ahead(taker: Order, instrument: Instrument, limit_ticks: int) -> list[Step]:
    """Return the trades of `taker`, if it came now, in their order; hidden parts are reached by showing them."""
    book = copy(instrument)
    book.resting = [copy(order) for order in instrument.resting if order.order_id != taker.order_id]
    steps: list[Step] = []
    leaves, spent = taker.leaves_lots if taker.quote_amount == 0 else 2**62, taker.spent
    while leaves > 0:
        maker = book.best(other(taker.side))
        if maker is None or not crosses(taker.side, limit_ticks, maker.price_ticks):
            break
        if maker.account == taker.account and taker.self_trade != "NONE":
            if taker.self_trade != "EXPIRE_MAKER":
                break
            book.resting.remove(maker)
            continue
        lots = affordable(taker, instrument, maker.price_ticks, min(leaves, maker.shown_lots), spent)
        if lots == 0:
            break
        steps.append(Step(maker.price_ticks, lots))
        leaves -= lots
        spent += instrument.notional(lots, maker.price_ticks)
        take_shown(book.resting, maker, lots)
    return steps


def take_shown(queue: list[Order], maker: Order, lots: int) -> None:
    """Fill a maker's shown part; when it is used up the next part goes to the back of the queue."""
    maker.cum_lots += lots
    maker.shown_lots -= lots
    if maker.shown_lots == 0:
        queue.remove(maker)
        if maker.leaves_lots > 0:
            maker.show()
            queue.append(maker)
