"""The settings: one field per variable, read once at start into a frozen object.

A field's name is the variable's in lower case, with `_ns` where it is a duration or a moment. Defaults stand here as
they are written in `.env`, and take the same way through validation as a value that is given.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from fauxchange import __version__
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.intervals import INTERVALS_NS
from fauxchange.domain.times import NS_PER_S, parse_duration, parse_time
from fauxchange.platform.settings.values import (
    DecimalBySymbol,
    DurationNs,
    FolderOrFile,
    IntervalNs,
    Lower,
    MomentNs,
    OptionalFile,
    PostgresUrl,
    Pushes,
    RedisUrl,
    Replays,
    Secret,
    Speed,
    Symbols,
    for_symbol,
    read_decimals,
    url_secrets,
)

Environment = Annotated[Literal["development", "testing", "staging", "production"], Lower]
Store = Annotated[Literal["sqlite", "memory"], Lower]
SpreadMode = Annotated[Literal["fixed", "volatility"], Lower]
ModelEngine = Annotated[Literal["auto", "compiled", "python"], Lower]
LogLevel = Annotated[Literal["debug", "info", "warning", "error", "critical"], Lower]
LogFormat = Annotated[Literal["json", "console"], Lower]

LATEST_START_NS = parse_time("2200-01-01T00:00:00Z")
"""A century before 64 bits of nanoseconds are over."""

_MAP = "pairs such as BTC/USD=1.5,default=2 with positive numbers"
_MAP_UNIT = "symbol=number, comma-separated; entries add to the defaults, `default` is for all other symbols"
_LATER = "(takes effect with the real stores)"
_PORT = "a port from 0 to 65535 (0 takes any free one)"
_SQL_URL = "a URL such as postgresql://user:password@host:5432/database?sslmode=require"
_REDIS_URL = "a URL such as redis://user:password@host:6379/0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What is said of a variable: in the documentation, and to whoever gives it a bad value.

    `shown` tells the default in words where no fixed text can.
    """

    name: str
    default: str
    description: str
    expected: str
    unit: str
    shown: str | None

    @property
    def secret(self) -> bool:
        """Whether its value must never be shown."""
        return self.unit in {"secret", "URL"}


DECLARED: dict[str, Declared] = {}
"""Every variable by name, in the order of the fields of `Settings`, whose declarations fill it."""


def _setting(
    name: str, default: str, description: str, *, expected: str, unit: str, shown: str | None = None, **field: Any
) -> Any:
    DECLARED[name] = Declared(
        name=name,
        default=default,
        description=description,
        expected=expected,
        unit=unit,
        shown=shown,
    )
    if "default_factory" not in field:
        field["default"] = default
    return Field(alias=name, **field)


def _duration(name: str, default: str, description: str, least: str, most: str) -> Any:
    expected = f"a duration such as 300s or 1m, from {least} to {most}"
    low, high = parse_duration(least), parse_duration(most)
    return _setting(name, default, description, expected=expected, unit="duration", ge=low, le=high)


def _count(name: str, default: str, description: str, least: int, most: int, unit: str, **field: Any) -> Any:
    expected = f"a whole number from {least} to {most}"
    return _setting(name, default, description, expected=expected, unit=unit, ge=least, le=most, **field)


def _choice(name: str, default: str, description: str, *choices: str, shown: str | None = None) -> Any:
    expected, unit = f"one of {', '.join(choices)}", "|".join(choices)
    return _setting(name, default, description, expected=expected, unit=unit, shown=shown)


def _flag(name: str, default: str, description: str) -> Any:
    return _setting(name, default, description, expected="true or false", unit="true|false")


def _port(name: str, default: str, description: str, shown: str | None = None, **field: Any) -> Any:
    return _setting(name, default, description, expected=_PORT, unit="port", shown=shown, ge=0, le=65535, **field)


def _text(name: str, default: str, description: str, shown: str | None = None) -> Any:
    return _setting(name, default, description, expected="some text", unit="text", shown=shown, min_length=1)


