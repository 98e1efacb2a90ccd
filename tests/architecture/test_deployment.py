"""What is deployed fits what it deploys: services, ports, settings, metrics, and the rules of its own formats."""

import functools
import ipaddress
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from fauxchange.domain.errors import ConfigurationError
from fauxchange.platform.settings import documented_settings, load_settings
from fauxchange.platform.settings.deployment import COMPOSE_VARIABLES
from fauxchange.venue.services import EMBEDDED_GRPC_PORT, EMBEDDED_HTTP_PORT, SERVICES

DEPLOY = Path(__file__).parents[2] / "deploy"
VARIABLE = re.compile(r"(?<!\$)\$(?:\{(?P<braced>[A-Za-z_]\w*)(?P<rest>[^}]*)\}|(?P<bare>[A-Za-z_]\w*))")
OF_OTHERS = re.compile(
    r"^(?:PG[A-Z]+|GF_[A-Z_]+|POSTGRES_INITDB_ARGS|PYTHON[A-Z]+|PIP_[A-Z_]+|PATH|NUMBA_CPU_NAME|XDG_CACHE_HOME)$"
)
"""Variables that other people's programs read; docs/deployment.md names those that we set on purpose."""

TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT, "minItems": 1}
DURATION = {"type": "string", "pattern": r"^(?:\d+(?:us|ms|s|m|h))+$"}
FLAG = {"type": "boolean"}
VARIABLES = {"type": "object", "additionalProperties": {"type": ["string", "number", "null"]}}
SERVICE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["image", "restart", "networks", "deploy", "logging"],
    "properties": {
        "image": {"type": "string", "pattern": r"^[a-z0-9./-]+:[\w.-]+$"},
        "build": {
            "type": "object",
            "additionalProperties": False,
            "required": ["context", "dockerfile", "target"],
            "properties": {"context": TEXT, "dockerfile": TEXT, "target": TEXT},
        },
        "command": TEXTS,
        "environment": VARIABLES,
        "ports": {"type": "array", "items": {"type": "string", "pattern": r"^127\.0\.0\.1:\d+:\d+$"}},
        "volumes": {"type": "array", "items": {"type": "string", "pattern": r"^[\w./-]+:/[\w./-]+(?::ro)?$"}},
        "tmpfs": {"type": "array", "items": {"type": "string", "pattern": r"^/[\w/]+(?::mode=\d{4})?$"}},
        "networks": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"ipv4_address": {"type": "string", "format": "ipv4"}},
            },
        },
        "depends_on": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["condition"],
                "properties": {
                    "condition": {"enum": ["service_started", "service_healthy", "service_completed_successfully"]}
                },
            },
        },
        "healthcheck": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "test": {"type": "array", "prefixItems": [{"enum": ["CMD", "CMD-SHELL"]}], "items": TEXT},
                "interval": DURATION,
                "timeout": DURATION,
                "start_period": DURATION,
                "retries": {"type": "integer"},
                "disable": FLAG,
            },
        },
        "deploy": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "resources": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "limits": {
                            "type": "object",
                            "additionalProperties": False,
                            "required": ["cpus", "memory"],
                            "properties": {
                                "cpus": {"type": "string", "pattern": r"^\d+\.\d+$"},
                                "memory": {"type": "string", "pattern": r"^\d+[kmg]$"},
                            },
                        }
                    },
                }
            },
        },
        "logging": {
            "type": "object",
            "required": ["driver"],
            "properties": {"driver": TEXT, "options": {"type": "object", "additionalProperties": TEXT}},
        },
        "restart": {"enum": ["no", "always", "unless-stopped", "on-failure"]},
        "user": TEXT,
        "init": FLAG,
        "read_only": FLAG,
        "cap_drop": TEXTS,
        "security_opt": TEXTS,
        "stop_grace_period": DURATION,
        "shm_size": {"type": "string", "pattern": r"^\d+[kmg]$"},
    },
}
COMPOSE = {
    "type": "object",
    "additionalProperties": False,
    "patternProperties": {"^x-": {}},
    "required": ["name", "services"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$"},
        "services": {"type": "object", "additionalProperties": SERVICE},
        "volumes": {"type": "object", "additionalProperties": {"type": "object"}},
        "networks": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {
                    "driver": TEXT,
                    "ipam": {
                        "type": "object",
                        "properties": {
                            "config": {"type": "array", "items": {"type": "object", "required": ["subnet"]}}
                        },
                    },
                },
            },
        },
    },
}
"""What of the compose specification we use, and how strictly: of what it allows besides, nothing is needed here."""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """Return the compose file with its merges carried out."""
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


