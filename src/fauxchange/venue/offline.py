"""Work on the stores of a venue that does not run: nothing else may hold its data folder or its journal meanwhile."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fauxchange.data.adapter import open_data_adapter
from fauxchange.data.ports import DataAdapter
from fauxchange.domain.errors import ConfigurationError
from fauxchange.platform.compiler import compile_kernel, numba_available
from fauxchange.services.exchange.app.offline import rebuild_read_models, verify_stores
from fauxchange.services.exchange.core.engine import interpreted
from fauxchange.services.exchange.service.recovery import Progress, Recovered
from fauxchange.services.exchange.service.verification import Verified
from fauxchange.venue.process import data_folder
from fauxchange.venue.stores import DATABASE


async def rebuild(folder: Path, postgres_url: str | None = None, progress: Progress | None = None) -> Recovered:
    """Make the exchange's read models anew from its journal: those of a PostgreSQL database if one is named.

    Raises: ConfigurationError (nothing there, or in use), DamagedJournal, Unavailable
    """
    async with _stores(folder, postgres_url) as data:
        return await rebuild_read_models(data, compiler=_compiler(), progress=progress)


async def verify(folder: Path, postgres_url: str | None = None, progress: Progress | None = None) -> Verified:
    """Verify the journal, the audit trail and the snapshots: those of a PostgreSQL database if one is named.

    Raises: ConfigurationError (nothing there, or in use); DamagedJournal that names the first bad record; Unavailable
    """
    async with _stores(folder, postgres_url) as data:
        return await verify_stores(data, compiler=_compiler(), progress=progress)


def _compiler() -> Callable[..., Any]:
    return compile_kernel if numba_available() else interpreted


@asynccontextmanager
async def _stores(folder: Path, postgres_url: str | None) -> AsyncIterator[DataAdapter]:
    if postgres_url is not None:
        # The driver takes long to load, which work on files should not wait for.
        from fauxchange.data.postgres.connections import PostgresConfig  # noqa: PLC0415 - see above

        # Whoever uses the journal first claims it, which fails while an exchange runs on this database.
        data = await open_data_adapter(None, postgres=PostgresConfig(url=postgres_url, application_name="fauxchange"))
        try:
            yield data
        finally:
            await data.disconnect()
        return
    if not (folder / DATABASE).exists():
        raise ConfigurationError(
            f"there is no exchange in data folder {folder}; name another with --data-dir, or none where the database "
            "of POSTGRES_URL is meant",
            field="DATA_DIR",
        )
    with data_folder(folder):
        data = await open_data_adapter(folder / DATABASE)
        try:
            yield data
        finally:
            await data.disconnect()
