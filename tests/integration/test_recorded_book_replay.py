"""A recorded order book is replayed into the exchange: its levels are the house's, in step with the feed."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from fauxchange.contracts.exchange.messages import OrderRequest
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.recorded_books import BookCursor, RecordedBook, read_recorded_book
from fauxchange.services.exchange.service.requests import Origin
from fauxchange.testing import RunningVenue, running

RECORDED = "btc_usdt_spot_l2_raw_2024-08-08.jsonl.gz"
LEVELS = 20
STEP_NS = NS_PER_S // 10
"""The house follows a recorded book on this grid."""
SETTINGS = {
    "DEFAULT_SYMBOLS": "BTC/USD",
    "EXCHANGE_SYMBOLS": "BTC/USDT",
    "LOT_SIZES": "BTC/USDT=0.00001,default=0.001",
    "MIN_NOTIONAL": "default=0",
    "REPLAY_BOOK_LEVELS": str(LEVELS),
    # Any other speed than 1 makes time virtual; the test moves it.
    "SPEED": "2",
}

Shown = tuple[list[tuple[int, int]], list[tuple[int, int]]]


def recorded_at(book: RecordedBook, recorded_ns: int) -> Shown:
    cursor = BookCursor(book)
    cursor.go_to(recorded_ns)
    return cursor.bids.top(LEVELS), cursor.asks.top(LEVELS)


async def shown(http: httpx.AsyncClient) -> Shown:
    book = (await http.get("/api/v1/book/BTC-USDT", params={"depth": LEVELS})).raise_for_status().json()
    bids, asks = (
        [(int(Decimal(price) * 100), int(Decimal(quantity) * 100_000)) for price, quantity in book[side]]
        for side in ("bids", "asks")
    )
    return bids, asks


async def move_to(venue: RunningVenue, ts_ns: int) -> None:
    await venue.clock.step(ts_ns - venue.clock.now_ns())
    # What the house sent at this very moment is carried out by now.
    await venue.clock.step(0)


@pytest.mark.data(RECORDED)
async def test_a_replayed_book_is_the_recorded_one_and_in_step_with_the_feed(
    tmp_path: Path, recorded_data: Path
) -> None:
    path = recorded_data / RECORDED
    recorded = read_recorded_book(path, symbol="BTC/USDT")
    async with (
        running(tmp_path, {**SETTINGS, "REPLAY": str(path)}, paused=True) as venue,
        httpx.AsyncClient(base_url=venue.venue.http) as http,
    ):
        assert venue.clock.now_ns() == recorded.first_ns
        for steps in (1, 9, 10, 7, 30, 1):
            await move_to(venue, (venue.clock.now_ns() // STEP_NS + steps) * STEP_NS)
            book = await shown(http)
            price = (await http.get("/api/v1/prices/BTC-USDT")).json()

            assert book == recorded_at(recorded, venue.clock.now_ns())
            assert book[0][0][0] < book[1][0][0]
            best = (int(Decimal(price["bid"]) * 100), int(Decimal(price["ask"]) * 100))
            assert best == (book[0][0][0], book[1][0][0])


@pytest.mark.data(RECORDED)
async def test_users_trade_against_the_recorded_levels_and_a_span_in_a_loop_begins_again(
    tmp_path: Path, recorded_data: Path
) -> None:
    path = recorded_data / RECORDED
    whole = read_recorded_book(path, symbol="BTC/USDT")
    start_ns, end_ns = whole.first_ns + 60 * NS_PER_S, whole.first_ns + 62 * NS_PER_S
    part = whole.part(start_ns, end_ns)
    settings = {**SETTINGS, "REPLAY": f"{path}", "REPLAY_LOOP": "true"}
    settings |= {"REPLAY_START": _time(start_ns), "REPLAY_END": _time(end_ns), "DEMO_FUNDS": "USDT=1000000"}
    async with (
        running(tmp_path, settings, paused=True) as venue,
        httpx.AsyncClient(base_url=venue.venue.http) as http,
    ):
        await move_to(venue, (venue.clock.now_ns() // STEP_NS + 5) * STEP_NS)
        _, asks = await shown(http)
        demo = venue.exchange.demo
        assert demo is not None

        # A user takes the best two levels, and a part of the third.
        lots = asks[0][1] + asks[1][1] + 1
        quantity = f"{Decimal(lots) / 100_000:f}"
        order = OrderRequest(symbol="BTC/USDT", side="buy", type="market", quantity=quantity)
        placed = await venue.exchange.service.place_order(int(demo.account_id), order, Origin("test"))
        _, left = await shown(http)
        await move_to(venue, venue.clock.now_ns() + STEP_NS)
        restored = await shown(http)

        assert placed.order.cum_lots == lots
        assert left[0] == (asks[2][0], asks[2][1] - 1)
        assert restored == recorded_at(whole, venue.clock.now_ns())

        # The span is over after two seconds, and its first second comes again.
        replay = next(iter(venue.market_data.replays))
        await move_to(venue, (venue.clock.now_ns() // STEP_NS + 25) * STEP_NS)
        recorded_ns = replay.recorded_ns(venue.clock.now_ns())

        assert part.first_ns < recorded_ns < part.last_ns
        assert await shown(http) == recorded_at(part, recorded_ns)


def _time(ts_ns: int) -> str:
    seconds, rest_ns = divmod(ts_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns:09d}Z"


@pytest.mark.data(RECORDED)
async def test_the_same_replay_gives_the_same_state_in_whatever_strides_time_goes(
    tmp_path: Path, recorded_data: Path
) -> None:
    hashes = set()
    for stride_ns in (10 * NS_PER_S, NS_PER_S // 7):
        settings = {**SETTINGS, "REPLAY": str(recorded_data / RECORDED), "DEMO_FUNDS": ""}
        async with running(tmp_path / str(stride_ns), settings, paused=True) as venue:
            end_ns = venue.clock.now_ns() + 10 * NS_PER_S
            while venue.clock.now_ns() < end_ns:
                await venue.clock.step(min(stride_ns, end_ns - venue.clock.now_ns()))
            await venue.clock.step(0)
            hashes.add(venue.exchange.service.venue.engine.state_hash())

    assert len(hashes) == 1
