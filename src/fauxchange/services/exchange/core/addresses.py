"""Where records lie in the memory.

Every address is masked with ADDRESS where it comes from: a compiler then sees that it is not negative, and leaves out
what Python means by a negative index. That is worth a third of the kernel's time.
"""

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.layout import (
    ACCOUNT_WIDTH,
    ADDRESS,
    BALANCE_WIDTH,
    BOOK_WIDTH,
    DESK_WIDTH,
    FEE_WIDTH,
    H_ACCOUNT_AT,
    H_ASSET_ROOM,
    H_BALANCE_AT,
    H_DESK_AT,
    H_FEE_AT,
    H_INSTRUMENT_AT,
    H_INSTRUMENT_ROOM,
    I_BOOKS,
    INSTRUMENT_WIDTH,
    MAX_TIERS,
    Memory,
)


@lean_kernel
def link(m: Memory, at: int) -> int:
    """Return the address that is noted at another one; 0 if none is."""
    return m[at] & ADDRESS


@lean_kernel
def account_at(m: Memory, account: int) -> int:
    """Return the record of an account."""
    return (m[H_ACCOUNT_AT] + account * ACCOUNT_WIDTH) & ADDRESS


@lean_kernel
def balance_at(m: Memory, account: int, asset: int) -> int:
    """Return the record of what an account has of an asset."""
    return (m[H_BALANCE_AT] + (account * m[H_ASSET_ROOM] + asset) * BALANCE_WIDTH) & ADDRESS


@lean_kernel
def desk_at(m: Memory, account: int, instrument: int) -> int:
    """Return the record of an account's open orders of an instrument, by its number."""
    return (m[H_DESK_AT] + (account * m[H_INSTRUMENT_ROOM] + instrument) * DESK_WIDTH) & ADDRESS


@lean_kernel
def fees_at(m: Memory, instrument: int, tier: int) -> int:
    """Return the record of a tier's fees for an instrument (by number); -1 for instruments that are yet to come."""
    return (m[H_FEE_AT] + ((instrument + 1) * MAX_TIERS + tier) * FEE_WIDTH) & ADDRESS


@lean_kernel
def instrument_at(m: Memory, number: int) -> int:
    """Return the record of an instrument."""
    return (m[H_INSTRUMENT_AT] + number * INSTRUMENT_WIDTH) & ADDRESS


@lean_kernel
def book_at(instrument: int, which: int) -> int:
    """Return one of the four books of an instrument."""
    return (instrument + I_BOOKS + which * BOOK_WIDTH) & ADDRESS


@lean_kernel
def opposite(instrument: int, side: int) -> int:
    """Return the book that an order of `side` trades with."""
    return (instrument + I_BOOKS + (1 - side) * BOOK_WIDTH) & ADDRESS
