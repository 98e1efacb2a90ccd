"""Calls between processes: instances that are killed, frozen, stopped and started again, over real connections."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from fauxchange.contracts.market_data.v1 import market_data_pb2
from fauxchange.data.memory.registry import MemoryRegistry
from fauxchange.domain.errors import NotFound, Unavailable
from fauxchange.platform.metrics import NullMetrics
from fauxchange.platform.ports import DependencyStatus, ServiceInstance
from fauxchange.platform.rpc.breaker import BreakerState
from fauxchange.platform.rpc.client_metrics import ClientMetrics
from fauxchange.platform.rpc.clients import ClientManager, PeerClient
from fauxchange.platform.rpc.instances import in_registry
from fauxchange.platform.rpc.peers import MARKET_DATA
from fauxchange.platform.rpc.pool import Surroundings
from fauxchange.platform.tracing import RequestContext, serving

SCRIPT = Path(__file__).with_name("rpc_instance.py")
GET_PRICE = market_data_pb2.GetPriceRequest(symbol="BTC/USD")
PATIENCE_S = 60.0
"""How long a condition may take on a slow, busy machine; what it takes at the most is tested in time that jumps."""


class Instance:
    """A process that serves market data."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start it, on the port it had before if it had one."""
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), self.name, str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self._reap()

    def stop(self) -> None:
        self.process.terminate()
        self._reap()

    def _reap(self) -> None:
        # It waits for the end, and closes what leads to the process.
        self.process.communicate()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def entry(self) -> ServiceInstance:
        return ServiceInstance(
            name=MARKET_DATA.registered_name,
            instance=self.name,
            version="1",
            host="127.0.0.1",
            http_port=1,
            grpc_port=self.port,
            registered_ns=0,
            heartbeat_ns=0,
        )


class Running:
    """Two instances, the registry that lists them, and a client."""

    def __init__(self, instances: tuple[Instance, Instance], registry: MemoryRegistry, client: PeerClient) -> None:
        self.instances = instances
        self.registry = registry
        self.client = client

    def state_of(self, instance: Instance) -> BreakerState | None:
        """Return the state of an instance's breaker, or None if the client does not know it."""
        return next(
            (each.breaker.state(time.monotonic()) for each in self.client.instances if each.target == instance.target),
            None,
        )

    async def ask(self) -> str:
        return str((await self.client.call("GetPrice", GET_PRICE)).symbol)


@asynccontextmanager
async def two_instances() -> AsyncIterator[Running]:
    loop = asyncio.get_running_loop()
    first, second = await asyncio.gather(
        loop.run_in_executor(None, Instance, "a"), loop.run_in_executor(None, Instance, "b")
    )
    registry = MemoryRegistry(wall_ns=lambda: 0, ttl_s=90)
    for instance in (first, second):
        await registry.register(instance.entry())
    manager = ClientManager(Surroundings(metrics=ClientMetrics(NullMetrics()), chance=random.Random(1).random))
    client = manager.add(MARKET_DATA, in_registry(registry, MARKET_DATA.registered_name))
    await manager.start()
    try:
        yield Running((first, second), registry, client)
    finally:
        await manager.stop()
        for instance in (first, second):
            if instance.process.poll() is None:
                instance.thaw()
                instance.kill()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what another process does is looked at, nobody tells of it
            await asyncio.sleep(0.01)


async def test_calls_reach_both_instances_with_the_ids_and_the_deadline_of_the_request() -> None:
    context = RequestContext(request_id="r-1", trace_id="c" * 32, span_id="d" * 16)
    async with two_instances() as venue:
        with serving(context):
            prices = [await venue.client.call("GetPrice", GET_PRICE) for _ in range(30)]

    assert {price.symbol for price in prices} == {"a", "b"}
    assert {price.last for price in prices} == {f"r-1 {'c' * 32} True"}


async def test_a_failure_of_the_service_arises_here_with_its_code() -> None:
    async with two_instances() as venue:
        with pytest.raises(NotFound) as caught:
            await venue.client.call("GetPrice", market_data_pb2.GetPriceRequest(symbol="none"))

    assert (caught.value.code, caught.value.field) == ("unknown_symbol", "symbol")
    assert caught.value.message == "there is no symbol none"


