"""What every store of price history promises."""

import asyncio
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fauxchange.data.ports import MAX_PAGE, DataAdapter, Page, PriceFeedQuery
from fauxchange.domain.errors import Conflict, InvalidRequest
from fauxchange.domain.market_data import FeedSource, PriceFeed

fresh = count(1)


def price(
    sequence: int, *, ts_ns: int | None = None, symbol: str = "BTC/USD", epoch: int = 1, **more: Any
) -> PriceFeed:
    values = {"bid": Decimal("99.50"), "ask": Decimal("100.50"), "last": None, "volume": Decimal(0), **more}
    return PriceFeed(
        symbol=symbol,
        epoch=epoch,
        sequence=sequence,
        ts_ns=sequence * 10 if ts_ns is None else ts_ns,
        source=FeedSource.SIMULATOR,
        **values,
    )


async def all_pages(adapter: DataAdapter, query: PriceFeedQuery) -> list[Page[PriceFeed]]:
    pages = [await adapter.price_feeds.history(query)]
    while pages[-1].next_cursor is not None:
        following = PriceFeedQuery(
            symbol=query.symbol,
            start_ns=query.start_ns,
            end_ns=query.end_ns,
            limit=query.limit,
            cursor=pages[-1].next_cursor,
            newest_first=query.newest_first,
        )
        pages.append(await adapter.price_feeds.history(following))
    return pages


async def sequences(adapter: DataAdapter, **query: Any) -> list[int]:
    page = await adapter.price_feeds.history(PriceFeedQuery(symbol="BTC/USD", **query))
    return [feed.sequence for feed in page.items]


async def test_price_comes_back_as_it_went_in(adapter: DataAdapter) -> None:
    feed = price(
        7,
        bid=Decimal("60000.10"),
        ask=Decimal("60000.20"),
        last=Decimal("60000.15"),
        volume=Decimal("0.00000001"),
        metadata={"venue": "ü", "depth": [1, 2.5, None, {"deep": True}]},
    )

    await adapter.price_feeds.create(feed)

    assert (await adapter.price_feeds.history(PriceFeedQuery(symbol="BTC/USD"))).items == [feed]


@pytest.mark.parametrize("text", ["1.50", "0.00", "0E-8", "1E-8", "123456789012345678.123456789012345678", "-0.5"])
async def test_decimals_keep_their_value_and_their_trailing_zeros(adapter: DataAdapter, text: str) -> None:
    await adapter.price_feeds.create(price(1, bid=Decimal(text)))

    stored = await adapter.price_feeds.latest("BTC/USD")

    assert stored is not None
    assert f"{stored.bid:f}" == f"{Decimal(text):f}"


async def test_changing_the_metadata_afterwards_does_not_change_the_stored_price(adapter: DataAdapter) -> None:
    metadata = {"tags": ["first"]}
    await adapter.price_feeds.create(price(1, metadata=metadata))

    metadata["tags"].append("second")

    stored = await adapter.price_feeds.latest("BTC/USD")
    assert stored is not None
    assert stored.metadata == {"tags": ["first"]}


async def test_latest_is_the_greatest_by_time_then_epoch_then_sequence(adapter: DataAdapter) -> None:
    await adapter.price_feeds.create_many(
        [
            price(9, ts_ns=50),
            price(2, ts_ns=60, epoch=2),
            price(3, ts_ns=60, epoch=2),
            price(8, ts_ns=60),
            price(5, ts_ns=99, symbol="ETH/USD"),
        ]
    )

    latest = await adapter.price_feeds.latest("BTC/USD")

    assert latest == price(3, ts_ns=60, epoch=2)


async def test_nothing_is_the_latest_of_an_unknown_symbol(adapter: DataAdapter) -> None:
    assert await adapter.price_feeds.latest("BTC/USD") is None
    assert (await adapter.price_feeds.history(PriceFeedQuery(symbol="BTC/USD"))).items == []


async def test_storing_no_prices_is_allowed(adapter: DataAdapter) -> None:
    await adapter.price_feeds.create_many([])

    assert await sequences(adapter) == []


async def test_history_is_ordered_by_time_whatever_the_order_of_arrival(adapter: DataAdapter) -> None:
    await adapter.price_feeds.create_many([price(3), price(1)])
    await adapter.price_feeds.create(price(2))

    assert await sequences(adapter) == [1, 2, 3]
    assert await sequences(adapter, newest_first=True) == [3, 2, 1]


