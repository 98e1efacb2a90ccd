"""How a follower of price streams sees numbers: what goes on, what was left out, where to begin.

Every form of the streams feeds what it reads through a `Following`, so that all tell the same.
"""

from collections.abc import Sequence

from fauxchange.data.ports import Continuity, StreamedPrices
from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.market_data import PriceFeed

Number = tuple[int, int]
"""Epoch and sequence."""

NOTHING: Number = (0, 0)
"""Before every number."""


def number_of(feed: PriceFeed) -> Number:
    """Return a price's number."""
    return feed.epoch, feed.sequence


class Following:
    """One follower's place in one symbol's stream. `read_from` is the number behind which it reads on."""

    def __init__(self, symbol: str, start: Number | None) -> None:
        if start is not None and start[1] < 1:
            raise InvalidRequest(f"there is no price number {start[1]}; numbers begin at 1", field="from_sequence")
        self._symbol = symbol
        self._start = start
        self._last: Number | None = None
        self.read_from = NOTHING

    @property
    def start(self) -> Number | None:
        """The number that it was to begin with, None for the newest price."""
        return self._start

    def begin(self, first: PriceFeed | None, newest: PriceFeed | None) -> list[StreamedPrices]:
        """Find the place to begin, and return what is to be told before anything is read.

        `first` is the first kept price with the start's number or a greater one, `newest` the newest one kept.
        """
        events: list[StreamedPrices] = []
        if self._start is not None:
            epoch, sequence = self._start
            before = (epoch, sequence - 1)
            is_kept = first is not None and number_of(first) == self._start
            is_next = first is None and newest is not None and number_of(newest) == before
            if is_kept or is_next:
                self._last = self.read_from = before
                return []
            events.append(StreamedPrices(self._symbol, Continuity.SNAPSHOT_REQUIRED, ()))
        if newest is not None:
            self._last = self.read_from = number_of(newest)
            events.append(StreamedPrices(self._symbol, Continuity.SNAPSHOT, (newest,)))
        return events

    def take(self, feeds: Sequence[PriceFeed]) -> list[StreamedPrices]:
        """Return what to tell of prices that were read behind `read_from`."""
        events: list[StreamedPrices] = []
        run: list[PriceFeed] = []
        continuity = Continuity.DELTA
        for feed in feeds:
            number = number_of(feed)
            following = self._following(number)
            if following is not Continuity.DELTA:
                if run:
                    events.append(StreamedPrices(self._symbol, continuity, run))
                run, continuity = [], following
            run.append(feed)
            self._last = self.read_from = number
        if run:
            events.append(StreamedPrices(self._symbol, continuity, run))
        return events

    def begin_anew_if(self, newest: Number | None) -> None:
        """Read the stream from its beginning if it was made anew: its newest number is less than what was read."""
        if newest is None or newest < self.read_from:
            self.read_from = NOTHING

    def _following(self, number: Number) -> Continuity:
        if self._last is None:
            return Continuity.SNAPSHOT
        epoch, sequence = self._last
        return Continuity.DELTA if number == (epoch, sequence + 1) else Continuity.GAP
