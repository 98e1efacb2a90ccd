"""The variables as documentation: the list of them, `.env.example`, and the check of a `.env`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fauxchange.domain.errors import ConfigurationError
from fauxchange.platform.settings.declaring import DECLARED, Declared
from fauxchange.platform.settings.deployment import COMPOSE_VARIABLES, compose_problems
from fauxchange.platform.settings.sources import read_env_file, validated

_GROUPS = {
    "SERVICE_NAME": "Service",
    "HTTP_HOST": "Listeners",
    "DATA_DIR": "Data folder and stores",
    "SERVICE_DISCOVERY_NAMESPACE": "Registry of services",
    "SEED": "Venue time and chance",
    "DEFAULT_SYMBOLS": "Market data",
    "EXCHANGE_SYMBOLS": "Exchange",
    "CONFIG_SERVICE_URL": "Configuration at run time",
    "SNAPSHOT_INTERVAL": "History",
    "RESUME_BUFFER": "Streams",
    "TEST_POSTGRES_URL": "Tests",
    "POSTGRES_PASSWORD": "Deployment with compose",
}
"""The first variable of each group, and the group's heading."""

_ALL = {**DECLARED, **COMPOSE_VARIABLES}

_HEAD = """\
# Settings of Fauxchange. Copy this file to `.env` and change what you need; every line may go.
# An empty value means the default. The environment goes before this file, options of a command before both.
# Durations are written 250ms, 300s, 1m, 24h. What is wrong is named at start, and by `make check-env`.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentedSetting:
    """One variable as a row of documentation."""

    name: str
    default: str
    unit: str
    description: str
    group: str
    secret: bool


def documented_settings() -> tuple[DocumentedSetting, ...]:
    """Return a row for every variable, in the order of their declaration."""
    return tuple(_rows())


def env_example() -> str:
    """Return the text of `.env.example`: every variable with its meaning, unit and default."""
    lines = [_HEAD]
    group = None
    for row in documented_settings():
        if row.group != group:
            group = row.group
            lines.append(f"\n# --- {group} ---\n")
        lines.append(f"# {row.description}. Unit: {row.unit}. Default: {row.default}.")
        lines.append(f"{row.name}={_value(_ALL[row.name])}\n")
    return "\n".join(lines)


def check_env_file(path: Path) -> list[str]:
    """Return what is wrong with a `.env`, one line each; nothing if it can be used as it is."""
    if not path.exists():
        return [f"{path} is missing: copy .env.example to {path} and change what you need"]
    problems: dict[str, str] = {}
    compose = {name: declared.default for name, declared in COMPOSE_VARIABLES.items()}
    try:
        given = read_env_file(path, problems, compose)
    except ConfigurationError as exc:
        return [exc.message]
    settings, wrong = validated(given)
    if settings is not None:
        wrong |= compose_problems(compose, production=settings.environment == "production")
    return [*problems.values(), *wrong.values()]


def _rows() -> Iterator[DocumentedSetting]:
    group = ""
    for name, declared in _ALL.items():
        group = _GROUPS.get(name, group)
        yield DocumentedSetting(
            name=name,
            default=declared.shown or declared.default,
            unit=declared.unit,
            description=declared.description,
            group=group,
            secret=declared.secret,
        )


def _value(declared: Declared) -> str:
    # What depends on the command or is made at start stays empty, or a copied file would pin it.
    return "" if declared.shown else declared.default
