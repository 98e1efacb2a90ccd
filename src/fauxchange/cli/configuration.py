"""`config`: the settings that a process starts with, and the values that services follow while they run."""

import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.text import Text
from typer.core import TyperGroup

from fauxchange.cli.clients import AdminKey, Count, Cursor, shown, tell_of_more
from fauxchange.cli.console import (
    facts,
    messages,
    name_column,
    number_column,
    output,
    print_json,
    print_json_line,
    table,
)
from fauxchange.cli.documentation import CONFIG_EXAMPLES, config
from fauxchange.cli.options import DataDir, Json, Url, complete_service, examples
from fauxchange.cli.remote import ENV_FILE, Api, Place, away, find_server, path_of
from fauxchange.domain.configuration import shown_value

WAIT_S = 20
RETRY_S = 1.0
DEFAULT = "settings"

Type = Literal["str", "int", "float", "decimal", "bool", "duration", "list", "json"]
Service = Annotated[
    str, typer.Argument(metavar="SERVICE", help="A service, such as market-data.", autocompletion=complete_service)
]
Key = Annotated[str, typer.Argument(metavar="KEY", help="A key, such as spread_bps.BTC-USD.")]
Environment = Annotated[
    str | None,
    typer.Option("--environment", metavar="NAME", help="The environment (default: that of the server)."),
]
Comment = Annotated[str, typer.Option("--comment", metavar="TEXT", help="Why, for the history.")]
ExpectedVersion = Annotated[
    int | None,
    typer.Option(
        "--expected-version",
        metavar="VERSION",
        min=0,
        help="Only if this is the key's version; 0: only if it is not set.",
    ),
]


class SettingsByDefault(TyperGroup):
    """The commands of `config`; where none is named, the settings are meant."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command that is meant before arguments that name none."""
        named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        if not named and not ctx.resilient_parsing:
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


commands = typer.Typer(
    cls=SettingsByDefault,
    help="Look up the settings of a start; read, change and follow the values that services take up while they run.",
    epilog=examples(
        "fauxchange config",
        "fauxchange config list market-data",
        "fauxchange config set market-data spread_bps.BTC-USD 20",
        "fauxchange config watch market-data",
    ),
)
commands.command(DEFAULT, epilog=CONFIG_EXAMPLES)(config)


