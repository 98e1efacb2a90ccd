"""A book kept from a snapshot and its deltas, and checked against the venue's checksums."""

import zlib
from bisect import bisect_left, insort
from collections.abc import Iterable
from decimal import Decimal

from fauxchange.contracts.exchange.messages import BookMessage

CHECKED_LEVELS = 10


class Level:
    """A price and the quantity it shows, as numbers and as the venue writes them."""

    __slots__ = ("price", "price_text", "quantity", "quantity_text")

    def __init__(self, price: Decimal, price_text: str, quantity: Decimal, quantity_text: str) -> None:
        self.price = price
        self.price_text = price_text
        self.quantity = quantity
        self.quantity_text = quantity_text

    def __repr__(self) -> str:
        return f"{self.price_text}:{self.quantity_text}"


class _Ladder:
    """One side of a book; `sign` is -1 where the highest price is the best."""

    __slots__ = ("_levels", "_ranks", "_sign")

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._ranks: list[Decimal] = []
        self._levels: dict[Decimal, Level] = {}

    def __len__(self) -> int:
        return len(self._ranks)

    def put(self, changes: Iterable[tuple[str, str]]) -> None:
        for price_text, quantity_text in changes:
            price, quantity = Decimal(price_text), Decimal(quantity_text)
            rank = price * self._sign
            if quantity:
                if rank not in self._levels:
                    insort(self._ranks, rank)
                self._levels[rank] = Level(price, price_text, quantity, quantity_text)
            elif self._levels.pop(rank, None) is not None:
                del self._ranks[bisect_left(self._ranks, rank)]

    def best(self, count: int | None) -> list[Level]:
        return [self._levels[rank] for rank in self._ranks[:count]]


class Book:
    """The visible book of one symbol as it stands after the last message.

    `is_checked` says whether the last message carried a checksum, with which the book agrees.
    """

    __slots__ = ("_asks", "_bids", "is_checked", "sequence", "symbol", "timestamp")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.sequence = 0
        self.timestamp = ""
        self.is_checked = False
        self._bids = _Ladder(-1)
        self._asks = _Ladder(1)

    def bids(self, count: int | None = None) -> list[Level]:
        """Return the best levels that buy, or all, the highest price first."""
        return self._bids.best(count)

    def asks(self, count: int | None = None) -> list[Level]:
        """Return the best levels that sell, or all, the lowest price first."""
        return self._asks.best(count)

    @property
    def best_bid(self) -> Level | None:
        """The highest price that somebody buys at."""
        return next(iter(self.bids(1)), None)

    @property
    def best_ask(self) -> Level | None:
        """The lowest price that somebody sells at."""
        return next(iter(self.asks(1)), None)

    def begin(self, message: BookMessage) -> bool:
        """Take a snapshot in place of everything; return whether it agrees with its checksum."""
        self._bids, self._asks = _Ladder(-1), _Ladder(1)
        return self.change(message)

    def change(self, message: BookMessage) -> bool:
        """Take a delta; return whether the book agrees with its checksum."""
        self._bids.put(message.bids)
        self._asks.put(message.asks)
        self.sequence, self.timestamp = message.sequence, message.timestamp
        self.is_checked = message.checksum is not None and message.checksum == self.checksum()
        return self.is_checked or message.checksum is None

    def checksum(self) -> int:
        """Return the CRC-32 over `price:quantity` of the ten best bids and then asks, joined by `|`."""
        levels = self._bids.best(CHECKED_LEVELS) + self._asks.best(CHECKED_LEVELS)
        return zlib.crc32("|".join(map(repr, levels)).encode())
