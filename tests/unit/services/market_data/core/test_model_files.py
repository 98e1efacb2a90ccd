"""Model files: what they say, what they leave out, and everything that can be wrong with them."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.domain.errors import ConfigurationError
from fauxchange.services.market_data.core.model_files import (
    PARAMETER_BOUNDS,
    VOLUME_BOUNDS,
    InvalidModel,
    ModelFile,
    SymbolModel,
    dump_model,
    model_from_text,
    parameters_from_mapping,
    parameters_to_mapping,
    read_model,
)
from fauxchange.services.market_data.core.parameters import LmvParameters, VolumeParameters, default_table

TABLE = default_table()


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidModel) as failure:
        model_from_text(text, file_name="m.toml")
    return [str(problem) for problem in failure.value.problems]


def test_a_model_file_comes_back_to_the_bit() -> None:
    sections = {
        name: SymbolModel(
            parameters=values, initial_price=1 / 3, source={"file": 'a "b"\n.csv', "days": 30.5, "kept": []}
        )
        for name, values in TABLE.by_base.items()
    }
    sections["BTC/EUR"] = SymbolModel(parameters=dataclasses.replace(TABLE.of("BTC/USD"), sigma=0.1 + 0.2))
    table = dataclasses.replace(TABLE, by_symbol={"BTC/EUR": sections["BTC/EUR"].parameters})
    model = ModelFile(table=table, sections=sections, made_by={"seed": 1})

    text = dump_model(model, heading="One line\nand another")

    assert model_from_text(text, file_name="m.toml") == model
    assert text.startswith("# One line\n# and another\n\nformat = 1\n")


@given(
    st.fixed_dictionaries(
        {
            name: (
                st.floats(bounds.low, bounds.high)
                if bounds.many is None
                else st.lists(st.floats(bounds.low, bounds.high), min_size=bounds.many, max_size=bounds.many)
            )
            for name, bounds in PARAMETER_BOUNDS.items()
        }
    )
)
def test_parameters_come_back_from_json(document: dict[str, object]) -> None:
    parameters = parameters_from_mapping(document, TABLE.of("BTC/USD"))

    assert parameters_from_mapping(parameters_to_mapping(parameters), TABLE.of("ETH/USD")) == parameters


def test_every_parameter_may_be_written() -> None:
    assert set(PARAMETER_BOUNDS) | {"volume"} == {field.name for field in dataclasses.fields(LmvParameters)}
    assert set(VOLUME_BOUNDS) == {field.name for field in dataclasses.fields(VolumeParameters)}


def test_what_is_left_out_is_as_shipped() -> None:
    model = model_from_text("format = 1\n[symbols.BTC]\nsigma = 0.001\n[symbols.BTC.volume]\nlevel = 2", file_name="m")

    btc = TABLE.of("BTC/USD")
    expected = dataclasses.replace(btc, sigma=0.001, volume=dataclasses.replace(btc.volume, level=2.0))
    assert model.table.of("BTC/USD") == model.table.of("BTC/EUR") == expected
    assert model.table.of("ETH/USD") == TABLE.of("ETH/USD")


def test_a_symbol_s_own_section_goes_before_that_of_its_base() -> None:
    model = model_from_text(
        'format = 1\n[symbols.BTC]\nsigma = 0.001\n[symbols."BTC/EUR"]\nsigma = 0.002\n[symbols.XYZ]\ndrift = 0.1',
        file_name="m",
    )

    assert [model.table.of(symbol).sigma for symbol in ("BTC/USD", "BTC/EUR")] == [0.001, 0.002]
    assert model.table.of("XYZ/USD").drift == 0.1


def test_the_first_price_is_that_of_the_file_in_its_own_currency() -> None:
    text = (
        "format = 1\n[symbols.BTC]\ninitial_price = 100\n[symbols.BTC.source]\nquote = 'USDT'\n"
        "[symbols.ETH]\ninitial_price = 7"
    )

    model = model_from_text(text, file_name="m")

    found = [model.initial_price(symbol) for symbol in ("BTC/USD", "BTC/USDT", "BTC/EUR", "ETH/EUR", "ADA/USD")]
    assert found == [100.0, 100.0, None, 7.0, None]


def test_everything_that_is_wrong_is_named_with_its_line() -> None:
    text = """\
format = 2
colour = "red"
[law]
feedback = 9
[symbols.BTC]
sgma = 1
sigma = 0
season = [1, 2]
weights = [1, 2, "a", inf, true, -1, 0]
volume = 3
[symbols.B_C]
[symbols]
ETH = 5
"""

    assert problems(text.replace("[symbols]\nETH = 5\n", "")) == [
        "line 1: format: 2 is not one that this version reads, which is 1",
        "line 2: colour: is not a known field (there are format, made_by, law, symbols)",
        "line 4: law.feedback: 9 is not within 0 and 1",
        "line 6: symbols.BTC.sgma: is not a known field (did you mean sigma?)",
        "line 7: symbols.BTC.sigma: 0 is not within 1e-09 and 1",
        "line 8: symbols.BTC.season: is not a list of 24 numbers",
        "line 9: symbols.BTC.weights[2]: 'a' is not a number",
        "line 9: symbols.BTC.weights[3]: inf is not a number",
        "line 9: symbols.BTC.weights[4]: True is not a number",
        "line 9: symbols.BTC.weights[5]: -1 is not within 0 and 10",
        "line 10: symbols.BTC.volume: is not a table",
        "line 11: symbols.B_C: is neither an asset such as BTC nor a symbol such as BTC-USD",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "format: is missing"),
        ("format = 1", "has no section"),
        ("format = 1\nsymbols = 3", "has no section"),
        ("format = 1\n[symbols]\nBTC = 3", "is not a table of parameters"),
        ("format = [", "not TOML"),
        ("a" * (1 << 20) + "a", "more than"),
        ("format = 1\nmade_by = 3\n[symbols.BTC]", "made_by: is not a table"),
        ("format = 1\n[symbols.BTC]\nsource = 3", "symbols.BTC.source: is not a table"),
        ("format = 1\n[symbols.BTC]\n[symbols.btc]", "symbols.btc: is a second section of BTC"),
        ("format = 1\n[symbols.BTC-USD]\n[symbols.'BTC/USD']", "is a second section of BTC-USD"),
        (f"format = 1\n[symbols.BTC]\nsigma = {'1' * 400}", "a number so large is not within"),
        ("format = 1\n[symbols.BTC]\nsigma = nan", "nan is not a number"),
    ],
)
def test_rubbish_is_refused(text: str, told: str) -> None:
    assert any(told in problem for problem in problems(text))


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigurationError, match=r"missing\.toml cannot be read"):
        read_model(tmp_path / "missing.toml")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        read_model(tmp_path / "bytes.toml")


@pytest.mark.parametrize(
    "document", [3, "x", [1], None, {"sigma": "wide"}, {"volume": {"level": None}}, {"sgma": 1}, {"sigma": 10**400}]
)
def test_json_that_is_no_set_of_parameters_is_refused(document: object) -> None:
    with pytest.raises(InvalidModel):
        parameters_from_mapping(document, TABLE.of("BTC/USD"))
