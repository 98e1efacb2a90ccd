"""The example rules do what they say, loaded as a user loads them."""

from pathlib import Path

import pytest

from fauxchange.contracts.exchange.messages import OrderRequest
from fauxchange.services.exchange.ports import AccountView, PreTradeCheck
from fauxchange.services.exchange.service.pretrade import load_check

EXAMPLES = Path(__file__).parents[3] / "examples"


def account(name: str = "somebody", **free: str) -> AccountView:
    return AccountView(account_id="3", name=name, tier=0, free=free, held={}, open_orders=())


@pytest.fixture
def rule(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PreTradeCheck:
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    return load_check(f"pre_trade_rules:{request.param}")


@pytest.mark.parametrize("rule", ["no_market_orders"], indirect=True)
def test_market_orders_are_for_desks(rule: PreTradeCheck) -> None:
    market, limit = (
        OrderRequest(symbol="BTC/USD", side="buy", type="market", quantity="1"),
        OrderRequest(symbol="BTC/USD", side="buy", quantity="1", price="50"),
    )

    assert rule(account(), market) == "market_orders_are_for_desks"
    assert rule(account("desk-1"), market) is None
    assert rule(account(), limit) is None


@pytest.mark.parametrize("rule", ["HoldingLimit"], indirect=True)
def test_nobody_buys_more_than_an_account_may_hold(rule: PreTradeCheck) -> None:
    def order(side: str, quantity: str, symbol: str = "btc-usd") -> OrderRequest:
        return OrderRequest(symbol=symbol, side=side, quantity=quantity, price="50")  # type: ignore[arg-type]  # one of two

    assert rule(account(BTC="4"), order("buy", "1")) is None
    assert rule(account(BTC="4"), order("buy", "1.00001")) == "holding_limit_exceeded"
    assert rule(account(BTC="9"), order("sell", "2")) is None
    assert rule(account(), order("buy", "1000", "ADA/USD")) is None
