"""The background order flow at work: through journal, kernel, books, trail and recovery, with a simple law."""

import zlib
from collections.abc import AsyncIterator

import msgspec
import pytest
from exchange_kit import ORIGIN, FaultyJournal
from order_flow_kit import ASK, BID, SLICE_NS, FlowWorld, Settings, connected

from fauxchange.contracts.exchange.messages import KeyRequest, TransferRequest
from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.data.ports import FillQuery, LedgerQuery, OrderQuery, Projection
from fauxchange.domain.errors import DamagedJournal, Forbidden, Unavailable
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.ports import DependencyStatus
from fauxchange.services.exchange.app.offline import rebuild_read_models, verify_stores
from fauxchange.services.exchange.core.commands import withdraw
from fauxchange.services.exchange.core.engine import interpreted
from fauxchange.services.exchange.core.layout import C_TS_NS
from fauxchange.services.exchange.core.vocabulary import FEE_ACCOUNT, Cause, InstrumentStatus
from fauxchange.services.exchange.service import flow, use_cases
from fauxchange.services.exchange.service.entries import Entry, Note, pack_batch, row_of, unpack_batch
from fauxchange.services.exchange.service.exchange import TrailQuery
from fauxchange.services.exchange.service.flow import FLOW_FUNDS, FUNDING_INTERVAL_NS
from fauxchange.services.exchange.service.trail import read_block
from fauxchange.services.exchange.service.verification import Verifier

QUOTES = sorted((side, price) for away in range(3) for side, price in ((0, BID - away), (1, ASK + away)))


async def trail_hash_of(world: FlowWorld, data: MemoryDataAdapter) -> str:
    """Return the hash of the last record of the trail."""
    await world.exchange.projector.flush()
    last = await data.exchange.last_trail()
    assert last is not None
    return last.hash


@pytest.fixture
async def data() -> AsyncIterator[MemoryDataAdapter]:
    adapter = await connected()
    yield adapter
    await adapter.disconnect()


@pytest.fixture
async def world(data: MemoryDataAdapter) -> AsyncIterator[FlowWorld]:
    world = await FlowWorld(data).start()
    yield world
    await world.crash()


async def test_a_slice_is_one_batch_that_everybody_sees_in_book_and_trades(world: FlowWorld) -> None:
    batches, sequence = world.exchange.sequencer.batches, world.venue.sequence

    await world.slices(3)

    assert world.exchange.sequencer.batches == batches + 3
    assert world.venue.sequence > sequence + 3 * 6
    assert [price for price, _ in world.venue.books[0].book.best(0, 9)] == [BID, BID - 1, BID - 2]
    assert [price for price, _ in world.venue.books[0].book.best(1, 9)] == [ASK, ASK + 1, ASK + 2]
    assert world.venue.books[0].sequence == 3
    assert len(world.venue.trades[0].recent) in {1, 2}
    assert world.metric("exchange_flow_slices_total") == 3


async def test_commands_keep_the_times_that_they_are_meant_to_have(world: FlowWorld, data: MemoryDataAdapter) -> None:
    begun = world.clock.now_ns()

    await world.slices(1)

    record = [record async for record in world.exchange.service.trail(TrailQuery())][-1]
    assert record.slice is not None
    assert record.slice.first_ns == begun + 1
    assert record.slice.last_ns == begun + SLICE_NS == world.clock.now_ns()


async def test_background_orders_are_in_no_read_model_and_one_record_of_the_trail_is_a_slice(
    world: FlowWorld, data: MemoryDataAdapter
) -> None:
    await world.slices(4)

    await world.exchange.projector.flush()
    background = set(world.venue.registry.background.numbers)
    records = [record.cloud_event() async for record in world.exchange.service.trail(TrailQuery())]
    slices = [record for record in records if record["type"] == "fauxchange.exchange.order_flow"]
    assert not (await data.exchange.orders(OrderQuery())).items
    assert not (await data.exchange.fills(FillQuery())).items
    for account in (*background, FEE_ACCOUNT):
        assert not (await data.exchange.ledger(LedgerQuery(account=account))).items
    assert len(slices) == 4
    assert slices[0]["actor"] == "flow"
    assert slices[0]["data"]["command"]["commands"] == 7
    assert not slices[0]["data"]["events"]
    assert sum(amount for sum_of in world.exchange.sums().values() for amount in sum_of) == 0


