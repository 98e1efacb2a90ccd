"""Recorded books for the exchange, from the recordings that market data replays in the same process."""

from collections.abc import Iterable

from fauxchange.services.exchange.clients.recorded_book import ReplayedBooks
from fauxchange.services.market_data.clients.replay import ReplaySource


def replayed_books(replays: Iterable[ReplaySource]) -> ReplayedBooks | None:
    """Return the books among what is replayed, in the time of their feeds; None if there are none."""
    books = {
        replay.recording.instrument.symbol: (replay.recording.book, replay.recorded_ns)
        for replay in replays
        if replay.recording.book is not None
    }
    return ReplayedBooks(books) if books else None
