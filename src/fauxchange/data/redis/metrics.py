"""Metrics of what is kept in Redis."""

from fauxchange.platform.ports import MetricsPort


class RedisMetrics:
    """Where answers came from, and what became of streamed prices; counts nothing where there is no metrics port."""

    def __init__(self, metrics: MetricsPort | None) -> None:
        self._counts = metrics is not None
        if metrics is None:
            return
        self._hot_reads = metrics.counter(
            "hot_history_reads_total", "Questions about price history, by who answered", ("answered_by",)
        )
        self._published = metrics.counter("price_stream_published_total", "Prices put into the streams")
        self._dropped = metrics.counter(
            "price_stream_dropped_total", "Prices that never got into the streams", ("reason",)
        )

    def hot_read(self, *, is_hot: bool) -> None:
        """Tell of a question that the hot window, or else the store behind it, has answered."""
        if self._counts:
            self._hot_reads.inc(1.0, "redis" if is_hot else "store")

    def published(self, prices: int) -> None:
        """Tell of prices that are in their streams."""
        if self._counts and prices:
            self._published.inc(float(prices))

    def dropped(self, prices: int, reason: str) -> None:
        """Tell of prices that are given up."""
        if self._counts and prices:
            self._dropped.inc(float(prices), reason)
