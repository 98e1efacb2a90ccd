"""What the sequencer promises about order, durability and failure; the journal is the real one in memory."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from exchange_kit import ORIGIN, Exchange, FaultyJournal, order
from redis_kit import eventually

from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.domain.errors import Conflict, Unavailable
from fauxchange.services.exchange.core.commands import cancel
from fauxchange.services.exchange.service.entries import Block, Note, row_of
from fauxchange.services.exchange.service.requests import Outcome
from fauxchange.services.exchange.service.sequencer import ENOUGH, TURNS


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


async def _batches(data: MemoryDataAdapter, after: int) -> list[tuple[int, int]]:
    return [
        (batch.first_sequence, batch.last_sequence) async for batches in data.journal.read(after) for batch in batches
    ]


async def test_what_arrives_in_one_turn_is_one_batch(exchange: Exchange, data: MemoryDataAdapter) -> None:
    account = await exchange.account(USD="1000000")
    before = exchange.venue.sequence

    await asyncio.gather(*(exchange.place(account, "buy", "0.001", "50000") for _ in range(5)))

    assert await _batches(data, before) == [(before + 1, before + 5)]


async def test_what_arrives_while_a_batch_is_stored_is_the_next_one(
    exchange: Exchange, data: MemoryDataAdapter, journal: FaultyJournal
) -> None:
    account = await exchange.account(USD="1000000")
    before = exchange.venue.sequence
    journal.hold()
    first = asyncio.ensure_future(exchange.place(account, "buy", "0.001", "50000"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.ensure_future(exchange.place(account, "buy", "0.001", "50000")) for _ in range(3)]
    await asyncio.sleep(0)

    journal.let_go()
    await asyncio.gather(first, *others)

    assert await _batches(data, before) == [(before + 1, before + 1), (before + 2, before + 4)]


async def test_while_turns_bring_more_they_are_gathered_but_not_for_long(
    exchange: Exchange, data: MemoryDataAdapter, journal: FaultyJournal
) -> None:
    account = await exchange.account(USD="1000000")
    before = exchange.venue.sequence
    journal.hold()
    placed = []

    for _ in range(TURNS + 4):
        placed.append(asyncio.ensure_future(exchange.place(account, "buy", "0.001", "50000")))
        await asyncio.sleep(0)
    waiting = exchange.sequencer.waiting
    journal.let_go()
    await asyncio.gather(*placed)

    first, second = await _batches(data, before)
    assert waiting == TURNS + 4
    # The first command opens the batch, and each of the turns brings one more.
    assert first == (before + 1, before + 1 + TURNS)
    assert second == (before + 2 + TURNS, before + TURNS + 4)


async def test_enough_commands_are_stored_without_waiting_for_more(
    exchange: Exchange, data: MemoryDataAdapter, journal: FaultyJournal
) -> None:
    account = await exchange.account(USD="1000000")
    before = exchange.venue.sequence
    journal.hold()
    placed = [asyncio.ensure_future(exchange.place(account, "buy", "0.001", "50000")) for _ in range(ENOUGH)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    placed.append(asyncio.ensure_future(exchange.place(account, "buy", "0.001", "50000")))
    await asyncio.sleep(0)

    journal.let_go()
    await asyncio.gather(*placed)

    assert await _batches(data, before) == [(before + 1, before + ENOUGH), (before + ENOUGH + 1, before + ENOUGH + 1)]


async def test_nothing_is_acknowledged_nor_carried_out_before_it_is_stored(
    exchange: Exchange, journal: FaultyJournal
) -> None:
    account = await exchange.account(USD="1000000")
    before = exchange.hash()
    journal.hold()

    waiting = asyncio.ensure_future(exchange.place(account, "buy", "0.001", "50000"))
    for _ in range(10):
        await asyncio.sleep(0)

    assert not waiting.done()
    assert exchange.hash() == before
    journal.let_go()
    assert (await waiting).order.status == 0


async def test_venue_time_stands_still_from_the_command_to_its_answer(
    exchange: Exchange, journal: FaultyJournal
) -> None:
    account = await exchange.account(USD="1000000")
    journal.hold()
    waiting = asyncio.ensure_future(exchange.place(account, "buy", "0.001", "50000"))
    await asyncio.sleep(0)

    assert exchange.clock.outstanding == 1

    journal.let_go()
    await waiting
    await exchange.sequencer.run_dry()
    assert exchange.clock.outstanding == 0


async def test_what_could_not_be_stored_is_refused_and_never_happens(
    exchange: Exchange, journal: FaultyJournal
) -> None:
    account = await exchange.account(USD="1000000")
    before = exchange.hash()
    journal.fail_before = 1

    with pytest.raises(Unavailable) as caught:
        await exchange.place(account, "buy", "0.001", "50000", client_order_id="mine")

    assert caught.value.code == "journal_unavailable"
    assert caught.value.retry_after_s is not None
    assert exchange.hash() == before
    # The id is free again, and the exchange takes orders again.
    again = await exchange.place(account, "buy", "0.002", "50000", client_order_id="mine")
    assert again.order.status == 0
    assert not again.repeated


async def test_what_was_stored_although_storing_failed_is_acknowledged(
    exchange: Exchange, journal: FaultyJournal
) -> None:
    account = await exchange.account(USD="1000000")
    journal.fail_after = 1

    placed = await exchange.place(account, "buy", "0.001", "50000", client_order_id="mine")

    assert placed.order.status == 0
    again = await exchange.place(account, "buy", "0.001", "50000", client_order_id="mine")
    assert again.repeated
    assert again.order.order_id == placed.order.order_id


async def test_an_unknown_outcome_is_told_as_such_and_found_out_later(
    exchange: Exchange, journal: FaultyJournal
) -> None:
    account = await exchange.account(USD="1000000")
    journal.fail_after, journal.blind = 1, True

    with pytest.raises(Unavailable) as caught:
        await exchange.place(account, "buy", "0.001", "50000", client_order_id="mine")
    with pytest.raises(Unavailable) as meanwhile:
        await exchange.place(account, "buy", "0.001", "50000", client_order_id="other")
    journal.blind = False
    while exchange.sequencer.health().detail:
        await asyncio.wait(exchange.tasks)

    assert caught.value.code == "outcome_unknown"
    assert meanwhile.value.code == "journal_unavailable"
    found = await exchange.service.order(account, "client:mine")
    assert found.order.status == 0
    assert (await exchange.place(account, "buy", "0.001", "50000", client_order_id="mine")).repeated


async def test_a_journal_that_another_has_taken_over_leaves_nobody_waiting(
    exchange: Exchange, journal: FaultyJournal
) -> None:
    account = await exchange.account(USD="1000000")
    journal.fail_before = 1
    journal.lost = Conflict("another process has gone on with it", code="journal_taken_over")
    failed: list[BaseException | None] = []
    exchange.task_over = lambda task: failed.append(task.exception())

    async with asyncio.timeout(30):
        with pytest.raises(Unavailable) as told:
            await exchange.place(account, "buy", "0.001", "50000")
        await exchange.sequencer.close()
    await eventually(lambda: failed)

    assert failed == [journal.lost]
    assert told.value.code == "outcome_unknown"
    assert "another process" in exchange.sequencer.health().detail


async def test_a_full_queue_refuses_and_takes_nothing_of_what_it_refuses(exchange: Exchange) -> None:
    account = await exchange.account(USD="1000000")
    outcomes: list[Outcome] = []
    for _ in range(10_000):
        exchange.service.submit_order(account, order("buy", "0.00001", "50000"), ORIGIN, outcomes.append)

    with pytest.raises(Unavailable) as caught:
        exchange.service.submit_order(account, order("buy", "0.00001", "50000"), ORIGIN, outcomes.append)

    assert caught.value.code == "queue_full"
    await exchange.sequencer.run_dry()
    assert len(outcomes) == 10_000
    assert len({outcome.placement.order.order_id for outcome in outcomes if outcome.placement}) == 10_000


async def test_a_block_counts_as_one_command_however_large(exchange: Exchange) -> None:
    account = await exchange.account(USD="1000000")
    rows = np.tile(np.array(row_of(cancel(account, 999_999)), dtype=np.int64), (10_001, 1))
    refused: list[Block] = []
    exchange.service.submit(Block(rows, Note(ORIGIN), refused.append))

    placed = await exchange.place(account, "buy", "0.00001", "50000")

    assert placed.order.order_id
    assert [block.failure for block in refused] == [None]


async def test_closing_finishes_what_was_taken_in_and_refuses_the_rest(exchange: Exchange) -> None:
    account = await exchange.account(USD="1000000")
    waiting = [asyncio.ensure_future(exchange.place(account, "buy", "0.001", "50000")) for _ in range(3)]
    await asyncio.sleep(0)

    await exchange.sequencer.close()

    assert [placement.order.status for placement in await asyncio.gather(*waiting)] == [0, 0, 0]
    with pytest.raises(Unavailable):
        await exchange.place(account, "buy", "0.001", "50000")
