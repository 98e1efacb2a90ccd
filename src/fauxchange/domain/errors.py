"""The error system's vocabulary: failures and bugs.

Three kinds of things go wrong, and each is treated in one way:

* an *outcome* is a refusal the venue is meant to give; it is a value, never an exception;
* a *failure* is a request or a world gone wrong; it is a `FauxchangeError` with a stable code,
  mapped once (in `fauxchange.platform.errors`) to problem+json and to a gRPC status;
* a *bug* is a broken invariant; it is an `InvariantViolation`, which nobody but the supervisor catches.
"""

from collections.abc import Mapping


class FauxchangeError(Exception):
    """Say what failed, with a stable code that clients may branch on.

    Units: retry_after_s in seconds, only on failures that are worth trying again
    """

    code = "internal_error"
    retryable = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        field: str | None = None,
        retryable: bool | None = None,
        retry_after_s: float | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s
        self.details = dict(details or {})
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable


class InvalidRequest(FauxchangeError):
    """The request cannot be understood or is out of bounds; repeating it will not help."""

    code = "invalid_request"


class Unauthenticated(FauxchangeError):
    """The caller did not prove who they are."""

    code = "unauthenticated"


class Forbidden(FauxchangeError):
    """The caller is known and may not do this."""

    code = "forbidden"


class NotFound(FauxchangeError):
    """What the request names does not exist."""

    code = "not_found"


class Conflict(FauxchangeError):
    """The request contradicts the present state."""

    code = "conflict"


class RateLimited(FauxchangeError):
    """The caller asked too often."""

    code = "rate_limited"
    retryable = True


class Unavailable(FauxchangeError):
    """Something the answer depends on is away."""

    code = "unavailable"
    retryable = True


class DeadlineExceeded(FauxchangeError):
    """The answer did not come in time; the request may have been carried out."""

    code = "deadline_exceeded"
    retryable = True


class ConfigurationError(FauxchangeError):
    """The process cannot start as it was told to; the message says what to change."""

    code = "configuration_error"


class Rejected(FauxchangeError):
    """The venue understood the request and refuses it by its rules: an outcome, told at the edge as a failure.

    `reason` is the kernel's number of the rule, `order` the stored order where there is one.
    """

    code = "rejected"

    def __init__(self, message: str, *, code: str, reason: int, order: object | None = None) -> None:
        super().__init__(message, code=code)
        self.reason = reason
        self.order = order


class DamagedJournal(FauxchangeError):
    """The journal is not what was written: it ends too early, has a gap, or a record was changed."""

    code = "damaged_journal"


class InvariantViolation(Exception):
    """A rule of the code itself was broken: a bug, not a failure."""


def check(condition: bool, message: str) -> None:
    """Raise `InvariantViolation` unless `condition` holds."""
    if not condition:
        raise InvariantViolation(message)
