"""Recordings replayed by a whole venue: what clients see is what the files say, beside the model or in spite of it."""

from pathlib import Path

import numpy as np
import pytest

from fauxchange.data.ports import CandleQuery
from fauxchange.domain.errors import ConfigurationError
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_S, format_time
from fauxchange.realism.bars import Bars
from fauxchange.realism.distances import distances
from fauxchange.realism.recorded import bars_of_file
from fauxchange.services.market_data.clients.recordings import read_recording
from fauxchange.testing.inprocess import RunningVenue, running

MINUTES = "btc_usdt_perp_1m_2025-05.csv.gz"
QUOTES = "btc_usdt_spot_bbo_2024-08-08.csv.gz"
TRADES = "eth_usdt_spot_trades_2024-08-08.csv.gz"
START = "2025-05-05T00:00:00Z"
FEED = ("market-data",)
SYMBOLS = {"DEFAULT_SYMBOLS": "BTC/USD,ETH/USD", "STORE": "memory"}


async def candles(live: RunningVenue, symbol: str, interval_ns: int = NS_PER_MINUTE) -> Bars:
    """Return the closed candles of a symbol as bars."""
    page = await live.market_data.service.candle_history(
        CandleQuery(symbol=symbol, interval_ns=interval_ns, start_ns=0, limit=10_000)
    )
    made = [candle for candle in page.items if candle.closed]
    return Bars(
        symbol=symbol,
        interval_ns=interval_ns,
        open_ns=np.array([candle.open_ns for candle in made]),
        open=np.array([float(candle.open) for candle in made]),
        high=np.array([float(candle.high) for candle in made]),
        low=np.array([float(candle.low) for candle in made]),
        close=np.array([float(candle.close) for candle in made]),
        volume=np.array([float(candle.volume) for candle in made]),
    )


def assert_equal(made: Bars, wanted: Bars) -> None:
    assert len(made) == len(wanted)
    for name in ("open_ns", "open", "high", "low", "close", "volume"):
        assert getattr(made, name).tolist() == getattr(wanted, name).tolist(), name


@pytest.mark.data(MINUTES)
@pytest.mark.parametrize("ticks", ["bridge", "corners"])
async def test_replayed_candles_are_the_files_and_the_modelled_symbols_are_as_ever(
    tmp_path: Path, recorded_data: Path, ticks: str
) -> None:
    file = recorded_data / MINUTES
    replay = {"REPLAY": f"BTC-USD={file}", "REPLAY_START": START, "REPLAY_TICKS": ticks}
    settings = {**SYMBOLS, "START_TIME": START}
    async with running(tmp_path / "replayed", {**settings, **replay}, services=FEED, paused=True) as live:
        await live.clock.step(120 * NS_PER_MINUTE)
        replayed, beside = await candles(live, "BTC/USD"), await candles(live, "ETH/USD")
        kinds = {symbol: market.source.value for symbol, market in live.market_data.service.markets.items()}
    async with running(tmp_path / "modelled", settings, services=FEED, paused=True) as live:
        await live.clock.step(120 * NS_PER_MINUTE)
        alone = await candles(live, "ETH/USD")

    real = bars_of_file(file, symbol="BTC/USD")
    first = int(np.searchsorted(real.open_ns, replayed.open_ns[0]))
    wanted = real.part(first, first + 120)
    assert kinds == {"BTC/USD": "replay", "ETH/USD": "simulator"}
    assert format_time(int(replayed.open_ns[0])) == "2025-05-05T00:00:00.000000Z"
    assert_equal(replayed, wanted)
    # Some distances want more hours than two.
    far = [value for value in distances(wanted, replayed).values() if not np.isnan(value)]
    assert far
    assert set(far) == {0.0}
    assert_equal(beside, alone)


@pytest.mark.data(QUOTES, TRADES)
async def test_quotes_and_trades_are_replayed_side_by_side_with_the_model(tmp_path: Path, recorded_data: Path) -> None:
    quotes, trades = recorded_data / QUOTES, recorded_data / TRADES
    span = "2024-08-08T23:55:00Z..2024-08-08T23:56:00Z"
    settings = {**SYMBOLS, "REPLAY": f"{quotes}@{span},{trades}@{span}", "SPEED": "max"}
    async with running(tmp_path, settings, services=FEED, paused=True) as live:
        await live.clock.step(NS_PER_MINUTE)
        service = live.market_data.service
        made = {symbol: await candles(live, symbol, NS_PER_S) for symbol in ("BTC/USDT", "ETH/USDT")}
        quote, model = service.price("BTC/USDT"), service.price("BTC/USD")

    recorded = read_recording(quotes, end_ns=quote.ts_ns + 1)
    printed = read_recording(
        trades, start_ns=int(made["ETH/USDT"].open_ns[0]), end_ns=int(made["ETH/USDT"].open_ns[-1])
    )
    seconds = printed.rows[:, 0] // NS_PER_S * NS_PER_S
    volumes = {int(second): int(printed.rows[seconds == second, 2].sum()) for second in np.unique(seconds)}
    lots = made["ETH/USDT"].volume / float(printed.instrument.lot_size)
    assert (quote.bid_ticks, quote.ask_ticks) == tuple(recorded.rows[-1, 1:])
    assert format_time(quote.ts_ns) < "2024-08-08T23:56:00Z"
    assert {t: round(v) for t, v in zip(made["ETH/USDT"].open_ns.tolist()[:-1], lots, strict=False)} == volumes
    assert abs(model.ts_ns - quote.ts_ns) < NS_PER_S


@pytest.mark.data(MINUTES)
async def test_a_span_in_which_nothing_was_recorded_is_refused_with_the_files_own(
    tmp_path: Path, recorded_data: Path
) -> None:
    settings = {"REPLAY": str(recorded_data / MINUTES), "REPLAY_START": "2025-07-01", "REPLAY_END": "2025-08-01"}

    with pytest.raises(ConfigurationError, match=r"2025-05-04T15:33:00.*2025-06-03T15:31:00.*no row in the span"):
        async with running(tmp_path, settings, services=FEED):
            pass


@pytest.mark.data(MINUTES)
async def test_a_span_that_loops_shows_its_candles_again(tmp_path: Path, recorded_data: Path) -> None:
    span = {"REPLAY_START": START, "REPLAY_END": "2025-05-05T00:10:00Z", "REPLAY_LOOP": "true", "START_TIME": START}
    settings = {**SYMBOLS, "REPLAY": f"BTC-USD={recorded_data / MINUTES}", **span}
    async with running(tmp_path, settings, services=FEED, paused=True) as live:
        await live.clock.step(30 * NS_PER_MINUTE)
        made = await candles(live, "BTC/USD")

    assert len(made) == 30
    for name in ("open", "high", "low", "close", "volume"):
        column = getattr(made, name).tolist()
        assert column[:10] == column[10:20] == column[20:]
    assert len(set(made.close.tolist())) > 5
