"""`services`: who is in the registry, where, and how they are, once or live."""

import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fauxchange.cli.console import name_column, number_column, output, print_json, print_json_line, table
from fauxchange.cli.options import DataDir, Json, Url, examples
from fauxchange.cli.remote import ENV_FILE, Api, find_server
from fauxchange.domain.errors import FauxchangeError, Unavailable
from fauxchange.venue.services import SERVICES

EXAMPLES = examples(
    "fauxchange services",
    "fauxchange services --once",
    "fauxchange services --json | jq '.services[] | select(.health != \"serving\")'",
)
PROBE_TIMEOUT_S = 1.0
SERVING, NOT_SERVING, NO_ANSWER = "serving", "not serving", "no answer"
_STYLES = {SERVING: "green", NOT_SERVING: "yellow", NO_ANSWER: "bold red"}

Service = dict[str, Any]
"""One instance as `GET /api/v1/services` tells it, with its `health`."""


class Source(Protocol):
    """Where the registry is asked."""

    async def read(self) -> list[Service]:
        """Return the instances there are. Raises: FauxchangeError."""
        ...


def services(
    *,
    once: Annotated[bool, typer.Option("--once", help="Print the services as they are now, and exit.")] = False,
    interval_s: Annotated[
        float, typer.Option("--interval", metavar="SECONDS", min=0.1, max=3600, help="How often to look.")
    ] = 1.0,
    as_json: Json = False,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Show the services that the registry knows, and ask each for its health: a live table on a terminal.

    The registry is that of REDIS_URL, or what a running server tells of its own: the one at `--url` or of the data
    folder. With `--json` each look is one JSON object on a line; with `--once` there is one document. Elsewhere than on
    a terminal a line is printed for each service whenever something but its age has changed.
    """
    import asyncio

    asyncio.run(_run(once=once, interval_s=interval_s, as_json=as_json, url=url, data_dir=data_dir))


async def _run(*, once: bool, interval_s: float, as_json: bool, url: str | None, data_dir: Path | None) -> None:
    async with _source(url, data_dir) as source:
        if once:
            found = await _look(source)
            if as_json:
                print_json({"services": found})
            else:
                output().print(drawn(found))
        elif as_json:
            await _watch(source, interval_s, lambda found: print_json_line({"services": found}))
        elif sys.stdout.isatty():
            await _show_live(source, interval_s)
        else:
            await _watch(source, interval_s, Changes(typer.echo))


def drawn(found: Sequence[Service], state: str = "") -> Table:
    """Return the services as a table."""
    shown = table(
        *map(name_column, ("Service", "Instance", "Version", "Address")),
        *map(number_column, ("HTTP", "gRPC", "Heartbeat")),
        name_column("Health"),
    )
    for each in found:
        shown.add_row(
            Text(each["name"], style="bold"),
            each["instance"],
            each["version"],
            each["host"],
            str(each["http_port"]),
            str(each["grpc_port"]),
            f"{each['heartbeat_age_s']:.1f} s",
            Text(each["health"], style=_STYLES[each["health"]]),
        )
    caption = [] if found else ["no service is registered"]
    shown.caption = "  ".join([*caption, *([state] if state else [])])
    shown.caption_justify = "left"
    return shown


class Changes:
    """Print a line for each service that has come, changed or gone."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        self._told: Mapping[tuple[str, str], str] = {}

    def __call__(self, found: Sequence[Service]) -> None:
        """Compare with the look before."""
        lines = {(each["name"], each["instance"]): line(each) for each in found}
        for key, text in lines.items():
            if self._told.get(key) != text:
                self._tell(text)
        for (name, instance), _ in (item for item in self._told.items() if item[0] not in lines):
            self._tell(f"{name:<22} {instance} gone")
        self._told = lines


def line(service: Service) -> str:
    """Return a service as a line of text, without what changes all the time."""
    address = f"{service['host']}:{service['http_port']},{service['grpc_port']}"
    return f"{service['name']:<22} {service['instance']} {service['version']} {address} {service['health']}"


async def _look(source: Source) -> list[Service]:
    import asyncio

    found = await source.read()
    states = await asyncio.gather(*(ask_health(each) for each in found))
    return [{**each, "health": state} for each, state in zip(found, states, strict=True)]


async def _watch(source: Source, interval_s: float, show: Callable[[list[Service]], None]) -> None:
    import asyncio

    while True:
        show(await _look(source))
        sys.stdout.flush()
        await asyncio.sleep(interval_s)


async def _show_live(source: Source, interval_s: float) -> None:
    import asyncio

    found: list[Service] = []
    looked_s, state = time.monotonic(), "asking"

    def rendered() -> Table:
        age_s = time.monotonic() - looked_s
        aged = [{**each, "heartbeat_age_s": each["heartbeat_age_s"] + age_s} for each in found]
        return drawn(aged, "  ".join([*([state] if state else []), "Ctrl-C ends"]))

    with Live(get_renderable=rendered, console=output(), refresh_per_second=4):
        while True:
            try:
                found, looked_s, state = await _look(source), time.monotonic(), ""
            except FauxchangeError as exc:
                if not exc.retryable:
                    raise
                state = exc.message
            await asyncio.sleep(interval_s)


async def ask_health(service: Service) -> str:
    """Ask an instance over gRPC whether it serves: one of SERVING, NOT_SERVING, NO_ANSWER."""
    import grpc
    from grpc_health.v1 import health_pb2

    from fauxchange.platform.listening import url_host
    from fauxchange.platform.rpc.instances import HEALTH_CHECK, open_channel

    channel = open_channel(f"{url_host(service['host'])}:{service['grpc_port']}")
    check = channel.unary_unary(
        HEALTH_CHECK,
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    names = {entry.registered_name: entry.name for entry in SERVICES.values()}
    request = health_pb2.HealthCheckRequest(service=names.get(service["name"], ""))
    try:
        response = await check(request, timeout=PROBE_TIMEOUT_S)
    except grpc.aio.AioRpcError as exc:
        # Whoever is there now does not know the service: the entry is of one that has gone.
        return NOT_SERVING if exc.code() is grpc.StatusCode.NOT_FOUND else NO_ANSWER
    finally:
        await channel.close()
    return SERVING if response.status == health_pb2.HealthCheckResponse.SERVING else NOT_SERVING


@asynccontextmanager
async def _source(url: str | None, data_dir: Path | None) -> AsyncIterator[Source]:
    from fauxchange.platform.settings import load_settings

    settings = load_settings(env_file=ENV_FILE) if url is None and data_dir is None else None
    if settings is None or settings.redis_url is None:
        yield _OverHttp(url, data_dir)
        return
    from fauxchange.data.memory.registry import MemoryRegistry
    from fauxchange.data.redis.registry import RedisRegistry
    from fauxchange.data.redis.server import RedisServer
    from fauxchange.domain.times import NS_PER_S
    from fauxchange.platform.clock import WallClock
    from fauxchange.venue.stores import redis_config

    config = redis_config(settings)
    if config is None:
        raise Unavailable("REDIS_URL is not set")
    wall_ns = WallClock().now_ns
    ttl_s = settings.service_ttl_ns / NS_PER_S
    server = RedisServer(config)
    registry = RedisRegistry(
        server,
        MemoryRegistry(wall_ns=wall_ns, ttl_s=ttl_s),
        namespace=settings.service_discovery_namespace,
        ttl_s=ttl_s,
        wall_ns=wall_ns,
    )
    await server.connect()
    try:
        yield _InRedis(server, registry, wall_ns)
    finally:
        await server.disconnect()


class _OverHttp:
    """What a running server tells of its registry."""

    def __init__(self, url: str | None, data_dir: Path | None) -> None:
        self._url = url
        self._data_dir = data_dir

    async def read(self) -> list[Service]:
        import asyncio

        return await asyncio.get_running_loop().run_in_executor(None, self._read)

    def _read(self) -> list[Service]:
        # The server may have been started again at another address since the last look.
        with Api(find_server(self._url, self._data_dir)) as api:
            found: list[Service] = api.get("/api/v1/services")["services"]
            return found


class _InRedis:
    """The registry itself."""

    def __init__(self, server: Any, registry: Any, wall_ns: Callable[[], int]) -> None:
        self._server = server
        self._registry = registry
        self._wall_ns = wall_ns

    async def read(self) -> list[Service]:
        import msgspec

        from fauxchange.platform.http.service_routes import listed

        found = await self._registry.all()
        problem = self._registry.problem or self._server.problem
        if problem is not None:
            # What is remembered meanwhile is this command's, and worth nothing.
            raise Unavailable(f"the registry at {self._server.name} is away ({problem}); see REDIS_URL")
        document = msgspec.to_builtins(listed(found, self._wall_ns()))
        services: list[Service] = document["services"]
        return services
