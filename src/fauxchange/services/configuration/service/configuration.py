"""The use cases: read, set, delete, roll back, look at the history, wait for what comes next.

The present lives in memory and is read there, so reading goes on while the store is away. A change is stored first; it
is seen when it is durable. Where it is not known whether a change was stored, the store is read anew before the next.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import structlog

from fauxchange.data.ports import ConfigurationQuery, ConfigurationRepository, Page
from fauxchange.domain.configuration import (
    ConfigurationChange,
    ServiceSchema,
    ValueType,
    normal_key,
    read_value,
    type_of,
)
from fauxchange.domain.errors import Conflict, NotFound, Unavailable
from fauxchange.platform.audit import AuditTrail
from fauxchange.platform.ports import Clock, DependencyHealth, DependencyStatus
from fauxchange.platform.tracing import current_request
from fauxchange.services.configuration.core.state import Configured, Namespace
from fauxchange.services.configuration.service.metrics import ConfigurationMetrics
from fauxchange.services.configuration.service.waiting import Waiting

MAX_KEYS = 10_000
"""Keys of one service in one environment."""
ATTEMPTS = 3
RETRY_S = 1.0
SEED = "seed"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value is kept. Make one with `of`, which brings the key into its one spelling."""

    service: str
    environment: str
    key: str

    @classmethod
    def of(cls, service: str, environment: str, key: str) -> "Place":
        """Return the place of a key. Raises: InvalidRequest if it is no key, or looks like a secret's."""
        return cls(service, environment, normal_key(key))

    def __str__(self) -> str:
        return f"{self.service}/{self.environment}/{self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Who wants a change, why, and which version of the key is theirs (None: whichever it has; 0: it is not set)."""

    actor: str
    comment: str = ""
    expected_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A value that a key has from the first start on, until somebody changes it."""

    place: Place
    type: ValueType
    value: Any


class ConfigurationService:
    """Keep the configuration of every service.

    Units: retry_s in seconds of wall time, after which a store that is away is tried again
    """

    def __init__(
        self,
        repository: ConfigurationRepository,
        trail: AuditTrail,
        *,
        clock: Clock,
        metrics: ConfigurationMetrics,
        schemas: Mapping[str, ServiceSchema],
        seeds: Sequence[Seed] = (),
        retry_s: float = RETRY_S,
    ) -> None:
        self._retry_s = retry_s
        self._repository = repository
        self._trail = trail
        self._clock = clock
        self._metrics = metrics
        self._schemas = schemas
        self._seeds = seeds
        self._configured = Configured()
        self._is_loaded = False
        self._is_certain = False
        self._unknown: Sequence[ConfigurationChange] = ()
        self._problem = ""
        self._changing = asyncio.Lock()
        self.waiting = Waiting(count=metrics.watchers.set)

    # What is there

    def namespace(self, service: str, environment: str) -> Namespace:
        """Return the keys of a service in an environment. Raises: Unavailable while the store has not been read."""
        self._check_loaded()
        return self._configured.namespace(service, environment)

    def value(self, place: Place) -> ConfigurationChange:
        """Return what a key is set to. Raises: NotFound, Unavailable."""
        found = self.namespace(place.service, place.environment).values.get(place.key)
        if found is None:
            raise NotFound(
                f"{place.key} of {place.service} is not set in {place.environment}",
                code="configuration_not_set",
                field="key",
            )
        return found

    def was_ever_set(self, place: Place) -> bool:
        """Say whether a key is set, or was. Raises: Unavailable."""
        self._check_loaded()
        return self._configured.was_ever_set(*_parts(place))

    def namespaces(self) -> list[tuple[str, str, Namespace]]:
        """Return every service and environment that has keys, or had. Raises: Unavailable."""
        self._check_loaded()
        return list(self._configured.namespaces())

    def schema(self, service: str) -> ServiceSchema:
        """Return what a service declares; one that declares nothing takes any key."""
        return self._schemas.get(service) or ServiceSchema(service, (), is_open=True)

    @property
    def schemas(self) -> Mapping[str, ServiceSchema]:
        """What services declare, by service."""
        return self._schemas

    async def history(self, query: ConfigurationQuery) -> Page[ConfigurationChange]:
        """Return a page of changes. Raises: InvalidRequest, Unavailable."""
        return await self._repository.history(query)

    async def next_change(self, service: str, environment: str, version: int) -> Namespace:
        """Wait until the version of a service's keys is another than this one, or the process stops; return the keys.

        Raises: RateLimited if too many wait; Unavailable
        """
        namespace = self.namespace(service, environment)
        while namespace.version == version and not self.waiting.is_over:
            await self.waiting.next_change(service, environment)
            namespace = self.namespace(service, environment)
        return namespace

    # What changes

    async def set_value(
        self,
        place: Place,
        value: Any,
        wish: Wish,
        *,
        type: ValueType | None = None,  # noqa: A002 - the field's word
    ) -> ConfigurationChange:
        """Give a key a value; the one that it has already changes nothing.

        Raises: InvalidRequest as the schema says; Conflict if the key's version is not the expected one, or there are
                too many keys; Unavailable
        """
        async with self._changing:
            return await self._change(place, wish, "set", lambda: self._read(place, value, type))

    async def delete_value(self, place: Place, wish: Wish) -> ConfigurationChange:
        """Delete a key. Raises: NotFound, Conflict as `set_value`, Unavailable."""
        async with self._changing:
            return await self._change(place, wish, "delete", lambda: (ValueType(self.value(place).type), {}))

    async def roll_back(self, place: Place, version: int, wish: Wish) -> ConfigurationChange:
        """Give a key the value that it had at a version: that of its last change up to it.

        Raises: NotFound if it had none then; InvalidRequest if it is not allowed any more; Conflict, Unavailable
        """
        query = ConfigurationQuery(service=place.service, environment=place.environment, key=place.key, limit=1_000)
        earlier: ConfigurationChange | None = None
        while earlier is None:
            page = await self._repository.history(query)
            earlier = next((change for change in page.items if change.version <= version), None)
            if page.next_cursor is None:
                break
            query = replace(query, cursor=page.next_cursor)
        if earlier is None or earlier.is_deletion:
            raise NotFound(
                f"{place.key} of {place.service} was not set at version {version} in {place.environment}",
                code="configuration_not_set",
                field="version",
            )
        value, kind = earlier.value, ValueType(earlier.type)
        async with self._changing:
            return await self._change(place, wish, "rollback", lambda: self._read(place, value, kind))

    # Its life

    async def load(self) -> None:
        """Read the store, wake who waits for what has changed, and set what the first start sets.

        Raises: Unavailable
        """
        async with self._changing:
            await self._catch_up()

    async def run(self) -> None:
        """Read the store again whenever that has failed or is wanted, and store what the trail holds; for ever."""
        while True:
            if not self._is_certain:
                with suppress(Unavailable):
                    await self.load()
            await self._trail.flush_quietly()
            await asyncio.sleep(self._retry_s)

    def health(self) -> DependencyHealth:
        """Say whether values can be told, and changed."""
        if not self._problem or self._is_certain:
            return DependencyHealth(DependencyStatus.OK)
        if not self._is_loaded:
            return DependencyHealth(DependencyStatus.DOWN, f"the store cannot be read: {self._problem}", required=True)
        return DependencyHealth(
            DependencyStatus.DEGRADED, f"values are told as they were, and cannot be changed: {self._problem}"
        )

    def state(self) -> dict[str, Any]:
        """Return the internal state, for the audit API."""
        return {
            "version": self._configured.version,
            "loaded": self._is_loaded,
            "certain": self._is_certain,
            "keys": self._configured.keys,
            "namespaces": {
                f"{service}/{environment}": {"version": namespace.version, "keys": len(namespace.values)}
                for service, environment, namespace in self._configured.namespaces()
            },
        }

    def _check_loaded(self) -> None:
        if not self._is_loaded:
            raise Unavailable(
                f"the configuration has not been read from its store: {self._problem or 'the process is starting'}",
                code="configuration_not_loaded",
                retry_after_s=RETRY_S,
            )

    def _read(self, place: Place, value: Any, kind: ValueType | None) -> tuple[ValueType, Mapping[str, Any]]:
        """Return type and content of a value, as its key is declared, else as told, as it has been, or as it is."""
        declaration = self.schema(place.service).declaration_of(place.key)
        if declaration is not None:
            if kind is not None and kind is not declaration.type:
                value = read_value(kind, value, key=place.key)
            return declaration.type, {"value": declaration.checked(place.key, value)}
        present = self._configured.get(*_parts(place))
        kind = kind or (type_of(value) if present is None else ValueType(present.type))
        return kind, {"value": read_value(kind, value, key=place.key)}

    async def _change(
        self, place: Place, wish: Wish, kind: str, read: Callable[[], tuple[ValueType, Mapping[str, Any]]]
    ) -> ConfigurationChange:
        """Store a change and let everybody see it; `read` gives its type and content from what is there."""
        for _ in range(ATTEMPTS):
            if not self._is_certain:
                await self._catch_up()
            present = self._check_expected(place, wish)
            type_, content = read()
            # By their texts, because 1, 1.0 and true are equal and not the same.
            if present is not None and (present.type, repr(present.content)) == (type_.value, repr(content)):
                return present
            change = self._next(place, type_, content, wish, self._configured.version + 1)
            try:
                await self._store([change])
            except Conflict:
                # Another process has written to the same store.
                self._is_certain = False
                continue
            self._take_in([change])
            self._metrics.changes.inc(1, kind)
            await self._trail.flush_quietly()
            return change
        raise Conflict("others change the configuration at the same time; try again", code="version_conflict")

    def _check_expected(self, place: Place, wish: Wish) -> ConfigurationChange | None:
        namespace = self._configured.namespace(place.service, place.environment)
        present = namespace.values.get(place.key)
        version = 0 if present is None else present.version
        if wish.expected_version is not None and wish.expected_version != version:
            found = "is not set" if present is None else f"has version {version}"
            raise Conflict(
                f"{place.key} of {place.service} {found} in {place.environment}, not version {wish.expected_version}",
                code="version_conflict",
                details={"version": str(version)},
            )
        if present is None and len(namespace.values) >= MAX_KEYS:
            raise Conflict(
                f"{place.service} has {MAX_KEYS} keys in {place.environment}, which is the limit",
                code="too_much_configuration",
            )
        return present

    def _next(
        self, place: Place, kind: ValueType, content: Mapping[str, Any], wish: Wish, version: int
    ) -> ConfigurationChange:
        request = current_request()
        return ConfigurationChange(
            version=version,
            service=place.service,
            environment=place.environment,
            key=place.key,
            type=kind.value,
            content=content,
            ts_ns=self._clock.now_ns(),
            actor=wish.actor,
            trace_id="" if request is None else request.trace_id,
            comment=wish.comment,
        )

    async def _store(self, changes: Sequence[ConfigurationChange]) -> None:
        try:
            await self._repository.append(changes)
        except BaseException as exc:
            # It may be stored all the same, when its storing was cut short.
            self._is_certain = False
            self._unknown = changes
            self._problem = str(exc) or type(exc).__name__
            raise

    def _take_in(self, changes: Iterable[ConfigurationChange]) -> None:
        """Let everybody see changes that are durable."""
        for change in changes:
            before = self._configured.get(change.service, change.environment, change.key)
            self._configured.apply(change)
            self._record(change, before)
            self.waiting.wake(change.service, change.environment)
        self._metrics.keys.set(self._configured.keys)

    def _record(self, change: ConfigurationChange, before: ConfigurationChange | None) -> None:
        self._trail.record(
            "configuration.deleted" if change.is_deletion else "configuration.changed",
            actor=change.actor,
            subject=f"{change.service}/{change.environment}/{change.key}",
            data={
                "version": change.version,
                "type": change.type,
                **change.content,
                "before": None if before is None else before.value,
                "comment": change.comment,
            },
        )

    async def _catch_up(self) -> None:
        """Read the store anew. Raises: Unavailable."""
        try:
            found = await self._repository.current()
        except Unavailable as exc:
            if self._problem != exc.message:
                log.warning("configuration_store_away", error=exc.message)
            self._problem = exc.message
            raise
        configured = Configured(found)
        before, self._configured = self._configured, configured
        if not self._is_loaded:
            with suppress(Unavailable):
                await self._trail.open()
            log.info("configuration_loaded", version=configured.version, keys=configured.keys)
        self._is_loaded = self._is_certain = True
        self._problem = ""
        unknown, self._unknown = self._unknown, ()
        for change in unknown:
            if change in found:
                # Its author was told that nobody knows; the trail must not lack it.
                self._record(change, before.get(change.service, change.environment, change.key))
        for service, environment, namespace in configured.namespaces():
            if namespace.version != before.namespace(service, environment).version:
                self.waiting.wake(service, environment)
        self._metrics.keys.set(configured.keys)
        await self._plant()

    async def _plant(self) -> None:
        """Set what the first start sets and nobody has ever set."""
        wish, version = Wish(actor=SEED), self._configured.version
        wanted = [seed for seed in self._seeds if not self._configured.was_ever_set(*_parts(seed.place))]
        changes = [
            self._next(seed.place, seed.type, {"value": seed.value}, wish, version + number)
            for number, seed in enumerate(wanted, 1)
        ]
        if changes:
            # Where another process was quicker, `run` reads what it has stored.
            with suppress(Conflict):
                await self._store(changes)
                self._take_in(changes)


def _parts(place: Place) -> tuple[str, str, str]:
    return place.service, place.environment, place.key
