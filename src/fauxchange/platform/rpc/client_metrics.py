"""What is measured of calls to other services, and of the breakers in front of them."""

from fauxchange.platform.metrics import RedMetrics
from fauxchange.platform.ports import MetricsPort
from fauxchange.platform.rpc.breaker import STATE_NUMBERS, BreakerState

WHOLE_PEER = "all"
"""Stands for the address where the breaker of a peer as a whole is meant."""


class ClientMetrics:
    """Rate, errors and duration of calls, how often they were repeated, and the state of each breaker."""

    def __init__(self, metrics: MetricsPort) -> None:
        self.red = RedMetrics(metrics, "grpc_client", ("peer", "method", "code"))
        self.retries = metrics.counter(
            "grpc_client_retries_total", "Calls to other services made once more", ("peer", "method")
        )
        self._instances = metrics.gauge("rpc_peer_instances", "Instances of a service that are known", ("peer",))
        self._usable = metrics.gauge("rpc_peer_usable_instances", "Instances of a service that take calls", ("peer",))
        self._breakers = metrics.gauge(
            "rpc_breaker_state", "0 closed, 1 half-open, 2 open, by address and for all of them", ("peer", "address")
        )
        self._changes = metrics.counter(
            "rpc_breaker_changes_total", "Changes of breakers, by the state they changed to", ("peer", "state")
        )

    def know(self, peer: str, instances: int, usable: int) -> None:
        """Say how many instances there are, and how many of them take calls."""
        self._instances.set(instances, peer)
        self._usable.set(usable, peer)

    def show_breaker(self, peer: str, address: str, state: BreakerState) -> None:
        """Show the state of a breaker."""
        self._breakers.set(STATE_NUMBERS[state], peer, address)

    def count_change(self, peer: str, state: BreakerState) -> None:
        """Count a change of an instance's breaker."""
        self._changes.inc(1.0, peer, state.value)

    def forget(self, peer: str, address: str) -> None:
        """Show no breaker of an address any more."""
        self._breakers.remove(peer, address)
