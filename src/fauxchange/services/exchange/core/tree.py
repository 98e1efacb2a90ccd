"""The tree that finds a price level by its price: a radix tree with a bitmap of children in each node.

It is as high as the highest price needs. A level is found in as many steps as the tree is high; the level above a new
one is found on the way down, so that no empty price is ever looked at.
"""

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import link
from fauxchange.services.exchange.core.layout import (
    K_HEIGHT,
    K_ROOT,
    L_LEAF,
    L_PRICE,
    N_BITMAP,
    N_CHILDREN,
    N_PARENT,
    TREE_BITS,
    TREE_MASK,
    Memory,
)
from fauxchange.services.exchange.core.pool import free_node, new_node


@lean_kernel
def lowest_bit(word: int) -> int:
    """Return the number of the lowest bit that is set in `word`, which has at most 16 bits and is not 0."""
    number = 0
    if word & 0xFF == 0:
        word >>= 8
        number += 8
    if word & 0xF == 0:
        word >>= 4
        number += 4
    if word & 0x3 == 0:
        word >>= 2
        number += 2
    if word & 0x1 == 0:
        number += 1
    return number


@lean_kernel
def find_level(m: Memory, book: int, price: int) -> int:
    """Return the level at `price`; 0 if there is none."""
    shift = m[book + K_HEIGHT] * TREE_BITS
    if price >> shift != 0:
        return 0
    node = link(m, book + K_ROOT)
    while shift > 0 and node != 0:
        shift -= TREE_BITS
        node = link(m, node + N_CHILDREN + ((price >> shift) & TREE_MASK))
    return node


@lean_kernel
def insert_level(m: Memory, book: int, level: int) -> int:
    """Enter a level whose price has none yet; return the level next above it, 0 if it is the highest."""
    price = m[level + L_PRICE]
    raise_tree(m, book, price)
    node = link(m, book + K_ROOT)
    shift = (m[book + K_HEIGHT] - 1) * TREE_BITS
    higher, higher_shift = 0, 0
    while shift > 0:
        number = (price >> shift) & TREE_MASK
        above = m[node + N_BITMAP] >> (number + 1)
        if above != 0:
            higher = link(m, node + N_CHILDREN + number + 1 + lowest_bit(above))
            higher_shift = shift
        child = link(m, node + N_CHILDREN + number)
        if child == 0:
            child = new_node(m, node)
            m[node + N_CHILDREN + number] = child
            m[node + N_BITMAP] |= 1 << number
        node = child
        shift -= TREE_BITS
    number = price & TREE_MASK
    above = m[node + N_BITMAP] >> (number + 1)
    m[node + N_CHILDREN + number] = level
    m[node + N_BITMAP] |= 1 << number
    m[level + L_LEAF] = node
    if above != 0:
        return link(m, node + N_CHILDREN + number + 1 + lowest_bit(above))
    # The lowest level below the deepest node that was passed on the left.
    while higher_shift > 0:
        higher_shift -= TREE_BITS
        if higher_shift > 0:
            higher = link(m, higher + N_CHILDREN + lowest_bit(m[higher + N_BITMAP]))
        else:
            return link(m, higher + N_CHILDREN + lowest_bit(m[higher + N_BITMAP]))
    return 0


@lean_kernel
def raise_tree(m: Memory, book: int, price: int) -> None:
    """Make the tree high enough for `price`."""
    if m[book + K_ROOT] == 0:
        m[book + K_ROOT] = new_node(m, 0)
        m[book + K_HEIGHT] = 1
    while price >> (m[book + K_HEIGHT] * TREE_BITS) != 0:
        below = link(m, book + K_ROOT)
        root = new_node(m, 0)
        if m[below + N_BITMAP] != 0:
            m[root + N_CHILDREN] = below
            m[root + N_BITMAP] = 1
            m[below + N_PARENT] = root
        else:
            free_node(m, below)
        m[book + K_ROOT] = root
        m[book + K_HEIGHT] += 1


@lean_kernel
def remove_level(m: Memory, book: int, level: int) -> None:
    """Take a level out, and the nodes that led to it alone."""
    price = m[level + L_PRICE]
    node = link(m, level + L_LEAF)
    shift = 0
    while True:
        number = (price >> shift) & TREE_MASK
        m[node + N_CHILDREN + number] = 0
        m[node + N_BITMAP] ^= 1 << number
        if m[node + N_BITMAP] != 0:
            return
        parent = link(m, node + N_PARENT)
        free_node(m, node)
        if parent == 0:
            m[book + K_ROOT] = 0
            m[book + K_HEIGHT] = 0
            return
        node = parent
        shift += TREE_BITS
