"""Scenarios from outside: YAML and TOML files, and the JSON of requests.

    scenarios:
      - kind: crash
        symbols: [BTC-USD]
        magnitude: 20%
        duration: 10m
        start: 1h

Everything that is wrong is reported at once, each with its field and, in a file, its line (and column in YAML).
"""

import difflib
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.instruments import parse_symbol
from fauxchange.domain.times import parse_duration
from fauxchange.services.market_data.core.located import Located, located_json, located_toml, located_yaml
from fauxchange.services.market_data.core.scenarios import (
    FILE_NAMES,
    OPTIONS,
    Direction,
    InvalidScenario,
    Problem,
    ScenarioKind,
    ScenarioSpec,
    Shape,
)

MAX_SCENARIOS = 100
MAX_EXPONENT = 30
MAX_DURATION_TEXT = 40
MAX_SHOWN = 60
ROOT_KEYS = ("description", "scenarios")


def specs_from_text(text: str, *, file_name: str) -> tuple[ScenarioSpec, ...]:
    """Return the scenarios of a file; its name says whether it is TOML (`.toml`) or YAML (anything else).

    Raises: InvalidScenario with everything that is wrong and where
    """
    try:
        root = located_toml(text) if file_name.endswith(".toml") else located_yaml(text)
        return _specs(root, taken=(), whole_file=True)
    except InvalidScenario as exc:
        problems = sorted(exc.problems, key=lambda problem: (problem.line or 0, problem.column or 0))
        raise InvalidScenario(problems, source=file_name) from exc


def specs_from_mapping(document: Mapping[str, Any], *, taken: Collection[str] = ()) -> tuple[ScenarioSpec, ...]:
    """Return the scenarios of decoded JSON: one scenario, or `{"scenarios": [...]}`.

    A scenario without an id gets its kind and a number that is neither in `taken` nor used beside it.

    Raises: InvalidScenario with everything that is wrong
    """
    return _specs(located_json(document), taken=taken, whole_file=False)


def spec_from_mapping(document: Mapping[str, Any], *, taken: Collection[str] = ()) -> ScenarioSpec:
    """Return the one scenario of decoded JSON. Raises: InvalidScenario with everything that is wrong."""
    reader = _Reader(located_json(document), "")
    return _finished([reader], taken=taken)[0]


class _Wrong(Exception):
    """A value is not what its field wants."""


class _Reader:
    """One scenario as it is read: its values as far as they can be, and what is wrong."""

    def __init__(self, node: Located, prefix: str) -> None:
        self._node = node
        self._prefix = prefix
        self.values: dict[str, Any] = {}
        self.problems: list[Problem] = []
        if not isinstance(node.value, dict):
            self._report("", "is not a mapping of fields to values")
            return
        for key, child in node.value.items():
            self._read(key, child)
        for key in ("kind", "duration"):
            if key not in node.value:
                self._report(key, "is missing")
        kind = self.values.get("kind")
        if kind not in {None, ScenarioKind.REVERTING} and "magnitude" not in node.value:
            self._report("magnitude", "is missing")

    @property
    def id(self) -> str | None:
        """The id that is asked for."""
        return self.values.get("id")

    def spec(self, scenario_id: str) -> ScenarioSpec | None:
        """Return the specification, or None if anything is wrong."""
        if self.problems:
            return None
        try:
            return ScenarioSpec(**{**self.values, "id": scenario_id})
        except InvalidScenario as exc:
            for problem in exc.problems:
                self._report(problem.field, problem.message)
            return None

    def report_id(self, message: str) -> None:
        """Note that the id cannot be used."""
        self._report("id", message)

    def _read(self, key: str, child: Located) -> None:
        field = _FIELDS.get(key)
        if field is None:
            line, column = self._node.keys.get(key, (None, None))
            self.problems.append(Problem(self._prefix + key, _unknown(key, _FIELDS), line, column))
            return
        name, convert = field
        kind = self._kind()
        special = name in _SPECIAL and kind is not None and name not in OPTIONS[kind]
        if special:
            owners = " and ".join(str(owner) for owner in ScenarioKind if name in OPTIONS[owner])
            self._report(key, f"a {kind} has no such option, which belongs to {owners}")
            return
        try:
            self.values[name] = convert(child)
        except _Wrong as exc:
            self._report(key, str(exc))
        except InvalidRequest as exc:
            self._report(key, exc.message)

    def _kind(self) -> ScenarioKind | None:
        node = self._node.value.get("kind")
        text = "" if node is None else str(node.plain())
        return ScenarioKind(text) if text in set(ScenarioKind) else None

    def _report(self, path: str, message: str) -> None:
        place = self._node.find(path) if path else self._node
        full = self._prefix + path if path else self._prefix.removesuffix(".")
        self.problems.append(place.problem(full, message))


