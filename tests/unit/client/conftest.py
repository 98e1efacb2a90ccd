"""Messages as a venue would send them, and a world whose time stands still until it is moved."""

from collections.abc import Callable
from typing import Any

import pytest

from fauxchange.client import World
from fauxchange.contracts.exchange.messages import OrderMessage

TIME = "2026-01-31T12:00:00.000000Z"


class StillWorld:
    """Clocks that move only when they are told, and no chance."""

    def __init__(self) -> None:
        self.wall_ns = 1_769_860_800_123_456_789
        self.elapsed_s = 0.0

    def world(self) -> World:
        return World(now_ns=lambda: self.wall_ns, now_s=lambda: self.elapsed_s, jitter=lambda: 1.0)


@pytest.fixture
def still() -> StillWorld:
    return StillWorld()


@pytest.fixture
def make_order() -> Callable[..., OrderMessage]:
    def make(**changes: Any) -> OrderMessage:
        members: dict[str, Any] = {
            "order_id": "17",
            "client_order_id": "my-1",
            "account_id": "3",
            "symbol": "BTC/USD",
            "side": "buy",
            "type": "limit",
            "time_in_force": "GTC",
            "status": "NEW",
            "quantity": "0.010",
            "filled_quantity": "0.000",
            "remaining_quantity": "0.010",
            "quote_quantity": None,
            "price": "60000.00",
            "stop_price": None,
            "display_quantity": None,
            "average_price": None,
            "post_only": False,
            "self_trade_prevention": "none",
            "triggered": False,
            "fee": "0.00",
            "fee_asset": "USD",
            "reason": None,
            "replaces": None,
            "expires_at": None,
            "created_at": TIME,
            "updated_at": TIME,
            "fills": [],
        }
        return OrderMessage(**(members | changes))

    return make
