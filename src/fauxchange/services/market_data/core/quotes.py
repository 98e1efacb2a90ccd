"""Bid and ask around a price: fixed spreads, or spreads that widen with volatility.

A spread policy is asked once per price and keeps what it needs to know of the past. Its arithmetic is integer but for
the volatility estimate, which decides nothing except how many ticks wide a spread is.
"""

import math
from dataclasses import dataclass
from typing import Protocol

from fauxchange.domain.errors import check

BPS = 10_000


class SpreadPolicy(Protocol):
    """Decide how wide the market is at a price."""

    def spread_ticks(self, mid_half_ticks: int, ts_ns: int) -> int:
        """Return the whole number of ticks between bid and ask, at least 1; times never go back."""
        ...

    def at(self, spread_bps: float) -> "SpreadPolicy":
        """Return the policy with another fixed spread; what it knows of the past stays."""
        ...


@dataclass(frozen=True, slots=True)
class FixedSpread:
    """The same spread at every time, in basis points of the mid."""

    spread_bps: float

    def spread_ticks(self, mid_half_ticks: int, ts_ns: int) -> int:  # noqa: ARG002 - the policy's signature
        """Return the spread in ticks, at least 1."""
        return max(1, round(mid_half_ticks / 2 * self.spread_bps / BPS))

    def at(self, spread_bps: float) -> "FixedSpread":
        """Return another fixed spread."""
        return FixedSpread(spread_bps)


class VolatilitySpread:
    """A spread that widens while the market moves more than it usually does.

    Two exponentially weighted means of the squared return per second run side by side: a quick one (half-life one
    minute) and a slow one (half-life an hour). The spread is the fixed one times the ratio of the two volatilities,
    between 1 and `widest`.
    """

    __slots__ = ("_fast", "_last_half_ticks", "_last_ns", "_slow", "spread_bps", "widest")

    FAST_HALF_LIFE_NS = 60 * 1_000_000_000
    SLOW_HALF_LIFE_NS = 3_600 * 1_000_000_000

    def __init__(self, spread_bps: float, *, widest: float = 10.0) -> None:
        check(widest >= 1, "a spread widens by a factor of at least 1")
        self.spread_bps = spread_bps
        self.widest = widest
        self._last_half_ticks = 0
        self._last_ns = 0
        self._fast = 0.0
        self._slow = 0.0

    def spread_ticks(self, mid_half_ticks: int, ts_ns: int) -> int:
        """Return the spread in ticks, at least 1, after taking the move to this price into account."""
        elapsed_ns = ts_ns - self._last_ns
        if self._last_half_ticks == 0:
            self._last_half_ticks, self._last_ns = mid_half_ticks, ts_ns
        elif elapsed_ns > 0:
            log_return = math.log(mid_half_ticks / self._last_half_ticks)
            variance = log_return * log_return / (elapsed_ns / 1e9)
            self._fast += (variance - self._fast) * (1 - 0.5 ** (elapsed_ns / self.FAST_HALF_LIFE_NS))
            # The slow mean starts at the first move instead of creeping up from zero for hours.
            weight = 1 - 0.5 ** (elapsed_ns / self.SLOW_HALF_LIFE_NS) if self._slow else 1.0
            self._slow += (variance - self._slow) * weight
            self._last_half_ticks, self._last_ns = mid_half_ticks, ts_ns
        return max(1, round(mid_half_ticks / 2 * self.spread_bps * self.widening / BPS))

    def at(self, spread_bps: float) -> "VolatilitySpread":
        """Widen another spread from now on, as much as this one."""
        self.spread_bps = spread_bps
        return self

    @property
    def widening(self) -> float:
        """The factor by which the spread is wider than the fixed one, from 1 to `widest`."""
        if self._slow <= 0:
            return 1.0
        return min(self.widest, max(1.0, math.sqrt(self._fast / self._slow)))


def bid_ask(mid_half_ticks: int, spread_ticks: int) -> tuple[int, int]:
    """Return bid and ask on the tick grid, exactly `spread_ticks` apart, as near around the mid as the grid allows.

    Ensures: bid >= 1
    """
    below = mid_half_ticks - spread_ticks
    bid, odd = divmod(below, 2)
    # A mid that the spread's parity puts between two ticks goes to the even bid, so that it drifts neither way.
    bid = max(1, bid + (bid & odd))
    return bid, bid + spread_ticks
