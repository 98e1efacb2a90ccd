"""What is deployed, tried on real servers and a running venue as far as no container is needed."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
import redis
import yaml
from distributed_kit import eventually, health_of, unwell

from fauxchange.testing import started
from fauxchange.testing.processes import APART, VenueProcess, clean_environment
from fauxchange.testing.servers import start_postgres, start_redis
from fauxchange.venue.services import GATEWAYS, SERVICES

DEPLOY = Path(__file__).parents[2] / "deploy"
PASSWORDS = {
    "DATABASE_OWNER_PASSWORD": "of-the-owner",
    **{f"{name.upper().replace('-', '_')}_ADAPTER_PASSWORD": f"$of&{name}'s own\"" for name in (*SERVICES, *GATEWAYS)},
}
"""With characters that a shell or SQL might take for something else."""


# Redis


def test_redis_users_are_made_by_the_start_script_and_can_do_what_their_service_does(tmp_path: Path) -> None:
    acl = acl_made(tmp_path, PASSWORDS)
    with start_redis() as server:
        server.load_acl(line for line in acl if not line.startswith("user default"))
        port = urlsplit(server.url).port

        for name in SERVICES:
            password = PASSWORDS[f"{name.upper().replace('-', '_')}_ADAPTER_PASSWORD"]
            with redis.Redis(port=port, username=f"{name}-adapter", password=password) as client:
                assert client.set(f"{name.replace('-', '_')}:cache:key", "value")
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.flushall()
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.set("somebody_else:cache:key", "value")
        with redis.Redis(port=port, username="health", password="any") as client:
            assert client.ping()
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.get("market_data:cache:key")


def test_redis_does_not_start_while_a_password_is_missing(tmp_path: Path) -> None:
    without = {name: value for name, value in PASSWORDS.items() if name != "EXCHANGE_ADAPTER_PASSWORD"}

    done = run_start_script(tmp_path, without)

    assert done.returncode == 1
    assert "EXCHANGE_ADAPTER_PASSWORD is not set" in done.stderr


def acl_made(folder: Path, passwords: Mapping[str, str]) -> list[str]:
    """Return the lines of the ACL file that the start script makes."""
    done = run_start_script(folder, passwords)
    assert done.returncode == 0, done.stderr
    text = (folder / "users.acl").read_text()
    assert "@_PASSWORD@" not in text
    assert not any(password in text for password in passwords.values())
    return text.splitlines()


def run_start_script(folder: Path, passwords: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run the start script with its folders moved to where a test may write, and no server at its end."""
    script = (DEPLOY / "redis/start.sh").read_text()
    for there, here in (("/run/redis", folder), ("/etc/fauxchange", DEPLOY / "redis"), ("exec redis-server", ": ")):
        assert there in script
        script = script.replace(there, str(here))
    environ = {"PATH": os.environ["PATH"], **passwords}
    return subprocess.run(["sh", "-c", script], env=environ, capture_output=True, text=True, check=False)


# PostgreSQL


def test_roles_are_made_with_their_passwords_and_may_be_made_again() -> None:
    with start_postgres(in_memory=True) as server:
        for round_of in ("first", "second"):
            passwords = {name: f"{round_of} {value}" for name, value in PASSWORDS.items()}

            done = run_roles_script(server.url, passwords)

            assert done.returncode == 0, done.stderr
            address = urlsplit(server.url)
            for role, variable in roles():
                with psycopg.connect(
                    host=address.hostname,
                    port=address.port,
                    dbname="trading_ecosystem",
                    user=role,
                    password=passwords[variable],
                ) as connection:
                    assert connection.execute("SELECT current_user").fetchone() == (role,)


def roles() -> Iterator[tuple[str, str]]:
    yield "trading_ecosystem_owner", "DATABASE_OWNER_PASSWORD"
    for name in SERVICES:
        yield f"{name.replace('-', '_')}_adapter", f"{name.upper().replace('-', '_')}_ADAPTER_PASSWORD"


