"""A restart goes on where the last run was, whatever of the stores it finds."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from exchange_kit import ORIGIN, Exchange, order

from fauxchange.contracts.exchange.messages import AmendRequest
from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.data.ports import AccountQuery, DataAdapter, FillQuery, LedgerQuery, OrderQuery
from fauxchange.data.sqlite.adapter import SqliteDataAdapter
from fauxchange.domain.errors import DamagedJournal, FauxchangeError
from fauxchange.services.exchange.core.layout import LINE
from fauxchange.services.exchange.service import snapshots
from fauxchange.services.exchange.service.exchange import TrailQuery
from fauxchange.services.exchange.service.snapshots import SnapshotKeeper

Open = Callable[[], Awaitable[DataAdapter]]


@pytest.fixture(params=["memory", "sqlite"])
async def open_(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Return a function that opens the stores, closing what it opened before."""
    opened: list[DataAdapter] = []

    async def opening() -> DataAdapter:
        if request.param == "memory":
            if not opened:
                opened.append(MemoryDataAdapter())
                await opened[0].connect()
            return opened[0]
        if opened:
            await opened.pop().disconnect()
        opened.append(SqliteDataAdapter(tmp_path / "fauxchange.sqlite"))
        await opened[0].connect()
        return opened[0]

    yield opening
    for adapter in opened:
        await adapter.disconnect()


async def _trade_for_a_while(exchange: Exchange, accounts: list[int], seed: int, rounds: int = 60) -> None:
    """Send orders of all kinds, changes and cancellations, from a seed."""
    chance = random.Random(seed)
    refs: list[tuple[int, str]] = []
    for number in range(rounds):
        account = chance.choice(accounts)
        what = chance.random()
        try:
            if what < 0.6:
                side = chance.choice(["buy", "sell"])
                price = None if chance.random() < 0.2 else f"{50_000 + chance.randrange(-50, 50)}"
                more: dict[str, Any] = {} if chance.random() < 0.5 else {"client_order_id": f"{seed}-{number}"}
                placed = await exchange.place(account, side, f"0.0{chance.randrange(1, 9)}", price, **more)
                refs.append((account, str(placed.order.order_id)))
            elif what < 0.75 and refs:
                owner, ref = chance.choice(refs)
                await exchange.service.cancel_order(owner, ref, ORIGIN)
            elif what < 0.9 and refs:
                owner, ref = chance.choice(refs)
                await exchange.service.amend_order(owner, ref, AmendRequest(quantity="0.01"), ORIGIN)
            elif refs:
                owner, ref = chance.choice(refs)
                await exchange.service.replace_order(owner, ref, order("buy", "0.01", "49990"), ORIGIN)
        except FauxchangeError:
            continue


async def _everything(exchange: Exchange, accounts: list[int]) -> bytes:
    """Return all that the outside can ask, as bytes."""
    service = exchange.service
    told: list[Any] = [
        exchange.hash(),
        exchange.venue.sequence,
        [service.balances(account) for account in range(exchange.venue.account_count)],
        [service.book(symbol, 100).bids + service.book(symbol, 100).asks for symbol in ("BTC/USD", "ETH/USD")],
        (await service.accounts(AccountQuery())).items,
        (await service.orders(OrderQuery(limit=10_000))).items,
        (await service.fills(FillQuery(limit=10_000))).items,
        [(await service.ledger(LedgerQuery(account=account, limit=10_000))).items for account in accounts],
        [record.cloud_event() async for record in service.trail(TrailQuery())],
        sorted(record.order_id for account in accounts for record in exchange.venue.orders.open_orders(account)),
    ]
    return msgspec.json.encode(told)


async def _begun(open_: Open) -> tuple[Exchange, list[int]]:
    exchange = await Exchange(await open_()).start()
    accounts = [await exchange.account(USD="1000000", BTC="10") for _ in range(3)]
    return exchange, accounts


async def test_a_restart_knows_all_that_was_known(open_: Open) -> None:
    exchange, accounts = await _begun(open_)
    await _trade_for_a_while(exchange, accounts, seed=1)
    before = await _everything(exchange, accounts)
    await exchange.stop()

    again = await Exchange(await open_()).start()

    assert await _everything(again, accounts) == before


async def test_runs_with_restarts_end_like_one_without(open_: Open) -> None:
    straight = await Exchange(await MemoryOpener()()).start()
    accounts = [await straight.account(USD="1000000", BTC="10") for _ in range(3)]
    exchange, same = await _begun(open_)
    assert same == accounts

    for seed in range(4):
        await _trade_for_a_while(straight, accounts, seed)
        await _trade_for_a_while(exchange, accounts, seed)
        await exchange.stop()
        exchange = await Exchange(await open_()).start()

    assert await _everything(exchange, accounts) == await _everything(straight, accounts)


class MemoryOpener:
    async def __call__(self) -> DataAdapter:
        adapter = MemoryDataAdapter()
        await adapter.connect()
        return adapter


