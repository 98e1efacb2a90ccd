"""The ladder: what a slice's later commands see of what its earlier ones will do."""

import random

import numpy as np
import pytest
from flow_kit import Market

from fauxchange.services.exchange.core.flow.ladder import (
    add_lots,
    best_price,
    reachable_lots,
    read_ladder,
    remove_lots,
    take_lots,
)
from fauxchange.services.exchange.core.flow.layout import DEPTH, W_CANCELS, W_LEVELS, W_LOTS, W_PRICES
from fauxchange.services.exchange.core.layout import Int64Array
from fauxchange.services.exchange.core.state import levels


def shown(w: Int64Array, side: int) -> list[tuple[int, int]]:
    count = int(w[W_LEVELS + side])
    prices = w[W_PRICES + side * DEPTH :][:count].tolist()
    return list(zip(prices, w[W_LOTS + side * DEPTH :][:count].tolist(), strict=True))


def test_it_shows_the_best_levels_of_the_book() -> None:
    market = Market().run(1)
    w = np.zeros(W_CANCELS, dtype=np.int64)

    read_ladder(market.engine.state.memory, w, 0)

    for side in (0, 1):
        book = levels(market.engine.state, 0, side)
        expected = list(zip(book["price_ticks"].tolist(), book["shown_lots"].tolist(), strict=True))
        assert shown(w, side) == (expected[::-1] if side == 0 else expected)[:DEPTH]


@pytest.mark.parametrize("side", [0, 1])
def test_it_keeps_up_as_a_simple_book_does(side: int) -> None:
    chance = random.Random(7)
    w, book = np.zeros(W_CANCELS, dtype=np.int64), dict[int, int]()

    def in_order() -> list[int]:
        return sorted(book, reverse=side == 0)

    for _ in range(3_000):
        price, lots, what = 100 + chance.randrange(12), 1 + chance.randrange(9), chance.randrange(3)
        if what == 0:
            add_lots(w, side, price, lots)
            book[price] = book.get(price, 0) + lots
        elif what == 1 and price in book:
            remove_lots(w, side, price, lots)
            book[price] -= lots
        else:
            reached = [at for at in in_order() if (at >= price if side == 0 else at <= price)]
            assert reachable_lots(w, side, price) == sum(book[at] for at in reached)
            take_lots(w, side, price, lots)
            for at in reached:
                taken = min(lots, book[at])
                book[at] -= taken
                lots -= taken
        book = {at: left for at, left in book.items() if left > 0}

        assert shown(w, side) == [(at, book[at]) for at in in_order()]
        assert best_price(w, side) == (in_order() or [0])[0]


def test_what_lies_beyond_its_last_level_is_not_looked_at() -> None:
    w = np.zeros(W_CANCELS, dtype=np.int64)

    for price in range(100, 100 + 2 * DEPTH):
        add_lots(w, 1, price, 1)
    add_lots(w, 1, 99, 5)

    assert shown(w, 1) == [(99, 5), *((price, 1) for price in range(100, 99 + DEPTH))]
    assert shown(w, 0) == []
