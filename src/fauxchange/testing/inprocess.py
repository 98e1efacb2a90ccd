"""A venue on the test's own event loop: over real sockets, with its inside open to inspection."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from fauxchange.domain.errors import check
from fauxchange.platform.clock import VirtualClock
from fauxchange.platform.ready import read_ready
from fauxchange.platform.settings import load_settings
from fauxchange.services.exchange.app.wiring import Exchange
from fauxchange.services.market_data.app import MarketData
from fauxchange.services.market_data.ports import PriceSource
from fauxchange.testing.addresses import Venue
from fauxchange.venue.plan import Addresses, prepare
from fauxchange.venue.process import Process
from fauxchange.venue.services import SERVICES

APART: Mapping[str, object] = {"HTTP_PORT": 0, "GRPC_PORT": 0, "AUDIT_PORT": 0, "STORE": "memory"}
"""What keeps a venue under test apart from any other: free ports, and nothing left on disk unless asked for."""
START_TIMEOUT_S = 120.0


class RunningVenue:
    """A venue that runs on this event loop."""

    def __init__(self, process: Process, running: "asyncio.Task[int]", venue: Venue) -> None:
        self.process = process
        self.venue = venue
        self._running = running

    @property
    def market_data(self) -> MarketData:
        """The service itself."""
        check(self.process.market_data is not None, "a venue that is announced has its services")
        return cast("MarketData", self.process.market_data)

    @property
    def exchange(self) -> Exchange:
        """The exchange itself."""
        check(self.process.exchange is not None, "this venue was started without an exchange")
        return cast("Exchange", self.process.exchange)

    @property
    def clock(self) -> VirtualClock:
        """The venue's clock; only of a venue with `START_TIME` or `SPEED`, whose time is virtual."""
        clock = self.process.clock
        check(isinstance(clock, VirtualClock), "this venue runs on the wall clock; give it a START_TIME or a SPEED")
        return cast("VirtualClock", clock)

    async def stop(self) -> int:
        """Stop gracefully and return the exit code; safe to call twice."""
        if not self.process.supervisor.stopping:
            self.process.supervisor.request_stop("the test is over")
        return await self._running


@asynccontextmanager
async def running(
    data_dir: Path,
    settings: Mapping[str, object] | None = None,
    *,
    services: Sequence[str] = tuple(SERVICES),
    extra_sources: Sequence[PriceSource] = (),
    paused: bool = False,
) -> AsyncIterator[RunningVenue]:
    """Run a venue for as long as the block lasts.

    `settings` are named as in the environment, which itself is not looked at; `services` are all there are unless some
    are named. A venue that is `paused` (it needs a `START_TIME`) has given out the prices of its first moment and waits
    for the test to move its clock.

    Raises: ConfigurationError or whatever else kept the venue from starting, or made it fail
    """
    ready: asyncio.Event = asyncio.Event()

    def announce(addresses: Addresses) -> None:  # noqa: ARG001 - ready.json says more
        ready.set()

    plan = prepare(
        load_settings({**APART, "DATA_DIR": str(data_dir), **(settings or {})}, environ={}),
        services=services,
        extra_sources=extra_sources,
        announce=announce,
    )
    process = Process(plan)
    if paused and isinstance(process.clock, VirtualClock):
        # Before anything drives it, so that it stands at its first moment to the nanosecond.
        process.clock.pause()
    task = asyncio.create_task(process.run(handle_signals=False), name="venue")
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not ready.is_set():
        task.cancel()
        await task
    venue = RunningVenue(process, task, Venue.of(read_ready(data_dir)))
    if paused:
        await venue.clock.step(0)
    try:
        yield venue
    finally:
        await venue.stop()
    failure = process.supervisor.failure
    if failure is not None:
        raise failure
