"""Venue time, taken from the wall or made here.

The rules of the virtual clock:

* Time advances only while no work is outstanding. A task that the clock has woken is at work until it sleeps on the
  clock again or ends; it may wait for anything in between, and time stands still. A task that was woken by something
  else holds time still with `working()`; one that was woken by the clock and waits for another sleeper lets go of it
  with `idle()`, or the two would wait for each other (so does `asyncio.wait_for` around a sleep, which Python 3.11
  runs in a task of its own: use `asyncio.timeout`).
* Sleepers wake one at a time, in (time, priority, sequence) order, the next when the work of the one before is done.
  Speed changes how long that takes and nothing else.
* Between two wakes the event loop turns, so sockets and callbacks are served even at full speed; a task made ready by
  the work just done takes its first step before time moves on.
* While it is paced and no work is outstanding, time flows: `now_ns` reads between the moments of the sleepers, and
  never past one that has not been woken.

Clocks belong to the thread of their event loop.
"""

import asyncio
import heapq
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fauxchange.domain.errors import InvalidRequest, InvariantViolation, check
from fauxchange.domain.times import NS_PER_MS, NS_PER_S, format_time
from fauxchange.platform.logging import get_logger

MAX_SPEED = math.inf
"""The speed that waits for nothing but the work itself."""

# Timers of event loops count in milliseconds, some of them rounding down: what is due within half of one is due.
_TIMER_SLACK_S = 0.000_5
_LONGEST_TIMER_S = 3600.0
# The system's clock may be set while a sleeper waits, so it is looked at again at least this often.
_LONGEST_WALL_TIMER_S = 1.0
_STANDSTILL_S = 10.0

_log = get_logger(__name__)

_Task = asyncio.Task[Any]
_Wake = asyncio.Future[None]
_Sleeper = tuple[int, int, int, _Wake, _Task]


class _Sleepers:
    """Who sleeps until when, first in (time, priority, sequence) order first; the cancelled are passed over."""

    __slots__ = ("_forgotten", "_heap", "_sequence")

    def __init__(self) -> None:
        self._heap: list[_Sleeper] = []
        self._sequence = 0
        self._forgotten = 0

    def __len__(self) -> int:
        return sum(not sleeper[3].cancelled() for sleeper in self._heap)

    def add(self, ts_ns: int, priority: int, wake: _Wake, task: _Task) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (ts_ns, priority, self._sequence, wake, task))

    def first(self) -> _Sleeper | None:
        while self._heap:
            first = self._heap[0]
            if not first[3].cancelled():
                return first
            heapq.heappop(self._heap)
        return None

    def pop(self) -> None:
        heapq.heappop(self._heap)

    def of(self, task: _Task) -> _Sleeper | None:
        return next((sleeper for sleeper in self._heap if sleeper[4] is task and not sleeper[3].done()), None)

    def take(self, sleeper: _Sleeper) -> None:
        """Take a sleeper out, wherever it is."""
        self._heap.remove(sleeper)
        heapq.heapify(self._heap)

    def forget(self) -> None:
        """Count one more cancelled sleeper; sweep when they may be many, so that far timeouts do not pile up."""
        self._forgotten += 1
        if self._forgotten > 64 and self._forgotten * 2 > len(self._heap):
            self._heap = [sleeper for sleeper in self._heap if not sleeper[3].cancelled()]
            heapq.heapify(self._heap)
            self._forgotten = 0


def _current_task() -> _Task:
    task = asyncio.current_task()
    if task is None:
        raise InvariantViolation("only a task can sleep on a clock")
    return task


