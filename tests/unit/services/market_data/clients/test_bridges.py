from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.domain.chance import WordStream
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_S
from fauxchange.services.market_data.clients import bridges
from fauxchange.services.market_data.clients.bridges import BridgeTicks, CornerTicks, bridged
from fauxchange.services.market_data.clients.recordings import Recording, read_recording
from fauxchange.services.market_data.clients.replay import ReplaySource
from fauxchange.services.market_data.clients.stepping import MAX_COUNT, Rows
from fauxchange.services.market_data.core.batches import SPREAD_BY_POLICY, Int64Array, PriceBatch
from fauxchange.services.market_data.core.candles import LADDER_NS, CandleBook

T_NS = 1_700_000_040 * NS_PER_S
HOUR_NS = 60 * NS_PER_MINUTE

BAR_FILES = (
    "ada_eur_1h_2021-03_2023-03.csv.gz",
    "ada_usdt_perp_1m_2025-05.csv.gz",
    "btc_eur_1h_2021-03_2023-03.csv.gz",
    "btc_usd_index_1d_2015_2021.csv.gz",
    "btc_usdt_perp_1m_2025-05.csv.gz",
    "dot_eur_2h_2021-12_2023-12.csv.gz",
    "eth_eur_1h_2021-03_2023-03.csv.gz",
    "eth_usdt_perp_1m_2025-05.csv.gz",
    "sol_eur_1d_2021-08_2024-01.csv.gz",
    "sol_usdt_perp_1m_2025-05.csv.gz",
)


def one_bar(opened: int, high: int, low: int, close: int, lots: int = 0, *, at_ns: int = T_NS) -> Int64Array:
    return np.array([[at_ns, opened, high, low, close, lots]], dtype=np.int64)


def ticks_of(bar: Int64Array, ticks: int = 60, *, seed: int = 1, symbol: str = "BTC/USD") -> Rows:
    length_ns = ticks * NS_PER_S
    bridge = BridgeTicks(symbol, length_ns, interval_ns=NS_PER_S, seed=seed)
    return bridge.rows(bar, np.full(len(bar), length_ns))


def walks(count: int, ticks: int) -> Int64Array:
    """Return paths of a Laplace walk with moves of some hundred ticks. Shapes: result (count, ticks)."""
    words = WordStream(1, "test").words(0, 2 * count * ticks)
    sizes = bridges._exponentials(words[0::2]) * np.where(words[1::2] & np.uint64(1), 1.0, -1.0)
    return np.rint(np.cumsum(sizes.reshape(count, ticks), axis=1) * 300.0).astype(np.int64) + 10_000_000


def corners(paths: Int64Array) -> Int64Array:
    return np.column_stack((paths[:, 0], paths.max(axis=1), paths.min(axis=1), paths[:, -1]))


async def drained(source: ReplaySource, max_steps: int) -> list[tuple[int, ...]]:
    rows: list[tuple[int, ...]] = []
    while (batch := await source.next(max_steps)) is not None:
        rows += rows_of(batch)
    return rows


def rows_of(batch: PriceBatch) -> list[tuple[int, ...]]:
    columns = (batch.ts_ns, batch.mid_half_ticks, batch.spread_ticks, batch.last_ticks, batch.volume_lots)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.fixture
