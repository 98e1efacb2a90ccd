"""The use cases of configuration, and what they make of a store that fails."""

import asyncio
from typing import Any

import pytest
from configuration_kit import HERE, BreakableConfiguration, Kit, loaded, place, until

from fauxchange.data.memory.trail import MemoryAudit
from fauxchange.data.ports import AuditQuery, ConfigurationQuery
from fauxchange.domain.audit import first_broken
from fauxchange.domain.configuration import ValueType
from fauxchange.domain.errors import Conflict, FauxchangeError, InvalidRequest, NotFound, RateLimited, Unavailable
from fauxchange.platform.ports import DependencyStatus
from fauxchange.platform.tracing import request_context, serving
from fauxchange.services.configuration.service.configuration import Seed, Wish
from fauxchange.services.configuration.service.waiting import Waiting

WISH = Wish(actor="test")


async def refused(awaitable: Any) -> FauxchangeError:
    with pytest.raises(FauxchangeError) as caught:
        await awaitable
    return caught.value


# Setting


async def test_a_value_is_there_when_it_is_set_with_its_version_and_its_type() -> None:
    kit = await loaded()

    first = await kit.set("pause", "90s")
    second = await kit.set("spread_bps", 20)

    assert (first.version, first.type, first.value) == (1, "duration", "1m30s")
    assert (second.version, second.type, second.value) == (2, "decimal", "20")
    assert kit.values() == {"pause": "1m30s", "spread_bps": "20"}
    assert kit.service.value(place("pause")) == first


async def test_keys_of_another_service_and_environment_are_other_keys() -> None:
    kit = await loaded()
    await kit.set("mode", "wild")

    await kit.set("mode", 5, service="other")

    assert kit.values("other") == {"mode": 5}
    assert kit.values() == {"mode": "wild"}
    with pytest.raises(NotFound, match="not set in production"):
        kit.service.value(type(place("mode"))("bot", "production", "mode"))


async def test_the_value_that_a_key_has_already_changes_nothing() -> None:
    kit = await loaded()
    first = await kit.set("spread_bps", "20")

    again = await kit.set("spread_bps", 20, comment="the same")

    assert again == first
    assert kit.metric("configuration_changes_total") == 1


async def test_one_and_true_are_not_the_same_value() -> None:
    kit = await loaded()
    await kit.service.set_value(place("it", "open"), 1, WISH, type=ValueType.JSON)

    changed = await kit.service.set_value(place("it", "open"), True, WISH, type=ValueType.JSON)

    assert (changed.version, changed.value) == (2, True)


async def test_a_key_that_nobody_declares_keeps_the_type_that_it_was_given() -> None:
    kit = await loaded()
    await kit.service.set_value(place("it", "open"), "5", WISH, type=ValueType.INT)

    change = await kit.set("it", "6", service="open")
    text = await kit.set("other", "6", service="open")

    assert (change.type, change.value) == ("int", 6)
    assert (text.type, text.value) == ("str", "6")
    assert (await refused(kit.set("it", "six", service="open"))).code == "wrong_value_type"


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("spread_bps", "101", "value_not_allowed"),
        ("spread_bps", "wide", "wrong_value_type"),
        ("mode", "odd", "value_not_allowed"),
        ("unheard_of", 1, "undeclared_key"),
        ("spread_bps.BTCUSD", 1, "undeclared_key"),
    ],
)
async def test_what_the_schema_does_not_allow_is_refused_and_changes_nothing(key: str, value: Any, code: str) -> None:
    kit = await loaded()

    failure = await refused(kit.set(key, value))

    assert isinstance(failure, InvalidRequest)
    assert failure.code == code
    assert kit.values() == {}
    assert await kit.events() == []


@pytest.mark.parametrize(("expected", "is_set"), [(0, True), (1, False), (3, False)])
async def test_a_change_for_another_version_is_refused(expected: int, is_set: bool) -> None:
    kit = await loaded()
    if is_set:
        await kit.set("mode", "calm")

    failure = await refused(kit.set("mode", "wild", expected_version=expected))

    assert isinstance(failure, Conflict)
    assert failure.code == "version_conflict"
    assert failure.details == {"version": "1" if is_set else "0"}


