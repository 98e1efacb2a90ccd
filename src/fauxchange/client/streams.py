"""Streams: one channel over one connection after another, read as if it were one.

A connection that is lost is taken up again where it ended, after a pause that grows with each failure. A venue sends a
heartbeat every few seconds, so a connection on which nothing arrives for long is lost too.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from fauxchange.client.chance import Backoff
from fauxchange.client.errors import (
    STALE_PAUSE_S,
    ConnectionLost,
    NotConnected,
    OutOfStep,
    RateLimited,
    StaleTimestamp,
    Unavailable,
    error_of_reply,
)
from fauxchange.client.signing import Signer
from fauxchange.client.subscription import Subscription
from fauxchange.client.venues import Venue
from fauxchange.client.views import View
from fauxchange.domain.errors import FauxchangeError

T = TypeVar("T")

LONGEST_PAUSE_S = 5.0
SILENCE_S = 20.0
"""Several heartbeats of a venue that lives."""
OPEN_TIMEOUT_S, CLOSE_TIMEOUT_S = 10.0, 1.0
MAX_FRAME_BYTES = 64 * 2**20
"""All that was missed comes in one frame."""
AUTH_TRIES = 4
DISAGREEMENTS = 3
"""So many snapshots in a row that do not fit are no accident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How a stream reaches its venue; channels of the caller's own want a signer. Units: *_s in seconds."""

    venue: Venue
    path: str
    jitter: Callable[[], float]
    signer: Signer | None = None
    first_pause_s: float = 0.1
    silence_s: float = SILENCE_S


class Stream(Generic[T]):
    """What happens on a channel, for ever: `async for` it, in an `async with` where it ends before the program does.

    Raises: NotConnected if the first connection fails, ApiError as the venue refuses; later failures of the connection
            are what a stream is there to survive
    """

    def __init__(self, line: Line, subscription: Subscription, view: View[T]) -> None:
        self.line = line
        self._subscription = subscription
        self._view = view
        self._backoff = Backoff(first_s=line.first_pause_s, longest_s=LONGEST_PAUSE_S, jitter=line.jitter)
        self._disagreements = 0
        self._updates = self._follow()
        self.connections = 0
        """How many connections there have been."""
        self.last_failure: str | None = None
        """Why the last connection ended."""

    @property
    def gaps(self) -> int:
        """How often numbers were missing, and were asked for again."""
        return self._subscription.gaps

    @property
    def restarts(self) -> int:
        """How often the stream had to begin anew with a snapshot."""
        return self._subscription.restarts

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        return await anext(self._updates)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._updates.aclose()

    async def _follow(self) -> AsyncGenerator[T]:
        while True:
            try:
                async with connected(self.line) as socket, aclosing(self._read(socket)) as updates:
                    async for update in updates:
                        yield update
            except (OSError, TimeoutError, WebSocketException, Unavailable, RateLimited) as exc:
                if not self.connections:
                    raise
                self.last_failure = str(exc) or f"nothing has come for {self.line.silence_s:g} s"
            except FauxchangeError as exc:
                # `ready.json` is gone while a venue starts again.
                if not self.connections or exc.code != "not_running":
                    raise
                self.last_failure = exc.message
            await asyncio.sleep(self._backoff.next_s())

    async def _read(self, socket: ClientConnection) -> AsyncGenerator[T]:
        self.connections += 1
        await _send_all(socket, self._subscription.opening())
        while True:
            async with asyncio.timeout(self.line.silence_s):
                text = await socket.recv()
            received = self._subscription.receive(text)
            await _send_all(socket, received.frames)
            begun_anew: set[str] = set()
            for message in received.messages:
                self._backoff.reset()
                if message.symbol in begun_anew:
                    continue
                try:
                    updates = self._view.take(message)
                except OutOfStep:
                    self._disagreements += 1
                    if self._disagreements > DISAGREEMENTS:
                        raise
                    begun_anew.add(message.symbol)
                    await _send_all(socket, self._subscription.begin_anew(message.symbol))
                    continue
                self._disagreements = 0
                for update in updates:
                    yield update


@asynccontextmanager
async def connected(line: Line, **auth_options: bool) -> AsyncIterator[ClientConnection]:
    """Yield a connection, authenticated if the line has a signer.

    Raises: NotConnected, ConnectionLost, ApiError as the venue refuses
    """
    address = line.venue.current_url().replace("http", "ws", 1) + line.path
    try:
        socket = await connect(
            address,
            proxy=None,
            compression=None,
            max_size=MAX_FRAME_BYTES,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            # Silence tells that the peer is gone, also where nobody runs the event loop between two reads.
            ping_interval=None,
        )
    except (OSError, TimeoutError, InvalidHandshake) as exc:
        raise NotConnected(f"nothing answers at {address} ({str(exc) or type(exc).__name__})") from exc
    async with socket:
        if line.signer is not None:
            await _authenticate(socket, line, line.signer, auth_options)
        yield socket


async def _send_all(socket: ClientConnection, frames: Sequence[str]) -> None:
    for frame in frames:
        await socket.send(frame)


async def _authenticate(socket: ClientConnection, line: Line, signer: Signer, options: dict[str, bool]) -> None:
    for tries_left in reversed(range(AUTH_TRIES)):
        await socket.send(msgspec.json.encode({**signer.auth_frame(line.path), **options}).decode())
        reply = await _auth_reply(socket, line)
        if reply["ok"]:
            return
        refusal = error_of_reply(reply)
        if not isinstance(refusal, StaleTimestamp) or not tries_left:
            raise refusal
        await asyncio.sleep(STALE_PAUSE_S)


async def _auth_reply(socket: ClientConnection, line: Line) -> dict[str, Any]:
    try:
        async with asyncio.timeout(line.silence_s):
            while True:
                reply = msgspec.json.decode(await socket.recv())
                if isinstance(reply, dict) and reply.get("op") == "auth":
                    return reply
    except (TimeoutError, WebSocketException) as exc:
        reason = str(exc) or type(exc).__name__
        raise ConnectionLost(f"the venue did not answer to the credentials ({reason})") from exc
