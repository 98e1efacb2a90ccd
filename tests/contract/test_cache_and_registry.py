"""What every cache and every registry promises."""

from typing import Any

import pytest

from fauxchange.data.ports import DataAdapter
from fauxchange.domain.errors import InvalidRequest
from fauxchange.platform.ports import CacheStatistics, ServiceInstance

START_NS = 1_700_000_000_000_000_000


def instance(name: str = "market-data-simulator", number: str = "a", **more: Any) -> ServiceInstance:
    values = {"registered_ns": START_NS, "heartbeat_ns": START_NS, "metadata": {"zone": "1"}, **more}
    return ServiceInstance(
        name=name, instance=number, version="0.1", host="127.0.0.1", http_port=8083, grpc_port=9093, **values
    )


async def test_value_lives_for_its_time_and_no_longer(adapter: DataAdapter, wall: Any) -> None:
    await adapter.cache.set("short", b"\x00\xff", ttl_s=0.5)
    await adapter.cache.set("default", b"")

    wall.advance(0.4)
    assert await adapter.cache.get("short") == b"\x00\xff"
    wall.advance(0.1)
    assert await adapter.cache.get("short") is None
    wall.advance(299.4)
    assert await adapter.cache.get("default") == b""
    wall.advance(0.2)
    assert await adapter.cache.get("default") is None


async def test_setting_a_value_again_starts_its_time_anew(adapter: DataAdapter, wall: Any) -> None:
    await adapter.cache.set("key", b"1", ttl_s=10)
    wall.advance(9)

    await adapter.cache.set("key", b"2", ttl_s=10)
    wall.advance(9)

    assert await adapter.cache.get("key") == b"2"


@pytest.mark.parametrize("ttl_s", [0.0, -1.0])
async def test_time_to_live_is_positive(adapter: DataAdapter, ttl_s: float) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await adapter.cache.set("key", b"1", ttl_s=ttl_s)

    assert refused.value.field == "ttl_s"


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("*", ["a", "a*b", "a.b", "a[1]", "a\nb", "ab", "a\\b"]),
        ("a?b", ["a*b", "a.b", "a\nb", "a\\b"]),
        ("a.b", ["a.b"]),
        ("a[1]", ["a[1]"]),
        ("a\\b", ["a\\b"]),
        ("*b", ["a*b", "a.b", "a\nb", "ab", "a\\b"]),
        ("?", ["a"]),
        ("A", []),
        ("market_data:*", []),
    ],
)
async def test_pattern_chooses_whole_keys(adapter: DataAdapter, pattern: str, wanted: list[str]) -> None:
    for key in ("a", "ab", "a.b", "a*b", "a[1]", "a\\b", "a\nb"):
        await adapter.cache.set(key, b"1")

    found = await adapter.cache.keys(pattern)

    assert list(found) == sorted(wanted)
    assert await adapter.cache.delete(pattern) == len(wanted)
    assert (await adapter.cache.statistics()).keys == 7 - len(wanted)


async def test_dead_keys_are_neither_listed_nor_counted_as_deleted(adapter: DataAdapter, wall: Any) -> None:
    await adapter.cache.set("dead", b"1", ttl_s=1)
    await adapter.cache.set("live", b"1", ttl_s=5)
    wall.advance(2)

    assert list(await adapter.cache.keys()) == ["live"]
    assert await adapter.cache.delete("*") == 1


async def test_statistics_count_hits_misses_and_live_keys(adapter: DataAdapter, wall: Any) -> None:
    await adapter.cache.set("a", b"1")
    await adapter.cache.set("b", b"1", ttl_s=1)
    for key in ("a", "a", "b", "c"):
        await adapter.cache.get(key)
    wall.advance(1)
    await adapter.cache.get("b")

    assert await adapter.cache.statistics() == CacheStatistics(hits=3, misses=2, keys=1)


async def test_instances_are_found_by_name_sorted_by_instance(adapter: DataAdapter) -> None:
    for entry in (instance(number="b"), instance(), instance("exchange-simulator", "z")):
        await adapter.discovery.register(entry)

    found = await adapter.discovery.find("market-data-simulator")

    assert list(found) == [instance(), instance(number="b")]
    assert [entry.name for entry in await adapter.discovery.all()] == [
        "exchange-simulator",
        "market-data-simulator",
        "market-data-simulator",
    ]
    assert list(await adapter.discovery.find("custodian-simulator")) == []


async def test_registering_again_replaces_the_entry(adapter: DataAdapter) -> None:
    await adapter.discovery.register(instance())

    await adapter.discovery.register(instance(metadata={"zone": "2"}))

    assert [entry.metadata for entry in await adapter.discovery.all()] == [{"zone": "2"}]


async def test_entry_without_heartbeat_is_gone_after_its_time(adapter: DataAdapter, wall: Any) -> None:
    await adapter.discovery.register(instance())
    wall.advance(89)
    assert len(await adapter.discovery.find("market-data-simulator")) == 1

    wall.advance(2)

    assert list(await adapter.discovery.find("market-data-simulator")) == []
    assert list(await adapter.discovery.all()) == []
    assert await adapter.discovery.heartbeat("market-data-simulator", "a") is False


async def test_heartbeat_keeps_the_entry(adapter: DataAdapter, wall: Any) -> None:
    await adapter.discovery.register(instance())

    for _ in range(4):
        wall.advance(60)
        assert await adapter.discovery.heartbeat("market-data-simulator", "a") is True

    (entry,) = await adapter.discovery.all()
    assert entry == instance(heartbeat_ns=wall.now_ns)


async def test_heartbeat_of_an_unknown_entry_says_so(adapter: DataAdapter) -> None:
    assert await adapter.discovery.heartbeat("market-data-simulator", "a") is False


async def test_deregistered_entry_is_gone_and_may_be_deregistered_again(adapter: DataAdapter) -> None:
    await adapter.discovery.register(instance())

    await adapter.discovery.deregister("market-data-simulator", "a")
    await adapter.discovery.deregister("market-data-simulator", "a")

    assert list(await adapter.discovery.all()) == []


async def test_clean_up_removes_the_stale_and_counts_them(adapter: DataAdapter, wall: Any) -> None:
    await adapter.discovery.register(instance(number="a"))
    await adapter.discovery.register(instance(number="b"))
    wall.advance(60)
    await adapter.discovery.heartbeat("market-data-simulator", "b")
    wall.advance(60)

    assert await adapter.discovery.clean_up() == 1
    assert await adapter.discovery.clean_up() == 0
    assert [entry.instance for entry in await adapter.discovery.all()] == ["b"]