async def test_who_trades_with_a_background_order_gets_everything_that_he_always_gets(
    world: FlowWorld, data: MemoryDataAdapter
) -> None:
    buyer = await world.exchange.account(USD="100000")
    await world.slices(1)

    placed = await world.exchange.place(buyer, "buy", "0.005")

    await world.exchange.projector.flush()
    ledger = (await data.exchange.ledger(LedgerQuery(account=buyer))).items
    assert placed.order.cum_lots == 500
    assert [fill.last_ticks for fill in placed.fills] == [ASK]
    assert {entry.cause for entry in ledger} == {Cause.DEPOSIT, Cause.RESERVE, Cause.TRADE, Cause.FEE}
    fills = (await data.exchange.fills(FillQuery())).items
    assert [fill.account for fill in fills] == [buyer]
    assert sum(amount for sum_of in world.exchange.sums().values() for amount in sum_of) == 0


async def test_an_order_that_a_background_order_takes_is_filled_and_told(
    world: FlowWorld, data: MemoryDataAdapter
) -> None:
    seller = await world.exchange.account(BTC="1")
    topics = world.venue.private_topics(seller)
    # One tick above the bid: whoever buys meets it, and whoever quotes asks behind it.
    placed = await world.exchange.place(seller, "sell", "0.00001", "60000.01")
    told = topics.orders.sequence

    await world.slices(4)

    record = await world.exchange.stored_order(placed.order.order_id)
    assert record.cum_lots == 1
    assert not record.leaves_lots
    assert topics.orders.sequence == told + 1
    trades = await world.exchange.service.trades(FillQuery(symbol="BTC/USD", taker_only=True))
    assert [fill.account in world.venue.registry.background for fill in trades.items] == [True]
    slices = [record async for record in world.exchange.service.trail(TrailQuery(account=seller))]
    assert slices[-1].slice is not None
    assert slices[-1].events


async def test_the_flow_hears_of_what_others_do(world: FlowWorld) -> None:
    buyer = await world.exchange.account(USD="100000")
    await world.slices(1)
    heard = world.laws[0].foreign_batches

    await world.exchange.place(buyer, "buy", "0.005")

    assert world.laws[0].foreign_batches == heard + 1


async def test_orders_are_pulled_while_the_price_is_stale_and_come_back(world: FlowWorld) -> None:
    await world.slices(1)
    quoted = world.own_orders()

    await world.clock.run_until(world.clock.now_ns() + 6 * NS_PER_S)
    stale, health = world.own_orders(), world.flow.health()
    world.feed(BID + 100, ASK + 100)
    await world.slices(1)

    assert quoted == QUOTES
    assert not stale
    assert health.status is DependencyStatus.DEGRADED
    assert (0, BID + 100) in world.own_orders()
    assert world.flow.health().status is DependencyStatus.OK
    assert world.metric("exchange_flow_pulls_total") == 1


async def test_orders_are_pulled_while_trading_is_halted_and_come_back(world: FlowWorld) -> None:
    await world.slices(1)

    await world.exchange.service.set_instrument_status("BTC/USD", InstrumentStatus.HALTED, ORIGIN)
    await world.slices(1)
    halted, health = world.own_orders(), world.flow.health()
    await world.exchange.service.set_instrument_status("BTC/USD", InstrumentStatus.OPEN, ORIGIN)
    await world.slices(1)

    assert not halted
    assert health.status is DependencyStatus.OK, "a halt is what was asked for"
    assert world.own_orders() == QUOTES
    assert world.metric("exchange_flow_refusals_total") == 0


async def test_orders_are_pulled_at_the_end(data: MemoryDataAdapter) -> None:
    world = await FlowWorld(data).start()
    await world.slices(2)

    await world.stop()

    assert not world.own_orders()


