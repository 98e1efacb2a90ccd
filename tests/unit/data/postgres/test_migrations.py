"""The migrations as files, and the roles as text."""

import re
from importlib.resources import files

import pytest

from fauxchange.data.migrations import HEAD
from fauxchange.data.postgres.roles import OWNER, SCHEMAS_OF, bootstrap_sql, commands_on, grant_statements
from fauxchange.data.tables import METADATA, audit_events, price_feeds, symbols
from fauxchange.domain.errors import InvalidRequest

VERSIONS = files("fauxchange.data") / "migrations/versions"


def test_migrations_follow_each_other_up_to_the_one_that_starts_compare_with() -> None:
    files_by_name = {file.name: file for file in VERSIONS.iterdir() if file.name.endswith(".py")}

    found = sorted(files_by_name)

    texts = [files_by_name[name].read_text() for name in found]
    revisions = [re.findall(r'^revision = "(\d{4})"$', text, re.MULTILINE)[0] for text in texts]
    before = [re.findall(r'^down_revision = "?(\d{4}|None)"?$', text, re.MULTILINE)[0] for text in texts]
    assert revisions == [f"{number:04}" for number in range(1, len(found) + 1)]
    assert before == ["None", *revisions[:-1]]
    assert [name[:4] for name in found] == revisions
    assert revisions[-1] == HEAD


def test_every_schema_of_a_role_has_tables() -> None:
    assert set(SCHEMAS_OF.values()) <= {table.schema for table in METADATA.tables.values()}


def test_what_is_append_only_may_neither_be_changed_nor_deleted() -> None:
    assert commands_on(audit_events) == ("SELECT", "INSERT")
    assert commands_on(price_feeds) == ("SELECT", "INSERT", "DELETE")
    assert commands_on(symbols) == ("SELECT", "INSERT", "UPDATE")


def test_only_roles_that_exist_are_given_rights() -> None:
    statements = list(grant_statements(["postgres", "exchange_adapter"]))

    assert statements
    assert all(statement.endswith(" exchange_adapter") for statement in statements)
    assert not any("market_data." in statement or "configuration." in statement for statement in statements)


def test_bootstrap_takes_every_password_from_a_variable() -> None:
    sql = bootstrap_sql("elsewhere")

    assert re.findall(r"PASSWORD (\S+);", sql) == [f":'{role}_password'" for role in (OWNER, *SCHEMAS_OF)]
    assert "trading_ecosystem " not in sql.replace("trading_ecosystem_owner", "")


@pytest.mark.parametrize("name", ["", "Venue", "x;y", "it's", "a b", "7", "x" * 64])
def test_a_database_is_named_as_sql_takes_it(name: str) -> None:
    with pytest.raises(InvalidRequest, match="a database's name"):
        bootstrap_sql(name)
