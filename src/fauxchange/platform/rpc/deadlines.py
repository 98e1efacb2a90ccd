"""How long the one who called us waits: what we call in turn is not waited for any longer.

The deadline stands beside the running task, as the request's ids do. A task that outlives the request it was begun in
is not bound by it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class _Deadline:
    at_s: float
    over: bool = False


_current: ContextVar[_Deadline | None] = ContextVar("fauxchange_deadline", default=None)


@contextmanager
def answering_within(wait_s: float | None, *, now_s: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Bound what the block calls by what is left of `wait_s`, and by a deadline around it; None adds no bound."""
    if wait_s is None:
        yield
        return
    at_s = now_s() + wait_s
    outer = _current.get()
    deadline = _Deadline(at_s if outer is None or outer.over else min(at_s, outer.at_s))
    token = _current.set(deadline)
    try:
        yield
    finally:
        deadline.over = True
        _current.reset(token)


def remaining_s(now_s: float) -> float | None:
    """Return how long the caller still waits (negative if not any more), or None if nobody has said.

    Units: now_s on the monotonic clock, unless `answering_within` was given another
    """
    deadline = _current.get()
    return None if deadline is None or deadline.over else deadline.at_s - now_s
