"""What the market-data service needs from others."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from fauxchange.domain.instruments import Instrument
from fauxchange.domain.market_data import FeedSource, Metadata, PriceFeed
from fauxchange.services.market_data.core.batches import PriceBatch


class PriceSource(Protocol):
    """Where prices come from: a model, recorded data, a fixed path, or a live push.

    A source never waits for venue time: it says when its rows are due, and the pipeline waits. Sources whose rows
    exist already answer at once; a push source waits for the outside world.
    """

    @property
    def kind(self) -> FeedSource:
        """What its prices are marked with."""
        ...

    @property
    def instruments(self) -> Sequence[Instrument]:
        """The instruments it prices; `PriceBatch.symbol_index` counts into this sequence."""
        ...

    async def open(self, start_ns: int) -> None:
        """Make ready to give rows from venue time `start_ns` on.

        Raises: ConfigurationError if the source cannot be used; nothing has started then
        """
        ...

    async def next(self, max_steps: int) -> PriceBatch | None:
        """Return the rows of the next steps, at most `max_steps` distinct times; None when the source has ended."""
        ...

    async def close(self) -> None:
        """Release what `open` took; safe to call twice."""
        ...

    def state(self) -> Metadata | None:
        """Return a JSON document from which `restore` goes on after the last row given, or None if it cannot."""
        ...

    def restore(self, state: Metadata) -> bool:
        """Go on from a document of `state`, before `open`; return False if it does not fit this source."""
        ...

    def report(self) -> Metadata:
        """Return counts worth showing an operator: rows, gaps, duplicates, reconnects, staleness."""
        ...


class PriceFanOut(Protocol):
    """The way of prices to other processes, besides the service's own streams."""

    def publish(self, feeds: Sequence[PriceFeed]) -> None:
        """Send prices on, soon and without waiting or raising."""
        ...


@dataclass(frozen=True, slots=True)
class RuntimeValues:
    """What is configured for the feed, by key, as it is at a version."""

    version: int
    values: Mapping[str, Any]


class RuntimeParameters(Protocol):
    """Where the parameters come from that may change while the feed runs."""

    async def current(self) -> RuntimeValues | None:
        """Return what is configured now, or None if nobody can say; it never waits for long."""
        ...

    def changes(self) -> AsyncIterator[RuntimeValues]:
        """Yield what is configured, and again after each change; who cannot be asked is asked again by and by."""
        ...


@runtime_checkable
class Skipping(Protocol):
    """A source whose steps may be left out: a model that is overdue goes on at the present."""

    def skip_to(self, ts_ns: int) -> int:
        """Leave out the steps before `ts_ns`; return how many were left out."""
        ...


@runtime_checkable
class Scheduled(Protocol):
    """A source that knows when its next row is due before it makes it.

    It is asked for the row only then, so what happens until then (a scenario that starts, a stop) finds it unmade.
    """

    @property
    def due_ns(self) -> int | None:
        """Venue time of the next row, or None while the source is not open."""
        ...
