"""The client manager against instances that die, freeze and come back, in time that jumps."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
import pytest
from rpc_fakes import FakeNetwork, status

from fauxchange.contracts.exchange.v1 import exchange_pb2
from fauxchange.contracts.market_data.v1 import market_data_pb2
from fauxchange.domain.errors import (
    DeadlineExceeded,
    FauxchangeError,
    InvalidRequest,
    InvariantViolation,
    NotFound,
    RateLimited,
    Unavailable,
)
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.platform.ports import DependencyStatus
from fauxchange.platform.rpc.breaker import BreakerState
from fauxchange.platform.rpc.client_metrics import ClientMetrics
from fauxchange.platform.rpc.clients import ClientManager, PeerClient
from fauxchange.platform.rpc.deadlines import answering_within
from fauxchange.platform.rpc.instances import Find, Found, at_addresses
from fauxchange.platform.rpc.methods import Peer
from fauxchange.platform.rpc.peers import EXCHANGE, MARKET_DATA
from fauxchange.platform.rpc.pool import ClientLimits, Surroundings
from fauxchange.platform.tracing import RequestContext, serving

A, B = "10.0.0.1:9093", "10.0.0.2:9093"
GET_PRICE = market_data_pb2.GetPriceRequest(symbol="BTC/USD")
STREAM = market_data_pb2.StreamPricesRequest()

RunJumping = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]


class Venue:
    """A network, a client of one service in it, and what was measured."""

    def __init__(self, network: FakeNetwork, peer: Peer, find: Find | None, limits: ClientLimits) -> None:
        self.network = network
        self.metrics = PrometheusMetrics("test", "i-1", "1")
        surroundings = Surroundings(
            metrics=ClientMetrics(self.metrics),
            chance=random.Random(5).random,
            now_s=self.now_s,
            open_channel=network.open_channel,
            limits=limits,
        )
        self.manager = ClientManager(surroundings)
        self.client: PeerClient = self.manager.add(peer, find or at_addresses(list(network.instances)))

    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def called(self) -> list[str]:
        return [instance.target for instance in self.network for _ in instance.calls]

    def shown(self, name: str, **labels: str) -> float | None:
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        for line in self.metrics.expose()[0].decode().splitlines():
            head, _, value = line.rpartition(" ")
            if head.startswith(f"{name}{{") and all(label in head for label in wanted):
                return float(value)
        return None

    async def until(self, condition: Callable[[], bool], within_s: float = 60.0) -> float:
        """Wait until the condition holds; return how long that took."""
        started_s = self.now_s()
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - the time between two looks is not real
                await asyncio.sleep(0.005)
        return self.now_s() - started_s


@asynccontextmanager
async def venue(
    *targets: str, peer: Peer = MARKET_DATA, find: Find | None = None, limits: ClientLimits | None = None
) -> AsyncIterator[Venue]:
    made = Venue(FakeNetwork(*targets), peer, find, limits or ClientLimits())
    await made.manager.start()
    try:
        yield made
    finally:
        await made.manager.stop()


@pytest.fixture
def jumping(run_jumping: RunJumping) -> Callable[[Callable[[], Awaitable[None]]], None]:
    """Return a function that runs a test's coroutine in time that jumps, and sees that no task is left behind."""

    def run(main: Callable[[], Awaitable[None]]) -> None:
        async def checked() -> None:
            async with asyncio.timeout(3_600):
                await main()
            await asyncio.sleep(0)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert [task.get_name() for task in left] == []

        run_jumping(checked)

    return run


Jumping = Callable[[Callable[[], Awaitable[None]]], None]


# Where calls go


def test_calls_are_spread_over_the_instances(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A, B) as v:
            answers = [await v.client.call("GetPrice", GET_PRICE) for _ in range(100)]
            assert 25 < answers.count(A) < 75
            assert len(v.network.open_channels) == 2

    jumping(main)


def test_the_busier_instance_is_spared(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A, B) as v:
            release = asyncio.Event()

            async def slow(_request: Any) -> str:
                await release.wait()
                return A

            v.network[A].answer = slow
            running = []
            while not v.network[A].calls:
                running.append(asyncio.create_task(v.client.call("GetPrice", GET_PRICE)))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            assert {await v.client.call("GetPrice", GET_PRICE) for _ in range(20)} == {B}
            release.set()
            await asyncio.gather(*running)

    jumping(main)


