"""Logs: what every line carries, one way for all loggers, and no secrets."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from fauxchange.platform import logging as our_logging
from fauxchange.platform.logging import configure_logging, get_logger, register_secret


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, secrets = list(root.handlers), root.level, set(our_logging._secrets)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    our_logging._secrets.clear()
    our_logging._secrets.update(secrets)
    logging.captureWarnings(False)


class Lines:
    def __init__(self, **options: Any) -> None:
        self.stream = io.StringIO()
        configure_logging(**{"service": "market-data", "version": "1.2.3", "stream": self.stream} | options)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


def test_every_line_tells_time_level_event_logger_service_and_version() -> None:
    lines = Lines()

    get_logger("fauxchange.test").info("price published", symbol="BTC/USD")

    (event,) = lines.events
    timestamp = event.pop("timestamp")
    assert timestamp[10] == "T"
    assert timestamp.endswith("Z")
    assert event == {
        "level": "info",
        "event": "price published",
        "logger": "fauxchange.test",
        "service": "market-data",
        "version": "1.2.3",
        "symbol": "BTC/USD",
    }


def test_ids_bound_to_the_context_are_in_the_lines_of_all_loggers() -> None:
    lines = Lines()

    with structlog.contextvars.bound_contextvars(request_id="r-1", trace_id="t-1"):
        get_logger("ours").info("one")
        logging.getLogger("uvicorn.error").warning("two %s", "arguments")
    get_logger("ours").info("three")

    assert [(event["event"], event.get("request_id"), event.get("trace_id")) for event in lines.events] == [
        ("one", "r-1", "t-1"),
        ("two arguments", "r-1", "t-1"),
        ("three", None, None),
    ]


def test_events_below_the_level_are_dropped() -> None:
    lines = Lines(level="warning")

    get_logger("ours").info("no")
    logging.getLogger("theirs").info("no")
    get_logger("ours").warning("yes")

    assert [event["event"] for event in lines.events] == ["yes"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_secrets_are_masked_by_name_by_value_in_urls_and_in_tracebacks(log_format: str) -> None:
    lines = Lines(format=log_format, secrets=["hunter2"])
    register_secret("swordfish")

    get_logger("ours").info(
        "key hunter2", nested={"api_key": "opensesame", "list": ["swordfish", 1]}, password="opensesame"
    )
    get_logger("ours").info("connect", url="postgres://user:opensesame@host/db")
    logging.getLogger("theirs").info(
        "got %s", "hunter2", extra={"Authorization": "Bearer opensesame", "fx-key": "opensesame"}
    )
    try:
        raise ValueError("swordfish")
    except ValueError:
        get_logger("ours").exception("failed")
        logging.getLogger("theirs").exception("failed")

    assert not any(secret in lines.text for secret in ("hunter2", "swordfish", "opensesame"))
    # Twice in each traceback: the line that raises and the last one.
    assert lines.text.count("ValueError") == 4
    assert "postgres://user:[redacted]@host/db" in lines.text


@pytest.mark.parametrize("name", ["tokens_generated", "key", "signatures", "secretary"])
def test_innocent_names_are_not_masked(name: str) -> None:
    lines = Lines()

    get_logger("ours").info("event", **{name: "shown"})

    assert lines.events[0][name] == "shown"


def test_a_value_too_short_to_be_a_secret_does_not_blot_out_text() -> None:
    lines = Lines(secrets=["", "a"])

    get_logger("ours").info("a banana")

    assert lines.events[0]["event"] == "a banana"


def test_a_traceback_is_in_the_line_of_its_event() -> None:
    lines = Lines()

    try:
        raise RuntimeError("broken")
    except RuntimeError:
        get_logger("ours").exception("failed")

    (event,) = lines.events
    assert event["level"] == "error"
    assert "RuntimeError: broken" in event["exception"]


def test_values_that_json_does_not_know_are_written_as_text() -> None:
    lines = Lines()

    get_logger("ours").info("event", path=io, names={"b", "a"}, pair=(1, None))

    assert lines.events[0]["names"] == ["a", "b"]
    assert lines.events[0]["pair"] == [1, None]


def test_configuring_again_replaces_the_first_configuration() -> None:
    first, second = Lines(), Lines(service="exchange")

    get_logger("ours").info("event")

    assert first.text == ""
    assert second.events[0]["service"] == "exchange"


def test_python_warnings_are_logged() -> None:
    lines = Lines()

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old habit", UserWarning, stacklevel=1)

    assert "old habit" in lines.events[0]["event"]


def test_console_lines_are_for_reading() -> None:
    lines = Lines(format="console")

    get_logger("ours").info("price published", symbol="BTC/USD")

    assert "price published" in lines.text
    assert "symbol=BTC/USD" in lines.text
    assert "\x1b[" not in lines.text


def test_nothing_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(service="market-data", version="1")

    get_logger("ours").warning("event")

    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["event"] == "event"
