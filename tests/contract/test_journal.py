"""What every store of the exchange's journal and of its kernel's snapshots promises."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from fauxchange.data.ports import DataAdapter, JournalBatch, KernelSnapshot
from fauxchange.domain.audit import GENESIS_HASH
from fauxchange.domain.errors import Conflict, DamagedJournal, Unavailable

OpenAgain = Callable[[], Awaitable[DataAdapter]]


def payload(sequence: int, size: int = 10) -> bytes:
    return f"batch {sequence} ".encode() * size


async def fill(adapter: DataAdapter, lengths: list[int], *, after: int = 0) -> None:
    for length in lengths:
        await adapter.journal.append(after + 1, after + length, payload(after + 1, length))
        after += length


async def batches(adapter: DataAdapter, after: int = 0) -> list[JournalBatch]:
    return [batch async for some in adapter.journal.read(after) for batch in some]


def spans(found: list[JournalBatch]) -> list[tuple[int, int]]:
    return [(batch.first_sequence, batch.last_sequence) for batch in found]


async def outcome_of(adapter: DataAdapter, first: int, last: int) -> Exception | None:
    told: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    adapter.journal.append_soon(first, last, payload(first), told.set_result)
    assert not told.done()
    return await told


def snapshot(sequence: int, size: int = 100) -> KernelSnapshot:
    return KernelSnapshot(sequence, sequence * 1_000, f"hash of {sequence}", bytes(range(256)) * size)


async def test_empty_journal_ends_with_0_and_has_nothing_to_read(adapter: DataAdapter) -> None:
    assert await adapter.journal.last_sequence() == 0
    assert await batches(adapter) == []


async def test_batches_come_back_as_they_were_appended(adapter: DataAdapter) -> None:
    await fill(adapter, [1, 3, 2_000, 1])

    found = await batches(adapter)

    assert spans(found) == [(1, 1), (2, 4), (5, 2_004), (2_005, 2_005)]
    assert [batch.payload for batch in found] == [payload(1, 1), payload(2, 3), payload(5, 2_000), payload(2_005, 1)]
    assert await adapter.journal.last_sequence() == 2_005


async def test_empty_payload_and_payload_of_every_byte_come_back(adapter: DataAdapter) -> None:
    contents = [b"", bytes(range(256)), hashlib.shake_256(b"seed").digest(300_000)]

    for index, content in enumerate(contents):
        await adapter.journal.append(index + 1, index + 1, content)

    assert [batch.payload for batch in await batches(adapter)] == contents


async def test_hashes_chain_the_batches_over_sequences_and_payload(adapter: DataAdapter) -> None:
    await fill(adapter, [1, 3, 2])

    found = await batches(adapter)

    assert found[0].prev_hash == GENESIS_HASH
    assert all(after.prev_hash == before.hash for before, after in pairwise(found))
    second = found[1]
    text = f"{second.prev_hash} 2 4\n".encode() + second.payload
    assert second.hash == hashlib.sha256(text).hexdigest()


async def test_reading_goes_on_after_a_sequence_that_ends_a_batch(adapter: DataAdapter) -> None:
    await fill(adapter, [1, 3, 2])

    assert spans(await batches(adapter, 1)) == [(2, 4), (5, 6)]
    assert spans(await batches(adapter, 4)) == [(5, 6)]
    assert await batches(adapter, 6) == []


@pytest.mark.parametrize(("after", "named"), [(3, "4"), (7, "6"), (99, "6")])
async def test_reading_after_a_sequence_that_ends_no_batch_is_damage(
    adapter: DataAdapter, after: int, named: str
) -> None:
    await fill(adapter, [1, 3, 2])

    with pytest.raises(DamagedJournal, match=rf"sequence {after}, .* ends with {named}") as damage:
        await batches(adapter, after)

    assert damage.value.code == "damaged_journal"


async def test_reading_an_empty_journal_after_a_sequence_is_damage(adapter: DataAdapter) -> None:
    with pytest.raises(DamagedJournal, match="ends with 0"):
        await batches(adapter, 5)


async def test_large_journals_are_read_some_at_a_time(adapter: DataAdapter) -> None:
    for sequence in range(1, 11):
        await adapter.journal.append(sequence, sequence, bytes(1_000_000))

    sizes = [sum(len(batch.payload) for batch in some) async for some in adapter.journal.read()]

    assert sum(sizes) == 10_000_000
    assert max(sizes) <= 6_000_000


async def test_appends_go_on_while_the_journal_is_read(adapter: DataAdapter) -> None:
    for sequence in range(1, 11):
        await adapter.journal.append(sequence, sequence, bytes(1_000_000))
    found: list[int] = []

    async for some in adapter.journal.read():
        if len(found) < 12:
            last = await adapter.journal.last_sequence()
            await adapter.journal.append(last + 1, last + 1, b"later")
        found += [batch.first_sequence for batch in some]

    assert found == list(range(1, len(found) + 1))
    assert len(found) > 10


async def test_reading_may_stop_early(adapter: DataAdapter) -> None:
    for sequence in range(1, 11):
        await adapter.journal.append(sequence, sequence, bytes(1_000_000))
    reading = adapter.journal.read()

    async for _ in reading:
        break

    await adapter.journal.append(11, 11, b"later")
    assert await adapter.journal.last_sequence() == 11


@pytest.mark.parametrize(("first", "last"), [(6, 6), (8, 8), (1, 9), (7, 6), (0, 0)])
async def test_batch_that_does_not_follow_the_last_is_refused(adapter: DataAdapter, first: int, last: int) -> None:
    await fill(adapter, [4, 2])

    with pytest.raises(Conflict):
        await adapter.journal.append(first, last, b"x")

    assert spans(await batches(adapter)) == [(1, 4), (5, 6)]
    await fill(adapter, [1], after=6)
    assert await adapter.journal.last_sequence() == 7


async def test_append_soon_tells_its_outcome_on_the_event_loop(adapter: DataAdapter) -> None:
    assert await outcome_of(adapter, 1, 2) is None
    assert isinstance(await outcome_of(adapter, 1, 2), Conflict)
    assert await outcome_of(adapter, 3, 3) is None

    assert spans(await batches(adapter)) == [(1, 2), (3, 3)]


async def test_appends_handed_over_at_once_are_stored_and_told_in_order(adapter: DataAdapter) -> None:
    told: list[int] = []
    failures: list[Exception | None] = []
    whole = asyncio.Event()

    def done(sequence: int, failure: Exception | None) -> None:
        told.append(sequence)
        failures.append(failure)
        if sequence == 200:
            whole.set()

    for sequence in range(1, 201):
        adapter.journal.append_soon(
            sequence, sequence, payload(sequence), lambda failure, own=sequence: done(own, failure)
        )
    await whole.wait()

    assert told == list(range(1, 201))
    assert set(failures) == {None}
    assert spans(await batches(adapter)) == [(sequence, sequence) for sequence in range(1, 201)]


async def test_refused_append_among_others_leaves_them_unharmed(adapter: DataAdapter) -> None:
    outcomes = await asyncio.gather(
        *(outcome_of(adapter, first, last) for first, last in ((1, 1), (2, 3), (3, 3), (4, 4), (4, 5), (5, 5)))
    )

    assert [type(outcome).__name__ for outcome in outcomes] == [
        "NoneType",
        "NoneType",
        "Conflict",
        "NoneType",
        "Conflict",
        "NoneType",
    ]
    assert spans(await batches(adapter)) == [(1, 1), (2, 3), (4, 4), (5, 5)]


async def test_last_sequence_is_behind_the_appends_before_it(adapter: DataAdapter) -> None:
    ignored: list[Exception | None] = []
    for sequence in range(1, 51):
        adapter.journal.append_soon(sequence, sequence, b"x", ignored.append)

    assert await adapter.journal.last_sequence() == 50


async def test_chain_goes_on_after_opening_again(open_again: OpenAgain) -> None:
    before = await open_again()
    await fill(before, [1, 3])

    after = await open_again()

    assert await after.journal.last_sequence() == 4
    with pytest.raises(Conflict):
        await after.journal.append(4, 4, b"x")
    await fill(after, [2], after=4)
    assert spans(await batches(after)) == [(1, 1), (2, 4), (5, 6)]


async def test_closed_journal_is_unavailable(open_again: OpenAgain) -> None:
    adapter = await open_again()
    await fill(adapter, [1])
    await adapter.disconnect()

    with pytest.raises(Unavailable):
        await adapter.journal.append(2, 2, b"x")
    assert isinstance(await outcome_of(adapter, 2, 2), Unavailable)
    with pytest.raises(Unavailable):
        await adapter.journal.last_sequence()
    with pytest.raises(Unavailable):
        await batches(adapter)


async def test_there_is_no_snapshot_at_first(adapter: DataAdapter) -> None:
    assert await adapter.kernel_snapshots.newest() is None
    assert await adapter.kernel_snapshots.all() == []


async def test_newest_snapshot_is_the_one_of_the_highest_sequence(adapter: DataAdapter) -> None:
    for sequence in (10, 30, 20):
        await adapter.kernel_snapshots.save(snapshot(sequence))

    assert await adapter.kernel_snapshots.newest() == snapshot(30)
    assert await adapter.kernel_snapshots.newest(at_most=29) == snapshot(20)
    assert await adapter.kernel_snapshots.newest(at_most=30) == snapshot(30)
    assert await adapter.kernel_snapshots.newest(at_most=9) is None


async def test_newest_three_snapshots_are_kept(adapter: DataAdapter) -> None:
    for sequence in (10, 20, 30, 40):
        await adapter.kernel_snapshots.save(snapshot(sequence))

    assert await adapter.kernel_snapshots.all() == [(20, "hash of 20"), (30, "hash of 30"), (40, "hash of 40")]


@pytest.mark.parametrize("size", [0, 1, 1_024, 5_000])
async def test_snapshots_of_all_sizes_come_back_and_may_be_replaced(adapter: DataAdapter, size: int) -> None:
    await adapter.kernel_snapshots.save(snapshot(10, size=3_000))
    await adapter.kernel_snapshots.save(snapshot(10, size=size))

    assert await adapter.kernel_snapshots.newest() == snapshot(10, size=size)
    assert await adapter.kernel_snapshots.all() == [(10, "hash of 10")]


async def test_snapshots_are_there_after_opening_again(open_again: OpenAgain) -> None:
    await (await open_again()).kernel_snapshots.save(snapshot(10))

    assert await (await open_again()).kernel_snapshots.newest() == snapshot(10)
