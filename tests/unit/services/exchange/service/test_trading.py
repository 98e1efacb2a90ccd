"""Orders through the use cases: what callers are told, and what stays true whatever they do."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from exchange_kit import ORIGIN, Exchange, order

from fauxchange.contracts.exchange.messages import AccountRequest, AmendRequest, KeyRequest, TransferRequest
from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.data.ports import FillQuery, LedgerQuery, OrderQuery
from fauxchange.domain.errors import Conflict, Forbidden, InvalidRequest, NotFound, Rejected
from fauxchange.domain.orders import CLIENT_ORDER_ID_KEPT_NS
from fauxchange.domain.times import NS_PER_S
from fauxchange.services.exchange.core.vocabulary import OrderStatus, RejectReason
from fauxchange.services.exchange.service.expiry import ExpiryTimer


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    adapter = MemoryDataAdapter()
    await adapter.connect()
    yield await Exchange(adapter).start()
    await adapter.disconnect()


async def test_a_trade_is_told_on_both_sides_with_fees_and_conserves_every_asset(exchange: Exchange) -> None:
    seller, buyer = await exchange.account(BTC="1"), await exchange.account(USD="100000")
    resting = await exchange.place(seller, "sell", "0.5", "60000")

    taken = await exchange.place(buyer, "buy", "0.2")

    assert taken.order.status == OrderStatus.FILLED
    assert [(fill.last_lots, fill.last_ticks, fill.is_maker) for fill in taken.fills] == [(20_000, 6_000_000, False)]
    assert taken.order.fee == 24 * 10**8  # 0.2 % of 12,000 USD
    assert resting.order.status == OrderStatus.PARTIALLY_FILLED
    assert resting.order.fee == 12 * 10**8
    assert exchange.sums() == {"BTC": (-30_000_000, 30_000_000), "USD": (0, 0)}
    fills = (await exchange.service.fills(FillQuery(order_id=resting.order.order_id))).items
    assert [(fill.account, fill.is_maker, fill.fee) for fill in fills] == [(seller, True, 12 * 10**8)]


async def test_fifty_workers_with_one_client_order_id_make_one_order(exchange: Exchange) -> None:
    account = await exchange.account(USD="1000000")

    placements = await asyncio.gather(
        *(exchange.place(account, "buy", "0.01", "50000", client_order_id="only-one") for _ in range(50))
    )

    assert len({placement.order.order_id for placement in placements}) == 1
    assert [placement.repeated for placement in placements].count(False) == 1
    assert len((await exchange.service.orders(OrderQuery(account=account))).items) == 1


async def test_a_client_order_id_stands_for_one_content(exchange: Exchange) -> None:
    account, other = await exchange.account(USD="1000000"), await exchange.account(USD="1000000")
    await exchange.place(account, "buy", "0.01", "50000", client_order_id="mine")

    with pytest.raises(Conflict) as caught:
        await exchange.place(account, "buy", "0.02", "50000", client_order_id="mine")

    assert caught.value.code == "duplicate_client_order_id"
    assert not (await exchange.place(other, "buy", "0.02", "50000", client_order_id="mine")).repeated


async def test_a_client_order_id_is_free_24_hours_after_its_order_finished(exchange: Exchange) -> None:
    account = await exchange.account(USD="1000000")
    first = await exchange.place(account, "buy", "0.01", "50000", client_order_id="mine")
    await exchange.service.cancel_order(account, "client:mine", ORIGIN)

    await exchange.clock.step(CLIENT_ORDER_ID_KEPT_NS - 1)
    again = await exchange.place(account, "buy", "0.01", "50000", client_order_id="mine")
    await exchange.clock.step(1)
    anew = await exchange.place(account, "buy", "0.01", "50000", client_order_id="mine")

    assert again.repeated
    assert again.order.order_id == first.order.order_id
    assert not anew.repeated
    assert anew.order.order_id != first.order.order_id


async def test_an_open_order_keeps_its_client_order_id_however_long(exchange: Exchange) -> None:
    account = await exchange.account(USD="1000000")
    await exchange.place(account, "buy", "0.01", "50000", client_order_id="mine")

    await exchange.clock.step(3 * CLIENT_ORDER_ID_KEPT_NS)

    assert (await exchange.place(account, "buy", "0.01", "50000", client_order_id="mine")).repeated


async def test_a_rejected_order_is_stored_and_found_by_its_client_order_id(exchange: Exchange) -> None:
    account = await exchange.account(USD="1")

    placement = await exchange.place(account, "buy", "1", "50000", client_order_id="too-much")

    assert placement.refused
    assert (placement.order.status, placement.order.reason) == (4, RejectReason.INSUFFICIENT_FUNDS)
    await exchange.projector.flush()
    found = await exchange.service.order(account, "client:too-much")
    assert found.order.order_id == placement.order.order_id
    again = await exchange.place(account, "buy", "1", "50000", client_order_id="too-much")
    assert again.repeated
    assert again.order.status == OrderStatus.REJECTED


async def test_a_market_order_without_liquidity_is_refused(exchange: Exchange) -> None:
    account = await exchange.account(USD="1000")

    placement = await exchange.place(account, "buy", "0.01")

    assert placement.refused
    assert placement.order.reason == RejectReason.NO_LIQUIDITY
    assert exchange.service.balances(account)[0].held == 0


async def test_an_order_is_of_its_account_alone(exchange: Exchange) -> None:
    account, other = await exchange.account(USD="1000000"), await exchange.account(USD="1000000")
    placed = await exchange.place(account, "buy", "0.01", "50000")
    ref = str(placed.order.order_id)

    with pytest.raises(NotFound):
        await exchange.service.order(other, ref)
    with pytest.raises(NotFound):
        await exchange.service.cancel_order(other, ref, ORIGIN)
    with pytest.raises(NotFound):
        await exchange.service.amend_order(other, ref, AmendRequest(quantity="0.005"), ORIGIN)
    with pytest.raises(NotFound):
        await exchange.service.replace_order(other, ref, order("buy", "1", "1"), ORIGIN)


async def test_an_order_on_its_way_can_be_canceled_by_its_client_order_id(exchange: Exchange) -> None:
    account = await exchange.account(USD="1000000")

    placed, canceled = await asyncio.gather(
        exchange.place(account, "buy", "0.01", "50000", client_order_id="mine"),
        exchange.service.cancel_order(account, "client:mine", ORIGIN),
    )

    assert placed.order.order_id == canceled.order.order_id
    assert canceled.order.status == OrderStatus.CANCELED
    with pytest.raises(NotFound):
        await exchange.service.cancel_order(account, "client:never", ORIGIN)


@pytest.mark.parametrize("stored", [False, True])
async def test_a_finished_order_cannot_be_changed(exchange: Exchange, *, stored: bool) -> None:
    account = await exchange.account(USD="1000000")
    placed = await exchange.place(account, "buy", "0.01", "50000")
    ref = str(placed.order.order_id)
    canceled = await exchange.service.cancel_order(account, ref, ORIGIN)
    if stored:
        await exchange.projector.flush()

    with pytest.raises(Rejected) as again:
        await exchange.service.cancel_order(account, ref, ORIGIN)
    with pytest.raises(Rejected) as amended:
        await exchange.service.amend_order(account, ref, AmendRequest(quantity="0.005"), ORIGIN)

    assert (canceled.order.status, canceled.order.leaves_lots) == (OrderStatus.CANCELED, 0)
    assert again.value.code == amended.value.code == "order_finished"
    assert again.value.reason == RejectReason.ORDER_FINISHED


async def test_amending_and_replacing_move_the_reservation(exchange: Exchange) -> None:
    account = await exchange.account(USD="10000")
    placed = await exchange.place(account, "buy", "0.1", "50000")
    ref = str(placed.order.order_id)

    amended = await exchange.service.amend_order(account, ref, AmendRequest(quantity="0.05"), ORIGIN)
    held_after_amend = exchange.service.balances(account)[0].held
    replaced = await exchange.service.replace_order(account, ref, order("buy", "0.01", "40000"), ORIGIN)

    assert amended.order.order_lots == 5_000
    assert held_after_amend == 2_505 * 10**8  # with the fee of a taker
    assert replaced.order.replaces == placed.order.order_id
    assert placed.order.status == OrderStatus.CANCELED
    assert exchange.service.balances(account)[0].held == 400_80 * 10**6


async def test_a_replacement_that_is_refused_leaves_the_old_order(exchange: Exchange) -> None:
    account = await exchange.account(USD="10000")
    placed = await exchange.place(account, "buy", "0.1", "50000")

    replaced = await exchange.service.replace_order(
        account, str(placed.order.order_id), order("buy", "1", "50000"), ORIGIN
    )

    assert replaced.refused
    assert placed.order.status == OrderStatus.NEW


async def test_canceling_all_cancels_those_of_the_symbol(exchange: Exchange) -> None:
    account = await exchange.account(USD="10000")
    await exchange.place(account, "buy", "0.01", "50000")
    other = await exchange.place(account, "buy", "0.01", "2000", symbol="ETH/USD")

    canceled = await exchange.service.cancel_all(account, "btc-usd", ORIGIN)

    assert [record.symbol for record in canceled] == ["BTC/USD"]
    assert other.order.status == OrderStatus.NEW
    assert len(await exchange.service.cancel_all(account, None, ORIGIN)) == 1
    assert exchange.service.balances(account)[0].held == 0


async def test_an_order_expires_at_its_moment_of_venue_time(exchange: Exchange) -> None:
    account = await exchange.account(USD="10000")
    timer = ExpiryTimer(exchange.service, exchange.clock)
    exchange.venue.expiring = timer.expiring
    timer.start()
    late = await exchange.place(account, "buy", "0.01", "50000", expires_at="2026-01-31T12:00:10Z")
    early = await exchange.place(account, "buy", "0.01", "50000", expires_at="2026-01-31T12:00:05Z")

    await exchange.clock.step(5 * NS_PER_S - 1)
    before = early.order.status
    await exchange.clock.step(1)
    await exchange.sequencer.run_dry()

    assert before == OrderStatus.NEW
    assert (early.order.status, early.order.reason) == (OrderStatus.EXPIRED, RejectReason.EXPIRED)
    assert late.order.status == OrderStatus.NEW
    await exchange.clock.step(5 * NS_PER_S)
    await exchange.sequencer.run_dry()
    assert late.order.status == OrderStatus.EXPIRED
    await timer.stop()


async def test_batch_orders_stand_each_by_itself(exchange: Exchange) -> None:
    account = await exchange.account(USD="1000")
    requests = [order("buy", "0.01", "50000"), order("buy", "0.000001", "50000"), order("buy", "1", "50000")]

    outcomes = await exchange.service.place_orders(account, requests, ORIGIN)

    assert outcomes[0].placement is not None
    assert outcomes[0].placement.order.status == OrderStatus.NEW
    assert isinstance(outcomes[1].failure, InvalidRequest)
    assert outcomes[2].placement is not None
    assert outcomes[2].placement.order.reason == RejectReason.INSUFFICIENT_FUNDS


async def test_accounts_can_be_suspended_and_closed_and_stay_closed(exchange: Exchange) -> None:
    account = await exchange.account(USD="1000")
    name = str(account)
    open_order = await exchange.place(account, "buy", "0.001", "50000")
    await exchange.service.set_account_status(name, 1, ORIGIN)

    refused = await exchange.place(account, "buy", "0.001", "50000")
    canceled = await exchange.service.cancel_order(account, str(open_order.order.order_id), ORIGIN)
    with pytest.raises(Rejected) as not_empty:
        await exchange.service.set_account_status(name, 2, ORIGIN)

    assert refused.order.reason == RejectReason.ACCOUNT_SUSPENDED
    assert canceled.order.status == OrderStatus.CANCELED
    assert not_empty.value.code == "account_not_empty"
    await exchange.service.set_account_status(name, 0, ORIGIN)
    await exchange.service.withdraw(name, TransferRequest(asset="USD", amount="1000"), ORIGIN)
    closed = await exchange.service.set_account_status(name, 2, ORIGIN)
    assert closed.status == 2
    with pytest.raises(Rejected) as reopened:
        await exchange.service.set_account_status(name, 0, ORIGIN)
    assert reopened.value.code == "account_closed"


async def test_the_venues_own_accounts_are_out_of_reach(exchange: Exchange) -> None:
    for account in ("0", "1", "2"):
        with pytest.raises(Forbidden):
            await exchange.service.deposit(account, TransferRequest(asset="USD", amount="1"), ORIGIN)
        with pytest.raises(Forbidden):
            await exchange.service.create_key(account, KeyRequest(), ORIGIN)


async def test_an_idempotency_key_stands_for_one_request(exchange: Exchange) -> None:
    name = str(await exchange.account())
    asked = TransferRequest(asset="USD", amount="10")
    first = await exchange.service.deposit(name, asked, ORIGIN, "once")

    again = await exchange.service.deposit(name, asked, ORIGIN, "once")
    with pytest.raises(Conflict) as other:
        await exchange.service.deposit(name, TransferRequest(asset="USD", amount="11"), ORIGIN, "once")
    created = await exchange.service.create_account(AccountRequest(name="x"), ORIGIN, "account-once")
    recreated = await exchange.service.create_account(AccountRequest(name="x"), ORIGIN, "account-once")

    assert again == first
    assert other.value.code == "idempotency_key_reused"
    assert created.account == recreated.account
    assert exchange.service.balances(int(name))[0].free == 10 * 10**8


async def test_the_ledger_tells_each_posting_with_the_balance_after_it(exchange: Exchange) -> None:
    account = await exchange.account(USD="1000")
    placed = await exchange.place(account, "buy", "0.01", "50000")
    await exchange.service.cancel_order(account, str(placed.order.order_id), ORIGIN)

    entries = (await exchange.service.ledger(LedgerQuery(account=account, oldest_first=True))).items

    told = [(entry.cause, entry.delta_free, entry.delta_held, entry.free, entry.held) for entry in entries]
    assert told == [
        (1, 1000 * 10**8, 0, 1000 * 10**8, 0),
        (3, -501 * 10**8, 501 * 10**8, 499 * 10**8, 501 * 10**8),
        (4, 501 * 10**8, -501 * 10**8, 1000 * 10**8, 0),
    ]
