"""Orders that a user's own rule refuses: rejected, stored with the reason, and the same after a restart."""

import pytest
from exchange_kit import BTC_USD, ORIGIN, Exchange, order

from fauxchange.contracts.exchange import render
from fauxchange.contracts.exchange.messages import AmendRequest, OrderRequest
from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.domain.errors import Rejected


def _no_round_numbers(account: int, request: OrderRequest) -> str | None:
    return "too_round" if request.quantity == "1" else None


async def test_a_refused_order_is_rejected_with_the_rules_reason_and_a_replay_does_not_ask_again() -> None:
    data = MemoryDataAdapter()
    await data.connect()
    exchange = await Exchange(data).start()
    exchange.service.check_before = _no_round_numbers
    account = await exchange.account(USD="1000000")

    refused = await exchange.place(account, "buy", "1", "50000", client_order_id="round")
    passed = await exchange.place(account, "buy", "0.9", "50000")
    kept = await exchange.service.replace_order(account, str(passed.order.order_id), order("buy", "1", "50000"), ORIGIN)
    again = await exchange.place(account, "buy", "1", "50000", client_order_id="round")
    before = exchange.hash()
    # Read models are lost, so that the restart follows the whole journal; and no rule is there to be asked.
    await exchange.stop()
    await data.exchange.clear()
    restarted = await Exchange(data).start()

    message = render.order_message(refused.order, BTC_USD)
    assert (message.status, message.reason, message.verdict) == ("REJECTED", "pre_trade_refused", "too_round")
    assert passed.order.status == 0
    assert kept.refused
    assert again.repeated
    assert restarted.hash() == before
    found = await restarted.service.order(account, "client:round")
    assert found.order.verdict == "too_round"


async def test_a_change_is_asked_about_too() -> None:
    data = MemoryDataAdapter()
    await data.connect()
    exchange = await Exchange(data).start()
    account = await exchange.account(USD="1000000")
    placed = await exchange.place(account, "buy", "0.9", "50000")
    exchange.service.check_before = lambda _account, request: "too_much" if request.quantity == "1.00000" else None

    with pytest.raises(Rejected) as refused:
        await exchange.service.amend_order(account, str(placed.order.order_id), AmendRequest(quantity="1"), ORIGIN)
    amended = await exchange.service.amend_order(
        account, str(placed.order.order_id), AmendRequest(quantity="0.8"), ORIGIN
    )

    assert refused.value.code == "pre_trade_refused"
    assert "too_much" in refused.value.message
    assert amended.order.order_lots == 80_000
