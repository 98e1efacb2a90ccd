"""History: what was published, written behind the feed in large batches.

The feed never waits for the store unless it runs so far ahead that memory would grow (`overfull`). A store that fails
keeps its backlog up to a bound; beyond it the oldest rows are given up, counted and logged once, because a feed that
stops for its history is worth less than one with a hole in it.
"""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from fauxchange.data.ports import CandleRepository, MarketSnapshotRepository, PriceFeedRepository
from fauxchange.domain.errors import Conflict, Unavailable
from fauxchange.domain.intervals import INTERVALS_NS
from fauxchange.domain.market_data import (
    Candle,
    MarketSnapshot,
    PriceFeed,
    Quote,
    candle_record,
    price_feed,
)
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_S
from fauxchange.platform.ports import Clock, DependencyHealth, DependencyStatus

BATCH_ROWS = 5_000
BACKLOG_ROWS = 100_000
FLUSH_INTERVAL_S = 1.0
FLUSHES_PER_OPEN_CANDLES = 5
"""Open candles are stored for whoever reads the tables; our own readers see them as they are."""
RETENTION_EVERY_NS = 10 * NS_PER_MINUTE

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long history is kept. Units: nanoseconds of venue time; None keeps it for ever."""

    prices_ns: int | None
    second_candles_ns: int | None
    candles_ns: int | None
    snapshots_ns: int | None


class History:
    """Write prices, candles and snapshots behind the feed."""

    def __init__(
        self,
        prices: PriceFeedRepository,
        candles: CandleRepository,
        snapshots: MarketSnapshotRepository,
        *,
        clock: Clock,
        epoch: int,
        retention: Retention,
        open_candles: Callable[[], Sequence[Candle]],
    ) -> None:
        self._prices = prices
        self._candles = candles
        self._snapshots = snapshots
        self._clock = clock
        self._epoch = epoch
        self._retention = retention
        self._open_candles = open_candles
        self._new_prices: list[Quote] = []
        self._new_candles: list[Candle] = []
        self._flushing = asyncio.Lock()
        self._writes: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._failure = ""
        self._task: asyncio.Task[None] | None = None
        self._next_retention_ns = 0
        self.rows_lost = 0

    def add_price(self, quote: Quote) -> None:
        """Write this quote soon."""
        self._new_prices.append(quote)

    def add_candle(self, candle: Candle) -> None:
        """Write this closed candle soon."""
        self._new_candles.append(candle)

    @property
    def backlog(self) -> int:
        """How many rows wait to be written."""
        return len(self._new_prices) + len(self._new_candles)

    @property
    def overfull(self) -> bool:
        """Whether the feed should wait for `flush` before it goes on; for a store that fails it does not wait."""
        return self.backlog >= BATCH_ROWS and not self._failure

    def start(self) -> None:
        """Begin to write in the background."""
        self._task = asyncio.get_running_loop().create_task(self._write_for_ever(), name="history")

    async def stop(self) -> None:
        """Write what is left, and stop."""
        if self._task is not None:
            # Told, not cancelled: a write that is under way is finished.
            self._stopping.set()
            await self._task
            self._task = None
        await self.flush(self._open_candles())

    async def flush(self, open_candles: Sequence[Candle] = ()) -> None:
        """Write what waits, and these candles that are still open, as they stand.

        Failures are kept in `health` and the rows stay in the backlog. A caller that is cancelled (a request whose
        deadline is over, a feed that is stopped) leaves the write to go on: rows that were taken are not lost.
        """
        write = asyncio.get_running_loop().create_task(self._flush(open_candles), name="history flush")
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)
        await asyncio.shield(write)

    async def _flush(self, open_candles: Sequence[Candle]) -> None:
        async with self._flushing:
            prices, self._new_prices = self._new_prices, []
            candles, self._new_candles = self._new_candles, []
            try:
                if prices:
                    await self._store([price_feed(quote, epoch=self._epoch) for quote in prices])
                    prices = []
                records = [candle_record(candle) for candle in candles]
                records += [candle_record(candle) for candle in open_candles]
                if records:
                    await self._candles.upsert_many(records)
                await self._retain()
            except Unavailable as exc:
                self._keep_backlog(prices, candles, exc)
            else:
                if self._failure:
                    log.info("history_recovered", rows_lost=self.rows_lost)
                self._failure = ""

    async def save_snapshot(self, snapshot: MarketSnapshot) -> None:
        """Store a market snapshot. Raises: Unavailable."""
        await self._snapshots.create(snapshot)

    def health(self) -> DependencyHealth:
        """Say whether history is being written."""
        if self._failure:
            return DependencyHealth(DependencyStatus.DEGRADED, f"history is not being written: {self._failure}")
        return DependencyHealth(DependencyStatus.OK, f"{self.backlog} rows waiting")

    async def _write_for_ever(self) -> None:
        for count in itertools.count(1):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), FLUSH_INTERVAL_S)
                return
            await self.flush(self._open_candles() if count % FLUSHES_PER_OPEN_CANDLES == 0 else ())

    async def _store(self, feeds: Sequence[PriceFeed]) -> None:
        try:
            await self._prices.create_many(feeds)
        except Conflict as exc:
            # An earlier write was carried out although it was reported as failed: store what is not there yet.
            log.warning("history_stored_twice", error=exc.message)
            for feed in feeds:
                with suppress(Conflict):
                    await self._prices.create(feed)

    def _keep_backlog(self, prices: list[Quote], candles: list[Candle], failure: Unavailable) -> None:
        if not self._failure:
            log.error("history_failed", error=failure.message, backlog=len(prices) + len(candles))
        self._failure = failure.message
        self._new_prices[:0] = prices
        self._new_candles[:0] = candles
        excess = len(self._new_prices) - BACKLOG_ROWS
        if excess > 0:
            del self._new_prices[:excess]
            self.rows_lost += excess
        excess = len(self._new_candles) - BACKLOG_ROWS
        if excess > 0:
            del self._new_candles[:excess]
            self.rows_lost += excess

    async def _retain(self) -> None:
        now_ns = self._clock.now_ns()
        if now_ns < self._next_retention_ns:
            return
        self._next_retention_ns = now_ns + RETENTION_EVERY_NS
        keep = self._retention
        if keep.prices_ns is not None:
            await self._prices.delete_before(now_ns - keep.prices_ns)
        if keep.snapshots_ns is not None:
            await self._snapshots.delete_before(now_ns - keep.snapshots_ns)
        for interval_ns in INTERVALS_NS.values():
            kept_ns = keep.second_candles_ns if interval_ns == NS_PER_S else keep.candles_ns
            if kept_ns is not None:
                await self._candles.delete_before(now_ns - kept_ns, interval_ns=interval_ns)
