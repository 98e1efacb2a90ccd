"""The written forms of settings, and the types they are read into.

A reader takes text, or what a YAML or TOML file already made of it, and raises ValueError if it cannot be meant; what
was expected instead is told by the setting's declaration, so the readers' own words are for the odd case only.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, PlainValidator, SecretStr

from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.instruments import MAX_DECIMALS, parse_symbol
from fauxchange.domain.intervals import parse_interval
from fauxchange.domain.times import parse_duration, parse_time

Value = TypeVar("Value")

DEFAULT_KEY = "default"
"""The entry of a map of symbols that stands for all symbols without one of their own."""


@dataclass(frozen=True, slots=True)
class ReplayFile:
    """A file of recorded data, and the symbol it is replayed as (None: the one its name says)."""

    symbol: str | None
    path: Path


def _duration(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError("a duration is written with its unit")  # noqa: TRY004 - pydantic collects ValueErrors only
    return _read(parse_duration, value)


def _interval(value: object) -> int:
    return _read(parse_interval, str(value))


def _moment(value: object) -> int | None:
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, datetime):
        # YAML and TOML make times of what looks like one; without a zone they mean UTC, as the file says nowhere else.
        return _read(parse_time, (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat())
    return _read(parse_time, value.isoformat() if isinstance(value, date) else str(value))


def _speed(value: object) -> float:
    if isinstance(value, str) and value.strip().lower() == "max":
        return math.inf
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("not a number")  # noqa: TRY004 - pydantic collects ValueErrors only
    try:
        speed = float(value)
    except ValueError:
        raise ValueError("not a number") from None
    if not speed > 0:
        raise ValueError("not positive")
    return speed


def _items(value: object) -> list[str]:
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    if isinstance(value, list | tuple):
        return [str(item) for item in value]
    raise ValueError("not a list")


def _symbols(value: object) -> tuple[str, ...]:
    symbols = [_read(parse_symbol, item) for item in _items(value)]
    if not symbols:
        raise ValueError("no symbol")
    if len(set(symbols)) < len(symbols):
        raise ValueError("a symbol stands there twice")
    return tuple(symbols)


def read_decimals(value: object) -> Mapping[str, Decimal]:
    """Return a map of symbols (and `default`) to positive numbers, from text or from a table of a file."""
    if isinstance(value, Mapping):
        pairs = [(str(key), str(number)) for key, number in value.items()]
    else:
        split = [item.partition("=") for item in _items(value)]
        pairs = [(key.strip(), number.strip()) for key, _, number in split]
    numbers: dict[str, Decimal] = {}
    for key, text in pairs:
        name = key if key == DEFAULT_KEY else _read(parse_symbol, key)
        if name in numbers:
            raise ValueError(f"{name} stands there twice")
        numbers[name] = _positive(text)
    return MappingProxyType(numbers)


def _positive(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number") from None
    if not number.is_finite() or number <= 0:
        raise ValueError(f"{text!r} is not a positive number")
    if -int(number.normalize().as_tuple().exponent) > MAX_DECIMALS:
        raise ValueError(f"{text!r} has more than {MAX_DECIMALS} decimals")
    return number


def _replays(value: object) -> tuple[ReplayFile, ...]:
    if isinstance(value, list | tuple):
        return tuple(item if isinstance(item, ReplayFile) else _replay(str(item)) for item in value)
    return tuple(_replay(item) for item in _items(value))


def _replay(text: str) -> ReplayFile:
    # A path may hold an equals sign; it is a symbol's only if a symbol stands before it.
    before, equals, after = text.partition("=")
    if equals and after:
        try:
            return ReplayFile(parse_symbol(before), Path(after))
        except InvalidRequest:
            pass
    return ReplayFile(None, Path(text))


def _pushes(value: object) -> tuple[str, ...]:
    # Who reads the feeds knows how their addresses are written; here they are only taken apart.
    items = [str(item) for item in value] if isinstance(value, list | tuple) else _items(value)
    return tuple(item.strip() for item in items)


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _unset(value: object) -> object:
    return None if value == "" else value


def _postgres_url(url: SecretStr) -> SecretStr:
    parts = urlsplit(url.get_secret_value())
    if parts.scheme not in {"postgres", "postgresql"} or not (parts.hostname or "host" in parse_qs(parts.query)):
        raise ValueError("not a PostgreSQL URL")
    return _port_checked(url, parts.port)


def _redis_url(url: SecretStr) -> SecretStr:
    parts = urlsplit(url.get_secret_value())
    if parts.scheme not in {"redis", "rediss", "unix"} or not (parts.hostname or parts.path):
        raise ValueError("not a Redis URL")
    return _port_checked(url, parts.port)


def _port_checked(url: SecretStr, _port: int | None) -> SecretStr:
    # Reading the port is what checks it: urllib raises ValueError for one that is not a number up to 65535.
    return url


def _read(reader: Callable[[str], Value], text: str) -> Value:
    # pydantic collects ValueErrors; a failure of the domain's readers would end the validation at the first.
    try:
        return reader(text)
    except InvalidRequest as exc:
        raise ValueError(exc.message) from exc


DurationNs = Annotated[int, BeforeValidator(_duration)]
IntervalNs = Annotated[int, BeforeValidator(_interval)]
MomentNs = Annotated[int | None, BeforeValidator(_moment), BeforeValidator(_unset)]
Speed = Annotated[float, BeforeValidator(_speed)]
Symbols = Annotated[tuple[str, ...], BeforeValidator(_symbols)]
DecimalBySymbol = Annotated[Mapping[str, Decimal], PlainValidator(read_decimals)]
Pushes = Annotated[tuple[str, ...], PlainValidator(_pushes)]
Replays = Annotated[tuple[ReplayFile, ...], PlainValidator(_replays)]
FolderOrFile = Annotated[Path, AfterValidator(Path.expanduser)]
OptionalFile = Annotated[FolderOrFile | None, BeforeValidator(_unset)]
PostgresUrl = Annotated[Annotated[SecretStr, AfterValidator(_postgres_url)] | None, BeforeValidator(_unset)]
RedisUrl = Annotated[Annotated[SecretStr, AfterValidator(_redis_url)] | None, BeforeValidator(_unset)]
Secret = Annotated[SecretStr | None, BeforeValidator(_unset)]
Lower = BeforeValidator(_lower)


def url_secrets(url: SecretStr | None) -> tuple[str, ...]:
    """Return what must not be shown of a store's URL: its password, as written and as meant, and the whole."""
    if url is None:
        return ()
    text = url.get_secret_value()
    password = urlsplit(text).password
    return (text, password, unquote(password)) if password else (text,)


def for_symbol(values: Mapping[str, Decimal], symbol: str) -> Decimal:
    """Return the value of a symbol: its own, else the one of its base against USD, else the default."""
    own = values.get(symbol, values.get(f"{symbol.partition('/')[0]}/USD"))
    return values[DEFAULT_KEY] if own is None else own
