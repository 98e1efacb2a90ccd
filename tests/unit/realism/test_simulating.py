"""Simulated bars are the model's prices as the feed quotes them, whatever they are made together with."""

import asyncio
from decimal import Decimal

import numpy as np
import pytest

from fauxchange.domain.errors import ConfigurationError, InvalidRequest, InvariantViolation
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.market_data import Candle
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_S
from fauxchange.realism import simulating
from fauxchange.realism.bars import Bars
from fauxchange.realism.simulating import (
    START_NS,
    default_instruments,
    finished,
    joined,
    quoted_ticks,
    simulate,
    simulated_blocks,
)
from fauxchange.services.market_data.core.candles import CandleBook
from fauxchange.services.market_data.core.parameters import default_table
from fauxchange.services.market_data.core.quotes import FixedSpread, bid_ask
from fauxchange.services.market_data.service.simulation import ModelSource

HOUR = 1 / (7 * 24)
BTC_ADA = default_instruments(["BTC/USD", "ADA/USD"])


def assert_equal(first: Bars, second: Bars) -> None:
    for name in ("open_ns", "open", "high", "low", "close", "volume"):
        assert getattr(first, name).tolist() == getattr(second, name).tolist(), name


def candles_of(instrument: Instrument, seed: int, seconds: int) -> list[Candle]:
    """Return the closed minutes that the service's own candles make of the service's own source."""
    source = ModelSource(
        [instrument], seed=seed, interval_ns=NS_PER_S, initial_prices={instrument.symbol: Decimal(60_000)}
    )
    finished(source.open(START_NS))
    book, spread = CandleBook(instrument), FixedSpread(1.0)
    closed: list[Candle] = []
    for second in range(seconds):
        batch = finished(source.next(1))
        assert batch is not None
        ts_ns, mid = START_NS + second * NS_PER_S, int(batch.mid_half_ticks[0])
        closed += [each for each in book.close_until(ts_ns) if each.interval_ns == NS_PER_MINUTE]
        book.add(ts_ns, sum(bid_ask(mid, spread.spread_ticks(mid, ts_ns))), int(batch.volume_lots[0]))
    return closed


def test_bars_are_those_of_the_services_candles() -> None:
    instrument = BTC_ADA[0]

    bars = simulate(default_table(), [instrument], weeks=HOUR / 12, seed=5, initial_prices={"BTC/USD": Decimal(60_000)})

    candles = candles_of(instrument, seed=5, seconds=5 * 60 + 1)
    made = bars["BTC/USD"].part(0, 5)
    assert [candle.open_ns for candle in candles] == made.open_ns.tolist()
    for name in ("open", "high", "low", "close"):
        ticks = [getattr(candle, f"{name}_ticks") for candle in candles]
        assert [float(instrument.prices.decimal(each)) for each in ticks] == getattr(made, name).tolist()
    volumes = [float(instrument.quantities.decimal(candle.volume_lots)) for candle in candles]
    assert made.volume is not None
    assert volumes == made.volume.tolist()
    assert sum(volumes) > 0.0


def test_a_quarter_of_a_tick_is_rounded_as_quotes_and_candles_round_it() -> None:
    mids = np.arange(2, 4_000, dtype=np.int64)

    for spread_bps in (0.0, 1.0, 7.0, 400.0):
        instrument = Instrument(symbol="A/USD", tick_size=Decimal("0.01"), lot_size=Decimal(1))
        slow = []
        for mid in mids.tolist():
            book = CandleBook(instrument)
            book.add(0, sum(bid_ask(mid, FixedSpread(spread_bps).spread_ticks(mid, 0))), 0)
            candle = book.current(NS_PER_S)
            assert candle is not None
            slow.append(candle.close_ticks)
        assert quoted_ticks(mids, spread_bps).tolist() == slow


