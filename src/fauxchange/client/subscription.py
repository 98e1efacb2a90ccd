"""What has been read of one channel, and what to say to the venue to read on without a gap.

A subscription decides and does no I/O: it is told what arrives and answers with frames to send. Its rules:

* no message is told twice, and within an epoch none out of order;
* numbers that are missing are asked for again; until they come, what is behind them waits at the venue;
* where the venue no longer keeps them, or has begun a new epoch, a snapshot begins anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec

from fauxchange.client.errors import error_of_reply
from fauxchange.contracts.exchange.messages import StreamFrame

ANY_SYMBOL = "*"


class _Waiting(Enum):
    """What a topic waits for."""

    MISSING = "missing"
    """Numbers that were asked for again."""
    SNAPSHOT = "snapshot"
    """The answer to a subscription that begins anew."""


@dataclass(slots=True)
class Received:
    """What a frame brought: messages in order, and frames to send in answer."""

    messages: list[StreamFrame] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)


class Subscription:
    """One channel, of some symbols or of all (none named)."""

    def __init__(self, channel: str, symbols: Sequence[str] = ()) -> None:
        self.channel = channel
        self.gaps = 0
        """How often numbers were missing between two messages of a symbol."""
        self.restarts = 0
        """How often a topic was begun anew with a snapshot."""
        self._named = tuple(symbols)
        self._reached: dict[str, tuple[int, int]] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._asked: dict[int, str | None] = {}
        self._next_id = 0

    def opening(self) -> list[str]:
        """Return the frames to send on a new connection: resume what was read, begin what was not."""
        self._asked.clear()
        self._waiting.clear()
        frames = [self._subscribe(symbol, resume=True) for symbol in self._reached]
        if not self._named:
            return [*frames, self._subscribe(None)]
        unread = [name for name in self._named if canonical(name) not in self._reached]
        return [*frames, *(self._subscribe(name) for name in unread)]

    def receive(self, text: str | bytes) -> Received:
        """Take a frame. Raises: ApiError if the venue refused a subscription."""
        document = msgspec.json.decode(text)
        received = Received()
        for item in document if isinstance(document, list) else [document]:
            if "op" in item:
                received.frames += self._answered(item)
            elif item["channel"] == self.channel:
                self._take(msgspec.convert(item, StreamFrame), received)
        return received

    def begin_anew(self, symbol: str) -> list[str]:
        """Forget what was read of a symbol; return the frames that ask for a snapshot."""
        self.restarts += 1
        self._reached.pop(symbol, None)
        self._waiting[symbol] = _Waiting.SNAPSHOT
        return [self._frame("unsubscribe", symbol), self._subscribe(symbol)]

    def _answered(self, reply: dict[str, Any]) -> list[str]:
        asked_id = reply.get("id")
        symbol = self._asked.pop(asked_id, None) if isinstance(asked_id, int) else None
        code = reply.get("code")
        if reply["ok"]:
            # What comes from here on belongs to the subscription that was asked for.
            if symbol is not None and reply["op"] == "subscribe" and self._waiting.get(symbol) is _Waiting.SNAPSHOT:
                del self._waiting[symbol]
            return []
        if code in {"already_subscribed", "not_subscribed"}:
            # All symbols are asked for after those that are resumed, which may leave nothing to begin.
            return []
        if code == "snapshot_required":
            return self.begin_anew(symbol or ANY_SYMBOL)
        raise error_of_reply(reply)

    def _take(self, message: StreamFrame, received: Received) -> None:
        symbol = message.symbol
        if self._waiting.get(symbol) is _Waiting.SNAPSHOT:
            return
        if symbol in self._reached and not self._follows(message, received):
            return
        self._waiting.pop(symbol, None)
        self._reached[symbol] = (message.epoch, message.sequence)
        received.messages.append(message)

    def _follows(self, message: StreamFrame, received: Received) -> bool:
        """Return whether a message is the next of its topic; if numbers are missing, ask for them."""
        symbol = message.symbol
        epoch, sequence = self._reached[symbol]
        if message.epoch != epoch:
            if message.type != "snapshot":
                received.frames += self.begin_anew(symbol)
            return message.type == "snapshot"
        if message.sequence <= sequence:
            return False
        if message.type == "snapshot" or message.first_sequence <= sequence + 1:
            return True
        if symbol not in self._waiting:
            self.gaps += 1
            self._waiting[symbol] = _Waiting.MISSING
            received.frames.append(self._subscribe(symbol, resume=True))
        return False

    def _subscribe(self, symbol: str | None, *, resume: bool = False) -> str:
        numbers = {}
        if resume and symbol is not None:
            epoch, sequence = self._reached[symbol]
            numbers = {"epoch": epoch, "from_sequence": sequence + 1}
        return self._frame("subscribe", symbol, **numbers)

    def _frame(self, op: str, symbol: str | None, **numbers: int) -> str:
        self._next_id += 1
        self._asked[self._next_id] = None if symbol is None else canonical(symbol)
        named = {} if symbol is None or symbol == ANY_SYMBOL else {"symbol": symbol}
        frame = {"op": op, "channel": self.channel, **named, **numbers, "id": self._next_id}
        return msgspec.json.encode(frame).decode()


def canonical(name: str) -> str:
    """Return a symbol as the venue writes it, whatever spelling it was named in."""
    return name.strip().upper().replace("-", "/")