def test_an_instance_that_says_it_does_not_serve_is_asked_only_where_no_other_is_there(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A, B) as v:
            v.network[A].is_healthy = False
            await v.until(lambda: not v.client.instances[0].serving)
            others = {await v.client.call("GetPrice", GET_PRICE) for _ in range(20)}
            v.network[B].kill()
            await v.until(lambda: v.client.instances[1].breaker.state(v.now_s()) is not BreakerState.CLOSED)
            assert (others, await v.client.call("GetPrice", GET_PRICE)) == ({B}, A)

    jumping(main)


# Loss and recovery


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_the_breaker_opens_within_a_second_of_a_loss_without_any_call(how: str, jumping: Jumping) -> None:
    async def main() -> None:
        for offset_s in (0.0, 0.05, 0.1, 0.15, 0.2, 0.24):
            async with venue(A, B) as v:
                await asyncio.sleep(1.0 + offset_s)
                getattr(v.network[A], how)()
                took_s = await v.until(lambda: v.shown("rpc_breaker_state", peer="market-data", address=A) == 2.0)
                assert took_s <= 1.0
                assert v.client.state() is BreakerState.CLOSED
                assert v.shown("rpc_peer_usable_instances", peer="market-data") == 1.0

    jumping(main)


@pytest.mark.parametrize(("how", "back"), [("kill", "start_again"), ("freeze", "thaw")])
@pytest.mark.parametrize("away_s", [1.0, 37.3, 600.0])
def test_the_breaker_closes_within_five_seconds_of_recovery(
    how: str, back: str, away_s: float, jumping: Jumping
) -> None:
    async def main() -> None:
        async with venue(A) as v:
            getattr(v.network[A], how)()
            await v.until(lambda: v.client.state() is not BreakerState.CLOSED)
            await asyncio.sleep(away_s)
            getattr(v.network[A], back)()
            took_s = await v.until(lambda: v.client.state() is BreakerState.CLOSED)
            assert took_s <= 5.0
            assert v.shown("rpc_breaker_state", peer="market-data", address="all") == 0.0

    jumping(main)


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_reads_go_on_at_the_other_instance_and_none_fails(how: str, jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A, B) as v:
            getattr(v.network[A], how)()
            for _ in range(50):
                started_s = v.now_s()
                assert await v.client.call("GetPrice", GET_PRICE) == B
                assert v.now_s() - started_s < 1.5
            # Not even probes keep a lost instance busy with calls.
            assert len(v.network[A].calls) < 5

    jumping(main)


def test_where_no_instance_answers_calls_are_refused_at_once_with_a_reason(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A) as v:
            v.network[A].freeze()
            await v.until(lambda: v.client.state() is not BreakerState.CLOSED)
            started_s = v.now_s()
            with pytest.raises(Unavailable) as caught:
                await v.client.call("GetPrice", GET_PRICE)
            assert caught.value.code == "circuit_open"
            assert A in caught.value.message
            assert v.now_s() == started_s

    jumping(main)


def test_a_read_under_way_at_a_frozen_instance_does_not_wait_for_its_deadline(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A) as v:
            v.network[A].freeze()
            started_s = v.now_s()
            with pytest.raises(Unavailable):
                await v.client.call("GetPrice", GET_PRICE, deadline_s=30)
            assert v.now_s() - started_s < 2.0

    jumping(main)


def test_health_and_log_tell_which_instance_is_away(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A, B) as v:
            check = v.client.health_check(required=True)
            assert check().status is DependencyStatus.OK
            v.network[A].kill()
            await v.until(lambda: check().status is DependencyStatus.DEGRADED)
            assert f"{A} has not answered" in check().detail
            v.network[B].kill()
            await v.until(lambda: check().status is DependencyStatus.DOWN)
            assert check().required

    jumping(main)


# What is repeated


def test_a_write_without_a_key_is_made_once(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A, B, peer=EXCHANGE) as v:
            for instance in v.network:
                instance.answer = refusing(status(grpc.StatusCode.UNAVAILABLE, "Socket closed"))
            with pytest.raises(Unavailable) as caught:
                await v.client.call("PlaceOrder", exchange_pb2.PlaceOrderRequest(symbol="BTC/USD"))
            assert caught.value.code == "outcome_unknown"
            assert not caught.value.retryable
            assert len(v.called()) == 1

    jumping(main)


def test_a_write_with_its_key_is_repeated_at_another_instance(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A, B, peer=EXCHANGE) as v:
            v.network[A].answer = refusing(status(grpc.StatusCode.UNAVAILABLE, "Socket closed"))
            request = exchange_pb2.PlaceOrderRequest(symbol="BTC/USD", client_order_id="c-1")
            answers = [await v.client.call("PlaceOrder", request) for _ in range(10)]
            assert set(answers) == {B}
            assert v.shown("grpc_client_retries_total", peer="exchange", method="PlaceOrder") == len(v.network[A].calls)

    jumping(main)


