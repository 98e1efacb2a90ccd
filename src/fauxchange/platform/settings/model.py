"""The settings: one field per variable, read once at start into a frozen object.

A field's name is the variable's in lower case, with `_ns` where it is a duration or a moment. Defaults stand here as
they are written in `.env`, and take the same way through validation as a value that is given.
"""

from decimal import Decimal
from typing import Annotated, Literal

from fauxchange.domain.instruments import Instrument
from fauxchange.domain.intervals import INTERVALS_NS
from fauxchange.domain.times import NS_PER_MS, NS_PER_S, format_duration
from fauxchange.platform.settings.declaring import (
    REDIS_URL,
    SQL_URL,
    by_symbol,
    choice,
    count,
    duration,
    flag,
    limit_by_symbol,
    moment,
    port,
    setting,
    text,
)
from fauxchange.platform.settings.process_model import ProcessSettings
from fauxchange.platform.settings.values import (
    Address,
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
    IntensityBySymbol,
    IntervalNs,
    LevelsBySymbol,
    Lower,
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
    read_decimals,
    url_secrets,
)

SpreadMode = Annotated[Literal["fixed", "volatility"], Lower]
ReplayTicks = Annotated[Literal["bridge", "corners"], Lower]
ModelEngine = Annotated[Literal["auto", "compiled", "python"], Lower]

_COUNTS = "pairs such as BTC/USD=5,default=3 with whole numbers, or one number for all"
_NUMBERS = "pairs such as BTC/USD=1.5,default=2 with positive numbers, or one number for all"
_TIERS = "pairs such as 0=10,1=8 with tiers from 0 to 15 and fees from 0 to 1000, tier 0 among them"
_TIERS_UNIT = "tier=basis points, comma-separated; a tier that is not named has the fee of the one below it"


class Settings(ProcessSettings):
    """Every variable of the process; see `.env.example` for the written forms.

    Units: fields ending in `_ns` in nanoseconds; `speed` in venue seconds per second, infinite for `max`
    """

    # Venue time and chance
    seed: int = count("SEED", "1", "Seed of every random stream", 0, 2**63 - 1, "number")
    speed: Speed = setting(
        "SPEED",
        "1",
        "Venue time against real time; anything but 1 runs on a virtual clock",
        expected="a positive number or max",
        unit="times real time, or max",
    )
    start_time_ns: MomentNs = moment(
        "START_TIME", "Venue time at start, on a virtual clock; set it to make runs repeat each other", "now"
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
        "BTC/USD=60000,ETH/USD=3000,SOL/USD=150,ADA/USD=0.75,DOT/USD=6,default=100",
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
    model: OptionalFile = setting(
        "MODEL",
        "",
        "Model file (`fauxchange calibrate` writes one); what it leaves out is as shipped",
        expected="a TOML file",
        unit="file",
        shown="the shipped parameters",
    )
    replay: Replays = setting(
        "REPLAY",
        "",
        "Recorded data to replay; without SYMBOL= the file's name says which symbol it is",
        expected="files such as BTC/USDT=quotes.csv.gz, or with a span as in bars.csv@2025-05-05..2025-05-06",
        unit="[SYMBOL=]FILE[@START..END], comma-separated",
        shown="none",
    )
    replay_loop: bool = flag("REPLAY_LOOP", "false", "Whether a replay starts again at its end")
    replay_start_ns: MomentNs = moment(
        "REPLAY_START", "Recorded time from which on recordings are replayed", "their first"
    )
    replay_end_ns: MomentNs = moment("REPLAY_END", "Recorded time before which a replay ends", "after their last")
    replay_ticks: ReplayTicks = choice(
        "REPLAY_TICKS",
        "bridge",
        "What a candle is replayed as: a price each PRICE_UPDATE_INTERVAL along a Brownian bridge, or its four corners",
        "bridge",
        "corners",
    )
    replay_book_levels: int = count(
        "REPLAY_BOOK_LEVELS",
        "20",
        "Levels of a replayed order book that the exchange shows on each side",
        1,
        50,
        "levels",
    )
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
    order_flow: IntensityBySymbol = by_symbol(
        "ORDER_FLOW",
        "default=off",
        "How much background traders do in a book: off, calm (a few orders a second) or busy (about 200)",
        expected="pairs such as BTC/USD=busy,default=off, or one word for all",
        value="off|calm|busy",
    )
    order_flow_day_notional: PositiveBySymbol = by_symbol(
        "ORDER_FLOW_DAY_NOTIONAL",
        "default=500000000",
        "What busy background traders trade in a day, from which the sizes of their orders follow",
        expected=_NUMBERS,
        value="amount of the quote asset",
    )
    order_flow_house_distance_bps: PositiveBySymbol = by_symbol(
        "ORDER_FLOW_HOUSE_DISTANCE_BPS",
        "default=50",
        "How far the house stands back from the price where there are background traders",
        expected=_NUMBERS,
        value="basis points",
    )
    order_flow_slice_ns: DurationNs = duration(
        "ORDER_FLOW_SLICE",
        "200ms",
        "Venue time of which the background traders' commands are stored together",
        "10ms",
        "1s",
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
    kernel_target: Address = setting(
        "KERNEL_TARGET",
        "127.0.0.1:9192",
        "Where an exchange gateway finds the exchange's kernel process",
        expected="an address such as 127.0.0.1:9192",
        unit="HOST:PORT",
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

    def stated_price(self, symbol: str) -> Decimal | None:
        """Return the first price of a symbol if it is another than the setting has by default, else None."""
        defaults = read_decimals(type(self).model_fields["initial_prices"].default)
        price = self.initial_price(symbol)
        return None if price == for_symbol(defaults, symbol) else price

    def spread_bps_of(self, symbol: str) -> Decimal:
        """Return the distance of a symbol's bid and ask in basis points."""
        return for_symbol(self.spread_bps, symbol)

    def retention_ns(self, interval_ns: int) -> int:
        """Return how long candles of an interval are kept; 0 keeps all."""
        return self.retention_candles_1s_ns if interval_ns <= NS_PER_S else self.retention_candles_ns
