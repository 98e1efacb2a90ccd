import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.domain.errors import InvariantViolation
from fauxchange.platform.rpc.balancing import less_busy_of_two


def test_the_only_one_is_chosen() -> None:
    assert less_busy_of_two(["a"], lambda _: 5, lambda: 0.999) == "a"


def test_nobody_to_choose_from_is_a_bug() -> None:
    with pytest.raises(InvariantViolation):
        less_busy_of_two([], lambda _: 0, lambda: 0.0)


def test_of_two_the_less_busy_is_chosen_whatever_chance_says() -> None:
    busy = {"a": 3, "b": 1}
    chance = random.Random(1).random

    assert {less_busy_of_two(["a", "b"], busy.__getitem__, chance) for _ in range(50)} == {"b"}


@given(st.lists(st.integers(0, 100), min_size=2, max_size=10), st.integers())
def test_the_busiest_is_never_chosen_where_another_is_less_busy(loads: list[int], seed: int) -> None:
    chosen = less_busy_of_two(range(len(loads)), loads.__getitem__, random.Random(seed).random)

    assert loads[chosen] < max(loads) or loads.count(max(loads)) > 1


def test_equal_instances_share_calls_about_equally() -> None:
    chance = random.Random(3).random

    counts = Counter(less_busy_of_two("abcd", lambda _: 0, chance) for _ in range(4_000))

    assert all(900 < count < 1_100 for count in counts.values())
