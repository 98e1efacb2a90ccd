"""Symbols and instruments: what is priced and traded, and the grid it is priced on.

The canonical text of a symbol is `BTC/USD`; paths and the command line write `BTC-USD`. Prices are integer
ticks and quantities integer lots of an `Instrument`; `Decimal` and text appear at the edges only.
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from fauxchange.domain.errors import InvalidRequest, check

_SYMBOL = re.compile(r"([A-Z0-9]{1,16})[/-]([A-Z0-9]{1,16})")
MAX_DECIMALS = 18
MAX_INT64 = 2**63 - 1


def parse_symbol(text: str) -> str:
    """Return the canonical form (`BTC/USD`) of a symbol written `BTC/USD`, `BTC-USD` or in lower case.

    Raises: InvalidRequest with code `invalid_symbol` if it has another shape
    """
    match = _SYMBOL.fullmatch(text.strip().upper()) if text.isascii() else None
    if match is None:
        raise InvalidRequest(
            f"{text!r} is not a symbol; write base and quote as in BTC-USD", code="invalid_symbol", field="symbol"
        )
    return f"{match[1]}/{match[2]}"


def path_symbol(symbol: str) -> str:
    """Return the form that paths and the command line use: `BTC-USD`."""
    return symbol.replace("/", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A grid of exact decimals: every value is a whole number of `step`.

    Units: step in the unit of the value (quote currency of a price, base asset of a quantity)
    """

    step: Decimal
    decimals: int = field(init=False)
    units: int = field(init=False)
    """The step as a whole number of 10**-decimals."""
    _exact_step: Decimal = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check(self.step.is_finite() and self.step > 0, "a grid's step is a positive number")
        exponent = self.step.normalize().as_tuple().exponent
        decimals = max(0, -int(exponent))
        check(decimals <= MAX_DECIMALS, f"a grid's step has at most {MAX_DECIMALS} decimals")
        object.__setattr__(self, "decimals", decimals)
        object.__setattr__(self, "units", int(self.step.scaleb(decimals)))
        # With its decimals written out, so that its multiples have them too.
        object.__setattr__(self, "_exact_step", Decimal(self.units).scaleb(-decimals))

    def text(self, count: int) -> str:
        """Return `count` steps as plain decimal text, with this grid's number of decimals."""
        return _fixed_point(count * self.units, self.decimals)

    def half_text(self, half_count: int) -> str:
        """Return `half_count` half steps as text, with one decimal more only where it lies off the grid."""
        doubled = half_count * self.units
        if doubled & 1 == 0:
            return _fixed_point(doubled >> 1, self.decimals)
        return _fixed_point(doubled * 5, self.decimals + 1)

    def decimal(self, count: int) -> Decimal:
        """Return `count` steps as an exact decimal."""
        return count * self._exact_step

    def half_decimal(self, half_count: int) -> Decimal:
        """Return `half_count` half steps as an exact decimal."""
        return Decimal(self.half_text(half_count))

    def count(self, value: Decimal | str, *, name: str = "value") -> int:
        """Return how many steps `value` is.

        Raises: InvalidRequest if it is no number, off the grid or beyond 64 bits
        """
        try:
            number = Decimal(value)
            if not number.is_finite() or abs(number.adjusted()) > 40:
                raise InvalidOperation
            scaled = number.scaleb(self.decimals)
            whole = int(scaled)
        except (InvalidOperation, ValueError) as exc:
            raise InvalidRequest(f"{name} {str(value)!r} is not a number", code="invalid_number", field=name) from exc
        if whole != scaled or whole % self.units:
            raise InvalidRequest(f"{name} {value} is not a multiple of {self.step}", code="off_grid", field=name)
        if abs(whole // self.units) > MAX_INT64:
            raise InvalidRequest(f"{name} {value} is too large", code="out_of_range", field=name)
        return whole // self.units


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """What is priced: a symbol with the grids of its prices (ticks) and quantities (lots)."""

    symbol: str
    tick_size: Decimal
    lot_size: Decimal
    base: str = field(init=False)
    quote: str = field(init=False)
    prices: Grid = field(init=False, compare=False, repr=False)
    quantities: Grid = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        check(parse_symbol(self.symbol) == self.symbol, "an instrument's symbol is canonical")
        base, quote = self.symbol.split("/")
        object.__setattr__(self, "base", base)
        object.__setattr__(self, "quote", quote)
        object.__setattr__(self, "prices", Grid(step=self.tick_size))
        object.__setattr__(self, "quantities", Grid(step=self.lot_size))


@lru_cache(maxsize=16_384)
def _fixed_point(scaled: int, decimals: int) -> str:
    if decimals == 0:
        return str(scaled)
    if scaled < 0:
        return "-" + _fixed_point(-scaled, decimals)
    digits = str(scaled)
    if len(digits) <= decimals:
        digits = digits.rjust(decimals + 1, "0")
    return f"{digits[:-decimals]}.{digits[-decimals:]}"
