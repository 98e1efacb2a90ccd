"""Readers of streams that look after the numbers: no message twice, none missed, every gap named."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection

READ_TIMEOUT_S = 10.0

Frame = dict[str, Any]


class SequenceError(AssertionError):
    """A stream's numbers do not follow each other."""


class Sequences:
    """Follow the numbers of every (channel, symbol) of one reader."""

    def __init__(self) -> None:
        self.last: dict[tuple[str, str], int] = {}
        self.epochs: dict[tuple[str, str], int] = {}
        self.conflated = 0
        """How many messages arrived merged into newer ones."""

    def take(
        self, channel: str, symbol: str, *, epoch: int, first_sequence: int, sequence: int, is_snapshot: bool = False
    ) -> None:
        """Take a message in; a snapshot begins anew. Raises: SequenceError at a gap, a repetition or another epoch."""
        key = (channel, symbol)
        if is_snapshot:
            self.last[key], self.epochs[key] = sequence, epoch
            return
        if self.epochs.setdefault(key, epoch) != epoch:
            raise SequenceError(f"{channel} {symbol}: epoch {epoch} after {self.epochs[key]} without a snapshot")
        expected = self.last.get(key, first_sequence - 1) + 1
        if first_sequence != expected or sequence < first_sequence:
            raise SequenceError(f"{channel} {symbol}: {first_sequence}..{sequence} where {expected} was expected")
        self.conflated += sequence - first_sequence
        self.last[key] = sequence

    def resumption(self, channel: str, symbol: str) -> dict[str, int]:
        """Return what to ask for in order to go on: the next number and its epoch."""
        key = (channel, symbol)
        return {"from_sequence": self.last[key] + 1, "epoch": self.epochs[key]}


class StreamClient:
    """A WebSocket client of the market-data stream that checks every number it reads.

    Data that arrives while an answer is awaited is kept for `next`.
    """

    def __init__(self, connection: ClientConnection, sequences: Sequences | None = None) -> None:
        self.connection = connection
        self.sequences = sequences or Sequences()
        self._ids = itertools.count(1)
        self._messages: list[Frame] = []
        self._replies: list[Frame] = []

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, url: str, *, sequences: Sequences | None = None, **options: Any
    ) -> AsyncIterator["StreamClient"]:
        """Connect for as long as the block lasts; `sequences` carries on where an earlier client left off."""
        async with websockets.connect(url, **options) as connection:
            yield cls(connection, sequences)

    async def ask(self, op: str, **fields: Any) -> Frame:
        """Send a frame and return its answer."""
        frame_id = next(self._ids)
        await self.connection.send(json.dumps({"op": op, "id": frame_id, **fields}))
        while True:
            reply = await self.reply()
            if reply.get("id") == frame_id:
                return reply

    async def send(self, payload: str | bytes) -> Frame:
        """Send a payload as it stands and return the next answer."""
        await self.connection.send(payload)
        return await self.reply()

    async def reply(self) -> Frame:
        """Return the next answer to a frame."""
        async with asyncio.timeout(READ_TIMEOUT_S):
            while not self._replies:
                await self._read()
            return self._replies.pop(0)

    async def subscribe(self, channel: str, symbol: str | None = None, **fields: Any) -> Frame:
        """Subscribe and return the answer. Raises: AssertionError if it is a refusal."""
        reply = await self.ask("subscribe", channel=channel, **({} if symbol is None else {"symbol": symbol}), **fields)
        if not reply["ok"]:
            raise AssertionError(f"the subscription was refused: {reply}")
        return reply

    async def resume(self, channel: str, symbol: str) -> Frame:
        """Subscribe from the number after the last one seen."""
        return await self.subscribe(channel, symbol, **self.sequences.resumption(channel, symbol))

    async def next(self, channel: str | None = None, symbol: str | None = None) -> Frame:
        """Return the next message (of a channel, of a symbol); others are passed over, heartbeats too.

        Raises: TimeoutError if none comes in time
        """
        async with asyncio.timeout(READ_TIMEOUT_S):
            return await self._next(channel, symbol)

    async def _next(self, channel: str | None, symbol: str | None) -> Frame:
        while True:
            while self._messages:
                message = self._messages.pop(0)
                heartbeat = message["channel"] == "heartbeat" and channel != "heartbeat"
                if not heartbeat and channel in {None, message["channel"]} and symbol in {None, message["symbol"]}:
                    return message
            await self._read()

    async def take(self, count: int, channel: str | None = None, symbol: str | None = None) -> list[Frame]:
        """Return so many messages."""
        return [await self.next(channel, symbol) for _ in range(count)]

    async def _read(self) -> None:
        document = json.loads(await self.connection.recv())
        for item in document if isinstance(document, list) else [document]:
            if "op" in item:
                self._replies.append(item)
                continue
            self.sequences.take(
                item["channel"],
                item["symbol"],
                epoch=item["epoch"],
                first_sequence=item["first_sequence"],
                sequence=item["sequence"],
                is_snapshot=item["type"] == "snapshot",
            )
            self._messages.append(item)
