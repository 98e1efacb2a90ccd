"""The channels of market data: what their topics number and keep, and what their messages look like."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from fauxchange.contracts.market_data.messages import StreamFrame
from fauxchange.contracts.market_data.render import (
    batch_element,
    candle_message,
    candle_proto,
    price_message,
    price_proto,
)
from fauxchange.contracts.market_data.v1 import market_data_pb2 as pb
from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.intervals import INTERVAL_NAMES, INTERVALS_NS
from fauxchange.domain.market_data import Candle, Quote
from fauxchange.platform.streams.topics import ANY_SYMBOL, SnapshotTopic, StreamMessage, Topic
from fauxchange.services.market_data.core.candles import CandleBook

PRICES = "prices"
CANDLES = "candles"
SCENARIO = "scenario"

MESSAGE_TYPES = {
    "snapshot": pb.MESSAGE_TYPE_SNAPSHOT,
    "delta": pb.MESSAGE_TYPE_DELTA,
    "event": pb.MESSAGE_TYPE_EVENT,
}
_encoder = msgspec.json.Encoder()


def candle_channel(interval_ns: int) -> str:
    """Return the channel of an interval's candles, such as `candles:1m`."""
    return f"{CANDLES}:{INTERVAL_NAMES[interval_ns]}"


def frame_json(message: StreamMessage, data: object) -> bytes:
    """Return the JSON object of a stream message that carries `data`."""
    topic = message.topic
    return _encoder.encode(
        StreamFrame(
            channel=topic.channel,
            symbol=topic.symbol,
            epoch=topic.epoch,
            first_sequence=message.first_sequence,
            sequence=message.sequence,
            type=message.type,
            data=data,
        )
    )


class PriceCodec:
    """Prices on the wire."""

    def json(self, message: StreamMessage) -> bytes:
        """Return the message as one JSON object."""
        return frame_json(message, price_message(message.data))

    def proto(self, message: StreamMessage) -> bytes:
        """Return the message as one element of a PriceBatch."""
        quote: Quote = message.data
        update = pb.PriceUpdate(
            epoch=message.topic.epoch,
            first_sequence=message.first_sequence,
            sequence=message.sequence,
            type=MESSAGE_TYPES[message.type],
            price=price_proto(price_message(quote), quote.ts_ns),
        )
        return batch_element(update.SerializeToString())


class CandleCodec:
    """Candles on the wire."""

    def json(self, message: StreamMessage) -> bytes:
        """Return the message as one JSON object."""
        return frame_json(message, candle_message(message.data))

    def proto(self, message: StreamMessage) -> bytes:
        """Return the message as one element of a CandleBatch."""
        candle: Candle = message.data
        update = pb.CandleUpdate(
            epoch=message.topic.epoch,
            first_sequence=message.first_sequence,
            sequence=message.sequence,
            type=MESSAGE_TYPES[message.type],
            candle=candle_proto(candle_message(candle), candle.open_ns),
        )
        return batch_element(update.SerializeToString())


PRICE_CODEC = PriceCodec()
CANDLE_CODEC = CandleCodec()


class PriceTopic(SnapshotTopic):
    """The prices of one symbol; every one is numbered and kept."""

    __slots__ = ()

    def __init__(self, symbol: str, *, epoch: int, keep: int, sequence: int = 0) -> None:
        super().__init__(PRICES, symbol, epoch=epoch, codec=PRICE_CODEC, keep=keep, sequence=sequence)

    def publish(self, quote: Quote) -> StreamMessage:
        """Give a quote its number and keep it."""
        message = self.number("delta", quote, PRICES)
        quote.sequence = message.sequence
        self.kept.append(message)
        return message


