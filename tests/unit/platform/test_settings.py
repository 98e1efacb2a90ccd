"""Settings: sources and their order, written forms, and what is said about bad ones."""

import math
from decimal import Decimal
from pathlib import Path

import pytest

from fauxchange import __version__
from fauxchange.domain.errors import ConfigurationError
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_MS, NS_PER_S, parse_time
from fauxchange.platform.settings import ReplayFile, Settings, check_env_file, documented_settings, load_settings
from fauxchange.platform.settings.deployment import COMPOSE_VARIABLES


def load(environ: dict[str, str] | None = None, **overrides: object) -> Settings:
    return load_settings(overrides, environ=environ or {})


def complaint(environ: dict[str, str] | None = None, **overrides: object) -> str:
    with pytest.raises(ConfigurationError) as refused:
        load(environ, **overrides)
    return refused.value.message


ORIGINAL_PLAN = {
    "service_version": __version__,
    "environment": "development",
    "max_connections": 25,
    "max_idle_connections": 10,
    "connection_max_lifetime_ns": 300 * NS_PER_S,
    "redis_pool_size": 10,
    "redis_min_idle_conns": 2,
    "cache_ttl_ns": 300 * NS_PER_S,
    "cache_namespace": "market_data",
    "service_discovery_namespace": "market_data",
    "heartbeat_interval_ns": 30 * NS_PER_S,
    "service_ttl_ns": 90 * NS_PER_S,
    "default_symbols": ("BTC/USD", "ETH/USD", "ADA/USD", "SOL/USD", "DOT/USD"),
    "price_update_interval_ns": NS_PER_S,
    "candle_interval_ns": NS_PER_MINUTE,
    "log_level": "info",
    "log_format": "json",
}


def test_defaults_of_the_original_plan_are_kept() -> None:
    settings = load()

    assert {name: getattr(settings, name) for name in ORIGINAL_PLAN} == ORIGINAL_PLAN


def test_sources_go_before_each_other_in_the_documented_order(tmp_path: Path) -> None:
    config = tmp_path / "venue.yaml"
    config.write_text("http_port: 2\ngrpc_port: 2\nseed: 2\nws_max_connections: 2\n")
    env_file = tmp_path / ".env"
    env_file.write_text("HTTP_PORT=3\nGRPC_PORT=3\nSEED=3\n")

    settings = load_settings(
        {"HTTP_PORT": 5, "GRPC_PORT": None},
        environ={"HTTP_PORT": "4", "GRPC_PORT": "4"},
        env_file=env_file,
        config_file=config,
        defaults={"HTTP_PORT": 1, "RESUME_BUFFER": 1, "WS_MAX_CONNECTIONS": 1},
    )

    found = (settings.http_port, settings.grpc_port, settings.seed, settings.ws_max_connections, settings.resume_buffer)
    assert found == (5, 4, 3, 2, 1)


def test_the_process_environment_is_read_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEED", "77")

    assert (load_settings().seed, load_settings(environ={}).seed) == (77, 1)


