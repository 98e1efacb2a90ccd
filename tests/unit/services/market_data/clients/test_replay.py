import gzip
import itertools
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.domain.market_data import FeedSource
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_MS, NS_PER_S
from fauxchange.services.market_data.clients.recordings import Recording, read_recording
from fauxchange.services.market_data.clients.replay import ReplaySource, first_time_ns
from fauxchange.services.market_data.core.batches import NO_LAST, SPREAD_BY_POLICY, PriceBatch

T = 1_700_000_040
T_NS = T * NS_PER_S


@pytest.fixture
def quotes(tmp_path: Path) -> Recording:
    seconds = [0, 1, 1, 1, 3]
    return read(tmp_path, "time,bid,ask\n" + "".join(f"{T + s},{10 + i}.5,{11 + i}\n" for i, s in enumerate(seconds)))


def read(tmp_path: Path, text: str, name: str = "btc_usd.csv") -> Recording:
    path = tmp_path / name
    path.write_text(text)
    return read_recording(path)


async def drain(source: ReplaySource, max_steps: int = 100) -> list[PriceBatch]:
    batches = []
    while (batch := await source.next(max_steps)) is not None:
        batches.append(batch)
    return batches


def rows(batches: list[PriceBatch]) -> list[tuple[int, ...]]:
    return [
        tuple(map(int, row))
        for batch in batches
        for row in zip(
            batch.ts_ns, batch.mid_half_ticks, batch.spread_ticks, batch.last_ticks, batch.volume_lots, strict=True
        )
    ]


async def test_quotes_are_handed_on_as_recorded(quotes: Recording) -> None:
    source = ReplaySource(quotes)
    await source.open(first_time_ns([quotes]))

    replayed = rows(await drain(source))

    assert source.kind is FeedSource.REPLAY
    assert [i.symbol for i in source.instruments] == ["BTC/USD"]
    assert replayed[0] == (T_NS, 105 + 110, 5, NO_LAST, 0)
    assert [row[0] - T_NS for row in replayed] == [0, NS_PER_S, NS_PER_S, NS_PER_S, 3 * NS_PER_S]


async def test_a_trade_is_a_price_with_a_volume_and_keeps_its_place(tmp_path: Path) -> None:
    source = ReplaySource(read(tmp_path, f"time,price,qty\n{T},10,0.5\n{T},11,1.5\n{T},10,0\n"))
    await source.open(T_NS)

    replayed = rows(await drain(source))

    assert replayed == [
        (T_NS, 20, SPREAD_BY_POLICY, 10, 5),
        (T_NS, 22, SPREAD_BY_POLICY, 11, 15),
        (T_NS, 20, SPREAD_BY_POLICY, 10, 0),
    ]


async def test_a_step_holds_all_rows_of_its_moment(quotes: Recording) -> None:
    source = ReplaySource(quotes)
    await source.open(T_NS)

    sizes = [len(batch) for batch in await drain(source, max_steps=1)]

    assert sizes == [1, 3, 1]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.integers(1, 7))
async def test_batches_never_exceed_their_steps_nor_split_one(tmp_path_factory, steps: list[int], most: int) -> None:
    times = np.cumsum(steps) + T
    text = "time,price\n" + "".join(f"{time},{i + 1}\n" for i, time in enumerate(times))
    source = ReplaySource(read(tmp_path_factory.mktemp("replay"), text))
    await source.open(T_NS)

    batches = await drain(source, most)

    assert np.concatenate([b.last_ticks for b in batches]).tolist() == list(range(1, len(steps) + 1))
    assert all(len(set(b.ts_ns.tolist())) <= most for b in batches)
    assert all(a.ts_ns[-1] < b.ts_ns[0] for a, b in itertools.pairwise(batches))
    assert all(len(set(b.ts_ns.tolist())) == most for b in batches[:-1])


async def test_bars_become_open_low_high_close_when_they_rise_else_open_high_low_close(tmp_path: Path) -> None:
    bars = f"time,open,high,low,close,volume\n{T},5,9,2,7,10\n{T + 60},7,9,2,3,3\n"
    source = ReplaySource(read(tmp_path, bars))
    await source.open(T_NS)

    replayed = rows(await drain(source))

    assert [row[3] for row in replayed] == [5, 2, 9, 7, 7, 9, 2, 3]
    assert [row[4] for row in replayed] == [2, 2, 2, 4, 0, 0, 0, 3]
    minute = [0, 20 * NS_PER_S, 40 * NS_PER_S, NS_PER_MINUTE - NS_PER_MS]
    assert [row[0] - T_NS for row in replayed] == minute + [NS_PER_MINUTE + at for at in minute]
    assert all(row[1:3] == (2 * row[3], SPREAD_BY_POLICY) for row in replayed)


