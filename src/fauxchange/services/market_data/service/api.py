"""What edges ask of market data: of the service in the same process, or of a gateway's copy of what it tells."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from fauxchange.data.ports import CandleQuery, Page, PriceFeedQuery
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.market_data import CandleRecord, FeedSource, MarketSnapshot, PriceFeed, Quote
from fauxchange.platform.streams.hub import Hub
from fauxchange.platform.streams.topics import Topic


class MarketView(Protocol):
    """One symbol."""

    @property
    def instrument(self) -> Instrument:
        """The symbol with its grids."""
        ...

    @property
    def source(self) -> FeedSource:
        """Where its prices come from."""
        ...

    @property
    def prices(self) -> Topic:
        """The stream of its prices."""
        ...

    @property
    def candle_topics(self) -> Mapping[int, Topic]:
        """The streams of its candles, by interval in nanoseconds."""
        ...


class MarketDataApi(Protocol):
    """Everything that the edges of the public API ask."""

    @property
    def hub(self) -> Hub:
        """Who reads which stream."""
        ...

    @property
    def default_interval_ns(self) -> int:
        """The interval of candles that are asked for without one. Units: nanoseconds."""
        ...

    def get_active_symbols(self) -> Sequence[MarketView]:
        """Return the markets that are served."""
        ...

    def market(self, symbol: str) -> MarketView:
        """Return a market by its symbol in any spelling. Raises: InvalidRequest, NotFound."""
        ...

    def price(self, symbol: str) -> Quote:
        """Return the latest quote. Raises: NotFound."""
        ...

    def latest_prices(self, symbols: Sequence[str] = ()) -> list[Quote]:
        """Return the latest quotes of the named symbols, or of all, leaving out those without a price yet."""
        ...

    async def current_snapshot(self, symbol: str) -> MarketSnapshot:
        """Return the present state of a market. Raises: NotFound."""
        ...

    async def price_history(self, query: PriceFeedQuery) -> Page[PriceFeed]:
        """Return a page of stored prices. Raises: NotFound, InvalidRequest."""
        ...

    async def candle_history(self, query: CandleQuery) -> Page[CandleRecord]:
        """Return a page of candles. Raises: NotFound, InvalidRequest."""
        ...

    def resolve_topics(self, channel: str, symbol: str | None) -> list[Topic]:
        """Return the topics of a channel, of one symbol or (None or `*`) of all. Raises: InvalidRequest, NotFound."""
        ...
