"""Whole processes: signals, refusals to start, and going on where the last run stopped."""

import asyncio
import contextlib
import json
import socket
from pathlib import Path

import grpc
import grpc.aio
import httpx
from websockets.exceptions import ConnectionClosed

from fauxchange.contracts.market_data.v1 import market_data_pb2 as pb
from fauxchange.contracts.market_data.v1 import market_data_pb2_grpc
from fauxchange.testing import Sequences, StreamClient, VenueProcess, started
from fauxchange.testing.processes import launched

QUICK = {"PRICE_UPDATE_INTERVAL": "20ms", "MODEL_ENGINE": "python"}


def _ended(process: VenueProcess) -> tuple[int, str]:
    return process.wait(), process.log


async def test_sigterm_ends_a_venue_with_clients_within_ten_seconds_and_without_an_error(tmp_path: Path) -> None:
    with started(tmp_path, QUICK) as process:
        venue = process.venue
        async with (
            StreamClient.connect(venue.websocket) as client,
            grpc.aio.insecure_channel(venue.grpc) as channel,
        ):
            await client.subscribe("prices")
            call = market_data_pb2_grpc.MarketDataServiceStub(channel).StreamPrices(pb.StreamPricesRequest())
            await call.read()

            process.terminate()
            exit_code = await asyncio.to_thread(process.wait, 10)

            async with asyncio.timeout(10):
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        await client.connection.recv()
            assert client.connection.close_code == 1001
            # The status follows the last message, so all of them are read first.
            async with asyncio.timeout(10):
                with contextlib.suppress(grpc.aio.AioRpcError):
                    while await call.read() is not grpc.aio.EOF:
                        pass
                assert await call.code() is grpc.StatusCode.UNAVAILABLE

    assert exit_code == 0, process.log
    assert not (tmp_path / "ready.json").exists()


async def test_a_request_in_flight_is_finished_before_the_venue_ends(tmp_path: Path) -> None:
    with started(tmp_path, QUICK) as process:
        host, _, port = process.venue.audit.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = json.dumps({"kind": "crash", "magnitude": "1%", "duration": "1s"}).encode()
        head = (
            f"POST /audit/v1/scenarios HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {process.venue.audit_key}\r\nExpect: 100-continue\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode())
        # The server asks for the body when the request is being served: from here on it is in flight.
        assert b" 100 " in await reader.readline()
        process.terminate()
        async with asyncio.timeout(5):
            while "stopping" not in process.log:  # noqa: ASYNC110 - another process's log has no event
                await asyncio.sleep(0.01)
        writer.write(body)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()

        exit_code = await asyncio.to_thread(process.wait, 10)

    assert b" 201 " in answer
    assert b'"crash-1"' in answer
    assert exit_code == 0


async def test_ready_json_names_the_addresses_for_its_user_alone(tmp_path: Path) -> None:
    with started(tmp_path, QUICK) as process:
        path = tmp_path / "ready.json"
        document = json.loads(path.read_text(encoding="utf-8"))
        mode = path.stat().st_mode & 0o777

    assert mode == 0o600
    assert document.keys() == {"http", "grpc", "audit", "audit_key", "admin_key", "demo", "pid"}
    assert document["demo"].keys() == {"account_id", "api_key", "api_secret"}
    assert document["pid"] == process.pid
    for secret in (document["audit_key"], document["admin_key"], document["demo"]["api_secret"]):
        assert secret not in process.log


def test_a_port_that_is_taken_is_refused_with_what_to_change(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with launched(tmp_path, QUICK | {"HTTP_PORT": str(port)}) as process:
            exit_code, log = _ended(process)

    assert exit_code == 2
    assert f"port {port} on 127.0.0.1 is taken by another program; use --http-port or set HTTP_PORT" in log
    assert not (tmp_path / "ready.json").exists()


def test_a_data_folder_in_use_is_refused_and_its_user_goes_on(tmp_path: Path) -> None:
    with started(tmp_path, QUICK) as first:
        with launched(tmp_path, QUICK) as second:
            exit_code = second.wait()
        alive = httpx.get(f"{first.venue.http}/api/v1/live").status_code
        log = first.log

    assert exit_code == 2
    assert "is in use by another process" in log
    assert alive == 200


def test_a_bad_setting_is_refused_with_name_value_and_what_was_expected(tmp_path: Path) -> None:
    with launched(tmp_path, {"PRICE_UPDATE_INTERVAL": "often"}) as process:
        exit_code, log = _ended(process)

    assert exit_code == 2
    assert "PRICE_UPDATE_INTERVAL='often'" in log
    assert "expected a duration such as 300s or 1m" in log


async def _some_prices(process: VenueProcess, sequences: Sequences, count: int, *, resume: bool) -> list[dict]:
    async with StreamClient.connect(process.venue.websocket, sequences=sequences) as client:
        if resume:
            await client.resume("prices", "BTC/USD")
        else:
            await client.subscribe("prices", "BTC-USD")
        return await client.take(count, "prices", "BTC/USD")


async def _minute(process: VenueProcess) -> dict:
    async with httpx.AsyncClient(base_url=process.venue.http) as http:
        return (await http.get("/api/v1/candles/BTC-USD", params={"interval": "1d", "limit": 1})).json()["candles"][0]


async def test_numbers_prices_and_candles_go_on_after_a_graceful_restart(tmp_path: Path) -> None:
    sequences = Sequences()
    with started(tmp_path, QUICK) as process:
        before = await _some_prices(process, sequences, 20, resume=False)
        open_before = await _minute(process)
        assert process.stop() == 0

    with started(tmp_path, QUICK) as process:
        async with httpx.AsyncClient(base_url=process.venue.http) as http:
            history = (await http.get("/api/v1/prices/BTC-USD/history", params={"order": "asc"})).json()["prices"]
        after = await _some_prices(process, Sequences(), 3, resume=False)
        open_after = await _minute(process)
        assert process.stop() == 0

    assert {message["epoch"] for message in before + after} == {before[0]["epoch"]}
    assert after[0]["sequence"] > before[-1]["sequence"]
    numbers = [price["sequence"] for price in history]
    assert numbers == list(range(1, numbers[-1] + 1))
    # A fresh start would begin at 60,000 again; a model that goes on moves by some millionths.
    last, first = float(before[-1]["data"]["mid"]), float(after[0]["data"]["mid"])
    assert abs(first / last - 1) < 0.01
    assert (open_after["open"], open_after["open_time"]) == (open_before["open"], open_before["open_time"])
    assert open_after["closed"] is False


async def test_a_killed_venue_comes_back_in_a_new_epoch(tmp_path: Path) -> None:
    with started(tmp_path, QUICK) as process:
        sequences = Sequences()
        before = await _some_prices(process, sequences, 5, resume=False)
        process.kill()

    with started(tmp_path, QUICK) as process:
        async with StreamClient.connect(process.venue.websocket) as client:
            refused = await client.ask(
                "subscribe", channel="prices", symbol="BTC/USD", **sequences.resumption("prices", "BTC/USD")
            )
            await client.subscribe("prices", "BTC-USD")
            after = await client.next("prices")
        assert process.stop() == 0

    assert refused["code"] == "snapshot_required"
    assert after["epoch"] > before[0]["epoch"]
