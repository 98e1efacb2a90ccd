"""What every store of audit trails and service state promises."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fauxchange.data.ports import AuditQuery, DataAdapter
from fauxchange.domain.audit import GENESIS_HASH, AuditEvent, first_broken
from fauxchange.domain.errors import Conflict, InvalidRequest

fresh = count(1)

OpenAgain = Callable[[], Awaitable[DataAdapter]]

documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def trail(length: int, *, source: str = "market-data", after: AuditEvent | None = None) -> list[AuditEvent]:
    events: list[AuditEvent] = []
    for _ in range(length):
        events.append(
            AuditEvent(
                source=source,
                type="odd" if (0 if after is None else after.sequence) % 2 == 0 else "even",
                sequence=1 if after is None else after.sequence + 1,
                ts_ns=10 if after is None else after.ts_ns + 10,
                actor="test",
                prev_hash=GENESIS_HASH if after is None else after.hash,
                traceid=None if after is None else "0af7651916cd43dd8448eb211c80319c",
                data={"ratio": 1.0, "of": ["ß", None, {"n": 10**30}]},
            )
        )
        after = events[-1]
    return events


async def stored(adapter: DataAdapter, **query: Any) -> list[int]:
    page = await adapter.audit.query(AuditQuery(**({"source": "market-data"} | query)))
    return [event.sequence for event in page.items]


async def test_stored_trail_is_the_same_trail_with_its_chain_whole(adapter: DataAdapter) -> None:
    events = trail(3)

    await adapter.audit.append(events)

    page = await adapter.audit.query(AuditQuery(source="market-data"))
    assert page.items == events
    assert [event.hash for event in page.items] == [event.hash for event in events]
    assert first_broken(page.items) is None


async def test_trail_goes_on_from_its_last_event(adapter: DataAdapter) -> None:
    assert await adapter.audit.last("market-data") is None
    await adapter.audit.append(trail(2))
    last = await adapter.audit.last("market-data")

    await adapter.audit.append(trail(2, after=last))

    assert await stored(adapter) == [1, 2, 3, 4]


async def test_trails_of_two_sources_are_counted_apart(adapter: DataAdapter) -> None:
    await adapter.audit.append([*trail(2), *trail(1, source="exchange")])
    await adapter.audit.append([])

    assert await stored(adapter) == [1, 2]
    assert await stored(adapter, source="exchange") == [1]


@pytest.mark.parametrize("sequences", [[2], [4], [3, 5], [3, 3], [0]])
async def test_event_that_does_not_follow_the_last_stores_nothing(adapter: DataAdapter, sequences: list[int]) -> None:
    await adapter.audit.append(trail(2))
    event = trail(1)[0]

    with pytest.raises(Conflict):
        await adapter.audit.append([replace(event, sequence=sequence) for sequence in sequences])

    assert await stored(adapter) == [1, 2]


async def test_first_event_of_a_source_has_sequence_1(adapter: DataAdapter) -> None:
    with pytest.raises(Conflict):
        await adapter.audit.append(trail(2)[1:])


async def test_of_concurrent_writers_of_one_sequence_one_wins(adapter: DataAdapter) -> None:
    outcomes = await asyncio.gather(*(adapter.audit.append(trail(1)) for _ in range(5)), return_exceptions=True)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict"] * 4 + ["NoneType"]
    assert await stored(adapter) == [1]


async def test_query_filters_by_type_and_time(adapter: DataAdapter) -> None:
    await adapter.audit.append(trail(6))

    assert await stored(adapter, type="odd") == [1, 3, 5]
    assert await stored(adapter, start_ns=20, end_ns=50) == [2, 3, 4]
    assert await stored(adapter, type="even", start_ns=30) == [4, 6]


async def test_pages_together_are_the_whole(adapter: DataAdapter) -> None:
    await adapter.audit.append(trail(7))
    seen: list[int] = []
    cursor = None

    for _ in range(2):
        page = await adapter.audit.query(AuditQuery(source="market-data", type="odd", limit=2, cursor=cursor))
        seen += [event.sequence for event in page.items]
        cursor = page.next_cursor

    assert cursor is None
    assert seen == [1, 3, 5, 7]


async def test_bad_limit_and_foreign_cursor_are_refused(adapter: DataAdapter) -> None:
    await adapter.audit.append(trail(2))
    page = await adapter.audit.query(AuditQuery(source="market-data", limit=1))

    with pytest.raises(InvalidRequest, match="limit"):
        await stored(adapter, limit=0)
    with pytest.raises(InvalidRequest, match="cursor"):
        await stored(adapter, source="exchange", cursor=page.next_cursor)


async def test_state_is_absent_until_saved_and_then_replaced(adapter: DataAdapter) -> None:
    assert await adapter.state.load("market-data") is None

    await adapter.state.save("market-data", {"epoch": 1, "gone": True})
    await adapter.state.save("market-data", {"epoch": 2})

    assert await adapter.state.load("market-data") == {"epoch": 2}
    assert await adapter.state.load("exchange") is None


@pytest.mark.parametrize(
    "document",
    [
        {"x": float("nan")},
        {"x": [float("-inf")]},
        {"x": {1: 2}},
        {"x": {1, 2}},
        {"x": b"bytes"},
        {"x": "\ud800"},
        {"\udfff": 1},
        {"x": 10**5_000},
    ],
)
async def test_document_that_json_cannot_carry_is_refused(adapter: DataAdapter, document: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await adapter.state.save("market-data", document)

    assert (refused.value.code, refused.value.field) == ("invalid_document", "document")
    assert await adapter.state.load("market-data") is None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), documents, max_size=5))
async def test_documents_come_back_unchanged(adapter: DataAdapter, document: dict[str, Any]) -> None:
    source = f"source-{next(fresh)}"

    await adapter.state.save("it", document)
    await adapter.audit.append([replace(trail(1, source=source)[0], data=document)])

    last = await adapter.audit.last(source)
    assert last is not None
    # The texts tell 1 from 1.0 and from True, and 0.0 from -0.0, which compare equal.
    assert repr(await adapter.state.load("it")) == repr(document)
    assert repr(last.data) == repr(document)


async def test_state_and_audit_are_there_after_opening_again(open_again: OpenAgain) -> None:
    before = await open_again()
    await before.state.save("market-data", {"epoch": 3})
    await before.audit.append(trail(3))

    after = await open_again()

    assert await after.state.load("market-data") == {"epoch": 3}
    assert await after.audit.last("market-data") == trail(3)[-1]
