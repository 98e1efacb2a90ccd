"""An alarm on virtual time."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from fauxchange.platform.clock import VirtualClock
from fauxchange.services.exchange.service.alarm import Alarm


class Parent:
    def supervise(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(coroutine, name=name)


class Bell:
    """A clock, an alarm on it, and when it rang."""

    def __init__(self) -> None:
        self.clock = VirtualClock(0)
        self.rang: list[int] = []
        self.again_ns: int | None = None
        self.alarm = Alarm(self.clock, self._ring, name="bell", priority=0)

    def _ring(self) -> None:
        self.rang.append(self.clock.now_ns())
        if self.again_ns is not None:
            self.alarm.ring_by(self.again_ns)
            self.again_ns = None

    async def wait_until(self, ts_ns: int) -> None:
        await asyncio.sleep(0)
        await self.clock.run_until(ts_ns)


@pytest.fixture
async def bell() -> AsyncIterator[Bell]:
    bell = Bell()
    bell.alarm.start(Parent())
    yield bell
    await bell.alarm.stop()


async def test_it_rings_once_at_its_time(bell: Bell) -> None:
    bell.alarm.ring_by(10)

    await bell.wait_until(100)

    assert bell.rang == [10]


async def test_it_rings_at_the_earliest_of_what_was_asked(bell: Bell) -> None:
    for ts_ns in (30, 10, 20):
        bell.alarm.ring_by(ts_ns)

    await bell.wait_until(100)

    assert bell.rang == [10]


async def test_it_may_be_set_while_it_rings(bell: Bell) -> None:
    bell.again_ns = 50
    bell.alarm.ring_by(10)

    await bell.wait_until(100)

    assert bell.rang == [10, 50]


async def test_what_is_due_already_rings_at_once(bell: Bell) -> None:
    await bell.wait_until(40)
    bell.alarm.ring_by(10)

    await bell.wait_until(40)

    assert bell.rang == [40]


async def test_a_stopped_alarm_is_silent(bell: Bell) -> None:
    bell.alarm.ring_by(10)
    await bell.alarm.stop()
    bell.alarm.ring_by(20)

    await bell.wait_until(100)

    assert bell.rang == []


async def test_time_does_not_move_past_an_alarm_that_is_set_while_others_wait_for_later(bell: Bell) -> None:
    async def sets_it() -> None:
        await bell.clock.sleep_until(10)
        # As a reader of prices does, who is called back when the step has been published.
        asyncio.get_running_loop().call_soon(bell.alarm.ring_by, 20)
        asyncio.get_running_loop().call_soon(bell.alarm.ring_by, 15)
        await bell.clock.sleep_until(90)

    task = asyncio.get_running_loop().create_task(sets_it())
    await bell.wait_until(100)

    assert bell.rang == [15]
    await task


async def test_an_alarm_whose_task_is_cancelled_before_it_sleeps_holds_no_time(bell: Bell) -> None:
    begun = asyncio.all_tasks()
    bell.alarm.ring_by(10)
    [task] = asyncio.all_tasks() - begun

    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)

    assert bell.clock.outstanding == 0


async def test_an_alarm_that_is_stopped_before_it_sleeps_holds_no_time(bell: Bell) -> None:
    bell.alarm.ring_by(10)
    await bell.alarm.stop()

    assert bell.clock.outstanding == 0
