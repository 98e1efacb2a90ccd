"""The runners: they take rows from a source when they are due, and hand them to the service step by step.

One runner per source, each a task of its own, so a source that waits for the outside world holds up no other. In
virtual time the runners' sleeps on the clock order the steps; a runner that has reached its next step before time gets
there waits, one that is late goes on at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise

import numpy as np
import structlog

from fauxchange.domain.instruments import path_symbol
from fauxchange.domain.market_data import FeedSource
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.ports import Clock, DependencyHealth, DependencyStatus
from fauxchange.services.market_data.core.batches import PriceBatch
from fauxchange.services.market_data.ports import PriceSource, Scheduled, Skipping
from fauxchange.services.market_data.service.feed import MarketDataService
from fauxchange.services.market_data.service.history import History
from fauxchange.services.market_data.service.market import Market
from fauxchange.services.market_data.service.metrics import FeedMetrics

log = structlog.get_logger(__name__)

RECORDED_STEPS = 512
"""Steps taken at once from a source whose rows exist already; a model is asked step by step, so that a scenario that
starts now bends the very next price."""
OVERDUE_NS = 10 * NS_PER_S
"""A model that is further behind than this (the machine slept) goes on at the present instead of catching up."""
BREATH_STEPS = 64
"""Let the event loop breathe at least once in so many steps, even when every one of them is overdue."""

CLOSING_PRIORITY = -1
"""Candles close before the next price of the same moment."""
BATCHES_PER_COUNT = 16
"""A source's own counts are taken into the metrics once in so many batches: making a report takes a moment."""

BeforeStep = Callable[[int], None]


class FeedRunner:
    """Feed the service from one source."""

    def __init__(
        self,
        source: PriceSource,
        markets: Sequence[Market],
        service: MarketDataService,
        history: History,
        *,
        clock: Clock,
        metrics: FeedMetrics,
        before_step: BeforeStep,
        priority: int,
    ) -> None:
        self.source = source
        self._markets = markets
        self._service = service
        self._history = history
        self._clock = clock
        self._metrics = metrics
        self._before_step = before_step
        self._priority = priority
        self._skipping = source if isinstance(source, Skipping) else None
        self._scheduled = source if isinstance(source, Scheduled) else None
        self._batches = 0
        self._task: asyncio.Task[None] | None = None
        self._is_roused = False
        self.ended = False
        self.last_step_ns: int | None = None

    @property
    def name(self) -> str:
        """The source's kind and its symbols."""
        return f"{self.source.kind.value}:{','.join(market.instrument.symbol for market in self._markets)}"

    @property
    def label(self) -> str:
        """A short name: the kind, and the symbol where there is only one."""
        kind = self.source.kind.value
        return kind if len(self._markets) != 1 else f"{kind}-{path_symbol(self._markets[0].instrument.symbol)}"

    async def run(self) -> None:
        """Publish until the source has ended."""
        self._task = asyncio.current_task()
        max_steps = 1 if self.source.kind is FeedSource.SIMULATOR else RECORDED_STEPS
        since_breath = 0
        while (batch := await self._next(max_steps)) is not None:
            for first, end in steps(batch):
                ts_ns = int(batch.ts_ns[first])
                if self._clock.now_ns() < ts_ns:
                    await self._wait_until(ts_ns)
                    since_breath = 0
                elif since_breath >= BREATH_STEPS:
                    await asyncio.sleep(0)
                    since_breath = 0
                since_breath += 1
                self._before_step(ts_ns)
                self._service.publish_rows(self._markets, batch, first, end)
                self.last_step_ns = ts_ns
                if self._history.overfull:
                    with self._clock.working():
                        await self._history.flush()
            self._catch_up()
            self._batches += 1
            if self._batches % BATCHES_PER_COUNT == 0:
                self._count()
        self.ended = True
        self._count()
        log.info("feed_source_ended", source=self.name, **self.source.report())
        await self._close_candles_before(None)

    def reschedule(self) -> None:
        """Look anew when the next row is due: the source's step length has changed."""
        if self._task is not None:
            self._is_roused = True
            self._clock.rouse(self._task)

    def health(self) -> DependencyHealth:
        """Say whether prices come."""
        if self.ended:
            return DependencyHealth(DependencyStatus.DEGRADED, "the source has ended: prices stay as they are")
        report = self.source.report()
        if report.get("state") not in {None, "live"}:
            return DependencyHealth(DependencyStatus.DEGRADED, f"the source is {report['state']}")
        return DependencyHealth(DependencyStatus.OK)

    async def _next(self, max_steps: int) -> PriceBatch | None:
        if self._scheduled is not None:
            while (due_ns := self._scheduled.due_ns) is not None and self._clock.now_ns() < due_ns:
                self._is_roused = False
                await self._wait_until(due_ns)
        if self.source.kind is not FeedSource.LIVE:
            return await self.source.next(max_steps)
        # What is waited for comes from outside: venue time goes on meanwhile.
        with self._clock.idle():
            return await self.source.next(max_steps)

    async def _wait_until(self, ts_ns: int) -> None:
        await self._close_candles_before(ts_ns)
        if not self._is_roused:
            await self._clock.sleep_until(ts_ns, priority=self._priority)

    async def _close_candles_before(self, ts_ns: int | None) -> None:
        """Close the candles that end before the next row, each at its time; with None, all that are open."""
        while True:
            ends = [end_ns for market in self._markets if (end_ns := market.candles.closing_ns) is not None]
            if not ends or (ts_ns is not None and min(ends) >= ts_ns):
                return
            await self._clock.sleep_until(min(ends), priority=CLOSING_PRIORITY)
            if self._is_roused:
                return
            self._service.close_candles(self._clock.now_ns())

    def _catch_up(self) -> None:
        if self._skipping is None or self.last_step_ns is None:
            return
        now_ns = self._clock.now_ns()
        if now_ns - self.last_step_ns > OVERDUE_NS:
            skipped = self._skipping.skip_to(now_ns)
            if skipped:
                log.warning("feed_steps_skipped", source=self.source.kind.value, steps=skipped)
                self._metrics.dropped(skipped * len(self._markets), "overdue")

    def _count(self) -> None:
        report = self.source.report()
        kind = self.source.kind.value
        self._metrics.total("gaps", kind, int(report.get("gaps", 0)))
        self._metrics.total("dropped", kind, int(report.get("dropped", 0)))


class Repeating:
    """Do something at every whole multiple of an interval of venue time."""

    def __init__(
        self, clock: Clock, interval_ns: int, action: Callable[[int], Awaitable[None]], *, priority: int
    ) -> None:
        self._clock = clock
        self._interval_ns = interval_ns
        self._action = action
        self._priority = priority

    async def run(self) -> None:
        """Repeat for ever."""
        while True:
            due_ns = (self._clock.now_ns() // self._interval_ns + 1) * self._interval_ns
            await self._clock.sleep_until(due_ns, priority=self._priority)
            await self._action(due_ns)


def steps(batch: PriceBatch) -> list[tuple[int, int]]:
    """Return first and end row of each step of a batch: rows of one time belong together."""
    rows = len(batch)
    if rows == 0:
        return []
    times = batch.ts_ns
    if rows == 1 or times[0] == times[-1]:
        return [(0, rows)]
    starts = np.flatnonzero(np.diff(times)) + 1
    bounds = [0, *starts.tolist(), rows]
    return list(pairwise(bounds))