async def test_of_two_changes_for_the_same_version_one_is_refused() -> None:
    kit = await loaded()
    await kit.set("mode", "calm")

    outcomes = await asyncio.gather(
        kit.set("mode", "wild", expected_version=1),
        kit.service.delete_value(place("mode"), Wish(actor="test", expected_version=1)),
        return_exceptions=True,
    )

    assert [type(outcome).__name__ for outcome in outcomes] == ["ConfigurationChange", "Conflict"]
    assert kit.values() == {"mode": "wild"}


async def test_more_keys_than_there_is_room_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fauxchange.services.configuration.service.configuration.MAX_KEYS", 2)
    kit = await loaded()
    await kit.set("a", 1, service="open")
    await kit.set("b", 1, service="open")

    assert (await refused(kit.set("c", 1, service="open"))).code == "too_much_configuration"
    assert (await kit.set("b", 2, service="open")).value == 2


# Deleting and rolling back


async def test_a_deleted_key_is_gone_and_its_history_stays() -> None:
    kit = await loaded()
    await kit.set("mode", "wild")

    deletion = await kit.service.delete_value(place("mode"), Wish(actor="somebody", comment="enough"))

    assert (deletion.version, deletion.is_deletion, deletion.comment) == (2, True, "enough")
    assert kit.values() == {}
    assert isinstance(await refused(kit.service.delete_value(place("mode"), WISH)), NotFound)
    page = await kit.service.history(ConfigurationQuery(service="bot", environment=HERE, key="mode"))
    assert [(change.version, change.actor, change.value) for change in page.items] == [
        (2, "somebody", None),
        (1, "test", "wild"),
    ]


async def test_a_key_returns_to_the_value_that_it_had_at_a_version() -> None:
    kit = await loaded()
    for value in ("1", "2", "3"):
        await kit.set("spread_bps", value)
    await kit.service.delete_value(place("spread_bps"), WISH)

    back = await kit.service.roll_back(place("spread_bps"), 2, Wish(actor="test", comment="it was better"))

    assert (back.version, back.value, back.comment) == (5, "2", "it was better")
    assert isinstance(await refused(kit.service.roll_back(place("spread_bps"), 4, WISH)), NotFound)
    assert isinstance(await refused(kit.service.roll_back(place("mode"), 4, WISH)), NotFound)


# The trail


async def test_each_change_is_an_event_with_what_was_before_and_a_chain_that_holds() -> None:
    kit = await loaded()
    with serving(request_context({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})):
        await kit.set("mode", "calm")
        await kit.set("mode", "wild")
    await kit.service.delete_value(place("mode"), WISH)

    events = (await kit.audit.query(AuditQuery(source="configuration"))).items

    assert await kit.events() == [(kind, "bot/development/mode") for kind in ("changed", "changed", "deleted")]
    assert (events[1].data["before"], events[1].data["value"], events[1].data["version"]) == ("calm", "wild", 2)
    assert events[0].traceid == "0af7651916cd43dd8448eb211c80319c"
    assert events[0].ts_ns == kit.clock.now_ns()
    assert first_broken(events) is None
    page = await kit.service.history(ConfigurationQuery(service="bot", environment=HERE))
    assert [change.trace_id for change in page.items] == ["", events[0].traceid, events[0].traceid]


# Seeds


async def test_a_seed_is_set_at_the_first_start_and_never_again() -> None:
    seeds = [
        Seed(place=place("mode"), type=ValueType.STR, value="calm"),
        Seed(place=place("pause"), type=ValueType.DURATION, value="1s"),
    ]
    kit = await loaded(seeds=seeds)
    assert kit.values() == {"mode": "calm", "pause": "1s"}
    await kit.set("mode", "wild")
    await kit.service.delete_value(place("pause"), WISH)

    again = await loaded(repository=kit.repository, audit=kit.audit, seeds=seeds)

    assert again.values() == {"mode": "wild"}
    assert (await again.service.history(ConfigurationQuery(service="bot", environment=HERE))).items[-1].actor == "seed"


# A store that fails


async def test_before_the_store_was_read_questions_are_refused_and_health_says_so_once_it_was_tried() -> None:
    kit = Kit()
    assert kit.service.health().status is DependencyStatus.OK
    kit.repository.is_away = True

    assert (await refused(kit.service.load())).code == "unavailable"

    with pytest.raises(Unavailable) as failure:
        kit.service.namespace("bot", HERE)
    assert failure.value.code == "configuration_not_loaded"
    assert failure.value.retry_after_s
    health = kit.service.health()
    assert (health.status, health.required) == (DependencyStatus.DOWN, True)