async def test_before_the_first_price_nothing_is_placed_and_nothing_is_complained_of(data: MemoryDataAdapter) -> None:
    world = await FlowWorld(data).start(bid=0)

    await world.slices(2)

    assert not world.own_orders()
    assert world.metric("exchange_flow_pulls_total") == 0
    await world.crash()


@pytest.mark.parametrize("fault", ["fail_before", "fail_after"])
async def test_the_flow_goes_on_after_a_batch_that_the_journal_failed_to_store(
    data: MemoryDataAdapter, fault: str
) -> None:
    journal = FaultyJournal(data.journal)
    world = await FlowWorld(data, journal=journal).start()
    await world.slices(2)
    sequence = world.venue.sequence
    setattr(journal, fault, 1)

    await world.slices(4)

    assert world.venue.sequence > sequence
    assert world.own_orders() == QUOTES
    assert (world.metric("exchange_flow_refusals_total") > 0) == (fault == "fail_before")
    assert world.exchange.hash() == (await verify_stores(data, compiler=interpreted)).state_hash
    await world.crash()


async def test_orders_that_the_journal_kept_from_being_pulled_are_pulled_with_the_next_slice(
    data: MemoryDataAdapter,
) -> None:
    journal = FaultyJournal(data.journal)
    world = await FlowWorld(data, journal=journal).start()
    await world.slices(2)
    await world.exchange.service.set_instrument_status("BTC/USD", InstrumentStatus.CANCEL_ONLY, ORIGIN)
    journal.fail_before = 1

    await world.slices(1)
    left = world.own_orders()
    await world.slices(2)

    assert left == QUOTES
    assert not world.own_orders()
    await world.crash()


class StuckStore:
    """Read models that store nothing."""

    async def store(self, projection: Projection) -> None:
        raise Unavailable("the disk is full")


async def test_the_flow_stops_before_others_are_refused_because_read_models_are_far_behind(
    world: FlowWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "MAX_BEHIND", 60)
    monkeypatch.setattr(use_cases, "MAX_BEHIND", 60)
    stored, world.exchange.projector._store = world.exchange.projector._store, StuckStore()

    await world.slices(10)
    behind = world.exchange.projector.behind
    account = await world.exchange.account(USD="1000")
    world.exchange.projector._store = stored
    skipped = world.metric("exchange_flow_slices_skipped_total")
    await world.slices(2)

    assert 30 < behind < 30 + 14
    assert world.venue.balance(account, 1).free
    assert skipped > 0
    assert world.metric("exchange_flow_slices_skipped_total") == skipped


async def test_after_a_crash_the_flow_goes_on_with_the_orders_that_it_had(data: MemoryDataAdapter) -> None:
    world = await FlowWorld(data).start()
    await world.slices(3)
    await world.exchange.projector.flush()
    await world.slices(2)
    known, trail_hash = world.exchange.hash(), await trail_hash_of(world, data)
    await world.crash()

    again = await FlowWorld(data, clock=world.clock).start(bid=0)
    recovered, recovered_trail = again.exchange.hash(), await trail_hash_of(again, data)
    again.feed(BID + 1, ASK + 1)
    await again.slices(1)

    assert (recovered, recovered_trail) == (known, trail_hash)
    assert again.venue.registry.background.numbers == world.venue.registry.background.numbers
    assert again.own_orders() == [(side, price + 1) for side, price in QUOTES]
    await again.crash()


async def test_what_is_stored_of_the_flow_verifies_and_is_rebuilt_the_same(data: MemoryDataAdapter) -> None:
    world = await FlowWorld(data).start()
    seller = await world.exchange.account(BTC="1")
    await world.exchange.place(seller, "sell", "0.00001", "60000.01")
    await world.slices(5)
    await world.stop()
    trail_hash = await trail_hash_of(world, data)
    position, document = await data.exchange.position()

    verified = await verify_stores(data, compiler=interpreted)
    await rebuild_read_models(data, compiler=interpreted)

    assert verified.commands == world.venue.sequence
    assert verified.records < verified.commands
    assert verified.trail_hash == trail_hash
    assert await data.exchange.position() == (position, document)
    last = await data.exchange.last_trail()
    assert last is not None
    assert last.hash == verified.trail_hash


