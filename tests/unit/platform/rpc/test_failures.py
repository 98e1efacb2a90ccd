import grpc
import pytest
from rpc_fakes import status

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
from fauxchange.platform.errors import EDGE_STATUS, edge_status, trailing_metadata
from fauxchange.platform.rpc.failures import Asked, ending_of

READ = Asked(peer="market-data", target="10.0.0.1:9093", method="GetPrice", repeatable=True, wait_s=5.0)
WRITE = Asked(peer="exchange", target="10.0.0.1:9092", method="CancelAll", repeatable=False, wait_s=5.0)


def sent(failure: FauxchangeError) -> grpc.aio.AioRpcError:
    """Return the status that our server answers a failure with."""
    metadata = {name.replace("-", "_"): value for name, value in trailing_metadata(failure)}
    return status(edge_status(failure).grpc, failure.message, **metadata)


@pytest.mark.parametrize(
    "failure",
    [
        InvalidRequest("bad", code="out_of_range", field="limit"),
        Unauthenticated("who?"),
        Forbidden("no", code="venue_account"),
        NotFound("no such symbol", code="unknown_symbol", field="symbol"),
        Conflict("taken", code="duplicate_client_order_id"),
        RateLimited("slow down", retry_after_s=0.5),
        Unavailable("full", code="queue_full", retry_after_s=1.0),
        DeadlineExceeded("too late"),
        Rejected("too little", code="insufficient_funds", reason=401),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_a_failure_arises_here_as_it_did_there(failure: FauxchangeError) -> None:
    ending = ending_of(sent(failure), WRITE)

    told = ending.failure
    assert type(told) is type(failure)
    assert (told.code, told.message, told.retryable) == (failure.code, failure.message, failure.retryable)
    assert (told.field, told.retry_after_s) == (failure.field, failure.retry_after_s)
    assert getattr(told, "reason", None) == getattr(failure, "reason", None)
    assert ending.answered


def test_every_status_of_the_mapping_comes_back_as_a_failure_of_the_same_status() -> None:
    for kind, edge in EDGE_STATUS.items():
        if edge.grpc is grpc.StatusCode.UNIMPLEMENTED or kind is Rejected:
            continue
        told = ending_of(status(edge.grpc, "x", fx_code="some_code"), READ).failure
        assert edge_status(told).grpc is edge.grpc, kind


@pytest.mark.parametrize(
    ("failure", "passing"),
    [
        (Unavailable("full", code="queue_full"), True),
        (DeadlineExceeded("too late"), True),
        (RateLimited("slow down", retry_after_s=0.5), True),
        (RateLimited("slow down"), False),
        (NotFound("nothing"), False),
        (Rejected("no", code="overflow", reason=402), False),
    ],
)
def test_only_what_may_pass_is_worth_repeating(failure: FauxchangeError, passing: bool) -> None:
    assert ending_of(sent(failure), READ).passing is passing


def test_a_server_that_stops_is_going() -> None:
    assert ending_of(sent(Unavailable("bye", code="stopping", retry_after_s=1)), READ).going
    assert not ending_of(sent(Unavailable("full", code="queue_full")), READ).going


def test_a_connection_that_never_was_did_nothing() -> None:
    error = status(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; last error: refused")

    ending = ending_of(error, WRITE)

    assert ending.failure.code == "peer_unavailable"
    assert "nothing was done" in ending.failure.message
    assert "10.0.0.1:9092" in ending.failure.message
    assert not ending.answered


def test_a_connection_lost_on_the_way_leaves_a_write_unknown_and_a_read_undone() -> None:
    error = status(grpc.StatusCode.UNAVAILABLE, "Socket closed")

    write, read = ending_of(error, WRITE).failure, ending_of(error, READ).failure

    assert (write.code, write.retryable) == ("outcome_unknown", False)
    assert (read.code, read.retryable) == ("peer_unavailable", True)


def test_a_deadline_says_how_long_was_waited() -> None:
    ending = ending_of(status(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"), READ)

    assert isinstance(ending.failure, DeadlineExceeded)
    assert "within 5 s" in ending.failure.message
    assert not ending.answered


def test_an_accident_there_is_told_with_its_request_id() -> None:
    error = status(grpc.StatusCode.INTERNAL, "oops", fx_code="internal_error", x_request_id="r-7")

    ending = ending_of(error, READ)

    assert ending.failure.code == "peer_failed"
    assert "r-7" in ending.failure.message
    assert (ending.answered, ending.passing) == (True, False)


def test_a_method_that_is_not_there_hints_at_another_version() -> None:
    ending = ending_of(status(grpc.StatusCode.UNIMPLEMENTED, "there is no such method", fx_code="not_found"), READ)

    assert "another version" in ending.failure.message


def test_metadata_of_another_version_does_not_keep_a_failure_from_being_told() -> None:
    error = status(grpc.StatusCode.FAILED_PRECONDITION, "no", fx_code="new_rule", fx_reason="seven")

    failure = ending_of(error, READ).failure

    assert isinstance(failure, Rejected)
    assert failure.code == "new_rule"