async def test_range_includes_its_start_and_excludes_its_end(adapter: DataAdapter) -> None:
    await adapter.price_feeds.create_many([price(sequence) for sequence in range(1, 6)])

    assert await sequences(adapter, start_ns=20, end_ns=40) == [2, 3]
    assert await sequences(adapter, start_ns=20, end_ns=40, newest_first=True) == [3, 2]
    assert await sequences(adapter, start_ns=41) == [5]
    assert await sequences(adapter, end_ns=10) == []
    assert await sequences(adapter, start_ns=40, end_ns=20) == []
    assert await sequences(adapter, start_ns=-(2**70), end_ns=2**70) == [1, 2, 3, 4, 5]


async def test_page_of_exactly_the_limit_is_the_last(adapter: DataAdapter) -> None:
    await adapter.price_feeds.create_many([price(1), price(2)])

    page = await adapter.price_feeds.history(PriceFeedQuery(symbol="BTC/USD", limit=2))

    assert page.next_cursor is None


async def test_prices_that_arrive_between_pages_neither_repeat_nor_hide_others(adapter: DataAdapter) -> None:
    await adapter.price_feeds.create_many([price(sequence) for sequence in (2, 4, 6, 8)])
    first = await adapter.price_feeds.history(PriceFeedQuery(symbol="BTC/USD", limit=2))
    await adapter.price_feeds.create_many([price(1), price(5), price(9)])

    rest = await sequences(adapter, cursor=first.next_cursor)

    assert [feed.sequence for feed in first.items] == [2, 4]
    assert rest == [5, 6, 8, 9]


async def test_largest_page_is_read_whole(adapter: DataAdapter) -> None:
    await adapter.price_feeds.create_many([price(sequence) for sequence in range(1, MAX_PAGE + 2)])

    pages = await all_pages(adapter, PriceFeedQuery(symbol="BTC/USD", limit=MAX_PAGE))

    assert [len(page.items) for page in pages] == [MAX_PAGE, 1]
    assert [feed.sequence for feed in pages[0].items] == list(range(1, MAX_PAGE + 1))


@pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1])
async def test_limit_out_of_range_is_refused(adapter: DataAdapter, limit: int) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await adapter.price_feeds.history(PriceFeedQuery(symbol="BTC/USD", limit=limit))

    assert (refused.value.code, refused.value.field) == ("limit_out_of_range", "limit")


@pytest.mark.parametrize("cursor", ["", "nonsense", "!!", "W10", "bnVsbA", "é", "WyJ4IiwxLDIsM10"])
async def test_cursor_that_nobody_made_is_refused(adapter: DataAdapter, cursor: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await adapter.price_feeds.history(PriceFeedQuery(symbol="BTC/USD", cursor=cursor))

    assert (refused.value.code, refused.value.field) == ("invalid_cursor", "cursor")


@pytest.mark.parametrize("other", [{"symbol": "ETH/USD"}, {"symbol": "BTC/USD", "newest_first": True}])
async def test_cursor_of_another_query_is_refused(adapter: DataAdapter, other: dict[str, Any]) -> None:
    await adapter.price_feeds.create_many([price(1), price(2)])
    page = await adapter.price_feeds.history(PriceFeedQuery(symbol="BTC/USD", limit=1))

    with pytest.raises(InvalidRequest) as refused:
        await adapter.price_feeds.history(PriceFeedQuery(cursor=page.next_cursor, **other))

    assert refused.value.code == "invalid_cursor"


async def test_conflict_with_a_stored_price_stores_nothing(adapter: DataAdapter) -> None:
    await adapter.price_feeds.create(price(2, ts_ns=5))

    with pytest.raises(Conflict):
        await adapter.price_feeds.create_many([price(1), price(2), price(3)])

    assert await sequences(adapter) == [2]


async def test_conflict_within_one_call_stores_nothing(adapter: DataAdapter) -> None:
    with pytest.raises(Conflict):
        await adapter.price_feeds.create_many([price(1), price(2), price(1, ts_ns=99)])

    assert await sequences(adapter) == []


async def test_conflict_or_refused_metadata_among_many_prices_stores_nothing(adapter: DataAdapter) -> None:
    await adapter.price_feeds.create(price(700))

    with pytest.raises(Conflict):
        await adapter.price_feeds.create_many([price(sequence) for sequence in range(1, 1_000)])
    odd = {"ratio": float("nan")}
    with pytest.raises(InvalidRequest):
        await adapter.price_feeds.create_many([price(n, metadata=odd if n == 600 else {}) for n in range(1, 650)])

    assert await sequences(adapter) == [700]


async def test_documents_and_odd_texts_of_many_prices_come_back_unchanged(adapter: DataAdapter) -> None:
    odd = {"text": 'tab\t, new\nline, back\\slash, "quote", \\N, \x00, ü, \U0001f600', "of": [None, 1.0, -0.0, 10**30]}
    feeds = [
        price(n, metadata={**odd, "n": n} if n % 3 else {}, last=Decimal(n) if n % 2 else None) for n in range(300)
    ]

    await adapter.price_feeds.create_many(feeds)

    page = await adapter.price_feeds.history(PriceFeedQuery(symbol="BTC/USD"))
    assert page.items == feeds
    assert [repr(feed.metadata) for feed in page.items] == [repr(feed.metadata) for feed in feeds]


async def test_same_sequence_of_another_epoch_or_symbol_is_no_conflict(adapter: DataAdapter) -> None:
    await adapter.price_feeds.create_many([price(1), price(1, epoch=2), price(1, symbol="ETH/USD")])

    assert await sequences(adapter) == [1, 1]


async def test_refused_metadata_stores_nothing(adapter: DataAdapter) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await adapter.price_feeds.create_many([price(1), price(2, metadata={"ratio": float("nan")})])

    assert refused.value.field == "metadata"
    assert await sequences(adapter) == []


async def test_concurrent_writers_all_get_their_prices_stored(adapter: DataAdapter) -> None:
    blocks = [[price(block * 100 + index) for index in range(100)] for block in range(40)]

    await asyncio.gather(*(adapter.price_feeds.create_many(block) for block in blocks))

    assert await sequences(adapter, limit=MAX_PAGE) == list(range(4_000))


async def test_conflict_of_one_concurrent_writer_leaves_the_others_unharmed(adapter: DataAdapter) -> None:
    await adapter.price_feeds.create(price(5))

    outcomes = await asyncio.gather(
        *(adapter.price_feeds.create_many([price(n), price(n + 10)]) for n in range(1, 10)), return_exceptions=True
    )

    assert [type(outcome) for outcome in outcomes] == [Conflict if n == 5 else type(None) for n in range(1, 10)]
    assert await sequences(adapter) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19]


