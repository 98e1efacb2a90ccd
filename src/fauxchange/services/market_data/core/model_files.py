"""Model files: the parameters of symbols as TOML that people can read, edit and keep under version control.

    format = 1

    [symbols.BTC]
    sigma = 0.00027
    weights = [0.4058, 0.2229, 0.0888, 0.0977, 0.0, 0.164, 0.0307]

A section is named by a base asset, and then stands for every symbol of that base, or by a symbol (`BTC-USD`), and
then goes before it. A number that a section leaves out is the shipped one of that base; a symbol without a section
keeps the shipped set. Everything that is wrong is reported at once, each with its field and its line.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fauxchange.domain.errors import ConfigurationError, InvalidRequest
from fauxchange.domain.instruments import parse_symbol, path_symbol
from fauxchange.services.market_data.core.located import Located, located_json, located_toml
from fauxchange.services.market_data.core.parameters import (
    DOLLARS,
    FACTORS,
    HOURS,
    LmvParameters,
    LmvTable,
    default_table,
)
from fauxchange.services.market_data.core.scenarios import InvalidScenario, Problem

FORMAT = 1
MAX_BYTES = 1 << 20
ROOT_KEYS = ("format", "made_by", "law", "symbols")
INITIAL_PRICE, SOURCE, VOLUME = "initial_price", "source", "volume"
WRAP_AT = 110
MOST_TOLD = 1e300


class InvalidModel(ConfigurationError):
    """A model file or a set of parameters cannot be what it says; `problems` holds everything that is wrong."""

    code = "invalid_model"

    def __init__(self, problems: Sequence[Problem], *, source: str = "") -> None:
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"model file {source}:\n{lines}" if source else "; ".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Within what a number lies, and how many of them there are (None: a single one)."""

    low: float
    high: float
    many: int | None = None


PARAMETER_BOUNDS: Mapping[str, Bounds] = {
    "sigma": Bounds(1e-9, 1.0),
    "season": Bounds(1e-3, 100.0, HOURS),
    "weights": Bounds(0.0, 10.0, FACTORS),
    "leverage": Bounds(-1.0, 1.0),
    "jump_rate": Bounds(0.0, 10.0),
    "jump_scale": Bounds(0.0, 100.0),
    "market_loading": Bounds(0.0, 0.999),
    "volatility_loading": Bounds(-0.999, 0.999),
    "drift": Bounds(-0.1, 0.1),
}
VOLUME_BOUNDS: Mapping[str, Bounds] = {
    "level": Bounds(-100.0, 100.0),
    "season": Bounds(1e-3, 100.0, HOURS),
    "weights": Bounds(0.0, 10.0, FACTORS),
    "noise": Bounds(0.0, 10.0),
    "volatility_power": Bounds(0.0, 5.0),
    "return_effect": Bounds(0.0, 5.0),
    "mean_log_volatility": Bounds(-10.0, 10.0),
}
LAW_BOUNDS: Mapping[str, Bounds] = {
    "factor_minutes": Bounds(0.1, 1e6, FACTORS),
    "trend_minutes": Bounds(0.1, 1e6),
    "feedback": Bounds(0.0, 1.0),
    "trend_cap": Bounds(0.0, 1000.0),
    "log_variance_cap": Bounds(0.0, 20.0),
}
PRICE_BOUNDS = Bounds(1e-12, 1e12)

