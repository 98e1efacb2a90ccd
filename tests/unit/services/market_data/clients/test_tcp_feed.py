import asyncio
import importlib.util
import random
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest

from fauxchange.domain.errors import ConfigurationError, Unavailable
from fauxchange.services.market_data.clients.feeds import BadMessage, FeedHeartbeat, FeedQuote, FeedTrade
from fauxchange.services.market_data.clients.tcp_feed import TcpJsonTransport, parse_line, parse_push_argument

EXAMPLE = Path(__file__).parents[5] / "examples" / "push_feed.py"


def test_each_kind_of_line_is_understood_exactly() -> None:
    lines = [
        b'{"type": "quote", "sequence": 7, "symbol": "BTC/USD", "bid": "1.10", "ask": 1.3, "extra": 1}',
        b'{"type": "trade", "sequence": 8, "price": "1.2", "quantity": "3"}',
        b'{"type": "heartbeat"}',
    ]

    messages = [parse_line(line) for line in lines]

    assert messages == [
        FeedQuote(sequence=7, symbol="BTC/USD", bid=Decimal("1.10"), ask=Decimal("1.3")),
        FeedTrade(sequence=8, price=Decimal("1.2"), quantity=Decimal(3)),
        FeedHeartbeat(),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b'{"type": "candle"}',
        b'{"type": "quote", "sequence": "7", "bid": "1", "ask": "2"}',
        b'{"type": "quote", "sequence": 7, "bid": "one", "ask": "2"}',
        b'{"type": "quote", "sequence": 7, "bid": true, "ask": "2"}',
    ],
)
def test_other_lines_are_bad_messages(line: bytes) -> None:
    assert isinstance(parse_line(line), BadMessage)


def test_push_arguments_are_split() -> None:
    assert parse_push_argument("btc-usd=tcp://127.0.0.1:9500") == ("BTC/USD", "127.0.0.1", 9500)
    assert parse_push_argument("tcp://[::1]:9500/") == (None, "::1", 9500)


@pytest.mark.parametrize(
    "text",
    ["", "BTC/USD=", "http://127.0.0.1:9500", "tcp://127.0.0.1", "tcp://127.0.0.1:0", "tcp://h:99999", "b=tcp://h:1"],
)
def test_a_bad_push_argument_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is not \[SYMBOL=\]tcp://HOST:PORT"):
        parse_push_argument(text)


async def test_a_feed_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"tcp://127\.0\.0\.1:1: "):
        await TcpJsonTransport("127.0.0.1", 1).connect()


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("push_feed_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_the_worked_example_pushes_a_seeded_walk_that_the_transport_understands() -> None:
    module = example()

    received = await first_messages(module, seed=1)

    quotes = [message for message in received if isinstance(message, FeedQuote)]
    sequences = [message.sequence for message in received if isinstance(message, FeedQuote | FeedTrade)]
    path = walked(module, seed=1)
    assert {type(message) for message in received} == {FeedQuote, FeedTrade}
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    # The answer to the subscription repeats a price, so a quote is where the one before was or further on.
    position = 0
    for quote in quotes:
        position = path.index((quote.bid, quote.ask), position)
    assert path != walked(module, seed=2)


def walked(module: ModuleType, seed: int) -> list[tuple[Decimal, Decimal]]:
    """Return bid and ask of the first steps of the example's walk."""
    walk = module.RandomWalk(seed, Decimal(100))
    path = []
    for _ in range(1_000):
        quote = walk.quote()
        path.append((Decimal(quote["bid"]), Decimal(quote["ask"])))
        walk.step()
    return path


async def first_messages(module: ModuleType, seed: int) -> list[object]:
    """Return what a feed of the example pushes first, the seeded walk stepping as soon as a client is there."""
    walk = module.RandomWalk(seed, Decimal(100))
    feed = module.PushFeed("BTC/USD", walk, interval_s=0.001, seed=seed)
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(feed.serve("127.0.0.1", 0, ready=port.set_result))
    connection = await TcpJsonTransport("127.0.0.1", await port, symbols=["BTC/USD"]).connect()
    try:
        messages = [await connection.receive() for _ in range(20)]
    finally:
        await connection.close()
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)
    return messages


def test_the_examples_prices_lie_on_the_grid() -> None:
    walk = example().RandomWalk(random.Random(3).randint(0, 9), Decimal("0.5"))

    for _ in range(200):
        walk.step()
        quote = walk.quote()
        assert Decimal(0) < Decimal(quote["bid"]) < Decimal(quote["ask"])
        assert Decimal(quote["bid"]) % Decimal("0.01") == 0
