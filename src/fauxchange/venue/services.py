"""The table of services: their names, ports and jobs. `serve`, deployment and dashboards are made from it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEntry:
    """One service. Units: ports when it runs alone; `needs` names the services whose ports it is given."""

    name: str
    registered_name: str
    http_port: int
    grpc_port: int
    job: str
    needs: tuple[str, ...] = ()

    @property
    def namespace(self) -> str:
        """The prefix of what is the service's own in stores that services share."""
        return self.name.replace("-", "_")


SERVICES = {
    entry.name: entry
    for entry in (
        ServiceEntry(
            name="market-data",
            registered_name="market-data-simulator",
            http_port=8083,
            grpc_port=9093,
            job="generates, replays, stores and distributes prices",
        ),
        ServiceEntry(
            name="exchange",
            registered_name="exchange-simulator",
            http_port=8082,
            grpc_port=9092,
            job="accounts, ledger, orders, matching",
            needs=("market-data",),
        ),
        ServiceEntry(
            name="configuration",
            registered_name="configuration-service",
            http_port=8088,
            grpc_port=9098,
            job="typed, versioned configuration values that services follow while they run",
        ),
    )
}
"""The services that exist, by name."""

GATEWAYS = {
    entry.name: entry
    for entry in (
        ServiceEntry(
            name="exchange-gateway",
            registered_name="exchange-gateway",
            http_port=8092,
            grpc_port=9292,
            job="the exchange's public API in front of its kernel process; as many as are wanted",
            needs=("exchange",),
        ),
        ServiceEntry(
            name="market-data-gateway",
            registered_name="market-data-gateway",
            http_port=8094,
            grpc_port=9294,
            job="market data's public API in front of its generator; as many as are wanted",
            needs=("market-data",),
        ),
    )
}
"""What stands in front of a service that runs elsewhere, by name."""

EMBEDDED_NAME = "fauxchange"
EMBEDDED_HTTP_PORT = 8080
EMBEDDED_GRPC_PORT = 9080