@pytest.mark.parametrize("max_steps", [1, 2, 3, 5, 100])
async def test_candles_rebuilt_from_replayed_bars_are_the_bars(tmp_path: Path, max_steps: int) -> None:
    rng = np.random.default_rng(7)
    table = [sorted(rng.integers(100, 200, 4).tolist()) for _ in range(50)]
    bars = [(inner[0], b[3], b[0], inner[1]) for b in table for inner in [rng.permutation(b[1:3]).tolist()]]
    text = "time,open,high,low,close,volume\n" + "".join(
        f"{T + 60 * i},{o},{h},{low},{c},{i % 7}\n" for i, (o, h, low, c) in enumerate(bars)
    )
    source = ReplaySource(read(tmp_path, text))
    await source.open(T_NS)

    replayed = rows(await drain(source, max_steps))

    for i, bar in enumerate(bars):
        of_bar = [row for row in replayed if 0 <= row[0] - T_NS - i * NS_PER_MINUTE < NS_PER_MINUTE]
        prices = [row[3] for row in of_bar]
        assert (prices[0], max(prices), min(prices), prices[-1]) == bar
        assert sum(row[4] for row in of_bar) == i % 7


async def test_bars_that_overlap_never_send_time_back(tmp_path: Path) -> None:
    opens = [0, 60, 120, 150, 210]
    text = "time,open,high,low,close\n" + "".join(f"{T + s},5,6,4,5\n" for s in opens)
    source = ReplaySource(read(tmp_path, text))
    await source.open(T_NS)

    times = [row[0] for row in rows(await drain(source, 3))]

    assert times == sorted(times)


async def test_the_first_row_falls_on_the_opening(quotes: Recording) -> None:
    source = ReplaySource(quotes)
    await source.open(5 * NS_PER_S)

    times = [row[0] for row in rows(await drain(source))]

    assert times == [at * NS_PER_S for at in (5, 6, 6, 6, 8)]


@pytest.mark.parametrize("late_s", [0, 1, 20, 59, 60, 61, 119])
async def test_bars_on_a_grid_keep_their_places_and_are_joined_where_they_stand(tmp_path: Path, late_s: int) -> None:
    bars = f"time,open,high,low,close\n{T},5,9,2,7\n{T + 60},7,9,2,3\n"
    aligned, source = (ReplaySource(read(tmp_path, bars), grid_ns=NS_PER_MINUTE) for _ in range(2))
    start_ns = T_NS + 1_000 * NS_PER_MINUTE
    await aligned.open(start_ns)
    await source.open(start_ns + late_s * NS_PER_S)

    whole, joined = rows(await drain(aligned)), rows(await drain(source))

    shift_ns = late_s // 60 * NS_PER_MINUTE
    expected = [(row[0] + shift_ns, *row[1:]) for row in whole if row[0] - start_ns + shift_ns >= late_s * NS_PER_S]
    assert [row[0] - start_ns for row in whole[:2]] == [0, 20 * NS_PER_S]
    assert joined == expected


async def test_recordings_with_one_anchor_stay_as_far_apart_as_they_were(tmp_path: Path) -> None:
    early = read(tmp_path, f"time,price\n{T},1\n", "btc_usd.csv")
    late = read(tmp_path, f"time,price\n{T + 7},1\n", "eth_usd.csv")
    sources = [ReplaySource(r, anchor_ns=first_time_ns([early, late])) for r in (early, late)]

    for source in sources:
        await source.open(1000)
    times = [int((await source.next(1)).ts_ns[0]) for source in sources]  # type: ignore[union-attr]

    assert times == [1000, 1000 + 7 * NS_PER_S]


async def test_a_loop_goes_on_one_median_step_after_the_end(quotes: Recording) -> None:
    source = ReplaySource(quotes, loop=True)
    await source.open(T_NS)

    times = [int(t) - T_NS for _ in range(3) for t in (await source.next(100)).ts_ns]  # type: ignore[union-attr]

    # The steps between the rows are 1, 0, 0 and 2 seconds; the median of them is half a second.
    seconds = [0, 1, 1, 1, 3, 3.5, 4.5, 4.5, 4.5, 6.5, 7, 8, 8, 8, 10]
    assert times == [int(s * NS_PER_S) for s in seconds]
    assert source.report()["loops"] == 2


