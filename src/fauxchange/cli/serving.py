"""`up` and `serve`: start a process of the venue and run it until it is told to stop."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.panel import Panel
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from fauxchange import __version__
from fauxchange.cli.console import facts, messages
from fauxchange.cli.options import closest, complete_interval, complete_service, examples
from fauxchange.cli.progress import LateProgress
from fauxchange.cli.stores import CommandsProgress
from fauxchange.venue.services import GATEWAYS, SERVICES, ServiceEntry

if TYPE_CHECKING:
    from fauxchange.venue.plan import Addresses

ENV_FILE = Path(".env")
DATA_FOLDER = ".fauxchange"

UP_EXAMPLES = examples(
    "fauxchange up",
    "fauxchange up --seed 7 --speed 60 --start-time 2026-01-31T12:00:00Z",
    "fauxchange up --replay btc_usdt_spot_bbo.csv.gz --speed 10",
    "fauxchange up --replay BTC-USD=bars.csv.gz --replay-start 2025-05-05T00:00:00Z --replay-loop",
    "fauxchange up --model model.toml",
    "fauxchange up --order-flow busy",
    "fauxchange up --push BTC-USD=tcp://127.0.0.1:9500 --scenario crash.yaml",
)
SERVE_EXAMPLES = examples(
    "fauxchange serve market-data",
    "MARKET_DATA_GRPC=127.0.0.1:9093 fauxchange serve exchange",
    "fauxchange serve market-data --http-port 8183 --data-dir second",
)

_LISTENERS, _PRICES, _TIME = "Listeners", "Prices", "Venue time and chance"
_STORES, _LOGS = "Data and settings", "Logs"

HttpPort = Annotated[
    int | None,
    typer.Option(
        "--http-port", min=0, max=65535, metavar="PORT", help="REST and WebSocket.", rich_help_panel=_LISTENERS
    ),
]
GrpcPort = Annotated[
    int | None,
    typer.Option("--grpc-port", min=0, max=65535, metavar="PORT", help="gRPC.", rich_help_panel=_LISTENERS),
]
AuditPort = Annotated[
    int | None,
    typer.Option(
        "--audit-port",
        min=0,
        max=65535,
        metavar="PORT",
        help="Audit API (default: the HTTP port + 100).",
        rich_help_panel=_LISTENERS,
    ),
]
Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="ADDRESS",
        help="Address of REST, WebSocket and gRPC; the audit API stays on AUDIT_HOST.",
        rich_help_panel=_LISTENERS,
    ),
]
Symbols = Annotated[
    str | None,
    typer.Option("--symbols", metavar="BTC-USD,...", help="Symbols that the model prices.", rich_help_panel=_PRICES),
]
Interval = Annotated[
    str | None,
    typer.Option(
        "--interval",
        metavar="DURATION",
        help="Time between two prices of a symbol, such as 100ms or 1s.",
        autocompletion=complete_interval,
        rich_help_panel=_PRICES,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="FILE",
        help="Model file that prices are made with, as `fauxchange calibrate` writes it.",
        rich_help_panel=_PRICES,
    ),
]
Replay = Annotated[
    list[str] | None,
    typer.Option(
        "--replay",
        metavar="[SYMBOL=]FILE",
        help="Recorded candles, trades or quotes (CSV or Parquet), or the stream of a whole order book; plain or gzip. "
        "FILE may be FILE@START..END. Repeatable.",
        rich_help_panel=_PRICES,
    ),
]
ReplayLoop = Annotated[
    bool | None,
    typer.Option(
        "--replay-loop/--no-replay-loop",
        help="Start a recording again at its end.",
        show_default=False,
        rich_help_panel=_PRICES,
    ),
]
ReplayStart = Annotated[
    str | None,
    typer.Option(
        "--replay-start",
        metavar="TIME",
        help="Recorded time from which on recordings are replayed, such as 2025-05-05T00:00:00Z.",
        rich_help_panel=_PRICES,
    ),
]
ReplayEnd = Annotated[
    str | None,
    typer.Option(
        "--replay-end",
        metavar="TIME",
        help="Recorded time before which a replay ends.",
        rich_help_panel=_PRICES,
    ),
]
ReplayTicks = Annotated[
    Literal["bridge", "corners"] | None,
    typer.Option(
        "--replay-ticks",
        help="What a candle is replayed as: prices along a way between its corners (the default), or these alone.",
        rich_help_panel=_PRICES,
    ),
]
Push = Annotated[
    list[str] | None,
    typer.Option(
        "--push",
        metavar="[SYMBOL=]tcp://HOST:PORT",
        help="Live prices that a socket pushes. Repeatable.",
        rich_help_panel=_PRICES,
    ),
]
ScenarioFile = Annotated[
    str | None,
    typer.Option(
        "--scenario", metavar="FILE", help="Scenarios to run from the start (YAML or TOML).", rich_help_panel=_PRICES
    ),
]
OrderFlow = Annotated[
    str | None,
    typer.Option(
        "--order-flow",
        metavar="off|calm|busy",
        help="Background traders in the exchange's books; also by symbol, such as BTC/USD=busy,default=calm.",
        rich_help_panel=_PRICES,
        autocompletion=lambda: ["off", "calm", "busy"],
    ),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", metavar="NUMBER", help="Seed of every random stream.", rich_help_panel=_TIME),
]
Speed = Annotated[
    str | None,
    typer.Option(
        "--speed",
        metavar="NUMBER|max",
        help="Venue time against real time; anything but 1 runs on a virtual clock.",
        rich_help_panel=_TIME,
    ),
]
StartTime = Annotated[
    str | None,
    typer.Option(
        "--start-time",
        metavar="TIME",
        help="Venue time at start, such as 2026-01-31T12:00:00Z: makes runs repeat each other.",
        rich_help_panel=_TIME,
    ),
]
DataFolder = Annotated[
    str | None,
    typer.Option(
        "--data-dir", metavar="DIR", help="Folder of the database, the keys and ready.json.", rich_help_panel=_STORES
    ),
]
Store = Annotated[
    Literal["sqlite", "memory"] | None,
    typer.Option("--store", help="Where history is kept.", rich_help_panel=_STORES),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings as YAML or TOML; the environment, .env and options go before it.",
        rich_help_panel=_STORES,
    ),
]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error", "critical"] | None,
    typer.Option("--log-level", metavar="LEVEL", help="Least severe events logged.", rich_help_panel=_LOGS),
]
LogFormat = Annotated[
    Literal["json", "console"] | None,
    typer.Option(
        "--log-format", help="JSON lines, or lines for reading (the default on a terminal).", rich_help_panel=_LOGS
    ),
]
Service = Annotated[
    str,
    typer.Argument(metavar="SERVICE", help="The service to run.", autocompletion=complete_service),
]


# The parameters are named as the settings are, so that what is given can be handed over as it stands.
def up(
    *,
    http_port: HttpPort = None,
    grpc_port: GrpcPort = None,
    audit_port: AuditPort = None,
    host: Host = None,
    default_symbols: Symbols = None,
    price_update_interval: Interval = None,
    model: Model = None,
    replay: Replay = None,
    replay_loop: ReplayLoop = None,
    replay_start: ReplayStart = None,
    replay_end: ReplayEnd = None,
    replay_ticks: ReplayTicks = None,
    push: Push = None,
    scenario_file: ScenarioFile = None,
    order_flow: OrderFlow = None,
    seed: Seed = None,
    speed: Speed = None,
    start_time: StartTime = None,
    data_dir: DataFolder = None,
    store: Store = None,
    config: ConfigFile = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run everything there is in one process, until Ctrl-C.

    Every option is also a setting, in the environment or in `.env`.
    `fauxchange config` lists them all.
    """
    raise typer.Exit(_run(dict(locals())))


