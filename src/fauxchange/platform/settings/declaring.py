"""How a setting is declared: its field and what is said of it, in one call.

`DECLARED` is what documentation and complaints are made from; the declarations in `model` fill it.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from fauxchange.domain.times import parse_duration, parse_time

LATEST_MOMENT_NS = parse_time("2200-01-01T00:00:00Z")
"""A century before 64 bits of nanoseconds are over."""

_MAP = "pairs such as BTC/USD=1.5,default=2 with positive numbers"
_MAP_UNIT = "comma-separated; entries add to the defaults, `default` is for all other symbols"
_PORT = "a port from 0 to 65535 (0 takes any free one)"
SQL_URL = "a URL such as postgresql://user:password@host:5432/database?sslmode=require"
REDIS_URL = "a URL such as redis://user:password@host:6379/0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What is said of a variable: in the documentation, and to whoever gives it a bad value.

    `shown` tells the default in words where no fixed text can.
    """

    name: str
    default: str
    description: str
    expected: str
    unit: str
    shown: str | None

    @property
    def secret(self) -> bool:
        """Whether its value must never be shown."""
        return self.unit in {"secret", "URL"}


DECLARED: dict[str, Declared] = {}
"""Every variable by name, in the order of the fields of `Settings`, whose declarations fill it."""


def setting(
    name: str, default: str, description: str, *, expected: str, unit: str, shown: str | None = None, **field: Any
) -> Any:
    """Declare a setting: what is said of it, and the field that holds it."""
    DECLARED[name] = Declared(
        name=name,
        default=default,
        description=description,
        expected=expected,
        unit=unit,
        shown=shown,
    )
    if "default_factory" not in field:
        field["default"] = default
    return Field(alias=name, **field)


def duration(name: str, default: str, description: str, least: str, most: str) -> Any:
    """Declare a setting that is a duration, within bounds."""
    expected = f"a duration such as 300s or 1m, from {least} to {most}"
    low, high = parse_duration(least), parse_duration(most)
    return setting(name, default, description, expected=expected, unit="duration", ge=low, le=high)


def moment(name: str, description: str, shown: str) -> Any:
    """Declare a setting that is a moment of venue time or of recorded time."""
    expected = "a time such as 2026-01-31T12:00:00Z, from 1970 to 2199"
    unit = "RFC 3339 time"
    return setting(name, "", description, expected=expected, unit=unit, shown=shown, ge=0, lt=LATEST_MOMENT_NS)


def count(name: str, default: str, description: str, least: int, most: int, unit: str, **field: Any) -> Any:
    """Declare a setting that is a whole number, within bounds."""
    expected = f"a whole number from {least} to {most}"
    return setting(name, default, description, expected=expected, unit=unit, ge=least, le=most, **field)


def choice(name: str, default: str, description: str, *choices: str, shown: str | None = None) -> Any:
    """Declare a setting that is one of a few words."""
    expected, unit = f"one of {', '.join(choices)}", "|".join(choices)
    return setting(name, default, description, expected=expected, unit=unit, shown=shown)


def flag(name: str, default: str, description: str) -> Any:
    """Declare a setting that is true or false."""
    return setting(name, default, description, expected="true or false", unit="true|false")


def port(name: str, default: str, description: str, shown: str | None = None, **field: Any) -> Any:
    """Declare a setting that is a port."""
    return setting(name, default, description, expected=_PORT, unit="port", shown=shown, ge=0, le=65535, **field)


def text(name: str, default: str, description: str, shown: str | None = None) -> Any:
    """Declare a setting that is some text."""
    return setting(name, default, description, expected="some text", unit="text", shown=shown, min_length=1)


def addresses(name: str, description: str) -> Any:
    """Declare a setting that names where a service is called; without it the registry is asked."""
    unit = "HOST:PORT, comma-separated"
    return setting(name, "", description, expected="addresses such as 127.0.0.1:9093", unit=unit, shown="none")


def by_symbol(name: str, default: str, description: str, *, expected: str = _MAP, value: str = "number") -> Any:
    """Declare a setting that each symbol has a value of its own of."""
    return setting(name, default, description, expected=expected, unit=f"symbol={value}, {_MAP_UNIT}")


def limit_by_symbol(name: str, default: str, description: str, *, value: str) -> Any:
    """Declare a limit that each symbol has a value of its own of; 0 is no limit."""
    expected = "pairs such as BTC/USD=5,default=0, or one number for all"
    return by_symbol(name, default, f"{description}; 0 is no limit", expected=expected, value=value)
