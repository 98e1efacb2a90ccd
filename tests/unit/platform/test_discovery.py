import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from fauxchange.data.memory.registry import MemoryRegistry
from fauxchange.domain.errors import Unavailable
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.discovery import Registration, advertised_host, instance_name
from fauxchange.platform.ports import ServiceInstance

NAME = "market-data-simulator"
RunJumping = Callable[[Callable[[], Awaitable[Any]]], Any]


class Registry(MemoryRegistry):
    """A registry in memory, on the event loop's time, that can be away and can be emptied."""

    def __init__(self, ttl_s: float = 90.0) -> None:
        super().__init__(wall_ns=lambda: round(asyncio.get_running_loop().time() * NS_PER_S), ttl_s=ttl_s)
        self.is_away = False
        self.heartbeats: list[float] = []

    def _reach(self) -> None:
        if self.is_away:
            raise Unavailable("connection refused")

    async def register(self, instance: ServiceInstance) -> None:
        self._reach()
        await super().register(instance)

    async def heartbeat(self, name: str, instance: str) -> bool:
        self._reach()
        self.heartbeats.append(asyncio.get_running_loop().time())
        return await super().heartbeat(name, instance)

    async def deregister(self, name: str, instance: str) -> None:
        self._reach()
        await super().deregister(name, instance)

    async def find(self, name: str) -> Sequence[ServiceInstance]:
        self._reach()
        return await super().find(name)

    def empty(self) -> None:
        self._entries.clear()


def describe() -> ServiceInstance:
    now_ns = round(asyncio.get_running_loop().time() * NS_PER_S)
    return ServiceInstance(
        name=NAME,
        instance="host:1:abc",
        version="1",
        host="127.0.0.1",
        http_port=1,
        grpc_port=2,
        registered_ns=now_ns,
        heartbeat_ns=now_ns,
    )


def registration(registry: Registry, *, interval_s: float = 30.0) -> Registration:
    chance = itertools.cycle([0.0, 0.3, 0.9])
    return Registration(describe, registry, interval_s=interval_s, chance=lambda: next(chance))


async def registered_after(registry: Registry, within_s: float = 100.0) -> float:
    """Wait until an entry is there; return how long that took."""
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    async with asyncio.timeout(within_s):
        while not await MemoryRegistry.find(registry, NAME):  # noqa: ASYNC110 - the time between two looks is not real
            await asyncio.sleep(0.05)
    return loop.time() - started_s


def test_an_entry_is_there_from_start_to_stop(run_jumping: RunJumping) -> None:
    async def main() -> None:
        registry = Registry()
        entry = registration(registry)
        await entry.start()
        between = await registry.find(NAME)
        await entry.stop()
        assert ([each.instance for each in between], await registry.find(NAME)) == (["host:1:abc"], [])

    run_jumping(main)


def test_heartbeats_come_at_most_as_seldom_as_asked_for_and_not_in_step(run_jumping: RunJumping) -> None:
    async def main() -> None:
        registry = Registry()
        entry = registration(registry)
        await entry.start()
        await asyncio.sleep(300.0)
        await entry.stop()
        gaps = [after - before for before, after in itertools.pairwise([0.0, *registry.heartbeats])]
        assert len(gaps) >= 10
        assert all(25.0 <= gap <= 30.01 for gap in gaps)
        assert len({round(gap, 3) for gap in gaps}) > 1

    run_jumping(main)


def test_an_entry_that_the_registry_has_lost_is_made_again_within_seconds(run_jumping: RunJumping) -> None:
    async def main() -> None:
        registry = Registry()
        entry = registration(registry)
        await entry.start()
        for _ in range(5):
            await asyncio.sleep(7.3)
            registry.empty()
            assert await registered_after(registry) <= 2.1
        (found,) = await registry.find(NAME)
        assert found.registered_ns == 0
        await entry.stop()

    run_jumping(main)


def test_after_an_outage_the_entry_is_back_within_seconds(run_jumping: RunJumping) -> None:
    async def main() -> None:
        registry = Registry()
        entry = registration(registry)
        await entry.start()
        registry.is_away = True
        registry.empty()
        await asyncio.sleep(47.0)
        registry.is_away = False
        assert await registered_after(registry) <= 2.1
        await entry.stop()

    run_jumping(main)


def test_a_registry_that_is_away_at_the_start_is_tried_again_and_told_of_once(run_jumping: RunJumping) -> None:
    async def main() -> None:
        registry = Registry()
        registry.is_away = True
        entry = registration(registry)
        with capture_logs() as lines:
            await entry.start()
            await asyncio.sleep(60.0)
        assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["not_registered"]
        registry.is_away = False
        assert await registered_after(registry) <= 2.1
        await entry.stop()

    run_jumping(main)


def test_a_stop_without_the_registry_is_no_failure(run_jumping: RunJumping) -> None:
    async def main() -> None:
        registry = Registry()
        entry = registration(registry)
        await entry.start()
        registry.is_away = True
        await entry.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_jumping(main)


def test_entries_of_the_dead_are_cleaned_up_by_the_living(run_jumping: RunJumping) -> None:
    async def main() -> None:
        registry = Registry(ttl_s=40.0)
        entry = registration(registry)
        await entry.start()
        dead = ServiceInstance(
            name="dead", instance="d", version="1", host="h", http_port=1, grpc_port=2, registered_ns=0, heartbeat_ns=0
        )
        await registry.register(dead)
        await asyncio.sleep(100.0)
        assert ("dead", "d") not in registry._entries
        await entry.stop()

    run_jumping(main)


def test_no_two_processes_have_one_name() -> None:
    assert instance_name() != instance_name()


def unresolvable(_name: str) -> object:
    raise OSError("no such host")


@pytest.mark.parametrize(
    ("setting", "listening", "host"),
    [
        ("fx-1.internal", "0.0.0.0", "fx-1.internal"),
        (None, "127.0.0.1", "127.0.0.1"),
        (None, "10.1.2.3", "10.1.2.3"),
        (None, "0.0.0.0", "127.0.0.1"),
        (None, "::", "127.0.0.1"),
    ],
)
def test_the_host_that_others_call_is_the_one_set_or_listened_on(
    setting: str | None, listening: str, host: str
) -> None:
    assert advertised_host(setting, listening, resolve=unresolvable) == host


def test_a_listener_on_every_address_is_told_by_the_name_of_the_machine() -> None:
    asked: list[str] = []

    host = advertised_host(None, "0.0.0.0", resolve=asked.append)

    assert asked == [host]
    assert host not in {"0.0.0.0", ""}
