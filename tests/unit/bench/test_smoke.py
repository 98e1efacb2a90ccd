"""Each benchmark once, as small as it goes: what it measures is there and counted; how quick it is proves nothing."""

import base64
from typing import Any

import msgspec
import pytest

from fauxchange.bench import adapter, feed, history, memory, orders, recovery, startup
from fauxchange.contracts.market_data.v1 import market_data_pb2 as pb

JSON_SAMPLE = msgspec.json.encode(
    {
        "channel": "prices",
        "symbol": "BTC/USD",
        "first_sequence": 1,
        "sequence": 1,
        "type": "delta",
        "data": {"sequence": 1, "timestamp": "2026-01-01T00:00:00.000000Z"},
    }
)
PROTO_SAMPLE = pb.PriceBatch(updates=[pb.PriceUpdate(price=pb.Price(symbol="BTC/USD"))]).SerializeToString()


def ignore(line: str) -> None:
    assert line


def values(result: dict[str, Any]) -> dict[str, float]:
    return {name: entry["value"] for name, entry in result["figures"].items()}


@pytest.mark.parametrize(
    ("transport", "sample", "interval_s"),
    [("asgi", JSON_SAMPLE, 0.01), ("grpc", PROTO_SAMPLE, 0.01), ("grpc", PROTO_SAMPLE, 0.0)],
    ids=["asgi", "grpc", "grpc-flat-out"],
)
def test_subscribers_read_a_bare_server_without_gaps(transport: str, sample: bytes, interval_s: float) -> None:
    load = feed.Load(transport, clients=2, deliveries_hz=100, warm_up_s=0.0)

    with feed.bare(transport, base64.b64encode(sample).decode(), interval_s=interval_s, steps=1) as (server, target):
        measured = feed.measure(server, target, load, 0.2)

    assert measured.counts["gaps"] == measured.counts["lost"] == 0
    assert measured.counts["prices"] == measured.counts["deliveries"] > 0


def test_feed_compares_the_venue_with_a_bare_server() -> None:
    result = feed.run(
        ignore,
        seconds=0.3,
        flat_out_seconds=0,
        websocket_clients=3,
        warm_up_s=0.1,
        asgi=False,
        service=False,
        transports="websocket",
    )

    shown = values(result)
    assert shown["websocket_gaps"] == shown["websocket_lost"] == 0
    assert shown["websocket_prices"] > 0
    assert result["figures"]["websocket_per_cpu_second"]["ratio"] > 0


def test_feed_measures_what_another_service_gets() -> None:
    result = feed.run(ignore, seconds=0.3, flat_out_seconds=0, warm_up_s=0.1, transports=())

    shown = values(result)
    assert set(shown) == {"service_p50", "service_p99", "service_max", "service_gaps"}
    assert 0 < shown["service_p50"] <= shown["service_p99"]
    assert shown["service_gaps"] == 0


def test_history_stores_every_row_of_the_time_it_simulates() -> None:
    result = history.run(ignore, seconds=30, model_engine="python")

    # Five symbols: a price and a candle of a second each, and the longer candles that are open at the end.
    assert result["rows"] >= 2 * 5 * 30
    assert result["figures"]["speed"]["baseline"] > 0


def test_startup_is_measured_beside_the_imports() -> None:
    shown = values(startup.run(ignore, starts=1))

    assert set(startup.TARGETS) <= set(shown)
    assert shown["ready"] > 0


def test_memory_is_measured_beside_the_imports() -> None:
    result = memory.run(ignore, seconds=5, speed=60, engines="python")

    assert result["figures"]["resident_python"]["value"] <= result["figures"]["peak_python"]["value"]
    assert result["figures"]["resident_python"]["baseline"] > 10


@pytest.mark.parametrize("transport", orders.TRANSPORTS)
def test_orders_are_measured_beside_an_echo(transport: str) -> None:
    result = orders.run(ignore, seconds=0.2, rounds=1, transports=transport, in_flight=4)

    shown = result["figures"]
    assert shown[f"{transport}_4"]["value"] > 0
    assert shown[f"{transport}_4"]["ratio"] > 0
    assert shown[f"{transport}_4_half_load_p99"]["baseline"] > 0
    assert shown["commit_p99"]["value"] >= shown["commit_p50"]["value"] > 0


def test_recovery_replays_every_command_that_was_journalled() -> None:
    result = recovery.run(ignore, commands=600, open_orders=200)

    shown = values(result)
    assert shown["recovery"] >= shown["recovery_replay"] > 0
    assert shown["rebuild_rate"] > 0
    assert shown["resident"] > shown["kernel_tables"] > 0


def test_adapter_stores_the_same_rows_as_the_bare_driver() -> None:
    result = adapter.run(ignore, rows=300, batch=150)

    shown = result["figures"]["sqlite"]
    assert set(result["figures"]) == {"sqlite"}
    assert set(shown) == {"prices", "candles", "candles_replaced"}
    assert all(figure["value"] > 0 for figure in shown.values())
    assert all(shown[name]["baseline"] > 0 for name in ("prices", "candles"))