class WallClock:
    """The time of the system, which never goes back: while the system's clock is set back, it stands still."""

    def __init__(self) -> None:
        self._now_ns = 0
        self._sleepers = _Sleepers()
        self._timer: asyncio.Handle | None = None

    def now_ns(self) -> int:
        """Return the system's time in nanoseconds since 1970."""
        self._now_ns = max(self._now_ns, time.time_ns())
        return self._now_ns

    async def sleep_until(self, ts_ns: int, *, priority: int = 0) -> None:
        """Wait until the system's time is at least `ts_ns`; the event loop turns once even if it is already."""
        wake: _Wake = asyncio.get_running_loop().create_future()
        self._sleepers.add(max(ts_ns, self.now_ns()), priority, wake, _current_task())
        self._arm()
        try:
            await wake
        except asyncio.CancelledError:
            if wake.cancelled():
                self._sleepers.forget()
            raise

    def rouse(self, task: _Task) -> None:
        """Wake a task that sleeps, before its time; nothing happens if it does not."""
        sleeper = self._sleepers.of(task)
        if sleeper is not None:
            self._sleepers.take(sleeper)
            sleeper[3].set_result(None)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Change nothing: the system's time waits for nobody."""
        yield

    def hold(self) -> None:
        """Change nothing: the system's time waits for nobody."""

    def release(self) -> None:
        """Change nothing: the system's time waits for nobody."""

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Change nothing: the system's time waits for nobody."""
        yield

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        first = self._sleepers.first()
        if first is None:
            return
        # Rounded up: a timer that comes early by a fraction of a millisecond would only be set again.
        delay_ms = -((self.now_ns() - first[0]) // NS_PER_MS)
        loop = asyncio.get_running_loop()
        if delay_ms <= 0:
            self._timer = loop.call_soon(self._wake_due)
        else:
            self._timer = loop.call_later(min(delay_ms / 1000, _LONGEST_WALL_TIMER_S), self._wake_due)

    def _wake_due(self) -> None:
        self._timer = None
        now_ns = self.now_ns()
        while (first := self._sleepers.first()) is not None and first[0] <= now_ns:
            self._sleepers.pop()
            first[3].set_result(None)
        self._arm()


class VirtualClock:
    """Time that can be paused, stepped, run ahead and run at any speed; it moves only while someone drives it.

    Units: start_ns in nanoseconds since 1970; speed in venue seconds per wall second, `MAX_SPEED` (or None) for as
           fast as the work allows
    """

    def __init__(self, start_ns: int, speed: float | None = 1.0) -> None:
        self._now_ns = start_ns
        self._speed = _checked_speed(speed)
        self._paused = False
        self._driven = False
        self._sleepers = _Sleepers()
        self._jumps: list[tuple[int, int, _Wake]] = []
        self._jump_sequence = 0
        # Tasks that the clock has woken and that are still at work, and those holding `working()`, by count.
        self._woken: set[_Task] = set()
        self._holders: Counter[_Task | None] = Counter()
        self._holds = 0
        self._watched: set[_Task] = set()
        self._wakes = 0
        # The last moment at which venue time and the loop's time were laid side by side.
        self._base_ns = start_ns
        self._base_s = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def speed(self) -> float:
        """Venue seconds per wall second."""
        return self._speed

    @property
    def paused(self) -> bool:
        """Whether time stands still until `resume`."""
        return self._paused

    @property
    def outstanding(self) -> int:
        """How many pieces of work hold time still."""
        return len(self._woken) + self._holds

    @property
    def sleeping(self) -> int:
        """How many tasks sleep on the clock."""
        return len(self._sleepers)

    def now_ns(self) -> int:
        """Return venue time in nanoseconds since 1970."""
        if self._driven and self._loop is not None and self._flows():
            flowed_ns = self._paced_ns(self._loop)
            first = self._sleepers.first()
            if first is not None and first[0] < flowed_ns:
                flowed_ns = first[0]
            self._now_ns = max(self._now_ns, flowed_ns)
        return self._now_ns

    async def sleep_until(self, ts_ns: int, *, priority: int = 0) -> None:
        """Wait until venue time is at least `ts_ns`, in turn with all who sleep until then.

        Raises: InvariantViolation if the task holds `working()`: it would wait for itself
        """
        task = _current_task()
        check(task not in self._holders, "a task that holds working() cannot sleep on the clock")
        self._loop = asyncio.get_running_loop()
        if task not in self._watched:
            self._watched.add(task)
            task.add_done_callback(self._task_done)
        wake: _Wake = self._loop.create_future()
        self._sleepers.add(max(ts_ns, self._now_ns), priority, wake, task)
        self._woken.discard(task)
        self._schedule()
        try:
            await wake
        except asyncio.CancelledError:
            if wake.cancelled():
                self._sleepers.forget()
            raise

    def rouse(self, task: _Task) -> None:
        """Wake a task that sleeps, before its time; nothing happens if it does not."""
        sleeper = self._sleepers.of(task)
        if sleeper is not None:
            self.now_ns()
            self._sleepers.take(sleeper)
            self._woken.add(task)
            self._wakes += 1
            sleeper[3].set_result(None)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold venue time still while the block runs."""
        holder = asyncio.current_task()
        self._holds += 1
        self._holders[holder] += 1
        try:
            yield
        finally:
            self._holds -= 1
            self._holders[holder] -= 1
            if not self._holders[holder]:
                del self._holders[holder]
            self._schedule()

    def hold(self) -> None:
        """Hold venue time still until as many `release` calls; no task is noted as the holder."""
        self._holds += 1

    def release(self) -> None:
        """End one `hold`. Raises: InvariantViolation if there is none."""
        check(self._holds > 0, "a clock is released as often as it was held")
        self._holds -= 1
        self._schedule()

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Let venue time go on while the block waits, although the clock has woken this task."""
        task = asyncio.current_task()
        check(task not in self._holders, "a task that holds working() is not idle")
        if task is None or task not in self._woken:
            yield
            return
        self._woken.discard(task)
        self._schedule()
        try:
            yield
        finally:
            self._woken.add(task)

    def pause(self) -> None:
        """Stop time where it is; who is at work finishes, nobody is woken."""
        self.now_ns()
        self._paused = True
        self._disarm()

    def resume(self) -> None:
        """Let time go on from where it was paused."""
        self._paused = False
        self._rebase()

    def set_speed(self, speed: float | None) -> None:
        """Go on at another speed from now.

        Raises: InvalidRequest unless the speed is a positive number
        """
        checked = _checked_speed(speed)
        self.now_ns()
        self._speed = checked
        self._rebase()

    async def step(self, duration_ns: int) -> None:
        """Run ahead by `duration_ns`, then stay paused or go on at the present speed."""
        await self.run_until(self.now_ns() + duration_ns)

    async def run_until(self, ts_ns: int) -> None:
        """Run as fast as the work allows until `ts_ns`, paused or not, and return when all due by then is done.

        The caller stands outside the simulation: its own work does not hold time still.

        Raises: InvalidRequest if `ts_ns` has passed
        """
        now_ns = self.now_ns()
        if ts_ns < now_ns:
            raise InvalidRequest(
                f"venue time is {format_time(now_ns)} and does not run back to {format_time(ts_ns)}",
                code="time_passed",
                field="until",
            )
        self._loop = asyncio.get_running_loop()
        arrived: _Wake = self._loop.create_future()
        self._jump_sequence += 1
        heapq.heappush(self._jumps, (ts_ns, self._jump_sequence, arrived))
        task = asyncio.current_task()
        if task is not None:
            self._woken.discard(task)
        self._schedule()
        await arrived

    async def drive(self) -> None:
        """Let time pass at the clock's speed until cancelled; start it when everybody is at their place."""
        check(not self._driven, "a clock is driven once")
        self._loop = asyncio.get_running_loop()
        self._driven = True
        self._rebase()
        try:
            await self._watch_for_standstill()
        finally:
            self.now_ns()
            self._driven = False
            self._disarm()

    async def _watch_for_standstill(self) -> None:
        """Say who holds time still when nothing has moved for a while: most likely a missing `idle()`."""
        wakes = -1
        while True:
            await asyncio.sleep(_STANDSTILL_S)
            if self.outstanding and self._wakes == wakes:
                names = sorted(task.get_name() for task in (*self._woken, *self._holders) if task is not None)
                _log.warning("venue time stands still", at_work=names, now=format_time(self._now_ns))
            wakes = self._wakes

    def _flows(self) -> bool:
        return not (self._paused or self._jumps or self._woken or self._holds or self._speed == MAX_SPEED)

    def _paced_ns(self, loop: asyncio.AbstractEventLoop) -> int:
        return self._base_ns + int((loop.time() - self._base_s) * self._speed * NS_PER_S)

    def _rebase(self) -> None:
        self._base_ns = self._now_ns
        if self._loop is not None:
            self._base_s = self._loop.time()
            self._schedule()

    def _schedule(self) -> None:
        # One turn of the loop later, so that tasks made ready by the work just done come first.
        if self._scheduled or self._woken or self._holds or self._loop is None:
            return
        self._scheduled = True
        self._loop.call_soon(self._advance)

    def _advance(self) -> None:
        """Wake the next sleeper if its moment has come; if not, look again when it has."""
        self._scheduled = False
        if self._woken or self._holds:
            return
        while self._jumps and self._jumps[0][2].cancelled():
            heapq.heappop(self._jumps)
        first = self._sleepers.first()
        if self._jumps:
            ts_ns, _, arrived = self._jumps[0]
            if first is not None and first[0] <= ts_ns:
                self._wake(first)
                return
            heapq.heappop(self._jumps)
            self._now_ns = max(self._now_ns, ts_ns)
            arrived.set_result(None)
            self._rebase()
        elif first is not None and self._driven and not self._paused:
            wait_s = self._wait_s(first[0])
            if wait_s <= _TIMER_SLACK_S:
                self._wake(first)
            else:
                self._arm(wait_s)

    def _wait_s(self, ts_ns: int) -> float:
        if self._speed == MAX_SPEED or self._loop is None:
            return 0.0
        return (ts_ns - self._base_ns) / (NS_PER_S * self._speed) - (self._loop.time() - self._base_s)

    def _wake(self, sleeper: _Sleeper) -> None:
        self._sleepers.pop()
        ts_ns, _, _, wake, task = sleeper
        self._now_ns = max(self._now_ns, ts_ns)
        self._woken.add(task)
        self._wakes += 1
        wake.set_result(None)

    def _arm(self, wait_s: float) -> None:
        self._disarm()
        if self._loop is not None:
            self._timer = self._loop.call_later(min(wait_s, _LONGEST_TIMER_S), self._advance)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _task_done(self, task: _Task) -> None:
        self._watched.discard(task)
        self._woken.discard(task)
        self._schedule()


def _checked_speed(speed: float | None) -> float:
    if speed is None:
        return MAX_SPEED
    if not speed > 0:
        raise InvalidRequest(f"speed {speed} is not a positive number", code="out_of_range", field="speed")
    return float(speed)
