"""Venues for tests, ours and yours: a process of its own, or one on the test's event loop; and readers that check."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fauxchange.testing.addresses import Venue
    from fauxchange.testing.inprocess import RunningVenue, running
    from fauxchange.testing.processes import VenueProcess, started
    from fauxchange.testing.reflection import ReflectedService
    from fauxchange.testing.streams import SequenceError, Sequences, StreamClient

__all__ = [
    "ReflectedService",
    "RunningVenue",
    "SequenceError",
    "Sequences",
    "StreamClient",
    "Venue",
    "VenueProcess",
    "running",
    "started",
]

# A venue brings the whole product along. The servers and the pytest plugin need none of it, so a name is looked up when
# it is asked for.
_MODULES = {
    "ReflectedService": "reflection",
    "RunningVenue": "inprocess",
    "SequenceError": "streams",
    "Sequences": "streams",
    "StreamClient": "streams",
    "Venue": "addresses",
    "VenueProcess": "processes",
    "running": "inprocess",
    "started": "processes",
}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
