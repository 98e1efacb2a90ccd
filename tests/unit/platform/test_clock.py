"""The clocks: order of wakes, standstill while work is outstanding, pace, and the wall."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.domain.errors import InvalidRequest, InvariantViolation
from fauxchange.domain.times import NS_PER_MS, NS_PER_S
from fauxchange.platform.clock import MAX_SPEED, VirtualClock, WallClock

RunJumping = Callable[[Callable[[], Awaitable[Any]]], Any]


async def driven(clock: VirtualClock, work: Awaitable[Any]) -> Any:
    driver = asyncio.create_task(clock.drive())
    try:
        return await work
    finally:
        driver.cancel()
        await asyncio.wait({driver})


schedules = st.lists(st.tuples(st.integers(0, 6), st.integers(-2, 2)), min_size=1, max_size=30)


@given(schedules)
def test_sleepers_wake_in_order_of_time_priority_and_sequence(schedule: list[tuple[int, int]]) -> None:
    async def main() -> list[tuple[int, int, int, int]]:
        clock, woken = VirtualClock(0), []

        async def sleeper(ts_ns: int, priority: int, sequence: int) -> None:
            await clock.sleep_until(ts_ns, priority=priority)
            woken.append((ts_ns, priority, sequence, clock.now_ns()))

        async with asyncio.TaskGroup() as tasks:
            for sequence, (ts_ns, priority) in enumerate(schedule):
                tasks.create_task(sleeper(ts_ns, priority, sequence))
            await clock.run_until(10)
        return woken

    woken = asyncio.run(main())

    assert [entry[:3] for entry in woken] == sorted((ts, pri, i) for i, (ts, pri) in enumerate(schedule))
    assert all(ts_ns == now_ns for ts_ns, _, _, now_ns in woken)


def events_at_speed(run_jumping: RunJumping, speed: float | None, seed: int) -> list[tuple[int, int]]:
    async def main() -> list[tuple[int, int]]:
        clock, events = VirtualClock(0, speed), []

        async def walker(name: int) -> None:
            chance = random.Random(f"{seed}/{name}")
            ts_ns = 0
            for _ in range(20):
                ts_ns += chance.randrange(1, 5) * NS_PER_MS * 100
                await clock.sleep_until(ts_ns, priority=name % 2)
                # Some work is slow; time must not run on while it lasts.
                for _ in range(chance.randrange(3)):
                    await asyncio.sleep(0.01)
                events.append((clock.now_ns(), name))

        walkers = asyncio.gather(*(walker(name) for name in range(4)))
        await driven(clock, walkers)
        return events

    return run_jumping(main)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_events_are_the_same_at_every_speed(run_jumping: RunJumping, seed: int) -> None:
    as_fast_as_possible = events_at_speed(run_jumping, None, seed)

    paced = [events_at_speed(run_jumping, speed, seed) for speed in (0.5, 1.0, 1_000.0)]

    assert len(as_fast_as_possible) == 80
    assert paced == [as_fast_as_possible] * 3


async def test_the_next_sleeper_waits_until_the_work_of_the_one_before_is_done() -> None:
    clock, log, gate = VirtualClock(0), [], asyncio.Event()

    async def slow() -> None:
        await clock.sleep_until(5)
        await gate.wait()
        log.append(("slow", clock.now_ns()))
        await clock.sleep_until(9)
        log.append(("slow again", clock.now_ns()))

    async def quick() -> None:
        await clock.sleep_until(5)
        log.append(("quick", clock.now_ns()))

    tasks = [asyncio.create_task(slow()), asyncio.create_task(quick())]
    run = asyncio.create_task(clock.run_until(20))
    for _ in range(10):
        await asyncio.sleep(0)
    before = (list(log), clock.now_ns(), clock.outstanding)
    gate.set()
    await run
    await asyncio.gather(*tasks)

    assert before == ([], 5, 1)
    assert log == [("slow", 5), ("quick", 5), ("slow again", 9)]
    assert clock.now_ns() == 20


async def test_working_holds_time_still() -> None:
    clock = VirtualClock(0)

    with clock.working():
        run = asyncio.create_task(clock.run_until(10))
        for _ in range(5):
            await asyncio.sleep(0)
        held = (run.done(), clock.now_ns())
    await run

    assert held == (False, 0)
    assert clock.now_ns() == 10


async def test_idle_lets_time_go_on_while_a_woken_task_waits_for_another_sleeper() -> None:
    clock, moments = VirtualClock(0), []

    async def parent() -> None:
        await clock.sleep_until(5)
        child = asyncio.create_task(clock.sleep_until(8))
        with clock.idle():
            await child
        moments.append(clock.now_ns())

    task = asyncio.create_task(parent())
    await clock.run_until(10)
    await task

    assert moments == [8]


async def test_sleeping_while_holding_working_is_a_bug() -> None:
    clock = VirtualClock(0)

    with pytest.raises(InvariantViolation, match="working"), clock.working():
        await clock.sleep_until(1)


async def test_a_cancelled_sleeper_is_passed_over() -> None:
    clock, woken = VirtualClock(0), []

    async def sleeper(ts_ns: int) -> None:
        await clock.sleep_until(ts_ns)
        woken.append(ts_ns)

    first, second = (asyncio.create_task(sleeper(ts_ns)) for ts_ns in (3, 4))
    await asyncio.sleep(0)
    first.cancel()
    await clock.run_until(10)
    await asyncio.wait({first, second})

    assert (woken, first.cancelled(), clock.outstanding, clock.sleeping) == ([4], True, 0, 0)


async def test_a_sleeper_cancelled_in_the_moment_of_its_wake_does_not_hold_time() -> None:
    clock = VirtualClock(0)

    async def canceller(victim: "asyncio.Task[None]") -> None:
        await clock.sleep_until(3, priority=-1)
        victim.cancel()

    victim = asyncio.create_task(clock.sleep_until(3))
    task = asyncio.create_task(canceller(victim))
    await clock.run_until(10)
    await asyncio.wait({victim, task})

    assert victim.cancelled()
    assert clock.outstanding == 0


@pytest.mark.parametrize("clock", [VirtualClock(0), WallClock()], ids=["virtual", "wall"])
async def test_many_cancelled_timeouts_leave_nothing_behind(clock: VirtualClock | WallClock) -> None:
    nearer = asyncio.create_task(clock.sleep_until(2**61))

    for _ in range(500):
        far = asyncio.create_task(clock.sleep_until(2**62))
        await asyncio.sleep(0)
        far.cancel()
        await asyncio.wait({far})

    assert len(clock._sleepers) == 1
    assert len(clock._sleepers._heap) < 200
    nearer.cancel()


async def test_callbacks_run_between_two_wakes_at_full_speed() -> None:
    clock, turns = VirtualClock(0, None), 0
    done = asyncio.Event()

    async def feed() -> None:
        for ts_ns in range(1, 101):
            await clock.sleep_until(ts_ns)
        done.set()

    async def server() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    await driven(clock, asyncio.gather(feed(), server()))

    assert turns >= 100


async def test_a_moment_that_has_passed_still_takes_its_turn() -> None:
    clock, log = VirtualClock(100), []

    async def sleeper(name: str, ts_ns: int, priority: int) -> None:
        await clock.sleep_until(ts_ns, priority=priority)
        log.append((name, clock.now_ns()))

    # Both are due now, and what is due at one moment goes by priority.
    tasks = [asyncio.create_task(sleeper("late", 50, 1)), asyncio.create_task(sleeper("early", 60, 0))]
    await clock.step(0)
    await asyncio.gather(*tasks)

    assert log == [("early", 100), ("late", 100)]


async def test_time_does_not_run_back() -> None:
    clock = VirtualClock(100)

    with pytest.raises(InvalidRequest, match="does not run back") as refused:
        await clock.run_until(99)

    assert refused.value.code == "time_passed"


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
def test_a_speed_that_is_not_positive_is_refused(speed: float) -> None:
    with pytest.raises(InvalidRequest, match="positive"):
        VirtualClock(0, speed)


def test_a_paced_clock_takes_as_long_as_its_speed_says(run_jumping: RunJumping) -> None:
    async def main() -> tuple[float, float]:
        clock, loop = VirtualClock(0, 10.0), asyncio.get_running_loop()

        async def sleeper() -> tuple[float, float]:
            await clock.sleep_until(20 * NS_PER_S)
            at_ten = loop.time()
            clock.set_speed(2.0)
            await clock.sleep_until(26 * NS_PER_S)
            return at_ten, loop.time() - at_ten

        return await driven(clock, sleeper())

    assert run_jumping(main) == pytest.approx((2.0, 3.0), abs=0.002)


def test_paced_time_flows_between_sleepers_and_never_past_one(run_jumping: RunJumping) -> None:
    async def main() -> list[int]:
        clock, readings = VirtualClock(0, 1.0), []

        async def sleeper() -> None:
            await clock.sleep_until(2 * NS_PER_S)
            # At work: time stands still however long this takes.
            await asyncio.sleep(1.0)
            readings.append(clock.now_ns())

        async def reader() -> None:
            await asyncio.sleep(1.25)
            readings.append(clock.now_ns())
            await task

        task = asyncio.create_task(sleeper())
        await driven(clock, reader())
        return readings

    assert run_jumping(main) == [1_250_000_000, 2_000_000_000]


def test_time_flows_on_after_a_run_ahead_was_given_up(run_jumping: RunJumping) -> None:
    async def main() -> int:
        clock = VirtualClock(0, 1.0)

        async def operator() -> int:
            await asyncio.sleep(1)
            with clock.working():
                ahead = asyncio.create_task(clock.run_until(100 * NS_PER_S))
                await asyncio.sleep(1)
                ahead.cancel()
            await asyncio.wait({ahead})
            await asyncio.sleep(2)
            return clock.now_ns()

        return await driven(clock, operator())

    assert run_jumping(main) == 4 * NS_PER_S


def test_time_waits_for_a_sleeper_that_is_due_while_the_loop_is_late(run_jumping: RunJumping) -> None:
    async def main() -> list[int]:
        clock, loop = VirtualClock(0, 1.0), asyncio.get_running_loop()

        async def reader() -> list[int]:
            await asyncio.sleep(0.5)
            # The loop is held up for a minute: nobody could be woken.
            loop.jumped_s += 60
            late = clock.now_ns()
            await task
            return [late, clock.now_ns()]

        task = asyncio.create_task(clock.sleep_until(NS_PER_S))
        return await driven(clock, reader())

    assert run_jumping(main)[0] == NS_PER_S


def test_a_paused_clock_stands_still_and_can_be_stepped(run_jumping: RunJumping) -> None:
    async def main() -> list[int]:
        clock, readings = VirtualClock(0, 1.0), []
        ticks: list[int] = []

        async def ticker() -> None:
            for second in range(1, 100):
                await clock.sleep_until(second * NS_PER_S)
                ticks.append(second)

        async def operator() -> None:
            await asyncio.sleep(2.5)
            clock.pause()
            await asyncio.sleep(60)
            readings.extend((clock.now_ns(), len(ticks)))
            await clock.step(3 * NS_PER_S)
            await asyncio.sleep(60)
            readings.extend((clock.now_ns(), len(ticks)))
            clock.resume()
            await asyncio.sleep(1)
            readings.extend((clock.now_ns(), len(ticks)))
            clock.set_speed(MAX_SPEED)
            await clock.run_until(50 * NS_PER_S)
            readings.append(len(ticks) >= 50)

        task = asyncio.create_task(ticker())
        await driven(clock, operator())
        task.cancel()
        return readings

    assert run_jumping(main) == [2_500_000_000, 2, 5_500_000_000, 5, 6_500_000_000, 6, True]


def test_time_that_stands_still_too_long_is_reported(run_jumping: RunJumping, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        clock = VirtualClock(0, None)

        async def stuck() -> None:
            await clock.sleep_until(1)
            await asyncio.sleep(35)

        await driven(clock, asyncio.create_task(stuck(), name="the stuck one"))

    run_jumping(main)

    assert any(
        "stands still" in record.getMessage() and "the stuck one" in record.getMessage() for record in caplog.records
    )


async def test_the_wall_clock_wakes_in_order_and_not_too_early() -> None:
    clock, woken = WallClock(), []
    due_ns = clock.now_ns() + 3 * NS_PER_MS

    async def sleeper(name: str, priority: int) -> None:
        await clock.sleep_until(due_ns, priority=priority)
        woken.append((name, clock.now_ns() >= due_ns))

    with clock.working(), clock.idle():
        await asyncio.gather(sleeper("third", 1), sleeper("first", 0), sleeper("second", 0))

    assert woken == [("first", True), ("second", True), ("third", True)]


async def test_a_wall_clock_sleeper_that_is_late_lets_others_run_first() -> None:
    clock, log = WallClock(), []
    asyncio.get_running_loop().call_soon(log.append, "callback")

    await clock.sleep_until(0)

    log.append("woken")
    assert log == ["callback", "woken"]


def test_the_wall_clock_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10, 7, 12])
    monkeypatch.setattr("fauxchange.platform.clock.time.time_ns", lambda: next(times))
    clock = WallClock()

    readings = [clock.now_ns() for _ in range(3)]

    assert readings == [10, 10, 12]


# Rousing


@pytest.mark.parametrize("make", [lambda: VirtualClock(0), WallClock], ids=["virtual", "wall"])
def test_a_sleeper_that_is_roused_wakes_before_its_time_and_can_sleep_again(
    make: Callable[[], VirtualClock | WallClock],
) -> None:
    async def main() -> list[str]:
        clock, told = make(), []
        begun_ns = clock.now_ns()

        async def sleeper() -> None:
            await clock.sleep_until(begun_ns + 3600 * NS_PER_S)
            told.append("early" if clock.now_ns() < begun_ns + 60 * NS_PER_S else "late")
            await clock.sleep_until(begun_ns)
            told.append("again")

        task = asyncio.create_task(sleeper())
        await asyncio.sleep(0)
        clock.rouse(task)
        clock.rouse(task)
        if isinstance(clock, VirtualClock):
            await clock.run_until(begun_ns + NS_PER_S)
        await task
        clock.rouse(task)
        return told

    assert asyncio.run(main()) == ["early", "again"]


def test_virtual_time_stands_still_while_who_was_roused_is_at_work() -> None:
    async def main() -> list[int]:
        clock, seen = VirtualClock(0), []

        async def sleeper() -> None:
            await clock.sleep_until(10)
            await asyncio.sleep(0)
            seen.append(clock.now_ns())

        async def other() -> None:
            await clock.sleep_until(5)
            seen.append(-clock.now_ns())

        tasks = [asyncio.create_task(sleeper()), asyncio.create_task(other())]
        await asyncio.sleep(0)
        clock.rouse(tasks[0])
        await clock.run_until(20)
        await asyncio.gather(*tasks)
        return seen

    assert asyncio.run(main()) == [0, -5]


def test_rousing_somebody_who_does_not_sleep_leaves_the_others_asleep() -> None:
    async def main() -> list[bool]:
        clock = VirtualClock(0)
        tasks = [asyncio.create_task(clock.sleep_until(ts_ns)) for ts_ns in (3, 1, 2)]
        await asyncio.sleep(0)
        clock.rouse(asyncio.current_task())  # type: ignore[arg-type]  # a task runs this
        clock.rouse(tasks[0])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await clock.run_until(1)
        done = [task.done() for task in tasks]
        await clock.run_until(3)
        await asyncio.gather(*tasks)
        return done

    assert asyncio.run(main()) == [True, True, False]
