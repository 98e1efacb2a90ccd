"""Market data over gRPC: parse, ask the service, render; and streams in batches."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from fauxchange.contracts.market_data import render
from fauxchange.contracts.market_data.v1 import market_data_pb2 as pb
from fauxchange.data.ports import CandleQuery, PriceFeedQuery
from fauxchange.domain.errors import FauxchangeError, RateLimited
from fauxchange.domain.intervals import INTERVAL_NAMES, parse_interval
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.rpc.batch_streams import Batch, BatchStreams, Context, Wanted
from fauxchange.platform.streams.endpoint import Heartbeat, StreamLimits, StreamMetrics
from fauxchange.services.market_data.service.api import MarketDataApi
from fauxchange.services.market_data.service.channels import CANDLES, PRICES, SCENARIO

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["MarketDataService"].full_name
DEFAULT_LIMIT = 1_000


class MarketDataRpc:
    """The gRPC edge."""

    def __init__(
        self,
        service: MarketDataApi,
        *,
        limits: StreamLimits,
        heartbeat: Heartbeat,
        metrics: StreamMetrics,
        flush_interval_s: float,
        max_streams: int,
    ) -> None:
        self._service = service
        self._streams = BatchStreams(
            service.hub, limits=limits, heartbeat=heartbeat, metrics=metrics, flush_interval_s=flush_interval_s
        )
        self._max_streams = max_streams

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the handlers of all methods; streams are handed on as bytes, already serialised."""
        unary: dict[str, tuple[Callable[..., Any], Any]] = {
            "ListSymbols": (self.list_symbols, pb.ListSymbolsRequest),
            "GetPrice": (self.get_price, pb.GetPriceRequest),
            "ListPrices": (self.list_prices, pb.ListPricesRequest),
            "GetPriceHistory": (self.get_price_history, pb.GetPriceHistoryRequest),
            "GetCandles": (self.get_candles, pb.GetCandlesRequest),
            "GetSnapshot": (self.get_snapshot, pb.GetSnapshotRequest),
        }
        streams: dict[str, tuple[Callable[..., Any], Any]] = {
            "StreamPrices": (self.stream_prices, pb.StreamPricesRequest),
            "StreamCandles": (self.stream_candles, pb.StreamCandlesRequest),
            "StreamScenarios": (self.stream_scenarios, pb.StreamScenariosRequest),
        }
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.unary_unary_rpc_method_handler(
                behaviour, request_deserializer=request.FromString, response_serializer=_serialise
            )
            for name, (behaviour, request) in unary.items()
        }
        for name, (behaviour, request) in streams.items():
            handlers[name] = grpc.unary_stream_rpc_method_handler(behaviour, request_deserializer=request.FromString)
        return grpc.method_handlers_generic_handler(SERVICE_NAME, handlers)

    def end_streams(self) -> None:
        """End all streams because the server stops."""
        self._streams.end_all()

    def drop_readers(self, failure: FauxchangeError) -> None:
        """End all streams there are with a failure, though the server goes on."""
        self._streams.fail_all(failure)

    # Questions

    async def list_symbols(self, request: pb.ListSymbolsRequest, context: Context) -> pb.ListSymbolsResponse:  # noqa: ARG002
        """Answer with the symbols that are priced."""
        response = pb.ListSymbolsResponse()
        for market in self._service.get_active_symbols():
            message = render.symbol_message(market.instrument, market.source.value)
            response.symbols.add(
                symbol=message.symbol,
                base=message.base,
                quote=message.quote,
                tick_size=message.tick_size,
                lot_size=message.lot_size,
                source=message.source,
            )
        return response

    async def get_price(self, request: pb.GetPriceRequest, context: Context) -> pb.Price:  # noqa: ARG002
        """Answer with the latest price of a symbol."""
        quote = self._service.price(request.symbol)
        return render.price_proto(render.price_message(quote), quote.ts_ns)

    async def list_prices(self, request: pb.ListPricesRequest, context: Context) -> pb.ListPricesResponse:  # noqa: ARG002
        """Answer with the latest prices."""
        quotes = self._service.latest_prices(list(request.symbols))
        return pb.ListPricesResponse(
            prices=[render.price_proto(render.price_message(quote), quote.ts_ns) for quote in quotes]
        )

    async def get_price_history(
        self,
        request: pb.GetPriceHistoryRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.GetPriceHistoryResponse:
        """Answer with a page of stored prices."""
        instrument = self._service.market(request.symbol).instrument
        page = await self._service.price_history(
            PriceFeedQuery(
                symbol=instrument.symbol,
                start_ns=_time_ns(request, "start"),
                end_ns=_time_ns(request, "end"),
                limit=request.limit or DEFAULT_LIMIT,
                cursor=request.cursor or None,
                newest_first=request.newest_first,
            )
        )
        return pb.GetPriceHistoryResponse(
            prices=[
                render.price_proto(render.stored_price_message(feed, instrument), feed.ts_ns) for feed in page.items
            ],
            next_cursor=page.next_cursor or "",
        )

    async def get_candles(self, request: pb.GetCandlesRequest, context: Context) -> pb.GetCandlesResponse:  # noqa: ARG002
        """Answer with a page of candles."""
        instrument = self._service.market(request.symbol).instrument
        page = await self._service.candle_history(
            CandleQuery(
                symbol=instrument.symbol,
                interval_ns=self._interval_ns(request.interval),
                start_ns=_time_ns(request, "start"),
                end_ns=_time_ns(request, "end"),
                limit=request.limit or DEFAULT_LIMIT,
                cursor=request.cursor or None,
                newest_first=request.newest_first,
            )
        )
        return pb.GetCandlesResponse(
            candles=[
                render.candle_proto(render.stored_candle_message(candle, instrument), candle.open_ns)
                for candle in page.items
            ],
            next_cursor=page.next_cursor or "",
        )

    async def get_snapshot(self, request: pb.GetSnapshotRequest, context: Context) -> pb.MarketSnapshot:  # noqa: ARG002
        """Answer with the present state of a market."""
        snapshot = await self._service.current_snapshot(request.symbol)
        instrument = self._service.market(request.symbol).instrument
        return render.snapshot_proto(render.snapshot_message(snapshot, instrument), snapshot.ts_ns)

    # Streams

    async def stream_prices(self, request: pb.StreamPricesRequest, context: Context) -> None:
        """Stream prices."""
        await self._stream(context, PRICES, request.subscriptions, pb.PriceBatch)

    async def stream_candles(self, request: pb.StreamCandlesRequest, context: Context) -> None:
        """Stream candles of one interval."""
        interval_ns = self._interval_ns(request.interval)
        channel = f"{CANDLES}:{INTERVAL_NAMES[interval_ns]}"
        await self._stream(context, channel, request.subscriptions, pb.CandleBatch)

    async def stream_scenarios(self, request: pb.StreamScenariosRequest, context: Context) -> None:
        """Stream what happens to scenarios."""
        await self._stream(context, SCENARIO, [request], pb.ScenarioBatch)

    async def _stream(
        self, context: Context, channel: str, subscriptions: Sequence[Any], batch_type: Callable[[], Batch]
    ) -> None:
        if len(self._streams) >= self._max_streams:
            raise RateLimited(f"{self._max_streams} streams are open, which is the limit", code="too_many_streams")
        wanted = [Wanted.of(subscription) for subscription in subscriptions]
        await self._streams.serve(context, partial(self._service.resolve_topics, channel), wanted, batch_type)

    def _interval_ns(self, text: str) -> int:
        return parse_interval(text) if text else self._service.default_interval_ns


def _serialise(message: Message) -> bytes:
    return message.SerializeToString()


def _time_ns(request: Message, field: str) -> int | None:
    if not request.HasField(field):
        return None
    moment: Timestamp = getattr(request, field)
    return moment.seconds * NS_PER_S + moment.nanos
