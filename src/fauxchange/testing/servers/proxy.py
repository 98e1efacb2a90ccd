"""A network that misbehaves on command: a loopback proxy between a client and a server."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

from fauxchange.testing.servers.errors import ServerFailed
from fauxchange.testing.servers.home import Port, reserve_port

HOST = "127.0.0.1"
CHUNK_BYTES = 64 * 1024
MAX_CHUNKS_UNDERWAY = 1_024
"""How much of a delayed answer is held per connection; after that the server is read no further, as on a slow line."""
CALL_TIMEOUT_S = 30.0
LISTEN_ATTEMPTS = 5
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""`SO_LINGER` with no time to linger: closing sends RST."""

T = TypeVar("T")


class TcpProxy:
    """A proxy in a thread and on an event loop of its own; each method has taken effect when it returns.

    Units: `delay_s` is how much later everything that the server sends arrives; the order of bytes is kept
    """

    def __init__(self, host: str, port: int) -> None:
        self.delay_s = 0.0
        self._target = (host, port)
        self._port: Port | None = None
        self._accepted = 0
        self._links: dict[_Link, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._flowing.set()
        try:
            for attempt in range(LISTEN_ATTEMPTS):
                self._port = reserve_port()
                try:
                    self.accept()
                except OSError:
                    # Taken in the moment between.
                    self._port.release()
                    if attempt == LISTEN_ATTEMPTS - 1:
                        raise
                    continue
                break
        except BaseException:
            self._end_loop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._do(self._close())
        finally:
            self._end_loop()
            if self._port is not None:
                self._port.release()

    @property
    def host(self) -> str:
        """Where it listens."""
        return HOST

    @property
    def port(self) -> int:
        """The port it listens on, the same after `refuse` and `accept`."""
        if self._port is None:
            raise ServerFailed("a proxy listens for as long as its `with` block lasts")
        return self._port.number

    @property
    def address(self) -> str:
        """Host and port as one text."""
        return f"{HOST}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections are open through the proxy."""
        return len(self._links)

    @property
    def accepted(self) -> int:
        """How many connections the proxy has taken since it began."""
        return self._accepted

    def url_through(self, url: str) -> str:
        """Return the URL with the proxy's address in the place of the server's."""
        parts = urlsplit(url)
        credentials, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{credentials}{at}{self.address}"))

    def stall(self) -> None:
        """Let no byte pass in either direction; connections stay open, and new ones are taken."""
        self._do(_called(self._flowing.clear))

    def flow(self) -> None:
        """Let bytes pass again, those that were held back first."""
        self._do(_called(self._flowing.set))

    def reset(self) -> None:
        """Break every open connection with a reset, on both sides; new ones are taken."""
        self._do(self._reset())

    def half_close(self) -> None:
        """End what the server sends on every open connection, as if it had closed its side; requests still pass."""
        self._do(_called(self._end_answers))

    def refuse(self) -> None:
        """Refuse new connections; those that are open stay."""
        self._do(_called(self._stop_listening))

    def accept(self) -> None:
        """Take new connections again, on the same port."""
        self._do(self._listen())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_TIMEOUT_S)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_TIMEOUT_S)
        self._loop.close()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._take, HOST, self.port)

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted += 1
        link = _Link(reader, writer, self._flowing, lambda: self.delay_s)
        task = self._loop.create_task(link.run(*self._target))
        self._links[link] = task
        task.add_done_callback(lambda _: self._links.pop(link, None))

    def _end_answers(self) -> None:
        for link in self._links:
            link.end_answers()

    async def _reset(self) -> None:
        tasks = list(self._links.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _close(self) -> None:
        self._stop_listening()
        await self._reset()


class _Link:
    """One connection through the proxy; it ends when both sides have said all, or by a reset."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        flowing: asyncio.Event,
        delay_s: Callable[[], float],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._flowing = flowing
        self._delay_s = delay_s
        self._underway: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MAX_CHUNKS_UNDERWAY)
        self._answers_ended = False

    async def run(self, host: str, port: int) -> None:
        """Carry bytes between the client and the server until the connection is over."""
        writers = [self._writer]
        try:
            reader, writer = await asyncio.open_connection(host, port)
            writers.append(writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry_requests(writer))
                group.create_task(self._hold_answers(reader))
                group.create_task(self._carry_answers())
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            # A link that is broken on one side, or on command, is broken on both.
            for writer in writers:
                _break(writer)
        finally:
            for writer in writers:
                writer.close()

    def end_answers(self) -> None:
        """Tell the client that the server has said all."""
        if not self._answers_ended:
            self._answers_ended = True
            with contextlib.suppress(OSError):
                self._writer.write_eof()

    async def _carry_requests(self, writer: asyncio.StreamWriter) -> None:
        while chunk := await self._reader.read(CHUNK_BYTES):
            await self._flowing.wait()
            writer.write(chunk)
            await writer.drain()
        await self._flowing.wait()
        writer.write_eof()

    async def _hold_answers(self, reader: asyncio.StreamReader) -> None:
        loop = asyncio.get_running_loop()
        chunk = b"not yet"
        while chunk:
            chunk = await reader.read(CHUNK_BYTES)
            await self._underway.put((loop.time() + self._delay_s(), chunk))

    async def _carry_answers(self) -> None:
        loop = asyncio.get_running_loop()
        chunk = b"not yet"
        while chunk:
            due_s, chunk = await self._underway.get()
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            await self._flowing.wait()
            if not self._answers_ended:
                self._writer.write(chunk)
                await self._writer.drain()
        self.end_answers()


async def _called(work: Callable[[], object]) -> None:
    work()


def _break(writer: asyncio.StreamWriter) -> None:
    """Close a connection with a reset, so that the other side cannot take it for an orderly end."""
    link: socket.socket | None = writer.get_extra_info("socket")
    if link is not None:
        with contextlib.suppress(OSError):
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()