@commands.command("list", epilog=examples("fauxchange config list", "fauxchange config list market-data"))
def list_(
    service: Annotated[
        str | None,
        typer.Argument(
            metavar="SERVICE", help="The service; without it those that have keys.", autocompletion=complete_service
        ),
    ] = None,
    *,
    environment: Environment = None,
    as_json: Json = False,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """List the keys of a service with their values, or the services that have keys."""
    with _api(url, data_dir) as api:
        if service is None:
            _show_services(api.get("/api/v1/configuration"), as_json=as_json)
            return
        document = _all_values(api, service, environment)
    if as_json:
        print_json(document)
        return
    if not document["values"]:
        messages().print(f"{service} has no key in {document['environment']}")
        return
    listed = table(name_column("Key"), "Value", "Type", number_column("Version"), name_column("Changed"), "By")
    for each in document["values"]:
        listed.add_row(
            each["key"],
            Text(shown_value(each["value"])),
            each["type"],
            str(each["version"]),
            each["updated_at"],
            each["updated_by"],
        )
    output().print(listed)


@commands.command("get", epilog=examples("fauxchange config get market-data spread_bps.BTC-USD"))
def get(
    service: Service,
    key: Key,
    *,
    environment: Environment = None,
    as_json: Json = False,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Print the value of a key; with `--json` all that is known of it."""
    with _api(url, data_dir) as api:
        document = api.get(_path(service, key, query={"environment": environment}))
    if as_json:
        print_json(document)
    else:
        typer.echo(shown_value(document["value"]))


@commands.command(
    "set",
    epilog=examples(
        "fauxchange config set market-data spread_bps.BTC-USD 20",
        "fauxchange config set market-data price_update_interval 250ms",
        'fauxchange config set my-bot symbols BTC-USD,ETH-USD --type list --comment "trade both"',
    ),
)
def set_(
    service: Service,
    key: Key,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="The value, as it is written.")],
    *,
    type_: Annotated[
        Type | None,
        typer.Option("--type", help="Its type (default: as the key is declared, as it has been, or str)."),
    ] = None,
    expected_version: ExpectedVersion = None,
    comment: Comment = "",
    environment: Environment = None,
    as_json: Json = False,
    admin_key: AdminKey = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Give a key a value; services that follow it take it up at once."""
    body: dict[str, Any] = {"value": value, "comment": comment}
    body |= {} if type_ is None else {"type": type_}
    body |= {} if expected_version is None else {"expected_version": expected_version}
    with _api(url, data_dir, admin_key) as api:
        document = api.put(_path(service, key, query={"environment": environment}), body)
    _show_value(document, as_json=as_json)


@commands.command("delete", epilog=examples("fauxchange config delete market-data spread_bps.BTC-USD"))
def delete(
    service: Service,
    key: Key,
    *,
    comment: Comment = "",
    environment: Environment = None,
    as_json: Json = False,
    admin_key: AdminKey = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Delete a key: what it stands for goes back to its default."""
    query = {"environment": environment, "comment": comment or None}
    with _api(url, data_dir, admin_key) as api:
        document = api.delete(_path(service, key, query=query))
    if as_json:
        print_json(document)
        return
    (change,) = document["changes"]
    output().print(facts({"key": change["key"], "deleted": change["changed_at"], "version": change["version"]}))


@commands.command("history", epilog=examples("fauxchange config history market-data spread_bps.BTC-USD"))
def history(
    service: Service,
    key: Key,
    *,
    count: Count = 20,
    cursor: Cursor = None,
    environment: Environment = None,
    as_json: Json = False,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """List the changes of a key, the newest first: what, when, by whom, and why."""
    query = {"environment": environment, "limit": str(count), "cursor": cursor}
    with _api(url, data_dir) as api:
        document = api.get(_path(service, key, "history", query=query))
    if as_json:
        print_json(document)
        return
    listed = table(number_column("Version"), name_column("Changed"), "By", "Value", "Why")
    for each in document["changes"]:
        value = Text("deleted", style="dim") if each["deleted"] else Text(shown_value(each["value"]))
        listed.add_row(
            str(each["version"]), each["changed_at"], each["changed_by"], value, shown(each["comment"] or None)
        )
    output().print(listed)
    tell_of_more(document["next_cursor"])


@commands.command("rollback", epilog=examples("fauxchange config rollback market-data spread_bps.BTC-USD 3"))
def rollback(
    service: Service,
    key: Key,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The version, as `history` shows it.")],
    *,
    comment: Comment = "",
    environment: Environment = None,
    as_json: Json = False,
    admin_key: AdminKey = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Give a key the value that it had at a version."""
    path = _path(service, key, "rollback", query={"environment": environment})
    with _api(url, data_dir, admin_key) as api:
        document = api.post(path, {"version": version, "comment": comment})
    _show_value(document, as_json=as_json)


@commands.command("schema", epilog=examples("fauxchange config schema market-data"))
def schema(service: Service, *, as_json: Json = False, url: Url = None, data_dir: DataDir = None) -> None:
    """List the keys that a service declares, with their types and bounds."""
    with _api(url, data_dir) as api:
        document = api.get(path_of("api", "v1", "configuration-schemas", service))
    if as_json:
        print_json(document)
        return
    if not document["declarations"]:
        messages().print(f"{service} declares nothing: it takes any key")
        return
    listed = table(name_column("Key"), "Type", "Allowed", "Meaning")
    for each in document["declarations"]:
        listed.add_row(each["name"], each["type"], _allowed(each), each["description"])
    output().print(listed)


@commands.command(
    "watch", epilog=examples("fauxchange config watch market-data", "fauxchange config watch my-bot --json")
)
def watch(
    service: Service,
    *,
    environment: Environment = None,
    as_json: Json = False,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Print the values of a service, and then each change as it happens, until Ctrl-C.

    With `--json` each is one JSON object on a line.
    """
    import asyncio

    asyncio.run(_watch(_place(url, data_dir), service, environment, as_json=as_json))


async def _watch(place: Place, service: str, environment: str | None, *, as_json: bool) -> None:
    known: dict[str, Any] = {}
    async for values in _followed(place, service, environment):
        for line in _differences(known, values, as_json=as_json):
            if as_json:
                print_json_line(line)
            else:
                typer.echo(line)
        known = values
        sys.stdout.flush()


def _differences(known: Mapping[str, Any], values: Mapping[str, Any], *, as_json: bool) -> Iterator[Any]:
    """Yield what is new, as documents or as lines."""
    for key in sorted(known.keys() | values.keys()):
        if known.get(key) == values.get(key):
            continue
        each = values.get(key)
        if as_json:
            yield each if each is not None else {"key": key, "deleted": True}
        elif each is None:
            yield f"{key} deleted"
        else:
            yield f"{each['updated_at']} {key} = {shown_value(each['value'])} (version {each['version']})"


async def _followed(place: Place, service: str, environment: str | None) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the values by key, now and whenever one has changed; a connection that is lost is made again."""
    import asyncio

    import httpx

    connected_once, away_told = False, False
    headers: dict[str, str] = {}
    path = _path(service, query={"environment": environment, "limit": "10000"})
    async with httpx.AsyncClient(base_url=place.url, timeout=WAIT_S + 10.0, trust_env=False) as client:
        while True:
            try:
                response = await client.get(path, headers=headers)
                if response.status_code >= 500:
                    raise httpx.TransportError(f"it answered {response.status_code}")
            except httpx.TransportError as exc:
                reason = str(exc) or type(exc).__name__
                if not connected_once:
                    raise away(place.url, reason) from exc
                if not away_told:
                    messages().print(f"{reason}; trying again")
                away_told = True
                await asyncio.sleep(RETRY_S)
                continue
            if away_told:
                messages().print("connected again")
            connected_once, away_told = True, False
            if response.status_code == httpx.codes.NOT_MODIFIED:
                continue
            headers = {"if-none-match": response.headers.get("etag", ""), "prefer": f"wait={WAIT_S}"}
            yield {each["key"]: each for each in Api.document_of(response)["values"]}


def _show_value(document: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(dict(document))
        return
    told = {"key": document["key"], "value": shown_value(document["value"]), "version": document["version"]}
    output().print(facts({**told, "changed": document["updated_at"]}))


def _show_services(document: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(dict(document))
        return
    if not document["services"]:
        messages().print("no service has a key")
        return
    listed = table(name_column("Service"), "Environment", number_column("Keys"), number_column("Version"))
    for each in document["services"]:
        listed.add_row(each["service"], each["environment"], str(each["keys"]), str(each["version"]))
    output().print(listed)


def _all_values(api: Api, service: str, environment: str | None) -> dict[str, Any]:
    """Return a service's keys, of all pages."""
    document = api.get(_path(service, query={"environment": environment}))
    while (cursor := document["next_cursor"]) is not None:
        page = api.get(_path(service, query={"environment": environment, "cursor": cursor}))
        document = {**page, "values": [*document["values"], *page["values"]]}
    return document


def _allowed(declaration: Mapping[str, Any]) -> str:
    if declaration["choices"]:
        return ", ".join(declaration["choices"])
    low, high = declaration["minimum"], declaration["maximum"]
    if low is not None or high is not None:
        return f"{shown(low)} to {shown(high)}"
    return shown(declaration["pattern"])


def _path(*parts: str, query: Mapping[str, str | None]) -> str:
    from urllib.parse import urlencode

    given = {name: value for name, value in query.items() if value is not None}
    return path_of("api", "v1", "configuration", *parts) + (f"?{urlencode(given)}" if given else "")


def _api(url: str | None, data_dir: Path | None, admin_key: str | None = None) -> Api:
    return Api(_place(url, data_dir, admin_key))


def _place(url: str | None, data_dir: Path | None, admin_key: str | None = None) -> Place:
    """Return where configuration is served: at `url`, at CONFIG_SERVICE_URL, or where the data folder says."""
    from fauxchange.platform.ready import read_ready
    from fauxchange.platform.settings import load_settings

    settings = load_settings(env_file=ENV_FILE)
    if admin_key is None and settings.admin_key is not None:
        admin_key = settings.admin_key.get_secret_value()
    if url is None and data_dir is None:
        url = settings.config_service_url
    place = find_server(url, data_dir)
    if admin_key is None and url is None:
        folder = settings.data_dir if data_dir is None else data_dir.expanduser()
        admin_key = str(read_ready(folder).secrets.get("admin_key", "")) or None
    return Place(url=place.url, key=admin_key)
