"""Market data over gRPC: parse, ask the service, render; and streams in batches.

A stream's batches are joined from messages that were serialised once for all streams (`platform.streams.batches`).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from fauxchange.contracts.market_data import render
from fauxchange.contracts.market_data.v1 import market_data_pb2 as pb
from fauxchange.data.ports import CandleQuery, PriceFeedQuery
from fauxchange.domain.errors import InvalidRequest, RateLimited, Unavailable
from fauxchange.domain.intervals import INTERVAL_NAMES, parse_interval
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.streams.batches import BatchReaders, BatchStream
from fauxchange.platform.streams.endpoint import (
    Heartbeat,
    SnapshotRequired,
    StreamLimits,
    StreamMetrics,
    begin,
)
from fauxchange.platform.streams.topics import StreamMessage, Topic
from fauxchange.services.market_data.service.channels import CANDLES, PRICES, SCENARIO
from fauxchange.services.market_data.service.feed import MarketDataService

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["MarketDataService"].full_name
TRANSPORT = "grpc"
DEFAULT_LIMIT = 1_000
BATCH_MESSAGES = 10_000
"""One batch of missed messages holds at most so many: gRPC clients refuse more than 4 MiB unless told otherwise."""

Context = grpc.aio.ServicerContext[Any, Any]


class Batch(Protocol):
    """What the batches of all streams have in common."""

    snapshots_required: Any
    heartbeat: Any

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """Return the message's bytes."""
        ...


class MarketDataRpc:
    """The gRPC edge."""

    def __init__(
        self,
        service: MarketDataService,
        *,
        limits: StreamLimits,
        heartbeat: Heartbeat,
        metrics: StreamMetrics,
        flush_interval_s: float,
        max_streams: int,
    ) -> None:
        self._service = service
        self._limits = limits
        self._heartbeat = heartbeat
        self._metrics = metrics
        self._readers = BatchReaders(service.hub, flush_interval_s)
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
        self._readers.fail_all(
            lambda: Unavailable("the server is shutting down; resume with another", code="server_shutdown")
        )

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
        snapshot = self._service.snapshot(request.symbol)
        instrument = self._service.market(request.symbol).instrument
        return render.snapshot_proto(render.snapshot_message(snapshot, instrument), snapshot.ts_ns)

    # Streams

    async def stream_prices(self, request: pb.StreamPricesRequest, context: Context) -> None:
        """Stream prices."""
        await self._stream(context, PRICES, list(request.subscriptions), pb.PriceBatch)

    async def stream_candles(self, request: pb.StreamCandlesRequest, context: Context) -> None:
        """Stream candles of one interval."""
        interval_ns = self._interval_ns(request.interval)
        channel = f"{CANDLES}:{INTERVAL_NAMES[interval_ns]}"
        await self._stream(context, channel, list(request.subscriptions), pb.CandleBatch)

    async def stream_scenarios(self, request: pb.StreamScenariosRequest, context: Context) -> None:
        """Stream what happens to scenarios."""
        subscription = pb.Subscription()
        if request.HasField("from_sequence"):
            subscription.from_sequence = request.from_sequence
        if request.HasField("epoch"):
            subscription.epoch = request.epoch
        await self._stream(context, SCENARIO, [subscription], pb.ScenarioBatch)

    async def _stream(
        self, context: Context, channel: str, subscriptions: Sequence[pb.Subscription], batch_type: Callable[[], Batch]
    ) -> None:
        if len(self._readers) >= self._max_streams:
            raise RateLimited(f"{self._max_streams} streams are open, which is the limit", code="too_many_streams")
        stream = BatchStream(self._limits.queue_messages, partial(_beat, batch_type))
        try:
            # Nothing awaits between the snapshot and the subscription, so no message falls between them.
            first = self._begin(stream, channel, subscriptions or [pb.Subscription()], batch_type)
            self._heartbeat.join(stream)
            self._metrics.subscribers.set(len(self._readers), TRANSPORT)
            for batch in first:
                await context.write(batch)
            while True:
                batch = await stream.next_batch()
                if batch:
                    await context.write(batch)
        finally:
            self._readers.leave(stream)
            self._heartbeat.leave(stream)
            self._metrics.subscribers.set(len(self._readers), TRANSPORT)
            self._metrics.conflated.inc(stream.conflated, TRANSPORT)
            if stream.slow:
                self._metrics.slow_consumers.inc(1, TRANSPORT)

    def _begin(
        self,
        stream: BatchStream,
        channel: str,
        subscriptions: Sequence[pb.Subscription],
        batch_type: Callable[[], Batch],
    ) -> list[bytes]:
        """Subscribe the stream; return its first batches: what cannot be resumed, snapshots and missed messages."""
        first: list[StreamMessage] = []
        notices = batch_type()
        wanted: list[Topic] = []
        for subscription in subscriptions:
            topics = self._service.resolve_topics(channel, subscription.symbol or None)
            if any(topic in wanted for topic in topics):
                raise InvalidRequest("a symbol is subscribed twice", code="already_subscribed", field="subscriptions")
            wanted += topics
            try:
                first += begin(
                    topics,
                    from_sequence=subscription.from_sequence if subscription.HasField("from_sequence") else None,
                    epoch=subscription.epoch if subscription.HasField("epoch") else None,
                )
            except SnapshotRequired:
                self._metrics.snapshots_required.inc(1, TRANSPORT)
                (topic,) = topics
                notices.snapshots_required.add(
                    symbol=topic.symbol,
                    from_sequence=subscription.from_sequence,
                    epoch=topic.epoch,
                    sequence=topic.sequence,
                )
                first += begin(topics, from_sequence=None, epoch=None)
        if len(wanted) > self._limits.subscriptions:
            raise InvalidRequest(
                f"a stream has at most {self._limits.subscriptions} subscriptions",
                code="too_many_subscriptions",
                field="subscriptions",
            )
        self._readers.join(stream, wanted)
        elements = [message.proto() for message in first]
        batches = [elements[begun : begun + BATCH_MESSAGES] for begun in range(0, len(elements), BATCH_MESSAGES)]
        # The first one is sent even if it is empty: it tells the caller that the stream has begun.
        return [notices.SerializeToString() + b"".join(batches[0] if batches else ()), *map(b"".join, batches[1:])]

    def _interval_ns(self, text: str) -> int:
        return parse_interval(text) if text else self._service.default_interval_ns


def _beat(batch_type: Callable[[], Batch]) -> bytes:
    batch = batch_type()
    batch.heartbeat.timestamp.GetCurrentTime()
    return batch.SerializeToString()


def _serialise(message: Message) -> bytes:
    return message.SerializeToString()


def _time_ns(request: Message, field: str) -> int | None:
    if not request.HasField(field):
        return None
    moment: Timestamp = getattr(request, field)
    return moment.seconds * NS_PER_S + moment.nanos
