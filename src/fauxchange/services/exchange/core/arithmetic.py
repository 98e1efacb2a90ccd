"""Arithmetic on money that never leaves 64 bits: what would is told by TOO_LARGE."""

from typing import Final

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.layout import (
    MAX_INT64,
)
from fauxchange.services.exchange.core.vocabulary import (
    FEE_RATE_UNIT,
)

TOO_LARGE: Final = -1
SMALL: Final = 2**31


@lean_kernel
def product(a: int, b: int) -> int:
    """Return a times b, or TOO_LARGE; both are at least 0, or TOO_LARGE themselves."""
    # The quick way out saves the division nearly always.
    if 0 <= a < SMALL and 0 <= b < SMALL:
        return a * b
    if a < 0 or b < 0:
        return TOO_LARGE
    if a != 0 and b > MAX_INT64 // a:
        return TOO_LARGE
    return a * b


@lean_kernel
def total(a: int, b: int) -> int:
    """Return a plus b, or TOO_LARGE; both are at least 0, or TOO_LARGE themselves."""
    if a < 0 or b < 0 or a > MAX_INT64 - b:
        return TOO_LARGE
    return a + b


@lean_kernel
def fee_of(notional: int, rate: int) -> int:
    """Return the fee on a notional, rounded up against the payer. Units: rate in 1/1,000,000."""
    if notional < 0:
        return TOO_LARGE
    # In two parts, because the product of both may not fit.
    whole = notional // FEE_RATE_UNIT
    part = notional - whole * FEE_RATE_UNIT
    return whole * rate + (part * rate + FEE_RATE_UNIT - 1) // FEE_RATE_UNIT


@lean_kernel
def with_fee(notional: int, rate: int) -> int:
    """Return a notional and the highest fee on it, or TOO_LARGE."""
    return total(notional, fee_of(notional, rate))
