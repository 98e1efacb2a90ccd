"""Parameters that change while the feed runs: what is changed, what is told of it, and what is left alone."""

import math
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any

import pytest

from fauxchange.data.memory.trail import MemoryAudit
from fauxchange.data.ports import AuditQuery
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.market_data import FeedSource
from fauxchange.domain.times import NS_PER_MS, NS_PER_S
from fauxchange.platform.audit import AuditTrail
from fauxchange.platform.clock import VirtualClock
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.services.market_data.core.feed_parameters import FeedParameters
from fauxchange.services.market_data.core.quotes import FixedSpread, SpreadPolicy, VolatilitySpread
from fauxchange.services.market_data.ports import RuntimeValues
from fauxchange.services.market_data.service.market import Market, Sequences
from fauxchange.services.market_data.service.tuning import FeedTuner

START_NS = 1_767_225_600 * NS_PER_S


class Model:
    """A model that notes what it is told."""

    def __init__(self, *, is_compiled: bool = True) -> None:
        self.is_compiled = is_compiled
        self.models: Mapping[str, Mapping[str, Any]] = {}
        self.told: list[tuple[int, dict[str, float]]] = []

    def tune(
        self,
        *,
        interval_ns: int,
        volatility: Mapping[str, float],
        models: Mapping[str, Mapping[str, Any]],
        now_ns: int,
    ) -> None:
        assert now_ns == START_NS
        self.models = models
        self.told.append((interval_ns, dict(volatility)))


class Told:
    """A source that tells a few versions and ends."""

    def __init__(self, *values: Mapping[str, Any]) -> None:
        self._values = values

    async def current(self) -> RuntimeValues | None:
        return None

    async def changes(self) -> AsyncIterator[RuntimeValues]:
        for version, values in enumerate(self._values, 1):
            yield RuntimeValues(version, values)


def market(symbol: str, spread: SpreadPolicy) -> Market:
    instrument = Instrument(symbol=symbol, tick_size=Decimal("0.01"), lot_size=Decimal("0.001"))
    return Market(instrument, FeedSource.SIMULATOR, spread, epoch=1, keep=8, keep_candles=8, sequences=Sequences())


class Bench:
    """A tuner with two markets, of which one is modelled."""

    def __init__(self, model: Model | None = None, *, speed: float = 1.0) -> None:
        self.model = model
        self.clock = VirtualClock(START_NS)
        self.audit = MemoryAudit()
        self.metrics = PrometheusMetrics("service", "instance", "version")
        self.rescheduled = 0
        self.markets = {
            "BTC/USD": market("BTC/USD", FixedSpread(1.0)),
            "ETH/USD": market("ETH/USD", VolatilitySpread(5.0)),
        }
        self.tuner = FeedTuner(
            self.markets,
            model,
            FeedParameters(
                spread_bps={"BTC/USD": 1.0, "ETH/USD": 5.0},
                volatility={} if model is None else {"BTC/USD": 1.0},
                interval_ns=NS_PER_S,
            ),
            reschedule=self._reschedule,
            speed=speed,
            trail=AuditTrail("market-data", self.audit, clock=self.clock),
            clock=self.clock,
            metrics=self.metrics,
        )

    def _reschedule(self) -> None:
        self.rescheduled += 1

    async def follow(self, *values: Mapping[str, Any]) -> None:
        await self.tuner.follow(Told(*values))

    async def events(self) -> list[tuple[str | None, str, str, int]]:
        page = await self.audit.query(AuditQuery(source="market-data"))
        assert {event.type for event in page.items} <= {"fauxchange.feed.parameter_changed"}
        return [(each.subject, each.data["before"], each.data["after"], each.data["version"]) for each in page.items]

    def count(self, name: str, parameter: str) -> float:
        for line in self.metrics.expose()[0].decode().splitlines():
            if line.startswith(f"{name}{{") and f'parameter="{parameter}"' in line:
                return float(line.rpartition(" ")[2])
        return 0


async def test_a_spread_holds_from_the_next_price_on() -> None:
    bench = Bench()

    await bench.follow({"spread_bps.BTC-USD": "20"})

    quote = bench.markets["BTC/USD"].make_quote(START_NS, 2_000_000, None, None, 0)
    assert quote.ask_ticks - quote.bid_ticks == 2_000
    assert await bench.events() == [("spread_bps.BTC-USD", "1", "20", 1)]
    assert bench.count("feed_parameter_changes_total", "spread_bps") == 1