@functools.cache
def declared() -> dict[str, str]:
    """Return the default of every documented variable."""
    return {setting.name: setting.default for setting in documented_settings()}


# Made from the tables in the code


def test_generated_files_are_what_the_tables_in_the_code_say() -> None:
    made = runpy.run_path(str(DEPLOY / "generate.py"))["files"]()

    differing = [path.relative_to(DEPLOY).as_posix() for path, text in made.items() if path.read_text() != text]

    assert differing == [], "run: .venv/bin/python deploy/generate.py"
    assert {path.name for path in (DEPLOY / "grafana/dashboards").iterdir()} == {
        path.name for path in made if path.suffix == ".json"
    }


def test_every_service_of_the_table_is_in_compose_with_its_ports_and_address(compose: dict[str, Any]) -> None:
    for name, entry in SERVICES.items():
        service = compose["services"][name]

        assert service["command"] == ["serve", name]
        assert service["environment"]["HTTP_PORT"] == str(entry.http_port)
        assert service["environment"]["GRPC_PORT"] == str(entry.grpc_port)
        assert service["environment"]["ADVERTISED_HOST"] == name
        assert [port.split(":", 1)[1] for port in service["ports"]] == [
            f"{port}:{port}" for port in (entry.http_port, entry.grpc_port)
        ]
        # The last number of an address is that of the HTTP port: market data, on 8083, is 172.20.0.83.
        assert service["networks"]["venue"]["ipv4_address"] == f"172.20.0.{entry.http_port - 8000}"
        assert {"migrate", "redis"} <= set(service["depends_on"])
        assert set(entry.needs) <= set(service["depends_on"])


def test_no_service_is_in_compose_that_the_table_lacks(compose: dict[str, Any]) -> None:
    served = {
        service["command"][1] for service in compose["services"].values() if service.get("command", [""])[0] == "serve"
    }

    assert served == set(SERVICES)


def test_stores_are_reached_as_the_users_of_the_service(compose: dict[str, Any]) -> None:
    for name in SERVICES:
        environment = compose["services"][name]["environment"]
        namespace, variable = name.replace("-", "_"), f"{name.upper().replace('-', '_')}_ADAPTER_PASSWORD"
        password = f"${{{variable}:-{declared()[variable]}}}"

        assert environment["POSTGRES_URL"] == (
            f"postgresql://{namespace}_adapter:{password}@postgres:5432/trading_ecosystem"
        )
        assert environment["REDIS_URL"] == f"redis://{name}-adapter:{password}@redis:6379/0"
        assert environment["CACHE_NAMESPACE"] == environment["SERVICE_DISCOVERY_NAMESPACE"] == namespace


def test_prometheus_asks_every_service_and_keeps_their_own_labels() -> None:
    document = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    (job,) = [job for job in document["scrape_configs"] if job["job_name"] == "fauxchange"]

    assert job["honor_labels"] is True
    assert {(tuple(target["targets"]), target["labels"]["service"]) for target in job["static_configs"]} == {
        ((f"{name}:{entry.http_port}",), entry.registered_name) for name, entry in SERVICES.items()
    }


