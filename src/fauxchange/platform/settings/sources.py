"""Where settings come from, and what is said about those that are wrong.

Overrides (the command line) go before the environment, that before `.env`, that before the configuration file, that
before the caller's own defaults, those before the declared ones. In the environment and in `.env` an empty value
counts as not given. All that is wrong is reported at once.
"""

import difflib
import io
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dotenv.parser import parse_stream
from pydantic import ValidationError

from fauxchange.domain.errors import ConfigurationError
from fauxchange.platform.settings.declaring import DECLARED
from fauxchange.platform.settings.deployment import COMPOSE_VARIABLES, example_passwords, example_secrets
from fauxchange.platform.settings.model import Settings

# pydantic names a field by its alias where a value was given, and by its own name where the default is at fault.
_NAMES = {field_name: str(field.alias) for field_name, field in Settings.model_fields.items()}
_PREFIX = "FAUXCHANGE_"
_READ_BY_TESTS = frozenset({"FAUXCHANGE_TEST_SKIP_MISSING"})


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was written, and where."""

    value: object
    origin: str


Layer = dict[str, Given]


def load_settings(
    overrides: Mapping[str, object] | None = None,
    *,
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = None,
    defaults: Mapping[str, object] | None = None,
) -> Settings:
    """Read and check all settings.

    `environ` is the process's environment if None (pass `{}` to ignore it), `env_file` may be missing, and `defaults`
    are those of a command (the ports of the service it serves). Overrides that are None count as not given.

    Raises: ConfigurationError that names each bad variable, its value (unless secret) and what was expected
    """
    problems: dict[str, str] = {}
    layers = (
        _from_caller(defaults, "default", problems),
        _from_config_file(config_file, problems),
        read_env_file(env_file, problems),
        _from_environment(os.environ if environ is None else environ, problems),
        _from_caller(overrides, "option", problems),
    )
    given: Layer = {}
    for layer in layers:
        given |= layer
    settings, wrong = validated(given)
    problems |= wrong
    if settings is not None and settings.environment == "production":
        problems |= example_passwords(os.environ if environ is None else environ)
    if settings is None or problems:
        raise ConfigurationError(_told(problems), details=problems)
    return settings


def validated(given: Layer) -> tuple[Settings | None, dict[str, str]]:
    """Return the settings, or None and what is wrong, by variable."""
    try:
        settings = Settings.model_validate({name: item.value for name, item in given.items()})
        return settings, example_secrets(settings)
    except ValidationError as exc:
        problems: dict[str, str] = {}
        for error in exc.errors(include_url=False):
            if error["type"] == "default_factory_not_called":
                # AUDIT_PORT cannot follow from an HTTP_PORT that is itself wrong.
                continue
            name = _NAMES.get(str(error["loc"][0]), str(error["loc"][0]))
            problems.setdefault(name, _problem(name, given.get(name), error))
        return None, problems


def read_env_file(path: Path | None, problems: dict[str, str], compose: dict[str, str] | None = None) -> Layer:
    """Return the settings in a `.env`; a missing file gives none.

    What is wrong with it goes into `problems`, what `deploy/compose.yaml` reads into `compose`.
    """
    if path is None or not path.exists():
        return {}
    layer: Layer = {}
    for binding in parse_stream(_open_text(path)):
        # The parser counts from the blank lines that lead up to a binding.
        written = binding.original.string
        blank_lines = written[: len(written) - len(written.lstrip())].count("\n")
        where = f"{path.name} line {binding.original.line + blank_lines}"
        if binding.error or (binding.key is not None and binding.value is None):
            problems[where] = f"{where}: expected NAME=value"
        elif binding.key is None or binding.key in _READ_BY_TESTS:
            continue
        elif binding.key in COMPOSE_VARIABLES:
            if compose is not None and binding.value:
                compose[binding.key] = binding.value
        elif binding.key not in DECLARED:
            problems[binding.key] = _unknown(binding.key, where)
        elif binding.value:
            layer[binding.key] = Given(binding.value, where)
    return layer


def _from_environment(environ: Mapping[str, str], problems: dict[str, str]) -> Layer:
    for name in environ:
        if name.startswith(_PREFIX) and name not in DECLARED and name not in _READ_BY_TESTS:
            problems[name] = _unknown(name, "environment")
    return {name: Given(environ[name], "environment") for name in DECLARED if environ.get(name)}


def _from_config_file(path: Path | None, problems: dict[str, str]) -> Layer:
    if path is None:
        return {}
    try:
        document = _parsed(path)
    except (yaml.YAMLError, tomllib.TOMLDecodeError) as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc}") from exc
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path} must be a table of settings: NAME and value")
    return _from_caller({str(name): value for name, value in document.items()}, path.name, problems)


def _parsed(path: Path) -> Any:
    if path.suffix == ".toml":
        return tomllib.loads(_open_text(path).read())
    if path.suffix in {".yaml", ".yml"}:
        return yaml.safe_load(_open_text(path))
    raise ConfigurationError(f"{path} is neither .yaml, .yml nor .toml")


def _open_text(path: Path) -> io.StringIO:
    try:
        return io.StringIO(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{path} cannot be read: it is not UTF-8 text ({exc.reason})") from exc


def _from_caller(values: Mapping[str, object] | None, origin: str, problems: dict[str, str]) -> Layer:
    layer: Layer = {}
    for written, value in (values or {}).items():
        name = written.upper()
        if name not in DECLARED:
            problems[written] = _unknown(written, origin)
        elif name in layer:
            problems[name] = f"{name} ({origin}): stands there twice, in upper and lower case"
        elif value is not None:
            layer[name] = Given(value, origin)
    return layer


def _problem(name: str, given: Given | None, error: Mapping[str, Any]) -> str:
    declared = DECLARED[name]
    value, origin = (error["input"], "default") if given is None else (given.value, given.origin)
    shown = "(not shown)" if declared.secret else repr(value)
    told = f"{name}={shown} ({origin}): expected {declared.expected}"
    # pydantic's own words repeat what is expected; those of our readers say which part of a value is meant.
    if error["type"] == "value_error" and not declared.secret:
        told += f"; {error['ctx']['error']}"
    return told


def _unknown(name: str, origin: str) -> str:
    close = difflib.get_close_matches(name.upper().removeprefix(_PREFIX), DECLARED, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"{name} ({origin}): there is no such setting{hint}"


def _told(problems: Mapping[str, str]) -> str:
    count = "1 setting is" if len(problems) == 1 else f"{len(problems)} settings are"
    return "\n  ".join((f"{count} wrong:", *problems.values()))
