"""Scenario files: read exactly, refused with line and field."""

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.services.market_data.core.scenario_files import (
    spec_from_mapping,
    specs_from_mapping,
    specs_from_text,
)
from fauxchange.services.market_data.core.scenarios import InvalidScenario, Problem, ScenarioKind, ScenarioSpec, Shape

EXAMPLES = sorted((Path(__file__).parents[5] / "scenarios" / "market").glob("*.yaml"))

YAML = """
description: one of each notation
scenarios:
  - kind: crash
    symbols: [btc-usd, ETH/USD]
    magnitude: 12.5%
    duration: 1m30s
    start: 1h
    shape: linear
    jumps: 3
  - {id: up, kind: rally, magnitude: 1e-2, duration: 5m, symbols: ADA-USD}
"""

TOML = """
description = "one of each notation"

[[scenarios]]
kind = "crash"
symbols = ["btc-usd", "ETH/USD"]
magnitude = "12.5%"
duration = "1m30s"
start = "1h"
shape = "linear"
jumps = 3

[[scenarios]]
id = "up"
kind = "rally"
magnitude = 1e-2
duration = "5m"
symbols = "ADA-USD"
"""

EXPECTED = (
    ScenarioSpec(
        id="crash-1",
        kind=ScenarioKind.CRASH,
        symbols=("BTC/USD", "ETH/USD"),
        magnitude=0.125,
        duration_ns=90_000_000_000,
        start_offset_ns=60 * NS_PER_MINUTE,
        shape=Shape.LINEAR,
        jumps=3,
    ),
    ScenarioSpec(id="up", kind=ScenarioKind.RALLY, symbols=("ADA/USD",), magnitude=0.01, duration_ns=5 * NS_PER_MINUTE),
)


def problems(text: str, file_name: str = "x.yaml") -> list[Problem]:
    with pytest.raises(InvalidScenario) as refused:
        specs_from_text(dedent(text), file_name=file_name)
    return list(refused.value.problems)


@pytest.mark.parametrize(("file_name", "text"), [("a.yaml", YAML), ("a.yml", YAML), ("a.toml", TOML)])
def test_yaml_and_toml_say_the_same(file_name: str, text: str) -> None:
    assert specs_from_text(text, file_name=file_name) == EXPECTED


