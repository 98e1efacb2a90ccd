"""Readers that wait for a change: each says what it knows, and is woken when there is more.

Nothing is kept for a reader. Whoever is woken looks at what is there now, so a slow reader costs nothing and misses
nothing.
"""

import asyncio
from collections.abc import Callable

from fauxchange.domain.errors import RateLimited

Namespace = tuple[str, str]

MAX_WAITING = 2_000


class Waiting:
    """Who waits for changes of which service and environment."""

    def __init__(self, *, max_waiting: int = MAX_WAITING, count: Callable[[int], None] = lambda _: None) -> None:
        self._max_waiting = max_waiting
        self._count = count
        self._waiters: dict[Namespace, dict[asyncio.Future[None], None]] = {}
        self._waiting = 0
        self.is_over = False
        """Whether the process stops: then nobody waits any more."""

    async def next_change(self, service: str, environment: str) -> None:
        """Wait until something may have changed, or the process stops.

        Raises: RateLimited if too many wait
        """
        if self.is_over:
            return
        if self._waiting >= self._max_waiting:
            raise RateLimited(
                f"{self._max_waiting} readers wait for changes, which is the limit", code="too_many_streams"
            )
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault((service, environment), {})
        waiters[waiter] = None
        self._changed(+1)
        try:
            await waiter
        finally:
            waiters.pop(waiter, None)
            if not waiters and self._waiters.get((service, environment)) is waiters:
                del self._waiters[service, environment]
            self._changed(-1)

    def wake(self, service: str, environment: str) -> None:
        """Wake those who wait for this service and environment."""
        for waiter in tuple(self._waiters.get((service, environment), ())):
            if not waiter.done():
                waiter.set_result(None)

    def end(self) -> None:
        """Wake everybody, and let nobody wait from now on."""
        self.is_over = True
        for service, environment in tuple(self._waiters):
            self.wake(service, environment)

    def _changed(self, by: int) -> None:
        self._waiting += by
        self._count(self._waiting)
