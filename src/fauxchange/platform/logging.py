"""Structured logs: one line per event on standard error, as JSON or for reading on a terminal.

Our own events and those of the standard library's loggers (uvicorn, gRPC, asyncio) take one way through the same
processors, so each line carries `timestamp`, `level`, `event`, `logger`, `service`, `version` and what is bound to
the context (`request_id`, `trace_id`), and none carries a secret: values under telling names are masked, and so is
every value given to `register_secret`, wherever it stands.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["json", "console"]

MASK = "[redacted]"
SHORTEST_SECRET = 4
"""Shorter values are not masked: they would blot out innocent text."""

_SECRET_NAME = re.compile(
    r"(?:^|[_.\-])(?:password|passwd|passphrase|secret|token|authorization|cookie|signature|credentials?"
    r"|private_key|api_key|admin_key|audit_key|fx[_-]key|dsn)(?:$|[_.\-])",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)@")
_FIRST = ("timestamp", "level", "event")

# What these say below a warning is said better by our own metrics and lines, or is about their own insides.
_QUIETER = ("uvicorn.access", "uvicorn.error", "websockets.server", "asyncio", "httpx", "httpcore", "numba")

_secrets: set[str] = set()


def register_secret(value: str) -> None:
    """Mask `value` in every line from now on, also inside longer text."""
    if len(value) >= SHORTEST_SECRET:
        _secrets.add(value)


def configure_logging(
    *,
    level: str = "info",
    format: LogFormat = "json",  # noqa: A002 - named as the setting it comes from, LOG_FORMAT
    service: str,
    version: str,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Send all logs of the process, the standard library's included, to `stream` (standard error if None).

    Calling again replaces what the call before set up.
    """
    for secret in secrets:
        register_secret(secret)
    handler = _OurHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(
        _formatter(format, service, version, colors=handler.stream.isatty() and not os.environ.get("NO_COLOR"))
    )
    root = logging.getLogger()
    for earlier in [present for present in root.handlers if isinstance(present, _OurHandler)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _QUIETER:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.captureWarnings(True)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger `name`; it may be asked for before logging is configured."""
    return structlog.stdlib.get_logger(name)


class _OurHandler(logging.StreamHandler[TextIO]):
    """Marks the handler that `configure_logging` put in place."""


class _Redactor:
    """Masks secrets in an event: by name of the key, and by value anywhere."""

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        # Longest first, so that a secret which contains another leaves no rest behind.
        secrets = sorted(_secrets, key=len, reverse=True)
        return {key: self._masked(key, value, secrets) for key, value in event.items()}

    def _masked(self, key: str, value: Any, secrets: list[str]) -> Any:
        if key.startswith("_"):
            # The formatter's own entries (`_record`, `_from_structlog`), removed before rendering.
            return value
        if value is not None and _SECRET_NAME.search(key):
            return MASK
        return self._cleaned(value, secrets)

    def _cleaned(self, value: Any, secrets: list[str]) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {str(key): self._masked(str(key), item, secrets) for key, item in value.items()}
        if isinstance(value, set | frozenset):
            value = sorted(value, key=str)
        if isinstance(value, list | tuple):
            return [self._cleaned(item, secrets) for item in value]
        text = value if isinstance(value, str) else str(value)
        for secret in secrets:
            text = text.replace(secret, MASK)
        return _URL_PASSWORD.sub(rf"\1:{MASK}@", text)


class _Origin:
    """Adds which service, in which version, is speaking."""

    def __init__(self, service: str, version: str) -> None:
        self._service, self._version = service, version

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = self._service
        event["version"] = self._version
        return event


def _in_order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    first = {name: event.pop(name) for name in _FIRST if name in event}
    return {**first, **event}


def _json_line(event: Mapping[str, Any], **_options: Any) -> str:
    return json.dumps(event, default=str, ensure_ascii=False, separators=(",", ":"))


# What is added where an event is made: the formatter may run in another context or thread.
_ADDED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.StackInfoRenderer(),
)


def _formatter(
    log_format: LogFormat, service: str, version: str, *, colors: bool
) -> structlog.stdlib.ProcessorFormatter:
    renderer: Processor
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer(serializer=_json_line)
    else:
        # Tracebacks are text by then, because what is in them must be masked too.
        renderer = structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback, sort_keys=False
        )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_ADDED, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.processors.format_exc_info,
            _Origin(service, version),
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _Redactor(),
            _in_order,
            renderer,
        ],
    )


# At import, so that a logger used before `configure_logging` (or in a test) goes to the standard library's loggers
# and never to standard output, which belongs to the commands' data.
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_ADDED,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=False,
)
