"""Market data from a generator in another process, told on with the generator's numbers.

A gateway reads every stream of the generator over gRPC and keeps what it has read, so that its own readers resume with
it, or with another gateway, by the same numbers. Where a stream broke off it is opened again at the next number; what
the generator keeps no more is made good by a snapshot. While a stream is not there its readers are sent away: they
would be told nothing, and would not know it. History is asked of the generator each time.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Any, Final, Protocol

import msgspec
import structlog
from google.protobuf.message import Message

from fauxchange.contracts.market_data.messages import ScenarioEventMessage, ScenarioMessage
from fauxchange.contracts.market_data.render import time_text, timestamp
from fauxchange.contracts.market_data.v1 import market_data_pb2 as pb
from fauxchange.data.ports import CandleQuery, Page, PriceFeedQuery
from fauxchange.domain.errors import FauxchangeError, NotFound, Unavailable
from fauxchange.domain.instruments import Instrument, parse_symbol
from fauxchange.domain.intervals import INTERVAL_NAMES, INTERVALS_NS
from fauxchange.domain.market_data import Candle, CandleRecord, FeedSource, MarketSnapshot, PriceFeed, Quote
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.ports import DependencyHealth, DependencyStatus
from fauxchange.platform.rpc.backoff import Backoff, Chance
from fauxchange.platform.rpc.clients import PeerClient
from fauxchange.platform.streams.hub import Hub
from fauxchange.platform.streams.topics import (
    ANY_SYMBOL,
    Codec,
    EventTopic,
    MessageType,
    SnapshotTopic,
    StreamMessage,
    Topic,
)
from fauxchange.services.market_data.service.channels import (
    CANDLE_CODEC,
    PRICE_CODEC,
    PRICES,
    SCENARIO,
    candle_channel,
    resolve_topics,
)
from fauxchange.services.market_data.service.feed import unknown_symbol
from fauxchange.services.market_data.service.scenarios import KEPT_EVENTS, ScenarioCodec

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
_TYPES: Final[Mapping[int, MessageType]] = {
    pb.MESSAGE_TYPE_SNAPSHOT: "snapshot",
    pb.MESSAGE_TYPE_DELTA: "delta",
    pb.MESSAGE_TYPE_EVENT: "event",
}

Spawn = Callable[[Any, str], "asyncio.Task[Any]"]

log = structlog.get_logger(__name__)


class Owner(Protocol):
    """Whoever answers readers, and sends them away when streams break."""

    def lost(self, failure: FauxchangeError) -> None:
        """Send everybody away who reads a stream."""
        ...


class GatewayMarket:
    """One symbol, as a generator tells it."""

    def __init__(self, instrument: Instrument, source: FeedSource, *, keep: int) -> None:
        self.instrument = instrument
        self.source = source
        symbol = instrument.symbol
        self.quote: Quote | None = None
        self.prices: Topic = _topic(PRICES, symbol, PRICE_CODEC, keep)
        self.candle_topics: dict[int, Topic] = {
            interval_ns: _topic(candle_channel(interval_ns), symbol, CANDLE_CODEC, keep)
            for interval_ns in INTERVALS_NS.values()
        }


class _Stream:
    """One stream of the generator: its method, its topics by symbol, and what its updates carry."""

    def __init__(self, method: str, read: Callable[[Any], tuple[str, object, object]], interval: str = "") -> None:
        self.method = method
        self.read = read
        self.interval = interval
        self.topics: dict[str, Topic] = {}
        self.is_live = False

    def request(self) -> Message:
        """Return what is asked for: everything from where it was read."""
        if self.method == "StreamScenarios":
            (topic,) = self.topics.values()
            return pb.StreamScenariosRequest(**_from(topic))
        subscriptions = [pb.Subscription(symbol=symbol, **_from(topic)) for symbol, topic in self.topics.items()]
        if self.method == "StreamCandles":
            return pb.StreamCandlesRequest(interval=self.interval, subscriptions=subscriptions)
        return pb.StreamPricesRequest(subscriptions=subscriptions)


class GatewayMarketData:
    """What edges ask of market data, over the generator's streams; a lifecycle component.

    Units: idle_timeout_s in seconds, after which a stream without any message counts as lost
    """

    name = "generator"

    def __init__(
        self,
        client: PeerClient,
        owner: Owner,
        *,
        keep: Callable[[int], int],
        default_interval_ns: int,
        spawn: Spawn,
        chance: Chance,
        idle_timeout_s: float,
    ) -> None:
        self.hub = Hub()
        self.default_interval_ns = default_interval_ns
        self._client = client
        self._owner = owner
        self._keep = keep
        self._spawn = spawn
        self._chance = chance
        self._idle_timeout_s = idle_timeout_s
        self._markets: dict[str, GatewayMarket] = {}
        self._scenarios: dict[str, ScenarioMessage] = {}
        self._scenario_topic = EventTopic(
            SCENARIO,
            ANY_SYMBOL,
            epoch=0,
            codec=ScenarioCodec(),
            keep=KEPT_EVENTS,
            state=lambda: list(self._scenarios.values()),
        )
        self._streams: list[_Stream] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._broken = "it has not begun"

    # The component

    async def start(self) -> None:
        """Begin to read; that the generator is away is no failure."""
        self._tasks = [self._spawn(self._begin(), "market data of the generator")]

    async def stop(self) -> None:
        """Read no more."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def health(self) -> DependencyHealth:
        """Say whether every stream of the generator is being read."""
        if self._is_live():
            return DependencyHealth(DependencyStatus.OK, "", True)
        return DependencyHealth(DependencyStatus.DOWN, f"the generator of prices is away: {self._broken}", True)

    def _is_live(self) -> bool:
        return bool(self._streams) and all(stream.is_live for stream in self._streams)

    # Reading

    async def _begin(self) -> None:
        backoff = Backoff(first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S, chance=self._chance)
        while not self._streams:
            try:
                self._learn(await self._client.call("ListSymbols", pb.ListSymbolsRequest()))
            except FauxchangeError as exc:
                self._note_broken(exc.message)
                await asyncio.sleep(backoff.next_s())
        self._tasks += [
            self._spawn(self._follow(stream), f"{stream.method} {stream.interval}") for stream in self._streams
        ]

    def _learn(self, answer: Any) -> None:
        """Make the topics of the symbols there are. Raises: Unavailable if there are none yet."""
        if not answer.symbols:
            raise Unavailable("the generator prices nothing")
        keep = self._keep(len(answer.symbols))
        for told in answer.symbols:
            instrument = Instrument(
                symbol=told.symbol, tick_size=Decimal(told.tick_size), lot_size=Decimal(told.lot_size)
            )
            self._markets[told.symbol] = GatewayMarket(instrument, FeedSource(told.source), keep=keep)
        prices = _Stream("StreamPrices", self._read_price)
        prices.topics = {symbol: market.prices for symbol, market in self._markets.items()}
        scenarios = _Stream("StreamScenarios", self._read_scenario)
        scenarios.topics = {ANY_SYMBOL: self._scenario_topic}
        streams = [prices, scenarios]
        for interval, interval_ns in INTERVALS_NS.items():
            candles = _Stream("StreamCandles", self._read_candle, interval)
            candles.topics = {symbol: market.candle_topics[interval_ns] for symbol, market in self._markets.items()}
            streams.append(candles)
        self._streams = streams

    async def _follow(self, stream: _Stream) -> None:
        backoff = Backoff(first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S, chance=self._chance)
        while True:
            try:
                batches = self._client.stream(stream.method, stream.request(), idle_timeout_s=self._idle_timeout_s)
                async with aclosing(batches) as messages:
                    async for batch in messages:
                        self._take(stream, batch)
                        stream.is_live = True
                        backoff.reset()
                failure: FauxchangeError = Unavailable("the generator has ended its stream", code="stream_ended")
            except FauxchangeError as exc:
                failure = exc
            if stream.is_live:
                stream.is_live = False
                self._owner.lost(generator_away())
            self._note_broken(failure.message)
            await asyncio.sleep(backoff.next_s())

    def _take(self, stream: _Stream, batch: Any) -> None:
        """Keep and hand on what a batch tells. Raises: Unavailable if something was left out."""
        fresh: list[StreamMessage] = []
        for update in batch.updates:
            symbol, data, conflation_key = stream.read(update)
            topic = stream.topics[symbol]
            kind = _TYPES[update.type]
            same_epoch = update.epoch == topic.epoch
            if same_epoch and update.sequence <= topic.sequence:
                continue
            if kind == "snapshot" or not same_epoch:
                # What was kept does not reach up to it.
                topic.kept.clear()
                topic.epoch = update.epoch
            elif update.first_sequence > topic.sequence + 1:
                raise Unavailable("the generator left something out, which is asked for again", code="stream_gap")
            topic.sequence = update.sequence
            self._note(topic, data)
            first = update.sequence if kind == "snapshot" else update.first_sequence
            message = StreamMessage(topic, first, update.sequence, kind, data, conflation_key)
            if not (kind == "snapshot" and topic is self._scenario_topic):
                # A snapshot of prices is the price of its number, and what those who resume are told for it.
                topic.keep(StreamMessage(topic, first, update.sequence, _told(kind), data, conflation_key))
            fresh.append(message)
        if fresh:
            self.hub.publish(fresh)

    def _note(self, topic: Topic, data: object) -> None:
        if isinstance(data, Quote):
            self._markets[topic.symbol].quote = data
        elif isinstance(data, ScenarioEventMessage):
            scenario = data.scenario
            if scenario.status in {"ended", "cancelled"}:
                self._scenarios.pop(scenario.scenario_id, None)
            else:
                self._scenarios[scenario.scenario_id] = scenario
        elif isinstance(data, list):
            self._scenarios = {scenario.scenario_id: scenario for scenario in data}

    def _read_price(self, update: Any) -> tuple[str, object, object]:
        price, market = update.price, self._markets[update.price.symbol]
        count = market.instrument.prices.count
        quote = Quote(
            instrument=market.instrument,
            sequence=price.sequence,
            ts_ns=_ns(price.timestamp),
            bid_ticks=count(price.bid),
            ask_ticks=count(price.ask),
            last_ticks=count(price.last) if price.HasField("last") else None,
            volume_lots=0,
            source=market.source,
        )
        return price.symbol, quote, PRICES

    def _read_candle(self, update: Any) -> tuple[str, object, object]:
        told, instrument = update.candle, self._markets[update.candle.symbol].instrument
        count = instrument.prices.count
        candle = Candle(
            instrument=instrument,
            interval_ns=INTERVALS_NS[told.interval],
            open_ns=_ns(told.open_time),
            open_ticks=count(told.open),
            high_ticks=count(told.high),
            low_ticks=count(told.low),
            close_ticks=count(told.close),
            volume_lots=instrument.quantities.count(told.volume),
            closed=told.closed,
        )
        return told.symbol, candle, candle.open_ns

    def _read_scenario(self, update: Any) -> tuple[str, object, object]:
        scenarios = [_scenario(told) for told in update.scenarios]
        if _TYPES[update.type] == "snapshot":
            return ANY_SYMBOL, scenarios, None
        (scenario,) = scenarios
        at = time_text(_ns(update.timestamp))
        return ANY_SYMBOL, ScenarioEventMessage(event=update.event, timestamp=at, scenario=scenario), None

    def _note_broken(self, reason: str) -> None:
        if reason != self._broken:
            log.warning("generator_away", reason=reason)
        self._broken = reason

    # What edges ask

    def get_active_symbols(self) -> Sequence[GatewayMarket]:
        """Return the markets that are served. Raises: Unavailable."""
        self._check_live()
        return list(self._markets.values())

    def market(self, symbol: str) -> GatewayMarket:
        """Return a market by its symbol in any spelling. Raises: InvalidRequest, NotFound, Unavailable."""
        self._check_live()
        canonical = parse_symbol(symbol)
        market = self._markets.get(canonical)
        if market is None:
            raise unknown_symbol(canonical, self._markets)
        return market

    def price(self, symbol: str) -> Quote:
        """Return the latest quote. Raises: NotFound, Unavailable."""
        market = self.market(symbol)
        if market.quote is None:
            raise NotFound(f"{market.instrument.symbol} has no price yet", code="no_price_yet", field="symbol")
        return market.quote

    def latest_prices(self, symbols: Sequence[str] = ()) -> list[Quote]:
        """Return the latest quotes of the named symbols, or of all, leaving out those without a price yet."""
        markets = [self.market(symbol) for symbol in symbols] or self.get_active_symbols()
        return [market.quote for market in markets if market.quote is not None]

    def resolve_topics(self, channel: str, symbol: str | None) -> list[Topic]:
        """Return the topics of a channel. Raises: InvalidRequest, NotFound, Unavailable."""
        self._check_live()
        return resolve_topics(channel, symbol, self, self._scenario_topic)

    async def current_snapshot(self, symbol: str) -> MarketSnapshot:
        """Return the present state of a market. Raises: NotFound, Unavailable."""
        market = self.market(symbol)
        told = await self._client.call("GetSnapshot", pb.GetSnapshotRequest(symbol=market.instrument.symbol))
        return MarketSnapshot(
            symbol=told.symbol,
            ts_ns=_ns(told.timestamp),
            sequence=told.sequence,
            bid=Decimal(told.bid),
            ask=Decimal(told.ask),
            last_price=Decimal(told.last_price) if told.HasField("last_price") else None,
            open_24h=Decimal(told.open_24h),
            high_24h=Decimal(told.high_24h),
            low_24h=Decimal(told.low_24h),
            volume_24h=Decimal(told.volume_24h),
            change_24h=Decimal(told.change_24h),
            source=FeedSource(told.source),
        )

    async def price_history(self, query: PriceFeedQuery) -> Page[PriceFeed]:
        """Return a page of stored prices. Raises: NotFound, InvalidRequest, Unavailable."""
        source = self.market(query.symbol).source
        request = pb.GetPriceHistoryRequest(**_page(query))
        answer = await self._client.call("GetPriceHistory", request)
        prices = [
            PriceFeed(
                symbol=told.symbol,
                epoch=0,
                sequence=told.sequence,
                ts_ns=_ns(told.timestamp),
                bid=Decimal(told.bid),
                ask=Decimal(told.ask),
                last=Decimal(told.last) if told.HasField("last") else None,
                volume=Decimal(0),
                source=source,
            )
            for told in answer.prices
        ]
        return Page(prices, answer.next_cursor or None)

    async def candle_history(self, query: CandleQuery) -> Page[CandleRecord]:
        """Return a page of candles. Raises: NotFound, InvalidRequest, Unavailable."""
        self.market(query.symbol)
        request = pb.GetCandlesRequest(interval=INTERVAL_NAMES[query.interval_ns], **_page(query))
        answer = await self._client.call("GetCandles", request)
        candles = [
            CandleRecord(
                symbol=told.symbol,
                interval_ns=INTERVALS_NS[told.interval],
                open_ns=_ns(told.open_time),
                open=Decimal(told.open),
                high=Decimal(told.high),
                low=Decimal(told.low),
                close=Decimal(told.close),
                volume=Decimal(told.volume),
                closed=told.closed,
            )
            for told in answer.candles
        ]
        return Page(candles, answer.next_cursor or None)

    def _check_live(self) -> None:
        if not self._is_live():
            raise generator_away()


