"""Values of the configuration: what they may be, and what becomes of how they are written."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.domain.configuration import (
    KEY_PATTERN,
    SYMBOL,
    Declaration,
    ServiceSchema,
    ValueType,
    normal_key,
    read_value,
    shown_value,
    type_of,
)
from fauxchange.domain.errors import InvalidRequest, InvariantViolation

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


def refusal(kind: ValueType, value: Any) -> str:
    with pytest.raises(InvalidRequest) as refused:
        read_value(kind, value, key="it")
    return str(refused.value.code)


@pytest.mark.parametrize(
    ("kind", "written", "kept"),
    [
        (ValueType.STR, "a text", "a text"),
        (ValueType.INT, 20, 20),
        (ValueType.INT, "-20", -20),
        (ValueType.INT, 20.0, 20),
        (ValueType.FLOAT, "1e3", 1000.0),
        (ValueType.FLOAT, 2, 2.0),
        (ValueType.DECIMAL, 20, "20"),
        (ValueType.DECIMAL, "1.50", "1.50"),
        (ValueType.DECIMAL, 0.1, "0.1"),
        (ValueType.DECIMAL, "1e-7", "0.0000001"),
        (ValueType.BOOL, True, True),
        (ValueType.BOOL, "False", False),
        (ValueType.DURATION, "90s", "1m30s"),
        (ValueType.DURATION, "0.25s", "250ms"),
        (ValueType.LIST, ["a", 1, True], ["a", 1, True]),
        (ValueType.LIST, "BTC-USD, ETH-USD", ["BTC-USD", "ETH-USD"]),
        (ValueType.JSON, '{"a": [1]}', {"a": [1]}),
        (ValueType.JSON, {"a": [1]}, {"a": [1]}),
        (ValueType.JSON, "no JSON", "no JSON"),
        (ValueType.JSON, None, None),
    ],
)
def test_a_value_is_kept_in_the_form_of_its_type(kind: ValueType, written: Any, kept: Any) -> None:
    read = read_value(kind, written)

    assert (read, type(read)) == (kept, type(kept))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (ValueType.STR, 1),
        (ValueType.STR, None),
        (ValueType.STR, "\ud800"),
        (ValueType.INT, 1.5),
        (ValueType.INT, True),
        (ValueType.INT, 2**63),
        (ValueType.INT, "9" * 5_000),
        (ValueType.INT, "five"),
        (ValueType.FLOAT, float("inf")),
        (ValueType.FLOAT, 10**400),
        (ValueType.FLOAT, False),
        (ValueType.DECIMAL, "NaN"),
        (ValueType.DECIMAL, "1e999999"),
        (ValueType.DECIMAL, True),
        (ValueType.DECIMAL, "wide"),
        (ValueType.BOOL, 1),
        (ValueType.BOOL, "yes"),
        (ValueType.DURATION, 5),
        (ValueType.DURATION, "5"),
        (ValueType.DURATION, "99999999999d"),
        (ValueType.LIST, [["nested"]]),
        (ValueType.LIST, {"a": 1}),
        (ValueType.JSON, float("nan")),
        (ValueType.JSON, 10**400),
        (ValueType.JSON, "[" * 5_000 + "]" * 5_000),
        (ValueType.JSON, json.loads("[" * 40 + "]" * 40)),
    ],
)
def test_what_is_not_of_the_type_is_refused(kind: ValueType, value: Any) -> None:
    assert refusal(kind, value) in {"wrong_value_type", "value_too_long"}


def test_a_value_that_is_too_long_is_refused() -> None:
    assert refusal(ValueType.STR, "x" * 20_000) == "value_too_long"


@pytest.mark.parametrize("value", ["postgresql://me:hunter2@host/db", "-----BEGIN RSA PRIVATE KEY-----\nMII"])
def test_a_value_that_holds_a_secret_is_refused(value: str) -> None:
    assert refusal(ValueType.STR, value) == "secret_refused"
    assert refusal(ValueType.JSON, {"nested": [value]}) == "secret_refused"


@given(kind=st.sampled_from(list(ValueType)), value=json_values)
def test_any_value_is_read_or_refused_and_what_is_kept_is_read_as_itself(kind: ValueType, value: Any) -> None:
    try:
        kept = read_value(kind, value)
    except InvalidRequest:
        return

    again = read_value(kind, kept)

    # A JSON text that happens to be JSON is one more level of it.
    assert again == kept or kind is ValueType.JSON
    assert isinstance(shown_value(kept), str)


@pytest.mark.parametrize(
    ("value", "kind"),
    [("a", "str"), (1, "int"), (1.5, "float"), (True, "bool"), ([1], "list"), ({}, "json"), (None, "json")],
)
def test_the_type_of_a_value_that_nothing_was_said_of_is_what_it_is(value: Any, kind: str) -> None:
    assert type_of(value) == kind


def test_a_symbol_in_a_key_is_written_with_a_dash() -> None:
    assert normal_key("spread_bps.BTC/USD") == normal_key("spread_bps.BTC-USD") == "spread_bps.BTC-USD"


@pytest.mark.parametrize("key", ["", "Upper", "with space", "a..b", ".a", "a.", "a" * 200, "a/b", "ß"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequest, match="not a key") as refused:
        normal_key(key)

    assert refused.value.code == "invalid_key"


@pytest.mark.parametrize(
    "key", ["password", "db_password", "api_key.binance", "admin_key", "venue.api-key", "a_token", "secrets"]
)
def test_a_key_that_looks_like_a_secret_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        normal_key(key)

    assert refused.value.code == "secret_refused"


@pytest.mark.parametrize("key", ["key_width", "tokenizer", "monkey", "spread_bps.KEY-USD"])
def test_a_key_that_only_sounds_like_a_secret_is_taken(key: str) -> None:
    assert normal_key(key) == key


@given(st.from_regex(KEY_PATTERN, fullmatch=True))
def test_a_key_is_kept_in_one_spelling(key: str) -> None:
    try:
        kept = normal_key(key)
    except InvalidRequest:
        return

    assert normal_key(kept) == kept
    assert re.fullmatch(KEY_PATTERN, kept)


SCHEMA = ServiceSchema(
    "bot",
    (
        Declaration("spread", ValueType.DECIMAL, "", minimum="0", maximum="10"),
        Declaration("spread.*", ValueType.DECIMAL, "", minimum="1", about=SYMBOL),
        Declaration("pause", ValueType.DURATION, "", minimum="1ms", maximum="1h"),
        Declaration("mode", ValueType.STR, "", choices=("calm", "wild")),
        Declaration("name", ValueType.STR, "", pattern="[a-z]+"),
        Declaration("levels", ValueType.INT, "", maximum="5"),
    ),
)


def checked(key: str, value: Any) -> Any:
    declaration = SCHEMA.declaration_of(key)
    assert declaration is not None
    return declaration.checked(key, value)


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("spread", "10", "10"),
        ("spread", 0, "0"),
        ("spread.BTC-USD", 500, "500"),
        ("pause", "3600s", "1h"),
        ("mode", "wild", "wild"),
        ("name", "abc", "abc"),
        ("levels", -3, -3),
    ],
)
def test_a_value_within_what_is_declared_is_taken(key: str, value: Any, kept: Any) -> None:
    assert checked(key, value) == kept


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("spread", "10.01", "at least 0 and at most 10, not 10.01"),
        ("spread", -1, "at least 0"),
        ("spread.BTC-USD", "0.5", "at least 1, not"),
        ("pause", "0s", "at least 1ms"),
        ("pause", "61m", "at most 1h"),
        ("mode", "odd", "one of calm, wild"),
        ("name", "ABC", "looks like"),
        ("levels", 6, "at most 5"),
    ],
)
def test_a_value_beyond_what_is_declared_is_refused_with_what_is_allowed(key: str, value: Any, told: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(told)) as refused:
        checked(key, value)

    assert refused.value.code == "value_not_allowed"


@pytest.mark.parametrize(
    ("key", "told"), [("spred", "did you mean spread?"), ("spread.btc-usd", "spread"), ("zzz", "there are")]
)
def test_a_key_that_is_not_declared_is_refused_with_what_was_perhaps_meant(key: str, told: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(told)) as refused:
        SCHEMA.declaration_of(key)

    assert refused.value.code == "undeclared_key"


def test_an_open_service_takes_keys_that_it_does_not_declare() -> None:
    schema = ServiceSchema("bot", SCHEMA.declarations, is_open=True)

    assert schema.declaration_of("anything") is None
    assert schema.declaration_of("mode") is SCHEMA.declarations[3]


def test_what_has_no_order_has_no_bounds() -> None:
    with pytest.raises(InvariantViolation):
        Declaration("it", ValueType.STR, "", minimum="1")


def test_what_no_bound_can_tell_a_rule_does() -> None:
    def even(key: str, value: int) -> None:
        if value % 2:
            raise InvalidRequest(f"{key} is odd", code="value_not_allowed", field="value")

    declaration = Declaration("count", ValueType.INT, "An even number", rule=even)

    assert declaration.checked("count", "4") == 4
    with pytest.raises(InvalidRequest, match="count is odd"):
        declaration.checked("count", 5)