def test_other_symbols_and_other_blocks_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = simulate(default_table(), BTC_ADA[:1], weeks=5 * HOUR, seed=7)
    together = simulate(default_table(), default_instruments(), weeks=5 * HOUR, seed=7)
    again = simulate(default_table(), BTC_ADA[::-1], weeks=5 * HOUR, seed=7)
    other = simulate(default_table(), BTC_ADA[:1], weeks=5 * HOUR, seed=8)
    monkeypatch.setattr(simulating, "BLOCK_STEPS", 777)
    cut = simulate(default_table(), BTC_ADA[:1], weeks=5 * HOUR, seed=7)

    assert len(alone["BTC/USD"]) == 301
    assert_equal(alone["BTC/USD"], together["BTC/USD"])
    assert_equal(alone["BTC/USD"], again["BTC/USD"])
    assert_equal(alone["BTC/USD"], cut["BTC/USD"])
    assert alone["BTC/USD"].close.tolist() != other["BTC/USD"].close.tolist()


def test_there_are_as_many_returns_as_the_weeks_have_bars() -> None:
    bars = simulate(default_table(), BTC_ADA, weeks=2, seed=1, step_ns=NS_PER_MINUTE)

    assert [len(each) for each in bars.values()] == [2 * 10_080 + 1] * 2
    assert bars["ADA/USD"].open_ns[0] == START_NS
    assert len(list(bars["ADA/USD"].runs())) == 1


def test_bars_of_other_lengths_are_gathered_from_the_same_prices() -> None:
    minutes = simulate(default_table(), BTC_ADA, weeks=HOUR, seed=2, step_ns=10 * NS_PER_S)
    fives = simulate(default_table(), BTC_ADA, weeks=HOUR, seed=2, step_ns=10 * NS_PER_S, bar_ns=5 * NS_PER_MINUTE)
    days = simulate(
        default_table(), BTC_ADA, weeks=1 / 7, seed=2, step_ns=10 * NS_PER_S, bar_ns=24 * 60 * NS_PER_MINUTE
    )

    gathered = minutes["BTC/USD"].part(0, 60).gathered(5 * NS_PER_MINUTE)
    first = fives["BTC/USD"].part(0, 12)
    for name in ("open_ns", "open", "high", "low", "close"):
        assert getattr(gathered, name).tolist() == getattr(first, name).tolist()
    assert gathered.volume is not None
    assert first.volume is not None
    assert gathered.volume.tolist() == pytest.approx(first.volume.tolist())
    assert len(days["BTC/USD"]) == 2
    assert days["BTC/USD"].open[0] == minutes["BTC/USD"].open[0]


def test_blocks_joined_are_the_whole_and_tell_how_far_they_are() -> None:
    told: list[tuple[int, int]] = []
    end_ns = START_NS + 600 * NS_PER_MINUTE

    blocks = list(
        simulated_blocks(
            default_table(),
            BTC_ADA,
            seed=3,
            start_ns=START_NS,
            end_ns=end_ns,
            progress=lambda done, total: told.append((done, total)),
        )
    )

    assert len(blocks) > 1
    whole = joined([block["ADA/USD"] for block in blocks])
    assert len(whole) == 600
    expected = simulate(default_table(), BTC_ADA, weeks=10 * HOUR, seed=3)["ADA/USD"]
    assert_equal(whole, expected.part(0, 600))
    assert told[-1] == (36_000, 36_000)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_times_that_do_not_fit_each_other_and_unknown_models_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"bars of 1m are not made of whole steps of 7s"):
        simulate(default_table(), BTC_ADA, weeks=HOUR, seed=1, step_ns=7 * NS_PER_S)
    with pytest.raises(InvalidRequest, match="whole bars of 1m"):
        simulate(default_table(), BTC_ADA, weeks=HOUR, seed=1, start_ns=START_NS + NS_PER_S)
    with pytest.raises(InvalidRequest) as nothing:
        simulate(default_table(), BTC_ADA, weeks=-1.0, seed=1)
    with pytest.raises(ConfigurationError, match="heston"):
        simulate(default_table(), BTC_ADA, weeks=HOUR, seed=1, model="heston")

    assert nothing.value.code == "times_do_not_fit"


def test_a_coroutine_that_would_wait_is_a_bug() -> None:
    with pytest.raises(InvariantViolation):
        finished(asyncio.sleep(0))


async def test_bars_are_simulated_inside_an_event_loop_too() -> None:
    bars = simulate(default_table(), BTC_ADA, weeks=HOUR, seed=1, step_ns=NS_PER_MINUTE)

    assert len(bars["BTC/USD"]) == 61
