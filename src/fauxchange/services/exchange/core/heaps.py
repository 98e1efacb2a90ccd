"""Two heaps of orders: those with an expiry by (expiry, order id), and triggered stops by order id."""

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import link
from fauxchange.services.exchange.core.layout import (
    ADDRESS,
    H_EXPIRIES,
    H_EXPIRY_AT,
    H_TRIGGER_AT,
    H_TRIGGERS,
    O_EXPIRES,
    O_HEAP_AT,
    O_ID,
    Memory,
)


@lean_kernel
def expires_before(m: Memory, order: int, other: int) -> bool:
    """Say whether `order` is the first of the two to expire."""
    if m[order + O_EXPIRES] != m[other + O_EXPIRES]:
        return m[order + O_EXPIRES] < m[other + O_EXPIRES]
    return m[order + O_ID] < m[other + O_ID]


@lean_kernel
def seat(m: Memory, number: int, order: int) -> None:
    """Put an order on a place of the heap of expiries; places count from 1."""
    m[(m[H_EXPIRY_AT] + number - 1) & ADDRESS] = order
    m[order + O_HEAP_AT] = number


@lean_kernel
def rise(m: Memory, number: int, order: int) -> None:
    """Seat an order at `number` or above it."""
    heap = (m[H_EXPIRY_AT] - 1) & ADDRESS
    while number > 1:
        parent = link(m, heap + (number >> 1))
        if not expires_before(m, order, parent):
            break
        seat(m, number, parent)
        number >>= 1
    seat(m, number, order)


@lean_kernel
def sink(m: Memory, number: int, order: int) -> None:
    """Seat an order at `number` or below it."""
    heap = (m[H_EXPIRY_AT] - 1) & ADDRESS
    size = m[H_EXPIRIES]
    while 2 * number <= size:
        lower = 2 * number
        if lower < size and expires_before(m, link(m, heap + lower + 1), link(m, heap + lower)):
            lower += 1
        if not expires_before(m, link(m, heap + lower), order):
            break
        seat(m, number, link(m, heap + lower))
        number = lower
    seat(m, number, order)


@lean_kernel
def watch_expiry(m: Memory, order: int) -> None:
    """Remember an order until it expires."""
    m[H_EXPIRIES] += 1
    rise(m, m[H_EXPIRIES], order)


@lean_kernel
def forget_expiry(m: Memory, order: int) -> None:
    """Take an order out of the heap of expiries."""
    number = m[order + O_HEAP_AT]
    last = link(m, (m[H_EXPIRY_AT] + m[H_EXPIRIES] - 1) & ADDRESS)
    m[H_EXPIRIES] -= 1
    m[order + O_HEAP_AT] = 0
    if last == order:
        return
    rise(m, number, last)
    if m[last + O_HEAP_AT] == number:
        sink(m, number, last)


@lean_kernel
def push_triggered(m: Memory, order: int) -> None:
    """Let a triggered order wait for its turn."""
    heap = (m[H_TRIGGER_AT] - 1) & ADDRESS
    m[H_TRIGGERS] += 1
    number = m[H_TRIGGERS]
    while number > 1:
        parent = link(m, heap + (number >> 1))
        if m[parent + O_ID] < m[order + O_ID]:
            break
        m[heap + number] = parent
        number >>= 1
    m[heap + number] = order


@lean_kernel
def pop_triggered(m: Memory) -> int:
    """Take the triggered order with the lowest id."""
    heap = (m[H_TRIGGER_AT] - 1) & ADDRESS
    first = link(m, heap + 1)
    size = m[H_TRIGGERS]
    order = link(m, heap + size)
    size -= 1
    m[H_TRIGGERS] = size
    number = 1
    while 2 * number <= size:
        lower = 2 * number
        if lower < size and m[link(m, heap + lower + 1) + O_ID] < m[link(m, heap + lower) + O_ID]:
            lower += 1
        if m[order + O_ID] < m[link(m, heap + lower) + O_ID]:
            break
        m[heap + number] = link(m, heap + lower)
        number = lower
    m[heap + number] = order
    return first
