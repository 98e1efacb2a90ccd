from typing import Any

import msgspec
import pytest

from fauxchange.client import errors
from fauxchange.client.errors import ApiError, error_of_answer, error_of_reply
from fauxchange.domain import errors as failures


def test_each_error_is_also_the_failure_that_the_venue_meant() -> None:
    refused = error_of_answer(404, {}, b'{"code": "unknown_order", "detail": "there is no order 5"}')

    assert isinstance(refused, errors.NotFound)
    assert isinstance(refused, failures.NotFound)
    assert (refused.code, refused.message, refused.status) == ("unknown_order", "there is no order 5", 404)


def test_an_error_without_a_code_has_that_of_its_kind() -> None:
    assert errors.NotConnected("nobody").code == "unavailable"
    assert errors.UnknownOutcome("who knows").code == "outcome_unknown"


def test_an_error_tells_when_to_come_back_and_what_to_quote() -> None:
    headers = {"retry-after": "2", "x-request-id": "r-1"}

    limited = error_of_answer(429, headers, b'{"code": "rate_limited"}')

    assert (limited.retry_after_s, limited.request_id) == (2.0, "r-1")
    assert error_of_answer(429, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"").retry_after_s is None


def test_only_an_order_that_was_rejected_is_an_order_rejected(make_order: Any) -> None:
    def refusal(status: str) -> ApiError:
        problem = {"code": "any", "reason": 105, "order": msgspec.to_builtins(make_order(status=status))}
        return error_of_answer(422, {}, msgspec.json.encode(problem))

    assert type(refusal("REJECTED")) is errors.OrderRejected
    assert type(refusal("FILLED")) is errors.Rejected
    assert refusal("FILLED").order == make_order(status="FILLED")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ({"op": "auth", "code": "invalid_signature"}, errors.Unauthorized),
        ({"op": "auth", "code": "rate_limited"}, errors.RateLimited),
        ({"op": "place", "code": "unauthenticated"}, errors.Unauthorized),
        ({"op": "place", "code": "off_grid"}, errors.InvalidRequest),
        ({"op": "cancel", "code": "order_finished", "reason": 105}, errors.Rejected),
        ({"op": "cancel", "code": "unknown_order"}, errors.NotFound),
    ],
)
def test_a_refused_frame_is_named_by_its_code(reply: dict[str, Any], kind: type[ApiError]) -> None:
    assert type(error_of_reply(reply)) is kind


def test_a_refused_frame_tells_when_to_come_back() -> None:
    assert error_of_reply({"op": "place", "code": "rate_limited", "retry_after_ms": 250}).retry_after_s == 0.25
