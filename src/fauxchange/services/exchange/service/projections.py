"""The read models, written behind: orders, fills, ledger entries, accounts, keys, the audit trail.

What batches change is gathered and stored together, in one transaction with how far it goes. Nothing here is needed to
acknowledge an order: while the store is away, what was gathered waits (up to a bound, beyond which new orders are
refused), and after a restart it is gathered anew from the journal.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from fauxchange.data.ports import ExchangeReadModels, Projection
from fauxchange.domain.errors import FauxchangeError
from fauxchange.domain.orders import AccountRecord, FillRecord, KeyRecord, LedgerEntry, OrderRecord, copied
from fauxchange.platform.ports import DependencyHealth, DependencyStatus
from fauxchange.services.exchange.core.layout import Int64Array
from fauxchange.services.exchange.service.entries import Batch, Block, Entry
from fauxchange.services.exchange.service.trail import OpenBlock, TrailWriter

FLUSH_INTERVAL_S = 0.1
RETRY_S = 1.0
MAX_BEHIND = 200_000
"""So many commands may wait for the read models before new ones are refused."""

log = structlog.get_logger(__name__)


class Projector:
    """Gather what changes, and store it. `position` is the sequence that the store has reached."""

    def __init__(self, store: ExchangeReadModels) -> None:
        self._store = store
        self.document: Callable[[], dict[str, Any]] = dict
        """Gives what is stored beside the position."""
        self.stored: Callable[[Sequence[int]], None] = lambda _order_ids: None
        """Told the orders whose present state has been stored."""
        self.orders: dict[int, OrderRecord] = {}
        self.fills: list[FillRecord] = []
        self.ledger: list[LedgerEntry] = []
        self.accounts: dict[int, AccountRecord] = {}
        self.keys: dict[str, KeyRecord] = {}
        self.trail = TrailWriter()
        self.sequence = 0
        self.position = 0
        self._storing = asyncio.Lock()
        self._problem = ""
        self._left: tuple[Projection, OpenBlock | None] | None = None

    def go_on_after(self, sequence: int, trail: TrailWriter) -> None:
        """Begin behind what the store holds."""
        self.sequence = self.position = sequence
        self.trail = trail

    @property
    def behind(self) -> int:
        """How many commands the store lacks."""
        return self.sequence - self.position

    def record(self, entries: Sequence[Entry], batch: Batch, events: Int64Array, bounds: Sequence[int]) -> None:
        """Take note of commands of a batch that were carried out.

        The events of entry `i` are rows `bounds[i]:bounds[i + 1]`.
        """
        notes = [entry.packed for entry in entries]
        begun = entries[0].sequence - batch.first_sequence
        rows = batch.matrix[begun : begun + len(entries)]
        self.trail.add_batch(rows.tobytes(), notes, events.tobytes(), bounds, entries[0].ts_ns)
        self.sequence = self.trail.sequence

    def record_block(self, block: Block, events: Int64Array, told: Int64Array) -> None:
        """Take note of a block that was carried out; of its events, `told` are those that concern others."""
        self.trail.add_slice(block, events, told)
        self.sequence = block.last_sequence

    def health(self) -> DependencyHealth:
        """Say whether the read models are being stored."""
        if self._problem:
            return DependencyHealth(
                DependencyStatus.DEGRADED, f"the read models are {self.behind} commands behind: {self._problem}"
            )
        return DependencyHealth(DependencyStatus.OK)

    async def run(self) -> None:
        """Store what was gathered, again and again, until cancelled."""
        while True:
            try:
                await self.flush()
                pause_s = FLUSH_INTERVAL_S
            except FauxchangeError:
                # Logged and told by `health`.
                pause_s = RETRY_S
            await asyncio.sleep(pause_s)

    async def flush(self) -> None:
        """Store everything gathered before this call. Raises: Unavailable (it stays gathered)."""
        wanted = self.sequence
        # Whoever comes while another stores waits for it, and then stores what is new for all who wait.
        while self.position < wanted:
            async with self._storing:
                if self.position < wanted:
                    await self._store_next()

    async def _store_next(self) -> None:
        projection, block = self._left or self._take()
        self._left = (projection, block)
        begun = time.perf_counter()
        try:
            if block is not None and not projection.trail:
                projection.trail = [await asyncio.to_thread(block.pack)]
            await self._store.store(projection)
        except FauxchangeError as exc:
            if not self._problem:
                log.error("read_models_failed", error=exc.message, behind=self.behind)
            self._problem = exc.message
            raise
        if self._problem:
            log.warning("read_models_recovered", behind=self.behind)
        self._problem = ""
        self._left = None
        self.position = projection.sequence
        self.stored([record.order_id for record in projection.orders if record.order_id not in self.orders])
        log.debug("read_models_stored", sequence=self.position, seconds=round(time.perf_counter() - begun, 3))

    def _take(self) -> tuple[Projection, OpenBlock | None]:
        """Return what was gathered, as it stands now, and begin to gather anew."""
        projection = Projection(
            sequence=self.sequence,
            document=self.document(),
            accounts=list(self.accounts.values()),
            keys=list(self.keys.values()),
            # Orders go on changing while they are stored.
            orders=list(map(copied, self.orders.values())),
            fills=self.fills,
            ledger=self.ledger,
        )
        self.accounts, self.keys, self.orders, self.fills, self.ledger = {}, {}, {}, [], []
        return projection, self.trail.take()
