"""Configuration in SQLite: durable when the call returns."""

import sqlite3
from collections.abc import Sequence
from functools import partial
from operator import attrgetter

from sqlalchemy import func, select

from fauxchange.data.ports import ConfigurationQuery, Page
from fauxchange.data.queries import check_versions, configuration_span
from fauxchange.data.sqlite.database import Connected
from fauxchange.data.sqlite.statements import RecordPages, RecordTable, SqliteStatement
from fauxchange.data.tables import configuration_changes
from fauxchange.domain.configuration import ConfigurationChange


class SqliteConfiguration:
    """Changes by version, append-only."""

    def __init__(self, database: Connected) -> None:
        self._database = database
        self._records = RecordTable(configuration_changes, ConfigurationChange)
        of_service = ["service", "environment"]
        self._of_service = RecordPages(self._records, fixed=of_service, position=["version"])
        self._of_key = RecordPages(self._records, fixed=[*of_service, "key"], position=["version"])
        columns = configuration_changes.c
        self._last_version = SqliteStatement(select(func.max(columns.version)))
        last = select(func.max(columns.version)).group_by(columns.service, columns.environment, columns.key)
        self._current = self._records.packed(select(configuration_changes).where(columns.version.in_(last)))

    async def append(self, changes: Sequence[ConfigurationChange]) -> None:
        """Store changes, all or none."""
        if changes:
            await self._database().write(partial(self._append, changes=changes), rows=len(changes), durable=True)

    async def current(self) -> Sequence[ConfigurationChange]:
        """Return the last change of every key."""
        found = self._records.unpack(await self._database().read(self._current.value))
        return sorted(found, key=attrgetter("version"))

    async def history(self, query: ConfigurationQuery) -> Page[ConfigurationChange]:
        """Return a page of changes."""
        span = configuration_span(query)
        pages, key = (self._of_service, {}) if query.key is None else (self._of_key, {"key": query.key})
        fixed: dict[str, object] = {"service": query.service, "environment": query.environment, **key}
        return await self._database().read(lambda connection: pages.read(connection, span, **fixed))

    def _append(self, connection: sqlite3.Connection, changes: Sequence[ConfigurationChange]) -> None:
        check_versions(changes, self._last_version.value(connection) or 0)
        self._records.insert(connection, changes)
