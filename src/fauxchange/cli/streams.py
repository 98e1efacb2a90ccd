"""Follow a channel of a running server: reconnect when it goes, resume by sequence, never show a message twice.

`Reader` decides and does no I/O; `follow` moves its frames over a WebSocket.
"""

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fauxchange.cli.remote import away
from fauxchange.domain.errors import FauxchangeError, InvalidRequest

STREAM_PATH = "/api/v1/market-data/ws"
FIRST_DELAY_S, LONGEST_DELAY_S = 0.25, 5.0
PING_S = 5.0
MAX_FRAME_BYTES = 64 * 2**20
"""All symbols of a step may share a frame, and all that was missed comes in one."""

_ANY_SYMBOL = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of one topic. Units: it spans the numbers first_sequence..sequence."""

    channel: str
    symbol: str
    epoch: int
    first_sequence: int
    sequence: int
    type: str
    data: dict[str, Any]


class Reader:
    """What has been read of a channel, for some symbols or for all (none named)."""

    def __init__(self, channel: str, symbols: Sequence[str] = ()) -> None:
        self.channel = channel
        self.gaps = 0
        """How often numbers were missing between two messages of a symbol."""
        self._named = tuple(symbols)
        self._reached: dict[str, tuple[int, int]] = {}

    def requests(self) -> list[str]:
        """Return the frames to send on a new connection: resume what was read, begin what was not."""
        frames = [self._subscribe(symbol, resume=True) for symbol in self._reached]
        if not self._named:
            return [*frames, self._subscribe(None)]
        # A symbol is answered in its canonical spelling, whatever spelling it was named in.
        unread = [name for name in self._named if _canonical(name) not in self._reached]
        return [*frames, *(self._subscribe(name) for name in unread)]

    def receive(self, text: str | bytes) -> tuple[list[Message], list[str]]:
        """Take a frame; return the messages that are new, and the frames to send in answer.

        Raises: InvalidRequest if the server refused a subscription
        """
        document = json.loads(text)
        messages: list[Message] = []
        frames: list[str] = []
        for item in document if isinstance(document, list) else [document]:
            if "op" in item:
                frames += self._answered(item)
            elif item["channel"] == self.channel:
                messages += self._taken(item)
        return messages, frames

    def _answered(self, reply: dict[str, Any]) -> list[str]:
        # All symbols are asked for after those that are resumed, which may leave nothing to begin.
        if reply["ok"] or reply.get("code") == "already_subscribed":
            return []
        if reply.get("code") == "snapshot_required":
            symbol = reply.get("symbol")
            self._reached.pop(symbol or _ANY_SYMBOL, None)
            return [self._subscribe(symbol)]
        message = reply.get("detail") or f"the server refused to {reply['op']}"
        raise InvalidRequest(message, code=reply.get("code"), field=reply.get("field"))

    def _taken(self, item: dict[str, Any]) -> list[Message]:
        message = Message(**{name: item[name] for name in Message.__dataclass_fields__})
        epoch, sequence = self._reached.get(message.symbol, (None, 0))
        if epoch == message.epoch:
            if message.sequence <= sequence:
                return []
            self.gaps += message.type != "snapshot" and message.first_sequence > sequence + 1
        self._reached[message.symbol] = (message.epoch, message.sequence)
        return [message]

    def _subscribe(self, symbol: str | None, *, resume: bool = False) -> str:
        frame: dict[str, Any] = {"op": "subscribe", "channel": self.channel}
        if symbol is not None and symbol != _ANY_SYMBOL:
            frame["symbol"] = symbol
        if resume and symbol is not None:
            epoch, sequence = self._reached[symbol]
            frame |= {"epoch": epoch, "from_sequence": sequence + 1}
        return json.dumps(frame)


async def follow(
    reader: Reader, find_url: Callable[[], str], *, notice: Callable[[str], None], first_delay_s: float = FIRST_DELAY_S
) -> AsyncGenerator[list[Message], None]:
    """Yield what is new on a channel, for ever, over one connection after another.

    `find_url` is asked before each connection, because a server that was started again may listen elsewhere. What
    happens to the connection is told to `notice`.

    Units:  first_delay_s until the second attempt to connect, doubled for each after it
    Raises: Unavailable if the first connection fails, FauxchangeError as the server refuses
    """
    import asyncio

    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    delay_s, connected_once = first_delay_s, False
    while True:
        url = ""
        try:
            url = find_url()
            address = url.replace("http", "ws", 1) + STREAM_PATH
            async with connect(
                address,
                proxy=None,
                compression=None,
                max_size=MAX_FRAME_BYTES,
                ping_interval=PING_S,
                ping_timeout=PING_S,
            ) as socket:
                if connected_once:
                    notice("connected again")
                connected_once = True
                for frame in reader.requests():
                    await socket.send(frame)
                async for text in socket:
                    delay_s = first_delay_s
                    messages, frames = reader.receive(text)
                    for frame in frames:
                        await socket.send(frame)
                    if messages:
                        yield messages
            reason = "the server closed the connection"
        except (OSError, TimeoutError, WebSocketException) as exc:
            if not connected_once:
                raise away(url, str(exc) or type(exc).__name__) from exc
            reason = str(exc) or type(exc).__name__
        except FauxchangeError as exc:
            # `ready.json` is gone while a server starts again.
            if not connected_once or exc.code != "not_running":
                raise
            reason = "the server has ended"
        notice(f"{reason}; trying again in {delay_s:g} s")
        await asyncio.sleep(delay_s)
        delay_s = min(2 * delay_s, LONGEST_DELAY_S)


def _canonical(name: str) -> str:
    return name.strip().upper().replace("-", "/")
