"""What all use cases of the exchange share: the venue's state, the way into it, the questions to the read models."""

import asyncio
from collections.abc import Callable, Sequence

from fauxchange.contracts.exchange.refusals import refusal
from fauxchange.data.ports import ExchangeReadModels
from fauxchange.domain.errors import FauxchangeError, Rejected, Unavailable
from fauxchange.platform.ports import Clock
from fauxchange.services.exchange.core.layout import E_KIND, E_REASON
from fauxchange.services.exchange.core.vocabulary import EVENT_COMMAND_REJECTED
from fauxchange.services.exchange.service.entries import Entry, Item, Note
from fauxchange.services.exchange.service.projections import MAX_BEHIND, Projector
from fauxchange.services.exchange.service.registry import Registry
from fauxchange.services.exchange.service.sequencer import Sequencer
from fauxchange.services.exchange.service.venue import Venue

Spawn = Callable[..., object]
"""Run a coroutine as a task of the service, under a name."""


class UseCases:
    """The venue, its sequencer and its read models."""

    def __init__(
        self,
        venue: Venue,
        sequencer: Sequencer,
        projector: Projector,
        read_models: ExchangeReadModels,
        *,
        clock: Clock,
        spawn: Spawn,
    ) -> None:
        self.venue = venue
        self.sequencer = sequencer
        self.projector = projector
        self.read_models = read_models
        self.clock = clock
        self.spawn = spawn

    @property
    def registry(self) -> Registry:
        """Who and what there is."""
        return self.venue.registry

    def submit(self, *entries: Item) -> None:
        """Hand commands to the sequencer. Raises: Unavailable; then none of them was taken."""
        self.check_read_models()
        self.sequencer.submit(*entries)

    def check_read_models(self) -> None:
        """Refuse commands that would wait too long for the read models. Raises: Unavailable."""
        behind = self.projector.behind
        if behind > MAX_BEHIND:
            raise Unavailable(
                f"the read models are {behind} commands behind; orders wait for them",
                code="read_models_behind",
                retry_after_s=1.0,
            )

    async def carry_out(self, row: list[int], note: Note) -> Entry:
        """Submit one command and wait for its events.

        Raises: Unavailable; Rejected if the kernel refuses the command
        """
        entry = Entry(row, note)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def over(_entry: Entry) -> None:
            if not done.done():
                done.set_result(None)

        entry.done = over
        self.submit(entry)
        await done
        failure = failure_of(entry)
        if failure is not None:
            raise failure
        return entry


def failure_of(entry: Entry) -> FauxchangeError | None:
    """Return why a command came to nothing: it was not stored, or the kernel refused it."""
    if entry.failure is not None:
        return entry.failure
    return refused(entry.events)


def refused(events: Sequence[list[int]]) -> Rejected | None:
    """Return the kernel's refusal of a command, None if it did not refuse it."""
    for event in events:
        if event[E_KIND] == EVENT_COMMAND_REJECTED:
            code, detail = refusal(event[E_REASON])
            return Rejected(detail, code=code, reason=event[E_REASON])
    return None
