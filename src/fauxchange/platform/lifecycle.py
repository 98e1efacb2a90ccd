"""A process's life: components start in order, work until told to stop, and stop in reverse within a bound.

A signal (SIGTERM, SIGINT) stops gracefully; a second one gives up the grace. A failure of a supervised task, or a
broken invariant anywhere on the loop, stops everything too, and the exit code says so.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from fauxchange.domain.errors import InvariantViolation
from fauxchange.domain.times import NS_PER_S, format_duration
from fauxchange.platform.logging import get_logger

EXIT_OK = 0
EXIT_FAILED = 1

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = get_logger(__name__)


class Component(Protocol):
    """A part of the process with a beginning and an end."""

    @property
    def name(self) -> str:
        """What logs call it."""
        ...

    async def start(self) -> None:
        """Make ready; when this returns the component does its work. Clean up before raising."""
        ...

    async def stop(self) -> None:
        """Take nothing new, finish what is under way, release everything; called once, after a start that returned."""
        ...


class Supervisor:
    """The parent of a process's components and of their background tasks.

    Units: stop_timeout_ns in nanoseconds, for all components together
    """

    def __init__(self, components: Sequence[Component] = (), *, stop_timeout_ns: int = 10 * NS_PER_S) -> None:
        self._components = list(components)
        self._stop_timeout_ns = stop_timeout_ns
        self._started: list[Component] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stop_requested = asyncio.Event()
        self._forced = asyncio.Event()
        self._failure: BaseException | None = None
        self._cut_short = False

    @property
    def failure(self) -> BaseException | None:
        """The failure that stopped the process, if one did."""
        return self._failure

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for."""
        return self._stop_requested.is_set()

    def add(self, component: Component) -> None:
        """Let `component` start after those there are, and stop before them; only before `run`."""
        self._components.append(component)

    def supervise(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run `coroutine` in a task of its own: if it fails everything stops, and at the end it is cancelled."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def request_stop(self, reason: str) -> None:
        """Begin to stop; asked a second time, give up the grace."""
        if self.stopping:
            _log.warning("stopping at once", reason=reason)
            self._forced.set()
        else:
            _log.info("stopping", reason=reason)
            self._stop_requested.set()

    def fail(self, failure: BaseException, *, where: str) -> None:
        """Stop everything because of `failure`; the exit code will tell. Only the first one counts."""
        _log.critical("failed", where=where, bug=isinstance(failure, InvariantViolation), exc_info=failure)
        if self._failure is None:
            self._failure = failure
        self._stop_requested.set()

    async def run(self, *, handle_signals: bool = True) -> int:
        """Start all components, wait until the end is asked for, stop them; return the exit code.

        Raises: what a component's start raises, after those started before it have been stopped
        """
        loop = asyncio.get_running_loop()
        earlier_handler = loop.get_exception_handler()
        loop.set_exception_handler(self._loop_failed)
        if handle_signals:
            for number in _SIGNALS:
                loop.add_signal_handler(number, self.request_stop, signal.Signals(number).name)
        try:
            try:
                await self._start_all()
                await self._stop_requested.wait()
            finally:
                self._stop_requested.set()
                await self._stop_all()
        finally:
            if handle_signals:
                for number in _SIGNALS:
                    loop.remove_signal_handler(number)
            loop.set_exception_handler(earlier_handler)
        return EXIT_FAILED if self._failure is not None or self._cut_short else EXIT_OK

    async def _start_all(self) -> None:
        for component in self._components:
            if self.stopping:
                return
            start = asyncio.ensure_future(component.start())
            try:
                # A signal during a long start (a compile, a connect) is not kept waiting for it.
                await _first_of(start, self._stop_requested)
            finally:
                start.cancel()
            await asyncio.wait({start})
            if start.cancelled():
                return
            start.result()
            self._started.append(component)
            _log.debug("started", component=component.name)

    async def _stop_all(self) -> None:
        """Stop in reverse order: half of the bound is set aside in equal shares, half is for whoever needs more."""
        loop = asyncio.get_running_loop()
        bound_s = self._stop_timeout_ns / NS_PER_S
        deadline_s = loop.time() + bound_s
        share_s = bound_s / (2 * len(self._started)) if self._started else 0.0
        while self._started:
            component = self._started.pop()
            reserved_s = share_s * len(self._started)
            await self._stop_one(component, deadline_s - reserved_s - loop.time())
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=max(share_s, deadline_s - loop.time()))
        for task in self._tasks:
            self._cut_short = True
            _log.error("task did not end", task=task.get_name())

    async def _stop_one(self, component: Component, allowed_s: float) -> None:
        stop = asyncio.ensure_future(component.stop())
        in_time = await _first_of(stop, self._forced, timeout_s=max(0.0, allowed_s))
        if not in_time:
            self._cut_short = True
            allowed = format_duration(int(max(0.0, allowed_s) * 1_000) * 1_000_000)
            _log.error("component did not stop in time", component=component.name, allowed=allowed)
            stop.cancel()
            # One that ignores cancellation is left behind: the others' time is not its to spend.
            await asyncio.wait({stop}, timeout=0.05)
        if stop.done() and not stop.cancelled() and (failure := stop.exception()) is not None:
            self.fail(failure, where=f"stop of {component.name}")
        elif in_time:
            _log.debug("stopped", component=component.name)

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self.fail(failure, where=task.get_name())

    def _loop_failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # Nobody awaited this. A bug stops the process wherever it shows; the rest is worth a line.
        failure = context.get("exception")
        if isinstance(failure, InvariantViolation):
            self.fail(failure, where=str(context.get("message", "event loop")))
        else:
            _log.error("unhandled on the event loop", message=context.get("message"), exc_info=failure)


class BackgroundComponent:
    """A component that is one long-running coroutine: begun at start, cancelled at stop."""

    def __init__(self, name: str, run: Callable[[], Coroutine[Any, Any, Any]], supervisor: Supervisor) -> None:
        self.name = name
        self._run = run
        self._supervisor = supervisor
        self._task: asyncio.Task[Any] | None = None

    async def start(self) -> None:
        """Begin the coroutine in a supervised task."""
        self._task = self._supervisor.supervise(self._run(), self.name)

    async def stop(self) -> None:
        """Cancel the coroutine and wait for its end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})


async def _first_of(task: asyncio.Future[Any], event: asyncio.Event, *, timeout_s: float | None = None) -> bool:
    """Wait for `task`, or until `event` is set or the time is over; return whether the task ended."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({task, waiting}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    return task.done()
