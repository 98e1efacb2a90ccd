"""Metrics of the stores, by the store's name."""

from fauxchange.platform.ports import MetricsPort


class StoreMetrics:
    """Whether each store is there, and how its calls go; counts nothing where there is no metrics port."""

    def __init__(self, metrics: MetricsPort | None) -> None:
        self._counts = metrics is not None
        if metrics is None:
            return
        self._up = metrics.gauge("store_up", "Whether the store can be used (1) or not (0)", ("store",))
        self._losses = metrics.counter("store_losses_total", "Times that the store was lost", ("store",))
        self._calls = metrics.counter("store_calls_total", "Calls of the store that ended", ("store", "outcome"))
        self._durations = metrics.histogram("store_call_duration_seconds", "From call to its end", ("store",))

    def up(self, store: str, *, is_up: bool) -> None:
        """Tell that a store was found or lost."""
        if self._counts:
            self._up.set(float(is_up), store)
            if not is_up:
                self._losses.inc(1.0, store)

    def called(self, store: str, outcome: str, duration_s: float) -> None:
        """Tell of a call that has ended, with `ok` or `failed`. Units: duration in seconds."""
        if self._counts:
            self._calls.inc(1.0, store, outcome)
            self._durations.observe(duration_s, store)
