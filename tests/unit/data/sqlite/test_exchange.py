"""Projections on a failing disk: all or none, in one transaction."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fauxchange.data.ports import AccountQuery, Projection
from fauxchange.data.sqlite.adapter import SqliteDataAdapter
from fauxchange.domain.errors import InvariantViolation, Unavailable
from fauxchange.domain.orders import AccountRecord, KeyRecord
from fauxchange.domain.trail import OpenBlock, Records


def projection(sequence: int) -> Projection:
    return Projection(
        sequence=sequence,
        document={"n": sequence},
        accounts=[
            AccountRecord(account=number, name="desk", tier=0, status=0, created_ns=1, updated_ns=sequence)
            for number in (1, sequence)
        ],
        keys=[KeyRecord(api_key=f"key {sequence}", account=1, label="", encrypted_secret="", created_ns=sequence)],
        trail=[
            OpenBlock(
                width=1,
                event_width=1,
                first_sequence=sequence,
                last_sequence=sequence,
                first_ns=1,
                last_ns=1,
                parts=[Records(bytes(8), [b"x"], b"", (0, 0))],
            )
        ],
    )


async def told(adapter: SqliteDataAdapter) -> tuple[int, list[int], list[int], list[str], int]:
    """Return what the read models say of how far they go, each in its way."""
    accounts = (await adapter.exchange.accounts(AccountQuery())).items
    keys = [key.api_key for key in await adapter.exchange.keys()]
    block = await adapter.exchange.last_trail()
    assert block is not None
    numbers = [account.account for account in accounts]
    changed = [account.updated_ns for account in accounts]
    return (await adapter.exchange.position())[0], numbers, changed, keys, block.last_sequence


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done and not told"])
async def test_write_error_at_any_call_stores_all_of_a_projection_or_nothing(
    tmp_path: Path, faulty: Any, *, after: bool
) -> None:
    adapter = SqliteDataAdapter(tmp_path / "it.db", opener=faulty.open, probe_interval_s=60)
    await adapter.connect()
    await adapter.exchange.store(projection(2))
    before = await told(adapter)
    fates: list[bool] = []

    while True:
        faulty.fail(len(fates) + 1, after=after)
        try:
            await adapter.exchange.store(projection(3))
        except Unavailable:
            assert faulty.mend()
        else:
            assert not faulty.mend()
            break
        now = await told(adapter)
        assert now in (before, (3, [1, 2, 3], [3, 2, 3], ["key 2", "key 3"], 3))
        fates.append(now == before)

    assert len(fates) >= 6
    # A commit that was done and not told is the last call, and all is stored then.
    assert all(fates[:-1])
    assert fates[-1] is not after
    await adapter.disconnect()


async def test_record_that_the_store_refuses_leaves_nothing_of_its_projection(tmp_path: Path) -> None:
    adapter = SqliteDataAdapter(tmp_path / "it.db")
    await adapter.connect()
    await adapter.exchange.store(projection(2))
    broken = projection(3)
    broken.keys = [KeyRecord(api_key=None, account=1, label="", encrypted_secret="", created_ns=1)]  # type: ignore[arg-type]

    with pytest.raises(InvariantViolation):
        await adapter.exchange.store(broken)

    await adapter.state.save("other", {"n": 1})
    assert (await told(adapter))[0] == 2
    assert (await told(adapter))[1] == [1, 2]
    await adapter.disconnect()


async def test_projections_and_durable_writes_at_once_do_not_mix(tmp_path: Path) -> None:
    adapter = SqliteDataAdapter(tmp_path / "it.db")
    await adapter.connect()

    await asyncio.gather(
        *(
            adapter.exchange.store(projection(n)) if n % 3 == 0 else adapter.state.save(f"{n}", {"n": n})
            for n in range(2, 40)
        )
    )

    assert (await told(adapter))[0] == 39
    assert await adapter.state.load("38") == {"n": 38}
    await adapter.disconnect()
