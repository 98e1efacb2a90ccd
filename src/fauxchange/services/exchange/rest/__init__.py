"""The exchange over REST: parse, ask the service, render.

`callers` finds out who asks, `trading` is for them, `markets` for everybody, `accounts` for administrators, `audit` for
the audit listener.
"""

from litestar.types import ControllerRouterHandler

from fauxchange.services.exchange.rest.accounts import account_routes
from fauxchange.services.exchange.rest.audit import exchange_audit_routes
from fauxchange.services.exchange.rest.callers import Callers
from fauxchange.services.exchange.rest.markets import market_routes
from fauxchange.services.exchange.rest.trading import trading_routes
from fauxchange.services.exchange.service.access import Access
from fauxchange.services.exchange.service.api import ExchangeApi
from fauxchange.services.exchange.service.limits import Allowances

__all__ = ["exchange_audit_routes", "exchange_routes"]


def exchange_routes(service: ExchangeApi, access: Access, limits: Allowances) -> list[ControllerRouterHandler]:
    """Return the exchange's routes."""
    callers = Callers(access, limits)
    return [market_routes(service), trading_routes(service, callers), account_routes(service, callers)]
