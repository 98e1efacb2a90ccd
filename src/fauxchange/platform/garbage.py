"""Collect garbage in pieces that the event loop does not feel.

A collection stops everything for as long as it takes to go through what it looks at, about 0.3 ms for a thousand
objects. Left to itself Python looks at all that lives again and again: a venue with 100,000 orders stood still for 15
ms every second, and for 150 ms and more now and then. Here what has outlived a few collections is set aside, and looked
at again only when the process has grown to twice its size by what was set aside since. Few objects are in cycles at
all; those that are not are freed as they always were, set aside or not.
"""

import gc
from collections.abc import Mapping
from typing import Any, Final

YOUNG: Final = 3_000
"""So many objects may be new before they are looked at."""
THRESHOLDS: Final = (YOUNG, 1, 0)
"""What has outlived a collection is looked at with every third one; the third number is for what is brought back."""


class SettingAside:
    """Set aside what lives long, told of every collection; `settled` is how many objects outlived the last full one."""

    def __init__(self, settled: int) -> None:
        self.settled = settled
        self._looks_at_all = False
        self.added = 0
        """How many objects were set aside since, those that were freed later among them."""

    def __call__(self, phase: str, info: Mapping[str, Any]) -> None:
        """Take note of a collection that begins or ends."""
        if phase != "stop" or not info["generation"]:
            return
        if info["generation"] == 2:
            gc.freeze()
            if self._looks_at_all:
                # One that somebody else has asked for has not looked at what is set aside.
                self.settled, self.added, self._looks_at_all = gc.get_freeze_count(), 0, False
            return
        outlived = len(gc.get_objects(generation=2))
        self.added += outlived
        if self.added > self.settled:
            # To count what is set aside takes a while, and much may have been freed.
            self.added = gc.get_freeze_count() + outlived - self.settled
        if self.added > self.settled:
            # With this the next collection looks at everything: Python's own condition, a quarter more than after the
            # last full one, is met as well.
            gc.unfreeze()
            self._looks_at_all = True
        else:
            gc.freeze()


def settle_garbage_collector() -> None:
    """Set aside what start-up has made, most of which lives as long as the process, and from now on what lives long."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    gc.callbacks.append(SettingAside(gc.get_freeze_count()))
