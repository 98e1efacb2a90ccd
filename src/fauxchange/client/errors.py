"""What a venue refuses, and what may go wrong on the way to it, as exceptions.

Each is an `ApiError`, and also the failure of `fauxchange.domain.errors` that the venue meant, so callers may catch
either. What matters most to a trader is told by the class: whether nothing was done, or whether nobody knows.

* `NotConnected`: nothing was sent, so nothing was done;
* every answer with a status below 500: refused, nothing was done;
* `UnknownOutcome`: the request may have been carried out. For orders this is raised only after the client has asked
  what became of them and got no answer.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from fauxchange.contracts.exchange.messages import OrderMessage
from fauxchange.contracts.exchange.refusals import REFUSALS
from fauxchange.domain import errors as failures

STALE_TIMESTAMP = "stale_timestamp"
STALE_PAUSE_S = 0.4
"""Three of these are longer than a venue refuses to look back."""


class ApiError(failures.FauxchangeError):
    """A venue's refusal, or no answer from it.

    `status` is the HTTP status where there was an answer; `reason` the number of a rule of the exchange; `order` the
    order as the exchange has it.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        field: str | None = None,
        reason: int | None = None,
        order: OrderMessage | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, code=code, field=field, retry_after_s=retry_after_s)
        self.status = status
        self.reason = reason
        self.order = order
        self.request_id = request_id


class InvalidRequest(ApiError, failures.InvalidRequest):
    """The request cannot be understood or is out of bounds."""


class Unauthorized(ApiError, failures.Unauthenticated):
    """The credentials are missing, wrong, stale or revoked."""


class StaleTimestamp(Unauthorized):
    """The request was signed too long ago, or before the venue was started: signed anew it may be accepted.

    For a moment after its start a venue refuses what it may have accepted in its life before.
    """


class Forbidden(ApiError, failures.Forbidden):
    """These credentials do not allow it."""


class NotFound(ApiError, failures.NotFound):
    """What the request names does not exist."""


class Conflict(ApiError, failures.Conflict):
    """The request contradicts the present state, such as a client order id that another order has."""


class Rejected(ApiError):
    """The exchange refuses by its rules; `code` and `reason` say by which."""

    code = "rejected"


class OrderRejected(Rejected):
    """The exchange rejected an order, which it keeps as `order` with the status REJECTED."""


class RateLimited(ApiError, failures.RateLimited):
    """Asked too often; `retry_after_s` says when to come back."""


class Unavailable(ApiError, failures.Unavailable):
    """The venue, or something it depends on, is away."""


class NotConnected(Unavailable):
    """No connection came about: nothing was sent."""


class ConnectionLost(Unavailable):
    """The connection went before the answer came."""


class DeadlineExceeded(ApiError, failures.DeadlineExceeded):
    """The answer did not come in time."""


class ServerError(ApiError):
    """The venue failed in a way that it did not foresee."""


class UnknownOutcome(ApiError):
    """The request may have been carried out or not; for an order, `get_order` by its client order id tells later."""

    code = "outcome_unknown"


class OutOfStep(ApiError):
    """A stream does not fit together, even after beginning anew."""

    code = "out_of_step"


_BY_STATUS: Mapping[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Rejected,
    429: RateLimited,
    503: Unavailable,
    504: DeadlineExceeded,
}
_BY_CODE: Mapping[str, type[ApiError]] = {
    "unauthenticated": Unauthorized,
    "key_revoked": Unauthorized,
    STALE_TIMESTAMP: StaleTimestamp,
    "forbidden": Forbidden,
    "rate_limited": RateLimited,
    "unavailable": Unavailable,
    "unknown_symbol": NotFound,
    "unknown_order": NotFound,
    "duplicate_client_order_id": Conflict,
    "internal_error": ServerError,
}
"""Answers on a WebSocket carry no status: of most refusals it is enough to know that they are no accident."""

_RULES = {refusal.code: (number, refusal.detail) for number, refusal in REFUSALS.items()}


def error_of_answer(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """Return the error that an HTTP answer tells of. Units: header names in lower case."""
    problem = _problem(body)
    order = _order(problem)
    kind = _BY_STATUS.get(status, InvalidRequest if status < 500 else ServerError)
    retry_after_s = _seconds(headers.get("retry-after"))
    if kind is Rejected and _is_rejected(order):
        kind = OrderRejected
    elif problem.get("code") == STALE_TIMESTAMP:
        kind, retry_after_s = StaleTimestamp, STALE_PAUSE_S
    return kind(
        str(problem.get("detail") or problem.get("title") or f"the server answered {status}"),
        code=problem.get("code"),
        status=status,
        field=problem.get("field"),
        reason=problem.get("reason"),
        order=order,
        retry_after_s=retry_after_s,
        request_id=problem.get("request_id") or headers.get("x-request-id"),
    )


def error_of_reply(reply: Mapping[str, Any]) -> ApiError:
    """Return the error that a refused WebSocket frame tells of."""
    code, reason, order = reply.get("code"), reply.get("reason"), _order(reply)
    kind = _BY_CODE.get(str(code), Unauthorized if reply.get("op") == "auth" else InvalidRequest)
    if reason is not None:
        kind = OrderRejected if _is_rejected(order) else Rejected
    retry_after_ms = reply.get("retry_after_ms")
    return kind(
        str(reply.get("detail") or f"the server refused to {reply.get('op') or 'read what was sent'}"),
        code=code,
        field=reply.get("field"),
        reason=reason,
        order=order,
        retry_after_s=None if retry_after_ms is None else retry_after_ms / 1_000,
    )


def error_of_rejected(order: OrderMessage) -> OrderRejected:
    """Return the error that an order with the status REJECTED stands for."""
    code = order.reason or OrderRejected.code
    number, detail = _RULES.get(code, (None, "the exchange rejected the order"))
    return OrderRejected(detail, code=code, reason=number, order=order)


def _problem(body: bytes) -> Mapping[str, Any]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return document if isinstance(document, dict) else {}


def _order(document: Mapping[str, Any]) -> OrderMessage | None:
    try:
        return msgspec.convert(document.get("order"), OrderMessage | None)
    except msgspec.ValidationError:
        return None


def _is_rejected(order: OrderMessage | None) -> bool:
    # A cancellation that comes too late is refused with an order too, which was not rejected.
    return order is not None and order.status == "REJECTED"


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
