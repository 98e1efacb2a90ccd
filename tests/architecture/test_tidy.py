"""Habits that a linter does not know: where time, chance and output may come from, and how long things may get."""

import ast
from collections.abc import Iterator

import pytest

MAX_FUNCTION_LINES = 60
"""A screen. Signature, docstring and functions inside (routes) are not counted: each is read by itself."""
LONGER_FUNCTIONS = {
    ("services/market_data/app/wiring.py", "build_market_data"): "the parts of the service, one after the other",
}
MAX_MODULE_LINES = 600

BANNED = {
    "datetime.datetime.now": "take a Clock, or `wall_ns`",
    "datetime.datetime.utcnow": "take a Clock, or `wall_ns`",
    "datetime.datetime.today": "take a Clock, or `wall_ns`",
    "datetime.date.today": "take a Clock, or `wall_ns`",
    "time.time": "take a Clock, or `wall_ns`",
    "time.time_ns": "take a Clock, or `wall_ns`",
    "time.sleep": "nothing in this package may block its thread",
    "random.": "random streams are keyed by seed and purpose (`domain.chance`)",
    "numpy.random.": "random streams are keyed by seed and purpose (`domain.chance`)",
    "uuid.uuid1": "ids follow from sequences or from the request",
    "uuid.uuid4": "ids follow from sequences or from the request",
    "print": "the command line writes through `cli.console`, everything else logs",
}
"""What a name or its beginning (with a dot at the end) is replaced by."""

ALLOWED = {
    ("time.time_ns", "platform/clock.py"): "the wall clock itself",
    ("time.time_ns", "platform/http/app.py"): "default of `wall_ns`",
    ("time.time_ns", "data/adapter.py"): "default of `wall_ns`",
    ("time.time_ns", "data/memory/adapter.py"): "default of `wall_ns`",
    ("time.time_ns", "data/postgres/adapter.py"): "default of `wall_ns`",
    ("time.time_ns", "data/sqlite/adapter.py"): "default of `wall_ns`",
    ("time.time_ns", "venue/"): "the composition root hands the wall clock on",
    ("time.time_ns", "bench/"): "benchmarks measure wall time",
    ("time.sleep", "bench/"): "the measuring process waits for the measured one",
    ("time.sleep", "testing/"): "a test waits for a process of its own",
    ("print", "bench/"): "a measured process talks to the measuring one over its standard output",
    ("numpy.random.default_rng", "bench/"): "the baseline of the model's benchmark is NumPy itself",
    ("numpy.random.Philox", "domain/chance.py"): "the keyed streams themselves",
    ("numpy.random.Generator", "bench/"): "the type of what a benchmark draws its seeded load from",
    ("random.SystemRandom", "services/market_data/app/sources.py"): "jitter of reconnects is outside the simulation",
}
"""Where a banned name is right after all (a file, or a folder that ends with a slash), and why."""


def banned_uses(sources: list) -> Iterator[tuple[str, str, int]]:
    for source in sources:
        inner = {id(node.value) for node in ast.walk(source.tree) if isinstance(node, ast.Attribute)}
        for node in ast.walk(source.tree):
            if id(node) in inner or not isinstance(node, ast.Name | ast.Attribute):
                continue
            name = source.full_name(node) or (node.id if isinstance(node, ast.Name) else "")
            if any(name == ban or (ban.endswith(".") and name.startswith(ban)) for ban in BANNED):
                yield name, source.path, node.lineno


def is_allowed(name: str, path: str) -> tuple[str, str] | None:
    return next((rule for rule in ALLOWED if rule[0] == name and path.startswith(rule[1])), None)


def test_time_chance_and_output_come_from_where_they_should(sources: list) -> None:
    wrong = [f"{path}:{line}: {name}" for name, path, line in banned_uses(sources) if is_allowed(name, path) is None]

    assert wrong == [], "\n".join(f"{name}: {why}" for name, why in BANNED.items())


def test_no_exception_has_outlived_its_use(sources: list) -> None:
    used = {is_allowed(name, path) for name, path, _ in banned_uses(sources)}

    assert set(ALLOWED) - used == set()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("import time\nnow = time.time()", "time.time"),
        ("from time import sleep as rest\nrest(1)", "time.sleep"),
        ("import numpy as np\nnp.random.seed(1)", "numpy.random.seed"),
        ("from datetime import datetime as dt\nclock = dt.now", "datetime.datetime.now"),
        ("print('hello')", "print"),
    ],
)
def test_a_banned_name_is_found_however_it_is_written(text: str, name: str, sources: list) -> None:
    found = list(banned_uses([type(sources[0])("module.py", text)]))

    assert [use[:2] for use in found] == [(name, "module.py")]


def test_no_function_has_outgrown_a_screen(sources: list) -> None:
    long = {
        (source.path, node.name): f"{source.path}:{node.lineno}: {node.name} has {lines} lines"
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (lines := own_lines(node)) > MAX_FUNCTION_LINES
    }

    assert [text for key, text in long.items() if key not in LONGER_FUNCTIONS] == []
    assert set(LONGER_FUNCTIONS) - set(long) == set(), "these are short again"


def test_no_module_has_outgrown_a_reading(sources: list) -> None:
    long = [f"{source.path} has {source.lines} lines" for source in sources if source.lines > MAX_MODULE_LINES]

    assert long == []


def own_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function's body without those of the functions that stand in it."""
    inside = {
        line
        for node in ast.walk(function)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node is not function
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return len(set(range(body[0].lineno, (body[-1].end_lineno or 0) + 1)) - inside) if body else 0
