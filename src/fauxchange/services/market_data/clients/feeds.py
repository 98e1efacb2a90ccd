"""What a live feed sends, and how it is reached: the vocabulary between a push source and its transports.

The rules of a feed's sequence: quotes and trades each take the next number, those that answer a subscription too; a
heartbeat repeats the last number taken. A new connection may go on with the old numbers, repeat the last one, or
start over with lower ones (the feed was restarted).
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedQuote:
    """The feed's best bid and ask; `symbol` may be left out by a feed of one instrument."""

    sequence: int
    bid: Decimal
    ask: Decimal
    symbol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedTrade:
    """A trade on the feed's venue."""

    sequence: int
    price: Decimal
    quantity: Decimal
    symbol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedHeartbeat:
    """A sign of life, with the sequence of the last message before it."""

    sequence: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BadMessage:
    """Something arrived that is no message of the feed."""

    reason: str


FeedMessage = FeedQuote | FeedTrade | FeedHeartbeat | BadMessage


class FeedConnection(Protocol):
    """One connection to a feed, subscribed."""

    async def receive(self) -> FeedMessage | None:
        """Wait for the next message; return None when the feed has hung up. Raises: Unavailable if the line breaks."""
        ...

    async def resubscribe(self) -> bool:
        """Ask the feed for its present state, after messages were lost; return False if it cannot be asked."""
        ...

    async def close(self) -> None:
        """Hang up; safe to call twice."""
        ...


class FeedTransport(Protocol):
    """How a feed is reached."""

    @property
    def address(self) -> str:
        """Where the feed is, for reports."""
        ...

    async def connect(self) -> FeedConnection:
        """Connect and subscribe. Raises: Unavailable."""
        ...
