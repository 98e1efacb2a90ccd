"""`scenario`: start market scenarios on a running server, watch them, stop them; check files of them."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer
from rich.table import Column

from fauxchange.cli.console import (
    facts,
    joined,
    messages,
    number_column,
    output,
    print_json,
    print_json_line,
    table,
)
from fauxchange.cli.options import AuditKey, AuditUrl, DataDir, Json, Url, examples
from fauxchange.cli.remote import ENV_FILE, Api, find_audit, find_server, path_of
from fauxchange.cli.streams import Reader, follow
from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.times import format_duration

if TYPE_CHECKING:
    from fauxchange.services.market_data.core.scenarios import Phase, Scenario

ROUTE = "/audit/v1/scenarios"
DEFAULT_MAGNITUDE = "20%"
DEFAULT_DURATION = "10m"
BAR_WIDTH = 40

commands = typer.Typer(
    no_args_is_help=True,
    help="Bend the market: rallies, crashes, divergences and reverting prices, on a running server.",
    epilog=examples(
        "fauxchange scenario start crash --symbols BTC-USD,ETH-USD --magnitude 20% --duration 10m",
        "fauxchange scenario run scenarios/market/crash.yaml",
        "fauxchange scenario watch",
        "fauxchange scenario stop --all",
    ),
)

Kind = Literal["rally", "crash", "divergence", "reverting"]
ScenarioId = Annotated[str, typer.Argument(metavar="ID", help="The scenario's id, as `list` shows it.")]
ScenarioFile = Annotated[Path, typer.Argument(metavar="FILE", help="A file of scenarios, YAML or TOML.")]


@commands.command(
    "start",
    epilog=examples(
        "fauxchange scenario start crash --magnitude 20% --duration 10m --option buildup=5m --option jumps=8",
        "fauxchange scenario start divergence --symbols SOL-USD --option against=ADA-USD,DOT-USD",
        "fauxchange scenario start reverting --symbols ETH-USD --option level=3000 --duration 4h",
    ),
)
def start(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="What happens.")],
    *,
    symbols: Annotated[
        str | None,
        typer.Option("--symbols", metavar="BTC-USD,...", help="Which symbols (default: all that are modelled)."),
    ] = None,
    magnitude: Annotated[
        str | None,
        typer.Option(
            "--magnitude",
            metavar="FRACTION",
            help=f"How far the price goes, as 0.2 or 20%; of reverting, how much of a gap closes "
            f"(default: {DEFAULT_MAGNITUDE}; reverting 99%).",
        ),
    ] = None,
    duration: Annotated[
        str, typer.Option("--duration", metavar="DURATION", help="How long the way takes.")
    ] = DEFAULT_DURATION,
    start_in: Annotated[str, typer.Option("--start", metavar="DURATION", help="How long until it starts.")] = "0s",
    shape: Annotated[
        Literal["linear", "smooth", "exponential", "accelerating"] | None,
        typer.Option("--shape", help="How the way is spread over the duration (default: smooth)."),
    ] = None,
    scenario_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="What to call it (default: the kind and a number).")
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--option", metavar="NAME=VALUE", help="An option of the kind, as in a file of scenarios. Repeatable."
        ),
    ] = None,
    as_json: Json = False,
    audit_url: AuditUrl = None,
    audit_key: AuditKey = None,
    data_dir: DataDir = None,
) -> None:
    """Start one scenario now, or after `--start`, in venue time."""
    if magnitude is None and kind != "reverting":
        magnitude = DEFAULT_MAGNITUDE
    given = {
        **_options(options or ()),
        "kind": kind,
        "symbols": _list(symbols),
        "magnitude": magnitude,
        "duration": duration,
        "start": start_in,
        "shape": shape,
        "id": scenario_id,
    }
    with Api(find_audit(audit_url, audit_key, data_dir)) as api:
        answer = api.post(ROUTE, {name: value for name, value in given.items() if value is not None})
    _show(answer, as_json=as_json)


@commands.command("run", epilog=examples("fauxchange scenario run scenarios/market/crash.yaml"))
def run(
    file: ScenarioFile,
    *,
    as_json: Json = False,
    audit_url: AuditUrl = None,
    audit_key: AuditKey = None,
    data_dir: DataDir = None,
) -> None:
    """Start all scenarios of a file on one timeline, which begins now: all of them or none."""
    from fauxchange.services.market_data.app.scenarios import read_scenario_file

    body = {"scenarios": [spec.mapping() for spec in read_scenario_file(file)]}
    with Api(find_audit(audit_url, audit_key, data_dir)) as api:
        _show(api.post(ROUTE, body), as_json=as_json)


@commands.command("check", epilog=examples("fauxchange scenario check scenarios/market/crash.yaml"))
def check(file: ScenarioFile, *, as_json: Json = False) -> None:
    """Check a file of scenarios and print its timeline; no server is needed.

    Whether its symbols are priced, only a server can tell.
    """
    from fauxchange.services.market_data.app.scenarios import read_scenario_file
    from fauxchange.services.market_data.core.scenarios import Scenario

    planned = [Scenario(spec, spec.start_offset_ns) for spec in read_scenario_file(file)]
    if as_json:
        print_json({"file": str(file), "scenarios": [_plan(scenario) for scenario in planned]})
        return
    end_ns = max(scenario.end_ns for scenario in planned)
    timeline = table(
        "Scenario", "Kind", "Phase", number_column("From"), number_column("To"), Column("", no_wrap=True), "Symbols"
    )
    for scenario in planned:
        timeline.add_section()
        for phase in scenario.phases:
            first = phase is scenario.phases[0]
            timeline.add_row(
                scenario.spec.id if first else "",
                str(scenario.spec.kind) if first else "",
                phase.name,
                format_duration(phase.start_ns),
                format_duration(phase.end_ns),
                bar(phase, end_ns),
                (joined((*scenario.spec.symbols, *scenario.spec.against)) or "all modelled") if first else "",
            )
    output().print(timeline)
    output().print(f"{file} is good", markup=False)


@commands.command(
    "picture",
    epilog=examples(
        "fauxchange scenario picture crash --magnitude 20% --duration 10m --option buildup=5m",
        "fauxchange scenario picture scenarios/market/divergence.yaml --out divergence.png",
        "fauxchange scenario picture reverting --symbols ETH-USD --option level=3000 --duration 4h",
    ),
)
def picture(
    what: Annotated[str, typer.Argument(metavar="KIND|FILE", help="A kind of scenario, or a file of scenarios.")],
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to, as .svg or .png (default: its name .svg, here)."),
    ] = None,
    symbols: Annotated[
        str | None,
        typer.Option(
            "--symbols",
            metavar="BTC-USD,...",
            help="Whose prices to draw, at most four; of a KIND also "
            "on which it acts (default: those that the scenarios name, else the first that is modelled).",
        ),
    ] = None,
    magnitude: Annotated[
        str | None,
        typer.Option(
            "--magnitude",
            metavar="FRACTION",
            help=f"How far, as 0.2 or 20% (default: {DEFAULT_MAGNITUDE}; reverting 99%).",
        ),
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--duration", metavar="DURATION", help="How long the way takes (default: 10m).")
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME=VALUE", help="An option of the kind, as in a file. Repeatable."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="NUMBER", help="Seed of the prices (default: SEED).")
    ] = None,
) -> None:
    """Draw what scenarios do: prices bent and left alone, and volatility below; no server is needed."""
    from fauxchange.domain.instruments import parse_symbol
    from fauxchange.platform.settings import load_settings
    from fauxchange.realism.report.pictures import need_matplotlib, save
    from fauxchange.realism.report.scenario_pictures import MOST_SYMBOLS, bending, picture_of, shown_symbols, title_of
    from fauxchange.services.market_data.app.scenarios import read_scenario_file
    from fauxchange.services.market_data.core.scenario_files import specs_from_mapping

    need_matplotlib()
    settings = load_settings(env_file=ENV_FILE)
    named = [parse_symbol(symbol) for symbol in _list(symbols) or ()]
    if what in get_args(Kind):
        if magnitude is None and what != "reverting":
            magnitude = DEFAULT_MAGNITUDE
        given = {
            **_options(options or ()),
            "kind": what,
            "magnitude": magnitude,
            "duration": duration or DEFAULT_DURATION,
            "symbols": _list(symbols) if what != "divergence" else _list(symbols) or list(settings.default_symbols[:1]),
        }
        specs = specs_from_mapping({name: value for name, value in given.items() if value is not None})
    elif magnitude is not None or duration is not None or options:
        raise InvalidRequest("--magnitude, --duration and --option belong to a KIND; a file says these itself")
    else:
        if not Path(what).suffix and not Path(what).exists():
            raise InvalidRequest(f"{what!r} is neither a kind ({joined(get_args(Kind))}) nor a file")
        specs = read_scenario_file(Path(what))
    shown = tuple(dict.fromkeys(named)) or shown_symbols(specs, settings.default_symbols)
    if len(shown) > MOST_SYMBOLS:
        raise InvalidRequest(f"a picture shows at most {MOST_SYMBOLS} symbols, not {len(shown)}")
    bent = bending(
        specs,
        [settings.instrument(symbol) for symbol in shown],
        seed=settings.seed if seed is None else seed,
        initial_prices={symbol: settings.initial_price(symbol) for symbol in shown},
    )
    target = out or Path(f"{Path(what).stem}.svg")
    save(picture_of(bent, title=title_of(specs)), target)
    output().print(f"{target}: {joined(shown)}", markup=False)


@commands.command("list")
def list_(
    *, as_json: Json = False, audit_url: AuditUrl = None, audit_key: AuditKey = None, data_dir: DataDir = None
) -> None:
    """List the scenarios: scheduled, active, and the last that are over."""
    with Api(find_audit(audit_url, audit_key, data_dir)) as api:
        _show(api.get(ROUTE), as_json=as_json)


@commands.command("show")
def show(
    scenario_id: ScenarioId,
    *,
    as_json: Json = False,
    audit_url: AuditUrl = None,
    audit_key: AuditKey = None,
    data_dir: DataDir = None,
) -> None:
    """Show one scenario: what was asked, and how far it has come."""
    with Api(find_audit(audit_url, audit_key, data_dir)) as api:
        scenario = api.get(ROUTE + path_of(scenario_id))
    if as_json:
        print_json(scenario)
        return
    asked = {name: value for name, value in scenario["specification"].items() if name not in {"id", "kind"}}
    output().print(
        facts(
            {
                "scenario": scenario["scenario_id"],
                "kind": scenario["kind"],
                "status": _status(scenario),
                "from": scenario["start_time"],
                "to": scenario["end_time"],
                "acts on": joined(scenario["symbols"]),
                **{name: joined(value) if isinstance(value, list) else value for name, value in asked.items() if value},
            }
        )
    )


@commands.command("stop", epilog=examples("fauxchange scenario stop crash-1", "fauxchange scenario stop --all"))
def stop(
    scenario_id: Annotated[str | None, typer.Argument(metavar="ID", help="The scenario to stop.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Stop all that are scheduled or active.")] = False,
    as_json: Json = False,
    audit_url: AuditUrl = None,
    audit_key: AuditKey = None,
    data_dir: DataDir = None,
) -> None:
    """Stop a scenario now: what it did to prices stays, it does nothing more."""
    if every is (scenario_id is not None):
        raise InvalidRequest("name one scenario, or give --all")
    with Api(find_audit(audit_url, audit_key, data_dir)) as api:
        stopped = api.delete(ROUTE)["scenarios"] if scenario_id is None else [api.delete(ROUTE + path_of(scenario_id))]
    _show({"scenarios": stopped}, as_json=as_json)


@commands.command("watch")
def watch(*, as_json: Json = False, url: Url = None, data_dir: DataDir = None) -> None:
    """Print what happens to scenarios as it happens: their start, each phase, their end.

    With `--json` each event is one JSON object on a line.
    """
    import asyncio

    asyncio.run(_watch(url, data_dir, as_json=as_json))


async def _watch(url: str | None, data_dir: Path | None, *, as_json: bool) -> None:
    reader = Reader("scenario")
    tell = messages()
    notice = lambda text: tell.print(text, style="dim", markup=False, soft_wrap=True)  # noqa: E731 - one line
    async with aclosing(follow(reader, lambda: find_server(url, data_dir).url, notice=notice)) as batches:
        async for batch in batches:
            for event in (event for message in batch for event in events_of(message.data)):
                if as_json:
                    print_json_line(event)
                else:
                    typer.echo(line(event))
            sys.stdout.flush()


def events_of(data: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Return the events of a message; of a snapshot, one for each scenario, that says how it stands."""
    if "event" in data:
        return [data]
    return [{"event": "present", "timestamp": None, "scenario": scenario} for scenario in data["scenarios"]]


