"""The client of the configuration service: values as the types they are meant to be, cached, kept while it is away.

It asks over HTTP, any server that has the same routes. What it was told is fresh for as long as `Cache-Control` says,
and for the cache's own time at most; after that it asks whether that still holds (`If-None-Match`). While the service
is away it goes on with what it knew, says so once in the log, and shows it in a metric.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx
import msgspec
import structlog

from fauxchange.domain.configuration import ValueType, read_value
from fauxchange.domain.errors import FauxchangeError, InvalidRequest, NotFound, Unavailable
from fauxchange.domain.times import NS_PER_S, parse_duration
from fauxchange.platform.ports import CacheRepository, CacheStatistics, DependencyHealth, DependencyStatus, MetricsPort
from fauxchange.platform.tracing import outgoing_headers

FindUrl = Callable[[], Awaitable[str | None]]
"""Say where the service is now; None if nobody knows."""
WallTime = Callable[[], int]
Value = TypeVar("Value")

PREFIX: Final = "config"
KEPT_S: Final = 86_400.0
"""How long a value is kept for the case that the service is away."""
RETRY_S: Final = 1.0
"""While the service is away it is asked again this often."""
WAIT_S: Final = 20
ABSENT_S: Final = 5.0
"""How long a key that is not set is taken for that, where the service does not say: it says so of values alone."""
POLL_S: Final = 1.0
"""How often a server is asked for changes that does not wait when it is asked to."""
PAGE: Final = 10_000

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age\s*=\s*\"?(\d{1,9})")

log = structlog.get_logger(__name__)


class _Required(Enum):
    VALUE = "a value is required"


class _Entry(msgspec.Struct, kw_only=True):
    """What the cache holds of one answer; `body` is None where there is no such key."""

    body: Any
    tag: str | None
    fresh_until_ns: int
    is_kept: bool = True


class ConfigurationClientMetrics:
    """Count where values came from."""

    def __init__(self, metrics: MetricsPort) -> None:
        self.lookups = metrics.counter(
            "configuration_client_lookups_total",
            "Values asked for, by where they came from (cache, unchanged, fetched, stale, nowhere).",
            ("result",),
        )
        self.away = metrics.gauge("configuration_client_away", "1 while the configuration service does not answer.")


class Values(msgspec.Struct, frozen=True, kw_only=True):
    """All values of a service, as they are at a version."""

    version: int
    values: Mapping[str, Any]


class ConfigurationClient:
    """The values of one service in one environment.

    Units: ttl_s, timeout_s, retry_s and poll_s in seconds of wall time
    """

    name = "configuration-client"

    def __init__(
        self,
        url: str | FindUrl,
        *,
        service: str,
        environment: str,
        cache: CacheRepository,
        metrics: MetricsPort,
        wall_ns: WallTime,
        ttl_s: float = 300.0,
        timeout_s: float = 2.0,
        retry_s: float = RETRY_S,
        poll_s: float = POLL_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.service = service
        self.environment = environment
        self._find_url = _always(url) if isinstance(url, str) else url
        self._cache = cache
        self._metrics = ConfigurationClientMetrics(metrics)
        self._wall_ns = wall_ns
        self._ttl_s = ttl_s
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._poll_s = poll_s
        # The server is named by hand or by the registry: proxies of the environment are not meant for it.
        self._http = httpx.AsyncClient(timeout=timeout_s, trust_env=False, transport=transport)
        self._asking: dict[str, asyncio.Lock] = {}
        self._away_until_ns = 0
        self._problem = ""

    async def start(self) -> None:
        """Do nothing: connections are made when something is asked."""

    async def stop(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def health(self) -> DependencyHealth:
        """Return `degraded` while the service is away: values are told as they were."""
        if self._problem:
            return DependencyHealth(DependencyStatus.DEGRADED, self._problem)
        return DependencyHealth(DependencyStatus.OK)

    @property
    def problem(self) -> str:
        """Why the service cannot be asked at present; empty if it can."""
        return self._problem

    # Values as what they are meant to be

    async def get_str(self, key: str, default: str | _Required = _Required.VALUE) -> str:
        """Return a text. Raises: NotFound or Unavailable if there is none, and no default; InvalidRequest."""
        return await self._get(key, ValueType.STR, str, default)

    async def get_int(self, key: str, default: int | _Required = _Required.VALUE) -> int:
        """Return a whole number. Raises: as `get_str`."""
        return await self._get(key, ValueType.INT, int, default)

    async def get_float(self, key: str, default: float | _Required = _Required.VALUE) -> float:
        """Return a number. Raises: as `get_str`."""
        return await self._get(key, ValueType.FLOAT, float, default)

    async def get_decimal(self, key: str, default: Decimal | _Required = _Required.VALUE) -> Decimal:
        """Return an exact number. Raises: as `get_str`."""
        return await self._get(key, ValueType.DECIMAL, Decimal, default)

    async def get_bool(self, key: str, default: bool | _Required = _Required.VALUE) -> bool:
        """Return a truth value. Raises: as `get_str`."""
        return await self._get(key, ValueType.BOOL, bool, default)

    async def get_duration_ns(self, key: str, default: int | _Required = _Required.VALUE) -> int:
        """Return a duration in nanoseconds. Raises: as `get_str`."""
        return await self._get(key, ValueType.DURATION, parse_duration, default)

    async def get_list(self, key: str, default: Sequence[Any] | _Required = _Required.VALUE) -> Sequence[Any]:
        """Return a list. Raises: as `get_str`."""
        return await self._get(key, ValueType.LIST, list, default)

    async def get_json(self, key: str, default: Any = _Required.VALUE) -> Any:
        """Return a value as it is. Raises: as `get_str`."""
        return await self._get(key, ValueType.JSON, lambda value: value, default)

    # All values, and what becomes of them

    async def values(self) -> Values:
        """Return all values, from the cache while they are fresh. Raises: Unavailable if nothing is known of them."""
        entry = await self._entry("", self._ask_values)
        return msgspec.convert(entry.body, Values)

    async def watch(self) -> AsyncGenerator[Values, None]:
        """Yield all values, and again whenever one of them has changed, for ever.

        A service that is away is asked again and again; what was known in the cache is yielded meanwhile.
        """
        known: _Entry | None = await self._cached("")
        if known is not None:
            yield msgspec.convert(known.body, Values)
        while True:
            begun_s = asyncio.get_running_loop().time()
            try:
                # One that was away is asked for an answer at once, so that it is known to be back.
                entry = await self._ask_values(known, wait_s=0 if self._problem else WAIT_S)
            except (Unavailable, InvalidRequest) as exc:
                self._is_away(exc.message)
                await asyncio.sleep(self._retry_s)
                continue
            self._is_back()
            await self._keep("", entry)
            if known is None or entry.body != known.body:
                known = entry
                yield msgspec.convert(entry.body, Values)
                continue
            known = entry
            if asyncio.get_running_loop().time() - begun_s < self._poll_s:
                await asyncio.sleep(self._poll_s)

    # The cache

    async def cached_keys(self, pattern: str = "*") -> Sequence[str]:
        """Return the keys that match a glob pattern and of which something is in the cache."""
        prefix = self._name("")
        return [name.removeprefix(prefix) for name in await self._cache.keys(prefix + pattern) if name != prefix]

    async def forget(self, pattern: str = "*") -> int:
        """Forget what the cache holds of the keys that match a glob pattern; return how many."""
        return await self._cache.delete(self._name("") + pattern)

    async def statistics(self) -> CacheStatistics:
        """Return how often the cache could answer, and how much it holds."""
        return await self._cache.statistics()

    # How it asks

    async def _get(
        self, key: str, kind: ValueType, convert: Callable[[Any], Value], default: Value | _Required
    ) -> Value:
        try:
            entry = await self._entry(key, lambda known: self._ask_value(key, known))
            if entry.body is None:
                raise NotFound(
                    f"{key} of {self.service} is not set in {self.environment}",
                    code="configuration_not_set",
                    field=key,
                )
        except (NotFound, Unavailable):
            if isinstance(default, _Required):
                raise
            return default
        value = entry.body["value"]
        try:
            return convert(value if kind is ValueType.JSON else read_value(kind, value, key=key))
        except InvalidRequest as exc:
            raise InvalidRequest(
                f"{self.service} has {key} = {value!r} in {self.environment}: {exc.message}",
                code="wrong_value_type",
                field=key,
            ) from exc

    async def _entry(self, key: str, ask: Callable[[_Entry | None], Awaitable[_Entry]]) -> _Entry:
        """Return what is known of a key, asking if it is not fresh. Raises: Unavailable, InvalidRequest."""
        # One question at a time for each key: who comes meanwhile finds the answer in the cache.
        async with self._asking.setdefault(key, asyncio.Lock()):
            known = await self._cached(key)
            now_ns = self._wall_ns()
            if known is not None and now_ns < known.fresh_until_ns:
                self._metrics.lookups.inc(1, "cache")
                return known
            if now_ns >= self._away_until_ns:
                try:
                    entry = await ask(known)
                except Unavailable as exc:
                    self._is_away(exc.message)
                else:
                    self._is_back()
                    self._metrics.lookups.inc(
                        1, "unchanged" if known is not None and entry.tag == known.tag else "fetched"
                    )
                    await self._keep(key, entry)
                    return entry
        if known is None:
            self._metrics.lookups.inc(1, "nowhere")
            raise Unavailable(
                f"{key or 'the configuration'} of {self.service} cannot be had: {self._problem}",
                code="configuration_unavailable",
                retry_after_s=self._retry_s,
            )
        self._metrics.lookups.inc(1, "stale")
        return known

    async def _ask_value(self, key: str, known: _Entry | None) -> _Entry:
        response = await self._request(f"/{quote(key, safe='')}", known)
        if response.status_code == httpx.codes.NOT_FOUND:
            return self._made(None, response)
        if response.status_code == httpx.codes.NOT_MODIFIED and known is not None:
            return self._made(known.body, response, tag=known.tag)
        document = self._document(response)
        if "value" not in document:
            raise Unavailable(f"{response.url} answered without a value")
        return self._made({"value": document["value"]}, response)

    async def _ask_values(self, known: _Entry | None, *, wait_s: int = 0) -> _Entry:
        values: dict[str, Any] = {}
        cursor: str | None = None
        while True:
            page = {} if cursor is None else {"cursor": cursor}
            conditional = known if cursor is None else None
            response = await self._request("", conditional, wait_s=wait_s, limit=str(PAGE), **page)
            if response.status_code == httpx.codes.NOT_MODIFIED and known is not None:
                return self._made(known.body, response, tag=known.tag)
            document = self._document(response)
            try:
                values |= {each["key"]: each["value"] for each in document["values"]}
                version, cursor = int(document.get("version", 0)), document.get("next_cursor")
            except (KeyError, TypeError, ValueError) as exc:
                raise Unavailable(f"{response.url} answered something else than values") from exc
            if cursor is None:
                return self._made({"version": version, "values": values}, response)

    async def _request(self, path: str, known: _Entry | None, *, wait_s: int = 0, **query: str) -> httpx.Response:
        """Ask the service. Raises: Unavailable if it does not answer; InvalidRequest if it refuses the question."""
        url = await self._find_url()
        if url is None:
            raise Unavailable("no configuration service is known; set CONFIG_SERVICE_URL, or start one")
        headers = outgoing_headers()
        if known is not None and known.tag is not None:
            headers["if-none-match"] = known.tag
            if wait_s:
                headers["prefer"] = f"wait={wait_s}"
        try:
            response = await self._http.get(
                f"{url.rstrip('/')}/api/v1/configuration/{quote(self.service, safe='')}{path}",
                params={"environment": self.environment, **query},
                headers=headers,
                timeout=self._timeout_s + wait_s,
            )
        except httpx.TimeoutException as exc:
            raise Unavailable(f"the configuration service at {url} did not answer in {self._timeout_s:g} s") from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise Unavailable(f"the configuration service at {url} does not answer: {exc}") from exc
        status = response.status_code
        if status >= 500 or status == httpx.codes.TOO_MANY_REQUESTS:
            raise Unavailable(f"the configuration service at {url} answered {status}")
        if response.is_error and status != httpx.codes.NOT_FOUND:
            raise InvalidRequest(
                f"the configuration service at {url} refuses: {_detail(response)}", field=path[1:] or None
            )
        return response

    def _document(self, response: httpx.Response) -> dict[str, Any]:
        try:
            document = msgspec.json.decode(response.content)
        except (msgspec.DecodeError, RecursionError):
            document = None
        if not isinstance(document, dict) or response.status_code != httpx.codes.OK:
            raise Unavailable(f"{response.url} answered {response.status_code} without JSON: it is no such service")
        return document

    def _made(self, body: Any, response: httpx.Response, *, tag: str | None = None) -> _Entry:
        control = response.headers.get("cache-control", "")
        max_age = _MAX_AGE.search(control)
        longest_s = self._ttl_s if body is not None else min(self._ttl_s, ABSENT_S)
        fresh_s = longest_s if max_age is None else min(self._ttl_s, int(max_age[1]))
        if "no-cache" in control or "no-store" in control:
            fresh_s = 0
        return _Entry(
            body=body,
            tag=tag or response.headers.get("etag"),
            fresh_until_ns=self._wall_ns() + round(fresh_s * NS_PER_S),
            is_kept="no-store" not in control,
        )

    # What it keeps

    async def _cached(self, key: str) -> _Entry | None:
        raw = await self._cache.get(self._name(key))
        if raw is None:
            return None
        try:
            return msgspec.json.decode(raw, type=_Entry)
        except msgspec.DecodeError:
            # Another version's; it is replaced by what the service says.
            return None

    async def _keep(self, key: str, entry: _Entry) -> None:
        if entry.is_kept:
            await self._cache.set(self._name(key), msgspec.json.encode(entry), ttl_s=KEPT_S)

    def _name(self, key: str) -> str:
        return f"{PREFIX}:{self.service}:{self.environment}:{key}"

    def _is_away(self, problem: str) -> None:
        self._away_until_ns = self._wall_ns() + round(self._retry_s * NS_PER_S)
        if not self._problem:
            log.warning("configuration_service_away", service_wanted=self.service, error=problem)
            self._metrics.away.set(1)
        self._problem = problem

    def _is_back(self) -> None:
        self._away_until_ns = 0
        if self._problem:
            log.info("configuration_service_back", service_wanted=self.service)
            self._metrics.away.set(0)
        self._problem = ""


def _always(url: str) -> FindUrl:
    async def find() -> str | None:
        return url

    return find


def _detail(response: httpx.Response) -> str:
    try:
        document = msgspec.json.decode(response.content)
        return str(document["detail"])
    except (msgspec.DecodeError, KeyError, TypeError, FauxchangeError):
        return f"it answered {response.status_code}"