def run_roles_script(url: str, passwords: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    address = urlsplit(url)
    script = (DEPLOY / "postgres/roles.sh").read_text().replace("/etc/fauxchange", str(DEPLOY / "postgres"))
    environ = {
        **passwords,
        "PATH": os.environ["PATH"],
        "PGHOST": str(address.hostname),
        "PGPORT": str(address.port),
        "PGUSER": str(address.username),
        "PGPASSWORD": str(address.password),
        "PGDATABASE": "postgres",
    }
    return subprocess.run(["sh", "-c", script], env=environ, capture_output=True, text=True, check=False)


# Services on both stores, with exactly what compose gives them


@dataclass(frozen=True)
class Deployed:
    """What a service told while all of them ran."""

    health: Mapping[str, Any]
    metrics: str
    log: str


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Deployed]:
    """Run all services together, and return what each told when all were well."""
    tmp_path = tmp_path_factory.mktemp("deployed")
    with start_postgres(in_memory=True) as postgres, start_redis() as cache:
        roles_made = run_roles_script(postgres.url, defaults_of("roles"))
        acl = acl_made(tmp_path, defaults_of("redis"))
        cache.load_acl(line for line in acl if not line.startswith("user default"))
        moved = {"postgres:5432": netloc(postgres.url), "redis:6379": netloc(cache.url)}
        migrated = run_fauxchange(["db", "upgrade"], moved_to(moved, defaults_of("migrate")), tmp_path)
        assert (roles_made.returncode, migrated.returncode) == (0, 0), migrated.stderr

        with ExitStack() as stack:
            processes = {
                name: stack.enter_context(served(name, moved_to(moved, defaults_of(name)), tmp_path / name))
                for name in SERVICES
            }
            urls = {name: process.venue.http for name, process in processes.items()}
            for name, url in urls.items():
                eventually(partial(is_well, url), told=lambda process=processes[name]: process.log)
            told = {name: (health_of(url), httpx.get(f"{url}/metrics", timeout=30).text) for name, url in urls.items()}
        return {name: Deployed(*each, processes[name].log) for name, each in told.items()}


def is_well(url: str) -> bool:
    """Whether nothing that a process leans on is less than well."""
    return not unwell(health_of(url))


@pytest.mark.parametrize("name", SERVICES)
def test_services_run_as_their_own_users_with_what_compose_gives_them(
    name: str, deployed: Mapping[str, Deployed]
) -> None:
    told = deployed[name]

    dependencies = told.health["services"][name]["dependencies"]
    assert (dependencies["postgresql"]["status"], dependencies["redis"]["status"]) == ("ok", "ok")
    assert f'service="{SERVICES[name].registered_name}"' in told.metrics
    assert "permission denied" not in told.log.lower()
    assert "NOPERM" not in told.log


def test_the_exchange_follows_the_prices_of_market_data(deployed: Mapping[str, Deployed]) -> None:
    dependencies = deployed["exchange"].health["services"]["exchange"]["dependencies"]

    assert {"market-data", "market-prices", "house-liquidity"} <= dependencies.keys()
    assert re.search(r"^exchange_price_stream_up\{.*\} 1", deployed["exchange"].metrics, re.MULTILINE)


def defaults_of(name: str) -> dict[str, str]:
    """Return the environment of a container as compose makes it from nothing."""
    environment = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"][name]["environment"]
    return {key: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for key, value in environment.items()}


def netloc(url: str) -> str:
    """Return the host and port of a URL."""
    return urlsplit(url).netloc.rpartition("@")[2]


def moved_to(moved: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with the stores' addresses in the place of those in compose's network."""
    return {
        key: next((value.replace(f"@{old}", f"@{new}") for old, new in moved.items() if f"@{old}" in value), value)
        for key, value in environment.items()
    }


def run_fauxchange(
    arguments: list[str], environ: Mapping[str, str], folder: Path
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "fauxchange.cli", *arguments]
    return subprocess.run(
        command, env=clean_environment(environ), cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )


@contextmanager
def served(name: str, environ: Mapping[str, str], folder: Path) -> Iterator[VenueProcess]:
    """Run a service in a process of its own, on free ports of this machine, as long as the block lasts."""
    folder.mkdir()
    here = {**APART, "ADVERTISED_HOST": "127.0.0.1", "DATA_DIR": str(folder)}
    with (folder / "log.txt").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "fauxchange.cli", "serve", name],
            env=clean_environment({**environ, **here}),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    child = VenueProcess(process, folder, folder / "log.txt")
    try:
        yield child
        assert child.stop() == 0
    finally:
        child.kill()


# The health check of the image


class Health(BaseHTTPRequestHandler):
    """Answers with the status in the path."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(int(self.path.rpartition("/")[2]))
        self.end_headers()
        self.wfile.write(b"the body")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (500, 1)])
