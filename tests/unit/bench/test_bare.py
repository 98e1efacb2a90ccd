import msgspec

from fauxchange.bench.bare import JsonDeliveries, ProtoDeliveries
from fauxchange.bench.readings import Update, updates_of_json, updates_of_proto
from fauxchange.contracts.market_data.v1 import market_data_pb2 as pb

STEP_NS = 1_767_225_600_000_000_000
MS = 1_000_000


def json_sample(*symbols: str) -> bytes:
    return msgspec.json.encode(
        [
            {
                "channel": "prices",
                "symbol": symbol,
                "epoch": 1,
                "first_sequence": 41,
                "sequence": 41,
                "type": "delta",
                "data": {"symbol": symbol, "bid": "1.00", "sequence": 41, "timestamp": "2026-01-01T00:00:00.000000Z"},
            }
            for symbol in symbols
        ]
    )


def proto_sample(*symbols: str) -> bytes:
    batch = pb.PriceBatch()
    for symbol in symbols:
        batch.updates.add(first_sequence=41, sequence=41, price=pb.Price(symbol=symbol, bid="1.00"))
    return batch.SerializeToString()


def test_bare_json_is_the_sample_numbered_and_dated_anew() -> None:
    deliveries = JsonDeliveries(json_sample("BTC/USD", "ETH/USD"), steps=1, interval_ns=10 * MS)

    updates = updates_of_json(deliveries.make(0, STEP_NS)) + updates_of_json(deliveries.make(1, STEP_NS + 10 * MS))

    assert updates == [
        Update("BTC/USD", 1, 1, False, STEP_NS),
        Update("ETH/USD", 1, 1, False, STEP_NS),
        Update("BTC/USD", 2, 2, False, STEP_NS + 10 * MS),
        Update("ETH/USD", 2, 2, False, STEP_NS + 10 * MS),
    ]


def test_bare_json_of_a_step_is_as_long_as_the_sample() -> None:
    sample = json_sample("BTC/USD", "ETH/USD")
    deliveries = JsonDeliveries(sample, steps=1, interval_ns=10 * MS)

    assert len(deliveries.make(40, STEP_NS)) == len(sample)


def test_a_bare_batch_holds_as_many_steps_as_asked_for_and_ends_with_the_newest() -> None:
    deliveries = ProtoDeliveries(proto_sample("BTC/USD"), steps=2, interval_ns=10 * MS)

    updates = updates_of_proto(deliveries.make(3, STEP_NS))

    assert updates == [
        Update("BTC/USD", 7, 7, False, STEP_NS - 10 * MS),
        Update("BTC/USD", 8, 8, False, STEP_NS),
    ]


def test_a_sample_of_several_steps_is_taken_as_one() -> None:
    deliveries = ProtoDeliveries(proto_sample("BTC/USD", "BTC/USD"), steps=1, interval_ns=0)

    assert len(updates_of_proto(deliveries.make(0, STEP_NS))) == 1
