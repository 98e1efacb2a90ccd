"""Read models are stored behind, and what was stored is let go of in pieces."""

import asyncio

import pytest
from exchange_kit import ORIGIN, Exchange

from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.services.exchange.service import projections


async def _exchange() -> tuple[Exchange, int]:
    data = MemoryDataAdapter()
    await data.connect()
    exchange = await Exchange(data).start()
    return exchange, await exchange.account(USD="1000000")


async def _canceled(exchange: Exchange, account: int) -> int:
    order_id = (await exchange.place(account, "buy", "0.01", "100")).order.order_id
    await exchange.service.cancel_order(account, str(order_id), ORIGIN)
    return int(order_id)


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
async def test_every_finished_order_that_was_stored_is_let_go_of(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projections, "TOLD_AT_ONCE", at_once)
    exchange, account = await _exchange()
    finished = [await _canceled(exchange, account) for _ in range(5)]

    await exchange.projector.flush()

    assert not any(order_id in exchange.venue.orders for order_id in finished)


async def test_others_are_served_between_the_pieces_and_who_gives_up_leaves_none_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(projections, "TOLD_AT_ONCE", 1)
    exchange, account = await _exchange()
    finished = [await _canceled(exchange, account) for _ in range(5)]
    told: list[int] = []
    let_go = exchange.projector.stored
    waiting = asyncio.create_task(exchange.projector.flush())

    def stored(order_ids: list[int]) -> None:
        told.extend(order_ids)
        let_go(order_ids)
        waiting.cancel()

    monkeypatch.setattr(exchange.projector, "stored", stored)
    await asyncio.wait({waiting})
    told_before = list(told)
    another = await _canceled(exchange, account)
    await exchange.projector.flush()

    assert told_before == finished[:1]
    assert told == [*finished, another]
    assert not any(order_id in exchange.venue.orders for order_id in [*finished, another])
