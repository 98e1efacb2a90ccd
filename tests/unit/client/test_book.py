import random
import zlib

import pytest

from fauxchange.client import Book
from fauxchange.contracts.exchange.messages import BookMessage

Levels = list[tuple[str, str]]
TIME = "2026-01-31T12:00:00.000000Z"


def message(bids: Levels, asks: Levels, *, sequence: int = 1, checksum: int | None = None) -> BookMessage:
    return BookMessage(symbol="BTC/USD", bids=bids, asks=asks, sequence=sequence, timestamp=TIME, checksum=checksum)


def crc(text: str) -> int:
    return zlib.crc32(text.encode("ascii"))


def test_the_checksum_is_that_of_the_bids_and_then_the_asks_from_the_best_on() -> None:
    book = Book("BTC/USD")

    book.begin(message([("59999.99", "1.00000"), ("60000.00", "0.50000")], [("60000.01", "2.00000")]))

    assert book.checksum() == crc("60000.00:0.50000|59999.99:1.00000|60000.01:2.00000")


def test_an_empty_book_has_the_checksum_of_nothing() -> None:
    assert Book("BTC/USD").checksum() == 0


def test_only_the_ten_best_of_each_side_are_checked() -> None:
    bids = [(f"{100 - i}.00", "1.0") for i in range(12)]
    asks = [(f"{101 + i}.00", "1.0") for i in range(12)]
    book = Book("BTC/USD")

    book.begin(message(bids, asks))

    assert book.checksum() == crc("|".join(f"{price}:{quantity}" for price, quantity in bids[:10] + asks[:10]))


def test_a_delta_sets_what_a_price_shows_and_zero_takes_it_out() -> None:
    book = Book("BTC/USD")
    book.begin(message([("99.00", "1.0"), ("98.00", "1.0")], [("101.00", "1.0")]))

    book.change(message([("99.00", "0.0"), ("98.50", "4.0")], [("101.00", "2.5")], sequence=2))

    assert [str(level) for level in book.bids()] == ["98.50:4.0", "98.00:1.0"]
    assert [str(level) for level in book.asks()] == ["101.00:2.5"]
    assert book.sequence == 2


def test_a_price_that_is_not_there_can_be_taken_out() -> None:
    book = Book("BTC/USD")

    book.change(message([("99.00", "0")], []))

    assert book.bids() == []


def test_the_best_prices_are_those_that_trade_first() -> None:
    book = Book("BTC/USD")
    assert book.best_bid is None

    book.begin(message([("9.00", "1"), ("10.00", "2")], [("11.00", "3"), ("100.00", "4")]))

    assert book.best_bid is not None
    assert book.best_ask is not None
    assert (book.best_bid.price_text, book.best_ask.price_text) == ("10.00", "11.00")


@pytest.mark.parametrize(("checksum", "agrees"), [(crc("99.00:1.0"), True), (crc("99.00:2.0"), False), (None, True)])
def test_a_book_says_whether_it_agrees_with_the_venue(checksum: int | None, agrees: bool) -> None:
    book = Book("BTC/USD")

    assert book.begin(message([("99.00", "1.0")], [], checksum=checksum)) is agrees
    assert book.is_checked is (agrees and checksum is not None)


def test_a_snapshot_replaces_everything() -> None:
    book = Book("BTC/USD")
    book.begin(message([("99.00", "1.0")], [("101.00", "1.0")]))

    book.begin(message([("98.00", "1.0")], []))

    assert [str(level) for level in book.bids()] == ["98.00:1.0"]
    assert book.asks() == []


def test_many_random_changes_leave_what_a_plain_mapping_has() -> None:
    chance, book, plain = random.Random(7), Book("BTC/USD"), dict[str, str]()

    for sequence in range(2_000):
        price, quantity = f"{chance.randrange(1, 200)}.50", str(chance.choice((0, 0, 1, 2, 3)))
        plain[price] = quantity
        book.change(message([(price, quantity)], [], sequence=sequence))

    expected = sorted((price for price, quantity in plain.items() if quantity != "0"), key=float, reverse=True)
    assert [level.price_text for level in book.bids()] == expected
