"""`fauxchange services` against a real registry, and against a venue that keeps its own."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from fauxchange.cli.app import app
from fauxchange.data.memory.registry import MemoryRegistry
from fauxchange.data.redis.registry import RedisRegistry
from fauxchange.data.redis.server import RedisConfig, RedisServer
from fauxchange.platform.clock import WallClock
from fauxchange.platform.ports import ServiceInstance
from fauxchange.testing import running


def command(*arguments: str, env: dict[str, str]) -> dict[str, list[dict[str, object]]]:
    result = CliRunner(env=env).invoke(app, ["services", "--once", "--json", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    document: dict[str, list[dict[str, object]]] = json.loads(result.stdout)
    return document


async def register(url: str) -> None:
    wall_ns = WallClock().now_ns
    server = RedisServer(RedisConfig(url=url))
    registry = RedisRegistry(
        server, MemoryRegistry(wall_ns=wall_ns, ttl_s=90), namespace="market_data", ttl_s=90, wall_ns=wall_ns
    )
    await server.connect()
    await registry.register(
        ServiceInstance(
            name="market-data-simulator",
            instance="host:1:abc",
            version="1.2.3",
            host="127.0.0.1",
            http_port=8083,
            grpc_port=1,
            registered_ns=0,
            heartbeat_ns=0,
        )
    )
    await server.disconnect()


async def test_the_registry_in_redis_is_read(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    await register(redis_url)

    run = asyncio.get_running_loop().run_in_executor
    document = await run(None, lambda: command(env={"REDIS_URL": redis_url}))

    (service,) = document["services"]
    assert (service["name"], service["instance"], service["health"]) == (
        "market-data-simulator",
        "host:1:abc",
        "no answer",
    )
    assert isinstance(service["heartbeat_age_s"], float)
    assert service["heartbeat_age_s"] < 60


async def test_a_venue_in_one_process_tells_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REDIS_URL", raising=False)
    settings = {"MODEL_ENGINE": "python", "ADVERTISED_HOST": "localhost"}
    async with running(tmp_path / "venue", settings, services=("market-data",)) as venue:
        run = asyncio.get_running_loop().run_in_executor
        document = await run(None, lambda: command("--data-dir", str(tmp_path / "venue"), env={}))
        async with httpx.AsyncClient(base_url=venue.venue.http) as client:
            told = (await client.get("/api/v1/services")).json()

    (service,) = document["services"]
    assert (service["name"], service["host"], service["health"]) == ("market-data-simulator", "localhost", "serving")
    assert [each["instance"] for each in told["services"]] == [service["instance"]]
