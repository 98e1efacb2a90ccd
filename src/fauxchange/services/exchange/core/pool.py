"""Records that come and go: orders, levels and nodes, and the index that finds an order by its id.

The index is a table of chains: a cell has the newest of the orders whose ids lead there, and each order has the one
before it. There are at least as many cells as orders, and ids are consecutive: a multiplication by the golden ratio
spreads consecutive numbers evenly. So most chains are of one, and an order that leaves has nothing looked at but itself
and its cell. Eight consecutive ids lie in one line of the cache.
"""

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import link
from fauxchange.services.exchange.core.layout import (
    ADDRESS,
    H_INDEX_AT,
    H_INDEX_BITS,
    H_LEVEL_AT,
    H_LEVEL_FREE,
    H_LEVELS_OPEN,
    H_LEVELS_USED,
    H_NODE_AT,
    H_NODE_FREE,
    H_NODES_OPEN,
    H_NODES_USED,
    H_OPEN_ORDERS,
    H_ORDER_AT,
    H_ORDER_FREE,
    H_ORDERS_USED,
    L_ABOVE,
    LEVEL_WIDTH,
    N_PARENT,
    NODE_WIDTH,
    O_CHAIN,
    O_ID,
    O_NEXT,
    ORDER_WIDTH,
    Memory,
)

# 2**31 over the golden ratio: with 31 bits of an id the product stays within 62.
GOLDEN = 1_327_217_885
HASH_MASK = 2**31 - 1
HASH_BITS = 31
LINE_BITS = 3
LINE_MASK = (1 << LINE_BITS) - 1


@lean_kernel
def new_order(m: Memory) -> int:
    """Take an order record; its content is what it was."""
    m[H_OPEN_ORDERS] += 1
    order = link(m, H_ORDER_FREE)
    if order != 0:
        m[H_ORDER_FREE] = m[order + O_NEXT]
        return order
    order = (m[H_ORDER_AT] + m[H_ORDERS_USED] * ORDER_WIDTH) & ADDRESS
    m[H_ORDERS_USED] += 1
    return order


@lean_kernel
def free_order(m: Memory, order: int) -> None:
    """Give an order record back."""
    m[H_OPEN_ORDERS] -= 1
    m[order + O_NEXT] = m[H_ORDER_FREE]
    m[H_ORDER_FREE] = order


@lean_kernel
def new_level(m: Memory) -> int:
    """Take a level record; its content is what it was."""
    m[H_LEVELS_OPEN] += 1
    level = link(m, H_LEVEL_FREE)
    if level != 0:
        m[H_LEVEL_FREE] = m[level + L_ABOVE]
        return level
    level = (m[H_LEVEL_AT] + m[H_LEVELS_USED] * LEVEL_WIDTH) & ADDRESS
    m[H_LEVELS_USED] += 1
    return level


@lean_kernel
def free_level(m: Memory, level: int) -> None:
    """Give a level record back."""
    m[H_LEVELS_OPEN] -= 1
    m[level + L_ABOVE] = m[H_LEVEL_FREE]
    m[H_LEVEL_FREE] = level


@lean_kernel
def new_node(m: Memory, parent: int) -> int:
    """Take a node without children."""
    m[H_NODES_OPEN] += 1
    node = link(m, H_NODE_FREE)
    if node != 0:
        m[H_NODE_FREE] = m[node + N_PARENT]
    else:
        node = (m[H_NODE_AT] + m[H_NODES_USED] * NODE_WIDTH) & ADDRESS
        m[H_NODES_USED] += 1
    m[node + N_PARENT] = parent
    return node


@lean_kernel
def free_node(m: Memory, node: int) -> None:
    """Give back a node that has no children left."""
    m[H_NODES_OPEN] -= 1
    m[node + N_PARENT] = m[H_NODE_FREE]
    m[H_NODE_FREE] = node


@lean_kernel
def cell_of(m: Memory, order_id: int) -> int:
    """Return the cell of the index that an id leads to."""
    line = order_id >> LINE_BITS
    home = (((line & HASH_MASK) * GOLDEN) & HASH_MASK) >> (HASH_BITS - m[H_INDEX_BITS] + LINE_BITS)
    return (m[H_INDEX_AT] + (home << LINE_BITS | (order_id & LINE_MASK))) & ADDRESS


@lean_kernel
def find_order(m: Memory, order_id: int) -> int:
    """Return the open order of an id; 0 if there is none."""
    order = link(m, cell_of(m, order_id))
    while order != 0 and m[order + O_ID] != order_id:
        order = link(m, order + O_CHAIN)
    return order


@lean_kernel
def index_order(m: Memory, order: int) -> None:
    """Enter an order into the index."""
    cell = cell_of(m, m[order + O_ID])
    m[order + O_CHAIN] = m[cell]
    m[cell] = order


@lean_kernel
def unindex_order(m: Memory, order: int) -> None:
    """Take an order out of the index."""
    at = cell_of(m, m[order + O_ID])
    while link(m, at) != order:
        at = (link(m, at) + O_CHAIN) & ADDRESS
    m[at] = m[order + O_CHAIN]