def _specs(root: Located, *, taken: Collection[str], whole_file: bool) -> tuple[ScenarioSpec, ...]:
    if not isinstance(root.value, dict):
        raise InvalidScenario([root.problem("", "is not a mapping with the key `scenarios`")])
    if "scenarios" not in root.value and not whole_file:
        return _finished([_Reader(root, "")], taken=taken)
    problems = [
        Problem(key, _unknown(key, ROOT_KEYS), *root.keys.get(key, (None, None)))
        for key in root.value
        if key not in ROOT_KEYS
    ]
    entries = root.find("scenarios")
    if "scenarios" not in root.value:
        problems.append(root.problem("scenarios", "is missing"))
    elif not isinstance(entries.value, list) or not 1 <= len(entries.value) <= MAX_SCENARIOS:
        problems.append(entries.problem("scenarios", f"is not a list of 1 to {MAX_SCENARIOS} scenarios"))
    else:
        readers = [_Reader(entry, f"scenarios[{index}].") for index, entry in enumerate(entries.value)]
        return _finished(readers, taken=taken, problems=problems)
    raise InvalidScenario(problems)


def _finished(
    readers: list[_Reader], *, taken: Collection[str], problems: Collection[Problem] = ()
) -> tuple[ScenarioSpec, ...]:
    """Return the specifications of all readers, with ids for those that have none."""
    found = list(problems)
    asked = [reader.id for reader in readers if reader.id is not None]
    used = {*taken, *asked}
    specs = []
    for index, reader in enumerate(readers):
        scenario_id = reader.id
        if scenario_id is None:
            scenario_id = _free_id(str(reader.values.get("kind", "scenario")), used)
            used.add(scenario_id)
        elif scenario_id in [earlier.id for earlier in readers[:index]]:
            reader.report_id(f"{scenario_id} is the id of another scenario")
        spec = reader.spec(scenario_id)
        found.extend(reader.problems)
        if spec is not None:
            specs.append(spec)
    if found:
        raise InvalidScenario(found)
    return tuple(specs)


def _free_id(kind: str, used: Collection[str]) -> str:
    number = 1
    while f"{kind}-{number}" in used:
        number += 1
    return f"{kind}-{number}"


def _unknown(key: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"is not a known field (did you mean {close[0]}?)" if close else "is not a known field"


def _text(node: Located) -> str:
    value = node.plain()
    if not isinstance(value, str) or not value:
        raise _Wrong(f"{_shown(value)} is not text")
    return value


def _number(node: Located) -> float:
    return float(_decimal(node.plain()))


def _fraction(node: Located) -> float:
    value = node.plain()
    if isinstance(value, str) and value.rstrip().endswith("%"):
        return float(_decimal(value.rstrip().removesuffix("%")) / 100)
    return float(_decimal(value))


def _decimal(value: Any) -> Decimal:
    # Decimals are exact until the very end, so that 99.99% is the float nearest to 0.9999.
    try:
        number = Decimal("nan" if isinstance(value, bool) else str(value))
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or abs(number.adjusted()) > MAX_EXPONENT:
        raise _Wrong(f"{_shown(value)} is not a number")
    return number


def _whole(node: Located) -> int:
    number = _number(node)
    if number != int(number):
        raise _Wrong(f"{_shown(node.plain())} is not a whole number")
    return int(number)


def _duration(node: Located) -> int:
    value = node.plain()
    if not isinstance(value, str) or len(value) > MAX_DURATION_TEXT:
        raise _Wrong(f"{_shown(value)} is not a duration with a unit, such as 90s, 10m or 1h30m")
    return parse_duration(value)


def _symbols(node: Located) -> tuple[str, ...]:
    texts = node.value if isinstance(node.value, list) else [node]
    return tuple(parse_symbol(_text(each)) for each in texts)


def _choice(choices: type[StrEnum]) -> Callable[[Located], StrEnum]:
    def convert(node: Located) -> StrEnum:
        text = str(node.plain())
        if text not in set(choices):
            close = difflib.get_close_matches(text, list(choices), n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise _Wrong(f"{_shown(text)} is not one of {', '.join(choices)}{hint}")
        return choices(text)

    return convert


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


_CONVERSIONS: Mapping[str, Callable[[Located], Any]] = {
    "id": _text,
    "kind": _choice(ScenarioKind),
    "symbols": _symbols,
    "magnitude": _fraction,
    "duration_ns": _duration,
    "start_offset_ns": _duration,
    "shape": _choice(Shape),
    "buildup_ns": _duration,
    "aftershock_ns": _duration,
    "volatility": _number,
    "decay": _number,
    "jumps": _whole,
    "jump_share": _fraction,
    "rejoin_ns": _duration,
    "decoupling": _fraction,
    "direction": _choice(Direction),
    "against": _symbols,
    "level": _number,
}
_FIELDS = {FILE_NAMES.get(name, name): (name, convert) for name, convert in _CONVERSIONS.items()}
_SPECIAL = frozenset[str]().union(*OPTIONS.values())