def test_an_empty_value_counts_as_not_given(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("SEED=5\nPOSTGRES_URL=\n")

    settings = load_settings(environ={"SEED": "", "LOG_LEVEL": ""}, env_file=env_file)

    assert (settings.seed, settings.log_level, settings.postgres_url) == (5, "info", None)


def test_a_missing_env_file_is_fine(tmp_path: Path) -> None:
    assert load_settings(environ={}, env_file=tmp_path / ".env") == load()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "venue.toml",
            'HTTP_PORT = 0\nstart_time = 2026-01-31T12:00:00Z\nspeed = "max"\n[spread_bps]\n"btc-usd" = 1.5\n',
        ),
        ("venue.yaml", "HTTP_PORT: 0\nstart_time: 2026-01-31T12:00:00Z\nspeed: max\nspread_bps: {btc-usd: 1.5}\n"),
    ],
)
def test_a_configuration_file_may_use_its_own_types(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)

    settings = load_settings(config_file=path, environ={})

    assert (settings.http_port, settings.speed) == (0, math.inf)
    assert settings.start_time_ns == parse_time("2026-01-31T12:00:00Z")
    assert settings.spread_bps["BTC/USD"] == Decimal("1.5")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("venue.toml", "http_port = = 1\n", "line 1"),
        ("venue.yaml", "seed: 1\nhttp_port: [\n", "line 3"),
        ("venue.yaml", "- 1\n", "must be a table"),
        ("venue.json", "{}", "neither .yaml, .yml nor .toml"),
        ("venue.yaml", "http_port: 1\nHTTP_PORT: 2\n", "stands there twice"),
    ],
)
def test_a_configuration_file_that_cannot_be_read_is_refused(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(text)

    with pytest.raises(ConfigurationError, match=message):
        load_settings(config_file=path, environ={})


def test_a_configuration_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load_settings(config_file=tmp_path / "venue.toml", environ={})


BAD_VALUES = [
    ("HTTP_PORT", "65536", "a port from 0 to 65535"),
    ("HTTP_PORT", "eighty", "a port from 0 to 65535"),
    ("PRICE_UPDATE_INTERVAL", "999us", "from 1ms to 1h"),
    ("PRICE_UPDATE_INTERVAL", "61m", "from 1ms to 1h"),
    ("CACHE_TTL", "300", "a duration such as 300s"),
    ("CANDLE_INTERVAL", "2m", "one of 1s, 1m, 5m, 15m, 1h, 1d"),
    ("DEFAULT_SYMBOLS", "BTC", "symbols such as BTC/USD,ETH/USD"),
    ("DEFAULT_SYMBOLS", "BTC/USD,BTC-USD", "each once"),
    ("SPEED", "0", "a positive number or max"),
    ("SPEED", "fast", "a positive number or max"),
    ("START_TIME", "yesterday", "a time such as"),
    ("LOG_LEVEL", "loud", "one of debug, info, warning, error, critical"),
    ("ENVIRONMENT", "prod", "one of development"),
    ("AUDIT_ENABLED", "perhaps", "true or false"),
    ("SPREAD_BPS", "BTC/USD=0", "pairs such as"),
    ("TICK_SIZES", "BTC/USD=1e-19", "at most|more than 18 decimals"),
    ("INITIAL_PRICES", "BTC/USD", "pairs such as"),
    ("INITIAL_PRICES", "BTC/USD=1,btc-usd=2", "twice"),
    ("SERVICE_TTL", "30s", "longer than HEARTBEAT_INTERVAL"),
    ("MAX_IDLE_CONNECTIONS", "26", "more than MAX_CONNECTIONS, which is 25"),
    ("RESUME_BUFFER", "-1", "a whole number from 0"),
    ("EXCHANGE_SYMBOLS", "BTC/USD,BTC-USD", "each once"),
    ("EXCHANGE_ASSETS", "eur", "1 to 16 capital letters"),
    ("EXCHANGE_ASSETS", "EUR=13", "EUR=13 is not within 0 and 12"),
    ("USDT_USD", "0", "a positive number"),
    ("MAKER_FEE_BPS", "1=8", "tier 0 is missing"),
    ("MAKER_FEE_BPS", "0=10,16=8", "16=8 is beyond tier 15"),
    ("TAKER_FEE_BPS", "0=1000.5", "beyond"),
    ("TAKER_FEE_BPS", "0=0.001", "two decimals"),
    ("TAKER_FEE_BPS", "-1", "'-1' is negative"),
    ("MIN_NOTIONAL", "default=-1", "'-1' is negative"),
    ("PRICE_BAND_BPS", "10001", "default=10001 is not within 0 and 10000"),
    ("MAX_OPEN_ORDERS", "1.5", "'1.5' is not a whole number"),
    ("HOUSE_LIQUIDITY", "BTC/USD=deep", "'deep' is not one of levels, flat, off"),
    ("HOUSE_LEVELS", "0", "default=0 is not within 1 and 50"),
    ("HOUSE_LEVEL_GROWTH", "default=0", "'0' is not a positive number"),
    ("HOUSE_STALE_AFTER", "1s", "longer than PRICE_UPDATE_INTERVAL"),
    ("DEMO_FUNDS", "USD=0", "'0' is not a positive number"),
    ("PRE_TRADE_CHECKS", "my_rules", "'my_rules' is not MODULE:ATTRIBUTE"),
]


@pytest.mark.parametrize(("name", "value", "expected"), BAD_VALUES)
def test_a_bad_value_is_refused_with_name_value_source_and_what_was_expected(
    name: str, value: str, expected: str
) -> None:
    message = complaint({name: value})

    assert f"{name}={value!r} (environment): expected" in message
    assert any(part in message for part in expected.split("|"))


def test_all_that_is_wrong_is_reported_at_once() -> None:
    message = complaint({"HTTP_PORT": "-1", "SPEED": "0"}, LOG_LEVELL="info")

    assert message.startswith("3 settings are wrong:")
    assert all(name in message for name in ("HTTP_PORT", "SPEED", "LOG_LEVELL"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUDIT_KEY", "hunter2"),
        ("ADMIN_KEY", "hunter2"),
        ("POSTGRES_URL", "mysql://u:hunter2@h/d"),
        ("POSTGRES_URL", "postgres://u:h@hunter2:port/d"),
        ("REDIS_URL", "http://:hunter2@h"),
    ],
)
def test_a_bad_secret_is_refused_without_showing_it(name: str, value: str) -> None:
    message = complaint({name: value})

    assert name in message
    assert "hunter2" not in message


@pytest.mark.parametrize("name", ["HTP_PORT", "http_prot"])
def test_an_unknown_option_is_refused_with_the_name_that_was_meant(name: str) -> None:
    assert "did you mean HTTP_PORT?" in complaint(**{name: 1})


def test_an_unknown_variable_with_our_prefix_is_refused_and_others_are_none_of_our_business() -> None:
    message = complaint({"FAUXCHANGE_HTTP_PORT": "1", "HTTP_PROT": "1"})

    assert "FAUXCHANGE_HTTP_PORT (environment): there is no such setting; did you mean HTTP_PORT?" in message
    assert "HTTP_PROT " not in message


def test_urls_of_both_spellings_and_with_parameters_are_taken() -> None:
    settings = load(
        {
            "POSTGRES_URL": "postgres://u:pa%40ss@h:5432/d?sslmode=require",
            "TEST_POSTGRES_URL": "postgresql:///d?host=/run/postgresql",
            "REDIS_URL": "rediss://:r3dis@h:6379/1",
            "TEST_REDIS_URL": "unix:///run/redis.sock",
        }
    )

    assert settings.postgres_url is not None
    assert settings.postgres_url.get_secret_value().endswith("sslmode=require")
    assert {"pa%40ss", "pa@ss", "r3dis"} <= set(settings.secrets)


def test_no_secret_is_in_the_printed_settings() -> None:
    settings = load(
        {
            "POSTGRES_URL": "postgres://u:hunter2@h/d",
            "AUDIT_KEY": "hunter2-hunter2-",
            "ADMIN_KEY": "hunter2-hunter2+",
        }
    )

    assert "hunter2" not in repr(settings)
    assert {"hunter2-hunter2-", "hunter2-hunter2+"} <= set(settings.secrets)


def test_the_audit_port_follows_the_http_port() -> None:
    assert [load(HTTP_PORT=port).audit_port for port in (8080, 8083, 0)] == [8180, 8183, 0]
    assert load(HTTP_PORT=8080, AUDIT_PORT=9000).audit_port == 9000


def test_an_audit_port_that_would_be_too_high_is_refused() -> None:
    assert "AUDIT_PORT=65600 (default): expected a port" in complaint(HTTP_PORT=65500)


def test_a_small_pool_lowers_the_default_of_its_idle_part() -> None:
    assert load(MAX_CONNECTIONS=5).max_idle_connections == 5


def test_entries_of_a_map_add_to_the_defaults() -> None:
    settings = load(TICK_SIZES="BTC/USD=0.5,default=1")

    found = [str(settings.instrument(symbol).tick_size) for symbol in ("BTC/USD", "ADA/USD", "XYZ/USD")]
    assert found == ["0.5", "0.0001", "1"]


def test_one_value_alone_is_that_of_all_symbols_where_a_limit_or_the_house_is_set() -> None:
    settings = load({"HOUSE_LIQUIDITY": "Flat", "HOUSE_LEVELS": "5"}, MAX_QUANTITY=3, HOUSE_BEST_NOTIONAL="1000")

    assert (settings.house_liquidity["default"], settings.house_levels["default"]) == ("flat", 5)
    assert (settings.max_quantity["default"], settings.house_best_notional["default"]) == (3, 1000)


def test_the_burst_follows_the_rate_and_the_stale_age_slow_prices() -> None:
    settings = load(ORDER_RATE_LIMIT=50, PRICE_UPDATE_INTERVAL="1m")

    assert (settings.order_rate_burst, settings.house_stale_after_ns) == (50, 180 * NS_PER_S)
    assert load(ORDER_RATE_LIMIT=0).order_rate_burst == 1


def test_a_symbol_without_its_own_grid_takes_that_of_its_base_against_usd() -> None:
    settings = load()

    instrument = settings.instrument("ADA/USDT")

    assert (str(instrument.tick_size), str(instrument.lot_size)) == ("0.0001", "0.1")
    assert settings.initial_price("ADA/USDT") == settings.initial_price("ADA/USD")
    assert settings.spread_bps_of("XYZ/USD") == settings.spread_bps["default"]


def test_a_first_price_is_stated_where_it_is_not_the_default() -> None:
    settings = load(INITIAL_PRICES="BTC/USD=70,ETH/USD=3000")

    assert [settings.stated_price(symbol) for symbol in ("BTC/USD", "ETH/USD", "XYZ/USD")] == [70, None, None]


def test_default_grids_make_whole_minor_units_of_the_quote() -> None:
    settings = load()

    for symbol in (*settings.default_symbols, "XYZ/USD"):
        instrument = settings.instrument(symbol)
        assert (instrument.tick_size * instrument.lot_size) % Decimal("1e-8") == 0, symbol


def test_replay_files_may_carry_a_symbol() -> None:
    settings = load(REPLAY="btc-usdt=a.csv.gz,b_usdt.csv,odd=name.csv")

    assert settings.replay == (
        ReplayFile("BTC/USDT", Path("a.csv.gz")),
        ReplayFile(None, Path("b_usdt.csv")),
        ReplayFile(None, Path("odd=name.csv")),
    )
    assert load(REPLAY=["a,b.csv"]).replay == (ReplayFile(None, Path("a,b.csv")),)


def test_replay_files_may_carry_a_span() -> None:
    day = 24 * 3_600 * 10**9

    settings = load(REPLAY="btc-usdt=a.csv@1970-01-02..1970-01-03T00:00:00Z,b@c.csv,d.csv@..1970-01-02,e@1970-01-02..")

    assert settings.replay == (
        ReplayFile("BTC/USDT", Path("a.csv"), day, 2 * day),
        ReplayFile(None, Path("b@c.csv")),
        ReplayFile(None, Path("d.csv"), None, day),
        ReplayFile(None, Path("e"), day, None),
    )
    assert [replay.is_whole for replay in settings.replay] == [False, True, False, False]


@pytest.mark.parametrize(
    "values",
    [
        {"REPLAY": "a.csv@soon.."},
        {"REPLAY": "a.csv@1970-01-02..1970-01-02"},
        {"REPLAY": "a.csv", "REPLAY_START": "1970-01-02", "REPLAY_END": "1970-01-02"},
        {"REPLAY": "a.csv", "REPLAY_END": "never"},
        {"REPLAY_START": "1970-01-02"},
        {"REPLAY_END": "1970-01-02"},
        {"REPLAY_TICKS": "many"},
    ],
)
def test_a_span_that_is_none_is_refused(values: dict[str, str]) -> None:
    name = list(values)[-1]

    with pytest.raises(ConfigurationError, match=name):
        load(**values)


@pytest.mark.parametrize(
    ("environ", "virtual"),
    [({}, False), ({"SPEED": "10"}, True), ({"SPEED": "max"}, True), ({"START_TIME": "2024-01-01"}, True)],
)
def test_a_speed_or_a_start_time_gives_a_virtual_clock(environ: dict[str, str], virtual: bool) -> None:
    assert load(environ).virtual_time is virtual


def test_durations_are_nanoseconds() -> None:
    settings = load(PRICE_UPDATE_INTERVAL="1m30s", GRPC_FLUSH_INTERVAL="5ms")

    assert (settings.price_update_interval_ns, settings.grpc_flush_interval_ns) == (90 * NS_PER_S, 5 * NS_PER_MS)
    assert settings.retention_ns(NS_PER_S) < settings.retention_ns(NS_PER_MINUTE)


def test_settings_do_not_change_after_the_start() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().seed = 2  # type: ignore[misc]  # that it cannot be done is what is tested


def test_check_of_an_env_file_names_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# a comment\nexport SEED=1\n\nHTTP_PROT=1\nno equals sign\nLOG_LEVEL=loud\n")

    problems = check_env_file(path)

    assert len(problems) == 3
    assert "HTTP_PROT (.env line 4): there is no such setting; did you mean HTTP_PORT?" in problems
    assert ".env line 5: expected NAME=value" in problems
    assert any(problem.startswith("LOG_LEVEL='loud' (.env line 6): expected one of") for problem in problems)


def test_check_of_a_missing_env_file_says_how_to_make_one(tmp_path: Path) -> None:
    assert "copy .env.example" in check_env_file(tmp_path / ".env")[0]


def test_every_setting_is_documented_with_unit_default_and_meaning() -> None:
    rows = documented_settings()

    fields = [field.alias for field in Settings.model_fields.values()]
    assert [row.name for row in rows] == [*fields, *COMPOSE_VARIABLES]
    assert all(row.unit and row.default and row.description and row.group for row in rows)


def test_an_environment_file_that_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"HTTP_PORT=8080\n\xff\xfe")

    with pytest.raises(ConfigurationError, match=r"\.env cannot be read: it is not UTF-8 text"):
        load_settings(environ={}, env_file=tmp_path / ".env")


@pytest.mark.parametrize("password", ["half@secret", "100%secret"])
def test_password_that_the_driver_would_tell_in_public_is_refused(password: str) -> None:
    told = complaint({"POSTGRES_URL": f"postgresql://user:{password}@db/venue"})

    assert "POSTGRES_URL" in told
    assert "secret" not in told.replace("a secret", "")


def test_passwords_of_urls_are_known_wherever_they_stand() -> None:
    settings = load({"POSTGRES_URL": "postgresql://user@db/venue?password=hidden", "REDIS_URL": "redis://:gone@cache"})

    assert {"hidden", "gone"} <= set(settings.secrets)


@pytest.mark.parametrize("target", ["nonsense", "host:", ":9192", "host:port", "host:70000", "http://host:9192"])
def test_a_gateways_target_is_an_address(target: str) -> None:
    with pytest.raises(ConfigurationError, match="KERNEL_TARGET"):
        load(KERNEL_TARGET=target)