class CandleTopic(Topic):
    """The candles of one symbol and interval.

    Each price is one update of the open candle and takes one number, whether or not anybody listens; the message is
    made only if somebody does. What is kept are the closed candles, each spanning the updates that led to it, so
    whoever resumes gets every candle that closed meanwhile and the open one as it stands.
    """

    __slots__ = ("_base", "_book", "interval_ns")

    def __init__(
        self, symbol: str, interval_ns: int, book: CandleBook, *, epoch: int, keep: int, sequence: int = 0
    ) -> None:
        super().__init__(
            candle_channel(interval_ns), symbol, epoch=epoch, codec=CANDLE_CODEC, keep=keep, sequence=sequence
        )
        self.interval_ns = interval_ns
        self._book = book
        # What was numbered before this process began is known to nobody any more.
        self._base = sequence

    def update(self) -> StreamMessage | None:
        """Return the open candle as the message of the current number."""
        return self._open_candle(self.sequence)

    def closed(self, candle: Candle) -> StreamMessage:
        """Give a closed candle its number and keep it."""
        first_kept = self.kept[-1].sequence + 1 if self.kept else self._base + 1
        message = self.number("delta", candle, candle.open_ns)
        self.kept.append(message.since(first_kept))
        return message

    def snapshot(self) -> StreamMessage | None:
        """Return the open candle, or the last closed one while none is open."""
        message = self._open_candle(self.sequence)
        if message is None:
            if not self.kept:
                return None
            newest: Candle = self.kept[-1].data
            return StreamMessage(self, self.sequence, self.sequence, "snapshot", newest, newest.open_ns)
        message.type = "snapshot"
        return message

    def resume(self, from_sequence: int) -> Sequence[StreamMessage] | None:
        """Return the candles closed since, and the open one spanning the updates after them."""
        if from_sequence == self.sequence + 1:
            return ()
        oldest = self.kept[0].first_sequence if self.kept else self._base + 1
        if from_sequence < oldest or from_sequence > self.sequence:
            return None
        messages = [message for message in self.kept if message.sequence >= from_sequence]
        if messages:
            messages[0] = messages[0].since(from_sequence)
        after = messages[-1].sequence + 1 if messages else from_sequence
        if after <= self.sequence:
            open_candle = self._open_candle(after)
            if open_candle is None:
                return None
            messages.append(open_candle)
        return messages

    def _open_candle(self, first_sequence: int) -> StreamMessage | None:
        candle = self._book.current(self.interval_ns)
        if candle is None:
            return None
        return StreamMessage(self, first_sequence, self.sequence, "delta", candle, candle.open_ns)


class TopicsOfMarket(Protocol):
    """The topics of one symbol."""

    @property
    def prices(self) -> Topic:
        """The prices."""
        ...

    @property
    def candle_topics(self) -> Mapping[int, Topic]:
        """The candles, by interval in nanoseconds."""
        ...


class Markets(Protocol):
    """All symbols there are."""

    def get_active_symbols(self) -> Sequence[TopicsOfMarket]:
        """Return the markets that are served."""
        ...

    def market(self, symbol: str) -> TopicsOfMarket:
        """Return a market by its symbol in any spelling. Raises: InvalidRequest, NotFound."""
        ...


def resolve_topics(channel: str, symbol: str | None, every: Markets, scenario_topic: Topic) -> list[Topic]:
    """Return the topics of a channel, of one symbol or (None or `*`) of all. Raises: InvalidRequest, NotFound."""
    if channel == SCENARIO:
        if symbol is not None and symbol != ANY_SYMBOL:
            raise InvalidRequest("the scenario channel has no symbol", code="invalid_symbol", field="symbol")
        return [scenario_topic]
    markets = every.get_active_symbols() if symbol is None or symbol == ANY_SYMBOL else [every.market(symbol)]
    if channel == PRICES:
        return [market.prices for market in markets]
    name, _, interval = channel.partition(":")
    if name == CANDLES and interval in INTERVALS_NS:
        return [market.candle_topics[INTERVALS_NS[interval]] for market in markets]
    if name == CANDLES:
        raise InvalidRequest(
            f"{interval!r} is not a candle interval; the channels are {CANDLES}: with {', '.join(INTERVALS_NS)}",
            code="invalid_interval",
            field="channel",
        )
    raise InvalidRequest(
        f"there is no channel {channel!r}; there are {PRICES}, {CANDLES}:<interval> and {SCENARIO}",
        code="unknown_channel",
        field="channel",
    )
