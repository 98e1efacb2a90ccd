"""An alarm on the venue's clock that may be set to ring earlier."""

import asyncio
from collections.abc import Callable
from typing import Any

from fauxchange.platform.ports import Clock

Spawn = Callable[..., asyncio.Task[Any]]


class Alarm:
    """Call `ring` once at a moment of venue time, on the event loop; ringing, it may be set again.

    `ring` works as a task that the clock has woken: time stands still until it returns.
    """

    def __init__(self, clock: Clock, ring: Callable[[], None], *, name: str, priority: int) -> None:
        self._clock = clock
        self._ring = ring
        self._name = name
        self._priority = priority
        self._spawn: Spawn | None = None
        self._task: asyncio.Task[Any] | None = None
        self._due_ns = 0

    def start(self, spawn: Spawn) -> None:
        """Let alarms be set from now on; before this they are not heard."""
        self._spawn = spawn

    async def stop(self) -> None:
        """Ring no more."""
        self._spawn = None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def ring_by(self, ts_ns: int) -> None:
        """Ring at `ts_ns`, or earlier if it is set earlier already. Units: nanoseconds of venue time."""
        if self._spawn is None or (self._task is not None and self._due_ns <= ts_ns):
            return
        if self._task is not None:
            self._task.cancel()
        self._due_ns = ts_ns
        self._task = self._spawn(self._sleep(ts_ns), self._name)

    async def _sleep(self, ts_ns: int) -> None:
        await self._clock.sleep_until(ts_ns, priority=self._priority)
        self._task = None
        self._ring()
