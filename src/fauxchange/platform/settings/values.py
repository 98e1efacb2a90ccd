"""The written forms of settings, and the types they are read into.

A reader takes text, or what a YAML or TOML file already made of it, and raises ValueError if it cannot be meant; what
was expected instead is told by the setting's declaration, so the readers' own words are for the odd case only.
"""

import math
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, PlainValidator, SecretStr

from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.instruments import MAX_DECIMALS, parse_symbol
from fauxchange.domain.intervals import parse_interval
from fauxchange.domain.times import parse_duration, parse_time

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

HOUSE_STYLES = ("levels", "flat", "off")
FLOW_INTENSITIES = ("off", "calm", "busy")
DECIMALS = 8
"""Decimals of an asset that is named without them."""
MAX_ASSET_DECIMALS = 12
"""With more, 64 bits would hold too little of an asset."""
MAX_TIER = 15
MAX_FEE_BPS = 1_000
_EVERY_ADDRESS = frozenset({"0.0.0.0", "::", "*"})  # noqa: S104 - what is refused, nothing listens there
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ASSET = re.compile(r"[A-Z0-9]{1,16}")
_IMPORT_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")

DEFAULT_KEY = "default"
"""The entry of a map of symbols that stands for all symbols without one of their own."""


@dataclass(frozen=True, slots=True)
class ReplayFile:
    """A file of recorded data, the symbol it is replayed as (None: the one its name says), and the span of it.

    Units: recorded times in nanoseconds; None where REPLAY_START and REPLAY_END say
    """

    symbol: str | None
    path: Path
    start_ns: int | None = None
    end_ns: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it names no span of its own."""
        return self.start_ns is None and self.end_ns is None


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
    symbols = _maybe_symbols(value)
    if not symbols:
        raise ValueError("no symbol")
    return symbols


def _maybe_symbols(value: object) -> tuple[str, ...]:
    symbols = tuple(_read(parse_symbol, item) for item in _items(value))
    if len(set(symbols)) < len(symbols):
        raise ValueError("a symbol stands there twice")
    return symbols


def read_map(
    value: object, read_key: Callable[[str], Key], read_value: Callable[[str], Value], *, alone: Key | None = None
) -> Mapping[Key, Value]:
    """Return a map from text or from a table of a file; one value without a key is that of the key `alone`."""
    if isinstance(value, Mapping):
        pairs = [(str(key), str(item)) for key, item in value.items()]
    else:
        items = _items(value if isinstance(value, str | list | tuple) else str(value))
        if alone is not None and len(items) == 1 and "=" not in items[0]:
            return MappingProxyType({alone: read_value(items[0])})
        split = [item.partition("=") for item in items]
        pairs = [(key.strip(), text.strip()) for key, _, text in split]
    read: dict[Key, Value] = {}
    for key_text, text in pairs:
        key = read_key(key_text)
        if key in read:
            raise ValueError(f"{key} stands there twice")
        read[key] = read_value(text)
    return MappingProxyType(read)


def read_decimals(value: object) -> Mapping[str, Decimal]:
    """Return a map of symbols (and `default`) to positive numbers."""
    if not isinstance(value, Mapping | str | list | tuple):
        raise ValueError("not a list")  # noqa: TRY004 - pydantic collects ValueErrors only
    return read_map(value, _symbol_or_default, _positive)


def read_positives(value: object) -> Mapping[str, Decimal]:
    """Return a map of symbols (and `default`) to positive numbers, of which one alone is the default."""
    return read_map(value, _symbol_or_default, _positive, alone=DEFAULT_KEY)


def read_amounts(value: object) -> Mapping[str, Decimal]:
    """Return a map of symbols (and `default`) to numbers of at least 0."""
    return read_map(value, _symbol_or_default, _not_negative, alone=DEFAULT_KEY)


def read_counts(value: object) -> Mapping[str, int]:
    """Return a map of symbols (and `default`) to whole numbers of at least 0."""
    return read_map(value, _symbol_or_default, _whole, alone=DEFAULT_KEY)


def read_styles(value: object) -> Mapping[str, str]:
    """Return a map of symbols (and `default`) to how the house quotes them."""
    return read_map(value, _symbol_or_default, _style, alone=DEFAULT_KEY)


def read_intensities(value: object) -> Mapping[str, str]:
    """Return a map of symbols (and `default`) to how much background order flow they have."""
    return read_map(value, _symbol_or_default, _intensity, alone=DEFAULT_KEY)


MAP_READERS: Mapping[str, Callable[[object], Mapping[str, Any]]] = {
    **dict.fromkeys(("initial_prices", "tick_sizes", "lot_sizes", "spread_bps"), read_decimals),
    **dict.fromkeys(("house_level_spacing_bps", "house_best_notional", "house_level_growth"), read_positives),
    **dict.fromkeys(("order_flow_day_notional", "order_flow_house_distance_bps"), read_positives),
    "order_flow": read_intensities,
    **dict.fromkeys(("min_notional", "max_notional", "max_quantity"), read_amounts),
    **dict.fromkeys(("price_band_bps", "max_open_orders", "house_levels"), read_counts),
    "house_liquidity": read_styles,
}
"""The settings that are maps of symbols, to whose defaults entries are added, and what reads them."""


def read_tiers(value: object) -> Mapping[int, Decimal]:
    """Return a map of fee tiers to basis points; tier 0 is there."""
    tiers = read_map(value, _whole, _not_negative, alone=0)
    if 0 not in tiers:
        raise ValueError("tier 0 is missing, in which accounts begin")
    for tier, bps in tiers.items():
        if tier > MAX_TIER or bps > MAX_FEE_BPS or (bps * 100) % 1:
            raise ValueError(f"{tier}={bps} is beyond tier {MAX_TIER}, {MAX_FEE_BPS} bps or two decimals")
    return tiers


def _assets(value: object) -> Mapping[str, int]:
    # An asset alone has the decimals that most have.
    items = value if isinstance(value, Mapping) else [i if "=" in i else f"{i}={DECIMALS}" for i in _items(value)]
    return _within(0, MAX_ASSET_DECIMALS)(read_map(items, _asset, _whole))


def _funds(value: object) -> Mapping[str, Decimal]:
    return read_map(value, _asset, _positive)


def _import_paths(value: object) -> tuple[str, ...]:
    paths = tuple(_items(value))
    for path in paths:
        if _IMPORT_PATH.fullmatch(path) is None:
            raise ValueError(f"{path!r} is not MODULE:ATTRIBUTE")
    return paths


def _within(least: int, most: int) -> Callable[[Mapping[Key, Value]], Mapping[Key, Value]]:
    def check_all(values: Mapping[Key, Value]) -> Mapping[Key, Value]:
        for key, value in values.items():
            if not least <= Decimal(str(value)) <= most:
                raise ValueError(f"{key}={value} is not within {least} and {most}")
        return values

    return check_all


def _symbol_or_default(text: str) -> str:
    return text if text == DEFAULT_KEY else _read(parse_symbol, text)


def _asset(text: str) -> str:
    if _ASSET.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not an asset: 1 to 16 capital letters and digits")
    return text


def _style(text: str) -> str:
    style = text.lower()
    if style not in HOUSE_STYLES:
        raise ValueError(f"{text!r} is not one of {', '.join(HOUSE_STYLES)}")
    return style


def _intensity(text: str) -> str:
    intensity = text.lower()
    if intensity not in FLOW_INTENSITIES:
        raise ValueError(f"{text!r} is not one of {', '.join(FLOW_INTENSITIES)}")
    return intensity


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DECIMALS):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _positive(text: str) -> Decimal:
    number = _number(text)
    if number <= 0:
        raise ValueError(f"{text!r} is not a positive number")
    return number


def _not_negative(text: str) -> Decimal:
    number = _number(text)
    if number < 0:
        raise ValueError(f"{text!r} is negative")
    return number


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number") from None
    if not number.is_finite():
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
            return _replay_file(parse_symbol(before), after)
        except InvalidRequest:
            pass
    return _replay_file(None, text)


def _replay_file(symbol: str | None, text: str) -> ReplayFile:
    # As with the equals sign: an @ belongs to the path unless a span stands behind it.
    path, at, span = text.rpartition("@")
    start, dots, end = span.partition("..")
    if not (at and path and dots):
        return ReplayFile(symbol, Path(text))
    start_ns, end_ns = (_read(parse_time, time) if time.strip() else None for time in (start, end))
    if start_ns is not None and end_ns is not None and end_ns <= start_ns:
        raise ValueError("the span ends before it begins")
    return ReplayFile(symbol, Path(path), start_ns, end_ns)


def _pushes(value: object) -> tuple[str, ...]:
    # Who reads the feeds knows how their addresses are written; here they are only taken apart.
    items = [str(item) for item in value] if isinstance(value, list | tuple) else _items(value)
    return tuple(item.strip() for item in items)


def _addresses(value: object) -> tuple[str, ...]:
    return tuple(_address(item) for item in _items(value))


def _address(text: str) -> str:
    parts = urlsplit(f"//{text}")
    # Reading the port raises ValueError for one that is not a number up to 65535.
    if not parts.hostname or not parts.port or parts.netloc != text or "@" in text:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return text


def _host(text: str) -> str:
    bare = text.strip("[]")
    if urlsplit(f"//{f'[{bare}]' if ':' in bare else bare}/").hostname != bare.lower() or bare in _EVERY_ADDRESS:
        raise ValueError("not a host that others could call")
    return bare


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _unset(value: object) -> object:
    return None if value == "" else value


def _postgres_url(url: SecretStr) -> SecretStr:
    parts = urlsplit(url.get_secret_value())
    if parts.scheme not in {"postgres", "postgresql"} or not (parts.hostname or "host" in parse_qs(parts.query)):
        raise ValueError("not a PostgreSQL URL")
    # The driver ends the password at the first @, and quotes what it cannot decode: both would be told in public.
    if parts.netloc.count("@") > 1 or _BAD_ESCAPE.search(url.get_secret_value()):
        raise ValueError("not a PostgreSQL URL: write @ as %40 and % as %25 in the password")
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
MaybeSymbols = Annotated[tuple[str, ...], BeforeValidator(_maybe_symbols)]
DecimalBySymbol = Annotated[Mapping[str, Decimal], PlainValidator(read_decimals)]
PositiveBySymbol = Annotated[Mapping[str, Decimal], PlainValidator(read_positives)]
AmountBySymbol = Annotated[Mapping[str, Decimal], PlainValidator(read_amounts)]
CountBySymbol = Annotated[Mapping[str, int], PlainValidator(read_counts)]
IntensityBySymbol = Annotated[Mapping[str, str], PlainValidator(read_intensities)]
StyleBySymbol = Annotated[Mapping[str, str], PlainValidator(read_styles)]
DecimalByTier = Annotated[Mapping[int, Decimal], PlainValidator(read_tiers)]
DecimalsByAsset = Annotated[Mapping[str, int], PlainValidator(_assets)]
DecimalByAsset = Annotated[Mapping[str, Decimal], PlainValidator(_funds)]
LevelsBySymbol = Annotated[CountBySymbol, AfterValidator(_within(1, 50))]
BandBySymbol = Annotated[CountBySymbol, AfterValidator(_within(0, 10_000))]
Positive = Annotated[Decimal, PlainValidator(lambda value: _positive(str(value)))]
ImportPaths = Annotated[tuple[str, ...], PlainValidator(_import_paths)]
Pushes = Annotated[tuple[str, ...], PlainValidator(_pushes)]
Replays = Annotated[tuple[ReplayFile, ...], PlainValidator(_replays)]
FolderOrFile = Annotated[Path, AfterValidator(Path.expanduser)]
Address = Annotated[str, AfterValidator(_address)]
Addresses = Annotated[tuple[str, ...], PlainValidator(_addresses)]
MaybeHost = Annotated[Annotated[str, AfterValidator(_host)] | None, BeforeValidator(_unset)]
OptionalText = Annotated[str | None, BeforeValidator(_unset)]
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
    parts = urlsplit(text)
    passwords = [parts.password, *parse_qs(parts.query).get("password", ())]
    return (text, *(form for password in passwords if password for form in (password, unquote(password))))


def for_symbol(values: Mapping[str, Value], symbol: str) -> Value:
    """Return the value of a symbol: its own, else the one of its base against USD, else the default."""
    own = values.get(symbol, values.get(f"{symbol.partition('/')[0]}/USD"))
    return values[DEFAULT_KEY] if own is None else own
