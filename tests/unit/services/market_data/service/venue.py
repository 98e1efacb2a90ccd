"""A feed over memory stores and a fixed path, for the tests of the service."""

from collections.abc import Sequence
from decimal import Decimal

from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.audit import AuditTrail
from fauxchange.platform.clock import VirtualClock
from fauxchange.platform.metrics import NullMetrics
from fauxchange.platform.streams.hub import Hub
from fauxchange.services.market_data.core.quotes import FixedSpread
from fauxchange.services.market_data.ports import PriceSource
from fauxchange.services.market_data.service.feed import MarketDataService
from fauxchange.services.market_data.service.history import History, Retention
from fauxchange.services.market_data.service.market import Market, Sequences
from fauxchange.services.market_data.service.metrics import FeedMetrics
from fauxchange.services.market_data.service.runner import FeedRunner
from fauxchange.services.market_data.service.scenarios import ScenarioDirector

START_NS = 1_767_225_600 * NS_PER_S
"""2026-01-01T00:00:00Z"""
BTC = Instrument(symbol="BTC/USD", tick_size=Decimal("0.01"), lot_size=Decimal("0.00001"))
ETH = Instrument(symbol="ETH/USD", tick_size=Decimal("0.01"), lot_size=Decimal("0.0001"))
KEEP_ALL = Retention(prices_ns=None, second_candles_ns=None, candles_ns=None, snapshots_ns=None)


class Feed:
    """The service, its stores and its runner."""

    def __init__(
        self,
        source: PriceSource,
        *,
        keep: int = 1_000,
        spread_bps: float = 1.0,
        data: MemoryDataAdapter | None = None,
        retention: Retention = KEEP_ALL,
        targets: Sequence[object] = (),
    ) -> None:
        self.clock = VirtualClock(START_NS)
        self.data = data or MemoryDataAdapter()
        self.hub = Hub()
        self.markets = {
            instrument.symbol: Market(
                instrument,
                source.kind,
                FixedSpread(spread_bps),
                epoch=7,
                keep=keep,
                keep_candles=keep,
                sequences=Sequences(),
            )
            for instrument in source.instruments
        }
        self.history = History(
            self.data.price_feeds,
            self.data.candles,
            self.data.snapshots,
            clock=self.clock,
            epoch=7,
            retention=retention,
            open_candles=lambda: [c for market in self.markets.values() for c in market.candles.currents()],
        )
        self.trail = AuditTrail("market-data", self.data.audit, clock=self.clock)
        self.director = ScenarioDirector(
            targets,  # type: ignore[arg-type]  # fakes that have `schedule`
            self.markets,
            hub=self.hub,
            trail=self.trail,
            clock=self.clock,
            epoch=7,
            sequence=0,
            seed=1,
        )
        metrics = FeedMetrics(NullMetrics())
        self.service = MarketDataService(
            list(self.markets.values()),
            clock=self.clock,
            hub=self.hub,
            history=self.history,
            prices=self.data.price_feeds,
            candles=self.data.candles,
            state=self.data.state,
            metrics=metrics,
            scenario_topic=self.director.topic,
            default_interval_ns=60 * NS_PER_S,
            epoch=7,
        )
        self.source = source
        self.runner = FeedRunner(
            source,
            list(self.markets.values()),
            self.service,
            self.history,
            clock=self.clock,
            metrics=metrics,
            before_step=self.director.before_step,
            priority=0,
        )
