"""What every store of configuration promises."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from fauxchange.data.ports import ConfigurationQuery, DataAdapter
from fauxchange.domain.configuration import ConfigurationChange
from fauxchange.domain.errors import Conflict, InvalidRequest

OpenAgain = Callable[[], Awaitable[DataAdapter]]


def change(version: int, key: str = "interval", value: Any = 1, **other: Any) -> ConfigurationChange:
    given: dict[str, Any] = {
        "version": version,
        "service": "market-data",
        "environment": "development",
        "key": key,
        "type": "json",
        "content": {"value": value},
        "ts_ns": 1_700_000_000_000_000_000 + version,
        "actor": "admin",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "comment": "ß, “why”",
    }
    return ConfigurationChange(**{**given, **other})


def deletion(version: int, key: str = "interval") -> ConfigurationChange:
    return replace(change(version, key), content={})


async def versions(adapter: DataAdapter, **query: Any) -> list[int]:
    given: dict[str, Any] = {"service": "market-data", "environment": "development", "limit": 1_000}
    page = await adapter.configuration.history(ConfigurationQuery(**{**given, **query}))
    return [each.version for each in page.items]


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -(2**63), 2**63 - 1, 0.1, -0.0, 1e300, "", "20", "ß “\\\"'\n", [], ["a", 1, False], {"b": [None]}],
)  # fmt: skip
async def test_changes_come_back_as_they_went_in(adapter: DataAdapter, value: Any) -> None:
    stored = change(1, value=value)

    await adapter.configuration.append([stored])

    (found,) = await adapter.configuration.current()
    assert found == stored
    assert repr(found.content) == repr(stored.content)
    assert not found.is_deletion


async def test_the_present_is_the_last_change_of_each_key_of_each_service_and_environment(adapter: DataAdapter) -> None:
    assert await adapter.configuration.current() == []
    await adapter.configuration.append([change(1, "a"), change(2, "b"), change(3, "a", value=2)])
    await adapter.configuration.append([change(4, "a", service="exchange"), change(5, "a", environment="production")])
    await adapter.configuration.append([deletion(6, "b")])

    current = await adapter.configuration.current()

    assert [(each.version, each.is_deletion) for each in current] == [(3, False), (4, False), (5, False), (6, True)]


@pytest.mark.parametrize("wrong", [[1], [2], [4], [3, 5], [3, 3], [0]])
async def test_changes_that_do_not_follow_the_last_store_nothing(adapter: DataAdapter, wrong: list[int]) -> None:
    await adapter.configuration.append([change(1), change(2)])

    with pytest.raises(Conflict):
        await adapter.configuration.append([change(version) for version in wrong])

    assert await versions(adapter) == [2, 1]


async def test_history_is_of_one_service_and_environment_newest_first(adapter: DataAdapter) -> None:
    await adapter.configuration.append(
        [change(1), change(2, service="exchange"), change(3, environment="production"), change(4), deletion(5, "b")]
    )

    assert await versions(adapter) == [5, 4, 1]
    assert await versions(adapter, service="exchange") == [2]
    assert await versions(adapter, environment="production") == [3]
    assert await versions(adapter, service="nobody") == []


async def test_history_can_be_of_one_key_from_a_version_on_and_oldest_first(adapter: DataAdapter) -> None:
    await adapter.configuration.append([change(number, "ab"[number % 2]) for number in range(1, 8)])

    assert await versions(adapter, key="a") == [6, 4, 2]
    assert await versions(adapter, after=4) == [7, 6, 5]
    assert await versions(adapter, after=4, oldest_first=True) == [5, 6, 7]
    assert await versions(adapter, key="b", after=1, oldest_first=True) == [3, 5, 7]
    assert await versions(adapter, after=7) == []


@pytest.mark.parametrize("order", [{}, {"oldest_first": True, "after": 1}, {"key": "interval"}])
async def test_pages_together_are_the_whole(adapter: DataAdapter, order: dict[str, Any]) -> None:
    await adapter.configuration.append([change(number) for number in range(1, 8)])
    query = ConfigurationQuery(service="market-data", environment="development", limit=3, **order)
    seen: list[int] = []

    cursor: str | None = None
    for _ in range(3):
        page = await adapter.configuration.history(replace(query, cursor=cursor))
        seen += [each.version for each in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert cursor is None
    assert seen == await versions(adapter, **order)


async def test_bad_limit_and_foreign_cursor_are_refused(adapter: DataAdapter) -> None:
    await adapter.configuration.append([change(1), change(2)])
    query = ConfigurationQuery(service="market-data", environment="development", limit=1)
    page = await adapter.configuration.history(query)

    with pytest.raises(InvalidRequest, match="limit"):
        await versions(adapter, limit=0)
    with pytest.raises(InvalidRequest, match="cursor"):
        await versions(adapter, key="interval", cursor=page.next_cursor)


async def test_what_json_cannot_carry_is_refused_and_nothing_stored(adapter: DataAdapter) -> None:
    with pytest.raises(InvalidRequest):
        await adapter.configuration.append([change(1, value=float("nan"))])

    assert await adapter.configuration.current() == []


async def test_configuration_is_there_after_opening_again(open_again: OpenAgain) -> None:
    before = await open_again()
    await before.configuration.append([change(1), change(2, "b")])

    after = await open_again()

    assert await after.configuration.current() == [change(1), change(2, "b")]
    await after.configuration.append([change(3)])
    assert await versions(after) == [3, 2, 1]