def test_kubernetes_has_every_service_with_its_ports_and_probes() -> None:
    for name, entry in SERVICES.items():
        deployment, _, service = yaml.safe_load_all((DEPLOY / f"kubernetes/{name}.yaml").read_text())
        (container,) = deployment["spec"]["template"]["spec"]["containers"]

        assert {port["name"]: port["containerPort"] for port in container["ports"]} == {
            "http": entry.http_port,
            "grpc": entry.grpc_port,
        }
        assert [port["port"] for port in service["spec"]["ports"]] == [entry.http_port, entry.grpc_port]
        assert container["args"] == ["serve", name]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["path"].startswith("/api/v1/")
        assert container["readinessProbe"]["httpGet"]["path"] == "/api/v1/ready"
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert deployment["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == 1001


def test_kubernetes_refers_to_keys_that_the_example_secret_has() -> None:
    secret = yaml.safe_load((DEPLOY / "kubernetes/secret.example.yaml").read_text())["stringData"]
    used = {
        key
        for path in (DEPLOY / "kubernetes").glob("*.yaml")
        for key in re.findall(r"secretKeyRef: \{name: fauxchange, key: ([\w-]+)\}", path.read_text())
    }

    assert used == set(secret)
    assert all("example-" in value for value in secret.values())


# Compose


def test_compose_follows_the_specification(compose: dict[str, Any]) -> None:
    jsonschema.validate(compose, COMPOSE, format_checker=jsonschema.FormatChecker())


def test_every_variable_of_compose_has_the_default_that_is_documented() -> None:
    text = re.sub(r"^\s*#.*$", "", (DEPLOY / "compose.yaml").read_text(), flags=re.MULTILINE)
    found = [(match["braced"] or match["bare"], match["rest"] or "") for match in VARIABLE.finditer(text)]

    assert len(found) > 20
    for name, rest in found:
        shown = declared()[name]
        empty = name in {"ADMIN_KEY", "AUDIT_KEY"}  # made at the first start where they are not given
        assert rest == f":-{'' if empty else shown}", name


def test_every_file_and_folder_that_compose_names_exists(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"], volume
        for build in filter(None, [service.get("build")]):
            assert (DEPLOY / build["context"] / build["dockerfile"]).exists()
            assert f" AS {build['target']}\n" in (DEPLOY / "Dockerfile").read_text()


def test_volumes_and_networks_are_declared_and_used(compose: dict[str, Any]) -> None:
    sources = {
        volume.split(":")[0] for service in compose["services"].values() for volume in service.get("volumes", ())
    }
    networks = {name for service in compose["services"].values() for name in service["networks"]}

    assert {source for source in sources if not source.startswith(".")} == set(compose["volumes"])
    assert networks == set(compose["networks"])


def test_addresses_are_different_and_in_the_network(compose: dict[str, Any]) -> None:
    subnet = ipaddress.ip_network(compose["networks"]["venue"]["ipam"]["config"][0]["subnet"])
    addresses = [
        network["ipv4_address"]
        for service in compose["services"].values()
        for network in service["networks"].values()
        if "ipv4_address" in network
    ]

    assert len(addresses) == len(set(addresses))
    assert all(ipaddress.ip_address(address) in subnet for address in addresses)


def test_published_ports_are_different(compose: dict[str, Any]) -> None:
    ports = [port.split(":")[1] for service in compose["services"].values() for port in service.get("ports", ())]

    assert len(ports) == len(set(ports))


def test_start_order_waits_for_health_and_has_no_circle(compose: dict[str, Any]) -> None:
    services = compose["services"]

    def before(name: str, above: tuple[str, ...] = ()) -> Iterator[str]:
        assert name not in above, " -> ".join((*above, name))
        for needed, how in services[name].get("depends_on", {}).items():
            ends = services[needed]["restart"] == "no"
            if name != "prometheus":
                assert how["condition"] == ("service_completed_successfully" if ends else "service_healthy")
            yield needed
            yield from before(needed, (*above, name))

    for name in SERVICES:
        assert {"postgres", "roles", "migrate", "redis"} <= set(before(name))
    for name in services:
        list(before(name))


def test_our_containers_can_write_nowhere_but_where_they_must(compose: dict[str, Any]) -> None:
    for name in (*SERVICES, "migrate"):
        service = compose["services"][name]

        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert [volume.split(":")[1] for volume in service.get("volumes", ())] in ([], ["/var/lib/fauxchange"])


def test_the_audit_api_is_not_published(compose: dict[str, Any]) -> None:
    audit = {entry.http_port + 100 for entry in SERVICES.values()} | {EMBEDDED_HTTP_PORT + 100}
    published = {
        int(port.split(":")[1]) for service in compose["services"].values() for port in service.get("ports", ())
    }
    exposed = {int(port) for line in re.findall(r"^EXPOSE (.+)$", dockerfile(), re.MULTILINE) for port in line.split()}

    assert published.isdisjoint(audit)
    assert exposed.isdisjoint(audit)
    assert not any("AUDIT_HOST" in service.get("environment", {}) for service in compose["services"].values())


# Variables


def test_every_variable_that_is_set_or_read_in_deploy_is_documented(compose: dict[str, Any]) -> None:
    used = {name for service in compose["services"].values() for name in service.get("environment", {})}
    used |= set(yaml.safe_load((DEPLOY / "kubernetes/configmap.yaml").read_text())["data"])
    for path in (DEPLOY / "kubernetes").glob("*.yaml"):
        used |= set(re.findall(r"- (?:\{name: |name: )([A-Z][A-Z_]+)\b", path.read_text()))
    used |= set(re.findall(r"^(?:ENV |    )([A-Z][A-Z_]+)=", dockerfile(), re.MULTILINE))
    used |= set(re.findall(r"environ\.get\('([A-Z_]+)'\)", (DEPLOY / "healthcheck.py").read_text()))

    assert len(used) > 30
    assert {name for name in used if name not in declared() and not OF_OTHERS.match(name)} == set()


def interpolated(environment: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return an environment as compose makes it from what is given and its defaults."""

    def value(match: re.Match[str]) -> str:
        return given.get(match["braced"]) or match["rest"].removeprefix(":-")

    return {name: VARIABLE.sub(value, text) for name, text in environment.items()}


def test_what_compose_sets_can_be_read(compose: dict[str, Any]) -> None:
    for name in (*SERVICES, "migrate"):
        environment = compose["services"][name]["environment"]

        settings = load_settings(environ=interpolated(environment, {}))

        assert settings.environment == "development"
        assert settings.postgres_url is not None


def test_compose_as_it_is_does_not_start_in_production(compose: dict[str, Any]) -> None:
    own = dict.fromkeys(COMPOSE_VARIABLES, "d7c4a1f09b3e5268")
    environment = compose["services"]["migrate"]["environment"]
    production = {"ENVIRONMENT": "production"}

    assert load_settings(environ=interpolated(environment, production | own)).environment == "production"
    for name in COMPOSE_VARIABLES:
        others = {other: value for other, value in own.items() if other != name}
        with pytest.raises(ConfigurationError, match="an example password"):
            load_settings(environ=interpolated(environment, production | others))


def test_what_kubernetes_sets_can_be_read() -> None:
    values = yaml.safe_load((DEPLOY / "kubernetes/configmap.yaml").read_text())["data"]

    assert load_settings(environ=values).environment == "production"


# The Dockerfile


@functools.cache
def dockerfile() -> str:
    """Return the Dockerfile without its comments."""
    return re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)


def test_the_dockerfile_has_no_lint() -> None:
    linter = Path(sys.executable).with_name("hadolint")

    done = subprocess.run([linter, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_as_the_requirements_say() -> None:
    text = re.sub(r"\\\n\s*", "", dockerfile())

    assert re.search(
        r"^HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD .*\"/api/v1/health\"\]$",
        text,
        re.MULTILINE,
    )
    assert f"EXPOSE {EMBEDDED_HTTP_PORT} {EMBEDDED_GRPC_PORT}" in text
    assert "USER 1001:1001" in text
    for setting in (
        "HTTP_HOST=0.0.0.0",
        "GRPC_HOST=0.0.0.0",
        f"HTTP_PORT={EMBEDDED_HTTP_PORT}",
        "AUDIT_HOST=127.0.0.1",
    ):
        assert setting in text
    assert re.findall(r"^FROM \S+ AS (\w+)$", text, re.MULTILINE)[-2:] == ["slim", "full"]
    assert all(re.search(r"python:\$\{PYTHON\}-", line) for line in re.findall(r"^FROM python.*$", text, re.MULTILINE))
    assert "--require-hashes" in text


def test_every_file_that_the_dockerfile_copies_is_there_and_not_ignored(repository: Path) -> None:
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile(), re.MULTILINE) for name in line.split()[:-1]
    ]
    ignored = {line.strip("/") for line in (repository / ".dockerignore").read_text().splitlines()}

    assert "src" in copied
    assert [name for name in copied if not (repository / name).exists() or name in ignored] == []


def test_slim_has_what_the_package_needs_but_the_compiler(repository: Path) -> None:
    def pinned(name: str) -> dict[str, set[str]]:
        pins: dict[str, set[str]] = {}
        for line in (repository / "requirements" / name).read_text().splitlines():
            if not line.startswith(" "):
                pin = line.removesuffix("\\").strip()
                pins[pin] = set()
            else:
                pins[pin].add(line.removesuffix("\\").strip())
        return pins

    slim, full, build = pinned("slim.txt"), pinned("full.txt"), pinned("build.txt")
    left_out = {pin.partition("==")[0] for pin in full if pin not in slim and pin not in build}

    assert left_out == {"numba", "llvmlite", "pyarrow"}, "run: make lock"
    assert all(full[pin] == hashes for pin, hashes in (slim | build).items())


def test_the_sizes_are_measured_of_what_the_dockerfile_builds() -> None:
    measured = runpy.run_path(str(DEPLOY / "image_sizes.py"))
    (python,) = re.findall(r"^ARG PYTHON=(\S+)$", dockerfile(), re.MULTILINE)

    assert measured["BASE_IMAGE"] == f"python:{python}-slim-bookworm"
    assert {target: (name, limit) for target, (name, _, limit) in measured["TARGETS"].items()} == {
        "slim": ("slim.txt", 100),
        "full": ("full.txt", 250),
    }


# Scripts


@pytest.mark.parametrize("name", ["validate", "redis/start.sh", "postgres/roles.sh"])
def test_scripts_can_be_run_and_read_by_their_shell(name: str) -> None:
    path = DEPLOY / name
    shell = "bash" if "bash" in path.read_text().splitlines()[0] else "sh"

    assert os.access(path, os.X_OK)
    assert subprocess.run([shell, "-n", path], check=False).returncode == 0


# Alerts and dashboards

KEYWORDS = {
    *("by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool", "and", "or", "unless"),
    *("sum", "min", "max", "avg", "count", "rate", "irate", "increase", "changes", "histogram_quantile"),
    *("label_values", "absent", "le"),
}
SUFFIXES = ("_bucket", "_sum", "_count")


def documented_metrics(repository: Path) -> dict[str, set[str]]:
    """Return the labels of every documented metric, those that all carry included."""
    page = (repository / "docs/metrics.md").read_text()
    rows = re.findall(r"^\| `([a-z_]+)` \| (\w+) \| ([^|]*) \|", page, re.MULTILINE)
    everywhere = {"service", "instance", "version", "job"}
    return {"up": everywhere} | {
        name: set(re.findall(r"`(\w+)`", labels)) | everywhere | ({"le"} if kind == "histogram" else set())
        for name, kind, labels in rows
    }


def expressions() -> Iterator[tuple[str, str]]:
    """Yield every expression in alerts and dashboards, and where it stands."""
    alerts = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())
    for group in alerts["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]
    for path in sorted((DEPLOY / "grafana/dashboards").glob("*.json")):
        dashboard = json.loads(path.read_text())
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                yield f"{path.name}: {panel['title']}", target["expr"]
        for variable in dashboard["templating"]["list"]:
            yield f"{path.name}: variable {variable['name']}", variable["definition"]
        for annotation in dashboard["annotations"]["list"]:
            yield f"{path.name}: {annotation['name']}", annotation["expr"]


def metrics_of(expression: str) -> set[str]:
    """Return the metrics that an expression reads, as they are declared."""
    bare = re.sub(r'"[^"]*"', "", re.sub(r"\{[^}]*\}", "{}", expression))
    bare = re.sub(r"\[[^\]]*\]", "", re.sub(r"\b(?:by|without)\s*\([^)]*\)", "", bare))
    if bare.startswith("label_values("):
        bare = bare.partition(",")[0]
    names = {name for name in re.findall(r"[a-z_][a-z0-9_]*", bare) if name not in KEYWORDS}
    return {next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), name) for name in names}


def labels_of(expression: str) -> set[str]:
    """Return the labels that an expression chooses or groups by."""
    chosen = {name for inside in re.findall(r"\{([^}]*)\}", expression) for name in re.findall(r"(\w+)\s*[=!]", inside)}
    grouped = {
        name.strip()
        for inside in re.findall(r"\b(?:by|without)\s*\(([^)]*)\)", expression)
        for name in inside.split(",")
    }
    return chosen | grouped | set(re.findall(r"label_values\(\w+, (\w+)\)", expression))


def balanced(expression: str) -> bool:
    """Say whether every bracket is closed by its own kind."""
    pairs, opened = {")": "(", "]": "[", "}": "{"}, []
    for sign in re.sub(r'"[^"]*"', "", expression):
        if sign in pairs.values():
            opened.append(sign)
        elif sign in pairs and (not opened or opened.pop() != pairs[sign]):
            return False
    return not opened


def test_alerts_and_dashboards_read_metrics_that_exist_by_labels_that_they_have(repository: Path) -> None:
    documented = documented_metrics(repository)
    found = list(expressions())

    assert len(found) > 60
    for where, expression in found:
        assert balanced(expression), f"{where}: {expression}"
        metrics = metrics_of(expression)
        assert metrics, f"{where}: {expression}"
        assert metrics <= set(documented), f"{where}: no such metric"
        assert labels_of(expression) <= set.union(*(documented[name] for name in metrics)), f"{where}: no such label"


@pytest.mark.parametrize(
    ("expression", "metrics", "labels"),
    [
        ('sum by (a, b) (rate(x_total{c="d", e=~"f.*"}[5m])) > 0', {"x_total"}, {"a", "b", "c", "e"}),
        ("histogram_quantile(0.9, sum by (le) (rate(x_seconds_bucket{}[$__rate_interval])))", {"x_seconds"}, {"le"}),
        ("label_values(x_total, symbol)", {"x_total"}, {"symbol"}),
    ],
)
def test_what_an_expression_reads_is_found(expression: str, metrics: set[str], labels: set[str]) -> None:
    assert metrics_of(expression) == metrics
    assert labels_of(expression) == labels


def test_alerts_say_how_bad_it_is_what_it_means_and_what_to_do(repository: Path) -> None:
    document = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    headings = re.findall(r"^#+ (.+)$", (repository / "docs/deployment.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    assert len({rule["alert"] for rule in rules}) == len(rules) > 12
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (repository / page).exists()
        assert anchor in anchors, rule["alert"]
        named = re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"]))
        known = set.union(*(documented_metrics(repository)[name] for name in metrics_of(rule["expr"])))
        assert set(named) <= known, rule["alert"]


def test_dashboards_are_laid_out_without_overlaps_and_say_their_units() -> None:
    for path in (DEPLOY / "grafana/dashboards").glob("*.json"):
        dashboard = json.loads(path.read_text())
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert place["x"] + place["w"] <= 24
            assert not taken & cells, f"{path.name}: {panel['title']}"
            taken |= cells
            if panel["type"] != "row":
                assert panel["fieldConfig"]["defaults"]["unit"]
        assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
