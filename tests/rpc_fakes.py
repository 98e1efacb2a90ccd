"""A network of service instances without sockets, for tests of those who call them.

An instance is up, gone (nothing listens), frozen (it listens and answers nothing) or unwell. Time is
the event loop's, so that on a jumping loop a deadline costs nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from fauxchange.platform.rpc.instances import HEALTH_CHECK

HEALTHY, UNWELL = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
Answer = Callable[[Any], Awaitable[Any]]


def status(code: grpc.StatusCode, details: str = "", **trailing: str) -> grpc.aio.AioRpcError:
    """Return a status as a call raises it; `fx_code="x"` becomes the trailing metadata `fx-code: x`."""
    pairs = ((name.replace("_", "-"), value) for name, value in trailing.items())
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*pairs), details=details)


class FakeInstance:
    """One instance; `answer` makes the answers to calls, `streamed` the messages of streams."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.is_up = True
        self.is_healthy = True
        self.calls: list[tuple[str, Any, dict[str, str], float | None]] = []
        self.answer: Answer = self._echo
        self.streamed: asyncio.Queue[Any] = asyncio.Queue()
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._gone = asyncio.Event()

    async def _echo(self, _request: Any) -> Any:
        return self.target

    def freeze(self) -> None:
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()

    def kill(self) -> None:
        self.is_up = False
        self._gone.set()

    def start_again(self) -> None:
        self.is_up = True
        self._gone = asyncio.Event()
        self._thawed.set()

    async def serve(self, path: str, request: Any, timeout_s: float | None) -> Any:
        """Return the answer to a call, or raise what gRPC would."""
        if not self.is_up:
            raise status(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; last error: refused")
        working = asyncio.ensure_future(self._work(path, request))
        gone = asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait({working, gone}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            if gone.done():
                raise status(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            raise status(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        finally:
            working.cancel()
            gone.cancel()

    async def _work(self, path: str, request: Any) -> Any:
        await self._thawed.wait()
        if path == HEALTH_CHECK:
            return health_pb2.HealthCheckResponse(status=HEALTHY if self.is_healthy else UNWELL)
        if path.rpartition("/")[2].startswith("Stream"):
            return await self.streamed.get()
        return await self.answer(request)


class FakeStream:
    """A stream of one instance, as grpc.aio's reader API has it."""

    def __init__(self, instance: FakeInstance, path: str, request: Any) -> None:
        self._instance, self._path, self._request = instance, path, request
        self._reading: asyncio.Future[Any] | None = None
        self.is_cancelled = False

    async def read(self) -> Any:
        if self.is_cancelled:
            raise asyncio.CancelledError
        self._reading = asyncio.ensure_future(self._instance.serve(self._path, self._request, None))
        message = await self._reading
        if isinstance(message, BaseException):
            raise message
        return message

    def cancel(self) -> None:
        self.is_cancelled = True
        if self._reading is not None:
            self._reading.cancel()


class FakeChannel:
    """A connection to one instance."""

    def __init__(self, instance: FakeInstance) -> None:
        self.instance = instance
        self.is_open = True
        self._calls: list[asyncio.Future[Any]] = []

    def unary_unary(self, path: str, **_: Any) -> Callable[..., Any]:
        def call(request: Any, timeout: float | None = None, metadata: Any = ()) -> Any:
            if path != HEALTH_CHECK:
                self.instance.calls.append((path.rpartition("/")[2], request, dict(metadata), timeout))
            self._calls.append(asyncio.ensure_future(self.instance.serve(path, request, timeout)))
            return self._calls[-1]

        return call

    def unary_stream(self, path: str, **_: Any) -> Callable[..., Any]:
        def call(request: Any, timeout: float | None = None, metadata: Any = ()) -> Any:
            self.instance.calls.append((path.rpartition("/")[2], request, dict(metadata), timeout))
            return FakeStream(self.instance, path, request)

        return call

    async def close(self, grace: float | None = None) -> None:
        self.is_open = False
        for call in self._calls:
            call.cancel()


class FakeNetwork:
    """All instances by address, and the connections to them."""

    def __init__(self, *targets: str) -> None:
        self.instances = {target: FakeInstance(target) for target in targets}
        self.channels: list[FakeChannel] = []

    def __getitem__(self, target: str) -> FakeInstance:
        return self.instances[target]

    def __iter__(self) -> Iterator[FakeInstance]:
        return iter(self.instances.values())

    def open_channel(self, target: str) -> FakeChannel:
        channel = FakeChannel(self.instances.setdefault(target, FakeInstance(target)))
        self.channels.append(channel)
        return channel

    @property
    def open_channels(self) -> list[str]:
        """The addresses that there are connections to."""
        return [channel.instance.target for channel in self.channels if channel.is_open]
