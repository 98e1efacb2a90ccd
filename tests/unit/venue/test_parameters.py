"""Where market data's parameters come from."""

import asyncio
from contextlib import aclosing

import httpx
import pytest
from configuration_kit import HERE, Kit, loaded

from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.platform.configuration import ConfigurationClient
from fauxchange.platform.metrics import NullMetrics
from fauxchange.platform.ports import ServiceInstance
from fauxchange.services.market_data.ports import RuntimeValues
from fauxchange.venue.parameters import EmbeddedParameters, RegisteredService, RemoteParameters


async def test_the_values_here_are_told_now_and_after_each_change_until_the_process_stops() -> None:
    kit = await loaded()
    parameters = EmbeddedParameters(kit.service, service="bot", environment=HERE)
    await kit.set("mode", "calm")

    current = await parameters.current()
    told = []
    async with aclosing(parameters.changes()) as changes:
        told.append(await anext(changes))
        following = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        await kit.set("other", 1, service="open")
        await kit.set("mode", "wild")
        told.append(await following)
        kit.service.waiting.end()
        rest = [each async for each in changes]

    assert current == RuntimeValues(1, {"mode": "calm"})
    assert told == [RuntimeValues(1, {"mode": "calm"}), RuntimeValues(3, {"mode": "wild"})]
    assert rest == []


async def test_while_the_store_is_not_read_nobody_can_say() -> None:
    parameters = EmbeddedParameters(Kit().service, service="bot", environment=HERE)

    assert await parameters.current() is None


async def test_the_values_elsewhere_are_those_of_the_client() -> None:
    is_away = True

    async def answer(request: httpx.Request) -> httpx.Response:
        if is_away:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json={"version": 3, "values": [{"key": "a", "value": 1}]})

    client = ConfigurationClient(
        "http://config.test",
        service="bot",
        environment=HERE,
        cache=MemoryDataAdapter().cache,
        metrics=NullMetrics(),
        wall_ns=lambda: 10**18,
        retry_s=0.0,
        transport=httpx.MockTransport(answer),
    )
    parameters = RemoteParameters(client)

    assert await parameters.current() is None
    is_away = False
    assert await parameters.current() == RuntimeValues(3, {"a": 1})
    async with aclosing(parameters.changes()) as changes:
        assert await anext(changes) == RuntimeValues(3, {"a": 1})
    await client.stop()


@pytest.mark.parametrize(("host", "url"), [("10.0.0.2", "http://10.0.0.2:8088"), ("::1", "http://[::1]:8088")])
async def test_a_service_is_found_where_its_youngest_instance_is_registered(host: str, url: str) -> None:
    now_ns = 0
    registry = MemoryDataAdapter(wall_ns=lambda: now_ns).discovery
    find = RegisteredService(registry, "configuration")
    assert await find() is None
    for name, at in (("old", "10.0.0.1"), ("young", host)):
        now_ns += 1
        await registry.register(
            ServiceInstance(
                name="configuration-service",
                instance=name,
                version="1",
                host=at,
                http_port=8088,
                grpc_port=9098,
                registered_ns=0,
                heartbeat_ns=0,
            )
        )

    assert await find() == url
