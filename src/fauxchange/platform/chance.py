"""Chance for what no replay repeats: how far pauses and heartbeats vary, and names that nobody else has.

Everything that belongs to the simulation draws from seeded streams instead.
"""

import secrets

_STEPS = 1 << 30


def jitter() -> float:
    """Return a number of [0, 1)."""
    return secrets.randbelow(_STEPS) / _STEPS


def token() -> str:
    """Return a few characters that nobody else draws at the same time."""
    return secrets.token_hex(3)
