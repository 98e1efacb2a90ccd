"""Rate limits: exact to the nanosecond on venue time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.domain.errors import RateLimited
from fauxchange.domain.times import NS_PER_S
from fauxchange.services.exchange.service.limits import RateLimits, RateState

START_NS = 1_769_860_800_000_000_000


class SteppedClock:
    """Venue time that a test moves."""

    def __init__(self) -> None:
        self.ns = START_NS

    def now_ns(self) -> int:
        return self.ns


def _wait_s(limits: RateLimits, account: int = 3, cost: int = 1) -> float:
    with pytest.raises(RateLimited) as refused:
        limits.take(account, cost)
    assert refused.value.code == "rate_limited"
    assert refused.value.retryable
    assert refused.value.retry_after_s is not None
    return refused.value.retry_after_s


def test_a_full_bucket_lets_a_burst_through_and_then_as_much_as_flows_in() -> None:
    clock = SteppedClock()
    limits = RateLimits(clock, per_second=4, burst=3)

    states = [limits.take(3) for _ in range(3)]

    assert states == [RateState(3, 2, 1), RateState(3, 1, 1), RateState(3, 0, 1)]
    assert _wait_s(limits) == 0.25
    clock.ns += NS_PER_S // 4 - 1
    assert _wait_s(limits) == 1e-9
    clock.ns += 1
    assert limits.take(3) == RateState(3, 0, 1)


def test_a_rate_that_does_not_divide_a_second_does_not_drift() -> None:
    clock = SteppedClock()
    limits = RateLimits(clock, per_second=3, burst=2)
    limits.take(3)

    for step_ns in [333_333_333, 333_333_333, 333_333_334] * 1_000:
        clock.ns += step_ns
        limits.take(3)

    # As much has flowed out as in: there is exactly the one token that there was.
    limits.take(3)
    assert _wait_s(limits) == 0.333_333_334


def test_a_refusal_takes_nothing_and_an_idle_bucket_does_not_overflow() -> None:
    clock = SteppedClock()
    limits = RateLimits(clock, per_second=2, burst=2)
    limits.take(3, 2)
    waits = [_wait_s(limits) for _ in range(3)]

    clock.ns += 3_600 * NS_PER_S

    assert waits == [0.5, 0.5, 0.5]
    assert limits.peek(3) == RateState(2, 2, 0)
    assert limits.take(3) == RateState(2, 1, 1)


def test_accounts_have_buckets_of_their_own() -> None:
    limits = RateLimits(SteppedClock(), per_second=1)
    limits.take(3)

    assert limits.take(4) == RateState(1, 0, 1)
    assert _wait_s(limits) == 1.0


def test_what_costs_more_than_the_bucket_holds_waits_for_a_full_one_and_leaves_a_debt() -> None:
    clock = SteppedClock()
    limits = RateLimits(clock, per_second=10, burst=10)
    limits.take(3)

    assert _wait_s(limits, cost=100) == 0.1
    clock.ns += NS_PER_S // 10
    assert limits.take(3, 100) == RateState(10, 0, 10)
    assert _wait_s(limits) == 9.1


def test_no_limit_is_no_limit() -> None:
    limits = RateLimits(SteppedClock(), per_second=0)

    assert {limits.take(3, 1_000) for _ in range(1_000)} == {RateState(0, 0, 0)}
    assert limits.peek(3) == RateState(0, 0, 0)


def test_a_clock_that_stands_still_gives_nothing() -> None:
    limits = RateLimits(SteppedClock(), per_second=1_000_000, burst=1)
    limits.take(3)

    assert _wait_s(limits) == 1e-6


@given(
    rate=st.integers(1, 1_000),
    burst=st.integers(1, 50),
    steps=st.lists(st.tuples(st.integers(0, 2 * NS_PER_S), st.integers(1, 60)), max_size=60),
)
def test_no_stretch_of_time_lets_more_through_than_burst_and_flow(rate: int, burst: int, steps: list) -> None:
    clock = SteppedClock()
    limits = RateLimits(clock, per_second=rate, burst=burst)
    taken: list[tuple[int, int]] = []

    for step_ns, cost in steps:
        clock.ns += step_ns
        try:
            limits.take(3, cost)
        except RateLimited as exc:
            clock.ns += round((exc.retry_after_s or 0) * NS_PER_S) + 1
            limits.take(3, cost)
        taken.append((clock.ns, cost))

    for begin in range(len(taken)):
        for end in range(begin, len(taken)):
            # The last one may leave a debt, which is paid before the next.
            total = sum(cost for _, cost in taken[begin:end]) + min(taken[end][1], burst)
            elapsed_ns = taken[end][0] - taken[begin][0]
            assert total * NS_PER_S <= burst * NS_PER_S + elapsed_ns * rate
