"""Free JSON documents: metadata of records, data of audit events, state of services.

A document comes back as it went in: numbers keep their kind and value, text its characters, keys their order. (Tuples
are JSON arrays and come back as lists.) What would not come back is refused before anything is stored.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from fauxchange.domain.errors import InvalidRequest

MAX_DEPTH = 64
"""Stores and parsers bound the nesting, each in its own place; this is well below the lowest of them."""
_MAX_INTEGER_BITS = 4_096


def check_document(document: object, *, field: str = "metadata") -> None:
    """Refuse a document that JSON could not carry unchanged.

    Raises: InvalidRequest with code `invalid_document` naming the place
    """
    if not isinstance(document, Mapping):
        raise _refused(field, field, "is not an object")
    _check(document, field, field, MAX_DEPTH)


def encode_document(document: Mapping[str, Any], *, field: str = "metadata") -> str:
    """Return the JSON text of a document. Raises: InvalidRequest as `check_document`."""
    check_document(document, field=field)
    return msgspec.json.encode(document, enc_hook=plain).decode()


def decode_document(text: str) -> dict[str, Any]:
    """Return the document that `encode_document` wrote."""
    return cast("dict[str, Any]", msgspec.json.decode(text))


def copy_document(document: Mapping[str, Any], *, field: str = "metadata") -> Mapping[str, Any]:
    """Return a copy that shares nothing with the original. Raises: InvalidRequest as `check_document`."""
    return decode_document(encode_document(document, field=field)) if document else {}


def plain(value: object) -> object:
    """Return the built-in form of a mapping, text or number of another class, for the JSON encoder."""
    if isinstance(value, Mapping):
        return dict(value)
    for builtin in (str, int, float):
        if isinstance(value, builtin):
            return builtin(value)
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")


def _check(value: object, field: str, place: str, depth: int) -> None:
    if isinstance(value, str):
        _check_text(value, field, place)
    elif isinstance(value, int):
        if value.bit_length() > _MAX_INTEGER_BITS:
            raise _refused(field, place, f"has more than {_MAX_INTEGER_BITS} bits")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _refused(field, place, f"is {value}, which JSON has no number for")
    elif isinstance(value, Mapping | list | tuple):
        if depth == 0:
            raise _refused(field, place, f"is nested deeper than {MAX_DEPTH} levels")
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            _check(item, field, f"{place}.{key}", depth - 1)
            if isinstance(value, Mapping):
                _check_key(key, field, place)
    elif value is not None:
        raise _refused(field, place, f"is of type {type(value).__name__}, which JSON cannot carry")


def _check_key(key: object, field: str, place: str) -> None:
    if not isinstance(key, str):
        raise _refused(field, place, f"has the key {key!r}, and keys of JSON objects are text")
    _check_text(key, field, place)


def _check_text(text: str, field: str, place: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise _refused(field, place, "holds half of a surrogate pair") from exc


def _refused(field: str, place: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{place} {reason}", code="invalid_document", field=field)
