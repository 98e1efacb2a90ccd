"""What is asked of the driver, and what its failures mean."""

import psycopg
import pytest
from psycopg import errors as pg
from sqlalchemy.exc import OperationalError

from fauxchange.data.postgres.connections import (
    PostgresConfig,
    _parameters,
    describe,
    refused_login,
    schema_is_gone,
    translated,
)
from fauxchange.domain.errors import Conflict, InvalidRequest, InvariantViolation, Unavailable


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://me:secret@db:5433/venue?sslmode=require", "db:5433/venue"),
        ("postgres://me:secret@db/venue", "db:5432/venue"),
        ("postgresql://me@db", "db:5432/me"),
        ("postgresql:///venue?host=/run/postgresql", "/run/postgresql:5432/venue"),
    ],
)
def test_name_says_where_a_url_leads_and_keeps_its_password(url: str, name: str) -> None:
    assert describe(url) == name


def test_parameters_of_the_url_win_and_options_are_added_to() -> None:
    url = "postgres://me:secret@db:5433/venue?sslmode=require&connect_timeout=7&options=-csearch_path%3Dmine"

    parameters = _parameters(PostgresConfig(url=url, application_name="market-data", deadline_s=2.0), "watch")

    assert parameters["sslmode"] == "require"
    assert parameters["connect_timeout"] == "7"
    assert parameters["application_name"] == "market-data watch"
    assert parameters["options"].split(" -c ")[-1] == "idle_in_transaction_session_timeout=60000 -csearch_path=mine"
    assert "-c lock_timeout=2000" in parameters["options"]
    assert parameters["tcp_user_timeout"] == 3_000


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (TimeoutError(), Unavailable, "does not answer in time"),
        (psycopg.OperationalError("server closed the connection"), Unavailable, "is away: server closed"),
        (pg.AdminShutdown("terminating connection"), Unavailable, "terminating connection"),
        (pg.ReadOnlySqlTransaction("cannot execute INSERT"), Unavailable, "cannot execute INSERT"),
        (pg.DiskFull("no space left"), Unavailable, "no space left"),
        (pg.DeadlockDetected("deadlock"), Unavailable, "deadlock"),
        (pg.UndefinedTable("no table"), Unavailable, "fauxchange db upgrade"),
        (pg.InsufficientPrivilege("permission denied"), Unavailable, "as its owner"),
        (pg.UniqueViolation("duplicate key"), Conflict, "duplicate key"),
        (psycopg.DataError("cannot contain NUL"), InvalidRequest, "cannot contain NUL"),
        (pg.NotNullViolation("null value"), InvariantViolation, "null value"),
        (pg.SyntaxError("near SELEKT\nhint: none"), InvariantViolation, "near SELEKT"),
        (ConnectionRefusedError("refused"), Unavailable, "refused"),
    ],
)
def test_each_failure_has_one_meaning(failure: Exception, kind: type[Exception], words: str) -> None:
    meaning = translated("db:5432/venue", failure)

    assert type(meaning) is kind
    assert words in str(meaning)
    assert "\n" not in str(meaning)


def test_failure_that_sqlalchemy_has_wrapped_means_the_same() -> None:
    origin = pg.UndefinedTable("no table")
    wrapped = OperationalError("SELECT", None, origin)

    assert str(translated("it", wrapped)) == str(translated("it", origin))
    assert schema_is_gone(wrapped)


def test_only_a_missing_privilege_is_not_worth_trying_again() -> None:
    away, refused = translated("it", psycopg.OperationalError("gone")), translated("it", pg.InsufficientPrivilege("no"))

    assert isinstance(away, Unavailable)
    assert isinstance(refused, Unavailable)
    assert (away.retryable, refused.retryable) == (True, False)


@pytest.mark.parametrize(
    ("failure", "is_refusal"),
    [
        (psycopg.OperationalError('connection failed: FATAL:  password authentication failed for user "me"'), True),
        (psycopg.OperationalError('connection failed: FATAL:  database "nowhere" does not exist'), True),
        (psycopg.OperationalError('connection failed: FATAL:  role "me" does not exist'), True),
        (psycopg.OperationalError('FATAL:  no pg_hba.conf entry for host "10.0.0.1"'), True),
        (psycopg.ProgrammingError('invalid connection option "sslmod"'), True),
        (psycopg.OperationalError("connection failed: Connection refused"), False),
        (psycopg.OperationalError("FATAL:  the database system is starting up"), False),
        (psycopg.OperationalError("FATAL:  sorry, too many clients already"), False),
        (psycopg.OperationalError("[Errno -2] Name or service not known"), False),
        (pg.UndefinedTable("no table"), False),
        (TimeoutError(), False),
    ],
)
def test_mistakes_of_the_configuration_are_told_from_a_server_that_is_away(
    failure: Exception, is_refusal: bool
) -> None:
    refusal = refused_login("db:5432/venue", failure)

    assert (refusal is not None) is is_refusal
    assert refusal is None or refusal.field == "POSTGRES_URL"


def test_a_url_that_cannot_be_read_is_not_shown() -> None:
    failure = psycopg.ProgrammingError('missing "=" after "mysql://us:secret@db/x" in connection info string')

    refusal = refused_login("db:5432/venue", failure)

    assert refusal is not None
    assert "secret" not in str(refusal)
