"""`bench`: run the benchmarks, and show each figure beside its baseline and its target.

A benchmark is a module of `fauxchange.bench` with `run(report, **options)`, which returns its figures, and `TARGETS`:
for a figure's name what it must reach, such as `ratio >= 0.3`, `at most 20 ms`, `at least 0.7 of the baseline` or just
`0`. A figure is a mapping with a `value` and perhaps a `unit`, a `baseline` and a `ratio`; mappings of figures may be
nested.
"""

import importlib
import inspect
import operator
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer
from rich.text import Text

from fauxchange.cli.console import facts, messages, number_column, output, print_json_line, table
from fauxchange.cli.options import examples
from fauxchange.domain.errors import InvalidRequest

NAMES = (
    "model",
    "feed",
    "history",
    "adapter",
    "startup",
    "memory",
    "kernel",
    "orders",
    "orders_memory",
    "recovery",
    "flow",
)
"""What `all` runs."""
DISTRIBUTED = "orders_distributed"
"""What `orders --distributed` runs."""
HEADLESS = "flow_headless"
"""What `flow --headless` runs."""
OF_FILES = ("matching",)
"""What measures files that are named on the command line."""
EXAMPLES = examples(
    "fauxchange bench model",
    "fauxchange bench feed --option seconds=5",
    "fauxchange bench matching normal.bin.xz static.bin.xz",
    "fauxchange bench orders --distributed",
    "fauxchange bench flow --headless --option seconds=600",
    "fauxchange bench all --json | tail -1",
)

_TARGET = re.compile(r"(?:(value|ratio)\s*)?(>=|<=|at least|at most|)\s*([\d,_]+(?:\.\d+)?)\s*(.*)")
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "at least": operator.ge,
    "<=": operator.le,
    "at most": operator.le,
    "": operator.eq,
}

Name = Literal[
    "model",
    "feed",
    "history",
    "adapter",
    "startup",
    "memory",
    "kernel",
    "orders",
    "orders_memory",
    "recovery",
    "flow",
    "matching",
    "all",
]
Report = Callable[[str], None]


def bench(
    name: Annotated[Name, typer.Argument(metavar="NAME", help="What to measure.")],
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE]...", help="What `matching` matches: recorded streams.")
    ] = None,
    *,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME=VALUE", help="An option of the benchmark. Repeatable."),
    ] = None,
    distributed: Annotated[
        bool,
        typer.Option("--distributed", help="`orders`: with gateways in front of a kernel process, beside one process."),
    ] = False,
    headless: Annotated[
        bool, typer.Option("--headless", help="`flow`: the order flow, its journal and the kernel, without the venue.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one line of JSON that holds all figures, instead of tables.")
    ] = False,
) -> None:
    """Measure how quick Fauxchange is on this machine, beside what bare programs manage on it."""
    names: Sequence[str] = NAMES if name == "all" else (name,)
    if distributed:
        if name != "orders":
            raise InvalidRequest("--distributed belongs to bench orders")
        names = (DISTRIBUTED,)
    if headless:
        if name != "flow":
            raise InvalidRequest("--headless belongs to bench flow")
        names = (HEADLESS,)
    modules = {each: importlib.import_module(f"fauxchange.bench.{each}") for each in names}
    given = _options(options or ())
    if name in OF_FILES:
        if not files:
            raise InvalidRequest(f"bench {name} wants one file or several")
        given["file"] = tuple(files)
    elif files:
        raise InvalidRequest(f"bench {name} takes no files")
    _check_options(modules, given)
    results: dict[str, Mapping[str, Any]] = {}
    for each, module in modules.items():
        with _reporting(each) as report, _servers(module, given, report) as servers:
            accepted = _parameters(module)
            chosen = {option: value for option, value in given.items() if option in accepted} | servers
            # A benchmark that takes a moment only has nothing to report on the way.
            results[each] = module.run(**({"report": report} if "report" in accepted else {}), **chosen)
        if not as_json:
            _show(each, results[each], getattr(module, "TARGETS", {}))
    if as_json:
        print_json_line(results if name == "all" else results[names[0]])


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure must reach: how its value, or its ratio to the baseline, compares to a number."""

    of_ratio: bool
    compares: Callable[[float, float], bool]
    bound: float

    def met(self, figure: Mapping[str, Any]) -> bool | None:
        """Return whether the figure reaches the target; None if it lacks what is compared."""
        measured = figure.get("ratio" if self.of_ratio else "value")
        if not isinstance(measured, int | float):
            return None
        return self.compares(measured, self.bound)


def parse_target(text: str) -> Target | None:
    """Return a target from its words, None if they are for people only."""
    match = _TARGET.match(text.strip())
    if match is None:
        return None
    what, comparison, number, rest = match.groups()
    return Target(
        of_ratio=what == "ratio" or (what is None and "baseline" in rest),
        compares=_COMPARISONS[comparison],
        bound=float(re.sub("[,_]", "", number)),
    )


def figures_of(result: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return all figures of a result with their names, those of nested mappings with the names before theirs."""
    for name, entry in result.items():
        # A mapping called `figures` says nothing that its entries do not.
        full = prefix if name == "figures" else f"{prefix}.{name}" if prefix else name
        if not isinstance(entry, Mapping):
            continue
        if "value" in entry:
            yield full, entry
        else:
            yield from figures_of(entry, full)


