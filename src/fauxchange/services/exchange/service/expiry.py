"""Expire orders when their time has come: an EXPIRE command at the moment of the earliest."""

import asyncio
import heapq

import structlog

from fauxchange.domain.errors import FauxchangeError, Unavailable
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.ports import Clock
from fauxchange.services.exchange.core import commands
from fauxchange.services.exchange.service.entries import Entry, Note, row_of
from fauxchange.services.exchange.service.requests import Origin
from fauxchange.services.exchange.service.use_cases import UseCases

EXPIRY_PRIORITY = -10
"""Orders expire before anything else of the same moment happens."""
RETRY_NS = NS_PER_S

log = structlog.get_logger(__name__)


class ExpiryTimer:
    """Know when orders expire, and see to it. Units: nanoseconds of venue time."""

    def __init__(self, use_cases: UseCases, clock: Clock) -> None:
        self._use_cases = use_cases
        self._clock = clock
        self._due: list[int] = []
        self._known: set[int] = set()
        self._task: asyncio.Task[None] | None = None
        self._sleeps_until = 0
        self._running = False

    def expiring(self, ts_ns: int) -> None:
        """Take note that an order expires then."""
        if ts_ns not in self._known:
            self._known.add(ts_ns)
            heapq.heappush(self._due, ts_ns)
        if self._running and (self._task is None or ts_ns < self._sleeps_until):
            self._sleep()

    def start(self) -> None:
        """Begin to watch the clock."""
        self._running = True
        self._sleep()

    async def stop(self) -> None:
        """Watch the clock no more."""
        self._running = False
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def _sleep(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._due:
            self._sleeps_until = self._due[0]
            self._task = asyncio.get_running_loop().create_task(self._expire_at(self._due[0]), name="order expiry")

    async def _expire_at(self, ts_ns: int) -> None:
        await self._clock.sleep_until(ts_ns, priority=EXPIRY_PRIORITY)
        now_ns = self._clock.now_ns()
        while self._due and self._due[0] <= now_ns:
            self._known.discard(heapq.heappop(self._due))
        self._task = None
        try:
            self._use_cases.submit(Entry(row_of(commands.expire()), Note(Origin("clock")), self._over))
        except Unavailable as exc:
            self._again(exc)
        self._sleep()

    def _over(self, entry: Entry) -> None:
        if entry.failure is not None:
            self._again(entry.failure)

    def _again(self, failure: FauxchangeError) -> None:
        log.warning("expiry_delayed", reason=failure.message)
        self.expiring(self._clock.now_ns() + RETRY_NS)
