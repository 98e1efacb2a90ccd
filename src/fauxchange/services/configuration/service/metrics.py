"""Metrics of the configuration service."""

from fauxchange.platform.ports import MetricsPort


class ConfigurationMetrics:
    """Count changes, and say how many keys and watchers there are."""

    def __init__(self, metrics: MetricsPort) -> None:
        self.changes = metrics.counter("configuration_changes_total", "Changes made, by kind.", ("kind",))
        self.keys = metrics.gauge("configuration_keys", "Keys that are set, of all services and environments.")
        self.watchers = metrics.gauge("configuration_watchers", "Readers that wait for the next change.")
