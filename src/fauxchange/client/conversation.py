"""What is said to carry out one call: tries, pauses, and questions about what became of an order.

A conversation decides and does no I/O: it is a generator that yields what to do next (`Send` or `Pause`) and is sent
the answer, or thrown the `ApiError` that came instead of one. The synchronous and the asynchronous client run the same
conversations.

* A call of which nothing can have been done (never connected, or refused for its rate or its age) is sent again.
* A call that may have been carried out is sent again only if it is `repeatable`.
* Of an order that may have been placed or canceled the venue is asked first what became of it (`settling`).
* Once one try may have been carried out, only an answer that settles it ends the doubt: nothing but `UnknownOutcome`
  is raised before.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import msgspec

from fauxchange.client.chance import Backoff
from fauxchange.client.errors import (
    ApiError,
    Conflict,
    DeadlineExceeded,
    InvalidRequest,
    NotConnected,
    NotFound,
    RateLimited,
    Rejected,
    ServerError,
    StaleTimestamp,
    Unavailable,
    UnknownOutcome,
    error_of_answer,
)
from fauxchange.client.requests import ORDER_FINISHED, Call, Settling
from fauxchange.domain.errors import check

T = TypeVar("T")

LONGEST_PAUSE_S = 2.0
SHORTEST_TRY_S = 0.05

_NOTHING_DONE = (NotConnected, RateLimited)
KERNEL_AWAY = "kernel_away"
"""A gateway's word that it could not pass the request on; one that it did is `outcome_unknown`."""
_PASSING = (Unavailable, DeadlineExceeded, RateLimited, StaleTimestamp)
_DEFINITE = (InvalidRequest, NotFound, Conflict, Rejected)
"""What the venue answers only after it has looked whether it knows the request."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a call and bring the answer. Units: seconds."""

    call: Call[Any]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait. Units: seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Conversation: TypeAlias = Generator[Send | Pause, Any, T]
"""It is sent an `Answer` for each `Send`, and None for each `Pause`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a call may take, and how often it is tried. Units: seconds."""

    timeout_s: float = 5.0
    """Of one try."""
    deadline_s: float = 15.0
    """Of the whole call, with its pauses and questions."""
    tries: int = 4
    first_pause_s: float = 0.1
    """Before the second try; each pause is twice as long as the one before."""


PATIENCE = Patience()


class Conversations:
    """Hold conversations. Units: now_s returns seconds of a clock that never goes back."""

    def __init__(self, patience: Patience, *, now_s: Callable[[], float], jitter: Callable[[], float]) -> None:
        check(patience.tries >= 1, "a call is tried at least once")
        self._patience = patience
        self._now_s = now_s
        self._jitter = jitter

    def hold(self, call: Call[T]) -> Conversation[T]:
        """Carry out a call. Raises: ApiError."""
        return self._carry_out(call, self._now_s() + self._patience.deadline_s)

    def settle(self, settling: Settling[T]) -> Conversation[T | None]:
        """Return what became of a call, or None if it has had no effect yet. Raises: UnknownOutcome, Rejected."""
        return self._ask(settling, self._now_s() + self._patience.deadline_s)

    def _carry_out(self, call: Call[T], deadline_s: float) -> Conversation[T]:
        backoff = Backoff(first_s=self._patience.first_pause_s, longest_s=LONGEST_PAUSE_S, jitter=self._jitter)
        doubt: ApiError | None = None
        tries = self._patience.tries
        while True:
            tries -= 1
            try:
                return (yield from self._try(call, deadline_s))
            except ApiError as exc:
                failure = exc
            if _may_have_been_done(call, failure):
                doubt = doubt or failure
            elif not isinstance(failure, _PASSING):
                if doubt is not None and failure.code == ORDER_FINISHED and call.settling is not None:
                    # Very likely by the cancellation that got no answer.
                    finished = yield from self._ask(call.settling, deadline_s)
                    if finished is not None:
                        return finished
                raise failure if doubt is None or isinstance(failure, _DEFINITE) else _unknown(call, doubt)
            final = failure if doubt is None else _unknown(call, doubt)
            settling = None if doubt is None else call.settling
            if settling is None and (tries == 0 or (doubt is not None and not call.repeatable)):
                raise final
            pause_s = max(backoff.next_s(), failure.retry_after_s or 0.0)
            if self._now_s() + pause_s >= deadline_s:
                raise final
            yield Pause(pause_s)
            if settling is not None:
                settled = yield from self._ask(settling, deadline_s)
                if settled is not None:
                    return settled
                if tries == 0:
                    raise final

    def _ask(self, settling: Settling[T], deadline_s: float) -> Conversation[T | None]:
        try:
            found = yield from self._carry_out(settling.question, deadline_s)
        except NotFound:
            return None
        except ApiError as exc:
            raise _unknown(settling.question, exc) from exc
        return settling.conclude(found)

    def _try(self, call: Call[T], deadline_s: float) -> Conversation[T]:
        timeout_s = max(SHORTEST_TRY_S, min(self._patience.timeout_s, deadline_s - self._now_s()))
        answer: Answer = yield Send(call, timeout_s)
        if answer.status >= 300:
            raise error_of_answer(answer.status, answer.headers, answer.body)
        try:
            return call.parse(answer.body)
        except msgspec.DecodeError as exc:
            message = f"{call.method} {call.target} was answered by something else than a Fauxchange exchange: {exc}"
            raise ServerError(message, code="unexpected_answer", status=answer.status) from exc


def _may_have_been_done(call: Call[Any], failure: ApiError) -> bool:
    if call.method == "GET" or isinstance(failure, _NOTHING_DONE) or failure.code == KERNEL_AWAY:
        return False
    return isinstance(failure, Unavailable | DeadlineExceeded | ServerError)


def _unknown(call: Call[Any], doubt: ApiError) -> UnknownOutcome:
    subject = f"whether {call.method} {call.target} was carried out" if call.method != "GET" else "what became of it"
    return UnknownOutcome(f"{subject} is not known: {doubt.message}", status=doubt.status, request_id=doubt.request_id)
