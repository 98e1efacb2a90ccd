"""Which services a process has, and how each comes to what it needs: from a service beside it, or from one elsewhere.

This is the only place that knows the difference between one process and several. A service that joins `SERVICES` is
built here as well, and its ports to others come in two kinds: embedded, and over the client manager.
"""

import time
from collections.abc import Mapping, Sequence

from fauxchange.data.ports import DataAdapter
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.chance import jitter
from fauxchange.platform.clock import VirtualClock, WallClock
from fauxchange.platform.configuration import ConfigurationClient
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.lifecycle import Component, Supervisor
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.platform.ports import HealthCheck
from fauxchange.platform.rpc.client_metrics import ClientMetrics
from fauxchange.platform.rpc.clients import ClientManager, PeerClient
from fauxchange.platform.rpc.instances import at_addresses, in_registry
from fauxchange.platform.rpc.methods import Peer
from fauxchange.platform.rpc.peers import MARKET_DATA
from fauxchange.platform.rpc.pool import Surroundings
from fauxchange.platform.streams.endpoint import StreamMetrics
from fauxchange.services.configuration.app import Configuration, ConfigurationFile
from fauxchange.services.exchange.app.config import ExchangeConfig
from fauxchange.services.exchange.app.wiring import Exchange
from fauxchange.services.exchange.clients.followed_prices import FollowedPrices
from fauxchange.services.exchange.clients.market_prices import RemotePrices
from fauxchange.services.exchange.ports import MarketPrices
from fauxchange.services.market_data.app import MarketData, build_market_data
from fauxchange.services.market_data.ports import RuntimeParameters
from fauxchange.venue.books import replayed_books
from fauxchange.venue.keys import Keys
from fauxchange.venue.parameters import EmbeddedParameters, RegisteredService, RemoteParameters
from fauxchange.venue.plan import Feed, Plan
from fauxchange.venue.prices import EmbeddedPrices

Service = Configuration | MarketData | Exchange
StreamingService = MarketData | Exchange

MISSED_HEARTBEATS = 3
"""So many heartbeats may be missing before a stream from another service counts as lost."""
LEAST_IDLE_S = 10.0


