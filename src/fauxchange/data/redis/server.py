"""One Redis server: a pool of connections, and a watcher that knows whether the server is there.

Rules of this module:

* Every call has a deadline, the wait for a connection included. Only what may be done twice is tried again, and only
  when the connection broke; a server that is silent is not asked a second time.
* The watcher asks for a sign of life on a connection of its own, several times a second. When none comes, the calls
  under way end at once and later ones are refused without waiting: a frozen server costs each caller `silence_s` once.
* A connection of the watcher that breaks counts as a loss even if the next one is made at once: the server may have
  been restarted, and what was known of its contents counts no more.
* The server may be absent at the start. Nothing that is kept here is something that the venue cannot do without.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import redis.asyncio
from redis.exceptions import AuthenticationError, AuthorizationError, RedisError, ResponseError

from fauxchange.data.metrics import StoreMetrics
from fauxchange.domain.errors import ConfigurationError, Unavailable
from fauxchange.platform.chance import jitter
from fauxchange.platform.logging import get_logger
from fauxchange.platform.ports import DependencyHealth, DependencyStatus
from fauxchange.platform.rpc.backoff import RetryPolicy, RetrySchedule

_log = get_logger(__name__)

Command = tuple[Any, ...]
"""A command's name and arguments, as the protocol has them."""

