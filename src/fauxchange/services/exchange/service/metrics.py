"""What the exchange measures of itself."""

import asyncio

from fauxchange.platform.ports import MetricsPort
from fauxchange.services.exchange.core.layout import H_LAST_ORDER_ID, H_LAST_TRADE_ID, H_OPEN_ORDERS
from fauxchange.services.exchange.service.exchange import ExchangeService

INTERVAL_S = 1.0


class ExchangeMetrics:
    """Read the counts of the exchange once a second: nothing is measured on the way of an order."""

    def __init__(self, metrics: MetricsPort) -> None:
        self._service: ExchangeService | None = None
        self._seen: dict[str, int] = {}
        self._commands = metrics.counter("exchange_commands_total", "Commands carried out.")
        self._batches = metrics.counter("exchange_batches_total", "Batches made durable.")
        self._orders = metrics.counter("exchange_orders_total", "Orders that took an id, rejected ones too.")
        self._trades = metrics.counter("exchange_trades_total", "Trades.")
        self._open_orders = metrics.gauge("exchange_open_orders", "Orders that are open.")
        self._queue = metrics.gauge("exchange_queue_commands", "Commands that wait to be made durable.")
        self._behind = metrics.gauge("exchange_read_models_behind_commands", "Commands that the read models lack.")

    def watch(self, service: ExchangeService) -> None:
        """Count what this exchange does from now on: what was there before is not this process's doing."""
        self._service = service
        self._seen = self._totals(service)

    async def run(self) -> None:
        """Count, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            self.count()

    def count(self) -> None:
        """Bring everything up to now."""
        service = self._service
        if service is None:
            return
        totals = self._totals(service)
        for name, counter in (
            ("commands", self._commands),
            ("batches", self._batches),
            ("orders", self._orders),
            ("trades", self._trades),
        ):
            counter.inc(totals[name] - self._seen[name])
        self._seen = totals
        self._open_orders.set(int(service.venue.engine.state.memory[H_OPEN_ORDERS]))
        self._queue.set(service.sequencer.waiting)
        self._behind.set(service.projector.behind)

    @staticmethod
    def _totals(service: ExchangeService) -> dict[str, int]:
        header = service.venue.engine.state.memory
        return {
            "commands": service.sequencer.commands,
            "batches": service.sequencer.batches,
            "orders": int(header[H_LAST_ORDER_ID]),
            "trades": int(header[H_LAST_TRADE_ID]),
        }


class KernelLinkMetrics:
    """What a kernel process measures of its gateways."""

    def __init__(self, metrics: MetricsPort) -> None:
        self.gateways = metrics.gauge("exchange_gateways", "Gateways that are linked to this kernel process.")


class GatewayMetrics:
    """What a gateway measures of its link."""

    def __init__(self, metrics: MetricsPort) -> None:
        self.linked = metrics.gauge("exchange_gateway_linked", "Whether this gateway is linked to its kernel process.")
        self.lost = metrics.counter("exchange_gateway_links_lost_total", "Links to the kernel process that broke.")