def test_there_are_four_worked_examples() -> None:
    assert [path.stem for path in EXAMPLES] == ["crash", "divergence", "rally", "reverting"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_worked_example_loads_and_survives_json(path: Path) -> None:
    specs = specs_from_text(path.read_text(), file_name=path.name)

    assert path.stem in {spec.kind for spec in specs}
    for spec in specs:
        assert spec_from_mapping(spec.mapping()) == spec


def test_every_mistake_is_told_with_its_line_and_column() -> None:
    found = problems(
        """\
        scenarios:
          - kind: crsh
            magntude: 0.1
            duration: 10
          - kind: rally
            magnitude: 99
            duration: 1m
            symbols: [BTC-USD, nonsense]
            rejoin: 3m
          - kind: rally
            magnitude: 99
            duration: 1m
        foo: 3
        """
    )

    assert [(each.line, each.column, each.field) for each in found] == [
        (2, 11, "scenarios[0].kind"),
        (3, 5, "scenarios[0].magntude"),
        (4, 15, "scenarios[0].duration"),
        (8, 14, "scenarios[1].symbols"),
        (9, 13, "scenarios[1].rejoin"),
        (11, 16, "scenarios[2].magnitude"),
        (13, 1, "foo"),
    ]
    assert "did you mean crash?" in found[0].message
    assert "did you mean magnitude?" in found[1].message
    assert "divergence" in found[4].message


def test_toml_mistakes_are_told_with_their_line() -> None:
    found = problems(
        '''\
        description = """
        duration = 3
        [[scenarios]]
        """
        [[scenarios]]
        kind = "rally"  # [
        duration = "1m"
        magnitude = 99

        [[scenarios]]
        kind = "crash"
        symbols = [
          "BTC-USD",
        ]
        duration = 3
        ''',
        "x.toml",
    )

    assert [(each.line, each.field) for each in found] == [
        (8, "scenarios[0].magnitude"),
        (10, "scenarios[1].magnitude"),
        (15, "scenarios[1].duration"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("scenarios: &a [*a]", 1, "anchors and aliases"),
        ("a: 1\nscenarios: !!python/name:os.system x", 2, "tags"),
        ("scenarios: " + "[" * 20, 1, "nested deeper"),
        ("scenarios:\n  - {kind: rally", 2, "not YAML"),
        ("scenarios: []\nscenarios: []", 2, "given twice"),
        ("scenarios: []", 1, "list of 1 to 100"),
        ("scenarios: {kind: rally}", 1, "list of 1 to 100"),
        ("scenarios: [5]", 1, "not a mapping"),
        ("? [a]\n: b", 1, "a key is plain text"),
        ("- 1", 1, "not a mapping"),
        ("description: x", 1, "is missing"),
        ("", None, "empty"),
        ("# " + "x" * 70_000, None, "65536"),
        ("a: \x00", None, "not YAML"),
    ],
)
def test_yaml_that_is_not_plain_data_is_refused(text: str, line: int | None, part: str) -> None:
    found = problems(text)

    assert part in found[0].message
    assert found[0].line == line


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("a = 1\nb =", 2, "not TOML"),
        ('a = """', 1, "not TOML"),
        ("scenarios = [[[[[[[[[[1]]]]]]]]]]", 1, "nested deeper"),
        ("scenarios = 3", 1, "list of 1 to 100"),
    ],
)
def test_toml_that_is_not_plain_data_is_refused(text: str, line: int, part: str) -> None:
    found = problems(text, "x.toml")

    assert part in found[0].message
    assert found[0].line == line


def test_the_message_names_file_line_and_field() -> None:
    with pytest.raises(InvalidScenario) as refused:
        specs_from_text("scenarios:\n  - kind: rally\n    magnitude: 5%\n", file_name="my.yaml")

    assert refused.value.message == "my.yaml: line 2, column 5: scenarios[0].duration: is missing"
    assert refused.value.code == "invalid_scenario"


def test_two_scenarios_cannot_share_an_id() -> None:
    one = {"id": "x", "kind": "rally", "magnitude": 0.1, "duration": "1m"}

    with pytest.raises(InvalidScenario) as refused:
        specs_from_mapping({"scenarios": [one, one]})

    assert refused.value.field == "scenarios[1].id"


def test_ids_that_are_not_given_are_free_ones() -> None:
    one = {"kind": "rally", "magnitude": "0.1", "duration": "1m"}

    specs = specs_from_mapping({"scenarios": [one, {**one, "id": "rally-3"}, one]}, taken=["rally-1"])

    assert [spec.id for spec in specs] == ["rally-2", "rally-3", "rally-4"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": []}, "kind"),
        ({"kind": {"a": 1}}, "kind"),
        ({"magnitude": True}, "magnitude"),
        ({"magnitude": "9" * 5_000}, "magnitude"),
        ({"magnitude": float("inf")}, "magnitude"),
        ({"magnitude": None}, "magnitude"),
        ({"duration": "9" * 5_000 + "s"}, "duration"),
        ({"duration": "soon"}, "duration"),
        ({"duration": "99999d"}, "duration"),
        ({"symbols": [1]}, "symbols"),
        ({"symbols": {"a": 1}}, "symbols"),
        ({"id": 5}, "id"),
        ({"id": "x" * 65}, "id"),
        ({"jumps": 1.5, "kind": "crash"}, "jumps"),
        ({"shape": "zigzag"}, "shape"),
    ],
)
def test_a_request_is_refused_with_the_field(change: dict[str, Any], field: str) -> None:
    request = {"kind": "rally", "magnitude": 0.1, "duration": "1m", **change}

    with pytest.raises(InvalidScenario) as refused:
        spec_from_mapping(request)

    assert refused.value.field == field
    assert len(refused.value.message) < 300
