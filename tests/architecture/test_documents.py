"""The documents say what the code does: nothing undocumented, nothing described that is gone, no broken link."""

import ast
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import typer
import typer.main

from fauxchange.cli.app import app
from fauxchange.data.metrics import StoreMetrics
from fauxchange.data.redis.metrics import RedisMetrics
from fauxchange.domain import errors as domain_errors
from fauxchange.platform.configuration import ConfigurationClientMetrics
from fauxchange.platform.errors import EDGE_STATUS
from fauxchange.platform.http.middleware import http_red
from fauxchange.platform.metrics import EventLoopLag, PrometheusMetrics
from fauxchange.platform.rpc.client_metrics import ClientMetrics
from fauxchange.platform.rpc.interceptors import Draining, server_interceptor
from fauxchange.platform.settings import documented_settings
from fauxchange.platform.streams.endpoint import StreamMetrics
from fauxchange.services.configuration.service.metrics import ConfigurationMetrics
from fauxchange.services.exchange.clients.market_prices import PriceStreamMetrics
from fauxchange.services.exchange.core.vocabulary import RejectReason
from fauxchange.services.exchange.service.flow import FlowMetrics
from fauxchange.services.exchange.service.liquidity import HouseMetrics
from fauxchange.services.exchange.service.metrics import ExchangeMetrics, GatewayMetrics, KernelLinkMetrics
from fauxchange.services.market_data.service.metrics import FeedMetrics
from fauxchange.services.market_data.service.tuning import TuningMetrics

FIRST_CELL = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)
PYTHON_METRICS = re.compile(r"^(?:process|python)_")


def first_cells(page: Path) -> list[str]:
    """Return what stands in code in the first column of a page's tables."""
    return FIRST_CELL.findall(page.read_text())


# Settings


def test_configuration_page_is_what_the_settings_declare(repository: Path) -> None:
    generated = runpy.run_path(str(repository / "docs/generate.py"))["configuration_page"]()

    assert (repository / "docs/configuration.md").read_text() == generated, "run: python docs/generate.py configuration"


def test_every_setting_is_on_the_configuration_page(repository: Path) -> None:
    assert first_cells(repository / "docs/configuration.md") == [setting.name for setting in documented_settings()]


# Metrics


@pytest.fixture(scope="module")
def exposed_metrics() -> dict[str, str]:
    """Return every metric that a process has, with its type."""
    metrics = PrometheusMetrics("service", "instance", "version")
    for declare in (
        StoreMetrics,
        RedisMetrics,
        ClientMetrics,
        ConfigurationMetrics,
        ConfigurationClientMetrics,
        TuningMetrics,
        ExchangeMetrics,
        FeedMetrics,
        FlowMetrics,
        GatewayMetrics,
        HouseMetrics,
        KernelLinkMetrics,
        PriceStreamMetrics,
        StreamMetrics,
        EventLoopLag,
        http_red,
    ):
        declare(metrics)
    server_interceptor(metrics, Draining())
    text = metrics.expose()[0].decode()
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))


def test_every_metric_is_documented_with_its_type(repository: Path, exposed_metrics: dict[str, str]) -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (\w+) \|", (repository / "docs/metrics.md").read_text(), re.MULTILINE)

    assert dict(rows) == exposed_metrics


def test_every_metric_that_the_code_names_is_among_them(sources: list, exposed_metrics: dict[str, str]) -> None:
    named = {
        node.args[0].value
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"counter", "gauge", "gauge_function", "histogram"}
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }

    assert named - set(exposed_metrics) == set()
    assert len(named) > 10


def test_every_label_is_documented(repository: Path, sources: list) -> None:
    page = (repository / "docs/metrics.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| \w+ \| ([^|]*) \|", page, re.MULTILINE))

    for name, labels in labels_in(sources):
        assert re.findall(r"`(\w+)`", rows[name]) == labels, name


def labels_in(sources: list) -> Iterator[tuple[str, list[str]]]:
    for source in sources:
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in {"counter", "gauge", "histogram"} and len(node.args) >= 2:
                name, labels = node.args[0], node.args[2] if len(node.args) > 2 else ast.Tuple([])
                if isinstance(name, ast.Constant) and isinstance(labels, ast.Tuple):
                    yield str(name.value), [item.value for item in labels.elts if isinstance(item, ast.Constant)]


# Errors


def codes_in(sources: list) -> set[str]:
    """Return every code that an answer may carry: of a class, or given where a failure is made."""
    codes = set()
    for source in sources:
        if source.path.startswith(("cli/", "bench/", "testing/")):
            continue
        for node in ast.walk(source.tree):
            if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
                codes.add(node.value.value)
            elif isinstance(node, ast.ClassDef):
                for statement in node.body:
                    if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
                        codes |= {statement.value.value for name in statement.targets if ast.unparse(name) == "code"}
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "Refusal":
                codes.add(ast.literal_eval(node.args[0]))
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "self._refuse" and len(node.args) == 3:
                codes.add(ast.literal_eval(node.args[1]))
    return codes - {None}


