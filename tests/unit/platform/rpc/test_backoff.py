import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.domain.errors import InvariantViolation
from fauxchange.platform.rpc.backoff import ONCE, Backoff, RetryBudget, RetryPolicy, RetrySchedule

chances = st.floats(min_value=0.0, max_value=1.0, exclude_max=True)


def test_the_bound_of_a_pause_doubles_until_it_is_reached() -> None:
    backoff = Backoff(first_s=0.1, longest_s=0.5, chance=lambda: 1.0)

    assert [backoff.next_s() for _ in range(5)] == pytest.approx([0.1, 0.2, 0.4, 0.5, 0.5])


def test_a_success_begins_anew() -> None:
    backoff = Backoff(first_s=0.1, longest_s=0.5, chance=lambda: 1.0)
    backoff.next_s()
    backoff.next_s()

    backoff.reset()

    assert backoff.next_s() == pytest.approx(0.1)


@given(st.lists(chances, min_size=1, max_size=20), st.floats(0.001, 10), st.floats(1, 100))
def test_every_pause_is_between_nothing_and_its_bound(drawn: list[float], first_s: float, times: float) -> None:
    source = iter(drawn)
    backoff = Backoff(first_s=first_s, longest_s=first_s * times, chance=lambda: next(source))

    for number in range(len(drawn)):
        assert 0 <= backoff.next_s() <= min(first_s * times, first_s * 2**number)


def test_pauses_are_spread_over_their_whole_range() -> None:
    chance = random.Random(7).random
    drawn = [Backoff(first_s=1.0, longest_s=1.0, chance=chance).next_s() for _ in range(1_000)]

    quarters = [sum(quarter / 4 <= pause_s < (quarter + 1) / 4 for pause_s in drawn) for quarter in range(4)]

    assert min(quarters) > 200


def test_a_backoff_that_would_shrink_is_a_bug() -> None:
    with pytest.raises(InvariantViolation):
        Backoff(first_s=2.0, longest_s=1.0, chance=lambda: 0.5)


def test_a_call_is_tried_as_often_as_its_policy_says() -> None:
    schedule = RetrySchedule(RetryPolicy(tries=3), deadline_s=1e9, chance=lambda: 0.5)

    assert [schedule.pause_s(0.0) is None for _ in range(4)] == [False, False, True, True]


def test_what_is_tried_once_has_no_second_try() -> None:
    assert RetrySchedule(ONCE, deadline_s=1e9, chance=lambda: 0.0).pause_s(0.0) is None


@given(
    tries=st.integers(1, 10),
    deadline_s=st.floats(0, 10),
    drawn=st.lists(chances, min_size=10, max_size=10),
    lengths_s=st.lists(st.floats(0, 3), min_size=10, max_size=10),
    at_least_s=st.floats(0, 5),
)
def test_no_try_begins_after_the_deadline_and_no_more_than_allowed(
    tries: int, deadline_s: float, drawn: list[float], lengths_s: list[float], at_least_s: float
) -> None:
    source = iter(drawn)
    schedule = RetrySchedule(RetryPolicy(tries=tries), deadline_s=deadline_s, chance=lambda: next(source))
    now_s, made = 0.0, 1

    for length_s in lengths_s:
        now_s += length_s
        pause_s = schedule.pause_s(now_s, at_least_s=at_least_s)
        if pause_s is None:
            break
        assert pause_s >= at_least_s
        now_s += pause_s
        made += 1
        assert now_s < deadline_s

    assert made <= tries


def test_a_peer_in_trouble_is_not_asked_many_times_as_often() -> None:
    budget = RetryBudget(size=10, per_success=0.5)
    repeated = 0

    for _ in range(100):
        budget.fail()
        repeated += budget.allows

    assert repeated == 4


def test_successes_earn_repeated_calls_again() -> None:
    budget = RetryBudget(size=10, per_success=0.5)
    for _ in range(10):
        budget.fail()

    for _ in range(11):
        budget.succeed()

    assert budget.allows
