import pytest
import typer

from fauxchange.cli.endings import exit_code, reported
from fauxchange.domain.errors import (
    ConfigurationError,
    Conflict,
    DeadlineExceeded,
    FauxchangeError,
    InvalidRequest,
    InvariantViolation,
    NotFound,
    RateLimited,
    Unauthenticated,
    Unavailable,
)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (ConfigurationError("port taken"), 2),
        (InvalidRequest("bad"), 2),
        (NotFound("no such symbol", code="unknown_symbol"), 2),
        (NotFound("nothing runs", code="not_running"), 1),
        (NotFound("no price", code="no_price_yet"), 1),
        (Conflict("twice"), 2),
        (Unauthenticated("wrong key"), 2),
        (RateLimited("slow down"), 1),
        (Unavailable("away"), 1),
        (DeadlineExceeded("late"), 1),
        (FauxchangeError("inside"), 1),
    ],
)
def test_what_was_asked_wrongly_ends_with_2_and_what_failed_with_1(failure: FauxchangeError, expected: int) -> None:
    assert exit_code(failure) == expected


def test_a_failure_is_told_on_standard_error_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    told = "port 8080 on 127.0.0.1 is taken by another program; " + "use --http-port " * 20

    with pytest.raises(typer.Exit) as ended, reported():
        raise ConfigurationError(told)

    printed = capsys.readouterr()
    assert ended.value.exit_code == 2
    assert printed.err == f"error: {told}\n"
    assert not printed.out


def test_markup_in_a_message_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), reported():
        raise InvalidRequest("write [bold]NAME[/bold]")

    assert capsys.readouterr().err == "error: write [bold]NAME[/bold]\n"


def test_a_bug_is_not_swallowed() -> None:
    with pytest.raises(InvariantViolation), reported():
        raise InvariantViolation("a crossed book")
