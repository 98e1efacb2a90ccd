"""The schema of a PostgreSQL database: where it stands, bringing it up to date, comparing it with `data/tables.py`.

Upgrades of several processes at once follow each other: each holds an advisory lock from before it looks until it has
committed, so the second finds nothing to do. A migration happens as a whole or not at all.
"""

import asyncio
import logging
from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors as pg
from sqlalchemy import Connection as SqlConnection
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from fauxchange.data.migrations import HEAD, VERSION_SCHEMA, VERSION_TABLE
from fauxchange.data.postgres.connections import (
    PostgresConfig,
    connect,
    describe,
    first_line,
    origin_of,
    refused_login,
    translated,
)
from fauxchange.data.postgres.roles import grant_statements
from fauxchange.data.tables import METADATA, schema_version
from fauxchange.domain.errors import ConfigurationError
from fauxchange.platform.logging import get_logger

if TYPE_CHECKING:
    from alembic.config import Config

_log = get_logger(__name__)

UPGRADE_S = 300.0
"""How long an upgrade may take, waiting for another one included."""
LOCK = 4_216_337_650_139_521
"""The key of the advisory lock that upgrades hold: any number, the same in every version."""
SCHEMAS = tuple(sorted({str(table.schema) for table in METADATA.tables.values()}))

_IN_THE_WAY = (pg.DuplicateTable, pg.DuplicateObject, pg.WrongObjectType)
_CURRENT = f"SELECT version_num FROM {VERSION_SCHEMA}.{VERSION_TABLE}"  # noqa: S608 - made of constants


def context_options() -> dict[str, Any]:
    """Return what Alembic is told wherever it looks at a database."""
    return {
        "include_schemas": True,
        "include_name": lambda name, kind, _parents: kind != "schema" or name in SCHEMAS,
        # SQLite keeps its version in a table of its own.
        "include_object": lambda thing, _name, kind, *_: not (kind == "table" and thing is schema_version),
        "version_table": VERSION_TABLE,
        "version_table_schema": VERSION_SCHEMA,
        "compare_type": True,
    }


async def current_version(connection: psycopg.AsyncConnection[Any]) -> str | None:
    """Return the migration that a database has reached, None if it has none. Raises: psycopg.Error."""
    try:
        row = await (await connection.execute(_CURRENT)).fetchone()
    except (pg.UndefinedTable, pg.InvalidSchemaName):
        return None
    return None if row is None else str(row[0])


async def prepare_schema(config: PostgresConfig, connection: psycopg.AsyncConnection[Any]) -> None:
    """See to it that the schema is ours: bring it up to date if this role may, else check it.

    Raises: ConfigurationError if it is older and this role may not change it, or newer than this program
    """
    try:
        async with asyncio.timeout(config.deadline_s):
            version = await current_version(connection)
    except pg.InsufficientPrivilege as exc:
        raise _not_permitted(config, exc) from exc
    if version == HEAD:
        return
    if version is not None and version > HEAD:
        raise _newer(config, version)
    async with asyncio.timeout(config.deadline_s):
        row = await (
            await connection.execute("SELECT current_user, has_database_privilege(current_database(), 'CREATE')")
        ).fetchone()
    if row is None or not row[1]:
        raise ConfigurationError(
            f"the schema of PostgreSQL at {describe(config.url)} is {_shown(version)} and this program needs {HEAD}; "
            f"the role {'' if row is None else row[0]} may not change it: run `fauxchange db upgrade` as its owner",
            field="POSTGRES_URL",
        )
    await upgrade(config)


async def upgrade(config: PostgresConfig) -> tuple[str | None, str]:
    """Bring a database up to date; return the migration it had reached before, and the one it has now.

    Raises: ConfigurationError if it cannot be done as it is asked for; Unavailable if the server is away
    """

    def work(connection: SqlConnection) -> str | None:
        from alembic import command  # noqa: PLC0415 - Alembic takes long to load, and few starts need it

        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        before = _reached(connection)
        if before is not None and before > HEAD:
            raise _newer(config, before)
        if before != HEAD:
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {VERSION_SCHEMA}"))
            command.upgrade(_alembic(connection), "head")
        for statement in grant_statements(_roles(connection)):
            connection.execute(text(statement))
        if before != HEAD:
            _log.info("schema_upgraded", store=f"postgresql:{describe(config.url)}", before=before, now=HEAD)
        return before

    return await _with_alembic(config, work), HEAD


