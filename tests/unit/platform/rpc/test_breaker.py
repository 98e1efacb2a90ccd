from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fauxchange.domain.errors import InvariantViolation
from fauxchange.platform.rpc.breaker import BreakerLimits, BreakerState, CircuitBreaker, Ticket, combined

CLOSED, HALF_OPEN, OPEN = BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN
LIMITS = BreakerLimits(failures_in_a_row=3, first_pause_s=0.5, longest_pause_s=2.0, least_calls=10, window_s=10.0)


def admitted(breaker: CircuitBreaker, now_s: float) -> Ticket:
    ticket = breaker.admit(now_s)
    assert ticket is not None
    return ticket


def fail(breaker: CircuitBreaker, now_s: float, times: int = 1) -> None:
    for _ in range(times):
        breaker.fail(admitted(breaker, now_s), now_s)


def opened(
    limits: BreakerLimits = LIMITS, on_change: Callable[[BreakerState], None] = lambda _: None
) -> CircuitBreaker:
    """Return a breaker that has opened at 0 s."""
    breaker = CircuitBreaker(limits, on_change=on_change)
    fail(breaker, 0.0, limits.failures_in_a_row)
    return breaker


def test_so_many_failures_in_a_row_open_it() -> None:
    breaker = CircuitBreaker(LIMITS)

    fail(breaker, 1.0, 2)
    before = breaker.state(1.0)
    fail(breaker, 1.0)

    assert (before, breaker.state(1.0)) == (CLOSED, OPEN)
    assert breaker.admit(1.4) is None


def test_a_success_between_failures_keeps_it_closed() -> None:
    breaker = CircuitBreaker(LIMITS)

    for _ in range(3):
        fail(breaker, 1.0, 2)
        breaker.succeed(admitted(breaker, 1.0), 1.0)

    assert breaker.state(1.0) is CLOSED


def test_too_large_a_share_of_failures_opens_it_though_none_follow_each_other_often_enough() -> None:
    breaker = CircuitBreaker(LIMITS)
    for _ in range(3):
        fail(breaker, 1.0, 2)
        breaker.succeed(admitted(breaker, 1.0), 1.0)

    # The tenth call of the window, of which seven have failed.
    fail(breaker, 1.0)

    assert breaker.state(1.0) is OPEN


def test_failures_that_have_left_the_window_are_forgotten() -> None:
    breaker = CircuitBreaker(LIMITS)
    for second in range(40):
        now_s = second * 3.0
        breaker.succeed(admitted(breaker, now_s), now_s)
        fail(breaker, now_s)

    # Half of all calls failed, but never were there ten in ten seconds.
    assert breaker.state(120.0) is CLOSED


def test_it_is_half_open_when_the_pause_is_over_and_lets_one_probe_through() -> None:
    breaker = opened()

    assert breaker.state(0.49) is OPEN
    assert breaker.wait_s(0.2) == pytest.approx(0.3)
    assert breaker.state(0.5) is HALF_OPEN
    assert breaker.admit(0.5) is not None
    assert breaker.admit(0.5) is None


def test_a_probe_that_is_answered_closes_it() -> None:
    states: list[BreakerState] = []
    breaker = opened(on_change=states.append)

    breaker.succeed(admitted(breaker, 0.5), 0.6)

    assert breaker.state(0.6) is CLOSED
    assert states == [OPEN, HALF_OPEN, CLOSED]


def test_it_wants_as_many_successes_as_its_limits_say() -> None:
    breaker = opened(BreakerLimits(successes_to_close=2, first_pause_s=0.5))

    breaker.succeed(admitted(breaker, 0.5), 0.5)
    between = breaker.state(0.5)
    breaker.succeed(admitted(breaker, 0.6), 0.6)

    assert (between, breaker.state(0.6)) == (HALF_OPEN, CLOSED)


def test_each_probe_that_fails_doubles_the_pause_up_to_its_bound() -> None:
    breaker = opened()
    now_s, pauses = 0.0, []
    for _ in range(5):
        wait_s = breaker.wait_s(now_s)
        pauses.append(wait_s)
        now_s += wait_s
        fail(breaker, now_s)

    assert pauses == pytest.approx([0.5, 1.0, 2.0, 2.0, 2.0])


def test_the_pause_is_short_again_after_it_was_closed() -> None:
    breaker = opened()
    fail(breaker, 0.5)
    breaker.succeed(admitted(breaker, 1.5), 1.5)

    fail(breaker, 2.0, 3)

    assert breaker.wait_s(2.0) == pytest.approx(0.5)


def test_a_probe_that_nobody_waited_for_makes_room_for_another() -> None:
    breaker = opened()

    breaker.abandon(admitted(breaker, 0.5))

    assert breaker.state(0.5) is HALF_OPEN
    assert breaker.admit(0.5) is not None