async def test_values_are_read_and_not_changed_while_the_store_is_away() -> None:
    kit = await loaded()
    await kit.set("mode", "calm")
    kit.repository.is_away = True

    assert isinstance(await refused(kit.set("mode", "wild")), Unavailable)

    assert kit.values() == {"mode": "calm"}
    assert kit.service.health().status is DependencyStatus.DEGRADED
    kit.repository.is_away = False
    assert (await kit.set("mode", "wild")).version == 2
    assert kit.service.health().status is DependencyStatus.OK


async def test_a_change_whose_storing_was_not_confirmed_is_found_before_the_next() -> None:
    kit = await loaded()
    kit.repository.loses_answers = True
    assert isinstance(await refused(kit.set("mode", "wild")), Unavailable)
    assert kit.values() == {}
    kit.repository.loses_answers = False

    failure = await refused(kit.set("mode", "calm", expected_version=0))

    assert failure.code == "version_conflict"
    assert kit.values() == {"mode": "wild"}


async def test_a_change_that_was_found_to_be_stored_is_in_the_trail_and_one_that_was_not_is_not() -> None:
    kit = await loaded()
    kit.repository.loses_answers = True
    await refused(kit.set("mode", "wild"))
    kit.repository.loses_answers, kit.repository.is_away = False, True
    await refused(kit.set("spread_bps", "5"))
    kit.repository.is_away = False

    await kit.set("pause", "1s")

    assert await kit.events() == [("changed", "bot/development/mode"), ("changed", "bot/development/pause")]


async def test_the_service_comes_back_by_itself() -> None:
    repository = BreakableConfiguration()
    await (await loaded(repository=repository)).set("mode", "calm")
    kit = Kit(repository, retry_s=0.001)
    repository.is_away = True

    running = asyncio.create_task(kit.service.run())
    await until(lambda: kit.service.health().status is DependencyStatus.DOWN)
    repository.is_away = False
    await until(lambda: kit.service.health().status is DependencyStatus.OK)
    running.cancel()

    assert kit.values() == {"mode": "calm"}


async def test_a_change_beside_that_of_another_process_takes_the_next_version_and_place_in_the_trail() -> None:
    stores: dict[str, Any] = {"repository": BreakableConfiguration(), "audit": MemoryAudit()}
    first, second = await loaded(**stores), await loaded(**stores)
    await first.set("mode", "calm")

    change = await second.set("pause", "1s")

    assert change.version == 2
    assert second.values() == {"mode": "calm", "pause": "1s"}
    assert await second.events() == [("changed", "bot/development/mode"), ("changed", "bot/development/pause")]


# Waiting


async def test_who_waits_is_woken_by_a_change_of_its_service_and_by_no_other() -> None:
    kit = await loaded()
    waiting = asyncio.create_task(kit.service.next_change("bot", HERE, 0))
    await asyncio.sleep(0)
    assert kit.metric("configuration_watchers") == 1

    await kit.set("a", 1, service="open")
    assert not waiting.done()
    await kit.set("mode", "calm")

    assert (await waiting).version == 2
    assert kit.metric("configuration_watchers") == 0


async def test_who_knows_less_than_there_is_does_not_wait() -> None:
    kit = await loaded()
    await kit.set("mode", "calm")

    assert (await kit.service.next_change("bot", HERE, 0)).version == 1


async def test_nobody_waits_when_the_process_stops() -> None:
    kit = await loaded()
    waiting = asyncio.create_task(kit.service.next_change("bot", HERE, 0))
    await asyncio.sleep(0)

    kit.service.waiting.end()

    assert (await waiting).version == 0
    assert (await kit.service.next_change("bot", HERE, 0)).version == 0


async def test_more_than_may_wait_are_refused_and_a_place_is_free_when_one_gives_up() -> None:
    waiting = Waiting(max_waiting=1)
    first = asyncio.create_task(waiting.next_change("bot", HERE))
    await asyncio.sleep(0)
    with pytest.raises(RateLimited):
        await waiting.next_change("bot", HERE)

    first.cancel()
    await asyncio.wait({first})

    second = asyncio.create_task(waiting.next_change("bot", HERE))
    await asyncio.sleep(0)
    waiting.wake("bot", HERE)
    await second