async def test_a_spread_that_widens_goes_on_with_what_it_knows_of_the_past() -> None:
    bench = Bench()
    spread = bench.markets["ETH/USD"].spread
    for step in range(50):
        spread.spread_ticks(2_000_000 + 5_000 * (step % 2 if step > 40 else 0) + step % 2, START_NS + step * NS_PER_S)
    assert isinstance(spread, VolatilitySpread)
    widening = spread.widening
    assert widening > 1

    await bench.follow({"spread_bps": "50"})

    assert bench.markets["ETH/USD"].spread is spread
    assert (spread.spread_bps, spread.widening) == (50.0, widening)
    assert bench.markets["BTC/USD"].spread == FixedSpread(50.0)


async def test_a_value_that_is_taken_away_gives_the_setting_back() -> None:
    bench = Bench(Model())

    await bench.follow({"spread_bps": "20", "price_update_interval": "5s", "volatility": 3}, {})

    assert bench.markets["BTC/USD"].spread == FixedSpread(1.0)
    assert bench.model is not None
    assert bench.model.told == [(5 * NS_PER_S, {"BTC/USD": 3.0}), (NS_PER_S, {"BTC/USD": 1.0})]
    assert [event[2] for event in (await bench.events())[4:]] == ["1", "5", "1", "1s"]


async def test_the_model_is_told_of_its_interval_and_volatility_and_of_nothing_else() -> None:
    bench = Bench(Model())
    assert bench.model is not None

    await bench.follow({"spread_bps": "20"})
    assert bench.model.told == []
    await bench.follow({"spread_bps": "20", "volatility.BTC-USD": "2"})
    assert (bench.model.told, bench.rescheduled) == ([(NS_PER_S, {"BTC/USD": 2.0})], 0)
    await bench.follow({"spread_bps": "20", "volatility.BTC-USD": "2", "price_update_interval": "250ms"})

    assert bench.model.told[1:] == [(250 * NS_PER_MS, {"BTC/USD": 2.0})]
    assert bench.rescheduled == 1


async def test_what_was_told_already_changes_nothing() -> None:
    bench = Bench(Model())
    values = {"spread_bps": "20", "volatility": "2"}

    await bench.follow(values, values, dict(values))

    assert len(await bench.events()) == 3
    assert bench.model is not None
    assert len(bench.model.told) == 1


async def test_values_that_mean_nothing_are_left_out_and_counted_once() -> None:
    bench = Bench(Model())
    bad = {"spread_bps": "wide", "spread_bps.DOGE-USD": "1", "volatility": -1, "nonsense": 1, "spread_bps.BTC-USD": "7"}

    await bench.follow(bad, dict(bad))

    assert bench.tuner.parameters.spread_bps == {"BTC/USD": 7.0, "ETH/USD": 5.0}
    assert bench.count("feed_parameters_ignored_total", "spread_bps") == 2
    assert bench.count("feed_parameters_ignored_total", "volatility") == 1
    assert bench.count("feed_parameters_ignored_total", "unknown") == 1


@pytest.mark.parametrize(
    ("is_compiled", "speed", "interval_ns"),
    [(False, 1.0, NS_PER_S), (False, math.inf, NS_PER_MS), (True, 10.0, NS_PER_MS)],
)
async def test_an_interval_that_the_model_cannot_keep_up_with_is_left_out(
    is_compiled: bool, speed: float, interval_ns: int
) -> None:
    bench = Bench(Model(is_compiled=is_compiled), speed=speed * 10)

    await bench.follow({"price_update_interval": "1ms", "volatility": "2"})

    assert bench.tuner.parameters.interval_ns == interval_ns
    assert bench.tuner.parameters.volatility == {"BTC/USD": 2.0}


async def test_a_model_holds_until_it_is_taken_away() -> None:
    bench = Bench(Model())

    await bench.follow({"model.BTC-USD": {"sigma": 0.002}}, {"model.BTC-USD": {"sigma": 0.002}}, {})

    assert bench.model is not None
    assert len(bench.model.told) == 2
    assert bench.model.models == {}
    assert [event[:3] for event in await bench.events()] == [
        ("model.BTC-USD", "as at the start", '{"sigma":0.002}'),
        ("model.BTC-USD", '{"sigma":0.002}', "as at the start"),
    ]
    assert bench.count("feed_parameter_changes_total", "model") == 2


async def test_a_bad_model_is_told_and_the_feed_goes_on_as_it_was() -> None:
    bench = Bench(Model())

    await bench.follow({"model.BTC-USD": {"sigma": 0}, "volatility": 2})

    assert bench.model is not None
    assert (bench.model.told, bench.model.models) == ([(NS_PER_S, {"BTC/USD": 2.0})], {})
    assert bench.count("feed_parameters_ignored_total", "model") == 1


async def test_a_restored_model_that_nobody_wants_any_more_is_given_up() -> None:
    model = Model()
    model.models = {"BTC/USD": {"sigma": 0.002}}
    bench = Bench(model)

    bench.tuner.apply(0, {})

    assert model.models == {}
    assert len(model.told) == 1
