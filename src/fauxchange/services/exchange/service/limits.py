"""How often an account may ask: a token bucket each, on venue time, in whole numbers."""

from typing import Final, NamedTuple, Protocol

from fauxchange.domain.errors import RateLimited, check
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.ports import Clock
from fauxchange.services.exchange.service.requests import Caller


class RateState(NamedTuple):
    """What is left of an account's allowance; a limit of 0 is none at all. Units: reset_s in seconds of venue time."""

    limit: int
    """How many requests the full bucket holds."""
    remaining: int
    reset_s: int
    """When the bucket is full again, rounded up."""


UNLIMITED: Final = RateState(0, 0, 0)


class Allowances(Protocol):
    """What edges ask of the allowances of accounts, which are kept here or, for gateways, in the kernel process."""

    async def admit(self, caller: Caller, cost: int) -> RateState:
        """Let a caller go on whose credentials are right, and take what the request costs.

        Raises: RateLimited; Unauthenticated if another gateway has accepted the same signature; Unavailable
        """
        ...

    def is_certain(self, caller: Caller) -> bool:
        """Say whether `admit` would answer a caller at once when it costs nothing."""
        ...

    def take(self, account: int, cost: int = 1) -> RateState:
        """Take what an operation of an admitted session costs. Raises: RateLimited, where that is known at once."""
        ...

    def peek(self, account: int) -> RateState:
        """Return what is left of an account's allowance, as far as it is known here."""
        ...


class RateLimits:
    """A bucket of tokens per account: `per_second` flow in, at most `burst` are kept, a request takes what it costs.

    A request that costs more than the bucket holds is let through when the bucket is full, and leaves a debt: whoever
    sends batches gets no more through than who does not. `per_second` 0 is no limit.

    Levels are counted in billionths of a token, of which each nanosecond brings `per_second`: nothing is ever rounded.
    """

    def __init__(self, clock: Clock, *, per_second: int, burst: int | None = None) -> None:
        check(per_second >= 0, "a rate is not negative")
        check(burst is None or burst > 0, "a bucket holds at least one token")
        self.per_second = per_second
        self.burst = burst or max(1, per_second)
        self._clock = clock
        self._full = self.burst * NS_PER_S
        # Level and the moment it was that: by account, of whom there are only so many.
        self._buckets: dict[int, tuple[int, int]] = {}

    def take(self, account: int, cost: int = 1) -> RateState:
        """Take `cost` tokens. Raises: RateLimited, with the time after which as much is there."""
        if self.per_second == 0:
            return UNLIMITED
        now_ns = self._clock.now_ns()
        level = self._level(account, now_ns)
        missing = min(cost * NS_PER_S, self._full) - level
        if missing > 0:
            wait_ns = -(-missing // self.per_second)
            raise RateLimited(
                f"the account may ask {self.per_second} times a second, {self.burst} at once; "
                f"come back in {-(-wait_ns // 1_000_000)} ms",
                retry_after_s=wait_ns / NS_PER_S,
            )
        level -= cost * NS_PER_S
        self._buckets[account] = (level, now_ns)
        return self._state(level)

    async def admit(self, caller: Caller, cost: int) -> RateState:
        """Take `cost` tokens of a caller's account. Raises: as `take`."""
        return self.take(caller.account, cost) if cost else UNLIMITED

    def is_certain(self, caller: Caller) -> bool:  # noqa: ARG002 - as `Allowances` has it
        """Say that credentials which are right here are right."""
        return True

    def peek(self, account: int) -> RateState:
        """Return what is left of an account's allowance, taking nothing."""
        if self.per_second == 0:
            return UNLIMITED
        return self._state(self._level(account, self._clock.now_ns()))

    def _level(self, account: int, now_ns: int) -> int:
        level, since_ns = self._buckets.get(account, (self._full, now_ns))
        return min(self._full, level + max(0, now_ns - since_ns) * self.per_second)

    def _state(self, level: int) -> RateState:
        until_full_ns = -(-(self._full - level) // self.per_second)
        return RateState(self.burst, max(0, level) // NS_PER_S, -(-until_full_ns // NS_PER_S))
