import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from fauxchange.cli.streams import Message, Reader, follow
from fauxchange.domain.errors import InvalidRequest, NotFound, Unavailable

EPOCH = 7


def message(
    symbol: str, sequence: int, *, first: int | None = None, kind: str = "delta", epoch: int = EPOCH
) -> dict[str, Any]:
    return {
        "channel": "prices",
        "symbol": symbol,
        "epoch": epoch,
        "first_sequence": sequence if first is None else first,
        "sequence": sequence,
        "type": kind,
        "data": {"symbol": symbol, "sequence": sequence},
    }


def received(reader: Reader, *items: dict[str, Any]) -> list[int]:
    messages, _ = reader.receive(json.dumps(list(items)))
    return [each.sequence for each in messages]


def requests(reader: Reader) -> list[dict[str, Any]]:
    return [json.loads(frame) for frame in reader.requests()]


def test_a_first_connection_asks_for_the_symbols_named() -> None:
    assert requests(Reader("prices", ["btc-usd", "ETH/USD"])) == [
        {"op": "subscribe", "channel": "prices", "symbol": "btc-usd"},
        {"op": "subscribe", "channel": "prices", "symbol": "ETH/USD"},
    ]


def test_a_first_connection_asks_for_all_when_none_is_named() -> None:
    assert requests(Reader("prices")) == [{"op": "subscribe", "channel": "prices"}]


def test_a_later_connection_resumes_what_was_read_and_begins_the_rest() -> None:
    reader = Reader("prices", ["btc-usd", "eth-usd"])
    received(reader, message("BTC/USD", 41, kind="snapshot"), message("BTC/USD", 42))

    assert requests(reader) == [
        {"op": "subscribe", "channel": "prices", "symbol": "BTC/USD", "epoch": EPOCH, "from_sequence": 43},
        {"op": "subscribe", "channel": "prices", "symbol": "eth-usd"},
    ]


def test_a_later_connection_to_all_resumes_each_and_asks_for_new_ones() -> None:
    reader = Reader("prices")
    received(reader, message("BTC/USD", 1, kind="snapshot"))

    first, second = requests(reader)

    assert first["from_sequence"] == 2
    assert second == {"op": "subscribe", "channel": "prices"}


def test_a_channel_without_symbols_is_resumed_without_one() -> None:
    reader = Reader("scenario")
    reader.receive(json.dumps({**message("*", 5, kind="event"), "channel": "scenario"}))

    assert requests(reader)[0] == {"op": "subscribe", "channel": "scenario", "epoch": EPOCH, "from_sequence": 6}


def test_a_message_is_never_shown_twice() -> None:
    reader = Reader("prices")
    received(reader, message("BTC/USD", 3, kind="snapshot"), message("BTC/USD", 4))

    assert received(reader, message("BTC/USD", 4, kind="snapshot"), message("BTC/USD", 5)) == [5]


def test_missing_numbers_are_counted_and_conflated_ones_are_not() -> None:
    reader = Reader("prices")
    received(reader, message("BTC/USD", 3, kind="snapshot"), message("BTC/USD", 9, first=4))
    before = reader.gaps

    received(reader, message("BTC/USD", 12))

    assert (before, reader.gaps) == (0, 1)


def test_a_new_epoch_begins_anew_without_a_gap() -> None:
    reader = Reader("prices")
    received(reader, message("BTC/USD", 300))

    assert received(reader, message("BTC/USD", 2, epoch=EPOCH + 1)) == [2]
    assert reader.gaps == 0


def test_numbers_no_longer_kept_are_replaced_by_a_snapshot() -> None:
    reader = Reader("prices", ["BTC-USD"])
    received(reader, message("BTC/USD", 3))
    refused = {"op": "subscribe", "ok": False, "code": "snapshot_required", "symbol": "BTC/USD"}

    _, frames = reader.receive(json.dumps(refused))

    assert [json.loads(frame) for frame in frames] == [{"op": "subscribe", "channel": "prices", "symbol": "BTC/USD"}]
    assert received(reader, message("BTC/USD", 900, kind="snapshot")) == [900]
    assert reader.gaps == 0


def test_other_channels_and_good_answers_are_passed_over() -> None:
    reader = Reader("prices")
    beat = {**message("*", 1, kind="event"), "channel": "heartbeat"}

    assert received(reader, {"op": "subscribe", "ok": True, "id": None}, beat) == []
    assert received(reader, {"op": "subscribe", "ok": False, "code": "already_subscribed", "id": None}) == []


def test_a_refusal_is_raised_with_the_servers_words() -> None:
    refused = {"op": "subscribe", "ok": False, "code": "unknown_symbol", "detail": "there is no symbol XRP/USD"}

    with pytest.raises(InvalidRequest, match="there is no symbol XRP/USD") as raised:
        Reader("prices", ["XRP-USD"]).receive(json.dumps(refused))

    assert raised.value.code == "unknown_symbol"


@asynccontextmanager
async def venue(handler: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"http://127.0.0.1:{port}"


async def taken(batches: AsyncIterator[list[Message]], count: int) -> list[int]:
    sequences: list[int] = []
    while len(sequences) < count:
        sequences += [each.sequence for each in await anext(batches)]
    return sequences


async def test_a_lost_connection_is_taken_up_where_it_ended() -> None:
    asked: list[dict[str, Any]] = []

    async def handler(socket: ServerConnection) -> None:
        asked.append(json.loads(await socket.recv()))
        first = asked[-1].get("from_sequence", 1)
        for sequence in (first, first + 1):
            await socket.send(json.dumps(message("BTC/USD", sequence)))

    told: list[str] = []
    async with venue(handler) as url:
        followed = follow(Reader("prices", ["BTC-USD"]), lambda: url, notice=told.append, first_delay_s=0)
        async with aclosing(followed) as batches:
            sequences = await taken(batches, 6)

    assert sequences == [1, 2, 3, 4, 5, 6]
    assert [frame.get("from_sequence") for frame in asked] == [None, 3, 5]
    assert told[:2] == ["the server closed the connection; trying again in 0 s", "connected again"]


async def test_a_server_that_starts_again_elsewhere_is_found_again() -> None:
    async def handler(socket: ServerConnection) -> None:
        frame = json.loads(await socket.recv())
        await socket.send(json.dumps(message("BTC/USD", frame.get("from_sequence", 1))))

    async with venue(handler) as first, venue(handler) as second:
        answers: list[str | Exception] = [first, NotFound("nothing is running", code="not_running"), second]

        def find_url() -> str:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        told: list[str] = []
        followed = follow(Reader("prices", ["BTC-USD"]), find_url, notice=told.append, first_delay_s=0)
        async with aclosing(followed) as batches:
            sequences = await taken(batches, 2)

    assert sequences == [1, 2]
    assert "the server has ended; trying again in 0 s" in told


async def test_a_first_connection_that_fails_ends_it(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"

    with pytest.raises(Unavailable, match=r"nothing answers at .*fauxchange up"):
        await anext(follow(Reader("prices"), lambda: url, notice=lambda _: None))


async def test_a_refused_subscription_ends_it() -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(json.dumps({"op": "subscribe", "ok": False, "code": "unknown_symbol", "detail": "no XRP"}))

    async with venue(handler) as url:
        with pytest.raises(InvalidRequest, match="no XRP"):
            await anext(follow(Reader("prices", ["XRP-USD"]), lambda: url, notice=lambda _: None))
