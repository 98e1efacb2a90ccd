"""The supervisor: order of start and stop, failures, bounds, signals."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fauxchange.domain.errors import InvariantViolation
from fauxchange.domain.times import NS_PER_MS, NS_PER_S
from fauxchange.platform.lifecycle import BackgroundComponent, Supervisor

RunJumping = Callable[[Callable[[], Awaitable[Any]]], Any]


class Part:
    """A component that writes down what happens to it and misbehaves as told."""

    def __init__(
        self,
        name: str,
        log: list[str],
        *,
        start_fails: bool = False,
        stop_fails: bool = False,
        start_hangs: bool = False,
        stop_takes_s: float = 0.0,
    ) -> None:
        self.name = name
        self.log = log
        self.start_fails, self.stop_fails = start_fails, stop_fails
        self.start_hangs, self.stop_takes_s = start_hangs, stop_takes_s

    async def start(self) -> None:
        self.log.append(f"start {self.name}")
        if self.start_fails:
            raise OSError(f"{self.name} cannot start")
        if self.start_hangs:
            await asyncio.Event().wait()

    async def stop(self) -> None:
        self.log.append(f"stop {self.name}")
        if self.stop_fails:
            raise OSError(f"{self.name} cannot stop")
        if self.stop_takes_s:
            await asyncio.sleep(self.stop_takes_s)
        self.log.append(f"stopped {self.name}")


class Stopper(Part):
    """The last part to start; asks for the stop as soon as it runs."""

    def __init__(self, supervisor: Supervisor, *, times: int = 1) -> None:
        super().__init__("stopper", [])
        self.supervisor, self.times = supervisor, times

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(self.times):
            loop.call_soon(self.supervisor.request_stop, "test")


async def run(supervisor: Supervisor) -> int:
    return await supervisor.run(handle_signals=False)


async def test_components_start_in_order_and_stop_in_reverse() -> None:
    log: list[str] = []
    supervisor = Supervisor([Part("store", log), Part("feed", log), Part("server", log)])
    supervisor.add(Stopper(supervisor))

    code = await run(supervisor)

    assert code == 0
    assert [entry for entry in log if not entry.startswith("stopped")] == [
        "start store", "start feed", "start server", "stop server", "stop feed", "stop store",
    ]  # fmt: skip


async def test_a_start_that_fails_stops_those_started_and_is_raised() -> None:
    log: list[str] = []
    parts = [Part("store", log), Part("feed", log), Part("server", log, start_fails=True), Part("never", log)]

    with pytest.raises(OSError, match="server cannot start"):
        await run(Supervisor(parts))

    assert log == [
        "start store",
        "start feed",
        "start server",
        "stop feed",
        "stopped feed",
        "stop store",
        "stopped store",
    ]


async def test_a_stop_during_a_long_start_does_not_wait_for_it() -> None:
    log: list[str] = []
    supervisor = Supervisor([Part("store", log), Part("slow", log, start_hangs=True), Part("never", log)])
    asyncio.get_running_loop().call_later(0.01, supervisor.request_stop, "test")

    code = await run(supervisor)

    assert code == 0
    assert log == ["start store", "start slow", "stop store", "stopped store"]


@pytest.mark.parametrize("failure", [InvariantViolation("books crossed"), OSError("lost")])
async def test_a_failing_background_task_stops_everything_with_exit_code_one(failure: Exception) -> None:
    log: list[str] = []

    async def fail() -> None:
        raise failure

    supervisor = Supervisor([Part("store", log)])
    supervisor.add(BackgroundComponent("feed", fail, supervisor))

    code = await run(supervisor)

    assert code == 1
    assert supervisor.failure is failure
    assert log[-1] == "stopped store"


async def test_a_background_task_that_ends_by_itself_stops_nothing() -> None:
    supervisor = Supervisor()

    async def end() -> None:
        return

    supervisor.add(BackgroundComponent("replay", end, supervisor))
    running = asyncio.create_task(run(supervisor))
    await asyncio.sleep(0.01)
    ended_early = running.done()
    supervisor.request_stop("test")

    assert (ended_early, await running) == (False, 0)


async def test_background_tasks_are_cancelled_at_the_end() -> None:
    log: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cancelled")

    supervisor = Supervisor()
    supervisor.add(BackgroundComponent("owned", forever, supervisor))
    supervisor.add(Stopper(supervisor))
    loose = supervisor.supervise(forever(), "loose")

    code = await run(supervisor)

    assert (code, log, loose.cancelled()) == (0, ["cancelled", "cancelled"], True)


class Stray(Part):
    """A part that leaves behind a callback which raises."""

    def __init__(self, stray: Exception) -> None:
        super().__init__("stray", [])
        self.stray = stray

    async def start(self) -> None:
        asyncio.get_running_loop().call_soon(self.callback)

    def callback(self) -> None:
        raise self.stray


async def test_a_bug_in_a_callback_of_the_loop_stops_everything() -> None:
    supervisor = Supervisor([Stray(InvariantViolation("a negative hold"))])

    code = await asyncio.wait_for(run(supervisor), 5)

    assert code == 1
    assert isinstance(supervisor.failure, InvariantViolation)


async def test_another_unhandled_exception_of_the_loop_is_logged_only(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor([Stray(OSError("lost"))])
    supervisor.add(Stopper(supervisor))

    code = await run(supervisor)

    assert code == 0
    assert "unhandled on the event loop" in caplog.text


async def test_a_component_that_exceeds_its_time_is_named_and_the_others_still_stop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log: list[str] = []
    parts = [Part("store", log), Part("stubborn", log, stop_takes_s=60), Part("server", log)]
    supervisor = Supervisor(parts, stop_timeout_ns=60 * NS_PER_MS)
    supervisor.add(Stopper(supervisor))

    code = await asyncio.wait_for(run(supervisor), 5)

    assert code == 1
    assert "stopped store" in log
    assert "stopped stubborn" not in log
    assert any(
        "did not stop in time" in record.getMessage() and "stubborn" in record.getMessage() for record in caplog.records
    )


def test_one_component_may_use_the_time_that_the_others_do_not_need(run_jumping: RunJumping) -> None:
    log: list[str] = []

    async def main() -> int:
        parts = [Part(name, log) for name in ("store", "feed", "clock")]
        supervisor = Supervisor([*parts, Part("server", log, stop_takes_s=6)], stop_timeout_ns=10 * NS_PER_S)
        supervisor.add(Stopper(supervisor))
        return await run(supervisor)

    code = run_jumping(main)

    assert (code, "stopped server" in log) == (0, True)


def test_every_component_has_its_share_however_long_the_others_take(run_jumping: RunJumping) -> None:
    log: list[str] = []

    async def main() -> float:
        loop = asyncio.get_running_loop()
        parts = [Part(name, log, stop_takes_s=60) for name in ("feed", "clock", "server")]
        supervisor = Supervisor([Part("store", log, stop_takes_s=0.5), *parts], stop_timeout_ns=10 * NS_PER_S)
        supervisor.add(Stopper(supervisor))
        await run(supervisor)
        return loop.time()

    taken_s = run_jumping(main)

    assert "stopped store" in log
    assert taken_s <= 10.5


async def test_a_stop_that_fails_is_a_failure_and_the_others_still_stop() -> None:
    log: list[str] = []
    supervisor = Supervisor([Part("store", log), Part("server", log, stop_fails=True)])
    supervisor.add(Stopper(supervisor))

    code = await run(supervisor)

    assert (code, log[-1]) == (1, "stopped store")


async def test_a_second_request_gives_up_the_grace() -> None:
    log: list[str] = []
    parts = [Part("store", log), Part("stubborn", log, stop_takes_s=60)]
    supervisor = Supervisor(parts, stop_timeout_ns=600 * NS_PER_S)
    supervisor.add(Stopper(supervisor, times=2))

    code = await asyncio.wait_for(run(supervisor), 5)

    assert (code, "stopped stubborn" in log) == (1, False)


async def test_cancelling_the_run_stops_the_components() -> None:
    log: list[str] = []
    running = asyncio.create_task(run(Supervisor([Part("store", log)])))
    await asyncio.sleep(0.01)

    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running

    assert log == ["start store", "stop store", "stopped store"]


PROGRAM = """
import asyncio, sys
from fauxchange.platform.lifecycle import Supervisor

class Server:
    name = "server"
    async def start(self):
        print("ready", flush=True)
    async def stop(self):
        print("flushed", flush=True)
        if len(sys.argv) > 1:
            print("stubborn", flush=True)
            await asyncio.sleep(60)

sys.exit(asyncio.run(Supervisor([Server()]).run()))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_real_signal_stops_a_real_process_gracefully(number: int) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        os.kill(process.pid, number)

        rest, _ = process.communicate(timeout=10)
    assert (rest, process.returncode) == ("flushed\n", 0)


def test_a_second_real_signal_ends_the_process_at_once() -> None:
    program = [sys.executable, "-c", PROGRAM, "stubborn"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGTERM)
        assert process.stdout.readline() == "flushed\n"
        assert process.stdout.readline() == "stubborn\n"

        os.kill(process.pid, signal.SIGTERM)

        process.communicate(timeout=5)
    assert process.returncode == 1
