"""Configuration values: the types they have, what a service declares of its keys, and how written values are read.

A key is lower-case words, and after a dot what it is about: `price_update_interval`, `spread_bps.BTC-USD`. A value is
kept in the JSON form of its type: decimals and durations as text, the others as they are.
"""

import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import cached_property
from typing import Any

from fauxchange.domain.errors import InvalidRequest, check
from fauxchange.domain.times import format_duration, parse_duration

SERVICE_PATTERN = r"^[a-z][a-z0-9-]{0,63}$"
ENVIRONMENT_PATTERN = r"^[a-z][a-z0-9-]{0,31}$"
KEY_PATTERN = r"^[a-z][a-z0-9_]{0,63}(\.[A-Za-z0-9_/-]{1,64}){0,4}$"
MAX_VALUE_CHARS = 16_384
MAX_DEPTH = 32
MAX_INTEGER = 2**63 - 1
ANYTHING = r"[A-Za-z0-9_-]{1,64}"
SYMBOL = r"[A-Z0-9]{1,16}-[A-Z0-9]{1,16}"
"""What stands for the star of a declaration that is about symbols."""

_KEY = re.compile(KEY_PATTERN)
_SECRET_WORDS = re.compile(
    r"(^|[._-])(password|passwd|passphrase|secret|secrets|token|credential|credentials|api[_-]?key|private[_-]?key|admin[_-]?key"
    r"|access[_-]?key)s?($|[._-])",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(r"://[^/\s:@]*:[^/\s@]+@|-----BEGIN [A-Z ]*PRIVATE KEY-----")


class ValueType(StrEnum):
    """The type of a value."""

    STR = "str"
    INT = "int"
    FLOAT = "float"
    DECIMAL = "decimal"
    BOOL = "bool"
    DURATION = "duration"
    LIST = "list"
    JSON = "json"


_MEANT: Mapping[ValueType, str] = {
    ValueType.STR: "text",
    ValueType.INT: "a whole number",
    ValueType.FLOAT: "a number",
    ValueType.DECIMAL: "an exact number such as 1.5",
    ValueType.BOOL: "true or false",
    ValueType.DURATION: "a duration such as 250ms or 1m",
    ValueType.LIST: "a list of texts, numbers and truth values",
    ValueType.JSON: "JSON",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationChange:
    """One change of one key: the value it was given, or that it was deleted.

    `version` counts the changes of everything there is, from 1; a key's version is that of its last change. `content`
    is `{"value": ...}`, or empty where the key was deleted.

    Units: ts_ns in nanoseconds of venue time
    """

    version: int
    service: str
    environment: str
    key: str
    type: str
    content: Mapping[str, Any]
    ts_ns: int
    actor: str
    trace_id: str = ""
    comment: str = ""

    @property
    def value(self) -> Any:
        """The value in the JSON form of its type; None if the key was deleted."""
        return self.content.get("value")

    @property
    def is_deletion(self) -> bool:
        """Whether the key was deleted."""
        return "value" not in self.content


@dataclass(frozen=True)
class Declaration:
    """What a service says of a key, or with a name that ends in `.*` of all keys with that beginning.

    `minimum` and `maximum` are written as values of the type; `about` says what may stand for the star; `rule` looks at
    what no bound can tell, and raises InvalidRequest.
    """

    name: str
    type: ValueType
    description: str
    minimum: str | None = None
    maximum: str | None = None
    choices: tuple[str, ...] = ()
    pattern: str | None = None
    about: str = field(default=ANYTHING, repr=False)
    rule: Callable[[str, Any], None] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for bound in (self.minimum, self.maximum):
            check(bound is None or self.type in _MEASURES, f"{self.name} is no number, and has no bounds")

    @cached_property
    def keys(self) -> re.Pattern[str]:
        """What its keys look like."""
        stem = self.name.removesuffix(".*")
        return re.compile(re.escape(stem) + (rf"\.(?:{self.about})" if stem != self.name else ""))

    def checked(self, key: str, value: Any) -> Any:
        """Return a value in the form in which it is kept. Raises: InvalidRequest that says what is expected."""
        kept = read_value(self.type, value, key=key)
        self._check_bounds(key, kept)
        if self.choices and str(kept) not in self.choices:
            raise InvalidRequest(
                f"{key} is one of {', '.join(self.choices)}, not {kept!r}", code="value_not_allowed", field="value"
            )
        if self.pattern is not None and not re.fullmatch(self.pattern, str(kept)):
            raise InvalidRequest(
                f"{key} looks like {self.pattern}, not like {kept!r}", code="value_not_allowed", field="value"
            )
        if self.rule is not None:
            self.rule(key, kept)
        return kept

    def _check_bounds(self, key: str, kept: Any) -> None:
        if self.minimum is None and self.maximum is None:
            return
        measure = _MEASURES[self.type]
        low, high = (None if bound is None else measure(bound) for bound in (self.minimum, self.maximum))
        if (low is not None and measure(kept) < low) or (high is not None and measure(kept) > high):
            allowed = " ".join(
                [
                    *([f"at least {self.minimum}"] if self.minimum is not None else []),
                    *(["and"] if self.minimum is not None and self.maximum is not None else []),
                    *([f"at most {self.maximum}"] if self.maximum is not None else []),
                ]
            )
            raise InvalidRequest(f"{key} is {allowed}, not {kept}", code="value_not_allowed", field="value")


@dataclass(frozen=True)
class ServiceSchema:
    """The keys of a service. A service without a schema, or with one that is open, takes any key besides."""

    service: str
    declarations: tuple[Declaration, ...]
    is_open: bool = False

    def declaration_of(self, key: str) -> Declaration | None:
        """Return what is declared of a key, None if nothing is. Raises: InvalidRequest if the key cannot be."""
        for declaration in self.declarations:
            if declaration.keys.fullmatch(key):
                return declaration
        if self.is_open:
            return None
        names = [declaration.name for declaration in self.declarations]
        near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names) or 'none'}"
        raise InvalidRequest(f"{self.service} has no key {key}; {hint}", code="undeclared_key", field="key")


