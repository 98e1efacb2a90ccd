"""Rules of one's own for orders, which the exchange asks before it accepts one.

    PRE_TRADE_CHECKS=pre_trade_rules:no_market_orders,pre_trade_rules:HoldingLimit fauxchange up

in this folder. A rule is called with what is known of the account and with the order as it was sent. It returns None to
let the order through, or a reason of its own, in snake_case, which the order keeps as its `verdict`. Rules
decide by what they are given: they are called on the venue's event loop and must neither wait nor compute for long.
Their verdict is journalled with the order, so a restart does not ask them again. A rule that raises refuses the order.
"""

from decimal import Decimal

from fauxchange.contracts.exchange.messages import OrderRequest
from fauxchange.services.exchange.ports import AccountView


def no_market_orders(account: AccountView, order: OrderRequest) -> str | None:
    """Let nobody trade without a limit, except accounts whose name says that they may."""
    if order.type == "market" and not account.name.startswith("desk-"):
        return "market_orders_are_for_desks"
    return None


class HoldingLimit:
    """Let no order buy so much that its account would hold more of an asset than it may."""

    def __init__(self) -> None:
        self._limits = {"BTC": Decimal(5), "ETH": Decimal(50)}

    def __call__(self, account: AccountView, order: OrderRequest) -> str | None:
        """Return None, or why the order is refused."""
        asset = order.symbol.upper().replace("-", "/").partition("/")[0]
        limit = self._limits.get(asset)
        if limit is None or order.side != "buy" or order.quantity is None:
            return None
        held = Decimal(account.free.get(asset, "0")) + Decimal(account.held.get(asset, "0"))
        if held + Decimal(order.quantity) > limit:
            return "holding_limit_exceeded"
        return None
