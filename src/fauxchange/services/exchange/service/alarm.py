"""An alarm on the venue's clock that may be set to ring earlier."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from fauxchange.platform.ports import Clock


class Parent(Protocol):
    """Whoever answers for background tasks."""

    def supervise(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run a coroutine in a task of its own; its failure is not lost."""
        ...


class Alarm:
    """Call `ring` once at a moment of venue time, on the event loop; ringing, it may be set again.

    `ring` works as a task that the clock has woken: time stands still until it returns.
    """

    def __init__(self, clock: Clock, ring: Callable[[], None], *, name: str, priority: int) -> None:
        self._clock = clock
        self._ring = ring
        self._name = name
        self._priority = priority
        self._parent: Parent | None = None
        self._task: asyncio.Task[Any] | None = None
        self._due_ns = 0

    def start(self, parent: Parent) -> None:
        """Let alarms be set from now on; before this they are not heard."""
        self._parent = parent

    async def stop(self) -> None:
        """Ring no more."""
        self._parent = None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def ring_by(self, ts_ns: int) -> None:
        """Ring at `ts_ns`, or earlier if it is set earlier already. Units: nanoseconds of venue time."""
        if self._parent is None or (self._task is not None and self._due_ns <= ts_ns):
            return
        if self._task is not None:
            self._task.cancel()
        self._due_ns = ts_ns
        self._task = self._parent.supervise(self._sleep(ts_ns), self._name)

    async def _sleep(self, ts_ns: int) -> None:
        await self._clock.sleep_until(ts_ns, priority=self._priority)
        self._task = None
        self._ring()
