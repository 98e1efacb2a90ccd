"""The settings that every process has, whatever it serves: service, listeners, stores, registry."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from fauxchange import __version__
from fauxchange.platform.settings.declaring import (
    REDIS_URL,
    SQL_URL,
    addresses,
    choice,
    count,
    duration,
    flag,
    port,
    setting,
    text,
)
from fauxchange.platform.settings.rules import CheckedSettings
from fauxchange.platform.settings.values import (
    Addresses,
    DurationNs,
    FolderOrFile,
    Lower,
    MaybeHost,
    PostgresUrl,
    RedisUrl,
    Secret,
)

Environment = Annotated[Literal["development", "testing", "staging", "production"], Lower]
Store = Annotated[Literal["sqlite", "memory"], Lower]
PricesFrom = Annotated[Literal["grpc", "redis"], Lower]
LogLevel = Annotated[Literal["debug", "info", "warning", "error", "critical"], Lower]
LogFormat = Annotated[Literal["json", "console"], Lower]

_NAMESPACE = "market_data for `up`; `serve` takes the service's name"


def _at_most(pool: str, default: int) -> Callable[[Mapping[str, Any]], int]:
    # A small pool alone is no contradiction: the default of its idle part follows.
    return lambda values: min(default, int(values[pool]))


def _audit_port(values: Mapping[str, Any]) -> int:
    http_port = int(values["http_port"])
    return http_port + 100 if http_port else 0


class ProcessSettings(CheckedSettings):
    """What belongs to a process as such; `Settings` goes on with what it serves.

    Units: fields ending in `_ns` in nanoseconds
    """

    # Service
    service_name: str = text(
        "SERVICE_NAME",
        "fauxchange",
        "Name of this process in logs, metrics and the registry",
        shown="the service's registered name, or fauxchange for all in one process",
    )
    service_version: str = text(
        "SERVICE_VERSION", __version__, "Version told in logs and metrics", shown="the package's version"
    )
    environment: Environment = choice(
        "ENVIRONMENT",
        "development",
        "Where this runs; `production` refuses example passwords",
        "development",
        "testing",
        "staging",
        "production",
    )
    log_level: LogLevel = choice(
        "LOG_LEVEL", "info", "Least severe events that are logged", "debug", "info", "warning", "error", "critical"
    )
    log_format: LogFormat = choice(
        "LOG_FORMAT",
        "json",
        "One JSON object per line, or lines for reading",
        "json",
        "console",
        shown="json; console where the command line finds a terminal",
    )
    shutdown_timeout_ns: DurationNs = duration(
        "SHUTDOWN_TIMEOUT", "10s", "Time in which a graceful stop must be over", "100ms", "10m"
    )

    # Listeners
    http_host: str = text("HTTP_HOST", "127.0.0.1", "Address that REST and WebSocket listen on")
    http_port: int = port(
        "HTTP_PORT", "8080", "Port of REST and WebSocket", shown="8080 for `up`; `serve` takes the service's own"
    )
    grpc_host: str = text("GRPC_HOST", "127.0.0.1", "Address that gRPC listens on")
    grpc_port: int = port("GRPC_PORT", "9080", "Port of gRPC", shown="9080 for `up`; `serve` takes the service's own")
    audit_enabled: bool = flag("AUDIT_ENABLED", "true", "Whether the audit API listens at all")
    audit_host: str = text("AUDIT_HOST", "127.0.0.1", "Address that the audit API listens on")
    audit_port: int = port(
        "AUDIT_PORT", "", "Port of the audit API", shown="HTTP_PORT + 100", default_factory=_audit_port
    )
    audit_key: Secret = setting(
        "AUDIT_KEY",
        "",
        "Key of the audit API",
        expected="at least 16 characters",
        unit="secret",
        shown="made at first start and kept in the data folder",
    )

    # Data folder and stores
    data_dir: FolderOrFile = setting(
        "DATA_DIR",
        ".fauxchange",
        "Folder of the database, the keys and ready.json",
        expected="a folder",
        unit="folder",
        shown=".fauxchange; `serve` takes a folder in it with the service's name",
    )
    store: Store = choice(
        "STORE",
        "sqlite",
        "Where the embedded process keeps its history while POSTGRES_URL is unset",
        "sqlite",
        "memory",
    )
    postgres_url: PostgresUrl = setting(
        "POSTGRES_URL",
        "",
        "PostgreSQL to keep everything in that belongs into SQL",
        expected=SQL_URL,
        unit="URL",
        shown="none",
    )
    max_connections: int = count("MAX_CONNECTIONS", "25", "Most connections to PostgreSQL", 4, 1_000, "connections")
    max_idle_connections: int = count(
        "MAX_IDLE_CONNECTIONS",
        "10",
        "Connections to PostgreSQL kept open idle",
        0,
        1_000,
        "connections",
        default_factory=_at_most("max_connections", 10),
    )
    connection_max_lifetime_ns: DurationNs = duration(
        "CONNECTION_MAX_LIFETIME", "300s", "Age at which a connection is replaced", "1s", "1d"
    )
    redis_url: RedisUrl = setting(
        "REDIS_URL",
        "",
        "Redis for cache, registry, hot history and price streams",
        expected=REDIS_URL,
        unit="URL",
        shown="none",
    )
    redis_pool_size: int = count("REDIS_POOL_SIZE", "10", "Most connections to Redis", 1, 1_000, "connections")
    redis_min_idle_conns: int = count(
        "REDIS_MIN_IDLE_CONNS",
        "2",
        "Connections to Redis kept open idle",
        0,
        1_000,
        "connections",
        default_factory=_at_most("redis_pool_size", 2),
    )
    cache_ttl_ns: DurationNs = duration(
        "CACHE_TTL", "300s", "How long a cached value lives unless it says otherwise", "1ms", "30d"
    )
    cache_namespace: str = text("CACHE_NAMESPACE", "market_data", "Prefix of the cache's keys", _NAMESPACE)

    # Registry
    service_discovery_namespace: str = text(
        "SERVICE_DISCOVERY_NAMESPACE", "market_data", "Prefix of this service's own entries in the registry", _NAMESPACE
    )
    heartbeat_interval_ns: DurationNs = duration(
        "HEARTBEAT_INTERVAL", "30s", "How often a service refreshes its entry in the registry", "100ms", "1h"
    )
    service_ttl_ns: DurationNs = duration(
        "SERVICE_TTL", "90s", "Age of its heartbeat at which a service counts as gone", "200ms", "1d"
    )
    advertised_host: MaybeHost = setting(
        "ADVERTISED_HOST",
        "",
        "Host by which other services reach this one, as the registry tells it",
        expected="a host name or an address, without a port",
        unit="host",
        shown="GRPC_HOST; this machine's name where that is every address",
    )
    market_data_grpc: Addresses = addresses("MARKET_DATA_GRPC", "Where market-data is called, instead of the registry")
    prices_from: PricesFrom = choice(
        "PRICES_FROM", "grpc", "What an exchange apart from market-data hears its prices through", "grpc", "redis"
    )
