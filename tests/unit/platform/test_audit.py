"""The audit trail of a service over a store that comes and goes."""

from collections.abc import Sequence

import pytest

from fauxchange.domain.audit import AuditEvent, first_broken
from fauxchange.domain.errors import Conflict, Unavailable
from fauxchange.platform.audit import AuditTrail
from fauxchange.platform.clock import VirtualClock


class Store:
    """Keeps events; may be away, or lose its answer after it has stored them."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []
        self.is_away = False
        self.loses_answers = False
        self.others_are_quicker = False

    async def append(self, events: Sequence[AuditEvent]) -> None:
        if self.is_away:
            raise Unavailable("away")
        if self.others_are_quicker or events[0].sequence != len(self.events) + 1:
            raise Conflict("does not follow", code="broken_chain")
        self.events += events
        if self.loses_answers:
            raise Unavailable("no answer")

    async def last(self, source: str) -> AuditEvent | None:
        if self.is_away:
            raise Unavailable("away")
        return self.events[-1] if self.events else None

    @property
    def types(self) -> list[str]:
        return [event.type.removeprefix("fauxchange.") for event in self.events]


@pytest.fixture
def store() -> Store:
    return Store()


def trail_on(store: Store) -> AuditTrail:
    return AuditTrail("market-data", store, clock=VirtualClock(0, 1.0))


async def filled(store: Store, *types: str) -> None:
    trail = trail_on(store)
    await trail.open()
    for type_ in types:
        trail.record(type_, actor="test")
    await trail.flush()


async def test_trail_goes_on_from_the_last_event_stored(store: Store) -> None:
    await filled(store, "a", "b")

    await filled(store, "c")

    assert store.types == ["a", "b", "c"]
    assert first_broken(store.events) is None


async def test_events_recorded_before_the_store_could_be_read_get_their_places_later(store: Store) -> None:
    await filled(store, "a", "b")
    trail = trail_on(store)
    store.is_away = True
    with pytest.raises(Unavailable):
        await trail.open()
    trail.record("c", actor="test")
    await trail.flush_quietly()
    trail.record("d", actor="test")

    store.is_away = False
    await trail.flush()
    trail.record("e", actor="test")
    await trail.flush()

    assert store.types == ["a", "b", "c", "d", "e"]
    assert first_broken(store.events) is None


async def test_events_whose_answer_was_lost_are_not_stored_twice(store: Store) -> None:
    trail = trail_on(store)
    await trail.open()
    trail.record("a", actor="test")
    store.loses_answers = True
    with pytest.raises(Unavailable):
        await trail.flush()
    trail.record("b", actor="test")

    store.loses_answers = False
    await trail.flush()

    assert store.types == ["a", "b"]
    assert first_broken(store.events) is None


async def test_events_that_were_not_stored_are_stored_after_the_failure(store: Store) -> None:
    trail = trail_on(store)
    await trail.open()
    trail.record("a", actor="test")
    store.is_away = True
    await trail.flush_quietly()
    trail.record("b", actor="test")

    store.is_away = False
    await trail.flush()

    assert store.types == ["a", "b"]


async def test_events_get_places_behind_those_of_another_writer_of_the_trail(store: Store) -> None:
    trail = trail_on(store)
    await trail.open()
    trail.record("mine", actor="test")
    store.is_away = True
    await trail.flush_quietly()
    store.is_away = False
    await filled(store, "theirs")

    await trail.flush()
    await filled(store, "theirs again")
    trail.record("mine again", actor="test")
    await trail.flush()

    assert store.types == ["theirs", "mine", "theirs again", "mine again"]
    assert first_broken(store.events) is None


async def test_a_trail_that_others_write_all_the_time_is_tried_again_later(store: Store) -> None:
    trail = trail_on(store)
    await trail.open()
    trail.record("mine", actor="test")
    store.others_are_quicker = True
    with pytest.raises(Unavailable):
        await trail.flush()

    store.others_are_quicker = False
    await trail.flush()

    assert store.types == ["mine"]