async def test_deletion_takes_what_is_older_of_all_symbols(adapter: DataAdapter) -> None:
    symbols = ["BTC/USD", "ETH/USD", "ADA/USD"]
    feeds = [price(sequence, symbol=symbol) for symbol in symbols for sequence in range(1, 6)]
    await adapter.price_feeds.create_many(feeds)

    deleted = await adapter.price_feeds.delete_before(30)

    assert deleted == 6
    assert await sequences(adapter) == [3, 4, 5]
    assert await adapter.price_feeds.delete_before(30) == 0


async def test_deletion_in_many_pieces_takes_all(adapter: DataAdapter) -> None:
    await adapter.price_feeds.create_many([price(sequence) for sequence in range(12_000)])

    deleted = await adapter.price_feeds.delete_before(119_980)

    assert deleted == 11_998
    assert await sequences(adapter) == [11_998, 11_999]


async def test_deleted_price_may_be_stored_again(adapter: DataAdapter) -> None:
    await adapter.price_feeds.create(price(1))
    await adapter.price_feeds.delete_before(1_000)

    await adapter.price_feeds.create(price(1))

    assert await sequences(adapter) == [1]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    times=st.lists(st.integers(0, 12), max_size=25),
    limit=st.integers(1, 7),
    start_ns=st.none() | st.integers(0, 12),
    end_ns=st.none() | st.integers(0, 12),
    newest_first=st.booleans(),
)
async def test_pages_together_are_the_whole_range_in_order(
    adapter: DataAdapter,
    times: list[int],
    limit: int,
    start_ns: int | None,
    end_ns: int | None,
    newest_first: bool,
) -> None:
    symbol = f"S{next(fresh)}/USD"
    feeds = [price(sequence, ts_ns=ts_ns, symbol=symbol) for sequence, ts_ns in enumerate(times)]
    await adapter.price_feeds.create_many(feeds)
    query = PriceFeedQuery(symbol=symbol, start_ns=start_ns, end_ns=end_ns, limit=limit, newest_first=newest_first)

    pages = await all_pages(adapter, query)

    low, high = (0 if start_ns is None else start_ns), (99 if end_ns is None else end_ns)
    wanted = [feed for feed in feeds if low <= feed.ts_ns < high]
    wanted.sort(key=lambda feed: (feed.ts_ns, feed.sequence), reverse=newest_first)
    assert [feed for page in pages for feed in page.items] == wanted
    assert all(len(page.items) == limit for page in pages[:-1])
