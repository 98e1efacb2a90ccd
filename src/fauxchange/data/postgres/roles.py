"""The roles of PostgreSQL: one that owns the database and runs migrations, and one for each service.

A service's role may log in, and read and write the tables of its own schema with the commands that its code uses:
nothing is created by it, and what is append-only can be neither changed nor deleted by it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from sqlalchemy import Table

from fauxchange.data.migrations import VERSION_SCHEMA, VERSION_TABLE
from fauxchange.data.tables import AUDIT, CONFIGURATION, EXCHANGE, MARKET_DATA, METADATA, schema_version
from fauxchange.domain.errors import InvalidRequest

DATABASE = "trading_ecosystem"
OWNER = "trading_ecosystem_owner"
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")

APPEND = ("SELECT", "INSERT")
APPEND_AND_EXPIRE = (*APPEND, "DELETE")
REPLACE = (*APPEND, "UPDATE")
EXPIRE = (*REPLACE, "DELETE")
REBUILD = (*EXPIRE, "TRUNCATE")

SCHEMAS_OF: Mapping[str, str] = {
    "market_data_adapter": MARKET_DATA,
    "exchange_adapter": EXCHANGE,
    "configuration_adapter": CONFIGURATION,
}
"""The role of each service, and the schema that is its own."""
_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "audit_events": APPEND,
    "configuration_changes": APPEND,
    "exchange_journal": APPEND,
    "exchange_journal_writer": REPLACE,
    "exchange_snapshots": EXPIRE,
    "exchange_snapshot_parts": EXPIRE,
    "price_feeds": APPEND_AND_EXPIRE,
    "candles": EXPIRE,
    "market_snapshots": EXPIRE,
    "symbols": REPLACE,
    "service_state": REPLACE,
}
"""What a service does with a table of its schema; with one that is not named, a read model, everything."""


def commands_on(table: Table) -> tuple[str, ...]:
    """Return the commands that the owner of a table's schema may use on it."""
    return _COMMANDS.get(table.name, REBUILD)


def grant_statements(existing: Iterable[str]) -> Iterator[str]:
    """Yield the statements that give those of our roles that exist what they need, and nothing that they had before."""
    there = set(existing)
    for role, schema in SCHEMAS_OF.items():
        if role in there:
            yield from _grants(role, schema)


def _grants(role: str, schema: str) -> Iterator[str]:
    tables = [
        table for table in METADATA.sorted_tables if table.schema in {schema, AUDIT} and table is not schema_version
    ]
    for name in sorted({str(table.schema) for table in tables}):
        yield f"REVOKE ALL ON ALL TABLES IN SCHEMA {name} FROM {role}"
        yield f"GRANT USAGE ON SCHEMA {name} TO {role}"
    for table in tables:
        yield f"GRANT {', '.join(commands_on(table))} ON {table.fullname} TO {role}"
    yield f"GRANT USAGE ON SCHEMA {VERSION_SCHEMA} TO {role}"
    yield f"GRANT SELECT ON {VERSION_SCHEMA}.{VERSION_TABLE} TO {role}"


def bootstrap_sql(database: str = DATABASE) -> str:
    """Return what psql runs once, as a superuser: roles and database; passwords come as variables of psql.

    It may be run again: it then sets the passwords anew. Tables and rights on them come with `fauxchange db upgrade`.

    Raises: InvalidRequest for a name that SQL would not take as it is
    """
    roles = (OWNER, *SCHEMAS_OF)
    lines = [
        "-- Roles and database of Fauxchange, for psql as a superuser; it may be run again.",
        "-- Each password is a variable: psql " + " ".join(f"-v {role}_password=..." for role in roles[:1]) + " ...",
        "\\set ON_ERROR_STOP on",
    ]
    for role in roles:
        lines += [
            f"SELECT 'CREATE ROLE {role}' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') \\gexec",  # noqa: S608 - made of constants
            f"ALTER ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'{role}_password';",
        ]
    if _NAME.fullmatch(database) is None:
        raise InvalidRequest(
            f"a database's name is of small letters, digits and underscores, at most 63, not {database!r}",
            field="database",
        )
    absent = f"NOT EXISTS (SELECT FROM pg_database WHERE datname = '{database}')"
    lines += [
        f"SELECT 'CREATE DATABASE {database} OWNER {OWNER}' WHERE {absent} \\gexec",
        f"ALTER DATABASE {database} OWNER TO {OWNER};",
        f"REVOKE ALL ON DATABASE {database} FROM PUBLIC;",
        *(f"GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {role};" for role in SCHEMAS_OF),
    ]
    return "\n".join(lines) + "\n"
