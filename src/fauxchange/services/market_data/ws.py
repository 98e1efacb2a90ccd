"""Market data over WebSocket: the service's streams at one path."""

from fauxchange.platform.streams.endpoint import Heartbeat, StreamLimits, StreamMetrics
from fauxchange.platform.streams.websocket import StreamEndpoint
from fauxchange.services.market_data.service.api import MarketDataApi

PATH = "/api/v1/market-data/ws"


def market_data_endpoint(
    service: MarketDataApi, *, heartbeat: Heartbeat, limits: StreamLimits, metrics: StreamMetrics
) -> StreamEndpoint:
    """Return the endpoint of the channels `prices`, `candles:<interval>` and `scenario`."""
    return StreamEndpoint(
        PATH,
        hub=service.hub,
        resolve=service.resolve_topics,
        heartbeat=heartbeat,
        limits=limits,
        metrics=metrics,
    )
