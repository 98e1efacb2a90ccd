"""The read models, written behind: orders, fills, ledger entries, accounts, keys, the audit trail.

What batches change is gathered and stored together, in one transaction with how far it goes. Nothing here is needed to
acknowledge an order: while the store is away, what was gathered waits (up to a bound, beyond which new orders are
refused), and after a restart it is gathered anew from the journal.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from fauxchange.data.ports import ExchangeReadModels, Projection
from fauxchange.domain.errors import FauxchangeError
from fauxchange.domain.order_columns import LedgerRows, RestingOrders
from fauxchange.domain.orders import AccountRecord, FillRecord, KeyRecord, LedgerEntry, OrderRecord, copied
from fauxchange.platform.ports import DependencyHealth, DependencyStatus
from fauxchange.services.exchange.core.layout import Int64Array
from fauxchange.services.exchange.service.entries import Batch, Block, Entry
from fauxchange.services.exchange.service.order_lists import OrderList
from fauxchange.services.exchange.service.trail import TrailWriter

FLUSH_INTERVAL_S = 0.1
RETRY_S = 1.0
MAX_BEHIND = 200_000
"""So many commands may wait for the read models before new ones are refused."""
TOLD_AT_ONCE = 2_000
"""So many stored orders are looked at, to let go of the finished ones, while the event loop does nothing else."""

log = structlog.get_logger(__name__)


class Projector:
    """Gather what changes, and store it. `position` is the sequence that the store has reached."""

    def __init__(self, store: ExchangeReadModels) -> None:
        self._store = store
        self.document: Callable[[], dict[str, Any]] = dict
        """Gives what is stored beside the position."""
        self.stored: Callable[[Sequence[int]], None] = lambda _order_ids: None
        """Told the orders whose present state has been stored."""
        self.resting: list[RestingOrders] = []
        self.orders: dict[int, OrderRecord] = {}
        """Orders that have changed; of one that is in `resting` as well, this is the later state."""
        self.fills: list[FillRecord] = []
        self.ledger: list[LedgerEntry] = []
        self.postings: list[LedgerRows] = []
        self.accounts: dict[int, AccountRecord] = {}
        self.keys: dict[str, KeyRecord] = {}
        self.trail = TrailWriter()
        self.sequence = 0
        self.position = 0
        self._storing = asyncio.Lock()
        self._unsaid: deque[OrderRecord] = deque()
        self._problem = ""
        self._left: Projection | None = None

    def go_on_after(self, sequence: int) -> None:
        """Begin behind what the store holds."""
        self.sequence = self.position = sequence
        self.trail = TrailWriter(sequence)

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

    def record_list(self, orders: OrderList, events: Int64Array, bounds: Sequence[int]) -> None:
        """Take note of plain orders that were carried out; the events are bounded as those of `record`."""
        self.trail.add_batch(orders.matrix.tobytes(), orders.notes, events.tobytes(), bounds, orders.ts_ns)
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
        projection = self._left = self._left or self._take()
        begun = time.perf_counter()
        try:
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
        self._unsaid.extend(projection.orders)
        await self._tell_stored()
        log.debug("read_models_stored", sequence=self.position, seconds=round(time.perf_counter() - begun, 3))

    async def _tell_stored(self) -> None:
        """Tell which orders were stored, in pieces between which others are served; one left over is told next time."""
        while self._unsaid:
            piece = [self._unsaid.popleft().order_id for _ in range(min(len(self._unsaid), TOLD_AT_ONCE))]
            self.stored([order_id for order_id in piece if order_id not in self.orders])
            if self._unsaid:
                await asyncio.sleep(0)

    def _take(self) -> Projection:
        """Return what was gathered, as it stands now, and begin to gather anew."""
        block = self.trail.take()
        projection = Projection(
            sequence=self.sequence,
            document=self.document(),
            accounts=list(self.accounts.values()),
            keys=list(self.keys.values()),
            resting=self.resting,
            # Orders go on changing while they are stored.
            orders=list(map(copied, self.orders.values())),
            fills=self.fills,
            ledger=self.ledger,
            postings=self.postings,
            trail=[] if block is None else [block],
        )
        self.accounts, self.keys, self.orders, self.fills, self.ledger = {}, {}, {}, [], []
        self.resting, self.postings = [], []
        return projection
