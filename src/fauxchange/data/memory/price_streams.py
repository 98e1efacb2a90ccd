"""Price streams within one process."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence

from fauxchange.data.ports import StreamedPrices
from fauxchange.data.price_following import Following, Number, number_of
from fauxchange.domain.market_data import PriceFeed

KEPT_PRICES = 10_000


class MemoryPriceStreams:
    """The newest prices of each symbol, and who waits for more. `keep` is in prices of one symbol."""

    def __init__(self, *, keep: int = KEPT_PRICES) -> None:
        self._keep = keep
        self._streams: dict[str, deque[PriceFeed]] = {}
        self._waiting: set[asyncio.Event] = set()

    def publish(self, feeds: Sequence[PriceFeed]) -> None:
        """Send prices on."""
        for feed in feeds:
            stream = self._streams.setdefault(feed.symbol, deque(maxlen=self._keep))
            if stream and number_of(feed) <= number_of(stream[-1]):
                # The numbering of another run, whose clock was ahead.
                stream.clear()
            stream.append(feed)
        for event in self._waiting:
            event.set()

    async def follow(self, start: Mapping[str, Number | None]) -> AsyncGenerator[StreamedPrices, None]:
        """Yield the prices of these symbols as they come."""
        followings = {symbol: Following(symbol, number) for symbol, number in start.items()}
        news = asyncio.Event()
        self._waiting.add(news)
        try:
            for symbol, following in followings.items():
                stream = self._streams.get(symbol, ())
                wanted = following.start
                first = next((feed for feed in stream if wanted is not None and number_of(feed) >= wanted), None)
                for event in following.begin(first, stream[-1] if stream else None):
                    yield event
            while True:
                news.clear()
                for symbol, following in followings.items():
                    for event in self._read(symbol, following):
                        yield event
                await news.wait()
        finally:
            self._waiting.discard(news)

    def _read(self, symbol: str, following: Following) -> list[StreamedPrices]:
        stream = self._streams.get(symbol)
        if not stream:
            return []
        following.begin_anew_if(number_of(stream[-1]))
        found: list[PriceFeed] = []
        for feed in reversed(stream):
            if number_of(feed) <= following.read_from:
                break
            found.append(feed)
        return following.take(found[::-1])
