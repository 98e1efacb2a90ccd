"""The file that a configuration service starts with."""

from pathlib import Path

import pytest
from configuration_kit import BOT, HERE

from fauxchange.domain.configuration import ValueType
from fauxchange.domain.errors import ConfigurationError
from fauxchange.services.configuration.app import ConfigurationFile, read_configuration_file

GOOD = """
schemas:
  my-bot:
    keys:
      max_position: {type: decimal, minimum: 0, maximum: "10.5", description: The most it holds}
      mode: {type: str, choices: [calm, wild]}
  notes: {open: true}
values:
  my-bot: {max_position: 2, mode: wild}
  bot: {spread_bps.BTC/USD: "3"}
  free: {anything: [1, 2]}
"""


def read(path: Path, text: str, name: str = "it.yaml") -> ConfigurationFile:
    file = path / name
    file.write_text(text)
    return read_configuration_file(file, environment=HERE, known={"bot": BOT})


def test_schemas_and_values_are_read(tmp_path: Path) -> None:
    file = read(tmp_path, GOOD)

    assert set(file.schemas) == {"bot", "my-bot", "notes"}
    assert file.schemas["notes"].is_open
    assert file.schemas["my-bot"].declarations[0].maximum == "10.5"
    assert [(str(seed.place), seed.type, seed.value) for seed in file.seeds] == [
        ("my-bot/development/max_position", ValueType.DECIMAL, "2"),
        ("my-bot/development/mode", ValueType.STR, "wild"),
        ("bot/development/spread_bps.BTC-USD", ValueType.DECIMAL, "3"),
        ("free/development/anything", ValueType.LIST, [1, 2]),
    ]


def test_toml_is_read_too_and_an_empty_file_says_nothing(tmp_path: Path) -> None:
    file = read(tmp_path, "[values.bot]\nmode = 'calm'\n", "it.toml")

    assert [seed.value for seed in file.seeds] == ["calm"]
    assert read(tmp_path, "").seeds == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("values: {bot: {mode: odd}}", "mode of bot: mode is one of calm, wild"),
        ("values: {bot: {unknown: 1}}", "no key unknown"),
        ("values: {bot: {password: 1}}", "looks like a secret"),
        ("schemas: {bot: {}}", "bot declares its own keys"),
        ("schemas: {x: {keys: {a: {type: text}}}}", "Invalid enum value 'text'"),
        ("schemas: {x: {keys: {a: {type: int, minimum: low}}}}", "a of x"),
        ("schemas: {x: {keys: {a: {type: str, minimum: 1}}}}", "a of x"),
        ("shemas: {}", "unknown field `shemas`"),
        ("values: {Bad Name: {a: 1}}", "Bad|pattern|match"),
        ("a: [", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as refused:
        read(tmp_path, text)

    assert "it.yaml" in refused.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"missing\.yaml cannot be read"):
        read_configuration_file(tmp_path / "missing.yaml", environment=HERE, known={})
