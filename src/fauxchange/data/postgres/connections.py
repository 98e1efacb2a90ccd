"""Connections to PostgreSQL: how they are opened, how they end, and what their failures mean.

A wait for the server never outlives its caller. psycopg answers a cancelled wait by asking the server to cancel the
statement and waiting for its consent, which a frozen server never gives; here a connection that is abandoned while it
waits is closed, and the server ends what it was doing when it notices (`statement_timeout` at the latest).
"""

import asyncio
import select
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import errors as pg
from psycopg import waiting
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import ConnStatus
from sqlalchemy.exc import DBAPIError

from fauxchange.domain.errors import (
    ConfigurationError,
    Conflict,
    FauxchangeError,
    InvalidRequest,
    InvariantViolation,
    Unavailable,
)

Result = TypeVar("Result")

RETRY_S = 1.0
"""When a caller who was refused because the server is away may come back."""
_REFUSALS: tuple[type[psycopg.Error], ...] = (
    pg.InvalidAuthorizationSpecification,
    pg.InvalidPassword,
    pg.InvalidCatalogName,
    pg.InsufficientPrivilege,
)
_AUTHENTICATION = ("authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry")
"""libpq reports a refused login as an `OperationalError` without a code: its words have to do."""
_BUGS = (psycopg.ProgrammingError, psycopg.IntegrityError, psycopg.NotSupportedError)
_SCHEMA_GONE = (pg.UndefinedTable, pg.InvalidSchemaName, pg.UndefinedColumn)
_MEANINGS: tuple[
    tuple[tuple[type[BaseException], ...], Callable[[str, str], FauxchangeError | InvariantViolation]], ...
] = (
    (
        (TimeoutError,),
        lambda name, _: Unavailable(f"PostgreSQL at {name} does not answer in time", retry_after_s=RETRY_S),
    ),
    ((pg.UniqueViolation,), lambda _, reason: Conflict(f"one of these records is there already: {reason}")),
    ((psycopg.DataError,), lambda _, reason: InvalidRequest(f"PostgreSQL cannot store this: {reason}")),
    (
        (pg.InsufficientPrivilege,),
        lambda name, reason: Unavailable(
            f"PostgreSQL at {name} refuses: {reason}; run `fauxchange db upgrade` as its owner", retryable=False
        ),
    ),
    (
        _SCHEMA_GONE,
        lambda name, reason: Unavailable(
            f"PostgreSQL at {name} lacks what we need: {reason}; run `fauxchange db upgrade`", retry_after_s=RETRY_S
        ),
    ),
    (_BUGS, lambda name, reason: InvariantViolation(f"PostgreSQL at {name} refuses a statement: {reason}")),
)
"""What failures mean, the first that fits; all others are those of a server that is away or not well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresConfig:
    """Where the server is, and how patient we are with it.

    Units: times in seconds. `deadline_s` bounds a call, the wait for a connection included; a call of many rows gets
           more. `silence_s` is how long the server may take to answer the watcher before it counts as lost.
    """

    url: str
    max_connections: int = 25
    max_idle_connections: int = 10
    connection_max_lifetime_s: float = 300.0
    application_name: str = "fauxchange"
    connect_timeout_s: float = 4.0
    deadline_s: float = 5.0
    silence_s: float = 1.0
    probe_interval_s: float = 0.25


class BoundedConnection(psycopg.AsyncConnection[Any]):
    """A connection that is closed where a wait on it is cancelled."""

    async def wait(
        self,
        gen: PQGen[Result],
        interval: float = 0.1,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is psycopg's
    ) -> Result:
        """Drive a generator of psycopg; see `psycopg.AsyncConnection.wait`."""
        try:
            # Only the innermost wait is psycopg's own affair: `super().wait` would ask the server's consent.
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise


def describe(url: str) -> str:
    """Return where a URL leads, without its password: `host:port/database`."""
    try:
        parts: Mapping[str, Any] = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return "PostgreSQL"
    host = parts.get("host", "localhost")
    return f"{host}:{parts.get('port', 5432)}/{parts.get('dbname', parts.get('user', ''))}"


async def connect(config: PostgresConfig, *, purpose: str = "", autocommit: bool = True) -> BoundedConnection:
    """Open a connection; in autocommit mode each statement outside of a transaction commits by itself.

    Raises: psycopg.Error, TimeoutError; see `translated`
    """
    async with asyncio.timeout(config.connect_timeout_s):
        return await BoundedConnection.connect(**_parameters(config, purpose), autocommit=autocommit)


def _parameters(config: PostgresConfig, purpose: str) -> dict[str, Any]:
    """Return the parameters of libpq. What the URL says wins, but that time limits are added to its options."""
    given = dict(conninfo_to_dict(config.url))
    silence_ms = round(config.silence_s * 1_000)
    limits = {
        # The watcher notices a silent server; these end what it left behind, and a host that vanished from the net.
        "statement_timeout": 60_000,
        "lock_timeout": round(config.deadline_s * 1_000),
        "idle_in_transaction_session_timeout": 60_000,
    }
    options = " ".join(f"-c {name}={value}" for name, value in limits.items())
    ours = {
        "application_name": f"{config.application_name} {purpose}".rstrip(),
        "connect_timeout": max(2, round(config.connect_timeout_s)),
        "keepalives": 1,
        "keepalives_idle": 5,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        "tcp_user_timeout": max(1_000, 3 * silence_ms),
    }
    return {**ours, **given, "options": f"{options} {given.get('options', '')}".rstrip()}


def is_gone(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Return whether an idle connection was closed by the server: its socket then has something to say.

    Nothing is sent, so this costs no round trip. Whatever else an idle server may say (a notice, a changed parameter)
    comes before it closes the connection, or so seldom that a new connection costs nothing.
    """
    pgconn = connection.pgconn
    if connection.closed or pgconn.status != ConnStatus.OK:
        return True
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))


