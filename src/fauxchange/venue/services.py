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
    )
}
"""The services that exist, by name."""

EMBEDDED_NAME = "fauxchange"
EMBEDDED_HTTP_PORT = 8080
EMBEDDED_GRPC_PORT = 9080