@pytest.mark.parametrize("taken", [1, 2, 3])
async def test_a_restored_replay_goes_on_where_it_stopped(quotes: Recording, taken: int) -> None:
    whole, first, second = (ReplaySource(quotes, loop=True) for _ in range(3))
    await whole.open(50)
    expected = rows([await whole.next(1) for _ in range(8)])  # type: ignore[list-item]
    await first.open(50)
    before = rows([await first.next(1) for _ in range(taken)])  # type: ignore[list-item]

    assert second.restore(first.state() or {})
    await second.open(before[-1][0])
    after = rows([await second.next(1) for _ in range(8 - taken)])  # type: ignore[list-item]

    assert before + after == expected


async def test_a_restored_replay_does_not_lag_behind_a_clock_that_went_on(quotes: Recording) -> None:
    first, second = ReplaySource(quotes), ReplaySource(quotes)
    await first.open(0)
    await first.next(2)

    second.restore(first.state() or {})
    await second.open(1000 * NS_PER_S)

    assert rows(await drain(second))[0][0] == 1000 * NS_PER_S


async def test_a_state_of_another_file_is_refused(quotes: Recording, tmp_path: Path) -> None:
    other = ReplaySource(read(tmp_path, f"time,price\n{T},1\n", "eth_usd.csv"))
    source = ReplaySource(quotes)

    assert not source.restore(other.state() or {})
    assert not source.restore({**(source.state() or {}), "row": 6})
    assert not source.restore({**(source.state() or {}), "row": "1"})
    assert not source.restore({})


@pytest.mark.data("btc_usdt_spot_bbo_2024-08-08.csv.gz")
async def test_real_quotes_come_out_as_the_file_has_them(recorded_data: Path) -> None:
    source = ReplaySource(read_recording(recorded_data / "btc_usdt_spot_bbo_2024-08-08.csv.gz"))
    await source.open(source.recording.first_ns)

    batches = await drain(source, 1000)

    grid = source.instruments[0].prices
    mid, spread = int(batches[-1].mid_half_ticks[-1]), int(batches[-1].spread_ticks[-1])
    assert sum(map(len, batches)) == 28_040
    assert (grid.step, source.instruments[0].symbol) == (Decimal("0.01"), "BTC/USDT")
    assert batches[0].ts_ns[0] == 1723161254087891268
    assert (grid.text((mid - spread) // 2), grid.text((mid + spread) // 2)) == last_quote(recorded_data)


def last_quote(folder: Path) -> tuple[str, str]:
    packed = (folder / "btc_usdt_spot_bbo_2024-08-08.csv.gz").read_bytes()
    line = gzip.decompress(packed).decode().splitlines()[-1]
    _, bid, _, ask, _ = line.split(",")
    return f"{Decimal(bid):.2f}", f"{Decimal(ask):.2f}"


FACTS = {
    "ada_eur_1h_2021-03_2023-03.csv.gz": ("bars", 17_711, 3),
    "ada_usdt_perp_1m_2025-05.csv.gz": ("bars", 43_199, 0),
    "btc_eur_1h_2021-03_2023-03.csv.gz": ("bars", 17_716, 2),
    "btc_usd_index_1d_2015_2021.csv.gz": ("bars", 2_557, 0),
    "btc_usdt_perp_1m_2025-05.csv.gz": ("bars", 43_199, 0),
    "btc_usdt_perp_bbo_2024-08-08.csv.gz": ("quotes", 66_089, 0),
    "btc_usdt_perp_trades_2024-08-08.csv.gz": ("trades", 21_313, 0),
    "btc_usdt_spot_bbo_2024-08-08.csv.gz": ("quotes", 28_040, 0),
    "btc_usdt_spot_trades_2024-08-08.csv.gz": ("trades", 9_757, 0),
    "dot_eur_2h_2021-12_2023-12.csv.gz": ("bars", 8_942, 6),
    "eth_eur_1h_2021-03_2023-03.csv.gz": ("bars", 17_716, 2),
    "eth_usdt_perp_1m_2025-05.csv.gz": ("bars", 43_199, 0),
    "eth_usdt_spot_bbo_2024-08-08.csv.gz": ("quotes", 24_077, 0),
    "eth_usdt_spot_trades_2024-08-08.csv.gz": ("trades", 6_106, 0),
    "sol_eur_1d_2021-08_2024-01.csv.gz": ("bars", 882, 0),
    "sol_usdt_perp_1m_2025-05.csv.gz": ("bars", 43_200, 0),
}


@pytest.mark.data(*FACTS)
@pytest.mark.parametrize("name", FACTS)
def test_every_recorded_file_is_read_with_the_rows_and_gaps_its_readme_tells(recorded_data: Path, name: str) -> None:
    recorded = read_recording(recorded_data / name)

    assert (recorded.kind.value, len(recorded.rows), recorded.gaps) == FACTS[name]
    assert recorded.rounded == 0