def schema_is_gone(failure: BaseException) -> bool:
    """Return whether a failure says that tables are not there any more."""
    return isinstance(origin_of(failure), _SCHEMA_GONE)


def translated(name: str, failure: BaseException) -> FauxchangeError | InvariantViolation:
    """Return what a failure of the driver means: the one place that knows."""
    failure = origin_of(failure)
    reason = first_line(failure)
    for kinds, meaning in _MEANINGS:
        if isinstance(failure, kinds):
            return meaning(name, reason)
    return Unavailable(f"PostgreSQL at {name} is away: {reason}", retry_after_s=RETRY_S)


def refused_login(name: str, failure: BaseException) -> ConfigurationError | None:
    """Return the mistake of the configuration that a failed connection tells of, or None if the server is away."""
    failure = origin_of(failure)
    if isinstance(failure, psycopg.ProgrammingError) and failure.sqlstate is None:
        # The driver's own words repeat the URL, with its password.
        return ConfigurationError(
            "POSTGRES_URL cannot be read; it is written postgresql://user:password@host:5432/database",
            field="POSTGRES_URL",
        )
    told = isinstance(failure, psycopg.OperationalError) and failure.sqlstate is None
    words = str(failure)
    if isinstance(failure, _REFUSALS) or (told and any(part in words for part in _AUTHENTICATION) and "FATAL" in words):
        return ConfigurationError(
            f"PostgreSQL at {name} refuses us: {first_line(failure)}; correct user, password and database in "
            "POSTGRES_URL, or create them (`fauxchange db roles` prints how)",
            field="POSTGRES_URL",
        )
    return None


def origin_of(failure: BaseException) -> BaseException:
    """Return the driver's own failure of one that SQLAlchemy has wrapped."""
    origin = failure.orig if isinstance(failure, DBAPIError) else None
    return failure if origin is None else origin


def first_line(failure: BaseException) -> str:
    """Return the first line of what a failure says: the others are hints for people at a prompt."""
    lines = str(failure).strip().splitlines()
    return lines[0] if lines else type(failure).__name__