NOTES: Mapping[str, str] = {
    "factor_minutes": "time constants of the volatility factors and of those of volume, in minutes",
    "trend_minutes": "memory of the trend whose size raises volatility, in minutes",
    "feedback": "how much the trend raises volatility",
    "trend_cap": "largest squared trend that counts",
    "log_variance_cap": "largest log variance over the usual one",
    "initial_price": "price at which a first run starts, in the quote currency of the file; INITIAL_PRICES goes before",
    "sigma": "standard deviation of a one-minute log return before volatility moves",
    "season": "volatility by UTC hour from 0 to 23, with mean about 1",
    "weights": "variance of log variance by factor, from the quickest to the slowest",
    "leverage": "correlation of returns with the changes of volatility that follow",
    "jump_rate": "jumps per minute",
    "jump_scale": "mean size of a jump, in units of the one-minute volatility of the moment",
    "market_loading": "correlation of the returns with the market's",
    "volatility_loading": "correlation of the volatility factors with the market's",
    "drift": "mean log return per minute",
}
VOLUME_NOTES: Mapping[str, str] = {
    "level": "ln of the base asset traded per minute",
    "season": "volume by UTC hour from 0 to 23",
    "weights": "variance of log volume by factor that volatility does not explain",
    "noise": "variance of log volume from minute to minute",
    "volatility_power": "by which power of volatility volume grows",
    "return_effect": "how much a large return raises the volume of its minute",
    "mean_log_volatility": "mean of ln volatility, which the level counts from",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolModel:
    """One section of a model file.

    Units: initial_price in the quote currency that `source` names, None where the file has none
    `source` says what the parameters were fitted on: plain values, for people.
    """

    parameters: LmvParameters
    initial_price: float | None = None
    source: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model file: the table that a model runs on, and the sections as they were written by name."""

    table: LmvTable
    sections: Mapping[str, SymbolModel]
    made_by: Mapping[str, Any] = field(default_factory=dict)

    def initial_price(self, symbol: str) -> float | None:
        """Return the first price that the file has for a symbol, None if it has none in that quote currency."""
        base, quote = symbol.split("/")
        for name in (symbol, base):
            section = self.sections.get(name)
            if section is not None:
                of = str(section.source.get("quote", quote))
                same = of == quote or (of in DOLLARS and quote in DOLLARS)
                return section.initial_price if same else None
        return None


def read_model(path: Path, base: LmvTable | None = None) -> ModelFile:
    """Read a model file; what it leaves out is that of `base` (default: the shipped table).

    Raises: InvalidModel with everything that is wrong; ConfigurationError if the file cannot be read
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode()
    except OSError as exc:
        raise ConfigurationError(f"model file {path} cannot be read: {exc.strerror}", code="invalid_model") from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError(
            f"model file {path} is not UTF-8 text: byte {exc.start}", code="invalid_model"
        ) from exc
    return model_from_text(text, file_name=str(path), base=base)


def model_from_text(text: str, *, file_name: str, base: LmvTable | None = None) -> ModelFile:
    """Return the model in a TOML text. Raises: InvalidModel with everything that is wrong and where."""
    try:
        root = located_toml(text, max_bytes=MAX_BYTES)
    except InvalidScenario as exc:
        raise InvalidModel(exc.problems, source=file_name) from exc
    reader = _Reader()
    model = reader.model(root, base or default_table())
    if reader.problems:
        raise InvalidModel(sorted(reader.problems, key=lambda problem: problem.line or 0), source=file_name)
    return model


def parameters_from_mapping(document: Any, base: LmvParameters) -> LmvParameters:
    """Return the parameters of one symbol from decoded JSON; what it leaves out is as in `base`.

    Raises: InvalidModel with everything that is wrong
    """
    reader = _Reader()
    try:
        node = located_json(document)
    except InvalidScenario as exc:
        raise InvalidModel(exc.problems) from exc
    if isinstance(node.value, dict):
        parameters = reader.section(node, "", base).parameters
    else:
        parameters = base
        reader.report(node, "", "is not an object of parameters")
    if reader.problems:
        raise InvalidModel(reader.problems)
    return parameters


def parameters_to_mapping(parameters: LmvParameters) -> dict[str, Any]:
    """Return parameters as a document that `parameters_from_mapping` reads; floats stay exact."""
    document = {name: _plain(getattr(parameters, name)) for name in PARAMETER_BOUNDS}
    return {**document, VOLUME: {name: _plain(getattr(parameters.volume, name)) for name in VOLUME_BOUNDS}}


def dump_model(model: ModelFile, *, heading: str = "") -> str:
    """Return a model file as text; reading it gives the same parameters to the bit."""
    lines = [f"# {line}".rstrip() for line in (heading or "A price model of Fauxchange.").splitlines()]
    lines += ["", f"format = {FORMAT}"]
    if model.made_by:
        lines += ["", "[made_by]", *_entries(model.made_by)]
    shared = {name: _plain(getattr(model.table, name)) for name in LAW_BOUNDS}
    lines += ["", "[law]", *_entries(shared, NOTES)]
    for name, section in model.sections.items():
        key = path_symbol(name)
        document = parameters_to_mapping(section.parameters)
        volume = document.pop(VOLUME)
        price = {} if section.initial_price is None else {INITIAL_PRICE: section.initial_price}
        lines += ["", f"[symbols.{key}]", *_entries({**price, **document}, NOTES)]
        lines += ["", f"[symbols.{key}.{VOLUME}]", *_entries(volume, VOLUME_NOTES)]
        if section.source:
            lines += ["", f"[symbols.{key}.{SOURCE}]", *_entries(section.source)]
    return "\n".join(lines) + "\n"


class _Reader:
    """A model file as it is read, and what is wrong with it."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def report(self, node: Located, path: str, message: str) -> None:
        self.problems.append(node.problem(path, message))

    def model(self, root: Located, base: LmvTable) -> ModelFile:
        self._check_keys(root, "", ROOT_KEYS)
        found = root.value.get("format")
        if found is None:
            self.report(root, "format", f"is missing; this version writes format = {FORMAT}")
        elif found.value != FORMAT or isinstance(found.value, bool):
            self.report(found, "format", f"{_shown(found.value)} is not one that this version reads, which is {FORMAT}")
        law = self._numbers(root.value.get("law"), "law", LAW_BOUNDS)
        sections: dict[str, SymbolModel] = {}
        symbols = root.value.get("symbols")
        if symbols is None or not isinstance(symbols.value, dict) or not symbols.value:
            self.report(symbols or root, "symbols", "has no section such as [symbols.BTC]")
        else:
            for key, node in symbols.value.items():
                name = self._name(key, node)
                if name in sections:
                    self.report(node, f"symbols.{key}", f"is a second section of {path_symbol(name)}")
                elif name is not None:
                    sections[name] = self._section_of(node, f"symbols.{key}", base.of(name))
        of_base = {name: each.parameters for name, each in sections.items() if "/" not in name}
        of_symbol = {name: each.parameters for name, each in sections.items() if "/" in name}
        table = replace(base, **law, by_base={**base.by_base, **of_base}, by_symbol={**base.by_symbol, **of_symbol})
        made_by = self._told(root, "made_by", "made_by")
        return ModelFile(table=table, sections=sections, made_by=made_by)

    def section(self, node: Located, path: str, base: LmvParameters) -> SymbolModel:
        """Return the model of a section, which is a mapping."""
        prefix = f"{path}." if path else ""
        self._check_keys(node, prefix, (*PARAMETER_BOUNDS, VOLUME, INITIAL_PRICE, SOURCE))
        own = self._numbers(node, path, PARAMETER_BOUNDS, strict=False)
        volume = self._numbers(node.value.get(VOLUME), f"{prefix}{VOLUME}", VOLUME_BOUNDS)
        price_node = node.value.get(INITIAL_PRICE)
        price = None if price_node is None else self._number(price_node, f"{prefix}{INITIAL_PRICE}", PRICE_BOUNDS)
        return SymbolModel(
            parameters=replace(base, **own, volume=replace(base.volume, **volume)),
            initial_price=price,
            source=self._told(node, SOURCE, f"{prefix}{SOURCE}"),
        )

    def _told(self, node: Located, key: str, path: str) -> Mapping[str, Any]:
        """Return a table that is for people, as it is."""
        told = node.value.get(key)
        if told is None:
            return {}
        if not isinstance(told.value, dict):
            self.report(told, path, "is not a table")
            return {}
        plain: dict[str, Any] = told.plain()
        return plain

    def _section_of(self, node: Located, path: str, base: LmvParameters) -> SymbolModel:
        if isinstance(node.value, dict):
            return self.section(node, path, base)
        self.report(node, path, "is not a table of parameters")
        return SymbolModel(parameters=base)

    def _name(self, key: str, node: Located) -> str | None:
        """Return the base asset or the symbol that a section is of."""
        try:
            if "-" in key or "/" in key:
                return parse_symbol(key)
            return parse_symbol(f"{key}-USD").partition("/")[0]
        except InvalidRequest:
            self.report(node, f"symbols.{key}", "is neither an asset such as BTC nor a symbol such as BTC-USD")
            return None

    def _check_keys(self, node: Located, prefix: str, known: Sequence[str]) -> None:
        for key in node.value:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                line, column = node.keys.get(key, (None, None))
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                self.problems.append(Problem(prefix + key, f"is not a known field ({hint})", line, column))

    def _numbers(
        self, node: Located | None, path: str, bounds: Mapping[str, Bounds], *, strict: bool = True
    ) -> dict[str, Any]:
        """Return the values of a table that are there and right."""
        if node is None:
            return {}
        if not isinstance(node.value, dict):
            self.report(node, path, "is not a table")
            return {}
        prefix = f"{path}." if path else ""
        if strict:
            self._check_keys(node, prefix, tuple(bounds))
        read: dict[str, Any] = {}
        for name, within in bounds.items():
            child = node.value.get(name)
            if child is None:
                continue
            value = (
                self._list(child, prefix + name, within) if within.many else self._number(child, prefix + name, within)
            )
            if value is not None:
                read[name] = value
        return read

    def _list(self, node: Located, path: str, within: Bounds) -> tuple[float, ...] | None:
        if not isinstance(node.value, list) or len(node.value) != within.many:
            self.report(node, path, f"is not a list of {within.many} numbers")
            return None
        numbers = [self._number(child, f"{path}[{index}]", within) for index, child in enumerate(node.value)]
        return None if None in numbers else tuple(number for number in numbers if number is not None)

    def _number(self, node: Located, path: str, within: Bounds) -> float | None:
        value = node.value
        # An integer may have more digits than a float can hold: it is compared as it is.
        if isinstance(value, bool) or not isinstance(value, int | float) or not -math.inf < value < math.inf:
            self.report(node, path, f"{_shown(value)} is not a number")
            return None
        if not within.low <= value <= within.high:
            told = f"{value:g}" if abs(value) < MOST_TOLD else "a number so large"
            self.report(node, path, f"{told} is not within {within.low:g} and {within.high:g}")
            return None
        return float(value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    text = "a table" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _entries(values: Mapping[str, Any], notes: Mapping[str, str] | None = None) -> list[str]:
    lines: list[str] = []
    for name, value in values.items():
        if notes and name in notes:
            lines.append(f"# {notes[name]}")
        lines.append(_wrapped(f"{name} = ", value))
    return lines


def _wrapped(start: str, value: Any) -> str:
    text = start + _toml(value)
    if len(text) <= WRAP_AT or not isinstance(value, list | tuple):
        return text
    half = len(value) // 2
    rows = (value[:half], value[half:])
    return "\n".join([f"{start}[", *(f"    {', '.join(map(_toml, row))}," for row in rows), "]"])


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return _toml_text(str(value))


def _toml_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in escaped) + '"'
