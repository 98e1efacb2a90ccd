"""The background order flow in a whole venue: same story, same journal; and a house that stands back."""

from pathlib import Path

import pytest

from fauxchange.contracts.exchange.messages import AccountRequest, OrderRequest, TransferRequest
from fauxchange.data.sqlite.adapter import SqliteDataAdapter
from fauxchange.domain.times import NS_PER_MS, NS_PER_S
from fauxchange.services.exchange.app.offline import verify_stores
from fauxchange.services.exchange.core.engine import interpreted
from fauxchange.services.exchange.core.vocabulary import HOUSE_ACCOUNT
from fauxchange.services.exchange.service.requests import Origin
from fauxchange.testing.inprocess import running
from fauxchange.venue.stores import DATABASE

ORIGIN = Origin("test")
SETTINGS = {
    "STORE": "sqlite",
    "START_TIME": "2026-01-31T12:00:00Z",
    "DEFAULT_SYMBOLS": "BTC/USD",
    "EXCHANGE_SYMBOLS": "BTC/USD",
    "ORDER_FLOW": "busy",
    # Its keys are made by chance.
    "DEMO_FUNDS": "",
    "SEED": "7",
}


async def story(folder: Path, step_ns: int) -> tuple[str, str, int]:
    """Let a trader buy at two moments of venue time; return the hashes of state and trail, and what was journalled."""
    async with running(folder, SETTINGS, paused=True) as live:
        service = live.exchange.service
        account = (await service.create_account(AccountRequest(name="somebody"), ORIGIN)).account
        await service.deposit(str(account), TransferRequest(asset="USD", amount="1000000"), ORIGIN)
        for _ in range(2):
            for _ in range(750 * NS_PER_MS // step_ns):
                await live.clock.step(step_ns)
            order = OrderRequest(symbol="BTC/USD", side="buy", type="market", quantity="0.05")
            await service.place_order(account, order, ORIGIN)
        await live.clock.step(250 * NS_PER_MS)
        state = service.state()
        await service.projector.flush()
        last = await service.read_models.last_trail()
        assert last is not None
        return str(state["state_hash"]), last.hash, int(state["sequence"])


async def test_the_same_story_gives_the_same_venue_however_time_is_driven(tmp_path: Path) -> None:
    at_once = await story(tmp_path / "once", 750 * NS_PER_MS)
    in_steps = await story(tmp_path / "steps", 50 * NS_PER_MS)

    assert at_once == in_steps
    assert at_once[2] > 100


async def test_what_a_venue_with_background_traders_leaves_behind_verifies(tmp_path: Path) -> None:
    _, _, sequence = await story(tmp_path, 250 * NS_PER_MS)
    data = SqliteDataAdapter(tmp_path / DATABASE)
    await data.connect()
    try:
        verified = await verify_stores(data, compiler=interpreted)
    finally:
        await data.disconnect()

    assert verified.commands >= sequence
    assert verified.records < verified.commands / 2


async def test_a_market_order_meets_the_book_and_the_house_stands_behind_it(tmp_path: Path) -> None:
    async with running(tmp_path, SETTINGS, paused=True) as live:
        service = live.exchange.service
        account = (await service.create_account(AccountRequest(name="somebody"), ORIGIN)).account
        await service.deposit(str(account), TransferRequest(asset="USD", amount="1000000"), ORIGIN)
        await live.clock.step(3 * NS_PER_S)
        book = service.book("BTC/USD", 5)
        feed = live.market_data.service.price("BTC/USD")

        order = OrderRequest(symbol="BTC/USD", side="buy", type="market", quantity="0.0001")
        placed = await service.place_order(account, order, ORIGIN)

        house = service.venue.orders.open_orders(HOUSE_ACCOUNT)
        best = float(book.asks[0][0])
        assert placed.fills[0].last_ticks == pytest.approx(best * 100)
        assert best == pytest.approx(feed.ask_ticks / 100, rel=2e-3)
        assert len(house) == 6
        assert all(abs(record.price_ticks / feed.bid_ticks - 1) > 40e-4 for record in house)
