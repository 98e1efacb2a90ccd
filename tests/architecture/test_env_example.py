"""`.env.example` is what the settings' declarations say, and can be used as it is."""

from pathlib import Path

from fauxchange.platform.settings import check_env_file, env_example, load_settings

EXAMPLE = Path(__file__).parents[2] / ".env.example"
WRITE_ANEW = (
    "run: python -c 'from fauxchange.platform.settings import env_example as e; print(e(), end=\"\")' > .env.example"
)


def test_env_example_documents_every_variable_as_declared() -> None:
    assert EXAMPLE.read_text() == env_example(), WRITE_ANEW


def test_env_example_can_be_used_as_it_is() -> None:
    assert check_env_file(EXAMPLE) == []


def test_a_copy_of_env_example_changes_nothing() -> None:
    assert load_settings(environ={}, env_file=EXAMPLE) == load_settings(environ={})
