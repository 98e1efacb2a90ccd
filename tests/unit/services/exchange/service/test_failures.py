"""What stays true when storing fails at a bad moment, and when keys and names are used again."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from exchange_kit import ORIGIN, Exchange, FaultyJournal, order

from fauxchange.contracts.exchange.messages import TransferRequest
from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.data.ports import KernelSnapshot
from fauxchange.domain.errors import DamagedJournal, NotFound, Unavailable
from fauxchange.domain.orders import CLIENT_ORDER_ID_KEPT_NS
from fauxchange.domain.times import NS_PER_S
from fauxchange.services.exchange.app.offline import verify_stores
from fauxchange.services.exchange.core.engine import interpreted
from fauxchange.services.exchange.core.vocabulary import OrderStatus
from fauxchange.services.exchange.service.expiry import ExpiryTimer
from fauxchange.services.exchange.service.requests import Outcome


@pytest.fixture
async def data() -> AsyncIterator[MemoryDataAdapter]:
    adapter = MemoryDataAdapter()
    await adapter.connect()
    yield adapter
    await adapter.disconnect()


@pytest.fixture
async def journal(data: MemoryDataAdapter) -> FaultyJournal:
    return FaultyJournal(data.journal)


@pytest.fixture
async def exchange(data: MemoryDataAdapter, journal: FaultyJournal) -> Exchange:
    return await Exchange(data, journal=journal).start()


async def _settled(exchange: Exchange) -> None:
    while exchange.tasks:
        await asyncio.wait(exchange.tasks)
    await exchange.sequencer.run_dry()


async def test_what_is_submitted_while_a_failure_is_cleared_up_is_stored_once(
    exchange: Exchange, journal: FaultyJournal, data: MemoryDataAdapter
) -> None:
    account = await exchange.account(USD="1000000")
    answers: list[Outcome] = []

    def again(outcome: Outcome) -> None:
        answers.append(outcome)
        exchange.service.submit_order(account, order("buy", "0.003", "50000"), ORIGIN, answers.append)

    journal.fail_after = 1
    exchange.service.submit_order(account, order("buy", "0.001", "50000", client_order_id="a"), ORIGIN, again)
    exchange.service.submit_cancel(account, "client:a", ORIGIN, answers.append)
    await _settled(exchange)
    placed = await exchange.place(account, "buy", "0.002", "50000")
    await _settled(exchange)

    assert len(answers) == 3
    assert placed.order.status == OrderStatus.NEW
    await exchange.stop()
    restarted = await Exchange(data).start()
    assert restarted.hash() == exchange.hash()
    assert (await verify_stores(data, compiler=interpreted)).state_hash == exchange.hash()


async def test_an_order_expires_although_storing_failed_at_its_moment(
    exchange: Exchange, journal: FaultyJournal
) -> None:
    account = await exchange.account(USD="1000000")
    timer = ExpiryTimer(exchange.service, exchange.clock)
    exchange.venue.expiring = timer.expiring
    timer.start()
    placed = await exchange.place(account, "buy", "0.01", "50000", expires_at="2026-01-31T12:00:05Z")
    journal.fail_before = 1

    await exchange.clock.step(5 * NS_PER_S)
    await _settled(exchange)
    missed = placed.order.status
    await exchange.clock.step(2 * NS_PER_S)
    await _settled(exchange)

    assert missed == OrderStatus.NEW
    assert placed.order.status == OrderStatus.EXPIRED
    await timer.stop()


async def test_nobody_is_told_that_there_is_no_such_order_while_nobody_knows(
    exchange: Exchange, journal: FaultyJournal
) -> None:
    account = await exchange.account(USD="1000000")
    journal.fail_after, journal.blind = 1, True
    with pytest.raises(Unavailable):
        await exchange.place(account, "buy", "0.001", "50000", client_order_id="mine")

    with pytest.raises(Unavailable) as asked:
        await exchange.service.order(account, "client:mine")
    with pytest.raises(Unavailable):
        await exchange.service.cancel_order(account, "client:mine", ORIGIN)
    journal.blind = False
    await _settled(exchange)

    assert asked.value.code == "outcome_unknown"
    assert (await exchange.service.order(account, "client:mine")).order.status == OrderStatus.NEW
    with pytest.raises(NotFound):
        await exchange.service.order(account, "client:other")


async def test_an_idempotency_key_is_free_again_when_nothing_was_taken(
    exchange: Exchange, journal: FaultyJournal
) -> None:
    account = str(await exchange.account())
    deposit = TransferRequest(asset="USD", amount="5")
    journal.fail_before = 1
    with pytest.raises(Unavailable):
        await exchange.service.deposit(account, deposit, ORIGIN, "once")

    await exchange.service.deposit(account, deposit, ORIGIN, "once")
    await exchange.service.deposit(account, deposit, ORIGIN, "once")

    assert exchange.service.balances(int(account))[0].free == 5 * 10**8


async def test_keys_and_names_used_again_after_a_day_are_known_after_a_restart(
    exchange: Exchange, data: MemoryDataAdapter
) -> None:
    account = await exchange.account(USD="1000000")
    deposit = TransferRequest(asset="USD", amount="5")
    for _ in range(2):
        await exchange.service.deposit(str(account), deposit, ORIGIN, "again")
        await exchange.place(account, "buy", "0.001", "50000", client_order_id="again")
        await exchange.service.cancel_order(account, "client:again", ORIGIN)
        await exchange.clock.step(CLIENT_ORDER_ID_KEPT_NS + NS_PER_S)
    await exchange.service.deposit(str(account), deposit, ORIGIN, "again")
    last = await exchange.place(account, "buy", "0.001", "50000", client_order_id="again")
    before = exchange.service.balances(account)
    await exchange.stop()
    # Everything is followed anew, a day in a moment.
    await data.exchange.clear()
    restarted = await Exchange(data, clock=exchange.clock).start()

    await restarted.service.deposit(str(account), deposit, ORIGIN, "again")
    repeated = await restarted.place(account, "buy", "0.001", "50000", client_order_id="again")

    assert restarted.service.balances(account) == before
    assert repeated.repeated
    assert repeated.order.order_id == last.order.order_id


async def test_an_order_keeps_its_fills_when_it_has_left_memory(exchange: Exchange) -> None:
    seller, buyer = await exchange.account(BTC="1"), await exchange.account(USD="100000")
    await exchange.place(seller, "sell", "0.5", "60000")
    taken = await exchange.place(buyer, "buy", "0.2", client_order_id="t")
    await exchange.projector.flush()

    asked = await exchange.service.order(buyer, str(taken.order.order_id))
    again = await exchange.place(buyer, "buy", "0.2", client_order_id="t")

    assert [fill.last_lots for fill in asked.fills] == [20_000]
    assert [fill.last_lots for fill in again.fills] == [20_000]


async def test_a_snapshot_that_cannot_be_loaded_is_named(exchange: Exchange, data: MemoryDataAdapter) -> None:
    await exchange.account(USD="1")
    await exchange.stop()
    sequence = exchange.venue.sequence
    await data.kernel_snapshots.save(KernelSnapshot(sequence, 0, exchange.hash(), b"garbage"))

    with pytest.raises(DamagedJournal, match=f"snapshot after command {sequence}"):
        await verify_stores(data, compiler=interpreted)
