"""The candles of a running service equal the bars that facts are computed from, bar for bar.

Some hours go through here; with `FAUXCHANGE_TEST_HOURS=24` it is a whole day, and a whole day under scenarios.
"""

import os
import time
from collections.abc import Mapping, Sequence

import numpy as np

from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.data.ports import CandleQuery
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.market_data import CandleRecord
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_S, format_time
from fauxchange.platform.clock import MAX_SPEED, VirtualClock
from fauxchange.platform.lifecycle import Supervisor
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.platform.settings import Settings, load_settings
from fauxchange.realism.bars import Bars
from fauxchange.realism.simulating import START_NS, simulate
from fauxchange.services.market_data.app import build_market_data, read_config, read_sources
from fauxchange.services.market_data.core.parameters import default_table
from fauxchange.services.market_data.core.scenario_files import specs_from_text
from fauxchange.services.market_data.core.scenarios import ScenarioSpec, Timeline, place

HOURS = int(os.environ.get("FAUXCHANGE_TEST_HOURS") or 6)
NS_PER_HOUR = 60 * NS_PER_MINUTE
SETTINGS = {"START_TIME": format_time(START_NS), "SPEED": "max", "SEED": "20260101", "MODEL_ENGINE": "compiled"}

CRASH = """
scenarios:
  - id: morning-crash
    kind: crash
    symbols: [BTC-USD, ETH-USD]
    start: 20m
    magnitude: 0.15
    duration: 15m
    buildup: 10m
  - id: lunch
    kind: reverting
    symbols: [SOL-USD]
    start: 30m10s
    duration: 20m
"""


async def candles_of_a_run(
    settings: Settings, span_ns: int, scenarios: Sequence[ScenarioSpec] = ()
) -> Mapping[str, list[CandleRecord]]:
    """Run the whole market-data service on a virtual clock; return the minutes it stored, by symbol."""
    data = MemoryDataAdapter()
    await data.connect()
    clock = VirtualClock(START_NS, MAX_SPEED)
    config = read_config(settings)
    market_data = await build_market_data(
        config,
        read_sources(config),
        data=data,
        clock=clock,
        wall_ns=time.time_ns,
        metrics=PrometheusMetrics("test", "test", "0"),
        supervisor=Supervisor(stop_timeout_ns=NS_PER_S),
        scenarios=scenarios,
    )
    await market_data.start()
    await clock.run_until(START_NS + span_ns)
    await market_data.stop()
    stored = {}
    for symbol in settings.default_symbols:
        query = CandleQuery(symbol=symbol, interval_ns=NS_PER_MINUTE, end_ns=START_NS + span_ns, limit=10_000)
        stored[symbol] = list((await data.candles.query(query)).items)
    await data.disconnect()
    return stored


def judged_bars(settings: Settings, span_ns: int, timeline: Timeline) -> Mapping[str, Bars]:
    """Return the bars of the bare model with the seed, the step and the grids of the settings."""
    instruments = [settings.instrument(symbol) for symbol in settings.default_symbols]
    # One bar more than the weeks come to, as many as returns: it is cut off below.
    weeks = span_ns / NS_PER_HOUR / (7 * 24)
    bars = simulate(default_table(), instruments, weeks=weeks, seed=settings.seed, timeline=timeline)
    return {symbol: each.part(0, len(each) - 1) for symbol, each in bars.items()}


def assert_same(stored: list[CandleRecord], bars: Bars, instrument: Instrument) -> None:
    assert len(stored) == len(bars)
    assert all(candle.closed for candle in stored)
    assert [candle.open_ns for candle in stored] == bars.open_ns.tolist()
    for name in ("open", "high", "low", "close", "volume"):
        live = np.array([float(getattr(candle, name)) for candle in stored])
        different = np.flatnonzero(live != getattr(bars, name))
        assert not len(different), (
            f"{instrument.symbol}: {len(different)} of {len(bars)} bars differ in {name}, the first at "
            f"{format_time(int(bars.open_ns[different[0]]))}"
        )


async def test_candles_of_the_service_are_the_bars_of_the_model() -> None:
    settings = load_settings(SETTINGS, environ={})
    span_ns = HOURS * NS_PER_HOUR

    stored = await candles_of_a_run(settings, span_ns)

    bars = judged_bars(settings, span_ns, Timeline())
    assert len(settings.default_symbols) == 5
    for symbol in settings.default_symbols:
        assert_same(stored[symbol], bars[symbol], settings.instrument(symbol))


async def test_candles_of_the_service_are_the_bars_of_the_model_under_scenarios() -> None:
    specs = specs_from_text(CRASH, file_name="crash.yaml")
    settings = load_settings(SETTINGS, environ={})
    timeline = Timeline(place(specs, origin_ns=START_NS, seed=settings.seed))
    span_ns = (HOURS if HOURS > 6 else 2) * NS_PER_HOUR

    stored = await candles_of_a_run(settings, span_ns, specs)

    bars = judged_bars(settings, span_ns, timeline)
    for symbol in settings.default_symbols:
        assert_same(stored[symbol], bars[symbol], settings.instrument(symbol))
    calm = judged_bars(settings, span_ns, Timeline())
    assert bars["BTC/USD"].close[-1] < 0.95 * calm["BTC/USD"].close[-1]
    assert bars["ADA/USD"].close.tolist() == calm["ADA/USD"].close.tolist()
