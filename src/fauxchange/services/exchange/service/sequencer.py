"""The sequencer: one queue, one order of events.

Commands that arrive during one turn of the event loop, or while the journal stores the batch before, become one batch.
While each turn brings more of them, a few turns are waited for, since a batch costs about as much as ten commands. It
gets sequence numbers and the venue's time, is stored durably, and only then carried out and answered. While the journal
stores a batch, the one before it is carried out; so that there is one to carry out, of many commands that wait a batch
is half.

When storing fails nothing was carried out and nothing is acknowledged: callers are refused at once, and whether the
batch was stored all the same is found out before the next one. If it was, it is carried out, late.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import structlog

from fauxchange.data.ports import JournalRepository
from fauxchange.domain.errors import FauxchangeError, Unavailable, check
from fauxchange.platform.ports import Clock, DependencyHealth, DependencyStatus
from fauxchange.services.exchange.service.blocks import Pack, pack_columns
from fauxchange.services.exchange.service.entries import Batch, Block, Item, pack_batch, seal, size_of, spread
from fauxchange.services.exchange.service.order_lists import OrderList

MAX_BATCH = 1_000
"""So many commands are stored together at most, but for the last list of them; a block is one of them."""
MANY = 128
"""Of more than so many commands that wait only half are stored, to be carried out while the others are."""
FEW_ORDERS = 8
"""So few orders of a list are carried out more quickly one by one."""
ENOUGH = 64
"""So many commands are stored without waiting for more."""
TURNS = 8
"""For so many turns of the event loop a batch waits at most, while each of them brings more commands."""
RETRY_S = 0.25
RETRY_AFTER_S = 1.0

log = structlog.get_logger(__name__)


class Processor(Protocol):
    """Who carries out what has been stored."""

    def process(self, batch: Batch) -> None:
        """Carry out a batch and give each entry its events."""
        ...

    def drop(self, entries: Sequence[Item]) -> None:
        """Take note that these commands were not stored and never will be."""
        ...


class Sequencer:
    """Order, store and carry out commands. Units: max_queue in commands, of which a block is one."""

    def __init__(
        self,
        journal: JournalRepository,
        processor: Processor,
        *,
        clock: Clock,
        max_queue: int,
        spawn: Callable[..., object],
        pack: Pack = pack_columns,
    ) -> None:
        self._pack = pack
        self._journal = journal
        self._processor = processor
        self._clock = clock
        self._max_queue = max_queue
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._queue: list[Item] = []
        self._queued = 0
        self._waiting_ones = 0
        """How much of what may wait does: commands, of which a block is one."""
        self._storing: Batch | None = None
        self._scheduled = False
        self._turns = 0
        self._gathered = 0
        self._problem = ""
        self._closed = False
        self._next_sequence = 1
        self._last_ns = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.batches = 0
        self.commands = 0

    @property
    def waiting(self) -> int:
        """How many commands wait to be stored or are being stored."""
        return self._queued + (0 if self._storing is None else len(self._storing.matrix))

    @property
    def _busy(self) -> bool:
        return self._storing is not None or self._scheduled

    def go_on_after(self, sequence: int, ts_ns: int) -> None:
        """Give the next command the number after `sequence`, and no time before that one's."""
        check(self._storing is None and not self._queue, "numbering is set before the first command")
        self._next_sequence = sequence + 1
        self._last_ns = ts_ns

    def submit(self, *entries: Item) -> None:
        """Take commands in, to be stored together where they fit; each entry's `done` tells when it is over.

        Raises: Unavailable if nothing can be stored now or too much waits; then none of them was taken
        """
        self._check_room(sum(map(weight_of, entries)))
        self._take_in(*entries)

    def open_list(self, done: Callable[[OrderList], None]) -> OrderList:
        """Return the list at the end of the queue, to which exactly one plain order must be added now.

        Raises: Unavailable as `submit` does
        """
        self._check_room(1)
        last = self._queue[-1] if self._queue else None
        if not isinstance(last, OrderList) or not last.is_open:
            last = OrderList(done)
            self._take_in(last)
        self._queued += 1
        self._waiting_ones += 1
        return last

    def _check_room(self, more: int) -> None:
        if self._problem or self._closed:
            reason = self._problem or "the exchange is stopping"
            raise Unavailable(
                f"orders cannot be stored: {reason}", code="journal_unavailable", retry_after_s=RETRY_AFTER_S
            )
        if self._waiting_ones + more > self._max_queue:
            raise Unavailable(
                f"{self._waiting_ones} commands wait already, which is the limit",
                code="queue_full",
                retry_after_s=RETRY_AFTER_S,
            )

    def _take_in(self, *entries: Item) -> None:
        if self._idle.is_set():
            self._idle.clear()
            # From the first command that waits to the last that is answered, venue time stands still.
            self._clock.hold()
        self._queue.extend(entries)
        self._queued += sum(map(size_of, entries))
        self._waiting_ones += sum(map(weight_of, entries))
        if not self._busy:
            self._scheduled = True
            self._loop.call_soon(self._store_next)

    async def run_dry(self) -> None:
        """Wait until everything submitted so far, and what that leads to, has been answered."""
        while not self._idle.is_set():
            await self._idle.wait()

    async def close(self) -> None:
        """Refuse what comes from now on, and finish what was taken in."""
        self._closed = True
        await self.run_dry()

    def health(self) -> DependencyHealth:
        """Say whether orders can be stored."""
        if self._problem:
            return DependencyHealth(DependencyStatus.DOWN, f"the journal cannot be written: {self._problem}", True)
        return DependencyHealth(DependencyStatus.OK, "", True)

    def _store_next(self) -> None:
        self._scheduled = False
        if self._storing is not None:
            # One batch is under way; when it is stored, what waits is next.
            return
        if not self._queue:
            self._rest()
            return
        if self._gathered < self._queued < ENOUGH and self._turns < TURNS:
            self._gathered = self._queued
            self._turns += 1
            self._scheduled = True
            self._loop.call_soon(self._store_next)
            return
        self._turns = self._gathered = 0
        entries = self._first_of_queue()
        now_ns = max(self._last_ns, self._clock.now_ns())
        batch = seal(entries, self._next_sequence, now_ns, self._last_ns, self._pack)
        self._last_ns = batch.ts_ns
        self._queued -= len(batch.matrix)
        self._storing = batch
        stored = partial(self._stored, batch)
        self._journal.append_soon(batch.first_sequence, batch.last_sequence, pack_batch(batch), stored)

    def _first_of_queue(self) -> list[Item]:
        """Return what is stored next, and take it out of the queue."""
        weight = count = 0
        entries: list[Item] = []
        limit = min(MAX_BATCH, max(MANY, self._waiting_ones // 2))
        for item in self._queue:
            if weight >= limit:
                break
            weight += weight_of(item)
            count += 1
            if isinstance(item, OrderList) and len(item) < FEW_ORDERS:
                entries += spread(item)
            else:
                entries.append(item)
        del self._queue[:count]
        self._waiting_ones -= weight
        return entries

    def _stored(self, batch: Batch, failure: Exception | None) -> None:
        check(self._storing is batch, "batches are stored one at a time, in their order")
        self._storing = None
        if failure is not None:
            self._fail(batch, failure)
            return
        self._next_sequence = batch.last_sequence + 1
        self.batches += 1
        self.commands += len(batch.matrix)
        if self._queue:
            # The journal stores the next batch while this one is carried out.
            self._store_next()
        self._carry_out(batch)
        if not self._busy:
            self._store_next()

    def _carry_out(self, batch: Batch) -> None:
        self._processor.process(batch)
        for entry in batch.entries:
            self._answer(entry)

    def _rest(self) -> None:
        if not self._idle.is_set():
            self._idle.set()
            self._clock.release()

    def _fail(self, batch: Batch, failure: Exception) -> None:
        self._problem = failure.message if isinstance(failure, FauxchangeError) else str(failure)
        log.error("journal_failed", error=self._problem, first_sequence=batch.first_sequence)
        waiting, self._queue, self._queued, self._waiting_ones = self._queue, [], 0, 0
        self._drop(waiting)
        self._spawn(self._reconcile(batch), "journal reconciliation")

    async def _reconcile(self, batch: Batch) -> None:
        """Find out whether a batch whose storing failed was stored; then go on.

        Raises: Conflict, DamagedJournal and others, if this process must store nothing any more
        """
        try:
            last = await self._journal_end(batch)
        except Exception as exc:
            # Nothing goes on from here, and the supervisor stops the process: nobody must be left waiting for it.
            self._problem = exc.message if isinstance(exc, FauxchangeError) else str(exc)
            self._tell_unknown(batch)
            self._rest()
            raise
        if last is None:
            self._rest()
            return
        self._problem = ""
        stored = last == batch.last_sequence
        log.warning("journal_reconciled", stored=stored, first_sequence=batch.first_sequence, last_sequence=last)
        if stored:
            self._next_sequence = batch.last_sequence + 1
            self._carry_out(batch)
        else:
            self._drop(batch.entries)
        self._store_next()

    async def _journal_end(self, batch: Batch) -> int | None:
        """Return what the journal ends with after a failed batch, as soon as that can be said; None at the end."""
        while True:
            try:
                last = await self._journal.last_sequence()
            except Unavailable as exc:
                self._problem = exc.message
            else:
                check(
                    last in {batch.first_sequence - 1, batch.last_sequence},
                    f"the journal ends with {last}, which is neither before nor after the batch that failed",
                )
                return last
            self._tell_unknown(batch)
            if self._closed:
                return None
            await asyncio.sleep(RETRY_S)

    def _tell_unknown(self, batch: Batch) -> None:
        """Tell who still waits for a batch that nobody knows what became of it."""
        self._fail_all(
            [entry for entry in batch.entries if entry.failure is None],
            "whether the order was stored is not known yet; ask for it by its client order id, or repeat it",
            code="outcome_unknown",
        )

    def _drop(self, entries: Sequence[Item]) -> None:
        self._processor.drop(entries)
        self._fail_all(entries, "nothing was done: the journal cannot be written", code="journal_unavailable")

    def _fail_all(self, entries: Sequence[Item], message: str, *, code: str) -> None:
        for entry in entries:
            entry.failure = Unavailable(message, code=code, retry_after_s=RETRY_AFTER_S)
            self._answer(entry)

    def _answer(self, entry: Item) -> None:
        # An entry and whoever waits for it are of one kind.
        done: Callable[[Any], None] | None = entry.done
        entry.done = None
        if done is None:
            return
        try:
            done(entry)
        # A bug in one answer must not keep the others from theirs; the supervisor hears of it and stops the process.
        except Exception as exc:
            self._loop.call_exception_handler({"message": "an answer could not be given", "exception": exc})


def weight_of(item: Item) -> int:
    """Return how much an item counts of what may wait.

    A block is one: however large, it is the only one, and must not be what others are refused for.
    """
    return 1 if isinstance(item, Block) else size_of(item)
