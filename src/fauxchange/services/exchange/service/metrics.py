"""What the exchange measures of itself."""

import asyncio

from fauxchange.platform.ports import MetricsPort
from fauxchange.services.exchange.core.layout import H_LAST_ORDER_ID, H_LAST_TRADE_ID, H_OPEN_ORDERS
from fauxchange.services.exchange.service.exchange import ExchangeService

INTERVAL_S = 1.0


class ExchangeMetrics:
    """Read the counts of the exchange once a second: nothing is measured on the way of an order."""

    def __init__(self, metrics: MetricsPort, service: ExchangeService) -> None:
        self._service = service
        self._seen: dict[str, int] = {}
        self._commands = metrics.counter("exchange_commands_total", "Commands carried out.")
        self._batches = metrics.counter("exchange_batches_total", "Batches made durable.")
        self._orders = metrics.counter("exchange_orders_total", "Orders that took an id, rejected ones too.")
        self._trades = metrics.counter("exchange_trades_total", "Trades.")
        metrics.gauge_function(
            "exchange_open_orders", "Orders that are open.", lambda: self._header(H_OPEN_ORDERS)
        )
        metrics.gauge_function(
            "exchange_queue_commands", "Commands that wait to be made durable.", lambda: service.sequencer.waiting
        )
        metrics.gauge_function(
            "exchange_read_models_behind_commands",
            "Commands that the read models lack.",
            lambda: service.projector.behind,
        )

    async def run(self) -> None:
        """Count, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            self.count()

    def count(self) -> None:
        """Bring the counters up to now."""
        for counter, name, value in (
            (self._commands, "commands", self._service.sequencer.commands),
            (self._batches, "batches", self._service.sequencer.batches),
            (self._orders, "orders", self._header(H_LAST_ORDER_ID)),
            (self._trades, "trades", self._header(H_LAST_TRADE_ID)),
        ):
            # What was there when this process began is not its doing.
            before = self._seen.setdefault(name, value)
            counter.inc(value - before)
            self._seen[name] = value

    def _header(self, cell: int) -> int:
        return int(self._service.venue.engine.state.memory[cell])
