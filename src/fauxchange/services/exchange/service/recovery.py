"""Bring the exchange back to where it was: snapshot, then journal.

The read models say how far they go (their *position*). The kernel starts from the newest snapshot that is not beyond
it and carries out, alone, what lies between; from the position on, everything is followed as if it happened now, so
that the read models get what they lack. With an empty store that is everything: a rebuild is a recovery from nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from fauxchange.data.ports import AccountQuery, ExchangeReadModels, JournalRepository, KernelSnapshotRepository
from fauxchange.domain.errors import DamagedJournal, InvalidRequest
from fauxchange.domain.orders import CLIENT_ORDER_ID_KEPT_NS, AccountRecord
from fauxchange.services.exchange.core.engine import ROOMY, Engine, State, load_state, new_state, state_hash
from fauxchange.services.exchange.core.layout import C_TS_NS, H_EVENT_SEQUENCE, H_TS_NS
from fauxchange.services.exchange.service.entries import as_rows, unpack_batch, unpack_rows
from fauxchange.services.exchange.service.projections import Projector
from fauxchange.services.exchange.service.venue import Venue

Progress = Callable[[str, int, int], None]
"""Told what is done, how far it is, and how far it goes. Units: commands"""

FLUSH_EVERY = 20_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a recovery did. Units: commands; `snapshot` is the sequence of the snapshot it began with, 0 for none."""

    snapshot: int
    replayed: int
    followed: int
    sequence: int


async def load_newest(
    snapshots: KernelSnapshotRepository, at_most: int, compiler: Callable[..., object]
) -> tuple[int, State]:
    """Return the newest usable snapshot up to a sequence, or the state at the very beginning."""
    while (snapshot := await snapshots.newest(at_most)) is not None:
        try:
            state = load_state(snapshot.payload, compiler=compiler, least=ROOMY)
            if state_hash(state) == snapshot.state_hash:
                return snapshot.sequence, state
            reason = "its state does not have the hash that it was stored with"
        except InvalidRequest as exc:
            reason = exc.message
        log.error("snapshot_damaged", sequence=snapshot.sequence, reason=reason)
        at_most = snapshot.sequence - 1
    return 0, new_state(rooms=ROOMY)


async def recover(
    venue: Venue,
    projector: Projector,
    *,
    journal: JournalRepository,
    snapshots: KernelSnapshotRepository,
    read_models: ExchangeReadModels,
    compiler: Callable[..., object],
    progress: Progress | None = None,
) -> Recovered:
    """Bring `venue` to the end of the journal, and the read models with it.

    Raises: DamagedJournal if the journal is not whole, or ends before what is known to have been in it; Unavailable
    """
    position, document = await read_models.position()
    end = await journal.last_sequence()
    if position > end:
        raise DamagedJournal(
            f"the journal ends with command {end}, but command {position} had been carried out: the end of the "
            "journal is lost; restore it from a copy, or start with an empty data folder"
        )
    newest = await snapshots.newest()
    if newest is not None and newest.sequence > end:
        raise DamagedJournal(
            f"the journal ends with command {end}, but there is a snapshot after command {newest.sequence}: the end of "
            "the journal is lost; restore it from a copy, or start with an empty data folder"
        )
    begun, state = await load_newest(snapshots, position, compiler)
    venue.engine = Engine(state=state, compiler=compiler)
    if position:
        accounts = await _all_accounts(read_models)
        venue.registry.restore(document, accounts, await read_models.keys())
        venue.idempotent.restore(document.get("idempotency", ()))
        projector.go_on_after(position)
    replayed, followed, reached = 0, 0, begun
    taken_up = False
    async for batches in journal.read(begun):
        for stored in batches:
            if stored.last_sequence <= position:
                matrix = unpack_rows(stored.payload)
                venue.replay(as_rows(matrix), stored.last_sequence)
                venue.ts_ns = int(matrix[-1, C_TS_NS])
                replayed += stored.last_sequence - stored.first_sequence + 1
            else:
                if not taken_up:
                    taken_up = True
                    await _take_up(venue, position, read_models)
                venue.process(unpack_batch(stored.payload))
                followed += stored.last_sequence - stored.first_sequence + 1
                if projector.behind >= FLUSH_EVERY:
                    await projector.flush()
            reached = stored.last_sequence
        if progress is not None:
            progress("replaying the journal", reached, end)
    if reached != end:
        raise DamagedJournal(f"the journal should end with command {end}, but reading it ended with {reached}")
    if not taken_up:
        await _take_up(venue, position, read_models)
    await projector.flush()
    return Recovered(begun, replayed, followed, reached)


async def _take_up(venue: Venue, position: int, read_models: ExchangeReadModels) -> None:
    """Read what was known at the position: the kernel's state is there, and so are the read models."""
    header = venue.engine.state.memory
    ts_ns = int(header[H_TS_NS])
    if position:
        venue.orders.restore(await read_models.named_orders(ts_ns - CLIENT_ORDER_ID_KEPT_NS))
    venue.take_up(position, int(header[H_EVENT_SEQUENCE]), ts_ns)


async def _all_accounts(read_models: ExchangeReadModels) -> list[AccountRecord]:
    accounts: list[AccountRecord] = []
    cursor: str | None = None
    while True:
        page = await read_models.accounts(AccountQuery(limit=10_000, cursor=cursor))
        accounts += page.items
        cursor = page.next_cursor
        if cursor is None:
            return accounts
