"""The WebSocket stream: subscriptions, numbers, resumption, and every way a client can get it wrong."""

import asyncio
import contextlib
import json

import pytest
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fauxchange.domain.times import NS_PER_S
from fauxchange.testing import RunningVenue, Sequences, StreamClient

SYMBOLS = ["BTC/USD", "ETH/USD", "ADA/USD", "SOL/USD", "DOT/USD"]


async def _until_closed(connection: ClientConnection) -> tuple[int | None, str | None]:
    """Read until the server closes; return its code and reason."""
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.recv()
    return connection.close_code, connection.close_reason


async def _still_delivers(venue: RunningVenue, client: StreamClient) -> bool:
    """Say whether a subscription to BTC/USD goes on with the very next number."""
    before = client.sequences.last["prices", "BTC/USD"]
    await venue.clock.step(NS_PER_S)
    message = await client.next("prices", "BTC/USD")
    return (message["first_sequence"], message["sequence"]) == (before + 1, before + 1)


async def test_a_subscription_begins_with_a_snapshot_and_goes_on_without_a_gap(venue: RunningVenue) -> None:
    async with StreamClient.connect(venue.venue.websocket) as client:
        reply = await client.subscribe("prices", "BTC-USD")
        await venue.clock.step(5 * NS_PER_S)
        messages = await client.take(6)

    assert reply == {"op": "subscribe", "id": 1, "ok": True, "channel": "prices", "symbol": "BTC-USD"}
    assert [message["type"] for message in messages] == ["snapshot"] + ["delta"] * 5
    assert [message["sequence"] for message in messages] == [1, 2, 3, 4, 5, 6]
    assert {message["symbol"] for message in messages} == {"BTC/USD"}
    assert messages[0]["data"].keys() == {"symbol", "bid", "ask", "mid", "last", "sequence", "timestamp"}


@pytest.mark.parametrize("fields", [{}, {"symbol": "*"}])
async def test_a_subscription_to_all_symbols_carries_each_in_its_own_numbers(
    venue: RunningVenue, fields: dict[str, str]
) -> None:
    async with StreamClient.connect(venue.venue.websocket) as client:
        await client.subscribe("prices", **fields)
        await venue.clock.step(3 * NS_PER_S)
        messages = await client.take(20)

    by_symbol = {symbol: [m["sequence"] for m in messages if m["symbol"] == symbol] for symbol in SYMBOLS}
    assert by_symbol == {symbol: [1, 2, 3, 4] for symbol in SYMBOLS}


async def test_the_prices_of_one_step_share_a_frame(venue: RunningVenue) -> None:
    async with websockets.connect(venue.venue.websocket) as connection:
        await connection.send(json.dumps({"op": "subscribe", "channel": "prices"}))
        await connection.recv()
        snapshots = json.loads(await connection.recv())
        await venue.clock.step(NS_PER_S)
        step = json.loads(await connection.recv())

    assert [message["symbol"] for message in snapshots] == SYMBOLS
    assert [message["symbol"] for message in step] == SYMBOLS


async def test_the_price_on_the_stream_is_the_price_over_rest(venue: RunningVenue, http) -> None:
    async with StreamClient.connect(venue.venue.websocket) as client:
        await client.subscribe("prices", "ETH-USD")
        await venue.clock.step(NS_PER_S)
        _, newest = await client.take(2)

    assert newest["data"] == (await http.get("/api/v1/prices/ETH-USD")).json()


async def test_candles_update_while_they_are_open_and_are_told_once_closed(venue: RunningVenue, http) -> None:
    async with StreamClient.connect(venue.venue.websocket) as client:
        await client.subscribe("candles:1m", "BTC-USD")
        await venue.clock.step(61 * NS_PER_S)
        messages = await client.take(63)

    snapshot, *updates = messages
    assert (snapshot["type"], snapshot["data"]["closed"]) == ("snapshot", False)
    closed = [message for message in updates if message["data"]["closed"]]
    assert len(closed) == 1
    assert closed[0]["data"]["open_time"] == "2026-01-01T00:00:00.000000Z"
    stored = (await http.get("/api/v1/candles/BTC-USD", params={"interval": "1m", "order": "asc"})).json()["candles"]
    assert stored[0] == closed[0]["data"]
    assert stored[1] == updates[-1]["data"]