def generator_away() -> Unavailable:
    """Return why nothing is told."""
    return Unavailable("the generator of prices is away", code="generator_away", retry_after_s=1.0)


def _topic(channel: str, symbol: str, codec: Codec, keep: int) -> Topic:
    return SnapshotTopic(channel, symbol, epoch=0, codec=codec, keep=keep)


def _told(kind: MessageType) -> MessageType:
    return "delta" if kind == "snapshot" else kind


def _from(topic: Topic) -> dict[str, int]:
    """Return from where on a topic is asked for; nothing where it begins."""
    return {"from_sequence": topic.sequence + 1, "epoch": topic.epoch} if topic.epoch else {}


def _page(query: PriceFeedQuery | CandleQuery) -> dict[str, Any]:
    return {
        "symbol": query.symbol,
        "start": None if query.start_ns is None else timestamp(query.start_ns),
        "end": None if query.end_ns is None else timestamp(query.end_ns),
        "limit": query.limit,
        "cursor": query.cursor or "",
        "newest_first": query.newest_first,
    }


def _scenario(told: Any) -> ScenarioMessage:
    return ScenarioMessage(
        scenario_id=told.scenario_id,
        kind=told.kind,
        symbols=list(told.symbols),
        status=told.status,
        phase=told.phase or None,
        start_time=time_text(_ns(told.start_time)),
        end_time=time_text(_ns(told.end_time)),
        magnitude=told.magnitude,
        specification=msgspec.json.decode(told.specification),
    )


def _ns(moment: Any) -> int:
    nanoseconds: int = moment.seconds * NS_PER_S + moment.nanos
    return nanoseconds