async def test_a_slice_that_was_tampered_with_is_found(data: MemoryDataAdapter) -> None:
    world = await FlowWorld(data).start()
    await world.slices(2)
    await world.stop()
    block = await data.exchange.last_trail()
    assert block is not None
    packed = msgspec.msgpack.decode(zlib.decompress(block.payload))
    assert any(record.slice is not None for record in read_block(block))
    # The number of events that a slice has led to.
    packed[-1][0][1][6] += 1
    changed = msgspec.structs.replace(block, payload=zlib.compress(msgspec.msgpack.encode(packed)))

    with pytest.raises(DamagedJournal, match="do not have the hash"):
        list(read_block(changed))


async def test_a_journal_that_cannot_be_carried_out_is_damaged(data: MemoryDataAdapter) -> None:
    world = await FlowWorld(data).start()
    await world.slices(2)
    await world.stop()
    forged = await connected()
    async for batches in data.journal.read():
        for batch in batches:
            payload = batch.payload
            if batch.last_sequence == world.venue.sequence:
                # The journal's hashes are right again, but time goes back.
                changed = unpack_batch(payload)
                changed.matrix[:, C_TS_NS] -= 3600 * NS_PER_S
                payload = pack_batch(changed)
            await forged.journal.append(batch.first_sequence, batch.last_sequence, payload)
    verifier = Verifier(forged.journal, data.kernel_snapshots, data.exchange, compiler=interpreted)

    with pytest.raises(DamagedJournal, match="time never goes back"):
        await verifier.verify()

    await forged.disconnect()


async def test_background_accounts_are_the_venues_own(world: FlowWorld) -> None:
    first = next(iter(world.venue.registry.background.numbers))
    service = world.exchange.service

    with pytest.raises(Forbidden):
        await service.create_key(str(first), KeyRequest(label="mine"), ORIGIN)
    with pytest.raises(Forbidden):
        await service.withdraw(str(first), TransferRequest(asset="USD", amount="1"), ORIGIN)

    assert service.account(str(first)).name == "background maker 1"
    assert {balance.asset for balance in service.balances(first)} == {"BTC", "USD", "ETH"}


async def test_accounts_that_run_low_are_given_more(world: FlowWorld) -> None:
    first = next(iter(world.venue.registry.background.numbers))
    await world.slices(1)
    taken = FLOW_FUNDS * 9 // 10
    world.exchange.service.submit(Entry(row_of(withdraw(first, 1, taken)), Note(ORIGIN)))
    await world.exchange.sequencer.run_dry()
    low = world.venue.balance(first, 1)

    await world.clock.run_until(world.clock.now_ns() + FUNDING_INTERVAL_NS + SLICE_NS)

    now = world.venue.balance(first, 1)
    assert low.free + low.held < FLOW_FUNDS // 4
    assert now.free + now.held > FLOW_FUNDS * 9 // 10


async def test_orders_of_an_earlier_run_are_pulled_where_there_is_no_flow_any_more(data: MemoryDataAdapter) -> None:
    world = await FlowWorld(data).start()
    await world.slices(1)
    await world.crash()
    settings = Settings()
    settings.flow = {}

    again = await FlowWorld(data, clock=world.clock, settings=settings).start()

    assert world.own_orders() == QUOTES
    assert not again.own_orders()
    await again.crash()


async def test_two_runs_of_the_same_story_are_the_same_to_the_last_bit(data: MemoryDataAdapter) -> None:
    hashes = []
    for _ in range(2):
        stores = await connected()
        world = await FlowWorld(stores).start()
        buyer = await world.exchange.account(USD="100000")
        await world.slices(2)
        await world.clock.run_until(world.clock.now_ns() + SLICE_NS // 3)
        await world.exchange.place(buyer, "buy", "0.005")
        await world.slices(3)
        await world.stop()
        hashes.append((world.exchange.hash(), await trail_hash_of(world, stores)))
        await stores.disconnect()

    assert hashes[0] == hashes[1]