async def test_whoever_resumes_after_a_dropped_connection_has_lost_nothing(venue: RunningVenue) -> None:
    sequences = Sequences()
    async with StreamClient.connect(venue.venue.websocket, sequences=sequences) as client:
        await client.subscribe("prices", "BTC-USD")
        await venue.clock.step(3 * NS_PER_S)
        await client.take(4)
        client.connection.transport.abort()

    await venue.clock.step(7 * NS_PER_S)
    async with StreamClient.connect(venue.venue.websocket, sequences=sequences) as client:
        await client.resume("prices", "BTC/USD")
        await venue.clock.step(2 * NS_PER_S)
        messages = await client.take(9)

    assert [message["sequence"] for message in messages] == list(range(5, 14))
    assert {message["type"] for message in messages} == {"delta"}


async def test_resuming_from_the_next_number_waits_for_it(venue: RunningVenue) -> None:
    async with StreamClient.connect(venue.venue.websocket) as client:
        await client.subscribe("prices", "BTC-USD", from_sequence=2)
        await venue.clock.step(NS_PER_S)
        message = await client.next()

    assert (message["type"], message["first_sequence"], message["sequence"]) == ("delta", 2, 2)


async def test_resumed_candles_span_every_update_since(venue: RunningVenue) -> None:
    sequences = Sequences()
    async with StreamClient.connect(venue.venue.websocket, sequences=sequences) as client:
        await client.subscribe("candles:1s", "BTC-USD")
        await client.next("candles:1s")

    await venue.clock.step(10 * NS_PER_S)
    async with StreamClient.connect(venue.venue.websocket, sequences=sequences) as client:
        await client.resume("candles:1s", "BTC/USD")
        messages = await client.take(11)

    assert [message["data"]["closed"] for message in messages] == [True] * 10 + [False]


@pytest.mark.parametrize(
    ("from_sequence", "epoch_offset"),
    [(1, 0), (0, 0), (-5, 0), (23, 0), (10**15, 0), (20, 1)],
    ids=["too old", "zero", "negative", "not made yet", "far ahead", "another epoch"],
)
async def test_numbers_that_are_not_kept_are_answered_with_snapshot_required(
    run_venue, from_sequence: int, epoch_offset: int
) -> None:
    async with run_venue(RESUME_BUFFER=4) as venue, StreamClient.connect(venue.venue.websocket) as client:
        await client.subscribe("prices", "BTC-USD")
        epoch = (await client.next())["epoch"]
        kept = venue.market_data.service.market("ETH/USD").prices.kept.maxlen
        assert kept is not None
        # So many that the first ones are forgotten, whatever the least number of kept messages is.
        for _ in range(kept + 4):
            venue.market_data.service.publish_price("ETH/USD", mid_half_ticks=600_000)
        newest = venue.market_data.service.market("ETH/USD").prices.sequence
        asked = newest + 2 if from_sequence == 23 else newest if epoch_offset else from_sequence

        refused = await client.ask(
            "subscribe", channel="prices", symbol="ETH-USD", from_sequence=asked, epoch=epoch + epoch_offset
        )
        fresh = await client.ask("subscribe", channel="prices", symbol="ETH-USD")
        snapshot = await client.next("prices", "ETH/USD")

        assert (refused["ok"], refused["code"], refused["field"]) == (False, "snapshot_required", "from_sequence")
        assert fresh["ok"] is True
        assert (snapshot["type"], snapshot["sequence"]) == ("snapshot", newest)
        assert await _still_delivers(venue, client)


async def test_resuming_all_symbols_from_one_number_is_refused(venue: RunningVenue) -> None:
    async with StreamClient.connect(venue.venue.websocket) as client:
        refused = await client.ask("subscribe", channel="prices", from_sequence=1)

    assert (refused["ok"], refused["code"]) == (False, "symbol_required")


async def test_a_gap_that_a_reader_finds_is_filled_on_the_same_connection(venue: RunningVenue) -> None:
    async with StreamClient.connect(venue.venue.websocket) as client:
        await client.subscribe("prices", "BTC-USD")
        await venue.clock.step(4 * NS_PER_S)
        await client.take(5)
        # As if 3 and later had not arrived.
        client.sequences.last["prices", "BTC/USD"] = 2
        await client.resume("prices", "BTC/USD")
        messages = await client.take(3)

    assert [message["sequence"] for message in messages] == [3, 4, 5]


