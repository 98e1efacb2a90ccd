"""Put the market-data service together, and take it through its life."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import grpc
import structlog
from litestar.types import ControllerRouterHandler

from fauxchange.data.ports import DataAdapter
from fauxchange.domain.errors import Unavailable
from fauxchange.domain.market_data import FeedSource, SymbolRecord
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_MS, NS_PER_S, format_time
from fauxchange.platform.audit import AuditTrail
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.lifecycle import Supervisor
from fauxchange.platform.ports import Clock, DependencyHealth, MetricsPort
from fauxchange.platform.streams.endpoint import Heartbeat, StreamMetrics
from fauxchange.platform.streams.hub import Hub
from fauxchange.platform.streams.websocket import StreamEndpoint
from fauxchange.services.market_data.app.config import MarketDataConfig
from fauxchange.services.market_data.app.model import model_source
from fauxchange.services.market_data.app.sources import Sources, served
from fauxchange.services.market_data.clients.replay import ReplaySource
from fauxchange.services.market_data.core.feed_parameters import FeedParameters
from fauxchange.services.market_data.core.quotes import FixedSpread, SpreadPolicy, VolatilitySpread
from fauxchange.services.market_data.core.scenarios import ScenarioSpec
from fauxchange.services.market_data.ports import PriceFanOut, PriceSource, RuntimeParameters
from fauxchange.services.market_data.rest import audit_routes, market_data_routes
from fauxchange.services.market_data.rpc import SERVICE_NAME, MarketDataRpc
from fauxchange.services.market_data.service.fan_out import fan_out_prices
from fauxchange.services.market_data.service.feed import STATE_STREAMS, MarketDataService
from fauxchange.services.market_data.service.history import History
from fauxchange.services.market_data.service.market import Market, Sequences
from fauxchange.services.market_data.service.metrics import FeedMetrics
from fauxchange.services.market_data.service.runner import CLOSING_PRIORITY, FeedRunner, Repeating
from fauxchange.services.market_data.service.scenarios import ScenarioDirector
from fauxchange.services.market_data.service.simulation import ModelSource
from fauxchange.services.market_data.service.tuning import FeedTuner
from fauxchange.services.market_data.ws import market_data_endpoint

NAME = "market-data"
STATE_MODEL = "market_data.model"
CHECKPOINT_S = 10.0
SNAPSHOT_PRIORITY = 1_000
"""Snapshots are taken after all prices of the same moment."""
SET_BACK_NS = NS_PER_MINUTE
"""A wall clock may have been corrected by less than this between two runs: then prices go on once it gets there."""
CANDLES_KEPT_SHARE = 4

_OF_OTHERS = {"journal"}
"""Stores of the data adapter that market data does not lean on."""

WallTime = Callable[[], int]

log = structlog.get_logger(__name__)


class MarketData:
    """The service with its edges; a lifecycle component."""

    name = NAME

    def __init__(
        self,
        config: MarketDataConfig,
        *,
        service: MarketDataService,
        director: ScenarioDirector,
        tuner: FeedTuner,
        parameters: RuntimeParameters | None,
        runners: Sequence[FeedRunner],
        model: ModelSource | None,
        history: History,
        heartbeat: Heartbeat,
        trail: AuditTrail,
        data: DataAdapter,
        clock: Clock,
        stream_metrics: StreamMetrics,
        feed_metrics: FeedMetrics,
        supervisor: Supervisor,
        scenarios: Sequence[ScenarioSpec],
        resumed: Mapping[str, Any],
        is_store_away: bool = False,
    ) -> None:
        self.service = service
        self.director = director
        self.tuner = tuner
        self._parameters = parameters
        self._config = config
        self._runners = runners
        self._model = model
        self._history = history
        self._heartbeat = heartbeat
        self._trail = trail
        self._data = data
        self._clock = clock
        self._feed_metrics = feed_metrics
        self._supervisor = supervisor
        self._scenarios = scenarios
        self._resumed = resumed
        self._is_store_away = is_store_away
        self._are_symbols_stored = False
        self._tasks: list[asyncio.Task[Any]] = []
        self.rpc = MarketDataRpc(
            service,
            limits=config.limits,
            heartbeat=heartbeat,
            metrics=stream_metrics,
            flush_interval_s=config.flush_interval_s,
            max_streams=config.max_grpc_streams,
        )
        self.endpoint: StreamEndpoint = market_data_endpoint(
            service, heartbeat=heartbeat, limits=config.limits, metrics=stream_metrics
        )

    @property
    def replays(self) -> Sequence[ReplaySource]:
        """The recordings that are replayed."""
        return [runner.source for runner in self._runners if isinstance(runner.source, ReplaySource)]

    @property
    def rest_routes(self) -> list[ControllerRouterHandler]:
        """The routes of the production API."""
        return market_data_routes(self.service)

    @property
    def audit_routes(self) -> list[ControllerRouterHandler]:
        """The routes of the audit API."""
        return audit_routes(self.director, self._trail, self._data.audit, self.state)

    @property
    def grpc_service(self) -> tuple[str, grpc.GenericRpcHandler]:
        """The full name of the gRPC service and its handlers."""
        return SERVICE_NAME, self.rpc.handler()

    def add_health(self, health: HealthRegistry) -> None:
        """Enter the service and what it leans on into the registry."""
        health.add_service(NAME, {"history": self._history.health, "audit-trail": self._trail.health})
        for name in sorted(self._data.health().keys() - _OF_OTHERS):
            health.add_dependency(NAME, name, partial(self._store_health, name))
        for runner in self._runners:
            health.add_dependency(NAME, f"feed-{runner.label}", runner.health)

    def _store_health(self, name: str) -> DependencyHealth:
        return self._data.health()[name]

    def state(self) -> dict[str, Any]:
        """Return the internal state, for the audit API."""
        return {
            "epoch": self.service.epoch,
            "sources": [
                {"name": runner.name, "ended": runner.ended, **dict(runner.source.report())} for runner in self._runners
            ],
            "markets": {
                symbol: {
                    "source": market.source.value,
                    "sequence": market.prices.sequence,
                    "subscribers": market.prices.subscribers,
                    "kept": len(market.prices.kept),
                    "candles": market.candles.state(),
                }
                for symbol, market in self.service.markets.items()
            },
            "parameters": {"version": self.tuner.version, **dict(self.tuner.parameters.items())},
            "history": {"backlog": self._history.backlog, "rows_lost": self._history.rows_lost},
            "scenarios": len([run for run in self.director.runs() if not run.is_over]),
        }

    async def start(self) -> None:
        """Open the sources, go on where the last run stopped, and begin to feed. Raises: ConfigurationError."""
        start_ns = self._clock.now_ns()
        await self._resume(start_ns)
        told = None if self._parameters is None else await self._parameters.current()
        self.tuner.apply(*((0, {}) if told is None else (told.version, told.values)))
        for runner in self._runners:
            await runner.source.open(start_ns)
            log.info("feed_source_opened", source=runner.name, **runner.source.report())
        await self._store_symbols()
        if self._scenarios:
            await self.director.start(self._scenarios, actor="configuration")
        self._history.start()
        self._heartbeat.start()
        self._trail.record("service.started", actor="system", data={"epoch": self.service.epoch})
        closing = Repeating(self._clock, NS_PER_S, self._close, priority=CLOSING_PRIORITY)
        snapshots = Repeating(
            self._clock, self._config.snapshot_interval_ns, self._snapshot, priority=SNAPSHOT_PRIORITY
        )
        work = [
            # Other sources know when their next row is due, and close what ends before it.
            *([("candles closing", closing.run())] if self._has_live_source else []),
            ("snapshots", snapshots.run()),
            ("checkpoints", self._checkpoint_for_ever()),
            *([] if self._parameters is None else [("feed parameters", self.tuner.follow(self._parameters))]),
            *((f"feed {runner.name}", runner.run()) for runner in self._runners),
        ]
        self._tasks = [self._supervisor.supervise(coroutine, name) for name, coroutine in work]

    async def stop(self) -> None:
        """Stop feeding, end what runs, and store everything that a next run goes on from."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.rpc.end_streams()
        await self.director.cancel_all(actor="system")
        for runner in self._runners:
            await runner.source.close()
        await self._heartbeat.stop()
        await self._history.stop()
        self._trail.record("service.stopped", actor="system")
        await self._trail.flush_quietly()
        with suppress(Unavailable):
            await self._save(clean=True)

    async def _store_symbols(self) -> None:
        """Tell the store which symbols are served; if it is away, the next checkpoint tries again."""
        with suppress(Unavailable):
            for market in self.service.get_active_symbols():
                await self._data.symbols.upsert(_symbol_record(market))
            self._are_symbols_stored = True

    async def _resume(self, start_ns: int) -> None:
        if self._is_store_away:
            return
        model_state = await self._data.state.load(STATE_MODEL) if self._resumed else None
        if self._model is not None and model_state is not None and not self._model.restore(model_state):
            log.warning("feed_starts_afresh", reason="seed, symbols, model or interval are other than in the last run")
        await self.service.restore(self._resumed)
        self.service.close_candles(start_ns)
        # From here on a stop that is not graceful is noticed: numbering then starts a new epoch.
        await self.service.save(clean=False)

    async def _save(self, *, clean: bool) -> None:
        model_state = None if self._model is None else self._model.state()
        if model_state is not None:
            await self._data.state.save(STATE_MODEL, model_state)
        await self.service.save(clean=clean)

    @property
    def _has_live_source(self) -> bool:
        return any(runner.source.kind is FeedSource.LIVE for runner in self._runners)

    async def _close(self, ts_ns: int) -> None:
        self.service.close_candles(ts_ns)

    async def _snapshot(self, ts_ns: int) -> None:  # noqa: ARG002 - a snapshot is of now
        with self._clock.working():
            for symbol, market in self.service.markets.items():
                if market.quote is None:
                    continue
                try:
                    await self.service.create_snapshot(symbol)
                except Unavailable as exc:
                    log.warning("snapshot_failed", symbol=symbol, error=exc.message)
                    return

    async def _checkpoint_for_ever(self) -> None:
        since_s = 0.0
        while True:
            await asyncio.sleep(1.0)
            self._feed_metrics.subscriptions(self.service.markets.values())
            self._feed_metrics.flush(self.service.markets.values())
            self._feed_metrics.total("dropped", "history", self._history.rows_lost)
            await self._trail.flush_quietly()
            since_s += 1.0
            if since_s >= CHECKPOINT_S:
                since_s = 0.0
                if not self._are_symbols_stored:
                    await self._store_symbols()
                with suppress(Unavailable):
                    await self._save(clean=False)


