import msgspec

from fauxchange.bench.readings import Reader, Reading, Subscriber, Tally, Update, read_updates, updates_of_json
from fauxchange.domain.times import format_time

STEP_NS = 1_767_225_600_000_000_000


def update(sequence: int, *, symbol: str = "BTC/USD", first: int | None = None, snapshot: bool = False) -> Update:
    return Update(
        symbol=symbol,
        first_sequence=sequence if first is None else first,
        sequence=sequence,
        snapshot=snapshot,
        ts_ns=STEP_NS + sequence,
    )


def received(*readings: Reading) -> Tally:
    tally = Tally()
    subscriber = Subscriber(tally)
    tally.begin()
    for reading in readings:
        subscriber.take(reading, STEP_NS + 10)
    return tally


def test_numbers_that_follow_each_other_are_no_gap() -> None:
    tally = received(read_updates([update(1), update(2)]), read_updates([update(3)]))

    assert (tally.gaps, tally.prices, tally.deliveries, tally.steps) == (0, 3, 2, 3)


def test_a_number_left_out_between_deliveries_is_a_gap() -> None:
    tally = received(read_updates([update(1)]), read_updates([update(3)]))

    assert tally.gaps == 1


def test_a_number_left_out_within_a_delivery_is_a_gap() -> None:
    tally = received(read_updates([update(1), update(3)]))

    assert tally.gaps == 1


def test_a_repeated_number_is_counted_as_a_gap() -> None:
    tally = received(read_updates([update(1)]), read_updates([update(1)]))

    assert tally.gaps == 1


def test_each_symbol_has_its_own_numbers() -> None:
    both = [update(1), update(7, symbol="ETH/USD")]

    tally = received(read_updates(both), read_updates([update(2)]), read_updates([update(9, symbol="ETH/USD")]))

    assert tally.gaps == 1


def test_a_conflated_message_is_counted_but_is_no_gap() -> None:
    tally = received(read_updates([update(1)]), read_updates([update(4, first=2)]))

    assert (tally.gaps, tally.conflated) == (0, 2)


def test_a_snapshot_may_begin_anywhere() -> None:
    tally = received(read_updates([update(5, snapshot=True)]), read_updates([update(6)]))

    assert tally.gaps == 0


def test_latency_counts_once_per_step_however_many_symbols_it_has() -> None:
    one_step = [Update("BTC/USD", 1, 1, False, STEP_NS), Update("ETH/USD", 1, 1, False, STEP_NS)]

    tally = received(read_updates(one_step))

    assert list(tally.latencies_ns) == [10]
    assert tally.end()["p99_ms"] == 10 / 1e6


def test_nothing_is_counted_before_measuring_begins() -> None:
    tally = Tally()
    subscriber = Subscriber(tally)

    subscriber.take(read_updates([update(1)]), STEP_NS)

    assert tally.deliveries == 0
    assert subscriber.has_begun


def test_a_payload_is_decoded_once_for_all_subscribers() -> None:
    decoded: list[bytes] = []

    def decode(payload: bytes) -> list[Update]:
        decoded.append(payload)
        return [update(1)]

    reader = Reader(decode)

    assert reader.read(b"same") is reader.read(b"same")
    assert decoded == [b"same"]


def test_replies_and_heartbeats_are_not_prices() -> None:
    reply = msgspec.json.encode({"op": "subscribe", "ok": True, "channel": "prices"})
    beat = msgspec.json.encode({"channel": "heartbeat", "symbol": "*", "sequence": 1, "data": {}})

    assert updates_of_json(reply) == []
    assert updates_of_json(beat) == []


def test_websocket_payload_gives_its_numbers_and_times() -> None:
    message = {
        "channel": "prices",
        "symbol": "BTC/USD",
        "first_sequence": 2,
        "sequence": 3,
        "type": "delta",
        "data": {"timestamp": format_time(STEP_NS)},
    }

    assert updates_of_json(msgspec.json.encode([message])) == [Update("BTC/USD", 2, 3, False, STEP_NS)]
