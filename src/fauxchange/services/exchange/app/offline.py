"""What can be done with an exchange's stores while it does not run: rebuild the read models, verify everything."""

import asyncio
from collections.abc import Callable

from fauxchange.data.ports import DataAdapter
from fauxchange.platform.streams.hub import Hub
from fauxchange.services.exchange.core.engine import Engine
from fauxchange.services.exchange.service.projections import Projector
from fauxchange.services.exchange.service.recovery import Progress, Recovered, recover
from fauxchange.services.exchange.service.registry import Registry
from fauxchange.services.exchange.service.venue import Venue
from fauxchange.services.exchange.service.verification import Verified, Verifier


async def rebuild_read_models(
    data: DataAdapter, *, compiler: Callable[..., object], progress: Progress | None = None
) -> Recovered:
    """Forget the read models and make them anew from the journal. Raises: DamagedJournal, Unavailable."""
    # Before anything is forgotten, so that a journal that cannot be read costs nothing.
    await verify_journal(data, progress)
    await data.exchange.clear()
    projector = Projector(data.exchange)
    venue = Venue(Engine(), Registry(), projector, hub=Hub(), epoch=0, keep=1)
    return await recover(
        venue,
        projector,
        journal=data.journal,
        snapshots=data.kernel_snapshots,
        read_models=data.exchange,
        compiler=compiler,
        progress=progress,
    )


async def verify_journal(data: DataAdapter, progress: Progress | None = None) -> int:
    """Read the whole journal and check that it hangs together; return its last sequence. Raises: DamagedJournal."""
    end = await data.journal.last_sequence()
    reached = 0
    async for batches in data.journal.read():
        reached = batches[-1].last_sequence
        if progress is not None:
            progress("reading the journal", reached, end)
        await asyncio.sleep(0)
    return reached


async def verify_stores(
    data: DataAdapter, *, compiler: Callable[..., object], progress: Progress | None = None
) -> Verified:
    """Verify journal, audit trail and snapshots. Raises: DamagedJournal that names the first bad record."""
    verifier = Verifier(data.journal, data.kernel_snapshots, data.exchange, compiler=compiler)
    return await verifier.verify(progress)
