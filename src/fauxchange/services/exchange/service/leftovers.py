"""What a session leaves behind when it ends, and asked to leave nothing."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import structlog

from fauxchange.domain.errors import FauxchangeError, Unavailable
from fauxchange.domain.orders import OPEN_STATUSES, OrderRecord
from fauxchange.services.exchange.service.requests import Origin, Outcome

RETRY_S: Final = 0.25
RETRIES: Final = 240
"""For a minute it is tried to cancel what a session has left behind."""
SWEEP_AT: Final = 1_024

log = structlog.get_logger(__name__)


class Cancels(Protocol):
    """Whoever cancels orders."""

    def submit_cancel(self, account: int, ref: str, origin: Origin, done: Callable[[Outcome], None]) -> None:
        """Cancel an open order; `done` hears once what came of it. Raises: NotFound, Rejected, Unavailable."""
        ...


class LeavesNothing(Protocol):
    """The end of a session that cancels what it has placed."""

    @property
    def origin(self) -> Origin:
        """Where the session's commands come from; it says so with each of them."""
        ...

    def add(self, order: OrderRecord) -> None:
        """Remember an order while it is open."""
        ...

    def cancel(self) -> None:
        """Cancel those that are open."""
        ...


class Leftovers:
    """The orders that a session has placed, to be canceled when it ends."""

    def __init__(self, service: Cancels, account: int, origin: Origin) -> None:
        self._service = service
        self._account = account
        self.origin = origin
        """Where the session's commands come from, its cancels too."""
        self._orders: dict[int, OrderRecord] = {}
        self._sweep_at = SWEEP_AT
        self._retries = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, order: OrderRecord) -> None:
        """Remember an order while it is open."""
        if order.status not in OPEN_STATUSES:
            return
        self._orders[order.order_id] = order
        if len(self._orders) >= self._sweep_at:
            self._orders = {number: each for number, each in self._orders.items() if each.status in OPEN_STATUSES}
            self._sweep_at = 2 * len(self._orders) + SWEEP_AT

    def cancel(self) -> None:
        """Cancel those that are open; while the exchange cannot, try again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        orders, self._orders = self._orders, {}
        for order in orders.values():
            if order.status not in OPEN_STATUSES:
                continue
            try:
                self._service.submit_cancel(
                    self._account, str(order.order_id), self.origin, partial(self._canceled, order)
                )
            except Unavailable:
                self._try_again(order)
            except FauxchangeError:
                # It has finished meanwhile.
                continue

    def _canceled(self, order: OrderRecord, outcome: Outcome) -> None:
        if isinstance(outcome.failure, Unavailable):
            self._try_again(order)

    def _try_again(self, order: OrderRecord) -> None:
        self._orders[order.order_id] = order
        if self._timer is not None:
            return
        if self._retries >= RETRIES:
            log.error("cancel_on_disconnect_failed", account=self._account, open_orders=len(self._orders))
            return
        self._retries += 1
        self._timer = asyncio.get_running_loop().call_later(RETRY_S, self.cancel)
