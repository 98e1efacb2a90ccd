"""One PostgreSQL database: a pool of connections, and a watcher that knows whether the server is there.

Rules of this module:

* Every call has a deadline, the wait for a connection included. What is not answered by then is `Unavailable`; whether
  a write was carried out is unknown then.
* The watcher asks the server for a sign of life on a connection of its own, several times a second. When it is lost,
  all calls under way end at once and later ones are refused without waiting; when it is back, they are let through.
  So a frozen server costs each caller about `silence_s` once, not a deadline each time.
* The server may be absent at the start: the database is opened all the same, and gets its schema when the server comes.
* A connection of the pool that the server has closed meanwhile is noticed before it is used, without a round trip.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import psycopg
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from fauxchange.data.metrics import StoreMetrics
from fauxchange.data.postgres.connections import (
    BoundedConnection,
    PostgresConfig,
    connect,
    describe,
    first_line,
    is_gone,
    refused_login,
    schema_is_gone,
    translated,
)
from fauxchange.data.postgres.schema import prepare_schema
from fauxchange.domain.errors import ConfigurationError, FauxchangeError, Unavailable
from fauxchange.platform.logging import get_logger
from fauxchange.platform.ports import DependencyHealth, DependencyStatus

_log = get_logger(__name__)

Result = TypeVar("Result")
Connection = psycopg.AsyncConnection[Any]
Work = Callable[[Connection], Awaitable[Result]]

DEDICATED_CONNECTIONS = 2
"""Connections outside of the pool: the watcher's, and the one of the exchange's journal."""
SECONDS_PER_ROW = 0.000_5
"""What a call may take longer for each of its rows: some twenty times what it takes."""
SLICES = 4
_FAILURES = (psycopg.Error, DBAPIError, TimeoutError, OSError)

Prepare = Callable[[PostgresConfig, Connection], Awaitable[None]]


class PostgresDatabase:
    """A database that is watched. Make one with `open`, in the event loop that will use it."""

    def __init__(self, config: PostgresConfig, *, prepare: Prepare, metrics: StoreMetrics) -> None:
        self.config = config
        self.name = describe(config.url)
        self._prepare = prepare
        self._metrics = metrics
        self._engine = _engine(config)
        self._slots = asyncio.Semaphore(max(1, config.max_connections - DEDICATED_CONNECTIONS))
        self._calls: set[asyncio.Timeout] = set()
        self._watching: BoundedConnection | None = None
        self._suspicion = asyncio.Event()
        self._is_known = asyncio.Event()
        self._problem: str | None = "not connected yet"
        self._announced: bool | None = None
        self._refusal: Exception | None = None
        self._is_schema_checked = False
        self._generation = 0
        self._closing = False
        self._watcher: asyncio.Task[None] | None = None
        self.is_here = asyncio.Event()
        """Set while the server is there, for whoever waits for its return."""

    @classmethod
    async def open(
        cls, config: PostgresConfig, *, prepare: Prepare = prepare_schema, metrics: StoreMetrics | None = None
    ) -> "PostgresDatabase":
        """Connect and bring the schema up to date, or begin to wait for the server if it is away.

        Raises: ConfigurationError if the server is there and cannot be used as it is; what a bug raises
        """
        database = cls(config, prepare=prepare, metrics=metrics or StoreMetrics(None))
        database._watcher = asyncio.get_running_loop().create_task(database._watch(), name=f"watch {database.name}")
        try:
            await database._is_known.wait()
            if database._refusal is not None:
                raise database._refusal
        except BaseException:
            await database.close()
            raise
        return database

    @property
    def problem(self) -> str | None:
        """Why the server cannot be used, or None if it can."""
        return self._problem

    async def read(self, work: Work[Result]) -> Result:
        """Do what `run` does; reading and writing are alike here."""
        return await self.run(work)

    async def write(self, work: Work[Result], *, rows: int = 1) -> Result:
        """Do what `run` does."""
        return await self.run(work, rows=rows)

    async def run(self, work: Work[Result], *, rows: int = 0) -> Result:
        """Run `work` on a connection in autocommit mode; begin a transaction in it where several statements are one.

        Raises: Unavailable (a write may have been carried out); Conflict if a key is taken; what `work` raises
        """
        if self._problem is not None:
            raise self._away()
        begun = asyncio.get_running_loop().time()
        outcome = "failed"
        try:
            async with asyncio.timeout(self.config.deadline_s + rows * SECONDS_PER_ROW) as call:
                self._calls.add(call)
                try:
                    async with self._slots, self._connection() as connection:
                        result = await work(connection)
                finally:
                    self._calls.discard(call)
            outcome = "ok"
        except _FAILURES as exc:
            failure = translated(self.name, exc)
            if isinstance(failure, Unavailable):
                self._is_schema_checked = self._is_schema_checked and not schema_is_gone(exc)
                self.suspect()
                if self._problem is not None:
                    raise self._away() from exc
            raise failure from exc
        except FauxchangeError:
            outcome = "ok"
            raise
        finally:
            self._metrics.called("postgresql", outcome, asyncio.get_running_loop().time() - begun)
        return result

    async def connect_alone(self, purpose: str) -> BoundedConnection:
        """Return a new connection outside of the pool, in autocommit mode; its owner closes it.

        Raises: Unavailable
        """
        if self._problem is not None:
            raise self._away()
        try:
            return await connect(self.config, purpose=purpose)
        except _FAILURES as exc:
            self.suspect()
            raise translated(self.name, exc) from exc

    def suspect(self) -> None:
        """Let the watcher look at once: somebody had no luck with the server."""
        self._suspicion.set()

    def health(self) -> DependencyHealth:
        """Return `down` while the server cannot be used."""
        if self._problem is not None:
            return DependencyHealth(DependencyStatus.DOWN, f"{self.name}: {self._problem}")
        return DependencyHealth(DependencyStatus.OK, self.name)

    async def close(self) -> None:
        """Let the calls under way finish, then close all connections; safe to call twice."""
        self._closing = True
        self._problem = "closed"
        self.is_here.clear()
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.wait([watcher])
        await self._drop_watching()
        for _ in range(max(1, self.config.max_connections - DEDICATED_CONNECTIONS)):
            # Each call has its deadline, so this comes to an end.
            await self._slots.acquire()
        await self._engine.dispose()
        for _ in range(max(1, self.config.max_connections - DEDICATED_CONNECTIONS)):
            self._slots.release()

    def _away(self) -> Unavailable:
        return Unavailable(
            f"PostgreSQL at {self.name} cannot be used: {self._problem}",
            retryable=not self._closing,
            retry_after_s=None if self._closing else 1.0,
        )

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        generation = self._generation
        pooled = await self._engine.connect()
        driver: Any = (await pooled.get_raw_connection()).driver_connection
        try:
            yield driver
        finally:
            # The pool of an earlier generation is gone: what comes back to it would stay open, and unused.
            if generation != self._generation or is_unusable(driver):
                await pooled.invalidate()
            await pooled.close()

    async def _watch(self) -> None:
        while True:
            try:
                await self._probe()
            except ConfigurationError as exc:
                self._refusal = exc
                await self._lost(exc.message)
            except Unavailable as exc:
                await self._lost(exc.message)
            except _FAILURES as exc:
                self._refusal = refused_login(self.name, exc)
                await self._lost((self._refusal or translated(self.name, exc)).args[0])
            # A bug, or a server that is none of those we know: whoever waits must hear of it, and it may pass.
            except Exception as exc:
                self._refusal = exc
                await self._lost(first_line(exc))
            else:
                self._refusal = None
                self._found()
            self._is_known.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(self.config.probe_interval_s):
                    await self._suspicion.wait()
            self._suspicion.clear()

    async def _probe(self) -> None:
        if self._watching is None or self._watching.closed:
            self._watching = await connect(self.config, purpose="watch")
            self._is_schema_checked = False
        if not self._is_schema_checked:
            await self._prepare(self.config, self._watching)
            # SQLAlchemy asks several things of its first server: no caller should have to wait for that.
            async with asyncio.timeout(self.config.connect_timeout_s + self.config.deadline_s):
                await (await self._engine.connect()).close()
            self._is_schema_checked = True
        sign = asyncio.ensure_future(_ask(self._watching))
        # In slices, so that a time that our own loop was busy does not count as the server's silence.
        try:
            for _ in range(SLICES):
                await asyncio.wait([sign], timeout=self.config.silence_s / SLICES)
                if sign.done():
                    break
            else:
                raise Unavailable(f"no answer within {self.config.silence_s:g} s")
        finally:
            # Also where the watcher itself is ended while it waits.
            if not sign.done():
                sign.cancel()
                await asyncio.wait([sign])
        if sign.result():
            raise Unavailable("the server is a standby, which takes no writes")

    async def _lost(self, problem: str) -> None:
        self._problem = problem
        self.is_here.clear()
        if self._announced is not False:
            self._announced = False
            self._metrics.up("postgresql", is_up=False)
            _log.error("Running in stub mode", store=f"postgresql:{self.name}", reason=problem)
        now_s = asyncio.get_running_loop().time()
        for call in self._calls:
            # One that has just ended by its own deadline is still being unwound.
            if not call.expired():
                call.reschedule(now_s)
        await self._drop_watching()
        self._generation += 1
        await self._engine.dispose()

    def _found(self) -> None:
        self._problem = None
        self.is_here.set()
        if self._announced is not True:
            self._announced = True
            self._metrics.up("postgresql", is_up=True)
            _log.info("DataAdapter connected", store=f"postgresql:{self.name}")

    async def _drop_watching(self) -> None:
        watching, self._watching = self._watching, None
        if watching is not None:
            await watching.close()


def is_unusable(connection: Connection) -> bool:
    """Return whether a connection was left in the middle of something, or is closed."""
    return connection.closed or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE


async def _ask(connection: BoundedConnection) -> bool:
    """Return whether the server is a standby, which is as quick as any other question."""
    # Not prepared: that would make it two questions once.
    row = await (await connection.execute("SELECT pg_is_in_recovery()", prepare=False)).fetchone()
    return bool(row and row[0])


def _engine(config: PostgresConfig) -> AsyncEngine:
    pool: dict[str, Any] = {"poolclass": NullPool}
    if config.max_idle_connections > 0:
        # How many there are at most is seen to by our own semaphore; here it is how many stay open.
        pool = {
            "pool_size": config.max_idle_connections,
            "max_overflow": -1,
            "pool_recycle": config.connection_max_lifetime_s,
        }

    async def create() -> BoundedConnection:
        return await connect(config)

    # The driver reads the URL itself: all of its parameters mean what libpq's documentation says.
    engine = create_async_engine("postgresql+psycopg://", async_creator=create, use_native_hstore=False, **pool)

    @event.listens_for(engine.sync_engine, "checkout")
    def _noticed(dbapi_connection: Any, _record: object, _proxy: object) -> None:
        if is_gone(dbapi_connection.driver_connection):
            raise InvalidatePoolError

    return engine


Connected = Callable[[], PostgresDatabase]
"""Returns the database, connected or waiting for its server. Raises: Unavailable while there is none."""
