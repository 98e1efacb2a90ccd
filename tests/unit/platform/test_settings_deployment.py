"""Example passwords in production, and the variables that only compose reads."""

from pathlib import Path

import pytest

from fauxchange.domain.errors import ConfigurationError
from fauxchange.platform.settings import check_env_file, documented_settings, env_example, load_settings
from fauxchange.platform.settings.deployment import COMPOSE_VARIABLES, EXAMPLE, is_example

OWN = "d7c4a1f09b3e5268"
EXAMPLES = {
    "ADMIN_KEY": "example-admin-key-0000",
    "AUDIT_KEY": "example-audit-key-0000",
    "KERNEL_KEY": "example-kernel-key-0000",
    "POSTGRES_URL": "postgresql://market_data_adapter:example-market-data@postgres:5432/trading_ecosystem",
    "REDIS_URL": "redis://market-data-adapter:example%2Dmarket-data@redis:6379/0",
    "GRAFANA_PASSWORD": "example-grafana",
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_production_refuses_an_example_and_never_shows_it(name: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(environ={"ENVIRONMENT": "production", name: EXAMPLES[name]})

    assert f"{name}=(not shown): an example password, which ENVIRONMENT=production refuses" in refused.value.message
    assert "example-" not in refused.value.message
    assert list(refused.value.details) == [name]


def test_production_names_all_examples_at_once() -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(environ={"ENVIRONMENT": "production", **EXAMPLES})

    assert set(refused.value.details) == set(EXAMPLES)


@pytest.mark.parametrize("name", ["ADMIN_KEY", "AUDIT_KEY", "KERNEL_KEY"])
def test_a_key_that_could_be_guessed_is_refused_everywhere(name: str) -> None:
    with pytest.raises(ConfigurationError, match="expected at least 16 characters"):
        load_settings(environ={name: "fifteen letters"})


@pytest.mark.parametrize("environment", ["development", "testing", "staging"])
def test_everywhere_else_examples_are_fine(environment: str) -> None:
    settings = load_settings(environ={"ENVIRONMENT": environment, **EXAMPLES})

    assert settings.environment == environment


def test_production_starts_with_passwords_of_its_own_or_none() -> None:
    own = {name: value.replace("example", OWN) for name, value in EXAMPLES.items()}

    assert load_settings(environ={"ENVIRONMENT": "production", **own}).environment == "production"
    assert load_settings(environ={"ENVIRONMENT": "production", "REDIS_URL": "redis://redis:6379/0"}).redis_url


@pytest.mark.parametrize(
    ("secret", "example"),
    [("example-x", True), ("postgres", True), ("ChangeMe", True), (OWN, False), ("", False), ("my-example-", False)],
)
def test_an_example_is_known_by_how_it_begins_or_because_everybody_knows_it(secret: str, example: bool) -> None:
    assert is_example(secret) is example


def test_every_default_of_compose_is_an_example() -> None:
    assert all(declared.default.startswith(EXAMPLE) for declared in COMPOSE_VARIABLES.values())
    assert {"POSTGRES_PASSWORD", "GRAFANA_PASSWORD"} < set(COMPOSE_VARIABLES)


def test_variables_of_compose_are_documented_and_a_process_takes_no_notice_of_them(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("SEED=3\nGRAFANA_PASSWORD=short\n")
    rows = {row.name: row for row in documented_settings()}

    assert load_settings(environ={"POSTGRES_PASSWORD": "x"}, env_file=env_file).seed == 3
    assert all(rows[name].secret and rows[name].group == "Deployment with compose" for name in COMPOSE_VARIABLES)
    assert "\nGRAFANA_PASSWORD=example-grafana\n" in env_example()


def test_check_of_an_env_file_names_examples_that_production_would_refuse(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(f"ENVIRONMENT=production\nGRAFANA_PASSWORD=example-grafana\nPOSTGRES_PASSWORD={OWN}\n")

    problems = check_env_file(env_file)

    # Those that are not given stay at their defaults, which are examples.
    assert {problem.partition("=")[0] for problem in problems} == set(COMPOSE_VARIABLES) - {"POSTGRES_PASSWORD"}


def test_check_of_an_env_file_names_passwords_that_fit_into_no_url(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("GRAFANA_PASSWORD=a/b:c@d-e-f\nPOSTGRES_PASSWORD=short\n")

    problems = check_env_file(env_file)

    assert [problem.partition("=")[0] for problem in problems] == ["POSTGRES_PASSWORD", "GRAFANA_PASSWORD"]
    assert all("becomes part of a URL" in problem for problem in problems)
    assert not any("a/b:c" in problem for problem in problems)
