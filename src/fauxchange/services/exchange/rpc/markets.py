"""What everybody may call: instruments, books, trades."""

from fauxchange.contracts.exchange import proto, render
from fauxchange.contracts.exchange.v1 import exchange_pb2 as pb
from fauxchange.data.ports import FillQuery
from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.listings import Listing
from fauxchange.services.exchange.rpc.parsing import page_of
from fauxchange.services.exchange.service.api import ExchangeApi
from fauxchange.services.exchange.service.exchange import MAX_DEPTH

DEFAULT_DEPTH = 20
BASIC_TIER = 0


class MarketCalls:
    """The methods that want no credentials."""

    def __init__(self, service: ExchangeApi) -> None:
        self._service = service

    async def list_instruments(self, request: pb.ListInstrumentsRequest) -> pb.ListInstrumentsResponse:  # noqa: ARG002
        """Return all instruments."""
        return pb.ListInstrumentsResponse(
            instruments=[instrument(self._service, listing) for listing in self._service.listings()]
        )

    async def get_book(self, request: pb.GetBookRequest) -> pb.Book:
        """Return the visible book of a symbol."""
        depth = request.depth or DEFAULT_DEPTH
        if not 1 <= depth <= MAX_DEPTH:
            raise InvalidRequest(f"depth is 1 to {MAX_DEPTH}", code="limit_out_of_range", field="depth")
        return proto.book(self._service.book(request.symbol, depth))

    async def list_trades(self, request: pb.ListTradesRequest) -> pb.ListTradesResponse:
        """Return a page of trades."""
        listing = self._service.listing(request.symbol)
        page = await self._service.trades(FillQuery(symbol=listing.symbol, taker_only=True, **page_of(request)))
        return pb.ListTradesResponse(
            trades=[proto.trade(render.taker_trade_message(fill, listing)) for fill in page.items],
            next_cursor=page.next_cursor or "",
        )


def instrument(service: ExchangeApi, listing: Listing) -> pb.Instrument:
    """Return an instrument with the fees of the basic tier."""
    maker, taker = service.fees(listing, BASIC_TIER)
    return proto.instrument(render.instrument_message(listing, maker, taker))
