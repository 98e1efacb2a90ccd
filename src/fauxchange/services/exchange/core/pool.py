"""Records that come and go: orders, levels and nodes, and the index that finds an order by its id.

The index is an open-addressing table of addresses with linear probing and no tombstones: what follows a removed entry
moves up. Ids are consecutive, and a multiplication by the golden ratio spreads consecutive numbers evenly.
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
LINE_MASK = 7


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
def home_of(m: Memory, order_id: int) -> int:
    """Return where in the index an id is looked for first."""
    line = order_id >> LINE_BITS
    home = (((line & HASH_MASK) * GOLDEN) & HASH_MASK) >> (HASH_BITS - m[H_INDEX_BITS] + LINE_BITS)
    return home << LINE_BITS | (order_id & LINE_MASK)


@lean_kernel
def find_order(m: Memory, order_id: int) -> int:
    """Return the open order of an id; 0 if there is none."""
    index = link(m, H_INDEX_AT)
    mask = (1 << m[H_INDEX_BITS]) - 1
    cell = home_of(m, order_id)
    while True:
        order = link(m, index + cell)
        if order == 0 or m[order + O_ID] == order_id:
            return order
        cell = (cell + 1) & mask


@lean_kernel
def index_order(m: Memory, order: int) -> None:
    """Enter an order into the index."""
    index = link(m, H_INDEX_AT)
    mask = (1 << m[H_INDEX_BITS]) - 1
    cell = home_of(m, m[order + O_ID])
    while m[index + cell] != 0:
        cell = (cell + 1) & mask
    m[index + cell] = order


@lean_kernel
def unindex_order(m: Memory, order: int) -> None:
    """Take an order out of the index, and move up what only came after it for want of its place."""
    index = link(m, H_INDEX_AT)
    mask = (1 << m[H_INDEX_BITS]) - 1
    hole = home_of(m, m[order + O_ID])
    while m[index + hole] != order:
        hole = (hole + 1) & mask
    cell = hole
    while True:
        cell = (cell + 1) & mask
        other = link(m, index + cell)
        if other == 0:
            break
        # It may move up only if its home does not lie between the hole and itself.
        if ((cell - home_of(m, m[other + O_ID])) & mask) >= ((cell - hole) & mask):
            m[index + hole] = other
            hole = cell
    m[index + hole] = 0
