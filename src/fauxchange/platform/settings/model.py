"""The settings: one field per variable, read once at start into a frozen object.

A field's name is the variable's in lower case, with `_ns` where it is a duration or a moment. Defaults stand here as
they are written in `.env`, and take the same way through validation as a value that is given.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from fauxchange import __version__
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.intervals import INTERVALS_NS
from fauxchange.domain.times import NS_PER_MS, NS_PER_S, format_duration, parse_time
from fauxchange.platform.settings.declaring import (
    REDIS_URL,
    SQL_URL,
    addresses,
    by_symbol,
    choice,
    count,
    duration,
    flag,
    limit_by_symbol,
    port,
    setting,
    text,
)
from fauxchange.platform.settings.rules import CheckedSettings
from fauxchange.platform.settings.values import (
    Addresses,
    AmountBySymbol,
    BandBySymbol,
    CountBySymbol,
    DecimalByAsset,
    DecimalBySymbol,
    DecimalByTier,
    DecimalsByAsset,
    DurationNs,
    FolderOrFile,
    ImportPaths,
    IntervalNs,
    LevelsBySymbol,
    Lower,
    MaybeHost,
    MaybeSymbols,
    MomentNs,
    OptionalFile,
    OptionalText,
    Positive,
    PositiveBySymbol,
    PostgresUrl,
    Pushes,
    RedisUrl,
    Replays,
    Secret,
    Speed,
    StyleBySymbol,
    Symbols,
    for_symbol,
    url_secrets,
)

Environment = Annotated[Literal["development", "testing", "staging", "production"], Lower]
Store = Annotated[Literal["sqlite", "memory"], Lower]
SpreadMode = Annotated[Literal["fixed", "volatility"], Lower]
PricesFrom = Annotated[Literal["grpc", "redis"], Lower]
ModelEngine = Annotated[Literal["auto", "compiled", "python"], Lower]
LogLevel = Annotated[Literal["debug", "info", "warning", "error", "critical"], Lower]
LogFormat = Annotated[Literal["json", "console"], Lower]

LATEST_START_NS = parse_time("2200-01-01T00:00:00Z")
"""A century before 64 bits of nanoseconds are over."""

_COUNTS = "pairs such as BTC/USD=5,default=3 with whole numbers, or one number for all"
_NUMBERS = "pairs such as BTC/USD=1.5,default=2 with positive numbers, or one number for all"
_TIERS = "pairs such as 0=10,1=8 with tiers from 0 to 15 and fees from 0 to 1000, tier 0 among them"
_TIERS_UNIT = "tier=basis points, comma-separated; a tier that is not named has the fee of the one below it"
_NAMESPACE = "market_data for `up`; `serve` takes the service's name"


def _at_most(pool: str, default: int) -> Callable[[Mapping[str, Any]], int]:
    # A small pool alone is no contradiction: the default of its idle part follows.
    return lambda values: min(default, int(values[pool]))


def _audit_port(values: Mapping[str, Any]) -> int:
    http_port = int(values["http_port"])
    return http_port + 100 if http_port else 0


class Settings(CheckedSettings):
    """Every variable of the process; see `.env.example` for the written forms.

    Units: fields ending in `_ns` in nanoseconds; `speed` in venue seconds per second, infinite for `max`
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

    # Venue time and chance
    seed: int = count("SEED", "1", "Seed of every random stream", 0, 2**63 - 1, "number")
    speed: Speed = setting(
        "SPEED",
        "1",
        "Venue time against real time; anything but 1 runs on a virtual clock",
        expected="a positive number or max",
        unit="times real time, or max",
    )
    start_time_ns: MomentNs = setting(
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
    default_symbols: Symbols = setting(
        "DEFAULT_SYMBOLS",
        "BTC/USD,ETH/USD,ADA/USD,SOL/USD,DOT/USD",
        "Symbols that are priced",
        expected="symbols such as BTC/USD,ETH/USD, each once",
        unit="comma-separated",
    )
    price_update_interval_ns: DurationNs = duration(
        "PRICE_UPDATE_INTERVAL", "1s", "Time between two prices of a symbol", "1ms", "1h"
    )
    candle_interval_ns: IntervalNs = setting(
        "CANDLE_INTERVAL",
        "1m",
        "Interval of the candles meant where a caller names none",
        expected=f"one of {', '.join(INTERVALS_NS)}",
        unit="|".join(INTERVALS_NS),
    )
    initial_prices: DecimalBySymbol = by_symbol(
        "INITIAL_PRICES",
        "BTC/USD=60000,ETH/USD=3000,SOL/USD=150,ADA/USD=0.45,DOT/USD=6,default=100",
        "Price of each symbol at the first start",
    )
    tick_sizes: DecimalBySymbol = by_symbol(
        "TICK_SIZES",
        "BTC/USD=0.01,ETH/USD=0.01,SOL/USD=0.01,ADA/USD=0.0001,DOT/USD=0.001,USDT/USD=0.0001,default=0.01",
        "Grid of the prices",
    )
    lot_sizes: DecimalBySymbol = by_symbol(
        "LOT_SIZES",
        "BTC/USD=0.00001,ETH/USD=0.0001,SOL/USD=0.001,ADA/USD=0.1,DOT/USD=0.01,USDT/USD=0.01,default=0.001",
        "Grid of the quantities",
    )
    spread_bps: DecimalBySymbol = by_symbol(
        "SPREAD_BPS",
        "BTC/USD=1,ETH/USD=1,SOL/USD=2,ADA/USD=5,DOT/USD=5,default=5",
        "Distance of bid and ask, in basis points of the mid",
    )
    spread_mode: SpreadMode = choice(
        "SPREAD_MODE", "fixed", "Spread as it is set, or widened while prices are volatile", "fixed", "volatility"
    )
    model_engine: ModelEngine = choice(
        "MODEL_ENGINE",
        "auto",
        "How the price model runs; auto compiles where Numba is there and the feed makes 400 prices a second or more",
        "auto",
        "compiled",
        "python",
    )
    replay: Replays = setting(
        "REPLAY",
        "",
        "Recorded data to replay; without SYMBOL= the file's name says which symbol it is",
        expected="files such as BTC/USDT=quotes.csv.gz",
        unit="[SYMBOL=]FILE, comma-separated",
        shown="none",
    )
    replay_loop: bool = flag("REPLAY_LOOP", "false", "Whether a replay starts again at its end")
    push: Pushes = setting(
        "PUSH",
        "",
        "Live feeds to take prices from; without SYMBOL= all of DEFAULT_SYMBOLS",
        expected="feeds such as BTC/USD=tcp://127.0.0.1:9500",
        unit="[SYMBOL=]tcp://HOST:PORT, comma-separated",
        shown="none",
    )
    scenario_file: OptionalFile = setting(
        "SCENARIO_FILE",
        "",
        "Scenarios to run from the start",
        expected="a YAML or TOML file",
        unit="file",
        shown="none",
    )
    fauxchange_data: FolderOrFile = setting(
        "FAUXCHANGE_DATA",
        "../shared/data",
        "Folder of recorded data for tests and benchmarks",
        expected="a folder",
        unit="folder",
    )

    # Exchange
    exchange_symbols: MaybeSymbols = setting(
        "EXCHANGE_SYMBOLS",
        "",
        "Instruments that are traded",
        expected="symbols such as BTC/USD,BTC/USDT, each once",
        unit="comma-separated",
        shown="DEFAULT_SYMBOLS, and BTC/USDT, ETH/USDT and USDT/USD where the former are priced in USD",
    )
    exchange_assets: DecimalsByAsset = setting(
        "EXCHANGE_ASSETS",
        "",
        "Assets besides BTC, ETH, USD, USDT and those of the instruments, or other decimals than 8 for one of these",
        expected="assets such as EUR,JPY=0 with 0 to 12 decimals",
        unit="NAME[=DECIMALS], comma-separated",
        shown="none",
    )
    usdt_usd: Positive = setting(
        "USDT_USD",
        "1",
        "Price of one USDT; instruments against USDT without a feed of their own are priced with it from USD",
        expected="a positive number",
        unit="USD",
    )
    maker_fee_bps: DecimalByTier = setting(
        "MAKER_FEE_BPS", "0=10,1=9,2=8,3=6", "Fees of makers", expected=_TIERS, unit=_TIERS_UNIT
    )
    taker_fee_bps: DecimalByTier = setting(
        "TAKER_FEE_BPS", "0=10,1=10,2=9,3=8", "Fees of takers", expected=_TIERS, unit=_TIERS_UNIT
    )
    min_notional: AmountBySymbol = limit_by_symbol(
        "MIN_NOTIONAL", "default=1", "Smallest price times quantity of an order", value="amount of the quote asset"
    )
    max_notional: AmountBySymbol = limit_by_symbol(
        "MAX_NOTIONAL", "default=0", "Largest price times quantity of an order", value="amount of the quote asset"
    )
    max_quantity: AmountBySymbol = limit_by_symbol(
        "MAX_QUANTITY", "default=0", "Largest quantity of an order", value="amount of the base asset"
    )
    price_band_bps: BandBySymbol = limit_by_symbol(
        "PRICE_BAND_BPS", "default=5000", "Farthest that a price may be from the market's", value="bps up to 10000"
    )
    max_open_orders: CountBySymbol = limit_by_symbol(
        "MAX_OPEN_ORDERS", "default=1000", "Most open orders of an account in an instrument", value="orders"
    )
    order_rate_limit: int = count(
        "ORDER_RATE_LIMIT", "1000", "Requests of a trader a second of venue time; 0 is no limit", 0, 10**6, "requests"
    )
    order_rate_burst: int = count(
        "ORDER_RATE_BURST",
        "",
        "Requests of a trader at once after a pause",
        1,
        10_000_000,
        "requests",
        shown="ORDER_RATE_LIMIT",
        default_factory=lambda values: max(1, int(values["order_rate_limit"])),
    )
    house_liquidity: StyleBySymbol = by_symbol(
        "HOUSE_LIQUIDITY",
        "default=levels",
        "How the house quotes: levels that grow outwards, flat (one level per side that takes any size), or off",
        expected="pairs such as BTC/USD=flat,default=levels, or one word for all",
        value="levels|flat|off",
    )
    house_levels: LevelsBySymbol = by_symbol(
        "HOUSE_LEVELS", "default=3", "Levels of the house on each side, 1 to 50", expected=_COUNTS, value="levels"
    )
    house_level_spacing_bps: PositiveBySymbol = by_symbol(
        "HOUSE_LEVEL_SPACING_BPS", "default=5", "Distance of two house levels", expected=_NUMBERS, value="basis points"
    )
    house_best_notional: PositiveBySymbol = by_symbol(
        "HOUSE_BEST_NOTIONAL",
        "default=250000",
        "What the best level of the house fills completely",
        expected=_NUMBERS,
        value="amount of the quote asset",
    )
    house_level_growth: PositiveBySymbol = by_symbol(
        "HOUSE_LEVEL_GROWTH", "default=2", "Size of a house level to the one before", expected=_NUMBERS, value="times"
    )
    house_refresh_interval_ns: DurationNs = duration(
        "HOUSE_REFRESH_INTERVAL",
        "1s",
        "Shortest time between two moves of the house in an instrument, unless somebody traded with it",
        "1ms",
        "1h",
    )
    house_stale_after_ns: DurationNs = setting(
        "HOUSE_STALE_AFTER",
        "",
        "Age of the newest price at which the house pulls its quotes",
        expected="a duration from 1ms to 1d, longer than PRICE_UPDATE_INTERVAL",
        unit="duration",
        shown="5s, or three times PRICE_UPDATE_INTERVAL where that is longer",
        default_factory=lambda values: format_duration(max(5 * NS_PER_S, 3 * int(values["price_update_interval_ns"]))),
        ge=NS_PER_MS,
        le=24 * 3600 * NS_PER_S,
    )
    demo_funds: DecimalByAsset = setting(
        "DEMO_FUNDS",
        "USD=100000,USDT=100000,BTC=2,ETH=20",
        "What the demo account has at the first start",
        expected="pairs such as USD=100000,BTC=2",
        unit="asset=amount, comma-separated",
    )
    admin_key: Secret = setting(
        "ADMIN_KEY",
        "",
        "Key of account management",
        expected="at least 16 characters",
        unit="secret",
        shown="made at first start and kept in the data folder",
    )
    kernel_enabled: bool = flag("KERNEL_ENABLED", "false", "Whether the exchange lets gateways in")
    kernel_host: str = text("KERNEL_HOST", "127.0.0.1", "Address that the exchange listens on for gateways")
    kernel_port: int = port("KERNEL_PORT", "9192", "Port that the exchange listens on for gateways")
    kernel_target: str = text(
        "KERNEL_TARGET", "127.0.0.1:9192", "Where an exchange gateway finds the exchange's kernel process"
    )
    kernel_key: Secret = setting(
        "KERNEL_KEY",
        "",
        "Key of gateways, the same on both ends",
        expected="at least 16 characters",
        unit="secret",
        shown="made by the exchange at first start and kept in its data folder, as kernel.key",
    )
    pre_trade_checks: ImportPaths = setting(
        "PRE_TRADE_CHECKS",
        "",
        "Your own rules that every order is shown to before it is accepted, in this order",
        expected="import paths such as my_rules:no_sales",
        unit="MODULE:ATTRIBUTE, comma-separated",
        shown="none",
    )
    exchange_max_queue: int = count(
        "EXCHANGE_MAX_QUEUE", "10000", "Most commands that may wait for the journal", 1, 1_000_000, "commands"
    )
    snapshot_every: int = count(
        "SNAPSHOT_EVERY",
        "100000",
        "Commands after which the exchange's state is stored, so that a start replays no more than these",
        100,
        100_000_000,
        "commands",
    )

    # Configuration at run time
    config_service_url: OptionalText = setting(
        "CONFIG_SERVICE_URL",
        "",
        "Address of the configuration service for a service that runs apart from it",
        expected="an address such as http://127.0.0.1:8088",
        unit="http address",
        shown="the one in the registry",
        pattern=r"^https?://[^\s/@]+/?$",
    )
    config_timeout_ns: DurationNs = duration(
        "CONFIG_TIMEOUT", "2s", "Longest wait for an answer of the configuration service", "10ms", "1m"
    )
    configuration_file: OptionalFile = setting(
        "CONFIGURATION_FILE",
        "",
        "Values that the configuration service starts with, and schemas of services of your own",
        expected="a YAML or TOML file",
        unit="file",
        shown="none",
    )
    configuration_max_age_ns: DurationNs = duration(
        "CONFIGURATION_MAX_AGE", "5s", "How long readers may keep a value without asking again", "0s", "1h"
    )

    # History
    snapshot_interval_ns: DurationNs = duration(
        "SNAPSHOT_INTERVAL", "1m", "Time between two stored snapshots of a symbol", "1s", "1d"
    )
    retention_prices_ns: DurationNs = duration(
        "RETENTION_PRICES", "24h", "How long prices are kept; 0s keeps all", "0s", "3650d"
    )
    retention_candles_1s_ns: DurationNs = duration(
        "RETENTION_CANDLES_1S", "24h", "How long candles of one second are kept; 0s keeps all", "0s", "3650d"
    )
    retention_candles_ns: DurationNs = duration(
        "RETENTION_CANDLES", "30d", "How long candles of longer intervals are kept; 0s keeps all", "0s", "36500d"
    )
    retention_snapshots_ns: DurationNs = duration(
        "RETENTION_SNAPSHOTS", "30d", "How long snapshots are kept; 0s keeps all", "0s", "3650d"
    )

    # Streams
    resume_buffer: int = count(
        "RESUME_BUFFER", "4096", "Messages a subscriber can go back, per symbol and channel", 0, 1_000_000, "messages"
    )
    ws_max_connections: int = count("WS_MAX_CONNECTIONS", "1000", "Most WebSocket clients", 1, 100_000, "connections")
    ws_max_subscriptions: int = count(
        "WS_MAX_SUBSCRIPTIONS", "1024", "Most subscriptions of one WebSocket client", 1, 100_000, "subscriptions"
    )
    ws_max_frame_bytes: int = count(
        "WS_MAX_FRAME_BYTES", "65536", "Longest frame a WebSocket client may send", 128, 16 * 2**20, "bytes"
    )
    ws_queue_bytes: int = count(
        "WS_QUEUE_BYTES", "1048576", "Bytes that may wait for one slow WebSocket client", 4096, 2**30, "bytes"
    )
    ws_heartbeat_ns: DurationNs = duration(
        "WS_HEARTBEAT", "5s", "Time between two heartbeats on a WebSocket", "100ms", "10m"
    )
    grpc_flush_interval_ns: DurationNs = duration(
        "GRPC_FLUSH_INTERVAL", "5ms", "Longest time a price waits for its batch on a gRPC stream", "1ms", "10s"
    )
    grpc_max_streams: int = count("GRPC_MAX_STREAMS", "1000", "Most open gRPC streams", 1, 100_000, "streams")

    # Tests
    test_postgres_url: PostgresUrl = setting(
        "TEST_POSTGRES_URL",
        "",
        "PostgreSQL for the tests, never the live one",
        expected=SQL_URL,
        unit="URL",
        shown="a server the tests start",
    )
    test_redis_url: RedisUrl = setting(
        "TEST_REDIS_URL",
        "",
        "Redis for the tests, never the live one",
        expected=REDIS_URL,
        unit="URL",
        shown="a server the tests start",
    )

    @property
    def virtual_time(self) -> bool:
        """Whether venue time is made here rather than taken from the wall."""
        return self.speed != 1 or self.start_time_ns is not None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What logs must never show."""
        keys = tuple(
            key.get_secret_value() for key in (self.audit_key, self.admin_key, self.kernel_key) if key is not None
        )
        urls = (self.postgres_url, self.redis_url, self.test_postgres_url, self.test_redis_url)
        return (*keys, *(secret for url in urls for secret in url_secrets(url)))

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
