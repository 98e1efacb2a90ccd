import gc
import weakref
from collections.abc import Iterator

import pytest

from fauxchange.platform.garbage import YOUNG, SettingAside, settle_garbage_collector


class _Knot:
    """An object that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _collector_as_it_was() -> Iterator[None]:
    thresholds, callbacks = gc.get_threshold(), list(gc.callbacks)
    yield
    gc.callbacks[:] = callbacks
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.fixture
def aside() -> SettingAside:
    settle_garbage_collector()
    return next(callback for callback in gc.callbacks if isinstance(callback, SettingAside))


def test_no_collection_but_a_full_one_looks_at_what_has_outlived_two(aside: SettingAside) -> None:
    alive = [[number] for number in range(20 * YOUNG)]

    assert gc.get_count()[2] == 0
    assert len(gc.get_objects(generation=2)) == 0
    assert aside.added > len(alive) - 3 * YOUNG


def test_young_garbage_in_cycles_is_freed_at_once(aside: SettingAside) -> None:
    knots = []
    for number in range(4 * YOUNG):
        knot = _Knot()
        if number < YOUNG:
            knots.append(weakref.ref(knot))

    assert not any(knot() for knot in knots)
    # The weak references themselves live on.
    assert aside.added < 2 * YOUNG


def test_garbage_that_was_set_aside_is_freed_when_the_process_has_doubled(aside: SettingAside) -> None:
    knots = [_Knot() for _ in range(6 * YOUNG)]
    seen = weakref.ref(knots[0])
    knots.clear()
    set_aside_as_garbage = seen() is not None

    alive = [[number] for number in range(aside.settled + 12 * YOUNG)]

    assert set_aside_as_garbage
    assert seen() is None
    assert aside.settled > len(alive) // 2


def test_what_was_set_aside_and_freed_since_is_no_reason_to_look_at_everything(aside: SettingAside) -> None:
    settled = aside.settled

    for _ in range(settled // YOUNG + 8):
        # Long enough for two collections, and freed without one.
        _ = [[number] for number in range(4 * YOUNG)]

    assert aside.settled == settled
    assert aside.added <= settled
