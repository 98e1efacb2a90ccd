"""Conversations are driven by hand: a script of answers goes in, what was sent and how long was waited comes out."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from fauxchange.client import requests
from fauxchange.client.conversation import Answer, Conversation, Conversations, Patience, Pause
from fauxchange.client.errors import (
    ApiError,
    Conflict,
    ConnectionLost,
    DeadlineExceeded,
    NotConnected,
    NotFound,
    OrderRejected,
    RateLimited,
    Rejected,
    ServerError,
    Unauthorized,
    Unavailable,
    UnknownOutcome,
)
from fauxchange.client.requests import Call, order_request
from fauxchange.contracts.exchange.messages import OrderMessage

Step = Answer | ApiError
PATIENCE = Patience(timeout_s=5.0, deadline_s=15.0, tries=3)
ORDER = order_request("buy", "BTC-USD", "0.01", price="60000", client_order_id="my-1")

lost = ConnectionLost("the connection was lost")
timed_out = DeadlineExceeded("no answer in time")
nobody = NotConnected("nothing answers")


def answer(document: object, status: int = 200, **headers: str) -> Answer:
    return Answer(status, headers, msgspec.json.encode(document))


def problem(status: int, code: str, **members: Any) -> Answer:
    headers = {"retry-after": str(members.pop("retry_after"))} if "retry_after" in members else {}
    return Answer(status, headers, msgspec.json.encode({"code": code, "detail": f"it is {code}", **members}))


class Venue:
    """Answers by a script, and keeps what it was asked and how long the client waited. A try takes no time."""

    def __init__(self, *script: Step, takes_s: float = 0.0) -> None:
        self._script = list(script)
        self._takes_s = takes_s
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self.timeouts_s: list[float] = []
        self.paused_s: list[float] = []
        self.now_s = 100.0

    def talk(self, call: Call[Any], patience: Patience = PATIENCE) -> Any:
        conversations = Conversations(patience, now_s=lambda: self.now_s, jitter=lambda: 1.0)
        return self.run(conversations.hold(call))

    def run(self, conversation: Conversation[Any]) -> Any:
        try:
            step = next(conversation)
            while True:
                if isinstance(step, Pause):
                    self.paused_s.append(step.seconds)
                    self.now_s += step.seconds
                    step = conversation.send(None)
                    continue
                self.asked.append(f"{step.call.method} {step.call.target.removeprefix('/api/v1')}")
                self.bodies.append(step.call.body)
                self.timeouts_s.append(step.timeout_s)
                self.now_s += self._takes_s
                told = self._script.pop(0)
                step = conversation.throw(told) if isinstance(told, ApiError) else conversation.send(told)
        except StopIteration as end:
            return end.value

    @property
    def unsaid(self) -> Sequence[Step]:
        return self._script


MakeOrder = Callable[..., OrderMessage]

ASK = "GET /orders/client:my-1"
PLACE = "POST /orders"


def test_an_answer_is_returned_as_what_it_is(make_order: MakeOrder) -> None:
    venue = Venue(answer(make_order(), 201))

    order = venue.talk(requests.place_order(ORDER))

    assert order == make_order()
    assert venue.asked == [PLACE]


@pytest.mark.parametrize(
    "failure", [lost, timed_out, nobody, problem(503, "unavailable"), problem(429, "rate_limited")]
)
def test_a_question_is_asked_again_after_any_passing_failure(failure: Step) -> None:
    venue = Venue(failure, failure, answer({"account_id": "3", "balances": []}))

    assert venue.talk(requests.get_balances()).account_id == "3"
    assert venue.paused_s == [0.1, 0.2]


def test_a_question_is_not_asked_for_ever() -> None:
    venue = Venue(timed_out, lost, timed_out, answer({}))

    with pytest.raises(DeadlineExceeded):
        venue.talk(requests.get_balances())
    assert len(venue.asked) == PATIENCE.tries


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (problem(401, "bad_signature"), Unauthorized),
        (problem(404, "unknown_order"), NotFound),
        (problem(409, "duplicate_client_order_id"), Conflict),
        (problem(422, "order_finished", reason=105), Rejected),
        (problem(500, "internal_error"), ServerError),
    ],
)
def test_a_refusal_of_a_question_is_final(refusal: Answer, error: type[ApiError]) -> None:
    venue = Venue(refusal)

    with pytest.raises(error) as raised:
        venue.talk(requests.get_order("1"))
    assert raised.value.status == refusal.status


def test_a_rate_limit_is_waited_out_as_long_as_the_venue_says() -> None:
    venue = Venue(problem(429, "rate_limited", retry_after=3), answer({"account_id": "3", "balances": []}))

    venue.talk(requests.get_balances())

    assert venue.paused_s == [3.0]


def test_a_rate_limit_beyond_the_deadline_is_told_at_once() -> None:
    venue = Venue(problem(429, "rate_limited", retry_after=60))

    with pytest.raises(RateLimited) as raised:
        venue.talk(requests.get_balances())
    assert raised.value.retry_after_s == 60.0
    assert venue.paused_s == []


def test_a_try_has_no_more_time_than_is_left_of_the_call() -> None:
    venue = Venue(timed_out, timed_out, answer({"account_id": "3", "balances": []}), takes_s=5.0)

    venue.talk(requests.get_balances(), Patience(timeout_s=5.0, deadline_s=11.0, tries=3))

    assert venue.timeouts_s == [5.0, 5.0, pytest.approx(0.7)]


# Changes that may not be repeated


@pytest.mark.parametrize("refusal", [nobody, problem(429, "rate_limited")])
def test_a_change_is_repeated_if_nothing_can_have_been_done(refusal: Step, make_order: MakeOrder) -> None:
    venue = Venue(refusal, answer(make_order()))

    venue.talk(requests.amend_order("17", price="1"))

    assert venue.asked == ["PATCH /orders/17"] * 2


def test_a_gateway_that_could_not_pass_an_order_on_leaves_no_doubt() -> None:
    away = problem(503, "kernel_away")
    venue = Venue(away, away, away)

    with pytest.raises(Unavailable, match="it is kernel_away"):
        venue.talk(requests.place_order(ORDER))
    assert venue.asked == [PLACE] * 3


@pytest.mark.parametrize("failure", [lost, timed_out, problem(500, "internal_error"), problem(503, "unavailable")])
def test_a_change_that_may_have_been_made_is_not_repeated(failure: Step) -> None:
    venue = Venue(failure, answer({}))

    with pytest.raises(UnknownOutcome, match="PATCH /api/v1/orders/17"):
        venue.talk(requests.amend_order("17", price="1"))
    assert len(venue.asked) == 1


def test_a_deposit_is_repeated_under_the_same_idempotency_key() -> None:
    call = requests.deposit("3", "USD", "5")
    made = {
        "transfer_id": "1",
        "account_id": "3",
        "asset": "USD",
        "amount": "5",
        "free": "5",
        "held": "0",
        "timestamp": "2026-01-31T12:00:00.000000Z",
    }
    venue = Venue(timed_out, answer(made, 201))

    assert venue.talk(call).free == "5"
    assert venue.asked == ["POST /accounts/3/deposits"] * 2


# Orders


@pytest.mark.parametrize("failure", [lost, timed_out, problem(500, "internal_error"), problem(503, "unavailable")])
def test_an_order_without_an_answer_is_asked_for_by_its_client_order_id(failure: Step, make_order: MakeOrder) -> None:
    venue = Venue(failure, answer(make_order(status="FILLED")))

    assert venue.talk(requests.place_order(ORDER)).status == "FILLED"
    assert venue.asked == [PLACE, ASK]


def test_an_order_that_the_venue_does_not_know_is_sent_again_unchanged(make_order: MakeOrder) -> None:
    venue = Venue(timed_out, problem(404, "unknown_order"), answer(make_order(), 201))

    venue.talk(requests.place_order(order_request("buy", "BTC-USD", "1")))

    assert venue.asked[0] == venue.asked[2] == PLACE
    assert venue.bodies[0] == venue.bodies[2]


def test_an_order_that_turns_out_to_be_rejected_raises_with_the_order(make_order: MakeOrder) -> None:
    venue = Venue(lost, answer(make_order(status="REJECTED", reason="insufficient_funds")))

    with pytest.raises(OrderRejected) as raised:
        venue.talk(requests.place_order(ORDER))
    assert raised.value.code == "insufficient_funds"


def test_a_rejection_carries_the_stored_order(make_order: MakeOrder) -> None:
    order = make_order(status="REJECTED", reason="notional_below_min")
    venue = Venue(problem(422, "notional_below_min", reason=208, order=msgspec.to_builtins(order)))

    with pytest.raises(OrderRejected) as raised:
        venue.talk(requests.place_order(ORDER))
    assert (raised.value.code, raised.value.reason, raised.value.order) == ("notional_below_min", 208, order)


def test_an_order_whose_fate_nobody_tells_is_an_unknown_outcome() -> None:
    venue = Venue(timed_out, *[lost] * 3)

    with pytest.raises(UnknownOutcome) as raised:
        venue.talk(requests.place_order(ORDER))
    assert raised.value.code == "outcome_unknown"
    assert venue.asked == [PLACE, ASK, ASK, ASK]


def test_a_doubt_stays_when_the_next_try_never_connects() -> None:
    unknown = problem(404, "unknown_order")
    venue = Venue(timed_out, unknown, nobody, unknown, nobody, unknown)

    with pytest.raises(UnknownOutcome, match="no answer in time"):
        venue.talk(requests.place_order(ORDER))
    assert venue.asked == [PLACE, ASK] * 3


def test_a_doubt_stays_when_the_credentials_fail_meanwhile() -> None:
    venue = Venue(timed_out, problem(404, "unknown_order"), problem(401, "revoked_key"))

    with pytest.raises(UnknownOutcome):
        venue.talk(requests.place_order(ORDER))


def test_a_refusal_that_the_venue_decided_on_ends_the_doubt() -> None:
    venue = Venue(timed_out, problem(404, "unknown_order"), problem(400, "off_grid", field="price"))

    with pytest.raises(ApiError) as raised:
        venue.talk(requests.place_order(ORDER))
    assert (raised.value.code, raised.value.field) == ("off_grid", "price")


def test_an_order_that_was_never_sent_is_no_unknown_outcome() -> None:
    venue = Venue(nobody, nobody, nobody)

    with pytest.raises(NotConnected):
        venue.talk(requests.place_order(ORDER))
    assert venue.asked == [PLACE] * 3


def test_a_cancellation_without_an_answer_is_repeated_while_the_order_is_open(make_order: MakeOrder) -> None:
    venue = Venue(lost, answer(make_order(status="NEW")), answer(make_order(status="CANCELED")))

    assert venue.talk(requests.cancel_order("17")).status == "CANCELED"
    assert venue.asked == ["DELETE /orders/17", "GET /orders/17", "DELETE /orders/17"]


def test_a_repeated_cancellation_that_comes_too_late_finds_the_first_ones_work(make_order: MakeOrder) -> None:
    venue = Venue(
        lost,
        answer(make_order(status="NEW")),
        problem(422, "order_finished", reason=105),
        answer(make_order(status="CANCELED")),
    )

    assert venue.talk(requests.cancel_order("17")).status == "CANCELED"


def test_a_first_cancellation_that_comes_too_late_is_refused() -> None:
    venue = Venue(problem(422, "order_finished", reason=105))

    with pytest.raises(Rejected) as raised:
        venue.talk(requests.cancel_order("17"))
    assert raised.value.code == "order_finished"


# Answers of something else


def test_an_answer_of_another_kind_of_server_is_named_as_such() -> None:
    venue = Venue(Answer(200, {}, b"<html>welcome</html>"))

    with pytest.raises(ServerError) as raised:
        venue.talk(requests.get_balances())
    assert raised.value.code == "unexpected_answer"


def test_a_refusal_without_a_problem_document_is_still_told() -> None:
    venue = Venue(Answer(404, {}, b"not here"))

    with pytest.raises(NotFound, match="the server answered 404"):
        venue.talk(requests.get_balances())


def test_settling_says_what_became_of_an_order(make_order: MakeOrder) -> None:
    conversations = Conversations(PATIENCE, now_s=lambda: 0.0, jitter=lambda: 1.0)
    settling = requests.settling_of(ORDER)

    assert Venue(answer(make_order())).run(conversations.settle(settling)) == make_order()
    assert Venue(problem(404, "unknown_order")).run(conversations.settle(settling)) is None
    with pytest.raises(UnknownOutcome):
        Venue(lost, lost, lost).run(conversations.settle(settling))


def test_unavailable_is_what_a_venue_says_that_cannot_store(make_order: MakeOrder) -> None:
    venue = Venue(problem(503, "unavailable", retry_after=1), problem(404, "unknown_order"), answer(make_order()))

    venue.talk(requests.place_order(ORDER))

    assert venue.paused_s == [1.0]
    assert isinstance(lost, Unavailable)


def test_a_request_that_a_fresh_venue_takes_for_a_replay_is_signed_anew() -> None:
    venue = Venue(problem(401, "stale_timestamp"), answer({"account_id": "3", "balances": []}))

    venue.talk(requests.get_balances())

    assert venue.paused_s == [0.4]


def test_a_clock_that_is_wrong_is_told_in_the_end() -> None:
    venue = Venue(*[problem(401, "stale_timestamp")] * 3)

    with pytest.raises(Unauthorized) as raised:
        venue.talk(requests.get_balances())
    assert raised.value.code == "stale_timestamp"
