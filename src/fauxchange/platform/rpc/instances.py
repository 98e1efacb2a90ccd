"""One instance of another service, as its callers see it: a channel, a breaker, and what is under way."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from fauxchange.platform.listening import url_host
from fauxchange.platform.ports import ServiceDiscoveryRepository
from fauxchange.platform.rpc.breaker import BreakerLimits, BreakerState, CircuitBreaker
from fauxchange.platform.rpc.methods import Method

HEALTH_CHECK = "/grpc.health.v1.Health/Check"
_SERVING = health_pb2.HealthCheckResponse.SERVING

Metadata = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Found:
    """Where an instance is (`host:port`), and what it calls itself."""

    target: str
    name: str


Find = Callable[[], Awaitable[Sequence[Found]]]
"""Say which instances there are at present. Raises: FauxchangeError if that cannot be said."""


def at_addresses(targets: Sequence[str]) -> Find:
    """Return what finds a service at fixed addresses, without a registry."""
    found = [Found(target, target) for target in dict.fromkeys(targets)]

    async def find() -> Sequence[Found]:
        return found

    return find


def in_registry(registry: ServiceDiscoveryRepository, registered_name: str) -> Find:
    """Return what finds a service by its name in the registry."""

    async def find() -> Sequence[Found]:
        entries = await registry.find(registered_name)
        by_target = {f"{url_host(entry.host)}:{entry.grpc_port}": entry for entry in entries}
        return [Found(target, entry.instance) for target, entry in by_target.items()]

    return find


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelLimits:
    """How a connection is kept.

    Units: seconds; keepalive_s is more than servers demand between two pings (`GrpcLimits.min_ping_interval_s`)
    """

    keepalive_s: float = 10.0
    keepalive_timeout_s: float = 3.0
    first_reconnect_s: float = 0.1
    longest_reconnect_s: float = 1.0
    max_response_bytes: int = 16 * 1024 * 1024


def open_channel(target: str, limits: ChannelLimits | None = None) -> Any:
    """Return a channel that connects when it is first used, and again whenever the connection is lost."""
    limits = limits or ChannelLimits()
    return grpc.aio.insecure_channel(
        target,
        options=(
            # Repeating is decided by the client manager, which knows what may be repeated.
            ("grpc.enable_retries", 0),
            # Services are on our own network: proxies of the environment are not meant for them.
            ("grpc.enable_http_proxy", 0),
            # Without it channels to one address share a connection, and with it the wait after a failure.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.keepalive_time_ms", round(limits.keepalive_s * 1_000)),
            ("grpc.keepalive_timeout_ms", round(limits.keepalive_timeout_s * 1_000)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.initial_reconnect_backoff_ms", round(limits.first_reconnect_s * 1_000)),
            # Also the longest that an attempt to connect may take.
            ("grpc.min_reconnect_backoff_ms", round(limits.longest_reconnect_s * 1_000)),
            ("grpc.max_reconnect_backoff_ms", round(limits.longest_reconnect_s * 1_000)),
            ("grpc.max_receive_message_length", limits.max_response_bytes),
        ),
    )


@dataclass(slots=True, eq=False)
class Running:
    """One call that is under way; `given_up` says that it was ended here because its instance does not answer."""

    call: Any
    repeatable: bool
    is_stream: bool
    given_up: bool = False

    def give_up(self) -> None:
        """End the call; whoever waits for it goes elsewhere."""
        self.given_up = True
        self.call.cancel()

    def was_given_up(self) -> bool:
        """Whether a cancellation that has just arrived is ours, and not that of the task that waits."""
        task = asyncio.current_task()
        return self.given_up and (task is None or not task.cancelling())


class Instance:
    """One instance that is called; `on_change` hears of each new state of its breaker.

    Units: last_answer_s on the clock of the one who notes it
    """

    def __init__(
        self,
        found: Found,
        channel: Any,
        *,
        breaker: BreakerLimits,
        on_change: Callable[["Instance", BreakerState], None],
        now_s: float,
    ) -> None:
        self.target = found.target
        self.name = found.name
        self.breaker = CircuitBreaker(breaker, on_change=lambda state: on_change(self, state))
        self.serving = True
        """What it last said of itself; true until it says otherwise."""
        self.unlisted_since_s: float | None = None
        self.last_answer_s = now_s
        self.lost = False
        """Whether its loss has been told."""
        self._channel = channel
        self._methods: dict[str, Any] = {}
        self._running: set[Running] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def outstanding(self) -> int:
        """How many calls are under way, streams included."""
        return len(self._running)

    def is_usable(self, now_s: float) -> bool:
        """Whether calls go through and it takes them."""
        return self.serving and self.breaker.state(now_s) is BreakerState.CLOSED

    def begin(
        self, method: Method, request: Any, *, metadata: Metadata, repeatable: bool, timeout_s: float | None = None
    ) -> Running:
        """Begin a call. Whoever began it tells its `end`."""
        call = self._callable(method)(request, timeout=timeout_s, metadata=tuple(metadata))
        running = Running(call, repeatable, method.answers_stream)
        self._running.add(running)
        self._idle.clear()
        return running

    def end(self, running: Running) -> None:
        """Take note that a call is over."""
        self._running.discard(running)
        if not self._running:
            self._idle.set()

    def give_up_reads(self) -> None:
        """End the calls that can be made elsewhere, because nothing answers here."""
        for running in tuple(self._running):
            if running.repeatable and not running.is_stream:
                running.give_up()

    def give_up_streams(self) -> None:
        """End the streams, which can go on elsewhere."""
        for running in tuple(self._running):
            if running.is_stream:
                running.give_up()

    async def ask_health(self, health_name: str, timeout_s: float) -> bool:
        """Return whether it takes requests. Raises: grpc.aio.AioRpcError as gRPC does."""
        ask = self._channel.unary_unary(
            HEALTH_CHECK,
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        response = await ask(health_pb2.HealthCheckRequest(service=health_name), timeout=timeout_s)
        return bool(response.status == _SERVING)

    async def close(self, drain_s: float) -> None:
        """Wait for what is under way, at most so long, and release the connection."""
        self.give_up_streams()
        try:
            async with asyncio.timeout(drain_s):
                await self._idle.wait()
        except TimeoutError:
            for running in tuple(self._running):
                running.give_up()
        finally:
            await self._channel.close()

    def _callable(self, method: Method) -> Any:
        made = self._methods.get(method.path)
        if made is None:
            make = self._channel.unary_stream if method.answers_stream else self._channel.unary_unary
            made = self._methods[method.path] = make(
                method.path, request_serializer=method.serialize, response_deserializer=method.deserialize
            )
        return made
