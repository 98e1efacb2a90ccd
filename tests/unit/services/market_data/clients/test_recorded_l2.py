"""A recorded book as a source of prices."""

import json
from pathlib import Path
from typing import Any

import pytest

from fauxchange.domain.times import NS_PER_S
from fauxchange.services.market_data.clients.layouts import RecordingKind
from fauxchange.services.market_data.clients.recorded_l2 import read_book_recording
from fauxchange.services.market_data.clients.recordings import Recording
from fauxchange.services.market_data.clients.replay import ReplaySource
from fauxchange.services.market_data.core.batches import NO_LAST

T_NS = 1_700_000_000 * NS_PER_S
MESSAGES: tuple[tuple[float, dict[str, Any]], ...] = (
    (0, {"lastUpdateId": 1, "bids": [["99.5", "2"]], "asks": [["100.0", "1"], ["100.5", "3"]]}),
    (1, {"data": {"e": "trade", "p": "100.0", "q": "1", "m": False, "T": 1}}),
    (1, {"data": {"e": "depthUpdate", "U": 2, "u": 2, "b": [], "a": [["100.0", "0"]]}}),
    (3, {"data": {"u": 3, "b": "99.5", "B": "4", "a": "100.5", "A": "3"}}),
)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    path = tmp_path / "btc_usdt_l2.jsonl"
    path.write_text("".join(f"{T_NS + int(at * NS_PER_S)} {json.dumps(message)}\n" for at, message in MESSAGES))
    return read_book_recording(path)


async def all_rows(source: ReplaySource, steps: int = 100) -> list[tuple[int, ...]]:
    rows: list[tuple[int, ...]] = []
    while (batch := await source.next(1)) is not None and len(rows) < steps:
        columns = (batch.ts_ns, batch.mid_half_ticks, batch.spread_ticks, batch.last_ticks, batch.volume_lots)
        rows += [tuple(map(int, row)) for row in zip(*columns, strict=True)]
    return rows


def test_the_symbol_is_told_by_the_name_and_the_report_says_what_it_is(recording: Recording) -> None:
    assert recording.instrument.symbol == "BTC/USDT"
    assert recording.kind is RecordingKind.BOOK
    assert recording.report()["kind"] == "book"
    assert "book of BTC/USDT" in recording.summary()


async def test_updates_become_quotes_and_trades_prices_with_a_volume(recording: Recording) -> None:
    source = ReplaySource(recording)
    await source.open(T_NS)

    rows = await all_rows(source)

    first, second = 995 + 1_000, 995 + 1_005
    assert rows == [
        (T_NS, first, 5, NO_LAST, 0),
        (T_NS + NS_PER_S, second, 10, NO_LAST, 0),
        (T_NS + NS_PER_S, second, 10, 1_000, 1),
        (T_NS + 3 * NS_PER_S, second, 10, NO_LAST, 0),
    ]


async def test_a_moment_of_the_venue_has_its_recorded_time_also_in_a_loop(recording: Recording) -> None:
    source = ReplaySource(recording, loop=True)
    await source.open(50 * NS_PER_S)

    cycle_ns = 3 * NS_PER_S + recording.step_ns

    assert source.recorded_ns(51 * NS_PER_S) == T_NS + NS_PER_S
    assert source.recorded_ns(51 * NS_PER_S + 4 * cycle_ns) == T_NS + NS_PER_S


def test_a_span_is_cut_out_with_the_book_that_stood_at_its_start(recording: Recording) -> None:
    part = read_book_recording(recording.path, start_ns=T_NS + 2 * NS_PER_S)

    assert part.rows.tolist() == [[T_NS + 3 * NS_PER_S, 995, 1_005, NO_LAST, 0]]
    assert part.book is not None
    assert part.book.best.tolist() == [[995, 4, 1_005, 3]]
