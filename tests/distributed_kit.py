"""What tests of several processes share: stores with a role and a user per service, and settings that name them."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from fauxchange.data.postgres.roles import SCHEMAS_OF, grant_statements
from fauxchange.data.redis.acl import acl_lines
from fauxchange.testing.servers import Database, PostgresServer, RedisServer
from fauxchange.venue.services import GATEWAYS, SERVICES

ADMIN_KEY = "an-admin-key-for-tests"
AUDIT_KEY = "an-audit-key-for-tests"
PASSWORD = "of-a-test"
PATIENCE_S = 60.0
"""How long anything may take on a slow, busy machine that is not itself about time."""

QUICK: Mapping[str, str] = {
    "ADMIN_KEY": ADMIN_KEY,
    "AUDIT_KEY": AUDIT_KEY,
    "MODEL_ENGINE": "python",
    "PRICE_UPDATE_INTERVAL": "200ms",
    "HEARTBEAT_INTERVAL": "500ms",
    "SERVICE_TTL": "3s",
    "HOUSE_STALE_AFTER": "2s",
}
"""Settings with which nobody waits for long, for every service alike."""


def make_roles(server: PostgresServer, database: Database) -> None:
    """Make the role of each service, with its rights on the database's tables."""
    for role in SCHEMAS_OF:
        found = server.execute(f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'")
        if not found:
            server.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    server.execute(*grant_statements(SCHEMAS_OF), database=database.name)


def make_users(server: RedisServer) -> None:
    """Make the Redis user of each service and gateway."""
    users = {f"{name}-adapter": PASSWORD for name in (*SERVICES, *GATEWAYS)}
    server.load_acl(line for line in acl_lines(users) if not line.startswith("user default"))


def service_settings(
    postgres_url: Callable[[str], str] | None, redis_url: Callable[[str], str] | None, **more: str
) -> dict[str, dict[str, str]]:
    """Return the settings of each service; the URLs are asked for by role, and by user."""
    settings = {}
    for name, entry in SERVICES.items():
        own = {**QUICK, **more}
        if postgres_url is not None:
            own["POSTGRES_URL"] = postgres_url(f"{entry.namespace}_adapter")
        if redis_url is not None:
            own["REDIS_URL"] = redis_url(f"{name}-adapter")
        settings[name] = own
    return settings


def eventually(
    condition: Callable[[], Any], *, within_s: float = PATIENCE_S, told: Callable[[], object] = str
) -> float:
    """Wait until a condition holds; return how long that took. Fails the test if it never does."""
    begun_s = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - begun_s
        assert waited_s < within_s, f"not within {within_s:g} s: {told()}"
        time.sleep(0.02)
    return time.monotonic() - begun_s


def health_of(url: str) -> dict[str, Any]:
    """Return what a process tells of its health."""
    return dict(httpx.get(f"{url}/api/v1/health", timeout=10).json())


def unwell(report: Mapping[str, Any]) -> dict[str, str]:
    """Return what is not well in a report, with the reason."""
    return {
        f"{service}.{name}": f"{state['status']}: {state['detail']}"
        for service, told in report["services"].items()
        for name, state in told["dependencies"].items()
        if state["status"] != "ok"
    }


def metric(url: str, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples with these labels."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(
        float(line.rpartition(" ")[2])
        for line in httpx.get(f"{url}/metrics", timeout=10).text.splitlines()
        if line.startswith((f"{name}{{", f"{name} ")) and all(each in line for each in wanted)
    )


def log_events(log: str) -> list[str]:
    """Return the names of what a process has logged, one by one."""
    return [str(json.loads(line).get("event", "")) for line in log.splitlines() if line.startswith("{")]
