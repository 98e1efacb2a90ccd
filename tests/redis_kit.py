"""What tests of Redis share: patience for a busy machine, stores over a server, waiting for a condition."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from fauxchange.data.redis.server import RedisConfig
from fauxchange.data.redis.stores import RedisStores

DEADLINE_S = 30.0


def patient(url: str) -> RedisConfig:
    """Return how a server is used that nobody means to break: a busy machine is no loss."""
    return RedisConfig(url=url, deadline_s=DEADLINE_S, silence_s=DEADLINE_S)


def stores(config: RedisConfig, **more: Any) -> RedisStores:
    return RedisStores(config, **{"wall_ns": time.time_ns, **more})


async def eventually(condition: Callable[[], object], *, within_s: float = DEADLINE_S) -> float:
    """Wait until a condition holds; return how long that took. Fails the test if it never does."""
    begun_s = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - begun_s
        assert waited_s < within_s, f"not within {within_s} s"
        await asyncio.sleep(0.01)
    return time.monotonic() - begun_s


async def asked_until(question: Callable[[], Awaitable[object]], *, within_s: float = DEADLINE_S) -> None:
    """Ask until the answer is yes."""
    async with asyncio.timeout(within_s):
        answer = await question()
        while not answer:
            await asyncio.sleep(0.01)
            answer = await question()