class Composition:
    """The services of one process, and the ways from them to services elsewhere."""

    def __init__(
        self,
        plan: Plan,
        *,
        data: DataAdapter,
        clock: WallClock | VirtualClock,
        metrics: PrometheusMetrics,
        health: HealthRegistry,
        supervisor: Supervisor,
        keys: Keys,
    ) -> None:
        self.configuration: Configuration | None = None
        self.market_data: MarketData | None = None
        self.exchange: Exchange | None = None
        self._plan = plan
        self._settings = plan.settings
        self._data = data
        self._clock = clock
        self._metrics = metrics
        self._stream_metrics = StreamMetrics(metrics)
        self._health = health
        self._supervisor = supervisor
        self._keys = keys
        self._clients: ClientManager | None = None
        self._ways: list[Component] = []

    async def build(self) -> None:
        """Build the services of the plan, each after those that it may need."""
        plan = self._plan
        if plan.configuration is not None:
            self.configuration = self._build_configuration(plan.configuration)
            self.configuration.add_health(self._health)
        if plan.feed is not None:
            self.market_data = await self._build_market_data(plan.feed)
        if plan.exchange is not None:
            self.exchange = self._build_exchange(plan.exchange)

    @property
    def services(self) -> Sequence[Service]:
        """The services, in the order in which they start."""
        each = (self.configuration, self.market_data, self.exchange)
        return [service for service in each if service is not None]

    @property
    def streaming(self) -> Sequence[StreamingService]:
        """Those of them that have WebSocket endpoints."""
        return [service for service in (self.market_data, self.exchange) if service is not None]

    @property
    def components(self) -> Sequence[Component]:
        """The services, after the ways to others that they use."""
        clients = [] if self._clients is None else [self._clients]
        return [*clients, *self._ways, *self.services]

    def _peer(self, peer: Peer, addresses: Sequence[str]) -> PeerClient:
        """Return the client of a service elsewhere: at these addresses, or where the registry says."""
        if self._clients is None:
            self._clients = ClientManager(
                Surroundings(metrics=ClientMetrics(self._metrics), chance=jitter, spawn=self._supervisor.supervise)
            )
        find = at_addresses(addresses) if addresses else in_registry(self._data.discovery, peer.registered_name)
        return self._clients.add(peer, find)

    # Configuration

    def _build_configuration(self, file: ConfigurationFile) -> Configuration:
        settings = self._settings
        return Configuration(
            data=self._data,
            clock=self._clock,
            metrics=self._metrics,
            supervisor=self._supervisor,
            admin_key=self._keys.admin,
            environment=settings.environment,
            schemas=file.schemas,
            seeds=file.seeds,
            max_age_s=settings.configuration_max_age_ns // NS_PER_S,
            heartbeat_s=settings.ws_heartbeat_ns / NS_PER_S,
        )

    # Market data

    async def _build_market_data(self, feed: Feed) -> MarketData:
        client = self._configuration_client()
        parameters: RuntimeParameters | None = None
        if self.configuration is not None:
            parameters = EmbeddedParameters(
                self.configuration.service, service="market-data", environment=self._settings.environment
            )
        elif client is not None:
            parameters = RemoteParameters(client)
        market_data = await build_market_data(
            feed.config,
            feed.sources,
            data=self._data,
            clock=self._clock,
            wall_ns=time.time_ns,
            metrics=self._metrics,
            supervisor=self._supervisor,
            scenarios=feed.scenarios,
            extra_sources=feed.extra_sources,
            parameters=parameters,
            # Without Redis nobody else could follow them.
            fan_out=None if self._settings.redis_url is None else self._data.price_streams,
            stream_metrics=self._stream_metrics,
        )
        market_data.add_health(self._health)
        if client is not None:
            self._ways.append(client)
            self._health.add_dependency(market_data.name, "configuration", client.health)
        return market_data

    def _configuration_client(self) -> ConfigurationClient | None:
        """Return the way to a configuration service elsewhere; None where it is here, or nobody could say where."""
        settings = self._settings
        if self.configuration is not None or (settings.config_service_url is None and settings.redis_url is None):
            return None
        return ConfigurationClient(
            settings.config_service_url or RegisteredService(self._data.discovery, "configuration"),
            service="market-data",
            environment=settings.environment,
            cache=self._data.cache,
            metrics=self._metrics,
            wall_ns=time.time_ns,
            ttl_s=settings.cache_ttl_ns / NS_PER_S,
            timeout_s=settings.config_timeout_ns / NS_PER_S,
        )

    # The exchange

    def _build_exchange(self, config: ExchangeConfig) -> Exchange:
        prices, leans_on = self._prices(config)
        exchange = Exchange(
            config,
            data=self._data,
            prices=prices,
            clock=self._clock,
            wall_ns=time.time_ns,
            metrics=self._metrics,
            supervisor=self._supervisor,
            secrets=self._keys.credentials,
            admin_key=self._keys.admin,
            stream_metrics=self._stream_metrics,
            progress=self._plan.recovering,
            books=None if self.market_data is None else replayed_books(self.market_data.replays),
        )
        if self._settings.kernel_enabled:
            exchange.let_gateways_in(
                key=self._keys.kernel,
                version=self._settings.service_version,
                admin_key=self._keys.admin,
                metrics=self._metrics,
            )
        exchange.add_health(self._health)
        for name, health_check in leans_on.items():
            self._health.add_dependency(exchange.name, name, health_check)
        return exchange

    def _prices(self, config: ExchangeConfig) -> tuple[MarketPrices, Mapping[str, HealthCheck]]:
        """Return where the exchange has its prices from, and what its health leans on for them."""
        if self.market_data is not None:
            return EmbeddedPrices(self.market_data.service), {}
        settings = self._settings
        if settings.prices_from == "redis":
            followed = FollowedPrices(
                self._data.price_streams,
                config.feeds,
                store_health=lambda: self._data.health()["redis"],
                clock=self._clock,
                spawn=self._supervisor.supervise,
                metrics=self._metrics,
                stale_after_ns=config.house_stale_after_ns,
            )
            self._ways.append(followed)
            return followed, {"market-prices": followed.health}
        client = self._peer(MARKET_DATA, settings.market_data_grpc)
        prices = RemotePrices(
            client,
            config.feeds,
            spawn=self._supervisor.supervise,
            chance=jitter,
            metrics=self._metrics,
            idle_timeout_s=max(LEAST_IDLE_S, MISSED_HEARTBEATS * settings.ws_heartbeat_ns / NS_PER_S),
        )
        self._ways.append(prices)
        # Without prices the house does not quote; accounts and the users' own orders need none.
        return prices, {"market-data": client.health_check(), "market-prices": prices.health}
