import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

from fauxchange.platform.settings import documented_settings, env_example

Run = Callable[..., Result]


def test_config_lists_every_setting_with_default_and_meaning(run: Run) -> None:
    listed = run("config").stdout
    document = json.loads(run("config", "--json").stdout)["settings"]

    for setting, shown in zip(documented_settings(), document, strict=True):
        assert setting.name in listed
        assert (shown["name"], shown["default"]) == (setting.name, setting.default)
        assert (shown["unit"], shown["description"]) == (setting.unit, setting.description)


def test_config_lists_only_settings_that_have_all_words(run: Run) -> None:
    document = json.loads(run("config", "audit", "PORT", "--json").stdout)

    assert [setting["name"] for setting in document["settings"]] == ["AUDIT_PORT"]


def test_config_says_that_no_setting_has_a_word(run: Run) -> None:
    result = run("config", "flux")

    assert result.exit_code == 2
    assert "no setting has flux" in result.stderr


def test_config_prints_an_example_that_check_env_accepts(run: Run, empty_folder: Path) -> None:
    example = run("config", "--example").stdout
    (empty_folder / ".env").write_text(example)

    result = run("check-env")

    assert example == env_example()
    assert result.exit_code == 0, result.stderr


def test_check_env_tells_to_copy_the_example_when_the_file_is_missing(run: Run) -> None:
    result = run("check-env")

    assert result.exit_code == 1
    assert "copy .env.example to .env" in result.stderr


def test_check_env_names_each_problem_on_its_own_line_and_what_to_do(run: Run, empty_folder: Path) -> None:
    file = empty_folder / "other.env"
    file.write_text("HTTP_PORT=eighty\nSEDE=1\nSPEED=0\n")

    result = run("check-env", file)

    lines = result.stderr.splitlines()
    assert result.exit_code == 1
    assert len(lines) == 4
    assert any("HTTP_PORT='eighty'" in line for line in lines)
    assert any("did you mean SEED?" in line for line in lines)
    assert any("SPEED='0'" in line for line in lines)
    assert "copy .env.example" in lines[-1]
