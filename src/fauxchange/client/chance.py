"""What a client draws by chance: ids that nobody else draws, and how far its pauses vary.

None of it belongs to the venue's simulation, which has seeded streams of its own.
"""

import itertools
import secrets
from collections.abc import Callable

_JITTER_STEPS = 1 << 20


def new_client_order_id() -> str:
    """Return an id that no other order of the account has."""
    return f"fx-{secrets.token_hex(12)}"


def new_idempotency_key() -> str:
    """Return a key for one request that may have to be repeated."""
    return secrets.token_hex(16)


def nonces() -> Callable[[], str]:
    """Return a function that never returns the same text twice, in this process or any other."""
    prefix, numbers = secrets.token_hex(6), itertools.count()
    return lambda: f"{prefix}{next(numbers):x}"


def jitter() -> float:
    """Return a number of [0, 1)."""
    return secrets.randbelow(_JITTER_STEPS) / _JITTER_STEPS


class Backoff:
    """How long to wait before the next try: twice as long each time, up to a bound, of which the half is chance.

    Units: seconds
    """

    def __init__(self, *, first_s: float, longest_s: float, jitter: Callable[[], float]) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._jitter = jitter
        self._next_s = first_s

    def next_s(self) -> float:
        """Return the next pause."""
        full_s = self._next_s
        self._next_s = min(2 * full_s, self._longest_s)
        return full_s * (0.5 + 0.5 * self._jitter())

    def reset(self) -> None:
        """Begin anew: it went well."""
        self._next_s = self._first_s
