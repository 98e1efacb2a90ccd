"""The other end of `processes`: how a benchmark's own program hears its parent and answers, in lines of JSON."""

import asyncio
import json
import resource
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import uvloop


def run_child(main: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Run a program with the options that its parent gave it."""

    async def run() -> None:
        await main(json.loads(sys.argv[1]))

    uvloop.run(run())


async def heard() -> AsyncIterator[dict[str, Any]]:
    """Yield what the parent says, until it says no more or is gone."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 24)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        async for line in reader:
            yield json.loads(line)
    finally:
        transport.close()


def tell(document: Mapping[str, object]) -> None:
    """Say one line to the parent."""
    print(json.dumps(document), flush=True)


def own_cpu_s() -> float:
    """Return the processor time that this process has taken so far. Units: seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