def line(event: Mapping[str, Any]) -> str:
    """Return an event as a line of text in columns."""
    scenario = event["scenario"]
    when = event["timestamp"] or scenario["start_time"]
    told = f"{when} {event['event']:<10} {scenario['scenario_id']} ({scenario['kind']}) {_status(scenario)}"
    return f"{told}: {joined(scenario['symbols'])}"


def bar(phase: "Phase", end_ns: int) -> str:
    """Return where a phase lies on a timeline from 0 to `end_ns`, drawn with at least one character."""
    begin = min(phase.start_ns * BAR_WIDTH // end_ns, BAR_WIDTH - 1)
    end = max(-(-phase.end_ns * BAR_WIDTH // end_ns), begin + 1)
    return " " * begin + "━" * (end - begin)


def _plan(scenario: "Scenario") -> dict[str, Any]:
    phases = [
        {"name": phase.name, "from": format_duration(phase.start_ns), "to": format_duration(phase.end_ns)}
        for phase in scenario.phases
    ]
    return {**scenario.spec.mapping(), "phases": phases}


def _show(answer: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    found: Sequence[Mapping[str, Any]] = answer["scenarios"]
    if not found:
        messages().print("there are no scenarios")
        return
    listed = table("Scenario", "Kind", "Status", number_column("Magnitude"), "From", "To", "Symbols")
    for scenario in found:
        listed.add_row(
            scenario["scenario_id"],
            scenario["kind"],
            _status(scenario),
            f"{float(scenario['magnitude']):.4g}",
            scenario["start_time"],
            scenario["end_time"],
            joined(scenario["symbols"]),
        )
    output().print(listed)


def _status(scenario: Mapping[str, Any]) -> str:
    phase = scenario["phase"]
    return f"{scenario['status']}, {phase}" if phase else str(scenario["status"])


def _list(text: str | None) -> list[str] | None:
    return None if text is None else [item.strip() for item in text.split(",") if item.strip()]


def _options(given: Iterable[str]) -> dict[str, Any]:
    """Return options written NAME=VALUE; a value with commas is a list. Raises: InvalidRequest."""
    options: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise InvalidRequest(f"--option {text!r} is not NAME=VALUE, such as buildup=5m")
        options[name.strip()] = _list(value) if "," in value else value.strip()
    return options