def bars(tmp_path: Path) -> Recording:
    """Return five minutes, of which one is missing."""
    path = tmp_path / "btc_usd.csv"
    times = [T_NS // NS_PER_S + 60 * minute for minute in (0, 1, 2, 4)]
    prices = ["100,130,90,120,1000", "120,120,80,81,7", "81,90,81,90,0", "90,90,90,90,3"]
    lines = [f"{time},{bar}" for time, bar in zip(times, prices, strict=True)]
    path.write_text("time,open,high,low,close,volume\n" + "\n".join(lines) + "\n")
    return read_recording(path)


def bridge_of(recording: Recording, *, interval_ns: int = NS_PER_S, seed: int = 1) -> BridgeTicks:
    return BridgeTicks(recording.instrument.symbol, recording.step_ns, interval_ns=interval_ns, seed=seed)


ticks_in_bars = st.one_of(st.integers(1, 5), st.integers(1, 1_000), st.integers(1, MAX_COUNT))


@given(st.lists(ticks_in_bars, min_size=4, max_size=4), st.integers(0, MAX_COUNT), st.integers(4, 90), st.data())
def test_any_bar_is_touched_at_its_four_prices_and_never_left(
    prices: list[int], lots: int, ticks: int, data: st.DataObject
) -> None:
    low, *inner, high = sorted(prices)
    opened, close = data.draw(st.permutations(inner))

    rows = ticks_of(one_bar(opened, high, low, close, lots), ticks)

    path = rows.last_ticks
    assert (path[0], path.max(), path.min(), path[-1]) == (opened, high, low, close)
    assert len(path) == ticks
    assert (rows.volume_lots >= 0).all()
    assert sum(rows.volume_lots.tolist()) == lots


@pytest.mark.parametrize(
    ("name", "bar"),
    {
        "flat": (7, 7, 7, 7),
        "one tick up": (7, 8, 7, 8),
        "one tick and back": (7, 8, 7, 7),
        "straight up": (5, 900, 5, 900),
        "straight down": (900, 900, 5, 5),
        "opens at the high": (900, 900, 5, 400),
        "closes at the low": (400, 900, 5, 5),
        "doji": (500, 900, 5, 500),
        "doji at the low": (5, 900, 5, 5),
        "widest that is counted": (1, MAX_COUNT, 1, MAX_COUNT),
    }.items(),
)
@pytest.mark.parametrize("ticks", [4, 5, 60])
def test_odd_bars_are_touched_at_their_four_prices(name: str, bar: tuple[int, ...], ticks: int) -> None:
    del name
    path = ticks_of(one_bar(*bar), ticks).last_ticks

    assert (path[0], path.max(), path.min(), path[-1]) == bar


def test_rows_are_prices_on_the_grid_evenly_apart_with_the_policys_spread() -> None:
    rows = ticks_of(one_bar(100, 130, 90, 120, 10))

    assert ((rows.ts_ns - T_NS) // NS_PER_S).tolist() == list(range(60))
    assert (rows.mid_half_ticks == 2 * rows.last_ticks).all()
    assert (rows.spread_ticks == SPREAD_BY_POLICY).all()
    assert not rows.symbol_index.any()


@pytest.mark.parametrize(
    ("bar_ns", "interval_ns", "ticks"),
    [
        (NS_PER_MINUTE, NS_PER_S, 60),
        (NS_PER_MINUTE, 7 * NS_PER_S, 8),
        (NS_PER_S, NS_PER_S, 4),
        (NS_PER_MINUTE, HOUR_NS, 4),
        (24 * HOUR_NS, NS_PER_S, 86_400),
        (24 * HOUR_NS, NS_PER_S // 1000, bridges.MOST_TICKS),
    ],
)
def test_ticks_are_the_interval_apart_but_at_least_four_and_never_too_many(
    bar_ns: int, interval_ns: int, ticks: int
) -> None:
    bridge = BridgeTicks("BTC/USD", bar_ns, interval_ns=interval_ns, seed=1)
    rows = bridge.rows(one_bar(5_000, 9_000, 1_000, 6_000, 5), np.array([bar_ns]))

    assert bridge.per_bar == len(rows.ts_ns) == ticks
    assert (rows.ts_ns[0], len(np.unique(rows.ts_ns))) == (T_NS, ticks)
    assert rows.ts_ns[-1] < T_NS + bar_ns


def test_a_path_follows_from_seed_symbol_and_time_and_from_nothing_else() -> None:
    bar = (5_000, 9_000, 1_000, 6_000)
    path = ticks_of(one_bar(*bar)).last_ticks.tolist()
    together = ticks_of(np.concatenate((one_bar(5, 7, 3, 4, at_ns=T_NS - NS_PER_MINUTE), one_bar(*bar))))

    others = [
        ticks_of(one_bar(*bar), seed=2),
        ticks_of(one_bar(*bar), symbol="ETH/USD"),
        ticks_of(one_bar(*bar, at_ns=T_NS + NS_PER_MINUTE)),
    ]

    assert together.last_ticks[60:].tolist() == path
    assert all(other.last_ticks.tolist() != path for other in others)


def test_paths_move_as_the_walks_do_that_their_bars_were_made_of() -> None:
    count, ticks = 4_000, 60
    real = walks(count, ticks)
    words = WordStream(2, "test").words(0, 2 * count * ticks)
    activity = bridges._exponentials(words[0::2]).reshape(count, ticks)
    noise = bridges.normals(words[1::2]).reshape(count, ticks)

    paths, order = bridged(corners(real), activity, noise)

    moves, real_moves = np.diff(paths, axis=1), np.diff(real, axis=1)
    variance, real_variance = np.mean(moves * moves), np.mean(real_moves * real_moves)
    at_high = (paths == real.max(axis=1)[:, None]).mean()
    assert 0.8 < variance / real_variance < 1.7
    assert np.mean(moves**4) / variance**2 > 4.5
    # A path that was cut off at the high and low would stay there.
    assert at_high < 1.2 * (real == real.max(axis=1)[:, None]).mean()
    assert abs(np.corrcoef(moves[:, :-1].ravel(), moves[:, 1:].ravel())[0, 1]) < 0.1
    # Where there is more activity, and so more volume, the price moves more.
    assert np.corrcoef(np.abs(moves).ravel(), order[:, 1:].ravel())[0, 1] > 0.3


def test_volume_comes_where_the_price_moves() -> None:
    bars = np.concatenate(
        [
            one_bar(*bar, 1_000_000, at_ns=T_NS + i * NS_PER_MINUTE)
            for i, bar in enumerate(corners(walks(200, 60)).tolist())
        ]
    )

    rows = ticks_of(bars)

    moves = np.abs(np.diff(rows.last_ticks.reshape(-1, 60), axis=1))
    lots = rows.volume_lots.reshape(-1, 60)[:, 1:]
    assert np.corrcoef(moves.ravel(), lots.ravel())[0, 1] > 0.3
    assert (rows.volume_lots > 0).mean() > 0.99


@pytest.mark.parametrize("max_steps", [1, 7, 60, 512])
async def test_blocks_may_be_cut_anywhere(bars: Recording, max_steps: int) -> None:
    whole, cut = (ReplaySource(bars, bar_ticks=bridge_of(bars)) for _ in range(2))
    for source in (whole, cut):
        await source.open(T_NS)

    assert await drained(cut, max_steps) == await drained(whole, 10_000)


@pytest.mark.parametrize("taken", [1, 59, 60, 61, 200])
async def test_a_replay_restored_in_the_middle_of_a_bar_goes_on_with_its_next_tick(bars: Recording, taken: int) -> None:
    whole, first, second = (ReplaySource(bars, bar_ticks=bridge_of(bars)) for _ in range(3))
    await whole.open(T_NS)
    await first.open(T_NS)
    before = [row for _ in range(taken) for row in rows_of(await first.next(1))]  # type: ignore[arg-type]

    assert second.restore(first.state() or {})
    await second.open(before[-1][0])

    assert before + await drained(second, 512) == await drained(whole, 512)


async def test_a_loop_shows_the_same_paths_again(bars: Recording) -> None:
    source = ReplaySource(bars, loop=True, bar_ticks=bridge_of(bars))
    await source.open(T_NS)
    passes = [rows_of(await source.next(512)) for _ in range(2)]  # type: ignore[arg-type]

    assert len(passes[0]) == 240
    assert [row[1:] for row in passes[0]] == [row[1:] for row in passes[1]]
    assert passes[1][0][0] == T_NS + 5 * NS_PER_MINUTE


@pytest.mark.parametrize(
    "ticks",
    [None, {"per_bar": 4, "name": "corners"}, {"per_bar": 60, "name": "bridge:60:2"}],
    ids=["an earlier version's", "corners", "another seed's"],
)
async def test_a_replay_with_other_ticks_goes_on_at_the_next_whole_bar(
    bars: Recording, ticks: dict[str, object] | None
) -> None:
    per_bar = 60 if ticks and ticks["name"] != "corners" else 4
    before = ReplaySource(bars, bar_ticks=bridge_of(bars)).state() or {}
    state = {name: value for name, value in before.items() if name != "ticks"} | {"row": per_bar + 1}
    source = ReplaySource(bars, bar_ticks=bridge_of(bars))

    assert source.restore(state if ticks is None else {**state, "ticks": ticks})
    await source.open(0)

    assert (await source.next(1)).last_ticks.tolist() == [81]  # type: ignore[union-attr]


@pytest.mark.parametrize("ticks", [{}, {"per_bar": 0, "name": "?"}, {"per_bar": "4"}, "corners", 4])
def test_a_state_with_ticks_that_make_no_sense_is_refused(bars: Recording, ticks: object) -> None:
    source = ReplaySource(bars, bar_ticks=bridge_of(bars))

    assert not source.restore({**(source.state() or {}), "ticks": ticks})


def test_corners_are_shown_as_they_always_were() -> None:
    rows = CornerTicks().rows(one_bar(5, 9, 2, 7, 10), np.array([NS_PER_MINUTE]))

    assert rows.last_ticks.tolist() == [5, 2, 9, 7]
    assert rows.volume_lots.tolist() == [2, 2, 2, 4]


@pytest.mark.data(*BAR_FILES)
@pytest.mark.parametrize("name", BAR_FILES)
async def test_candles_made_of_the_ticks_of_a_recorded_file_are_its_bars(recorded_data: Path, name: str) -> None:
    recorded = read_recording(recorded_data / name)
    # The longer bars become more than enough ticks with one a minute.
    interval_ns = NS_PER_S if recorded.step_ns <= NS_PER_MINUTE else NS_PER_MINUTE
    source = ReplaySource(recorded, bar_ticks=bridge_of(recorded, interval_ns=interval_ns))
    await source.open(recorded.first_ns)
    per_bar = int(source.report()["ticks_per_bar"])

    batches = []
    while (batch := await source.next(8_192)) is not None:
        batches.append((batch.ts_ns, batch.last_ticks, batch.volume_lots))

    times_ns, prices, lots = (np.concatenate(column).reshape(-1, per_bar) for column in zip(*batches, strict=True))
    made = np.column_stack(
        (times_ns[:, 0], prices[:, 0], prices.max(axis=1), prices.min(axis=1), prices[:, -1], lots.sum(axis=1))
    )
    assert (made == recorded.rows).all()
    assert (np.diff(times_ns.ravel()) > 0).all()


@pytest.mark.data("btc_usdt_perp_1m_2025-05.csv.gz")
async def test_the_services_candle_book_makes_the_recorded_minutes_of_the_ticks(recorded_data: Path) -> None:
    recorded = read_recording(recorded_data / "btc_usdt_perp_1m_2025-05.csv.gz")
    source = ReplaySource(recorded, bar_ticks=bridge_of(recorded))
    await source.open(recorded.first_ns)
    book, closed = CandleBook(recorded.instrument), []

    for _ in range(300):
        for ts_ns, mid, _, _, lots in rows_of(await source.next(60)):  # type: ignore[arg-type]
            closed += book.close_until(ts_ns)
            book.add(ts_ns, mid, lots)

    minutes = [
        [c.open_ns, c.open_ticks, c.high_ticks, c.low_ticks, c.close_ticks, c.volume_lots]
        for c in closed
        if c.interval_ns == NS_PER_MINUTE
    ]
    assert recorded.instrument.tick_size == Decimal("0.1")
    assert minutes == recorded.rows[:299].tolist()
    assert {c.interval_ns for c in closed} >= set(LADDER_NS[:-1])
