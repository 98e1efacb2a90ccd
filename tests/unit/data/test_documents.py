"""Which documents are carried, and how a refusal names the place."""

from enum import StrEnum
from types import MappingProxyType
from typing import Any

import pytest

from fauxchange.data.documents import MAX_DEPTH, check_document, copy_document, decode_document, encode_document
from fauxchange.domain.errors import InvalidRequest


class Colour(StrEnum):
    RED = "red"


class Name(str):
    __slots__ = ()


def nested(levels: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for _ in range(levels - 1):
        document = {"in": document}
    return document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"a": [1, {"b": float("nan")}]}, "metadata.a.1.b is nan"),
        ({"a": {None: 1}}, "metadata.a has the key None"),
        ({"a": {1, 2}}, "metadata.a is of type set"),
        ({"a": 1 << 5_000}, "metadata.a has more than 4096 bits"),
        ([1], "metadata is not an object"),
    ],
)
def test_refusal_names_the_place(document: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        check_document(document)


def test_nesting_is_bounded() -> None:
    check_document(nested(MAX_DEPTH))

    with pytest.raises(InvalidRequest, match="deeper than 64"):
        check_document(nested(MAX_DEPTH + 1))


def test_relatives_of_the_built_in_classes_are_carried_as_these() -> None:
    document = {"colour": Colour.RED, "name": Name("n"), "view": MappingProxyType({"n": 1}), "pair": (1, 2)}

    carried = decode_document(encode_document(document))

    assert carried == {"colour": "red", "name": "n", "view": {"n": 1}, "pair": [1, 2]}
    assert {type(value) for value in carried.values()} == {str, dict, list}


def test_order_of_keys_is_kept() -> None:
    assert list(decode_document(encode_document({"b": 1, "a": 2}))) == ["b", "a"]


def test_copy_shares_nothing_with_the_original() -> None:
    original = {"list": [1]}

    copied = copy_document(original)
    original["list"].append(2)

    assert copied == {"list": [1]}
