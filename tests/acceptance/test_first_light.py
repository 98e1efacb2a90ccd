"""What the first service was accepted by, sentence by sentence."""

import asyncio
import csv
import gzip
from pathlib import Path

import grpc
import grpc.aio
import httpx
import pytest

from fauxchange.contracts.market_data.v1 import market_data_pb2 as pb
from fauxchange.contracts.market_data.v1 import market_data_pb2_grpc
from fauxchange.domain.times import NS_PER_S, format_time
from fauxchange.testing import ReflectedService, StreamClient, VenueProcess, running, started

RECORDED = "btc_usdt_spot_bbo_2024-08-08.csv.gz"
START_TIME = "2026-01-01T00:00:00Z"
VIRTUAL = {"START_TIME": START_TIME, "MODEL_ENGINE": "python"}
PATIENCE_S = 60


async def test_one_command_shows_live_prices(tmp_path: Path) -> None:
    # Given the one command that runs everything
    with started(tmp_path, {"PRICE_UPDATE_INTERVAL": "50ms"}) as process:
        async with httpx.AsyncClient(base_url=process.venue.http) as http, asyncio.timeout(PATIENCE_S):
            # When the prices are looked at, and looked at again
            first = (await http.get("/api/v1/prices")).raise_for_status().json()["prices"]
            second = first
            while not first or second == first:
                first = first or second
                await asyncio.sleep(0.05)
                second = (await http.get("/api/v1/prices")).json()["prices"]

    # Then all five default symbols have one, and they live
    assert [price["symbol"] for price in second] == ["BTC/USD", "ETH/USD", "ADA/USD", "SOL/USD", "DOT/USD"]
    assert all(new["sequence"] > old["sequence"] for old, new in zip(first, second, strict=True))


@pytest.mark.data(RECORDED)
async def test_recorded_real_quotes_stream_over_all_three_protocols_to_the_files_last_values(
    tmp_path: Path, recorded_data: Path
) -> None:
    # Given the recorded quotes, as fast as they can be replayed
    path = recorded_data / RECORDED
    with gzip.open(path, "rt", encoding="utf-8") as file:
        *_, last = csv.DictReader(file)
    wanted = (float(last["bid"]), float(last["ask"]))
    last_time = format_time(int(last["recv_ns"]))
    settings = {"REPLAY": str(path), "SPEED": "100", "STORE": "memory", "WS_HEARTBEAT": "1s"}
    async with (
        running(tmp_path, settings) as venue,
        StreamClient.connect(venue.venue.websocket, max_queue=None) as client,
        grpc.aio.insecure_channel(venue.venue.grpc) as channel,
        httpx.AsyncClient(base_url=venue.venue.http) as http,
    ):
        # When a WebSocket and a gRPC client read from whatever has come first, to the end
        await client.subscribe("prices", "BTC-USDT")
        request = pb.StreamPricesRequest(subscriptions=[pb.Subscription(symbol="BTC/USDT")])
        call = market_data_pb2_grpc.MarketDataServiceStub(channel).StreamPrices(request)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                websocket_price = (await client.next("prices", "BTC/USDT"))["data"]
                if websocket_price["timestamp"] == last_time:
                    break
            grpc_price = None
            while grpc_price is None or grpc_price.sequence < websocket_price["sequence"]:
                updates = (await call.read()).updates
                grpc_price = updates[-1].price if updates else grpc_price
        rest_price = (await http.get("/api/v1/prices/BTC-USDT")).json()
        symbols = (await http.get("/api/v1/symbols")).json()["symbols"]

    # Then the last values are the file's over each protocol, and the symbol was added to the others
    assert (float(rest_price["bid"]), float(rest_price["ask"])) == wanted
    assert websocket_price == rest_price
    assert (grpc_price.bid, grpc_price.ask) == (rest_price["bid"], rest_price["ask"])
    assert client.sequences.conflated == 0
    assert [symbol["symbol"] for symbol in symbols] == [
        "BTC/USD",
        "ETH/USD",
        "ADA/USD",
        "SOL/USD",
        "DOT/USD",
        "BTC/USDT",
    ]
    assert symbols[-1]["source"] == "replay"


