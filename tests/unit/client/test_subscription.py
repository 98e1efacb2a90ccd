import json
from typing import Any

import pytest

from fauxchange.client.errors import NotFound
from fauxchange.client.subscription import Received, Subscription

EPOCH = 7
SYMBOL = "BTC/USD"


def item(
    sequence: int, *, first: int | None = None, kind: str = "delta", epoch: int = EPOCH, symbol: str = SYMBOL
) -> dict[str, Any]:
    return {
        "channel": "book",
        "symbol": symbol,
        "epoch": epoch,
        "first_sequence": sequence if first is None else first,
        "sequence": sequence,
        "type": kind,
        "data": None,
    }


def sequences(received: Received) -> list[int]:
    return [message.sequence for message in received.messages]


class Reading:
    """A subscription that is fed with what a venue sends, and answers like one when it is told to."""

    def __init__(self, *symbols: str) -> None:
        self.subscription = Subscription("book", symbols)
        self.sent = [json.loads(frame) for frame in self.subscription.opening()]

    def feed(self, *items: dict[str, Any]) -> list[int]:
        received = self.subscription.receive(json.dumps(list(items)))
        self.sent += [json.loads(frame) for frame in received.frames]
        return sequences(received)

    def answer(self, frame: dict[str, Any], code: str | None = None) -> None:
        reply = {"op": frame["op"], "id": frame["id"], "ok": code is None}
        self.feed(reply if code is None else {**reply, "code": code, "detail": f"it is {code}"})

    def reconnect(self) -> list[dict[str, Any]]:
        self.sent = [json.loads(frame) for frame in self.subscription.opening()]
        return self.sent


def asked(frame: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in frame.items() if name != "id"}


def test_a_first_connection_asks_for_what_is_named() -> None:
    reading = Reading("btc-usd", "ETH-USD")

    assert [asked(frame) for frame in reading.sent] == [
        {"op": "subscribe", "channel": "book", "symbol": "btc-usd"},
        {"op": "subscribe", "channel": "book", "symbol": "ETH-USD"},
    ]


def test_messages_in_order_are_told_and_repeated_ones_are_not() -> None:
    reading = Reading("BTC-USD")

    assert reading.feed(item(4, kind="snapshot"), item(5), item(5), item(6)) == [4, 5, 6]
    assert reading.feed(item(6), item(4, kind="snapshot")) == []


def test_a_conflated_message_is_no_gap() -> None:
    reading = Reading("BTC-USD")
    reading.feed(item(4, kind="snapshot"))

    assert reading.feed(item(9, first=5)) == [9]
    assert reading.subscription.gaps == 0


def test_missing_numbers_are_asked_for_again_and_nothing_is_told_before_they_come() -> None:
    reading = Reading("BTC-USD")
    reading.feed(item(4, kind="snapshot"))

    assert reading.feed(item(7), item(8)) == []

    assert asked(reading.sent[-1]) == {
        "op": "subscribe",
        "channel": "book",
        "symbol": SYMBOL,
        "epoch": EPOCH,
        "from_sequence": 5,
    }
    assert len(reading.sent) == 2
    assert reading.feed(item(5), item(6), item(7), item(8), item(9)) == [5, 6, 7, 8, 9]
    assert reading.subscription.gaps == 1


def test_numbers_that_are_no_longer_kept_are_replaced_by_a_snapshot() -> None:
    reading = Reading("BTC-USD")
    reading.feed(item(4, kind="snapshot"), item(7))

    reading.answer(reading.sent[-1], "snapshot_required")

    assert [asked(frame) for frame in reading.sent[-2:]] == [
        {"op": "unsubscribe", "channel": "book", "symbol": SYMBOL},
        {"op": "subscribe", "channel": "book", "symbol": SYMBOL},
    ]
    assert reading.feed(item(8)) == []
    reading.answer(reading.sent[-2])
    reading.answer(reading.sent[-1])
    assert reading.feed(item(9, kind="snapshot"), item(10)) == [9, 10]
    assert reading.subscription.restarts == 1


def test_a_later_connection_resumes_with_epoch_and_number() -> None:
    reading = Reading("btc-usd")
    reading.feed(item(4, kind="snapshot"), item(5))

    (frame,) = reading.reconnect()

    assert asked(frame) == {
        "op": "subscribe",
        "channel": "book",
        "symbol": SYMBOL,
        "epoch": EPOCH,
        "from_sequence": 6,
    }
    assert reading.feed(item(6)) == [6]


def test_a_venue_that_was_started_again_is_begun_anew() -> None:
    reading = Reading("BTC-USD")
    reading.feed(item(400, kind="snapshot"))
    (frame,) = reading.reconnect()

    reading.answer(frame, "snapshot_required")
    reading.answer(reading.sent[-2], "not_subscribed")
    reading.answer(reading.sent[-1])

    assert reading.feed(item(1, kind="snapshot", epoch=8), item(2, epoch=8)) == [1, 2]
    assert reading.subscription.gaps == 0


def test_a_delta_of_another_epoch_is_not_told() -> None:
    reading = Reading("BTC-USD")
    reading.feed(item(4, kind="snapshot"))

    assert reading.feed(item(5, epoch=8)) == []
    assert asked(reading.sent[-1]) == {"op": "subscribe", "channel": "book", "symbol": SYMBOL}


def test_a_topic_without_a_snapshot_begins_with_its_first_message() -> None:
    reading = Reading("BTC-USD")
    reading.answer(reading.sent[0])

    assert reading.feed(item(12, kind="event"), item(13, kind="event")) == [12, 13]


def test_what_waits_for_one_symbol_does_not_hold_up_another() -> None:
    reading = Reading("BTC-USD", "ETH-USD")
    reading.feed(item(1, kind="snapshot"), item(1, kind="snapshot", symbol="ETH/USD"))

    assert reading.feed(item(5), item(2, symbol="ETH/USD")) == [2]


def test_a_channel_without_symbols_is_resumed_without_one() -> None:
    subscription = Subscription("book")
    subscription.receive(json.dumps(item(3, symbol="*", kind="snapshot")))

    resumed, everything = (json.loads(frame) for frame in subscription.opening())

    assert asked(resumed) == {"op": "subscribe", "channel": "book", "epoch": EPOCH, "from_sequence": 4}
    assert asked(everything) == {"op": "subscribe", "channel": "book"}


def test_heartbeats_and_other_channels_are_passed_over() -> None:
    reading = Reading("BTC-USD")

    assert reading.feed({**item(1, kind="event", symbol="*"), "channel": "heartbeat"}) == []


def test_a_refusal_is_raised_as_what_it_is() -> None:
    reading = Reading("BTC-USX")

    with pytest.raises(NotFound) as raised:
        reading.answer(reading.sent[0], "unknown_symbol")
    assert (raised.value.code, raised.value.message) == ("unknown_symbol", "it is unknown_symbol")