def test_no_instance_is_asked_a_second_time_where_another_is_there(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A, B) as v:
            v.network[A].answer = refusing(status(grpc.StatusCode.UNAVAILABLE, "queue full", fx_code="queue_full"))
            for _ in range(15):
                before = len(v.network[A].calls)
                assert await v.client.call("GetPrice", GET_PRICE) == B
                assert len(v.network[A].calls) - before <= 1

    jumping(main)


def test_a_write_that_a_frozen_instance_has_is_waited_for_and_told_as_unknown(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A, peer=EXCHANGE) as v:
            v.network[A].freeze()
            with pytest.raises(DeadlineExceeded) as caught:
                await v.client.call("CancelAll", exchange_pb2.CancelAllRequest(), deadline_s=3.0)
            assert caught.value.code == "peer_timeout"
            assert "may have been carried out" in caught.value.message
            assert not caught.value.retryable

    jumping(main)


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (status(grpc.StatusCode.NOT_FOUND, "no such symbol", fx_code="unknown_symbol", fx_field="symbol"), NotFound),
        (status(grpc.StatusCode.INVALID_ARGUMENT, "bad", fx_code="out_of_range"), InvalidRequest),
        (status(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", fx_code="rate_limited"), RateLimited),
        (status(grpc.StatusCode.INTERNAL, "oops", fx_code="internal_error"), Unavailable),
    ],
)
def test_what_the_service_refuses_is_not_repeated_and_opens_no_breaker(
    refusal: grpc.aio.AioRpcError, kind: type[FauxchangeError], jumping: Jumping
) -> None:
    async def main() -> None:
        async with venue(A, B) as v:
            for instance in v.network:
                instance.answer = refusing(refusal)
            for _ in range(20):
                with pytest.raises(kind):
                    await v.client.call("GetPrice", GET_PRICE)
            assert len(v.called()) == 20
            assert all(each.breaker.state(v.now_s()) is BreakerState.CLOSED for each in v.client.instances)

    jumping(main)


