"""The house while a feed replays a recorded book: it shows that book, and what was taken comes back with updates."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

from house_kit import SECOND, START_NS, World, config_of

from fauxchange.domain.instruments import Instrument
from fauxchange.services.exchange.core.quoting import Level
from fauxchange.services.exchange.ports import BookLevels

BUY, SELL = 0, 1
MS = SECOND // 1_000

FREE = {"MIN_NOTIONAL": "default=0"}


class FakeBooks:
    """A recorded book of BTC/USD that is what the test says."""

    def __init__(self) -> None:
        self.bids = [(5_999_990, 4), (5_999_900, 9)]
        self.asks = [(6_000_000, 3), (6_000_100, 8)]
        self.lot_size = Decimal("0.00001")
        self.asked: list[tuple[int, int]] = []

    def has(self, symbol: str) -> bool:
        return symbol == "BTC/USD"

    def levels(self, symbol: str, ts_ns: int, count: int) -> BookLevels:
        self.asked.append((ts_ns, count))
        instrument = Instrument(symbol="BTC/USD", tick_size=Decimal("0.01"), lot_size=self.lot_size)
        return BookLevels(instrument, self.bids[:count], self.asks[:count])


@asynccontextmanager
async def showing(books: FakeBooks, **environ: str) -> AsyncIterator[World]:
    world = World(config_of(**{**FREE, **environ}), books)
    world.feed(books.bids[0][0], books.asks[0][0])
    await world.start()
    try:
        yield world
    finally:
        await world.crash()


def levels_of(books: FakeBooks) -> list[Level]:
    return [
        *(Level(BUY, price, lots) for price, lots in books.bids),
        *(Level(SELL, price, lots) for price, lots in books.asks),
    ]


async def test_the_house_shows_the_recorded_levels() -> None:
    books = FakeBooks()

    async with showing(books) as world:
        assert world.quotes() == levels_of(books)
        assert books.asked == [(START_NS, 20)]


async def test_only_so_many_levels_are_shown_as_are_set() -> None:
    async with showing(FakeBooks(), REPLAY_BOOK_LEVELS="1") as world:
        assert world.quotes() == [Level(BUY, 5_999_990, 4), Level(SELL, 6_000_000, 3)]


async def test_the_book_is_followed_every_tenth_of_a_second_whatever_the_house_does_otherwise() -> None:
    books = FakeBooks()

    async with showing(books, HOUSE_REFRESH_INTERVAL="10s") as world:
        books.asks = [(6_000_050, 2)]
        world.feed(5_999_990, 6_000_050)
        world.settle()
        before = world.quotes()
        await world.wait(100 * MS)
        world.settle()

        assert before[-1] == Level(SELL, 6_000_100, 8)
        assert world.quotes() == levels_of(books)


async def test_what_was_taken_stays_taken_until_the_next_update() -> None:
    books = FakeBooks()

    async with showing(books) as world:
        world.trade(BUY, 5)
        world.settle()
        await world.wait(500 * MS)
        world.settle()
        taken = [level for level in world.quotes() if level.side == SELL]
        world.feed(5_999_990, 6_000_000)
        world.settle()

        assert taken == [Level(SELL, 6_000_100, 6)]
        assert world.quotes() == levels_of(books)


async def test_a_users_order_that_the_book_moves_through_is_filled_and_no_self_trade_happens() -> None:
    books = FakeBooks()

    async with showing(books) as world:
        mine = world.trade(BUY, 2, price_ticks=5_999_995)
        books.bids, books.asks = [(5_999_950, 1)], [(5_999_960, 6), (6_000_100, 8)]
        await world.wait(100 * MS)
        world.feed(5_999_950, 5_999_960)
        world.settle()

        assert mine.order_id not in {order.order_id for order in world.venue.orders.open_orders(3)}
        assert world.self_trades == 0
        assert world.quotes()[-2:] == [Level(SELL, 5_999_960, 4), Level(SELL, 6_000_100, 8)]


async def test_without_levels_the_house_is_as_it_is_set() -> None:
    async with showing(FakeBooks(), HOUSE_LIQUIDITY="off") as world:
        assert world.quotes() == []


async def test_a_book_recorded_in_coarser_lots_is_shown_in_those_of_the_instrument() -> None:
    books = FakeBooks()
    books.lot_size = Decimal("0.001")

    async with showing(books) as world:
        assert [level.lots for level in world.quotes()] == [400, 900, 300, 800]
