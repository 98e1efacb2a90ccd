"""Pauses between tries: grown by powers, spread by chance, bounded in number and by a deadline.

Pure state machines: they are told the time and given their chance, and wait for nothing.

Source: M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), full jitter; gRPC proposal A6,
retry throttling
"""

from collections.abc import Callable
from dataclasses import dataclass

from fauxchange.domain.errors import check

Chance = Callable[[], float]
"""Draw a number of [0, 1)."""


class Backoff:
    """How long to wait before the next try: any time up to a bound that doubles with each.

    Units: seconds
    Ensures: 0 <= pause <= min(longest_s, first_s * 2 ** tries)
    """

    def __init__(self, *, first_s: float, longest_s: float, chance: Chance) -> None:
        check(0 < first_s <= longest_s, "a backoff begins above 0 and does not shrink")
        self._first_s = first_s
        self._longest_s = longest_s
        self._chance = chance
        self._bound_s = first_s

    def next_s(self) -> float:
        """Return the next pause."""
        bound_s = self._bound_s
        self._bound_s = min(2 * bound_s, self._longest_s)
        return bound_s * self._chance()

    def reset(self) -> None:
        """Begin anew: it went well."""
        self._bound_s = self._first_s


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often one call is tried, the first time included, and how long the pauses between grow.

    Units: seconds
    """

    tries: int = 4
    first_s: float = 0.05
    longest_s: float = 1.0

    def __post_init__(self) -> None:
        check(self.tries >= 1, "a call is tried at least once")


ONCE = RetryPolicy(tries=1)
"""The policy of a call that must not be repeated."""


class RetrySchedule:
    """The tries of one call: so many, and none that could not begin before the deadline.

    Units: deadline_s on the clock of the caller, like every time that it is told
    """

    def __init__(self, policy: RetryPolicy, *, deadline_s: float, chance: Chance) -> None:
        self._backoff = Backoff(first_s=policy.first_s, longest_s=policy.longest_s, chance=chance)
        self._left = policy.tries - 1
        self._deadline_s = deadline_s

    def pause_s(self, now_s: float, *, at_least_s: float = 0.0) -> float | None:
        """Return how long to wait before the next try, or None if there is to be none.

        Units: at_least_s is what the one who was asked wants to be left alone for
        """
        if self._left <= 0:
            return None
        self._left -= 1
        pause_s = at_least_s + self._backoff.next_s()
        return pause_s if now_s + pause_s < self._deadline_s else None


class RetryBudget:
    """Keep repeated calls a fraction of all, so that a peer in trouble is not asked many times as often.

    It begins full; a failure takes one, a success gives back `per_success`; while it is half empty nothing is repeated.
    """

    def __init__(self, *, size: float = 20.0, per_success: float = 0.2) -> None:
        check(size > 0 and per_success > 0, "a budget has a size and grows")
        self._size = size
        self._per_success = per_success
        self._left = size

    @property
    def allows(self) -> bool:
        """Whether a call may be repeated now."""
        return self._left > self._size / 2

    def succeed(self) -> None:
        """Give back a little."""
        self._left = min(self._size, self._left + self._per_success)

    def fail(self) -> None:
        """Take one."""
        self._left = max(0.0, self._left - 1.0)
