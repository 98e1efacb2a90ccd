from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.data.redis.prices import DamagedRecord, decode_price, encode_position, encode_price
from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.market_data import FeedSource, PriceFeed

int64 = st.integers(-(2**63), 2**63 - 1)
positions = st.tuples(int64, int64, int64)
decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**18), max_value=10**18)
prices = st.builds(
    PriceFeed,
    symbol=st.just("BTC/USD"),
    epoch=int64,
    sequence=int64,
    ts_ns=int64,
    bid=decimals,
    ask=decimals,
    last=st.none() | decimals,
    volume=decimals,
    source=st.sampled_from(FeedSource),
    metadata=st.dictionaries(st.text(), st.integers() | st.text() | st.none() | st.lists(st.booleans()), max_size=3),
)


@given(positions, positions)
def test_bytes_sort_as_positions_do(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    assert (encode_position(one) < encode_position(other)) == (one < other)


@given(prices)
def test_price_comes_back_as_it_went_in(feed: PriceFeed) -> None:
    again = decode_price("BTC/USD", encode_price(feed))

    assert again == feed
    assert [f"{value:f}" for value in (again.bid, again.ask, again.volume)] == [
        f"{value:f}" for value in (feed.bid, feed.ask, feed.volume)
    ]


def test_equal_prices_are_equal_bytes_however_their_zeros_are_written() -> None:
    def with_bid(text: str) -> bytes:
        return encode_price(
            PriceFeed(
                symbol="BTC/USD",
                epoch=1,
                sequence=1,
                ts_ns=1,
                bid=Decimal(text),
                ask=Decimal(1),
                last=None,
                volume=Decimal(0),
                source=FeedSource.FIXED,
            )
        )

    assert with_bid("0E-8") == with_bid("0.00000000")
    assert with_bid("1.5") != with_bid("1.50")


def test_metadata_that_json_cannot_carry_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        encode_price(
            PriceFeed(
                symbol="BTC/USD",
                epoch=1,
                sequence=1,
                ts_ns=1,
                bid=Decimal(1),
                ask=Decimal(1),
                last=None,
                volume=Decimal(0),
                source=FeedSource.FIXED,
                metadata={"bad": float("nan")},
            )
        )


@given(st.binary(max_size=80))
def test_bytes_of_somebody_else_are_damaged_not_a_crash(record: bytes) -> None:
    with pytest.raises(DamagedRecord):
        decode_price("BTC/USD", record)
