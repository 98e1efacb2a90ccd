"""The index that finds an order by its id."""

from itertools import permutations

import pytest

from fauxchange.services.exchange.core.engine import new_state
from fauxchange.services.exchange.core.layout import O_ID, Int64Array
from fauxchange.services.exchange.core.memory import Rooms
from fauxchange.services.exchange.core.pool import cell_of, find_order, index_order, new_order, unindex_order


def ids_of_one_cell(memory: Int64Array, count: int) -> list[int]:
    """Return ids that lead to the same cell as the first id does."""
    cell = cell_of(memory, 1)
    return [order_id for order_id in range(1, 10_000) if cell_of(memory, order_id) == cell][:count]


def entered(memory: Int64Array, order_ids: list[int]) -> dict[int, int]:
    """Make an order for each id and enter it; return where they lie."""
    orders = {}
    for order_id in order_ids:
        orders[order_id] = new_order(memory)
        memory[orders[order_id] + O_ID] = order_id
        index_order(memory, orders[order_id])
    return orders


@pytest.mark.parametrize("leaving", list(permutations(range(4))))
def test_orders_that_share_a_cell_are_found_whichever_leaves_first(leaving: tuple[int, ...]) -> None:
    memory = new_state(rooms=Rooms(orders=8)).memory
    order_ids = ids_of_one_cell(memory, 5)
    orders = entered(memory, order_ids[:4])

    for number in leaving:
        unindex_order(memory, orders.pop(order_ids[number]))

        found = {order_id: find_order(memory, order_id) for order_id in order_ids}
        assert found == {order_id: orders.get(order_id, 0) for order_id in order_ids}


@pytest.mark.parametrize("first", [1, 1_000, 10**9, 2**40 + 3])
def test_consecutive_ids_rarely_share_a_cell_while_half_of_the_cells_are_taken(first: int) -> None:
    memory = new_state(rooms=Rooms(orders=1 << 10)).memory

    cells = {cell_of(memory, order_id) for order_id in range(first, first + (1 << 9))}

    assert len(cells) > 0.9 * (1 << 9)
