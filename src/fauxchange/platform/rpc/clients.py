"""The client manager: how this process calls the other services.

There is one client per service, and one connection for each of its instances, which all calls share. What happens to a
call:

* it has a deadline, which is no later than that of the request that is being answered (`deadlines`);
* it goes to the less busy of two instances that chance names among those that answer (`pool`, `balancing`);
* if it may be repeated (`methods`) and failed in passing, it is repeated elsewhere after a pause, within the deadline;
  if its instance goes silent meanwhile, it is not waited for;
* a write without a key is made once: `outcome_unknown` tells where nobody knows what became of it;
* a failure of the service arises here as it did there (`failures`).
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio

from fauxchange.domain.errors import DeadlineExceeded, FauxchangeError, RateLimited, Unavailable, check
from fauxchange.platform.errors import edge_status
from fauxchange.platform.ports import HealthCheck
from fauxchange.platform.rpc.backoff import ONCE, Backoff, RetryBudget, RetrySchedule
from fauxchange.platform.rpc.breaker import BreakerState, Ticket
from fauxchange.platform.rpc.deadlines import remaining_s
from fauxchange.platform.rpc.failures import Asked, Ending, ending_of, gone_silent, timed_out
from fauxchange.platform.rpc.instances import Find, Instance, Metadata, Running
from fauxchange.platform.rpc.methods import Method, Peer
from fauxchange.platform.rpc.pool import InstancePool, Surroundings
from fauxchange.platform.tracing import outgoing_metadata

OK = grpc.StatusCode.OK.name
CANCELLED = grpc.StatusCode.CANCELLED.name
FIRST_RECONNECT_S = 0.05


class PeerClient:
    """Call one service, at whichever of its instances answer."""

    def __init__(self, peer: Peer, find: Find, surroundings: Surroundings) -> None:
        self.peer = peer
        self._with = surroundings
        self._pool = InstancePool(peer, find, surroundings)
        self._budget = RetryBudget()

    async def start(self) -> None:
        """Find the instances there are, and follow who comes and goes. That there is none is no failure."""
        await self._pool.start()

    async def stop(self) -> None:
        """Make no more calls, end the streams, let calls under way end within the bound, release everything."""
        await self._pool.stop()

    @property
    def instances(self) -> Sequence[Instance]:
        """The instances that are known, by address."""
        return self._pool.instances

    def state(self) -> BreakerState:
        """Return the state of the peer as a whole: closed while one of its instances takes calls."""
        return self._pool.state()

    def health_check(self, *, required: bool = False) -> HealthCheck:
        """Return what the health registry asks; `required` says that the service cannot do without the peer."""
        return self._pool.health_check(required=required)

    async def call(self, method: str, request: Any, *, deadline_s: float | None = None, metadata: Metadata = ()) -> Any:
        """Make a call with one answer and return it.

        Units: deadline_s in seconds, for all tries together; that of the request being answered bounds it
        Raises: FauxchangeError as the service refuses; Unavailable, DeadlineExceeded where it does not answer
        """
        asked = self.peer.method(method, answers_stream=False)
        started_s = self._with.now_s()
        code = CANCELLED
        try:
            response = await self._call(asked, request, deadline_s, metadata)
            code = OK
        except FauxchangeError as exc:
            code = edge_status(exc).grpc.name
            raise
        else:
            return response
        finally:
            self._record(asked, started_s, code)

    async def stream(
        self, method: str, request: Any, *, idle_timeout_s: float | None = None, metadata: Metadata = ()
    ) -> AsyncGenerator[Any, None]:
        """Yield the messages of a stream until it ends; close the generator (`aclosing`) to end it earlier.

        Units: idle_timeout_s in seconds, after which a stream without a message counts as lost
        Raises: FauxchangeError as the service refuses; Unavailable, DeadlineExceeded where it does not answer
        """
        asked = self.peer.method(method, answers_stream=True)
        started_s = self._with.now_s()
        code = CANCELLED
        try:
            async with aclosing(self._stream(asked, request, idle_timeout_s, metadata)) as messages:
                async for message in messages:
                    yield message
            code = OK
        except FauxchangeError as exc:
            code = edge_status(exc).grpc.name
            raise
        finally:
            self._record(asked, started_s, code)

    async def stream_with_resume(
        self,
        method: str,
        request: Callable[[], Any],
        *,
        idle_timeout_s: float | None = None,
        metadata: Metadata = (),
        on_break: Callable[[FauxchangeError], None] = lambda _failure: None,
        longest_pause_s: float = 1.0,
    ) -> AsyncGenerator[Any, None]:
        """Yield the messages of a stream without end: one that breaks is opened again, at any instance.

        `request` is asked each time for the request, which says from where the caller wants to go on; `on_break` hears
        why a stream broke, before the pause. Close the generator (`aclosing`) to end it.

        Raises: FauxchangeError as the service refuses what it would refuse again
        """
        first_s = min(FIRST_RECONNECT_S, longest_pause_s)
        backoff = Backoff(first_s=first_s, longest_s=longest_pause_s, chance=self._with.chance)
        while True:
            failure: FauxchangeError = Unavailable(f"{self.peer.name} ended {method}", code="stream_ended")
            stream = self.stream(method, request(), idle_timeout_s=idle_timeout_s, metadata=metadata)
            try:
                async with aclosing(stream) as messages:
                    async for message in messages:
                        backoff.reset()
                        yield message
            except FauxchangeError as exc:
                if not exc.retryable:
                    raise
                failure = exc
            on_break(failure)
            limited_s = failure.retry_after_s if isinstance(failure, RateLimited) else None
            await asyncio.sleep((limited_s or 0.0) + backoff.next_s())

    # One call

    async def _call(self, method: Method, request: Any, deadline_s: float | None, metadata: Metadata) -> Any:
        limits, repeatable = self._with.limits, method.repeatable(request)
        begun_s = self._with.now_s()
        allowed_s = method.deadline_s if deadline_s is None else deadline_s
        over_s = begun_s + (limits.deadline_s if allowed_s is None else allowed_s)
        bound_s = remaining_s(begun_s)
        if bound_s is not None:
            over_s = min(over_s, begun_s + bound_s)
        schedule = RetrySchedule(limits.retry if repeatable else ONCE, deadline_s=over_s, chance=self._with.chance)
        tried: set[str] = set()
        while True:
            ending, response = await self._try(method, request, over_s, metadata, tried, repeatable=repeatable)
            if ending is None:
                return response
            if not ending.passing:
                raise ending.failure
            self._budget.fail()
            # One that is about to stop means itself when it says when to come back.
            at_least_s = 0.0 if ending.going else ending.failure.retry_after_s or 0.0
            pause_s = schedule.pause_s(self._with.now_s(), at_least_s=at_least_s)
            if pause_s is None or not self._budget.allows:
                raise ending.failure
            self._with.metrics.retries.inc(1.0, self.peer.name, method.name)
            await asyncio.sleep(pause_s)

    async def _try(
        self, method: Method, request: Any, over_s: float, metadata: Metadata, tried: set[str], *, repeatable: bool
    ) -> tuple[Ending | None, Any]:
        """Ask one instance; return how that went wrong, or None and its answer.

        Raises: Unavailable if there is no instance to ask, DeadlineExceeded if there is no time
        """
        wait_s = over_s - self._with.now_s()
        if wait_s <= 0:
            raise DeadlineExceeded(f"there is no time left to ask {self.peer.name} for {method.name}")
        instance, ticket = self._pool.pick(tried)
        tried.add(instance.target)
        asked = Asked(
            peer=self.peer.name, target=instance.target, method=method.name, repeatable=repeatable, wait_s=wait_s
        )
        sent = (*outgoing_metadata(), *metadata)
        running = instance.begin(method, request, metadata=sent, repeatable=repeatable, timeout_s=wait_s)
        try:
            response = await running.call
        except grpc.aio.AioRpcError as exc:
            ending = ending_of(exc, asked)
        except asyncio.CancelledError:
            if not running.was_given_up():
                instance.breaker.abandon(ticket)
                raise
            ending = gone_silent(asked)
        else:
            self._pool.answered(instance, ticket)
            self._budget.succeed()
            return None, response
        finally:
            instance.end(running)
        self._pool.ended(instance, ticket, ending, wait_s)
        return ending, None

    # One stream

    async def _stream(
        self, method: Method, request: Any, idle_timeout_s: float | None, metadata: Metadata
    ) -> AsyncGenerator[Any, None]:
        instance, ticket = self._pool.pick()
        asked = Asked(
            peer=self.peer.name, target=instance.target, method=method.name, repeatable=True, wait_s=idle_timeout_s
        )
        sent = (*outgoing_metadata(), *metadata)
        running = instance.begin(method, request, metadata=sent, repeatable=True)
        try:
            while (message := await self._read(running, instance, ticket, asked)) is not grpc.aio.EOF:
                self._pool.answered(instance, ticket)
                yield message
        finally:
            running.call.cancel()
            instance.end(running)

    async def _read(self, running: Running, instance: Instance, ticket: Ticket, asked: Asked) -> Any:
        try:
            async with asyncio.timeout(asked.wait_s):
                return await running.call.read()
        except TimeoutError:
            ending = timed_out(asked)
        except grpc.aio.AioRpcError as exc:
            ending = ending_of(exc, asked)
        except asyncio.CancelledError:
            if not running.was_given_up():
                raise
            ending = gone_silent(asked)
        self._pool.ended(instance, ticket, ending, asked.wait_s)
        raise ending.failure

    def _record(self, method: Method, started_s: float, code: str) -> None:
        failed = code not in {OK, CANCELLED}
        duration_s = self._with.now_s() - started_s
        self._with.metrics.red.record(duration_s, self.peer.name, method.name, code, failed=failed)


class ClientManager:
    """All clients of a process as one component: started before what calls, stopped after it."""

    name = "clients"

    def __init__(self, surroundings: Surroundings) -> None:
        self._with = surroundings
        self._clients: dict[str, PeerClient] = {}

    def add(self, peer: Peer, find: Find) -> PeerClient:
        """Add a service that is called, before the start; `find` says where its instances are."""
        check(peer.name not in self._clients, f"{peer.name} is added once")
        client = self._clients[peer.name] = PeerClient(peer, find, self._with)
        return client

    @property
    def clients(self) -> Mapping[str, PeerClient]:
        """The clients by the names of their services."""
        return self._clients

    async def start(self) -> None:
        """Find the instances of every service."""
        await asyncio.gather(*(client.start() for client in self._clients.values()))

    async def stop(self) -> None:
        """Stop every client."""
        await asyncio.gather(*(client.stop() for client in self._clients.values()))