def test_every_error_code_is_documented_and_every_documented_one_exists(repository: Path, sources: list) -> None:
    documented = first_cells(repository / "docs/errors.md")

    assert len(documented) == len(set(documented))
    assert set(documented) == codes_in(sources)


def test_every_reason_of_the_kernel_is_documented_with_its_number(repository: Path) -> None:
    _, _, section = (repository / "docs/errors.md").read_text().partition("\n### What the venue's rules refuse\n")
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", section.partition("\n### ")[0], re.MULTILINE)

    reasons = [(reason.name.lower(), str(reason.value)) for reason in RejectReason if reason is not RejectReason.NONE]

    assert rows == reasons


def test_the_statuses_on_the_error_page_are_those_of_the_mapping(repository: Path) -> None:
    page = (repository / "docs/errors.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (\d+) \| ([A-Z_]+) \|", page, re.MULTILINE)

    mapped = {kind.__name__: (status.http, status.grpc) for kind, status in EDGE_STATUS.items()}
    mapped["everything else"] = (500, grpc.StatusCode.INTERNAL)

    assert {name: (int(http), grpc.StatusCode[code]) for name, http, code in rows} == {
        name: statuses for name, statuses in mapped.items() if name != "everything else"
    }
    assert "500 and `INTERNAL`" in page


def test_every_kind_of_failure_that_callers_meet_is_mapped() -> None:
    kinds = {
        kind for kind in domain_errors.FauxchangeError.__subclasses__() if kind.__module__ == domain_errors.__name__
    }

    keeping_from_starting = {domain_errors.ConfigurationError, domain_errors.DamagedJournal}

    assert kinds - set(EDGE_STATUS) == keeping_from_starting


def test_every_close_code_and_reason_is_documented(repository: Path, sources: list) -> None:
    page = (repository / "docs/market-data.md").read_text()
    (websocket,) = [source for source in sources if source.path == "platform/streams/websocket.py"]
    constants = {
        node.targets[0].id: node.value.value
        for node in websocket.tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    closings = {
        (constants[node.args[0].id], ast.literal_eval(node.args[1]))
        for node in ast.walk(websocket.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "self.close" and isinstance(node.args[0], ast.Name)
    }

    rows = re.findall(r"^\| (\d{4}) \| `?(\w*)`? ?\|", page, re.MULTILINE)

    assert closings
    assert closings <= {(int(code), reason) for code, reason in rows}


# The command line


def commands(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    for name, child in sorted(getattr(command, "commands", {}).items()):
        if getattr(child, "commands", None) is None:
            yield (*path, name), child
        else:
            yield from commands(child, (*path, name))


@pytest.mark.parametrize(
    ("path", "command"),
    [pytest.param(path, command, id=" ".join(path)) for path, command in commands(typer.main.get_command(app))],
)
def test_every_command_and_option_is_documented(path: tuple[str, ...], command: object, repository: Path) -> None:
    page = (repository / "docs/command-line.md").read_text()
    heading = re.search(rf"^##+ `fauxchange {' '.join(path)}\b.*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)

    assert heading is not None, f"docs/command-line.md has no section on `fauxchange {' '.join(path)}`"
    options = [name for parameter in command.params for name in parameter.opts if name.startswith("--")]
    assert [name for name in options if f"`{name}" not in heading[0] and name != "--help"] == []


# Links and names


def pages(repository: Path, repository_files: list[str]) -> list[Path]:
    return [repository / name for name in repository_files if name.endswith(".md")]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as forges make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    plain = [re.sub(r"[`*]", "", heading).strip().lower() for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def test_every_link_leads_somewhere(repository: Path, repository_files: list[str]) -> None:
    broken = []
    for page in pages(repository, repository_files):
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            there = (page.parent / file).resolve() if file else page
            if not there.exists() or (anchor and anchor not in anchors(there)):
                broken.append(f"{page.relative_to(repository)}: {target}")

    assert broken == []


def test_every_file_that_a_document_names_exists(repository: Path, repository_files: list[str]) -> None:
    missing = [
        f"{page.relative_to(repository)}: {name}"
        for page in pages(repository, repository_files)
        for name in re.findall(
            r"`((?:src|tests|docs|proto|scenarios|examples|requirements)/[\w./-]+)(?:::\w+)?`", page.read_text()
        )
        if not (repository / name).exists()
    ]

    assert missing == []


def test_every_test_that_the_status_page_names_exists(repository: Path) -> None:
    named = re.findall(r"`(tests/[\w./-]+\.py)(?:::(\w+))?`", (repository / "docs/status.md").read_text())

    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (repository / file).exists() or (test and f"def {test}(" not in (repository / file).read_text())
    ]

    assert named
    assert missing == []


def test_decisions_are_numbered_without_gaps(repository: Path) -> None:
    names = sorted(path.name for path in (repository / "docs/decisions").glob("*.md") if path.name != "README.md")

    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