@pytest.mark.parametrize(("lose", "bring_back"), [("kill", "start"), ("freeze", "thaw")])
async def test_reads_go_on_at_the_other_instance_until_the_lost_one_is_back(lose: str, bring_back: str) -> None:
    async with two_instances() as venue:
        first, second = venue.instances
        while await venue.ask() != "a":
            pass
        getattr(first, lose)()
        during = {await venue.ask() for _ in range(50)}
        await until(lambda: venue.state_of(first) is BreakerState.OPEN)
        degraded = venue.client.health_check()()
        getattr(first, bring_back)()
        await until(lambda: venue.state_of(first) is BreakerState.CLOSED)
        after = {await venue.ask() for _ in range(50)}

    assert during == {"b"}
    assert degraded.status is DependencyStatus.DEGRADED
    assert first.target in degraded.detail
    assert after == {"a", "b"}
    assert venue.state_of(second) is None


async def test_with_every_instance_gone_calls_are_refused_and_go_on_when_one_is_back() -> None:
    async with two_instances() as venue:
        first, second = venue.instances
        first.kill()
        second.freeze()
        await until(lambda: venue.client.state() is not BreakerState.CLOSED)
        with pytest.raises(Unavailable) as caught:
            await venue.ask()
        second.thaw()
        await until(lambda: venue.client.state() is BreakerState.CLOSED)
        answer = await venue.ask()

    assert caught.value.code == "circuit_open"
    assert answer == "b"


@pytest.mark.parametrize("lose", ["kill", "freeze", "stop"])
async def test_a_stream_goes_on_at_the_other_instance_from_the_number_it_had_reached(lose: str) -> None:
    numbers: list[int] = []
    names: list[str] = []

    def request() -> market_data_pb2.StreamPricesRequest:
        reached = numbers[-1] + 1 if numbers else 1
        wanted = market_data_pb2.Subscription(symbol="BTC/USD", from_sequence=reached)
        return market_data_pb2.StreamPricesRequest(subscriptions=[wanted])

    async with two_instances() as venue, asyncio.timeout(PATIENCE_S):
        messages = venue.client.stream_with_resume("StreamPrices", request, idle_timeout_s=5.0)
        async with aclosing(messages):
            async for batch in messages:
                numbers.append(batch.updates[0].sequence)
                names.append(batch.updates[0].price.symbol)
                if len(numbers) == 20:
                    serving_now = next(each for each in venue.instances if each.name == names[0])
                    await asyncio.get_running_loop().run_in_executor(None, getattr(serving_now, lose))
                if len(set(names)) == 2 and names[-10:] == [names[-1]] * 10:
                    break

    assert numbers == list(range(1, len(numbers) + 1))


async def test_an_instance_that_is_registered_later_is_called_and_one_that_left_is_not() -> None:
    async with two_instances() as venue:
        first, _ = venue.instances
        await venue.registry.deregister(MARKET_DATA.registered_name, first.name)
        await asyncio.get_running_loop().run_in_executor(None, first.stop)
        await until(lambda: venue.state_of(first) is None)
        alone = {await venue.ask() for _ in range(20)}
        await asyncio.get_running_loop().run_in_executor(None, first.start)
        await venue.registry.register(first.entry())
        await until(lambda: venue.state_of(first) is BreakerState.CLOSED)
        both = {await venue.ask() for _ in range(30)}

    assert (alone, both) == ({"b"}, {"a", "b"})


async def test_instances_that_come_and_go_leave_no_connection_and_no_task() -> None:
    async with two_instances() as venue:
        first, _ = venue.instances
        await until(lambda: len(venue.client.instances) == 2)
        for _ in range(20):
            await venue.ask()
        tasks, files = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
        for _ in range(4):
            first.freeze()
            await venue.registry.deregister(MARKET_DATA.registered_name, first.name)
            await until(lambda: venue.state_of(first) is None)
            first.thaw()
            await venue.registry.register(first.entry())
            await until(lambda: venue.state_of(first) is BreakerState.CLOSED)
            await venue.ask()
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        await until(lambda: len(os.listdir("/proc/self/fd")) <= files + 2)
