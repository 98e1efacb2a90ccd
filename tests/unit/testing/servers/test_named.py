"""Tests keep away from the servers that the settings name for use."""

from pathlib import Path

import pytest

from fauxchange.domain.errors import ConfigurationError
from fauxchange.testing.servers.named import named, refuse_live


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("TEST_POSTGRES_URL", "POSTGRES_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("live", "test"),
    [
        ("postgresql://a:b@db:5432/venue", "postgresql://a:b@db:5432/venue"),
        ("postgresql://a:b@db:5432/venue", "postgresql+psycopg://other:c@DB/venue"),
        ("postgresql://localhost/venue", "postgresql://127.0.0.1:5432/venue"),
    ],
)
def test_the_live_database_is_refused_however_it_is_written(
    live: str, test: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_URL", live)

    with pytest.raises(ConfigurationError, match="TEST_POSTGRES_URL names the database of POSTGRES_URL"):
        refuse_live("TEST_POSTGRES_URL", test, "POSTGRES_URL", 5432)


@pytest.mark.parametrize(
    "test",
    ["postgresql://a:b@db:5432/tests", "postgresql://a:b@db:5433/venue", "postgresql://a:b@elsewhere:5432/venue"],
)
def test_another_database_is_not(test: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_URL", "postgresql://a:b@db:5432/venue")

    refuse_live("TEST_POSTGRES_URL", test, "POSTGRES_URL", 5432)


def test_redis_without_a_number_is_its_first_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://cache:6379")

    with pytest.raises(ConfigurationError):
        refuse_live("TEST_REDIS_URL", "redis://cache/0", "REDIS_URL", 6379)


def test_a_url_is_read_from_the_file_too_and_the_environment_comes_first(
    in_an_empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (in_an_empty_folder / ".env").write_text("TEST_POSTGRES_URL=postgresql://file/tests\n")

    from_file = named("TEST_POSTGRES_URL")
    monkeypatch.setenv("TEST_POSTGRES_URL", "postgresql://environment/tests")
    from_environment = named("TEST_POSTGRES_URL")

    assert (from_file, from_environment) == ("postgresql://file/tests", "postgresql://environment/tests")
    assert named("POSTGRES_URL") is None
