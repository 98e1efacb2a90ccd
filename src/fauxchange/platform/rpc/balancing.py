"""Which instance is asked next: of two that chance names, the one with less to do.

That spreads load almost as well as asking the idlest of all, and callers who know nothing of each other do not all run
to the same one.

Source: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (IEEE TPDS 12(10), 2001)
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from fauxchange.domain.errors import check
from fauxchange.platform.rpc.backoff import Chance

Candidate = TypeVar("Candidate")


def less_busy_of_two(
    candidates: Sequence[Candidate], outstanding: Callable[[Candidate], int], chance: Chance
) -> Candidate:
    """Return the one of two different candidates with fewer outstanding calls; the only one if there is one."""
    check(len(candidates) > 0, "there is someone to choose from")
    first = int(chance() * len(candidates))
    if len(candidates) == 1:
        return candidates[first]
    # Drawn from the others, so that it is never the first one again.
    second = (first + 1 + int(chance() * (len(candidates) - 1))) % len(candidates)
    return min(candidates[first], candidates[second], key=outstanding)
