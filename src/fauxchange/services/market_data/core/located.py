"""Documents whose every value knows where it stands: YAML with line and column, TOML with the line, JSON with neither.

Only plain data is read. What could make a small text grow large or deep (YAML's anchors, aliases and tags, nesting
beyond need, size beyond 64 KiB) is refused before anything is built from it.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from fauxchange.services.market_data.core.scenarios import InvalidScenario, Problem

MAX_BYTES = 65_536
MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Located:
    """A scalar, a list of `Located` or a mapping of text to `Located`, and where it begins.

    `keys` holds, of a mapping read from a file, where each key stands.
    """

    value: Any
    line: int | None = None
    column: int | None = None
    keys: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict)

    def find(self, path: str) -> "Located":
        """Return the value at a path such as `symbols[1]`, or the innermost one that exists on the way to it."""
        found = self
        for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
            if name and isinstance(found.value, dict) and name in found.value:
                found = found.value[name]
            elif index and isinstance(found.value, list) and int(index) < len(found.value):
                found = found.value[int(index)]
            else:
                break
        return found

    def plain(self) -> Any:
        """Return the value as it would be without places."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def problem(self, path: str, message: str) -> Problem:
        """Return a problem of this value."""
        return Problem(path, message, self.line, self.column)


def located_json(value: Any) -> Located:
    """Return decoded JSON as a document that knows no lines. Raises: InvalidScenario if it is nested too deep."""
    return _plain(value, {}, (), 0)


def located_yaml(text: str) -> Located:
    """Return a YAML document.

    Raises: InvalidScenario if the text is not YAML, not plain data, or too large
    """
    _check_size(text)
    try:
        _check_events(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line, column = _mark(mark)
        raise InvalidScenario([Problem("", f"not YAML: {exc.problem or exc.context}", line, column)]) from exc
    except yaml.YAMLError as exc:
        raise InvalidScenario([Problem("", f"not YAML: {exc}")]) from exc
    if node is None:
        raise InvalidScenario([Problem("", "the file is empty")])
    return _from_yaml(node)


def located_toml(text: str, *, max_bytes: int = MAX_BYTES) -> Located:
    """Return a TOML document.

    Raises: InvalidScenario if the text is not TOML or too large
    """
    _check_size(text, max_bytes)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        match = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", str(exc), re.DOTALL)
        message, line, column = match.groups() if match else (str(exc), None, None)
        place = (int(line), int(column)) if line and column else (text.count("\n") + 1, None)
        raise InvalidScenario([Problem("", f"not TOML: {message}", *place)]) from exc
    except RecursionError:
        raise InvalidScenario([Problem("", f"nested deeper than {MAX_DEPTH} levels")]) from None
    return _plain(document, _toml_lines(text), (), 0)


def _check_size(text: str, max_bytes: int = MAX_BYTES) -> None:
    size = len(text.encode())
    if size > max_bytes:
        raise InvalidScenario([Problem("", f"{size} bytes are more than the {max_bytes} that such a file may have")])


# YAML


def _check_events(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line, column = _place(event)
        anchored = isinstance(event, yaml.NodeEvent) and event.anchor is not None
        if anchored or isinstance(event, yaml.AliasEvent):
            raise InvalidScenario([Problem("", "anchors and aliases are not allowed: write it out", line, column)])
        if getattr(event, "tag", None) is not None:
            raise InvalidScenario([Problem("", "tags are not allowed: write plain values", line, column)])
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise InvalidScenario([Problem("", f"nested deeper than {MAX_DEPTH} levels", line, column)])


def _place(part: yaml.Event | yaml.Node) -> tuple[int | None, int | None]:
    return _mark(part.start_mark)


def _mark(mark: Any) -> tuple[int | None, int | None]:
    # What the parser in C and the one in Python leave are of two classes with the same attributes.
    return (None, None) if mark is None else (mark.line + 1, mark.column + 1)


def _from_yaml(node: yaml.Node) -> Located:
    line, column = _place(node)
    if isinstance(node, yaml.SequenceNode):
        return Located([_from_yaml(child) for child in node.value], line, column)
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Located] = {}
        keys: dict[str, tuple[int | None, int | None]] = {}
        for key, child in node.value:
            place = _place(key)
            if not isinstance(key, yaml.ScalarNode):
                raise InvalidScenario([Problem("", "a key is plain text", *place)])
            if key.value in values:
                raise InvalidScenario([Problem(key.value, "is given twice", *place)])
            values[key.value] = _from_yaml(child)
            keys[key.value] = place
        return Located(values, line, column, keys)
    return Located(_yaml_scalar(node), line, column)


def _yaml_scalar(node: yaml.Node) -> Any:
    kind = str(node.tag).rpartition(":")[2]
    text = str(node.value)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in {"true", "yes", "on"}
    # Numbers stay text here unless they are written as everybody writes them: YAML reads 10:00 as 600.
    if kind in {"int", "float"} and re.fullmatch(r"[-+]?\d{1,18}(\.\d*)?([eE][-+]?\d{1,3})?", text):
        return int(text) if kind == "int" else float(text)
    return text


# TOML and JSON

_Path = tuple[str | int, ...]


def _plain(value: Any, lines: Mapping[_Path, int], path: _Path, line: int) -> Located:
    if len(path) > MAX_DEPTH:
        raise InvalidScenario([Problem("", f"nested deeper than {MAX_DEPTH} levels", line or None)])
    line = lines.get(path, line)
    place = line or None
    if isinstance(value, dict):
        values = {str(key): _plain(child, lines, (*path, str(key)), line) for key, child in value.items()}
        return Located(values, place, None, {key: (child.line, None) for key, child in values.items()})
    if isinstance(value, list | tuple):
        return Located([_plain(child, lines, (*path, index), line) for index, child in enumerate(value)], place)
    return Located(value, place)


_TOML_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.\-\"' ]+?)\s*\]\]?\s*(?:#.*)?")
_TOML_KEY = re.compile(r"\s*([A-Za-z0-9_\-]+|\"[^\"]*\"|'[^']*')\s*=")


def _toml_lines(text: str) -> dict[_Path, int]:
    """Return the line of each table and key of a valid TOML text, as far as each stands on a line of its own."""
    lines: dict[_Path, int] = {}
    counts: dict[str, int] = {}
    table: _Path = ()
    for number, line in _toml_statements(text):
        header = _TOML_HEADER.fullmatch(line)
        if header is not None:
            name = header[2].strip("\"' ")
            table = tuple(part.strip("\"' ") for part in name.split("."))
            if header[1] == "[[":
                counts[name] = counts.get(name, -1) + 1
                table = (name, counts[name])
                lines.setdefault((name,), number)
            lines[table] = number
        elif (key := _TOML_KEY.match(line)) is not None:
            lines[(*table, key[1].strip("\"'"))] = number
    return lines


def _toml_statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines at which a statement begins, leaving out what lies inside long strings and open brackets."""
    closing, depth = "", 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not closing and depth == 0:
            yield number, line
        # Strings first, so that a quoted bracket or hash counts for nothing.
        for token in re.findall(r'"""|\'\'\'|"(?:\\.|[^"\\])*"|\'[^\']*\'|#.*|[\[\]{}]', line):
            if closing:
                closing = "" if token == closing else closing
            elif token in {'"""', "'''"}:
                closing = token
            elif token.startswith("#"):
                break
            elif token in {"[", "{"}:
                depth += 1
            elif token in {"]", "}"}:
                depth -= 1
