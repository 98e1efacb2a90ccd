"""What everybody may ask: instruments, books, trades."""

from litestar import Router, get
from litestar.types import ControllerRouterHandler

from fauxchange.contracts.exchange import render
from fauxchange.contracts.exchange.messages import BookMessage, InstrumentMessage, InstrumentsResponse, TradesResponse
from fauxchange.data.ports import FillQuery
from fauxchange.domain.listings import Listing
from fauxchange.services.exchange.rest.parameters import (
    DEPTH,
    PAGE,
    CursorQuery,
    DepthQuery,
    DirectionQuery,
    EndQuery,
    LimitQuery,
    StartQuery,
    SymbolPath,
    oldest_first,
    time_ns,
)
from fauxchange.services.exchange.service.api import ExchangeApi

TAGS = ["exchange"]
BASIC_TIER = 0


def market_routes(service: ExchangeApi) -> ControllerRouterHandler:
    """Return the routes that want no credentials."""

    def rendered(listing: Listing) -> InstrumentMessage:
        maker, taker = service.fees(listing, BASIC_TIER)
        return render.instrument_message(listing, maker, taker)

    @get("/instruments", sync_to_thread=False)
    def instruments() -> InstrumentsResponse:
        """List the instruments with their grids and limits, and the fees of the basic tier."""
        return InstrumentsResponse([rendered(listing) for listing in service.listings()])

    @get("/instruments/{symbol:str}", sync_to_thread=False)
    def instrument(symbol: SymbolPath) -> InstrumentMessage:
        """Return one instrument."""
        return rendered(service.listing(symbol))

    @get("/book/{symbol:str}", sync_to_thread=False)
    def book(symbol: SymbolPath, depth: DepthQuery = DEPTH) -> BookMessage:
        """Return the visible book of one instrument, the best prices first."""
        return service.book(symbol, depth)

    @get("/trades/{symbol:str}")
    async def trades(
        symbol: SymbolPath,
        start: StartQuery = None,
        end: EndQuery = None,
        limit: LimitQuery = PAGE,
        cursor: CursorQuery = None,
        order: DirectionQuery = None,
    ) -> TradesResponse:
        """Return the trades in one instrument, page by page."""
        listing = service.listing(symbol)
        page = await service.trades(
            FillQuery(
                symbol=listing.symbol,
                taker_only=True,
                start_ns=time_ns(start, "start"),
                end_ns=time_ns(end, "end"),
                oldest_first=oldest_first(order, start),
                limit=limit,
                cursor=cursor,
            )
        )
        return TradesResponse([render.taker_trade_message(fill, listing) for fill in page.items], page.next_cursor)

    return Router("/", route_handlers=[instruments, instrument, book, trades], tags=TAGS)
