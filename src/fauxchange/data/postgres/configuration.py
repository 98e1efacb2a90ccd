"""Configuration in PostgreSQL: durable when the call returns."""

from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from typing import Any

from sqlalchemy import func, select

from fauxchange.data.ports import ConfigurationQuery, Page
from fauxchange.data.postgres.engine import Connected
from fauxchange.data.postgres.statements import Connection, PostgresStatement, RecordPages, RecordTable
from fauxchange.data.queries import check_versions, configuration_span
from fauxchange.data.tables import configuration_changes
from fauxchange.domain.configuration import ConfigurationChange


class PostgresConfiguration:
    """Changes by version, append-only."""

    def __init__(self, database: Connected) -> None:
        self._database = database
        self._records = RecordTable(configuration_changes, ConfigurationChange)
        of_service = ["service", "environment"]
        self._of_service = RecordPages(self._records, fixed=of_service, position=["version"])
        self._of_key = RecordPages(self._records, fixed=[*of_service, "key"], position=["version"])
        columns = configuration_changes.c
        self._last_version = PostgresStatement(select(func.max(columns.version)))
        last = select(func.max(columns.version)).group_by(columns.service, columns.environment, columns.key)
        self._current = self._records.packed(select(configuration_changes).where(columns.version.in_(last)))

    async def append(self, changes: Sequence[ConfigurationChange]) -> None:
        """Store changes, all or none."""
        if changes:
            await self._database().run(partial(self._append, changes=changes), rows=len(changes))

    async def current(self) -> Sequence[ConfigurationChange]:
        """Return the last change of every key."""
        found = self._records.unpack(await self._database().run(self._current.value))
        return sorted(found, key=attrgetter("version"))

    async def history(self, query: ConfigurationQuery) -> Page[ConfigurationChange]:
        """Return a page of changes."""
        span = configuration_span(query)
        fixed: dict[str, Any] = {"service": query.service, "environment": query.environment}
        if query.key is None:
            return await self._database().run(partial(self._of_service.read, span=span, **fixed))
        return await self._database().run(partial(self._of_key.read, span=span, key=query.key, **fixed))

    async def _append(self, connection: Connection, changes: Sequence[ConfigurationChange]) -> None:
        # As in the audit trail: of two writers of one version the second has a conflict.
        check_versions(changes, await self._last_version.value(connection) or 0)
        await self._records.insert(connection, changes)
