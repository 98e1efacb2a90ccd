"""What a deployment adds to the settings: the variables that `deploy/compose.yaml` reads, and examples as secrets.

A process takes no notice of these variables: compose makes its `POSTGRES_URL` and `REDIS_URL` from them. They stand in
`.env.example` beside the settings because one `.env` serves both.
"""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from fauxchange.platform.settings.declaring import Declared
from fauxchange.platform.settings.model import Settings

EXAMPLE = "example-"
"""How every example password in this repository begins."""

WELL_KNOWN = frozenset(
    {
        *(
            "admin",
            "change-me",
            "changeme",
            "default",
            "fauxchange",
            "grafana",
            "guest",
            "pass",
            "password",
            "postgres",
        ),
        *("redis", "root", "secret", "test", "trading", "trading_ecosystem", "user"),
    }
)
"""Passwords that are guessed first."""

_IN_A_URL = re.compile(r"[A-Za-z0-9._~-]{8,}")
_REPLACE = "replace it by one of your own, such as `openssl rand -hex 24` prints"


def _password(name: str, default: str, description: str) -> Declared:
    return Declared(
        name=name,
        default=default,
        description=description,
        expected="8 or more letters, digits and . _ ~ - (it becomes part of a URL)",
        unit="secret",
        shown=None,
    )


COMPOSE_VARIABLES: Mapping[str, Declared] = {
    declared.name: declared
    for declared in (
        _password("POSTGRES_PASSWORD", "example-postgres", "Password of PostgreSQL's superuser, which makes the roles"),
        _password(
            "DATABASE_OWNER_PASSWORD",
            "example-owner",
            "Password of the role that owns the database and runs the migrations",
        ),
        _password(
            "MARKET_DATA_ADAPTER_PASSWORD", "example-market-data", "Password of market data in PostgreSQL and in Redis"
        ),
        _password(
            "EXCHANGE_ADAPTER_PASSWORD", "example-exchange", "Password of the exchange in PostgreSQL and in Redis"
        ),
        _password(
            "CONFIGURATION_ADAPTER_PASSWORD",
            "example-configuration",
            "Password of the configuration service in PostgreSQL and in Redis",
        ),
        _password(
            "EXCHANGE_GATEWAY_ADAPTER_PASSWORD",
            "example-exchange-gateway",
            "Password in Redis of gateways of the exchange that you add",
        ),
        _password(
            "MARKET_DATA_GATEWAY_ADAPTER_PASSWORD",
            "example-market-data-gateway",
            "Password in Redis of gateways of market data that you add",
        ),
        _password("GRAFANA_PASSWORD", "example-grafana", "Password of Grafana's user `admin`"),
    )
}
"""The variables of compose by name."""


def compose_problems(given: Mapping[str, str], *, production: bool) -> dict[str, str]:
    """Return what is wrong with those of compose's variables that are given, by name."""
    problems = {
        name: f"{name}=(not shown): expected {declared.expected}"
        for name, declared in COMPOSE_VARIABLES.items()
        if name in given and not _IN_A_URL.fullmatch(given[name])
    }
    return {**problems, **(example_passwords(given) if production else {})}


def example_passwords(given: Mapping[str, str]) -> dict[str, str]:
    """Return those of compose's variables that are given and are examples, with what to do about each."""
    return {name: refusal(name) for name in COMPOSE_VARIABLES if is_example(given.get(name, ""))}


def example_secrets(settings: Settings) -> dict[str, str]:
    """Return the secrets of a production process that are examples, by variable, with what to do about each."""
    if settings.environment != "production":
        return {}
    return {name: refusal(name) for name, secret in _secrets(settings) if is_example(secret)}


def is_example(secret: str) -> bool:
    """Whether a secret is one of ours that everybody can read, or one that is guessed first."""
    return secret.startswith(EXAMPLE) or secret.lower() in WELL_KNOWN


def refusal(name: str) -> str:
    """Say that a variable holds an example."""
    return f"{name}=(not shown): an example password, which ENVIRONMENT=production refuses; {_REPLACE}"


def _secrets(settings: Settings) -> Iterator[tuple[str, str]]:
    keys = {"ADMIN_KEY": settings.admin_key, "AUDIT_KEY": settings.audit_key, "KERNEL_KEY": settings.kernel_key}
    for name, key in keys.items():
        if key is not None:
            yield name, key.get_secret_value()
    for name, url in (("POSTGRES_URL", settings.postgres_url), ("REDIS_URL", settings.redis_url)):
        password = _url_password(url)
        if password:
            yield name, password


def _url_password(url: SecretStr | None) -> str:
    return "" if url is None else unquote(urlsplit(url.get_secret_value()).password or "")