def test_what_began_before_it_opened_tells_nothing_afterwards() -> None:
    breaker = CircuitBreaker(LIMITS)
    old = [admitted(breaker, 0.0) for _ in range(3)]
    fail(breaker, 0.0, 3)

    breaker.succeed(old[0], 0.1)
    still_open = breaker.state(0.1)
    probe = admitted(breaker, 0.5)
    breaker.fail(old[1], 0.5)
    breaker.abandon(old[2])

    assert (still_open, breaker.state(0.5)) == (OPEN, HALF_OPEN)
    assert breaker.admit(0.5) is None
    breaker.succeed(probe, 0.5)
    assert breaker.state(0.5) is CLOSED


@pytest.mark.parametrize(
    ("states", "whole"),
    [
        ([CLOSED, OPEN], CLOSED),
        ([OPEN, HALF_OPEN], HALF_OPEN),
        ([OPEN, OPEN], OPEN),
        ([], OPEN),
    ],
)
def test_a_whole_is_as_well_as_its_best_part(states: list[BreakerState], whole: BreakerState) -> None:
    assert combined(states) is whole


def test_limits_that_cannot_be_kept_are_a_bug() -> None:
    with pytest.raises(InvariantViolation):
        BreakerLimits(failures_in_a_row=0)
    with pytest.raises(InvariantViolation):
        BreakerLimits(first_pause_s=2.0, longest_pause_s=1.0)


@given(st.lists(st.floats(0.001, 0.3), min_size=4, max_size=40))
def test_it_opens_within_a_second_when_every_call_fails(gaps_s: list[float]) -> None:
    breaker, now_s = CircuitBreaker(), 0.0

    for gap_s in gaps_s:
        now_s += gap_s
        fail(breaker, now_s)
        if breaker.state(now_s) is OPEN:
            break

    assert breaker.state(now_s) is OPEN
    assert now_s <= 1.0


@given(st.integers(0, 20), st.floats(0.0, 0.3))
def test_it_closes_within_five_seconds_of_recovery(failed_probes: int, answer_s: float) -> None:
    breaker = CircuitBreaker()
    fail(breaker, 0.0, BreakerLimits().failures_in_a_row)
    now_s = 0.0
    for _ in range(failed_probes):
        now_s += breaker.wait_s(now_s)
        fail(breaker, now_s)
    recovered_s = now_s

    while breaker.state(now_s) is not CLOSED:
        now_s += breaker.wait_s(now_s)
        ticket = admitted(breaker, now_s)
        now_s += answer_s
        breaker.succeed(ticket, now_s)

    assert now_s - recovered_s <= 5.0


class BreakerLife(RuleBasedStateMachine):
    """Whatever happens in whatever order: the promises hold."""

    @initialize(
        failures=st.integers(1, 4), probes=st.integers(1, 3), successes=st.integers(1, 3), pause_s=st.floats(0.1, 2.0)
    )
    def begin(self, failures: int, probes: int, successes: int, pause_s: float) -> None:
        self.limits = BreakerLimits(
            failures_in_a_row=failures,
            probes_at_once=probes,
            successes_to_close=successes,
            first_pause_s=pause_s,
            longest_pause_s=4 * pause_s,
            least_calls=5,
        )
        self.told: list[BreakerState] = []
        self.breaker = CircuitBreaker(self.limits, on_change=self.told.append)
        self.now_s = 0.0
        self.tickets: list[Ticket] = []
        self.opened_s: float | None = None

    @rule(seconds=st.floats(0, 5))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def admit(self) -> None:
        before = self.breaker.state(self.now_s)
        ticket = self.breaker.admit(self.now_s)
        if ticket is not None:
            assert before is not OPEN
            self.tickets.append(ticket)
        else:
            assert before is not CLOSED

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), how=st.sampled_from(["succeed", "fail", "abandon"]))
    def give_back(self, data: st.DataObject, how: str) -> None:
        ticket = self.tickets.pop(data.draw(st.integers(0, len(self.tickets) - 1)))
        if how == "abandon":
            self.breaker.abandon(ticket)
        else:
            getattr(self.breaker, how)(ticket, self.now_s)

    @invariant()
    def the_states_follow_each_other_as_they_may(self) -> None:
        if not hasattr(self, "told"):
            return
        steps = set(zip([CLOSED, *self.told], self.told, strict=False))
        assert steps <= {(CLOSED, OPEN), (OPEN, HALF_OPEN), (HALF_OPEN, OPEN), (HALF_OPEN, CLOSED)}

    @invariant()
    def nothing_waits_longer_than_the_longest_pause(self) -> None:
        if hasattr(self, "breaker"):
            assert 0 <= self.breaker.wait_s(self.now_s) <= self.limits.longest_pause_s + 1e-9

    @invariant()
    def it_never_locks_itself_out(self) -> None:
        if not hasattr(self, "breaker"):
            return
        # With no call under way, a ticket is to be had as soon as the pause is over.
        if not self.tickets and self.breaker.state(self.now_s) is not OPEN:
            ticket = self.breaker.admit(self.now_s)
            assert ticket is not None
            self.breaker.abandon(ticket)


BreakerLife.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
test_whatever_happens_the_promises_hold = BreakerLife.TestCase
