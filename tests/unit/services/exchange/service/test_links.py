"""What gateways and the kernel process say to each other arrives as it was said."""

import pytest

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
from fauxchange.platform.http.problems import problem
from fauxchange.services.exchange.service import links


@pytest.mark.parametrize(
    "failure",
    [
        InvalidRequest("bad", code="off_grid", field="price"),
        NotFound("no such order", code="unknown_order", field="order_id"),
        Conflict("taken", code="duplicate_client_order_id"),
        Unauthenticated("old", code="stale_timestamp", details={"server_time_ms": "1"}),
        Forbidden("not yours"),
        RateLimited("too often", retry_after_s=0.25),
        Unavailable("full", code="queue_full", retry_after_s=1.0),
        DeadlineExceeded("late"),
        Rejected("no funds", code="insufficient_balance", reason=401),
        FauxchangeError("something"),
    ],
)
def test_a_failure_is_told_to_callers_as_if_no_link_were_between(failure: FauxchangeError) -> None:
    (answer,) = links.read_from_kernel(
        links.pack([links.encode(links.Answer(1, failure=links.failure_message(failure)))])
    )

    assert isinstance(answer, links.Answer)
    assert answer.failure is not None
    arrived = links.failure_of(answer.failure)
    assert problem(arrived, instance="/x")[:2] == problem(failure, instance="/x")[:2]
    assert (arrived.code, arrived.message, arrived.field, arrived.retryable) == (
        failure.code,
        failure.message,
        failure.field,
        failure.retryable,
    )
    assert arrived.details == failure.details


def test_a_kind_of_failure_that_is_not_known_arrives_as_the_kind_it_is_one_of() -> None:
    class Special(Unavailable):
        code = "special"

    arrived = links.failure_of(links.failure_message(Special("gone")))

    assert type(arrived) is Unavailable
    assert arrived.code == "special"


def test_a_batch_ends_behind_the_message_that_reaches_its_size() -> None:
    half = bytes(links.BATCH_BYTES // 2)

    first, rest = links.first_batch([half, half, half])

    assert (len(first), len(rest)) == (2, 1)
    assert links.first_batch(rest) == ([half], [])
