import asyncio

import grpc
import msgspec
import pytest
from structlog.testing import capture_logs

from fauxchange.domain.errors import (
    ConfigurationError,
    Conflict,
    DeadlineExceeded,
    FauxchangeError,
    Forbidden,
    InvalidRequest,
    InvariantViolation,
    NotFound,
    RateLimited,
    Rejected,
    Unauthenticated,
    Unavailable,
)
from fauxchange.platform.errors import (
    NEUTRAL_DETAIL,
    MethodNotAllowed,
    PayloadTooLarge,
    answerable,
    edge_status,
    problem_bytes,
    problem_document,
    problem_headers,
    trailing_metadata,
)


@pytest.fixture
def captured_log():
    with capture_logs() as log:
        yield log


@pytest.mark.parametrize(
    ("failure", "http", "status"),
    [
        (InvalidRequest("x"), 400, grpc.StatusCode.INVALID_ARGUMENT),
        (Unauthenticated("x"), 401, grpc.StatusCode.UNAUTHENTICATED),
        (Forbidden("x"), 403, grpc.StatusCode.PERMISSION_DENIED),
        (NotFound("x"), 404, grpc.StatusCode.NOT_FOUND),
        (Conflict("x"), 409, grpc.StatusCode.ALREADY_EXISTS),
        (PayloadTooLarge("x"), 413, grpc.StatusCode.INVALID_ARGUMENT),
        (Rejected("x", code="overflow", reason=402), 422, grpc.StatusCode.FAILED_PRECONDITION),
        (RateLimited("x"), 429, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (Unavailable("x"), 503, grpc.StatusCode.UNAVAILABLE),
        (DeadlineExceeded("x"), 504, grpc.StatusCode.DEADLINE_EXCEEDED),
        (ConfigurationError("x"), 500, grpc.StatusCode.INTERNAL),
        (InvariantViolation("x"), 500, grpc.StatusCode.INTERNAL),
        (ZeroDivisionError("x"), 500, grpc.StatusCode.INTERNAL),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_each_failure_has_one_status_per_protocol(failure, http, status):
    edge = edge_status(failure)

    assert (edge.http, edge.grpc) == (http, status)


def test_a_subclass_is_treated_as_the_nearest_class_that_is_mapped():
    class UnknownSymbol(NotFound):
        code = "unknown_symbol"

    assert edge_status(UnknownSymbol("x")).http == 404


def test_a_mapped_failure_is_answered_as_it_is():
    failure = NotFound("no such symbol", code="unknown_symbol", field="symbol", details={"symbol": "BTC/XXX"})

    document = problem_document(answerable(failure), request_id="r-1", instance="/api/v1/prices/BTC-XXX")

    assert msgspec.json.decode(problem_bytes(document)) == {
        "type": "urn:fauxchange:problem:unknown_symbol",
        "title": "Not found",
        "status": 404,
        "detail": "no such symbol",
        "code": "unknown_symbol",
        "request_id": "r-1",
        "field": "symbol",
        "instance": "/api/v1/prices/BTC-XXX",
        "details": {"symbol": "BTC/XXX"},
    }


@pytest.mark.parametrize("exc", [ZeroDivisionError("secret"), FauxchangeError("secret"), ConfigurationError("secret")])
def test_what_no_one_foresaw_is_answered_neutrally_and_logged_with_its_traceback(exc, captured_log):
    document = problem_document(answerable(exc), request_id="r-1")

    assert (document.status, document.code, document.detail) == (500, "internal_error", NEUTRAL_DETAIL)
    assert [(entry["log_level"], entry["exc_info"]) for entry in captured_log] == [("error", exc)]


async def test_a_bug_is_answered_neutrally_and_reported_to_the_event_loop(captured_log):
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context["exception"]))
    bug = InvariantViolation("a hold is negative")

    failure = answerable(bug)

    assert failure.message == NEUTRAL_DETAIL
    assert reported == [bug]
    assert captured_log[0]["exc_info"] is bug


async def test_an_accident_is_not_reported_to_the_event_loop(captured_log):
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context["exception"]))

    answerable(ZeroDivisionError())

    assert reported == []


def test_retry_after_is_rounded_up_to_whole_seconds():
    assert problem_headers(RateLimited("slow down", retry_after_s=1.2)) == {"retry-after": "2"}


def test_the_headers_say_how_to_authenticate_and_what_is_allowed():
    assert problem_headers(Unauthenticated("who?")) == {"www-authenticate": 'Bearer realm="fauxchange"'}
    assert problem_headers(MethodNotAllowed("no", allow="GET")) == {"allow": "GET"}


def test_the_trailing_metadata_carries_code_field_and_when_to_come_back():
    failure = RateLimited("slow down", field="symbol", retry_after_s=0.0105)

    metadata = trailing_metadata(failure)

    assert metadata == (("fx-code", "rate_limited"), ("fx-field", "symbol"), ("fx-retry-after-ms", "11"))


def test_a_rejection_says_its_reason_and_the_order_that_it_is_about():
    failure = Rejected("too little", code="insufficient_funds", reason=401, order={"order_id": "17"})

    document = msgspec.json.decode(problem_bytes(problem_document(answerable(failure), request_id="r-1")))

    assert (document["status"], document["title"], document["code"]) == (422, "Rejected", "insufficient_funds")
    assert (document["reason"], document["order"]) == (401, {"order_id": "17"})
    assert trailing_metadata(failure) == (("fx-code", "insufficient_funds"), ("fx-reason", "401"))


def test_a_rejection_without_an_order_has_none():
    document = problem_document(Rejected("too large", code="overflow", reason=402), request_id="r-1")

    assert "order" not in msgspec.json.decode(problem_bytes(document))


def test_a_field_that_metadata_cannot_carry_is_left_out():
    assert trailing_metadata(InvalidRequest("no", field="prix\n€")) == (("fx-code", "invalid_request"),)
