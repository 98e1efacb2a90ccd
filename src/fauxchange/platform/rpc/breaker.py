"""A circuit breaker: what does not answer is not asked again until a probe says that it is back.

The rules:

* **closed**: calls go through. So many failures in a row open it, and so does too large a share of failures among the
  calls of the last seconds.
* **open**: nothing goes through, for a pause. It doubles each time that a probe fails, up to a bound.
* **half-open**: the pause is over, and a few calls at a time go through as probes. So many successes close the
  breaker; one failure opens it again.

A pure state machine: it is told the time, waits for nothing and knows nothing of what it guards, be it an instance of
a service or a store. Whoever calls takes a ticket from `admit` and gives it back with `succeed`, `fail` or `abandon`.
What ends after the state has changed is of another time and tells nothing any more.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from fauxchange.domain.errors import check


class BreakerState(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


STATE_NUMBERS = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}
"""How metrics write a state; larger is worse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerLimits:
    """When a breaker opens, and how it closes.

    Units: seconds; failure_share a fraction of the calls in the window, looked at from `least_calls` on
    """

    failures_in_a_row: int = 2
    failure_share: float = 0.5
    window_s: float = 10.0
    least_calls: int = 20
    first_pause_s: float = 0.25
    longest_pause_s: float = 1.0
    probes_at_once: int = 1
    successes_to_close: int = 1

    def __post_init__(self) -> None:
        check(0 < self.failure_share <= 1 and self.window_s > 0, "the share is a fraction, the window has a length")
        check(0 < self.first_pause_s <= self.longest_pause_s, "the pause begins above 0 and does not shrink")
        counts = (self.failures_in_a_row, self.least_calls, self.probes_at_once, self.successes_to_close)
        check(min(counts) >= 1, "counts begin at 1")


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to make one call, in the period of the breaker's life in which it was given."""

    period: int


Listener = Callable[[BreakerState], None]


class CircuitBreaker:
    """Guard one thing that may stop to answer; `on_change` hears of every new state.

    Units: now_s on any clock that does not run backwards, the same for all calls
    """

    def __init__(self, limits: BreakerLimits | None = None, *, on_change: Listener = lambda _state: None) -> None:
        self._limits = limits or BreakerLimits()
        self._on_change = on_change
        self._state = BreakerState.CLOSED
        self._period = 0
        self._failures = 0
        self._window = _Window(self._limits.window_s)
        self._pause_s = self._limits.first_pause_s
        self._open_until_s = 0.0
        self._probes = 0
        self._successes = 0

    def state(self, now_s: float) -> BreakerState:
        """Return the present state."""
        if self._state is BreakerState.OPEN and now_s >= self._open_until_s:
            return BreakerState.HALF_OPEN
        return self._state

    def wait_s(self, now_s: float) -> float:
        """Return how long nothing goes through for sure; 0 unless it is open."""
        return max(0.0, self._open_until_s - now_s) if self._state is BreakerState.OPEN else 0.0

    def admit(self, now_s: float) -> Ticket | None:
        """Return a ticket for one call, or None if it must not be made."""
        if self._state is BreakerState.OPEN and now_s >= self._open_until_s:
            self._enter(BreakerState.HALF_OPEN)
        if self._state is BreakerState.OPEN:
            return None
        if self._state is BreakerState.HALF_OPEN:
            if self._probes >= self._limits.probes_at_once:
                return None
            self._probes += 1
        return Ticket(self._period)

    def succeed(self, ticket: Ticket, now_s: float) -> None:
        """Take note that the call was answered."""
        if ticket.period != self._period:
            return
        if self._state is BreakerState.CLOSED:
            self._failures = 0
            self._window.add(now_s, failed=False)
            return
        self._probes -= 1
        self._successes += 1
        if self._successes >= self._limits.successes_to_close:
            self._pause_s = self._limits.first_pause_s
            self._enter(BreakerState.CLOSED)

    def fail(self, ticket: Ticket, now_s: float) -> None:
        """Take note that the call was not answered."""
        if ticket.period != self._period:
            return
        if self._state is BreakerState.CLOSED:
            self._failures += 1
            self._window.add(now_s, failed=True)
            if self._failures >= self._limits.failures_in_a_row or self._too_many_failed(now_s):
                self._open(now_s)
        else:
            self._pause_s = min(2 * self._pause_s, self._limits.longest_pause_s)
            self._open(now_s)

    def abandon(self, ticket: Ticket) -> None:
        """Take note that nobody waited for the answer: it tells nothing."""
        if ticket.period == self._period and self._state is BreakerState.HALF_OPEN:
            self._probes -= 1

    def _too_many_failed(self, now_s: float) -> bool:
        calls, failures = self._window.counts(now_s)
        return calls >= self._limits.least_calls and failures >= self._limits.failure_share * calls

    def _open(self, now_s: float) -> None:
        self._open_until_s = now_s + self._pause_s
        self._enter(BreakerState.OPEN)

    def _enter(self, state: BreakerState) -> None:
        self._state = state
        self._period += 1
        self._failures = self._probes = self._successes = 0
        self._window = _Window(self._limits.window_s)
        self._on_change(state)


def combined(states: Iterable[BreakerState]) -> BreakerState:
    """Return the state of a whole whose parts stand in for each other: that of its best; open if there is none."""
    return min(states, key=STATE_NUMBERS.__getitem__, default=BreakerState.OPEN)


class _Window:
    """Calls and failures of the last seconds, counted in slices so that many calls cost no memory."""

    _SLICES = 10

    def __init__(self, length_s: float) -> None:
        self._slice_s = length_s / self._SLICES
        self._slices: deque[tuple[int, int, int]] = deque()

    def add(self, now_s: float, *, failed: bool) -> None:
        number = int(now_s // self._slice_s)
        calls = failures = 0
        if self._slices and self._slices[-1][0] == number:
            _, calls, failures = self._slices.pop()
        self._slices.append((number, calls + 1, failures + failed))
        self._forget(number)

    def counts(self, now_s: float) -> tuple[int, int]:
        self._forget(int(now_s // self._slice_s))
        return sum(calls for _, calls, _ in self._slices), sum(failures for _, _, failures in self._slices)

    def _forget(self, number: int) -> None:
        while self._slices and self._slices[0][0] <= number - self._SLICES:
            self._slices.popleft()