def serve(
    service: Service,
    *,
    http_port: HttpPort = None,
    grpc_port: GrpcPort = None,
    audit_port: AuditPort = None,
    host: Host = None,
    default_symbols: Symbols = None,
    price_update_interval: Interval = None,
    model: Model = None,
    replay: Replay = None,
    replay_loop: ReplayLoop = None,
    replay_start: ReplayStart = None,
    replay_end: ReplayEnd = None,
    replay_ticks: ReplayTicks = None,
    push: Push = None,
    scenario_file: ScenarioFile = None,
    order_flow: OrderFlow = None,
    seed: Seed = None,
    speed: Speed = None,
    start_time: StartTime = None,
    data_dir: DataFolder = None,
    store: Store = None,
    config: ConfigFile = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run one service in a process of its own, on its own ports, until Ctrl-C.

    It finds the others through the registry (`REDIS_URL`) or at addresses (`MARKET_DATA_GRPC`, `CONFIG_SERVICE_URL`,
    for a gateway `KERNEL_TARGET`).
    """
    given = dict(locals())
    served = {**SERVICES, **GATEWAYS}
    entry = served.get(given.pop("service"))
    if entry is None:
        raise typer.BadParameter(f"there is no service {service!r}; {closest(service, served)}", param_hint="SERVICE")
    raise typer.Exit(_run(given, own_settings(entry), services=(service,)))


def own_settings(entry: ServiceEntry) -> dict[str, object]:
    """Return what the settings of a service are by default where it runs in a process of its own."""
    return {
        "SERVICE_NAME": entry.registered_name,
        "HTTP_PORT": entry.http_port,
        "GRPC_PORT": entry.grpc_port,
        # A data folder belongs to one process, and the folder of `up` is one of them.
        "DATA_DIR": f"{DATA_FOLDER}/{entry.name}",
        "CACHE_NAMESPACE": entry.namespace,
        "SERVICE_DISCOVERY_NAMESPACE": entry.namespace,
    }


def _run(
    given: dict[str, object],
    defaults: Mapping[str, object] | None = None,
    *,
    services: Sequence[str] = tuple(SERVICES),
) -> int:
    """Run a process with the given settings; return its exit code. Raises: ConfigurationError, Unavailable."""
    from fauxchange.platform.logging import configure_logging
    from fauxchange.platform.settings import load_settings
    from fauxchange.venue.plan import prepare
    from fauxchange.venue.process import run_process

    interactive = sys.stderr.isatty()
    config_file = given.pop("config")
    settings = load_settings(
        _overrides(given),
        config_file=config_file if isinstance(config_file, Path) else None,
        env_file=ENV_FILE,
        defaults={"LOG_FORMAT": "console" if interactive else "json", **(defaults or {})},
    )
    configure_logging(
        level=settings.log_level,
        format=settings.log_format,
        service=settings.service_name,
        version=settings.service_version,
        secrets=settings.secrets,
    )
    with ReadingProgress(shown=interactive) as progress, CommandsProgress(shown=interactive) as recovering:

        def announce(addresses: "Addresses") -> None:
            recovering.finish()
            _welcome(addresses)

        if services[0] in GATEWAYS:
            from fauxchange.venue.gateways import prepare_gateway, run_gateway

            progress.finish()
            return run_gateway(prepare_gateway(settings, services[0], announce=announce if interactive else None))
        plan = prepare(
            settings,
            progress=progress,
            services=services,
            announce=announce if interactive else None,
            recovering=recovering,
        )
        progress.finish()
        return run_process(plan)


def _overrides(given: Mapping[str, object]) -> dict[str, object]:
    """Return options as settings: what was not given is left out, the one host is that of both listeners."""
    overrides = {name: value for name, value in given.items() if value not in (None, []) and name != "host"}
    if given["host"] is not None:
        overrides |= {"http_host": given["host"], "grpc_host": given["host"]}
    return overrides


class ReadingProgress(LateProgress):
    """Progress of reading files."""

    def __init__(self, *, shown: bool, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__(_reading_bar, shown=shown, now_s=now_s)

    def __call__(self, path: Path, done: int, total: int) -> None:
        """Show how far the reading of a file is. Units: bytes."""
        self.show(path, path.name, done, total)


def _reading_bar() -> Progress:
    return Progress(
        TextColumn("Reading {task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=messages(),
        transient=True,
    )


def _welcome(addresses: "Addresses") -> None:
    """Say on the terminal where everything is, and what to try next."""
    folder = addresses.ready_file.parent
    option = "" if folder == Path(".fauxchange") else f" --data-dir {folder}"
    streams = addresses.http.replace("http", "ws", 1)
    demo = addresses.new_demo
    made = (
        []
        if demo is None
        else [
            ("Demo account", f"{demo.account_id}, funded; its key, shown this once, is also in {addresses.ready_file}"),
            ("API key", demo.api_key),
            ("API secret", demo.api_secret),
            ("", ""),
        ]
    )
    feed, exchange = "market-data" in addresses.services, "exchange" in addresses.services
    paths = [f"{streams}/api/v1/{name}/ws" for name in ("market-data", "exchange") if name in addresses.services]
    tries = [
        *([f"fauxchange prices{option}"] if feed else []),
        *([f"fauxchange order buy BTC-USD 0.01{option}", f"fauxchange book BTC-USD{option}"] if exchange else []),
        *([f"fauxchange scenario start crash --magnitude 20%{option}"] if feed else []),
        *([] if feed and exchange else [f"fauxchange services{option}"]),
    ]
    places = [
        *([("Prices", f"{addresses.http}/api/v1/prices")] if feed else []),
        *([("Orders", f"{addresses.http}/api/v1/orders")] if exchange else []),
        *([("Streams", ", ".join(paths))] if paths else []),
        ("gRPC", addresses.grpc),
        ("API", f"{addresses.http}/openapi.json"),
        ("Health", f"{addresses.http}/api/v1/health"),
        ("Metrics", f"{addresses.http}/metrics"),
        ("Audit API", f"{addresses.audit} (key in {addresses.ready_file})" if addresses.audit else "off"),
        ("", ""),
        *made,
        *zip(["Try next", *[""] * len(tries)], tries, strict=False),
        ("Stop with", "Ctrl-C"),
    ]
    title = f"[bold]Fauxchange {__version__} is running[/bold]"
    messages().print(Panel.fit(facts(places), title=title, title_align="left", padding=(1, 2)))