def normal_key(text: str) -> str:
    """Return a key as it is kept: a symbol in it is written with a dash.

    Raises: InvalidRequest if it is no key, or looks like the name of a secret
    """
    if _KEY.fullmatch(text) is None:
        raise InvalidRequest(
            f"{text[:128]!r} is not a key; write words such as price_update_interval or spread_bps.BTC-USD",
            code="invalid_key",
            field="key",
        )
    if _SECRET_WORDS.search(text):
        raise InvalidRequest(
            f"{text} looks like a secret, and everybody may read the configuration; keep it in a setting",
            code="secret_refused",
            field="key",
        )
    return text.replace("/", "-")


def read_value(kind: ValueType, value: Any, *, key: str = "value") -> Any:
    """Return a value of a type in the JSON form in which it is kept; its written form (text) is read too.

    Raises: InvalidRequest if it is not of the type, too long, or looks like a secret
    """
    try:
        kept = _READERS[kind](value)
        text = json.dumps(kept, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, TypeError, InvalidOperation, InvalidRequest, RecursionError) as exc:
        raise InvalidRequest(
            f"{key} is {_MEANT[kind]}, not {str(value)[:64]!r}", code="wrong_value_type", field="value"
        ) from exc
    if len(text) > MAX_VALUE_CHARS:
        raise InvalidRequest(
            f"{key} has {len(text)} characters, and a value has {MAX_VALUE_CHARS} at most",
            code="value_too_long",
            field="value",
        )
    if _SECRET_TEXT.search(text):
        raise InvalidRequest(
            f"the value of {key} holds a password or a private key, and everybody may read the configuration",
            code="secret_refused",
            field="value",
        )
    return kept


def type_of(value: Any) -> ValueType:
    """Return the type of a JSON value that nothing was said of."""
    if isinstance(value, bool):
        return ValueType.BOOL
    kinds = ((str, ValueType.STR), (int, ValueType.INT), (float, ValueType.FLOAT), (list, ValueType.LIST))
    return next((kind for builtin, kind in kinds if isinstance(value, builtin)), ValueType.JSON)


def shown_value(value: Any) -> str:
    """Return a value as people write it: text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str | float):
        raise TypeError("not a whole number")
    if isinstance(value, str) and len(value) > len(str(MAX_INTEGER)) + 1:
        raise ValueError("too long")
    number = int(value)
    if (isinstance(value, float) and number != value) or abs(number) > MAX_INTEGER:
        raise ValueError("not a whole number of 64 bits")
    return number


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError("not a number")
    try:
        number = float(value)
    except OverflowError as exc:
        raise ValueError("too large") from exc
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _decimal(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError("not a number")
    number = Decimal(str(value).strip())
    if not number.is_finite() or abs(number.adjusted()) > 40 or len(number.as_tuple().digits) > 40:
        raise ValueError("not a number of a sensible length")
    return f"{number:f}"


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "false": False}
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise ValueError("not a truth value")


def _duration(value: Any) -> str:
    duration_ns = parse_duration(_text(value))
    if duration_ns > MAX_INTEGER:
        raise ValueError("too long")
    return format_duration(duration_ns)


def _list(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    if not isinstance(value, list) or any(not isinstance(item, str | int | float) for item in value):
        raise ValueError("not a list of plain values")
    return value


def _json(value: Any) -> Any:
    # Text that is no JSON is a JSON text.
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    _check_depth(value, MAX_DEPTH)
    return value


def _check_depth(value: Any, left: int) -> None:
    inner: Iterable[Any] = ()
    if isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, list):
        inner = value
    elif not (value is None or isinstance(value, str | int | float)):
        raise ValueError("not JSON")
    if isinstance(value, int) and value.bit_length() > 1_024:
        raise ValueError("too large")
    for item in inner:
        if left == 0:
            raise ValueError("nested too deeply")
        _check_depth(item, left - 1)


_READERS: Mapping[ValueType, Callable[[Any], Any]] = {
    ValueType.STR: _text,
    ValueType.INT: _integer,
    ValueType.FLOAT: _float,
    ValueType.DECIMAL: _decimal,
    ValueType.BOOL: _bool,
    ValueType.DURATION: _duration,
    ValueType.LIST: _list,
    ValueType.JSON: _json,
}

_MEASURES: Mapping[ValueType, Callable[[Any], Any]] = {
    ValueType.INT: int,
    ValueType.FLOAT: float,
    ValueType.DECIMAL: Decimal,
    ValueType.DURATION: parse_duration,
}
"""What values of types with an order are compared by."""