async def test_heartbeats_are_numbered_and_come_without_being_asked_for(run_venue) -> None:
    async with run_venue(WS_HEARTBEAT="100ms") as venue, StreamClient.connect(venue.venue.websocket) as client:
        beats = [await client.next("heartbeat") for _ in range(3)]

    first = beats[0]["sequence"]
    assert [beat["sequence"] for beat in beats] == [first, first + 1, first + 2]
    assert {(beat["symbol"], beat["type"]) for beat in beats} == {("*", "event")}
    assert all(beat["data"]["timestamp"].endswith("Z") for beat in beats)


async def test_nothing_comes_after_an_unsubscription(venue: RunningVenue) -> None:
    async with StreamClient.connect(venue.venue.websocket) as client:
        await client.subscribe("prices", "BTC-USD")
        await client.subscribe("prices", "ETH-USD")
        await client.take(2)
        ended = await client.ask("unsubscribe", channel="prices", symbol="BTC-USD")
        await venue.clock.step(2 * NS_PER_S)
        messages = await client.take(2)

    assert ended["ok"] is True
    assert [message["symbol"] for message in messages] == ["ETH/USD", "ETH/USD"]


async def test_a_ping_is_answered(venue: RunningVenue) -> None:
    async with StreamClient.connect(venue.venue.websocket) as client:
        pong = await client.ask("ping")
        await (await client.connection.ping())

    assert pong == {"op": "ping", "id": 1, "ok": True}


async def test_a_frame_in_fragments_is_one_frame(venue: RunningVenue) -> None:
    async with StreamClient.connect(venue.venue.websocket) as client:
        await client.connection.send(['{"op": "ping",', ' "id": "in ', 'pieces"}'])
        reply = await client.reply()

    assert reply == {"op": "ping", "id": "in pieces", "ok": True}


SUBSCRIBE = {"op": "subscribe", "channel": "prices", "symbol": "ETH-USD"}


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ("{not json", "malformed_frame"),
        ("", "malformed_frame"),
        ('"a text"', "invalid_frame"),
        ("[1, 2]", "invalid_frame"),
        ("null", "invalid_frame"),
        ("{}", "invalid_frame"),
        (json.dumps({"op": "fly", "id": 7}), "invalid_frame"),
        (json.dumps({"op": 5}), "invalid_frame"),
        (json.dumps(SUBSCRIBE | {"colour": "red"}), "invalid_frame"),
        (json.dumps(SUBSCRIBE | {"from_sequence": "five"}), "invalid_frame"),
        (json.dumps(SUBSCRIBE | {"from_sequence": 1.5}), "invalid_frame"),
        (json.dumps(SUBSCRIBE | {"policy": "hurry"}), "invalid_frame"),
        (json.dumps(SUBSCRIBE | {"symbol": 5}), "invalid_frame"),
        (json.dumps({"op": "subscribe"}), "channel_required"),
        (json.dumps(SUBSCRIBE | {"channel": "rumours"}), "unknown_channel"),
        (json.dumps(SUBSCRIBE | {"channel": "candles:2m"}), "invalid_interval"),
        (json.dumps(SUBSCRIBE | {"channel": "candles"}), "invalid_interval"),
        (json.dumps(SUBSCRIBE | {"channel": "scenario"}), "invalid_symbol"),
        (json.dumps(SUBSCRIBE | {"symbol": "XYZ-USD"}), "unknown_symbol"),
        (json.dumps(SUBSCRIBE | {"symbol": "nonsense"}), "invalid_symbol"),
        (json.dumps(SUBSCRIBE | {"symbol": ""}), "invalid_symbol"),
        (json.dumps(SUBSCRIBE | {"symbol": "BTC-USD"}), "already_subscribed"),
        (json.dumps(SUBSCRIBE | {"op": "unsubscribe"}), "not_subscribed"),
        (json.dumps({"op": "ping", "id": "x" * 65_536}), "message_too_large"),
        ("[" * 50_000, "invalid_frame"),
        ('{"op": 5, "x": ' + "[" * 50_000, "invalid_frame"),
        (json.dumps(SUBSCRIBE | {"from_sequence": 10**30}), "snapshot_required"),
    ],
)
async def test_a_bad_frame_is_answered_and_the_other_subscriptions_go_on(
    venue: RunningVenue, payload: str, code: str
) -> None:
    async with StreamClient.connect(venue.venue.websocket) as client:
        await client.subscribe("prices", "BTC-USD")
        await client.next()

        reply = await client.send(payload)

        assert (reply["ok"], reply["code"]) == (False, code)
        assert reply["detail"]
        assert await _still_delivers(venue, client)