_POOLS = {"max_idle_connections": "max_connections", "redis_min_idle_conns": "redis_pool_size"}


def _at_most(pool: str, default: int) -> Callable[[Mapping[str, Any]], int]:
    # A small pool alone is no contradiction: the default of its idle part follows.
    return lambda values: min(default, int(values[pool]))


def _audit_port(values: Mapping[str, Any]) -> int:
    http_port = int(values["http_port"])
    return http_port + 100 if http_port else 0


class Settings(BaseSettings):
    """Every variable of the process; see `.env.example` for the written forms.

    Units: fields ending in `_ns` in nanoseconds; `speed` in venue seconds per second, infinite for `max`
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, validate_default=True)

    # Service
    service_name: str = _text(
        "SERVICE_NAME",
        "fauxchange",
        "Name of this process in logs, metrics and the registry",
        shown="the service's registered name, or fauxchange for all in one process",
    )
    service_version: str = _text(
        "SERVICE_VERSION", __version__, "Version told in logs and metrics", shown="the package's version"
    )
    environment: Environment = _choice(
        "ENVIRONMENT",
        "development",
        "Where this runs; `production` refuses example passwords",
        "development",
        "testing",
        "staging",
        "production",
    )
    log_level: LogLevel = _choice(
        "LOG_LEVEL", "info", "Least severe events that are logged", "debug", "info", "warning", "error", "critical"
    )
    log_format: LogFormat = _choice(
        "LOG_FORMAT",
        "json",
        "One JSON object per line, or lines for reading",
        "json",
        "console",
        shown="json; console where the command line finds a terminal",
    )
    shutdown_timeout_ns: DurationNs = _duration(
        "SHUTDOWN_TIMEOUT", "10s", "Time in which a graceful stop must be over", "100ms", "10m"
    )

    # Listeners
    http_host: str = _text("HTTP_HOST", "127.0.0.1", "Address that REST and WebSocket listen on")
    http_port: int = _port(
        "HTTP_PORT", "8080", "Port of REST and WebSocket", shown="8080 for `up`; `serve` takes the service's own"
    )
    grpc_host: str = _text("GRPC_HOST", "127.0.0.1", "Address that gRPC listens on")
    grpc_port: int = _port("GRPC_PORT", "9080", "Port of gRPC", shown="9080 for `up`; `serve` takes the service's own")
    audit_enabled: bool = _flag("AUDIT_ENABLED", "true", "Whether the audit API listens at all")
    audit_host: str = _text("AUDIT_HOST", "127.0.0.1", "Address that the audit API listens on")
    audit_port: int = _port(
        "AUDIT_PORT", "", "Port of the audit API", shown="HTTP_PORT + 100", default_factory=_audit_port
    )
    audit_key: Secret = _setting(
        "AUDIT_KEY",
        "",
        "Key of the audit API",
        expected="at least 16 characters",
        unit="secret",
        shown="made at first start and kept in the data folder",
    )

    # Data folder and stores
    data_dir: FolderOrFile = _setting(
        "DATA_DIR", ".fauxchange", "Folder of the database, the keys and ready.json", expected="a folder", unit="folder"
    )
    store: Store = _choice(
        "STORE",
        "sqlite",
        "Where the embedded process keeps its history while POSTGRES_URL is unset",
        "sqlite",
        "memory",
    )
    postgres_url: PostgresUrl = _setting(
        "POSTGRES_URL", "", f"PostgreSQL to keep history in {_LATER}", expected=_SQL_URL, unit="URL", shown="none"
    )
    max_connections: int = _count(
        "MAX_CONNECTIONS", "25", f"Most connections to PostgreSQL {_LATER}", 1, 1_000, "connections"
    )
    max_idle_connections: int = _count(
        "MAX_IDLE_CONNECTIONS",
        "10",
        f"Connections to PostgreSQL kept open idle {_LATER}",
        0,
        1_000,
        "connections",
        default_factory=_at_most("max_connections", 10),
    )
    connection_max_lifetime_ns: DurationNs = _duration(
        "CONNECTION_MAX_LIFETIME", "300s", f"Age at which a connection is replaced {_LATER}", "1s", "1d"
    )
    redis_url: RedisUrl = _setting(
        "REDIS_URL",
        "",
        f"Redis for cache, registry and hot history {_LATER}",
        expected=_REDIS_URL,
        unit="URL",
        shown="none",
    )
    redis_pool_size: int = _count(
        "REDIS_POOL_SIZE", "10", f"Most connections to Redis {_LATER}", 1, 1_000, "connections"
    )
    redis_min_idle_conns: int = _count(
        "REDIS_MIN_IDLE_CONNS",
        "2",
        f"Connections to Redis kept open idle {_LATER}",
        0,
        1_000,
        "connections",
        default_factory=_at_most("redis_pool_size", 2),
    )
    cache_ttl_ns: DurationNs = _duration(
        "CACHE_TTL", "300s", "How long a cached value lives unless it says otherwise", "1ms", "30d"
    )
    cache_namespace: str = _text("CACHE_NAMESPACE", "market_data", "Prefix of the cache's keys")

    # Registry
    service_discovery_namespace: str = _text(
        "SERVICE_DISCOVERY_NAMESPACE", "market_data", "Prefix of this service's own entries in the registry"
    )
    heartbeat_interval_ns: DurationNs = _duration(
        "HEARTBEAT_INTERVAL", "30s", "How often a service refreshes its entry in the registry", "100ms", "1h"
    )
    service_ttl_ns: DurationNs = _duration(
        "SERVICE_TTL", "90s", "Age of its heartbeat at which a service counts as gone", "200ms", "1d"
    )

    # Venue time and chance
    seed: int = _count("SEED", "1", "Seed of every random stream", 0, 2**63 - 1, "number")
    speed: Speed = _setting(
        "SPEED",
        "1",
        "Venue time against real time; anything but 1 runs on a virtual clock",
        expected="a positive number or max",
        unit="times real time, or max",
    )
    start_time_ns: MomentNs = _setting(
        "START_TIME",
        "",
        "Venue time at start, on a virtual clock; set it to make runs repeat each other",
        expected="a time such as 2026-01-31T12:00:00Z, from 1970 to 2199",
        unit="RFC 3339 time",
        shown="now",
        ge=0,
        lt=LATEST_START_NS,
    )

    # Market data
    default_symbols: Symbols = _setting(
        "DEFAULT_SYMBOLS",
        "BTC/USD,ETH/USD,ADA/USD,SOL/USD,DOT/USD",
        "Symbols that are priced",
        expected="symbols such as BTC/USD,ETH/USD, each once",
        unit="comma-separated",
    )
    price_update_interval_ns: DurationNs = _duration(
        "PRICE_UPDATE_INTERVAL", "1s", "Time between two prices of a symbol", "1ms", "1h"
    )
    candle_interval_ns: IntervalNs = _setting(
        "CANDLE_INTERVAL",
        "1m",
        "Interval of the candles meant where a caller names none",
        expected=f"one of {', '.join(INTERVALS_NS)}",
        unit="|".join(INTERVALS_NS),
    )
    initial_prices: DecimalBySymbol = _setting(
        "INITIAL_PRICES",
        "BTC/USD=60000,ETH/USD=3000,SOL/USD=150,ADA/USD=0.45,DOT/USD=6,default=100",
        "Price of each symbol at the first start",
        expected=_MAP,
        unit=_MAP_UNIT,
    )
    tick_sizes: DecimalBySymbol = _setting(
        "TICK_SIZES",
        "BTC/USD=0.01,ETH/USD=0.01,SOL/USD=0.01,ADA/USD=0.0001,DOT/USD=0.001,default=0.01",
        "Grid of the prices",
        expected=_MAP,
        unit=_MAP_UNIT,
    )
    lot_sizes: DecimalBySymbol = _setting(
        "LOT_SIZES",
        "BTC/USD=0.00001,ETH/USD=0.0001,SOL/USD=0.001,ADA/USD=0.1,DOT/USD=0.01,default=0.001",
        "Grid of the quantities",
        expected=_MAP,
        unit=_MAP_UNIT,
    )
    spread_bps: DecimalBySymbol = _setting(
        "SPREAD_BPS",
        "BTC/USD=1,ETH/USD=1,SOL/USD=2,ADA/USD=5,DOT/USD=5,default=5",
        "Distance of bid and ask, in basis points of the mid",
        expected=_MAP,
        unit=_MAP_UNIT,
    )
    spread_mode: SpreadMode = _choice(
        "SPREAD_MODE", "fixed", "Spread as it is set, or widened while prices are volatile", "fixed", "volatility"
    )
    model_engine: ModelEngine = _choice(
        "MODEL_ENGINE",
        "auto",
        "How the price model runs; auto compiles where Numba is there and the feed makes 400 prices a second or more",
        "auto",
        "compiled",
        "python",
    )
    replay: Replays = _setting(
        "REPLAY",
        "",
        "Recorded data to replay; without SYMBOL= the file's name says which symbol it is",
        expected="files such as BTC/USDT=quotes.csv.gz",
        unit="[SYMBOL=]FILE, comma-separated",
        shown="none",
    )
    replay_loop: bool = _flag("REPLAY_LOOP", "false", "Whether a replay starts again at its end")
    push: Pushes = _setting(
        "PUSH",
        "",
        "Live feeds to take prices from; without SYMBOL= all of DEFAULT_SYMBOLS",
        expected="feeds such as BTC/USD=tcp://127.0.0.1:9500",
        unit="[SYMBOL=]tcp://HOST:PORT, comma-separated",
        shown="none",
    )
    scenario_file: OptionalFile = _setting(
        "SCENARIO_FILE",
        "",
        "Scenarios to run from the start",
        expected="a YAML or TOML file",
        unit="file",
        shown="none",
    )
    fauxchange_data: FolderOrFile = _setting(
        "FAUXCHANGE_DATA",
        "../shared/data",
        "Folder of recorded data for tests and benchmarks",
        expected="a folder",
        unit="folder",
    )

    # History
    snapshot_interval_ns: DurationNs = _duration(
        "SNAPSHOT_INTERVAL", "1m", "Time between two stored snapshots of a symbol", "1s", "1d"
    )
    retention_prices_ns: DurationNs = _duration(
        "RETENTION_PRICES", "24h", "How long prices are kept; 0s keeps all", "0s", "3650d"
    )
    retention_candles_1s_ns: DurationNs = _duration(
        "RETENTION_CANDLES_1S", "24h", "How long candles of one second are kept; 0s keeps all", "0s", "3650d"
    )
    retention_candles_ns: DurationNs = _duration(
        "RETENTION_CANDLES", "30d", "How long candles of longer intervals are kept; 0s keeps all", "0s", "36500d"
    )
    retention_snapshots_ns: DurationNs = _duration(
        "RETENTION_SNAPSHOTS", "30d", "How long snapshots are kept; 0s keeps all", "0s", "3650d"
    )

    # Streams
    resume_buffer: int = _count(
        "RESUME_BUFFER", "4096", "Messages a subscriber can go back, per symbol and channel", 0, 1_000_000, "messages"
    )
    ws_max_connections: int = _count("WS_MAX_CONNECTIONS", "1000", "Most WebSocket clients", 1, 100_000, "connections")
    ws_max_subscriptions: int = _count(
        "WS_MAX_SUBSCRIPTIONS", "1024", "Most subscriptions of one WebSocket client", 1, 100_000, "subscriptions"
    )
    ws_max_frame_bytes: int = _count(
        "WS_MAX_FRAME_BYTES", "65536", "Longest frame a WebSocket client may send", 128, 16 * 2**20, "bytes"
    )
    ws_queue_bytes: int = _count(
        "WS_QUEUE_BYTES", "1048576", "Bytes that may wait for one slow WebSocket client", 4096, 2**30, "bytes"
    )
    ws_heartbeat_ns: DurationNs = _duration(
        "WS_HEARTBEAT", "5s", "Time between two heartbeats on a WebSocket", "100ms", "10m"
    )
    grpc_flush_interval_ns: DurationNs = _duration(
        "GRPC_FLUSH_INTERVAL", "20ms", "Longest time a price waits for its batch on a gRPC stream", "1ms", "10s"
    )
    grpc_max_streams: int = _count("GRPC_MAX_STREAMS", "1000", "Most open gRPC streams", 1, 100_000, "streams")

    # Tests
    test_postgres_url: PostgresUrl = _setting(
        "TEST_POSTGRES_URL",
        "",
        "PostgreSQL for the tests, never the live one",
        expected=_SQL_URL,
        unit="URL",
        shown="a server the tests start",
    )
    test_redis_url: RedisUrl = _setting(
        "TEST_REDIS_URL",
        "",
        "Redis for the tests, never the live one",
        expected=_REDIS_URL,
        unit="URL",
        shown="a server the tests start",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what `load_settings` has gathered and nothing else: it knows where each value came from."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @field_validator("initial_prices", "tick_sizes", "lot_sizes", "spread_bps")
    @classmethod
    def _add_to_defaults(cls, given: Mapping[str, Decimal], info: ValidationInfo) -> Mapping[str, Decimal]:
        default = cls.model_fields[str(info.field_name)].default
        return MappingProxyType({**read_decimals(default), **given})

    @field_validator("max_idle_connections", "redis_min_idle_conns")
    @classmethod
    def _fit_the_pool(cls, idle: int, info: ValidationInfo) -> int:
        pool = _POOLS[str(info.field_name)]
        if idle > info.data.get(pool, idle):
            raise ValueError(f"more than {pool.upper()}, which is {info.data[pool]}")
        return idle

    @field_validator("service_ttl_ns")
    @classmethod
    def _outlive_a_heartbeat(cls, ttl_ns: int, info: ValidationInfo) -> int:
        if ttl_ns <= info.data.get("heartbeat_interval_ns", 0):
            raise ValueError("longer than HEARTBEAT_INTERVAL, or services vanish between two heartbeats")
        return ttl_ns

    @field_validator("audit_key")
    @classmethod
    def _hard_to_guess(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < 16:
            raise ValueError("too short")
        return key

    @property
    def virtual_time(self) -> bool:
        """Whether venue time is made here rather than taken from the wall."""
        return self.speed != 1 or self.start_time_ns is not None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What logs must never show."""
        key = () if self.audit_key is None else (self.audit_key.get_secret_value(),)
        urls = (self.postgres_url, self.redis_url, self.test_postgres_url, self.test_redis_url)
        return (*key, *(secret for url in urls for secret in url_secrets(url)))

    def instrument(self, symbol: str) -> Instrument:
        """Return a symbol with its grids."""
        tick_size, lot_size = for_symbol(self.tick_sizes, symbol), for_symbol(self.lot_sizes, symbol)
        return Instrument(symbol=symbol, tick_size=tick_size, lot_size=lot_size)

    def initial_price(self, symbol: str) -> Decimal:
        """Return the price at which a symbol's first model run starts."""
        return for_symbol(self.initial_prices, symbol)

    def spread_bps_of(self, symbol: str) -> Decimal:
        """Return the distance of a symbol's bid and ask in basis points."""
        return for_symbol(self.spread_bps, symbol)

    def retention_ns(self, interval_ns: int) -> int:
        """Return how long candles of an interval are kept; 0 keeps all."""
        return self.retention_candles_1s_ns if interval_ns <= NS_PER_S else self.retention_candles_ns
