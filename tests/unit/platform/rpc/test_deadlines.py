import asyncio

import pytest

from fauxchange.platform.rpc.deadlines import answering_within, remaining_s


def test_nobody_has_said_how_long_they_wait() -> None:
    assert remaining_s(0.0) is None


def test_what_is_left_shrinks_as_time_goes() -> None:
    with answering_within(2.0, now_s=lambda: 10.0):
        assert remaining_s(10.5) == pytest.approx(1.5)
        assert remaining_s(13.0) == pytest.approx(-1.0)
    assert remaining_s(10.5) is None


def test_an_inner_deadline_never_exceeds_the_outer_one() -> None:
    with answering_within(2.0, now_s=lambda: 0.0), answering_within(5.0, now_s=lambda: 1.0):
        assert remaining_s(1.0) == pytest.approx(1.0)


def test_no_deadline_adds_none() -> None:
    with answering_within(2.0, now_s=lambda: 0.0), answering_within(None):
        assert remaining_s(0.0) == pytest.approx(2.0)


async def test_a_task_that_outlives_the_request_is_not_bound_by_it() -> None:
    over = asyncio.Event()

    async def work() -> float | None:
        await over.wait()
        return remaining_s(100.0)

    with answering_within(2.0, now_s=lambda: 0.0):
        task = asyncio.create_task(work())
    over.set()

    assert await task is None