def test_a_limited_read_is_repeated_when_the_service_said_to_come_back(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A) as v:
            busy = status(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", fx_code="busy", fx_retry_after_ms="700")
            v.network[A].answer = refusing(busy, times=1)
            started_s = v.now_s()
            assert await v.client.call("GetPrice", GET_PRICE) == A
            assert 0.7 <= v.now_s() - started_s < 0.8

    jumping(main)


def test_repeated_calls_stay_a_fraction_of_all_while_a_service_fails(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A, B) as v:
            for instance in v.network:
                instance.answer = refusing(status(grpc.StatusCode.UNAVAILABLE, "queue full", fx_code="queue_full"))
            for _ in range(100):
                with pytest.raises(Unavailable):
                    await v.client.call("GetPrice", GET_PRICE)
            assert len(v.called()) < 130

    jumping(main)


# Deadlines, ids


def test_every_call_has_a_deadline(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A) as v:
            await v.client.call("GetPrice", GET_PRICE)
            await v.client.call("GetPrice", GET_PRICE, deadline_s=0.5)
            with answering_within(0.2, now_s=v.now_s):
                await v.client.call("GetPrice", GET_PRICE)
            assert [timeout for _, _, _, timeout in v.network[A].calls] == pytest.approx([5.0, 0.5, 0.2])

    jumping(main)


def test_no_call_is_made_for_one_who_does_not_wait_any_more(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A) as v:
            with answering_within(0.2, now_s=v.now_s):
                await asyncio.sleep(0.3)
                with pytest.raises(DeadlineExceeded):
                    await v.client.call("GetPrice", GET_PRICE)
            assert v.network[A].calls == []

    jumping(main)


def test_impatient_calls_tell_nothing_about_an_instance(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A) as v:

            async def slow(_request: Any) -> str:
                await asyncio.sleep(0.1)
                return A

            v.network[A].answer = slow
            for _ in range(10):
                with pytest.raises(DeadlineExceeded):
                    await v.client.call("GetPrice", GET_PRICE, deadline_s=0.01)
            assert v.client.state() is BreakerState.CLOSED

    jumping(main)


def test_the_ids_of_the_request_being_answered_go_along(jumping: Jumping) -> None:
    async def main() -> None:
        context = RequestContext(request_id="r-1", trace_id="a" * 32, span_id="b" * 16)
        async with venue(A) as v:
            with serving(context):
                await v.client.call("GetPrice", GET_PRICE, metadata=(("authorization", "Bearer x"),))
            metadata = v.network[A].calls[0][2]
            assert metadata["x-request-id"] == "r-1"
            assert metadata["traceparent"] == context.traceparent
            assert metadata["authorization"] == "Bearer x"

    jumping(main)


def test_a_call_that_its_caller_gives_up_is_cancelled_there_too(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A) as v:
            v.network[A].answer = lambda _request: asyncio.Event().wait()
            task = asyncio.create_task(v.client.call("GetPrice", GET_PRICE))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert v.client.instances[0].outstanding == 0

    jumping(main)


# Streams


def test_a_stream_moves_to_another_instance_and_goes_on_from_where_it_was(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A, B) as v:
            for number in range(1, 4):
                for instance in v.network:
                    instance.streamed.put_nowait((instance.target, number))
            got: list[tuple[str, int]] = []
            asked: list[int] = []
            broken: list[str] = []

            def request() -> Any:
                asked.append(len(got))
                return market_data_pb2.StreamPricesRequest()

            messages = v.client.stream_with_resume(
                "StreamPrices", request, on_break=lambda failure: broken.append(failure.code)
            )
            async with aclosing(messages):
                async for message in messages:
                    got.append(message)
                    if len(got) == 2:
                        first = got[0][0]
                        v.network[first].freeze()
                    if len(got) == 4:
                        break
            assert [target == first for target, _ in got] == [True, True, False, False]
            assert asked == [0, 2]
            assert broken == ["peer_unavailable"]

    jumping(main)


def test_a_stream_that_breaks_after_each_message_is_opened_again_without_growing_pauses(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A) as v:
            for number in range(20):
                v.network[A].streamed.put_nowait(number)
                v.network[A].streamed.put_nowait(status(grpc.StatusCode.UNAVAILABLE, "bye", fx_code="stopping"))
            started_s, got = v.now_s(), 0
            async with aclosing(v.client.stream_with_resume("StreamPrices", lambda: STREAM)) as messages:
                async for _ in messages:
                    got += 1
                    if got == 20:
                        break
            assert v.now_s() - started_s <= 20 * 0.05

    jumping(main)


def test_a_stream_at_the_only_instance_outlives_a_short_silence(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A) as v:
            v.network[A].streamed.put_nowait(1)
            async with aclosing(v.client.stream("StreamPrices", STREAM)) as messages:
                assert await anext(messages) == 1
                v.network[A].freeze()
                await v.until(lambda: v.client.state() is BreakerState.OPEN)
                v.network[A].thaw()
                v.network[A].streamed.put_nowait(2)
                assert await anext(messages) == 2

    jumping(main)


def test_a_stream_that_is_silent_for_too_long_counts_as_lost(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A) as v:
            async with aclosing(v.client.stream("StreamPrices", STREAM, idle_timeout_s=3.0)) as messages:
                with pytest.raises(DeadlineExceeded) as caught:
                    await anext(messages)
            assert caught.value.code == "peer_timeout"

    jumping(main)


def test_a_stream_that_would_be_refused_again_is_not_opened_again(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A) as v:
            refusal = status(grpc.StatusCode.NOT_FOUND, "no such symbol", fx_code="unknown_symbol")
            v.network[A].streamed.put_nowait(refusal)
            with pytest.raises(NotFound):
                async with aclosing(v.client.stream_with_resume("StreamPrices", lambda: STREAM)) as messages:
                    await anext(messages)
            assert len(v.network[A].calls) == 1

    jumping(main)


def test_stopping_ends_the_streams_and_refuses_calls(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A) as v:
            messages = v.client.stream_with_resume("StreamPrices", lambda: STREAM)
            reading = asyncio.ensure_future(anext(messages))
            await asyncio.sleep(0.1)
            await v.manager.stop()
            with pytest.raises(Unavailable) as caught:
                await reading
            assert caught.value.code == "clients_stopped"
            with pytest.raises(Unavailable):
                await v.client.call("GetPrice", GET_PRICE)
            assert v.network.open_channels == []

    jumping(main)


def test_a_call_under_way_may_end_while_the_client_stops(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A) as v:

            async def slow(_request: Any) -> str:
                await asyncio.sleep(1.0)
                return A

            v.network[A].answer = slow
            running = asyncio.create_task(v.client.call("GetPrice", GET_PRICE))
            await asyncio.sleep(0.1)
            await v.manager.stop()
            assert await running == A

    jumping(main)


# Who there is


class Registry:
    """Where instances are, as the test says; away if that is None."""

    def __init__(self, *targets: str) -> None:
        self.targets: Sequence[str] | None = targets

    async def find(self) -> Sequence[Found]:
        if self.targets is None:
            raise Unavailable("connection refused")
        return [Found(target, f"name of {target}") for target in self.targets]


def test_without_an_instance_the_failure_says_what_to_do(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(find=Registry().find) as v:
            with pytest.raises(Unavailable) as caught:
                await v.client.call("GetPrice", GET_PRICE)
            assert caught.value.code == "no_instance"
            assert "market-data: no instance is registered" in caught.value.message
            assert "fauxchange serve market-data" in caught.value.message
            assert "MARKET_DATA_GRPC" in caught.value.message
            assert v.client.health_check()().status is DependencyStatus.DOWN

    jumping(main)


def test_an_instance_that_comes_is_found_and_one_that_went_is_forgotten(jumping: Jumping) -> None:
    async def main() -> None:
        registry = Registry(A)
        async with venue(find=registry.find) as v:
            registry.targets = (A, B)
            assert await v.until(lambda: len(v.client.instances) == 2) <= 2.5
            v.network[A].kill()
            registry.targets = (B,)
            await v.until(lambda: [each.target for each in v.client.instances] == [B])
            await v.until(lambda: v.network.open_channels == [B])
            assert v.shown("rpc_breaker_state", peer="market-data", address=A) is None

    jumping(main)


def test_an_instance_is_found_quickly_by_a_call_that_missed_it(jumping: Jumping) -> None:
    async def main() -> None:
        registry = Registry()
        async with venue(find=registry.find) as v:
            await asyncio.sleep(1.0)
            registry.targets = (A,)
            with pytest.raises(Unavailable):
                await v.client.call("GetPrice", GET_PRICE)
            assert await v.until(lambda: len(v.client.instances) == 1) <= 0.3

    jumping(main)


@pytest.mark.parametrize("targets", [None, ()])
def test_a_registry_that_is_away_or_was_emptied_takes_no_instance_that_answers(
    targets: tuple[str, ...] | None, jumping: Jumping
) -> None:
    async def main() -> None:
        registry = Registry(A)
        async with venue(find=registry.find) as v:
            registry.targets = targets
            await asyncio.sleep(30.0)
            assert await v.client.call("GetPrice", GET_PRICE) == A
            registry.targets = (A,)
            await asyncio.sleep(3.0)
            assert v.client.health_check()().status is DependencyStatus.OK
            assert len(v.network.channels) == 1

    jumping(main)


def test_an_instance_that_nobody_lists_is_let_go_in_the_end(jumping: Jumping) -> None:
    async def main() -> None:
        registry = Registry(A)
        async with venue(find=registry.find) as v:
            registry.targets = ()
            await asyncio.sleep(100.0)
            assert v.client.instances == []

    jumping(main)


def test_instances_that_come_and_go_leave_neither_connections_nor_tasks(jumping: Jumping) -> None:
    async def main() -> None:
        registry = Registry(A)
        async with venue(find=registry.find) as v:
            await asyncio.sleep(5.0)
            before = len(asyncio.all_tasks())
            for number in range(50):
                target = f"10.0.1.{number}:9093"
                registry.targets = (A, target)
                await v.until(lambda: len(v.client.instances) == 2)
                await v.client.call("GetPrice", GET_PRICE)
                v.network[target].kill()
                registry.targets = (A,)
                await v.until(lambda: len(v.client.instances) == 1)
            await asyncio.sleep(10.0)
            assert v.network.open_channels == [A]
            assert len(asyncio.all_tasks()) == before

    jumping(main)


def test_asking_for_a_method_that_there_is_not_is_a_bug(jumping: Jumping) -> None:
    async def main() -> None:
        async with venue(A) as v:
            with pytest.raises(InvariantViolation):
                await v.client.call("GetPrices", GET_PRICE)
            with pytest.raises(InvariantViolation):
                await v.client.call("StreamPrices", STREAM)

    jumping(main)


def refusing(failure: grpc.aio.AioRpcError, times: int = 10**9) -> Callable[[Any], Awaitable[Any]]:
    """Return an answer that fails so often, and then is the address."""
    left = times

    async def answer(_request: Any) -> str:
        nonlocal left
        if left:
            left -= 1
            raise failure
        return A

    return answer