async def test_a_refusal_carries_the_id_of_the_frame_it_answers(venue: RunningVenue) -> None:
    async with StreamClient.connect(venue.venue.websocket) as client:
        unknown_op = await client.send(json.dumps({"op": "fly", "id": 7}))
        unknown_symbol = await client.send(json.dumps({"op": "subscribe", "channel": "prices", "symbol": "BTD-USD"}))

    assert (unknown_op["op"], unknown_op["id"]) == ("fly", 7)
    assert "did you mean BTC/USD?" in unknown_symbol["detail"]


async def test_a_subscription_too_many_is_refused_and_the_others_go_on(run_venue) -> None:
    async with run_venue(WS_MAX_SUBSCRIPTIONS=2) as venue, StreamClient.connect(venue.venue.websocket) as client:
        await client.subscribe("prices", "BTC-USD")
        await client.subscribe("prices", "ETH-USD")
        await client.take(2)

        one_more = await client.ask("subscribe", channel="candles:1m", symbol="BTC-USD")
        many_more = await client.ask("subscribe", channel="prices")

        assert (one_more["code"], many_more["code"]) == ("too_many_subscriptions", "too_many_subscriptions")
        assert await _still_delivers(venue, client)


async def test_a_connection_too_many_is_refused_until_another_goes(run_venue) -> None:
    async with run_venue(WS_MAX_CONNECTIONS=1) as venue:
        async with StreamClient.connect(venue.venue.websocket) as client:
            await client.subscribe("prices", "BTC-USD")
            await client.next()
            with pytest.raises(InvalidStatus) as refused:
                await websockets.connect(venue.venue.websocket)
            assert await _still_delivers(venue, client)
        async with StreamClient.connect(venue.venue.websocket) as client:
            pong = await client.ask("ping")

    response = refused.value.response
    assert (response.status_code, response.headers["content-type"]) == (503, "application/problem+json")
    assert json.loads(response.body)["code"] == "too_many_connections"
    assert pong["ok"] is True


async def test_there_is_no_stream_at_another_path(venue: RunningVenue) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await websockets.connect(venue.venue.websocket + "x")

    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body)["code"] == "not_found"


async def _closing(venue: RunningVenue, payload: str | bytes) -> tuple[int | None, str | None]:
    """Return the code and reason with which the server closes on a payload, after a healthy neighbour was served."""
    async with StreamClient.connect(venue.venue.websocket) as neighbour:
        await neighbour.subscribe("prices", "BTC-USD")
        await neighbour.next()
        async with websockets.connect(venue.venue.websocket) as connection:
            with contextlib.suppress(ConnectionClosed):
                await connection.send(payload)
            closing = await _until_closed(connection)
        assert await _still_delivers(venue, neighbour)
    return closing


async def test_a_binary_frame_closes_the_connection_with_its_reason(venue: RunningVenue) -> None:
    assert await _closing(venue, b"\x00\x01") == (1003, "text_frames_only")


async def test_a_message_beyond_any_measure_closes_the_connection(venue: RunningVenue) -> None:
    code, _ = await _closing(venue, "x" * (2 << 20))

    assert code == 1009


async def test_a_stop_of_the_server_says_goodbye(venue: RunningVenue) -> None:
    async with StreamClient.connect(venue.venue.websocket) as client:
        await client.subscribe("prices")
        await client.take(5)
        stopping = asyncio.create_task(venue.stop())
        closing = await _until_closed(client.connection)

    assert closing == (1001, "server_shutdown")
    assert await stopping == 0
