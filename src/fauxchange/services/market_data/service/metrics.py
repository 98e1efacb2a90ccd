"""Feed metrics: ticks generated and delivered, generation lag, delivery latency, gaps and drops."""

from collections.abc import Iterable

from fauxchange.platform.ports import MetricsPort
from fauxchange.services.market_data.service.market import Market

LATENCY_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
STEPS_PER_COUNT = 16


class FeedMetrics:
    """The measurements of one feed. Labels: symbol, bounded by the symbols that are served."""

    def __init__(self, metrics: MetricsPort) -> None:
        self._generated = metrics.counter("feed_ticks_generated_total", "Prices made, by symbol.", ("symbol",))
        self._delivered = metrics.counter(
            "feed_ticks_delivered_total", "Prices handed to subscribers, by symbol.", ("symbol",)
        )
        self._lag = metrics.histogram(
            "feed_generation_lag_seconds",
            "How late prices were made after they were due, in venue time.",
            buckets=LAG_BUCKETS,
        )
        self._latency = metrics.histogram(
            "feed_delivery_latency_seconds",
            "From a step's first price being made to its last subscriber's socket having it.",
            buckets=LATENCY_BUCKETS,
        )
        self._subscribers = metrics.gauge("feed_subscribers", "Subscriptions to prices, by symbol.", ("symbol",))
        self._gaps = metrics.counter("feed_gaps_total", "Gaps found in what a source delivered.", ("source",))
        self._dropped = metrics.counter(
            "feed_ticks_dropped_total", "Prices given up, by reason (overdue, source, history).", ("reason",)
        )
        self._made: dict[str, int] = {}
        self._delivered_so_far: dict[str, int] = {}
        self._counted: dict[tuple[str, str], int] = {}
        self._steps = 0

    def step(self, markets: Iterable[Market], *, lag_s: float, latency_s: float) -> None:
        """Count one published step. Counters are brought up to date every few steps, and by `flush`."""
        self._lag.observe(lag_s)
        self._latency.observe(latency_s)
        made = self._made
        for market in markets:
            symbol = market.instrument.symbol
            made[symbol] = made.get(symbol, 0) + 1
        self._steps += 1
        if self._steps % STEPS_PER_COUNT == 0:
            self.flush(markets)

    def flush(self, markets: Iterable[Market]) -> None:
        """Bring the counters of these markets up to date."""
        for market in markets:
            symbol = market.instrument.symbol
            made = self._made.pop(symbol, 0)
            if made:
                self._generated.inc(made, symbol)
            delivered = market.prices.delivered - self._delivered_so_far.get(symbol, 0)
            if delivered:
                self._delivered.inc(delivered, symbol)
                self._delivered_so_far[symbol] = market.prices.delivered

    def subscriptions(self, markets: Iterable[Market]) -> None:
        """Set the number of subscriptions."""
        for market in markets:
            self._subscribers.set(market.prices.subscribers, market.instrument.symbol)

    def dropped(self, count: int, reason: str) -> None:
        """Count prices that were given up."""
        self._dropped.inc(count, reason)

    def total(self, kind: str, source: str, total: int) -> None:
        """Bring a counter up to a running total that a source reports (`gaps` or `dropped`)."""
        key = (kind, source)
        new = total - self._counted.get(key, 0)
        if new > 0:
            self._counted[key] = total
            if kind == "gaps":
                self._gaps.inc(new, source)
            else:
                self._dropped.inc(new, source)
