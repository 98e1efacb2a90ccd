"""What became of a call to another service: its own failure with its own code, or one of the way there.

A service of ours puts its code into the trailing metadata (`platform.errors.trailing_metadata`), so its failure arises
here as it did there. A status without a code comes from gRPC itself: nobody answered, or somebody else did.
"""

import contextlib
from dataclasses import dataclass

import grpc
import grpc.aio

from fauxchange.domain.errors import (
    Conflict,
    DeadlineExceeded,
    FauxchangeError,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    Rejected,
    Unauthenticated,
    Unavailable,
)
from fauxchange.platform.errors import PreconditionFailed
from fauxchange.platform.tracing import REQUEST_ID_HEADER

_KINDS: dict[grpc.StatusCode, type[FauxchangeError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: Forbidden,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.ABORTED: PreconditionFailed,
    grpc.StatusCode.FAILED_PRECONDITION: Conflict,
    grpc.StatusCode.RESOURCE_EXHAUSTED: RateLimited,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}
_GOING = frozenset({"stopping", "server_shutdown"})
"""Codes of a server that is about to end."""
_NOT_CONNECTED = "failed to connect"
"""How gRPC's text begins where no connection came about, so that nothing was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who was asked for what: for messages.

    Units: wait_s in seconds, how long the answer was waited for
    """

    peer: str
    target: str
    method: str
    repeatable: bool
    wait_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a call went wrong, and what that says.

    `answered`: the instance lives; `going`: it is about to stop; `passing`: the same call may go well, now or elsewhere
    """

    failure: FauxchangeError
    answered: bool = False
    going: bool = False
    passing: bool = True


def ending_of(error: grpc.aio.AioRpcError, asked: Asked) -> Ending:
    """Return what a status that is not OK means."""
    metadata = _text_metadata(error)
    code = metadata.get("fx-code")
    if code is None:
        return _of_the_way(error, asked)
    kind = _KINDS.get(error.code())
    if kind is None:
        return Ending(failure=_failed(error, asked, metadata), answered=True, passing=False)
    message = error.details() or f"{asked.peer} refused {asked.method}"
    failure: FauxchangeError
    if "fx-reason" in metadata:
        failure = Rejected(message, code=code, reason=_number(metadata["fx-reason"]))
    else:
        retry_after_ms = metadata.get("fx-retry-after-ms")
        failure = kind(
            message,
            code=code,
            field=metadata.get("fx-field"),
            retry_after_s=None if retry_after_ms is None else _number(retry_after_ms) / 1_000,
        )
    limited = isinstance(failure, RateLimited) and failure.retry_after_s is not None
    return Ending(
        failure=failure,
        answered=True,
        going=code in _GOING,
        passing=limited or isinstance(failure, Unavailable | DeadlineExceeded),
    )


def gone_silent(asked: Asked) -> Ending:
    """Return the ending of a call that was given up because its instance does not answer any more."""
    return Ending(failure=_unanswered(f"{_where(asked)} does not answer any more", asked))


def timed_out(asked: Asked) -> Ending:
    """Return the ending of a call whose answer did not come in time."""
    waited = "in time" if asked.wait_s is None else f"within {asked.wait_s:.3g} s"
    unknown = "" if asked.repeatable else "; it may have been carried out"
    failure = DeadlineExceeded(
        f"{_where(asked)} did not answer {asked.method} {waited}{unknown}",
        code="peer_timeout",
        retryable=asked.repeatable,
    )
    return Ending(failure=failure)


def _of_the_way(error: grpc.aio.AioRpcError, asked: Asked) -> Ending:
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return timed_out(asked)
    details = error.details() or error.code().name
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        if details.startswith(_NOT_CONNECTED):
            failure = Unavailable(
                f"{_where(asked)} cannot be reached ({details}); nothing was done", code="peer_unavailable"
            )
            return Ending(failure=failure)
        return Ending(failure=_unanswered(f"the connection to {_where(asked)} was lost ({details})", asked))
    return Ending(failure=_failed(error, asked, _text_metadata(error)), answered=True, passing=False)


def _unanswered(what: str, asked: Asked) -> Unavailable:
    if asked.repeatable:
        return Unavailable(what, code="peer_unavailable")
    return Unavailable(
        f"{what}; {asked.method} may have been carried out, or not: look before you repeat it",
        code="outcome_unknown",
        retryable=False,
    )


def _failed(error: grpc.aio.AioRpcError, asked: Asked, metadata: dict[str, str]) -> Unavailable:
    request_id = metadata.get(REQUEST_ID_HEADER)
    quoted = "" if request_id is None else f", request id {request_id}"
    hint = "; is it another version, or another program?" if error.code() is grpc.StatusCode.UNIMPLEMENTED else ""
    return Unavailable(
        f"{_where(asked)} failed to answer {asked.method} ({error.code().name}: {error.details()}{quoted}){hint}",
        code="peer_failed",
        retryable=asked.repeatable,
    )


def _where(asked: Asked) -> str:
    return f"{asked.peer} at {asked.target}"


def _text_metadata(error: grpc.aio.AioRpcError) -> dict[str, str]:
    return {key: value for key, value in error.trailing_metadata() or () if isinstance(value, str)}


def _number(text: str) -> int:
    # Of another version at the worst; a failure must not fail to be told.
    with contextlib.suppress(ValueError):
        return int(text)
    return 0
