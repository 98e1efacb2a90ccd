from typing import Annotated

import msgspec
import pytest

from fauxchange.domain.errors import InvalidRequest
from fauxchange.platform.http.bodies import decode_body, strict_body


class Line(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    count: Annotated[int, msgspec.Meta(ge=1)] = 1
    urgent: bool = False


class Sheet(msgspec.Struct, forbid_unknown_fields=True):
    lines: list[Line]


class QuickSheet(Sheet, forbid_unknown_fields=True):
    def __post_init__(self):
        if len(self.lines) > 1:
            raise ValueError("too many to be quick")


SHEET = msgspec.json.Decoder(Sheet)


def test_a_body_is_read():
    assert decode_body(SHEET, b'{"lines": [{"name": "a", "count": 2}]}') == Sheet([Line("a", 2)])


def test_a_number_without_a_fraction_is_an_integer_however_it_is_written():
    assert decode_body(SHEET, b'{"lines": [{"name": "a", "count": 2.0}, {"name": "b", "count": 1e2}]}') == Sheet(
        [Line("a", 2), Line("b", 100)]
    )


@pytest.mark.parametrize(
    ("line", "code", "field", "detail"),
    [
        (b'{"name": "a", "count": "2"}', "invalid_request", "lines[0].count", "expected `int`"),
        (b'{"name": "a", "count": 2.5}', "invalid_request", "lines[0].count", "expected `int`"),
        (b'{"name": "a", "count": 0.0}', "invalid_request", "lines[0].count", ">= 1"),
        (b'{"name": "a", "count": true}', "invalid_request", "lines[0].count", "expected `int`"),
        (b'{"name": "a", "urgent": 1}', "invalid_request", "lines[0].urgent", "expected `bool`"),
        (b'{"name": 1}', "invalid_request", "lines[0].name", "expected `str`"),
        (b'{"name": null}', "invalid_request", "lines[0].name", "expected `str`"),
        (b'{"count": 1}', "missing_field", "lines[0].name", "no lines[0].name"),
        (b'{"name": "a", "colour": "red"}', "unknown_field", "lines[0].colour", "no field colour"),
    ],
)
def test_what_is_wrong_is_told_by_its_field(line, code, field, detail):
    with pytest.raises(InvalidRequest) as raised:
        decode_body(SHEET, b'{"lines": [' + line + b"]}")

    assert (raised.value.code, raised.value.field) == (code, field)
    assert detail in raised.value.message


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "malformed_body"),
        (b'{"lines": []}}', "malformed_body"),
        (b'{"lines": [{"name": "\xff"}]}', "malformed_body"),
        (b"[]", "invalid_request"),
        (b"NaN", "malformed_body"),
    ],
)
def test_a_body_that_is_something_else_is_refused(body, code):
    with pytest.raises(InvalidRequest) as raised:
        decode_body(SHEET, body)

    assert raised.value.code == code


def test_a_body_that_is_nested_too_deeply_is_refused():
    with pytest.raises(InvalidRequest) as raised:
        decode_body(msgspec.json.Decoder(), b"[" * 30_000)

    assert (raised.value.code, raised.value.field) == ("malformed_body", "body")


def reader(**options):
    # The framework makes it for a route; how it reads a body depends on nothing of that.
    return object.__new__(strict_body(Sheet, **options)).decode_bytes


def test_a_body_is_decoded_quickly_where_it_can_be():
    read = reader(quick=QuickSheet)

    one, two = (read(b'{"lines": [' + b", ".join([b'{"name": "a"}'] * count) + b"]}") for count in (1, 2))

    assert type(one) is QuickSheet
    assert two == Sheet([Line("a"), Line("a")])


@pytest.mark.parametrize("body", [b"{", b'{"lines": 1}', b'{"lines": [], "colour": 1}', b'{"lines": ["\xff"]}'])
def test_a_body_that_is_wrong_is_told_the_same_however_it_is_decoded(body):
    told = []
    for options in ({}, {"quick": QuickSheet}):
        with pytest.raises(InvalidRequest) as raised:
            reader(**options)(body)
        told.append((raised.value.code, raised.value.field, raised.value.message))

    assert told[0] == told[1]