SLICES = 4
SLOW_S = 0.25
KEEP_IDLE_EVERY_S = 10.0
_REPEAT = RetryPolicy(tries=2, first_s=0.05, longest_s=0.05)
_REFUSED_LOGIN = (AuthenticationError, AuthorizationError)
_FAILURES = (RedisError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisConfig:
    """How a server is used.

    `pool_size` bounds the connections of calls; the watcher, and each follower of price streams, has one besides.
    Units: seconds
    """

    url: str
    pool_size: int = 10
    min_idle: int = 2
    deadline_s: float = 2.0
    silence_s: float = 1.0
    probe_interval_s: float = 0.25


class RedisServer:
    """A server that is watched. `connect` and `disconnect` belong to the event loop that uses it."""

    def __init__(self, config: RedisConfig, *, metrics: StoreMetrics | None = None) -> None:
        self.config = config
        self.name = describe(config.url)
        self._metrics = metrics or StoreMetrics(None)
        # RESP 2 and no driver information: a login is one round trip, and a user needs no right to CLIENT.
        self._pool = _pool(config, config.pool_size)
        self._client: Any = redis.asyncio.Redis(connection_pool=self._pool)
        self._alone = _pool(config, 1)
        self._slots = asyncio.Semaphore(config.pool_size)
        self._calls: set[asyncio.Timeout] = set()
        self._watching: Any = None
        self._watcher: asyncio.Task[None] | None = None
        self._suspicion = asyncio.Event()
        self._is_known = asyncio.Event()
        self._refusal: ConfigurationError | None = None
        self._problem: str | None = "not connected"
        self._announced: bool | None = None
        self._latency_s = 0.0
        self._next_idle_s = 0.0
        self._lost: list[Callable[[], None]] = []
        self.is_here = asyncio.Event()
        """Set while the server is there, for whoever waits for its return."""

    @property
    def problem(self) -> str | None:
        """Why the server cannot be used, or None if it can."""
        return self._problem

    def on_loss(self, forget: Callable[[], None]) -> None:
        """Call `forget` whenever the server was lost, even if it was back within the same moment."""
        self._lost.append(forget)

    async def connect(self) -> None:
        """Find the server, or begin to wait for it; safe to call twice.

        Raises: ConfigurationError if it is there and refuses our user or password
        """
        if self._watcher is None:
            self._is_known.clear()
            self._watcher = asyncio.get_running_loop().create_task(self._watch(), name=f"watch {self.name}")
        await self._is_known.wait()
        if self._refusal is not None:
            refusal = self._refusal
            await self.disconnect()
            raise refusal

    async def disconnect(self) -> None:
        """End the calls under way and close all connections; safe to call twice."""
        watcher, self._watcher = self._watcher, None
        self.is_here.clear()
        self._problem, self._announced = "not connected", None
        if watcher is not None:
            watcher.cancel()
            await asyncio.wait([watcher])
        self._end_calls()
        for _ in range(self.config.pool_size):
            # Each call has ended or is about to, so this comes to an end.
            await self._slots.acquire()
        for _ in range(self.config.pool_size):
            self._slots.release()
        await self._drop_watching()
        await self._pool.aclose()

    async def call(self, *command: Any, repeatable: bool = True) -> Any:
        """Carry out one command. `repeatable` says that doing it twice does no harm.

        Raises: Unavailable if the server is away, or refuses it; it may have been carried out
        """
        return (await self.batch([command], repeatable=repeatable))[0]

    async def batch(
        self, commands: Sequence[Command], *, atomic: bool = False, repeatable: bool = True, keep_errors: bool = False
    ) -> list[Any]:
        """Carry out commands in one round trip, all or none if `atomic`; return what each answered.

        With `keep_errors` the server's refusal of a command is its answer (a ResponseError).
        Raises: Unavailable as `call`
        """
        if self._problem is not None:
            raise self._away()
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        schedule = RetrySchedule(_REPEAT, deadline_s=begun_s + self.config.deadline_s, chance=jitter)
        outcome = "failed"
        try:
            while True:
                try:
                    answers = await self._try(commands, atomic=atomic, keep_errors=keep_errors)
                except redis.exceptions.ConnectionError as exc:
                    pause_s = schedule.pause_s(loop.time()) if repeatable and _may_pass(exc) else None
                    if pause_s is None or self._problem is not None:
                        raise
                    self.suspect()
                    await asyncio.sleep(pause_s)
                else:
                    outcome = "ok"
                    return answers
        except ResponseError as exc:
            raise Unavailable(f"Redis at {self.name} refuses {commands[0][0]}: {exc}", retryable=False) from exc
        except _FAILURES as exc:
            self.suspect()
            if self._problem is not None:
                raise self._away() from exc
            raise Unavailable(f"Redis at {self.name}: {_told(exc)}", retry_after_s=1.0) from exc
        finally:
            self._metrics.called("redis", outcome, loop.time() - begun_s)

    async def open_alone(self) -> "LoneConnection":
        """Return a new connection outside of the pool, for calls that wait in the server; its owner closes it.

        Raises: Unavailable
        """
        if self._problem is not None:
            raise self._away()
        connection = LoneConnection(self, self._alone.make_connection())
        await connection.connect()
        return connection

    def suspect(self) -> None:
        """Let the watcher look at once: somebody had no luck with the server."""
        self._suspicion.set()

    def health(self) -> DependencyHealth:
        """Return `down` while the server cannot be used, `degraded` while it is slow."""
        if self._problem is not None:
            return DependencyHealth(DependencyStatus.DOWN, f"{self.name}: {self._problem}")
        if self._latency_s > SLOW_S:
            return DependencyHealth(DependencyStatus.DEGRADED, f"{self.name} answers in {self._latency_s:.2f} s")
        return DependencyHealth(DependencyStatus.OK, self.name)

    def _away(self) -> Unavailable:
        return Unavailable(f"Redis at {self.name} cannot be used: {self._problem}", retry_after_s=1.0)

    async def _try(self, commands: Sequence[Command], *, atomic: bool, keep_errors: bool) -> list[Any]:
        async with asyncio.timeout(self.config.deadline_s) as call:
            self._calls.add(call)
            try:
                async with self._slots:
                    with _closed_is_lost():
                        return await self._ask(commands, atomic=atomic, keep_errors=keep_errors)
            finally:
                self._calls.discard(call)

    async def _ask(self, commands: Sequence[Command], *, atomic: bool, keep_errors: bool) -> list[Any]:
        if len(commands) == 1 and not keep_errors:
            return [await self._client.execute_command(*commands[0])]
        async with self._client.pipeline(transaction=atomic) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return cast("list[Any]", await pipeline.execute(raise_on_error=not keep_errors))

    async def _watch(self) -> None:
        while self._watcher is asyncio.current_task():
            try:
                await self._probe()
            except _FAILURES as exc:
                await self._note_loss(exc)
            else:
                await self._note_presence()
            self._is_known.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(self.config.probe_interval_s):
                    await self._suspicion.wait()
            self._suspicion.clear()

    async def _probe(self) -> None:
        if self._watching is None:
            self._watching = self._alone.make_connection()
            with _closed_is_lost():
                async with asyncio.timeout(self.config.deadline_s):
                    await self._watching.connect()
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        sign = asyncio.ensure_future(_ping(self._watching))
        try:
            # In slices, so that a time that our own loop was busy does not count as the server's silence.
            for _ in range(SLICES):
                await asyncio.wait([sign], timeout=self.config.silence_s / SLICES)
                if sign.done():
                    break
            else:
                raise TimeoutError(f"no answer within {self.config.silence_s:g} s")
            sign.result()
        finally:
            sign.cancel()
            await asyncio.wait([sign])
        self._latency_s = loop.time() - begun_s

    async def _note_loss(self, exc: BaseException) -> None:
        refused = isinstance(exc, _REFUSED_LOGIN)
        self._problem = _told(exc)
        self._refusal = (
            ConfigurationError(
                f"Redis at {self.name} refuses the user or the password of REDIS_URL: {exc}", field="REDIS_URL"
            )
            if refused
            else None
        )
        self.is_here.clear()
        if self._announced is not False:
            self._announced = False
            self._metrics.up("redis", is_up=False)
            _log.error("Running in stub mode", store=f"redis:{self.name}", reason=self._problem)
        for forget in self._lost:
            forget()
        self._end_calls()
        await self._drop_watching()
        with suppress(*_FAILURES):
            await self._pool.disconnect(inuse_connections=False)

    async def _note_presence(self) -> None:
        self._problem = self._refusal = None
        self.is_here.set()
        if self._announced is not True:
            self._announced = True
            self._metrics.up("redis", is_up=True)
            _log.info("DataAdapter connected", store=f"redis:{self.name}")
            self._next_idle_s = 0.0
        if asyncio.get_running_loop().time() >= self._next_idle_s:
            self._next_idle_s = asyncio.get_running_loop().time() + KEEP_IDLE_EVERY_S
            await self._keep_idle()

    async def _keep_idle(self) -> None:
        """Open as many connections as are to be kept, so that callers need not wait for a login."""
        opened: list[Any] = []
        slots = 0
        try:
            with _closed_is_lost():
                async with asyncio.timeout(self.config.deadline_s):
                    # With slots of their own they are not what a caller finds missing.
                    for _ in range(min(self.config.min_idle, self.config.pool_size)):
                        await self._slots.acquire()
                        slots += 1
                        opened.append(await self._pool.get_connection())
        except _FAILURES:
            # Either the pool is in use anyway, or the next probe tells that the server is gone.
            self.suspect()
        finally:
            for connection in opened:
                await self._pool.release(connection)
            for _ in range(slots):
                self._slots.release()

    def _end_calls(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for call in self._calls:
            if not call.expired():
                call.reschedule(now_s)

    async def _drop_watching(self) -> None:
        watching, self._watching = self._watching, None
        if watching is not None:
            with suppress(*_FAILURES):
                await watching.disconnect(nowait=True)


class LoneConnection:
    """A connection of one owner."""

    def __init__(self, server: RedisServer, connection: Any) -> None:
        self._server = server
        self._connection = connection

    async def connect(self) -> None:
        """Open it. Raises: Unavailable."""
        try:
            with _closed_is_lost():
                async with asyncio.timeout(self._server.config.deadline_s):
                    await self._connection.connect()
        except _FAILURES as exc:
            await self.close()
            raise self._failed(exc) from exc

    async def call(self, *command: Any, waits_s: float = 0.0) -> Any:
        """Carry out one command, which may wait in the server. Raises: Unavailable; close the connection then."""
        try:
            with _closed_is_lost():
                async with asyncio.timeout(waits_s + self._server.config.deadline_s):
                    await self._connection.send_command(*command)
                    return await self._connection.read_response()
        except _FAILURES as exc:
            raise self._failed(exc) from exc

    async def close(self) -> None:
        """Close it; safe to call twice."""
        with suppress(*_FAILURES):
            await self._connection.disconnect(nowait=True)

    def _failed(self, exc: BaseException) -> Unavailable:
        self._server.suspect()
        return Unavailable(f"Redis at {self._server.name}: {_told(exc)}", retry_after_s=1.0)


def describe(url: str) -> str:
    """Return where a URL leads to, without the user and the password."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return parts.path
    database = parts.path.strip("/") or "0"
    return f"{parts.hostname}:{parts.port or 6379}/{database}"


def _pool(config: RedisConfig, size: int) -> Any:
    pool: Any = redis.asyncio.ConnectionPool
    try:
        return pool.from_url(
            config.url,
            max_connections=size,
            protocol=2,
            driver_info=None,
            # Our own deadlines end calls: the driver's would use `wait_for`, which may swallow a cancellation.
            socket_timeout=None,
            socket_connect_timeout=config.deadline_s,
        )
    except (ValueError, RedisError) as exc:
        raise ConfigurationError("REDIS_URL cannot be read; it is written redis://user:password@host:6379/0") from exc


async def _ping(connection: Any) -> None:
    with _closed_is_lost():
        await connection.send_command("PING")
        await connection.read_response()


@contextmanager
def _closed_is_lost() -> Iterator[None]:
    """Turn what uvloop says of a connection that was just closed, a RuntimeError, into what the driver says of it."""
    try:
        yield
    except RuntimeError as exc:
        if "closed" not in str(exc):
            raise
        raise redis.exceptions.ConnectionError("the connection was closed") from exc


def _may_pass(exc: Exception) -> bool:
    return not isinstance(exc, _REFUSED_LOGIN)


def _told(exc: BaseException) -> str:
    return str(exc) or "no answer in time"