async def build_market_data(
    config: MarketDataConfig,
    sources: Sources,
    *,
    data: DataAdapter,
    clock: Clock,
    wall_ns: WallTime,
    metrics: MetricsPort,
    supervisor: Supervisor,
    scenarios: Sequence[ScenarioSpec] = (),
    extra_sources: Sequence[PriceSource] = (),
    parameters: RuntimeParameters | None = None,
    fan_out: PriceFanOut | None = None,
    stream_metrics: StreamMetrics | None = None,
) -> MarketData:
    """Return the service over a connected data adapter.

    `extra_sources` are sources that no setting describes (a fixed path, a user's own), `parameters` say what changes
    while the feed runs, `fan_out` takes prices to other processes.
    """
    resumed = await _stored_run(data)
    is_store_away, resumed = resumed is None, resumed or {}
    epoch, sequences = _numbering(resumed, wall_ns)
    if last_venue_ns(resumed) > clock.now_ns() + SET_BACK_NS:
        # An explicit start time, or a recording's: what was stored lies in the future and cannot be gone on from.
        log.warning("venue_time_set_back", stored=format_time(last_venue_ns(resumed)))
        epoch, sequences = _numbering({**resumed, "clean": False}, wall_ns)
        resumed = {}
    trail = AuditTrail(NAME, data.audit, clock=clock)
    with suppress(Unavailable):
        await trail.open()
    model = await model_source(config, sources.modelled, sources.model)
    feeds: list[PriceSource] = [
        *([model] if model is not None else []),
        *sources.replay_sources(config),
        *sources.push_sources(clock),
        *extra_sources,
    ]
    kinds = {instrument.symbol: feed.kind for feed in feeds for instrument in feed.instruments}
    instruments = served([feed.instruments for feed in feeds], config.symbols)
    keep = config.kept_messages(len(instruments))
    markets = {
        instrument.symbol: Market(
            instrument,
            kinds[instrument.symbol],
            _spread(config, instrument.symbol),
            epoch=epoch,
            keep=keep,
            keep_candles=max(1, keep // CANDLES_KEPT_SHARE),
            sequences=sequences,
        )
        for instrument in instruments
    }
    hub = Hub()
    history = History(
        data.price_feeds,
        data.candles,
        data.snapshots,
        clock=clock,
        epoch=epoch,
        retention=config.retention,
        open_candles=lambda: [candle for market in markets.values() for candle in market.candles.currents()],
    )
    feed_metrics = FeedMetrics(metrics)
    director = ScenarioDirector(
        [] if model is None else [model],
        markets,
        hub=hub,
        trail=trail,
        clock=clock,
        epoch=epoch,
        sequence=sequences.of("scenario", "*"),
        seed=config.seed,
    )
    service = MarketDataService(
        list(markets.values()),
        clock=clock,
        hub=hub,
        history=history,
        prices=data.price_feeds,
        candles=data.candles,
        state=data.state,
        metrics=feed_metrics,
        scenario_topic=director.topic,
        default_interval_ns=config.candle_interval_ns,
        epoch=epoch,
    )
    if fan_out is not None:
        fan_out_prices(hub, markets.values(), fan_out)
    runners = [
        FeedRunner(
            feed,
            [markets[instrument.symbol] for instrument in feed.instruments],
            service,
            history,
            clock=clock,
            metrics=feed_metrics,
            before_step=director.before_step,
            priority=priority,
        )
        for priority, feed in enumerate(feeds)
    ]
    tuner = FeedTuner(
        markets,
        model,
        _defaults(config, markets, model),
        # The model's runner is the first, if there is a model.
        reschedule=runners[0].reschedule if runners else lambda: None,
        speed=config.speed,
        trail=trail,
        clock=clock,
        metrics=metrics,
    )
    return MarketData(
        config,
        service=service,
        director=director,
        tuner=tuner,
        parameters=parameters,
        runners=runners,
        model=model,
        history=history,
        heartbeat=Heartbeat(epoch=epoch, interval_s=config.limits.heartbeat_s, now_ns=clock.now_ns),
        trail=trail,
        data=data,
        clock=clock,
        stream_metrics=stream_metrics or StreamMetrics(metrics),
        feed_metrics=feed_metrics,
        supervisor=supervisor,
        scenarios=scenarios,
        resumed=resumed,
        is_store_away=is_store_away,
    )


async def _stored_run(data: DataAdapter) -> Mapping[str, Any] | None:
    """Return what the last run stored, None if the store is away.

    The feed then begins a new epoch, as after a run that did not end well: prices need no store.
    """
    try:
        return await data.state.load(STATE_STREAMS) or {}
    except Unavailable as exc:
        log.warning("feed_starts_without_store", error=exc.message)
        return None


async def stored_venue_ns(data: DataAdapter) -> int:
    """Return the venue time at which the last run on these stores stopped (or was last seen), 0 if there was none."""
    return last_venue_ns(await data.state.load(STATE_STREAMS) or {})


def last_venue_ns(resumed: Mapping[str, Any]) -> int:
    """Return the venue time in a stored state, 0 if there is none."""
    return int(resumed.get("venue_ns", 0))


def _numbering(resumed: Mapping[str, Any], wall_ns: WallTime) -> tuple[int, Sequences]:
    """Go on with the numbers of a run that stopped gracefully; otherwise begin a new epoch.

    An epoch is the wall time in milliseconds at which numbering began: later ones are larger, whatever was lost.
    """
    if resumed.get("clean"):
        return int(resumed["epoch"]), Sequences(dict(resumed["sequences"]))
    return max(wall_ns() // NS_PER_MS, int(resumed.get("epoch", 0)) + 1), Sequences()


def _defaults(config: MarketDataConfig, markets: Mapping[str, Market], model: ModelSource | None) -> FeedParameters:
    modelled = () if model is None else [instrument.symbol for instrument in model.instruments]
    return FeedParameters(
        spread_bps={symbol: float(config.spread_bps(symbol)) for symbol in markets},
        volatility=dict.fromkeys(modelled, 1.0),
        interval_ns=config.interval_ns,
    )


def _spread(config: MarketDataConfig, symbol: str) -> SpreadPolicy:
    spread_bps = float(config.spread_bps(symbol))
    return VolatilitySpread(spread_bps) if config.widening_spreads else FixedSpread(spread_bps)


def _symbol_record(market: Market) -> SymbolRecord:
    instrument = market.instrument
    return SymbolRecord(
        symbol=instrument.symbol,
        tick_size=instrument.tick_size,
        lot_size=instrument.lot_size,
        metadata={"source": market.source.value},
    )