async def test_a_crash_before_the_read_models_were_stored_loses_nothing(open_: Open) -> None:
    exchange, accounts = await _begun(open_)
    await exchange.projector.flush()
    await _trade_for_a_while(exchange, accounts, seed=2)
    # No stop: what the read models lack is in the journal alone.
    expected = exchange.hash(), exchange.venue.sequence
    behind = exchange.projector.behind

    again = await Exchange(await open_()).start()

    assert behind > 0
    assert (again.hash(), again.venue.sequence) == expected
    assert again.recovered is not None
    assert again.recovered.followed == behind
    assert again.projector.behind == 0


async def test_a_snapshot_spares_the_replay_of_what_it_covers(open_: Open) -> None:
    exchange, accounts = await _begun(open_)
    await _trade_for_a_while(exchange, accounts, seed=3)
    await SnapshotKeeper(exchange.venue, exchange.projector, exchange.data.kernel_snapshots, every=1).make()
    covered = exchange.venue.sequence
    await _trade_for_a_while(exchange, accounts, seed=4, rounds=10)
    before = await _everything(exchange, accounts)
    await exchange.stop()

    again = await Exchange(await open_()).start()

    assert again.recovered is not None
    assert again.recovered.snapshot == covered
    assert again.recovered.replayed == again.venue.sequence - covered
    assert await _everything(again, accounts) == before


@pytest.mark.parametrize("spare_words", [snapshots.SPARE_WORDS, -LINE], ids=["room", "no room"])
async def test_a_snapshot_is_of_one_moment_whatever_comes_in_meanwhile(
    open_: Open, spare_words: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "SPARE_WORDS", spare_words)
    exchange, accounts = await _begun(open_)
    await _trade_for_a_while(exchange, accounts, seed=10)
    asked_at = exchange.venue.sequence
    keeper = SnapshotKeeper(exchange.venue, exchange.projector, exchange.data.kernel_snapshots, every=1)
    making = asyncio.create_task(keeper.make())
    await _trade_for_a_while(exchange, accounts, seed=11)
    await making
    before = await _everything(exchange, accounts)
    await exchange.stop()

    again = await Exchange(await open_()).start()

    assert again.recovered is not None
    assert again.recovered.snapshot >= asked_at
    assert await _everything(again, accounts) == before


async def test_read_models_that_are_lost_are_rebuilt_alike(open_: Open) -> None:
    exchange, accounts = await _begun(open_)
    await _trade_for_a_while(exchange, accounts, seed=5)
    await SnapshotKeeper(exchange.venue, exchange.projector, exchange.data.kernel_snapshots, every=1).make()
    before = await _everything(exchange, accounts)
    await exchange.stop()

    data = await open_()
    await data.exchange.clear()
    again = await Exchange(data).start()

    assert again.recovered is not None
    assert again.recovered.followed == again.venue.sequence
    assert await _everything(again, accounts) == before


async def test_a_journal_that_has_lost_its_end_is_named(open_: Open) -> None:
    exchange, accounts = await _begun(open_)
    await _trade_for_a_while(exchange, accounts, seed=6, rounds=5)
    await exchange.stop()
    data = await open_()
    position, document = await data.exchange.position()
    from fauxchange.data.ports import Projection

    await data.exchange.store(Projection(sequence=position + 7, document=document))

    with pytest.raises(DamagedJournal) as caught:
        await Exchange(data).start()

    assert str(position) in caught.value.message
    assert str(position + 7) in caught.value.message


async def test_client_order_ids_and_idempotency_keys_outlive_a_restart(open_: Open) -> None:
    from fauxchange.contracts.exchange.messages import TransferRequest

    exchange, (account, *_) = await _begun(open_)
    placed = await exchange.place(account, "buy", "0.01", "50000", client_order_id="open")
    await exchange.place(account, "buy", "0.01", "50000", client_order_id="gone")
    await exchange.service.cancel_order(account, "client:gone", ORIGIN)
    deposit = TransferRequest(asset="USD", amount="5")
    first = await exchange.service.deposit(str(account), deposit, ORIGIN, "once")
    await exchange.stop()

    again = await Exchange(await open_()).start()

    repeated = await again.place(account, "buy", "0.01", "50000", client_order_id="open")
    gone = await again.place(account, "buy", "0.01", "50000", client_order_id="gone")
    assert repeated.repeated
    assert repeated.order.order_id == placed.order.order_id
    assert gone.repeated
    assert gone.order.status == 3
    assert await again.service.deposit(str(account), deposit, ORIGIN, "once") == first


async def test_revoked_keys_stay_revoked(open_: Open) -> None:
    from fauxchange.contracts.exchange.messages import KeyRequest

    exchange, (account, *_) = await _begun(open_)
    await exchange.service.create_key(str(account), KeyRequest(label="bot"), ORIGIN)
    await exchange.service.revoke_key(str(account), "key", ORIGIN)
    await exchange.stop()

    again = await Exchange(await open_()).start()

    (key,) = again.service.keys(str(account))
    assert key.label == "bot"
    assert key.revoked_ns > 0
