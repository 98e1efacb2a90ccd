"""Steps that bring a file of an older version up to date; the step at position n leads from version n + 1 to the next.

A step is frozen once it has been released: what a later version changes is a step of its own.
"""

import sqlite3
from collections.abc import Callable

from fauxchange.data.sqlite.statements import create
from fauxchange.data.tables import CONFIGURATION, EXCHANGE, METADATA, ONLY_POSTGRESQL


def _add_exchange(connection: sqlite3.Connection) -> None:
    for table in METADATA.sorted_tables:
        if table.schema == EXCHANGE and table.info != ONLY_POSTGRESQL:
            create(connection, table)


def _add_configuration(connection: sqlite3.Connection) -> None:
    for table in METADATA.sorted_tables:
        if table.schema == CONFIGURATION:
            create(connection, table)


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_add_exchange, _add_configuration)
