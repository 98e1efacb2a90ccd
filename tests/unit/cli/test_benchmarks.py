import importlib
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import Result

from fauxchange.cli.benchmarks import NAMES, OF_FILES, figures_of, parse_target

Run = Callable[..., Result]

RESULT = {
    "benchmark": "feed",
    "figures": {
        "deliveries": {"value": 20_000, "unit": "frames/s", "baseline": 25_000, "ratio": 0.8},
        "websocket": {"p99": {"value": 25.5, "unit": "ms"}},
    },
}


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, Any]]]:
    """Put benchmarks that measure nothing in place of the real ones, and remember how each was called."""
    calls: dict[str, list[dict[str, Any]]] = {name: [] for name in (*NAMES, *OF_FILES)}

    def load(module: str) -> Any:
        name = module.rpartition(".")[2]

        def run(report: Callable[[str], None], *, seconds: int = 10) -> dict[str, object]:
            report("halfway")
            calls[name].append({"seconds": seconds})
            return RESULT

        def match(report: Callable[[str], None], *, file: tuple[str, ...]) -> dict[str, object]:
            calls[name].append({"file": file})
            return RESULT

        if name in OF_FILES:
            return SimpleNamespace(run=match, TARGETS={})
        return SimpleNamespace(run=run, TARGETS={"deliveries": "ratio >= 0.7", "websocket.p99": "at most 20 ms"})

    monkeypatch.setattr(importlib, "import_module", load)
    return calls


def test_a_benchmark_shows_each_figure_beside_baseline_and_target(run: Run, benchmarks: Any) -> None:
    result = run("bench", "feed")

    rows = [" ".join(row.split()) for row in result.stdout.splitlines()]
    assert "deliveries 20,000 frames/s 25,000 0.8 ratio >= 0.7 yes" in rows
    assert "websocket.p99 25.5 ms at most 20 ms no" in rows
    assert "bench feed: halfway" in result.stderr


def test_json_is_one_line_of_what_was_measured(run: Run, benchmarks: Any) -> None:
    result = run("bench", "feed", "--json")

    [line] = result.stdout.splitlines()
    assert json.loads(line) == RESULT


def test_all_runs_every_benchmark(run: Run, benchmarks: Any) -> None:
    result = run("bench", "all", "--json")

    assert set(json.loads(result.stdout)) == set(NAMES)
    assert all(len(benchmarks[name]) == 1 for name in NAMES)
    assert not any(benchmarks[name] for name in OF_FILES)


def test_options_are_handed_over(run: Run, benchmarks: Any) -> None:
    run("bench", "feed", "--option", "seconds=2")

    assert benchmarks["feed"] == [{"seconds": 2}]


def test_files_are_handed_to_the_benchmark_that_measures_files(run: Run, benchmarks: Any) -> None:
    run("bench", "matching", "calm.bin.xz", "wild.bin")

    assert benchmarks["matching"] == [{"file": ("calm.bin.xz", "wild.bin")}]


@pytest.mark.parametrize(
    ("words", "told"), [(["matching"], "wants one file or several"), (["feed", "calm.bin"], "takes no files")]
)
def test_files_are_given_where_they_are_wanted_and_nowhere_else(
    run: Run, benchmarks: Any, words: list[str], told: str
) -> None:
    result = run("bench", *words)

    assert result.exit_code == 2
    assert told in result.stderr
    assert not any(benchmarks.values())


def test_an_option_that_a_benchmark_does_not_have_is_refused_with_those_it_has(run: Run, benchmarks: Any) -> None:
    result = run("bench", "feed", "--option", "second=2")

    assert result.exit_code == 2
    assert "no option 'second'; there are seconds" in result.stderr
    assert benchmarks["feed"] == []


@pytest.mark.parametrize(
    ("text", "figure", "met"),
    [
        ("ratio >= 0.3", {"value": 1, "ratio": 0.3}, True),
        ("ratio >= 0.3", {"value": 1, "ratio": 0.299}, False),
        ("ratio >= 0.3", {"value": 1}, None),
        ("at least 0.7 of the baseline", {"value": 1, "ratio": 0.6}, False),
        ("at least 2000 times real time", {"value": 2_500, "ratio": 0.1}, True),
        ("at least 2,000 times real time", {"value": 1_999}, False),
        ("<= 20 ms", {"value": 20}, True),
        ("at most 0.5 s", {"value": 0.51}, False),
        ("0", {"value": 0}, True),
        ("0", {"value": 1}, False),
    ],
)
def test_targets_are_understood(text: str, figure: dict[str, float], met: bool | None) -> None:
    target = parse_target(text)

    assert target is not None
    assert target.met(figure) is met


def test_a_target_in_other_words_is_left_to_people() -> None:
    assert parse_target("as little as can be") is None


def test_figures_are_named_by_the_way_to_them() -> None:
    assert [name for name, _ in figures_of(RESULT)] == ["deliveries", "websocket.p99"]


def test_every_benchmark_keeps_its_part_of_the_contract() -> None:
    for name in (*NAMES, *OF_FILES):
        module = importlib.import_module(f"fauxchange.bench.{name}")

        assert callable(module.run)
        assert all(parse_target(text) is not None for text in module.TARGETS.values()), name