def test_the_health_check_of_the_image_ends_as_the_service_is(status: int, code: int) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Health)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        done = health_check(f"/api/v1/health/{status}", port=server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()

    assert (done.returncode, done.stdout) == (code, "the body")


def test_the_health_check_fails_while_nobody_listens() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
        port = server.server_address[1]

    assert health_check("/api/v1/health", port=port).returncode == 1


def health_check(path: str, *, port: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-I", DEPLOY / "healthcheck.py", path]
    # A proxy must not be asked for what is in the same container.
    environ = {"HTTP_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)


# Dashboards and alerts, against a process that runs


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, deployed: Mapping[str, Deployed]) -> str:
    """Return what services export: each by itself, and all in one process that has answered a request."""
    with started(tmp_path_factory.mktemp("venue"), {"STORE": "memory", "MODEL_ENGINE": "python"}) as process:
        httpx.get(f"{process.venue.http}/api/v1/prices", timeout=30)
        httpx.post(f"{process.venue.http}/api/v1/orders", json={}, timeout=30)
        alone = httpx.get(f"{process.venue.http}/metrics", timeout=30).text
    return "\n".join([alone, *(told.metrics for told in deployed.values())])


def read_by(path: Path) -> set[str]:
    """Return the metrics that a file's expressions name."""
    if path.suffix == ".json":
        document = json.loads(path.read_text())
        texts = [target["expr"] for panel in document["panels"] for target in panel.get("targets", ())]
    else:
        document = yaml.safe_load(path.read_text())
        texts = [rule["expr"] for group in document["groups"] for rule in group["rules"]]
    return {
        re.sub(r"_(?:bucket|sum|count)$", "", name)
        for text in texts
        for name in re.findall(r"\b([a-z]+(?:_[a-z]+)+)(?=\{|\[|\s|\)|$)", re.sub(r"by \([^)]*\)", "", text))
        if name != "histogram_quantile"
    }


@pytest.mark.parametrize("name", ["venue", "feed", "orders", "dependencies"])
def test_a_dashboard_reads_what_a_running_venue_exports(name: str, exported: str) -> None:
    there = set(re.findall(r"^# TYPE (\S+) ", exported, re.MULTILINE))
    read = read_by(DEPLOY / f"grafana/dashboards/{name}.json")

    assert read
    assert read - there == set()


def test_alerts_read_what_a_running_venue_exports(exported: str) -> None:
    there = set(re.findall(r"^# TYPE (\S+) ", exported, re.MULTILINE))
    read = read_by(DEPLOY / "prometheus/alerts.yml")

    assert len(read) > 10
    assert read - there == set()


def test_the_route_that_alerts_watch_is_that_of_orders(exported: str) -> None:
    routes = set(re.findall(r'http_requests_total\{[^}]*route="([^"]*)"', exported))
    watched = re.compile("/api/v1/orders.*")

    assert any(watched.fullmatch(route) for route in routes), routes


# Kernels that are compiled ahead of time


def test_after_warm_up_a_venue_compiles_nothing(tmp_path: Path) -> None:
    enabled = {"NUMBA_DISABLE_JIT": "0"}
    command = [sys.executable, "-m", "fauxchange.cli", "warm-up", "--json"]
    done = subprocess.run(
        command, env=os.environ | enabled, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["seconds"]) == {"the price model", "the exchange", "the order flow"}

    with started(tmp_path / "venue", {"STORE": "memory", "MODEL_ENGINE": "compiled", **enabled}) as process:
        assert process.venue.http

    # It says that it is ready after it has written where it is: read when it is over.
    assert '"event":"ready"' in process.log
    assert "compiling kernel" not in process.log
