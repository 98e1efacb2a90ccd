"""Venues for tests, ours and yours: a process of its own, or one on the test's event loop; and readers that check."""

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
