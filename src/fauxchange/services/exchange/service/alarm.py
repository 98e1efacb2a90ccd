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

    `ring` works as a task that the clock has woken: time stands still until it returns. It also stands still until an
    alarm that was set has gone to sleep, or time could move past its moment meanwhile.
    """

    def __init__(self, clock: Clock, ring: Callable[[], None], *, name: str, priority: int) -> None:
        self._clock = clock
        self._ring = ring
        self._name = name
        self._priority = priority
        self._parent: Parent | None = None
        self._task: asyncio.Task[Any] | None = None
        self._due_ns = 0
        self._is_held = False

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
        self._let_go()

    def ring_by(self, ts_ns: int) -> None:
        """Ring at `ts_ns`, or earlier if it is set earlier already. Units: nanoseconds of venue time."""
        if self._parent is None or (self._task is not None and self._due_ns <= ts_ns):
            return
        if self._task is not None:
            self._task.cancel()
        if not self._is_held:
            self._is_held = True
            self._clock.hold()
        self._due_ns = ts_ns
        self._task = self._parent.supervise(self._sleep(ts_ns), self._name)
        self._task.add_done_callback(self._ended)

    def _let_go(self) -> None:
        if self._is_held:
            self._is_held = False
            self._clock.release()

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        # Who was cancelled before the first turn never came to let time go.
        if task is self._task:
            self._let_go()

    async def _sleep(self, ts_ns: int) -> None:
        # Time is looked at a turn of the loop later, when this is asleep.
        self._let_go()
        await self._clock.sleep_until(ts_ns, priority=self._priority)
        self._task = None
        self._ring()