async def reached(config: PostgresConfig) -> str | None:
    """Return the migration that a database has reached, None if it has none.

    Raises: ConfigurationError, Unavailable
    """
    found: str | None = await _with_alembic(config, _reached)
    return found


async def differences(config: PostgresConfig) -> list[str]:
    """Return how the live schema differs from `data/tables.py`, a line for each; none if it does not.

    Raises: ConfigurationError, Unavailable
    """

    def work(connection: SqlConnection) -> list[str]:
        from alembic.autogenerate import compare_metadata  # noqa: PLC0415 - as above
        from alembic.migration import MigrationContext  # noqa: PLC0415 - as above

        live = MigrationContext.configure(connection, opts=context_options())
        return [_told(change) for change in compare_metadata(live, METADATA)]

    found: list[str] = await _with_alembic(config, work)
    return found


def _alembic(connection: SqlConnection) -> "Config":
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(files("fauxchange.data") / "migrations"))
    config.attributes["connection"] = connection
    return config


def _reached(connection: SqlConnection) -> str | None:
    found = connection.execute(
        text("SELECT to_regclass(:name)"), {"name": f"{VERSION_SCHEMA}.{VERSION_TABLE}"}
    ).scalar()
    if found is None:
        return None
    version = connection.execute(text(_CURRENT)).scalar()
    return None if version is None else str(version)


def _roles(connection: SqlConnection) -> list[str]:
    return [str(name) for name in connection.execute(text("SELECT rolname FROM pg_roles")).scalars()]


async def _with_alembic(config: PostgresConfig, work: Callable[[SqlConnection], Any]) -> Any:
    """Run `work` in one transaction, on a connection of its own."""
    # It tells of each of its plugins; what counts we tell ourselves.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    name = describe(config.url)
    engine = create_async_engine(
        "postgresql+psycopg://",
        async_creator=lambda: connect(config, purpose="upgrade", autocommit=False),
        use_native_hstore=False,
        poolclass=NullPool,
    )
    try:
        async with asyncio.timeout(UPGRADE_S), engine.begin() as connection:
            return await connection.run_sync(work)
    except (psycopg.Error, DBAPIError, TimeoutError, OSError) as exc:
        origin = origin_of(exc)
        if isinstance(origin, pg.InsufficientPrivilege):
            raise _not_permitted(config, exc) from exc
        if isinstance(origin, _IN_THE_WAY):
            raise ConfigurationError(
                f"PostgreSQL at {name} has something in the way that is not ours ({first_line(origin)}); "
                "move it away, or use another database",
                field="POSTGRES_URL",
            ) from exc
        raise refused_login(name, exc) or translated(name, exc) from exc
    finally:
        await engine.dispose()


def _not_permitted(config: PostgresConfig, failure: BaseException) -> ConfigurationError:
    return ConfigurationError(
        f"PostgreSQL at {describe(config.url)} refuses: {first_line(origin_of(failure))}; run "
        "`fauxchange db upgrade` with the URL of the database's owner, which gives the services' roles their rights",
        field="POSTGRES_URL",
    )


def _newer(config: PostgresConfig, version: str) -> ConfigurationError:
    return ConfigurationError(
        f"the schema of PostgreSQL at {describe(config.url)} is {version}, newer than this program, which knows "
        f"{HEAD}; update the program or use another database",
        field="POSTGRES_URL",
    )


def _shown(version: str | None) -> str:
    return "not there" if version is None else f"at {version}"


def _told(change: Any) -> str:
    """Return one of Alembic's differences, which say what would put the database right, as what is wrong with it."""
    if isinstance(change, list):
        return "; ".join(_told(each) for each in change)
    verb, _, kind = str(change[0]).partition("_")
    parts = [part for part in change[1:] if part is not None and not isinstance(part, dict)]
    named = ".".join(str(getattr(part, "fullname", None) or getattr(part, "name", part)) for part in parts)
    if verb == "modify":
        place, now, needed = ".".join(map(str, parts[:-2])), *parts[-2:]
        return f"another {kind} of {place}: {now} instead of {needed}"
    return f"{'missing' if verb == 'add' else 'surplus'} {kind}: {named}"
