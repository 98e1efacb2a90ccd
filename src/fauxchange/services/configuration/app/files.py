"""The file of a first start: what services declare that are not ours, and the values that keys begin with."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from fauxchange.contracts.configuration.messages import ServiceText, TypeName
from fauxchange.domain.configuration import Declaration, ServiceSchema, ValueType, read_value, type_of
from fauxchange.domain.errors import ConfigurationError, FauxchangeError, InvariantViolation
from fauxchange.services.configuration.service.configuration import Place, Seed

MAX_BYTES = 1 << 20


class _Declared(msgspec.Struct, forbid_unknown_fields=True):
    type: TypeName
    description: str = ""
    minimum: str | int | float | None = None
    maximum: str | int | float | None = None
    choices: list[str] = []
    pattern: str | None = None


class _Schema(msgspec.Struct, forbid_unknown_fields=True):
    keys: dict[str, _Declared] = {}
    open: bool = False


class _File(msgspec.Struct, forbid_unknown_fields=True):
    schemas: dict[ServiceText, _Schema] = {}
    values: dict[ServiceText, dict[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class ConfigurationFile:
    """What a file says: schemas by service, and the values that nobody has set yet begin with."""

    schemas: Mapping[str, ServiceSchema]
    seeds: Sequence[Seed]


def read_configuration_file(path: Path, *, environment: str, known: Mapping[str, ServiceSchema]) -> ConfigurationFile:
    """Read schemas and values of a YAML or TOML file; `known` are the schemas of our own services.

    Raises: ConfigurationError that names what is wrong
    """
    try:
        parsed = msgspec.convert(_document(path), _File)
    except msgspec.ValidationError as exc:
        raise ConfigurationError(f"{path}: {exc}") from exc
    schemas = dict(known)
    for service, schema in parsed.schemas.items():
        if service in known:
            raise ConfigurationError(f"{path}: {service} declares its own keys; give it values only")
        declarations = tuple(_declaration(path, service, name, given) for name, given in schema.keys.items())
        schemas[service] = ServiceSchema(service, declarations, is_open=schema.open)
    seeds = [
        _seed(path, (service, environment, key), value, schemas.get(service))
        for service, values in parsed.values.items()
        for key, value in values.items()
    ]
    return ConfigurationFile(schemas, seeds)


def _document(path: Path) -> Any:
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_BYTES:
        raise ConfigurationError(f"{path} has more than {MAX_BYTES} bytes")
    try:
        if path.suffix == ".toml":
            return tomllib.loads(data.decode())
        return yaml.safe_load(data.decode()) or {}
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError, RecursionError) as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc}") from exc


def _declaration(path: Path, service: str, name: str, given: _Declared) -> Declaration:
    kind = ValueType(given.type)
    try:
        bounds = [None if bound is None else str(read_value(kind, bound)) for bound in (given.minimum, given.maximum)]
        return Declaration(
            name,
            kind,
            given.description,
            minimum=bounds[0],
            maximum=bounds[1],
            choices=tuple(given.choices),
            pattern=given.pattern,
        )
    except (FauxchangeError, InvariantViolation) as exc:
        raise ConfigurationError(f"{path}: {name} of {service}: {exc}") from exc


def _seed(path: Path, named: tuple[str, str, str], value: Any, schema: ServiceSchema | None) -> Seed:
    try:
        place = Place.of(*named)
        declaration = None if schema is None else schema.declaration_of(place.key)
        if declaration is not None:
            return Seed(place=place, type=declaration.type, value=declaration.checked(place.key, value))
        kind = type_of(value)
        return Seed(place=place, type=kind, value=read_value(kind, value, key=place.key))
    except FauxchangeError as exc:
        raise ConfigurationError(f"{path}: {named[2]} of {named[0]}: {exc.message}") from exc