def _show(name: str, result: Mapping[str, Any], targets: Mapping[str, str]) -> None:
    shown = table(
        "Figure", *map(number_column, ("Value", "Baseline", "Ratio")), "Target", "Met?", title=f"bench {name}"
    )
    for figure_name, figure in figures_of(result):
        target = targets.get(figure_name, "")
        shown.add_row(
            figure_name,
            f"{_number(figure['value'])} {figure.get('unit', '')}".rstrip(),
            _number(figure.get("baseline")),
            _number(figure.get("ratio")),
            target,
            _verdict(parse_target(target), figure),
        )
    console = output()
    console.print(shown)
    other = [(key, entry) for key, entry in result.items() if not isinstance(entry, Mapping | list)]
    if other:
        console.print(facts(other))


def _verdict(target: Target | None, figure: Mapping[str, Any]) -> Text:
    met = None if target is None else target.met(figure)
    if met is None:
        return Text("")
    return Text("yes", style="green") if met else Text("no", style="bold red")


def _number(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.4g}"


@contextmanager
def _reporting(name: str) -> Iterator[Report]:
    """Hand out what shows how far a benchmark has come: in place on a terminal, else line by line."""
    console = messages()
    if sys.stderr.isatty():
        with console.status(f"bench {name}") as status:
            yield lambda text: status.update(f"bench {name}: {text}")
    else:
        yield lambda text: console.print(f"bench {name}: {text}", markup=False, soft_wrap=True)


@contextmanager
def _servers(module: Any, given: Mapping[str, object], report: Report) -> Iterator[dict[str, object]]:
    """Start the servers that a benchmark measures (its `SERVERS`) and that no option names; hand out their URLs.

    Where there is none to start, the benchmark does without it.
    """
    wanted = [option for option in getattr(module, "SERVERS", ()) if option not in given]
    urls: dict[str, object] = {}
    with ExitStack() as running:
        for option in wanted:
            from fauxchange.testing.servers import ServerMissing, start_postgres, start_redis

            report(f"starting {option}")
            try:
                if option == "postgres":
                    urls[option] = running.enter_context(start_postgres()).create_database().url
                else:
                    urls[option] = running.enter_context(start_redis()).url
            except ServerMissing as exc:
                report(exc.message)
        yield urls


def _parameters(module: Any) -> frozenset[str]:
    return frozenset(inspect.signature(module.run).parameters)


def _check_options(modules: Mapping[str, Any], given: Mapping[str, object]) -> None:
    known = frozenset[str]().union(*map(_parameters, modules.values())) - {"report"}
    for option in given:
        if option not in known:
            there = f"there are {', '.join(sorted(known))}" if known else "it has none"
            raise InvalidRequest(f"the benchmark has no option {option!r}; {there}")


def _options(given: Iterable[str]) -> dict[str, object]:
    """Return options written NAME=VALUE; numbers are numbers, values with commas are tuples. Raises: InvalidRequest."""
    options: dict[str, object] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise InvalidRequest(f"--option {text!r} is not NAME=VALUE, such as seconds=5")
        parts = tuple(_read(part.strip()) for part in value.split(",") if part.strip())
        options[name.strip()] = parts if "," in value else parts[0]
    return options


def _read(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