async def test_a_client_found_by_reflection_alone_reads_prices_and_loses_none_when_killed_and_resumed(
    tmp_path: Path,
) -> None:
    # Given a server that is known by its address alone
    with started(tmp_path, {"PRICE_UPDATE_INTERVAL": "10ms", "DEFAULT_SYMBOLS": "BTC/USD"}) as process:
        # When a client reads for a while and is killed
        first = await _read_by_reflection(process, 20)
        # And another one goes on where that one stopped
        from_sequence, epoch = first[-1][1] + 1, first[-1][2]
        second = await _read_by_reflection(process, 20, from_sequence=from_sequence, epoch=epoch)

    # Then between them they have read every number once
    spans = [(low, high) for low, high, _ in first[1:] + second]
    assert [low for low, _ in spans] == [spans[0][0], *(high + 1 for _, high in spans[:-1])]
    assert spans[0][0] == first[0][1] + 1


async def _read_by_reflection(process: VenueProcess, count: int, **resume: int) -> list[tuple[int, int, int]]:
    """Return first and last number and epoch of so many updates; then drop the connection without a word."""
    async with grpc.aio.insecure_channel(process.venue.grpc) as channel, asyncio.timeout(PATIENCE_S):
        service = await ReflectedService.discover(channel, "MarketDataService")
        call = service.call("StreamPrices", subscriptions=[{"symbol": "BTC/USD", **resume}])
        spans: list[tuple[int, int, int]] = []
        while len(spans) < count:
            batch = await call.read()
            assert not batch.snapshots_required
            spans += [(update.first_sequence, update.sequence, update.epoch) for update in batch.updates]
        return spans


async def test_a_crash_started_through_the_audit_api_is_visible_within_one_update_and_bends_the_price_as_asked(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path, VIRTUAL, paused=True) as venue,
        StreamClient.connect(venue.venue.websocket) as client,
        httpx.AsyncClient(base_url=venue.venue.audit, headers=venue.venue.audit_headers) as audit,
    ):
        # Given a reader of prices and scenarios
        await client.subscribe("scenario")
        await client.subscribe("prices", "BTC-USD")
        before = float((await client.next("prices"))["data"]["mid"])

        # When a crash by a fifth is started
        body = {"kind": "crash", "symbols": ["BTC-USD"], "magnitude": "20%", "duration": "60s"}
        (await audit.post("/audit/v1/scenarios", json=body)).raise_for_status()
        await venue.clock.step(NS_PER_S)

        # Then it is heard of before the first price that it bends
        heard = [await client.next() for _ in range(4)]
        assert [(message["channel"], message["data"].get("event")) for message in heard] == [
            ("scenario", "scheduled"),
            ("scenario", "started"),
            ("scenario", "phase"),
            ("prices", None),
        ]

        # And at its end the price has fallen by a fifth, give or take what the market does by itself
        await venue.clock.step(60 * NS_PER_S)
        after = float((await client.take(60, "prices"))[-1]["data"]["mid"])
        assert after / before - 1 == pytest.approx(-0.2, abs=0.02)


def _candles(tmp_path: Path, name: str, seed: int) -> bytes:
    """Return the candles of two simulated minutes of a process of its own, as it sends them."""
    settings = {
        "START_TIME": START_TIME,
        "SPEED": "max",
        "SEED": str(seed),
        "STORE": "memory",
        "PRICE_UPDATE_INTERVAL": "1s",
    }
    with started(tmp_path / name, settings) as process, httpx.Client(base_url=process.venue.http) as http:
        params = {"interval": "1s", "start": START_TIME, "end": "2026-01-01T00:02:00Z", "order": "asc"}
        while True:
            answers = [
                http.get(f"/api/v1/candles/{symbol}", params=params).raise_for_status()
                for symbol in ("BTC-USD", "ETH-USD", "DOT-USD")
            ]
            told = [answer.json()["candles"] for answer in answers]
            if all(len(candles) == 120 and candles[-1]["closed"] for candles in told):
                return b"\n".join(answer.content for answer in answers)


def test_the_same_seed_gives_the_same_candles_in_another_process_and_another_seed_does_not(tmp_path: Path) -> None:
    # Given two runs with one seed, and one with another
    one, same, other = (_candles(tmp_path, name, seed) for name, seed in (("a", 7), ("b", 7), ("c", 8)))

    # Then the candles of the first two are the same to the last byte
    assert one == same
    assert one != other
